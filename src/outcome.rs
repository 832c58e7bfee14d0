//! What comes of scheduling, dialing and canceling.

use core::fmt;

use thiserror::Error;

/// A call was not scheduled. The value that would have been scheduled is inside.
#[derive(Error)]
#[non_exhaustive]
pub enum ScheduleError<C> {
    /// The owner of the queue has dropped it (rule R11).
    #[error("call not scheduled: the owner of the queue has dropped it")]
    QueueDropped(C),
    /// As many calls are pending as the queue was made for
    /// ([`CallQueue::bounded`](crate::CallQueue::bounded)).
    #[error("call not scheduled: the queue is full; dial it, then schedule the call again")]
    Full(C),
    /// The queue has given out all of its 2^63 positions.
    #[error("call not scheduled: all 2^63 call ids of the queue are used up; make a new queue")]
    IdsExhausted(C),
}

impl<C> ScheduleError<C> {
    /// The value that was not scheduled.
    pub fn into_inner(self) -> C {
        match self {
            Self::QueueDropped(call) | Self::Full(call) | Self::IdsExhausted(call) => call,
        }
    }
}

impl ScheduleError<()> {
    /// The same error, with the value that was not scheduled.
    pub(crate) fn rejecting<C>(self, call: C) -> ScheduleError<C> {
        match self {
            Self::QueueDropped(()) => ScheduleError::QueueDropped(call),
            Self::Full(()) => ScheduleError::Full(call),
            Self::IdsExhausted(()) => ScheduleError::IdsExhausted(call),
        }
    }
}

impl<C> fmt::Debug for ScheduleError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueDropped(_) => "QueueDropped(..)",
            Self::Full(_) => "Full(..)",
            Self::IdsExhausted(_) => "IdsExhausted(..)",
        })
    }
}

/// What came of an attempt to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// Canceled, now.
    Canceled,
    /// Canceled before; the first reason stays. The queue knows this until the turn of the
    /// canceled call would have come (for a callback that is not called: until its caller lets it
    /// go), or until it needs the room. It says [`Late`](Self::Late) afterwards.
    Already,
    /// Too late: the call is live or over. Nothing happened.
    Late,
    /// The id belongs to another queue. Nothing happened.
    Foreign,
}

/// What happened in a turn, turns within it included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Calls whose handler ran.
    pub dialed: u64,
    /// Calls found canceled when their turn came.
    pub canceled: u64,
    /// Calls refused.
    pub refused: u64,
    /// Calls still pending at the end.
    pub remaining: u64,
}
