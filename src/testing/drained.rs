//! Whether handlers have read all there was.

use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;

use crate::testing::reactor::ScriptedReactor;

impl ScriptedReactor {
    /// Checks that no handler has stopped before its source would block and left it so (rule M3): that
    /// no scripted source has bytes or an end of stream that will never be read, as no event reports
    /// them and no readiness call is pending; and that no handler was counted as
    /// [`undrained`](crate::reactor::EventStats::undrained).
    ///
    /// For the end of a test, once it has [settled](Self::settle). A source that is not watched for
    /// reading counts as read, and so does one whose handler [keeps](crate::reactor::Readiness::keep)
    /// the rest. Events that the script took and did not report are missing here too.
    ///
    /// # Errors
    ///
    /// Where the sources were registered, and how many handlers were counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use mio::Interest;
    /// use switchboard::reactor::Registration;
    /// use switchboard::testing::{ScriptedReactor, ScriptedSource};
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let (source, peer) = reactor.pair();
    /// let reader = reactor.queue().recipient(None::<Registration<ScriptedSource>>);
    /// let source = reactor.register(source, Interest::READABLE, &reader, |source, _, _| {
    ///     if let Some(source) = source {
    ///         let _ = source.try_io(Interest::READABLE, |source| source.read(&mut [0; 4]));
    ///     }
    /// })?;
    /// reader.call(|reader, _| *reader = Some(source));
    ///
    /// peer.push("four");
    /// peer.push("more");
    /// reactor.settle(10)?;
    /// assert!(reactor.check_drained().is_err(), "it reads once");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_drained(&self) -> Result<(), Undrained> {
        let is_to_come = |token| self.events.iter().any(|event| event.token() == token);
        let unread = self.sources.unread();
        let left = unread.into_iter().filter(|token| !is_to_come(*token));
        let sites: Vec<_> = left.filter_map(|token| self.reactor.unattended(token)).collect();
        let handlers = self.reactor.event_stats().undrained;
        if sites.is_empty() && handlers == 0 {
            return Ok(());
        }
        Err(Undrained { sites, handlers })
    }
}

/// What [`ScriptedReactor::check_drained`] has found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{handlers} handlers stopped before their source would block{}", Sites(.sites))]
#[non_exhaustive]
pub struct Undrained {
    /// Where the sources were registered that have something to read.
    pub sites: Vec<&'static Location<'static>>,
    /// How many handlers were counted.
    pub handlers: u64,
}

struct Sites<'a>(&'a [&'static Location<'static>]);

impl fmt::Display for Sites<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|site| {
            write!(f, "; something to read is left at the source registered at {site}")
        })
    }
}
