//! Hazard: calls from other threads at a queue that is full: lost, without bound, or never dialed.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use switchboard::reactor::Reactor;
use switchboard::{CallId, CallQueue, QueueHandle, Step};

use support::net::{turn_now, turn_until_idle};

#[test]
fn remote_calls_wait_for_room_in_a_queue_that_is_full() {
    for capacity in [0, 1, 3] {
        let mut reactor = Reactor::with_queue(CallQueue::bounded(capacity)).unwrap();
        let (remote, count) = (reactor.remote(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..20 {
            let count = Arc::clone(&count);
            remote.call(move |_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
        }
        drop(remote);
        let most = Rc::new(Cell::new(0));
        let (seen, queue) = (Rc::clone(&most), reactor.queue().clone());
        reactor.queue().add_observer(move |_: CallId, step: &Step| {
            if let Step::Scheduled { .. } = step {
                seen.set(seen.get().max(queue.tally().pending));
            }
        });
        reactor.run().unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 20);
        assert_eq!(most.get(), capacity.max(1) as u64);
        reactor.queue().clear_observers();
    }
}

/// A queue that always has a call pending, which is that of `again`, and a remote call in its inbox.
#[track_caller]
fn assert_a_remote_call_comes_through(capacity: usize, again: fn(&QueueHandle)) {
    let mut reactor = Reactor::with_queue(CallQueue::bounded(capacity)).unwrap();
    again(reactor.queue());
    let dialed = Arc::new(AtomicBool::new(false));
    let dials = Arc::clone(&dialed);
    reactor.remote().call(move |_| dials.store(true, Ordering::Relaxed)).unwrap();
    for _ in 0..3 {
        assert!(turn_now(&mut reactor).dialed > 0);
        assert_eq!(reactor.queue().tally().pending, 1);
    }
    assert!(dialed.load(Ordering::Relaxed));
}

#[test]
fn a_remote_call_gets_through_a_queue_that_is_kept_full() {
    fn again(queue: &QueueHandle) {
        // It is full already when a remote call has come; but callbacks are always taken.
        if queue.try_call(again).is_err() {
            queue.callback(|queue, ()| again(queue)).answer(());
        }
    }
    assert_a_remote_call_comes_through(1, again);
    fn answered(queue: &QueueHandle) {
        queue.callback(|queue, ()| answered(queue)).answer(());
    }
    assert_a_remote_call_comes_through(0, answered);
}

#[test]
fn one_remote_call_at_a_time_is_beyond_the_capacity_however_many_turns_it_waits() {
    let mut reactor = Reactor::with_queue(CallQueue::bounded(1)).unwrap();
    reactor.set_budget(0); // no one dials it
    reactor.queue().call(|_| ());
    let remote = reactor.remote();
    (0..3).for_each(|_| remote.call(|_| ()).unwrap());
    for _ in 0..3 {
        let _ = turn_now(&mut reactor);
        assert_eq!(reactor.queue().tally().pending, 2);
    }
    reactor.set_budget(1024);
    turn_until_idle(&mut reactor);
    assert_eq!(reactor.queue().tally().finished, 4);
}

#[test]
fn a_remote_call_to_another_queue_gets_through_one_that_is_full() {
    let mut reactor = Reactor::with_queue(CallQueue::bounded(1)).unwrap();
    reactor.set_budget(0); // no one dials it
    let other = CallQueue::new();
    let recipient = other.recipient(());
    let address = reactor.remote_to(&recipient);
    reactor.queue().call(|_| ());
    for _ in 0..3 {
        address.call(|(), _| ()).unwrap();
    }
    (0..3).for_each(|_| _ = turn_now(&mut reactor));
    assert_eq!((other.dial_all().dialed, reactor.queue().tally().pending), (3, 1));
}
