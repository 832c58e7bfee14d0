//! Hazard: an attempt too many, or one that goes wrong. `MlRetries` in detail: how many attempts, after
//! which failures, and what becomes of the operation if one cannot start. For its timer, see
//! `ml_retries_backoff.rs`.

use std::cell::RefCell;
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use support::manual::retrying::{AGAIN, Bench};
use switchboard::Cancellation;
use switchboard::op::{AsyncOp, OpError};
use switchboard::samples::{Module, Retry, RetryPolicy, StartError};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn attempts_are_made_up_to_the_cap_and_the_last_failure_is_reported() {
    for cap in 1..=4 {
        let mut bench = Bench::new(RetryPolicy::new().at_once().attempts(cap));
        bench.start();
        for attempt in 0..cap {
            assert_eq!(bench.outcomes.count(), 0);
            assert_eq!(bench.lower.requests(), (0..=attempt).collect::<Vec<_>>());
            bench.end_attempt(AGAIN);
        }
        assert_eq!((bench.lower.requests().len(), bench.lower.running()), (cap as usize, 0));
        assert!(matches!(bench.outcomes.only(), Err(OpError::Retryable("again"))), "cap {cap}");
        bench.finish();
    }
}

#[test]
fn the_last_attempt_under_the_cap_may_succeed() {
    let mut bench = Bench::new(RetryPolicy::new().at_once().attempts(3));
    bench.start();
    bench.end_attempt(AGAIN);
    bench.end_attempt(AGAIN);
    bench.end_attempt(Ok(7));
    assert!(matches!(bench.outcomes.only(), Ok(7)));
    bench.finish();
}

#[test]
fn each_operation_has_a_cap_of_its_own() {
    let mut bench = Bench::new(RetryPolicy::new().at_once().attempts(2));
    bench.start();
    bench.start();
    for _ in 0..4 {
        bench.end_attempt(AGAIN);
    }
    assert_eq!(bench.lower.requests(), [0, 0, 1, 1]);
    assert_eq!(bench.outcomes.take().len(), 2);
    bench.finish();
}

#[test]
fn the_policy_decides_which_failures_are_repeated() {
    let only = |error: &OpError<&'static str>| matches!(error, OpError::Failed("repeat this"));
    let mut bench = Bench::new(RetryPolicy::new().at_once().after(only));
    bench.start();
    bench.end_attempt(Err(OpError::Failed("repeat this")));
    bench.end_attempt(Err(OpError::Failed("repeat this")));
    assert_eq!(bench.lower.requests(), [0, 1, 2]);
    bench.end_attempt(AGAIN);
    assert!(matches!(bench.outcomes.only(), Err(OpError::Retryable("again"))));
    bench.start();
    bench.end_attempt(Err(OpError::Failed("but not this")));
    assert!(matches!(bench.outcomes.only(), Err(OpError::Failed("but not this"))));
    bench.finish();
}

#[test]
fn an_attempt_that_the_layer_below_loses_can_be_repeated() {
    let mut bench = Bench::new(RetryPolicy::new().at_once());
    bench.start();
    bench.lower.lose();
    bench.pass(Duration::ZERO);
    assert!(matches!(bench.outcomes.only(), Err(OpError::Dropped)), "not by default");
    bench.finish();

    let lost = |error: &OpError<_>| matches!(error, OpError::Dropped);
    let mut bench = Bench::new(RetryPolicy::new().at_once().after(lost));
    bench.start();
    bench.lower.lose();
    bench.pass(Duration::ZERO);
    bench.end_attempt(Ok(7));
    assert!(matches!(bench.outcomes.only(), Ok(7)));
    bench.finish();
}

#[test]
fn a_start_that_the_layer_below_refuses_is_refused_and_the_request_is_handed_back() {
    let bench = Bench::new(RetryPolicy::new().at_once());
    let module = bench.module.as_ref().expect("the module is there");
    bench.lower.refuse(Some("no room"));
    let error = module.start(Retry::new(|_, _| 5), bench.outcomes.done()).expect_err("refused");
    let StartError::Failed { source, request } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "no room");
    bench.lower.refuse(None);
    let op = module.start(request, bench.outcomes.done()).expect("there is room again");
    assert_eq!(bench.lower.requests(), [5]);
    let _ = op.cancel();
    bench.reactor.queue().dial_all();
    assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
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
        let Err(OpError::NotStarted(cause)) = bench.outcomes.only() else { panic!("it went on") };
        assert_eq!(cause.to_string(), "no room");
        bench.finish();
    }
}

#[test]
fn an_attempt_on_a_layer_that_was_closed_ends_the_operation_with_the_cause() {
    let mut bench = Bench::new(RetryPolicy::new().at_once());
    bench.start();
    bench.lower.close_down();
    bench.end_attempt(AGAIN);
    let Err(OpError::NotStarted(cause)) = bench.outcomes.only() else { panic!("it went on") };
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
        assert_eq!((bench.lower.requests(), bench.timer_count()), (vec![0, 1], 0));
        assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
        bench.finish();
    }
}

#[test]
fn what_makes_the_request_may_panic_and_the_operation_is_lost() {
    let mut bench = Bench::new(RetryPolicy::new().at_once());
    bench.start_with(|number| {
        if number == 1 {
            panic::resume_unwind(Box::new("no request"));
        }
    });
    bench.lower.complete(AGAIN);
    let pass = panic::AssertUnwindSafe(|| bench.pass(Duration::ZERO));
    assert!(panic::catch_unwind(pass).is_err(), "it comes through");
    bench.pass(Duration::ZERO);
    assert!(matches!(bench.outcomes.only(), Err(OpError::Dropped)));
    bench.finish();
}

/// A regression: it was passed to the policy, which may repeat everything.
#[test]
fn an_attempt_that_was_canceled_below_is_not_repeated() {
    let mut bench = Bench::new(RetryPolicy::new().at_once().after(|_| true));
    bench.start();
    bench.end_attempt(Err(OpError::Canceled));
    assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
    assert_eq!(bench.lower.requests(), [0]);
    bench.finish();
}

/// The request was made without either.
#[test]
fn o06_a_request_is_made_of_the_number_of_the_attempt_and_the_error_of_the_one_before() {
    let mut bench = Bench::new(RetryPolicy::new().at_once());
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sees = Rc::clone(&seen);
    let retry = Retry::new(move |attempt, last: Option<&OpError<&'static str>>| {
        sees.borrow_mut().push((attempt, last.cloned()));
        attempt
    });
    let module = bench.module.as_ref().expect("the module is there");
    module.start(retry, bench.outcomes.done()).expect("it is open");
    bench.end_attempt(AGAIN);
    bench.end_attempt(Err(OpError::Retryable("other")));
    bench.end_attempt(Ok(7));
    let expected = [(1, None), (2, AGAIN.err()), (3, Some(OpError::Retryable("other")))];
    assert_eq!((seen.take(), bench.outcomes.only()), (expected.to_vec(), Ok(7)));
    bench.finish();
}

/// `attempts(5).after(|_| true)` ended after 2 starts.
#[test]
fn o06_an_attempt_that_the_layer_below_refuses_is_repeated_if_the_policy_allows() {
    for delay in [Duration::ZERO, SECOND] {
        let policy = RetryPolicy::new().attempts(5).after(|_| true);
        let mut bench = Bench::new(policy.backoff(move |_| delay));
        bench.start();
        bench.lower.refuse(Some("no room"));
        bench.end_attempt(AGAIN);
        if delay.is_zero() {
            let Err(OpError::NotStarted(cause)) = bench.outcomes.only() else {
                panic!("it went on")
            };
            assert_eq!(cause.to_string(), "no room");
            bench.finish();
            continue;
        }
        bench.pass(delay);
        bench.pass(delay);
        bench.lower.refuse(None);
        bench.pass(delay);
        bench.end_attempt(Ok(7));
        // Three attempts ended before that, two of them refused.
        assert_eq!((bench.outcomes.only(), bench.lower.requests()), (Ok(7), vec![0, 3]));
        bench.finish();
    }
}

#[test]
fn what_may_succeed_is_repeated_by_default_and_nothing_else() {
    for (error, repeated) in [
        (OpError::TimedOut, true),
        (OpError::Full, true),
        (OpError::Retryable("busy"), true),
        (OpError::Failed("for good"), false),
        (OpError::Dropped, false),
        (OpError::Panicked("bug".into()), false),
        (OpError::Canceled, false),
    ] {
        let mut bench = Bench::new(RetryPolicy::new().at_once());
        bench.start();
        bench.end_attempt(Err(error.clone()));
        assert_eq!(bench.lower.running(), usize::from(repeated), "{error:?}");
        if repeated {
            bench.end_attempt(Ok(7));
        }
        let expected = if repeated { Ok(7) } else { Err(error) };
        assert_eq!(bench.outcomes.only(), expected);
        bench.finish();
    }
}
