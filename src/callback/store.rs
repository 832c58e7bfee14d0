//! Where callbacks wait, and what is known of them until their turn.
//!
//! - I1 A key has one holder: the [`Callback`](super::Callback) until it is used up, then its
//!   place in the ring. It is removed when its holder gives it up, not before; so an id stays
//!   known until the call is over and its turn has passed.
//! - I2 The body of a waiting callback stands in the place of the key's slot. That of a pending one
//!   stands in the ring, in the place that its stage names.
//! - I3 A key names one callback, or nothing: the generation of a slot grows with each removal, and
//!   a slot whose generations are used up is never used again.
//! - I4 The vacant slots are linked, from `vacant` on, each by its `next`.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::panic::Location;

use crate::call::Body;
use crate::call::inline::{Packed, Places};
use crate::slots::Key;

/// How far a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Created.
    Waiting,
    /// Answered: the call is at this position of the ring.
    Pending(u64),
    /// Canceled; its holder is still there.
    Canceled,
}

/// No slot.
const NONE: u32 = u32::MAX;

struct Slot {
    /// The generation of the present callback, or of the next one.
    generation: u32,
    /// The vacant slot after this one, if this is vacant.
    next: u32,
    /// `None` if the slot is vacant, or retired.
    stage: Option<Stage>,
}

pub(crate) struct Callbacks {
    slots: RefCell<Vec<Slot>>,
    vacant: Cell<u32>,
    waiting: Places,
}

impl Callbacks {
    pub(crate) fn new() -> Self {
        Self { slots: RefCell::default(), vacant: Cell::new(NONE), waiting: Places::new(1) }
    }

    /// Stores a callback, as the body that waits for its value.
    ///
    /// # Panics
    ///
    /// If there are 2^31 callbacks already.
    #[inline]
    pub(crate) fn create(&self, body: impl Body, site: &'static Location<'static>) -> Key {
        if self.vacant.get() == NONE {
            self.add_slot();
        }
        let slot = self.vacant.get();
        let mut slots = self.slots.borrow_mut();
        let Slot { generation, next, stage } = &mut slots[slot as usize];
        self.vacant.set(*next);
        *stage = Some(Stage::Waiting);
        let key = Key { slot, generation: *generation };
        drop(slots);
        self.waiting.put(place(key), body, site);
        key
    }

    /// Adds a slot, and the place for it.
    #[cold]
    #[inline(never)]
    fn add_slot(&self) {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.len();
        assert!(slot < 1 << 31, "2^31 callbacks in use");
        if slot > self.waiting.mask() {
            self.waiting.grow(0..slot as u64);
        }
        slots.push(Slot { generation: 0, next: NONE, stage: None });
        self.vacant.set(slot as u32);
    }

    /// Makes a waiting callback pending, to be put at `position`; returns the body that waited. If
    /// it was canceled it is removed instead.
    #[inline]
    pub(crate) fn answer<W: Body>(&self, key: Key, position: u64) -> Option<W> {
        let mut slots = self.slots.borrow_mut();
        let stage = stage(&mut slots, key)?;
        if *stage == Some(Stage::Waiting) {
            *stage = Some(Stage::Pending(position));
            return self.waiting.unpack(place(key));
        }
        drop(slots);
        self.remove(key);
        None
    }

    /// Cancels a callback, leaving it to its holder. Returns the stage it was in; none if its holder
    /// has given it up.
    #[inline]
    pub(crate) fn cancel(&self, key: Key) -> Option<Stage> {
        let mut slots = self.slots.borrow_mut();
        let stage = stage(&mut slots, key)?;
        stage.is_some().then(|| stage.replace(Stage::Canceled)).flatten()
    }

    /// Removes a callback on behalf of its holder. Returns the stage it was in.
    #[inline]
    pub(crate) fn remove(&self, key: Key) -> Option<Stage> {
        let mut slots = self.slots.borrow_mut();
        let slot =
            slots.get_mut(key.slot as usize).filter(|slot| slot.generation == key.generation)?;
        let stage = slot.stage.take()?;
        // The last generation is that of a slot that is retired.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            slot.next = self.vacant.replace(key.slot);
        }
        Some(stage)
    }

    /// Takes out the body of a callback that was waiting, to be dropped.
    #[inline]
    pub(crate) fn clear(&self, key: Key) -> Option<Packed> {
        self.waiting.clear(place(key)).flatten()
    }

    /// Whether a callback is canceled, and still known.
    pub(crate) fn is_canceled(&self, key: Key) -> bool {
        let mut slots = self.slots.borrow_mut();
        stage(&mut slots, key).is_some_and(|stage| *stage == Some(Stage::Canceled))
    }

    /// Where a waiting callback was created.
    pub(crate) fn site(&self, key: Key) -> &'static Location<'static> {
        self.waiting.site(place(key))
    }

    /// All that are known.
    pub(crate) fn known(&self) -> Vec<(Key, Stage)> {
        let slots = self.slots.borrow();
        let known =
            slots.iter().enumerate().filter_map(|(slot, Slot { generation, stage, .. })| {
                Some((Key { slot: slot as u32, generation: *generation }, (*stage)?))
            });
        known.collect()
    }
}

/// The stage of the callback that `key` names, if it names one.
#[inline]
fn stage(slots: &mut [Slot], key: Key) -> Option<&mut Option<Stage>> {
    let slot = slots.get_mut(key.slot as usize)?;
    (slot.generation == key.generation).then_some(&mut slot.stage)
}

fn place(key: Key) -> u64 {
    u64::from(key.slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::FunctionCall;

    fn create(callbacks: &Callbacks) -> Key {
        callbacks.create(FunctionCall(|_: &_| ()), Location::caller())
    }

    #[test]
    fn a_key_outlived_by_its_slot_names_nothing() {
        let callbacks = Callbacks::new();
        let first = create(&callbacks);
        assert_eq!(callbacks.remove(first), Some(Stage::Waiting));
        drop(callbacks.clear(first));
        let second = create(&callbacks);
        assert_eq!((second.slot, second.generation), (first.slot, first.generation + 1));
        assert_eq!((callbacks.cancel(first), callbacks.remove(first)), (None, None));
        assert_eq!(callbacks.known(), [(second, Stage::Waiting)]);
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let callbacks = Callbacks::new();
        let first = create(&callbacks);
        callbacks.slots.borrow_mut()[0].generation = u32::MAX;
        let last = Key { generation: u32::MAX, ..first };
        assert_eq!(callbacks.remove(last), Some(Stage::Waiting));
        assert_eq!((callbacks.cancel(last), callbacks.remove(last)), (None, None));
        drop(callbacks.clear(last));
        let next = create(&callbacks);
        assert_eq!((next.slot, callbacks.known()), (1, alloc::vec![(next, Stage::Waiting)]));
    }
}
