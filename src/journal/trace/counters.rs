//! The counter tracks of a trace: how many calls of a queue are pending and live, how many operations
//! run, and how many calls each turn dials.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;
use std::io::{self, Write};

use serde_json::json;

use crate::journal::history::History;
use crate::journal::trace::tracks::{runs, waits};
use crate::journal::trace::{Trace, ts};

const NAMES: [&str; 3] = ["pending", "live", "operations"];

/// When something changes, and by how much each of [`NAMES`].
type Change = (Duration, [i64; 3]);

pub(super) fn write<W: Write>(trace: &mut Trace<W>, history: &History) -> io::Result<()> {
    for (queue, mut changes) in changes(history) {
        changes.sort_by_key(|(at, _)| *at);
        let (mut levels, mut shown) = ([0; 3], [-1; 3]);
        for (place, (at, by)) in changes.iter().enumerate() {
            levels.iter_mut().zip(by).for_each(|(level, by)| *level += by);
            if changes.get(place + 1).is_some_and(|next| next.0 == *at) {
                continue;
            }
            for (name, (level, shown)) in NAMES.iter().zip(levels.iter().zip(&mut shown)) {
                if mem::replace(shown, *level) != *level {
                    counter(trace, queue, *at, name, *level)?;
                }
            }
        }
    }
    for turn in history.turns() {
        let dialed = turn.ended.map_or(0, |(_, report)| report.dialed);
        counter(trace, turn.queue.get(), turn.began, "dialed a turn", dialed)?;
    }
    Ok(())
}

fn changes(history: &History) -> BTreeMap<u64, Vec<Change>> {
    let mut changes: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
    let mut add = |queue: u64, place: usize, (from, to): (Duration, Duration), is_over: bool| {
        let changes = changes.entry(queue).or_default();
        let mut by = [0; 3];
        by[place] = 1;
        changes.push((from, by));
        if is_over {
            changes.push((to, by.map(|by| -by)));
        }
    };
    for call in history.calls() {
        let queue = call.id.queue().get();
        let ended = call.ended.map(|(moment, _)| moment.at);
        if let Some(waits) = waits(history, call) {
            add(queue, 0, waits, call.dialed.is_some() || ended.is_some());
        }
        if let Some(dialed) = &call.dialed {
            add(queue, 1, (dialed.at, ended.unwrap_or_default()), ended.is_some());
        }
    }
    for operation in history.operations() {
        if let Some(runs) = runs(history, operation) {
            add(operation.id.queue().get(), 2, runs, operation.ended.is_some());
        }
    }
    changes
}

fn counter<W: Write>(
    trace: &mut Trace<W>,
    queue: u64,
    at: Duration,
    name: &str,
    value: impl Into<serde_json::Value>,
) -> io::Result<()> {
    let unit = if name == "operations" { "operations" } else { "calls" };
    trace.event(&json!({"ph": "C", "cat": "counter", "name": name, "pid": queue, "tid": 0,
        "ts": ts(at), "args": {unit: value.into()}}))
}
