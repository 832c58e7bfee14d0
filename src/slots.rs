//! Slots that are used again, under keys that are not: generations over a [`Slab`].
//!
//! - I1 A key names the value it was given for, or nothing: the generation of a slot grows with
//!   each removal, and a slot whose generations are used up is retired (some bytes lost for
//!   every 2^32 uses of one slot).

use alloc::vec::Vec;

use slab::Slab;

use crate::key::Key;

/// Values of one type, each under its own [`Key`].
pub(crate) struct Slots<T> {
    /// `None` in a retired slot only.
    values: Slab<Option<T>>,
    /// The generation of each slot's present value, or of its next one.
    generations: Vec<u32>,
    retired: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { values: Slab::new(), generations: Vec::new(), retired: 0 }
    }

    /// Stores `value`.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.values.insert(Some(value));
        key
    }

    /// The key that the next inserted value will get.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    #[inline]
    pub(crate) fn next_key(&mut self) -> Key {
        let slot = self.values.vacant_key();
        if slot == self.generations.len() {
            assert!(slot < 1 << 31, "2^31 slots in use");
            self.generations.push(0);
        }
        Key { slot: slot as u32, generation: self.generations[slot] }
    }

    /// Takes the value out; `None` if it is gone already.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let value = self.slot_mut(key)?.take();
        let generation = &mut self.generations[key.slot as usize];
        if let Some(next) = generation.checked_add(1) {
            *generation = next;
            self.values.remove(key.slot as usize);
        } else if value.is_some() {
            self.retired += 1;
        }
        value
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot_mut(key)?.as_mut()
    }

    /// The keys in use, by slot.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> Vec<Key> {
        let key = |slot| Key { slot: slot as u32, generation: self.generations[slot] };
        let used = self.values.iter().filter(|(_, value)| value.is_some());
        used.map(|(slot, _)| key(slot)).collect()
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.values.len() - self.retired
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Option<T>> {
        if self.generations.get(key.slot as usize) != Some(&key.generation) {
            return None;
        }
        self.values.get_mut(key.slot as usize)
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
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        slots.generations[0] = u32::MAX;
        let last = Key { generation: u32::MAX, ..first };
        assert_eq!(slots.remove(last), Some('a'));
        assert_eq!(slots.get_mut(last), None);
        assert_eq!(slots.remove(last), None);
        let next = slots.insert('b');
        assert_ne!(next.slot, first.slot);
        assert_eq!((slots.keys(), slots.len()), (vec![next], 1));
    }
}
