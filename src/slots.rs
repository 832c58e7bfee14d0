//! Slots that are used again, under keys that are not.
//!
//! - I1 A key names the value it was given for, or nothing: the generation of a slot grows with
//!   each removal, and a slot whose generations are used up is retired (some bytes lost for
//!   every 2^32 uses of one slot).
//! - I2 The vacant slots are linked, from `vacant` on, each by its `next`.

use alloc::vec::Vec;

/// Names one value that was inserted, forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Less than 2^31.
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Values of one type, each under its own [`Key`].
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    vacant: u32,
    len: usize,
}

struct Slot<T> {
    /// The generation of the present value, or of the next one.
    generation: u32,
    /// The vacant slot after this one, if this is vacant.
    next: u32,
    /// `None` if the slot is vacant, or retired.
    value: Option<T>,
}

/// No slot.
const NONE: u32 = u32::MAX;

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), vacant: NONE, len: 0 }
    }

    /// Stores `value`.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        if self.vacant == NONE {
            self.add_slot();
        }
        let key_slot = self.vacant;
        let slot = &mut self.slots[key_slot as usize];
        slot.value = Some(value);
        self.vacant = slot.next;
        self.len += 1;
        Key { slot: key_slot, generation: slot.generation }
    }

    /// The key that the next inserted value will get.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    pub(crate) fn next_key(&mut self) -> Key {
        if self.vacant == NONE {
            self.add_slot();
        }
        Key { slot: self.vacant, generation: self.slots[self.vacant as usize].generation }
    }

    #[cold]
    #[inline(never)]
    fn add_slot(&mut self) {
        let slot = self.slots.len();
        assert!(slot < 1 << 31, "2^31 slots in use");
        self.slots.push(Slot { generation: 0, next: NONE, value: None });
        self.vacant = slot as u32;
    }

    /// Takes the value out; `None` if it is gone already.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let vacant = self.vacant;
        let slot = self.slot_mut(key)?;
        let value = slot.value.take()?;
        // The last generation is that of a slot that is retired.
        if let Some(next) = key.generation.checked_add(1) {
            slot.generation = next;
            slot.next = vacant;
            self.vacant = key.slot;
        }
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot_mut(key)?.value.as_mut()
    }

    /// The values and their keys, by slot.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..).zip(&self.slots).filter_map(|(slot, entry)| {
            Some((Key { slot, generation: entry.generation }, entry.value.as_ref()?))
        })
    }

    /// The number of values.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let names = |slot: &u32| *slot == key.generation || cfg!(seeded = "stale_id");
        self.slots.get_mut(key.slot as usize).filter(|slot| names(&slot.generation))
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_key_outlived_by_its_slot_names_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(second.slot, first.slot);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut 'b'));
    }

    #[test]
    fn slots_are_used_again_before_there_are_more() {
        let mut slots = Slots::new();
        let keys = [0, 1, 2, 3].map(|value| slots.insert(value));
        assert_eq!(keys.map(|key| key.slot), [0, 1, 2, 3]);
        assert_eq!((slots.remove(keys[1]), slots.remove(keys[2])), (Some(1), Some(2)));
        let again = [4, 5, 6].map(|value| slots.insert(value));
        assert_eq!(again.map(|key| key.slot), [2, 1, 4]);
        assert_eq!(slots.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [0, 5, 4, 3, 6]);
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        slots.slots[0].generation = u32::MAX;
        let last = Key { generation: u32::MAX, ..first };
        assert_eq!(slots.remove(last), Some('a'));
        assert_eq!(slots.get_mut(last), None);
        assert_eq!(slots.remove(last), None);
        let next = slots.insert('b');
        assert_ne!(next.slot, first.slot);
        assert_eq!((slots.iter().collect::<Vec<_>>(), slots.len()), (vec![(next, &'b')], 1));
    }
}
