//! Futures: calls and operations that async code awaits.
//!
//! There is no executor here. The host's executor polls the futures on the queue's thread, and they
//! complete while the queue is dialed. So the thread of the executor must also turn the queue:
//! `docs/embedding.md` shows this with tokio.
//!
//! - [`callback`] makes a callback and the future of its answer.
//! - [`operation`] starts an operation whose result is awaited, and canceled if it is not.
//! - The other way round, a future can be polled by calls to a recipient, with a waker that
//!   schedules them (`RemoteAddress::waker`, of the feature `mio`):
//!
#![cfg_attr(feature = "mio", doc = "```")]
#![cfg_attr(not(feature = "mio"), doc = "```ignore")]
//! use std::pin::Pin;
//! use std::task::{self, Waker};
//! use switchboard::reactor::Reactor;
//! use switchboard::{Context, future};
//!
//! /// A recipient that is an async function.
//! struct Session {
//!     body: Pin<Box<dyn Future<Output = ()>>>,
//!     waker: Waker,
//! }
//!
//! impl Session {
//!     fn poll(&mut self, cx: &Context<'_, Self>) {
//!         if self.body.as_mut().poll(&mut task::Context::from_waker(&self.waker)).is_ready() {
//!             cx.hang_up();
//!         }
//!     }
//! }
//!
//! let mut reactor = Reactor::new()?;
//! let (question, answer) = future::callback(reactor.queue());
//! let session = reactor.queue().recipient_with(|own| Session {
//!     body: Box::pin(async { assert_eq!(answer.await, Ok(42)) }),
//!     waker: reactor.remote_to(own).waker(Session::poll),
//! });
//! session.call(Session::poll); // from here on, wake-ups do it
//! question.answer(42);
//! reactor.run()?;
//! assert!(session.is_gone());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::callback::Callback;
use crate::id::CallId;
use crate::op::{AsyncOp, CancelOnDrop, OpError, OpResult};
use crate::queue::QueueHandle;

/// Returns a callback, and a future of the value that it is answered with.
///
/// The future is ready once the call is dialed. Dropping the future cancels the call.
///
/// Cost: one allocation, beside the callback.
///
/// # Examples
///
/// ```
/// use std::pin::Pin;
/// use std::task::{Context, Poll, Waker};
/// use switchboard::{CallQueue, future};
///
/// let queue = CallQueue::new();
/// let (question, mut answer) = future::callback(&queue);
/// question.answer(42);
/// queue.dial_all();
/// // An executor polls it; by hand, to show the result:
/// let mut context = Context::from_waker(Waker::noop());
/// assert_eq!(Pin::new(&mut answer).poll(&mut context), Poll::Ready(Ok(42)));
/// ```
#[track_caller]
pub fn callback<A: 'static>(queue: &QueueHandle) -> (Callback<A>, CallbackFuture<A>) {
    let slot = Rc::new(AnswerSlot { state: Cell::new(AnswerState::Waiting(None)) });
    let filler = Filler { slot: Rc::clone(&slot) };
    let callback = queue.callback(move |_, value| filler.fill(value));
    let answer = CallbackFuture { slot, queue: queue.clone(), call: callback.id() };
    (callback, answer)
}

/// Starts an operation, and returns a future of its result.
///
/// To drop the future before it is ready cancels the operation. Its result is then not delivered.
///
/// # Errors
///
/// Returns the error of `start`.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::pin::Pin;
/// use std::task::{Context, Poll, Waker};
/// use switchboard::op::Operation;
/// use switchboard::{CallQueue, future};
///
/// let queue = CallQueue::new();
/// // Any start function: here is one that has its result at once.
/// let mut sum = future::operation(&queue, |done| {
///     let op = Operation::<_, _, Infallible>::new(done, (), |_| ());
///     op.complete(Ok(1 + 2)).expect("it runs");
///     Ok::<_, Infallible>(op.handle())
/// })?;
/// let mut context = Context::from_waker(Waker::noop());
/// assert_eq!(Pin::new(&mut sum).poll(&mut context), Poll::Pending);
/// queue.dial_all();
/// assert_eq!(Pin::new(&mut sum).poll(&mut context), Poll::Ready(Ok(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn operation<A: 'static, E: 'static, S>(
    queue: &QueueHandle,
    start: impl FnOnce(Callback<OpResult<A, E>>) -> Result<AsyncOp, S>,
) -> Result<OpFuture<A, E>, S> {
    let (done, answer) = callback(queue);
    let op = start(done)?.cancel_on_drop();
    Ok(OpFuture { answer, op })
}

/// The future of a callback's answer, made by [`callback`].
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "dropping the future cancels the call"]
pub struct CallbackFuture<A: 'static> {
    slot: Rc<AnswerSlot<A>>,
    queue: QueueHandle,
    call: CallId,
}

/// The call was not dialed: its caller declined or dropped it, it was canceled, or its queue is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("callback not answered: its caller declined or dropped it, or the call was canceled")]
pub struct Unanswered;

impl<A: 'static> Future for CallbackFuture<A> {
    type Output = Result<A, Unanswered>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.slot.poll(context.waker())
    }
}

impl<A: 'static> Drop for CallbackFuture<A> {
    fn drop(&mut self) {
        // An answer is dropped; otherwise the call is canceled, and its end wakes no task.
        if let AnswerState::Waiting(_) = self.slot.state.replace(AnswerState::Over) {
            let _ = self.queue.core().cancel_if_not_late(self.call, "future dropped");
        }
    }
}

impl<A: 'static> fmt::Debug for CallbackFuture<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackFuture({})", self.call)
    }
}

/// The future of an operation's result, made by [`operation`].
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "dropping the future cancels the operation"]
pub struct OpFuture<A: 'static, E: 'static> {
    // Fields drop in this order: first the call is silenced, then the operation canceled.
    answer: CallbackFuture<OpResult<A, E>>,
    op: CancelOnDrop,
}

impl<A: 'static, E: 'static> OpFuture<A, E> {
    /// Returns the id of the call that delivers the result. Observers name the operation by it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::op::Operation;
    /// # use switchboard::{CallQueue, future};
    /// # let queue = CallQueue::new();
    /// # let start = |done| {
    /// #     let op = Operation::<_, u32, Infallible>::new(done, (), |_| ());
    /// #     op.complete(Ok(3)).expect("it runs");
    /// #     Ok::<_, Infallible>(op.handle())
    /// # };
    /// let sum = future::operation(&queue, start)?;
    /// queue.name_call(sum.id(), "sum"); // how observers show the operation
    /// # drop(sum);
    /// # Ok::<(), Infallible>(())
    /// ```
    pub const fn id(&self) -> CallId {
        self.answer.call
    }

    /// Returns the handle, with which other code can cancel. The future then returns
    /// [`OpError::Canceled`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::op::{OpError, Operation};
    /// # use switchboard::{CallQueue, future};
    /// use std::pin::Pin;
    /// use std::task::{Context, Poll, Waker};
    /// # let queue = CallQueue::new();
    /// # let start = |done| {
    /// #     let op = Operation::<_, u32, Infallible>::new(done, (), |op| {
    /// #         let _ = op.complete(Err(OpError::Canceled));
    /// #     });
    /// #     let handle = op.handle();
    /// #     queue.call(move |_| drop(op)); // kept while it runs
    /// #     Ok::<_, Infallible>(handle)
    /// # };
    ///
    /// let mut operation = future::operation(&queue, start)?;
    /// let stop = operation.handle().clone(); // for a stop button
    /// let _ = stop.cancel();
    /// queue.dial_all();
    /// let mut context = Context::from_waker(Waker::noop());
    /// let result = Pin::new(&mut operation).poll(&mut context);
    /// assert_eq!(result, Poll::Ready(Err(OpError::Canceled)));
    /// # Ok::<(), Infallible>(())
    /// ```
    pub const fn handle(&self) -> &AsyncOp {
        self.op.handle()
    }
}

impl<A: 'static, E: 'static> Future for OpFuture<A, E> {
    type Output = OpResult<A, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = self.answer.slot.poll(context.waker());
        result.map(|answered| answered.unwrap_or(Err(OpError::Dropped)))
    }
}

impl<A: 'static, E: 'static> fmt::Debug for OpFuture<A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpFuture({:?}, {})", self.handle().state(), self.answer.call)
    }
}

/// Where the answer goes.
struct AnswerSlot<A> {
    state: Cell<AnswerState<A>>,
}

enum AnswerState<A> {
    /// There is no answer yet; the waker, if the future was polled.
    Waiting(Option<Waker>),
    Answered(A),
    Lost,
    /// The future was ready, or is gone.
    Over,
}

impl<A> AnswerSlot<A> {
    fn poll(&self, waker: &Waker) -> Poll<Result<A, Unanswered>> {
        match self.state.replace(AnswerState::Over) {
            AnswerState::Waiting(before) => {
                // The waker is code of a user: what it does while it is cloned finds the old one.
                let same = before.as_ref().is_some_and(|before| before.will_wake(waker));
                self.state.set(AnswerState::Waiting(before));
                if !same {
                    self.keep(waker.clone());
                }
                Poll::Pending
            }
            AnswerState::Answered(value) => Poll::Ready(Ok(value)),
            AnswerState::Lost => Poll::Ready(Err(Unanswered)),
            AnswerState::Over => panic!("a future was polled after it was ready; drop it instead"),
        }
    }

    /// Keeps the waker, or wakes it if the answer is there already.
    fn keep(&self, waker: Waker) {
        match self.state.replace(AnswerState::Over) {
            AnswerState::Waiting(before) => {
                self.state.set(AnswerState::Waiting(Some(waker)));
                drop(before);
            }
            come => {
                self.state.set(come);
                waker.wake();
            }
        }
    }

    /// Ends the waiting.
    fn settle(&self, state: AnswerState<A>) {
        match self.state.replace(AnswerState::Over) {
            AnswerState::Waiting(waker) => {
                self.state.set(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            // The future is gone; or the answer has come, and this is the end of who brought it.
            other => self.state.set(other),
        }
    }
}

/// Delivers the answer or, when it is dropped, the news that there is none.
struct Filler<A> {
    slot: Rc<AnswerSlot<A>>,
}

impl<A> Filler<A> {
    fn fill(&self, value: A) {
        self.slot.settle(AnswerState::Answered(value));
    }
}

impl<A> Drop for Filler<A> {
    fn drop(&mut self) {
        self.slot.settle(AnswerState::Lost);
    }
}
