//! Timers: callbacks that are answered at a deadline (rule M7).
//!
//! - I1 A timer is in `waiting` from when it is armed until it is due or canceled. One that is
//!   canceled by its call's id, or whose recipient goes, leaves when there are enough of them for a
//!   look at all ([`Timers::trim`]), or when the timers are counted.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::panic::Location;
use core::time::Duration;
use std::time::Instant;

use crate::callback::Callback;
use crate::erased::Site;
use crate::id::CallId;
use crate::queue::QueueHandle;
use crate::reactor::shared::ReactorHandle;
use crate::unwind::{RunOnDrop, in_drop, to_the_end};

mod heap;
pub(super) mod interval;
mod slots;

use heap::{Handle, Heap};

/// Delays longer than this, about a hundred years, count as this.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A callback that is answered at a deadline. Dropping the timer cancels it, even if it has fired and
/// its call is pending; after [`detach`](Self::detach) it fires without an owner.
#[doc(alias("sleep", "timeout", "delay", "uv_timer_t"))]
#[must_use = "dropping a timer cancels it"]
pub struct Timer {
    reactor: ReactorHandle,
    deadline: Instant,
    waiting: Handle,
    /// The callback's queue and id; `None` once the timer is detached.
    call: Option<(QueueHandle, CallId)>,
}

impl Timer {
    /// Returns when the timer is due.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let timer = reactor.after(Duration::from_secs(60), reactor.queue().callback(|_, ()| ()));
    /// let left = timer.deadline() - reactor.now(); // for a progress bar
    /// assert!(left <= Duration::from_secs(60));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the timer to `deadline`, after all others that are due then. Returns false if it is too
    /// late: the timer has fired, and its call is pending or over, or its callback is no longer wanted.
    ///
    /// Use it for a timeout that is put off often, such as a session's idle timeout: one timer serves
    /// for its life. With [`ReactorHandle::turn_time`] it reads no clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let idle = reactor.queue().callback(|_, ()| println!("idle"));
    /// let mut idle = reactor.after(Duration::from_secs(60), idle);
    /// assert!(idle.reset(reactor.turn_time() + Duration::from_millis(1)));
    /// reactor.run()?; // in no minute
    /// assert!(!idle.reset(reactor.turn_time()), "it has fired");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// Cost: as arming a timer, without its memory. O(1) steps if it moves to after all others.
    pub fn reset(&mut self, deadline: Instant) -> bool {
        let is_first = self.move_to(deadline);
        if is_first == Some(true) {
            self.reactor.queue().core().wake_for_deadline();
        }
        is_first.is_some()
    }

    /// Moves the timer to `deadline`, and calls no hook. Returns whether it is the first then; `None`
    /// if it is too late.
    fn move_to(&mut self, deadline: Instant) -> Option<bool> {
        let mut waiting = self.reactor.shared().timers.waiting.borrow_mut();
        waiting.get_mut(self.waiting).filter(|armed| armed.callback.is_wanted())?;
        self.waiting = waiting.reset(self.waiting, deadline)?;
        self.deadline = deadline;
        Some(waiting.is_first(self.waiting))
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) return even if the timer is armed. If
    /// something else keeps it running, the timer still fires.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let sweep = reactor.queue().callback(|_, ()| println!("cache swept"));
    /// let sweep = reactor.after(Duration::from_secs(3600), sweep);
    /// sweep.unref();
    /// reactor.run()?; // does not wait for an hour
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unref(&self) {
        self.set_unref(true);
    }

    /// Takes back an [`unref`](Self::unref).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let timer = reactor.after(Duration::from_secs(60), reactor.queue().callback(|_, ()| ()));
    /// timer.unref();
    /// assert!(!reactor.should_run());
    /// timer.undo_unref();
    /// assert!(reactor.should_run());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn undo_unref(&self) {
        self.set_unref(false);
    }

    fn set_unref(&self, unref: bool) {
        let timers = &self.reactor.shared().timers;
        let mut waiting = timers.waiting.borrow_mut();
        if let Some(armed) = waiting.get_mut(self.waiting)
            && armed.unref != unref
        {
            armed.unref = unref;
            let count = timers.unref.get();
            timers.unref.set(if unref { count + 1 } else { count - 1 });
        }
    }

    /// Detaches the timer: it fires without an owner. Its call can still be canceled by its id.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let reminder = reactor.queue().callback(|_, ()| println!("time for a break"));
    /// reactor.after(Duration::from_millis(1), reminder).detach(); // it need not be canceled
    /// reactor.run()?;
    /// assert_eq!(reactor.queue().tally().finished, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn detach(mut self) {
        self.call = None;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((queue, call)) = self.call.take() {
            in_drop(|| match self.reactor.shared().timers.remove(self.waiting) {
                Some(armed) => armed.callback.decline(DROPPED),
                None => _ = queue.core().cancel_if_not_late(call, DROPPED),
            });
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

const DROPPED: &str = "timer dropped";
const GONE: &str = "the reactor is gone";
const UNWANTED: &str = "the recipient is gone";

/// So few timers that are not wanted any more may stay.
const FEW: u64 = 64;

/// Declines the callbacks of all timers, even if one of them panics, and drops the timers.
pub(super) struct DeclineAll<'a>(pub(super) &'a Timers);

impl Drop for DeclineAll<'_> {
    fn drop(&mut self) {
        let decline_next = || {
            let armed = self.0.pop_if(|_| true);
            armed.map(|armed| armed.callback.decline(GONE)).is_some()
        };
        in_drop(|| to_the_end(decline_next));
    }
}

/// Whether the clock was read in the turn in progress.
#[derive(Clone, Copy)]
enum TurnTime {
    NoTurn,
    NotRead,
    Read(Instant),
}

/// What waits for its time.
struct Armed {
    callback: Callback<()>,
    /// Where the timer was armed: the schedule site of its call.
    site: Site,
    /// Whether it keeps nothing running.
    unref: bool,
}

/// The timers of a reactor.
pub(super) struct Timers {
    waiting: RefCell<Heap<Armed>>,
    /// How many callbacks of the queue had become unwanted when the timers were looked at last.
    trimmed: Cell<u64>,
    /// How many of them keep nothing running.
    unref: Cell<usize>,
    /// The reading of the clock that is that of the turn in progress.
    turn_time: Cell<TurnTime>,
    clock: RefCell<Rc<dyn Fn() -> Instant>>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self {
            waiting: RefCell::new(Heap::new(Instant::now())),
            trimmed: Cell::new(0),
            unref: Cell::new(0),
            turn_time: Cell::new(TurnTime::NoTurn),
            clock: RefCell::new(Rc::new(Instant::now)),
        }
    }

    pub(super) fn set_clock(&self, clock: impl Fn() -> Instant + 'static) {
        let old = self.clock.replace(Rc::new(clock));
        drop(old);
    }

    pub(super) fn now(&self) -> Instant {
        let clock = Rc::clone(&self.clock.borrow());
        clock()
    }

    /// The clock's one reading in a turn; outside of turns a new one.
    pub(super) fn turn_time(&self) -> Instant {
        if let TurnTime::Read(time) = self.turn_time.get() {
            return time;
        }
        let time = self.now();
        // The clock is code of a user, but it cannot begin or end a turn: that takes the reactor itself.
        if let TurnTime::NotRead = self.turn_time.get() {
            self.turn_time.set(TurnTime::Read(time));
        }
        time
    }

    #[inline]
    pub(super) fn begin_turn(&self) {
        self.turn_time.set(TurnTime::NotRead);
    }

    #[inline]
    pub(super) fn end_turn(&self) {
        self.turn_time.set(TurnTime::NoTurn);
    }

    #[track_caller]
    pub(super) fn arm(
        &self,
        reactor: &ReactorHandle,
        deadline: Instant,
        callback: Callback<()>,
    ) -> Timer {
        self.arm_from(Location::caller(), reactor, deadline, callback)
    }

    /// As [`arm`](Self::arm), on behalf of code at `site`.
    #[inline]
    fn arm_from(
        &self,
        site: Site,
        reactor: &ReactorHandle,
        deadline: Instant,
        callback: Callback<()>,
    ) -> Timer {
        let call = Some((callback.queue(), callback.id()));
        let timer = |waiting| Timer { reactor: reactor.clone(), deadline, waiting, call };
        if reactor.queue().is_closed() {
            let timer = timer(Handle::NONE);
            callback.decline(GONE);
            return timer;
        }
        self.trim(reactor.queue());
        let mut waiting = self.waiting.borrow_mut();
        let handle = waiting.arm(deadline, Armed { callback, site, unref: false });
        let is_first = waiting.is_first(handle);
        drop(waiting);
        let timer = timer(handle);
        if is_first {
            // An embedder that sleeps by `poll_timeout` is to sleep less.
            reactor.queue().core().wake_for_deadline();
        }
        timer
    }

    #[track_caller]
    pub(super) fn arm_after(
        &self,
        reactor: &ReactorHandle,
        delay: Duration,
        callback: Callback<()>,
    ) -> Timer {
        self.arm(reactor, self.now() + delay.min(FOREVER), callback)
    }

    /// Removes the timers whose callbacks are not wanted any more, if so many callbacks of `queue` became
    /// unwanted since the last time that they may be a fourth of all timers.
    #[inline]
    pub(super) fn trim(&self, queue: &QueueHandle) {
        let unwanted = queue.core().unwanted() - self.trimmed.get();
        if unwanted > FEW.max(self.len() as u64 / 4) {
            self.trim_all(queue);
        }
    }

    #[cold]
    #[inline(never)]
    fn trim_all(&self, queue: &QueueHandle) {
        self.trimmed.set(queue.core().unwanted());
        let unwanted = self.waiting.borrow().unwanted(|armed| armed.callback.is_wanted());
        let mut unwanted = unwanted.into_iter();
        to_the_end(|| {
            let Some(handle) = unwanted.next() else { return false };
            if let Some(armed) = self.remove(handle) {
                armed.callback.decline(UNWANTED);
            }
            true
        });
    }

    /// The number of timers that are armed and wanted.
    pub(super) fn count(&self, queue: &QueueHandle) -> usize {
        if queue.core().unwanted() != self.trimmed.get() {
            self.trim_all(queue);
        }
        self.len()
    }

    /// Answers callbacks that are due, at most a share (rule M6). The others are due in the next turn.
    #[inline]
    pub(super) fn fire(&self, queue: &QueueHandle, share: impl FnOnce() -> usize) {
        if self.len() > 0 {
            self.trim(queue);
            self.fire_due(share());
        }
    }

    #[inline(never)]
    fn fire_due(&self, most: usize) {
        let now = self.turn_time();
        let mut waiting = self.waiting.borrow_mut();
        let now = waiting.moment(now);
        waiting.expect(now, most);
        // Not those that are armed meanwhile, by an observer or a handler; they come behind, even if
        // they were due long ago, as they would hide these otherwise.
        let armed = waiting.armed();
        waiting.set_floor(Some(now));
        drop(waiting);
        let unset = UnsetFloor(self);
        let next = || self.waiting.borrow_mut().pop_due(now, armed);
        // What is not wanted takes nothing of the share, but a step.
        let (mut wanted, mut steps) = (most, 2 * most.max(FEW as usize));
        while steps > 0
            && (wanted > 0 || self.first_is_unwanted())
            && let Some(Armed { callback, site, unref }) = next()
        {
            self.count_out(unref);
            steps -= 1;
            wanted -= usize::from(callback.is_wanted());
            // If the queue takes no more, neither does it dial.
            match callback.core().is_observed() {
                true => answer_observed(callback, site),
                false => callback.answer_from(site, ()),
            }
        }
        drop(unset);
        let mut waiting = self.waiting.borrow_mut();
        if waiting.first().is_some_and(|first| first.deadline <= now) {
            // What is armed until the next turn comes behind these too, or else timers that arm others in
            // the past might hide them for good.
            waiting.set_floor(Some(now));
        }
    }

    fn first_is_unwanted(&self) -> bool {
        self.waiting.borrow().first().is_some_and(|first| !first.value.callback.is_wanted())
    }

    fn pop_if(&self, condition: impl FnOnce(&Armed) -> bool) -> Option<Armed> {
        let mut waiting = self.waiting.borrow_mut();
        let armed = if condition(waiting.first()?.value) { waiting.pop()? } else { return None };
        self.count_out(armed.unref);
        Some(armed)
    }

    fn remove(&self, handle: Handle) -> Option<Armed> {
        let armed = self.waiting.borrow_mut().remove(handle)?;
        self.count_out(armed.unref);
        Some(armed)
    }

    /// Counts a timer that has left.
    #[inline]
    fn count_out(&self, unref: bool) {
        if unref {
            self.unref.set(self.unref.get() - 1);
        }
    }

    /// How long until the first is due. Those that are not wanted any more do not count; no time if what one of
    /// them captured makes the reactor busy as it drops.
    #[inline]
    pub(super) fn timeout(&self, is_busy: impl Fn() -> bool) -> Option<Duration> {
        if self.len() == 0 { None } else { self.timeout_of_first(is_busy) }
    }

    #[inline(never)]
    fn timeout_of_first(&self, is_busy: impl Fn() -> bool) -> Option<Duration> {
        while let Some(armed) = self.pop_if(|armed| !armed.callback.is_wanted()) {
            armed.callback.decline(UNWANTED);
            if is_busy() {
                return Some(Duration::ZERO);
            }
        }
        let now = self.now();
        let waiting = self.waiting.borrow();
        Some(waiting.first()?.deadline.since(waiting.moment(now)))
    }

    /// Whether a timer will answer a callback that is wanted, and keeps the loop running.
    pub(super) fn keeps_running(&self) -> bool {
        let keeps = |armed: &Armed| !armed.unref && armed.callback.is_wanted();
        self.len() > self.unref.get() && self.waiting.borrow().any(keeps)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// Answers a callback whose queue, which may be another one than the reactor's, has an observer: it is
/// notified that a timer does.
#[cold]
fn answer_observed(callback: Callback<()>, site: Site) {
    let core = Rc::clone(callback.core());
    let answers = &core.listener().timers_answer;
    answers.set(true);
    let _no_more = RunOnDrop(Some(|| answers.set(false)));
    callback.answer_from(site, ());
}

/// Ends the firing, even if an observer panics.
struct UnsetFloor<'a>(&'a Timers);

impl Drop for UnsetFloor<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().set_floor(None);
    }
}
