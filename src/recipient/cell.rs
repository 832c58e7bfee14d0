//! The cell of a recipient's value, and the rule that a recipient has at most one live call (R2), which
//! lives in this file only.
//!
//! The value is behind a [`RefCell`] that only a dial borrows:
//!
//! - I1 The value is borrowed exactly while a call to it is live (checks included). The borrow
//!   *is* the mark of rule R2, and unwinding clears it.
//! - I2 Once `GONE` is set, the value is dropped: at once if it is not borrowed, else by the
//!   dial that borrowed it, after it gave the borrow back and its call ended. From then on it is
//!   out of reach: no other call can borrow it.
//! - I3 No borrow is held while a value drops.
//! - I4 While calls wait for the live call to end, or for one another, `DEFERRED` is set. The first
//!   becomes ready when the live call has ended, the next one when that one has.

use alloc::boxed::Box;
use alloc::rc::Weak;
#[cfg(feature = "mio")]
use alloc::sync::Arc;
use core::any::type_name;
use core::cell::{Cell, RefCell};
use core::panic::Location;
#[cfg(feature = "mio")]
use core::sync::atomic::{AtomicBool, Ordering};

use crate::erased::cells::Group;
use crate::erased::{Erased, Site};
use crate::queue::QueueHandle;
use crate::queue::attempt::{Attempt, HandlerEnd};
use crate::queue::state::{Core, Dialing};
use crate::step::{RecipientInfo, Refusal};
use crate::unwind::{DropLast, RunOnDrop, in_drop};

/// The owner dropped the recipient.
const GONE: u8 = 1;
/// Calls may wait for the live call to end.
const DEFERRED: u8 = 1 << 1;
/// Plain calls are deferred too.
const DEFERS_PLAIN: u8 = 1 << 2;

pub(super) struct RecipientCell<T> {
    pub(super) queue: QueueHandle,
    /// How many recipients the queue has made, this one included.
    pub(super) number: u64,
    /// The callbacks to the recipient that are not dialed.
    pub(super) callbacks: Group,
    /// Key and schedule site of the call that borrowed the value last; live while it is borrowed.
    live: Cell<(u64, Site)>,
    flags: Cell<u8>,
    value: RefCell<Option<T>>,
    extras: RefCell<Option<Box<Extras>>>,
}

/// What few recipients have.
#[derive(Default)]
struct Extras {
    /// The set that owns the recipient.
    set: Option<Weak<dyn OwnerSet>>,
    /// Set once the recipient is gone, for other threads to see.
    #[cfg(feature = "mio")]
    gone: Option<Arc<AtomicBool>>,
}

/// A set of recipients that forgets one when it is gone.
pub(super) trait OwnerSet {
    fn forget(&self, number: u64);
}

impl<T: 'static> RecipientCell<T> {
    /// A cell whose value is still being made.
    pub(super) fn new(queue: QueueHandle) -> Self {
        Self {
            number: queue.core().number_recipient(),
            callbacks: Group::new(),
            queue,
            live: Cell::new((0, Location::caller())),
            flags: Cell::new(0),
            value: RefCell::new(None),
            extras: RefCell::new(None),
        }
    }

    /// Makes `set` the owner.
    pub(super) fn set_owner(&self, set: Weak<dyn OwnerSet>) {
        self.extras.borrow_mut().get_or_insert_default().set = Some(set);
    }

    /// A flag that is set once the recipient is gone, for other threads to see.
    #[cfg(feature = "mio")]
    pub(super) fn gone_flag(&self) -> Arc<AtomicBool> {
        let is_gone = || Arc::new(AtomicBool::new(self.is_gone()));
        let mut extras = self.extras.borrow_mut();
        Arc::clone(extras.get_or_insert_default().gone.get_or_insert_with(is_gone))
    }

    /// Sets the value once it is made.
    pub(super) fn fill(&self, value: T) {
        self.value.replace(Some(value));
    }

    pub(super) fn info(&self) -> RecipientInfo {
        RecipientInfo { number: self.number - 1, type_name: type_name::<T>() }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.flags.get() & GONE != 0
    }

    pub(super) fn is_live(&self) -> bool {
        self.value.try_borrow().is_err()
    }

    /// Whether there is a value that no live call has borrowed.
    #[inline(always)]
    pub(super) fn is_free(&self) -> bool {
        self.value.try_borrow_mut().is_ok_and(|value| value.is_some())
    }

    /// Whether a promise has to wait for the live call to end.
    #[inline(always)]
    pub(super) fn is_blocked(&self) -> bool {
        // (Only a dial borrows the value; this asks for what `is_free` does, which is next.)
        self.value.try_borrow_mut().is_err() && !self.is_gone()
    }

    pub(super) fn defers_plain(&self) -> bool {
        self.flags.get() & DEFERS_PLAIN != 0
    }

    pub(super) fn set_defers_plain(&self, defers: bool) {
        if defers { self.raise(DEFERS_PLAIN) } else { self.lower(DEFERS_PLAIN) }
    }

    fn raise(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    fn lower(&self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    /// Defers the call `key` until the live call has ended (I4).
    #[cold]
    #[inline(never)]
    pub(super) fn defer(&self, attempt: &Attempt<'_>, call: Erased<Dialing>, key: u64) {
        let (live, live_site) = self.live.get();
        self.raise(DEFERRED);
        attempt.defer(call, key, (self.queue.core().id(live), live_site));
    }

    /// Why the value could not be borrowed.
    #[cold]
    fn refusal(&self) -> Refusal {
        if self.is_gone() {
            return Refusal::Gone;
        }
        let (key, site) = self.live.get();
        Refusal::Live { live: self.queue.core().id(key), site }
    }

    /// Refuses the call whose check objects. If that has dropped the recipient, the value is out of
    /// reach before the observers are notified.
    #[cold]
    #[inline(never)]
    fn refuse(&self, attempt: &Attempt<'_>, objection: &'static str, site: Site) {
        self.unblock();
        let _value = DropLast::new(self.is_gone().then(|| self.take()));
        attempt.refuse(Refusal::Check(objection), site);
    }

    /// Hangs up the recipient (rule R9): drops the value unless a call is live, and what pending calls
    /// and callbacks captured, even if one of these drops panics.
    #[cold]
    #[inline(never)]
    pub(super) fn hang_up(&self) {
        if self.is_gone() {
            return;
        }
        self.raise(GONE);
        #[cfg(feature = "mio")]
        if let Some(gone) = self.extras.borrow().as_ref().and_then(|extras| extras.gone.as_ref()) {
            gone.store(true, Ordering::Release);
        }
        let core = self.queue.core();
        if self.flags.get() & DEFERRED != 0 {
            core.unblock_all(self.number);
        }
        let set = self.extras.borrow_mut().as_mut().and_then(|extras| extras.set.take());
        let _set = ForgetOnDrop { set, number: self.number };
        let _captures = ReleaseOnDrop { core, callbacks: &self.callbacks, number: self.number };
        let value = self.take();
        drop(value);
    }

    /// The live call has ended, in a cell with a flag set. A call that waited for that becomes ready; the
    /// value of a recipient that is gone is out of reach before the observers are notified, and drops
    /// even if that panics.
    #[cold]
    #[inline(never)]
    fn after_call(&self, end: Option<HandlerEnd>) {
        self.unblock();
        if self.is_gone() {
            in_drop(|| {
                let _value = DropLast::new(self.take());
                if let Some(end) = end {
                    Attempt::end_early(self.queue.core(), self.live.get().0, end);
                }
            });
        }
    }

    /// Makes the first call ready that waited for the live call to end (I4).
    fn unblock(&self) {
        if self.flags.get() & DEFERRED != 0 && !self.queue.core().unblock_first(self.number) {
            self.lower(DEFERRED);
        }
    }

    /// Takes the value out, unless it is borrowed.
    fn take(&self) -> Option<T> {
        self.value.try_borrow_mut().ok().and_then(|mut value| value.take())
    }
}

/// Forgets a recipient that is gone in the set that owns it.
struct ForgetOnDrop {
    set: Option<Weak<dyn OwnerSet>>,
    number: u64,
}

impl Drop for ForgetOnDrop {
    fn drop(&mut self) {
        if let Some(set) = self.set.as_ref().and_then(Weak::upgrade) {
            set.forget(self.number);
        }
    }
}

/// Drops what calls and callbacks to a recipient that is gone captured.
struct ReleaseOnDrop<'a> {
    core: &'a Core,
    callbacks: &'a Group,
    number: u64,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        let _label = RunOnDrop(Some(|| self.core.forget_label(self.number)));
        in_drop(|| self.core.release_captures(self.callbacks, self.number));
    }
}

/// A dial in progress, even while it unwinds. Keeps I2 and I4 at its end.
struct Delivery<'a, T: 'static> {
    cell: &'a RecipientCell<T>,
    /// How its call ends; `None` if it is refused or put back.
    end: Cell<Option<HandlerEnd>>,
}

impl<T> Drop for Delivery<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.cell.flags.get() & (GONE | DEFERRED) != 0 {
            self.cell.after_call(self.end.get());
        }
    }
}

impl<T: 'static> RecipientCell<T> {
    /// Passes `call` to its handler, `run`, unless `check` returns an error (rule R8). `erase` makes it
    /// a call again that can be put back.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined in two places only")]
    pub(super) fn deliver<C>(
        &self,
        mut call: C,
        attempt: &Attempt<'_>,
        site: Site,
        observed: bool,
        check: impl FnOnce(&C, &T) -> Result<(), &'static str>,
        erase: impl FnOnce(C) -> Erased<Dialing>,
        run: impl FnOnce(C, &mut T),
    ) {
        // Declared first, dropped last: after the borrow below is back.
        let delivery;
        let Ok(mut borrow) = self.value.try_borrow_mut() else {
            let _call = DropLast::new(call);
            return attempt.refuse(self.refusal(), site);
        };
        let Some(value) = &mut *borrow else {
            drop(borrow);
            let _call = DropLast::new(call);
            return attempt.refuse(Refusal::Gone, site);
        };
        self.live.set((attempt.key(), site));
        delivery = Delivery { cell: self, end: Cell::new(Some(HandlerEnd::Unwound)) };
        let position = if observed { attempt.position() } else { 0 };
        if let Err(reason) = check(&call, value) {
            drop(borrow);
            delivery.end.set(None);
            let _call = DropLast::new(call);
            return self.refuse(attempt, reason, site);
        }
        if observed {
            delivery.end.set(None);
            call = attempt.notify_dialed(position, call, erase);
            delivery.end.set(Some(HandlerEnd::Unwound));
        }
        run(call, value);
        delivery.end.set(Some(HandlerEnd::Returned));
    }
}
