//! The subject of the checks: a module, and an operation that it started.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

use crate::callback::Callback;
use crate::conformance::scenario::Timing;
use crate::op::{AsyncOp, OpResult};
use crate::samples::Module;

/// A module under test, and how its operations are started.
///
/// It makes its requests itself. An operation that is not canceled may end in any way but
/// [`Canceled`](crate::op::OpError::Canceled) and [`Dropped`](crate::op::OpError::Dropped).
///
/// Registrations, timers, remotes and callbacks that the module keeps beside its operations must be made in
/// `open` at the latest, and must be dropped with the module.
pub trait Subject: 'static {
    /// What an operation answers.
    type Answer: 'static;
    /// How an operation fails.
    type Error: 'static;

    /// Returns whether operations can be started between [`open`](Self::open) and [`close`](Self::close)
    /// only. If not, the scenarios before open, and those that close as an operation starts, are left out.
    fn is_gated(&self) -> bool {
        true
    }

    /// Lets operations be started.
    fn open(&self) {}

    /// Refuses further operations. It is called once at the end; a second close is a no-op.
    fn close(&self) {}

    /// Cancels all operations that run; called only where they have no handles of their own.
    ///
    /// The default is to close.
    fn cancel_all(&self) {
        self.close();
    }

    /// Makes the layer below refuse starts, while this one is open; returns false if there is none that
    /// can.
    ///
    /// Called at the end. The default returns false.
    fn close_below(&self) -> bool {
        false
    }

    /// Returns the number of canceled operations that still hold resources below, as
    /// [`Module::leftovers`] does. If there is none, nothing may be left below a canceled operation whose
    /// callback was called, even before its trigger is pulled.
    ///
    /// The default is 0.
    fn leftovers(&self) -> usize {
        0
    }

    /// Starts an operation that is `ready` at once, or later; its result must arrive at `done`.
    ///
    /// # Errors
    ///
    /// Returns the reason; `done` is then declined. The kit expects this if the module is not open.
    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<Started, Box<dyn Error>>;
}

/// A [`Module`] as a subject, with what makes its requests and triggers.
pub(super) struct ModuleSubject<M, Q> {
    module: M,
    request: Q,
}

impl<M, Q> ModuleSubject<M, Q> {
    pub(super) fn new((module, request): (M, Q)) -> Self {
        Self { module, request }
    }
}

impl<M, Q, T> Subject for ModuleSubject<M, Q>
where
    M: Module + 'static,
    Q: Fn(Timing) -> (M::Request, T) + 'static,
    T: FnOnce() + 'static,
{
    type Answer = M::Answer;
    type Error = M::Error;

    fn is_gated(&self) -> bool {
        self.module.layer().is_gated()
    }

    fn open(&self) {
        self.module.open();
    }

    fn close(&self) {
        self.module.close();
    }

    fn close_below(&self) -> bool {
        let layer = self.module.layer();
        layer.close_below();
        layer.is_on_another()
    }

    fn leftovers(&self) -> usize {
        self.module.leftovers()
    }

    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<M::Answer, M::Error>>,
    ) -> Result<Started, Box<dyn Error>> {
        let (request, trigger) = (self.request)(ready);
        let op = self.module.start(request, done).map_err(|error| error.map(drop))?;
        Ok(Started::new(op).with_trigger(trigger))
    }
}

/// An operation that a [`Subject`] has started.
#[must_use = "the operation is to be checked"]
pub struct Started {
    pub(super) op: Option<AsyncOp>,
    pub(super) trigger: Option<Trigger>,
}

pub(super) type Trigger = Box<dyn FnOnce()>;

impl Started {
    /// One with a handle, by which it is canceled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::CallQueue;
    /// use switchboard::conformance::Started;
    /// use switchboard::op::{OpResult, Operation};
    ///
    /// # let queue = CallQueue::new();
    /// # let done = queue.callback(|_, _: OpResult<u32, Infallible>| ());
    /// // In `Subject::start`:
    /// let operation = Operation::new(done, (), |_| ());
    /// let started = Started::new(operation.handle());
    /// # drop(started.with_trigger(|| ()));
    /// # operation.complete(Ok(1)).expect("it runs");
    /// # queue.dial_all();
    /// ```
    pub const fn new(op: AsyncOp) -> Self {
        Self { op: Some(op), trigger: None }
    }

    /// One without a handle: it is canceled with all others ([`Subject::cancel_all`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::conformance::Started;
    ///
    /// // In `Subject::start`, for a module that cancels all its operations, and none alone:
    /// let started = Started::without_handle();
    /// # drop(started.with_trigger(|| ()));
    /// ```
    pub const fn without_handle() -> Self {
        Self { op: None, trigger: None }
    }

    /// Sets the function that makes the operation ready. An operation that is ready
    /// [later](Timing::Later) needs it.
    ///
    /// Each trigger is called once: even after a cancel, as work that cannot be canceled must end too,
    /// and even if the operation was ready at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::CallQueue;
    /// use switchboard::conformance::Started;
    /// use switchboard::op::{OpResult, Operation};
    ///
    /// # let queue = CallQueue::new();
    /// # let done = queue.callback(|_, _: OpResult<u32, Infallible>| ());
    /// # let operation = Operation::new(done, (), |_| ());
    /// // In `Subject::start`: what makes the operation ready. After a cancel it comes too late.
    /// let started = Started::new(operation.handle());
    /// let started = started.with_trigger(move || drop(operation.complete(Ok(3))));
    /// # drop(started);
    /// # queue.dial_all();
    /// ```
    pub fn with_trigger(self, trigger: impl FnOnce() + 'static) -> Self {
        Self { trigger: Some(Box::new(trigger)), ..self }
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("op", &self.op).finish_non_exhaustive()
    }
}
