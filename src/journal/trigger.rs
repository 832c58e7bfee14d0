//! Triggers, which stop a journal and so keep the steps that led to them.

use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use crate::id::CallId;
use crate::journal::filter::StepFilter;
use crate::journal::pages::Took;
use crate::step::Step;

/// A condition on which a journal stops recording, so that it holds what led to it: see
/// [`JournalBuilder::trigger`](super::JournalBuilder::trigger).
pub struct JournalTrigger(Condition);

enum Condition {
    Handler(Duration),
    Wait(Duration),
    Step(StepFilter),
}

/// Returns a trigger that fires when a handler returns after more than `limit`, calls that it dialed
/// included.
///
/// # Examples
///
/// ```
/// # use switchboard::CallQueue;
/// use std::time::Duration;
/// use switchboard::journal::{Journal, handler_longer_than};
///
/// # let queue = CallQueue::new();
/// // A handler that blocks the loop for more than a second is caught.
/// let blocked = handler_longer_than(Duration::from_secs(1));
/// let journal = Journal::builder().trigger(blocked).install(&queue);
/// queue.call(|_| ());
/// queue.dial_all();
/// assert_eq!(journal.triggered_by(), None);
/// ```
pub const fn handler_longer_than(limit: Duration) -> JournalTrigger {
    JournalTrigger(Condition::Handler(limit))
}

/// Returns a trigger that fires when a call is dialed that was pending for more than `limit`.
///
/// # Examples
///
/// ```
/// # use switchboard::CallQueue;
/// use std::time::Duration;
/// use switchboard::journal::{Journal, wait_longer_than};
///
/// # let queue = CallQueue::new();
/// // A loop that is overloaded, or did not turn.
/// let late = wait_longer_than(Duration::from_secs(1));
/// let journal = Journal::builder().trigger(late).install(&queue);
/// queue.call(|_| ());
/// queue.dial_all();
/// assert_eq!(journal.triggered_by(), None);
/// ```
pub const fn wait_longer_than(limit: Duration) -> JournalTrigger {
    JournalTrigger(Condition::Wait(limit))
}

/// Returns a trigger that fires on the first step for which `is_it` returns true, such as the first
/// refusal.
///
/// ```
/// use switchboard::journal::{Journal, on_step};
/// use switchboard::{CallQueue, Step};
///
/// let queue = CallQueue::new();
/// let refused = on_step(|_, step| matches!(step, Step::Refused { .. }));
/// let journal = Journal::builder().trigger(refused).install(&queue);
/// queue.call(|_| ());
/// queue.dial_all();
/// assert_eq!(journal.triggered_by(), None);
/// ```
pub fn on_step(is_it: impl Fn(CallId, &Step) -> bool + 'static) -> JournalTrigger {
    JournalTrigger(Condition::Step(Box::new(is_it)))
}

impl JournalTrigger {
    /// Calls user code: nothing may be borrowed.
    pub(super) fn fires(&self, call: CallId, step: &Step, took: Took) -> bool {
        match (&self.0, took) {
            (Condition::Handler(limit), Took::Handling(took))
            | (Condition::Wait(limit), Took::Waiting(took)) => took > *limit,
            (Condition::Step(is_it), _) => is_it(call, step),
            _ => false,
        }
    }
}

impl fmt::Debug for JournalTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Condition::Handler(limit) => write!(f, "handler_longer_than({limit:?})"),
            Condition::Wait(limit) => write!(f, "wait_longer_than({limit:?})"),
            Condition::Step(_) => f.write_str("on_step(..)"),
        }
    }
}
