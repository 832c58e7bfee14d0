//! The refusal of a start.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

/// An operation was not started, for a reason that the same request cannot cure. The request is inside.
///
/// As with all errors of the crate, the cause is not part of what is displayed: it is the
/// [`source`](Error::source) of [`Failed`](Self::Failed).
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
    /// Returns the request that was not started.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlConnect, Module};
    ///
    /// let reactor = Reactor::new()?;
    /// let connects = LlConnect::new(&reactor.handle());
    /// let address = "127.0.0.1:80".parse()?;
    /// // The module is not open yet, so it returns the request in the error.
    /// let error = connects.start(address, reactor.queue().callback(|_, _| ())).expect_err("not open");
    /// assert_eq!(error.into_request(), address);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_request(self) -> R {
        match self {
            Self::NotOpen(request) | Self::Failed { request, .. } => request,
        }
    }

    /// Converts the request inside, and returns the error with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::StartError;
    ///
    /// // A layer asks the one below for the square, and returns its own request.
    /// let lower: StartError<u32> = StartError::NotOpen(49);
    /// let own: StartError<u32> = lower.map(|_square| 7);
    /// assert_eq!(own.into_request(), 7);
    /// ```
    pub fn map<Q>(self, convert: impl FnOnce(R) -> Q) -> StartError<Q> {
        match self {
            Self::NotOpen(request) => StartError::NotOpen(convert(request)),
            Self::Failed { source, request } => {
                StartError::Failed { source, request: convert(request) }
            }
        }
    }

    /// Returns the error without the request, as the cause of an
    /// [`OpError::NotStarted`](crate::op::OpError::NotStarted).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::op::OpError;
    /// use switchboard::samples::StartError;
    ///
    /// // The second step was refused. It is too late to refuse the whole: this is its result.
    /// let refused = StartError::NotOpen("second step");
    /// let result: OpError<std::io::Error> = OpError::NotStarted(refused.into_cause().into());
    /// assert!(std::error::Error::source(&result).is_some());
    /// ```
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
