//! A subject with its operations, and what can be done to them.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::{Rc, Weak};
use alloc::string::String;
use core::cell::{Cell, RefCell};
use core::error::Error;
use core::iter;

use crate::conformance::log::Log;
use crate::conformance::record::{DropProbe, Phase, Seen};
use crate::conformance::scenario::{Cue, Ending, Scenario, Timing};
use crate::conformance::subject::{Started, Subject};
use crate::conformance::violation::Rule;
use crate::op::{AsyncOp, OpState};
use crate::outcome::Cancellation;
use crate::queue::QueueHandle;

/// A [`Subject`] whose types are of no interest.
pub(super) trait AnySubject {
    fn open(&self);
    fn close(&self);
    fn cancel_all(&self);
    fn is_gated(&self) -> bool;
    fn close_below(&self) -> bool;
    fn leftovers(&self) -> usize;
    fn start(&self, ready: Timing, watch: Sighting) -> Result<Started, Box<dyn Error>>;
}

/// A subject, with its queue.
pub(super) struct TypedSubject<S> {
    subject: S,
    queue: QueueHandle,
}

impl<S: Subject> TypedSubject<S> {
    pub(super) const fn new(subject: S, queue: QueueHandle) -> Self {
        Self { subject, queue }
    }
}

impl<S: Subject> AnySubject for TypedSubject<S> {
    fn open(&self) {
        self.subject.open();
    }

    fn close(&self) {
        self.subject.close();
    }

    fn cancel_all(&self) {
        self.subject.cancel_all();
    }

    fn is_gated(&self) -> bool {
        self.subject.is_gated()
    }

    fn close_below(&self) -> bool {
        self.subject.close_below()
    }

    fn leftovers(&self) -> usize {
        self.subject.leftovers()
    }

    fn start(&self, ready: Timing, watch: Sighting) -> Result<Started, Box<dyn Error>> {
        let (scene, number) = (Weak::clone(&watch.scene), watch.number);
        let done = self.queue.callback(move |_, result| watch.arrive(Seen::of(&result)));
        if let Some(scene) = scene.upgrade() {
            scene.log.name(number, done.id());
        }
        self.subject.start(ready, done)
    }
}

/// What the callback of an operation captures.
pub(super) struct Sighting {
    scene: Weak<Scene>,
    number: usize,
    _captured: DropProbe,
}

impl Sighting {
    /// The handler.
    fn arrive(&self, outcome: Seen) {
        if let Some(scene) = self.scene.upgrade() {
            scene.log.arrive(self.number, outcome);
            if scene.scenario.moment == Cue::InHandler {
                scene.act(self.number);
            }
        }
    }
}

/// An error and its causes, each after a colon.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |error| (*error).source());
    causes.map(|cause| format!(": {cause}")).collect()
}

/// A subject and its operations, in a scenario.
pub(super) struct Scene {
    pub(super) log: Rc<Log>,
    scenario: Scenario,
    subject: RefCell<Option<Rc<dyn AnySubject>>>,
    canceled_all: Cell<bool>,
}

impl Scene {
    pub(super) fn new(scenario: Scenario, log: Rc<Log>, subject: Rc<dyn AnySubject>) -> Rc<Self> {
        let subject = RefCell::new(Some(subject));
        Rc::new(Self { log, scenario, subject, canceled_all: Cell::new(false) })
    }

    pub(super) fn open(&self) {
        self.with_subject("open", |subject| subject.open());
    }

    pub(super) fn close(&self) {
        self.with_subject("close", |subject| subject.close());
    }

    pub(super) fn is_gated(&self) -> bool {
        self.with_subject("is_gated", |subject| subject.is_gated())
    }

    pub(super) fn close_below(&self) -> bool {
        self.with_subject("close_below", |subject| subject.close_below())
    }

    pub(super) fn leftovers(&self) -> usize {
        self.with_subject("leftovers", |subject| subject.leftovers())
    }

    /// Drops the subject.
    pub(super) fn release(&self) {
        let subject = self.subject.take();
        drop(subject);
    }

    /// Starts an operation, which must succeed.
    pub(super) fn start(self: &Rc<Self>) {
        match self.try_start() {
            (number, Ok(Started { trigger: None, .. })) if self.scenario.ready == Timing::Later => {
                self.log.started(number, None, None);
                self.log.find(Rule::Subject, || "ready later, but without a trigger".into());
            }
            (number, Ok(Started { op, trigger })) => self.log.started(number, op, trigger),
            (_, Err(error)) => {
                self.log.find(Rule::Subject, || {
                    format!("a start failed while open{}", causes(&*error))
                });
            }
        }
    }

    /// Starts an operation, which must fail, as the module is not open.
    pub(super) fn start_in_vain(self: &Rc<Self>) {
        match self.try_start() {
            (_, Ok(_)) => {
                self.log.find(Rule::Subject, || "a start succeeded while not open".into());
            }
            (number, Err(_)) => self.log.refused(number),
        }
    }

    /// Starts an operation that may be refused, as something is closed; returns its number if it was not.
    pub(super) fn start_or_not(self: &Rc<Self>) -> Option<usize> {
        match self.try_start() {
            (number, Ok(Started { op, trigger })) => {
                self.log.started(number, op, trigger);
                Some(number)
            }
            (number, Err(_)) => {
                self.log.refused(number);
                None
            }
        }
    }

    /// Starts an operation, and closes the subject at step `at` that is seen in its start function; returns
    /// false if there are fewer.
    pub(super) fn close_in_start(self: &Rc<Self>, at: usize) -> (Option<usize>, bool) {
        let scene = Rc::downgrade(self);
        self.log.at_step(at, move || {
            if let Some(scene) = scene.upgrade() {
                scene.close();
            }
        });
        let number = self.start_or_not();
        (number, self.log.forget_step())
    }

    fn try_start(self: &Rc<Self>) -> (usize, Result<Started, Box<dyn Error>>) {
        let ready = self.scenario.ready;
        let (number, _captured) = self.log.add(ready == Timing::AtOnce);
        let watch = Sighting { scene: Rc::downgrade(self), number, _captured };
        (number, self.with_subject("start", |subject| subject.start(ready, watch)))
    }

    /// Pulls the trigger of an operation.
    pub(super) fn trigger(&self, number: usize) {
        if let Some(trigger) = self.log.take_trigger(number) {
            trigger();
        }
    }

    /// Does to an operation what the scenario asks for.
    pub(super) fn act(&self, number: usize) {
        match (self.scenario.ending, self.log.op(number)) {
            (Ending::Complete, _) => self.drop_handle(number),
            (Ending::Cancel, Some(op)) => self.cancel(number, &op),
            (Ending::Cancel, None) => self.cancel_all(),
        }
    }

    fn cancel(&self, number: usize, op: &AsyncOp) {
        let due = self.log.cancel(number);
        let returned = self.log.inside("cancel", || op.cancel());
        match due {
            Some(due) if due != returned => self.log.find(Rule::O3, || {
                format!("cancel of operation {number} returned {returned:?} where {due:?} is due")
            }),
            None if returned == Cancellation::Late => self.log.late(number),
            _ => {}
        }
        if self.log.inside("cancel", || op.cancel()) == Cancellation::Canceled {
            self.log.find(Rule::O3, || format!("operation {number} was canceled twice"));
        }
    }

    /// Cancels all that run, once.
    pub(super) fn cancel_all(&self) {
        if self.canceled_all.replace(true) {
            return;
        }
        for number in 0..self.log.len() {
            let _ = self.log.cancel(number);
        }
        self.with_subject("cancel_all", |subject| subject.cancel_all());
        self.with_subject("cancel_all", |subject| subject.cancel_all());
    }

    /// Drops the handle of an operation.
    pub(super) fn drop_handle(&self, number: usize) {
        let Some(op) = self.log.take_op(number) else { return };
        let (stage, state) = (self.log.stage(number), op.state());
        if stage != Phase::Running && state != OpState::Completed {
            self.log.find(Rule::O3, || {
                format!("the result of operation {number} is scheduled, and it is still {state:?}")
            });
        }
    }

    fn with_subject<R>(
        &self,
        name: &'static str,
        function: impl FnOnce(&dyn AnySubject) -> R,
    ) -> R {
        let subject = self.subject.borrow().clone();
        let subject = subject.unwrap_or_else(|| unreachable!("nothing is done after `release`"));
        self.log.inside(name, || function(&*subject))
    }
}
