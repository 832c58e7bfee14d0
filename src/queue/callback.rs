//! How callbacks are created, answered and ended.

use alloc::rc::Rc;

use crate::erased::cells::{Answer, Captured, Waiting};
use crate::erased::{Key, Site};
use crate::id::CallId;
use crate::outcome::ScheduleErrorKind;
use crate::queue::listener::flag;
use crate::queue::notify::WakeOnDrop;
use crate::queue::state::{Claim, Core, Dialing, QUEUE_DROPPED, QueueState};
use crate::step::{RecipientInfo, Refusal, Step};
use crate::unwind::DropLast;

impl QueueState {
    /// Whether each new callback takes the slow path.
    #[inline(always)]
    pub(crate) fn is_attended(&self) -> bool {
        self.listener.has(flag::ON_SCHEDULE)
    }
}

impl Core {
    /// Notifies the observers that the callback `key` exists, now that it has a holder. In a queue that
    /// is closed it is canceled.
    pub(crate) fn callback_created(&self, key: Key, recipient: Option<RecipientInfo>, site: Site) {
        self.notify(CallId::callback_key(key), || Step::Created { recipient, site });
        if self.is_closed() {
            let _ = self.cancel_if_not_late(self.id(CallId::callback_key(key)), QUEUE_DROPPED);
        }
    }

    /// Schedules a callback, which its caller gives up. If it was canceled, drops the value.
    #[inline(always)]
    pub(crate) fn answer<A: 'static>(
        holder: Waiting<Dialing, QueueState, A>,
        value: A,
        site: Site,
    ) {
        let answered = holder.answer_fast(value, site, |state| state.tally.answered.add());
        if let Err((holder, value)) = answered {
            Self::answer_slow(holder, value, site);
        }
    }

    #[cold]
    #[inline(never)]
    fn answer_slow<A: 'static>(holder: Waiting<Dialing, QueueState, A>, value: A, site: Site) {
        let core = Rc::clone(holder.storage());
        let key = CallId::callback_key(holder.key());
        match core.admission_error(Claim::Promised) {
            None => {}
            Some(ScheduleErrorKind::QueueDropped) => return Self::decline(holder, QUEUE_DROPPED),
            Some(kind) => {
                if let Some(captured) = core.withdraw(holder) {
                    let _captured = DropLast::new(captured);
                    core.tally.refused_at_once.add();
                    let refusal = Refusal::NotAdmitted(kind);
                    core.notify_end(key, Step::Refused { refusal, site });
                }
                return;
            }
        }
        core.set_fast_limit();
        match holder.answer(value, site) {
            Answer::Unwanted(_value) => {}
            // The value of one whose recipient is gone drops last.
            Answer::Pushed(value) => {
                let _value = value.map(DropLast::new);
                core.tally.answered.add();
                let _wake = WakeOnDrop(&core);
                core.notify_answered(key, site);
            }
        }
    }

    /// Ends a callback, which its caller gives up.
    pub(crate) fn decline<A: 'static>(
        holder: Waiting<Dialing, QueueState, A>,
        reason: &'static str,
    ) {
        let (core, key) = (Rc::clone(holder.storage()), holder.key());
        if let Some(captured) = core.withdraw(holder) {
            core.end_and_drop(CallId::callback_key(key), reason, captured);
        }
    }

    /// Ends a callback, which its caller dropped without calling it.
    #[cold]
    pub(crate) fn abandon<A: 'static>(holder: Waiting<Dialing, QueueState, A>) {
        let (core, key, site) = (Rc::clone(holder.storage()), holder.key(), holder.site());
        if core.is_closed() {
            return Self::decline(holder, QUEUE_DROPPED);
        }
        if let Some(captured) = core.withdraw(holder) {
            let _captured = DropLast::new(captured);
            core.tally.abandoned.add();
            core.notify_end(CallId::callback_key(key), Step::Abandoned { site });
        }
    }

    /// Forgets a callback that is not answered. Unless it was canceled, returns what it captured.
    fn withdraw<A: 'static>(&self, holder: Waiting<Dialing, QueueState, A>) -> Option<Captured> {
        let captured = holder.give_up()?;
        self.tally.withdrawn.add();
        Some(captured)
    }
}
