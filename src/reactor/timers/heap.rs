//! Values that wait for their time, first the one that is due first.
//!
//! What is compared and moved is a small [`HeapEntry`] for each value, in a heap of [`ARITY`] children
//! per entry; the values stay where they are. A slot for each value has where its entry is. So arming
//! takes O(1) for deadlines in order, and O(log n) at worst, as do removing and popping; the first is
//! at hand. When many are due at once, their entries leave the heap together and are sorted, which is
//! faster than popping one by one. (`docs/design.md` has what was measured.)
//!
//! - I1 No entry of the heap ranks before its parent. `run` is sorted, the first entry last; it
//!   ends with one that has a value.
//! - I2 The place of each slot that has a value is where its entry is.
//! - I3 Each value has one entry. Entries without a value are only in `run`, and have no slot.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem;
use core::time::Duration;
use std::time::Instant;

use crate::reactor::timers::slots::{NONE, TimerSlots};

const ARITY: usize = 8;

/// Entries are sorted if at least one in so many is due.
const MANY: usize = 16;

/// The number of entries for which room is kept.
const FEW: usize = 8;

/// Values ordered by deadline, then by when they were armed or last reset.
pub(super) struct Heap<T> {
    entries: Vec<HeapEntry>,
    /// Entries that were due together, and have not been popped yet.
    run: Vec<HeapEntry>,
    slots: TimerSlots<T>,
    origin: Instant,
    armed: u64,
    /// What is armed is due then at the earliest.
    floor: Tick,
}

#[derive(Clone, Copy)]
struct HeapEntry {
    deadline: Tick,
    /// How many were armed or reset before.
    serial: u64,
    slot: u32,
}

impl HeapEntry {
    /// In one number, as that compares faster than a pair.
    const fn rank(self) -> u128 {
        (self.deadline.0 as u128) << 64 | self.serial as u128
    }
}

/// A time in nanoseconds, exact within 292 years of the heap's origin; what is farther counts as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

impl Tick {
    /// Half of the numbers are for times before the origin.
    const ORIGIN: u64 = 1 << 63;

    pub(super) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Set in places in `run`.
const IN_RUN: u32 = 1 << 31;

/// What is known of the first value.
pub(super) struct First<'a, T> {
    pub(super) deadline: Tick,
    pub(super) value: &'a T,
}

/// Names one value, as long as it is in the heap.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    serial: u64,
    slot: u32,
}

impl Handle {
    /// The name of nothing.
    pub(super) const NONE: Self = Self { serial: u64::MAX, slot: NONE };
}

impl<T> Heap<T> {
    /// A heap for deadlines around `origin`.
    pub(super) const fn new(origin: Instant) -> Self {
        Self {
            entries: Vec::new(),
            run: Vec::new(),
            slots: TimerSlots::new(),
            origin,
            armed: 0,
            floor: Tick(0),
        }
    }

    /// Lets what is armed from now on be due `moment` at the earliest; or, without one, its own
    /// deadline.
    pub(super) fn set_floor(&mut self, moment: Option<Tick>) {
        self.floor = moment.unwrap_or(Tick(0));
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a value, behind all others with that deadline.
    ///
    /// # Panics
    ///
    /// If there are 2^31 values already.
    #[inline]
    pub(super) fn arm(&mut self, deadline: Instant, value: T) -> Handle {
        let (serial, slot) = (self.armed, self.slots.insert(value));
        self.armed += 1;
        let deadline = self.moment(deadline).max(self.floor);
        self.entries.push(HeapEntry { deadline, serial, slot });
        self.rise(self.entries.len() - 1);
        Handle { serial, slot }
    }

    /// Moves a value to another time, behind all others with that deadline, unless it is out already.
    pub(super) fn reset(&mut self, handle: Handle, deadline: Instant) -> Option<Handle> {
        let Handle { serial, slot } = handle;
        let place = self.slots.place(slot)?;
        let entry =
            HeapEntry { deadline: self.moment(deadline).max(self.floor), serial: self.armed, slot };
        let at = if place & IN_RUN == 0 {
            let at = place as usize;
            *self.entries.get_mut(at).filter(|entry| entry.serial == serial)? = entry;
            at
        } else {
            let at = (place & !IN_RUN) as usize;
            self.run.get_mut(at).filter(|entry| entry.serial == serial)?.slot = NONE;
            self.trim_run();
            self.entries.push(entry);
            self.entries.len() - 1
        };
        if self.rise(at) == at {
            self.sink(at);
        }
        self.armed += 1;
        Some(Handle { serial: entry.serial, slot })
    }

    /// The value, if it is not out.
    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let place = self.slots.place(handle.slot)?;
        let entry = if place & IN_RUN == 0 {
            self.entries.get(place as usize)
        } else {
            self.run.get((place & !IN_RUN) as usize)
        };
        entry.filter(|entry| entry.serial == handle.serial && entry.slot == handle.slot)?;
        self.slots.get_mut(handle.slot)
    }

    /// Takes a value out, unless it is out already.
    pub(super) fn remove(&mut self, handle: Handle) -> Option<T> {
        // The place of a vacant slot may be anything, but no other entry has that serial.
        let place = self.slots.place(handle.slot)?;
        let is_it = |entry: &HeapEntry| entry.serial == handle.serial;
        if place & IN_RUN == 0 {
            let _entry = self.entries.get(place as usize).filter(|entry| is_it(entry))?;
            self.take(place as usize);
        } else {
            let entry =
                self.run.get_mut((place & !IN_RUN) as usize).filter(|entry| is_it(entry))?;
            entry.slot = NONE;
            self.trim_run();
        }
        self.slots.take(handle.slot)
    }

    /// Whether there is a value that `is_wanted` accepts. Looks at the first one first.
    pub(super) fn any(&self, is_wanted: impl Fn(&T) -> bool) -> bool {
        let all = self.first_entry().into_iter().chain(&self.entries).chain(&self.run);
        all.filter_map(|entry| self.slots.get(entry.slot)).any(is_wanted)
    }

    /// The values that `is_wanted` rejects.
    pub(super) fn unwanted(&self, is_wanted: impl Fn(&T) -> bool) -> Vec<Handle> {
        let all = self.entries.iter().chain(&self.run);
        let unwanted =
            all.filter(|entry| self.slots.get(entry.slot).is_some_and(|value| !is_wanted(value)));
        unwanted.map(|entry| Handle { serial: entry.serial, slot: entry.slot }).collect()
    }

    /// Whether the value is the first.
    pub(super) fn is_first(&self, handle: Handle) -> bool {
        self.first_entry().is_some_and(|first| first.serial == handle.serial)
    }

    /// How often a value was added or reset.
    pub(super) const fn armed(&self) -> u64 {
        self.armed
    }

    pub(super) fn first(&self) -> Option<First<'_, T>> {
        let HeapEntry { deadline, slot, .. } = *self.first_entry()?;
        Some(First { deadline, value: self.slots.get(slot)? })
    }

    /// Takes the first value out.
    pub(super) fn pop(&mut self) -> Option<T> {
        let first = *self.first_entry()?;
        self.take_first(first)
    }

    /// Takes the first value out if it is due `now`, and less than `armed` were armed before it.
    #[inline]
    pub(super) fn pop_due(&mut self, now: Tick, armed: u64) -> Option<T> {
        let first = *self.first_entry()?;
        if first.deadline > now || first.serial >= armed {
            return None;
        }
        self.take_first(first)
    }

    #[inline(always)]
    fn take_first(&mut self, HeapEntry { slot, .. }: HeapEntry) -> Option<T> {
        if self.slots.place(slot)? & IN_RUN == 0 {
            self.take(0);
        } else {
            self.run.pop();
            self.trim_run();
        }
        self.slots.take(slot)
    }

    /// Makes the values that are due `now` fast to pop, if they are many, and no more than `most`, which
    /// bounds what this takes.
    pub(super) fn expect(&mut self, now: Tick, most: usize) {
        let many = self.entries.len() / MANY;
        if many == 0 || many > most || self.entries.first().is_none_or(|first| first.deadline > now)
        {
            return;
        }
        // All of them together are no more, or else it is to be known.
        let may_be_more = self.entries.len() > most;
        let due = self.count_due(0, now, if may_be_more { most + 1 } else { many });
        if due < many || (may_be_more && due > most) {
            return;
        }
        // Left over from the last time, if anything.
        self.entries.extend(self.run.drain(..).filter(|entry| entry.slot != NONE));
        let mut kept = 0;
        for at in 0..self.entries.len() {
            if self.entries[at].deadline > now {
                self.entries.swap(kept, at);
                kept += 1;
            }
        }
        if kept == 0 {
            mem::swap(&mut self.entries, &mut self.run);
        } else {
            self.run.extend(self.entries.drain(kept..));
        }
        shrink(&mut self.entries);
        shrink(&mut self.run);
        self.run.sort_unstable_by_key(|entry| Reverse(entry.rank()));
        for (at, entry) in self.run.iter().enumerate() {
            self.slots.set_place(entry.slot, at as u32 | IN_RUN);
        }
        for at in (0..kept).rev() {
            self.sink(at);
        }
    }

    #[inline]
    pub(super) fn moment(&self, time: Instant) -> Tick {
        Tick(match time.checked_duration_since(self.origin) {
            Some(after) => Tick::ORIGIN.saturating_add(nanos(after)),
            None => Tick::ORIGIN.saturating_sub(nanos(self.origin.duration_since(time))),
        })
    }

    fn first_entry(&self) -> Option<&HeapEntry> {
        match (self.run.last(), self.entries.first()) {
            (Some(one), Some(other)) => Some(if one.rank() < other.rank() { one } else { other }),
            (one, other) => one.or(other),
        }
    }

    /// Counts the entries that are due from `at` on downwards, up to `most` or a few more.
    fn count_due(&self, at: usize, now: Tick, most: usize) -> usize {
        if self.entries.get(at).is_none_or(|entry| entry.deadline > now) {
            return 0;
        }
        let mut due = 1;
        for child in at * ARITY + 1..=(at + 1) * ARITY {
            if due >= most {
                break;
            }
            due += self.count_due(child, now, most - due);
        }
        due
    }

    /// Takes the entry at `at` out of the heap.
    fn take(&mut self, at: usize) {
        self.entries.swap_remove(at);
        if at < self.entries.len() && self.rise(at) == at {
            self.sink(at);
        }
        shrink(&mut self.entries);
    }

    /// Keeps I1 for `run`.
    fn trim_run(&mut self) {
        while self.run.pop_if(|last| last.slot == NONE).is_some() {}
        shrink(&mut self.run);
    }

    /// Moves the entry at `at` up to where it is not before its parent; returns where that is.
    #[inline]
    fn rise(&mut self, mut at: usize) -> usize {
        let entry = self.entries[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.entries[parent].rank() <= entry.rank() {
                break;
            }
            self.put(at, self.entries[parent]);
            at = parent;
        }
        self.put(at, entry);
        at
    }

    /// Moves the entry at `at` down to where no child is before it.
    fn sink(&mut self, mut at: usize) {
        let entry = self.entries[at];
        while let Some((child, rank)) = self.first_child(at)
            && rank < entry.rank()
        {
            self.put(at, self.entries[child]);
            at = child;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: HeapEntry) {
        self.entries[at] = entry;
        self.slots.set_place(entry.slot, at as u32);
    }

    fn first_child(&self, at: usize) -> Option<(usize, u128)> {
        let start = at * ARITY + 1;
        let rest = self.entries.get(start..)?;
        // Nearly always there are all; then the number is known and the loop unrolled.
        let (i, rank) = match rest.first_chunk::<ARITY>() {
            Some(all) => least(all)?,
            None => least(rest)?,
        };
        Some((start + i, rank))
    }
}

/// The first of the entries that ranks before all others, and its rank.
#[inline]
fn least(entries: &[HeapEntry]) -> Option<(usize, u128)> {
    let mut least = (0, entries.first()?.rank());
    for (i, entry) in entries.iter().enumerate().skip(1) {
        if entry.rank() < least.1 {
            least = (i, entry.rank());
        }
    }
    Some(least)
}

/// Gives back memory. Twice as much as is needed is kept, so that the next growth is far.
#[inline]
fn shrink(entries: &mut Vec<HeapEntry>) {
    let kept = 2 * entries.len().max(FEW);
    if entries.capacity() > 2 * kept {
        entries.shrink_to(kept);
    }
}

/// At most a little less than 585 years.
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

#[cfg(test)]
mod tests;
