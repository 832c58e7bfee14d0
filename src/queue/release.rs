//! The captures that a recipient releases when it is hung up: those of its waiting callbacks and of its
//! pending calls. The calls stay pending, and are refused when the queue reaches them (rule R9).
//!
//! Callbacks are in a list of their recipient's. Other calls are found by an index of recipients, which
//! is built when it pays: so many recipients can be dropped while many calls are pending, and
//! scheduling costs no more.

use alloc::vec::Vec;
use core::mem;

use crate::erased::cells::Group;
use crate::erased::{Erased, Payload, Site};
use crate::queue::attempt::Attempt;
use crate::queue::listener::flag;
use crate::queue::recipient_index::RecipientIndex;
use crate::queue::state::{Core, Dialing};
use crate::step::Refusal;
use crate::unwind::to_the_end;

/// So many positions are looked at one by one.
const FEW: u64 = 256;

/// The rest of a call whose recipient is gone.
struct Released;

impl Payload<Dialing> for Released {
    fn dial(self, attempt: &mut Attempt<'_>, site: Site) {
        attempt.refuse(Refusal::Gone, site);
    }
}

impl Core {
    /// Drops what the callbacks to `recipient` and the pending calls to it captured, even if one of these
    /// drops panics.
    pub(crate) fn release_captures(&self, callbacks: &Group, recipient: u64) {
        let mut calls = Vec::new();
        let mut deferred = self.deferred.positions_of(recipient);
        deferred.reverse();
        let mut has_looked = false;
        to_the_end(|| {
            if let Some(_released) = self.release_next(callbacks) {
                self.unwanted.add();
                return true;
            }
            if let Some(position) = deferred.pop() {
                let _released =
                    self.deferred.replace(position, |call| Erased::new(Released, call.site()));
                return true;
            }
            if !mem::replace(&mut has_looked, true) {
                calls = self.positions_of(recipient);
                // First to last.
                calls.reverse();
            }
            let Some(position) = calls.pop() else { return false };
            // What dropped before may have dialed or canceled it.
            if self.calls().recipient_at(position) == recipient
                && let Some(site) = self.calls().site_at(position)
            {
                let _released = self.calls().replace(position, Erased::new(Released, site));
            }
            true
        });
    }

    /// Drops what callbacks captured that were made of a recipient that was gone before.
    pub(crate) fn release_callbacks(&self, callbacks: &Group) {
        to_the_end(|| {
            let released = self.release_next(callbacks);
            if released.is_some() {
                self.unwanted.add();
            }
            released.is_some()
        });
    }

    /// The positions of the pending calls to `recipient`, first to last.
    fn positions_of(&self, recipient: u64) -> Vec<u64> {
        let RecipientIndex { sorted, end } = &self.index;
        let (head, tail) = (self.calls().head(), self.calls().tail());
        if end.get() <= head {
            sorted.take();
        }
        let mut begin = end.get().clamp(head, tail);
        if tail - begin > FEW.max(sorted.borrow().len() as u64) {
            let all = (head..tail).map(|position| (self.calls().recipient_at(position), position));
            let mut all: Vec<_> = all.filter(|(recipient, _)| *recipient != 0).collect();
            all.sort_unstable();
            sorted.replace(all);
            end.set(tail);
            self.raise(flag::INDEXED);
            begin = tail;
        }
        let sorted = sorted.borrow();
        let first = sorted.partition_point(|entry| *entry < (recipient, head));
        let indexed = sorted[first..].iter().take_while(|(of, _)| *of == recipient);
        let indexed = indexed.map(|(_, position)| *position);
        let others = (begin..tail).filter(|at| self.calls().recipient_at(*at) == recipient);
        indexed.chain(others).collect()
    }

    /// Frees the index once all calls in it are over.
    pub(super) fn trim_index(&self) {
        let RecipientIndex { sorted, end } = &self.index;
        if end.get() <= self.calls().head() {
            sorted.take();
            self.lower(flag::INDEXED);
        }
    }
}
