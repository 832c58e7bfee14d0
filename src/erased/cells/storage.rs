//! All that a queue stores.

#![deny(unsafe_code)]

use super::{Cancel, Captured, Slot, Slots, Stage, Tag};
use crate::erased::{Calls, Canceled, DialContext, Erased, Key};

/// Calls and callbacks of a queue, and the rest of its state.
#[repr(C)]
pub(crate) struct Storage<C: DialContext, X> {
    // Dropped in this order.
    pub(super) calls: Calls<C>,
    pub(super) slots: Slots<C>,
    pub(super) rest: X,
}

impl<C: DialContext, X> Storage<C, X> {
    /// The first call gets position `first`.
    pub(crate) fn new(first: u64, rest: X) -> Self {
        Self { calls: Calls::new(first), slots: Slots::new(), rest }
    }

    #[inline(always)]
    pub(crate) const fn calls(&self) -> &Calls<C> {
        &self.calls
    }

    #[inline(always)]
    pub(crate) const fn rest(&self) -> &X {
        &self.rest
    }

    /// How far the callback `key` is.
    pub(crate) fn stage(&self, key: Key) -> Stage {
        self.slots.slab().find(key, Slot::stage).unwrap_or(Stage::Unknown)
    }

    /// Cancels the callback `key`, so that it will not be dialed. If its call is pending, the place
    /// becomes a tombstone whose note is the key's.
    pub(crate) fn cancel(&self, key: Key) -> Cancel<Captured, Erased<C>> {
        match self.stage(key) {
            Stage::Unknown => Cancel::NotThere,
            Stage::Canceled => Cancel::Already,
            Stage::Deferred(position) => Cancel::Deferred(position),
            Stage::Waiting | Stage::Released => {
                let canceled = self.slots.slab().find(key, |slot| slot.take_join(Tag::Canceled));
                canceled.map_or(Cancel::NotThere, Cancel::Waiting)
            }
            Stage::Pending(position) => match self.calls.cancel(position, Some(key.note())) {
                Canceled::NotThere => Cancel::NotThere,
                Canceled::Already => Cancel::Already,
                Canceled::Call(call) => Cancel::Pending(call),
            },
        }
    }

    /// Frees all memory that is not needed for what is pending or waiting now.
    pub(crate) fn free_memory(&self) {
        self.calls.release();
        self.slots.slab().release();
    }

    /// The number of bytes allocated, boxed payloads and joins not included.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.calls.memory() + self.slots.slab().memory()
    }
}
