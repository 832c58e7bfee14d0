//! Modules that show how to use [`AsyncOp`](crate::op::AsyncOp) without races, and that real programs
//! can build on.
//!
//! A module in the middle has a recipient: the results of the layer below arrive as calls to it, one at a time. It
//! starts operations on behalf of the layer above, which may be another module. All share one trait,
//! [`Module`], so any middle or high layer stands on any lower one. ([`Hl`] has none, as it only forwards.)
//!
//! | module | an operation of it | its cancel |
//! |---|---|---|
//! | [`LlRealCancel`] | reads from a [`Socket`] | really cancels: nothing is read, the socket stays |
//! | [`LlFakeCancel`] | runs blocking work on a thread | is a pretense: the work continues, its result is swallowed |
//! | [`MlPassThrough`] | is one of the layer below | passes it on |
//! | [`MlChain`] | is several of the layers below, each after the one before | reaches the latest, and none follows |
//! | [`MlRetries`] | is one of the layer below, again until it succeeds | reaches the latest, or the timer between |
//! | [`Hl`] | is one of the layer below, for a user who has the handle | passes it on |
//! | [`HlCancelAll`] | is one of the layer below, in a list | one by its handle, all by closing |
//!
//! The low layer (LL) calls something that knows no `AsyncOp`; the middle layer (ML) calls LL or
//! ML and passes cancellation on; the high layer (HL) drives the cancellation of the whole.
//!
//! Beside the read there are [`LlWrite`], [`LlAccept`] and [`LlConnect`]. Around them, and made by methods of [`ModuleExt`]:
//!
//! | module | an operation of it | made by |
//! |---|---|---|
//! | [`MapResult`] | is one of the layer below, with its result converted | [`map`](ModuleExt::map) |
//! | [`Then`] | is one of the layer below, and one of another layer after it | [`then`](ModuleExt::then) |
//! | [`FirstOf`] | is several of the layer below, until one succeeds | [`first`](ModuleExt::first) |
//! | [`Deadline`] | is one of the layer below, for so long at most | [`within`](ModuleExt::within) |
//! | [`MlRetries`], [`HlCancelAll`] | see above | [`retried`](ModuleExt::retried), [`cancel_all`](ModuleExt::cancel_all) |
//!
//! # A layer of one's own
//!
//! needs three types and two functions; the trait provides the rest:
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

mod deadline;
mod error;
mod ext;
mod first;
mod gate;
mod hl;
mod hl_cancel_all;
mod ll_accept;
mod ll_connect;
mod ll_fake_cancel;
mod ll_real_cancel;
mod ll_write;
mod map;
mod ml_chain;
mod ml_pass_through;
mod ml_retries;
mod module;
mod then;
mod thread_pool;

pub use deadline::Deadline;
pub use error::StartError;
pub use ext::ModuleExt;
pub use first::FirstOf;
pub use gate::{Gate, Lower};
pub use hl::Hl;
pub use hl_cancel_all::{Closed, HlCancelAll};
pub use ll_accept::LlAccept;
pub use ll_connect::LlConnect;
pub use ll_fake_cancel::{LlFakeCancel, Work, resolve};
pub use ll_real_cancel::{LlRealCancel, Read, Socket};
pub use ll_write::{LlWrite, Write};
pub use map::MapResult;
pub use ml_chain::{Chain, MlChain, Next};
pub use ml_pass_through::MlPassThrough;
pub use ml_retries::{MlRetries, Retry, RetryPolicy};
pub use module::{Below, Layer, Module};
pub use then::Then;
pub use thread_pool::ThreadPool;
