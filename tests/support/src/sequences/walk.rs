//! Which sequences are told: all of a length, or random ones. One queue to a thread.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::check::{compare, perform, report};
use super::model::Model;
use super::{Event, Setup, act::*};
use crate::random::Random;

/// Room for turns within turns.
const STACK: usize = 256 << 20;

/// How many threads there are: one for each processor, or as many as `THREADS` says. One thread reports
/// the same fault each time.
fn threads() -> usize {
    match env::var("THREADS") {
        Ok(threads) => threads.parse().expect("THREADS is a number"),
        Err(_) => thread::available_parallelism().map_or(1, Into::into),
    }
}

/// Runs `work` on all processors, until one has found a fault; panics with it.
fn on_all_processors(work: impl Fn(usize, &AtomicBool) -> Option<String> + Sync) {
    let (stop, found) = (AtomicBool::new(false), Mutex::new(None));
    thread::scope(|scope| {
        for number in 0..threads() {
            let (stop, found, work) = (&stop, &found, &work);
            let watch = move || {
                let fault = work(number, stop);
                if fault.is_some() {
                    stop.store(true, Ordering::Relaxed);
                    *found.lock().expect("nobody panics with it") = fault;
                }
            };
            let thread = thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, watch).expect("a thread");
        }
    });
    if let Some(fault) = found.into_inner().expect("nobody panics with it") {
        panic!("{fault}");
    }
}

fn rate(what: &str, count: u64, time: Duration) {
    let rate = count as f64 / time.as_secs_f64();
    println!("{count} {what} in {:.1} s: {rate:.0} a second", time.as_secs_f64());
}

/// Runs every sequence of up to `depth` acts of the alphabet, but those that differ from one of
/// them in the names of the recipients only, or in acts that do nothing. Returns how many there are.
pub fn every(setup: Setup, alphabet: &[Act], depth: usize) -> u64 {
    let (start, told, claims) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    on_all_processors(|number, stop| {
        let mut tree = Tree {
            setup,
            depth,
            alphabet,
            desks: alphabet.iter().map(desks).collect(),
            models: (0..=depth).map(|_| Model::new(setup)).collect(),
            ended: Model::new(setup),
            path: Vec::new(),
            real: Vec::new(),
            told: 0,
            is_first: number == 0,
            branch: 0,
            claims: &claims,
            claimed: claims.fetch_add(1, Ordering::Relaxed),
            stop,
        };
        let fault = tree.grow(0);
        told.fetch_add(tree.told, Ordering::Relaxed);
        fault
    });
    rate("sequences", told.load(Ordering::Relaxed), start.elapsed());
    told.into_inner()
}

/// The desks that an act names.
fn desks(act: &Act) -> Vec<usize> {
    let mut desks = Vec::new();
    act.desks(&mut desks);
    desks
}

/// The tree of all sequences, where the model of a node is kept for those below it.
struct Tree<'a> {
    setup: Setup,
    depth: usize,
    alphabet: &'a [Act],
    /// The desks that each act names.
    desks: Vec<Vec<usize>>,
    models: Vec<Model>,
    ended: Model,
    path: Vec<Act>,
    real: Vec<Event>,
    told: u64,
    is_first: bool,
    /// Sequences of two acts so far: the thread that claims one tells what begins with it.
    branch: u64,
    claims: &'a AtomicU64,
    claimed: u64,
    stop: &'a AtomicBool,
}

impl Tree<'_> {
    /// Tells what begins with the path, which names the desks less than `named`.
    fn grow(&mut self, named: usize) -> Option<String> {
        let level = self.path.len();
        for (index, act) in self.alphabet.iter().enumerate() {
            let Some(named) = self.name(index, named) else { continue };
            if !self.models[level].applies(act) || self.stop.load(Ordering::Relaxed) {
                continue;
            }
            let is_ours = match level {
                0 => self.is_first,
                1 => self.claim(),
                _ => true,
            };
            if !is_ours && level == 1 {
                continue;
            }
            self.path.push(*act);
            let differs = self.tell();
            self.told += u64::from(is_ours);
            if differs {
                return report(self.setup, &self.path);
            }
            if self.path.len() < self.depth
                && let Some(fault) = self.grow(named)
            {
                return Some(fault);
            }
            self.path.pop();
        }
        None
    }

    /// How many desks have names after the act, if it names them in their order.
    fn name(&self, index: usize, named: usize) -> Option<usize> {
        let name = |named: usize, desk: &usize| (*desk <= named).then(|| named.max(desk + 1));
        self.desks[index].iter().try_fold(named, name)
    }

    fn claim(&mut self) -> bool {
        self.branch += 1;
        let is_ours = self.claimed == self.branch - 1;
        if is_ours {
            self.claimed = self.claims.fetch_add(1, Ordering::Relaxed);
        }
        is_ours
    }

    /// Tells the path; whether the queue and the model differ.
    fn tell(&mut self) -> bool {
        let broken = perform(self.setup, &self.path, &mut self.real);
        let level = self.path.len();
        let (above, below) = self.models.split_at_mut(level);
        let model = if level == self.depth { &mut self.ended } else { &mut below[0] };
        model.copy(&above[level - 1]);
        model.step(&self.path[level - 1], &self.real);
        if level < self.depth {
            self.ended.copy(&self.models[level]);
        }
        self.ended.end(&self.real);
        compare(&self.ended, &self.real, broken).is_some()
    }
}

/// Tells random sequences of so many acts together.
pub fn random(operations: u64) {
    let base = RandomState::new().hash_one(()) >> 16;
    println!("random sequences, from SEED={base} on");
    let (start, next, done) = (Instant::now(), AtomicU64::new(base), AtomicU64::new(0));
    on_all_processors(|_, stop| {
        while done.load(Ordering::Relaxed) < operations && !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match random_from(seed) {
                Ok(acts) => _ = done.fetch_add(acts, Ordering::Relaxed),
                Err(fault) => return Some(fault),
            }
        }
        None
    });
    rate("random operations", done.into_inner(), start.elapsed());
}

/// Runs the random sequence of `seed`, and returns its length.
pub fn random_from(seed: u64) -> Result<u64, String> {
    decided(Random::new(seed)).map_err(|fault| format!("SEED={seed}\n{fault}"))
}

/// Runs the sequence that `random` decides, and returns its length.
pub fn decided(random: Random) -> Result<u64, String> {
    let random = Choices(random);
    let setup = random.setup();
    let length = 1 + random.below(200);
    // The longer turns are put off, the more calls are pending.
    let laziness = 1 + random.below(20);
    let acts: Vec<Act> = (0..length).map(|_| random.act(laziness)).collect();
    match report(setup, &acts) {
        None => Ok(length as u64),
        Some(fault) => Err(fault),
    }
}

/// What random sequences are made of.
struct Choices(Random);

impl Choices {
    fn below(&self, end: usize) -> usize {
        self.0.below(end)
    }

    fn setup(&self) -> Setup {
        let hooked = self.below(2) == 0;
        let hook = [None, Some(&Dial(All)), Some(&Call(A, Nothing)), Some(&Cancel(Oldest))];
        Setup {
            observed: self.below(2) == 0,
            hooked,
            hook: hook[self.below(hook.len())].filter(|_| hooked),
            capacity: if self.below(4) == 0 { self.below(9) } else { usize::MAX },
            value: if self.below(4) == 0 { Some(&Call(F, Nothing)) } else { None },
        }
    }

    fn act(&self, laziness: usize) -> Act {
        match self.below(64) {
            0..24 => Call(self.to(), self.script()),
            24..32 => Callback(self.to(), self.script()),
            32..38 => Answer(self.below(4)),
            38 => Decline(self.below(3)),
            39 => Abandon(self.below(3)),
            40..46 => {
                let before = 1 << self.below(7);
                Cancel(Latest(self.below(before)))
            }
            46 => Cancel(Oldest),
            47 => Cancel(Foreign),
            48 => HangUp(self.desk()),
            49 | 50 => Renew(self.desk()),
            51 if self.below(6) == 0 => Close,
            _ if self.below(laziness) > 0 => Call(self.to(), Nothing),
            _ => match self.below(4) {
                0 => Dial(All),
                1 => Dial(Pending),
                _ => Dial(Calls(self.below(6))),
            },
        }
    }

    fn to(&self) -> To {
        [F, A, B, C][self.below(4)]
    }

    fn desk(&self) -> To {
        [A, B, C][self.below(3)]
    }

    fn script(&self) -> Script {
        match self.below(12) {
            0..4 => Nothing,
            4..8 => Enter(self.inner()),
            8..10 => Dropping(self.inner()),
            10 => Both(self.inner(), self.inner()),
            _ => Check,
        }
    }

    /// What a call does; rarely the last of them, after which there is nothing to tell.
    fn inner(&self) -> &'static Act {
        let last = INNER.len() - 1;
        let end = if self.below(100) == 0 { last + 1 } else { last };
        &INNER[self.below(end)]
    }
}
