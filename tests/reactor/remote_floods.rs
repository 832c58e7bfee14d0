//! Hazard: other threads send more than the loop can take: memory without bound, calls lost at the
//! bound, or all else kept waiting (rules M6 and M8).

use std::cell::Cell;
use std::io::Write;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread::{self};
use std::time::{Duration, Instant};

use mio::Interest;
use switchboard::reactor::{Reactor, RemoteAddress, SendError};
use switchboard::{CallId, QueueHandle, Step};

use support::descriptors::claim;
use support::net::{self, Log, PATIENCE, turn_now, turn_until_idle};

#[test]
fn m08_a_bounded_remote_hands_back_what_is_too_much() {
    let mut reactor = Reactor::new().unwrap();
    let count = Rc::new(Cell::new(0));
    let recipient = reactor.queue().recipient(Rc::clone(&count));
    let remote = reactor.remote_to(&recipient).bounded(3);
    let clone = remote.clone();
    let call =
        |remote: &RemoteAddress<Rc<Cell<i32>>>| remote.call(|count, _| count.set(count.get() + 1));
    for round in 1..=3 {
        call(&remote).unwrap();
        call(&clone).unwrap();
        call(&remote).unwrap();
        let error = call(&clone).unwrap_err();
        assert!(matches!(error, SendError::Full(_)), "{error:?}");
        let text = "remote call not scheduled: the limit of calls underway is reached; send it again later";
        assert_eq!(error.to_string(), text);
        // Another one has its own limit.
        reactor.remote().bounded(1).call(|_| ()).unwrap();
        // Fetched is not dialed yet.
        reactor.set_budget(1);
        let _ = turn_now(&mut reactor);
        call(&remote).unwrap();
        assert!(call(&remote).is_err());
        reactor.set_budget(100);
        turn_until_idle(&mut reactor);
        assert_eq!(count.get(), 4 * round);
    }
    assert!(matches!(reactor.remote().bounded(0).call(|_| ()), Err(SendError::Full(_))));
}

#[test]
fn a_canceled_or_refused_call_makes_room_in_its_remote() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let remote = reactor.remote_to(&recipient).bounded(1);
    remote.call(|(), _| ()).unwrap();
    let scheduled = Log::new();
    let ids = scheduled.clone();
    reactor.queue().add_observer(move |id: CallId, step: &Step| {
        if let Step::Scheduled { .. } = step {
            ids.push(id);
        }
    });
    reactor.set_budget(0);
    let _ = turn_now(&mut reactor);
    assert!(remote.call(|(), _| ()).is_err());
    reactor.queue().cancel(scheduled.first(), "unwanted");
    drop(recipient);
    remote.call(|(), _| ()).unwrap();
    reactor.set_budget(10);
    let _ = turn_now(&mut reactor);
    assert_eq!(reactor.queue().tally().refused, 1);
    remote.call(|(), _| ()).unwrap();
}

#[test]
fn a_call_that_is_dialed_makes_room_in_its_remote_for_the_next() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (remote, address) = (reactor.remote(), reactor.remote_to(&recipient));
    let (remote, address) = (remote.bounded(1), address.bounded(1));
    let (to_queue, to_recipient) = (remote.clone(), address.clone());
    remote.call(move |_| to_queue.call(|_| ()).unwrap()).unwrap();
    address.call(move |(), _| to_recipient.call(|(), _| ()).unwrap()).unwrap();
    turn_until_idle(&mut reactor);
    assert_eq!(reactor.queue().tally().finished, 4);
}

#[test]
fn m06_what_is_left_of_the_last_turn_takes_nothing_of_the_share_of_what_was_sent_since() {
    fn again(queue: &QueueHandle) {
        queue.call(again);
    }

    let mut reactor = Reactor::new().unwrap();
    reactor.set_budget(80);
    (0..1_000).for_each(|_| _ = reactor.queue().call(again)); // ahead of all that follows
    let (remote, order) = (reactor.remote(), Arc::new(Mutex::new(Vec::new())));
    let send = |numbers: Range<usize>| {
        for number in numbers {
            let order = Arc::clone(&order);
            remote.call(move |_| order.lock().unwrap().push(number)).unwrap();
        }
    };
    let mut entered = || {
        let before = reactor.queue().tally().created;
        let report = turn_now(&mut reactor);
        reactor.queue().tally().created - before - report.dialed // which schedule themselves again
    };
    send(0..11);
    assert_eq!(entered(), 10, "an eighth of the budget");
    send(11..41);
    assert_eq!([entered(), entered(), entered(), entered()], [10, 10, 10, 1]);
    (0..20).for_each(|_| _ = turn_now(&mut reactor));
    assert!(order.lock().unwrap().iter().copied().eq(0..41));
}

#[test]
fn m06_what_is_sent_while_a_turn_schedules_is_for_the_next_one() {
    let mut reactor = Reactor::new().unwrap();
    reactor.set_budget(usize::MAX);
    let (remote, sent) = (reactor.remote(), Rc::new(Cell::new(0)));
    remote.call(|_| ()).unwrap();
    let count = Rc::clone(&sent);
    reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) && count.get() < 10_000 {
            count.set(count.get() + 1);
            remote.call(|_| ()).unwrap();
        }
    });
    for turn in 1..=3 {
        assert_eq!((turn_now(&mut reactor).dialed, sent.get()), (1, turn));
    }
    reactor.queue().clear_observers();
}

#[test]
fn m06_an_observer_that_cancels_wake_ups_does_not_keep_the_turn_from_ending() {
    let mut reactor = Reactor::new().unwrap();
    reactor.set_budget(usize::MAX);
    let recipient = reactor.queue().recipient(());
    let waker = reactor.remote_to(&recipient).waker(|(), _| ());
    let (queue, canceled) = (reactor.queue().clone(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&canceled);
    reactor.queue().add_observer(move |id: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) && count.get() < 10_000 {
            count.set(count.get() + 1);
            queue.cancel(id, "not now");
        }
    });
    waker.wake_by_ref();
    let _ = turn_now(&mut reactor);
    assert_eq!(canceled.get(), 1);
    reactor.queue().clear_observers();
}

#[test]
fn a_flood_of_remote_calls_does_not_keep_a_socket_waiting_among_busy_ones() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let mut busy = Vec::new();
    let claim = claim(2 * 100);
    for _ in 0..claim.count() / 2 {
        let (source, mut peer) = net::local_pair();
        peer.write_all(b"x").unwrap();
        let source =
            reactor.register(source, Interest::READABLE, &recipient, |(), _, ready| ready.again());
        busy.push((source.unwrap(), peer));
    }
    let reported = Log::new();
    let (source, mut peer) = net::local_pair();
    let _held = net::watch(&reactor, &recipient, source, 0, &reported);
    let remote = reactor.remote();
    for _ in 0..10_000 {
        remote.call(|_| ()).unwrap();
    }
    reactor.set_budget(100);
    for _ in 0..500 {
        let remaining = turn_now(&mut reactor).remaining;
        // The busy ones, and as their share is an eighth, at most that of what is dialed.
        assert!(remaining <= 101 * 8 / 7, "{remaining} calls wait, with a budget of 100");
    }
    peer.write_all(b"x").unwrap();
    (0..4).for_each(|_| _ = turn_now(&mut reactor));
    assert_eq!(reported.len(), 1);
}

#[test]
fn a_flood_of_remote_calls_does_not_keep_timers_waiting() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    for _ in 0..10_000 {
        remote.call(|_| ()).unwrap();
    }
    reactor.set_budget(10);
    let now = Instant::now();
    reactor.set_clock(move || now);
    for _ in 0..1000 {
        // Of ten calls that are dialed in a turn, there is room for these.
        for _ in 0..5 {
            reactor.after(Duration::ZERO, reactor.queue().callback(|_, ()| ())).detach();
        }
        let remaining = turn_now(&mut reactor).remaining;
        assert!(remaining <= 10, "{remaining} calls wait, with a budget of 10");
    }
}

#[test]
fn a_flood_of_remote_calls_does_not_keep_a_socket_waiting() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, mut peer) = net::local_pair();
    let _held = net::watch(&reactor, &recipient, source, 0, &reported);
    let remote = reactor.remote();
    for _ in 0..100_000 {
        remote.call(|_| ()).unwrap();
    }
    reactor.set_budget(100);
    let _ = turn_now(&mut reactor);
    peer.write_all(b"x").unwrap();
    let _ = turn_now(&mut reactor);
    let _ = turn_now(&mut reactor);
    assert_eq!(reported.len(), 1, "within two budgets, though 99,700 calls were sent before");
}

/// 8 threads, 10^6 calls each. In debug some of it, as each call takes much longer there.
const FLOOD: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };

#[test]
fn m08_eight_threads_flood_one_loop_and_nothing_is_lost() {
    for capacity in [usize::MAX, 1000] {
        let mut reactor = Reactor::new().unwrap();
        let next = reactor.queue().recipient(vec![0_usize; 8]);
        let underway = Arc::new(AtomicUsize::new(0));
        let address = reactor.remote_to(&next).bounded(capacity);
        let threads: Vec<_> = (0..8)
            .map(|sender| {
                let (address, underway) = (address.clone(), Arc::clone(&underway));
                thread::spawn(move || {
                    let mut full = 0_u64;
                    for number in 0..FLOOD {
                        let underway = Arc::clone(&underway);
                        let mut call =
                            move |next: &mut Vec<usize>, _: &switchboard::Context<'_, Vec<usize>>| {
                                assert_eq!(next[sender], number, "order");
                                next[sender] += 1;
                                drop(underway);
                            };
                        while let Err(error) = address.call(call) {
                            assert!(matches!(error, SendError::Full(_)), "{error:?}");
                            call = error.into_inner();
                            full += 1;
                            thread::yield_now();
                        }
                    }
                    full
                })
            })
            .collect();
        drop(address);
        let (mut most, mut dialed) = (0, Instant::now());
        while !threads.iter().all(thread::JoinHandle::is_finished) || !reactor.queue().is_idle() {
            if reactor.turn(Some(Duration::from_millis(1))).unwrap().dialed > 0 {
                dialed = Instant::now();
            }
            assert!(dialed.elapsed() < PATIENCE, "the senders wait for room, the loop for calls");
            most = most.max(Arc::strong_count(&underway));
        }
        reactor.run().unwrap();
        let full: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        next.call(|next, _| assert_eq!(*next, vec![FLOOD; 8]));
        reactor.run().unwrap();
        assert_eq!(reactor.queue().tally().finished, 8 * FLOOD as u64 + 1);
        if capacity == 1000 {
            // Those underway, and one in the hands of each sender beside the sender's own.
            assert!(full > 0 && most <= 1000 + 17, "{full} handed back, {most} at a time");
        }
    }
}
