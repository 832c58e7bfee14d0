//! Observers of the steps of calls and operations.

use alloc::rc::Rc;
use core::num::NonZeroU64;
use core::panic::Location;

use crate::id::CallId;
use crate::op_step::OpStep;
use crate::outside::{CallOrigin, TurnStep};
use crate::step::{RecipientInfo, Step};

/// Sees every step of every call of a queue, as it happens.
///
/// An observer is notified after the queue's own state has changed, with nothing borrowed, so it may
/// use the queue. If it panics, the panic unwinds to the code that caused the step (which schedules,
/// cancels or dials), and the queue stays consistent. In a destructor that runs during another unwinding,
/// it ends there; without the reactor's feature `mio` it then aborts the process, as any second panic does.
///
/// Closures are observers:
///
/// ```
/// use switchboard::{CallId, CallQueue, Step};
///
/// let queue = CallQueue::new();
/// queue.add_observer(|call: CallId, step: &Step| println!("call {call}: {step}"));
/// queue.call(|_| ()); // prints that call #0 is created and scheduled, and where
/// queue.dial_all(); // prints that it is dialed and finished
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A queue may have many observers. Each step is reported to all, in the order in which they were
/// added, even if some of them panic (the first panic goes on). If one of them dials or cancels,
/// those after it see the steps that this causes before they see the step itself. So add an observer
/// that acts last, after a journal.
///
/// Cost: one predictable branch for each step while no observer is set.
pub trait Observer {
    /// Receives one step of one call.
    fn observe(&self, call: CallId, step: &Step);

    /// Receives both steps at once of a call that is created and scheduled in one go, at `site`, if this is
    /// the only observer. Unless it returns true, [`observe`](Self::observe) receives them one by one, as
    /// it does by default.
    fn observe_call(
        &self,
        call: CallId,
        recipient: Option<&RecipientInfo>,
        site: &'static Location<'static>,
    ) -> bool {
        let _ = (call, recipient, site);
        false
    }

    /// Receives the label of a recipient of the queue of that [number](CallId::queue) when it is set
    /// ([`Address::set_label`](crate::Address::set_label)) or, if that was before, when this observer is
    /// added; and `None` when the recipient is gone. Closures do not get these.
    fn observe_label(&self, queue: NonZeroU64, recipient: RecipientInfo, label: Option<&str>) {
        let _ = (queue, recipient, label);
    }

    /// Receives the name of a call that is not over, when it is set
    /// ([`QueueHandle::name_call`](crate::QueueHandle::name_call)). Closures do not get these.
    fn observe_name(&self, call: CallId, name: &str) {
        let _ = (call, name);
    }

    /// Is called when this observer is removed from the queue of that [number](CallId::queue). It sees
    /// no further step of the queue, unless it was added twice.
    fn observe_removal(&self, queue: NonZeroU64) {
        let _ = queue;
    }

    /// Is called when a call is pending again that was reported as [dialed](Step::Dialed), since an observer
    /// panicked then (rule R10). It must not panic, as that panic is under way. Closures do not get these.
    fn observe_put_back(&self, call: CallId) {
        let _ = call;
    }

    /// Is called when the handler of such a call is about to run: it is not reported as dialed again. If an
    /// observer panics, the call is put back as before. Closures do not get these.
    fn observe_dial_again(&self, call: CallId) {
        let _ = call;
    }

    /// Receives one step of one operation, which is named by the call that delivers its result: the
    /// upper callback. Closures do not get these.
    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        let _ = (operation, step);
    }

    /// Receives what a call comes from that the reactor has just scheduled: a source, a timer or another
    /// thread. Closures do not get these.
    fn observe_origin(&self, call: CallId, origin: &CallOrigin) {
        let _ = (call, origin);
    }

    /// Is called as a turn of a queue, of that [number](CallId::queue), begins and ends, and before its
    /// reactor polls. Closures do not get these.
    fn observe_turn(&self, queue: NonZeroU64, step: &TurnStep) {
        let _ = (queue, step);
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

    fn observe_call(
        &self,
        call: CallId,
        recipient: Option<&RecipientInfo>,
        site: &'static Location<'static>,
    ) -> bool {
        (**self).observe_call(call, recipient, site)
    }

    fn observe_label(&self, queue: NonZeroU64, recipient: RecipientInfo, label: Option<&str>) {
        (**self).observe_label(queue, recipient, label);
    }

    fn observe_name(&self, call: CallId, name: &str) {
        (**self).observe_name(call, name);
    }

    fn observe_removal(&self, queue: NonZeroU64) {
        (**self).observe_removal(queue);
    }

    fn observe_put_back(&self, call: CallId) {
        (**self).observe_put_back(call);
    }

    fn observe_dial_again(&self, call: CallId) {
        (**self).observe_dial_again(call);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        (**self).observe_operation(operation, step);
    }

    fn observe_origin(&self, call: CallId, origin: &CallOrigin) {
        (**self).observe_origin(call, origin);
    }

    fn observe_turn(&self, queue: NonZeroU64, step: &TurnStep) {
        (**self).observe_turn(queue, step);
    }
}

/// Names an observer of a queue: made by [`QueueHandle::add_observer`], for
/// [`QueueHandle::remove_observer`].
///
/// [`QueueHandle::add_observer`]: crate::QueueHandle::add_observer
/// [`QueueHandle::remove_observer`]: crate::QueueHandle::remove_observer
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObserverId(u64);

impl ObserverId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Logs an end other than Finished: bugs as warnings, the rest for debugging.
#[cfg(feature = "tracing")]
pub(crate) fn log(call: CallId, step: &Step) {
    match step {
        Step::Abandoned { .. }
        | Step::Undrained { .. }
        | Step::Refused { refusal: crate::step::Refusal::Live { .. }, .. } => {
            tracing::warn!("call {call} {step}");
        }
        _ => tracing::debug!("call {call} {step}"),
    }
}
