//! Timers: callbacks that are answered when their time has come (rule M7).
//!
//! - I1 A timer stands in `waiting` from when it is armed until it is due or canceled, and never
//!   longer. Its key orders it by deadline, then by when it was armed.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::time::Instant;

use crate::call::CallId;
use crate::callback::Callback;
use crate::queue::QueueHandle;
use crate::reactor::ReactorHandle;

/// Delays longer than this, about a hundred years, count as this.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Deadline, and how many timers were armed before.
type Key = (Instant, u64);

/// A callback that waits for its time. Dropping this cancels it, also if it is due and its call
/// pending; [`detach`](Self::detach) lets it go on.
#[must_use = "dropping a timer cancels it"]
pub struct Timer {
    reactor: ReactorHandle,
    key: Key,
    /// The callback's queue and id; `None` once the timer is detached.
    call: Option<(QueueHandle, CallId)>,
}

impl Timer {
    /// When the timer is due.
    pub const fn deadline(&self) -> Instant {
        self.key.0
    }

    /// Leaves the timer to itself. Its call can still be canceled by its id.
    pub fn detach(mut self) {
        self.call = None;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((queue, call)) = self.call.take() {
            let callback = self.reactor.shared().timers.waiting.borrow_mut().remove(&self.key);
            queue.core().cancel_if_not_late(call, "timer dropped");
            drop(callback);
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

const GONE: &str = "the reactor is gone";

/// Declines the callbacks of timers, also behind one whose decline panics.
pub(super) struct DeclineAll(BTreeMap<Key, Callback<()>>);

impl DeclineAll {
    fn run(&mut self) {
        while let Some((_, callback)) = self.0.pop_first() {
            callback.decline(GONE);
        }
    }
}

impl Drop for DeclineAll {
    fn drop(&mut self) {
        struct Rest<'a>(&'a mut DeclineAll);

        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                self.0.run();
            }
        }

        Rest(self).0.run();
    }
}

/// The timers of a reactor.
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<Key, Callback<()>>>,
    armed: Cell<u64>,
    clock: RefCell<Rc<dyn Fn() -> Instant>>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self {
            waiting: RefCell::new(BTreeMap::new()),
            armed: Cell::new(0),
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

    pub(super) fn arm(
        &self,
        reactor: &ReactorHandle,
        deadline: Instant,
        callback: Callback<()>,
    ) -> Timer {
        let key = (deadline, self.armed.replace(self.armed.get() + 1));
        let call = Some((callback.queue().clone(), callback.id()));
        let timer = Timer { reactor: reactor.clone(), key, call };
        if reactor.queue().is_closed() {
            callback.decline(GONE);
        } else {
            self.waiting.borrow_mut().insert(key, callback);
            if self.is_first(key) {
                // An embedder that sleeps by `poll_timeout` is to sleep less.
                reactor.queue().core().nudge();
            }
        }
        timer
    }

    pub(super) fn arm_after(
        &self,
        reactor: &ReactorHandle,
        delay: Duration,
        callback: Callback<()>,
    ) -> Timer {
        self.arm(reactor, self.now() + delay.min(FOREVER), callback)
    }

    /// Answers the callbacks that are due.
    pub(super) fn fire(&self) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let now = self.now();
        while let Some(callback) = self.take_first_if(|deadline, _| deadline <= now) {
            // If the queue takes no more, neither does it dial.
            let _ = callback.answer(());
        }
    }

    fn is_first(&self, key: Key) -> bool {
        self.waiting.borrow().first_key_value().is_some_and(|(first, _)| *first == key)
    }

    fn take_first_if(
        &self,
        condition: impl FnOnce(Instant, &Callback<()>) -> bool,
    ) -> Option<Callback<()>> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.first_entry()?;
        condition(first.key().0, first.get()).then(|| first.remove())
    }

    /// How long until the first is due. Those that were canceled by their id do not count.
    pub(super) fn timeout(&self) -> Option<Duration> {
        while let Some(canceled) = self.take_first_if(|_, callback| callback.is_canceled()) {
            drop(canceled);
        }
        let deadline = self.waiting.borrow().first_key_value()?.0.0;
        Some(deadline.saturating_duration_since(self.now()))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Takes all timers, to be declined.
    pub(super) fn take(&self) -> DeclineAll {
        DeclineAll(self.waiting.take())
    }
}
