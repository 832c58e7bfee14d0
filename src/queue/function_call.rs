//! Calls without a recipient, as the queue stores them.

use crate::erased::{Erased, Payload, Site};
use crate::queue::attempt::Attempt;
use crate::queue::handle::QueueHandle;
use crate::queue::state::Dialing;

/// A function call, as the queue stores it.
pub(crate) struct FunctionCall<F>(pub(crate) F);

impl<F: FnOnce(&QueueHandle) + 'static> Payload<Dialing> for FunctionCall<F> {
    #[inline(always)]
    fn dial(self, attempt: &mut Attempt<'_>, site: Site) {
        if attempt.is_observed() {
            self.dial_observed(attempt, site);
        } else {
            (self.0)(attempt.queue());
        }
    }
}

impl<F: FnOnce(&QueueHandle) + 'static> FunctionCall<F> {
    /// Apart, so that the usual case needs no registers for it.
    #[cold]
    #[inline(never)]
    fn dial_observed(self, attempt: &Attempt<'_>, site: Site) {
        let this = attempt.notify_dialed(attempt.position(), self, |this| Erased::new(this, site));
        (this.0)(attempt.queue());
    }
}
