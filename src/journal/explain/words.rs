//! The words of a story: who, where, when, and which of many calls, with what is counted for that (`ahead`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::id::CallId;
use crate::journal::explain::Writer;
use crate::journal::records::{CallRecord, Moment};
use crate::journal::time::Shown;

/// How many calls are named of a list.
const NAMED: usize = 3;

impl Writer<'_> {
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> fmt::Result {
        self.unindented_line(format_args!("  {line}"))
    }

    /// Writes one line, whatever is in it: labels and names may come from a peer, and must not pass for
    /// lines of the story or control a terminal.
    pub(super) fn unindented_line(&mut self, line: fmt::Arguments<'_>) -> fmt::Result {
        for char in line.to_string().chars() {
            match char.is_control() {
                true => write!(self.text, "{}", char.escape_default())?,
                false => self.text.push(char),
            }
        }
        writeln!(self.text)
    }

    /// That something is missing, and what became of it.
    pub(super) fn missing(&self, what: &str) -> String {
        let or_filter = match self.history.left_out().calls {
            true => ", or its filter left it out",
            false => "",
        };
        match self.history.dropped_steps() {
            0 => format!("{what}: the journal did not see it{or_filter}"),
            dropped => {
                format!("{what}: the journal has dropped its {dropped} oldest steps{or_filter}")
            }
        }
    }

    pub(super) fn at(&self, moment: &Moment) -> String {
        moment.site.map_or_else(String::new, |site| format!("at {}:{}", site.file(), site.line()))
    }

    pub(super) fn by(&self, moment: &Moment) -> String {
        match moment.by {
            Some(by) => format!(" by call {}", self.name(by)),
            None => " from outside any call".into(),
        }
    }

    /// Who scheduled a call: another one, the reactor, or code outside of both.
    pub(super) fn cause(&self, call: &CallRecord, scheduled: &Moment) -> String {
        let by = scheduled.by.map(|by| format!(" by call {}", self.name(by)));
        let origin = call.origin.as_ref().map(|origin| format!(" by {origin}"));
        by.or(origin).unwrap_or_else(|| self.by(scheduled))
    }

    /// In which turn a call was dialed or refused.
    pub(super) fn turn(&self, call: &CallRecord) -> String {
        let turn = self.history.turn_of(call.id);
        turn.map_or_else(String::new, |turn| format!(" in turn {}", turn.number))
    }

    /// The queue of a call, if it is another one than that of the story.
    fn queue_of(&self, id: CallId) -> String {
        match id.queue() {
            queue if queue == self.queue => String::new(),
            queue => format!(" of queue {queue}"),
        }
    }

    pub(super) fn name(&self, id: CallId) -> String {
        let known = self.history.call(id);
        let name = known.map_or_else(|| id.to_string(), |call| call.name().to_string());
        name + &self.queue_of(id)
    }

    /// How long the handler that scheduled a call went on, if that is what the call waited for mostly.
    pub(super) fn rest_of_cause(&self, scheduled: &Moment, dialed: &Moment) -> String {
        let cause = scheduled.by.and_then(|by| self.history.call(by));
        let rest = cause.and_then(|cause| {
            let (ended, _) = cause.ended.filter(|(ended, _)| ended.place < dialed.place)?;
            let rest = ended.at.saturating_sub(scheduled.at);
            let waited = dialed.at.saturating_sub(scheduled.at);
            (!rest.is_zero() && rest >= waited / 2).then_some((cause.id, Shown(rest)))
        });
        rest.map_or_else(String::new, |(cause, rest)| {
            let queue = self.queue_of(cause);
            format!(" {rest} of it until call {cause}{queue} ended, which scheduled it,")
        })
    }

    /// The calls of its queue that were dialed while a call was pending.
    pub(super) fn ahead(&self, id: CallId, scheduled: &Moment, dialed: &Moment) -> String {
        let between = scheduled.place..dialed.place;
        let is_between = |call: &&CallRecord| {
            let is_dialed = call.dialed.is_some_and(|dialed| between.contains(&dialed.place));
            is_dialed && call.id.queue() == id.queue()
        };
        let mut ahead: Vec<_> = self.history.calls().iter().filter(is_between).collect();
        ahead.sort_unstable_by_key(|call| call.dialed.map(|dialed| dialed.place));
        let took = |call: &&CallRecord| call.handling().unwrap_or_default();
        let of_those = match self.history.left_out().calls {
            true => " of those that the filter keeps",
            false => "",
        };
        match ahead.as_slice() {
            [] => format!("behind no other call{of_those}"),
            [one] if of_those.is_empty() => format!("behind call {}", one.name()),
            [one] => format!("behind one call{of_those}: {}", one.name()),
            many => {
                // Of equal ones the first.
                let longest = many.iter().rev().copied().max_by_key(took).unwrap_or(many[0]);
                let (count, name, took) = (many.len(), longest.name(), Shown(took(&longest)));
                format!("behind {count} calls{of_those}, the longest of them call {name}: {took}")
            }
        }
    }

    /// A few calls by name, and how many more there are.
    pub(super) fn list(&self, ids: &[CallId]) -> String {
        let mut list = match ids.len() {
            1 => String::from("call "),
            many => format!("{many} calls: "),
        };
        for (place, id) in ids.iter().take(NAMED).enumerate() {
            let comma = if place == 0 { "" } else { "; " };
            let _ = write!(list, "{comma}{}", self.name(*id));
        }
        if ids.len() > NAMED {
            list.push_str("; ...");
        }
        list
    }
}
