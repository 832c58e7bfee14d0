//! Slots that are used again, under keys that are not.
//!
//! - I1 A key names the value it was given for, or nothing: the generation of a slot grows with each
//!   removal, also from one making of its chunk to the next. A slot whose generations are used up is
//!   retired: it counts as used (some bytes lost for every 2^32 uses of one slot).
//! - I2 The vacant slots of a chunk are linked, from `vacant` on, each by its `next`.
//! - I3 `available` has the number of each chunk that has a vacant slot or no slots, once.
//! - I4 A chunk that is not in use has no slots, but for the `spare`. Without slots, `vacant` is [`NONE`].

use alloc::vec::Vec;
use core::mem;

/// Names one value that was inserted, forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaKey {
    /// Less than 2^31.
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Values of one type, each under its own [`ArenaKey`]. Their memory follows their number, chunk by chunk.
pub(crate) struct Arena<T> {
    chunks: Vec<ArenaChunk<T>>,
    /// Chunks to take a slot from, the last one first.
    available: Vec<u32>,
    /// The chunk that became empty last, or [`NONE`].
    spare: u32,
    len: usize,
}

struct ArenaChunk<T> {
    /// None if there is no value; else [`CHUNK`].
    slots: Vec<ArenaSlot<T>>,
    /// No key of these slots has had this generation or a later one, if they are not there.
    generation: u32,
    /// The number of slots that have a value or are retired.
    used: u32,
    /// The first vacant slot, or [`NONE`].
    vacant: u32,
}

struct ArenaSlot<T> {
    /// The present value, or the default.
    value: T,
    /// The generation of the present value, or of the next one.
    generation: u32,
    /// The vacant slot after this one, if this is vacant.
    next: u32,
}

/// Slots of a chunk.
const CHUNK: usize = 32;

/// No slot.
const NONE: u32 = u32::MAX;

impl<T: Default> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), available: Vec::new(), spare: NONE, len: 0 }
    }

    /// Occupies a slot, for a value that is made in place of the default, in a generation that is
    /// `least` or a later one.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    #[inline(always)]
    pub(crate) fn occupy(&mut self, least: u32) -> (ArenaKey, &mut T) {
        let number = match self.available.last() {
            Some(&number) => number,
            None => self.add_chunk(),
        };
        let chunk = &mut self.chunks[number as usize];
        if chunk.vacant == NONE {
            chunk.make_slots();
        }
        let vacant = chunk.vacant;
        let slot = &mut chunk.slots[vacant as usize];
        chunk.vacant = slot.next;
        chunk.used += 1;
        if chunk.vacant == NONE {
            self.available.pop();
        }
        slot.generation = slot.generation.max(least);
        self.len += 1;
        let key = ArenaKey { slot: number * CHUNK as u32 + vacant, generation: slot.generation };
        (key, &mut slot.value)
    }

    #[cold]
    #[inline(never)]
    fn add_chunk(&mut self) -> u32 {
        let number = self.chunks.len();
        assert!(number < (1 << 31) / CHUNK, "2^31 slots in use");
        self.chunks.push(ArenaChunk { slots: Vec::new(), generation: 0, used: 0, vacant: NONE });
        self.available.push(number as u32);
        number as u32
    }

    /// Takes the value of a slot; `None` if it is gone already.
    #[inline(always)]
    pub(crate) fn vacate(&mut self, key: ArenaKey) -> Option<T> {
        let (number, index) = (key.slot / CHUNK as u32, key.slot % CHUNK as u32);
        let chunk = self.chunks.get_mut(number as usize)?;
        let slot = chunk.slots.get_mut(index as usize)?;
        if !slot.is_of(key) {
            return None;
        }
        let value = mem::take(&mut slot.value);
        slot.generation += 1;
        // No key has the last generation.
        if slot.generation != u32::MAX {
            if chunk.vacant == NONE {
                self.available.push(number);
            }
            slot.next = mem::replace(&mut chunk.vacant, index);
            chunk.used -= 1;
        }
        self.len -= 1;
        if chunk.used == 0 && self.spare != number {
            self.keep_only(number);
        }
        Some(value)
    }

    /// Keeps the slots of a chunk that has become empty, and frees those that were kept before.
    #[cold]
    #[inline(never)]
    fn keep_only(&mut self, number: u32) {
        let before = mem::replace(&mut self.spare, number);
        if let Some(chunk) = self.chunks.get_mut(before as usize).filter(|chunk| chunk.used == 0) {
            chunk.free_slots();
        }
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, key: ArenaKey) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(key.slot as usize / CHUNK)?;
        let slot = chunk.slots.get_mut(key.slot as usize % CHUNK)?;
        slot.is_of(key).then_some(&mut slot.value)
    }

    /// The number of values.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl<T: Default> ArenaChunk<T> {
    #[cold]
    #[inline(never)]
    fn make_slots(&mut self) {
        let generation = self.generation;
        self.slots.extend((1..=CHUNK as u32).map(|next| {
            let next = if next < CHUNK as u32 { next } else { NONE };
            ArenaSlot { value: T::default(), generation, next }
        }));
        self.vacant = 0;
    }

    #[cold]
    fn free_slots(&mut self) {
        let generations = self.slots.iter().map(|slot| slot.generation);
        self.generation = generations.max().unwrap_or(self.generation);
        self.slots = Vec::new();
        self.vacant = NONE;
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
        self.vacate(key)?
    }

    /// All values.
    #[cfg(feature = "mio")]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        let slots = self.chunks.iter().flat_map(|chunk| &chunk.slots);
        slots.filter_map(|slot| slot.value.as_ref())
    }

    /// All values.
    #[cfg(feature = "mio")]
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let slots = self.chunks.iter_mut().flat_map(|chunk| &mut chunk.slots);
        slots.filter_map(|slot| slot.value.as_mut())
    }

    /// All values, in the order of their slots.
    #[cfg(feature = "mio")]
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let slots = self.chunks.into_iter().flat_map(|chunk| chunk.slots);
        slots.filter_map(|slot| slot.value)
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
        slots.chunks[0].slots[0].generation = u32::MAX - 1;
        let last = ArenaKey { generation: u32::MAX - 1, ..first };
        assert_eq!(slots.remove(last), Some('a'));
        assert_eq!(slots.get(last), None);
        assert_eq!(slots.remove(last), None);
        let next = slots.insert('b');
        assert_ne!(next.slot, first.slot);
        assert_eq!((slots.get(next).copied(), slots.len()), (Some('b'), 1));
    }

    #[test]
    fn memory_follows_the_number_of_values_and_keys_stay_what_they_are() {
        let with_slots = |slots: &Arena<_>| {
            slots.chunks.iter().filter(|chunk: &&ArenaChunk<_>| !chunk.slots.is_empty()).count()
        };
        let mut slots = Arena::new();
        let keys: Vec<_> = (0..10 * CHUNK).map(|value| slots.insert(value)).collect();
        assert_eq!(with_slots(&slots), 10);
        let kept = keys[5 * CHUNK + 3];
        for key in keys.iter().filter(|key| **key != kept) {
            assert!(slots.remove(*key).is_some());
        }
        assert_eq!((with_slots(&slots), slots.get(kept)), (2, Some(&(5 * CHUNK + 3))));
        // The slots are made again, but not the keys.
        let again: Vec<_> = (0..9 * CHUNK).map(|value| slots.insert(value)).collect();
        assert_eq!((with_slots(&slots), slots.chunks.len()), (10, 10));
        assert!(keys.iter().all(|key| *key == kept || slots.get(*key).is_none()));
        assert!(again.iter().enumerate().all(|(value, key)| slots.get(*key) == Some(&value)));
        // One value that comes and goes makes no chunk anew each time.
        again.iter().for_each(|key| assert!(slots.remove(*key).is_some()));
        assert_eq!(slots.remove(kept), Some(5 * CHUNK + 3));
        assert_eq!((with_slots(&slots), slots.len()), (1, 0));
    }

    #[test]
    fn a_chunk_with_a_retired_slot_is_not_freed() {
        let mut slots = Arena::new();
        let last = ArenaKey { slot: 0, generation: u32::MAX - 1 };
        assert_eq!(slots.insert(1).slot, 0);
        slots.chunks[0].slots[0].generation = u32::MAX - 1;
        assert_eq!(slots.remove(last), Some(1));
        let keys: Vec<_> = (0..3 * CHUNK).map(|value| slots.insert(value)).collect();
        keys.iter().for_each(|key| assert!(slots.remove(*key).is_some()));
        assert!((0..3 * CHUNK).all(|value| slots.insert(value).slot != 0));
        assert_eq!(slots.get(last), None);
    }
}
