//! Which chunks of slots there are, which have free slots, and which to keep when they are empty.

#![deny(unsafe_code)]

use alloc::vec::Vec;
use core::mem;

use crate::erased::peaks::Peaks;

/// Bits of a slot's number that are its index in its chunk.
pub(super) const INDEX_BITS: u32 = 8;

/// The slots of a chunk and its header: 3 KiB the first one, 24 KiB the others.
pub(super) const FIRST: usize = if cfg!(small_blocks) { 2 } else { 32 };
pub(super) const OTHERS: usize = if cfg!(small_blocks) { 3 } else { 256 };

/// At most so many empty chunks are kept, for 65,536 callbacks: 6 MiB.
const SPARES: usize = 65_536 / 255 + 1;

/// A slot that has been used so many times more ends a cycle.
pub(super) const TICK: u32 = if cfg!(small_blocks) { 4 } else { 1 << 8 };

/// Memory for slots.
pub(super) trait ChunkMemory {
    /// The highest generation of a slot; no key has had it, unless it is the last one.
    fn highest_generation(&self) -> u32;
}

/// All chunks, by number.
pub(super) struct Chunks<M> {
    chunks: Vec<Option<M>>,
    /// The first generation of a chunk that is made; the last one if it must not be.
    generations: Vec<u32>,
    /// A bit for each chunk that has a free slot and is not empty.
    available: Vec<u64>,
    /// No number below this is free.
    lowest: usize,
    /// Chunks that are empty.
    spares: Vec<u32>,
    /// The number of chunks that are not empty, the first one not counted.
    in_use: usize,
    peaks: Peaks,
    /// Whether the storage has dropped.
    pub(super) is_closed: bool,
}

impl<M: ChunkMemory> Chunks<M> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            generations: Vec::new(),
            available: Vec::new(),
            lowest: 0,
            spares: Vec::new(),
            in_use: 0,
            peaks: Peaks::new(),
            is_closed: false,
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&M> {
        self.chunks.get(number as usize)?.as_ref()
    }

    /// The chunks from `number` on.
    pub(super) fn from(&self, number: u32) -> impl Iterator<Item = &M> {
        self.chunks.get(number as usize..).unwrap_or_default().iter().flatten()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The first chunk that has a free slot and is not empty.
    pub(super) fn first_available(&self) -> Option<&M> {
        let word = self.available.iter().position(|word| *word != 0)?;
        self.get(word as u32 * 64 + self.available[word].trailing_zeros())
    }

    pub(super) fn set_available(&mut self, number: u32, is_available: bool) {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if is_available {
            self.available[word] |= bit;
        } else {
            self.available[word] &= !bit;
        }
    }

    /// Makes an empty chunk available: one that was kept, or that `make` makes with a number and a
    /// first generation.
    pub(super) fn add(&mut self, make: impl FnOnce(u32, u32) -> M) {
        let number = self.spares.pop().unwrap_or_else(|| self.make(make));
        if number > 0 {
            self.in_use += 1;
            self.peaks.note(self.in_use);
        }
        self.set_available(number, true);
    }

    /// Makes a chunk. Returns its number, the lowest that is free.
    fn make(&mut self, make: impl FnOnce(u32, u32) -> M) -> u32 {
        let is_retired = |number| self.generations.get(number) == Some(&u32::MAX);
        let is_taken = |number| is_retired(number) || self.get(number as u32).is_some();
        let mut number = self.lowest;
        while is_taken(number) {
            number += 1;
        }
        assert!(number < 1 << (31 - INDEX_BITS), "2^31 callbacks at a time are too many");
        self.lowest = number;
        if self.chunks.len() <= number {
            self.chunks.resize_with(number + 1, || None);
        }
        if self.generations.len() <= number {
            self.generations.resize(number + 1, 0);
        }
        if self.available.len() <= number / 64 {
            self.available.resize(number / 64 + 1, 0);
        }
        self.chunks[number] = Some(make(number as u32, self.generations[number]));
        number as u32
    }

    /// Keeps a chunk that has become empty; or frees it, if it has no slot that can be used, or the
    /// previous cycle needed fewer.
    pub(super) fn keep(&mut self, number: u32, is_usable: bool) {
        self.set_available(number, false);
        self.in_use -= usize::from(number > 0);
        let is_usable = is_usable && !self.is_closed;
        if is_usable && self.spares.len() < self.spares_for(self.peaks.previous) {
            self.spares.push(number);
        } else {
            self.free(number);
        }
        if self.in_use == 0 {
            self.peaks.end_cycle();
            self.trim();
        }
    }

    /// Ends a cycle although not all chunks are empty. Called now and then, as one callback that stays
    /// would keep the spare chunks for good.
    pub(super) fn tick(&mut self) {
        self.peaks.begin_cycle(self.in_use);
        self.trim();
    }

    /// Frees at most two of the spare chunks that neither this cycle nor the one before needed.
    fn trim(&mut self) {
        for _ in 0..2 {
            if self.spares.len() > self.spares_for(self.peaks.highest())
                && let Some(number) = self.spares.pop()
            {
                self.free(number);
            }
        }
    }

    /// The number of spare chunks for a peak of `peak` chunks in use.
    fn spares_for(&self, peak: usize) -> usize {
        peak.saturating_sub(self.in_use).clamp(1, SPARES)
    }

    /// Frees a chunk, which must be empty.
    pub(super) fn free(&mut self, number: u32) {
        self.set_available(number, false);
        let index = number as usize;
        if let Some(chunk) = self.chunks[index].take() {
            self.generations[index] = chunk.highest_generation();
        }
        self.lowest = self.lowest.min(index);
        while let Some(None) = self.chunks.last() {
            self.chunks.pop();
        }
        if self.chunks.capacity() / 4 > self.chunks.len() {
            self.chunks.shrink_to(self.chunks.capacity() / 2);
        }
    }

    /// Frees the chunks that are kept although they are empty.
    pub(super) fn free_spares(&mut self) {
        for number in mem::take(&mut self.spares) {
            self.free(number);
        }
    }

    /// The number of bytes allocated, chunks not included.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.chunks.capacity() * size_of::<Option<M>>()
            + (self.generations.capacity() + self.spares.capacity()) * size_of::<u32>()
            + self.available.capacity() * size_of::<u64>()
    }
}
