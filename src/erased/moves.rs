//! How head, tail and cursor move from block to block. Safe code, but it keeps the invariants I5 to I9 of
//! [`erased`](super).

#![deny(unsafe_code)]

use core::cell::Cell;
use core::num::NonZeroU64;
use core::ptr;

use super::directory::{BlockMemory, Directory, Notes};
use super::{Block, Calls, DialContext, Place, number};

/// The block that was looked at last, so that a look at it again needs no directory.
pub(super) struct Cursor<C: DialContext> {
    pub(super) start: Cell<u64>,
    /// The number of its positions that the tail had passed when the cursor moved here.
    pub(super) len: Cell<u64>,
    /// The number of its positions; 0 if the cursor is empty.
    pub(super) size: Cell<u64>,
    pub(super) first: Cell<*mut Place<C>>,
    /// The entry's number of live places as it is now.
    pub(super) live: Cell<u32>,
    /// Of the entry in the directory.
    pub(super) index: Cell<usize>,
}

/// What the head met at the end of a block.
pub(super) enum Entered {
    Block,
    /// A tombstone with this note, which the head has passed.
    Tombstone(Option<NonZeroU64>),
}

impl<C: DialContext> Calls<C> {
    pub(super) fn set_fast_end(&self) {
        let allowed = self.limit.get().saturating_sub(self.tail() - self.head());
        let free = number(self.tail_end.get()) - number(self.tail.get());
        self.fast_end.set(self.tail.get().wrapping_add(allowed.min(free) as usize));
    }

    /// Frees all spare memory, and if nothing is pending, all memory.
    pub(crate) fn release(&self) {
        let directory = &mut *self.directory.borrow_mut();
        if self.head() != self.tail() {
            return directory.release();
        }
        let (none, position) = (Place::none(), self.tail());
        self.leave_cursor(directory);
        for end in [&self.head, &self.head_end, &self.tail, &self.tail_end] {
            end.set(none);
        }
        self.fast_end.set(ptr::null_mut());
        for base in [&self.head_base, &self.tail_base] {
            base.set(number(none).wrapping_sub(position));
        }
        *directory = Directory::new();
    }

    /// The number of bytes allocated, boxed payloads not included.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.directory.borrow().memory()
    }

    /// Makes sure that the next push does not allocate for a place.
    pub(super) fn reserve(&self) {
        if self.tail.get() == self.tail_end.get() {
            self.make_room();
        }
    }

    /// Makes a push possible, and fast if the limit allows it.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&self) {
        if self.tail.get() == self.tail_end.get() {
            self.add_room();
        } else if self.limit.get() > 0 {
            self.set_fast_end();
        }
        // (Else no push of this block has been fast since the limit was set.)
    }

    #[cold]
    #[inline(never)]
    fn add_room(&self) {
        self.add_block();
        self.set_fast_end();
    }

    /// The tail, which is at `tail_end`, enters another block.
    fn add_block(&self) {
        let (head, start) = (self.head(), self.tail());
        let directory = &mut *self.directory.borrow_mut();
        self.leave_cursor(directory);
        if head == start
            && let Some(block) = directory.restart(start)
        {
            block.clear();
            self.tail_enters(block.first(), start, block.size);
            return self.head_follows();
        }
        // What may fail comes first.
        directory.reserve();
        let size = directory.next_size(start - head);
        start.checked_add(u64::from(size)).expect("positions must not be used up");
        let block = directory.take(size, head != start);
        let first = block.first();
        block.clear();
        directory.push(start, block);
        // From here on, the new block is the tail's (I5).
        self.tail_enters(first, start, size);
        if head == start {
            self.head_follows();
        } else {
            Self::free_if_all_tombstones(directory, directory.last() - 1);
        }
    }

    /// The tail is at the first place of a block of `size` (I6).
    fn tail_enters(&self, first: *mut Place<C>, start: u64, size: u32) {
        self.tail.set(first);
        self.tail_base.set(number(first).wrapping_sub(start));
        self.tail_end.set(first.wrapping_add(size as usize));
    }

    /// So is the head, as nothing is pending.
    fn head_follows(&self) {
        self.head.set(self.tail.get());
        self.head_base.set(self.tail_base.get());
        self.head_end.set(self.tail_end.get());
    }

    /// The head, which is at `head_end`, enters the next block, which there is; or passes a tombstone
    /// whose block was freed.
    #[cold]
    #[inline(never)]
    pub(super) fn enter_block(&self) -> Entered {
        let head = self.head();
        let directory = &mut *self.directory.borrow_mut();
        self.leave_cursor(directory);
        let entry = directory.enter(head, self.tail() - head);
        match &entry.memory {
            BlockMemory::Block(block) => {
                let first = block.first();
                self.head.set(first);
                self.head_base.set(number(first).wrapping_sub(entry.start));
                self.head_end.set(first.wrapping_add(entry.size as usize));
                Entered::Block
            }
            BlockMemory::Freed(notes) => {
                let none = Place::none();
                self.head.set(none);
                self.head_base.set(number(none).wrapping_sub(head + 1));
                self.head_end.set(none);
                self.tombstones.set(self.tombstones.get() - 1);
                Entered::Tombstone(notes.get(head))
            }
        }
    }

    /// The place of `position`, if it is between head and tail and its block was not freed. The cursor
    /// is at its block then.
    #[inline(always)]
    pub(super) fn find(&self, position: u64) -> Option<*mut Place<C>> {
        if position < self.head() {
            return None;
        }
        let Cursor { start, len, size, first, .. } = &self.cursor;
        let offset = position.wrapping_sub(start.get());
        if offset >= len.get()
            && (offset >= size.get() || position >= self.tail())
            && !self.move_cursor(position)
        {
            return None;
        }
        // The tail has passed it, and it is in the cursor's block (I9).
        let place = first.get().wrapping_add(position.wrapping_sub(start.get()) as usize);
        debug_assert!(place.is_aligned());
        Some(place)
    }

    /// Moves the cursor to the block of `position`, which is not before the head. Returns false if the
    /// tail has not passed it, or its block was freed.
    #[cold]
    #[inline(never)]
    pub(super) fn move_cursor(&self, position: u64) -> bool {
        if position >= self.tail() {
            return false;
        }
        let directory = &mut *self.directory.borrow_mut();
        self.leave_cursor(directory);
        let index = directory.index(position);
        let entry = directory.entry(index);
        let BlockMemory::Block(block) = &entry.memory else { return false };
        let Cursor { start, len, first, size, live, index: at } = &self.cursor;
        start.set(entry.start);
        size.set(u64::from(entry.size));
        len.set(size.get().min(self.tail() - entry.start));
        first.set(block.first());
        live.set(entry.live);
        at.set(index);
        true
    }

    /// Empties the cursor.
    pub(super) fn leave_cursor(&self, directory: &mut Directory<Block<C>>) {
        self.cursor.len.set(0);
        if self.cursor.size.replace(0) > 0 {
            directory.set_live(self.cursor.index.get(), self.cursor.live.get());
        }
    }

    /// Frees the cursor's block, which holds tombstones only, unless the head or the tail is there.
    #[cold]
    #[inline(never)]
    pub(super) fn free_cursor_block(&self) {
        let directory = &mut *self.directory.borrow_mut();
        self.leave_cursor(directory);
        Self::free_if_all_tombstones(directory, self.cursor.index.get());
    }

    /// Frees a block if it holds tombstones only, and neither the head nor the tail is there (I8).
    /// The cursor must be empty.
    fn free_if_all_tombstones(directory: &mut Directory<Block<C>>, index: usize) {
        if let Some((block, start)) = directory.all_tombstones(index) {
            let notes = Notes::new(block.notes(start));
            directory.free(index, notes);
        }
    }
}
