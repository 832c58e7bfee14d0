//! Hazard: a queue that grows without bound, and a call or callback lost at the bound.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
#[cfg(feature = "mio")]
use std::time::Duration;

use support::util::{Counts, Drops, NONE, Steps, Trace, assert_counts, figures};
#[cfg(feature = "mio")]
use switchboard::reactor::Reactor;
use switchboard::{
    CallId, CallQueue, Cancellation, QueueHandle, ScheduleError, ScheduleErrorKind, Step,
};

/// The call that a full queue handed back.
#[track_caller]
fn rejected_as_full<C>(scheduled: Result<CallId, ScheduleError<C>>) -> C {
    let (kind, rejected) = scheduled.expect_err("the queue is full").into_parts();
    assert_eq!(kind, ScheduleErrorKind::Full);
    rejected
}

#[test]
fn a_full_queue_hands_the_call_back_and_takes_it_when_there_is_room() {
    for capacity in [1, 2, 63, 64, 65, 1000] {
        let (queue, drops) = (CallQueue::bounded(capacity), Drops::default());
        let call = || {
            let captured = drops.value();
            queue.try_call(move |_| drop(captured))
        };
        for round in 1..=3 {
            for _ in 0..capacity {
                call().expect("the queue has room");
            }
            let rejected = rejected_as_full(call());
            assert_eq!(queue.tally().pending, capacity as u64);
            assert_eq!(queue.dial_pending().dialed, capacity as u64);
            assert_eq!(drops.alive(), 1, "the call that was handed back");
            queue.call(rejected);
            assert_eq!(queue.dial_all().dialed, 1);
            assert_eq!(queue.tally().finished, round * (capacity as u64 + 1));
            assert_eq!(drops.alive(), 0);
        }
    }
}

#[test]
fn canceled_calls_make_room_wherever_they_stand() {
    for capacity in [1, 3, 64, 100] {
        let queue = CallQueue::bounded(capacity);
        let mut ids: Vec<_> = (0..capacity).map(|_| queue.call(|_| ())).collect();
        // The same number stays pending, while places in the ring are void: first, last, between.
        for round in 0..10 * capacity {
            let _ = rejected_as_full(queue.try_call(|_| ()));
            let id = ids.remove([0, ids.len() - 1, ids.len() / 2][round % 3]);
            assert_eq!(queue.cancel(id, "to make room"), Cancellation::Canceled);
            ids.push(queue.call(|_| ()));
        }
        let pending = capacity as u64;
        let canceled = 10 * pending;
        assert_counts(&queue, Counts { pending, canceled, ..NONE });
        assert_eq!(queue.dial_all().dialed, pending);
    }
}

#[test]
fn callbacks_are_taken_beyond_the_bound_and_count_as_pending() {
    let queue = CallQueue::bounded(2);
    let answered = Rc::new(Cell::new(0));
    let callback = || {
        let answered = Rc::clone(&answered);
        queue.callback(move |_, value: u32| answered.set(answered.get() + value))
    };
    for callback in [callback(), callback(), callback()] {
        callback.answer(1);
    }
    assert_counts(&queue, Counts { pending: 3, ..NONE });
    let _ = rejected_as_full(queue.try_call(|_| ()));
    callback().answer(1);
    assert_eq!(queue.dial_all().dialed, 4);
    assert_eq!(answered.get(), 4);
}

#[test]
fn a_live_call_is_not_pending_and_may_schedule_its_successor() {
    let queue = CallQueue::bounded(1);
    let count = Rc::new(Cell::new(0));
    fn next(queue: &QueueHandle, count: Rc<Cell<u32>>) {
        count.set(count.get() + 1);
        if count.get() < 1000 {
            queue.call(move |queue| next(queue, count));
            let _ = rejected_as_full(queue.try_call(|_| ()));
        }
    }
    let first = Rc::clone(&count);
    queue.call(move |queue| next(queue, first));
    assert_eq!(queue.dial_all().dialed, 1000);
    assert_eq!(count.get(), 1000);
}

#[test]
fn calls_to_recipients_are_bounded_too() {
    let queue = CallQueue::bounded(1);
    let counter = queue.recipient(0);
    counter.call(|counter, _| *counter += 1);
    let rejected = rejected_as_full(counter.try_call(|counter, _| *counter += 10));
    queue.dial_all();
    counter.call(rejected);
    queue.dial_all();
    counter.call(|counter, _| assert_eq!(*counter, 11));
    assert_eq!(figures(queue.dial_all()), [1, 0, 0, 0]);
}

#[test]
fn a_capacity_of_zero_takes_callbacks_only() {
    let queue = CallQueue::bounded(0);
    let error = queue.try_call(|_| ()).unwrap_err();
    let text = "call not scheduled: the queue is full; dial it, then schedule the call again";
    assert_eq!(
        (error.to_string().as_str(), format!("{error:?}").as_str()),
        (text, "ScheduleError(Full, ..)")
    );
    queue.callback(|_, ()| ()).answer(());
    assert_eq!(queue.dial_all().dialed, 1);
}

#[test]
fn a_call_that_is_handed_back_leaves_no_trace() {
    let (queue, trace) = (CallQueue::bounded(1), Trace::default());
    queue.call(|_| ());
    let steps = Steps::watch(&queue);
    let log = trace.clone();
    queue.set_wake_hook(move || log.add("woken"));
    assert_eq!(trace.take(), ["woken"], "a call is pending");
    assert!(queue.try_call(|_| ()).is_err());
    assert!(steps.calls(|_| true).is_empty() && trace.take().is_empty());
    assert_counts(&queue, Counts { pending: 1, ..NONE });
}

/// The end was not observed once: the observer had gone with the queue, which it dropped itself.
#[test]
fn an_observer_that_drops_the_queue_is_notified_of_how_a_call_ends_that_is_not_admitted() {
    let owner = Rc::new(Cell::new(Some(CallQueue::bounded(0))));
    let queue = owner.take().unwrap();
    let handle = queue.handle();
    owner.set(Some(queue));
    let steps = Rc::new(RefCell::new(Vec::new()));
    let (log, own) = (Rc::clone(&steps), Rc::clone(&owner));
    handle.add_observer(move |_: CallId, step: &Step| {
        log.borrow_mut().push(step.to_string());
        if let Step::Created { .. } = step {
            drop(own.take());
        }
    });
    handle.call(|_| unreachable!());
    assert!(handle.is_closed());
    let [created, ended] = &steps.borrow()[..] else { panic!("{steps:?}") };
    assert!(created.starts_with("created"), "{created}");
    assert!(ended.contains("the queue is full"), "{ended}");
    assert_eq!(Rc::strong_count(&owner), 1, "the observer leaks");
}

#[test]
fn a_queue_that_is_both_full_and_gone_is_reported_as_gone() {
    let queue = CallQueue::bounded(0);
    let handle = queue.handle();
    drop(queue);
    let error = handle.try_call(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ScheduleErrorKind::QueueDropped);
}

/// A call of another thread came with each turn, although none was dialed.
#[cfg(feature = "mio")]
#[test]
fn calls_of_other_threads_exceed_the_bound_by_one_at_most() {
    for budget in [0, 1] {
        let mut reactor = Reactor::with_queue(CallQueue::bounded(4)).unwrap();
        // They take up a budget of 1, and make no room.
        let canceled: Vec<_> = (0..4).map(|_| reactor.queue().call(|_| ())).collect();
        for call in canceled {
            reactor.queue().cancel(call, "canceled");
        }
        let pending = 4;
        for _ in 0..pending {
            reactor.queue().call(|_| ());
        }
        reactor.set_budget(budget);
        let remote = reactor.remote();
        for _ in 0..100 {
            remote.call(|_| ()).unwrap();
        }
        for _ in 0..4 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
            assert!(reactor.queue().tally().pending <= pending + 1);
        }
        // None is lost.
        reactor.set_budget(10);
        while reactor.queue().tally().finished < pending + 100 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }
}

#[cfg(all(unix, feature = "mio"))]
#[test]
fn readiness_and_timers_come_through_a_full_queue() {
    use std::io::Write;
    use std::os::unix::net::UnixStream as Peer;

    // While an observer looks on, readiness takes another way.
    for (capacity, is_observed) in [(0, false), (1, false), (0, true), (1, true)] {
        let mut reactor = Reactor::with_queue(CallQueue::bounded(capacity)).unwrap();
        if is_observed {
            reactor.queue().add_observer(|_: CallId, _: &Step| ());
        }
        let recipient = reactor.queue().recipient(());
        let (source, mut peer) = Peer::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        let source = mio::net::UnixStream::from_std(source);
        let reported = Rc::new(Cell::new(0));
        let (ready, due) = (Rc::clone(&reported), Rc::clone(&reported));
        let reads = mio::Interest::READABLE;
        let source = reactor.register(source, reads, &recipient, move |(), _, _| {
            ready.set(ready.get() + 1);
        });
        let _source = source.unwrap();
        let due = reactor.queue().callback(move |_, ()| due.set(due.get() + 10));
        reactor.after(Duration::ZERO, due).detach();
        peer.write_all(b"x").unwrap();
        for _ in 0..capacity {
            reactor.queue().call(|_| ());
        }
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().remaining, 0);
        assert_eq!(reported.get(), 11);
    }
}

#[cfg(all(unix, feature = "mio"))]
#[test]
fn readiness_comes_through_a_queue_that_is_kept_full() {
    use std::io::Write;
    use std::os::unix::net::UnixStream as Peer;

    fn again(queue: &QueueHandle) {
        let _ = queue.call(again);
    }

    // While an observer looks on, readiness takes another way.
    for is_observed in [false, true] {
        let mut reactor = Reactor::with_queue(CallQueue::bounded(1)).unwrap();
        if is_observed {
            reactor.queue().add_observer(|_: CallId, _: &Step| ());
        }
        reactor.set_budget(1);
        let recipient = reactor.queue().recipient(());
        let (source, mut peer) = Peer::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        let source = mio::net::UnixStream::from_std(source);
        let reported = Rc::new(Cell::new(0));
        let count = Rc::clone(&reported);
        let reads = mio::Interest::READABLE;
        let source = reactor.register(source, reads, &recipient, move |(), _, _| {
            count.set(count.get() + 1);
        });
        let _source = source.unwrap();
        reactor.queue().call(again);
        peer.write_all(b"x").unwrap();
        for _ in 0..3 {
            let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(reported.get(), 1);
    }
}
