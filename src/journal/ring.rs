//! The latest steps, as they were reported.

use alloc::vec::Vec;
use core::panic::Location;
use std::time::Instant;

use crate::id::CallId;
use crate::op_step::OpStep;
use crate::step::{RecipientInfo, Step};

/// One step.
#[derive(Clone, Copy)]
pub(super) struct StepEntry {
    pub(super) at: Instant,
    pub(super) call: CallId,
    /// The call that was live, so whose doing it is.
    pub(super) by: Option<CallId>,
    pub(super) what: What,
}

/// What the journal's documentation promises.
const _: () = assert!(size_of::<StepEntry>() <= 96, "a step takes 96 bytes");

#[derive(Clone, Copy)]
pub(super) enum What {
    Call(Step),
    /// Two steps of a call at once.
    CreatedAndScheduled {
        recipient: Option<RecipientInfo>,
        site: &'static Location<'static>,
    },
    Operation(OpStep),
    /// An observer panicked as the call was dialed: it is pending again.
    PutBack,
    /// That call is dialed.
    DialedAgain,
    /// The journal was removed from the queue of the call, which is none of the queue's.
    Removed,
}

/// The latest steps, up to the capacity. They are numbered from 0 on, in the order in which they are
/// reported.
pub(super) struct Ring {
    capacity: usize,
    entries: Vec<StepEntry>,
    /// Where the next step goes: behind the others or, if the ring is full, in the place of the oldest.
    next: usize,
    /// The number of the step that the lap began with.
    lap: u64,
}

impl Ring {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { capacity, entries: Vec::new(), next: 0, lap: 0 }
    }

    /// Keeps a step. Returns whether it was the last one of a lap.
    #[inline]
    pub(super) fn keep(&mut self, entry: StepEntry) -> bool {
        match self.entries.get_mut(self.next) {
            Some(oldest) => *oldest = entry,
            None => self.entries.push(entry),
        }
        self.next += 1;
        let ends = self.next == self.capacity;
        if ends {
            self.lap += self.next as u64;
            self.next = 0;
        }
        ends
    }

    /// Drops all steps.
    pub(super) fn clear(&mut self) {
        self.lap = self.next_step();
        self.entries.clear();
        self.next = 0;
    }

    /// The number of the next step.
    pub(super) const fn next_step(&self) -> u64 {
        self.lap + self.next as u64
    }

    /// How many steps were dropped.
    pub(super) const fn dropped(&self) -> u64 {
        self.next_step() - self.entries.len() as u64
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The steps from that of a number on, the oldest first.
    pub(super) fn entries_from(&mut self, step: u64) -> impl Iterator<Item = &mut StepEntry> {
        let skipped = usize::try_from(step.saturating_sub(self.dropped())).unwrap_or(usize::MAX);
        let (latest, oldest) = self.entries.split_at_mut(self.next);
        oldest.iter_mut().chain(latest).skip(skipped)
    }

    /// All steps, the oldest first.
    pub(super) fn entries(&self) -> Vec<StepEntry> {
        let (latest, oldest) = self.entries.split_at(self.next);
        [oldest, latest].concat()
    }
}
