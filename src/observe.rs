//! Who is notified of the steps of calls and operations.

use alloc::rc::Rc;

use crate::id::CallId;
use crate::op_step::OpStep;
use crate::step::Step;

/// Sees every step of every call of a queue, as it happens.
///
/// An observer is told after the queue's own state has changed, with nothing borrowed, so it may
/// use the queue. If it panics, the panic goes to whoever caused the step (the one who schedules,
/// cancels or dials) and the queue stays right; during an unwinding it aborts the process, as any
/// second panic does.
///
/// Closures are observers:
///
/// ```
/// use switchboard::{CallId, CallQueue, Step};
///
/// let queue = CallQueue::new();
/// queue.set_observer(|call: CallId, step: &Step| println!("call {call}: {step}"));
/// queue.call(|_| ()); // prints that call #0 is created and scheduled, and where
/// queue.dial_all(); // prints that it is dialed and finished
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// So are pairs of observers: each step is told to the first, then to the second. If the first
/// panics, the second misses that step. If the first dials or cancels, the second is told of what
/// comes of it before it is told of that step: put the one that acts last, behind a journal say.
///
/// Cost: one predictable branch for each step while no observer is set.
pub trait Observer {
    /// Receives one step of one call.
    fn observe(&self, call: CallId, step: &Step);

    /// Receives one step of one operation, which is named by the call that tells its result: the
    /// upper callback. Closures do not get these.
    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        let _ = (operation, step);
    }
}

impl<F: Fn(CallId, &Step)> Observer for F {
    fn observe(&self, call: CallId, step: &Step) {
        self(call, step);
    }
}

impl<O: Observer + ?Sized> Observer for Rc<O> {
    fn observe(&self, call: CallId, step: &Step) {
        (**self).observe(call, step);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        (**self).observe_operation(operation, step);
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, call: CallId, step: &Step) {
        self.0.observe(call, step);
        self.1.observe(call, step);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        self.0.observe_operation(operation, step);
        self.1.observe_operation(operation, step);
    }
}

/// Logs an end other than Finished: bugs as warnings, the rest for debugging.
#[cfg(feature = "tracing")]
pub(crate) fn log(call: CallId, step: &Step) {
    match step {
        Step::Abandoned { .. }
        | Step::Refused { refusal: crate::step::Refusal::Live { .. }, .. } => {
            tracing::warn!("call {call} {step}");
        }
        _ => tracing::debug!("call {call} {step}"),
    }
}
