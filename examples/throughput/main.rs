//! How many calls a second this machine dials: `cargo run --release --example throughput`.
//!
//! Each kind of work runs in stretches of some milliseconds, all kinds in turn, so that a machine that
//! others use at the same time slows all of them alike. Shown are the median over the stretches, and
//! the middle half of them. `--help` lists what can be set.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use self::flags::Flags;
use self::report::Row;
use self::work::Work;

pub(crate) mod flags;
pub(crate) mod report;
mod work;

/// A stretch takes at least as long.
const STRETCH: Duration = Duration::from_millis(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(flags) = Flags::parse(std::env::args().skip(1))? else {
        print!("{}", flags::HELP);
        return Ok(());
    };
    if cfg!(debug_assertions) {
        eprintln!("built without --release: these figures say little");
    }
    let rows = measure(&flags);
    if let Some(path) = &flags.svg {
        std::fs::write(path, report::svg(&rows, &flags))?;
    }
    let text = if flags.json { report::json(&rows, &flags) } else { report::bars(&rows, &flags) };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Runs all kinds of work in turn, for as long as `flags` say, and three stretches at least.
pub(crate) fn measure(flags: &Flags) -> Vec<Row> {
    let mut works: Vec<Measured> = work::all(flags).into_iter().map(Measured::new).collect();
    let (begin, whole) = (Instant::now(), Duration::from_secs_f64(flags.seconds));
    let shows_progress = io::stderr().is_terminal();
    while begin.elapsed() < whole || works[0].stretches.len() < 3 {
        works.iter_mut().for_each(Measured::stretch);
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
    /// Nanoseconds of a call in each stretch.
    stretches: Vec<f64>,
}

impl Measured {
    /// Finds out how many batches make a stretch.
    fn new(work: Work) -> Self {
        let mut measured = Self { work, batches: 1, stretches: Vec::new() };
        while measured.run() < STRETCH {
            measured.batches *= 2;
        }
        measured
    }

    /// Runs a stretch, and checks that all of it was done.
    fn run(&mut self) -> Duration {
        let begin = Instant::now();
        let done = (self.work.run)(self.batches);
        let time = begin.elapsed();
        assert_eq!(done, self.batches * self.work.dialed, "{} lost calls", self.work.name);
        time
    }

    fn stretch(&mut self) {
        let time = self.run();
        self.stretches.push(time.as_nanos() as f64 / (self.batches * self.work.calls) as f64);
    }

    fn row(&self) -> Row {
        let mut sorted = self.stretches.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        Row {
            name: self.work.name,
            is_floor: self.work.is_floor,
            nanoseconds: quantile(2),
            middle: (quantile(1), quantile(3)),
            stretches: sorted.len(),
        }
    }
}
