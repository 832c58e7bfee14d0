//! What a queue holds, and how calls enter and leave it.
//!
//! - I1 State and counts change first; observers, wake hooks and drops of captured values come
//!   after, with nothing borrowed, so that they may use the queue.
//! - I2 Once `CLOSED` is set, nothing enters any more; what is inside leaves, first to last.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::num::NonZeroU64;
use core::panic::Location;

use crate::call::inline::Packed;
use crate::call::{Body, CallId, Named};
use crate::callback::store::{Callbacks, Stage};
use crate::callback::{Answered, Canceled};
use crate::error::ScheduleError;
use crate::observe::{Counters, Observer, RecipientInfo, Step};
use crate::queue::Cancellation;
use crate::queue::attend::{WakeOnDrop, flag};
use crate::queue::ring::Ring;
use crate::slots::Key;

/// The reason of calls that end because their queue does.
pub(super) const QUEUE_DROPPED: &str = "queue dropped";

/// Whether a call may be turned away by a queue that is full.
#[derive(Clone, Copy)]
pub(crate) enum Claim {
    /// It may.
    New,
    /// It may not, as nobody is there to schedule it again. Whoever promised it limits how many
    /// there are.
    #[cfg(feature = "mio")]
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
        let core = Self {
            id,
            flags: Cell::new(0),
            ring: Ring::new(first_position, capacity),
            tally: Counters::default(),
            callbacks: Callbacks::new(),
            turns: Cell::new(0),
            recipients: Cell::new(0),
            observer: RefCell::new(None),
            wake_hook: RefCell::new(None),
        };
        core.look_for_end();
        core
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

    /// Schedules `call`, as the body that `pack` makes of it.
    #[inline(always)]
    pub(crate) fn schedule<C, B: Body>(
        &self,
        claim: Claim,
        call: C,
        site: &'static Location<'static>,
        pack: impl FnOnce(C) -> B,
        recipient: impl FnOnce() -> Option<RecipientInfo>,
    ) -> Result<CallId, ScheduleError<C>> {
        if self.flags.get() & !flag::HOOKED == 0 && self.ring.has_room() {
            Ok(self.id(self.ring.push(|| pack(call), site)))
        } else if let Some(obstacle) = self.obstacle_to(claim) {
            Err(obstacle.rejecting(call))
        } else {
            Ok(self.schedule_attentively(pack(call), site, recipient()))
        }
    }

    #[cold]
    #[inline(never)]
    fn schedule_attentively(
        &self,
        body: impl Body,
        site: &'static Location<'static>,
        recipient: Option<RecipientInfo>,
    ) -> CallId {
        self.make_room();
        let position = self.ring.push(|| body, site);
        let _wake = WakeOnDrop(self);
        self.tell(position, || Step::Created { recipient, site });
        self.tell(position, || Step::Scheduled { site });
        self.id(position)
    }

    /// Makes room for another call, if there is none.
    #[inline]
    fn make_room(&self) {
        if self.ring.has_no_place() {
            self.make_more_room();
        }
    }

    /// Forgets canceled calls whose turn would come next, or grows.
    #[cold]
    #[inline(never)]
    fn make_more_room(&self) {
        while let Some(position) = self.ring.head_if_any_void()
            && self.forget_if_void(position)
        {
            self.ring.pass();
            self.ring.forget();
        }
        if self.ring.has_no_place() {
            self.ring.grow();
        }
    }

    /// Whether the place at `position` is void; its callback is forgotten then.
    fn forget_if_void(&self, position: u64) -> bool {
        if let Some(Canceled(key)) = self.ring.unpack(position) {
            self.forget_callback(key);
            return true;
        }
        self.ring.is_empty(position)
    }

    /// What keeps a call from being created and scheduled, if anything.
    #[inline(always)]
    fn obstacle_to(&self, claim: Claim) -> Option<ScheduleError<()>> {
        match claim {
            Claim::New => self.obstacle_to_new(),
            #[cfg(feature = "mio")]
            Claim::Promised => self.obstacle(),
        }
    }

    #[cold]
    #[inline(never)]
    fn obstacle_to_new(&self) -> Option<ScheduleError<()>> {
        self.obstacle().or_else(|| self.is_full().then_some(ScheduleError::Full(())))
    }

    #[cfg(feature = "mio")]
    pub(crate) fn pending(&self) -> u64 {
        self.ring.pending()
    }

    /// Whether as many calls are pending as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.ring.pending() >= self.ring.capacity()
    }

    /// What keeps a call that was promised, or created before, from being scheduled, if anything.
    #[cold]
    fn obstacle(&self) -> Option<ScheduleError<()>> {
        if self.has(flag::CLOSED) {
            Some(ScheduleError::QueueDropped(()))
        } else if self.has(flag::NEAR_END) && self.ring.tail() >= CallId::END {
            Some(ScheduleError::IdsExhausted(()))
        } else {
            None
        }
    }

    pub(crate) fn create_callback(
        &self,
        waiting: impl Body,
        site: &'static Location<'static>,
    ) -> Key {
        let key = self.callbacks.create(waiting, site);
        self.tally.callbacks.add();
        key
    }

    /// Tells that the callback `key` exists, now that it has a holder. In a queue that is closed
    /// it is canceled.
    pub(crate) fn callback_created(
        &self,
        key: Key,
        recipient: Option<RecipientInfo>,
        site: &'static Location<'static>,
    ) {
        if self.flags.get() != 0 {
            self.tell(CallId::callback_key(key), || Step::Created { recipient, site });
            if self.is_closed() {
                self.end_callback(key, QUEUE_DROPPED);
            }
        }
    }

    pub(crate) fn is_canceled(&self, key: Key) -> bool {
        self.callbacks.is_canceled(key)
    }

    /// Schedules the callback `key`, whose caller gives it up.
    pub(crate) fn answer<A>(
        &self,
        key: Key,
        value: A,
        site: &'static Location<'static>,
        answer: fn(&Self, Key, A, &'static Location<'static>) -> bool,
    ) -> Result<(), ScheduleError<A>> {
        if self.flags.get() != 0
            && let Some(obstacle) = self.obstacle()
        {
            self.decline(key, "the queue takes no more calls");
            return Err(obstacle.rejecting(value));
        }
        if answer(self, key, value, site) && self.flags.get() != 0 {
            let _wake = WakeOnDrop(self);
            self.tell(CallId::callback_key(key), || Step::Scheduled { site });
        }
        Ok(())
    }

    /// Puts the callback `key` at the tail, as the body that `join` makes of the one that waited;
    /// false if it was canceled.
    #[inline(always)]
    pub(crate) fn put_answered<W: Body, B: Body>(
        &self,
        key: Key,
        site: &'static Location<'static>,
        join: impl FnOnce(W) -> B,
    ) -> bool {
        self.make_room();
        let Some(waiting) = self.callbacks.answer(key, self.ring.tail()) else { return false };
        self.tally.answered.add();
        self.ring.push(|| Answered { key, call: join(waiting) }, site);
        true
    }

    // Calls leave.

    /// Forgets the callback `key`, whose turn has come or passed.
    #[inline(always)]
    pub(crate) fn forget_callback(&self, key: Key) {
        let _stage = self.callbacks.remove(key);
    }

    /// Counts that there was nothing to dial: the call had been canceled.
    #[inline(always)]
    pub(crate) fn skip_canceled(&self) {
        self.tally.live.sub();
        self.ring.skip();
    }

    pub(super) fn cancel(&self, id: CallId, reason: &'static str) -> Cancellation {
        if id.queue() != self.id {
            return Cancellation::Foreign;
        }
        let position = match id.named() {
            Named::Position(position) => position,
            Named::Callback(key) => return self.cancel_callback(key, reason),
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
        let stage = self.callbacks.cancel(key);
        let _call = match stage {
            Some(Stage::Waiting) => {
                self.tally.withdrawn.add();
                self.callbacks.clear(key)
            }
            Some(Stage::Pending(position)) => self.ring.cancel_callback(position, key),
            Some(Stage::Canceled) | None => return stage,
        };
        self.end_canceled(CallId::callback_key(key), reason);
        stage
    }

    /// Ends the callback `key`, whose caller gives it up.
    pub(crate) fn decline(&self, key: Key, reason: &'static str) {
        if let Some(_call) = self.withdraw(key) {
            self.end_canceled(CallId::callback_key(key), reason);
        }
    }

    /// Ends the callback `key`, whose caller dropped it without a word.
    pub(crate) fn abandon(&self, key: Key) {
        if self.is_closed() {
            return self.decline(key, QUEUE_DROPPED);
        }
        let site = self.callbacks.site(key);
        if let Some(_call) = self.withdraw(key) {
            self.tally.abandoned.add();
            self.tell_end(CallId::callback_key(key), Step::Abandoned { site });
        }
    }

    /// Removes the callback `key`, which is not answered. If it was waiting, returns what is to be
    /// dropped.
    fn withdraw(&self, key: Key) -> Option<Option<Packed>> {
        if self.callbacks.remove(key) != Some(Stage::Waiting) {
            return None;
        }
        self.tally.withdrawn.add();
        Some(self.callbacks.clear(key))
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
    fn end_and_drop(&self, key: u64, reason: &'static str, _call: Packed) {
        self.end_canceled(key, reason);
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
        self.tell(key, || Step::LateCancel { reason });
        Cancellation::Late
    }
}
