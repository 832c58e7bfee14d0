//! An index of pending calls by recipient.
//!
//! - I1 `sorted` has the recipient and the position of each call to a recipient that was pending at a
//!   position before `end` when the index was made. Some of them may be over since.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

#[derive(Default)]
pub(super) struct RecipientIndex {
    pub(super) sorted: RefCell<Vec<(u64, u64)>>,
    pub(super) end: Cell<u64>,
}
