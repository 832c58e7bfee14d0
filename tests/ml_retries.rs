//! Hazard: an attempt too many, too early, or after the end. `MlRetries` in detail: its policy, its
//! timer by a virtual clock, and what its closures may do.

#![cfg(feature = "mio")]

mod manual;

use std::cell::{Cell, RefCell};
use std::panic;
use std::rc::Rc;
use std::time::{Duration, Instant};

use manual::{Manual, Told, check_over};
use switchboard::op::{AsyncOp, OpError, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{MlRetries, Module, Retry, RetryPolicy, StartError};
use switchboard::{Cancellation, Report};

const SECOND: Duration = Duration::from_secs(1);
const AGAIN: manual::Result = Err(OpError::Retryable("again"));

/// `MlRetries` over operations completed by hand, on a reactor whose time does not pass by itself.
struct Bench {
    reactor: Reactor,
    lower: Manual,
    module: Option<MlRetries<Manual>>,
    told: Told<u32>,
    now: Rc<Cell<Instant>>,
}

impl Bench {
    fn new(policy: RetryPolicy<&'static str>) -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let now = Rc::new(Cell::new(Instant::now()));
        let clock = Rc::clone(&now);
        reactor.set_clock(move || clock.get());
        let lower = Manual::default();
        let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
        module.open();
        let told = Told::new(reactor.queue());
        Self { reactor, lower, module: Some(module), told, now }
    }

    /// Starts an operation whose requests count up from 0.
    #[track_caller]
    fn start(&self) -> AsyncOp {
        self.start_with(|_| ())
    }

    /// The same; `also` is called with the number of each request.
    #[track_caller]
    fn start_with(&self, also: impl Fn(u32) + 'static) -> AsyncOp {
        let mut next = 0..;
        let retry = Retry::new(move || {
            let number = next.next().expect("a number");
            also(number);
            number
        });
        let module = self.module.as_ref().expect("the module is there");
        module.start(retry, self.told.done()).expect("it is open")
    }

    /// Lets time pass, and turns until nothing is pending.
    #[track_caller]
    fn pass(&mut self, time: Duration) {
        self.now.set(self.now.get() + time);
        loop {
            let Report { remaining, .. } = self.reactor.turn(Some(Duration::ZERO)).expect("a turn");
            if remaining == 0 {
                return;
            }
        }
    }

    /// Ends the attempt that runs.
    #[track_caller]
    fn end_attempt(&mut self, result: manual::Result) {
        self.lower.complete(result);
        self.pass(Duration::ZERO);
    }

    fn timers(&self) -> usize {
        self.reactor.handle().timers()
    }

    /// Checks that all is over.
    #[track_caller]
    fn finish(mut self) {
        self.pass(Duration::ZERO);
        assert_eq!((self.told.count(), self.timers(), self.lower.running()), (0, 0, 0));
        check_over(self.reactor.queue());
        self.module = None;
        assert_eq!(self.lower.references(), 1, "nothing holds the layer below");
    }
}

#[test]
fn attempts_are_made_up_to_the_cap_and_the_last_failure_is_told() {
    for cap in 1..=4 {
        let mut bench = Bench::new(RetryPolicy::new().attempts(cap));
        bench.start();
        for attempt in 0..cap {
            assert_eq!(bench.told.count(), 0);
            assert_eq!(bench.lower.requests(), (0..=attempt).collect::<Vec<_>>());
            bench.end_attempt(AGAIN);
        }
        assert_eq!((bench.lower.requests().len(), bench.lower.running()), (cap as usize, 0));
        assert!(matches!(bench.told.only(), Err(OpError::Retryable("again"))), "cap {cap}");
        bench.finish();
    }
}

#[test]
fn the_last_attempt_under_the_cap_may_succeed() {
    let mut bench = Bench::new(RetryPolicy::new().attempts(3));
    bench.start();
    bench.end_attempt(AGAIN);
    bench.end_attempt(AGAIN);
    bench.end_attempt(Ok(7));
    assert!(matches!(bench.told.only(), Ok(7)));
    bench.finish();
}

#[test]
fn each_operation_has_a_cap_of_its_own() {
    let mut bench = Bench::new(RetryPolicy::new().attempts(2));
    bench.start();
    bench.start();
    for _ in 0..4 {
        bench.end_attempt(AGAIN);
    }
    assert_eq!(bench.lower.requests(), [0, 0, 1, 1]);
    assert_eq!(bench.told.take().len(), 2);
    bench.finish();
}

#[test]
fn an_attempt_waits_for_what_the_backoff_says_of_the_attempts_made() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let asks = Rc::clone(&asked);
    let mut bench = Bench::new(RetryPolicy::new().backoff(move |made| {
        asks.borrow_mut().push(made);
        SECOND * made
    }));
    bench.start();
    for made in 1..=5 {
        bench.end_attempt(AGAIN);
        assert_eq!((bench.timers(), bench.lower.running()), (1, 0));
        bench.pass(SECOND * made - Duration::from_nanos(1));
        assert_eq!((bench.timers(), bench.lower.running()), (1, 0), "too early");
        bench.pass(Duration::from_nanos(1));
        assert_eq!((bench.timers(), bench.lower.running()), (0, 1), "due");
    }
    bench.end_attempt(Ok(7));
    assert!(matches!(bench.told.only(), Ok(7)));
    assert_eq!(*asked.borrow(), [1, 2, 3, 4, 5]);
    bench.finish();
}

#[test]
fn there_is_no_wait_after_the_last_attempt_nor_after_a_failure_for_good() {
    for result in [AGAIN, Err(OpError::Failed("for good")), Ok(7)] {
        let mut bench = Bench::new(RetryPolicy::new().attempts(2).backoff(|_| SECOND));
        bench.start();
        bench.end_attempt(AGAIN);
        bench.pass(SECOND);
        bench.end_attempt(result);
        assert_eq!(bench.timers(), 0);
        let _ = bench.told.only();
        bench.finish();
    }
}

#[test]
fn a_backoff_of_zero_uses_no_timer() {
    let mut bench =
        Bench::new(RetryPolicy::new().backoff(|made| SECOND * u32::from(made % 2 == 0)));
    bench.start();
    bench.end_attempt(AGAIN);
    assert_eq!((bench.timers(), bench.lower.running()), (0, 1));
    bench.end_attempt(AGAIN);
    assert_eq!((bench.timers(), bench.lower.running()), (1, 0));
    bench.pass(SECOND);
    bench.end_attempt(Ok(7));
    assert!(bench.told.only().is_ok());
    bench.finish();
}

#[test]
fn a_cancel_during_backoff_stops_the_timer_at_once_and_no_attempt_follows() {
    for delay in [SECOND, Duration::MAX] {
        let mut bench = Bench::new(RetryPolicy::new().backoff(move |_| delay));
        let op = bench.start();
        bench.end_attempt(AGAIN);
        assert_eq!(bench.timers(), 1);
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!((bench.timers(), bench.told.count()), (0, 0), "at once, and not told inside");
        assert_eq!((op.state(), op.cancel()), (OpState::Completed, Cancellation::Late));
        bench.pass(SECOND * 10);
        assert!(matches!(bench.told.only(), Err(OpError::Canceled)));
        assert_eq!(bench.lower.requests(), [0]);
        bench.finish();
    }
}

#[test]
fn a_cancel_when_the_timer_is_due_and_its_call_pending_is_in_time() {
    let mut bench = Bench::new(RetryPolicy::new().backoff(|_| SECOND));
    let op = bench.start();
    bench.end_attempt(AGAIN);
    bench.reactor.set_budget(0);
    bench.now.set(bench.now.get() + SECOND);
    let _ = bench.reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!((bench.timers(), bench.reactor.queue().tally().pending), (0, 1));
    assert_eq!(op.cancel(), Cancellation::Canceled);
    bench.reactor.set_budget(10);
    bench.pass(SECOND);
    assert!(matches!(bench.told.only(), Err(OpError::Canceled)));
    assert_eq!(bench.lower.requests(), [0]);
    bench.finish();
}

#[test]
fn a_cancel_during_an_attempt_reaches_the_latest() {
    let mut bench = Bench::new(RetryPolicy::new().backoff(|_| SECOND));
    let op = bench.start();
    bench.end_attempt(AGAIN);
    bench.pass(SECOND);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert_eq!((bench.lower.cancels(), bench.lower.running()), (1, 0));
    bench.pass(SECOND);
    assert!(matches!(bench.told.only(), Err(OpError::Canceled)));
    bench.finish();
}

#[test]
fn a_cancel_that_is_late_for_the_attempt_is_followed_by_no_other() {
    let mut bench = Bench::new(RetryPolicy::new().backoff(|_| SECOND));
    let op = bench.start();
    bench.lower.complete(AGAIN);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert_eq!(op.cancel(), Cancellation::Already);
    bench.pass(SECOND * 10);
    assert_eq!(bench.lower.cancels(), 0, "late for the attempt");
    assert!(matches!(bench.told.only(), Err(OpError::Canceled)));
    bench.finish();
}

#[test]
fn the_policy_says_which_failures_are_repeated() {
    let only = |error: &OpError<&'static str>| matches!(error, OpError::Failed("repeat this"));
    let mut bench = Bench::new(RetryPolicy::new().after(only));
    bench.start();
    bench.end_attempt(Err(OpError::Failed("repeat this")));
    bench.end_attempt(Err(OpError::Failed("repeat this")));
    assert_eq!(bench.lower.requests(), [0, 1, 2]);
    bench.end_attempt(AGAIN);
    assert!(matches!(bench.told.only(), Err(OpError::Retryable("again"))));
    bench.start();
    bench.end_attempt(Err(OpError::Failed("but not this")));
    assert!(matches!(bench.told.only(), Err(OpError::Failed("but not this"))));
    bench.finish();
}

#[test]
fn an_attempt_that_the_layer_below_loses_can_be_repeated() {
    let mut bench = Bench::new(RetryPolicy::new());
    bench.start();
    bench.lower.lose();
    bench.pass(Duration::ZERO);
    assert!(matches!(bench.told.only(), Err(OpError::Dropped)), "not by default");
    bench.finish();

    let lost = |error: &OpError<_>| matches!(error, OpError::Dropped);
    let mut bench = Bench::new(RetryPolicy::new().after(lost));
    bench.start();
    bench.lower.lose();
    bench.pass(Duration::ZERO);
    bench.end_attempt(Ok(7));
    assert!(matches!(bench.told.only(), Ok(7)));
    bench.finish();
}

#[test]
fn a_start_that_the_layer_below_refuses_is_refused_and_the_request_is_handed_back() {
    let bench = Bench::new(RetryPolicy::new());
    let module = bench.module.as_ref().expect("the module is there");
    bench.lower.refuse(Some("no room"));
    let error = module.start(Retry::new(|| 5), bench.told.done()).expect_err("refused");
    let StartError::Failed { source, request } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "no room");
    bench.lower.refuse(None);
    let op = module.start(request, bench.told.done()).expect("there is room again");
    assert_eq!(bench.lower.requests(), [5]);
    let _ = op.cancel();
    bench.reactor.queue().dial_all();
    assert!(matches!(bench.told.only(), Err(OpError::Canceled)));
    bench.finish();
}

#[test]
fn an_attempt_that_the_layer_below_refuses_ends_the_operation_with_the_cause() {
    for delay in [Duration::ZERO, SECOND] {
        let mut bench = Bench::new(RetryPolicy::new().backoff(move |_| delay));
        bench.start();
        bench.lower.refuse(Some("no room"));
        bench.end_attempt(AGAIN);
        bench.pass(delay);
        let Err(OpError::NotStarted(cause)) = bench.told.only() else { panic!("it went on") };
        assert_eq!(cause.to_string(), "no room");
        bench.finish();
    }
}

#[test]
fn an_attempt_on_a_layer_that_was_closed_ends_the_operation_with_the_cause() {
    let mut bench = Bench::new(RetryPolicy::new());
    bench.start();
    bench.lower.close_down();
    bench.end_attempt(AGAIN);
    let Err(OpError::NotStarted(cause)) = bench.told.only() else { panic!("it went on") };
    assert!(matches!(cause.downcast_ref(), Some(StartError::NotOpen(()))), "{cause:?}");
    bench.finish();
}

#[test]
fn what_makes_the_request_may_cancel_the_operation() {
    for delay in [Duration::ZERO, SECOND] {
        let mut bench = Bench::new(RetryPolicy::new().backoff(move |_| delay));
        let own: Rc<RefCell<Option<AsyncOp>>> = Rc::default();
        let op = Rc::clone(&own);
        let canceled = bench.start_with(move |number| {
            if number == 2 {
                let op = op.borrow();
                assert_eq!(op.as_ref().map(AsyncOp::cancel), Some(Cancellation::Canceled));
            }
        });
        own.replace(Some(canceled));
        for _ in 0..2 {
            bench.end_attempt(AGAIN);
            bench.pass(delay);
        }
        assert_eq!((bench.lower.requests(), bench.timers()), (vec![0, 1], 0));
        assert!(matches!(bench.told.only(), Err(OpError::Canceled)));
        bench.finish();
    }
}

#[test]
fn what_makes_the_request_may_panic_and_the_operation_is_lost() {
    let mut bench = Bench::new(RetryPolicy::new());
    bench.start_with(|number| {
        if number == 1 {
            panic::resume_unwind(Box::new("no request"));
        }
    });
    bench.lower.complete(AGAIN);
    let pass = panic::AssertUnwindSafe(|| bench.pass(Duration::ZERO));
    assert!(panic::catch_unwind(pass).is_err(), "it comes through");
    bench.pass(Duration::ZERO);
    assert!(matches!(bench.told.only(), Err(OpError::Dropped)));
    bench.finish();
}

#[test]
fn the_operation_goes_on_without_module_and_handle() {
    let mut bench = Bench::new(RetryPolicy::new().backoff(|_| SECOND));
    drop(bench.start());
    bench.module = None;
    bench.end_attempt(AGAIN);
    bench.pass(SECOND);
    bench.end_attempt(Ok(7));
    assert!(matches!(bench.told.only(), Ok(7)));
    bench.finish();
}

#[test]
fn dropping_the_reactor_during_backoff_leaves_nothing() {
    let mut bench = Bench::new(RetryPolicy::new().backoff(|_| SECOND));
    let op = bench.start();
    bench.end_attempt(AGAIN);
    let Bench { reactor, lower, module, told, .. } = bench;
    drop((reactor, module));
    assert_eq!((told.count(), lower.references()), (0, 1));
    assert_eq!(op.cancel(), Cancellation::Late);
}

/// An attempt may tell Canceled of its own accord, as when a layer below was closed.
#[test]
fn an_attempt_that_was_canceled_below_is_not_repeated() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let policy = RetryPolicy::new().after(|_| true);
    let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
    module.open();
    let told = Told::new(queue);
    let op = module.start(Retry::new(|| 1), told.done()).expect("it is open");
    lower.complete(Err(OpError::Canceled));
    queue.dial_all();
    assert_eq!(lower.running(), 0, "repeated");
    assert!(matches!(told.only(), Err(OpError::Canceled)));
    drop(op);
    check_over(queue);
}
