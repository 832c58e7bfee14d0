//! What the page shows of a few calls, and beside calls: late cancels, ends that are not known, names, origins, turns.

use alloc::vec::Vec;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::journal::loop_log::TurnRecord;
use crate::journal::timeline::{Columns, nanos};

impl Columns<'_> {
    /// Call, name.
    pub(super) fn names(&mut self) -> Vec<[i64; 2]> {
        let history = self.history;
        let calls = history.calls().iter().zip(0..);
        let named = calls.filter_map(|(call, place)| Some((place, call.named.as_deref()?)));
        named.map(|(place, name)| [place, self.string(name)]).collect()
    }

    /// Call, time, by, reason.
    pub(super) fn late_cancels(&mut self) -> Vec<[i64; 4]> {
        let mut late = Vec::new();
        for (place, call) in self.history.calls().iter().enumerate() {
            for (moment, reason) in &call.late_cancels {
                let (by, reason) = (self.by(Some(moment)), self.string(reason));
                late.push([place as i64, nanos(moment.at), by, reason]);
            }
        }
        late
    }

    /// The calls of which it is not known whether they have ended.
    pub(super) fn lost_ends(&self) -> Vec<i64> {
        let calls = self.history.calls().iter().zip(0..);
        calls
            .filter(|(call, _)| self.history.is_end_unknown(call))
            .map(|(_, place)| place)
            .collect()
    }

    /// Call, what scheduled it on behalf of the reactor.
    pub(super) fn origins(&mut self) -> Vec<[i64; 2]> {
        let history = self.history;
        let calls = history.calls().iter().zip(0..);
        let known = calls.filter_map(|(call, place)| Some((place, call.origin.as_ref()?)));
        known.map(|(place, origin)| [place, self.string(origin)]).collect()
    }

    /// Turns, as columns.
    pub(super) fn turns(&self) -> Value {
        let mut columns: [Vec<i64>; 7] = Default::default();
        for TurnRecord { queue, number, polled, began, ended, .. } in self.history.turns() {
            let (ended, report) = ended.unzip();
            let report = report.unwrap_or_default();
            let row = [
                queue.get() as i64,
                *number as i64,
                polled.map_or(-1, nanos),
                nanos(*began),
                ended.map_or(-1, nanos),
                report.dialed as i64,
                (report.refused + report.canceled) as i64,
            ];
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        let [queue, number, polled, began, ended, dialed, passed] = columns;
        json!({
            "queue": queue, "number": number, "polled": polled, "began": began, "ended": ended,
            "dialed": dialed, "passed": passed,
        })
    }

    /// When the journal began, in milliseconds since 1970; -1 if that is not known.
    pub(super) fn date(&self) -> i64 {
        let date = self.history.date().and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        date.map_or(-1, |since| i64::try_from(since.as_millis()).unwrap_or(-1))
    }
}
