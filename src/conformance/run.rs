//! One scenario, from the making of the reactor to its end.

use alloc::format;
use alloc::rc::{Rc, Weak};
use core::any::Any;
use core::ops::Range;
use core::time::Duration;
use std::time::Instant;

use crate::conformance::log::Log;
use crate::conformance::record::Phase;
use crate::conformance::scenario::{Cue, Ending, Scenario, Timing};
use crate::conformance::scene::{AnySubject, Scene};
use crate::conformance::violation::{Rule, Violation};
use crate::erased::FreeBlocks;
use crate::op::OpState;
use crate::queue::Budget;
use crate::reactor::Reactor;

/// The scenario, and how it runs.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub(super) scenario: Scenario,
    pub(super) patience: Duration,
}

/// Turns without progress before patience can end, so that a stall of the process does not end it.
const TURNS: usize = 100;

/// Makes a subject on a reactor.
type Make<'a> = dyn Fn(&Reactor) -> Rc<dyn AnySubject> + 'a;

/// Runs a scenario; returns how many operations were started. `None` if the subject is always open, and the
/// scenario for others.
pub(super) fn run(setting: Setting, make: &Make<'_>) -> Result<Option<usize>, Violation> {
    let mut run = Run::new(setting, make)?;
    let Scenario { ending, moment, .. } = setting.scenario;
    if setting.scenario.is_of_gates() && !run.scene.is_gated() {
        return Ok(None);
    }
    if moment == Cue::Starting {
        return close_in_starts(setting, make).map(|()| Some(0));
    }
    if moment == Cue::BeforeOpen {
        run.start_in_vain()?;
    }
    let started = match (moment, ending) {
        (Cue::BeforeOpen, Ending::Cancel) => {
            run.scene.cancel_all();
            0
        }
        _ => run.operate()?,
    };
    if (moment, ending) == (Cue::After, Ending::Complete) {
        run.start_over_closed()?;
    }
    run.end()?;
    Ok(Some(started))
}

/// Closes a module in its start function: at the first step that is seen there, at the second, and so on.
fn close_in_starts(setting: Setting, make: &Make<'_>) -> Result<(), Violation> {
    for at in 0.. {
        let mut run = Run::new(setting, make)?;
        let is_closed = run.close_in_start(at)?;
        run.end()?;
        if !is_closed {
            break;
        }
    }
    Ok(())
}

/// A scenario in progress.
struct Run {
    setting: Setting,
    // Fields drop in this order: the reactor first, as its end drops callbacks.
    reactor: Reactor,
    scene: Rc<Scene>,
    /// Of what all handles of the reactor share.
    handles: Weak<dyn Any>,
    /// Each operation in memory holds it, as the queue does, and this.
    blocks: Rc<FreeBlocks>,
}

/// What is left in the reactor.
#[derive(Clone, Copy, Default)]
struct Left {
    registrations: usize,
    timers: usize,
    unscheduled: u64,
    /// Pending or live.
    scheduled: u64,
}

impl Run {
    fn new(setting: Setting, make: &Make<'_>) -> Result<Self, Violation> {
        let broken = |seen| Violation { scenario: setting.scenario, rule: Rule::Subject, seen };
        let reactor = Reactor::new().map_err(|error| broken(format!("no reactor: {error}")))?;
        // The queue is dialed here, call by call.
        reactor.set_budget(0);
        let (handles, blocks) = (reactor.downgrade(), reactor.queue().core().free_blocks.clone());
        let log = Rc::new(Log::default());
        reactor.queue().add_observer(Rc::clone(&log));
        let subject = make(&reactor);
        let scene = Scene::new(setting.scenario, log, subject);
        Ok(Self { setting, reactor, scene, handles, blocks })
    }

    /// Starts operations that must be refused.
    fn start_in_vain(&mut self) -> Result<(), Violation> {
        for _ in 0..self.setting.scenario.operations {
            self.scene.start_in_vain();
            self.look()?;
        }
        self.scene.log.forget_refused();
        Ok(())
    }

    /// Opens, starts the operations, and does to them what the scenario asks for.
    fn operate(&mut self) -> Result<usize, Violation> {
        let Scenario { ending, moment, ready, .. } = self.setting.scenario;
        self.scene.open();
        self.turn(Duration::ZERO)?;
        let own = self.left();
        let numbers = self.start()?;
        if moment == Cue::Waiting {
            if ready == Timing::Later {
                self.turn(Duration::ZERO)?;
            }
            self.act(numbers.clone())?;
        }
        let canceled = (moment, ending) == (Cue::Waiting, Ending::Cancel);
        if ready == Timing::Later && !canceled {
            // The later half first, to see that the others do not complete with them.
            let later = numbers.start + numbers.len() / 2..numbers.end;
            self.trigger(later.clone())?;
            self.wait_for(later)?;
            self.trigger(numbers.clone())?;
        }
        self.wait_for(numbers.clone())?;
        if ready == Timing::Later && canceled {
            self.check_passed_on(own)?;
        }
        if moment == Cue::After {
            self.act(numbers.clone())?;
        }
        self.trigger(numbers.clone())?;
        for number in numbers.clone() {
            self.scene.drop_handle(number);
        }
        self.settle(own)?;
        Ok(numbers.len())
    }

    /// Starts an operation that the layer below refuses.
    fn start_over_closed(&mut self) -> Result<(), Violation> {
        if self.scene.close_below()
            && let Some(number) = self.scene.start_or_not()
        {
            self.complete(number)?;
        }
        self.look()
    }

    /// Starts an operation, and closes the module in that; returns false if nothing was seen after `at`
    /// other steps.
    fn close_in_start(&mut self, at: usize) -> Result<bool, Violation> {
        self.scene.open();
        self.turn(Duration::ZERO)?;
        let (number, is_closed) = self.scene.close_in_start(at);
        self.look()?;
        if let Some(number) = number {
            let op = self.scene.log.op(number);
            if is_closed && op.as_ref().is_none_or(|op| op.state() != OpState::Running) {
                self.scene.log.closed(number);
                if op.is_none() {
                    // To close it may let it go on.
                    self.scene.cancel_all();
                }
                self.wait_for(number..number + 1)?;
            }
            self.complete(number)?;
        }
        Ok(is_closed)
    }

    /// Makes an operation ready, and waits for its end.
    fn complete(&mut self, number: usize) -> Result<(), Violation> {
        self.trigger(number..number + 1)?;
        self.wait_for(number..number + 1)?;
        self.scene.drop_handle(number);
        self.fail_if_broken()
    }

    fn start(&mut self) -> Result<Range<usize>, Violation> {
        for _ in 0..self.setting.scenario.operations {
            self.scene.start();
            self.fail_if_broken()?;
        }
        self.look()?;
        Ok(0..self.scene.log.len())
    }

    /// Closes, drops the module, then the reactor, and checks that nothing is left.
    fn end(mut self) -> Result<(), Violation> {
        self.scene.close();
        if self.scene.is_gated() {
            self.scene.start_in_vain();
            self.look()?;
        }
        self.scene.release();
        self.settle(Left::default())?;
        if !self.turn_until_none(|run| usize::from(run.reactor.should_run()))? {
            self.scene.log.find(Rule::M6, || "something keeps the loop running: a remote".into());
        }
        self.scene.log.check_drops();
        self.fail_if_broken()?;
        let Self { setting, reactor, scene, handles, blocks } = self;
        let operations = Rc::strong_count(&blocks) - 2;
        drop(reactor);
        if handles.strong_count() > 0 {
            scene.log.find(Rule::R11, || "something holds on to the reactor".into());
        }
        if operations > 0 {
            scene.log.find(Rule::R7, || format!("operations left in memory: {operations}"));
        }
        if Rc::strong_count(&blocks) > operations + 1 {
            scene.log.find(Rule::R11, || "something holds on to the queue".into());
        }
        fail_if_broken(setting.scenario, &scene.log)
    }

    fn act(&mut self, numbers: Range<usize>) -> Result<(), Violation> {
        // From the middle on, to see that no handle is that of the first, or the last, that runs.
        let middle = numbers.start + numbers.len() / 2;
        let numbers = (middle..numbers.end).chain(numbers.start..middle);
        numbers.for_each(|number| self.scene.act(number));
        self.look()
    }

    fn trigger(&mut self, numbers: Range<usize>) -> Result<(), Violation> {
        numbers.for_each(|number| self.scene.trigger(number));
        self.look()
    }

    /// Turns until the callbacks of these are called.
    fn wait_for(&mut self, numbers: Range<usize>) -> Result<(), Violation> {
        let arrived = self.turn_until_none(|run| run.scene.log.missing(numbers.clone()))?;
        if !arrived {
            self.scene.log.find_missing(numbers);
        }
        self.fail_if_broken()
    }

    /// Turns until nothing waits below what was canceled, which is over.
    fn check_passed_on(&mut self, own: Left) -> Result<(), Violation> {
        let waiting = |run: &Self| match run.scene.leftovers() {
            0 => run.left().calls_beyond(own),
            _ => 0,
        };
        if !self.turn_until_none(waiting)? {
            let calls = self.left().calls_beyond(own);
            self.scene.log.find(Rule::O3, || {
                format!("canceled, and over, but not below: {calls} calls wait there for what is not ready")
            });
        }
        self.fail_if_broken()
    }

    /// Turns until no more is left than what the module had before.
    fn settle(&mut self, own: Left) -> Result<(), Violation> {
        if self.turn_until_none(|run| run.left().beyond(own))? {
            return Ok(());
        }
        let left = self.left();
        let log = &self.scene.log;
        if left.registrations > own.registrations {
            log.find(Rule::M4, || format!("registrations left: {}", left.registrations));
        }
        if left.timers > own.timers {
            log.find(Rule::M7, || format!("timers left: {}", left.timers));
        }
        log.find(Rule::R12, || format!("calls left: {}", self.reactor.queue().tally()));
        self.fail_if_broken()
    }

    fn left(&self) -> Left {
        let reactor = self.reactor.handle();
        let tally = reactor.queue().tally();
        Left {
            registrations: reactor.registration_count(),
            timers: reactor.timer_count(),
            unscheduled: tally.unscheduled,
            scheduled: tally.pending + tally.live,
        }
    }

    /// Turns until there is nothing `to_go`; false if that is not less than ever for too long.
    fn turn_until_none(&mut self, to_go: impl Fn(&Self) -> usize) -> Result<bool, Violation> {
        let mut least = usize::MAX;
        let mut begin = Instant::now();
        let mut turns = 0;
        loop {
            match to_go(self) {
                0 => return Ok(true),
                less if less < least => {
                    (least, turns, begin) = (less, 0, Instant::now());
                }
                _ => turns += 1,
            }
            let patience = self.setting.patience.saturating_sub(begin.elapsed());
            if patience.is_zero() && turns >= TURNS {
                return Ok(false);
            }
            self.turn(patience)?;
        }
    }

    /// Polls, and dials what is pending then, call by call.
    fn turn(&mut self, timeout: Duration) -> Result<(), Violation> {
        if let Err(error) = self.reactor.turn(Some(timeout)) {
            self.scene.log.find(Rule::Subject, || format!("the poll failed: {error}"));
        }
        self.look()?;
        for _ in 0..self.reactor.queue().tally().pending {
            let _ = self.reactor.queue().dial(Budget::calls(1));
            self.look()?;
        }
        let tally = self.reactor.queue().tally();
        if !tally.balances() {
            self.scene.log.find(Rule::R12, || format!("the tally does not balance: {tally}"));
        }
        self.fail_if_broken()
    }

    /// Looks for operations that have a result scheduled now, and for findings.
    fn look(&mut self) -> Result<(), Violation> {
        while let Some(number) = self.scene.log.next_completing() {
            let completing = self.scene.log.stage(number) == Phase::Scheduled;
            if completing && self.setting.scenario.moment == Cue::Completing {
                self.scene.act(number);
            }
        }
        self.fail_if_broken()
    }

    fn fail_if_broken(&self) -> Result<(), Violation> {
        fail_if_broken(self.setting.scenario, &self.scene.log)
    }
}

fn fail_if_broken(scenario: Scenario, log: &Log) -> Result<(), Violation> {
    match log.finding() {
        Some((rule, seen)) => Err(Violation { scenario, rule, seen }),
        None => Ok(()),
    }
}

impl Left {
    /// How much more this is than `own`.
    const fn beyond(self, own: Self) -> usize {
        let kept = self.registrations.saturating_sub(own.registrations)
            + self.timers.saturating_sub(own.timers);
        kept + self.calls_beyond(own)
    }

    const fn calls_beyond(self, own: Self) -> usize {
        (self.unscheduled.saturating_sub(own.unscheduled) + self.scheduled) as usize
    }
}
