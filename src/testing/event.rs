//! Events made by hand.

use core::fmt;
use core::ops::BitOr;

use mio::Token;

use crate::reactor::{Flags, slot};

/// What an event says of its source: one thing at least. Made of the constants, with `|`.
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

    /// Whether it says all that `other` says.
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
    /// Makes an event of the source that is registered as `token`.
    pub const fn new(token: Token, ready: Ready) -> Self {
        Self { token, ready }
    }

    /// The same event with other flags.
    pub const fn with(self, ready: Ready) -> Self {
        Self { ready, ..self }
    }

    /// Names the registration; 0 is the token of wake-ups.
    pub const fn token(&self) -> Token {
        self.token
    }

    /// What it says.
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
