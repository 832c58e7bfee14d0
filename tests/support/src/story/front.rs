//! The front ends: which stories are played. On all processors, one story to a thread.

use std::any::Any;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::{Counts, Decisions, Story};
use crate::util::number;

/// Room for turns within turns.
const STACK: usize = 256 << 20;

/// How many of the choices name the branch of a path: one thread takes all paths of a branch.
const BRANCH: usize = 2;

impl Story {
    /// Plays stories from seeds: `SEEDS=1000000` for many, `SEED=7` for one.
    ///
    /// # Panics
    ///
    /// If a law is broken, or the stories say little.
    pub fn seeds(&self) {
        let seeds = match number("SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("SEEDS").unwrap_or(self.seeds),
        };
        let (next, total) = (AtomicU64::new(seeds.start), Mutex::new(Counts::new()));
        let (start, enough) = (Instant::now(), seeds.end - seeds.start >= self.seeds);
        on_all_processors(|_, stop| {
            let mut sum = Counts::new();
            while !stop.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    break;
                }
                let counts = self.attempt(Decisions::of_seed(seed), || format!("SEED={seed}"))?;
                add(&mut sum, &counts);
            }
            add(&mut total.lock().expect("no panic holds it"), &sum);
            Ok(())
        });
        let total = total.into_inner().expect("no panic holds it");
        println!("{}: {seeds:?} in {:?}: {total:?}", self.name, start.elapsed());
        let often = |count: &u64| *count > self.often;
        assert!(!enough || total.iter().all(often), "it says little: {total:?}");
    }

    /// Plays what bytes decide.
    ///
    /// # Panics
    ///
    /// If a law is broken.
    pub fn bytes(&self, bytes: &[u8]) {
        let played = self.attempt(Decisions::of_bytes(bytes), || format!("bytes: {bytes:?}"));
        played.unwrap_or_else(|broken| panic!("{broken}"));
    }

    /// Plays what fuzzers have found, if they have.
    ///
    /// # Panics
    ///
    /// If a law is broken.
    pub fn corpus(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(self.name);
        let Ok(stories) = fs::read_dir(folder) else { return };
        for story in stories {
            let story = story.and_then(|story| fs::read(story.path())).expect("a story");
            self.bytes(&story);
        }
    }

    /// Plays every story that differs from the others in its first decisions: `DECISIONS=4` for how many.
    ///
    /// # Panics
    ///
    /// If a law is broken.
    pub fn every(&self) {
        let depth = number("DECISIONS").map_or(self.depth, |depth| depth as usize);
        let played = every(depth, |decisions| {
            self.attempt(decisions.clone(), || format!("decisions: {:?}", decisions.path()))
                .map(drop)
        });
        println!("{}: {played} stories of {depth} decisions", self.name);
    }

    /// Plays a story, and says which it was if it breaks a law.
    fn attempt(&self, decisions: Decisions, which: impl Fn() -> String) -> Result<Counts, String> {
        match panic::catch_unwind(AssertUnwindSafe(|| (self.play)(decisions))) {
            Ok(result) => result.map_err(|broken| format!("{broken}\n{}: {}", self.name, which())),
            Err(panic) => Err(format!("{}\n{}: {}", text(&*panic), self.name, which())),
        }
    }
}

pub(crate) fn text(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}

fn add(total: &mut Counts, counts: &Counts) {
    total.resize(total.len().max(counts.len()), 0);
    total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
}

/// Goes through all paths of up to `depth` decisions. Returns how many there are.
///
/// # Panics
///
/// With the error of a path.
pub fn every(depth: usize, run: impl Fn(&Decisions) -> Result<(), String> + Sync) -> u64 {
    let (start, taken, claims) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    on_all_processors(|_, stop| {
        // Each thread goes through the branches; which are its own, it claims.
        let claim = || claims.fetch_add(1, Ordering::Relaxed);
        let (mut claimed, mut branch, mut before) = (claim(), 0, Vec::new());
        let mut next = Some(Decisions::first_path(depth));
        let mut count = 0;
        while let Some(path) = next.take_if(|_| !stop.load(Ordering::Relaxed)) {
            run(&path)?;
            let mut choices = path.path();
            choices.truncate(BRANCH);
            if !before.is_empty() && choices != before {
                claimed = if claimed == branch { claim() } else { claimed };
                branch += 1;
            }
            before = choices;
            count += u64::from(claimed == branch);
            next = path.next_path(if claimed == branch { depth } else { BRANCH });
        }
        taken.fetch_add(count, Ordering::Relaxed);
        Ok(())
    });
    println!("{} paths in {:?}", taken.load(Ordering::Relaxed), start.elapsed());
    taken.into_inner()
}

/// How many threads there are: one for each processor, or as many as `THREADS` says. One thread reports
/// the same fault each time.
fn threads() -> u64 {
    let all = || thread::available_parallelism().map_or(1, |all| all.get() as u64);
    number("THREADS").unwrap_or_else(all)
}

/// Runs `work` on all processors, until one has found a fault; panics with it.
fn on_all_processors(work: impl Fn(u64, &AtomicBool) -> Result<(), String> + Sync) {
    let (stop, found) = (AtomicBool::new(false), Mutex::new(None));
    let run = |number| {
        if let Err(fault) = work(number, &stop) {
            stop.store(true, Ordering::Relaxed);
            *found.lock().expect("no panic holds it") = Some(fault);
        }
    };
    if cfg!(target_family = "wasm") {
        (0..threads()).for_each(run); // there are no threads
    } else {
        thread::scope(|scope| {
            for number in 0..threads() {
                let (thread, run) = (thread::Builder::new().stack_size(STACK), &run);
                thread.spawn_scoped(scope, move || run(number)).expect("a thread");
            }
        });
    }
    if let Some(fault) = found.into_inner().expect("no panic holds it") {
        panic!("{fault}");
    }
}
