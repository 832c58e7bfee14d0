//! What a journal keeps beside steps: turns, and where calls come from that no handler scheduled.
//!
//! - I1 `turns` and `origins` are no longer than the limit, and `open` than `MOST_OPEN`.
//! - I2 A turn in which no call had its turn is not kept, and the polls around it count as one: a loop
//!   that is idle fills nothing.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::time::Duration;
use std::time::Instant;

use crate::id::CallId;
use crate::outcome::Report;
use crate::outside::{CallOrigin, TurnStep};

/// Turns in progress at a time: of so many queues at most, one within the other.
const MOST_OPEN: usize = 64;

/// One turn of a queue in which calls had their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnRecord {
    /// The [number](CallId::queue) of the queue.
    pub queue: NonZeroU64,
    /// How many turns of the queue were reported before.
    pub number: u64,
    /// Since when the reactor had polled, without anything to dial, since the journal began; none if no
    /// reactor did.
    pub polled: Option<Duration>,
    /// When it began, since the journal began.
    pub began: Duration,
    /// When it ended, and what happened in it; none if it is in progress.
    pub ended: Option<(Duration, Report)>,
    /// The number of the first step in it, and of the first one after: turns may share an instant.
    pub(super) steps: (u64, u64),
}

#[derive(Clone, Copy)]
struct NotedTurn {
    queue: NonZeroU64,
    number: u64,
    polled: Option<Instant>,
    began: Instant,
    ended: Option<(Instant, Report)>,
    steps: (u64, u64),
}

/// A queue whose reactor polls, or that has a turn in progress.
#[derive(Clone, Copy)]
struct OpenTurn {
    queue: NonZeroU64,
    polled: Option<Instant>,
    turn: Option<BegunTurn>,
}

#[derive(Clone, Copy)]
struct BegunTurn {
    number: u64,
    began: Instant,
    first_step: u64,
}

#[derive(Clone)]
pub(super) struct LoopLog {
    limit: usize,
    open: Vec<OpenTurn>,
    turns: VecDeque<NotedTurn>,
    origins: VecDeque<(CallId, CallOrigin)>,
}

impl LoopLog {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, open: Vec::new(), turns: VecDeque::new(), origins: VecDeque::new() }
    }

    /// Keeps what a call comes from.
    pub(super) fn add_origin(&mut self, call: CallId, origin: &CallOrigin) {
        if self.origins.len() == self.limit {
            self.origins.pop_front();
        }
        // Threads send many calls, one after the other: their names are shared.
        let same = self.origins.back().filter(|(_, last)| last == origin);
        let origin = same.map_or_else(|| origin.clone(), |(_, last)| last.clone());
        self.origins.push_back((call, origin));
    }

    /// Notes a step of the loop before the step of a call with the number `next_step`; `is_frozen` if no
    /// turn that begins now is kept.
    pub(super) fn note(
        &mut self,
        (at, next_step): (Instant, u64),
        queue: NonZeroU64,
        step: &TurnStep,
        is_frozen: bool,
    ) {
        let place = self.open.iter().position(|open| open.queue == queue);
        match *step {
            TurnStep::Polls if !is_frozen => {
                let open = self.open(queue, place);
                open.polled = open.polled.or(Some(at));
            }
            TurnStep::Begins { number } if !is_frozen => {
                let begun = BegunTurn { number, began: at, first_step: next_step };
                self.open(queue, place).turn = Some(begun);
            }
            TurnStep::Polls | TurnStep::Begins { .. } => {}
            TurnStep::Ends { report, .. } => {
                if let Some(place) = place {
                    self.end((at, next_step), place, report);
                }
            }
        }
    }

    fn open(&mut self, queue: NonZeroU64, place: Option<usize>) -> &mut OpenTurn {
        let place = place.unwrap_or_else(|| {
            if self.open.len() == MOST_OPEN {
                self.open.remove(0); // its reactor must be gone
            }
            self.open.push(OpenTurn { queue, polled: None, turn: None });
            self.open.len() - 1
        });
        &mut self.open[place]
    }

    fn end(&mut self, (at, next_step): (Instant, u64), place: usize, report: Report) {
        let OpenTurn { queue, polled, turn } = self.open[place];
        let Some(BegunTurn { number, began, first_step }) = turn else { return };
        if report.dialed + report.canceled + report.refused == 0 {
            self.open[place].turn = None; // and the poll goes on (I2)
            return;
        }
        self.open.swap_remove(place);
        if self.turns.len() == self.limit {
            self.turns.pop_front();
        }
        let (ended, steps) = (Some((at, report)), (first_step, next_step));
        self.turns.push_back(NotedTurn { queue, number, polled, began, ended, steps });
    }

    /// Forgets a queue whose further turns are not reported.
    pub(super) fn forget(&mut self, queue: NonZeroU64) {
        self.open.retain(|open| open.queue != queue);
    }

    /// Drops what is kept, but for turns in progress.
    pub(super) fn clear(&mut self) {
        self.turns.clear();
        self.origins.clear();
        self.open.retain(|open| open.turn.is_some());
    }

    /// The turns that ended since `first`, by when they did, and then those in progress.
    pub(super) fn turns(&self, start: Instant, first: Option<Instant>) -> Vec<TurnRecord> {
        let since = |at: Instant| at.saturating_duration_since(start);
        let open = self.open.iter().filter_map(|open| {
            let BegunTurn { number, began, first_step } = open.turn?;
            let (polled, steps) = (open.polled, (first_step, u64::MAX));
            Some(NotedTurn { queue: open.queue, number, polled, began, ended: None, steps })
        });
        let is_late = |turn: &NotedTurn| turn.ended.is_none_or(|(at, _)| Some(at) >= first);
        let turns = self.turns.iter().copied().filter(is_late).chain(open);
        let record = |NotedTurn { queue, number, polled, began, ended, steps }| TurnRecord {
            queue,
            number,
            polled: polled.map(since),
            began: since(began),
            ended: ended.map(|(at, report)| (since(at), report)),
            steps,
        };
        turns.map(record).collect()
    }

    pub(super) fn into_origins(self) -> impl Iterator<Item = (CallId, CallOrigin)> {
        self.origins.into_iter()
    }
}
