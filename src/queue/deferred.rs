//! Deferred calls: promises that the queue reached while their recipient was live (rule R2). And calls
//! that were put back, as an observer panicked when it was notified of their dial.
//!
//! - I1 A deferred call is in `blocked` until the live call of its recipient has ended, and the one
//!   deferred before it; then in `ready` until it is dialed. So a recipient that is not live has a call
//!   in `ready` if it has any here, and usually one. Both are in the order of positions, which is that of
//!   scheduling.
//! - I2 A call that was canceled leaves an entry without it, so that its id is known until its turn. The
//!   entry moves to `ready` with the next call of its recipient.
//! - I3 `len` counts the entries with a call, `blocked_len` those of `blocked`. `READY` is set exactly
//!   if `ready` has an entry.
//! - I4 `by_recipient` has recipient and position of each entry but of those whose call was released;
//!   `apart` has key and position of each callback that has left its slot in the storage, as it was put
//!   back or released.

use alloc::collections::btree_map::OccupiedEntry;
use alloc::collections::{BTreeMap, BTreeSet};
use core::cell::RefCell;
use core::mem;
use core::ops::RangeInclusive;

use smallvec::SmallVec;

use crate::erased::{DialContext, Erased};
use crate::tally::Count;

pub(super) struct Deferred<C: DialContext> {
    blocked: RefCell<BTreeMap<u64, DeferredCall<C>>>,
    ready: RefCell<BTreeMap<u64, DeferredCall<C>>>,
    len: Count,
    /// How many entries of `blocked` have a call.
    blocked_len: Count,
    by_recipient: RefCell<BTreeSet<(u64, u64)>>,
    apart: RefCell<BTreeMap<u64, u64>>,
}

/// A call that the queue has reached.
pub(super) struct DeferredCall<C: DialContext> {
    pub(super) key: u64,
    pub(super) recipient: u64,
    /// Whether the observers have been notified of the dial: one of them panicked then.
    pub(super) notified: bool,
    /// `None` once it is canceled.
    pub(super) call: Option<Erased<C>>,
}

/// The outcome of a cancel of a deferred call.
pub(super) enum Taken<C: DialContext> {
    /// There is none at the position.
    NotThere,
    /// It was canceled before.
    Already,
    Call(Erased<C>),
}

impl<C: DialContext> Default for Deferred<C> {
    fn default() -> Self {
        Self {
            blocked: RefCell::default(),
            ready: RefCell::default(),
            len: Count::default(),
            blocked_len: Count::default(),
            by_recipient: RefCell::default(),
            apart: RefCell::default(),
        }
    }
}

impl<C: DialContext> Deferred<C> {
    #[inline(always)]
    pub(super) fn len(&self) -> u64 {
        self.len.get()
    }

    /// How many calls are ready.
    pub(super) fn ready_len(&self) -> u64 {
        self.len.get() - self.blocked_len.get()
    }

    /// Adds a call, which waits for the live call of its recipient.
    pub(super) fn block(&self, position: u64, call: DeferredCall<C>) {
        self.added(position, &call);
        self.blocked_len.add();
        let before = self.blocked.borrow_mut().insert(position, call);
        debug_assert!(before.is_none());
    }

    /// Adds a call that is ready.
    pub(super) fn put_back(&self, position: u64, call: DeferredCall<C>) {
        self.added(position, &call);
        let before = self.ready.borrow_mut().insert(position, call);
        debug_assert!(before.is_none());
    }

    fn added(&self, position: u64, call: &DeferredCall<C>) {
        self.len.add();
        if call.recipient != 0 {
            self.by_recipient.borrow_mut().insert((call.recipient, position));
        }
        if call.notified && call.key != position {
            self.apart.borrow_mut().insert(call.key, position);
        }
    }

    /// The position of the callback `key`, if it has left its slot.
    pub(super) fn find_apart(&self, key: u64) -> Option<u64> {
        self.apart.borrow().get(&key).copied()
    }

    /// Makes the first call of `recipient` ready, whose live call has ended. Returns false if there
    /// is none, also none that was ready before.
    pub(super) fn unblock_first(&self, recipient: u64) -> bool {
        let by_recipient = self.by_recipient.borrow();
        by_recipient.range(all_of(recipient)).any(|(_, position)| self.unblock(*position))
    }

    /// Makes all calls of `recipient` ready, which is gone.
    pub(super) fn unblock_all(&self, recipient: u64) {
        for (_, position) in self.by_recipient.borrow().range(all_of(recipient)) {
            self.unblock(*position);
        }
    }

    /// Makes the entry at `position` ready, if it is not. Returns whether it has a call.
    fn unblock(&self, position: u64) -> bool {
        let mut ready = self.ready.borrow_mut();
        let entry = match self.blocked.borrow_mut().remove(&position) {
            Some(entry) => {
                if entry.call.is_some() {
                    self.blocked_len.sub();
                }
                ready.entry(position).or_insert(entry)
            }
            None => &ready[&position],
        };
        entry.call.is_some()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Whether a call is ready whose position is less than `end`.
    pub(super) fn is_ready_before(&self, end: u64) -> bool {
        self.ready.borrow().first_key_value().is_some_and(|(position, _)| *position < end)
    }

    /// Takes the first call that is ready, if its position is less than `end`.
    pub(super) fn pop_ready(&self, end: u64) -> Option<(u64, DeferredCall<C>)> {
        let mut ready = self.ready.borrow_mut();
        let first = ready.first_entry().filter(|first| *first.key() < end);
        let first = first.map(OccupiedEntry::remove_entry);
        self.popped(first)
    }

    /// Takes the first call of all.
    pub(super) fn pop(&self) -> Option<(u64, DeferredCall<C>)> {
        let (mut ready, mut blocked) = (self.ready.borrow_mut(), self.blocked.borrow_mut());
        let first = |map: &BTreeMap<u64, _>| map.first_key_value().map(|(position, _)| *position);
        let from_ready = match (first(&ready), first(&blocked)) {
            (Some(ready), Some(blocked)) => ready < blocked,
            (ready, _) => ready.is_some(),
        };
        let first = if from_ready { ready.pop_first() } else { blocked.pop_first() };
        if !from_ready && first.as_ref().is_some_and(|(_, call)| call.call.is_some()) {
            self.blocked_len.sub();
        }
        self.popped(first)
    }

    fn popped(&self, first: Option<(u64, DeferredCall<C>)>) -> Option<(u64, DeferredCall<C>)> {
        if let Some((position, call)) = &first {
            if call.call.is_some() {
                self.len.sub();
            }
            self.by_recipient.borrow_mut().remove(&(call.recipient, *position));
            self.apart.borrow_mut().remove(&call.key);
        }
        first
    }

    /// Takes the call at `position` out, to be dropped, and keeps that it was canceled.
    pub(super) fn cancel(&self, position: u64) -> Taken<C> {
        let (mut ready, mut blocked) = (self.ready.borrow_mut(), self.blocked.borrow_mut());
        let is_blocked = blocked.contains_key(&position);
        let map = if is_blocked { &mut blocked } else { &mut ready };
        let Some(entry) = map.get_mut(&position) else { return Taken::NotThere };
        match entry.call.take() {
            None => Taken::Already,
            Some(call) => {
                self.len.sub();
                if is_blocked {
                    self.blocked_len.sub();
                } else {
                    let recipient = entry.recipient;
                    drop((ready, blocked));
                    self.unblock_first(recipient);
                }
                Taken::Call(call)
            }
        }
    }

    /// Puts `replacement`, which captures nothing, in the place of the call at `position`, which is
    /// returned. A callback leaves its slot with that.
    pub(super) fn replace(
        &self,
        position: u64,
        replacement: impl FnOnce(&Erased<C>) -> Erased<C>,
    ) -> Option<Erased<C>> {
        let (mut ready, mut blocked) = (self.ready.borrow_mut(), self.blocked.borrow_mut());
        let entry = ready.get_mut(&position).or_else(|| blocked.get_mut(&position))?;
        let new = replacement(entry.call.as_ref()?);
        self.by_recipient.borrow_mut().remove(&(mem::take(&mut entry.recipient), position));
        if entry.key != position {
            self.apart.borrow_mut().insert(entry.key, position);
        }
        entry.call.replace(new)
    }

    /// The positions of the calls to `recipient` that were not released, first to last.
    pub(super) fn positions_of(&self, recipient: u64) -> SmallVec<[u64; 4]> {
        let calls = self.by_recipient.borrow();
        calls.range(all_of(recipient)).map(|(_, position)| *position).collect()
    }

    /// The calls, counted by looking at each.
    #[cfg(feature = "testing")]
    pub(super) fn walk(&self) -> u64 {
        let (ready, blocked) = (self.ready.borrow(), self.blocked.borrow());
        ready.values().chain(blocked.values()).filter(|call| call.call.is_some()).count() as u64
    }
}

/// What `by_recipient` has of a recipient.
const fn all_of(recipient: u64) -> RangeInclusive<(u64, u64)> {
    (recipient, 0)..=(recipient, u64::MAX)
}
