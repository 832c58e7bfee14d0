//! Hazard: an operation whose module, queue or context goes, or whose cancel hook or observer
//! panics, is not completed, or leaks.

use std::cell::RefCell;
use std::error::Error;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use switchboard::op::{AsyncOp, OpError, OpState, Operation};
use switchboard::{CallId, Cancellation, QueueHandle, Step};

use crate::ops::{Bench, complete, wait};

#[test]
fn o03_a_hook_may_lose_the_operation_or_cancel_another() {
    let bench = Bench::default();
    // The module has it in a list only, and the hook takes it out of there.
    let (handle, op) = bench.start(|op| {
        wait(op);
        op.context().others.borrow_mut().clear();
    });
    bench.others.borrow_mut().push(op);
    assert_eq!(handle.cancel(), Cancellation::Canceled);
    bench.counts(0, 1, 0, 0);
    assert_eq!((bench.contexts(), handle.state()), (0, OpState::Completed));
    assert_eq!(bench.dial(), [Err(OpError::Canceled)]);

    // It takes another one that is running along.
    let (other, op) = bench.start(complete);
    bench.others.borrow_mut().push(op);
    let (handle, op) = bench.start(|op| {
        complete(op);
        let others = op.context().others.take();
        assert_eq!(others[0].handle().cancel(), Cancellation::Canceled);
    });
    assert_eq!((handle.cancel(), other.cancel()), (Cancellation::Canceled, Cancellation::Late));
    drop(op);
    bench.counts(0, 2, 1, 0);
    assert_eq!(bench.dial(), [Err(OpError::Canceled), Err(OpError::Canceled)]);
    assert_eq!((bench.contexts(), bench.hooks.get()), (0, 3));
}

#[test]
fn o03_a_hook_that_panics_leaves_the_operation_to_be_completed() {
    for lose in [false, true] {
        let bench = Bench::default();
        let (handle, op) = bench.start(|op| {
            wait(op);
            panic::resume_unwind(Box::new("hook"));
        });
        assert!(panic::catch_unwind(AssertUnwindSafe(|| handle.cancel())).is_err());
        assert_eq!((handle.state(), handle.cancel()), (OpState::Canceling, Cancellation::Already));
        bench.counts(1, 0, 0, 0);
        let expected = if lose { Err(OpError::Canceled) } else { Ok(7) };
        if !lose {
            op.complete(Ok(7)).unwrap();
        }
        drop(op);
        bench.counts(0, 1, 0, 0);
        assert_eq!(bench.dial(), [expected]);
        assert_eq!((bench.contexts(), bench.hooks.get()), (0, 1));
    }
}

#[test]
fn the_context_goes_with_the_last_operation_and_not_with_the_last_handle() {
    let bench = Bench::default();
    let (handle, op) = bench.start(complete);
    let clone = op.clone();
    op.complete(Ok(7)).unwrap();
    drop(op);
    assert_eq!(bench.contexts(), 1);
    drop(clone);
    assert_eq!(bench.contexts(), 0, "kept by a handle");
    assert_eq!(bench.dial(), [Ok(7)]);

    // A handle that outlives everything.
    let second = bench.start(complete);
    drop(second.1);
    drop(bench);
    for handle in [handle, second.0] {
        assert_eq!((handle.state(), handle.cancel()), (OpState::Completed, Cancellation::Late));
        assert_eq!(format!("{handle:?}"), "AsyncOp(Completed)");
    }
}

#[test]
fn a_context_that_drops_may_use_the_queue_and_finds_its_operation_complete() {
    struct Last(Option<AsyncOp>, QueueHandle);

    impl Drop for Last {
        fn drop(&mut self) {
            // The answer is scheduled before the context goes.
            assert_eq!(self.1.tally().pending, 1);
            let handle = self.0.take().unwrap();
            assert_eq!((handle.cancel(), handle.state()), (Cancellation::Late, OpState::Completed));
            self.1.call(|_| ());
        }
    }

    let bench = Bench::default();
    let op = Operation::new(bench.done(), RefCell::new(Last(None, bench.queue.handle())), |_| ());
    op.context().borrow_mut().0 = Some(op.handle());
    drop(op);
    bench.counts(0, 2, 0, 0);
    assert_eq!(bench.dial(), [Err(OpError::Dropped)]);
    bench.counts(0, 0, 2, 0);
}

#[test]
fn the_queue_may_go_before_its_operations() {
    let bench = Bench::default();
    let (outcomes, hooks) = (Rc::clone(&bench.outcomes), Rc::clone(&bench.hooks));
    let alive = Rc::clone(&bench.alive);
    let (running, running_op) = bench.start(complete);
    let (completed, completed_op) = bench.start(complete);
    let (canceling, canceling_op) = bench.start(wait);
    let (_, lost_op) = bench.start(wait);
    completed_op.complete(Ok(7)).unwrap();
    let _ = canceling.cancel();
    bench.counts(3, 1, 0, 0);
    let queue = running_op.context().queue.clone();
    drop(bench);
    let tally = queue.tally();
    assert_eq!((tally.canceled, tally.created), (4, 4), "{tally}");

    // They end as usual, but there is no one left to notify.
    assert_eq!((running.state(), running.cancel()), (OpState::Running, Cancellation::Canceled));
    assert_eq!((running.state(), completed.cancel()), (OpState::Completed, Cancellation::Late));
    assert_eq!(canceling_op.complete(Ok(8)), Ok(()));
    assert_eq!(canceling.state(), OpState::Completed);
    drop((running_op, completed_op, canceling_op, lost_op));
    assert_eq!((queue.tally(), hooks.get()), (tally, 2));
    assert!(outcomes.borrow().is_empty());
    assert_eq!(Rc::strong_count(&alive), 1, "a context leaks");
}

#[test]
fn a_panic_of_the_observer_takes_no_result() {
    let bench = Bench::default();
    let (handle, op) = bench.start(complete);
    bench.queue.add_observer(|_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            panic::resume_unwind(Box::new("observer"));
        }
    });
    assert!(panic::catch_unwind(AssertUnwindSafe(|| op.complete(Ok(7)))).is_err());
    bench.queue.clear_observers();
    assert_eq!((handle.state(), op.complete(Ok(8))), (OpState::Completed, Err(Ok(8))));
    bench.counts(0, 1, 0, 0);
    assert_eq!(bench.dial(), [Ok(7)]);
}

#[test]
fn errors_name_what_failed_and_why() {
    type Fails = OpError<std::num::ParseIntError>;
    let cause = "x".parse::<u8>().unwrap_err();
    assert_eq!(Fails::Canceled.to_string(), "operation canceled");
    let text =
        "operation without a result: its module dropped it; check the module and its reactor";
    assert_eq!(Fails::Dropped.to_string(), text);
    assert!(Fails::Canceled.source().is_none() && Fails::Dropped.source().is_none());
    for error in [Fails::Retryable(cause.clone()), Fails::Failed(cause.clone())] {
        assert!(!error.to_string().contains(&cause.to_string()), "said twice: {error}");
        assert_eq!(error.source().unwrap().to_string(), cause.to_string());
    }
}
