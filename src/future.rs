//! Futures, for those who have async code around: calls and operations that can be awaited.
//!
//! Thin by intent: there is no executor here. What is awaited is polled by an executor of yours on
//! the queue's thread, and completes while the queue is dialed. So whoever runs the executor also
//! turns the queue: `docs/embedding.md` shows it with tokio.
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

/// Makes a callback, and the future of the value that it is answered with.
///
/// The future is ready once the call is dialed. Dropping the future cancels the call.
///
/// Cost: one allocation, beside the callback.
#[track_caller]
pub fn callback<A: 'static>(queue: &QueueHandle) -> (Callback<A>, CallbackFuture<A>) {
    let slot = Rc::new(AnswerSlot { state: Cell::new(AnswerState::Waiting(None)) });
    let filler = Filler { slot: Rc::clone(&slot) };
    let callback = queue.callback(move |_, value| filler.fill(value));
    let answer = CallbackFuture { slot, queue: queue.clone(), call: callback.id() };
    (callback, answer)
}

/// Starts an operation, whose result the future is of.
///
/// Dropping the future before that cancels the operation, and nothing is reported then.
///
/// # Errors
///
/// Passes on the error of `start`.
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

/// The call was not dialed: its caller declined or lost it, somebody canceled it, or its queue is
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the callback was not answered")]
pub struct Unanswered;

impl<A: 'static> Future for CallbackFuture<A> {
    type Output = Result<A, Unanswered>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.slot.poll(context.waker())
    }
}

impl<A: 'static> Drop for CallbackFuture<A> {
    fn drop(&mut self) {
        // What has come is dropped, or else the call canceled; its end is not to wake anybody.
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
    /// The id of the call that delivers the result: for observers, the name of the operation.
    pub const fn id(&self) -> CallId {
        self.answer.call
    }

    /// The handle, for whoever else may cancel: the future is then that of
    /// [`OpError::Canceled`].
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
    /// Nothing has come yet; who is to be woken when it does.
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
            AnswerState::Over => panic!("a future was polled after it was ready"),
        }
    }

    /// Keeps the waker, or wakes it if the answer has come meanwhile.
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

/// Brings the answer, or the news that none comes.
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
