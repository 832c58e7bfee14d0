//! Modules that teach how to use [`AsyncOp`] without races, and that are good enough to build on.
//!
//! A module is a recipient: what its operations come to arrives as calls to it, one at a time. It
//! starts operations on behalf of the layer above it, which may be another module. All share one trait,
//! [`Module`], so any middle or high layer stands on any lower one. ([`Hl`] passes everything on, so it
//! receives nothing.)
//!
//! | module | an operation of it | its cancel |
//! |---|---|---|
//! | [`LlRealCancel`] | reads from a socket | really cancels: the socket is deregistered |
//! | [`LlFakeCancel`] | runs blocking work on a thread | only says so: the work goes on, its result is swallowed |
//! | [`MlPassThrough`] | is one of the layer below | passes it on |
//! | [`MlChain`] | is several of the layers below, each after the one before | reaches the latest, and none follows |
//! | [`MlRetries`] | is one of the layer below, again until it succeeds | reaches the latest, or the timer between |
//! | [`Hl`] | is one of the layer below, for a user who has the handle | passes it on |
//! | [`HlCancelAll`] | is one of the layer below, in a list | one by its handle, all by closing |
//!
//! The low layer (LL) calls something that knows no `AsyncOp`; the middle layer (ML) calls LL or
//! ML and passes cancellation on; the high layer (HL) drives the cancellation of the whole.
//!
//! Around them, and made by methods of [`Module`]:
//!
//! | module | an operation of it | made by |
//! |---|---|---|
//! | [`Map`] | is one of the layer below, with its result converted | [`map`](Module::map) |
//! | [`Then`] | is one of the layer below, and one of another layer after it | [`then`](Module::then) |
//! | [`First`] | is several of the layer below, until one succeeds | [`first`](Module::first) |
//! | [`Deadline`] | is one of the layer below, for so long at most | [`within`](Module::within) |
//! | [`MlRetries`] | see above | [`retried`](Module::retried) |
//!
//! # A layer of one's own
//!
//! needs three types and two functions; what opens, closes and counts leftovers is provided:
//!
//! ```
//! use switchboard::Callback;
//! use switchboard::op::{AsyncOp, OpResult};
//! use switchboard::samples::{Layer, Module, StartError};
//!
//! /// Asks the layer below for the square of a number.
//! struct Squared<L>(L);
//!
//! impl<L: Module<Request = u32>> Module for Squared<L> {
//!     type Request = u32;
//!     type Answer = L::Answer;
//!     type Error = L::Error;
//!
//!     fn layer(&self) -> Layer<'_> {
//!         Layer::on(&self.0)
//!     }
//!
//!     fn start(
//!         &self,
//!         number: u32,
//!         done: Callback<OpResult<L::Answer, L::Error>>,
//!     ) -> Result<AsyncOp, StartError<u32>> {
//!         self.0.start(number * number, done).map_err(|error| error.map(|_| number))
//!     }
//! }
//! ```

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::error::Error;
use core::fmt;
use core::time::Duration;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::queue::QueueHandle;
use crate::reactor::ReactorHandle;

mod deadline;
mod first;
mod hl;
mod hl_cancel_all;
mod layer;
mod ll_fake_cancel;
mod ll_real_cancel;
mod map;
mod ml_chain;
mod ml_pass_through;
mod ml_retries;
mod then;
mod thread_pool;

pub use deadline::Deadline;
pub use first::First;
pub use hl::Hl;
pub use hl_cancel_all::{Closed, HlCancelAll};
pub use layer::{Below, Gate, Layer, Lower};
pub use ll_fake_cancel::{LlFakeCancel, Work, resolve};
pub use ll_real_cancel::{LlAccept, LlConnect, LlRealCancel, LlWrite, Read, Socket, Write};
pub use map::Map;
pub use ml_chain::{Chain, MlChain, Next};
pub use ml_pass_through::MlPassThrough;
pub use ml_retries::{MlRetries, Retry, RetryPolicy};
pub use then::Then;
pub use thread_pool::ThreadPool;

/// A module that starts operations.
///
/// Made with `new`, it is not open yet. Dropping it does not harm operations that run, except with
/// [`HlCancelAll`], which cancels them.
///
/// `Rc<M>` and `Box<dyn Module<..>>` are modules too: one module can be shared by several layers, and a
/// stack whose type is too long to write can be boxed.
pub trait Module {
    /// What an operation is asked to do.
    type Request: 'static;
    /// What an operation answers.
    type Answer: 'static;
    /// How an operation fails.
    type Error: 'static;

    /// What is opened and closed with the module: its [`Gate`], and what it stands on.
    fn layer(&self) -> Layer<'_>;

    /// Starts an operation. Its result arrives at `done`, never before this has returned.
    ///
    /// # Errors
    ///
    /// Hands the request back, with the reason; `done` is then declined. What another attempt may cure is
    /// not an error here, but a result (rule O6).
    fn start(
        &self,
        request: Self::Request,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<AsyncOp, StartError<Self::Request>>;

    /// Accepts operations from now on. Opens what the module stands on, too.
    fn open(&self) {
        self.layer().open();
    }

    /// Accepts no more operations. Those that run go on.
    fn close(&self) {
        self.layer().close();
    }

    /// How many canceled operations still take something up, below: leftovers of fake cancels.
    fn leftovers(&self) -> usize {
        self.layer().leftovers()
    }

    /// Converts the results of operations. See [`Map`].
    fn map<A, E, F>(self, queue: &QueueHandle, convert: F) -> Map<Self, A, E, F>
    where
        Self: Sized + 'static,
        A: 'static,
        E: 'static,
        F: Fn(OpResult<Self::Answer, Self::Error>) -> OpResult<A, E> + 'static,
    {
        Map::new(queue, self, convert)
    }

    /// Lets an operation of `second` follow each one, with a request made of its result. See [`Then`].
    fn then<M, F>(self, queue: &QueueHandle, second: M, request: F) -> Then<Self, M, F>
    where
        Self: Sized + 'static,
        M: Module + 'static,
        F: Fn(OpResult<Self::Answer, Self::Error>) -> OpResult<M::Request, M::Error> + 'static,
    {
        Then::new(queue, self, second, request)
    }

    /// Tries several requests, one after the other, until one succeeds. See [`First`].
    fn first(self, queue: &QueueHandle) -> First<Self>
    where
        Self: Sized + 'static,
    {
        First::new(queue, self)
    }

    /// Cancels operations that are not complete after `limit`. See [`Deadline`].
    fn within(self, reactor: &ReactorHandle, limit: Duration) -> Deadline<Self>
    where
        Self: Sized + 'static,
    {
        Deadline::new(reactor, self, limit)
    }

    /// Repeats operations that fail, as `policy` says. See [`MlRetries`].
    fn retried(self, reactor: &ReactorHandle, policy: RetryPolicy<Self::Error>) -> MlRetries<Self>
    where
        Self: Sized + 'static,
    {
        MlRetries::new(reactor, self, policy)
    }
}

/// Modules behind a pointer.
macro_rules! module_behind {
    ($pointer:ident) => {
        impl<M: Module + ?Sized> Module for $pointer<M> {
            type Request = M::Request;
            type Answer = M::Answer;
            type Error = M::Error;

            fn layer(&self) -> Layer<'_> {
                (**self).layer()
            }

            fn start(
                &self,
                request: M::Request,
                done: Callback<OpResult<M::Answer, M::Error>>,
            ) -> Result<AsyncOp, StartError<M::Request>> {
                (**self).start(request, done)
            }

            fn open(&self) {
                (**self).open();
            }

            fn close(&self) {
                (**self).close();
            }

            fn leftovers(&self) -> usize {
                (**self).leftovers()
            }
        }
    };
}

module_behind!(Rc);
module_behind!(Box);

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
        match self {
            Self::NotOpen(_) => Box::new(StartError::NotOpen(())),
            Self::Failed { source, .. } => source,
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
