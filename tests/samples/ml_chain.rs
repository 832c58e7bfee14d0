//! Hazard: a step too many, or after the end. `MlChain` in detail: what its closure may do, and
//! what becomes of a chain when the layer below lets it down.

use std::cell::RefCell;
use std::panic;
use std::rc::Rc;

use support::manual::{self, Manual, Outcomes, check_over};
use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::samples::{Chain, MlChain, Module, Next, StartError};
use switchboard::{CallQueue, Cancellation};

/// The chain answers all answers of its steps.
type Answers = Vec<u32>;

/// `MlChain` over operations completed by hand.
struct Bench {
    queue: CallQueue,
    lower: Manual,
    module: MlChain<Manual, Answers, &'static str>,
    outcomes: Outcomes<Answers>,
}

/// The handle of a chain, for its own closure.
type Own = Rc<RefCell<Option<AsyncOp>>>;

#[track_caller]
fn cancel(own: &Own) -> Cancellation {
    own.borrow().as_ref().expect("the chain was started").cancel()
}

impl Bench {
    fn new() -> Self {
        let queue = CallQueue::new();
        let lower = Manual::default();
        let module = MlChain::new(&queue, lower.clone());
        module.open();
        let outcomes = Outcomes::new(&queue);
        Self { queue, lower, module, outcomes }
    }

    /// Starts a chain of `steps`, whose requests count up from 0; `also` is called in the closure
    /// with the number of the step that is over.
    #[track_caller]
    fn start(&self, steps: usize, also: impl Fn(usize) + 'static) -> AsyncOp {
        self.module.start(chain(steps, also), self.outcomes.done()).expect("it is open")
    }

    /// Ends the step that runs.
    #[track_caller]
    fn end_step(&self, result: manual::Result) {
        self.lower.complete(result);
        self.queue.dial_all();
    }

    /// Checks that all is over.
    #[track_caller]
    fn finish(self) {
        self.queue.dial_all();
        assert_eq!((self.outcomes.count(), self.lower.running()), (0, 0));
        check_over(&self.queue);
        drop(self.module);
        assert_eq!(self.lower.references(), 1, "nothing holds the layer below");
    }
}

type ManualChain = Chain<Manual, Answers, &'static str>;

fn chain(steps: usize, also: impl Fn(usize) + 'static) -> ManualChain {
    step(steps, Vec::new(), also)
}

/// A step of a chain, after those that have answered.
fn step(steps: usize, mut answers: Answers, also: impl Fn(usize) + 'static) -> ManualChain {
    Chain::new(
        |lower| lower,
        answers.len() as u32,
        move |answer: manual::Result| {
            answers.push(answer?);
            also(answers.len() - 1);
            Ok(if answers.len() == steps {
                Next::Done(answers)
            } else {
                Next::Start(step(steps, answers, also))
            })
        },
    )
}

#[test]
fn each_step_starts_when_the_one_before_has_answered() {
    let bench = Bench::new();
    let op = bench.start(3, |_| ());
    for step in 0..3 {
        assert_eq!((bench.lower.running(), bench.outcomes.count()), (1, 0));
        assert_eq!(bench.lower.requests(), (0..=step).collect::<Vec<_>>());
        assert_eq!(op.state(), OpState::Running);
        bench.end_step(Ok(10 + step));
    }
    assert_eq!(bench.outcomes.only().ok(), Some(vec![10, 11, 12]));
    bench.finish();
}

#[test]
fn the_closure_may_cancel_the_chain_and_no_further_step_starts() {
    for step in 0..2 {
        let bench = Bench::new();
        let own = Own::default();
        let inside = Rc::clone(&own);
        let op = bench.start(3, move |over| {
            if over == step {
                assert_eq!(cancel(&inside), Cancellation::Canceled);
                assert_eq!(cancel(&inside), Cancellation::Already);
            }
        });
        own.replace(Some(op));
        for _ in 0..=step {
            bench.end_step(Ok(7));
        }
        assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
        assert_eq!((bench.lower.requests().len(), bench.lower.cancels()), (step + 1, 0));
        assert_eq!(cancel(&own), Cancellation::Late);
        bench.finish();
    }
}

#[test]
fn the_closure_may_cancel_the_chain_at_its_last_step_and_one_outcome_comes() {
    let bench = Bench::new();
    let own = Own::default();
    let inside = Rc::clone(&own);
    own.replace(Some(bench.start(1, move |_| {
        let _ = cancel(&inside);
    })));
    bench.end_step(Ok(7));
    let outcome = bench.outcomes.only();
    assert!(matches!(outcome, Err(OpError::Canceled) | Ok(_)), "{outcome:?}");
    bench.finish();
}

#[test]
fn the_closure_may_start_another_chain_on_the_layer_below() {
    let bench = Bench::new();
    let lower = bench.lower.clone();
    let other = Rc::new(Outcomes::new(&bench.queue));
    let outcomes = Rc::clone(&other);
    bench.start(1, move |_| {
        lower.start(99, outcomes.done()).map(drop).expect("it is open");
    });
    bench.end_step(Ok(7));
    assert_eq!(bench.outcomes.only().ok(), Some(vec![7]));
    bench.end_step(Ok(8));
    assert!(matches!(other.only(), Ok(8)));
    bench.finish();
}

#[test]
fn the_closure_may_panic_and_the_chain_is_lost() {
    let bench = Bench::new();
    bench.start(3, |over| {
        if over == 1 {
            panic::resume_unwind(Box::new("no next step"));
        }
    });
    bench.end_step(Ok(7));
    bench.lower.complete(Ok(8));
    let dial = panic::AssertUnwindSafe(|| bench.queue.dial_all());
    assert!(panic::catch_unwind(dial).is_err(), "it comes through");
    bench.queue.dial_all();
    assert!(matches!(bench.outcomes.only(), Err(OpError::Dropped)));
    bench.finish();
}

#[test]
fn a_cancel_reaches_the_latest_step() {
    for step in 0..3 {
        let bench = Bench::new();
        let op = bench.start(3, |_| ());
        for _ in 0..step {
            bench.end_step(Ok(7));
        }
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!((bench.lower.cancels(), bench.lower.running()), (1, 0));
        assert_eq!((op.state(), op.cancel()), (OpState::Canceling, Cancellation::Already));
        bench.queue.dial_all();
        assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
        assert_eq!(bench.lower.requests().len(), step + 1);
        bench.finish();
    }
}

#[test]
fn a_cancel_that_is_late_for_the_step_is_followed_by_no_other() {
    for result in [Ok(7), Err(OpError::Failed("for good")), Err(OpError::Dropped)] {
        let bench = Bench::new();
        let op = bench.start(3, |_| panic!("the closure is not asked any more"));
        bench.lower.complete(result);
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!(bench.lower.cancels(), 0, "late for the step");
        bench.queue.dial_all();
        assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
        bench.finish();
    }
}

#[test]
fn a_step_that_ends_badly_ends_the_chain_with_its_result() {
    for step in 0..3 {
        let bench = Bench::new();
        for ends in [OpError::Canceled, OpError::Retryable("again"), OpError::Failed("for good")] {
            bench.start(3, |_| ());
            for _ in 0..step {
                bench.end_step(Ok(7));
            }
            let text = ends.to_string();
            bench.end_step(Err(ends));
            assert_eq!(bench.outcomes.only().expect_err("it failed").to_string(), text);
            assert_eq!(bench.lower.running(), 0);
        }
        bench.finish();
    }
}

#[test]
fn a_step_that_the_layer_below_loses_ends_the_chain() {
    for step in 0..3 {
        let bench = Bench::new();
        bench.start(3, |_| ());
        for _ in 0..step {
            bench.end_step(Ok(7));
        }
        bench.lower.lose();
        bench.queue.dial_all();
        assert!(matches!(bench.outcomes.only(), Err(OpError::Dropped)));
        bench.finish();
    }
}

#[test]
fn a_step_that_the_layer_below_refuses_ends_the_chain_with_the_cause() {
    for step in 0..2 {
        let bench = Bench::new();
        bench.start(3, |_| ());
        for _ in 0..step {
            bench.end_step(Ok(7));
        }
        bench.lower.refuse(Some("no room"));
        bench.end_step(Ok(7));
        let Err(OpError::NotStarted(cause)) = bench.outcomes.only() else { panic!("it went on") };
        assert_eq!(cause.to_string(), "no room");
        bench.finish();
    }
}

#[test]
fn a_step_on_a_layer_that_was_closed_ends_the_chain_with_the_cause() {
    let bench = Bench::new();
    bench.start(3, |_| ());
    bench.lower.close_down();
    bench.end_step(Ok(7));
    let Err(OpError::NotStarted(cause)) = bench.outcomes.only() else { panic!("it went on") };
    assert!(matches!(cause.downcast_ref(), Some(StartError::NotOpen(()))), "{cause:?}");
    bench.finish();
}

#[test]
fn a_first_step_that_the_layer_below_refuses_hands_the_chain_back() {
    let bench = Bench::new();
    bench.lower.refuse(Some("no room"));
    let error = bench.module.start(chain(1, |_| ()), bench.outcomes.done()).expect_err("refused");
    let StartError::Failed { source, request } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "no room");
    bench.lower.refuse(None);
    let _ = bench.module.start(request, bench.outcomes.done()).expect("there is room again");
    bench.end_step(Ok(7));
    assert_eq!(bench.outcomes.only().ok(), Some(vec![7]));
    bench.finish();
}

#[test]
fn a_chain_may_stand_on_a_chain_and_answer_something_else() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = MlChain::new(&queue, MlChain::new(&queue, lower.clone()));
    module.open();
    let outcomes = Outcomes::<String>::new(&queue);
    type Answered = OpResult<Answers, &'static str>;
    let outer = Chain::new(
        |lower| lower,
        chain(2, |_| ()),
        |answers: Answered| {
            let text = format!("{:?}", answers?);
            let last = |answers: Answered| Ok(Next::Done(text + &format!("{:?}", answers?)));
            Ok(Next::Start(Chain::new(|lower| lower, chain(1, |_| ()), last)))
        },
    );
    let _ = module.start(outer, outcomes.done()).expect("it is open");
    for answer in 1..=3 {
        lower.complete(Ok(answer));
        queue.dial_all();
    }
    assert_eq!(outcomes.only().ok().as_deref(), Some("[1, 2][3]"));
    check_over(&queue);
}

#[test]
fn the_end_of_the_queue_leaves_nothing_of_a_chain() {
    let Bench { queue, lower, module, outcomes } = Bench::new();
    let op = module.start(chain(3, |_| ()), outcomes.done()).expect("it is open");
    lower.complete(Ok(7));
    queue.dial_all();
    drop((queue, module));
    assert_eq!((outcomes.count(), lower.running()), (0, 1));
    lower.lose();
    assert_eq!((outcomes.count(), lower.references()), (0, 1));
    assert_eq!(op.cancel(), Cancellation::Late);
}
