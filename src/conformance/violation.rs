//! The rules that a subject can break.

use alloc::string::String;
use core::fmt;

use crate::conformance::scenario::Scenario;

/// A rule that a subject broke, the scenario, and the evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule} broken, scenario \"{scenario}\": {seen}")]
#[non_exhaustive]
pub struct Violation {
    /// Where it was seen. [`Conformance::check_one`](super::Conformance::check_one) runs it again.
    pub scenario: Scenario,
    /// What was broken.
    pub rule: Rule,
    /// What was seen.
    pub seen: String,
}

/// The rules that are checked. Prints as its name.
///
/// See the crate docs for the rules R, [`op`](crate::op) for the rules O and
/// [`reactor`](crate::reactor) for the rules M.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Exactly one callback for an operation that was started, none for one that was not.
    O1,
    /// No callback inside start or cancel.
    O2,
    /// Cancel cancels once, and is too late once the result is scheduled.
    O3,
    /// A result that is fixed arrives; an operation that was canceled before has the result Canceled.
    O4,
    /// Dropping a handle does not cancel.
    O5,
    /// No call to a recipient that is live.
    R2,
    /// Callbacks are answered or declined.
    R5,
    /// What a call captured goes when it ends, and in the end no operation is left in memory.
    R7,
    /// Nothing holds on to the reactor and its queue once their owner has dropped them.
    R11,
    /// The tally balances, and in the end no call is left.
    R12,
    /// No registration is left.
    M4,
    /// Nothing is left that keeps the loop running.
    M6,
    /// No timer is left.
    M7,
    /// What [`Subject`](super::Subject) asks for: to start operations while it is open, and only
    /// then; operations that are ready when they should be; triggers.
    Subject,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
