//! The contents of a journal, and the counts of its steps.
//!
//! - I1 `live` holds the calls that were dialed and are not over, each within the one before. A
//!   call that ends takes those within it along, whose ends were not reported.
//! - I2 `live`, `pending` and the texts never hold more than the capacity.
//! - I3 A call that returns without having been seen live was live before the journal was set. What it did
//!   is among the steps from `own` on, which are no older than that.

use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::panic::Location;
use core::time::Duration;
use std::time::Instant;

use crate::id::CallId;
use crate::journal::call_table::CallTable;
use crate::journal::figures::{Figures, StepCounts};
use crate::journal::latency::Latencies;
use crate::journal::ring::{Ring, StepEntry, What};
use crate::journal::texts::{Labeled, Texts};
use crate::op_step::OpStep;
use crate::step::{RecipientInfo, Step};

pub(super) struct Pages {
    pub(super) ring: Ring,
    /// The call that fired the trigger, and when: the ring takes nothing more.
    frozen: Option<(CallId, Instant)>,
    live: Vec<(CallId, Instant)>,
    /// When pending calls were scheduled.
    pending: CallTable<Instant>,
    /// The number of the first step that may be the doing of a call that was live before (I3).
    own: u64,
    pub(super) labels: Texts<Labeled>,
    pub(super) names: Texts<CallId>,
    counts: StepCounts,
    waiting: Latencies,
    handling: Latencies,
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

impl Pages {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            ring: Ring::new(capacity),
            frozen: None,
            live: Vec::new(),
            pending: CallTable::new(capacity),
            own: 0,
            labels: Texts::new(capacity),
            names: Texts::new(capacity),
            counts: StepCounts::default(),
            waiting: Latencies::new(),
            handling: Latencies::new(),
        }
    }

    /// Counts and keeps, unless there are triggers, that a call is created and scheduled.
    #[inline]
    pub(super) fn note_call(
        &mut self,
        at: Instant,
        call: CallId,
        recipient: Option<&RecipientInfo>,
        site: &'static Location<'static>,
    ) {
        let by = self.innermost();
        self.counts.created += 1;
        self.counts.scheduled += 1;
        self.pending.insert(call, at);
        let recipient = recipient.copied();
        self.keep(at, call, by, What::CreatedAndScheduled { recipient, site });
    }

    /// The same of a dial.
    #[inline]
    pub(super) fn note_dialed(&mut self, at: Instant, call: CallId) {
        let by = self.innermost();
        self.dialed(at, call);
        self.keep(at, call, by, What::Call(Step::Dialed));
    }

    /// The same of a handler's return.
    #[inline]
    pub(super) fn note_finished(&mut self, at: Instant, call: CallId) {
        if let Some(since) = self.end_innermost(call) {
            self.counts.finished += 1;
            self.handling.add_between(since, at);
            self.keep(at, call, None, What::Call(Step::Finished));
        } else {
            self.note(at, call, &Step::Finished, true);
        }
    }

    /// Counts any step, and keeps it if `keeps` is true.
    #[inline(never)]
    pub(super) fn note(&mut self, at: Instant, call: CallId, step: &Step, keeps: bool) -> Took {
        let by = match step {
            Step::Finished | Step::Panicked => self.innermost_but(call),
            _ => self.innermost(),
        };
        let took = self.count(at, call, step);
        if keeps && self.frozen.is_none() {
            self.keep(at, call, by, What::Call(*step));
        }
        took
    }

    fn count(&mut self, at: Instant, call: CallId, step: &Step) -> Took {
        let counts = &mut self.counts;
        match step {
            Step::Created { .. } => counts.created += 1,
            Step::Scheduled { .. } => {
                counts.scheduled += 1;
                self.pending.insert(call, at);
            }
            Step::Dialed => return self.dialed(at, call),
            Step::Finished => return self.finished(at, call),
            Step::Panicked => {
                counts.panicked += 1;
                // It was not dialed if its check has panicked.
                if self.pending.remove(call).is_none() {
                    return self.end_live(at, call);
                }
            }
            Step::Canceled { .. } => {
                counts.canceled += 1;
                self.pending.remove(call);
                // It was dialed if an observer panicked then, and dropped the queue.
                self.take_back_live(call);
            }
            Step::LateCancel { .. } => counts.late_cancels += 1,
            // It is still pending.
            Step::Deferred { .. } => {}
            Step::Refused { .. } => {
                counts.refused += 1;
                self.pending.remove(call);
            }
            Step::Abandoned { .. } => counts.abandoned += 1,
            Step::Undrained { .. } => counts.undrained += 1,
        }
        Took::Nothing
    }

    #[inline(always)]
    fn dialed(&mut self, at: Instant, call: CallId) -> Took {
        self.counts.dialed += 1;
        self.begin_live(at, call);
        let since = self.pending.remove(call);
        since.map_or(Took::Nothing, |since| Took::Waiting(self.waiting.add_between(since, at)))
    }

    #[inline]
    fn finished(&mut self, at: Instant, call: CallId) -> Took {
        self.counts.finished += 1;
        self.end_live(at, call)
    }

    /// Counts a step of an operation, and keeps it if `keeps` is true.
    pub(super) fn note_operation(&mut self, at: Instant, call: CallId, step: &OpStep, keeps: bool) {
        if let OpStep::Started { .. } = step {
            self.counts.operations += 1;
        }
        self.keep_other(at, call, What::Operation(*step), keeps);
    }

    /// A call that was dialed is pending again.
    pub(super) fn note_put_back(&mut self, at: Instant, call: CallId, keeps: bool) {
        self.take_back_live(call);
        self.pending.insert(call, at);
        self.keep_other(at, call, What::PutBack, keeps);
    }

    /// Such a call is dialed. (Its wait until the first dial is counted.)
    pub(super) fn note_dialed_again(&mut self, at: Instant, call: CallId, keeps: bool) {
        self.keep_other(at, call, What::DialedAgain, keeps);
        self.pending.remove(call);
        self.begin_live(at, call);
    }

    #[inline]
    fn innermost(&self) -> Option<CallId> {
        self.live.last().map(|(call, _)| *call)
    }

    /// Whose doing the end of a call is; its own goes without saying.
    #[inline]
    fn innermost_but(&self, call: CallId) -> Option<CallId> {
        self.innermost().filter(|innermost| *innermost != call)
    }

    #[inline]
    fn begin_live(&mut self, at: Instant, call: CallId) {
        if self.live.len() == self.ring.capacity() {
            self.live.remove(0); // their ends must have been missed
        }
        self.live.push((call, at));
    }

    /// Ends a live call (I1).
    #[inline]
    fn end_live(&mut self, at: Instant, call: CallId) -> Took {
        match self.end_innermost(call) {
            Some(since) => Took::Handling(self.handling.add_between(since, at)),
            None => self.end_live_outer(at, call),
        }
    }

    /// Ends a call if it is the innermost that is live. Returns when it was dialed.
    #[inline]
    fn end_innermost(&mut self, call: CallId) -> Option<Instant> {
        self.live.pop_if(|(innermost, _)| *innermost == call).map(|(_, since)| since)
    }

    #[cold]
    #[inline(never)]
    fn end_live_outer(&mut self, at: Instant, call: CallId) -> Took {
        self.end_those_in(call);
        if let Some(since) = self.end_innermost(call) {
            return Took::Handling(self.handling.add_between(since, at));
        }
        self.attribute_to(call);
        Took::Nothing
    }

    /// Attributes steps to a call that was live before the journal was set, now that it is known (I3): all
    /// that no other call took, from the first step that was seen of its queue.
    fn attribute_to(&mut self, call: CallId) {
        let own = self.ring.entries_from(self.own);
        for entry in own.skip_while(|entry| entry.call.queue() != call.queue()) {
            entry.by = entry.by.or(Some(call));
        }
        self.own = self.ring.next_step();
    }

    /// Ends what is within a live call.
    fn end_those_in(&mut self, call: CallId) {
        if let Some(depth) = self.live.iter().rposition(|(live, _)| *live == call) {
            self.live.truncate(depth + 1);
        }
    }

    /// A call is not live.
    fn take_back_live(&mut self, call: CallId) {
        self.end_those_in(call);
        self.end_innermost(call);
    }

    #[inline]
    fn keep(&mut self, at: Instant, call: CallId, by: Option<CallId>, what: What) {
        if self.ring.keep(StepEntry { at, call, by, what }) {
            self.forget_texts();
        }
    }

    /// Keeps what is no step of a call, if `keeps` is true.
    fn keep_other(&mut self, at: Instant, call: CallId, what: What, keeps: bool) {
        if keeps && self.frozen.is_none() {
            self.keep(at, call, self.innermost(), what);
        }
    }

    /// Sets the label of a recipient, or releases it: it is dropped with the latest step so far.
    pub(super) fn label(&mut self, recipient: Labeled, label: Option<&str>) {
        match label {
            Some(label) => self.labels.set(recipient, label, self.frozen.is_some()),
            None => {
                self.labels.release(recipient, self.ring.next_step());
                self.forget_texts();
            }
        }
    }

    /// Sets the name of a call, which is dropped with the latest step so far; of none while no steps are
    /// taken, as names of calls that come then would displace those of the calls that are held.
    pub(super) fn name(&mut self, call: CallId, name: &str) {
        if self.frozen.is_some() {
            return;
        }
        self.names.set_until(call, name, self.ring.next_step());
        self.forget_texts();
    }

    /// Drops the texts for steps that were dropped.
    #[cold]
    #[inline(never)]
    pub(super) fn forget_texts(&mut self) {
        let dropped = self.ring.dropped();
        self.labels.forget_before(dropped);
        self.names.forget_before(dropped);
    }

    /// Takes no more steps, since those held have led to `call`.
    pub(super) fn freeze(&mut self, at: Instant, call: CallId) {
        self.frozen.get_or_insert((call, at));
    }

    pub(super) const fn frozen(&self) -> Option<(CallId, Instant)> {
        self.frozen
    }

    /// Takes steps again. Drops those held, as others are missing behind them.
    pub(super) fn resume(&mut self) {
        if self.frozen.take().is_some() {
            self.ring.clear();
            self.labels.resume();
            self.forget_texts();
        }
    }

    /// Forgets the calls of a queue that are not over, whose further steps are not reported.
    pub(super) fn forget(&mut self, at: Instant, queue: NonZeroU64) {
        self.keep_other(at, CallId::new(queue, 0), What::Removed, true);
        self.live.retain(|(call, _)| call.queue() != queue);
        self.pending.retain(|call| call.queue() != queue);
        self.own = self.ring.next_step();
        self.labels.release_all(self.ring.next_step(), |(of, _)| *of == queue);
    }

    /// How many calls are pending and live, of those that were seen.
    pub(super) fn watched(&self) -> (usize, usize) {
        (self.pending.len(), self.live.len())
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            counts: self.counts,
            waiting: self.waiting.read(),
            handling: self.handling.read(),
            dropped_steps: self.ring.dropped(),
        }
    }
}
