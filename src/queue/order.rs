//! The order of pending calls: a ring that grows, indexed by position.
//!
//! A position is the number of calls scheduled before, so it only ever grows and names one call
//! for the life of the queue. The ring holds the places from `head` (whose turn comes next) to
//! `tail` (where the next call goes). A canceled call keeps its place, void, until its turn; that of
//! a callback then holds its name only.
//!
//! - I1 `void` counts the places from head to tail whose call was canceled.
//! - I2 Each place that the head has passed is that of a call whose attempt to dial is counted in
//!   the tally, or is in progress; or it is counted in `skipped` or in `forgotten`.

use core::panic::Location;

use crate::erased::Payload;
use crate::erased::{Erased, Places};
use crate::id::CallId;
use crate::outcome::Cancellation;
use crate::queue::Attempt;
use crate::queue::Core;
use crate::queue::Dialing;
use crate::queue::waiting::Canceled;
use crate::slots::Key;
use crate::tally::Count;

/// Places of the first allocation: 4 KiB.
const FIRST_PLACES: usize = 64;

pub(super) struct Ring {
    places: Places<Dialing>,
    void: Count,
    /// How many calls may be pending.
    capacity: u64,
    first: u64,
    /// Void places whose turn came.
    pub(super) skipped: Count,
    /// Places passed although their turn did not come.
    forgotten: Count,
}

impl Ring {
    /// A ring whose first position is `first`.
    pub(super) fn new(first: u64, capacity: u64) -> Self {
        Self {
            places: Places::new(FIRST_PLACES, first),
            void: Count::default(),
            capacity,
            first,
            skipped: Count::default(),
            forgotten: Count::default(),
        }
    }

    /// Whether a call may be scheduled without a second thought: there is a place and an id, less
    /// than `capacity` are pending, and nobody is to be told.
    #[inline(always)]
    pub(super) fn is_easy(&self) -> bool {
        self.places.is_easy()
    }

    /// Lets calls be scheduled without a second thought as long as there is room, or none.
    pub(super) fn ease(&self, easy: bool) {
        let ids_left = CallId::END - self.places.head();
        self.places.ease(if easy { self.capacity.min(ids_left) } else { 0 });
    }

    /// Whether every place is taken, if only by a void.
    pub(super) fn has_no_place(&self) -> bool {
        self.places.is_full()
    }

    /// How many calls may be pending.
    pub(super) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Puts a call at the tail, where there is a place for it, and returns its position.
    #[inline(always)]
    pub(super) fn push<B: Payload<Dialing>>(
        &self,
        make: impl FnOnce() -> B,
        site: &'static Location<'static>,
    ) -> u64 {
        self.places.push(make, site)
    }

    /// Dials the next call, if its position is less than `end`; false if there is none.
    #[inline(always)]
    pub(super) fn dial_next(&self, end: u64, core: &Core, attempt: &mut Attempt<'_>) -> bool {
        match self.places.dial_next(end, attempt) {
            Some(true) => attempt.finish(core),
            Some(false) => self.skip(),
            None => return false,
        }
        true
    }

    /// Goes past the next place; its position, and what it held.
    pub(super) fn pass(&self) -> Option<(u64, Erased<Dialing>)> {
        self.places.pop()
    }

    /// Forgets the void at the head, if there is one; that of a callback held its name.
    pub(super) fn pass_void(&self) -> Option<Option<Canceled>> {
        if self.void.get() == 0 || !self.is_void(self.places.head()) {
            return None;
        }
        let (_, mut packed) = self.places.pop()?;
        self.void.sub();
        self.forgotten.add();
        Some(packed.unpack())
    }

    /// Makes the place at `position` void. Returns what is left of its call to be dropped.
    #[inline(always)]
    pub(super) fn cancel(&self, position: u64) -> Result<Option<Erased<Dialing>>, Cancellation> {
        if !self.places.contains(position) {
            return Err(Cancellation::Late);
        }
        let call = self.places.clear(position).ok_or(Cancellation::Already)?;
        self.void.add();
        Ok(call)
    }

    /// Makes the place of the callback `key` void, but for its name. Returns what is left of its
    /// call to be dropped.
    pub(super) fn cancel_callback(&self, position: u64, key: Key) -> Option<Erased<Dialing>> {
        let call = self.places.clear(position).flatten();
        self.places.refill(position, Canceled(key));
        self.void.add();
        call
    }

    /// Counts a void place whose turn came.
    #[inline(always)]
    pub(super) fn skip(&self) {
        self.void.sub();
        self.skipped.add();
    }

    /// Counts a place, passed with its call, whose turn did not come.
    pub(super) fn forget(&self) {
        self.forgotten.add();
    }

    /// Whether no call is pending at `position`.
    pub(super) fn is_void(&self, position: u64) -> bool {
        self.places.is_void::<Canceled>(position)
    }

    /// Whether the turn of `position` has not come, also if its call is canceled.
    #[cfg(feature = "mio")]
    pub(super) fn is_in_line(&self, position: u64) -> bool {
        self.places.contains(position)
    }

    /// The number of calls between head and tail.
    #[inline(always)]
    pub(super) fn pending(&self) -> u64 {
        self.places.tail() - self.places.head() - self.void.get()
    }

    /// The same, counted by looking at each place.
    #[cfg(feature = "testing")]
    pub(super) fn walk(&self) -> u64 {
        let positions = self.places.head()..self.places.tail();
        positions.filter(|at| !self.is_void(*at)).count() as u64
    }

    /// The number of calls ever scheduled.
    pub(super) fn scheduled(&self) -> u64 {
        self.places.tail() - self.first
    }

    /// The number of calls that there ever was an attempt to dial, or is.
    pub(super) fn attempted(&self) -> u64 {
        self.places.head() - self.first - self.skipped.get() - self.forgotten.get()
    }

    /// The position that the next scheduled call will get.
    pub(super) fn tail(&self) -> u64 {
        self.places.tail()
    }

    /// Doubles the places.
    pub(super) fn grow(&self) {
        self.places.grow();
    }
}
