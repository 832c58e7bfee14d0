//! Where callbacks wait, and what is known of them until their turn.
//!
//! - I1 A key has one holder: the [`Callback`](super::Callback) until it is used up, then its
//!   place in the ring. Its slot becomes vacant when its holder gives it up, not before; so an id
//!   stays known until the call is over and its turn has passed.
//! - I2 The body of a callback stands in its slot while it waits or is pending; the value that it
//!   was answered with stands in the ring.
//! - I3 A key names the callback it was given for, or nothing: the generation of a slot grows each
//!   time that it becomes vacant, and a slot whose generations are used up is retired (some bytes
//!   lost for every 2^32 uses of one slot).
//! - I4 The vacant slots are linked, from `vacant` on, each by its `next`.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::panic::Location;

use crate::call::Body;
use crate::call::inline::Packed;
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

struct Slot {
    body: Packed,
    /// Where the call is in the ring, or one of the constants below.
    position: u64,
    /// The generation of the present callback, or of the next one.
    generation: u32,
    /// The vacant slot after this one, if this is vacant.
    next: u32,
}

/// Positions of callbacks that are not in the ring, in which positions are less than 2^63.
const WAITING: u64 = u64::MAX;
const CANCELED: u64 = u64::MAX - 1;
const VACANT: u64 = u64::MAX - 2;

/// No slot.
const NONE: u32 = u32::MAX;

pub(crate) struct Callbacks {
    slots: RefCell<Vec<Slot>>,
    vacant: Cell<u32>,
}

impl Callbacks {
    pub(crate) const fn new() -> Self {
        Self { slots: RefCell::new(Vec::new()), vacant: Cell::new(NONE) }
    }

    /// Stores a callback, as the body that waits for its value.
    ///
    /// # Panics
    ///
    /// If there are 2^31 callbacks already.
    #[inline(always)]
    pub(crate) fn create(&self, body: impl Body, site: &'static Location<'static>) -> Key {
        if self.vacant.get() == NONE {
            self.add_slot();
        }
        let key_slot = self.vacant.get();
        let slot = &mut self.slots.borrow_mut()[key_slot as usize];
        self.vacant.set(slot.next);
        slot.position = WAITING;
        slot.body.fill(body, site);
        Key { slot: key_slot, generation: slot.generation }
    }

    #[cold]
    #[inline(never)]
    fn add_slot(&self) {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.len();
        assert!(slot < 1 << 31, "2^31 slots in use");
        slots.push(Slot { body: Packed::EMPTY, position: VACANT, generation: 0, next: NONE });
        self.vacant.set(slot as u32);
    }

    /// Makes a waiting callback pending, to be put at `position`. If it was canceled its slot
    /// becomes vacant instead.
    #[inline(always)]
    pub(crate) fn answer(&self, key: Key, position: u64) -> bool {
        let waiting = self.with(key, |slot| {
            let waiting = slot.position == WAITING;
            if waiting {
                slot.position = position;
            }
            waiting
        });
        let waiting = waiting == Some(true);
        if !waiting {
            self.forget(key);
        }
        waiting
    }

    /// Takes out the body of a callback, whose turn has come.
    #[inline(always)]
    pub(crate) fn take<B: Body>(&self, key: Key) -> Option<B> {
        self.with(key, |slot| {
            self.vacate(key, slot);
            slot.body.unpack()
        })?
    }

    /// Cancels a callback, leaving it to its holder. Returns the stage it was in, and what is to be
    /// dropped; none if its holder has given it up.
    pub(crate) fn cancel(&self, key: Key) -> Option<(Stage, Option<Packed>)> {
        self.with(key, |slot| {
            let stage = slot.stage();
            slot.position = CANCELED;
            (stage, slot.body.clear())
        })
    }

    /// Forgets a callback on behalf of its holder. Returns the stage it was in, and what is to be
    /// dropped.
    pub(crate) fn remove(&self, key: Key) -> Option<(Stage, Option<Packed>)> {
        self.with(key, |slot| {
            let stage = slot.stage();
            self.vacate(key, slot);
            (stage, slot.body.clear())
        })
    }

    /// Forgets a callback that was canceled, on behalf of its holder.
    #[cold]
    pub(crate) fn forget(&self, key: Key) {
        let removed = self.remove(key);
        debug_assert!(removed.is_none_or(|(stage, _)| stage == Stage::Canceled));
    }

    /// Whether a callback is canceled, and still known.
    pub(crate) fn is_canceled(&self, key: Key) -> bool {
        self.with(key, |slot| slot.position == CANCELED) == Some(true)
    }

    /// Where a callback that is known was created.
    pub(crate) fn site(&self, key: Key) -> Option<&'static Location<'static>> {
        self.with(key, |slot| slot.body.site())
    }

    /// All that are known.
    pub(crate) fn known(&self) -> Vec<(Key, Stage)> {
        let slots = self.slots.borrow();
        let occupied = (0..).zip(&*slots).filter(|(_, slot)| slot.position != VACANT);
        occupied
            .map(|(slot, entry)| (Key { slot, generation: entry.generation }, entry.stage()))
            .collect()
    }

    /// Looks at the slot of a callback that is known, or changes it.
    #[inline(always)]
    fn with<R>(&self, key: Key, access: impl FnOnce(&mut Slot) -> R) -> Option<R> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(key.slot as usize)?;
        let matches = slot.generation == key.generation || cfg!(seeded = "stale_id");
        matches.then(|| access(slot))
    }

    /// Makes the slot of `key` vacant.
    #[inline(always)]
    fn vacate(&self, key: Key, slot: &mut Slot) {
        slot.position = VACANT;
        slot.generation += 1;
        // No key has the last generation.
        if slot.generation != u32::MAX {
            slot.next = self.vacant.replace(key.slot);
        }
    }
}

impl Slot {
    const fn stage(&self) -> Stage {
        match self.position {
            WAITING => Stage::Waiting,
            CANCELED => Stage::Canceled,
            position => Stage::Pending(position),
        }
    }
}
