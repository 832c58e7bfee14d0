//! The blocks of calls in order, how large and how many they should be.

#![deny(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::num::NonZeroU64;

use super::peaks::Peaks;

/// Places of the smallest and of the largest block: 4 KiB and 256 KiB.
const SMALLEST: u32 = if cfg!(small_blocks) { 2 } else { 64 };
const LARGEST: u32 = if cfg!(small_blocks) { 4 } else { 4096 };

/// At most so many spare blocks are kept: 4 MiB.
const SPARES: usize = 16;

/// Memory for calls.
pub(super) trait Allocation {
    fn new(size: u32) -> Self;

    /// The number of positions.
    fn size(&self) -> u32;

    /// The number of bytes allocated.
    #[cfg(test)]
    fn memory(&self) -> usize;
}

pub(super) struct Directory<B: Allocation> {
    /// From the block of the head to that of the tail.
    entries: VecDeque<Entry<B>>,
    /// Blocks of `size` places that are not in use, the last one used last.
    spares: Vec<B>,
    /// The number of entries whose block has memory.
    in_use: usize,
    /// The size of the next block, at least.
    size: u32,
    /// How many times in a row the span was short when head and tail entered a block.
    short: u32,
    peaks: Peaks,
}

/// A block in use, or what is left of it.
pub(super) struct Entry<B: Allocation> {
    pub(super) start: u64,
    pub(super) size: u32,
    /// The number of places that are no tombstones, passed ones and free ones included.
    pub(super) live: u32,
    pub(super) memory: BlockMemory<B>,
}

pub(super) enum BlockMemory<B: Allocation> {
    Block(B),
    /// All calls of the block were canceled.
    Freed(Notes),
}

/// The notes of a block of tombstones, by position; only those that exist.
pub(super) struct Notes(Box<[(u64, NonZeroU64)]>);

impl<B: Allocation> Directory<B> {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            spares: Vec::new(),
            in_use: 0,
            size: SMALLEST,
            short: 0,
            peaks: Peaks::new(),
        }
    }

    /// The size of a block that the tail enters, `span` places after the head: at least the span, or
    /// the largest.
    ///
    /// It doubles when the span asks for it. It halves after some blocks in a row at whose start
    /// neither the tail (here) nor the head (`enter`) saw a span of more than a quarter of it. For
    /// batches of one size that ends: unless batches end where blocks do, one of the two sees at least
    /// half a batch.
    pub(super) fn next_size(&mut self, span: u64) -> u32 {
        let before = self.size;
        self.short = if self.is_long(span) { 0 } else { self.short + 1 };
        if self.short == 4 {
            self.short = 0;
            self.size = (self.size / 2).max(SMALLEST);
        }
        let needed = span.min(u64::from(LARGEST)) as u32;
        self.size = self.size.max(needed.next_power_of_two());
        if self.size != before {
            self.spares.clear();
        }
        self.size
    }

    /// Whether the head or the tail, entering a block, sees more than a quarter of one pending.
    const fn is_long(&self, span: u64) -> bool {
        span > (self.size / 4) as u64
    }

    /// Begins the only block anew, at `start`, if to enter another one amounts to that: it is of the
    /// smallest size, nothing is pending, there are no spare blocks, and none were needed.
    pub(super) fn restart(&mut self, start: u64) -> Option<&B> {
        start.checked_add(u64::from(SMALLEST))?;
        if self.size > SMALLEST || self.peaks.highest() > 1 || !self.spares.is_empty() {
            return None;
        }
        let Some(Entry { start: at, size, live, memory: BlockMemory::Block(block) }) =
            self.entries.front_mut()
        else {
            return None;
        };
        (*at, *live) = (start, *size);
        Some(block)
    }

    /// A block of `size` places, which are free, for the tail to enter. If nothing `is_pending`, that
    /// may be the one it leaves.
    pub(super) fn take(&mut self, size: u32, is_pending: bool) -> B {
        if is_pending {
            return self.take_spare(size);
        }
        debug_assert!(self.entries.len() <= 1);
        self.peaks.end_cycle();
        let is_free = |entry: &Entry<B>| matches!(&entry.memory, BlockMemory::Block(block) if block.size() == size);
        let other = (!self.entries.front().is_some_and(is_free)).then(|| self.take_spare(size));
        self.in_use = 0;
        match (other, self.entries.pop_front().map(|entry| entry.memory)) {
            (None, Some(BlockMemory::Block(block))) => block,
            (other, _) => other.unwrap_or_else(|| B::new(size)),
        }
    }

    fn take_spare(&mut self, size: u32) -> B {
        self.spares.pop().filter(|block| block.size() == size).unwrap_or_else(|| B::new(size))
    }

    /// Makes sure that the next [`push`](Self::push) and [`free`](Self::free) cannot fail.
    pub(super) fn reserve(&mut self) {
        self.entries.reserve(1);
        self.spares.reserve(1);
    }

    /// Appends the block that the tail enters.
    pub(super) fn push(&mut self, start: u64, block: B) {
        let size = block.size();
        self.entries.push_back(Entry {
            start,
            size,
            live: size,
            memory: BlockMemory::Block(block),
        });
        self.in_use += 1;
        self.peaks.note(self.in_use);
        self.trim();
    }

    /// The head enters the block that starts at `head`, or goes on in one that was freed. Returns
    /// its entry.
    pub(super) fn enter(&mut self, head: u64, span: u64) -> &Entry<B> {
        if self.entries[0].end() == head {
            self.leave_head();
        }
        if self.entries[0].start == head {
            if self.is_long(span) {
                self.short = 0;
            }
            if self.entries.len() == 1 {
                self.peaks.end_cycle();
            }
            self.trim();
        }
        &self.entries[0]
    }

    /// Removes the first entry.
    fn leave_head(&mut self) {
        if let Some(Entry { memory: BlockMemory::Block(block), .. }) = self.entries.pop_front() {
            self.in_use -= 1;
            self.keep(block);
        }
        if self.entries.capacity() > 32 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
    }

    /// Keeps a block that is not in use, or frees it, if the previous cycle needed fewer.
    fn keep(&mut self, block: B) {
        let needed = self.spares_for(self.peaks.previous);
        if block.size() == self.size && self.spares.len() < needed {
            self.spares.push(block);
        }
    }

    /// Frees at most two of the spare blocks that neither this cycle nor the one before needed.
    fn trim(&mut self) {
        let needed = self.spares_for(self.peaks.highest());
        let surplus = self.spares.len().saturating_sub(needed).min(2);
        self.spares.truncate(self.spares.len() - surplus);
    }

    /// The number of spare blocks for a peak of `peak` blocks in use: one more than that, as where
    /// batches begin in a block varies.
    fn spares_for(&self, peak: usize) -> usize {
        (peak + 1).saturating_sub(self.in_use).clamp(1, SPARES)
    }

    /// Frees all spare blocks.
    pub(super) fn release(&mut self) {
        self.spares = Vec::new();
    }

    /// The block at `index` and its start, if it holds tombstones only, and neither the head nor the
    /// tail is in it.
    pub(super) fn all_tombstones(&self, index: usize) -> Option<(&B, u64)> {
        let is_between = index > 0 && index + 1 < self.entries.len();
        match &self.entries[index] {
            Entry { live: 0, memory: BlockMemory::Block(block), start, .. } if is_between => {
                Some((block, *start))
            }
            _ => None,
        }
    }

    /// Frees the block at `index`, but keeps the notes of its tombstones.
    pub(super) fn free(&mut self, index: usize, notes: Notes) {
        let memory = mem::replace(&mut self.entries[index].memory, BlockMemory::Freed(notes));
        if let BlockMemory::Block(block) = memory {
            self.in_use -= 1;
            self.keep(block);
        }
    }

    pub(super) fn entry(&self, index: usize) -> &Entry<B> {
        &self.entries[index]
    }

    pub(super) fn set_live(&mut self, index: usize, live: u32) {
        self.entries[index].live = live;
    }

    pub(super) fn last(&self) -> usize {
        self.entries.len() - 1
    }

    /// The index of the block of `position`, which is between head and tail.
    ///
    /// A guess as if all blocks were of the largest size is not too low. It is too high by the
    /// number of smaller blocks at most, and that is a constant: when the tail enters a block, all
    /// blocks but the head's and the new one are in the span, so the new one is as large as they
    /// are together ([`next_size`](Self::next_size)). From the second one on, sizes are at least 1,
    /// 1, 2, 4, 8.. times the smallest, until they are the largest.
    pub(super) fn index(&self, position: u64) -> usize {
        let distance = self.entries[self.last()].start.saturating_sub(position);
        let blocks = distance.div_ceil(u64::from(LARGEST)) as usize;
        let mut index = self.last().saturating_sub(blocks);
        while self.entries[index].start > position {
            index -= 1;
        }
        index
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let entries = self.entries.iter().map(|entry| match &entry.memory {
            BlockMemory::Block(block) => block.memory(),
            BlockMemory::Freed(Notes(notes)) => size_of_val(&**notes),
        });
        entries.chain(self.spares.iter().map(B::memory)).sum::<usize>()
            + self.entries.capacity() * size_of::<Entry<B>>()
            + self.spares.capacity() * size_of::<B>()
    }
}

impl<B: Allocation> Entry<B> {
    pub(super) const fn end(&self) -> u64 {
        self.start + self.size as u64
    }
}

impl Notes {
    /// Keeps the notes of positions, which must be in order.
    pub(super) fn new(notes: impl Iterator<Item = (u64, NonZeroU64)>) -> Self {
        Self(notes.collect())
    }

    pub(super) fn get(&self, position: u64) -> Option<NonZeroU64> {
        let index = self.0.binary_search_by_key(&position, |(position, _)| *position).ok()?;
        Some(self.0[index].1)
    }
}
