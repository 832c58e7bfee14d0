//! Modules that teach how to use [`AsyncOp`] without races, and that are good enough to build on.
//!
//! Each module is a recipient. A module starts operations on behalf of the layer above it, which
//! may be another module: all share one trait, [`Module`]. The low layer (LL) calls something that
//! knows no `AsyncOp`.
//!
//! | module | what its operation stands on | how it cancels |
//! |---|---|---|
//! | [`LlRealCancel`] | a non-blocking read | really: the source is deregistered |

use crate::callback::Callback;
use crate::error::RegisterError;
use crate::op::{AsyncOp, OpResult};

mod ll_real_cancel;

pub use ll_real_cancel::{LlRealCancel, Read, Received};

/// A module that starts operations.
pub trait Module {
    /// What an operation is asked to do.
    type Request;
    /// What an operation answers.
    type Answer: 'static;
    /// How an operation fails.
    type Error: 'static;

    /// Lets operations be started.
    fn open(&self);

    /// Lets no more operations be started. Those that run go on.
    fn close(&self);

    /// Starts an operation. Its result arrives at `done`, never before this has returned.
    ///
    /// # Errors
    ///
    /// Hands the request back, with the reason; `done` is then declined.
    fn start(
        &self,
        request: Self::Request,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<AsyncOp, StartError<Self::Request>>;
}

/// An operation was not started. Its request is inside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError<R> {
    /// The module is not open.
    #[error("operation not started: the module is not open; call `open` first")]
    NotOpen(R),
    /// The source of the operation's completion could not be registered.
    #[error("operation not started: its source could not be registered")]
    Register {
        /// Why not.
        source: RegisterError<()>,
        /// The request.
        request: R,
    },
}
