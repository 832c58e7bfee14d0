//! Values under the numbers of slots, in chunks: one whose values are all gone gives its memory back.
//!
//! - I1 A chunk has memory if any of its values is there. `there` counts them.
//! - I2 All places of `spare` are empty.

use alloc::vec::Vec;
use core::mem;

/// Values in a chunk.
const CHUNK: usize = 64;

pub(super) struct Values<T> {
    chunks: Vec<ValueChunk<T>>,
    /// The memory of one chunk, so that a value that is added and removed does not allocate it anew.
    spare: Vec<Option<T>>,
}

struct ValueChunk<T> {
    places: Vec<Option<T>>,
    there: usize,
}

impl<T> Values<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), spare: Vec::new() }
    }

    /// Stores the value of a slot that has none. Slots are begun in order.
    #[inline]
    pub(super) fn put(&mut self, slot: u32, value: T) {
        let at = slot as usize;
        if self.chunks.get(at / CHUNK).is_none_or(|chunk| chunk.there == 0) {
            self.add_chunk(at / CHUNK);
        }
        let chunk = &mut self.chunks[at / CHUNK];
        chunk.there += 1;
        chunk.places[at % CHUNK] = Some(value);
    }

    #[cold]
    #[inline(never)]
    fn add_chunk(&mut self, at: usize) {
        if at == self.chunks.len() {
            self.chunks.push(ValueChunk { places: Vec::new(), there: 0 });
        }
        let chunk = &mut self.chunks[at];
        chunk.places = mem::take(&mut self.spare);
        chunk.places.resize_with(CHUNK, || None);
    }

    /// Takes the value of a slot out.
    #[inline]
    pub(super) fn take(&mut self, slot: u32) -> Option<T> {
        let at = slot as usize;
        let chunk = self.chunks.get_mut(at / CHUNK)?;
        let value = chunk.places.get_mut(at % CHUNK)?.take()?;
        chunk.there -= 1;
        if chunk.there == 0 {
            self.spare = mem::take(&mut chunk.places);
        }
        Some(value)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let at = slot as usize;
        self.chunks.get(at / CHUNK)?.places.get(at % CHUNK)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let at = slot as usize;
        self.chunks.get_mut(at / CHUNK)?.places.get_mut(at % CHUNK)?.as_mut()
    }

    /// Forgets all slots, which have no values any more.
    pub(super) fn clear(&mut self) {
        self.chunks = Vec::new();
    }

    /// How many values there is memory for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.places.capacity()).sum::<usize>()
            + self.spare.capacity()
    }
}
