//! How calls enter a queue.

use crate::erased::cells::Stage;
use crate::erased::{Erased, Payload, Site};
use crate::id::{CallId, Named};
use crate::outcome::{ScheduleError, ScheduleErrorKind};
#[cfg(feature = "mio")]
use crate::queue::function_call::FunctionCall;
#[cfg(feature = "mio")]
use crate::queue::handle::QueueHandle;
use crate::queue::listener::flag;
use crate::queue::notify::{KeepObservers, WakeOnDrop};
use crate::queue::state::{Claim, Core, Dialing, QUEUE_DROPPED};
use crate::step::{RecipientInfo, Refusal, Step};
use crate::unwind::{DropLast, to_the_end};

impl Core {
    /// Schedules `call`, as the payload that `pack` makes of it. If the queue does not admit it, the
    /// call ends at once.
    #[inline(always)]
    pub(crate) fn schedule<C, P: Payload<Dialing>>(
        &self,
        claim: Claim,
        call: C,
        site: Site,
        pack: impl FnOnce(C) -> P,
        recipient: impl FnOnce() -> Option<RecipientInfo>,
    ) -> CallId {
        if self.calls().is_fast() {
            self.id(self.calls().push(|| pack(call), site))
        } else {
            self.schedule_slow(claim, Erased::new(pack(call), site), recipient())
        }
    }

    /// As [`schedule`](Self::schedule), but returns the call if the queue does not admit it.
    #[inline(always)]
    pub(crate) fn try_schedule<C, P: Payload<Dialing>>(
        &self,
        call: C,
        site: Site,
        pack: impl FnOnce(C) -> P,
        recipient: impl FnOnce() -> Option<RecipientInfo>,
    ) -> Result<CallId, ScheduleError<C>> {
        if self.calls().is_fast() {
            Ok(self.id(self.calls().push(|| pack(call), site)))
        } else if let Some(kind) = self.admission_error(Claim::Plain) {
            Err(ScheduleError::new(kind, call))
        } else {
            Ok(self.schedule_admitted(Erased::new(pack(call), site), recipient()))
        }
    }

    #[cold]
    #[inline(never)]
    fn schedule_slow(
        &self,
        claim: Claim,
        call: Erased<Dialing>,
        recipient: Option<RecipientInfo>,
    ) -> CallId {
        match self.admission_error(claim) {
            None => self.schedule_admitted(call, recipient),
            Some(kind) => self.turn_away(kind, call, recipient),
        }
    }

    fn schedule_admitted(&self, call: Erased<Dialing>, recipient: Option<RecipientInfo>) -> CallId {
        if !self.listener.has(flag::ON_SCHEDULE) {
            self.set_fast_limit();
        }
        let site = call.site();
        let position = self.calls().push_erased(call);
        let _wake = WakeOnDrop(self);
        if self.is_observed() && !self.notify_of_call(position, recipient.as_ref(), site) {
            self.notify(position, || Step::Created { recipient, site });
            // The observer may have canceled or dialed it.
            if self.is_observed() && self.calls().site_at(position).is_some() {
                self.notify(position, || Step::Scheduled { site });
            }
        }
        self.id(position)
    }

    /// Creates and ends a call that the queue does not admit.
    #[cold]
    #[inline(never)]
    fn turn_away(
        &self,
        kind: ScheduleErrorKind,
        call: Erased<Dialing>,
        recipient: Option<RecipientInfo>,
    ) -> CallId {
        let site = call.site();
        let key = CallId::turned_away_key(self.tally.turned_away.get());
        self.tally.turned_away.add();
        let end = match kind {
            ScheduleErrorKind::QueueDropped => {
                self.tally.canceled.add();
                Step::Canceled { reason: QUEUE_DROPPED }
            }
            ScheduleErrorKind::Full | ScheduleErrorKind::IdsExhausted => {
                self.tally.refused_at_once.add();
                Step::Refused { refusal: Refusal::NotAdmitted(kind), site }
            }
        };
        // Drops last, even if an observer panics.
        let _call = DropLast::new(call);
        let _observers = KeepObservers::of(self);
        let mut steps = [Step::Created { recipient, site }, end].into_iter();
        to_the_end(|| {
            let step = steps.next();
            match step {
                Some(created @ Step::Created { .. }) => self.notify(key, || created),
                Some(end) => self.notify_end(key, end),
                None => {}
            }
            step.is_some()
        });
        self.id(key)
    }

    /// Why a call is not admitted, if it is not.
    #[inline]
    pub(super) fn admission_error(&self, claim: Claim) -> Option<ScheduleErrorKind> {
        if self.is_closed() {
            Some(ScheduleErrorKind::QueueDropped)
        } else if self.calls().tail() >= CallId::END {
            Some(ScheduleErrorKind::IdsExhausted)
        } else if claim == Claim::Plain && self.is_full() {
            Some(ScheduleErrorKind::Full)
        } else {
            None
        }
    }

    /// Schedules a function call on behalf of code at `site`, even if the queue is full.
    #[cfg(feature = "mio")]
    #[inline(always)]
    pub(crate) fn promised_call<F>(&self, site: Site, function: F) -> CallId
    where
        F: FnOnce(&QueueHandle) + 'static,
    {
        self.schedule(Claim::Promised, function, site, FunctionCall, || None)
    }

    /// The position of the next call that is scheduled.
    #[cfg(feature = "mio")]
    #[inline(always)]
    pub(crate) fn next_position(&self) -> u64 {
        self.calls().tail()
    }

    /// Whether a call waits for its turn, or for its caller. (Not one that is deferred.)
    pub(crate) fn has_yet_to_end(&self, call: CallId) -> bool {
        call.queue() == self.id
            && match call.named() {
                Named::Position(position) => self.calls().site_at(position).is_some(),
                Named::Callback(key) => self.first_known(key.slot).is_some_and(|(known, stage)| {
                    CallId::callback_key(known) == call.key() && stage != Stage::Canceled
                }),
                Named::TurnedAway(_) => false,
            }
    }

    /// How many calls were scheduled, and how many of them had their turn.
    #[cfg(feature = "mio")]
    #[inline]
    pub(crate) fn positions(&self) -> (u64, u64) {
        (self.calls().tail(), self.calls().head())
    }

    /// Whether the queue has not yet reached a call that was created and scheduled at once.
    #[cfg(feature = "mio")]
    pub(crate) fn has_turn_ahead(&self, id: CallId) -> bool {
        matches!(id.named(), Named::Position(position) if self.calls().contains(position))
    }
}
