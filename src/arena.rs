//! Arena that are used again, under keys that are not.
//!
//! - I1 A key names the value it was given for, or nothing: the generation of a slot grows with
//!   each removal, and a slot whose generations are used up is retired (some bytes lost for
//!   every 2^32 uses of one slot).
//! - I2 The vacant slots are linked, from `vacant` on, each by its `next`.

use alloc::vec::Vec;

/// Names one value that was inserted, forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaKey {
    /// Less than 2^31.
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Values of one type, each under its own [`ArenaKey`].
pub(crate) struct Arena<T> {
    slots: Vec<ArenaSlot<T>>,
    vacant: u32,
    len: usize,
}

struct ArenaSlot<T> {
    /// The present value, or the default.
    value: T,
    /// The generation of the present value, or of the next one.
    generation: u32,
    /// The vacant slot after this one, if this is vacant.
    next: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

impl<T: Default> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), vacant: NONE, len: 0 }
    }

    /// Occupies a slot, for a value that is made in place of the default, in a generation that is
    /// `least` or a later one.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    #[inline(always)]
    pub(crate) fn occupy(&mut self, least: u32) -> (ArenaKey, &mut T) {
        if self.vacant == NONE {
            self.add_slot();
        }
        let vacant = self.vacant;
        let slot = &mut self.slots[vacant as usize];
        self.vacant = slot.next;
        slot.generation = slot.generation.max(least);
        self.len += 1;
        (ArenaKey { slot: vacant, generation: slot.generation }, &mut slot.value)
    }

    #[cold]
    #[inline(never)]
    fn add_slot(&mut self) {
        let slot = self.slots.len();
        assert!(slot < 1 << 31, "2^31 slots in use");
        self.slots.push(ArenaSlot { value: T::default(), generation: 0, next: NONE });
        self.vacant = slot as u32;
    }

    /// Leaves the slot of a value, which is to be taken from where it is; `None` if it is gone
    /// already.
    #[inline(always)]
    pub(crate) fn vacate(&mut self, key: ArenaKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize).filter(|slot| slot.is_of(key))?;
        slot.generation += 1;
        // No key has the last generation.
        if slot.generation != u32::MAX {
            slot.next = self.vacant;
            self.vacant = key.slot;
        }
        self.len -= 1;
        Some(&mut slot.value)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, key: ArenaKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.is_of(key).then_some(&mut slot.value)
    }

    /// The number of values.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl<T> ArenaSlot<T> {
    /// Whether `key` names the present value.
    #[inline(always)]
    const fn is_of(&self, key: ArenaKey) -> bool {
        self.generation == key.generation
    }
}

impl<T> Arena<Option<T>> {
    /// Stores `value`.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    pub(crate) fn insert(&mut self, value: T) -> ArenaKey {
        let (key, place) = self.occupy(0);
        *place = Some(value);
        key
    }

    /// Takes the value out; `None` if it is gone already.
    pub(crate) fn remove(&mut self, key: ArenaKey) -> Option<T> {
        self.vacate(key)?.take()
    }

    /// All values.
    #[cfg(feature = "mio")]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// All values.
    #[cfg(feature = "mio")]
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }

    /// Gives the memory back if no value is left and there were many. The owner must have forgotten all
    /// keys of the past.
    #[cfg(feature = "mio")]
    pub(crate) fn reset_if_empty(&mut self) {
        if self.len == 0 && self.slots.len() > 64 {
            *self = Self::new();
        }
    }

    /// All values, in the order of their slots.
    #[cfg(feature = "mio")]
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().filter_map(|slot| slot.value)
    }

    /// The value, if it is still there.
    #[inline]
    pub(crate) fn get(&mut self, key: ArenaKey) -> Option<&T> {
        self.get_mut(key)?.as_ref()
    }
}

impl<T: Default> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlived_by_its_slot_names_nothing() {
        let mut slots = Arena::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(second.slot, first.slot);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
    }

    #[test]
    fn slots_are_used_again_before_there_are_more() {
        let mut slots = Arena::new();
        let keys = [0, 1, 2, 3].map(|value| slots.insert(value));
        assert_eq!(keys.map(|key| key.slot), [0, 1, 2, 3]);
        assert_eq!((slots.remove(keys[1]), slots.remove(keys[2])), (Some(1), Some(2)));
        let again = [4, 5, 6].map(|value| slots.insert(value));
        assert_eq!(again.map(|key| key.slot), [2, 1, 4]);
    }

    #[test]
    fn a_generation_is_no_less_than_asked_for_and_more_than_all_before_it() {
        let mut slots: Arena<Option<char>> = Arena::new();
        for (least, generation) in [(5, 5), (5, 6), (0, 7), (9, 9), (8, 10)] {
            let (key, _) = slots.occupy(least);
            assert_eq!((key.slot, key.generation), (0, generation));
            assert!(slots.vacate(key).is_some());
        }
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut slots = Arena::new();
        let first = slots.insert('a');
        slots.slots[0].generation = u32::MAX - 1;
        let last = ArenaKey { generation: u32::MAX - 1, ..first };
        assert_eq!(slots.remove(last), Some('a'));
        assert_eq!(slots.get(last), None);
        assert_eq!(slots.remove(last), None);
        let next = slots.insert('b');
        assert_ne!(next.slot, first.slot);
        assert_eq!((slots.get(next).copied(), slots.len()), (Some('b'), 1));
    }
}
