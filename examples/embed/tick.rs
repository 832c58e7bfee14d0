//! `cargo run --example embed --no-default-features tick`
//!
//! No I/O at all: a game, or a simulation, which gives the queue a share of each tick.

use std::collections::BTreeMap;
use std::error::Error;
use std::mem;
use std::time::{Duration, Instant};

use switchboard::{Budget, CallQueue, Callback, Context, QueueHandle, Report};

/// Dials for as long as the tick has time, and `most` calls at most. What remains is the next
/// tick's.
pub(crate) fn dial(queue: &QueueHandle, most: usize, time_is_up: impl Fn() -> bool) -> Report {
    queue.dial(Budget::calls(most).until(&time_is_up))
}

/// Callbacks that wait for their tick: timers, by a clock that is the host's.
#[derive(Debug, Default)]
pub(crate) struct Alarms(BTreeMap<u64, Vec<Callback<()>>>);

impl Alarms {
    /// Keeps a callback until its tick.
    pub(crate) fn at(&mut self, tick: u64, callback: Callback<()>) {
        self.0.entry(tick).or_default().push(callback);
    }

    /// Answers the callbacks that are due. To be called before the tick's [`dial`].
    pub(crate) fn fire(&mut self, tick: u64) {
        while let Some(first) = self.0.first_entry().filter(|first| *first.key() <= tick) {
            for callback in first.remove() {
                // If the queue takes no more, neither does it dial.
                callback.answer(());
            }
        }
    }
}

impl Drop for Alarms {
    /// Declines the callbacks that still wait: one that is dropped is reported as a bug.
    fn drop(&mut self) {
        for callback in mem::take(&mut self.0).into_values().flatten() {
            callback.decline("the alarms are gone");
        }
    }
}

struct Unit {
    steps: u32,
}

impl Unit {
    fn walk(&mut self, cx: &Context<'_, Self>) {
        self.steps += 1;
        if self.steps < 10_000 {
            cx.call(Self::walk);
        }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let queue = CallQueue::new();
    let mut alarms = Alarms::default();
    let unit = queue.recipient(Unit { steps: 0 });
    unit.call(Unit::walk);
    let alarm = unit.callback(|unit, _, ()| println!("alarm: {} steps at tick 3", unit.steps));
    alarms.at(3, alarm);

    for tick in 1..=5 {
        // First the host's own work; the rest of the tick is the queue's.
        let end = Instant::now() + Duration::from_secs(1);
        alarms.fire(tick);
        let report = dial(&queue, 2_500, || Instant::now() >= end);
        println!("tick {tick}: {} dialed, {} left", report.dialed, report.remaining);
    }
    assert!(queue.is_idle());
    Ok(())
}
