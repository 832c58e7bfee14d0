//! What decides in a random story: a seed, or the bytes of a fuzzer. The same seed, and the same bytes,
//! decide the same.

use std::cell::{Cell, RefCell};

/// Numbers: those of the bytes, if there are any, and then those of a linear congruential generator.
pub struct Random {
    state: Cell<u64>,
    bytes: Vec<u8>,
    /// How many of them are used up.
    used: Cell<usize>,
}

impl Random {
    /// One of `seed`; those of neighbors are far apart.
    pub const fn new(seed: u64) -> Self {
        let state = Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed >> 7);
        Self { state, bytes: Vec::new(), used: Cell::new(0) }
    }

    /// Numbers that `bytes` decide, one byte each, or four if one is not enough. When they are used up,
    /// a generator goes on, whose seed is their sum.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let seed = bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(*byte));
        Self { bytes: bytes.to_vec(), ..Self::new(seed) }
    }

    /// The number of the next `count` bytes, if there are so many.
    fn next_bytes(&self, count: usize) -> Option<usize> {
        let begin = self.used.get();
        let bytes = self.bytes.get(begin..begin + count)?;
        self.used.set(begin + count);
        Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A number less than `end`, which is at most 2^31.
    pub fn below(&self, end: usize) -> usize {
        if let Some(number) = self.next_bytes(if end <= 256 { 1 } else { 4 }) {
            return number % end;
        }
        let next = self.state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.state.set(next);
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
