//! Modules that teach how to use [`AsyncOp`] without races, and that are good enough to build on.
//!
//! A module is a recipient: what its operations come to arrives as calls to it, one at a time. It
//! starts operations on behalf of the layer above it, which may be another module: all but
//! [`HlCancelAll`], a top only, share one trait, [`Module`], so any middle or high layer stands on
//! any lower one. ([`Hl`] passes everything on, so it receives nothing.)
//!
//! | module | an operation of it | its cancel |
//! |---|---|---|
//! | [`LlRealCancel`] | reads from a socket | really cancels: the socket is deregistered |
//! | [`LlFakeCancel`] | runs blocking work on a thread | only says so: the work goes on, its result is swallowed |
//! | [`MlPassThrough`] | is one of the layer below | passes it on |
//! | [`MlChain`] | is several of the layer below, each after the one before | reaches the latest, and none follows |
//! | [`MlRetries`] | is one of the layer below, again until it succeeds | reaches the latest, or the timer between |
//! | [`Hl`] | is one of the layer below, for a user who has the handle | passes it on |
//! | [`HlCancelAll`] | is one of the layer below, for a user without a handle | closing the module cancels all |
//!
//! The low layer (LL) calls something that knows no `AsyncOp`; the middle layer (ML) calls LL or
//! ML and passes cancellation on; the high layer (HL) drives the cancellation of the whole.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell};
use core::error::Error;
use core::fmt;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult, OpState};

mod hl;
mod hl_cancel_all;
#[cfg(unix)]
mod ll_fake_cancel;
mod ll_real_cancel;
mod ml_chain;
mod ml_pass_through;
mod ml_retries;

pub use hl::Hl;
pub use hl_cancel_all::{Closed, HlCancelAll};
#[cfg(unix)]
pub use ll_fake_cancel::{LlFakeCancel, Work, resolve};
pub use ll_real_cancel::{LlRealCancel, Read, Received};
pub use ml_chain::{Chain, MlChain, Next};
pub use ml_pass_through::MlPassThrough;
pub use ml_retries::{MlRetries, Retry, RetryPolicy};

/// A module that starts operations.
///
/// Made with `new`, it is not open yet. Dropping it does not harm operations that run.
pub trait Module {
    /// What an operation is asked to do.
    type Request: 'static;
    /// What an operation answers.
    type Answer: 'static;
    /// How an operation fails.
    type Error: 'static;

    /// Lets operations be started. Opens what the module stands on, too.
    fn open(&self);

    /// Lets no more operations be started. Those that run go on.
    fn close(&self);

    /// How many canceled operations still take something up, below: leftovers of fake cancels.
    fn leftovers(&self) -> usize;

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
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError<R> {
    /// The module is not open.
    #[error("operation not started: the module is not open; call `open` first")]
    NotOpen(R),
    /// As many operations run, or are left over, as the module may have.
    #[error("operation not started: the module is full")]
    Full(R),
    /// What the operation stands on could not be had.
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
            Self::NotOpen(request) | Self::Full(request) | Self::Failed { request, .. } => request,
        }
    }

    /// Makes another request of the one inside.
    pub fn map<Q>(self, convert: impl FnOnce(R) -> Q) -> StartError<Q> {
        match self {
            Self::NotOpen(request) => StartError::NotOpen(convert(request)),
            Self::Full(request) => StartError::Full(convert(request)),
            Self::Failed { source, request } => {
                StartError::Failed { source, request: convert(request) }
            }
        }
    }

    /// The error without the request.
    pub(crate) fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::NotOpen(_) => Box::new(StartError::NotOpen(())),
            Self::Full(_) => Box::new(StartError::Full(())),
            Self::Failed { source, .. } => source,
        }
    }
}

impl<R> fmt::Debug for StartError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen(_) => f.write_str("NotOpen(..)"),
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Failed { source, .. } => write!(f, "Failed({source:?}, ..)"),
        }
    }
}

/// Whether a module is open.
#[derive(Debug, Default)]
struct Gate(Cell<bool>);

impl Gate {
    fn open(&self) {
        self.0.set(true);
    }

    fn close(&self) {
        self.0.set(false);
    }

    fn is_open(&self) -> bool {
        self.0.get()
    }

    /// Lets a request and its callback in, or declines the callback and hands the request back.
    fn admit<R, T>(
        &self,
        request: R,
        done: Callback<T>,
    ) -> Result<(R, Callback<T>), StartError<R>> {
        if self.0.get() {
            return Ok((request, done));
        }
        done.decline("the module is not open");
        Err(StartError::NotOpen(request))
    }
}

/// The lower operation that an operation waits for, if any.
#[derive(Debug, Default)]
struct Lower(RefCell<Option<AsyncOp>>);

impl Lower {
    /// Keeps the handle of a lower operation that was just started for an operation in `state`. If
    /// a cancel came meanwhile, from code that the layer below called, it is passed on.
    fn set(&self, op: AsyncOp, state: OpState) {
        self.0.replace(Some(op));
        if state == OpState::Canceling {
            self.cancel();
        }
    }

    /// Cancels it. Its result is still to come.
    fn cancel(&self) {
        let op = self.0.borrow().clone();
        if let Some(op) = op {
            let _ = op.cancel();
        }
    }
}
