//! Events made by hand.

use core::fmt;
use core::ops::BitOr;

use mio::Token;

use crate::reactor::{Flags, slot};

/// The flags of an event, at least one. Combine the constants with `|`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ready(pub(super) Flags);

impl Ready {
    /// There is something to read.
    pub const READABLE: Self = Self(Flags(Flags::READABLE));
    /// There is room to write.
    pub const WRITABLE: Self = Self(Flags(Flags::WRITABLE));
    /// The peer sends no more.
    pub const READ_CLOSED: Self = Self(Flags(Flags::READ_CLOSED));
    /// The peer receives no more.
    pub const WRITE_CLOSED: Self = Self(Flags(Flags::WRITE_CLOSED));
    /// The source has an error to report.
    pub const ERROR: Self = Self(Flags(Flags::ERROR));
    /// There is urgent data.
    pub const PRIORITY: Self = Self(Flags(Flags::PRIORITY));

    /// Returns true if it has all flags of `other`.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::testing::Ready;
    ///
    /// let closed = Ready::READABLE | Ready::READ_CLOSED;
    /// assert!(closed.contains(Ready::READ_CLOSED));
    /// assert!(!Ready::READABLE.contains(closed));
    /// ```
    pub const fn contains(self, other: Self) -> bool {
        self.0.merge(other.0).0 == self.0.0
    }
}

impl BitOr for Ready {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (Self::READABLE, "READABLE"),
            (Self::WRITABLE, "WRITABLE"),
            (Self::READ_CLOSED, "READ_CLOSED"),
            (Self::WRITE_CLOSED, "WRITE_CLOSED"),
            (Self::ERROR, "ERROR"),
            (Self::PRIORITY, "PRIORITY"),
        ];
        let mut before = "";
        for (_, name) in flags.into_iter().filter(|(flag, _)| self.contains(*flag)) {
            write!(f, "{before}{name}")?;
            before = " | ";
        }
        Ok(())
    }
}

/// An event on its way to the reactor: reported by a poll, or made by hand. It may be reported as often as
/// one likes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    token: Token,
    ready: Ready,
}

impl Event {
    /// Creates an event of the source that is registered as `token`.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::Token;
    /// use switchboard::testing::{Event, Ready, ScriptedReactor};
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// // An event for a source that never was: it is dropped and counted.
    /// let stray = Event::new(Token(usize::MAX), Ready::READABLE);
    /// assert_eq!(reactor.turn_with([stray]).dialed, 0);
    /// assert_eq!(reactor.event_stats().stale, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn new(token: Token, ready: Ready) -> Self {
        Self { token, ready }
    }

    /// Returns the same event with other flags.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::{Ready, ScriptedReactor};
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (source, peer) = reactor.pair();
    /// let _source = reactor.register_function(source, Interest::READABLE, |_, readiness| {
    ///     assert!(readiness.is_error());
    /// })?;
    /// peer.push("hello");
    /// // The event comes with other flags than the source has.
    /// let events: Vec<_> = reactor.take_events().into_iter().map(|e| e.with(Ready::ERROR)).collect();
    /// assert_eq!(reactor.turn_with(events).dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn with(self, ready: Ready) -> Self {
        Self { ready, ..self }
    }

    /// Returns the token of the registration; 0 is the token of wake-ups.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (source, peer) = reactor.pair();
    /// let _source = reactor.register_function(source, Interest::READABLE, |_, _| ())?;
    /// peer.push("hello");
    /// let tokens: Vec<_> = reactor.events().iter().map(|event| event.token()).collect();
    /// assert_eq!(tokens.len(), 1); // one source has something to report
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn token(&self) -> Token {
        self.token
    }

    /// Returns its flags.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::{Ready, ScriptedReactor};
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (source, peer) = reactor.pair();
    /// let _source = reactor.register_function(source, Interest::READABLE, |_, _| ())?;
    /// peer.push("hello");
    /// assert!(reactor.events()[0].ready().contains(Ready::READABLE));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn ready(&self) -> Ready {
        self.ready
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({:?} of ", self.ready)?;
        match slot(self.token) {
            Some((slot, generation)) => write!(f, "slot {slot}, generation {generation})"),
            None => write!(f, "{:?})", self.token),
        }
    }
}
