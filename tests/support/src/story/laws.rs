//! What stories say of laws that are broken, and how their user code acts and panics.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use super::Decisions;

/// The first law that was broken. (A panic could be caught by those that are checked, or abort.)
#[derive(Default)]
pub struct Verdict(RefCell<Option<String>>);

impl Verdict {
    pub fn check(&self, law: &str, holds: bool, says: impl FnOnce() -> String) {
        if !holds {
            self.0.borrow_mut().get_or_insert_with(|| format!("{law}: {}", says()));
        }
    }

    pub fn equal<T: PartialEq + fmt::Debug + Copy>(&self, law: &str, what: &str, is: T, should: T) {
        self.check(law, is == should, || format!("{what}: {is:?}, but should be {should:?}"));
    }

    /// # Errors
    ///
    /// The law that was broken.
    pub fn result(&self) -> Result<(), String> {
        self.0.borrow().clone().map_or(Ok(()), Err)
    }
}

/// A panic of the story's own.
struct OnPurpose;

/// Unwinds without the panic hook: fuzzers take each panic that it sees for a find.
pub fn unwind() -> ! {
    panic::resume_unwind(Box::new(OnPurpose));
}

/// Runs code that may [`unwind`]. `None` if it did; a panic of another kind goes on.
pub fn attempt<R>(run: impl FnOnce() -> R) -> Option<R> {
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<OnPurpose>() => None,
        Err(panic) => panic::resume_unwind(panic),
    }
}

/// How much the user code of a story does: its acts, and those of what they run.
pub struct Acting {
    pub left: Cell<u32>,
    depth: Cell<u32>,
    deepest: u32,
}

impl Acting {
    pub const fn new(acts: u32, deepest: u32) -> Self {
        Self { left: Cell::new(acts), depth: Cell::new(0), deepest }
    }

    pub fn depth(&self) -> u32 {
        self.depth.get()
    }

    /// Whether there may be another act here.
    pub fn may(&self) -> bool {
        self.depth.get() < self.deepest && self.left.get() > 0
    }

    /// Acts once. A panic goes on, unless that would abort.
    pub fn act(&self, verdict: &Verdict, once: impl FnOnce()) {
        self.left.set(self.left.get() - 1);
        self.depth.set(self.depth.get() + 1);
        let acted = panic::catch_unwind(AssertUnwindSafe(once));
        self.depth.set(self.depth.get() - 1);
        if let Err(panic) = acted {
            let holds = panic.is::<OnPurpose>();
            verdict.check("R13", holds, || "a panic that is not on purpose".into());
            if !thread::panicking() {
                panic::resume_unwind(panic);
            }
        }
    }
}

/// Panics in one case of `odds`, unless that would abort.
pub fn unwind_perhaps(decisions: &Decisions, odds: usize) {
    if !thread::panicking() && decisions.one_in(odds) {
        unwind();
    }
}
