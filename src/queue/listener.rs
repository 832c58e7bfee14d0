//! The listeners of a queue: its observers and its wake hook. One byte of flags, zero as usual, shows
//! the fast paths whether there is anything beyond the usual to do.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use crate::observe::{Observer, ObserverId};
use crate::step::RecipientInfo;
use crate::unwind::to_the_end;

pub(super) mod flag {
    /// The owner has dropped the queue.
    pub(crate) const CLOSED: u8 = 1;
    /// There is an observer.
    pub(crate) const OBSERVED: u8 = 1 << 1;
    /// The next call scheduled wakes the embedder.
    pub(crate) const WAKE: u8 = 1 << 2;
    /// A wake hook is set.
    pub(crate) const HOOKED: u8 = 1 << 3;
    /// The call that was dialed last may be over before its attempt finishes it.
    pub(crate) const OVER: u8 = 1 << 4;
    /// A deferred call is ready.
    pub(crate) const READY: u8 = 1 << 5;
    /// There is an index of recipients.
    pub(crate) const INDEXED: u8 = 1 << 6;
    /// To be looked at when a call is scheduled.
    pub(crate) const ON_SCHEDULE: u8 = CLOSED | OBSERVED | WAKE;
    /// To be looked at when a turn begins.
    pub(crate) const ON_ENTER: u8 = CLOSED | OBSERVED | WAKE;
    /// To be looked at when a call is canceled.
    pub(crate) const ON_CANCEL: u8 = OBSERVED | HOOKED;
    /// To be looked at when a handler has returned.
    pub(crate) const ON_FINISH: u8 = OBSERVED | OVER | READY;
    /// To be looked at when a turn is over.
    pub(crate) const ON_LEAVE: u8 = CLOSED | OBSERVED | HOOKED | INDEXED;
}

/// The observers, in the order in which they were added.
pub(super) type Observers = Rc<[(ObserverId, Rc<dyn Observer>)]>;

#[derive(Default)]
pub(crate) struct Listener {
    pub(super) flags: Cell<u8>,
    /// Turns in progress, one within the other.
    pub(super) turns: Cell<u32>,
    /// How many turns were reported, and the counts as the one in progress began, if that was.
    pub(super) reported_turns: Cell<u64>,
    pub(super) turn_began: Cell<Option<[u64; 3]>>,
    /// Whether it is timers that answer callbacks.
    pub(crate) timers_answer: Cell<bool>,
    /// For so many reasons the observers are kept, even if the queue is closed.
    pub(super) kept: Cell<u32>,
    pub(super) observers: RefCell<Option<Observers>>,
    /// How many observers were ever added.
    pub(super) added: Cell<u64>,
    pub(super) wake_hook: RefCell<Option<Rc<dyn Fn()>>>,
    /// The labels of recipients, by number.
    pub(super) labels: RefCell<BTreeMap<u64, (RecipientInfo, Rc<str>)>>,
}

impl Listener {
    #[inline(always)]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    /// Counts a turn that is reported; how many were before.
    pub(super) fn count_turn(&self) -> u64 {
        let before = self.reported_turns.get();
        self.reported_turns.set(before + 1);
        before
    }

    /// Whether a turn is in progress within another one.
    #[inline(always)]
    pub(super) fn is_nested(&self) -> bool {
        self.turns.get() > 1
    }

    pub(super) fn is_in_turn(&self) -> bool {
        self.turns.get() > 0
    }

    /// Notifies each observer, even if one of them panics.
    #[inline]
    pub(super) fn notify_each(&self, notify: impl Fn(&dyn Observer)) {
        let Some(observers) = self.observers.borrow().clone() else { return };
        match &*observers {
            [(_, observer)] => notify(&**observer),
            observers => notify_all(observers, notify),
        }
    }

    /// Notifies the only observer, if there is but one. Returns what that returns.
    #[inline(always)]
    pub(super) fn notify_only(&self, notify: impl FnOnce(&dyn Observer) -> bool) -> bool {
        let Some(observers) = self.observers.borrow().clone() else { return false };
        matches!(&*observers, [(_, observer)] if notify(&**observer))
    }

    /// Takes the observers out, each by itself: a drop of one may panic.
    pub(super) fn take_observers(&self) -> Vec<(ObserverId, Rc<dyn Observer>)> {
        let observers = self.observers.take();
        observers.iter().flat_map(|observers| observers.iter().cloned()).collect()
    }

    pub(super) fn call_wake_hook(&self) {
        let hook = self.wake_hook.borrow().clone();
        if let Some(hook) = hook {
            hook();
        }
    }
}

#[cold]
#[inline(never)]
fn notify_all(observers: &[(ObserverId, Rc<dyn Observer>)], notify: impl Fn(&dyn Observer)) {
    let mut rest = observers.iter();
    to_the_end(|| rest.next().map(|(_, observer)| notify(&**observer)).is_some());
}
