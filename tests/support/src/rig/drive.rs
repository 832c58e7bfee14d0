//! The driver of a composition: starts, cancels and turns, watches that nothing is reported where it
//! must not be, and checks at the end that nothing is left.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use mio::net::UnixStream;
use switchboard::op::{AsyncOp, OpState};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::Closed;
use switchboard::{Cancellation, Recipient, Report, Tally};

use super::low::settle;
use super::{Composition, Outcome, Recipe, Recorder, Script, Socket};

/// How long a poll may sleep before the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A reactor, and how it goes on.
pub trait Drive: Deref<Target = ReactorHandle> + Sized {
    /// What the compositions read from.
    type Socket: Socket;

    fn make() -> Self;

    /// Goes on, waiting for readiness if nothing is to be done.
    fn go_on(&mut self) -> Report;

    /// Whether anything is to be done before operations that wait are made ready.
    fn has_news(&mut self) -> bool;
}

impl Drive for Reactor {
    type Socket = UnixStream;

    fn make() -> Self {
        Self::new().expect("a reactor")
    }

    fn go_on(&mut self) -> Report {
        self.turn(Some(PATIENCE)).expect("a turn")
    }

    fn has_news(&mut self) -> bool {
        !self.queue().is_idle()
    }
}

/// On a real reactor.
pub type Rig = RigOn<Reactor>;

/// A composition on a reactor of its own, and what it has reported.
pub struct RigOn<R> {
    pub recipe: Recipe,
    pub reactor: R,
    /// What the test is at, for the text of assertions.
    label: String,
    composition: Option<Box<dyn Composition>>,
    recorder: Recipient<Recorder>,
    outcomes: Rc<RefCell<Vec<(usize, Outcome)>>>,
    closed: Rc<RefCell<Vec<Closed>>>,
    unwinds: Rc<Cell<bool>>,
    /// One for each operation that was started.
    operations: Vec<(Script, Option<AsyncOp>)>,
    /// How many closes of the composition are to be reported.
    closes: usize,
    /// Panics that came through a turn.
    panics: u64,
    /// Turns in which nothing happened, since something did.
    idle_turns: usize,
}

impl<R: Drive> RigOn<R> {
    /// Makes a composition and opens it.
    pub fn open(recipe: Recipe, label: impl fmt::Debug) -> Self {
        let rig = Self::unopened(recipe, label);
        rig.composition().open();
        rig
    }

    /// Makes a composition.
    pub fn unopened(recipe: Recipe, label: impl fmt::Debug) -> Self {
        let reactor = R::make();
        let recorder = Recorder::default();
        let (outcomes, closed) = (Rc::clone(&recorder.outcomes), Rc::clone(&recorder.closed));
        let unwinds = Rc::clone(&recorder.unwinds);
        Self {
            recipe,
            label: format!("{recipe}, {label:?}"),
            composition: Some((recipe.make)(&reactor)),
            recorder: reactor.queue().recipient(recorder),
            reactor,
            outcomes,
            closed,
            unwinds,
            operations: Vec::new(),
            closes: 0,
            panics: 0,
            idle_turns: 0,
        }
    }

    /// The same, with one call dialed a turn.
    pub fn stepwise(recipe: Recipe, label: impl fmt::Debug) -> Self {
        let rig = Self::open(recipe, label);
        rig.reactor.set_budget(1);
        rig
    }

    /// Starts an operation; its outcome does not come meanwhile. Returns its number.
    #[track_caller]
    pub fn start(&mut self, script: &Script) -> usize {
        let number = self.operations.len();
        let op = self.quietly(|rig| rig.composition().start(script, &rig.recorder, number));
        self.keep(script, op)
    }

    /// Starts an operation with the request that was handed back last. Returns its number.
    #[track_caller]
    pub fn start_again(&mut self, script: &Script) -> usize {
        let number = self.operations.len();
        let op = self.quietly(|rig| rig.composition().start_again(&rig.recorder, number));
        self.keep(script, op)
    }

    #[track_caller]
    fn keep(&mut self, script: &Script, op: Result<Option<AsyncOp>, ()>) -> usize {
        let op = op.unwrap_or_else(|()| panic!("{}: the start is refused", self.label));
        assert_eq!(op.is_some(), self.recipe.handles, "{}", self.label);
        self.operations.push((script.clone(), op));
        self.operations.len() - 1
    }

    /// Starts an operation in vain. Its callback is declined, which is the only call there is.
    #[track_caller]
    pub fn start_refused(&mut self, script: &Script) {
        let expected = self.after_declining(1);
        let op = self.quietly(|rig| rig.composition().start(script, &rig.recorder, usize::MAX));
        assert!(op.is_err(), "{}: the start is not refused", self.label);
        assert_eq!(self.tally(), expected, "{}: the callback is not declined", self.label);
    }

    /// Starts an operation in vain, as its lowest one cannot be started.
    #[track_caller]
    pub fn start_in_vain(&mut self, script: &Script) {
        let op = self.quietly(|rig| rig.composition().start(script, &rig.recorder, usize::MAX));
        assert!(op.is_err(), "{}: the start does not fail", self.label);
    }

    /// Cancels an operation by its handle; its outcome does not come meanwhile.
    #[track_caller]
    pub fn cancel(&mut self, number: usize) -> Cancellation {
        self.quietly(|rig| rig.op(number).cancel())
    }

    /// Closes the composition; no outcome comes meanwhile.
    #[track_caller]
    pub fn close(&mut self) {
        self.closes += usize::from(!self.recipe.handles);
        self.quietly(|rig| rig.composition().close(&rig.recorder));
    }

    /// Drains the composition, where that is possible; no outcome comes meanwhile.
    #[track_caller]
    pub fn drain_within(&mut self, limit: Duration) {
        self.closes += 1;
        self.quietly(|rig| rig.composition().drain(&rig.reactor, limit, &rig.recorder));
    }

    /// Cancels all operations: by their handles, or by closing.
    #[track_caller]
    pub fn cancel_all(&mut self) {
        if self.recipe.handles {
            for number in 0..self.operations.len() {
                let _ = self.cancel(number);
            }
        } else {
            self.close();
        }
    }

    /// Opens the composition again.
    pub fn reopen(&self) {
        self.composition().open();
    }

    /// Drops the handles of all operations.
    pub fn drop_handles(&mut self) {
        for (_, op) in &mut self.operations {
            *op = None;
        }
    }

    /// Drops the composition.
    pub fn drop_composition(&mut self) {
        settle();
        self.composition = None;
    }

    /// Makes the callbacks of the recorder unwind from now on.
    pub fn unwind_when_notified(&self) {
        self.unwinds.set(true);
    }

    /// Schedules a function call that unwinds.
    pub fn schedule_panic(&self) {
        self.reactor.queue().call(|_| panic::resume_unwind(Box::new("a call")));
    }

    /// Turns until `over`. To wait long for readiness is a failure.
    #[track_caller]
    pub fn until(&mut self, mut over: impl FnMut(&Self) -> bool) {
        while !over(self) {
            self.turn();
        }
    }

    /// Turns until the lowest operation that was made ready is over, and no layer above it has been notified.
    #[track_caller]
    pub fn until_lowest_is_over(&mut self) {
        // Its callback is scheduled by then, and before that, of work, the one that the thread answers.
        let left = self.tally().unscheduled - if self.recipe.fake { 2 } else { 1 };
        self.until(|rig| rig.tally().unscheduled == left);
    }

    /// Goes on by one step: dials a call if the budget is one, else as many as are pending; or if
    /// none is, makes the operation ready that has waited longest. False once all is over.
    #[track_caller]
    pub fn step(&mut self) -> bool {
        if self.is_drained() {
            return false;
        }
        let news = self.reactor.has_news();
        if news || !self.operations.iter().any(|(script, _)| script.trigger()) {
            self.turn();
        }
        true
    }

    /// Goes on until an operation has reported its outcome.
    #[track_caller]
    pub fn until_reported(&mut self, number: usize) {
        while self.outcome(number).is_none() {
            assert!(self.step(), "{}: over, but operation {number} never reported", self.label);
        }
    }

    /// Goes on until all is over, and checks that every operation has reported its outcome, once, and
    /// that nothing is left.
    #[track_caller]
    pub fn finish(mut self, expected: &[Outcome]) {
        self.drain();
        let mut outcomes = self.outcomes.take();
        outcomes.sort_by_key(|(number, _)| *number);
        let expected: Vec<_> = expected.iter().cloned().enumerate().collect();
        assert_eq!(outcomes, expected, "{}", self.label);
        assert_eq!(self.operations.len(), expected.len(), "{}: forgotten by the test", self.label);
    }

    /// Goes on until all is over, and checks that nothing is left.
    #[track_caller]
    pub fn drain(&mut self) {
        while self.step() {}
        let Tally { abandoned, refused, panicked, .. } = self.tally();
        assert_eq!((abandoned, refused, panicked), (0, 0, self.panics), "{}", self.label);
        assert_eq!(self.closed.borrow().len(), self.closes, "{}: closes reported", self.label);
        self.check_nothing_left();
    }

    /// Drops the reactor in the middle of it all, and checks that nothing is left, but threads
    /// that work.
    #[track_caller]
    pub fn abandon(self) {
        let Self { recipe, reactor, label, composition, recorder, operations, .. } = self;
        drop(reactor);
        drop((composition, recorder));
        for (script, op) in operations {
            assert!(op.is_none_or(|op| op.state() == OpState::Completed), "{label}: it is held");
            assert_eq!(script.users(), 1, "{label}: the script");
            assert!(recipe.fake || script.held() == 0, "{label}: requests");
            while script.trigger() {}
        }
    }

    /// Checks, once all is over, that nothing is left of it.
    #[track_caller]
    pub fn check_nothing_left(&self) {
        assert!(self.is_drained(), "{}", self.label);
        assert_eq!(self.running().unwrap_or(0), 0, "{}: in the list", self.label);
        for (number, (script, _)) in self.operations.iter().enumerate() {
            assert_eq!(script.held(), 0, "{}: requests of operation {number}", self.label);
        }
    }

    /// The handle of an operation.
    #[track_caller]
    pub fn op(&self, number: usize) -> &AsyncOp {
        self.operations[number].1.as_ref().expect("its handle")
    }

    /// The script of an operation.
    pub fn script(&self, number: usize) -> &Script {
        &self.operations[number].0
    }

    /// How an operation ended; none if it has not reported.
    #[track_caller]
    pub fn outcome(&self, number: usize) -> Option<Outcome> {
        let outcomes = self.outcomes.borrow();
        let mut of_this = outcomes.iter().filter(|(ended, _)| *ended == number);
        let outcome = of_this.next().map(|(_, outcome)| outcome.clone());
        assert!(of_this.next().is_none(), "{}: reported twice", self.label);
        outcome
    }

    /// Operations that have reported their outcome, in order.
    pub fn reported(&self) -> Vec<usize> {
        self.outcomes.borrow().iter().map(|(number, _)| *number).collect()
    }

    /// How many operations each close has canceled.
    pub fn canceled_by_closing(&self) -> Vec<usize> {
        self.closed.borrow().iter().map(|closed| closed.canceled).collect()
    }

    /// How many operations completed while each close waited for them.
    pub fn completed_while_closing(&self) -> Vec<usize> {
        self.closed.borrow().iter().map(|closed| closed.completed).collect()
    }

    pub fn running(&self) -> Option<usize> {
        self.composition.as_ref()?.running()
    }

    pub fn leftovers(&self) -> usize {
        self.composition.as_ref().map_or(0, |composition| composition.leftovers())
    }

    pub fn tally(&self) -> Tally {
        self.reactor.queue().tally()
    }

    pub fn panics(&self) -> u64 {
        self.panics
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    #[track_caller]
    fn composition(&self) -> &dyn Composition {
        &**self.composition.as_ref().expect("the composition is there")
    }

    /// The tally, once as many callbacks more have been created and declined, and nothing else.
    fn after_declining(&self, callbacks: u64) -> Tally {
        let mut tally = self.tally();
        tally.created += callbacks;
        tally.canceled += callbacks;
        tally
    }

    /// Whether nothing can happen any more.
    fn is_drained(&self) -> bool {
        let Tally { unscheduled, pending, live, .. } = self.tally();
        let handle = &*self.reactor;
        (unscheduled, pending, live) == (0, 0, 0)
            && (handle.registration_count(), handle.timer_count(), self.leftovers()) == (0, 0, 0)
    }

    /// Does something during which nothing may be reported.
    #[track_caller]
    fn quietly<T>(&self, act: impl FnOnce(&Self) -> T) -> T {
        settle();
        let before = (self.outcomes.borrow().len(), self.closed.borrow().len());
        let result = act(self);
        let after = (self.outcomes.borrow().len(), self.closed.borrow().len());
        assert_eq!(before, after, "{}: reported during the act", self.label);
        assert!(self.tally().balances(), "{}", self.label);
        result
    }

    /// One turn, in which something happens. (On mio's `poll`, which may come back once for nothing, in
    /// the second one at the latest. Threads may wake the loop for nothing, too: when the last one that
    /// could report has ended.) A panic in it is counted.
    #[track_caller]
    pub fn turn(&mut self) {
        let something =
            self.turn_once() || cfg!(mio_unsupported_force_poll_poll) && self.turn_once();
        self.idle_turns = if something { 0 } else { self.idle_turns + 1 };
        let most = if self.recipe.fake { 100 } else { 0 };
        assert!(self.idle_turns <= most, "{}: waited {PATIENCE:?} for nothing", self.label);
    }

    #[track_caller]
    fn turn_once(&mut self) -> bool {
        let handle = &*self.reactor;
        let idle = self.reactor.queue().is_idle();
        let waits = self.recipe.fake && self.tally().unscheduled > 0;
        let nothing = (handle.registration_count(), handle.timer_count()) == (0, 0) && !waits;
        let hopeless = idle && nothing;
        assert!(!hopeless, "{}: nothing will happen: {}", self.label, self.tally());
        let before = (self.reactor.event_stats(), self.tally());
        // A canceled call whose turn comes changes no count, nor does one that an observer interrupts.
        let passed_over = match panic::catch_unwind(AssertUnwindSafe(|| self.reactor.go_on())) {
            Ok(report) => report.canceled > 0,
            Err(_) => {
                self.panics += 1;
                true
            }
        };
        assert!(self.tally().balances(), "{}", self.label);
        passed_over || before != (self.reactor.event_stats(), self.tally())
    }
}
