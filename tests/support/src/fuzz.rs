//! Stories that bytes tell, for fuzzers: each byte decides what happens next, and every law is checked
//! as it does. `fuzz/` has a target for each of them, `tests/fuzz/main.rs` tells again what those
//! have found.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use crate::random::Random;
#[cfg(feature = "testing")]
use crate::simulation;
use crate::{reactor_stories, sequences, user_code};

pub mod ids;
pub mod operations;
pub mod queue;
pub mod timers;
pub mod whole_loop;

/// Runs a story.
pub type Run = fn(&[u8]);

/// The stories by name.
pub const TARGETS: &[(&str, Run)] = &[
    ("ids", ids::run),
    ("operations", operations::run),
    ("queue", queue::run),
    ("reactor_stories", reactor_stories),
    ("sequences", sequences),
    #[cfg(feature = "testing")]
    ("simulation", simulation),
    ("timers", timers::run),
    ("user_code", user_code),
    ("whole_loop", whole_loop::run),
];

/// The first byte, and the numbers that the others decide.
fn decided(story: &[u8]) -> (u64, Random) {
    let (kind, rest) = story.split_first().unwrap_or((&0, &[]));
    (u64::from(*kind), Random::of_bytes(rest))
}

/// A sequence of acts, on the queue and on the model of its rules.
pub fn sequences(story: &[u8]) {
    if let Err(fault) = sequences::decided(Random::of_bytes(story)) {
        panic!("{fault}");
    }
}

/// Code of users that acts, or panics, wherever the queue runs it.
pub fn user_code(story: &[u8]) {
    let (kind, random) = decided(story);
    let broken = user_code::run(kind, random);
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A reactor on real sockets, and a queue beside it.
pub fn reactor_stories(story: &[u8]) {
    let (kind, random) = decided(story);
    reactor_stories::run(kind / 2, random, kind % 2 == 0);
}

/// The whole loop on a scripted reactor.
#[cfg(feature = "testing")]
pub fn simulation(story: &[u8]) {
    let (kind, random) = decided(story);
    if let Err(broken) = simulation::simulate(kind, random) {
        panic!("{broken}");
    }
}

/// The bytes that decide. When they are over, all decisions are 0.
pub struct Script {
    bytes: Vec<u8>,
    at: Cell<usize>,
}

impl Script {
    /// Of a long script only the beginning counts.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes[..bytes.len().min(4096)].to_vec(), at: Cell::new(0) }
    }

    pub fn is_over(&self) -> bool {
        self.at.get() >= self.bytes.len()
    }

    pub fn byte(&self) -> u8 {
        let at = self.at.get();
        self.at.set(at + 1);
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// A number below `end`, which is not 0.
    pub fn pick(&self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// One of `of`, or none if there is none.
    pub fn one<T: Clone>(&self, of: &[T]) -> Option<T> {
        let at = self.pick(of.len().max(1));
        of.get(at).cloned()
    }
}

/// A panic of the story's own.
struct OnPurpose;

/// Unwinds without the panic hook: fuzzers take each panic that it sees for a find.
pub fn unwind() {
    panic::resume_unwind(Box::new(OnPurpose));
}

/// Runs code that may [`unwind`]. `None` if it did.
pub fn attempt<R>(run: impl FnOnce() -> R) -> Option<R> {
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<OnPurpose>() => None,
        Err(panic) => panic::resume_unwind(panic),
    }
}
