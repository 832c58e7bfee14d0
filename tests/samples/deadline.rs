//! Hazard: an operation that goes on after its deadline, a result that was there and is lost to it, a
//! timer that is left. By a virtual clock.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::manual::{Before, Manual, Outcomes, check_over};
use switchboard::op::{AsyncOp, OpError, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{Deadline, Module, ModuleExt, Retry, RetryPolicy};
use switchboard::{Cancellation, Report};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    reactor: Reactor,
    lower: Manual,
    module: Deadline<Manual>,
    outcomes: Outcomes<u32>,
    now: Rc<Cell<Instant>>,
}

impl Bench {
    fn new() -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let now = Rc::new(Cell::new(Instant::now()));
        let clock = Rc::clone(&now);
        reactor.set_clock(move || clock.get());
        let lower = Manual::default();
        let module = lower.clone().within(&reactor.handle(), SECOND);
        module.open();
        let outcomes = Outcomes::new(reactor.queue());
        Self { reactor, lower, module, outcomes, now }
    }

    fn start(&self) -> AsyncOp {
        self.module.start(1, self.outcomes.done()).expect("it is open")
    }

    /// Lets time pass, and dials all.
    fn pass(&mut self, time: Duration) {
        self.now.set(self.now.get() + time);
        while self.turn() > 0 {}
    }

    /// Returns how many calls are left.
    fn turn(&mut self) -> u64 {
        let Report { remaining, .. } = self.reactor.turn(Some(Duration::ZERO)).expect("a turn");
        remaining
    }

    #[track_caller]
    fn finish(mut self) {
        self.pass(Duration::ZERO);
        assert_eq!((self.outcomes.count(), self.lower.running()), (0, 0));
        assert_eq!(self.reactor.handle().timer_count(), 0);
        check_over(self.reactor.queue());
        drop(self.module);
        assert_eq!(self.lower.references(), 1, "nothing holds the layer below");
    }
}

#[test]
fn an_operation_that_takes_too_long_is_canceled_and_reports_that_it_timed_out() {
    let mut bench = Bench::new();
    let op = bench.start();
    bench.pass(SECOND - Duration::from_nanos(1));
    assert_eq!((bench.outcomes.count(), bench.lower.running()), (0, 1), "too early");
    bench.pass(Duration::from_nanos(1));
    assert_eq!((bench.outcomes.only(), bench.lower.cancels()), (Err(OpError::TimedOut), 1));
    assert_eq!(op.cancel(), Cancellation::Late);
    bench.finish();
}

#[test]
fn the_timer_goes_with_the_operation() {
    for result in [Ok(7), Err(OpError::Failed("for good")), Err(OpError::Dropped)] {
        let mut bench = Bench::new();
        bench.start();
        match &result {
            Err(OpError::Dropped) => bench.lower.lose(),
            _ => bench.lower.complete(result.clone()),
        }
        assert_eq!(bench.reactor.handle().timer_count(), 1);
        bench.pass(Duration::ZERO);
        assert_eq!((bench.outcomes.only(), bench.reactor.handle().timer_count()), (result, 0));
        bench.pass(SECOND);
        bench.finish();
    }
}

#[test]
fn o01_a_completion_that_is_lost_below_does_not_wait_for_the_time_to_be_up() {
    let Bench { mut reactor, lower, outcomes, .. } = Bench::new();
    let id = Rc::new(Cell::new(None));
    let noted = Rc::clone(&id);
    let module = Before::new(&lower, move |done| noted.set(Some(done.id())));
    let module = module.within(&reactor.handle(), Duration::MAX);
    module.open();
    module.start(1, outcomes.done()).expect("it is open");
    let canceled = reactor.queue().cancel(id.take().expect("it was started"), "lost");
    assert_eq!((canceled, reactor.timer_count()), (Cancellation::Canceled, 0));
    let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!((outcomes.only(), reactor.should_run()), (Err(OpError::Dropped), false));
}

#[test]
fn a_result_that_was_fixed_before_the_time_was_up_arrives() {
    for result in [Ok(7), Err(OpError::Failed("for good"))] {
        let mut bench = Bench::new();
        bench.start();
        bench.lower.complete(result.clone());
        // The result is scheduled, and the timer due in the same turn.
        bench.pass(2 * SECOND);
        assert_eq!((bench.outcomes.only(), bench.lower.cancels()), (result, 0));
        bench.finish();
    }
}

/// A cancel below, as by closing what is shared, was reported as a timeout, which is retried.
#[test]
fn a_result_that_was_fixed_before_the_timer_cancels_arrives_even_if_that_is_a_cancel() {
    for result in [Ok(7), Err(OpError::Failed("for good")), Err(OpError::Canceled)] {
        let mut bench = Bench::new();
        bench.start();
        bench.now.set(bench.now.get() + SECOND);
        bench.reactor.set_budget(0);
        assert_eq!(bench.turn(), 1, "the timer has fired");
        bench.lower.complete(result.clone());
        bench.reactor.set_budget(10);
        bench.pass(Duration::ZERO);
        assert_eq!((bench.outcomes.only(), bench.lower.cancels()), (result, 0));
        bench.finish();
    }
}

#[test]
fn a_cancel_by_the_user_is_reported_as_that_before_and_after_the_deadline() {
    let mut bench = Bench::new();
    assert_eq!(bench.start().cancel(), Cancellation::Canceled);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.outcomes.only(), Err(OpError::Canceled));

    let op = bench.start();
    bench.now.set(bench.now.get() + SECOND);
    bench.reactor.set_budget(1);
    // The timer has canceled the lower operation, and its result is on its way.
    let _ = bench.reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!((bench.lower.running(), op.state()), (0, OpState::Running));
    assert_eq!(op.cancel(), Cancellation::Canceled);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.outcomes.only(), Err(OpError::Canceled));
    bench.finish();
}

#[test]
fn a_start_that_is_refused_leaves_no_timer() {
    let bench = Bench::new();
    bench.lower.refuse(Some("no room"));
    assert!(bench.module.start(1, bench.outcomes.done()).is_err());
    assert_eq!(bench.reactor.handle().timer_count(), 0);
    bench.reactor.queue().dial_all();
    bench.finish();
}

#[test]
fn an_attempt_that_timed_out_is_repeated_by_default() {
    let bench = Bench::new();
    let Bench { mut reactor, lower, module, now, outcomes: _ } = bench;
    let retries = module.retried(&reactor.handle(), RetryPolicy::new().at_once());
    let outcomes = Outcomes::new(reactor.queue());
    let seen = Rc::new(Cell::new(false));
    let sees = Rc::clone(&seen);
    let retry = Retry::new(move |attempt, last: Option<&OpError<&str>>| {
        sees.set(last == Some(&OpError::TimedOut));
        attempt
    });
    retries.start(retry, outcomes.done()).expect_err("not open yet");
    retries.open();
    let retry = Retry::new({
        let sees = Rc::clone(&seen);
        move |attempt, last: Option<&OpError<&str>>| {
            sees.set(last == Some(&OpError::TimedOut));
            attempt
        }
    });
    retries.start(retry, outcomes.done()).expect("it is open");
    now.set(now.get() + SECOND);
    while lower.requests().len() < 2 {
        let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    assert!(seen.get(), "what makes the request sees why");
    lower.complete(Ok(7));
    reactor.queue().dial_all();
    assert_eq!((outcomes.only(), lower.requests()), (Ok(7), vec![1, 2]));
    assert_eq!(reactor.handle().timer_count(), 0);
    check_over(reactor.queue());
}
