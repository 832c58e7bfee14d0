//! What can be observed beside calls and operations: where calls come from that no handler schedules,
//! and turns, as plain data.

#[cfg(feature = "mio")]
use alloc::sync::Arc;
use core::fmt;

use crate::outcome::Report;

/// What scheduled a call on behalf of the reactor, outside of all handlers: the first cause of a chain.
///
/// Reported to [`Observer::observe_origin`](crate::Observer::observe_origin). A call without one was
/// scheduled by the code at its site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallOrigin {
    /// A registered source was ready. The call's site is that where it was registered. (If a handler
    /// asked to be called again, the call has that handler's call as its cause too.)
    Source {
        /// The slot of the registration in its reactor.
        slot: u32,
        /// How often the slot was used before.
        generation: u32,
    },
    /// A timer was due. The call's site is that where it was armed. (A callback of another queue than that of
    /// the timer's reactor has no origin.)
    Timer,
    /// It was sent through a [`Remote`](crate::reactor::Remote), say, by this thread or another. (Of calls
    /// that were sent before the first turn that was observed, this may be missing.)
    #[cfg(feature = "mio")]
    Thread {
        /// The thread's name, or its id if it has none.
        name: Arc<str>,
    },
}

impl fmt::Display for CallOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { slot, generation } => write!(f, "source {slot}.{generation}"),
            Self::Timer => f.write_str("a timer"),
            #[cfg(feature = "mio")]
            Self::Thread { name } => write!(f, "thread {name}"),
        }
    }
}

/// One step of the loop around a queue. Turns within turns are part of the outermost.
///
/// Reported to [`Observer::observe_turn`](crate::Observer::observe_turn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TurnStep {
    /// The reactor is about to poll, and may sleep; the next turn begins when that is over.
    Polls,
    /// A turn begins.
    Begins {
        /// How many turns of the queue were reported before.
        number: u64,
    },
    /// The turn is over, or unwinds.
    Ends {
        /// As when it began.
        number: u64,
        /// What happened in it.
        report: Report,
    },
}
