//! What a queue looks out for: its observer, its wake hook and its end. One byte of flags, zero as
//! usual, tells the dialing path whether there is anything of the kind.

use alloc::rc::Rc;

use crate::id::CallId;
use crate::observe::Observer;
use crate::op_step::OpStep;
use crate::outcome::Report;
use crate::queue::inner::Core;
use crate::step::Step;
use crate::tally::{Counters, Tally};

pub(super) mod flag {
    /// The owner has dropped the queue.
    pub(in crate::queue) const CLOSED: u8 = 1;
    /// An observer is set.
    pub(in crate::queue) const OBSERVED: u8 = 1 << 1;
    /// The next call scheduled wakes the embedder.
    pub(in crate::queue) const WAKE: u8 = 1 << 2;
    /// A wake hook is set.
    pub(in crate::queue) const HOOKED: u8 = 1 << 3;
    /// Flags to be looked at when a call is scheduled.
    pub(in crate::queue) const NEWS: u8 = CLOSED | OBSERVED | WAKE;
    /// The call that was dialed last may be over already.
    pub(in crate::queue) const OVER: u8 = 1 << 4;
}

impl Core {
    // Turns.

    #[inline(always)]
    pub(super) fn enter_turn(&self) {
        self.turns.set(self.turns.get() + 1);
        if self.has(flag::WAKE) {
            self.lower(flag::WAKE);
        }
    }

    #[inline(always)]
    pub(super) fn leave_turn(&self) {
        self.turns.set(self.turns.get() - 1);
        if self.turns.get() > 0 || self.has(flag::HOOKED | flag::CLOSED) {
            self.leave_turn_attentively();
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_turn_attentively(&self) {
        if self.turns.get() > 0 {
            // The turn around this one may have had a call that is over.
            self.call_is_over();
        }
        self.arm();
        self.let_go();
    }

    /// Drops the observer and the wake hook of a closed queue, as they may hold it, once there is
    /// nothing more to tell.
    pub(super) fn let_go(&self) {
        if self.is_closed() && self.turns.get() == 0 {
            self.lower(flag::OBSERVED | flag::WAKE | flag::HOOKED);
            // Together, as the drop of either may panic.
            let _gone = (self.observer.take(), self.wake_hook.take());
        }
    }

    /// Makes the next call scheduled wake the embedder, if it needs to.
    #[inline]
    pub(super) fn arm(&self) {
        if self.has(flag::HOOKED) && self.ring.pending() == 0 && self.turns.get() == 0 {
            self.raise(flag::WAKE);
        }
    }

    /// Wakes the embedder for the sake of something that is no call, unless a turn is in progress,
    /// after which it asks.
    #[cfg(feature = "mio")]
    pub(crate) fn nudge(&self) {
        if self.turns.get() == 0 {
            self.call_wake_hook();
        }
    }

    fn wake(&self) {
        // The observer, who comes first, may have dialed or canceled what there was.
        if self.has(flag::WAKE) && self.ring.pending() > 0 {
            self.lower(flag::WAKE);
            self.call_wake_hook();
        }
    }

    fn call_wake_hook(&self) {
        let hook = self.wake_hook.borrow().clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// Sets the wake hook; a queue that is closed takes none.
    pub(super) fn set_wake_hook(&self, hook: Option<Rc<dyn Fn()>>) {
        if self.is_closed() && hook.is_some() {
            return;
        }
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
        let Counters { callbacks, answered, withdrawn, turned_away, refused_at_once, .. } =
            &self.tally;
        let Counters { finished, canceled, refused, abandoned, panicked, .. } = &self.tally;
        Tally {
            // An answered callback is among those scheduled, and was created before.
            created: self.ring.scheduled() + callbacks.get() - answered.get() + turned_away.get(),
            unscheduled: callbacks.get() - answered.get() - withdrawn.get(),
            pending: self.ring.pending(),
            live: self.live(),
            finished: finished.get(),
            canceled: canceled.get(),
            refused: refused.get() + refused_at_once.get(),
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
        if self.is_closed() && observer.is_some() {
            return;
        }
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

    // Attempts to dial.

    /// Whether a call whose handler has returned is finished, with nobody to be told.
    #[inline(always)]
    pub(crate) fn is_unattended(&self) -> bool {
        !self.has(flag::OBSERVED | flag::OVER)
    }

    /// Notes that the call that was dialed last may be over before its attempt finishes it.
    pub(crate) fn call_is_over(&self) {
        self.flags.set(self.flags.get() | flag::OVER);
    }

    /// Takes note of [`call_is_over`](Self::call_is_over). Says whether there is an observer.
    pub(crate) fn attend(&self) -> bool {
        self.flags.set(self.flags.get() & !flag::OVER);
        self.is_observed()
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

    /// Tells the observer of an operation, if there is one.
    #[cold]
    pub(crate) fn tell_operation(&self, operation: CallId, step: &OpStep) {
        let observer = self.observer.borrow().clone();
        if let Some(observer) = observer {
            observer.observe_operation(operation, step);
        }
    }

    // Flags.

    #[inline(always)]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    pub(super) fn raise(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
        self.ease();
    }

    fn lower(&self, flag: u8) {
        if self.has(flag) {
            self.flags.set(self.flags.get() & !flag);
            self.ease();
        }
    }
}

/// Wakes the embedder also if the observer panics in between.
pub(super) struct WakeOnDrop<'a>(pub(super) &'a Core);

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}
