//! Random numbers for stories: the same ones whenever the seed is the same.

use std::cell::{Cell, RefCell};

/// A linear congruential generator.
pub struct Random(Cell<u64>);

impl Random {
    /// One of `seed`; those of neighbors are far apart.
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed >> 7))
    }

    /// A number less than `end`, which is at most 2^31.
    pub fn below(&self, end: usize) -> usize {
        let next = self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0.set(next);
        (next >> 33) as usize % end
    }

    pub fn one_in(&self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    /// Takes an element out.
    pub fn take<T>(&self, of: &RefCell<Vec<T>>) -> Option<T> {
        let len = of.borrow().len();
        (len > 0).then(|| of.borrow_mut().swap_remove(self.below(len)))
    }

    /// Lends an element out.
    pub fn lend<T, R>(&self, of: &RefCell<Vec<T>>, to: impl FnOnce(&T) -> R) -> Option<R> {
        let element = self.take(of)?;
        let result = to(&element);
        of.borrow_mut().push(element);
        Some(result)
    }
}
