//! What is known of the operations of one scenario, and what is seen to be wrong with them.
//!
//! - I1 Nothing is borrowed while code of the subject runs.
//! - I2 The first finding stays: what is seen later may follow from it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::mem::replace;
use core::ops::Range;
use std::collections::HashMap;

use crate::conformance::record::{DropProbe, Expected, Phase, Record, Seen};
use crate::conformance::subject::Trigger;
use crate::conformance::violation::Rule;
use crate::id::CallId;
use crate::observe::Observer;
use crate::op::AsyncOp;
use crate::op_step::OpStep;
use crate::outcome::Cancellation;
use crate::step::Refusal;
use crate::step::Step;

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
    /// Callbacks whose captures were dropped.
    drops: Rc<Cell<usize>>,
    /// The function of the subject that runs, if no callback may run inside.
    inside: Cell<Option<&'static str>>,
    /// What is done at a step, and after how many others.
    at_step: RefCell<Option<(usize, Trigger)>>,
    finding: RefCell<Option<Finding>>,
}

pub(super) type Finding = (Rule, String);

/// Events.
impl Log {
    /// An operation is about to be started.
    pub(super) fn add(&self, ready: bool) -> (usize, DropProbe) {
        self.made.set(self.made.get() + 1);
        let mut operations = self.operations.borrow_mut();
        operations.push(Record::new(ready));
        (operations.len() - 1, DropProbe::new(&self.drops))
    }

    /// The callback of an operation has been created.
    pub(super) fn name(&self, number: usize, id: CallId) {
        self.numbers.borrow_mut().insert(id, number);
    }

    /// An operation has been started.
    pub(super) fn started(&self, number: usize, op: Option<AsyncOp>, trigger: Option<Trigger>) {
        let stage = self.with(number, |record| {
            (record.op, record.trigger) = (op, trigger);
            if record.stage == Phase::Starting {
                record.stage = Phase::Running;
            }
            record.stage
        });
        if stage == Phase::Ended {
            self.find(Rule::O1, || lost(number, "declined"));
        }
    }

    /// An operation has not been started, as it should be.
    pub(super) fn refused(&self, number: usize) {
        let seen = match self.stage(number) {
            Phase::Ended => return self.check_drops(),
            Phase::Scheduled | Phase::Arrived => "answered",
            Phase::Starting | Phase::Running => "not declined",
        };
        self.find(Rule::O1, || format!("a start failed, and its callback is {seen}"));
    }

    /// Forgets the operations that have been refused: later ones are counted from 0 again.
    pub(super) fn forget_refused(&self) {
        let refused = self.operations.take();
        drop(refused);
        self.numbers.take();
        self.completing.take();
    }

    /// An operation is canceled, in a moment. Returns the violation that this shows, if it is certain.
    pub(super) fn cancel(&self, number: usize) -> Option<Cancellation> {
        self.with(number, Record::cancel)
    }

    /// An operation was canceled as its module was closed. Its result may have been scheduled by that.
    pub(super) fn closed(&self, number: usize) {
        self.with(number, |record| {
            if record.cancel() == Some(Cancellation::Late) {
                record.due = Expected::Either;
            }
        });
    }

    /// The subject reported that a cancel was too late.
    pub(super) fn late(&self, number: usize) {
        self.with(number, |record| record.due = Expected::Real);
    }

    /// The callback of an operation is live, with a result.
    pub(super) fn arrive(&self, number: usize, outcome: Seen) {
        if let Some(inside) = self.inside.get() {
            self.find(Rule::O2, || format!("the callback of operation {number} ran in {inside}"));
        }
        if let Some((rule, seen)) = self.with(number, |record| record.arrive(outcome)) {
            self.find(rule, || format!("operation {number} {seen}"));
        }
    }

    /// Runs a function of the subject, in which no callback may run.
    pub(super) fn inside<R>(&self, name: &'static str, function: impl FnOnce() -> R) -> R {
        let before = self.inside.replace(Some(name));
        let value = function();
        self.inside.set(before);
        value
    }
}

impl Log {
    /// Calls `action` once `skipped` more steps have been seen.
    pub(super) fn at_step(&self, skipped: usize, action: impl FnOnce() + 'static) {
        self.at_step.replace(Some((skipped, Box::new(action))));
    }

    /// Forgets the action; whether it was called.
    pub(super) fn forget_step(&self) -> bool {
        self.at_step.take().is_none()
    }

    fn step(&self) {
        let due = self.at_step.take();
        match due {
            Some((0, action)) => action(),
            Some((more, action)) => drop(self.at_step.replace(Some((more - 1, action)))),
            None => {}
        }
    }
}

impl Observer for Log {
    fn observe_operation(&self, _: CallId, _: &OpStep) {
        self.step();
    }

    fn observe(&self, call: CallId, step: &Step) {
        self.step();
        match step {
            Step::Scheduled { .. } => {
                if let Some(number) = self.number(call) {
                    self.with(number, |record| record.stage = Phase::Scheduled);
                    self.completing.borrow_mut().push_back(number);
                }
            }
            Step::Canceled { reason } => {
                if let Some((number, Phase::Running | Phase::Scheduled)) = self.end(call) {
                    self.find(Rule::O1, || lost(number, reason));
                }
            }
            Step::Abandoned { .. } => match self.end(call) {
                Some((_, Phase::Starting)) => {
                    self.find(Rule::R5, || "a start dropped its callback".into());
                }
                Some((number, _)) => {
                    let seen = || format!("the callback of operation {number} was dropped");
                    self.find(Rule::R5, seen);
                }
                None => self.find(Rule::R5, || format!("call {call} {step}")),
            },
            Step::Refused { refusal: Refusal::Live { .. }, .. } => {
                self.find(Rule::R2, || format!("call {call} {step}"));
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

    pub(super) fn stage(&self, number: usize) -> Phase {
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

    /// How many of these callbacks were not called.
    pub(super) fn missing(&self, numbers: Range<usize>) -> usize {
        let operations = self.operations.borrow();
        operations[numbers].iter().filter(|record| record.stage != Phase::Arrived).count()
    }

    /// Finds out why some of these never completed.
    pub(super) fn find_missing(&self, numbers: Range<usize>) {
        let (missing, of) = (self.missing(numbers.clone()), numbers.len());
        let Some(first) = numbers.into_iter().find(|&number| self.stage(number) != Phase::Arrived)
        else {
            return;
        };
        let (rule, how) = match self.with(first, |record| record.due) {
            Expected::Canceled => (Rule::O3, ", though canceled"),
            Expected::Real | Expected::Either => (Rule::O1, ""),
        };
        self.find(rule, || {
            format!(
                "{missing} of {of} operations never completed{how}; operation {first} is the first"
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
        if self.finding.borrow().is_none() {
            let seen = seen(); // may format an error of the subject
            self.finding.borrow_mut().get_or_insert((rule, seen));
        }
    }

    pub(super) fn finding(&self) -> Option<Finding> {
        self.finding.borrow().clone()
    }

    /// The operation whose callback this is.
    fn number(&self, call: CallId) -> Option<usize> {
        self.numbers.borrow().get(&call).copied()
    }

    /// Notes that the callback of an operation ends without a call; returns how far it was.
    fn end(&self, call: CallId) -> Option<(usize, Phase)> {
        let number = self.number(call)?;
        Some((number, self.with(number, |record| replace(&mut record.stage, Phase::Ended))))
    }

    fn with<R>(&self, number: usize, function: impl FnOnce(&mut Record) -> R) -> R {
        function(&mut self.operations.borrow_mut()[number])
    }
}
