//! The ring of a journal, and what is counted as steps come in.
//!
//! - I1 `live` holds the calls that were dialed and are not over, each within the one before. A
//!   call that ends takes those within it along, whose ends were not reported.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};
use core::num::NonZeroU64;
use std::collections::HashMap;
use std::time::Instant;

use crate::id::CallId;
use crate::journal::latency::{Latencies, Latency};
use crate::op_step::OpStep;
use crate::step::Step;

/// One step, as it was reported.
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
    Operation(OpStep),
}

pub(super) struct Pages {
    capacity: usize,
    /// As many entries as there is room for, those before `oldest` being the latest.
    entries: Vec<StepEntry>,
    oldest: usize,
    dropped: u64,
    live: Vec<(CallId, Instant)>,
    /// When pending calls were scheduled.
    pending: Map<CallId, Instant>,
    counts: StepCounts,
    waiting: Latencies,
    handling: Latencies,
}

impl Pages {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Vec::new(),
            oldest: 0,
            dropped: 0,
            live: Vec::new(),
            pending: Map::default(),
            counts: StepCounts::default(),
            waiting: Latencies::new(),
            handling: Latencies::new(),
        }
    }

    pub(super) fn note(&mut self, at: Instant, call: CallId, what: What) {
        let by = self.live.last().map(|(live, _)| *live).filter(|live| {
            // The end of a call is its own doing, which goes without saying.
            *live != call || !matches!(what, What::Call(Step::Finished | Step::Panicked))
        });
        match &what {
            What::Call(step) => self.count(at, call, step),
            What::Operation(OpStep::Started { .. }) => self.counts.operations += 1,
            What::Operation(_) => {}
        }
        let entry = StepEntry { at, call, by, what };
        if self.entries.len() < self.capacity {
            self.entries.push(entry);
        } else {
            self.entries[self.oldest] = entry;
            self.oldest = (self.oldest + 1) % self.capacity;
            self.dropped += 1;
        }
    }

    fn count(&mut self, at: Instant, call: CallId, step: &Step) {
        let counts = &mut self.counts;
        match step {
            Step::Created { .. } => counts.created += 1,
            Step::Scheduled { .. } => {
                counts.scheduled += 1;
                self.pending.insert(call, at);
            }
            Step::Dialed => {
                counts.dialed += 1;
                self.live.push((call, at));
                if let Some(since) = self.pending.remove(&call) {
                    self.waiting.add(at.saturating_duration_since(since));
                }
            }
            Step::Finished => {
                counts.finished += 1;
                self.hang_up(at, call);
            }
            Step::Panicked => {
                counts.panicked += 1;
                // It was not dialed if its check has panicked.
                self.pending.remove(&call);
                self.hang_up(at, call);
            }
            Step::Canceled { .. } => {
                counts.canceled += 1;
                self.pending.remove(&call);
            }
            Step::LateCancel { .. } => counts.late_cancels += 1,
            // It is still pending.
            Step::Deferred { .. } => {}
            Step::Refused { .. } => {
                counts.refused += 1;
                self.pending.remove(&call);
            }
            Step::Abandoned { .. } => counts.abandoned += 1,
            Step::Undrained { .. } => counts.undrained += 1,
        }
    }

    /// Forgets the calls of a queue that are not over, whose further steps are not reported.
    pub(super) fn forget(&mut self, queue: NonZeroU64) {
        self.live.retain(|(call, _)| call.queue() != queue);
        self.pending.retain(|call, _| call.queue() != queue);
        self.pending.shrink_to_fit();
    }

    /// Ends a live call (I1).
    fn hang_up(&mut self, at: Instant, call: CallId) {
        if let Some(depth) = self.live.iter().rposition(|(live, _)| *live == call) {
            self.handling.add(at.saturating_duration_since(self.live[depth].1));
            self.live.truncate(depth);
        }
    }

    /// All entries, the oldest first.
    pub(super) fn entries(&self) -> Vec<StepEntry> {
        let (latest, oldest) = self.entries.split_at(self.oldest);
        [oldest, latest].concat()
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many calls are pending and live, of those that were seen.
    pub(super) fn watched(&self) -> (usize, usize) {
        (self.pending.len(), self.live.len())
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn figures(&self) -> Figures {
        let (waiting, handling) = (self.waiting.read(), self.handling.read());
        Figures { counts: self.counts, waiting, handling, dropped_steps: self.dropped }
    }
}

/// What a [`Journal`](super::Journal) has seen since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// How many calls took each step.
    pub counts: StepCounts,
    /// From schedule to dial.
    pub waiting: Latency,
    /// From dial to return or unwind, nested calls included.
    pub handling: Latency,
    /// Steps that the journal does not hold any more.
    pub dropped_steps: u64,
}

/// How many calls took each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepCounts {
    /// Calls created.
    pub created: u64,
    /// Calls scheduled.
    pub scheduled: u64,
    /// Calls dialed.
    pub dialed: u64,
    /// Calls whose handler returned.
    pub finished: u64,
    /// Calls canceled before they were dialed.
    pub canceled: u64,
    /// Attempts to cancel a call too late.
    pub late_cancels: u64,
    /// Calls refused.
    pub refused: u64,
    /// Callbacks dropped without being called.
    pub abandoned: u64,
    /// Calls whose handler unwound.
    pub panicked: u64,
    /// Readiness calls whose handler did not drain its source.
    pub undrained: u64,
    /// Operations started.
    pub operations: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepCounts { created, scheduled, dialed, finished, canceled, .. } = self.counts;
        let StepCounts { late_cancels, refused, abandoned, panicked, operations, .. } = self.counts;
        writeln!(
            f,
            "calls       {created} created, {scheduled} scheduled, {dialed} dialed, \
             {finished} finished"
        )?;
        writeln!(
            f,
            "            {canceled} canceled, {refused} refused, {abandoned} abandoned, \
             {panicked} panicked, {late_cancels} canceled too late"
        )?;
        writeln!(f, "operations  {operations} started")?;
        writeln!(f, "waiting     {}", self.waiting)?;
        write!(f, "handlers    {}", self.handling)
    }
}

/// A map by ids, which nobody chooses in order to collide.
pub(super) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Mixes the words of an id.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
