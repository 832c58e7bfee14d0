//! The order of pending calls: a ring that grows, indexed by position.
//!
//! A position is the number of calls scheduled before, so it only ever grows and names one call
//! for the life of the queue. The ring holds the places from `head` (whose turn comes next) to
//! `tail` (where the next call goes). A canceled call keeps its place, void, until its turn; that of
//! a callback then holds its name only.
//!
//! - I1 `tail - head` is at most the number of places, and a place outside `head..tail` is empty.
//! - I2 `void` counts the places in `head..tail` whose call was canceled.
//! - I3 `limit` is the number of places, or the capacity if that is less.

use core::cell::Cell;
use core::panic::Location;

use crate::call::inline::{Packed, Places};
use crate::call::{Attempt, Body};
use crate::callback::Canceled;
use crate::observe::Count;
use crate::queue::{Cancellation, Core};
use crate::slots::Key;

/// Places of the first allocation: 4 KiB.
const FIRST_PLACES: usize = 64;

pub(super) struct Ring {
    places: Places,
    head: Cell<u64>,
    tail: Cell<u64>,
    void: Count,
    /// So many places may be taken without a second thought.
    limit: Cell<u64>,
    /// How many calls may be pending.
    capacity: u64,
    first: u64,
    /// Void places whose turn has passed.
    pub(super) skipped: Count,
}

impl Ring {
    /// A ring whose first position is `first`.
    pub(super) fn new(first: u64, capacity: u64) -> Self {
        Self {
            places: Places::new(FIRST_PLACES),
            head: Cell::new(first),
            tail: Cell::new(first),
            void: Count::default(),
            limit: Cell::new(capacity.min(FIRST_PLACES as u64)),
            capacity,
            first,
            skipped: Count::default(),
        }
    }

    /// Whether there is a place for another call, and certainly less than `capacity` are pending.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.tail.get() - self.head.get() < self.limit.get()
    }

    /// Whether every place is taken, if only by a void.
    #[inline(always)]
    pub(super) fn has_no_place(&self) -> bool {
        self.tail.get() - self.head.get() > self.places.mask() as u64
    }

    /// How many calls may be pending.
    pub(super) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Puts a call at the tail, where there is a place for it, and returns its position.
    #[inline(always)]
    pub(super) fn push<B: Body>(
        &self,
        body: impl FnOnce() -> B,
        site: &'static Location<'static>,
    ) -> u64 {
        let position = self.tail.get();
        self.places.put(position, body(), site);
        self.tail.set(position + 1);
        position
    }

    /// Dials the next call, if its position is less than `end`; false if there is none.
    #[inline(always)]
    pub(super) fn dial_next(&self, end: u64, core: &Core, attempt: &mut Attempt<'_>) -> bool {
        let Some(position) = self.next(end) else { return false };
        attempt.at(core, position, |attempt| self.places.dial(position, attempt));
        true
    }

    /// Goes past the next place; its position.
    pub(super) fn pass(&self) -> Option<u64> {
        self.next(u64::MAX)
    }

    /// The position of the next place, if any place is void.
    pub(super) fn head_if_any_void(&self) -> Option<u64> {
        (self.void.get() > 0).then(|| self.head.get())
    }

    /// The body of the call at `position`, if it is a `B`.
    pub(super) fn unpack<B: Body>(&self, position: u64) -> Option<B> {
        self.places.unpack(position)
    }

    /// Empties the place at `position`, as [`Places::clear`].
    pub(super) fn clear(&self, position: u64) -> Option<Option<Packed>> {
        self.places.clear(position)
    }

    /// Whether the place at `position` is empty.
    pub(super) fn is_empty(&self, position: u64) -> bool {
        self.places.is_empty(position)
    }

    /// Makes the place at `position` void. Returns what is left of its call to be dropped.
    #[inline(always)]
    pub(super) fn cancel(&self, position: u64) -> Result<Option<Packed>, Cancellation> {
        if position < self.head.get() || position >= self.tail.get() {
            return Err(Cancellation::Late);
        }
        let call = self.places.clear(position).ok_or(Cancellation::Already)?;
        self.void.add();
        Ok(call)
    }

    /// Makes the place of the callback `key` void, but for its name. Returns what is left of its
    /// call to be dropped.
    pub(super) fn cancel_callback(&self, position: u64, key: Key) -> Option<Packed> {
        let call = self.places.clear(position).flatten();
        self.places.put(position, Canceled(key), self.places.site(position));
        self.void.add();
        call
    }

    /// Counts a void place as passed when its turn came.
    pub(super) fn skip(&self) {
        self.void.sub();
        self.skipped.add();
    }

    /// Forgets a void place that has been passed before its turn.
    pub(super) fn forget(&self) {
        self.void.sub();
    }

    /// The number of calls between head and tail.
    #[inline(always)]
    pub(super) fn pending(&self) -> u64 {
        self.tail.get() - self.head.get() - self.void.get()
    }

    /// The same, counted by looking at each place.
    #[cfg(feature = "testing")]
    pub(super) fn walk(&self) -> u64 {
        let places = self.head.get()..self.tail.get();
        let is_call = |at: &u64| !self.places.is_empty(*at) && !self.places.holds::<Canceled>(*at);
        places.filter(is_call).count() as u64
    }

    /// The number of calls ever scheduled.
    pub(super) fn scheduled(&self) -> u64 {
        self.tail.get() - self.first
    }

    /// The position that the next scheduled call will get.
    pub(super) fn tail(&self) -> u64 {
        self.tail.get()
    }

    /// Moves the head past the next position.
    #[inline(always)]
    fn next(&self, end: u64) -> Option<u64> {
        let position = self.head.get();
        if position >= self.tail.get().min(end) {
            return None;
        }
        self.head.set(position + 1);
        Some(position)
    }

    /// Doubles the places.
    pub(super) fn grow(&self) {
        self.places.grow(self.head.get()..self.tail.get());
        self.limit.set(self.capacity.min(self.places.mask() as u64 + 1));
    }
}
