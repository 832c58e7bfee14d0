//! Buffers that all streams of a reactor share, one after the other.
//!
//! A stream has one while its handler runs, and gives it back empty. So streams that wait hold none,
//! and each read has room for much.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// The size of each, in bytes: what one read of a stream brings at most. (Memory that no read has reached
/// yet is not resident: the allocator maps it zeroed.)
pub(crate) const SCRATCH: usize = 256 * 1024;

/// How many are kept beside the first: a relay has two for each of its streams.
const KEPT: usize = 3;

#[derive(Default)]
pub(crate) struct Scratch {
    first: Cell<Option<Box<[u8]>>>,
    others: RefCell<Vec<Box<[u8]>>>,
}

impl Scratch {
    #[inline]
    pub(crate) fn take(&self) -> Box<[u8]> {
        self.first.take().unwrap_or_else(|| self.take_other())
    }

    /// Takes one back.
    #[inline]
    pub(crate) fn give(&self, buffer: Box<[u8]>) {
        if let Some(other) = self.first.replace(Some(buffer)) {
            self.give_other(other);
        }
    }

    #[cold]
    fn take_other(&self) -> Box<[u8]> {
        let other = self.others.borrow_mut().pop();
        other.unwrap_or_else(|| vec![0; SCRATCH].into_boxed_slice())
    }

    #[cold]
    fn give_other(&self, buffer: Box<[u8]>) {
        let mut others = self.others.borrow_mut();
        if others.len() < KEPT {
            others.push(buffer);
        }
    }
}
