//! How much of something has been needed lately.

#![deny(unsafe_code)]

use core::mem;

/// The highest counts of this cycle and of the one before.
///
/// A cycle is the time in which what is counted grows and shrinks again.
pub(super) struct Peaks {
    current: usize,
    pub(super) previous: usize,
}

impl Peaks {
    pub(super) const fn new() -> Self {
        Self { current: 0, previous: 0 }
    }

    pub(super) fn note(&mut self, count: usize) {
        self.current = self.current.max(count);
    }

    /// Ends the cycle, unless nothing has been counted in it.
    pub(super) fn end_cycle(&mut self) {
        if self.current > 0 {
            self.previous = mem::take(&mut self.current);
        }
    }

    /// Begins a cycle with so many.
    pub(super) fn begin_cycle(&mut self, count: usize) {
        self.previous = mem::replace(&mut self.current, count);
    }

    pub(super) fn highest(&self) -> usize {
        self.current.max(self.previous)
    }
}
