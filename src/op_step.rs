//! The observable steps of an operation, which are reported under the id of the upper callback.

use core::fmt;
use core::panic::Location;

use crate::id::CallId;
use crate::step::short_name;

/// One step in the life of an operation.
///
/// Reported to [`Observer::observe_operation`](crate::Observer::observe_operation). The call that
/// delivers the result has steps of its own: it is scheduled right before the operation is Completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpStep {
    /// The operation runs.
    Started {
        /// The full name of the type of its context, which shows whose operation it is.
        context: &'static str,
        /// Where it was made.
        site: &'static Location<'static>,
    },
    /// The operation continues with `call` ([`Operation::waits_for`](crate::op::Operation::waits_for)).
    /// If `call` delivers the result of another operation, that is the layer below.
    WaitsFor {
        /// The call.
        call: CallId,
    },
    /// It was canceled while it ran: its cancel hook is about to run.
    Canceling {
        /// Where it was canceled.
        site: &'static Location<'static>,
    },
    /// It is complete: its result is fixed, and on its way unless its call was canceled.
    Completed {
        /// The kind of the result.
        outcome: Outcome,
    },
    /// Its start was taken back.
    Declined {
        /// The reason given.
        reason: &'static str,
    },
}

impl fmt::Display for OpStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { context, site } => {
                write!(f, "operation {} started at {site}", short_name(context))
            }
            Self::WaitsFor { call } => write!(f, "operation waits for call {call}"),
            Self::Canceling { site } => write!(f, "operation canceled at {site}"),
            Self::Completed { outcome } => write!(f, "operation completed: {outcome}"),
            Self::Declined { reason } => write!(f, "operation declined: {reason}"),
        }
    }
}

/// The kind of [`OpResult`](crate::op::OpResult) that an operation ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// An answer.
    Answered,
    /// [`OpError::Canceled`](crate::op::OpError::Canceled).
    Canceled,
    /// [`OpError::Dropped`](crate::op::OpError::Dropped).
    Dropped,
    /// [`OpError::TimedOut`](crate::op::OpError::TimedOut).
    TimedOut,
    /// [`OpError::Full`](crate::op::OpError::Full).
    Full,
    /// [`OpError::NotStarted`](crate::op::OpError::NotStarted).
    NotStarted,
    /// [`OpError::Panicked`](crate::op::OpError::Panicked).
    Panicked,
    /// [`OpError::Retryable`](crate::op::OpError::Retryable).
    Retryable,
    /// [`OpError::Failed`](crate::op::OpError::Failed).
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered",
            Self::Canceled => "canceled",
            Self::Dropped => "dropped by its module",
            Self::TimedOut => "timed out",
            Self::Full => "limit of its module reached",
            Self::NotStarted => "not started",
            Self::Panicked => "panicked",
            Self::Retryable => "failed for now",
            Self::Failed => "failed",
        })
    }
}
