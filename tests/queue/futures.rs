//! Hazard: a future that is never woken, woken for nothing, or whose call outlives it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use support::util::{Counts, Drops, NONE, assert_counts, panic_of};
use switchboard::future::{self, CallbackFuture, OpFuture, Unanswered};
use switchboard::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use switchboard::{CallQueue, Callback};

/// Counts wake-ups.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Polls once.
fn poll<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(wakes));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

#[test]
fn an_answer_is_ready_when_its_call_was_dialed_and_wakes_once() {
    let (queue, wakes) = (CallQueue::new(), Arc::default());
    let (callback, mut answer) = future::callback(&queue);
    assert_eq!(poll(&mut answer, &wakes), Poll::Pending);
    callback.answer("here");
    assert_eq!((poll(&mut answer, &wakes), wakes.take()), (Poll::Pending, 0));
    queue.dial_all();
    assert_eq!((wakes.take(), poll(&mut answer, &wakes)), (1, Poll::Ready(Ok("here"))));
    drop(answer);
    assert_counts(&queue, Counts { finished: 1, ..NONE });
}

#[test]
fn an_answer_that_is_there_before_the_first_poll_needs_no_waker() {
    let (queue, wakes) = (CallQueue::new(), Arc::default());
    let (callback, mut answer) = future::callback(&queue);
    callback.answer(Box::new(7));
    queue.dial_all();
    assert_eq!((poll(&mut answer, &wakes), wakes.take()), (Poll::Ready(Ok(Box::new(7))), 0));
}

#[test]
fn a_call_that_ends_otherwise_wakes_its_future_with_an_error() {
    type End = fn(CallQueue, Callback<()>) -> Option<CallQueue>;
    let ends: [(&str, End); 5] = [
        ("declined", |queue, callback| {
            callback.decline("never");
            Some(queue)
        }),
        ("abandoned", |queue, callback| {
            drop(callback);
            Some(queue)
        }),
        ("canceled", |queue, callback| {
            queue.cancel(callback.id(), "unwanted");
            Some(queue)
        }),
        ("canceled while pending", |queue, callback| {
            let id = callback.id();
            callback.answer(());
            queue.cancel(id, "unwanted");
            Some(queue)
        }),
        ("queue dropped", |queue, callback| {
            drop(queue);
            drop(callback);
            None
        }),
    ];
    for (name, end) in ends {
        let (queue, wakes) = (CallQueue::new(), Arc::default());
        let (callback, mut answer) = future::callback(&queue);
        assert_eq!(poll(&mut answer, &wakes), Poll::Pending);
        let queue = end(queue, callback);
        assert_eq!(wakes.take(), 1, "{name}");
        assert_eq!(poll(&mut answer, &wakes), Poll::Ready(Err(Unanswered)), "{name}");
        if let Some(queue) = queue {
            queue.dial_all();
            assert!(queue.tally().balances());
        }
    }
    let text = "callback not answered: its caller declined or dropped it, or the call was canceled";
    assert_eq!(Unanswered.to_string(), text);
}

#[test]
fn dropping_the_future_cancels_its_call_and_wakes_no_task() {
    for answered in [false, true] {
        let (queue, wakes, drops) = (CallQueue::new(), Arc::default(), Drops::default());
        let (callback, mut answer) = future::callback(&queue);
        assert!(poll(&mut answer, &wakes).is_pending());
        if answered {
            callback.answer(drops.value());
            drop(answer);
            assert_eq!(drops.alive(), 0, "the value that no one awaits");
        } else {
            drop(answer);
            assert!(!callback.is_wanted());
            callback.answer(drops.value());
        }
        queue.dial_all();
        assert_eq!((wakes.take(), drops.alive(), Arc::strong_count(&wakes)), (0, 0, 1));
        assert_counts(&queue, Counts { canceled: 1, ..NONE });
    }
}

#[test]
fn dropping_the_future_after_the_dial_drops_the_value() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let (callback, answer) = future::callback(&queue);
    callback.answer(drops.value());
    queue.dial_all();
    assert_eq!(drops.alive(), 1);
    drop(answer);
    assert_eq!(drops.alive(), 0);
    assert_counts(&queue, Counts { finished: 1, ..NONE });
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    let queue = CallQueue::new();
    let (first, second) = (Arc::default(), Arc::default());
    let (callback, mut answer) = future::callback(&queue);
    for wakes in [&first, &second, &second] {
        assert!(poll(&mut answer, wakes).is_pending());
    }
    assert_eq!(Arc::strong_count(&first), 1, "the first is dropped");
    callback.answer(());
    queue.dial_all();
    assert_eq!((first.take(), second.take()), (0, 1));
}

#[test]
fn a_future_polled_after_it_was_ready_panics() {
    let (queue, wakes) = (CallQueue::new(), Arc::default());
    let (callback, mut answer) = future::callback(&queue);
    callback.answer(());
    queue.dial_all();
    assert!(poll(&mut answer, &wakes).is_ready());
    let text = "a future was polled after it was ready; drop it instead";
    assert_eq!(panic_of(|| poll(&mut answer, &wakes)), text);
    assert_eq!(panic_of(|| poll(&mut answer, &wakes)), text);
}

/// A waker that does something with the queue when it is cloned, woken or dropped is simulated by
/// one that answers the callback within `wake`, and drops the future there.
#[test]
fn a_wake_up_may_drop_the_future() {
    thread_local! {
        static FUTURE: RefCell<Option<CallbackFuture<u32>>> = const { RefCell::new(None) };
    }
    struct DropsFuture;
    impl Wake for DropsFuture {
        fn wake(self: Arc<Self>) {
            drop(FUTURE.take());
        }
    }
    let queue = CallQueue::new();
    let (callback, mut answer) = future::callback(&queue);
    let waker = Waker::from(Arc::new(DropsFuture));
    assert!(Pin::new(&mut answer).poll(&mut Context::from_waker(&waker)).is_pending());
    FUTURE.set(Some(answer));
    callback.answer(1);
    queue.dial_all();
    assert!(FUTURE.take().is_none());
    assert_counts(&queue, Counts { finished: 1, ..NONE });
}

/// A waker that does something as it is dropped, once.
struct ActsOnDrop;

thread_local! {
    static ACTION: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

impl Wake for ActsOnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for ActsOnDrop {
    fn drop(&mut self) {
        if let Some(action) = ACTION.take() {
            action();
        }
    }
}

/// Polls with such a waker, and leaves the only clone with the future.
fn poll_to_act<F: Future + Unpin>(future: &mut F, action: impl FnOnce() + 'static) {
    let waker = Waker::from(Arc::new(ActsOnDrop));
    assert!(Pin::new(future).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    ACTION.set(Some(Box::new(action)));
}

#[test]
fn the_call_may_be_dialed_while_the_last_waker_is_dropped_for_another() {
    let (queue, wakes) = (CallQueue::new(), Arc::default());
    let dialer = queue.handle();
    let (callback, mut answer) = future::callback(&queue);
    poll_to_act(&mut answer, move || {
        callback.answer(8);
        dialer.dial_all();
    });
    assert_eq!(poll(&mut answer, &wakes), Poll::Pending);
    assert!(ACTION.take().is_none(), "the last waker is dropped");
    assert_eq!((wakes.take(), poll(&mut answer, &wakes)), (1, Poll::Ready(Ok(8))));
}

#[test]
fn the_call_may_be_canceled_or_dialed_while_the_waker_goes_with_its_future() {
    for dials in [false, true] {
        let queue = CallQueue::new();
        let actor = queue.handle();
        let (callback, mut answer) = future::callback(&queue);
        poll_to_act(&mut answer, move || {
            if dials {
                callback.answer(());
                actor.dial_all();
            } else {
                actor.cancel(callback.id(), "unwanted");
                drop(callback);
            }
        });
        drop(answer);
        assert!(ACTION.take().is_none(), "the waker goes with its future");
        queue.dial_all();
        let tally = queue.tally();
        assert!(tally.balances() && queue.is_idle(), "{tally}");
        assert_eq!((tally.created, tally.abandoned, tally.unscheduled), (1, 0, 0));
    }
}

/// An operation completed by hand.
type Op = Operation<Rc<Cell<u32>>, u32, Infallible>;

/// Starts one; its cancel hook counts, and completes it.
fn start(
    cancels: &Rc<Cell<u32>>,
    started: &Rc<RefCell<Option<Op>>>,
) -> impl FnOnce(Callback<OpResult<u32, Infallible>>) -> Result<AsyncOp, &'static str> + use<> {
    let (cancels, started) = (Rc::clone(cancels), Rc::clone(started));
    move |done| {
        let op = Operation::new(done, cancels, |op: &Op| {
            op.context().set(op.context().get() + 1);
            op.complete(Err(OpError::Canceled)).unwrap();
        });
        let handle = op.handle();
        started.replace(Some(op));
        Ok(handle)
    }
}

struct World {
    queue: CallQueue,
    wakes: Arc<Wakes>,
    cancels: Rc<Cell<u32>>,
    op: Rc<RefCell<Option<Op>>>,
}

impl World {
    fn new() -> (Self, OpFuture<u32, Infallible>) {
        let world = Self {
            queue: CallQueue::new(),
            wakes: Arc::default(),
            cancels: Rc::default(),
            op: Rc::default(),
        };
        let mut future = future::operation(&world.queue, start(&world.cancels, &world.op)).unwrap();
        assert_eq!(poll(&mut future, &world.wakes), Poll::Pending);
        (world, future)
    }
}

#[test]
fn an_operation_can_be_awaited() {
    let (world, mut future) = World::new();
    world.op.take().unwrap().complete(Ok(5)).unwrap();
    assert_eq!(poll(&mut future, &world.wakes), Poll::Pending, "the result goes through the queue");
    world.queue.dial_all();
    assert_eq!((world.wakes.take(), poll(&mut future, &world.wakes)), (1, Poll::Ready(Ok(5))));
    drop(future);
    assert_eq!(world.cancels.get(), 0);
}

#[test]
fn dropping_the_future_cancels_the_operation_and_wakes_no_task() {
    let (world, future) = World::new();
    drop(future);
    assert_eq!(world.cancels.get(), 1);
    assert_eq!(world.op.take().unwrap().state(), OpState::Completed);
    world.queue.dial_all();
    assert_eq!(world.wakes.take(), 0);
    assert_counts(&world.queue, Counts { canceled: 1, ..NONE });
}

/// An embedder may dial as soon as there is a call.
#[test]
fn dropping_the_future_of_an_operation_wakes_no_task_in_a_queue_that_dials_at_once() {
    let (world, future) = World::new();
    let dialer = world.queue.handle();
    world.queue.set_wake_hook(move || _ = dialer.dial_all());
    drop(future);
    assert_eq!((world.cancels.get(), world.wakes.take()), (1, 0));
    assert_counts(&world.queue, Counts { canceled: 1, ..NONE });
}

#[test]
fn canceling_the_operation_completes_its_future() {
    let (world, mut future) = World::new();
    future.handle().clone().cancel();
    world.queue.dial_all();
    assert_eq!(poll(&mut future, &world.wakes), Poll::Ready(Err(OpError::Canceled)));
    drop(future);
    assert_eq!(world.cancels.get(), 1);
}

#[test]
fn an_operation_lost_by_its_module_or_with_its_queue_reports_that() {
    for with_queue in [false, true] {
        let (world, mut future) = World::new();
        if with_queue {
            drop(world.queue);
        } else {
            drop(world.op.take());
            world.queue.dial_all();
        }
        assert_eq!(world.wakes.take(), 1);
        assert_eq!(poll(&mut future, &world.wakes), Poll::Ready(Err(OpError::Dropped)));
    }
}

#[test]
fn a_start_that_fails_is_passed_on_and_leaves_nothing() {
    let queue = CallQueue::new();
    let start = |done: Callback<OpResult<(), Infallible>>| {
        done.decline("not open");
        Err("not open")
    };
    assert_eq!(future::operation(&queue, start).unwrap_err(), "not open");
    assert_counts(&queue, Counts { canceled: 1, ..NONE });
}
