//! One operation: how far it is, and which result is due. What may happen when is decided here.

use alloc::rc::Rc;
use core::cell::Cell;

use crate::conformance::subject::Trigger;
use crate::conformance::violation::Rule;
use crate::op::{AsyncOp, OpError, OpResult};
use crate::outcome::Cancellation;

pub(super) struct Record {
    pub(super) stage: Phase,
    pub(super) due: Expected,
    pub(super) ready: bool,
    canceled: bool,
    pub(super) op: Option<AsyncOp>,
    pub(super) trigger: Option<Trigger>,
}

/// How far the callback of an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// With a start function that has not returned.
    Starting,
    /// With an operation that runs.
    Running,
    Scheduled,
    Arrived,
    /// Ended without a call.
    Ended,
}

/// The result that must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Any but Canceled.
    Real,
    Canceled,
    Either,
}

/// The result that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Real,
    Canceled,
    Dropped,
}

impl Record {
    pub(super) const fn new(ready: bool) -> Self {
        let (stage, due) = (Phase::Starting, Expected::Real);
        Self { stage, due, ready, canceled: false, op: None, trigger: None }
    }

    /// It is canceled, in a moment. Returns the violation that this shows, if it is certain: an
    /// operation that is ready may be complete already.
    pub(super) const fn cancel(&mut self) -> Option<Cancellation> {
        self.canceled = true;
        match self.stage {
            Phase::Starting | Phase::Running if self.ready => {
                self.due = Expected::Either;
                None
            }
            Phase::Starting | Phase::Running => {
                self.due = Expected::Canceled;
                Some(Cancellation::Canceled)
            }
            Phase::Scheduled | Phase::Arrived | Phase::Ended => Some(Cancellation::Late),
        }
    }

    /// Its result is there. Returns the violation, if there is one.
    pub(super) const fn arrive(&mut self, outcome: Seen) -> Option<(Rule, &'static str)> {
        self.stage = Phase::Arrived;
        Some(match (outcome, self.due) {
            (Seen::Dropped, _) => (Rule::O1, "was dropped by its module"),
            (Seen::Canceled, Expected::Real) if self.canceled => {
                (Rule::O4, "came out Canceled by a cancel that was too late")
            }
            (Seen::Canceled, Expected::Real) => (Rule::O5, "came out Canceled by nobody"),
            (Seen::Real, Expected::Canceled) => {
                (Rule::O4, "was canceled before it was ready, and came out otherwise")
            }
            (Seen::Real, _) if !self.ready => (Rule::Subject, "completed before it was ready"),
            _ => return None,
        })
    }
}

impl Seen {
    pub(super) const fn of<A, E>(result: &OpResult<A, E>) -> Self {
        match result {
            Err(OpError::Canceled) => Self::Canceled,
            Err(OpError::Dropped) => Self::Dropped,
            _ => Self::Real,
        }
    }
}

/// What a callback captures: its drop is counted.
pub(super) struct DropProbe(Rc<Cell<usize>>);

impl DropProbe {
    pub(super) fn new(drops: &Rc<Cell<usize>>) -> Self {
        Self(Rc::clone(drops))
    }
}

impl Drop for DropProbe {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{Arrived, Ended, Running, Scheduled, Starting};
    use super::Seen::{Canceled, Dropped, Real};
    use super::{Phase, Record, Seen};
    use crate::conformance::violation::Rule;
    use crate::outcome::Cancellation;

    /// What a record in this stage expects of a cancel, and then finds wrong with each outcome.
    fn canceled(stage: Phase, ready: bool) -> (Option<Cancellation>, [Option<Rule>; 3]) {
        let record = || {
            let mut record = Record::new(ready);
            record.stage = stage;
            let due = record.cancel();
            (record, due)
        };
        let rule = |outcome: Seen| record().0.arrive(outcome).map(|(rule, _)| rule);
        (record().1, [Real, Canceled, Dropped].map(rule))
    }

    #[test]
    fn a_cancel_before_the_result_is_scheduled_may_win() {
        for stage in [Starting, Running] {
            let wins = Some(Cancellation::Canceled);
            let lost = Some(Rule::O1);
            assert_eq!(canceled(stage, false), (wins, [Some(Rule::O4), None, lost]));
            assert_eq!(canceled(stage, true), (None, [None, None, lost]));
        }
    }

    #[test]
    fn a_cancel_after_that_is_late() {
        for stage in [Scheduled, Arrived, Ended] {
            let (said, [real, canceled, dropped]) = canceled(stage, true);
            assert_eq!(said, Some(Cancellation::Late));
            assert_eq!([real, canceled, dropped], [None, Some(Rule::O4), Some(Rule::O1)]);
        }
    }

    #[test]
    fn without_a_cancel_the_real_result_is_due_once_it_is_ready() {
        let rule = |ready, outcome| Record::new(ready).arrive(outcome).map(|(rule, _)| rule);
        assert_eq!(rule(true, Real), None);
        assert_eq!(rule(false, Real), Some(Rule::Subject));
        assert_eq!(rule(true, Canceled), Some(Rule::O5));
        assert_eq!(rule(true, Dropped), Some(Rule::O1));
    }
}
