//! Hazard: an operation whose callback comes twice, too early, or never; a cancel that is lost, or
//! too late to be true. Tests for each rule of operations; see `operation_ends.rs` for what ends
//! around them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use switchboard::Cancellation;
use switchboard::op::{AsyncOp, CancelOnDrop, OpError, OpState};

use crate::ops::{Bench, Result, complete, wait};

#[test]
fn o01_the_callback_is_called_exactly_once() {
    let results = [Ok(7), Err(OpError::Failed("for good")), Err(OpError::Retryable("for now"))];
    for result in results {
        let bench = Bench::default();
        // Complete when start returns.
        let (handle, op) = bench.start(wait);
        bench.counts(1, 0, 0, 0);
        assert_eq!(op.complete(result.clone()), Ok(()));
        bench.counts(0, 1, 0, 0);
        assert_eq!((handle.state(), op.state()), (OpState::Completed, OpState::Completed));
        // A second result is handed back, before the dial and after it.
        assert_eq!(op.complete(Ok(8)), Err(Ok(8)));
        assert_eq!(bench.dial(), std::slice::from_ref(&result));
        assert_eq!(op.complete(Err(OpError::Canceled)), Err(Err(OpError::Canceled)));
        bench.counts(0, 0, 1, 0);

        // Complete later, by a clone.
        let (_, op) = bench.start(wait);
        assert_eq!(bench.dial(), []);
        let clone = op.clone();
        drop(op);
        assert_eq!(clone.complete(result.clone()), Ok(()));
        drop(clone);
        bench.counts(0, 1, 1, 0);
        assert_eq!(bench.dial(), [result]);
        bench.counts(0, 0, 2, 0);
        assert_eq!((bench.contexts(), bench.hooks.get()), (1, 0));
    }
}

#[test]
fn o01_a_start_that_fails_never_calls() {
    for cancel in [false, true] {
        let bench = Bench::default();
        let captured = Rc::new(());
        let inner = Rc::clone(&captured);
        let done = bench.queue.callback(move |_, _| unreachable!("{inner:?}"));
        let (handle, op) = bench.start_with(done, wait);
        if cancel {
            assert_eq!(handle.cancel(), Cancellation::Canceled);
        }
        let clone = op.clone();
        op.decline("it cannot be started");
        bench.counts(0, 0, 0, 1);
        assert_eq!(Rc::strong_count(&captured), 1);
        assert_eq!((handle.state(), handle.cancel()), (OpState::Completed, Cancellation::Late));
        assert_eq!(clone.complete(Ok(7)), Err(Ok(7)));
        clone.decline("again");
        bench.counts(0, 0, 0, 1);
        assert_eq!((bench.dial(), bench.contexts()), (vec![], 0));
        assert_eq!(bench.hooks.get(), u32::from(cancel));
    }
}

#[test]
fn o01_a_lost_operation_answers_all_the_same() {
    let bench = Bench::default();
    // Lost while it runs; the last reference counts.
    let (handle, op) = bench.start(wait);
    let clone = op.clone();
    drop(op);
    bench.counts(1, 0, 0, 0);
    drop(clone);
    bench.counts(0, 1, 0, 0);
    assert_eq!((handle.state(), handle.cancel()), (OpState::Completed, Cancellation::Late));
    assert_eq!(bench.dial(), [Err(OpError::Dropped)]);

    // Lost while it is being canceled.
    let (handle, op) = bench.start(wait);
    assert_eq!(handle.cancel(), Cancellation::Canceled);
    drop(op);
    bench.counts(0, 1, 1, 0);
    assert_eq!(bench.dial(), [Err(OpError::Canceled)]);

    // Gone when it is complete, which is no loss.
    let (_, op) = bench.start(wait);
    op.complete(Ok(7)).unwrap();
    drop(op);
    assert_eq!(bench.dial(), [Ok(7)]);
    bench.counts(0, 0, 3, 0);
    assert_eq!(bench.contexts(), 0);
}

#[test]
fn o02_the_callback_runs_neither_inside_start_nor_inside_cancel() {
    type Owner = (Vec<&'static str>, Option<AsyncOp>);
    let bench = Rc::new(Bench::default());
    let owner = bench.queue.recipient::<Owner>(Owner::default());
    let inner = Rc::clone(&bench);
    owner.call(move |owner, cx| {
        let done = cx.callback(|owner: &mut Owner, _, result: Result| {
            assert_eq!(result, Ok(7));
            assert_eq!(owner.1.take().unwrap().state(), OpState::Completed);
            owner.0.push("first called");
        });
        let (handle, op) = inner.start_with(done, complete);
        op.complete(Ok(7)).unwrap(); // before start returns
        owner.1 = Some(handle);
        owner.0.push("first started");

        let done = cx.callback(|owner: &mut Owner, _, result: Result| {
            assert_eq!(result, Err(OpError::Canceled));
            owner.0.push("second called");
        });
        let (handle, _op) = inner.start_with(done, complete);
        owner.0.push("second started");
        assert_eq!(handle.cancel(), Cancellation::Canceled);
        owner.0.push("second canceled");
    });
    assert_eq!(bench.queue.dial_all().dialed, 3);
    let called = ["first started", "second started", "second canceled"];
    let called = [&called[..], &["first called", "second called"]].concat();
    owner.call(move |owner, _| assert_eq!(owner.0, called));
    assert_eq!(bench.queue.dial_all().dialed, 1);
    bench.counts(0, 0, 4, 0);
}

#[test]
fn o03_cancel_runs_the_hook_once_and_the_states_have_an_end() {
    let bench = Bench::default();
    // A hook that leaves the completion for later.
    let (handle, op) = bench.start(wait);
    assert_eq!(handle.cancel(), Cancellation::Canceled);
    assert_eq!((handle.state(), bench.hooks.get()), (OpState::Canceling, 1));
    assert_eq!(
        (handle.cancel(), handle.clone().cancel()),
        (Cancellation::Already, Cancellation::Already)
    );
    assert_eq!((handle.state(), bench.hooks.get()), (OpState::Canceling, 1));
    bench.counts(1, 0, 0, 0);
    // The result is what the module says, and may be a success that came first.
    op.complete(Ok(7)).unwrap();
    bench.counts(0, 1, 0, 0);
    assert_eq!((handle.state(), handle.cancel()), (OpState::Completed, Cancellation::Late));
    assert_eq!(bench.dial(), [Ok(7)]);

    // A hook that completes.
    let (handle, _op) = bench.start(complete);
    assert_eq!(handle.cancel(), Cancellation::Canceled);
    assert_eq!((handle.state(), handle.cancel()), (OpState::Completed, Cancellation::Late));
    bench.counts(0, 1, 1, 0);
    assert_eq!(bench.dial(), [Err(OpError::Canceled)]);
    assert_eq!((handle.state(), handle.cancel()), (OpState::Completed, Cancellation::Late));
    assert_eq!(bench.hooks.get(), 2);

    // A hook that cancels the operation again, and then completes it.
    let (handle, op) = bench.start(|op| {
        let handle = op.context().handle.take().unwrap();
        assert_eq!((handle.state(), handle.cancel()), (OpState::Canceling, Cancellation::Already));
        complete(op);
        assert_eq!((handle.state(), handle.cancel()), (OpState::Completed, Cancellation::Late));
    });
    op.context().handle.replace(Some(handle.clone()));
    assert_eq!(handle.cancel(), Cancellation::Canceled);
    assert_eq!(bench.hooks.get(), 3);
    assert_eq!(bench.dial(), [Err(OpError::Canceled)]);
    bench.counts(0, 0, 3, 0);
}

#[test]
fn o04_the_result_is_fixed_when_its_call_is_scheduled() {
    let bench = Rc::new(Bench::default());
    // Canceled between completion and dial.
    let (handle, op) = bench.start(complete);
    op.complete(Ok(7)).unwrap();
    assert_eq!(handle.cancel(), Cancellation::Late);
    bench.counts(0, 1, 0, 0);
    assert_eq!(bench.dial(), [Ok(7)]);

    // Canceled from the completion callback itself.
    let own = Rc::new(RefCell::new(None::<AsyncOp>));
    let (taken, outcomes) = (Rc::clone(&own), Rc::clone(&bench.outcomes));
    let done = bench.queue.callback(move |_, result| {
        assert_eq!(taken.take().unwrap().cancel(), Cancellation::Late);
        outcomes.borrow_mut().push(result);
    });
    let (handle, op) = bench.start_with(done, complete);
    own.replace(Some(handle));
    op.complete(Ok(8)).unwrap();
    assert_eq!(bench.dial(), [Ok(8)]);
    bench.counts(0, 0, 2, 0);
    assert_eq!(bench.hooks.get(), 0);
}

#[test]
fn o04_to_cancel_the_call_is_silent_and_to_cancel_the_operation_delivers_canceled_once() {
    let bench = Bench::default();
    // The call, before the completion: the operation runs on, and its result goes nowhere.
    let done = bench.done();
    let id = done.id();
    let (handle, op) = bench.start_with(done, complete);
    assert_eq!(bench.queue.cancel(id, "not interested"), Cancellation::Canceled);
    bench.counts(0, 0, 0, 1);
    assert_eq!(handle.state(), OpState::Running);
    assert_eq!(op.complete(Ok(7)), Ok(()));
    assert_eq!((bench.dial(), handle.state()), (vec![], OpState::Completed));
    bench.counts(0, 0, 0, 1);

    // The call, after the completion.
    let done = bench.done();
    let id = done.id();
    let (_, op) = bench.start_with(done, complete);
    op.complete(Ok(7)).unwrap();
    bench.counts(0, 1, 0, 1);
    assert_eq!(bench.queue.cancel(id, "not interested"), Cancellation::Canceled);
    assert_eq!(bench.dial(), []);
    bench.counts(0, 0, 0, 2);

    // Both: the hook runs, and nothing is reported.
    let done = bench.done();
    let id = done.id();
    let (handle, _op) = bench.start_with(done, complete);
    assert_eq!(bench.queue.cancel(id, "not interested"), Cancellation::Canceled);
    assert_eq!((handle.cancel(), bench.hooks.get()), (Cancellation::Canceled, 1));
    assert_eq!(bench.dial(), []);
    bench.counts(0, 0, 0, 3);

    // The operation.
    let (handle, _op) = bench.start(complete);
    assert_eq!((handle.cancel(), bench.hooks.get()), (Cancellation::Canceled, 2));
    assert_eq!(bench.dial(), [Err(OpError::Canceled)]);
    bench.counts(0, 0, 1, 3);
}

#[test]
fn o05_dropping_a_handle_does_not_cancel_and_dropping_a_guard_does() {
    let bench = Bench::default();
    let (handle, op) = bench.start(complete);
    drop(handle.clone());
    drop(handle);
    assert_eq!((op.state(), bench.hooks.get()), (OpState::Running, 0));
    op.complete(Ok(7)).unwrap();
    assert_eq!(bench.dial(), [Ok(7)]);

    let (handle, op) = bench.start(complete);
    let guard: CancelOnDrop = handle.clone().cancel_on_drop();
    assert_eq!(op.state(), OpState::Running);
    drop(guard);
    assert_eq!((op.state(), bench.hooks.get()), (OpState::Completed, 1));
    bench.counts(0, 1, 1, 0);
    assert_eq!(bench.dial(), [Err(OpError::Canceled)]);
    drop(handle.cancel_on_drop()); // too late, and harmless

    // Disarmed, the guard gives the handle back.
    let (handle, op) = bench.start(complete);
    let handle = handle.cancel_on_drop().disarm();
    assert_eq!((handle.state(), bench.hooks.get()), (OpState::Running, 1));
    op.complete(Ok(8)).unwrap();
    drop(handle.cancel_on_drop());
    assert_eq!(bench.dial(), [Ok(8)]);
    bench.counts(0, 0, 3, 0);
    assert_eq!(bench.hooks.get(), 1);
}

#[test]
fn errors_of_operations_are_equal_if_they_say_the_same() {
    let not_started = |cause: &str| OpError::NotStarted(Arc::from(Box::from(cause)));
    let all = [
        OpError::Canceled,
        OpError::Dropped,
        not_started("not open"),
        not_started("no descriptor"),
        OpError::Retryable("reset"),
        OpError::Retryable("refused"),
        OpError::Failed("reset"),
        OpError::Failed("refused"),
    ];
    for (one, error) in all.iter().enumerate() {
        for (other, same) in all.iter().enumerate() {
            assert_eq!(error == same, one == other, "{error:?}, {same:?}");
        }
        assert_eq!(*error, error.clone());
    }
    assert_eq!(not_started("not open"), all[2], "another error, of the same words");
}

#[test]
fn an_operation_prints_its_state() {
    let bench = Bench::default();
    let (handle, op) = bench.start(wait);
    let printed = || (format!("{op:?}"), format!("{handle:?}"));
    assert_eq!(printed(), ("Operation(Running)".into(), "AsyncOp(Running)".into()));
    assert_eq!(handle.cancel(), Cancellation::Canceled);
    assert_eq!(printed(), ("Operation(Canceling)".into(), "AsyncOp(Canceling)".into()));
    assert_eq!(op.complete(Err(OpError::Canceled)), Ok(()));
    assert_eq!(printed(), ("Operation(Completed)".into(), "AsyncOp(Completed)".into()));
}
