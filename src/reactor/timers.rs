//! Timers: callbacks that are answered when their time has come (rule M7).
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
use crate::id::CallId;
use crate::queue::QueueHandle;
use crate::reactor::ReactorHandle;
use crate::unwind::to_the_end;

mod heap;
mod values;

use heap::{Handle, Heap};

/// Delays longer than this, about a hundred years, count as this.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A callback that waits for its time. Dropping this cancels it, also if it is due and its call
/// pending; [`detach`](Self::detach) lets it go on.
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
    /// When the timer is due.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Leaves the timer to itself. Its call can still be canceled by its id.
    #[inline]
    pub fn detach(mut self) {
        self.call = None;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((queue, call)) = self.call.take() {
            let armed = self.reactor.shared().timers.waiting.borrow_mut().remove(self.waiting);
            match armed {
                Some(armed) => armed.callback.decline(DROPPED),
                None => _ = queue.core().cancel_if_not_late(call, DROPPED),
            }
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

/// Declines the callbacks of all timers, also behind one whose decline panics, and drops timers.
pub(super) struct DeclineAll<'a>(pub(super) &'a Timers);

impl Drop for DeclineAll<'_> {
    fn drop(&mut self) {
        to_the_end(|| {
            let armed = self.0.pop_if(|_| true);
            armed.map(|armed| armed.callback.decline(GONE)).is_some()
        });
    }
}

/// What waits for its time.
struct Armed {
    callback: Callback<()>,
    /// Where the timer was armed: the schedule site of its call.
    site: &'static Location<'static>,
}

/// The timers of a reactor.
pub(super) struct Timers {
    waiting: RefCell<Heap<Armed>>,
    /// How many callbacks of the queue had become unwanted when the timers were looked at last.
    trimmed: Cell<u64>,
    clock: RefCell<Rc<dyn Fn() -> Instant>>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self {
            waiting: RefCell::new(Heap::new(Instant::now())),
            trimmed: Cell::new(0),
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

    #[track_caller]
    pub(super) fn arm(
        &self,
        reactor: &ReactorHandle,
        deadline: Instant,
        callback: Callback<()>,
    ) -> Timer {
        let site = Location::caller();
        let call = Some((callback.queue(), callback.id()));
        let timer = |waiting| Timer { reactor: reactor.clone(), deadline, waiting, call };
        if reactor.queue().is_closed() {
            let timer = timer(Handle::NONE);
            callback.decline(GONE);
            return timer;
        }
        self.trim(reactor.queue());
        let mut waiting = self.waiting.borrow_mut();
        let handle = waiting.arm(deadline, Armed { callback, site });
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
            let armed = self.waiting.borrow_mut().remove(handle);
            if let Some(armed) = armed {
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
        let now = self.now();
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
            && let Some(Armed { callback, site }) = next()
        {
            steps -= 1;
            wanted -= usize::from(callback.is_wanted());
            // If the queue takes no more, neither does it dial.
            callback.answer_from(site, ());
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
        if condition(waiting.first()?.value) { waiting.pop() } else { None }
    }

    /// How long until the first is due. Those that were canceled by their id do not count.
    #[inline]
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.len() == 0 { None } else { self.timeout_of_first() }
    }

    #[inline(never)]
    fn timeout_of_first(&self) -> Option<Duration> {
        while let Some(armed) = self.pop_if(|armed| !armed.callback.is_wanted()) {
            armed.callback.decline(UNWANTED);
        }
        let now = self.now();
        let waiting = self.waiting.borrow();
        Some(waiting.first()?.deadline.since(waiting.moment(now)))
    }

    /// Whether a timer will answer a callback that is wanted.
    pub(super) fn has_wanted(&self) -> bool {
        self.waiting.borrow().any(|armed| armed.callback.is_wanted())
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// Ends the firing, even if an observer panics.
struct UnsetFloor<'a>(&'a Timers);

impl Drop for UnsetFloor<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().set_floor(None);
    }
}
