//! Where the value of a recipient is, and the rule that a recipient has at most one live call (R2).
//! That rule lives in this file only.
//!
//! The value is behind a [`RefCell`] that only a dial borrows:
//!
//! - I1 The value is borrowed exactly while a call to it is live (checks included). The borrow
//!   *is* the mark of rule R2, and unwinding clears it.
//! - I2 Once `gone` is set, the value is dropped: at once if it is not borrowed, else by the
//!   dial that borrowed it, after it gave the borrow back and its call ended. From then on it is
//!   out of reach: no other call can borrow it.
//! - I3 No borrow is held while a value drops.

use core::cell::{Cell, RefCell};
use core::panic::Location;

use crate::queue::{Attempt, Ended, QueueHandle};
use crate::step::Refusal;

/// Where a recipient sits.
pub(super) struct RecipientCell<T> {
    pub(super) queue: QueueHandle,
    pub(super) number: u64,
    /// Key and schedule site of the call that borrowed the value last; live while it is borrowed.
    pub(super) live: Cell<(u64, &'static Location<'static>)>,
    pub(super) gone: Cell<bool>,
    pub(super) value: RefCell<Option<T>>,
}

impl<T> RecipientCell<T> {
    /// Whether there is a value that no live call has borrowed.
    #[inline(always)]
    pub(super) fn is_free(&self) -> bool {
        self.value.try_borrow_mut().is_ok_and(|value| value.is_some())
    }

    /// Why the value could not be borrowed.
    #[cold]
    pub(super) fn refusal(&self) -> Refusal {
        if self.gone.get() {
            return Refusal::Gone;
        }
        let (key, site) = self.live.get();
        Refusal::Live { live: self.queue.core().id(key), site }
    }

    /// Refuses the call whose check objects. If that has let the recipient go, the value is out of
    /// reach before anybody is told.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse(
        &self,
        attempt: &Attempt<'_>,
        objection: &'static str,
        site: &'static Location<'static>,
    ) {
        let _value = self.gone.get().then(|| self.take());
        attempt.refuse(Refusal::Check(objection), site);
    }

    pub(super) fn hang_up(&self) {
        self.gone.set(true);
        self.clear();
    }

    /// Drops the value, unless it is borrowed (I2).
    #[cold]
    #[inline(never)]
    pub(super) fn clear(&self) {
        drop(self.take());
    }

    /// Ends the live call, then drops the value. That is out of reach before anybody is told, and drops
    /// also if that panics.
    #[cold]
    #[inline(never)]
    pub(super) fn clear_after(&self, ended: Ended) {
        let _value = self.take();
        Attempt::end_early(self.queue.core(), self.live.get().0, ended);
    }

    /// Takes the value out, unless it is borrowed.
    pub(super) fn take(&self) -> Option<T> {
        self.value.try_borrow_mut().ok().and_then(|mut value| value.take())
    }
}

/// A dial in progress, also while it unwinds. Keeps I2 at its end.
pub(super) struct Delivery<'a, T> {
    pub(super) cell: &'a RecipientCell<T>,
    /// How its call ends; none if it is refused.
    pub(super) ended: Option<Ended>,
}

impl<T> Drop for Delivery<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.cell.gone.get()
            && let Some(ended) = self.ended
        {
            self.cell.clear_after(ended);
        }
    }
}
