//! Keys that wait for their turn, first in, first out.
//!
//! - I1 `is_empty` is that of `keys`: a turn looks at it each time, and mostly in vain.

use alloc::collections::VecDeque;
use core::cell::{Cell, RefCell};

use crate::arena::ArenaKey;

pub(super) struct KeyQueue {
    is_empty: Cell<bool>,
    keys: RefCell<VecDeque<ArenaKey>>,
}

impl KeyQueue {
    pub(super) const fn new() -> Self {
        Self { is_empty: Cell::new(true), keys: RefCell::new(VecDeque::new()) }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty.get()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.borrow().len()
    }

    pub(super) fn push(&self, key: ArenaKey) {
        self.keys.borrow_mut().push_back(key);
        self.is_empty.set(false);
    }

    /// The first key, taken out.
    pub(super) fn pop(&self) -> Option<ArenaKey> {
        let mut keys = self.keys.borrow_mut();
        let key = keys.pop_front();
        self.is_empty.set(keys.is_empty());
        key
    }

    /// Keeps those for which `is_kept` returns true.
    pub(super) fn retain(&self, mut is_kept: impl FnMut(ArenaKey) -> bool) {
        let mut keys = self.keys.borrow_mut();
        keys.retain(|key| is_kept(*key));
        self.is_empty.set(keys.is_empty());
    }

    /// Removes all keys.
    pub(super) fn clear(&self) {
        self.keys.borrow_mut().clear();
        self.is_empty.set(true);
    }

    /// Frees memory that is not needed.
    pub(super) fn shrink(&self) {
        self.keys.borrow_mut().shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_exactly_if_there_are_no_keys() {
        let keys = KeyQueue::new();
        let key = |slot| ArenaKey { slot, generation: 0 };
        assert!(keys.is_empty() && keys.pop().is_none() && keys.is_empty());
        keys.push(key(1));
        keys.push(key(2));
        assert_eq!((keys.pop(), keys.is_empty()), (Some(key(1)), false));
        keys.retain(|one| one == key(2));
        assert!(!keys.is_empty());
        assert_eq!((keys.pop(), keys.is_empty()), (Some(key(2)), true));
        keys.push(key(3));
        keys.clear();
        assert_eq!((keys.is_empty(), keys.len()), (true, 0));
    }
}
