//! Stories that bytes tell, for fuzzers: each byte decides what happens next, and every law is checked
//! as it does. `fuzz/` has a target for each of them, `tests/fuzz/main.rs` tells again what those
//! have found.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

pub mod ids;
pub mod operations;
pub mod queue;
pub mod timers;
pub mod whole_loop;

/// Tells a story.
pub type Tell = fn(&[u8]);

/// The stories by name.
pub const TARGETS: [(&str, Tell); 5] = [
    ("ids", ids::run),
    ("operations", operations::run),
    ("queue", queue::run),
    ("timers", timers::run),
    ("whole_loop", whole_loop::run),
];

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
