//! The refusal of a start.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

/// An operation was not started, for a reason that the same request cannot cure. The request is inside.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError<R> {
    /// The module is not open.
    #[error("operation not started: the module is not open; call `open` first")]
    NotOpen(R),
    /// The request cannot be done.
    #[error("operation not started")]
    Failed {
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
        /// The request.
        request: R,
    },
}

impl<R> StartError<R> {
    /// The request that was not started.
    pub fn into_request(self) -> R {
        match self {
            Self::NotOpen(request) | Self::Failed { request, .. } => request,
        }
    }

    /// Makes another request of the one inside.
    pub fn map<Q>(self, convert: impl FnOnce(R) -> Q) -> StartError<Q> {
        match self {
            Self::NotOpen(request) => StartError::NotOpen(convert(request)),
            Self::Failed { source, request } => {
                StartError::Failed { source, request: convert(request) }
            }
        }
    }

    /// The error without the request, as the cause of an
    /// [`OpError::NotStarted`](crate::op::OpError::NotStarted).
    pub fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        self.split().1
    }

    /// The request, and the cause.
    pub(super) fn split(self) -> (R, Box<dyn Error + Send + Sync>) {
        match self {
            Self::NotOpen(request) => (request, Box::new(StartError::NotOpen(()))),
            Self::Failed { source, request } => (request, source),
        }
    }
}

impl<R> fmt::Debug for StartError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen(_) => f.write_str("NotOpen(..)"),
            Self::Failed { source, .. } => write!(f, "Failed({source:?}, ..)"),
        }
    }
}
