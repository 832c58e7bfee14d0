//! The story of one call, in a few lines.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::num::NonZeroU64;

use crate::id::{CallId, Named};
use crate::journal::history::History;
use crate::journal::records::{CallRecord, End, Moment, OperationRecord};
use crate::journal::time::Shown;
use crate::step::Refusal;

mod words;

/// How many causes are named of a chain.
const CAUSES: usize = 8;

impl History {
    /// Returns the story of a call, as [`Journal::explain`](super::Journal::explain).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// queue.call(|_| ());
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// // Many stories from one copy of the steps:
    /// let history = journal.history();
    /// for call in history.calls() {
    ///     println!("{}", history.explain(call.id));
    /// }
    /// # assert_eq!(history.calls().len(), 2);
    /// ```
    pub fn explain(&self, id: CallId) -> Story {
        let mut writer = Writer { history: self, queue: id.queue(), text: String::new() };
        // Writing to a string does not fail.
        let _ = writer.write(id);
        Story(writer.text)
    }
}

/// The life of a call, to be printed: a line for each step, indented below the first, which names the call.
/// Control characters in labels and names are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story(String);

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

struct Writer<'a> {
    history: &'a History,
    /// That of the call. Ids of calls in another one look the same.
    queue: NonZeroU64,
    text: String,
}

impl Writer<'_> {
    fn write(&mut self, id: CallId) -> fmt::Result {
        let history = self.history;
        let operation = history.operation(id);
        let Some(call) = history.call(id) else {
            self.unindented_line(format_args!("call {id}"))?;
            self.line(format_args!("{}", self.missing("not a step of it is known")))?;
            return operation.map_or(Ok(()), |operation| self.operation(operation));
        };
        self.unindented_line(format_args!("call {}", call.name()))?;
        self.beginning(call)?;
        self.end(call)?;
        for (late, reason) in &call.late_cancels {
            let by = self.by(late);
            self.line(format_args!("canceled too late,{by}, which changes nothing: {reason}"))?;
        }
        if let Some(site) = call.undrained.and_then(|undrained| undrained.site) {
            self.line(format_args!(
                "stopped before its source would block, which may be reported no more"
            ))?;
            self.line(format_args!("the source was registered at {site}"))?;
        }
        self.consequences(call)?;
        if let Some(operation) = operation {
            self.operation(operation)?;
        }
        Ok(())
    }

    fn beginning(&mut self, call: &CallRecord) -> fmt::Result {
        match (&call.created, &call.scheduled) {
            // All calls but callbacks are created and scheduled in one go.
            (Some(_), Some(scheduled)) if matches!(call.id.named(), Named::Position(_)) => {
                let (at, by) = (self.at(scheduled), self.cause(call, scheduled));
                self.line(format_args!("created and scheduled {at}{by}"))?;
            }
            (created, scheduled) => {
                if let Some(created) = created {
                    let (at, by) = (self.at(created), self.by(created));
                    self.line(format_args!("created {at}{by}"))?;
                } else {
                    self.line(format_args!("{}", self.missing("its beginning is not known")))?;
                }
                if let Some(scheduled) = scheduled {
                    let (at, by) = (self.at(scheduled), self.cause(call, scheduled));
                    let later = created.map_or_else(String::new, |created| {
                        format!(", {} later", Shown(scheduled.at.saturating_sub(created.at)))
                    });
                    self.line(format_args!("scheduled {at}{by}{later}"))?;
                }
            }
        }
        if let (Some(scheduled), Some(dialed), Some(waited)) =
            (&call.scheduled, &call.dialed, call.waiting().map(Shown))
        {
            let ahead = self.ahead(call.id, scheduled, dialed);
            let rest = self.rest_of_cause(scheduled, dialed);
            self.line(format_args!("waited {waited},{rest} {ahead}"))?;
        }
        for (_, live) in &call.deferred {
            let live = self.name(*live);
            self.line(format_args!("deferred: its recipient was live with call {live}"))?;
        }
        if let Some(dialed) = &call.dialed {
            let turn = self.turn(call);
            match dialed.by {
                Some(outer) => {
                    let outer = self.name(outer);
                    self.line(format_args!(
                        "dialed{turn} while call {outer} was live: nested in it"
                    ))?;
                }
                None => self.line(format_args!("dialed{turn}"))?,
            }
        }
        Ok(())
    }

    fn end(&mut self, call: &CallRecord) -> fmt::Result {
        let now = self.history.now();
        let Some((moment, end)) = &call.ended else {
            let (when, is) = match self.history.is_stopped() {
                true => ("when a trigger stopped the journal", "was"),
                false => ("now", "is"),
            };
            return match (&call.dialed, &call.scheduled) {
                // It may be over.
                _ if self.history.was_removed_before_end(call) => self.line(format_args!(
                    "its end is not known: the journal was removed from its queue"
                )),
                _ if self.history.left_out().steps => {
                    self.line(format_args!("{}", self.missing("its end is not known")))
                }
                (Some(dialed), _) => {
                    let since = Shown(now.saturating_sub(dialed.at));
                    self.line(format_args!("live for {since} {when}: its handler {is} running"))
                }
                (None, Some(scheduled)) => {
                    let since = Shown(now.saturating_sub(scheduled.at));
                    self.line(format_args!("pending for {since} {when}: its turn {is} to come"))
                }
                (None, None) if !call.is_unscheduled() => {
                    self.line(format_args!("{}", self.missing("its end is not known")))
                }
                (None, None) => {
                    self.line(format_args!("not scheduled yet: its callback was not called"))
                }
            };
        };
        match end {
            End::Finished | End::Panicked => match call.handling().map(Shown) {
                Some(took) => self.line(format_args!("{end} after {took}")),
                None => self.line(format_args!("{end}")),
            },
            End::Canceled { reason } => {
                let by = self.by(moment);
                let stage = match &call.scheduled {
                    Some(scheduled) => {
                        let waited = Shown(moment.at.saturating_sub(scheduled.at));
                        format!(" after {waited} pending,")
                    }
                    None if call.is_unscheduled() && !self.history.left_out().steps => {
                        " before it was scheduled,".into()
                    }
                    None => String::new(),
                };
                self.line(format_args!("canceled{stage}{by}: {reason}"))?;
                self.line(format_args!("its handler will never run"))
            }
            End::Abandoned => self.line(format_args!("{end}")),
            End::Refused { .. } => {
                self.line(format_args!("{end}"))?;
                self.reached(call, moment, end)
            }
        }
    }

    /// Where the queue reached a call that it refused, and whose handler dialed the queue then.
    fn reached(&mut self, call: &CallRecord, moment: &Moment, end: &End) -> fmt::Result {
        let live = match end {
            End::Refused { refusal: Refusal::Live { live, .. } } => Some(*live),
            _ => None,
        };
        let turn = self.history.turn_of(call.id).map(|turn| turn.number);
        let in_turn = turn.map_or_else(|| "a turn".into(), |number| format!("turn {number}"));
        match moment.by {
            None if turn.is_none() => Ok(()),
            None => self.line(format_args!("reached in {in_turn}")),
            Some(outer) if live == Some(outer) => {
                self.line(format_args!("reached in {in_turn}, when that call dialed the queue"))
            }
            Some(outer) => {
                let outer = self.name(outer);
                self.line(format_args!("reached in {in_turn}, when call {outer} dialed the queue"))
            }
        }
    }

    fn consequences(&mut self, call: &CallRecord) -> fmt::Result {
        let effects = self.history.effects(call.id);
        let is_scheduled =
            |id: &CallId| self.history.call(*id).is_some_and(|call| call.scheduled.is_some());
        let (scheduled, created): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_scheduled);
        for (did, calls) in [("scheduled", scheduled), ("created", created)] {
            if !calls.is_empty() {
                let list = self.list(&calls);
                self.line(format_args!("its handler {did} {list}"))?;
            }
        }
        let causes = self.history.causes(call.id);
        let root = causes.last().and_then(|root| self.history.call(*root));
        if causes.len() > 1 || root.is_some_and(|root| root.origin.is_some()) {
            let mut chain = String::new();
            for cause in causes.iter().take(CAUSES) {
                write!(
                    chain,
                    "{}{}",
                    if chain.is_empty() { "" } else { " <- " },
                    self.name(*cause)
                )?;
            }
            if causes.len() > CAUSES {
                let more = causes.len() - CAUSES;
                let root = self.name(causes[causes.len() - 1]);
                write!(chain, " <- {more} more, the first of them {root}")?;
            }
            if let Some(root) = root
                && let Some(scheduled) = root.cause()
            {
                write!(chain, ",{}", self.cause(root, scheduled))?;
            }
            self.line(format_args!("causes: {chain}"))?;
        }
        Ok(())
    }

    fn operation(&mut self, operation: &OperationRecord) -> fmt::Result {
        let kind = operation.name();
        self.line(format_args!("delivers the result of an operation, {kind}:"))?;
        match &operation.started {
            Some(started) => {
                let (at, by) = (self.at(started), self.by(started));
                self.line(format_args!("  started {at}{by}"))?;
            }
            None => self.line(format_args!("  {}", self.missing("its start is not known")))?,
        }
        if let Some(upper) = operation.upper {
            let kind = self.history.operation(upper).map_or("", OperationRecord::name);
            self.line(format_args!("  the layer below operation {upper}, {kind}"))?;
        }
        if !operation.waits_for.is_empty() {
            let lower: Vec<_> = operation.waits_for.iter().map(|(_, call)| *call).collect();
            let list = self.list(&lower);
            self.line(format_args!("  waited for {list}"))?;
        }
        if let Some(canceling) = &operation.canceling {
            let (at, by) = (self.at(canceling), self.by(canceling));
            self.line(format_args!("  canceled {at}{by}"))?;
        }
        match (&operation.ended, operation.duration().map(Shown)) {
            (Some((_, end)), Some(took)) => self.line(format_args!("  {end}, after {took}")),
            (Some((_, end)), None) => self.line(format_args!("  {end}")),
            (None, _) => {
                let waits = operation.waits_for.iter().map(|(moment, _)| *moment);
                let seen = [operation.started, operation.canceling].into_iter().flatten();
                match self.history.was_removed_since(operation.id, seen.chain(waits)) {
                    true => self.line(format_args!(
                        "  its end is not known: the journal was removed from its queue"
                    )),
                    false => self.line(format_args!("  still running")),
                }
            }
        }
    }
}
