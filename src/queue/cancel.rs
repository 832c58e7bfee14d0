//! How calls are canceled, and what becomes of the places of those that were pending.

use crate::erased::cells::Cancel;
use crate::erased::{Canceled, Key};
use crate::id::{CallId, Named};
use crate::outcome::Cancellation;
use crate::queue::deferred::Taken;
use crate::queue::listener::flag;
use crate::queue::state::Core;
use crate::step::Step;
use crate::unwind::DropLast;

impl Core {
    /// Cancels the call `id`, and returns true, if there is nothing to drop and no observer. Else does
    /// nothing.
    #[inline(always)]
    pub(super) fn cancel_fast(&self, id: CallId) -> bool {
        if cfg!(feature = "tracing")
            || id.queue() != self.id
            || self.listener.has(flag::ON_CANCEL)
            // (The keys of other calls are higher than all positions.)
            || !self.calls().cancel_fast(id.key())
        {
            return false;
        }
        self.tally.canceled.add();
        true
    }

    #[cold]
    #[inline(never)]
    pub(super) fn cancel_call(&self, id: CallId, reason: &'static str) -> Cancellation {
        match self.cancel_if_not_late(id, reason) {
            Cancellation::Late => self.late(id.key(), reason),
            other => other,
        }
    }

    /// Cancels the call `id`. Notifies no observer if that is late.
    #[inline]
    pub(crate) fn cancel_if_not_late(&self, id: CallId, reason: &'static str) -> Cancellation {
        if id.queue() != self.id {
            return Cancellation::Foreign;
        }
        match id.named() {
            Named::Position(position) => self.cancel_at(position, reason),
            Named::Callback(key) => self.cancel_callback(key, reason),
            Named::TurnedAway(_) => Cancellation::Late,
        }
    }

    fn cancel_at(&self, position: u64, reason: &'static str) -> Cancellation {
        match self.calls().cancel(position, None) {
            Canceled::Call(None) => self.end_canceled(position, reason),
            Canceled::Call(Some(call)) => self.end_and_drop(position, reason, call),
            Canceled::Already => return Cancellation::Already,
            Canceled::NotThere => return self.cancel_deferred(position, position, reason),
        }
        Cancellation::Canceled
    }

    /// Cancels the callback `key`.
    #[inline(never)]
    fn cancel_callback(&self, key: Key, reason: &'static str) -> Cancellation {
        let name = CallId::callback_key(key);
        match self.cancel(key) {
            Cancel::Waiting(captured) => {
                self.tally.withdrawn.add();
                self.unwanted.add();
                self.end_and_drop(name, reason, captured);
            }
            Cancel::Pending(call) => {
                self.canceled.borrow_mut().insert(name);
                self.end_and_drop(name, reason, call);
            }
            Cancel::Deferred(position) => {
                return self.cancel_deferred(position, name, reason);
            }
            Cancel::Already => return Cancellation::Already,
            Cancel::NotThere if self.canceled.borrow().contains(&name) => {
                return Cancellation::Already;
            }
            Cancel::NotThere => {
                // One that was put back or released, once it was deferred, has left its slot.
                let position = self.deferred.find_apart(name);
                return position.map_or(Cancellation::Late, |position| {
                    self.cancel_deferred(position, name, reason)
                });
            }
        }
        Cancellation::Canceled
    }

    /// Cancels the deferred call `key`, whose position is or was `position`.
    #[cold]
    fn cancel_deferred(&self, position: u64, key: u64, reason: &'static str) -> Cancellation {
        match self.deferred.cancel(position) {
            Taken::NotThere => Cancellation::Late,
            Taken::Already => Cancellation::Already,
            Taken::Call(call) => {
                self.forgotten.add();
                if key != position {
                    self.canceled.borrow_mut().insert(key);
                }
                self.end_and_drop(key, reason, call);
                Cancellation::Canceled
            }
        }
    }

    /// Counts the end, and notifies the observers; what the call captured is still to be dropped.
    #[inline(always)]
    pub(super) fn end_canceled(&self, key: u64, reason: &'static str) {
        self.tally.canceled.add();
        if self.listener.has(flag::ON_CANCEL) || cfg!(feature = "tracing") {
            self.end_canceled_slow(key, reason);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_canceled_slow(&self, key: u64, reason: &'static str) {
        self.arm();
        self.notify_end(key, Step::Canceled { reason });
    }

    /// Counts the end, notifies the observers, and drops what the call captured. (Apart, so that the usual
    /// case needs no room for that.)
    #[inline(never)]
    pub(super) fn end_and_drop<T>(&self, key: u64, reason: &'static str, captured: T) {
        if self.listener.has(flag::ON_CANCEL) || cfg!(feature = "tracing") {
            let _captured = DropLast::new(captured);
            self.end_canceled(key, reason);
        } else {
            self.tally.canceled.add();
            drop(captured);
        }
    }

    #[cold]
    #[inline(never)]
    fn late(&self, key: u64, reason: &'static str) -> Cancellation {
        self.notify(key, || Step::LateCancel { reason });
        Cancellation::Late
    }

    /// The queue has reached a tombstone.
    pub(super) fn pass_tombstone(&self, note: Option<core::num::NonZeroU64>) {
        self.skipped.add();
        if let Some(key) = note {
            self.forget_canceled(key.get());
        }
    }

    #[cold]
    #[inline(never)]
    fn forget_canceled(&self, key: u64) {
        self.canceled.borrow_mut().remove(&key);
    }

    /// The queue has reached a deferred call that was canceled.
    pub(super) fn pass_canceled_deferred(&self, key: u64) {
        self.forgotten.sub();
        self.skipped.add();
        self.forget_canceled(key);
    }
}
