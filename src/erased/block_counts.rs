//! How many blocks of a size there are, and how many are kept to be used again.
//!
//! A cycle goes from one moment in which no block is in use to the next one, or until many have been freed
//! that might be needed again. The number that is kept is the most that were in use at a time in the two
//! cycles before.

#![deny(unsafe_code)]

use core::cell::Cell;

/// So many blocks that were freed end a cycle, as there may be none in which no block is in use.
pub(super) const FREED: usize = if cfg!(small_blocks) { 5 } else { 256 };

#[derive(Default)]
pub(super) struct BlockCounts {
    /// How many are kept.
    pub(super) spares: Cell<usize>,
    /// How many there are, in use or kept.
    pub(super) blocks: Cell<usize>,
    /// The fewest that were kept at a time in this cycle.
    fewest: Cell<usize>,
    /// The most that were in use in this cycle, as far as is known: `blocks` less `fewest` may be more.
    peak: Cell<usize>,
    /// How many were freed in this cycle.
    freed: Cell<usize>,
    /// The most that were in use in the cycle before.
    previous: Cell<usize>,
    /// So many are kept: the most that were in use in the two cycles before.
    limit: Cell<usize>,
}

impl BlockCounts {
    /// The most that have been in use at a time in this cycle.
    fn current_peak(&self) -> usize {
        self.peak.get().max(self.blocks.get() - self.fewest.get())
    }

    #[inline(always)]
    pub(super) fn is_within_limit(&self) -> bool {
        self.blocks.get() <= self.limit.get()
    }

    #[inline(always)]
    pub(super) fn is_none_in_use(&self) -> bool {
        self.spares.get() == self.blocks.get()
    }

    /// From now on none is kept.
    pub(super) fn keep_none(&self) {
        self.limit.set(0);
    }

    #[inline(always)]
    pub(super) fn add_new(&self) {
        self.blocks.set(self.blocks.get() + 1);
    }

    #[inline(always)]
    pub(super) fn add_spare(&self) {
        self.spares.set(self.spares.get() + 1);
    }

    #[inline(always)]
    pub(super) fn take_spare(&self) {
        self.spares.set(self.spares.get() - 1);
        self.fewest.set(self.fewest.get().min(self.spares.get()));
    }

    /// One that was kept is freed.
    pub(super) fn free_spare(&self) {
        self.blocks.set(self.blocks.get() - 1);
    }

    /// One that was in use is freed. Returns true if that ends the cycle.
    pub(super) fn free_used(&self) -> bool {
        self.peak.set(self.current_peak());
        self.blocks.set(self.blocks.get() - 1);
        self.freed.set(self.freed.get() + 1);
        self.freed.get() == FREED
    }

    /// Ends the cycle; `most` may be kept. Returns how many of those kept are to be freed now.
    #[inline(always)]
    pub(super) fn end_cycle(&self, most: usize) -> usize {
        let peak = self.current_peak();
        self.limit.set(peak.max(self.previous.replace(peak)).min(most));
        self.peak.set(0);
        self.freed.set(0);
        self.fewest.set(self.spares.get());
        self.spares.get().saturating_sub(self.limit.get().max(1)).min(16)
    }
}
