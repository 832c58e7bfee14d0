//! Runs all kinds of work in short runs, and times these.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::flags::Flags;
use super::report::Row;
use super::work::{self, Work};

/// A run takes at least as long.
const RUN: Duration = Duration::from_millis(2);

/// Runs all kinds of work in turn, for as long as `flags` say, and three runs at least.
pub(crate) fn measure(flags: &Flags) -> Vec<Row> {
    let mut works: Vec<Measured> = work::all(flags).into_iter().map(Measured::new).collect();
    let (begin, whole) = (Instant::now(), Duration::from_secs_f64(flags.seconds));
    let shows_progress = io::stderr().is_terminal();
    while begin.elapsed() < whole || works[0].runs.len() < 3 {
        works.iter_mut().for_each(Measured::add_run);
        if shows_progress {
            let done = begin.elapsed().div_duration_f64(whole).min(1.0) * 100.0;
            eprint!("\r{done:3.0} % of {} s", flags.seconds);
        }
    }
    if shows_progress {
        eprint!("\r{:30}\r", "");
    }
    works.iter().map(Measured::row).collect()
}

/// Work, and how long it took.
struct Measured {
    work: Work,
    batches: u64,
    /// Nanoseconds of a call in each run.
    runs: Vec<f64>,
}

impl Measured {
    /// Finds out how many batches make a run.
    fn new(work: Work) -> Self {
        let mut measured = Self { work, batches: 1, runs: Vec::new() };
        while measured.run() < RUN {
            measured.batches *= 2;
        }
        measured
    }

    /// Does a run, and checks that all of it was done.
    fn run(&mut self) -> Duration {
        let begin = Instant::now();
        let done = (self.work.run)(self.batches);
        let time = begin.elapsed();
        assert_eq!(done, self.batches * self.work.dialed, "{} lost calls", self.work.name);
        time
    }

    fn add_run(&mut self) {
        let time = self.run();
        self.runs.push(time.as_nanos() as f64 / (self.batches * self.work.calls) as f64);
    }

    fn row(&self) -> Row {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        Row {
            name: self.work.name,
            is_floor: self.work.is_floor,
            nanoseconds: quantile(2),
            middle: (quantile(1), quantile(3)),
            runs: sorted.len(),
        }
    }
}
