//! Cancellable asynchronous operations.
//!
//! A *start function* begins an operation and returns its handle, an [`AsyncOp`], for the caller to
//! cancel it with. The result arrives as a call to the callback that the caller passed in. The handle
//! refers to an [`Operation`], which belongs to the module:
//!
//! ```
//! use std::convert::Infallible;
//! use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
//! use switchboard::{Callback, CallQueue};
//!
//! /// Starts an operation that does nothing until it is canceled.
//! fn wait(done: Callback<OpResult<(), Infallible>>) -> (AsyncOp, Operation<(), (), Infallible>) {
//!     let op = Operation::new(done, (), |op| {
//!         let _ = op.complete(Err(OpError::Canceled));
//!     });
//!     (op.handle(), op)
//! }
//!
//! let queue = CallQueue::new();
//! let done = queue.callback(|_, result| assert!(matches!(result, Err(OpError::Canceled))));
//! let (handle, _operation) = wait(done);
//! handle.cancel();
//! assert_eq!(queue.dial_all().dialed, 1);
//! ```
//!
//! # Rules
//!
//! - **O1** If a start function returns an `AsyncOp`, its callback is called exactly once, eventually.
//!   If it returns an error, the callback is never called (it is [declined](Operation::decline)). If a
//!   module loses an operation, the result is [`OpError::Dropped`]: the drop of the last [`Operation`]
//!   answers the callback.
//! - **O2** The callback never runs inside the start function or inside [`AsyncOp::cancel`], even if
//!   the result is ready at once: the queue dials it.
//! - **O3** [`AsyncOp::cancel`] runs the cancel hook once, and is a no-op after that. The states are
//!   Running, optionally Canceling, and Completed, which is final; [`AsyncOp::state`] returns the
//!   current one.
//! - **O4** The result is fixed when its call is scheduled. A cancel of the operation between that and
//!   the dial is late, and the real result arrives. A cancel of the *call*, by the callback's id,
//!   silences it: nothing arrives. So a canceled call is silent, and a canceled operation delivers one
//!   [`OpError::Canceled`].
//! - **O5** Dropping an `AsyncOp` does not cancel; dropping a [`CancelOnDrop`] does.
//! - **O6** A failure that a retry may cure is a result, not an error of the start: a limit that is
//!   reached, a connect that fails at once. A start function returns an error only if the same request
//!   can never succeed, as when the module is not open, or if the caller must see the error before it
//!   continues.
//! - **O7** A start function can be answered from another thread: by a `RemoteCallback` (of the feature
//!   `mio`), which is `Send`. Dropping it unanswered is a bug (R5), reported on the reactor's thread.

use alloc::rc::Rc;
use core::any::type_name;
use core::cell::Cell;
use core::panic::Location;
use core::{fmt, mem};

use crate::callback::Callback;
use crate::erased::Site;
use crate::erased::{Counted, Dispatch, WeakErased};
use crate::id::CallId;
use crate::op_step::{OpStep, Outcome};
use crate::outcome::Cancellation;
use crate::queue::QueueHandle;
use crate::unwind::in_drop;

mod error;
mod state;

pub use error::{OpError, OpResult};
pub use state::OpState;
use state::{OpAction, OpEvent};

/// The cancelable handle of one operation. Cloning counts a reference.
#[doc(alias("AsyncJob", "task", "cancellation token"))]
#[derive(Clone)]
pub struct AsyncOp {
    op: WeakErased<OpFunctions>,
}

impl AsyncOp {
    /// Cancels the operation, and returns what this did: a no-op if it is canceled or complete already
    /// (rules O3 and O4).
    ///
    /// # Panics
    ///
    /// If the module's cancel hook or an observer panics. The hook runs in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::op::{OpError, OpResult, Operation};
    /// use switchboard::{CallQueue, Cancellation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, result: OpResult<(), String>| {
    ///     assert_eq!(result, Err(OpError::Canceled));
    /// });
    /// // What a start function does: the cancel hook completes the operation.
    /// let operation = Operation::new(done, (), |op| drop(op.complete(Err(OpError::Canceled))));
    /// let handle = operation.handle();
    /// assert_eq!(handle.cancel(), Cancellation::Canceled);
    /// assert_eq!(handle.cancel(), Cancellation::Late); // complete already: a no-op
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    #[track_caller]
    pub fn cancel(&self) -> Cancellation {
        (self.op.functions().cancel)(&self.op, Location::caller())
    }

    /// Returns the state of the operation.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpResult, OpState, Operation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, _: OpResult<u32, String>| ());
    /// let operation = Operation::new(done, (), |_| ());
    /// let handle = operation.handle();
    /// assert_eq!(handle.state(), OpState::Running);
    /// operation.complete(Ok(7)).expect("it runs");
    /// assert_eq!(handle.state(), OpState::Completed);
    /// # queue.dial_all();
    /// ```
    pub fn state(&self) -> OpState {
        (self.op.functions().state)(&self.op)
    }

    /// Returns a guard that cancels the operation when it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{CancelOnDrop, OpError, OpResult, Operation};
    ///
    /// struct Session { lookup: Option<CancelOnDrop> }
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, result: OpResult<u32, String>| {
    ///     assert_eq!(result, Err(OpError::Canceled));
    /// });
    /// let operation = Operation::new(done, (), |op| drop(op.complete(Err(OpError::Canceled))));
    /// let session = Session { lookup: Some(operation.handle().cancel_on_drop()) };
    /// drop(session); // the lookup does not outlive it
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub const fn cancel_on_drop(self) -> CancelOnDrop {
        CancelOnDrop { op: self, armed: true }
    }
}

impl fmt::Debug for AsyncOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncOp({:?})", self.state())
    }
}

/// Cancels an operation when it is dropped. Made by [`AsyncOp::cancel_on_drop`].
#[derive(Debug)]
#[must_use = "dropping the guard cancels the operation"]
pub struct CancelOnDrop {
    op: AsyncOp,
    armed: bool,
}

impl CancelOnDrop {
    /// Returns the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpError, OpResult, OpState, Operation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, _: OpResult<u32, String>| ());
    /// let operation = Operation::new(done, (), |op| drop(op.complete(Err(OpError::Canceled))));
    /// let guard = operation.handle().cancel_on_drop();
    /// assert_eq!(guard.handle().state(), OpState::Running);
    /// drop(guard);
    /// # queue.dial_all();
    /// ```
    pub const fn handle(&self) -> &AsyncOp {
        &self.op
    }

    /// Returns the handle, and does not cancel.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpResult, OpState, Operation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, _: OpResult<u32, String>| ());
    /// let operation = Operation::new(done, (), |_| ());
    /// let guard = operation.handle().cancel_on_drop();
    /// // The session is set up: from now on, the operation may outlive this function.
    /// let handle = guard.disarm();
    /// assert_eq!(handle.state(), OpState::Running);
    /// # operation.complete(Ok(1)).expect("it runs");
    /// # queue.dial_all();
    /// ```
    pub fn disarm(mut self) -> AsyncOp {
        self.armed = false;
        self.op.clone()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.armed {
            in_drop(|| _ = self.op.cancel());
        }
    }
}

/// The module's side of an operation: its context `C`, its cancel hook and the upper callback, in
/// one block of memory. Cloning counts a reference; when the last one goes, so does the context.
///
/// `A` is what the operation answers, `E` how it fails.
pub struct Operation<C: 'static, A: 'static, E: 'static> {
    cell: Counted<OpCell<C, A, E>>,
}

struct OpCell<C: 'static, A: 'static, E: 'static> {
    state: Cell<OpState>,
    upper: Cell<Option<Callback<OpResult<A, E>>>>,
    on_cancel: fn(&Operation<C, A, E>),
    context: C,
}

impl<C: 'static, A: 'static, E: 'static> Operation<C, A, E> {
    /// Creates an operation, which is Running.
    ///
    /// `on_cancel` runs inside [`AsyncOp::cancel`], at most once, while the state is Canceling. It must
    /// complete the operation, now or later. It captures nothing: its data is in the context.
    ///
    /// Cost: a block of memory of the queue's, which is used again once the operation and all its handles
    /// are gone; an allocation if the queue has none of that size, or for a context of more than some 200 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "mio")] {
    /// use std::cell::Cell;
    /// use std::convert::Infallible;
    /// use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
    /// use switchboard::reactor::{ReactorHandle, Timer};
    /// use switchboard::Callback;
    ///
    /// /// Starts a pause that can be canceled.
    /// fn pause(
    ///     reactor: &ReactorHandle,
    ///     seconds: u64,
    ///     done: Callback<OpResult<(), Infallible>>,
    /// ) -> AsyncOp {
    ///     let timer = Cell::new(None::<Timer>);
    ///     let op = Operation::new(done, timer, |op| {
    ///         drop(op.context().take()); // cancels the timer
    ///         let _ = op.complete(Err(OpError::Canceled));
    ///     });
    ///     let upper = op.clone();
    ///     let due = reactor.queue().callback(move |_, ()| drop(upper.complete(Ok(()))));
    ///     op.context().set(Some(reactor.after(std::time::Duration::from_secs(seconds), due)));
    ///     op.handle()
    /// }
    /// # let mut reactor = switchboard::reactor::Reactor::new().expect("a poll");
    /// # let done = reactor.queue().callback(|_, paused| assert_eq!(paused, Err(OpError::Canceled)));
    /// # let _ = pause(&reactor, 60, done).cancel();
    /// # reactor.run().expect("a poll");
    /// # }
    /// ```
    #[track_caller]
    pub fn new(upper: Callback<OpResult<A, E>>, context: C, on_cancel: fn(&Self)) -> Self {
        let site = Location::caller();
        let reporter = StepReporter::of(&upper);
        let state = Cell::new(OpState::Running);
        let free = Rc::clone(&upper.core().free_blocks);
        let upper = Cell::new(Some(upper));
        let op = Self { cell: Counted::new(free, OpCell { state, upper, on_cancel, context }) };
        reporter.report(|| OpStep::Started { context: type_name::<C>(), site });
        op
    }

    /// Returns the handle for the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use switchboard::op::{AsyncOp, OpResult, Operation};
    /// use switchboard::{Callback, CallQueue};
    ///
    /// /// A start function: it returns the handle, and keeps the operation where the result will come.
    /// fn start(done: Callback<OpResult<u32, Infallible>>) -> AsyncOp {
    ///     let operation = Operation::new(done, (), |_| ());
    ///     let handle = operation.handle();
    ///     operation.complete(Ok(7)).expect("it runs");
    ///     handle
    /// }
    ///
    /// let queue = CallQueue::new();
    /// let _handle = start(queue.callback(|_, result| assert_eq!(result, Ok(7))));
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn handle(&self) -> AsyncOp {
        AsyncOp { op: self.cell.downgrade() }
    }

    /// Returns the data that the module keeps for this operation.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpError, OpResult, Operation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, read: OpResult<usize, String>| assert_eq!(read, Ok(12)));
    /// // The context counts what has been read so far.
    /// let operation = Operation::new(done, Cell::new(0), |op| drop(op.complete(Err(OpError::Canceled))));
    /// let count = operation.context();
    /// count.set(count.get() + 12);
    /// operation.complete(Ok(count.get())).expect("it runs");
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn context(&self) -> &C {
        &self.cell.context
    }

    /// Returns the state of the operation.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpError, OpResult, OpState, Operation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, result: OpResult<u32, String>| {
    ///     assert_eq!(result, Err(OpError::Canceled));
    /// });
    /// let operation = Operation::new(done, (), |_| ()); // its hook leaves it to the next step
    /// let _ = operation.handle().cancel();
    /// // The next step, before it begins:
    /// if operation.state() == OpState::Canceling {
    ///     operation.complete(Err(OpError::Canceled)).expect("not complete yet");
    /// }
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn state(&self) -> OpState {
        self.cell.state.get()
    }

    /// Reports to observers that the operation continues with `call`: the completion of a lower
    /// operation, or a timer. This has no other effect; a journal learns the layers from it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpResult, Operation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, result: OpResult<u32, String>| assert_eq!(result, Ok(7)));
    /// let operation = Operation::new(done, (), |_| ());
    /// let upper = operation.clone();
    /// let lower = queue.callback(move |_, value| drop(upper.complete(Ok(value))));
    /// operation.waits_for(lower.id()); // so that the journal shows one layer above the other
    /// lower.answer(7);
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    pub fn waits_for(&self, call: CallId) {
        self.cell.reporter().report(|| OpStep::WaitsFor { call });
    }

    /// Completes the operation: schedules the call that delivers `result` to the caller.
    ///
    /// # Errors
    ///
    /// Returns `result` if the operation is complete already (rule O1).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpError, OpResult, Operation};
    ///
    /// let queue = CallQueue::new();
    /// let done = queue.callback(|_, result: OpResult<u32, String>| {
    ///     assert_eq!(result, Err(OpError::Canceled));
    /// });
    /// let operation = Operation::new(done, (), |op| drop(op.complete(Err(OpError::Canceled))));
    /// let _ = operation.handle().cancel();
    /// // The completion comes after all. It is late, and gets its result back.
    /// assert_eq!(operation.complete(Ok(7)), Err(Ok(7)));
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    #[track_caller]
    pub fn complete(&self, result: OpResult<A, E>) -> Result<(), OpResult<A, E>> {
        self.cell.complete(result)
    }

    /// Takes the start back, with `reason`: the callback will never be called.
    ///
    /// A start function calls this before it returns an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::op::{AsyncOp, OpResult, Operation};
    /// use switchboard::{Callback, CallQueue};
    ///
    /// fn start(path: &str, done: Callback<OpResult<u64, String>>) -> Result<AsyncOp, String> {
    ///     let operation = Operation::new(done, (), |_| ());
    ///     if path.is_empty() {
    ///         operation.decline("no path"); // `done` will never be called
    ///         return Err("no path given".into());
    ///     }
    ///     operation.complete(Ok(4096)).expect("it runs");
    ///     Ok(operation.handle())
    /// }
    ///
    /// let queue = CallQueue::new();
    /// assert!(start("", queue.callback(|_, _| ())).is_err());
    /// assert_eq!(queue.tally().canceled, 1);
    /// ```
    pub fn decline(self, reason: &'static str) {
        self.cell.state.set(OpState::Completed);
        if let Some(upper) = self.cell.upper.take() {
            let reporter = StepReporter::of(&upper);
            upper.decline(reason);
            reporter.report(|| OpStep::Declined { reason });
        }
    }
}

impl<C: 'static, A: 'static, E: 'static> Clone for Operation<C, A, E> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone() }
    }
}

impl<C: 'static, A: 'static, E: 'static> fmt::Debug for Operation<C, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operation({:?})", self.state())
    }
}

impl<C: 'static, A: 'static, E: 'static> OpCell<C, A, E> {
    /// Who is notified of a step; no one once the callback is used up.
    #[inline]
    fn reporter(&self) -> StepReporter {
        let Some(upper) = self.upper.take() else { return StepReporter(None) };
        let reporter = StepReporter::of(&upper);
        self.upper.set(Some(upper));
        reporter
    }

    #[track_caller]
    fn complete(&self, result: OpResult<A, E>) -> Result<(), OpResult<A, E>> {
        let (state, action) = self.state.get().on(OpEvent::Complete);
        self.state.set(state);
        match self.upper.take() {
            Some(upper) if action == OpAction::Answer => {
                let reporter = StepReporter::of(&upper);
                let outcome = Outcome::of(&result);
                // If the queue is gone, no one is left to be notified.
                upper.answer(result);
                reporter.report(|| OpStep::Completed { outcome });
                Ok(())
            }
            _ => Err(result),
        }
    }

    /// Completes the operation, which its module has lost.
    #[cold]
    #[inline(never)]
    fn lose(&self) {
        let is_canceled = self.state.get() == OpState::Canceling;
        let error = if is_canceled { OpError::Canceled } else { OpError::Dropped };
        in_drop(|| _ = self.complete(Err(error)));
    }
}

impl<C: 'static, A: 'static, E: 'static> Drop for OpCell<C, A, E> {
    /// Keeps O1: the callback is answered even if the module forgot to.
    fn drop(&mut self) {
        if self.state.get() != OpState::Completed {
            self.lose();
        }
    }
}

/// What a handle does, which does not know the types of its operation.
struct OpFunctions {
    cancel: fn(&WeakErased<Self>, Site) -> Cancellation,
    state: fn(&WeakErased<Self>) -> OpState,
}

impl<C: 'static, A: 'static, E: 'static> Dispatch for OpCell<C, A, E> {
    type Functions = OpFunctions;
    const FUNCTIONS: &'static OpFunctions =
        &OpFunctions { cancel: cancel::<C, A, E>, state: state::<C, A, E> };
}

fn cancel<C: 'static, A: 'static, E: 'static>(
    op: &WeakErased<OpFunctions>,
    site: Site,
) -> Cancellation {
    let Some(cell) = op.upgrade::<OpCell<C, A, E>>() else { return Cancellation::Late };
    let (state, action) = cell.state.get().on(OpEvent::Cancel);
    cell.state.set(state);
    match action {
        OpAction::RunHook => {
            let reporter = cell.reporter();
            let operation = Operation { cell };
            let hook = HookOnDrop(&operation);
            reporter.report(|| OpStep::Canceling { site });
            mem::forget(hook);
            (operation.cell.on_cancel)(&operation);
            Cancellation::Canceled
        }
        OpAction::Already => Cancellation::Already,
        OpAction::Answer | OpAction::Late => Cancellation::Late,
    }
}

fn state<C: 'static, A: 'static, E: 'static>(op: &WeakErased<OpFunctions>) -> OpState {
    op.upgrade::<OpCell<C, A, E>>().map_or(OpState::Completed, |cell| cell.state.get())
}

/// Runs the cancel hook of an operation if the observer panics before.
struct HookOnDrop<'a, C: 'static, A: 'static, E: 'static>(&'a Operation<C, A, E>);

impl<C: 'static, A: 'static, E: 'static> Drop for HookOnDrop<'_, C, A, E> {
    fn drop(&mut self) {
        in_drop(|| (self.0.cell.on_cancel)(self.0));
    }
}

/// Who is notified of an operation's step, if anyone: made before the step, as that may use up the
/// callback that knows, and used after it.
#[must_use]
struct StepReporter(Option<(QueueHandle, CallId)>);

impl StepReporter {
    /// The operation whose upper callback is `upper`.
    #[inline(always)]
    fn of<A>(upper: &Callback<A>) -> Self {
        if upper.core().is_observed() { Self::observed(upper) } else { Self(None) }
    }

    #[cold]
    fn observed<A>(upper: &Callback<A>) -> Self {
        Self(Some((upper.queue(), upper.id())))
    }

    #[inline(always)]
    fn report(self, step: impl FnOnce() -> OpStep) {
        if let Some((queue, operation)) = self.0 {
            queue.core().notify_of_operation(operation, &step());
        }
    }
}
