//! What is known of the operations of one scenario, and what is seen to be wrong with them.
//!
//! - I1 Nothing is borrowed while code of the subject runs.
//! - I2 The first finding stays: what is seen later may follow from it.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::mem::replace;
use core::ops::Range;
use std::collections::HashMap;

use crate::call::{CallId, Refusal};
use crate::conformance::{Rule, Trigger};
use crate::observe::{Observer, Step};
use crate::op::{AsyncOp, OpError, OpResult};
use crate::queue::Cancellation;

/// The operations of a scenario, by their number, and the first finding.
#[derive(Default)]
pub(super) struct Log {
    operations: RefCell<Vec<Record>>,
    /// Their callbacks.
    numbers: RefCell<HashMap<CallId, usize>>,
    /// Those whose result was scheduled since this was asked last.
    completing: RefCell<VecDeque<usize>>,
    /// Callbacks created.
    made: Cell<usize>,
    /// Callbacks that have come.
    arrived: Cell<usize>,
    /// Callbacks whose captures were dropped.
    drops: Rc<Cell<usize>>,
    /// The function of the subject that runs, if no callback may run inside.
    inside: Cell<Option<&'static str>>,
    finding: RefCell<Option<Finding>>,
}

pub(super) type Finding = (Rule, String);

/// One operation.
struct Record {
    stage: Stage,
    due: Due,
    ready: bool,
    canceled: bool,
    op: Option<AsyncOp>,
    trigger: Option<Trigger>,
}

/// How far the callback of an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// With a start function that has not returned.
    Starting,
    /// With an operation that runs.
    Running,
    Scheduled,
    Arrived,
    /// Ended without a call.
    Ended,
}

/// Which result is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Any but Canceled.
    Real,
    Canceled,
    Either,
}

/// Which result came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Real,
    Canceled,
    Dropped,
}

impl Outcome {
    pub(super) const fn of<A, E>(result: &OpResult<A, E>) -> Self {
        match result {
            Err(OpError::Canceled) => Self::Canceled,
            Err(OpError::Dropped) => Self::Dropped,
            _ => Self::Real,
        }
    }
}

/// What a callback captures: its drop is counted.
pub(super) struct Captured(Rc<Cell<usize>>);

impl Drop for Captured {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Events.
impl Log {
    /// An operation is about to be started.
    pub(super) fn add(&self, ready: bool) -> (usize, Captured) {
        let (stage, due) = (Stage::Starting, Due::Real);
        let record = Record { stage, due, ready, canceled: false, op: None, trigger: None };
        self.made.set(self.made.get() + 1);
        let mut operations = self.operations.borrow_mut();
        operations.push(record);
        (operations.len() - 1, Captured(Rc::clone(&self.drops)))
    }

    /// The callback of an operation has been created.
    pub(super) fn name(&self, number: usize, id: CallId) {
        self.numbers.borrow_mut().insert(id, number);
    }

    /// An operation has been started.
    pub(super) fn started(&self, number: usize, op: Option<AsyncOp>, trigger: Option<Trigger>) {
        let stage = self.with(number, |record| {
            (record.op, record.trigger) = (op, trigger);
            if record.stage == Stage::Starting {
                record.stage = Stage::Running;
            }
            record.stage
        });
        if stage == Stage::Ended {
            self.find(Rule::O1, || lost(number, "declined"));
        }
    }

    /// An operation has not been started, as it should be.
    pub(super) fn refused(&self, number: usize) {
        let seen = match self.stage(number) {
            Stage::Ended => return self.check_drops(),
            Stage::Scheduled | Stage::Arrived => "answered",
            Stage::Starting | Stage::Running => "not declined",
        };
        self.find(Rule::O1, || format!("a start failed, and its callback is {seen}"));
    }

    /// Forgets the operations that have been refused: those to come are counted from 0 again.
    pub(super) fn forget_refused(&self) {
        let refused = self.operations.take();
        drop(refused);
        self.numbers.take();
        self.completing.take();
    }

    /// An operation is canceled, in a moment. Tells what to expect of that.
    pub(super) fn cancel(&self, number: usize) -> Option<Cancellation> {
        self.with(number, |record| {
            record.canceled = true;
            match record.stage {
                Stage::Starting | Stage::Running if record.ready => {
                    record.due = Due::Either;
                    None
                }
                Stage::Starting | Stage::Running => {
                    record.due = Due::Canceled;
                    Some(Cancellation::Canceled)
                }
                Stage::Scheduled | Stage::Arrived | Stage::Ended => Some(Cancellation::Late),
            }
        })
    }

    /// A cancel was too late, says the subject.
    pub(super) fn late(&self, number: usize) {
        self.with(number, |record| record.due = Due::Real);
    }

    /// The callback of an operation is live, with a result.
    pub(super) fn arrive(&self, number: usize, outcome: Outcome) {
        self.arrived.set(self.arrived.get() + 1);
        if let Some(inside) = self.inside.get() {
            self.find(Rule::O2, || format!("the callback of operation {number} ran in {inside}"));
        }
        let (due, ready, canceled) = self.with(number, |record| {
            record.stage = Stage::Arrived;
            (record.due, record.ready, record.canceled)
        });
        let (rule, seen) = match (outcome, due) {
            (Outcome::Dropped, _) => (Rule::O1, "was dropped by its module"),
            (Outcome::Canceled, Due::Real) if canceled => {
                (Rule::O4, "came out Canceled by a cancel that was too late")
            }
            (Outcome::Canceled, Due::Real) => (Rule::O5, "came out Canceled by nobody"),
            (Outcome::Real, Due::Canceled) => {
                (Rule::O4, "was canceled before it was ready, and came out otherwise")
            }
            (Outcome::Real, _) if !ready => (Rule::Subject, "completed before it was ready"),
            _ => return,
        };
        self.find(rule, || format!("operation {number} {seen}"));
    }

    /// Runs a function of the subject, in which no callback may run.
    pub(super) fn inside<R>(&self, name: &'static str, function: impl FnOnce() -> R) -> R {
        let before = self.inside.replace(Some(name));
        let value = function();
        self.inside.set(before);
        value
    }
}

impl Observer for Log {
    fn observe(&self, call: CallId, step: &Step) {
        let number = self.numbers.borrow().get(&call).copied();
        match (step, number) {
            (Step::Scheduled { .. }, Some(number)) => {
                self.with(number, |record| record.stage = Stage::Scheduled);
                self.completing.borrow_mut().push_back(number);
            }
            (Step::Canceled { reason }, Some(number)) => {
                let stage = self.with(number, |record| replace(&mut record.stage, Stage::Ended));
                if stage != Stage::Starting {
                    self.find(Rule::O1, || lost(number, reason));
                }
            }
            (Step::Abandoned { .. }, Some(number)) => {
                let stage = self.with(number, |record| replace(&mut record.stage, Stage::Ended));
                self.find(Rule::R5, || match stage {
                    Stage::Starting => "a start dropped its callback".into(),
                    _ => format!("the callback of operation {number} was dropped"),
                });
            }
            (Step::Abandoned { .. } | Step::Refused { refusal: Refusal::Live { .. }, .. }, _) => {
                let abandoned = matches!(step, Step::Abandoned { .. });
                let rule = if abandoned { Rule::R5 } else { Rule::R2 };
                self.find(rule, || format!("call {call} {step}"));
            }
            _ => {}
        }
    }
}

fn lost(number: usize, how: &str) -> String {
    format!("operation {number} was started, and its callback canceled: {how}")
}

/// Questions.
impl Log {
    pub(super) fn len(&self) -> usize {
        self.operations.borrow().len()
    }

    pub(super) fn stage(&self, number: usize) -> Stage {
        self.with(number, |record| record.stage)
    }

    pub(super) fn op(&self, number: usize) -> Option<AsyncOp> {
        self.with(number, |record| record.op.clone())
    }

    pub(super) fn take_op(&self, number: usize) -> Option<AsyncOp> {
        self.with(number, |record| record.op.take())
    }

    /// Takes the trigger, which is about to be pulled.
    pub(super) fn take_trigger(&self, number: usize) -> Option<Trigger> {
        self.with(number, |record| {
            record.ready = true;
            record.trigger.take()
        })
    }

    pub(super) fn next_completing(&self) -> Option<usize> {
        self.completing.borrow_mut().pop_front()
    }

    /// How many callbacks have come.
    pub(super) const fn arrived(&self) -> usize {
        self.arrived.get()
    }

    /// Whether the callbacks of all these have come.
    pub(super) fn have_arrived(&self, numbers: Range<usize>) -> bool {
        let operations = self.operations.borrow();
        operations[numbers].iter().all(|record| record.stage == Stage::Arrived)
    }

    /// Finds out why some of these never completed.
    pub(super) fn find_missing(&self, numbers: Range<usize>) {
        let (missing, first) = {
            let operations = self.operations.borrow();
            let is_missing = |&number: &usize| operations[number].stage != Stage::Arrived;
            (numbers.clone().filter(is_missing).count(), numbers.clone().find(is_missing))
        };
        let Some(first) = first else { return };
        let canceled = self.with(first, |record| record.due == Due::Canceled);
        let rule = if canceled { Rule::O3 } else { Rule::O1 };
        let how = if canceled { ", though canceled" } else { "" };
        let of = numbers.len();
        self.find(rule, || {
            format!(
                "{missing} of {of} operations never completed{how}, number {first} to begin with"
            )
        });
    }

    /// Finds what callbacks captured and was not dropped; none is under way.
    pub(super) fn check_drops(&self) {
        let (made, dropped) = (self.made.get(), self.drops.get());
        if dropped != made {
            self.find(Rule::R7, || {
                format!("{made} callbacks are over, and the captures of {dropped} dropped")
            });
        }
    }

    pub(super) fn find(&self, rule: Rule, seen: impl FnOnce() -> String) {
        self.finding.borrow_mut().get_or_insert_with(|| (rule, seen()));
    }

    pub(super) fn finding(&self) -> Option<Finding> {
        self.finding.borrow().clone()
    }

    fn with<R>(&self, number: usize, function: impl FnOnce(&mut Record) -> R) -> R {
        function(&mut self.operations.borrow_mut()[number])
    }
}
