//! Times contenders side by side: in short stretches, round robin.
//!
//! A machine that others share runs now faster, now slower, for milliseconds at a time. A probe,
//! which is a fixed piece of arithmetic, before and after each stretch shows whether it ran at
//! full speed; the others are not counted. What is quoted is the median of the ratios to
//! switchboard in the same round.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::work::{Contender, Group, Run};

/// A stretch does as many batches as take this long, but one at least.
const STRETCH: Duration = Duration::from_micros(500);

/// Rounds of a comparison, and how long it takes at most.
const ROUNDS: usize = 101;
const PATIENCE: Duration = Duration::from_secs(6);

/// Rounds at full speed that are enough to go by; with fewer, all rounds count.
const ENOUGH: usize = 7;

/// How much longer than the fastest a probe at full speed takes.
const SLACK: f64 = 1.1;

/// What came of a contender.
pub struct Outcome {
    pub name: &'static str,
    /// Median time of a call.
    pub nanoseconds: f64,
    /// Median ratio to switchboard's time, in the same round.
    pub ratio: f64,
    /// Rounds that the ratio comes from.
    pub rounds: usize,
    /// Whether they ran at full speed.
    pub full_speed: bool,
}

struct Runner<'a> {
    contender: &'a Contender,
    run: Run,
    calls: u64,
    /// Nanoseconds per call of each round, and the slower probe of the two.
    stretches: Vec<(f64, Duration)>,
}

/// Compares the contenders of a group for one batch; switchboard is the first.
pub fn compare(group: &Group, batch: u64) -> Vec<Outcome> {
    let able = group.contenders.iter().filter(|contender| batch <= contender.most);
    let mut runners: Vec<_> = able.map(|contender| Runner::new(group, contender, batch)).collect();
    let start = Instant::now();
    for round in 0..ROUNDS {
        if round >= ENOUGH && start.elapsed() > PATIENCE {
            break;
        }
        for runner in &mut runners {
            runner.stretch(group);
        }
    }
    let probes = runners.iter().flat_map(|runner| &runner.stretches).map(|stretch| stretch.1);
    let fastest = probes.min().unwrap_or_default();
    let own = &runners[0];
    runners.iter().map(|runner| runner.outcome(own, fastest)).collect()
}

impl<'a> Runner<'a> {
    fn new(group: &Group, contender: &'a Contender, batch: u64) -> Self {
        let mut run = (contender.start)(batch);
        // The first batch makes room.
        let _ = group.run(contender, &mut run, batch);
        let mut calls = batch;
        while group.run(contender, &mut run, calls) < STRETCH {
            calls *= 2;
        }
        Self { contender, run, calls, stretches: Vec::new() }
    }

    fn stretch(&mut self, group: &Group) {
        let before = probe();
        let time = group.run(self.contender, &mut self.run, self.calls);
        let after = probe();
        let nanoseconds = time.as_nanos() as f64 / self.calls as f64;
        self.stretches.push((nanoseconds, before.max(after)));
    }

    fn outcome(&self, own: &Runner<'_>, fastest: Duration) -> Outcome {
        let limit = fastest.mul_f64(SLACK);
        let rounds = || self.stretches.iter().zip(&own.stretches);
        let full: Vec<_> = rounds().filter(|(one, own)| one.1.max(own.1) <= limit).collect();
        let full_speed = full.len() >= ENOUGH;
        let counted = if full_speed { full } else { rounds().collect() };
        Outcome {
            name: self.contender.name,
            nanoseconds: median(counted.iter().map(|(one, _)| one.0)),
            ratio: median(counted.iter().map(|(one, own)| one.0 / own.0)),
            rounds: counted.len(),
            full_speed,
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How long a fixed piece of arithmetic takes now: some microseconds.
fn probe() -> Duration {
    let start = Instant::now();
    let mut value = black_box(1_u64);
    for _ in 0..4096 {
        value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    }
    black_box(value);
    start.elapsed()
}
