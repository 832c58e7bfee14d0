//! Hazard: a try too many, or one that is skipped; a result that a conversion loses. `FirstOf`, `MapResult` and
//! `Then`.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use support::manual::{self, Manual, Outcomes, check_over};
use switchboard::op::{AsyncOp, OpError};
use switchboard::samples::{FirstOf, Layer, Module, ModuleExt, StartError};
use switchboard::{CallQueue, Callback, Cancellation};

struct Bench {
    queue: CallQueue,
    lower: Manual,
    module: FirstOf<Manual>,
    outcomes: Outcomes<u32>,
}

impl Bench {
    fn new() -> Self {
        let queue = CallQueue::new();
        let lower = Manual::default();
        let module = lower.clone().first(&queue);
        module.open();
        let outcomes = Outcomes::new(&queue);
        Self { queue, lower, module, outcomes }
    }

    /// Ends the try that runs.
    fn end(&self, result: manual::Result) {
        self.lower.complete(result);
        self.queue.dial_all();
    }

    #[track_caller]
    fn finish(self) {
        self.queue.dial_all();
        assert_eq!((self.outcomes.count(), self.lower.running()), (0, 0));
        check_over(&self.queue);
        drop(self.module);
        assert_eq!(self.lower.references(), 1, "nothing holds the layer below");
    }
}

#[test]
fn the_first_that_succeeds_is_the_answer_and_none_is_tried_after_it() {
    for failing in 0..3 {
        let bench = Bench::new();
        bench.module.start(vec![1, 2, 3], bench.outcomes.done()).expect("it is open");
        for _ in 0..failing {
            assert_eq!((bench.lower.running(), bench.outcomes.count()), (1, 0));
            bench.end(Err(OpError::Failed("refused")));
        }
        bench.end(Ok(7));
        assert_eq!(bench.outcomes.only(), Ok(7));
        assert_eq!(bench.lower.requests(), [1, 2, 3][..=failing]);
        bench.finish();
    }
}

#[test]
fn if_all_fail_in_whatever_way_the_last_error_is_reported() {
    let bench = Bench::new();
    let errors = [OpError::TimedOut, OpError::Full, OpError::Dropped, OpError::Retryable("last")];
    bench.module.start(vec![0; errors.len()], bench.outcomes.done()).expect("it is open");
    for error in &errors {
        assert_eq!(bench.outcomes.count(), 0);
        bench.end(Err(error.clone()));
    }
    assert_eq!(bench.outcomes.only(), Err(OpError::Retryable("last")));
    bench.finish();
}

#[test]
fn a_cancel_ends_it_at_any_try() {
    for failing in 0..3 {
        let bench = Bench::new();
        let op = bench.module.start(vec![1, 2, 3], bench.outcomes.done()).expect("it is open");
        for _ in 0..failing {
            bench.end(Err(OpError::Failed("refused")));
        }
        assert_eq!(op.cancel(), Cancellation::Canceled);
        bench.queue.dial_all();
        assert_eq!(bench.outcomes.only(), Err(OpError::Canceled));
        assert_eq!((bench.lower.requests().len(), bench.lower.cancels()), (failing + 1, 1));
        bench.finish();
    }
}

#[test]
fn a_try_that_the_layer_below_cancels_is_the_last() {
    let bench = Bench::new();
    bench.module.start(vec![1, 2, 3], bench.outcomes.done()).expect("it is open");
    bench.end(Err(OpError::Canceled));
    assert_eq!(bench.outcomes.only(), Err(OpError::Canceled));
    assert_eq!(bench.lower.requests(), [1]);
    bench.finish();
}

#[test]
fn nothing_to_try_is_refused_and_a_refused_list_is_handed_back_whole() {
    let bench = Bench::new();
    let error = bench.module.start(Vec::new(), bench.outcomes.done()).expect_err("nothing to try");
    assert!(matches!(error, StartError::Failed { .. }), "{error:?}");
    bench.lower.refuse(Some("no room"));
    let error = bench.module.start(vec![1, 2, 3], bench.outcomes.done()).expect_err("refused");
    assert_eq!(error.into_request(), [1, 2, 3]);
    bench.lower.close_down();
    let error = bench.module.start(vec![1, 2, 3], bench.outcomes.done()).expect_err("not open");
    assert_eq!(error.into_request(), [1, 2, 3]);
    bench.finish();
}

#[test]
fn a_try_that_cannot_be_started_ends_it() {
    let bench = Bench::new();
    bench.module.start(vec![1, 2, 3], bench.outcomes.done()).expect("it is open");
    bench.lower.close_down();
    bench.end(Err(OpError::Failed("refused")));
    assert!(matches!(bench.outcomes.only(), Err(OpError::NotStarted(_))));
    bench.finish();
}

/// A layer that refuses all requests but those that it is given to accept.
struct Picky(Manual, fn(u32) -> bool);

impl Module for Picky {
    type Request = u32;
    type Answer = u32;
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        Layer::on(&self.0)
    }

    fn start(
        &self,
        request: u32,
        done: Callback<manual::Result>,
    ) -> Result<AsyncOp, StartError<u32>> {
        self.0.refuse(if self.1(request) { None } else { Some("not this one") });
        self.0.start(request, done)
    }
}

#[test]
fn a_try_that_is_refused_is_followed_by_the_next_one() {
    const REFUSED: u32 = 100_000;
    let queue = CallQueue::new();
    let lower = Manual::default();
    let accepts = |request| request == 0 || request > REFUSED;
    let module = Picky(lower.clone(), accepts).first(&queue);
    module.open();
    let outcomes = Outcomes::new(&queue);
    module.start((0..=REFUSED + 1).collect(), outcomes.done()).expect("it is open");
    lower.complete(Err(OpError::Failed("refused")));
    queue.dial_all();
    assert_eq!(lower.requests(), [0, REFUSED + 1]);
    lower.complete(Ok(7));
    queue.dial_all();
    assert_eq!(outcomes.only(), Ok(7));
    check_over(&queue);
}

#[test]
fn a_cancel_that_comes_as_a_try_was_refused_is_followed_by_no_other() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = Picky(lower.clone(), |request| request != 1).first(&queue);
    module.open();
    let outcomes = Outcomes::new(&queue);
    let op = module.start(vec![0, 1, 2], outcomes.done()).expect("it is open");
    lower.complete(Err(OpError::Failed("refused")));
    queue.dial_pending();
    assert_eq!((op.cancel(), lower.running()), (Cancellation::Canceled, 0));
    queue.dial_all();
    assert_eq!((outcomes.only(), lower.requests()), (Err(OpError::Canceled), vec![0]));
    check_over(&queue);
}

#[test]
fn a_conversion_sees_every_result_and_a_request_is_handed_back_as_it_was() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::<String>::new(&queue));
    let module = lower.clone().map(&queue, |result: manual::Result| match result {
        Err(OpError::Failed(_)) => Ok("replaced".to_owned()),
        result => Ok(result?.to_string()),
    });
    assert_eq!(module.start(5, outcomes.done()).expect_err("not open").into_request(), 5);
    module.open();
    for (result, expected) in [
        (Ok(7), Ok("7".to_owned())),
        (Err(OpError::Failed("gone")), Ok("replaced".to_owned())),
        (Err(OpError::Retryable("busy")), Err(OpError::Retryable("busy"))),
    ] {
        module.start(5, outcomes.done()).expect("it is open");
        lower.complete(result);
        queue.dial_all();
        assert_eq!(outcomes.only(), expected);
    }
    check_over(&queue);
}

/// What had been read was dropped, and the next read went on behind it.
#[test]
fn a_cancel_that_is_late_for_the_layer_below_loses_no_result_to_a_conversion() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::<u32>::new(&queue));
    let module =
        lower.clone().map(&queue, |result: manual::Result| Ok::<_, OpError<_>>(result? + 1));
    module.open();
    for (result, expected) in
        [(Ok(7), Ok(8)), (Err(OpError::Failed("gone")), Err(OpError::Failed("gone")))]
    {
        let op = module.start(5, outcomes.done()).expect("it is open");
        lower.complete(result);
        assert_eq!(op.cancel(), Cancellation::Canceled);
        queue.dial_all();
        assert_eq!((outcomes.only(), lower.cancels()), (expected, 0));
    }
    check_over(&queue);
}

#[test]
fn a_conversion_is_not_asked_about_a_cancel() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::<u32>::new(&queue));
    let module = lower.clone().map(&queue, |result: manual::Result| Ok(result.unwrap_or(0)));
    module.open();
    let op = module.start(5, outcomes.done()).expect("it is open");
    assert_eq!(op.cancel(), Cancellation::Canceled);
    queue.dial_all();
    assert_eq!((outcomes.only(), lower.cancels()), (Err(OpError::Canceled), 1));
    // Of a cancel below it is.
    module.start(5, outcomes.done()).expect("it is open");
    lower.complete(Err(OpError::Canceled));
    queue.dial_all();
    assert_eq!(outcomes.only(), Ok(0));
    check_over(&queue);
}

#[test]
fn a_conversion_that_panics_loses_the_operation_which_reports_that() {
    let queue = CallQueue::new();
    let (lower, outcomes) = (Manual::default(), Outcomes::<u32>::new(&queue));
    let module = lower.clone().map(&queue, |_: manual::Result| -> manual::Result {
        panic::resume_unwind(Box::new("the conversion"))
    });
    module.open();
    module.start(5, outcomes.done()).expect("it is open");
    lower.complete(Ok(7));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| queue.dial_all())).is_err());
    queue.dial_all();
    assert_eq!(outcomes.only(), Err(OpError::Dropped));
    check_over(&queue);
}

#[test]
fn then_starts_the_second_with_what_the_first_came_to_or_ends_with_an_error() {
    let queue = CallQueue::new();
    let (first, second) = (Manual::default(), Manual::default());
    let errors = Rc::new(Cell::new(0));
    let count = Rc::clone(&errors);
    let module = first.clone().then(&queue, second.clone(), move |result| {
        result.inspect_err(|_| count.set(count.get() + 1))
    });
    let outcomes = Outcomes::new(&queue);
    module.open();
    module.start(1, outcomes.done()).expect("it is open");
    first.complete(Ok(7));
    queue.dial_all();
    second.complete(Ok(8));
    queue.dial_all();
    assert_eq!((outcomes.only(), second.requests()), (Ok(8), vec![7]));
    module.start(1, outcomes.done()).expect("it is open");
    first.complete(Err(OpError::Failed("no such name")));
    queue.dial_all();
    assert_eq!((outcomes.only(), errors.get()), (Err(OpError::Failed("no such name")), 1));
    assert_eq!(second.requests(), [7]);
    check_over(&queue);
}
