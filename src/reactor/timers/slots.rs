//! Slots for values that are in the heap: where the entry of each is, and the value itself.
//!
//! Their memory is in chunks. A chunk without values gives its memory back, but for the last one that
//! became so.
//!
//! - I1 A chunk whose `used` is not 0 has memory. `used` counts its values.
//! - I2 Of a chunk that has memory, the vacant slots are linked through `places`, from `vacant` on.
//!   Without memory, `vacant` is [`NONE`].
//! - I3 `available` has the number of each chunk that has a vacant slot or no memory, once.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::array;
use core::mem;

/// Slots of a chunk.
const CHUNK: usize = 64;

/// So many chunks may be without values and not be forgotten.
const FEW: usize = 16;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

pub(super) struct Slots<T> {
    chunks: Vec<SlotChunk<T>>,
    /// Chunks to take a slot from, the last one first.
    available: Vec<u32>,
    /// The chunk that became empty last, or [`NONE`].
    spare: u32,
    len: usize,
}

struct SlotChunk<T> {
    memory: Option<Box<SlotMemory<T>>>,
    used: u32,
    /// The first vacant slot, or [`NONE`].
    vacant: u32,
}

struct SlotMemory<T> {
    /// Apart from the values, as the heap writes many of them for one value that it takes.
    places: [u32; CHUNK],
    values: [Option<T>; CHUNK],
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), available: Vec::new(), spare: NONE, len: 0 }
    }

    /// The number of values.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Stores a value in a vacant slot.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = match self.available.last() {
            Some(&number) => number,
            None => self.add_chunk(),
        };
        let chunk = &mut self.chunks[number as usize];
        let memory = match &mut chunk.memory {
            Some(memory) => memory,
            None => {
                chunk.vacant = 0;
                chunk.memory.insert(SlotMemory::new())
            }
        };
        let at = chunk.vacant as usize;
        chunk.vacant = memory.places[at];
        memory.values[at] = Some(value);
        chunk.used += 1;
        if chunk.vacant == NONE {
            self.available.pop();
        }
        self.len += 1;
        number * CHUNK as u32 + at as u32
    }

    #[cold]
    #[inline(never)]
    fn add_chunk(&mut self) -> u32 {
        let number = self.chunks.len();
        assert!(number < (1 << 31) / CHUNK, "2^31 timers are armed");
        self.chunks.push(SlotChunk { memory: None, used: 0, vacant: NONE });
        self.available.push(number as u32);
        number as u32
    }

    /// Takes the value of a slot out, which becomes vacant; `None` if it is.
    #[inline]
    pub(super) fn take(&mut self, slot: u32) -> Option<T> {
        let (number, at) = (slot / CHUNK as u32, slot as usize % CHUNK);
        let chunk = self.chunks.get_mut(number as usize)?;
        let memory = chunk.memory.as_mut()?;
        let value = memory.values[at].take()?;
        if chunk.vacant == NONE {
            self.available.push(number);
        }
        memory.places[at] = mem::replace(&mut chunk.vacant, at as u32);
        chunk.used -= 1;
        self.len -= 1;
        if chunk.used == 0 && (self.spare != number || self.chunks.len() > FEW) {
            self.keep_only(number);
        }
        Some(value)
    }

    /// Keeps the memory of a chunk that has become empty, and frees what was kept before.
    #[cold]
    #[inline(never)]
    fn keep_only(&mut self, number: u32) {
        let before = mem::replace(&mut self.spare, number);
        if before != number
            && let Some(chunk) = self.chunks.get_mut(before as usize)
            && chunk.used == 0
        {
            *chunk = SlotChunk { memory: None, used: 0, vacant: NONE };
        }
        if self.len == 0 && self.chunks.len() > FEW {
            self.chunks.swap(0, number as usize);
            self.chunks.truncate(1);
            self.chunks.shrink_to_fit();
            self.available = Vec::from([0]);
            self.spare = 0;
        }
    }

    /// Where the entry of a slot's value is; anything for a slot that is vacant.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> Option<u32> {
        Some(self.memory(slot)?.places[slot as usize % CHUNK])
    }

    /// Notes where the entry of a slot's value is.
    #[inline]
    pub(super) fn set_place(&mut self, slot: u32, place: u32) {
        if let Some(memory) = self.memory_mut(slot) {
            memory.places[slot as usize % CHUNK] = place;
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.memory(slot)?.values[slot as usize % CHUNK].as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.memory_mut(slot)?.values[slot as usize % CHUNK].as_mut()
    }

    #[inline]
    fn memory(&self, slot: u32) -> Option<&SlotMemory<T>> {
        self.chunks.get(slot as usize / CHUNK)?.memory.as_deref()
    }

    #[inline]
    fn memory_mut(&mut self, slot: u32) -> Option<&mut SlotMemory<T>> {
        self.chunks.get_mut(slot as usize / CHUNK)?.memory.as_deref_mut()
    }

    /// How many values there is memory for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.memory.is_some()).count() * CHUNK
    }
}

impl<T> SlotMemory<T> {
    #[cold]
    #[inline(never)]
    fn new() -> Box<Self> {
        let next = |at: usize| if at + 1 < CHUNK { at as u32 + 1 } else { NONE };
        Box::new(Self { places: array::from_fn(next), values: array::from_fn(|_| None) })
    }
}
