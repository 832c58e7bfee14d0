//! What is checked: a module of the user's, and an operation that it started.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

use crate::callback::Callback;
use crate::conformance::scenario::Timing;
use crate::op::{AsyncOp, OpResult};
use crate::samples::Module;

/// A module whose operations are to be checked, with all that starting one takes.
///
/// It makes its requests itself: how an operation ends when nobody cancels it is its own affair, as
/// long as it is neither [`Canceled`](crate::op::OpError::Canceled) nor
/// [`Dropped`](crate::op::OpError::Dropped).
///
/// Registrations, timers and callbacks that it keeps for itself, whatever operations run, it makes
/// in `open` at the latest, and lets go when it is dropped.
pub trait Subject: 'static {
    /// What an operation answers.
    type Answer: 'static;
    /// How an operation fails.
    type Error: 'static;

    /// Whether operations can be started between [`open`](Self::open) and [`close`](Self::close)
    /// only. If not, the scenarios before open are left out.
    const GATED: bool = true;

    /// Lets operations be started.
    fn open(&self) {}

    /// Lets no more operations be started. Comes once in the end; closing again is a no-op.
    fn close(&self) {}

    /// Cancels all operations that run; called only where they have no handles of their own.
    ///
    /// Closing does that, unless said otherwise.
    fn cancel_all(&self) {
        self.close();
    }

    /// Starts an operation that is `ready` at once, or later; its result is to arrive at `done`.
    ///
    /// # Errors
    ///
    /// Says why not; `done` is then declined. This is what is wanted where the module is not open.
    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<Started, Box<dyn Error>>;
}

/// A [`Module`] as a subject, with what makes its requests and triggers.
pub(super) struct ModuleSubject<M, Q> {
    pub(super) module: M,
    pub(super) request: Q,
}

impl<M, Q, T> Subject for ModuleSubject<M, Q>
where
    M: Module + 'static,
    Q: Fn(Timing) -> (M::Request, T) + 'static,
    T: FnOnce() + 'static,
{
    type Answer = M::Answer;
    type Error = M::Error;

    fn open(&self) {
        self.module.open();
    }

    fn close(&self) {
        self.module.close();
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
    pub const fn new(op: AsyncOp) -> Self {
        Self { op: Some(op), trigger: None }
    }

    /// One without a handle: it is canceled with all others ([`Subject::cancel_all`]).
    pub const fn without_handle() -> Self {
        Self { op: None, trigger: None }
    }

    /// Says how to make the operation ready. One that is ready [later](Timing::Later) needs it.
    ///
    /// Each trigger is pulled once: even after a cancel, as what cannot be canceled has to come to
    /// an end, and even if the operation was ready at once.
    pub fn with_trigger(self, trigger: impl FnOnce() + 'static) -> Self {
        Self { trigger: Some(Box::new(trigger)), ..self }
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("op", &self.op).finish_non_exhaustive()
    }
}
