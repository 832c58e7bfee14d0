//! A copy of a journal, put in order.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;
use std::time::SystemTime;

use crate::id::CallId;
use crate::journal::filter::LeftOut;
use crate::journal::loop_log::TurnRecord;
use crate::journal::map::Map;
use crate::journal::records::{CallRecord, End, Moment, OpEnd, OperationRecord};
use crate::journal::ring::What;
use crate::journal::snapshot::Snapshot;
use crate::op_step::OpStep;
use crate::step::Step;

/// The contents of a [`Journal`](super::Journal) at an instant.
///
/// It is `Send`: another thread may search it, and write it.
#[derive(Clone)]
pub struct History {
    calls: Vec<CallRecord>,
    places: Map<CallId, usize>,
    operations: Vec<OperationRecord>,
    operation_places: Map<CallId, usize>,
    turns: Vec<TurnRecord>,
    /// For each queue that the journal was removed from, how many steps there were before.
    removed: Map<NonZeroU64, usize>,
    dropped: u64,
    now: Duration,
    is_stopped: bool,
    left_out: LeftOut,
    date: Option<SystemTime>,
}

impl History {
    fn read(snapshot: Snapshot) -> Self {
        let Snapshot { entries, labels, names, loop_log, .. } = snapshot;
        let Snapshot { dropped, start, date, now, is_stopped, left_out, .. } = snapshot;
        let first = entries.first().filter(|_| dropped > 0).map(|entry| entry.at);
        let mut history = Self {
            calls: Vec::new(),
            places: Map::default(),
            operations: Vec::new(),
            operation_places: Map::default(),
            turns: loop_log.turns(start, first),
            removed: Map::default(),
            dropped,
            date,
            now: now.saturating_duration_since(start),
            is_stopped,
            left_out,
        };
        for (place, entry) in entries.iter().enumerate() {
            let at = entry.at.saturating_duration_since(start);
            let moment = Moment { at, by: entry.by, site: None, place };
            match &entry.what {
                What::Call(step) => history.call_mut(entry.call).take(moment, step),
                What::CreatedAndScheduled { recipient, site } => {
                    let call = history.call_mut(entry.call);
                    call.take(moment, &Step::Created { recipient: *recipient, site });
                    call.take(moment, &Step::Scheduled { site });
                }
                What::Operation(step) => history.operation_mut(entry.call).take(moment, step),
                What::PutBack => history.call_mut(entry.call).dialed = None,
                What::DialedAgain => history.call_mut(entry.call).dialed = Some(moment),
                What::Removed => _ = history.removed.insert(entry.call.queue(), place),
            }
        }
        history.link_layers();
        for call in &mut history.calls {
            call.label = call
                .recipient
                .and_then(|recipient| labels.get(&(call.id.queue(), recipient)).cloned());
            call.named = names.get(&call.id).cloned();
        }
        for (call, origin) in loop_log.into_origins() {
            if let Some(place) = history.places.get(&call) {
                history.calls[*place].origin = Some(origin);
            }
        }
        history
    }

    fn call_mut(&mut self, id: CallId) -> &mut CallRecord {
        let place = *self.places.entry(id).or_insert(self.calls.len());
        if place == self.calls.len() {
            self.calls.push(CallRecord::new(id));
        }
        &mut self.calls[place]
    }

    fn operation_mut(&mut self, id: CallId) -> &mut OperationRecord {
        let place = *self.operation_places.entry(id).or_insert(self.operations.len());
        if place == self.operations.len() {
            self.operations.push(OperationRecord::new(id));
        }
        &mut self.operations[place]
    }

    /// An operation that another one waits for is a lower layer of that.
    fn link_layers(&mut self) {
        for place in 0..self.operations.len() {
            let upper = self.operations[place].id;
            for wait in 0..self.operations[place].waits_for.len() {
                let (_, lower) = self.operations[place].waits_for[wait];
                if lower != upper
                    && let Some(lower) = self.operation_places.get(&lower)
                {
                    self.operations[*lower].upper = Some(upper);
                }
            }
        }
    }

    /// Returns all calls, in the order in which they were first seen.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// let history = journal.history();
    /// // The calls that waited longest, for a report:
    /// let mut calls: Vec<_> = history.calls().iter().collect();
    /// calls.sort_by_key(|call| call.waiting());
    /// assert!(calls[0].ended.is_some());
    /// ```
    pub fn calls(&self) -> &[CallRecord] {
        &self.calls
    }

    /// Returns one call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::{End, Journal};
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let id = queue.call(|_| ());
    /// queue.cancel(id, "not needed");
    /// let history = journal.history();
    /// let call = history.call(id).expect("the journal has it");
    /// assert!(matches!(call.ended, Some((_, End::Canceled { reason: "not needed" }))));
    /// ```
    pub fn call(&self, id: CallId) -> Option<&CallRecord> {
        self.place(id).map(|place| &self.calls[place])
    }

    /// The place of a call among all.
    pub(super) fn place(&self, id: CallId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// Returns all operations, in the order in which they were first seen.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # use switchboard::op::{OpResult, Operation};
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let done = queue.callback(|_, _: OpResult<u32, String>| ());
    /// let operation = Operation::new(done, (), |_| ());
    /// operation.complete(Ok(7)).expect("it runs");
    /// queue.dial_all();
    /// let history = journal.history();
    /// let slowest = history.operations().iter().max_by_key(|operation| operation.duration());
    /// assert!(slowest.is_some());
    /// ```
    pub fn operations(&self) -> &[OperationRecord] {
        &self.operations
    }

    /// Returns one operation, by the call that delivers its result.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # use switchboard::op::{OpResult, Operation};
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let done = queue.callback(|_, _: OpResult<u32, String>| ());
    /// let id = done.id(); // names the operation
    /// let operation = Operation::new(done, (), |_| ());
    /// assert!(journal.history().operation(id).is_some_and(|record| record.ended.is_none()));
    /// # operation.complete(Ok(7)).expect("it runs");
    /// # queue.dial_all();
    /// ```
    pub fn operation(&self, id: CallId) -> Option<&OperationRecord> {
        self.operation_places.get(&id).map(|place| &self.operations[*place])
    }

    /// Returns the turns in which calls had their turn, by when they ended; those in progress come last.
    pub fn turns(&self) -> &[TurnRecord] {
        &self.turns
    }

    /// Returns the turn in which a call was dialed or refused, if that is known.
    pub fn turn_of(&self, id: CallId) -> Option<&TurnRecord> {
        let call = self.call(id)?;
        let came = call.dialed.or_else(|| match call.ended? {
            (moment, End::Refused { .. }) => Some(moment),
            _ => None,
        })?;
        let step = self.dropped + came.place as u64;
        let first = self.turns.partition_point(|turn| turn.steps.1 <= step);
        self.turns[first..].iter().find(|turn| turn.queue == id.queue() && turn.steps.0 <= step)
    }

    /// Returns the chain of causes of a call: the live call that scheduled it, the call that scheduled
    /// that one, and so on. It ends where one was scheduled from outside any call, or where the history
    /// begins.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let request = queue.call(|queue| {
    ///     queue.call(|_| ());
    /// });
    /// queue.dial_all();
    /// let history = journal.history();
    /// let reply = history.calls()[1].id;
    /// assert_eq!(history.causes(reply), [request]);
    /// ```
    pub fn causes(&self, id: CallId) -> Vec<CallId> {
        let mut causes = Vec::new();
        let mut call = id;
        while let Some(by) = self.call(call).and_then(CallRecord::cause).and_then(|cause| cause.by)
            && by != id
            && causes.len() <= self.calls.len()
        {
            causes.push(by);
            call = by;
        }
        causes
    }

    /// Returns the calls that a call caused directly: those that were scheduled while it was live, and the
    /// callbacks that were created then and never scheduled (see [`CallRecord::cause`]).
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let request = queue.call(|queue| {
    ///     queue.call(|_| ());
    ///     queue.call(|_| ());
    /// });
    /// queue.dial_all();
    /// assert_eq!(journal.history().effects(request).len(), 2);
    /// ```
    pub fn effects(&self, id: CallId) -> Vec<CallId> {
        let caused = |call: &&CallRecord| call.cause().is_some_and(|cause| cause.by == Some(id));
        self.calls.iter().filter(caused).map(|call| call.id).collect()
    }

    /// Returns the number of steps that the journal had dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().keep(2).install(&queue);
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// let history = journal.history();
    /// assert_eq!(history.dropped_steps(), 1); // "created and scheduled" was the oldest
    /// ```
    pub const fn dropped_steps(&self) -> u64 {
        self.dropped
    }

    /// Returns the date at which the journal began, unless it reads a clock that was set.
    pub const fn date(&self) -> Option<SystemTime> {
        self.date
    }

    /// Returns when the copy was made, since the journal began. If a trigger had fired, it is when that did,
    /// as nothing is known of the time after.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let id = queue.call(|_| ());
    /// let history = journal.history();
    /// // For how long has the call been pending?
    /// let scheduled = history.call(id).and_then(|call| call.scheduled).expect("it is pending");
    /// assert!(history.now() >= scheduled.at);
    /// ```
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Whether [`now`](Self::now) is when a trigger fired.
    pub(super) const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Whether it is not known if a call has ended.
    pub(super) fn is_end_unknown(&self, call: &CallRecord) -> bool {
        let was_seen = call.is_unscheduled() || call.scheduled.is_some() || call.dialed.is_some();
        let is_known = was_seen && !self.left_out.steps && !self.was_removed_before_end(call);
        call.ended.is_none() && !is_known
    }

    /// Whether the journal was removed from the queue of a call that it has not seen to its end.
    pub(super) fn was_removed_before_end(&self, call: &CallRecord) -> bool {
        let seen = [call.created, call.scheduled, call.dialed].into_iter().flatten();
        let seen = seen.chain(call.deferred.iter().map(|(moment, _)| *moment));
        call.ended.is_none() && self.was_removed_since(call.id, seen)
    }

    /// Whether the journal was removed from the queue of a call or operation after the latest of these steps,
    /// and so may have missed its end.
    pub(super) fn was_removed_since(
        &self,
        id: CallId,
        steps: impl IntoIterator<Item = Moment>,
    ) -> bool {
        let latest = steps.into_iter().map(|moment| moment.place).max();
        self.removed.get(&id.queue()).is_some_and(|removed| Some(*removed) > latest)
    }

    pub(super) const fn left_out(&self) -> LeftOut {
        self.left_out
    }
}

impl Snapshot {
    /// Puts the steps in order, and returns the history.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// queue.call(|_| ());
    /// let snapshot = journal.snapshot();
    /// // Another thread puts it in order, so that the loop does not wait for that.
    /// let calls = std::thread::spawn(move || snapshot.into_history().calls().len());
    /// assert_eq!(calls.join().expect("no panic"), 1);
    /// ```
    pub fn into_history(self) -> History {
        History::read(self)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, operations) = (self.calls.len(), self.operations.len());
        write!(f, "History({calls} calls, {operations} operations, {} dropped)", self.dropped)
    }
}

impl CallRecord {
    fn take(&mut self, moment: Moment, step: &Step) {
        let at = |site| Some(Moment { site: Some(site), ..moment });
        match *step {
            Step::Created { recipient, site } => {
                self.recipient = recipient;
                self.created = at(site);
            }
            Step::Scheduled { site } => self.scheduled = at(site),
            Step::Dialed => self.dialed = Some(moment),
            Step::Finished => self.ended = Some((moment, End::Finished)),
            Step::Panicked => self.ended = Some((moment, End::Panicked)),
            Step::Canceled { reason } => self.ended = Some((moment, End::Canceled { reason })),
            Step::LateCancel { reason } => self.late_cancels.push((moment, reason)),
            Step::Deferred { live, site, .. } => {
                self.deferred.push((Moment { site: Some(site), ..moment }, live));
            }
            Step::Refused { refusal, .. } => self.ended = Some((moment, End::Refused { refusal })),
            Step::Abandoned { .. } => self.ended = Some((moment, End::Abandoned)),
            Step::Undrained { site, .. } => self.undrained = at(site),
        }
    }
}

impl OperationRecord {
    fn take(&mut self, moment: Moment, step: &OpStep) {
        let at = |site| Some(Moment { site: Some(site), ..moment });
        match *step {
            OpStep::Started { context, site } => {
                self.context = context;
                self.started = at(site);
            }
            OpStep::WaitsFor { call } => self.waits_for.push((moment, call)),
            OpStep::Canceling { site } => self.canceling = at(site),
            OpStep::Completed { outcome } => {
                self.ended = Some((moment, OpEnd::Completed { outcome }));
            }
            OpStep::Declined { reason } => self.ended = Some((moment, OpEnd::Declined { reason })),
        }
    }
}
