//! Hazard: an end that is never reported. `HlCancelAll` over a layer below that behaves badly, and used
//! from within its own functions; for the rest, see `scenarios/close.rs`. All regressions.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use support::manual::{self, Manual, Outcomes, check_over};
use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Closed, HlCancelAll, Layer, MlRetries, Module, Retry, RetryPolicy, StartError,
};
use switchboard::{CallId, CallQueue, Callback, Cancellation, QueueHandle, Step};

/// How many operations each close has canceled, as reported.
type Closes = Rc<RefCell<Vec<usize>>>;

fn closed(queue: &QueueHandle, closes: &Closes) -> Callback<Closed> {
    let closes = Rc::clone(closes);
    queue.callback(move |_, closed: Closed| closes.borrow_mut().push(closed.canceled))
}

/// The operation left the list in its completion only, which never comes if the layer below loses
/// the callback (against rule R5): the user received Dropped, but closing never came to its end.
#[test]
fn an_operation_whose_callback_the_layer_below_drops_leaves_the_list() {
    let queue = CallQueue::new();
    let module = HlCancelAll::new(&queue, Careless);
    module.open();
    let outcomes = Outcomes::new(&queue);
    module.start((), outcomes.done()).expect("it is open");
    queue.dial_all();
    assert!(matches!(outcomes.only(), Err(OpError::Dropped)));
    assert_eq!(module.running(), 0);
    let closes = Closes::default();
    module.close_with(closed(&queue, &closes));
    queue.dial_all();
    assert_eq!(*closes.borrow(), [0]);
}

/// A layer that says that it has started, and drops the callback.
struct Careless;

impl Module for Careless {
    type Request = ();
    type Answer = u32;
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        Layer::ungated()
    }

    fn start(&self, (): (), done: Callback<manual::Result>) -> Result<AsyncOp, StartError<()>> {
        // An operation of its own, that has nothing to do with the callback.
        let queue = CallQueue::new();
        let other = queue.callback(|_, _: manual::Result| ());
        let op = Operation::new(other, (), |_| ()).handle();
        drop(done);
        Ok(op)
    }
}

/// The second close overwrote the callback of the first one, which was Abandoned (rule R5).
#[test]
fn a_module_opened_and_closed_again_before_its_end_answers_both_closers() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = HlCancelAll::new(&queue, lower.clone());
    let outcomes = Outcomes::new(&queue);
    let closes = Closes::default();
    for _ in 0..2 {
        module.open();
        module.start(1, outcomes.done()).expect("it is open");
        module.close_with(closed(&queue, &closes));
    }
    queue.dial_all();
    assert_eq!((outcomes.take().len(), lower.running(), module.running()), (2, 0, 0));
    assert_eq!(closes.borrow().len(), 2);
    check_over(&queue);
}

/// What makes a request may do anything. The operation entered the list only after that: a close
/// reported of the end, and the operation went on.
#[test]
fn closing_within_a_start_cancels_that_operation_too() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let retries = MlRetries::new(&reactor.handle(), lower.clone(), RetryPolicy::new().at_once());
    let module = Rc::new(HlCancelAll::new(queue, retries));
    module.open();
    let outcomes = Outcomes::new(queue);
    let closes = Closes::default();
    let (inner, closed) = (Rc::clone(&module), Cell::new(Some(closed(queue, &closes))));
    let request = Retry::new(move |_, _| {
        closed.take().into_iter().for_each(|closed| inner.close_with(closed));
        1
    });
    let started = module.start(request, outcomes.done());
    queue.dial_all();
    assert_eq!(lower.running(), 0, "canceled, or never started");
    assert_eq!(outcomes.take().len(), usize::from(started.is_ok()));
    assert_eq!((module.running(), closes.borrow().len()), (0, 1));
    check_over(queue);
}

/// The rest was not canceled, and could not be, as a second close is a no-op.
#[test]
fn a_cancel_hook_that_panics_keeps_no_other_operation_from_its_cancel() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = HlCancelAll::new(&queue, lower.clone());
    module.open();
    let outcomes = Outcomes::new(&queue);
    for number in 0..3 {
        module.start(number, outcomes.done()).expect("it is open");
    }
    let closes = Closes::default();
    lower.panic_in_cancels(1);
    let close = || module.close_with(closed(&queue, &closes));
    let _ = panic::catch_unwind(AssertUnwindSafe(close));
    queue.dial_all();
    assert_eq!((lower.cancels(), lower.running(), outcomes.take().len()), (3, 0, 3));
    assert_eq!(*closes.borrow(), [3]);
    check_over(&queue);
}

/// The close waited for what was started after it, too.
#[test]
fn a_close_is_answered_when_what_it_closed_is_over_though_the_module_is_open_again() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = HlCancelAll::new(&queue, lower.clone());
    let outcomes = Outcomes::new(&queue);
    let (first, second) = (Closes::default(), Closes::default());
    module.open();
    (0..2).for_each(|_| drop(module.start(1, outcomes.done()).expect("it is open")));
    module.close_with(closed(&queue, &first));
    module.open();
    (0..3).for_each(|_| drop(module.start(1, outcomes.done()).expect("it is open")));
    queue.dial_all();
    assert_eq!((first.take(), outcomes.take().len(), module.running()), (vec![2], 2, 3));
    module.close_with(closed(&queue, &second));
    queue.dial_all();
    assert_eq!((second.take(), outcomes.take().len(), module.running()), (vec![3], 3, 0));
    check_over(&queue);
}

/// It gave no handle: one could be canceled with all others only.
#[test]
fn o03_one_operation_is_canceled_alone_by_its_handle() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = HlCancelAll::new(&queue, lower.clone());
    module.open();
    let outcomes = Outcomes::new(&queue);
    let ops: Vec<_> =
        (0..3).map(|number| module.start(number, outcomes.done()).expect("it is open")).collect();
    assert_eq!((ops[1].cancel(), ops[1].cancel()), (Cancellation::Canceled, Cancellation::Already));
    assert_eq!((lower.cancels(), lower.running()), (1, 2));
    queue.dial_all();
    assert_eq!((outcomes.take(), module.running()), (vec![Err(OpError::Canceled)], 2));
    let closes = Closes::default();
    module.close_with(closed(&queue, &closes));
    queue.dial_all();
    assert_eq!((closes.take(), outcomes.take().len(), lower.cancels()), (vec![2], 2, 3));
    assert_eq!(ops[0].cancel(), Cancellation::Late);
    check_over(&queue);
}

/// Completes nothing by itself, and forgets a canceled operation at once.
struct Endless;

impl Module for Endless {
    type Request = ();
    type Answer = ();
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        Layer::ungated()
    }

    fn start(
        &self,
        (): (),
        done: Callback<OpResult<(), &'static str>>,
    ) -> Result<AsyncOp, StartError<()>> {
        // It owns itself until it is canceled.
        let op = Operation::new(done, Itself::default(), |op| {
            let _itself = op.context().0.take();
            let _ = op.complete(Err(OpError::Canceled));
        });
        op.context().0.set(Some(op.clone()));
        Ok(op.handle())
    }
}

#[derive(Default)]
struct Itself(Cell<Option<Operation<Self, (), &'static str>>>);

#[test]
fn operations_are_canceled_in_as_many_calls_as_there_are() {
    for count in [1_000_u64, 100_000] {
        let queue = CallQueue::new();
        let module = HlCancelAll::new(&queue, Endless);
        module.open();
        let canceled = Rc::new(Cell::new(0));
        for _ in 0..count {
            let canceled = Rc::clone(&canceled);
            let done = queue.callback(move |_, _| canceled.set(canceled.get() + 1));
            module.start((), done).expect("it is open");
        }
        let closes = Closes::default();
        module.close_with(closed(&queue, &closes));
        // One for each lower result, one for each result, and one for the end.
        assert_eq!(queue.dial_all().dialed, 2 * count + 1);
        assert_eq!((closes.take(), canceled.get()), (vec![count as usize], count));
        check_over(&queue);
    }
}

/// A layer whose author passes on what opens and closes as it is.
struct Forwarding(Rc<HlCancelAll<Manual>>);

impl Module for Forwarding {
    type Request = u32;
    type Answer = u32;
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        self.0.layer()
    }

    fn start(
        &self,
        request: u32,
        done: Callback<manual::Result>,
    ) -> Result<AsyncOp, StartError<u32>> {
        self.0.start(request, done)
    }
}

/// Its gate was closed, so a close found nothing to do, and reported of the end while operations ran.
#[test]
fn a_close_cancels_what_runs_even_if_the_gate_was_closed_before() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = Rc::new(HlCancelAll::new(&queue, lower.clone()));
    module.open();
    let outcomes = Outcomes::new(&queue);
    module.start(1, outcomes.done()).expect("it is open");
    Forwarding(Rc::clone(&module)).close();
    let closes = Closes::default();
    module.close_with(closed(&queue, &closes));
    queue.dial_all();
    assert_eq!((outcomes.only(), lower.running()), (Err(OpError::Canceled), 0));
    assert_eq!(*closes.borrow(), [1]);
    check_over(&queue);
}

/// The second close waits for the first one, whose end an observer answers with a panic.
#[test]
fn an_observer_that_panics_at_one_end_keeps_no_other_from_being_reported() {
    let queue = CallQueue::new();
    let lower = Manual::default();
    let module = HlCancelAll::new(&queue, lower.clone());
    let outcomes = Outcomes::new(&queue);
    let closes = Closes::default();
    module.open();
    module.start(1, outcomes.done()).expect("it is open");
    let first = closed(&queue, &closes);
    let panics_at = first.id();
    module.close_with(first);
    module.open();
    module.close_with(closed(&queue, &closes));
    queue.add_observer(move |id: CallId, step: &Step| {
        if id == panics_at && matches!(step, Step::Scheduled { .. }) {
            panic::resume_unwind(Box::new("an observer"));
        }
    });
    assert!(panic::catch_unwind(AssertUnwindSafe(|| queue.dial_all())).is_err());
    queue.dial_all();
    assert_eq!(*closes.borrow(), [1, 0]);
    check_over(&queue);
}
