//! On which track each slice of a trace is drawn.
//!
//! - I1 On one track, slices are apart, or one is within the other.
//! - I2 Recipients that share a track live one after the other: there are no more of these tracks than
//!   recipients of the type live at a time.
//! - I3 Those of such a type that live for more than half of the history have a track each. There are no
//!   more of these either, as all of them live when one half of the time is over.

use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use crate::journal::history::History;
use crate::journal::records::{CallRecord, OperationRecord};
use crate::step::{RecipientInfo, short_name};

/// The track of turns, the first of a queue that has any. (0 would be taken for an idle processor.)
pub(super) const TURNS: u64 = 1;

/// Recipients of one type share tracks from so many on, as on the page they share a lane.
const MANY_OF_A_TYPE: usize = 24;

/// Of the pending calls of a queue, and of its operations, so many at a time have slices.
const MOST_AT_A_TIME: usize = 32;

/// A track, by the queue and its number there.
pub(super) struct Track {
    pub(super) queue: u64,
    pub(super) number: u64,
    pub(super) name: String,
}

/// The tracks, and the number of that of each call and operation, by place.
pub(super) struct Tracks {
    pub(super) all: Vec<Track>,
    pub(super) calls: Vec<u64>,
    pub(super) pending: Vec<Option<u64>>,
    pub(super) operations: Vec<Option<u64>>,
}

/// What is to be drawn: its place, when it begins and when it ends.
type Span = (usize, Duration, Duration);

/// A recipient, or none for function calls, and the places of its calls.
type Lane = (Option<RecipientInfo>, Vec<usize>);

/// What has tracks in a queue.
#[derive(Default)]
struct QueueTracks {
    has_turns: bool,
    operations: Vec<Span>,
    lanes: Vec<Lane>,
    pending: Vec<Span>,
}

impl Tracks {
    pub(super) fn of(history: &History) -> Self {
        let mut queues: BTreeMap<u64, QueueTracks> = BTreeMap::new();
        for turn in history.turns() {
            queues.entry(turn.queue.get()).or_default().has_turns = true;
        }
        for (place, operation) in history.operations().iter().enumerate() {
            if let Some((from, to)) = runs(history, operation) {
                let queue = queues.entry(operation.id.queue().get()).or_default();
                queue.operations.push((place, from, to));
            }
        }
        for (queue, recipient, calls) in history.lanes() {
            let queue = queues.entry(queue).or_default();
            let waits = |place: &usize| {
                let (from, to) = waits(history, &history.calls()[*place])?;
                Some((*place, from, to))
            };
            queue.pending.extend(calls.iter().filter_map(waits));
            queue.lanes.push((recipient, calls));
        }
        let mut tracks = Self {
            all: Vec::new(),
            calls: vec![TURNS; history.calls().len()],
            pending: vec![None; history.calls().len()],
            operations: vec![None; history.operations().len()],
        };
        for (queue, contents) in queues {
            tracks.queue(history, queue, contents);
        }
        tracks
    }

    fn queue(&mut self, history: &History, queue: u64, contents: QueueTracks) {
        let QueueTracks { has_turns, operations, lanes, pending } = contents;
        let mut add = Adds { tracks: &mut self.all, queue, number: 0 };
        if has_turns {
            add.named("turns".into());
        }
        let mut types: BTreeMap<_, Vec<Lane>> = BTreeMap::new();
        for lane in lanes {
            types.entry(lane.0.map(|recipient| recipient.type_name)).or_default().push(lane);
        }
        let mut types: Vec<_> = types.into_values().collect();
        types.sort_by_key(|lanes| lanes[0].0.map(|recipient| recipient.number));
        for lanes in types {
            for (name, members) in shared(history, &lanes) {
                let number = add.named(name);
                members.into_iter().for_each(|place| self.calls[place] = number);
            }
        }
        add.packed("operations", operations, &mut self.operations);
        add.packed("pending", pending, &mut self.pending);
    }
}

/// Adds tracks of a queue.
struct Adds<'a> {
    tracks: &'a mut Vec<Track>,
    queue: u64,
    /// The number of the last one.
    number: u64,
}

impl Adds<'_> {
    fn named(&mut self, name: String) -> u64 {
        self.number += 1;
        self.tracks.push(Track { queue: self.queue, number: self.number, name });
        self.number
    }

    /// A track for each span that overlaps others, up to a limit.
    fn packed(&mut self, name: &str, mut spans: Vec<Span>, numbers: &mut [Option<u64>]) {
        spans.sort_by_key(|(_, from, _)| *from);
        let (lanes, count) = pack(&spans, MOST_AT_A_TIME);
        let first = self.number + 1;
        for lane in 1..=count {
            self.named(if count == 1 { name.into() } else { format!("{name} ({lane})") });
        }
        for ((place, ..), lane) in spans.into_iter().zip(lanes) {
            numbers[place] = lane.map(|lane| first + lane as u64);
        }
    }
}

/// The tracks of recipients of one type: their names, and the places of calls on them.
fn shared(history: &History, lanes: &[Lane]) -> Vec<(String, Vec<usize>)> {
    let many = lanes.len();
    let spans: Vec<Span> =
        lanes.iter().enumerate().map(|(lane, it)| life(history, lane, it)).collect();
    let begin = spans.iter().map(|(_, from, _)| *from).min().unwrap_or_default();
    let half = history.now().saturating_sub(begin) / 2;
    let is_own = |(_, from, to): &Span| many < MANY_OF_A_TYPE || to.saturating_sub(*from) > half;
    let (own, mut short): (Vec<_>, Vec<_>) = spans.into_iter().partition(is_own);
    short.sort_by_key(|(_, from, _)| *from);
    let (packed, count) = pack(&short, usize::MAX);
    let mut groups: Vec<Vec<usize>> = own.into_iter().map(|(lane, ..)| vec![lane]).collect();
    let first = groups.len();
    groups.resize(first + count, Vec::new());
    for ((lane, ..), packed) in short.into_iter().zip(packed) {
        packed.into_iter().for_each(|packed| groups[first + packed].push(lane));
    }
    let track = |(number, group): (usize, Vec<usize>)| {
        let name = match *group {
            [lane] => full_name(history, &lanes[lane]),
            _ => {
                let type_name = lanes[0].0.map_or("functions", |recipient| recipient.type_name);
                format!("{} × {many} ({})", short_name(type_name), number + 1 - first)
            }
        };
        (name, group.into_iter().flat_map(|lane| lanes[lane].1.iter().copied()).collect())
    };
    groups.into_iter().enumerate().map(track).collect()
}

fn full_name(history: &History, (recipient, calls): &Lane) -> String {
    let name = recipient.map_or("functions".into(), |recipient| recipient.to_string());
    match calls.iter().find_map(|place| history.calls()[*place].label.as_ref()) {
        Some(label) => format!("{name} ({label})"),
        None => name,
    }
}

/// Puts spans, sorted by when they begin, on the lowest lane that is free; on none if `most` are taken.
/// Returns the lanes, and how many there are.
fn pack(spans: &[Span], most: usize) -> (Vec<Option<usize>>, usize) {
    let (mut taken, mut free, mut count) = (BinaryHeap::new(), BTreeSet::new(), 0);
    let mut place = |&(_, from, to): &Span| {
        while let Some(&Reverse((end, lane))) = taken.peek()
            && end <= from
        {
            taken.pop();
            free.insert(lane);
        }
        let lane = match free.pop_first() {
            None if count == most => return None,
            None => {
                count += 1;
                count - 1
            }
            Some(lane) => lane,
        };
        taken.push(Reverse((to, lane)));
        Some(lane)
    };
    let lanes = spans.iter().map(&mut place).collect();
    (lanes, count)
}

/// From the first step of its calls that is known to the last, or to now if one of them is not over.
fn life(history: &History, lane: usize, (_, calls): &Lane) -> Span {
    let calls = || calls.iter().map(|place| &history.calls()[*place]);
    let from = calls().filter_map(|call| moments(call).min()).min().unwrap_or_default();
    let is_over = calls().all(|call| call.ended.is_some());
    let last = || calls().filter_map(|call| moments(call).max()).max();
    (lane, from, if is_over { last().unwrap_or_default() } else { history.now() })
}

/// When the steps of a call were.
fn moments(call: &CallRecord) -> impl Iterator<Item = Duration> {
    let once = [call.created, call.scheduled, call.dialed, call.undrained];
    let ended = call.ended.map(|(moment, _)| moment);
    let late = call.late_cancels.iter().map(|(moment, _)| moment.at);
    let deferred = call.deferred.iter().map(|(moment, _)| moment.at);
    once.into_iter().chain([ended]).flatten().map(|moment| moment.at).chain(late).chain(deferred)
}

/// From when to when a call is pending.
pub(super) fn waits(history: &History, call: &CallRecord) -> Option<(Duration, Duration)> {
    let ended = call.ended.map_or(history.now(), |(moment, _)| moment.at);
    Some((call.scheduled?.at, call.dialed.map_or(ended, |dialed| dialed.at)))
}

/// From when to when an operation runs.
pub(super) fn runs(history: &History, operation: &OperationRecord) -> Option<(Duration, Duration)> {
    let ended = operation.ended.map_or(history.now(), |(moment, _)| moment.at);
    Some((operation.started?.at, ended))
}
