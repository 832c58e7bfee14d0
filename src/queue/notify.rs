//! How a queue notifies who listens: of turns, when calls are scheduled, and of every step.

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::erased::Site;
use crate::id::CallId;
use crate::observe::{Observer, ObserverId};
use crate::op_step::OpStep;
#[cfg(feature = "mio")]
use crate::outside::CallOrigin;
use crate::outside::TurnStep;
use crate::queue::listener::{Observers, flag};
use crate::queue::state::Core;
use crate::step::{RecipientInfo, Step};
use crate::unwind::{RunOnDrop, drop_all, in_drop, to_the_end};

/// Flags.
impl Core {
    pub(super) fn raise(&self, flag: u8) {
        let flags = &self.listener.flags;
        flags.set(flags.get() | flag);
        self.set_fast_limit();
    }

    pub(super) fn lower(&self, flag: u8) {
        let flags = &self.listener.flags;
        if flags.get() & flag != 0 {
            flags.set(flags.get() & !flag);
            self.set_fast_limit();
        }
    }
}

/// Turns.
impl Core {
    /// Notifies the observers of a step of the loop.
    #[cold]
    pub(crate) fn notify_of_turn(&self, step: &TurnStep) {
        self.listener.notify_each(|observer| observer.observe_turn(self.id, step));
    }

    /// What is to be done after a turn if it is not as usual.
    pub(super) fn clear_up(&self) {
        if self.listener.is_in_turn() {
            // The turn around this one may have had a call that is over.
            self.raise(flag::OVER);
        }
        self.arm();
        self.trim_index();
        self.drop_listeners();
    }

    /// Drops observers and wake hook of a closed queue, as they may hold it, once there is nothing
    /// more to notify of.
    fn drop_listeners(&self) {
        if self.is_closed() && !self.listener.is_in_turn() && self.listener.kept.get() == 0 {
            self.lower(flag::OBSERVED | flag::WAKE | flag::HOOKED);
            let (observers, hook) =
                (self.listener.take_observers(), self.listener.wake_hook.take());
            self.free_memory();
            self.free_blocks.close();
            self.trim_index();
            // Last, as their drops may panic.
            let _hook = RunOnDrop(Some(|| drop(hook)));
            in_drop(|| drop_all(observers));
        }
    }
}

/// The wake hook.
impl Core {
    /// Makes the next call scheduled wake the embedder, if it needs to.
    #[inline]
    pub(super) fn arm(&self) {
        if self.listener.has(flag::HOOKED) && self.pending() == 0 && !self.listener.is_in_turn() {
            self.raise(flag::WAKE);
        }
    }

    /// Wakes the embedder for something that is no call, unless a turn is in progress, after which
    /// it asks.
    #[cfg(feature = "mio")]
    pub(crate) fn wake_for_deadline(&self) {
        if !self.listener.is_in_turn() {
            self.listener.call_wake_hook();
        }
    }

    #[cold]
    fn wake(&self) {
        // The observers, which come first, may have dialed or canceled what there was.
        if self.pending() > 0 {
            self.lower(flag::WAKE);
            in_drop(|| self.listener.call_wake_hook());
        }
    }

    /// Sets the wake hook, and calls it if calls are pending already. A closed queue takes none.
    pub(super) fn set_wake_hook(&self, hook: Option<Rc<dyn Fn()>>) {
        if self.is_closed() && hook.is_some() {
            return;
        }
        self.lower(flag::WAKE | flag::HOOKED);
        let is_set = hook.is_some();
        let old = self.listener.wake_hook.replace(hook);
        if is_set {
            self.raise(flag::HOOKED);
            self.arm();
        }
        // Even if the drop of the old hook panics.
        let _wake = RunOnDrop(Some(|| {
            if is_set && self.pending() > 0 && !self.listener.is_in_turn() {
                self.listener.call_wake_hook();
            }
        }));
        drop(old);
    }
}

/// Wakes the embedder even if an observer panics in between.
pub(super) struct WakeOnDrop<'a>(pub(super) &'a Core);

impl Drop for WakeOnDrop<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.listener.has(flag::WAKE) {
            self.0.wake();
        }
    }
}

/// Keeps the observers for the steps of which they are still to be notified, even if one of them drops
/// the queue meanwhile.
pub(super) struct KeepObservers<'a>(&'a Core);

impl<'a> KeepObservers<'a> {
    pub(super) fn of(core: &'a Core) -> Self {
        let kept = &core.listener.kept;
        kept.set(kept.get() + 1);
        Self(core)
    }
}

impl Drop for KeepObservers<'_> {
    fn drop(&mut self) {
        let kept = &self.0.listener.kept;
        kept.set(kept.get() - 1);
        self.0.drop_listeners();
    }
}

/// Observers.
impl Core {
    #[inline(always)]
    pub(crate) fn is_observed(&self) -> bool {
        self.listener.has(flag::OBSERVED)
    }

    /// Adds an observer, which is notified of the labels that there are. A closed queue takes none.
    pub(super) fn add_observer(&self, observer: &Rc<dyn Observer>) -> ObserverId {
        let listener = &self.listener;
        let id = ObserverId::new(listener.added.replace(listener.added.get() + 1));
        if self.is_closed() {
            return id;
        }
        let others = listener.observers.borrow().clone();
        let others = others.iter().flat_map(|others| others.iter().cloned());
        let all: Observers = others.chain([(id, Rc::clone(observer))]).collect();
        listener.observers.replace(Some(all));
        self.raise(flag::OBSERVED);
        let labels: Vec<_> = listener.labels.borrow().values().cloned().collect();
        for (recipient, label) in labels {
            observer.observe_label(self.id, recipient, Some(&label));
        }
        id
    }

    /// Removes the observers for which `removes` returns true; whether there was one.
    pub(super) fn remove_observers(&self, removes: impl Fn(ObserverId) -> bool) -> bool {
        let all = self.listener.take_observers().into_iter();
        let (removed, left): (Vec<_>, Vec<_>) = all.partition(|(id, _)| removes(*id));
        if left.is_empty() {
            self.lower(flag::OBSERVED);
            self.listener.turn_began.set(None); // who is added meanwhile has seen no half of the turn
        } else {
            self.listener.observers.replace(Some(left.into()));
        }
        let is_any = !removed.is_empty();
        let mut rest = removed.into_iter();
        to_the_end(|| rest.next().map(|(_, one)| one.observe_removal(self.id)).is_some());
        is_any
    }

    /// Notifies the observers, if there are any.
    #[inline(always)]
    pub(crate) fn notify(&self, key: u64, step: impl FnOnce() -> Step) {
        if self.is_observed() {
            self.notify_of_step(key, &step());
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_of_step(&self, key: u64, step: &Step) {
        let call = self.id(key);
        self.listener.notify_each(|observer| observer.observe(call, step));
    }

    /// Notifies the only observer of a call that is created and scheduled in one go. Returns false if
    /// it needs both steps.
    #[cold]
    #[inline(never)]
    pub(super) fn notify_of_call(
        &self,
        key: u64,
        recipient: Option<&RecipientInfo>,
        site: Site,
    ) -> bool {
        let call = self.id(key);
        self.listener.notify_only(|observer| observer.observe_call(call, recipient, site))
    }

    /// Notifies the observers that a call of whose dial they were notified is pending again.
    pub(super) fn notify_put_back(&self, key: u64) {
        let call = self.id(key);
        self.listener.notify_each(|observer| observer.observe_put_back(call));
    }

    /// Notifies the observers that the handler of such a call is about to run.
    #[cold]
    pub(super) fn notify_dial_again(&self, key: u64) {
        let call = self.id(key);
        self.listener.notify_each(|observer| observer.observe_dial_again(call));
    }

    /// Notifies the observers and the log of an end other than Finished.
    #[inline(always)]
    pub(crate) fn notify_end(&self, key: u64, step: Step) {
        #[cfg(feature = "tracing")]
        crate::observe::log(self.id(key), &step);
        self.notify(key, || step);
    }

    /// Notifies the observers of a step of an operation.
    #[cold]
    pub(crate) fn notify_of_operation(&self, operation: CallId, step: &OpStep) {
        self.listener.notify_each(|observer| observer.observe_operation(operation, step));
    }

    /// Notifies the observers that a callback was answered.
    pub(super) fn notify_answered(&self, key: u64, site: Site) {
        // What observers schedule comes from them.
        let by_timer = self.listener.timers_answer.take();
        self.notify(key, || Step::Scheduled { site });
        #[cfg(feature = "mio")]
        if by_timer && self.is_observed() {
            self.notify_of_origin(self.id(key), &CallOrigin::Timer);
        }
        self.listener.timers_answer.set(by_timer);
    }

    /// Notifies the observers of what a call comes from that was scheduled outside of all handlers.
    #[cfg(feature = "mio")]
    #[cold]
    pub(crate) fn notify_of_origin(&self, call: CallId, origin: &CallOrigin) {
        self.listener.notify_each(|observer| observer.observe_origin(call, origin));
    }

    /// Notifies the observers of the name of a call, unless it is over.
    pub(super) fn name_call(&self, call: CallId, name: &str) {
        if self.listener.has(flag::OBSERVED) && self.has_yet_to_end(call) {
            self.listener.notify_each(|observer| observer.observe_name(call, name));
        }
    }

    /// Labels a recipient, and notifies the observers.
    pub(crate) fn set_label(&self, recipient: RecipientInfo, label: Rc<str>) {
        let shown = Rc::clone(&label);
        let old =
            self.listener.labels.borrow_mut().insert(recipient.number + 1, (recipient, label));
        drop(old);
        self.listener
            .notify_each(|observer| observer.observe_label(self.id, recipient, Some(&shown)));
    }

    pub(crate) fn label(&self, recipient: u64) -> Option<Rc<str>> {
        self.listener.labels.borrow().get(&recipient).map(|(_, label)| Rc::clone(label))
    }

    /// Forgets the label of a recipient that is gone, and notifies the observers.
    pub(crate) fn forget_label(&self, recipient: u64) {
        let label = self.listener.labels.borrow_mut().remove(&recipient);
        if let Some((recipient, _)) = label {
            self.listener.notify_each(|observer| observer.observe_label(self.id, recipient, None));
        }
    }
}
