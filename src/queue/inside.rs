//! What a queue holds, and how calls enter and leave it.
//!
//! - I1 State and counts change first; observers, wake hooks and drops of captured values come
//!   after, with nothing borrowed, so that they may use the queue.
//! - I2 Once `CLOSED` is set, nothing enters any more; what is inside leaves, first to last.

use alloc::rc::Rc;
use alloc::vec;
use core::cell::{Cell, RefCell};
use core::num::NonZeroU64;
use core::panic::Location;

use crate::call::inline::Packed;
use crate::call::{Attempt, Body, CallId, Named};
use crate::callback::Answered;
use crate::callback::store::{Callbacks, Stage};
use crate::error::ScheduleError;
use crate::observe::{Counters, Observer, RecipientInfo, Step, Tally};
use crate::queue::ring::Ring;
use crate::queue::{Cancellation, Report};
use crate::slots::Key;

/// The reason of calls that end because their queue does.
const QUEUE_DROPPED: &str = "queue dropped";

/// What to look out for. Zero, as usual: nothing.
mod flag {
    /// The owner has dropped the queue.
    pub(super) const CLOSED: u8 = 1;
    /// An observer is set.
    pub(super) const OBSERVED: u8 = 1 << 1;
    /// The next call scheduled wakes the embedder.
    pub(super) const WAKE: u8 = 1 << 2;
    /// The last positions are near.
    pub(super) const NEAR_END: u8 = 1 << 3;
    /// A wake hook is set.
    pub(super) const HOOKED: u8 = 1 << 4;
}

/// `NEAR_END` is looked for once a turn; no turn schedules this many calls.
const NEAR_END: u64 = CallId::END - (1 << 40);

pub(crate) struct Core {
    id: NonZeroU64,
    flags: Cell<u8>,
    pub(super) ring: Ring,
    pub(crate) tally: Counters,
    callbacks: Callbacks,
    /// Turns in progress, one within the other.
    turns: Cell<u32>,
    recipients: Cell<u64>,
    observer: RefCell<Option<Rc<dyn Observer>>>,
    wake_hook: RefCell<Option<Rc<dyn Fn()>>>,
}

impl Core {
    pub(super) fn new(id: NonZeroU64, first_position: u64) -> Self {
        let core = Self {
            id,
            flags: Cell::new(0),
            ring: Ring::new(first_position),
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
        call: C,
        site: &'static Location<'static>,
        pack: impl FnOnce(C) -> B,
        recipient: impl FnOnce() -> Option<RecipientInfo>,
    ) -> Result<CallId, ScheduleError<C>> {
        if self.flags.get() & !flag::HOOKED == 0 && !self.ring.is_full() {
            Ok(self.id(self.ring.push(|| pack(call), site)))
        } else if let Some(obstacle) = self.obstacle() {
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
        if self.ring.is_full() {
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
        if self.ring.is_full() {
            self.ring.grow();
        }
    }

    /// Whether the place at `position` is void; its callback is forgotten then.
    fn forget_if_void(&self, position: u64) -> bool {
        let Some(Answered(key)) = self.ring.unpack(position) else {
            return self.ring.is_empty(position);
        };
        let canceled = self.callbacks.is_canceled(key);
        if canceled {
            let _nothing = self.callbacks.remove(key);
        } else {
            self.ring.put_back(position, Answered(key), self.callbacks.site(key));
        }
        canceled
    }

    /// What keeps calls from being scheduled, if anything.
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
        self.tally.unscheduled.add();
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
        answer: fn(&Callbacks, Key, A, &'static Location<'static>) -> bool,
    ) -> Result<(), ScheduleError<A>> {
        if self.flags.get() != 0
            && let Some(obstacle) = self.obstacle()
        {
            self.decline(key, "the queue takes no more calls");
            return Err(obstacle.rejecting(value));
        }
        if answer(&self.callbacks, key, value, site) {
            self.tally.unscheduled.sub();
            self.tally.answered.add();
            self.make_room();
            self.ring.push(|| Answered(key), site);
            if self.flags.get() != 0 {
                let _wake = WakeOnDrop(self);
                self.tell(CallId::callback_key(key), || Step::Scheduled { site });
            }
        }
        Ok(())
    }

    // Calls leave.

    /// Dials the answered callback `key`, whose turn it is; false if it was canceled.
    pub(crate) fn dial_answered(&self, key: Key, attempt: &mut Attempt<'_>) -> bool {
        match self.callbacks.take_answered(key) {
            Some((places, place)) => places.dial(place, attempt),
            None => false,
        }
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
            Some(Stage::Waiting | Stage::Pending) => Cancellation::Canceled,
            Some(Stage::Canceled) => Cancellation::Already,
            None => self.late(CallId::callback_key(key), reason),
        }
    }

    /// Cancels the callback `id` if it is not late for that. The observer is told of no late cancel.
    #[cfg(feature = "mio")]
    pub(crate) fn cancel_if_not_late(&self, id: CallId, reason: &'static str) {
        if let Named::Callback(key) = id.named()
            && id.queue() == self.id
        {
            self.end_callback(key, reason);
        }
    }

    /// Ends the callback `key` as Canceled unless it is over; returns the stage it was in.
    fn end_callback(&self, key: Key, reason: &'static str) -> Option<Stage> {
        let (stage, _call) = self.callbacks.cancel(key);
        if self.uncount(stage) {
            self.end_canceled(CallId::callback_key(key), reason);
        }
        stage
    }

    /// Ends the callback `key`, whose caller gives it up.
    pub(crate) fn decline(&self, key: Key, reason: &'static str) {
        let (stage, _call) = self.callbacks.remove(key);
        if self.uncount(stage) {
            self.end_canceled(CallId::callback_key(key), reason);
        }
    }

    /// Ends the callback `key`, whose caller dropped it without a word.
    pub(crate) fn abandon(&self, key: Key) {
        if self.is_closed() {
            return self.decline(key, QUEUE_DROPPED);
        }
        let site = self.callbacks.site(key);
        let (stage, _call) = self.callbacks.remove(key);
        if self.uncount(stage) {
            self.tally.abandoned.add();
            self.tell_end(CallId::callback_key(key), Step::Abandoned { site });
        }
    }

    /// Counts a callback in this stage as waiting or pending no more; false if it was not.
    fn uncount(&self, stage: Option<Stage>) -> bool {
        match stage {
            Some(Stage::Waiting) => self.tally.unscheduled.sub(),
            Some(Stage::Pending) => self.ring.void(),
            Some(Stage::Canceled) | None => return false,
        }
        true
    }

    /// Counts and tells; what the call captured is still to be dropped.
    #[inline(always)]
    fn end_canceled(&self, key: u64, reason: &'static str) {
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

    /// Ends every call (rule R11), also if a captured value or the observer panics on the way.
    pub(super) fn close(&self) {
        struct Closing<'a> {
            core: &'a Core,
            callbacks: vec::IntoIter<Key>,
        }

        impl Closing<'_> {
            fn run(&mut self) {
                while self.core.end_next() {}
                for key in &mut self.callbacks {
                    self.core.end_callback(key, QUEUE_DROPPED);
                }
                self.core.let_go();
            }
        }

        impl Drop for Closing<'_> {
            fn drop(&mut self) {
                self.run();
            }
        }

        self.raise(flag::CLOSED);
        let callbacks = self.callbacks.keys().into_iter();
        Closing { core: self, callbacks }.run();
    }

    /// Cancels the next pending call; false if there is none.
    fn end_next(&self) -> bool {
        let Some(position) = self.ring.pass() else { return false };
        if let Some(Answered(key)) = self.ring.unpack(position) {
            let (stage, _call) = self.callbacks.remove(key);
            if stage == Some(Stage::Pending) {
                self.end_canceled(CallId::callback_key(key), QUEUE_DROPPED);
            } else {
                self.ring.skip();
            }
        } else if let Some(_call) = self.ring.clear(position) {
            self.end_canceled(position, QUEUE_DROPPED);
        } else {
            self.ring.skip();
        }
        true
    }

    // Turns.

    // Apart from the loop that they are around, which needs the registers.

    #[inline(never)]
    pub(super) fn enter_turn(&self) {
        self.turns.set(self.turns.get() + 1);
        self.lower(flag::WAKE);
        self.look_for_end();
    }

    #[inline(never)]
    pub(super) fn leave_turn(&self) {
        self.turns.set(self.turns.get() - 1);
        self.arm();
        self.let_go();
    }

    /// Drops the observer and the wake hook of a closed queue, as they may hold it, once there is
    /// nothing more to tell.
    fn let_go(&self) {
        if self.is_closed() && self.turns.get() == 0 {
            self.set_observer(None);
            self.set_wake_hook(None);
        }
    }

    fn look_for_end(&self) {
        if self.ring.tail() >= NEAR_END {
            self.raise(flag::NEAR_END);
        }
    }

    /// Makes the next call scheduled wake the embedder, if it needs to.
    #[inline]
    fn arm(&self) {
        if self.has(flag::HOOKED) && self.ring.pending() == 0 && self.turns.get() == 0 {
            self.raise(flag::WAKE);
        }
    }

    fn wake(&self) {
        // The observer, who comes first, may have dialed or canceled what there was.
        if self.has(flag::WAKE) && self.ring.pending() > 0 {
            self.lower(flag::WAKE);
            let hook = self.wake_hook.borrow().clone();
            if let Some(hook) = hook {
                hook();
            }
        }
    }

    /// Sets the wake hook; a queue that is closed takes none.
    pub(super) fn set_wake_hook(&self, hook: Option<Rc<dyn Fn()>>) {
        let hook = hook.filter(|_| !self.is_closed());
        self.lower(flag::WAKE | flag::HOOKED);
        if hook.is_some() {
            self.raise(flag::HOOKED);
        }
        let old = self.wake_hook.replace(hook);
        self.arm();
        drop(old);
    }

    // Watching.

    pub(super) fn tally(&self) -> Tally {
        let Counters { callbacks, answered, unscheduled, .. } = &self.tally;
        let Counters { live, finished, canceled, refused, abandoned, panicked, .. } = &self.tally;
        Tally {
            // An answered callback is among those scheduled, and was created before.
            created: self.ring.scheduled() + callbacks.get() - answered.get(),
            unscheduled: unscheduled.get(),
            pending: self.ring.pending(),
            live: live.get(),
            finished: finished.get(),
            canceled: canceled.get(),
            refused: refused.get(),
            abandoned: abandoned.get(),
            panicked: panicked.get(),
        }
    }

    /// The report of a turn as long as the queue's life.
    pub(super) fn report(&self) -> Report {
        Report {
            dialed: self.tally.finished.get() + self.tally.panicked.get(),
            canceled: self.ring.skipped.get(),
            refused: self.tally.refused.get(),
            remaining: self.ring.pending(),
        }
    }

    /// Sets the observer; a queue that is closed takes none.
    pub(super) fn set_observer(&self, observer: Option<Rc<dyn Observer>>) {
        let observer = observer.filter(|_| !self.is_closed());
        if observer.is_some() {
            self.raise(flag::OBSERVED);
        } else {
            self.lower(flag::OBSERVED);
        }
        let old = self.observer.replace(observer);
        drop(old);
    }

    #[inline(always)]
    pub(crate) fn is_observed(&self) -> bool {
        self.has(flag::OBSERVED)
    }

    /// Tells the observer, if there is one.
    #[inline(always)]
    pub(crate) fn tell(&self, key: u64, step: impl FnOnce() -> Step) {
        if self.is_observed() {
            self.tell_observer(key, &step());
        }
    }

    /// Tells the observer and the log of an end other than Finished.
    #[inline(always)]
    pub(crate) fn tell_end(&self, key: u64, step: Step) {
        #[cfg(feature = "tracing")]
        crate::observe::log(self.id(key), &step);
        self.tell(key, || step);
    }

    #[cold]
    #[inline(never)]
    fn tell_observer(&self, key: u64, step: &Step) {
        let observer = self.observer.borrow().clone();
        if let Some(observer) = observer {
            observer.observe(self.id(key), step);
        }
    }

    // Flags.

    #[inline(always)]
    fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    fn raise(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    fn lower(&self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }
}

/// Wakes the embedder also if the observer panics in between.
struct WakeOnDrop<'a>(&'a Core);

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}
