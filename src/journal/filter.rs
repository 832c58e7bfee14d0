//! The filters of a journal.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell};
use core::num::NonZeroU64;

use crate::id::CallId;
use crate::journal::call_table::CallTable;
use crate::op_step::OpStep;
use crate::step::{RecipientInfo, Step};

/// A predicate on steps: user code.
pub(super) type StepFilter = Box<dyn Fn(CallId, &Step) -> bool>;

/// A predicate on recipients: user code.
pub(super) type RecipientFilter = Box<dyn Fn(&RecipientInfo) -> bool>;

/// What a step must pass to be kept.
pub(super) struct Filter {
    pub(super) steps: Option<StepFilter>,
    pub(super) recipients: Option<ChosenCalls>,
}

/// What the filters of a journal may have left out, of what it saw.
#[derive(Clone, Copy)]
pub(super) struct LeftOut {
    /// Calls, as a whole or in part.
    pub(super) calls: bool,
    /// Steps of calls of which others are kept.
    pub(super) steps: bool,
}

impl LeftOut {
    pub(super) fn by(filter: Option<&Filter>) -> Self {
        Self { calls: filter.is_some(), steps: filter.is_some_and(|filter| filter.steps.is_some()) }
    }
}

impl Filter {
    /// Calls user code: nothing may be borrowed.
    pub(super) fn keeps(&self, call: CallId, step: &Step) -> bool {
        // (The chosen calls are followed even if their steps are not kept.)
        self.recipients.as_ref().is_none_or(|chosen| chosen.take(call, step))
            && self.steps.as_ref().is_none_or(|keeps| keeps(call, step))
    }

    /// Whether a step of an operation is kept, of that which the call delivers the result of.
    pub(super) fn keeps_operation(&self, call: CallId, step: &OpStep) -> bool {
        self.recipients.as_ref().is_none_or(|chosen| chosen.take_operation(call, step))
    }

    /// Whether the label of a recipient is kept. Calls user code: nothing may be borrowed.
    pub(super) fn keeps_label(&self, recipient: RecipientInfo) -> bool {
        self.recipients.as_ref().is_none_or(|chosen| (chosen.chooses)(&recipient))
    }

    /// Whether what happens to a call and is no step of it is kept: such as that it is pending again.
    pub(super) fn keeps_call(&self, call: CallId) -> bool {
        self.recipients.as_ref().is_none_or(|chosen| chosen.contains(call))
    }

    /// Forgets the calls of a queue, whose ends are not reported.
    pub(super) fn forget(&self, queue: NonZeroU64) {
        if let Some(chosen) = &self.recipients {
            for calls in [&chosen.calls, &chosen.operations] {
                calls.borrow_mut().retain(|call| call.queue() != queue);
            }
        }
    }
}

/// The calls to recipients of the user's choice.
pub(super) struct ChosenCalls {
    chooses: RecipientFilter,
    /// Those created and not over.
    calls: RefCell<CallTable<()>>,
    /// Those whose operations run, which may be longer: the call can be canceled before.
    operations: RefCell<CallTable<()>>,
    /// The latest that ended, which its operation is declined after.
    ended: Cell<Option<CallId>>,
}

impl ChosenCalls {
    pub(super) fn new(chooses: RecipientFilter, limit: usize) -> Self {
        let table = || RefCell::new(CallTable::new(limit));
        Self { chooses, calls: table(), operations: table(), ended: Cell::new(None) }
    }

    /// Whether a call is one of them, as it takes a step.
    fn take(&self, call: CallId, step: &Step) -> bool {
        match step {
            Step::Created { recipient, .. } => {
                let chosen = self.chooses(*recipient);
                if chosen {
                    self.calls.borrow_mut().insert(call, ());
                }
                chosen
            }
            Step::Undrained { recipient, .. } => self.chooses(*recipient),
            Step::Finished
            | Step::Panicked
            | Step::Canceled { .. }
            | Step::Refused { .. }
            | Step::Abandoned { .. } => {
                let chosen = self.calls.borrow_mut().remove(call).is_some();
                if chosen {
                    self.ended.set(Some(call));
                }
                chosen
            }
            Step::Scheduled { .. }
            | Step::Dialed
            | Step::LateCancel { .. }
            | Step::Deferred { .. } => self.contains(call),
        }
    }

    /// The same of its operation.
    fn take_operation(&self, call: CallId, step: &OpStep) -> bool {
        let mut operations = self.operations.borrow_mut();
        match step {
            OpStep::Started { .. } if self.contains(call) => {
                operations.insert(call, ());
                true
            }
            OpStep::Completed { .. } | OpStep::Declined { .. } => {
                operations.remove(call).is_some() || self.contains(call)
            }
            _ => operations.contains(call) || self.contains(call),
        }
    }

    fn contains(&self, call: CallId) -> bool {
        self.calls.borrow().contains(call) || self.ended.get() == Some(call)
    }

    fn chooses(&self, recipient: Option<RecipientInfo>) -> bool {
        recipient.is_some_and(|recipient| (self.chooses)(&recipient))
    }
}
