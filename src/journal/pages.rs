//! The ring of a journal, and the counts of its steps.
//!
//! - I1 `live` holds the calls that were dialed and are not over, each within the one before. A
//!   call that ends takes those within it along, whose ends were not reported.
//! - I2 `pending` holds no more than the capacity: once there are many, a call is taken out with the step
//!   that scheduled it. So the memory is bounded even if the journal misses how calls end.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;
use std::time::Instant;

use crate::id::{CallId, Named};
use crate::journal::latency::{Latencies, Latency};
use crate::journal::map::Map;
use crate::journal::texts::Texts;
use crate::op_step::OpStep;
use crate::step::{RecipientInfo, Step};

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
    /// The entries; those before `oldest` are the latest.
    entries: Vec<StepEntry>,
    oldest: usize,
    dropped: u64,
    /// The call that fired the trigger: the ring takes nothing more.
    frozen: Option<CallId>,
    live: Vec<(CallId, Instant)>,
    /// When pending calls were scheduled (I2).
    pending: Map<CallId, Instant>,
    pub(super) labels: Texts<RecipientInfo>,
    pub(super) names: Texts<CallId>,
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
            frozen: None,
            live: Vec::new(),
            pending: Map::default(),
            labels: Texts::new(capacity),
            names: Texts::new(capacity),
            counts: StepCounts::default(),
            waiting: Latencies::new(),
            handling: Latencies::new(),
        }
    }

    /// When the previous step was reported, if no other step can lie between: a call that is created
    /// and scheduled in one go.
    pub(super) fn same_moment(&self, call: CallId) -> Option<Instant> {
        let latest = self.oldest.checked_sub(1).unwrap_or(self.entries.len().wrapping_sub(1));
        let before = self.entries.get(latest).filter(|before| before.call == call)?;
        let is_created = matches!(before.what, What::Call(Step::Created { .. }));
        let in_one_go = is_created && matches!(call.named(), Named::Position(_));
        (in_one_go && self.frozen.is_none()).then_some(before.at)
    }

    /// Counts a step, and keeps it if `keeps` is true. Returns how long the call has waited, if it is
    /// dialed, or how long its handler has run, if that is over.
    #[inline]
    pub(super) fn note(&mut self, at: Instant, call: CallId, what: What, keeps: bool) -> Took {
        let by = self.live.last().map(|(live, _)| *live).filter(|live| {
            // The end of a call is its own doing, which goes without saying.
            *live != call || !matches!(what, What::Call(Step::Finished | Step::Panicked))
        });
        let keeps = keeps && self.frozen.is_none();
        let took = match &what {
            What::Call(step) => self.count(at, call, step, keeps),
            What::Operation(OpStep::Started { .. }) => {
                self.counts.operations += 1;
                Took::Nothing
            }
            What::Operation(_) => Took::Nothing,
        };
        if keeps {
            self.keep(StepEntry { at, call, by, what });
        }
        took
    }

    #[inline]
    fn keep(&mut self, entry: StepEntry) {
        if self.entries.len() < self.capacity {
            self.entries.push(entry);
            return;
        }
        let oldest = &mut self.entries[self.oldest];
        if self.pending.len() > self.capacity / 4
            && let What::Call(Step::Scheduled { .. }) = oldest.what
        {
            self.pending.remove(&oldest.call);
        }
        *oldest = entry;
        self.oldest = if self.oldest + 1 == self.capacity { 0 } else { self.oldest + 1 };
        self.dropped += 1;
        self.labels.forget_before(self.dropped);
        self.names.forget_before(self.dropped);
    }

    /// The number of the next step.
    pub(super) const fn next_step(&self) -> u64 {
        self.dropped + self.entries.len() as u64
    }

    /// Takes no more steps, since those held have led to `call`.
    pub(super) fn freeze(&mut self, call: CallId) {
        self.frozen.get_or_insert(call);
    }

    pub(super) const fn frozen(&self) -> Option<CallId> {
        self.frozen
    }

    /// Takes steps again. Drops those held, as others are missing behind them.
    pub(super) fn resume(&mut self) {
        if self.frozen.take().is_some() {
            self.dropped += self.entries.len() as u64;
            self.entries.clear();
            self.oldest = 0;
            self.pending.clear();
            self.labels.forget_before(self.dropped);
            self.names.forget_before(self.dropped);
        }
    }

    #[inline]
    fn count(&mut self, at: Instant, call: CallId, step: &Step, keeps: bool) -> Took {
        let counts = &mut self.counts;
        match step {
            Step::Created { .. } => counts.created += 1,
            Step::Scheduled { .. } => {
                counts.scheduled += 1;
                if keeps {
                    self.pending.insert(call, at);
                }
            }
            Step::Dialed => {
                counts.dialed += 1;
                if self.live.len() == self.capacity {
                    self.live.remove(0); // their ends must have been missed
                }
                self.live.push((call, at));
                if let Some(since) = self.pending.remove(&call) {
                    let waited = at.saturating_duration_since(since);
                    self.waiting.add(waited);
                    return Took::Waiting(waited);
                }
            }
            Step::Finished => {
                counts.finished += 1;
                return self.hang_up(at, call);
            }
            Step::Panicked => {
                counts.panicked += 1;
                // It was not dialed if its check has panicked.
                self.pending.remove(&call);
                return self.hang_up(at, call);
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
        Took::Nothing
    }

    /// Forgets the calls of a queue that are not over, whose further steps are not reported.
    pub(super) fn forget(&mut self, queue: NonZeroU64) {
        self.live.retain(|(call, _)| call.queue() != queue);
        self.pending.retain(|call, _| call.queue() != queue);
        self.pending.shrink_to_fit();
        self.labels.release_all(self.next_step());
    }

    /// Ends a live call (I1).
    #[inline]
    fn hang_up(&mut self, at: Instant, call: CallId) -> Took {
        let Some(depth) = self.live.iter().rposition(|(live, _)| *live == call) else {
            return Took::Nothing;
        };
        let handled = at.saturating_duration_since(self.live[depth].1);
        self.handling.add(handled);
        self.live.truncate(depth);
        Took::Handling(handled)
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

/// What a step has shown about time.
#[derive(Clone, Copy)]
pub(super) enum Took {
    Nothing,
    /// From schedule to dial.
    Waiting(Duration),
    /// From dial to return or unwind.
    Handling(Duration),
}

/// What a [`Journal`](super::Journal) has seen since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// How many calls took each step.
    pub counts: StepCounts,
    /// From schedule to dial. Of very many that are pending at a time, only of those whose schedule the
    /// journal still held.
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
