//! What a queue holds, and how calls enter and leave it.
//!
//! - I1 State and counts change first; observers, wake hooks and drops of captured values come
//!   after, with nothing borrowed, so that they may use the queue.
//! - I2 Once `CLOSED` is set, nothing enters any more; what is inside leaves, first to last.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::mem;
use core::num::NonZeroU64;
use core::panic::Location;

use crate::erased::Erased;
use crate::erased::Payload;
use crate::id::{CallId, Named};
use crate::observe::Observer;
use crate::outcome::Cancellation;
use crate::outcome::{ScheduleError, ScheduleErrorKind};
use crate::queue::Dialing;
use crate::queue::listener::{WakeOnDrop, flag};
use crate::queue::order::Ring;
use crate::queue::waiting::Canceled;
use crate::queue::waiting::{Callbacks, Stage};
use crate::slots::Key;
use crate::step::{RecipientInfo, Refusal, Step};
use crate::tally::Counters;
use crate::unwind::to_the_end;

/// The reason of calls that end because their queue does.
pub(super) const QUEUE_DROPPED: &str = "queue dropped";

/// Whether a call may be turned away by a queue that is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It may.
    Plain,
    /// It may not, as nobody is there to schedule it again. Whoever promised it limits how many
    /// there are.
    Promised,
}

pub(crate) struct Core {
    pub(super) id: NonZeroU64,
    pub(super) flags: Cell<u8>,
    pub(super) ring: Ring,
    pub(crate) tally: Counters,
    pub(super) callbacks: Callbacks,
    /// Turns in progress, one within the other.
    pub(super) turns: Cell<u32>,
    recipients: Cell<u64>,
    pub(super) observer: RefCell<Option<Rc<dyn Observer>>>,
    pub(super) wake_hook: RefCell<Option<Rc<dyn Fn()>>>,
}

impl Core {
    pub(super) fn new(id: NonZeroU64, first_position: u64, capacity: u64) -> Self {
        Self {
            id,
            flags: Cell::new(0),
            ring: Ring::new(first_position, capacity),
            tally: Counters::default(),
            callbacks: Callbacks::default(),
            turns: Cell::new(0),
            recipients: Cell::new(0),
            observer: RefCell::new(None),
            wake_hook: RefCell::new(None),
        }
    }

    #[inline(always)]
    pub(crate) const fn id(&self, key: u64) -> CallId {
        CallId::new(self.id, key)
    }

    /// The id that the next call scheduled in one go will get.
    #[cfg(feature = "mio")]
    pub(crate) fn next_id(&self) -> CallId {
        self.id(self.ring.tail())
    }

    pub(crate) fn number_recipient(&self) -> u64 {
        self.recipients.replace(self.recipients.get() + 1)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.has(flag::CLOSED)
    }

    // Calls enter.

    /// Schedules `call`, as the payload that `pack` makes of it. If the queue does not admit it, the
    /// call ends at once.
    #[inline(always)]
    pub(crate) fn schedule<C, B: Payload<Dialing>>(
        &self,
        claim: Claim,
        call: C,
        site: &'static Location<'static>,
        pack: impl FnOnce(C) -> B,
        recipient: impl FnOnce() -> Option<RecipientInfo>,
    ) -> CallId {
        if self.ring.is_easy() {
            self.id(self.ring.push(|| pack(call), site))
        } else {
            self.schedule_slow(claim, pack(call), site, recipient())
        }
    }

    /// As [`schedule`](Self::schedule), but hands the call back if the queue does not admit it.
    #[inline(always)]
    pub(crate) fn try_schedule<C, B: Payload<Dialing>>(
        &self,
        call: C,
        site: &'static Location<'static>,
        pack: impl FnOnce(C) -> B,
        recipient: impl FnOnce() -> Option<RecipientInfo>,
    ) -> Result<CallId, ScheduleError<C>> {
        if self.ring.is_easy() {
            Ok(self.id(self.ring.push(|| pack(call), site)))
        } else if let Some(kind) = self.admission_error(Claim::Plain) {
            Err(ScheduleError::new(kind, call))
        } else {
            Ok(self.schedule_admitted(pack(call), site, recipient()))
        }
    }

    #[cold]
    #[inline(never)]
    fn schedule_slow(
        &self,
        claim: Claim,
        body: impl Payload<Dialing>,
        site: &'static Location<'static>,
        recipient: Option<RecipientInfo>,
    ) -> CallId {
        match self.admission_error(claim) {
            None => self.schedule_admitted(body, site, recipient),
            Some(kind) => self.turn_away(kind, body, site, recipient),
        }
    }

    /// Creates and ends a call that the queue does not admit.
    fn turn_away(
        &self,
        kind: ScheduleErrorKind,
        body: impl Payload<Dialing>,
        site: &'static Location<'static>,
        recipient: Option<RecipientInfo>,
    ) -> CallId {
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
        // Drops last, even if the observer panics.
        let _body = body;
        let mut steps = [Step::Created { recipient, site }, end].into_iter();
        to_the_end(|| {
            let step = steps.next();
            match step {
                Some(created @ Step::Created { .. }) => self.tell(key, || created),
                Some(end) => self.tell_end(key, end),
                None => {}
            }
            step.is_some()
        });
        self.id(key)
    }

    fn schedule_admitted(
        &self,
        body: impl Payload<Dialing>,
        site: &'static Location<'static>,
        recipient: Option<RecipientInfo>,
    ) -> CallId {
        self.make_room();
        let position = self.ring.push(|| body, site);
        let _wake = WakeOnDrop(self);
        self.tell(position, || Step::Created { recipient, site });
        // The observer may have canceled or dialed it.
        if !self.ring.is_void(position) {
            self.tell(position, || Step::Scheduled { site });
        }
        self.id(position)
    }

    /// Makes room for another call, if there is none: forgets voids whose turn would come next, or
    /// grows.
    fn make_room(&self) {
        if self.ring.has_no_place() {
            while let Some(void) = self.ring.pass_void() {
                if let Some(Canceled(key)) = void {
                    self.forget_canceled(key);
                }
            }
            if self.ring.has_no_place() {
                self.ring.grow();
            }
        }
        self.ease();
    }

    /// Lets calls be scheduled without a second thought, unless somebody is to be told.
    pub(super) fn ease(&self) {
        self.ring.ease(!self.has(flag::NEWS));
    }

    /// Why a call is not admitted, if it is not.
    #[cold]
    fn admission_error(&self, claim: Claim) -> Option<ScheduleErrorKind> {
        if self.has(flag::CLOSED) {
            Some(ScheduleErrorKind::QueueDropped)
        } else if self.ring.tail() >= CallId::END {
            Some(ScheduleErrorKind::IdsExhausted)
        } else if claim == Claim::Plain && self.is_full() {
            Some(ScheduleErrorKind::Full)
        } else {
            None
        }
    }

    /// Whether the turn of a call that was scheduled in one go has not come.
    #[cfg(feature = "mio")]
    pub(crate) fn is_in_line(&self, id: CallId) -> bool {
        matches!(id.named(), Named::Position(position) if self.ring.is_in_line(position))
    }

    #[cfg(feature = "mio")]
    pub(crate) fn pending(&self) -> u64 {
        self.ring.pending()
    }

    /// Whether as many calls are pending as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.ring.pending() >= self.ring.capacity()
    }

    #[inline(always)]
    pub(crate) fn create_callback(
        &self,
        waiting: impl Payload<Dialing>,
        site: &'static Location<'static>,
    ) -> Key {
        let key = self.callbacks.create(waiting, site);
        self.tally.callbacks.add();
        key
    }

    /// Whether somebody is to be told of a callback.
    #[inline(always)]
    pub(crate) fn is_attended(&self) -> bool {
        self.has(flag::NEWS)
    }

    /// Tells that the callback `key` exists, now that it has a holder. In a queue that is closed
    /// it is canceled.
    pub(crate) fn callback_created(
        &self,
        key: Key,
        recipient: Option<RecipientInfo>,
        site: &'static Location<'static>,
    ) {
        self.tell(CallId::callback_key(key), || Step::Created { recipient, site });
        if self.is_closed() {
            self.end_callback(key, QUEUE_DROPPED);
        }
    }

    pub(crate) fn is_canceled(&self, key: Key) -> bool {
        self.callbacks.is_canceled(key)
    }

    /// Schedules the callback `key`, whose caller gives it up, as the payload that `pack` makes of the
    /// value. If it was canceled, drops the value.
    #[inline(always)]
    pub(crate) fn answer<A, B: Payload<Dialing>>(
        &self,
        key: Key,
        value: A,
        site: &'static Location<'static>,
        pack: impl FnOnce(A) -> B,
    ) {
        if self.ring.is_easy() {
            if self.callbacks.answer(key, self.ring.tail()) {
                self.tally.answered.add();
                self.ring.push(|| pack(value), site);
            }
        } else {
            self.answer_slow(key, pack(value), site);
        }
    }

    #[cold]
    #[inline(never)]
    fn answer_slow(&self, key: Key, body: impl Payload<Dialing>, site: &'static Location<'static>) {
        match self.admission_error(Claim::Promised) {
            None => {}
            Some(ScheduleErrorKind::QueueDropped) => return self.decline(key, QUEUE_DROPPED),
            Some(kind) => {
                if let Some(_body) = self.withdraw(key) {
                    self.tally.refused_at_once.add();
                    let refusal = Refusal::NotAdmitted(kind);
                    self.tell_end(CallId::callback_key(key), Step::Refused { refusal, site });
                }
                return;
            }
        }
        self.make_room();
        if self.callbacks.answer(key, self.ring.tail()) {
            self.tally.answered.add();
            self.ring.push(|| body, site);
            let _wake = WakeOnDrop(self);
            self.tell(CallId::callback_key(key), || Step::Scheduled { site });
        }
    }

    // Calls leave.

    /// Takes out the body of the callback `key`, whose turn has come.
    #[inline(always)]
    pub(crate) fn take_callback<B: Payload<Dialing>>(&self, key: Key) -> Option<B> {
        self.callbacks.take(key)
    }

    /// Forgets the callback `key`, which was canceled.
    pub(crate) fn forget_canceled(&self, key: Key) {
        self.callbacks.forget(key);
    }

    /// Counts that the turn of a void came.
    pub(crate) fn skip_void(&self) {
        self.ring.skip();
    }

    /// The number of live calls: those attempted that did not end yet.
    pub(crate) fn live(&self) -> u64 {
        let Counters { finished, refused, panicked, .. } = &self.tally;
        self.ring.attempted() - finished.get() - refused.get() - panicked.get()
    }

    pub(super) fn cancel(&self, id: CallId, reason: &'static str) -> Cancellation {
        if id.queue() != self.id {
            return Cancellation::Foreign;
        }
        let position = match id.named() {
            Named::Position(position) => position,
            Named::Callback(key) => return self.cancel_callback(key, reason),
            Named::TurnedAway(_) => return self.late(id.key(), reason),
        };
        match self.ring.cancel(position) {
            Ok(None) => self.end_canceled(position, reason),
            Ok(Some(call)) => self.end_and_drop(position, reason, call),
            Err(Cancellation::Late) => return self.late(position, reason),
            Err(other) => return other,
        }
        Cancellation::Canceled
    }

    /// Cancels the callback `key`, if it can be; it stays for its holder.
    #[inline(never)]
    fn cancel_callback(&self, key: Key, reason: &'static str) -> Cancellation {
        match self.end_callback(key, reason) {
            Some(Stage::Waiting | Stage::Pending(_)) => Cancellation::Canceled,
            Some(Stage::Canceled) => Cancellation::Already,
            None => self.late(CallId::callback_key(key), reason),
        }
    }

    /// Cancels the callback `id` if it is not late for that. The observer is told of no late cancel.
    pub(crate) fn cancel_if_not_late(&self, id: CallId, reason: &'static str) {
        if let Named::Callback(key) = id.named()
            && id.queue() == self.id
        {
            self.end_callback(key, reason);
        }
    }

    /// Ends the callback `key` as Canceled unless it is over; returns the stage it was in.
    pub(super) fn end_callback(&self, key: Key, reason: &'static str) -> Option<Stage> {
        let (stage, _body) = self.callbacks.cancel(key)?;
        let _value = match stage {
            Stage::Waiting => {
                self.tally.withdrawn.add();
                None
            }
            Stage::Pending(position) => self.ring.cancel_callback(position, key),
            Stage::Canceled => return Some(stage),
        };
        self.end_canceled(CallId::callback_key(key), reason);
        Some(stage)
    }

    /// Ends the callback `key`, whose caller gives it up.
    pub(crate) fn decline(&self, key: Key, reason: &'static str) {
        if let Some(_body) = self.withdraw(key) {
            self.end_canceled(CallId::callback_key(key), reason);
        }
    }

    /// Ends the callback `key`, whose caller dropped it without a word.
    #[cold]
    pub(crate) fn abandon(&self, key: Key) {
        if self.is_closed() {
            return self.decline(key, QUEUE_DROPPED);
        }
        let site = self.callbacks.site(key);
        if let (Some(site), Some(_body)) = (site, self.withdraw(key)) {
            self.tally.abandoned.add();
            self.tell_end(CallId::callback_key(key), Step::Abandoned { site });
        }
    }

    /// Forgets the callback `key`, which is not answered. If it was waiting, returns what is to be
    /// dropped.
    fn withdraw(&self, key: Key) -> Option<Option<Erased<Dialing>>> {
        let (stage, body) = self.callbacks.remove(key)?;
        (stage == Stage::Waiting).then(|| {
            self.tally.withdrawn.add();
            body
        })
    }

    /// Counts and tells; what the call captured is still to be dropped.
    #[inline(always)]
    pub(super) fn end_canceled(&self, key: u64, reason: &'static str) {
        self.tally.canceled.add();
        if self.flags.get() != 0 || cfg!(feature = "tracing") {
            self.attend_cancel(key, reason);
        }
    }

    /// Apart, so that the usual case needs no room for the call.
    #[inline(never)]
    fn end_and_drop(&self, key: u64, reason: &'static str, call: Erased<Dialing>) {
        self.end_canceled(key, reason);
        if cfg!(seeded = "capture_lost") {
            mem::forget(call);
        }
    }

    #[cold]
    #[inline(never)]
    fn attend_cancel(&self, key: u64, reason: &'static str) {
        self.arm();
        self.tell_end(key, Step::Canceled { reason });
    }

    #[cold]
    #[inline(never)]
    fn late(&self, key: u64, reason: &'static str) -> Cancellation {
        if cfg!(seeded = "late_cancel_counted") {
            self.tally.canceled.add();
        }
        self.tell(key, || Step::LateCancel { reason });
        Cancellation::Late
    }
}
