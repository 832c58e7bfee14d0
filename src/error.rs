//! What can go wrong, one enum for each operation; a value that was not taken is handed back.

use core::fmt;

use thiserror::Error;

#[cfg(feature = "mio")]
use crate::queue::CallQueue;

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

/// A call from another thread was not scheduled. The closure is inside.
#[cfg(feature = "mio")]
#[derive(Error)]
#[non_exhaustive]
pub enum RemoteError<F> {
    /// The reactor has been dropped.
    #[error("remote call not scheduled: the reactor has been dropped")]
    ReactorDropped(F),
    /// As many calls are underway as the [`Remote`](crate::reactor::Remote) or
    /// [`RemoteAddress`](crate::reactor::RemoteAddress) is bounded to.
    #[error("remote call not scheduled: as many are underway as may be; send it again later")]
    Full(F),
    /// The reactor cannot be woken.
    #[error("remote call not scheduled: the reactor cannot be woken")]
    NotWoken {
        /// The waker's error.
        source: std::io::Error,
        /// The closure that was not scheduled.
        rejected: F,
    },
}

#[cfg(feature = "mio")]
impl<F> RemoteError<F> {
    /// The closure that was not scheduled.
    pub fn into_inner(self) -> F {
        match self {
            Self::ReactorDropped(rejected)
            | Self::Full(rejected)
            | Self::NotWoken { rejected, .. } => rejected,
        }
    }
}

#[cfg(feature = "mio")]
impl RemoteError<()> {
    /// The same error, with the closure that was not scheduled.
    pub(crate) fn rejecting<F>(self, rejected: F) -> RemoteError<F> {
        match self {
            Self::ReactorDropped(()) => RemoteError::ReactorDropped(rejected),
            Self::Full(()) => RemoteError::Full(rejected),
            Self::NotWoken { source, rejected: () } => RemoteError::NotWoken { source, rejected },
        }
    }
}

#[cfg(feature = "mio")]
impl<F> fmt::Debug for RemoteError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReactorDropped(_) => f.write_str("ReactorDropped(..)"),
            Self::Full(_) => f.write_str("Full(..)"),
            Self::NotWoken { source, .. } => write!(f, "NotWoken({source:?}, ..)"),
        }
    }
}

/// A source was not registered. It is inside.
#[cfg(feature = "mio")]
#[derive(Error)]
#[non_exhaustive]
pub enum RegisterError<S> {
    /// The reactor has been dropped.
    #[error("source not registered: the reactor has been dropped")]
    ReactorDropped(S),
    /// The recipient belongs to another queue than the reactor's.
    #[error("source not registered: its recipient belongs to another queue than the reactor's")]
    ForeignRecipient(S),
    /// The poll does not take it.
    #[error("source not registered: the poll does not take it")]
    Poll {
        /// The poll's error.
        source: std::io::Error,
        /// The source that was not registered.
        rejected: S,
    },
}

#[cfg(feature = "mio")]
impl<S> RegisterError<S> {
    /// The source that was not registered.
    pub fn into_inner(self) -> S {
        match self {
            Self::ReactorDropped(rejected)
            | Self::ForeignRecipient(rejected)
            | Self::Poll { rejected, .. } => rejected,
        }
    }

    /// Parts the source from the error.
    pub fn split(self) -> (S, RegisterError<()>) {
        match self {
            Self::ReactorDropped(rejected) => (rejected, RegisterError::ReactorDropped(())),
            Self::ForeignRecipient(rejected) => (rejected, RegisterError::ForeignRecipient(())),
            Self::Poll { source, rejected } => {
                (rejected, RegisterError::Poll { source, rejected: () })
            }
        }
    }
}

#[cfg(feature = "mio")]
impl<S> fmt::Debug for RegisterError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReactorDropped(_) => f.write_str("ReactorDropped(..)"),
            Self::ForeignRecipient(_) => f.write_str("ForeignRecipient(..)"),
            Self::Poll { source, .. } => write!(f, "Poll({source:?}, ..)"),
        }
    }
}

/// A source could not be deregistered. It is inside.
#[cfg(feature = "mio")]
#[derive(Error)]
#[error("source not deregistered: the poll does not let it go")]
#[non_exhaustive]
pub struct DeregisterError<S> {
    /// The poll's error.
    pub source: std::io::Error,
    /// The source, which may still be registered until it is dropped.
    pub rejected: S,
}

#[cfg(feature = "mio")]
impl<S> fmt::Debug for DeregisterError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeregisterError({:?}, ..)", self.source)
    }
}

/// A reactor could not be made.
#[cfg(feature = "mio")]
#[derive(Debug, Error)]
#[error("no reactor for the queue: the system gives no poll")]
#[non_exhaustive]
pub struct ReactorError {
    /// The error of the system.
    pub source: std::io::Error,
    /// The queue that the reactor was for.
    pub queue: CallQueue,
}
