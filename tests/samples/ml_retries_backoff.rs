//! Hazard: an attempt too early, or after the end. The timer of `MlRetries`, by a virtual clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use support::manual::retrying::{AGAIN, Bench};
use switchboard::Cancellation;
use switchboard::op::{OpError, OpState};
use switchboard::samples::RetryPolicy;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_attempt_waits_as_long_as_the_backoff_of_the_attempts_made() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let asks = Rc::clone(&asked);
    let mut bench = Bench::new(RetryPolicy::new().backoff(move |made| {
        asks.borrow_mut().push(made);
        SECOND * made
    }));
    bench.start();
    for made in 1..=5 {
        bench.end_attempt(AGAIN);
        assert_eq!((bench.timer_count(), bench.lower.running()), (1, 0));
        bench.pass(SECOND * made - Duration::from_nanos(1));
        assert_eq!((bench.timer_count(), bench.lower.running()), (1, 0), "too early");
        bench.pass(Duration::from_nanos(1));
        assert_eq!((bench.timer_count(), bench.lower.running()), (0, 1), "due");
    }
    bench.end_attempt(Ok(7));
    assert!(matches!(bench.outcomes.only(), Ok(7)));
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
        assert_eq!(bench.timer_count(), 0);
        let _ = bench.outcomes.only();
        bench.finish();
    }
}

#[test]
fn a_backoff_of_zero_uses_no_timer() {
    let mut bench =
        Bench::new(RetryPolicy::new().backoff(|made| SECOND * u32::from(made % 2 == 0)));
    bench.start();
    bench.end_attempt(AGAIN);
    assert_eq!((bench.timer_count(), bench.lower.running()), (0, 1));
    bench.end_attempt(AGAIN);
    assert_eq!((bench.timer_count(), bench.lower.running()), (1, 0));
    bench.pass(SECOND);
    bench.end_attempt(Ok(7));
    assert!(bench.outcomes.only().is_ok());
    bench.finish();
}

#[test]
fn a_cancel_during_backoff_stops_the_timer_at_once_and_no_attempt_follows() {
    for delay in [SECOND, Duration::MAX] {
        let mut bench = Bench::new(RetryPolicy::new().backoff(move |_| delay));
        let op = bench.start();
        bench.end_attempt(AGAIN);
        assert_eq!(bench.timer_count(), 1);
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!(
            (bench.timer_count(), bench.outcomes.count()),
            (0, 0),
            "at once, and not reported inside the cancel"
        );
        assert_eq!((op.state(), op.cancel()), (OpState::Completed, Cancellation::Late));
        bench.pass(SECOND * 10);
        assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
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
    assert_eq!((bench.timer_count(), bench.reactor.queue().tally().pending), (0, 1));
    assert_eq!(op.cancel(), Cancellation::Canceled);
    bench.reactor.set_budget(10);
    bench.pass(SECOND);
    assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
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
    assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
    bench.finish();
}

#[test]
fn a_cancel_that_is_late_for_the_attempt_is_followed_by_no_other() {
    let mut bench = Bench::new(
        RetryPolicy::new().at_once().after(|_| panic!("the policy is not asked any more")),
    );
    let op = bench.start();
    bench.lower.complete(AGAIN);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert_eq!(op.cancel(), Cancellation::Already);
    bench.pass(SECOND * 10);
    assert_eq!(bench.lower.cancels(), 0, "late for the attempt");
    assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
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
    assert!(matches!(bench.outcomes.only(), Ok(7)));
    bench.finish();
}

#[test]
fn dropping_the_reactor_during_backoff_leaves_nothing() {
    let mut bench = Bench::new(RetryPolicy::new().backoff(|_| SECOND));
    let op = bench.start();
    bench.end_attempt(AGAIN);
    let Bench { reactor, lower, module, outcomes, .. } = bench;
    drop((reactor, module));
    assert_eq!((outcomes.count(), lower.references()), (0, 1));
    assert_eq!(op.cancel(), Cancellation::Late);
}

/// The delays before the first `count` attempts but one, by `policy`.
fn delays(policy: RetryPolicy<&'static str>, count: u32) -> Vec<Duration> {
    let mut bench = Bench::new(policy);
    bench.start();
    let mut delays = Vec::new();
    for _ in 0..count {
        bench.end_attempt(AGAIN);
        let delay = bench.reactor.poll_timeout().expect("a timer");
        delays.push(delay);
        bench.pass(delay);
    }
    bench.end_attempt(Ok(7));
    assert_eq!(bench.outcomes.only(), Ok(7));
    bench.finish();
    delays
}

/// It hammered: 237,569 attempts in 100 ms.
#[test]
fn o06_the_default_policy_backs_off_more_each_time_and_leaves_out_a_random_part() {
    for seed in 0..20 {
        let delays = delays(RetryPolicy::new().seed(seed), 12);
        let most = |made: u32| (SECOND / 10 * 2_u32.pow(made)).min(10 * SECOND);
        for (made, delay) in (0..).zip(&delays) {
            assert!((most(made) / 2..=most(made)).contains(delay), "{made}: {delay:?}");
        }
    }
}

#[test]
fn delays_are_those_of_the_seed() {
    let of = |seed| delays(RetryPolicy::new().seed(seed), 6);
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
    // Two that are not seeded do not go in step, either.
    assert_ne!(delays(RetryPolicy::new(), 6), delays(RetryPolicy::new(), 6));
}

#[test]
fn o06_operations_of_one_module_do_not_go_in_step() {
    let mut bench = Bench::new(RetryPolicy::new().seed(1));
    for _ in 0..10 {
        bench.start();
    }
    for _ in 0..10 {
        bench.end_attempt(AGAIN);
    }
    let mut due = Vec::new();
    while bench.timer_count() > 0 {
        let next = bench.reactor.poll_timeout().expect("a timer");
        bench.pass(next);
        due.push(bench.lower.running());
    }
    assert_eq!(due, (1..=10).collect::<Vec<_>>(), "one after the other");
    for _ in 0..10 {
        bench.end_attempt(Ok(7));
    }
    assert_eq!(bench.outcomes.take().len(), 10);
    bench.finish();
}

#[test]
fn an_exponential_backoff_has_bounds_of_its_own_and_no_overflow() {
    let policy = RetryPolicy::new().exponential(SECOND, 3 * SECOND);
    for (made, delay) in delays(policy, 70).into_iter().enumerate() {
        let most = if made < 2 { SECOND * (made as u32 + 1) } else { 3 * SECOND };
        assert!((most / 2..=most).contains(&delay), "{made}: {delay:?}");
    }
}

#[test]
fn o06_no_attempt_begins_after_the_limit() {
    let policy = || RetryPolicy::new().backoff(|_| SECOND).give_up_after(3 * SECOND);
    let mut bench = Bench::new(policy());
    bench.start();
    for attempt in 1..=3 {
        bench.end_attempt(AGAIN);
        bench.pass(SECOND);
        assert_eq!(bench.lower.running(), 1, "attempt {attempt}");
    }
    // Another one would begin after 4 seconds.
    bench.end_attempt(AGAIN);
    assert_eq!((bench.outcomes.only(), bench.timer_count()), (AGAIN, 0));
    bench.finish();

    // One that runs then goes on.
    let mut bench = Bench::new(policy());
    bench.start();
    bench.pass(10 * SECOND);
    assert_eq!((bench.lower.running(), bench.outcomes.count()), (1, 0));
    bench.end_attempt(Ok(7));
    assert_eq!(bench.outcomes.only(), Ok(7));
    bench.finish();
}

/// The loop was busy, or the machine asleep, as the timer became due.
#[test]
fn no_attempt_begins_after_the_limit_even_if_its_timer_comes_late() {
    let policy = RetryPolicy::new().backoff(|_| SECOND).give_up_after(2 * SECOND);
    let mut bench = Bench::new(policy);
    bench.start();
    bench.end_attempt(AGAIN);
    bench.pass(2 * SECOND + Duration::from_nanos(1));
    assert_eq!((bench.lower.running(), bench.outcomes.only()), (0, AGAIN));
    bench.finish();
}
