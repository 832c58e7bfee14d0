//! Hazard: what comes from outside waits for what is pending, or what is pending for what comes from
//! outside (rule M6, law L8).

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::Interest;
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::{Budget, CallQueue, QueueHandle};

use support::net::{self, Log, turn_now};

const BUDGET: usize = 1024;

/// Schedules `count` calls, each of which schedules itself again, for ever.
fn busy(queue: &QueueHandle, count: usize) {
    fn again(queue: &QueueHandle) {
        queue.call(again);
    }
    (0..count).for_each(|_| _ = queue.call(again));
}

/// A clock that stands still until it is set.
fn clock(reactor: &ReactorHandle) -> Rc<Cell<Instant>> {
    let now = Rc::new(Cell::new(Instant::now()));
    let shown = Rc::clone(&now);
    reactor.set_clock(move || shown.get());
    now
}

/// What advances a clock by a millisecond when it is called.
fn millisecond(clock: &Rc<Cell<Instant>>) -> impl Fn(&QueueHandle) + Clone + use<> {
    let clock = Rc::clone(clock);
    move |_| clock.set(clock.get() + Duration::from_millis(1))
}

#[test]
fn m06_other_threads_have_their_share_beside_calls_that_reschedule_themselves() {
    for local in [1_023, 2_000, 20_000] {
        let mut reactor = Reactor::new().unwrap();
        busy(reactor.queue(), local);
        let (remote, dialed) = (reactor.remote(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&dialed);
        let send = move || {
            for _ in 0..5_000 {
                let count = Arc::clone(&count);
                remote.call(move |_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
            }
        };
        thread::spawn(send).join().unwrap();
        let mut turns = 0;
        while dialed.load(Ordering::Relaxed) < 5_000 {
            let report = turn_now(&mut reactor);
            assert_eq!(report.dialed, BUDGET as u64, "a turn dials its budget, no more");
            turns += 1;
            assert!(turns <= 100 + local / 256, "{local} local calls");
        }
    }
}

#[test]
fn m06_a_wake_up_and_an_answer_of_another_thread_have_that_share_too() {
    let mut reactor = Reactor::new().unwrap();
    busy(reactor.queue(), 2 * BUDGET);
    let seen = Log::new();
    let recipient = reactor.queue().recipient(seen.clone());
    let waker = reactor.remote_to(&recipient).waker(|seen: &mut Log<&str>, _| seen.push("woken"));
    let answer = reactor.remote_callback(recipient.callback(|seen, _, ()| seen.push("answered")));
    thread::spawn(move || {
        waker.wake();
        answer.answer(()).unwrap();
    })
    .join()
    .unwrap();
    (0..3).for_each(|_| _ = turn_now(&mut reactor));
    assert_eq!(seen.take(), ["woken", "answered"]);
}

#[test]
fn m06_due_timers_enter_a_share_at_a_time_and_in_order() {
    for (pending, share) in [(0, BUDGET), (BUDGET - 200, 200), (5 * BUDGET, BUDGET / 8)] {
        let mut reactor = Reactor::new().unwrap();
        let clock = clock(&reactor);
        busy(reactor.queue(), pending);
        let order = Rc::new(RefCell::new(Vec::new()));
        for number in 0..3_000_u64 {
            let order = Rc::clone(&order);
            let callback = reactor.queue().callback(move |_, ()| order.borrow_mut().push(number));
            reactor.after(Duration::from_millis(number / 2), callback).detach();
        }
        clock.set(clock.get() + Duration::from_secs(10));
        for turn in 1.. {
            assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
            let before = reactor.timer_count();
            turn_now(&mut reactor);
            let entered = before - reactor.timer_count();
            assert!(entered <= BUDGET, "{entered} in turn {turn}");
            if before > BUDGET {
                assert!(entered >= BUDGET / 8, "{entered} in turn {turn}");
            }
            if turn == 1 {
                assert_eq!(entered, share, "beside {pending} pending");
            }
            if reactor.timer_count() == 0 {
                break;
            }
        }
        (0..12).for_each(|_| _ = turn_now(&mut reactor));
        assert!(order.borrow().iter().copied().eq(0..3_000));
    }
}

#[test]
fn m06_timers_that_arm_themselves_in_the_past_keep_no_due_one_waiting() {
    let mut reactor = Reactor::new().unwrap();
    let clock = clock(&reactor);
    let past = clock.get().checked_sub(Duration::from_secs(1)).unwrap();
    fn again(reactor: &ReactorHandle, past: Instant) {
        let own = reactor.clone();
        reactor.at(past, reactor.queue().callback(move |_, ()| again(&own, past))).detach();
    }
    reactor.set_budget(8);
    (0..8).for_each(|_| again(&reactor, past));
    let fired = Rc::new(Cell::new(0));
    for _ in 0..8 {
        let fired = Rc::clone(&fired);
        let callback = reactor.queue().callback(move |_, ()| fired.set(fired.get() + 1));
        reactor.after(Duration::ZERO, callback).detach();
    }
    (0..16).for_each(|_| _ = turn_now(&mut reactor));
    assert_eq!(fired.get(), 8);
}

#[test]
fn m06_a_budget_of_none_or_of_time_keeps_nothing_waiting_outside() {
    let kinds: [fn(&ReactorHandle); 3] = [
        |reactor| reactor.set_budget(0),
        |reactor| reactor.set_budget(usize::MAX),
        |reactor| {
            reactor.set_budget(usize::MAX);
            reactor.set_time_budget(Some(Duration::from_millis(2)));
        },
    ];
    for set in kinds {
        let mut reactor = Reactor::new().unwrap();
        let clock = clock(&reactor);
        set(&reactor);
        let recipient = reactor.queue().recipient(());
        let (source, mut peer) = net::local_pair();
        let reported = Log::new();
        let _held = net::watch(&reactor, &recipient, source, 0, &reported);
        peer.write_all(b"x").unwrap();
        let remote = reactor.remote();
        let tick = millisecond(&clock);
        for _ in 0..3_000 {
            let callback = reactor.queue().callback(|_, ()| ());
            reactor.after(Duration::ZERO, callback).detach();
            remote.call(|_| ()).unwrap();
            let tick = tick.clone();
            reactor.queue().call(move |queue| tick(queue));
        }
        // 3,000 are pending, so an eighth of 1,024 of each kind enters, and the readiness.
        let before = reactor.queue().tally().created;
        turn_now(&mut reactor);
        let entered = reactor.queue().tally().created - before;
        assert_eq!(entered, 1 + 128, "the timers were created before");
        assert_eq!(reactor.timer_count(), 3_000 - 128);
    }
}

#[test]
fn m06_a_turn_ends_with_its_time() {
    let mut reactor = Reactor::new().unwrap();
    let clock = clock(&reactor);
    let tick = millisecond(&clock);
    let schedule = |count| {
        for _ in 0..count {
            let tick = tick.clone();
            reactor.queue().call(move |queue| tick(queue));
        }
    };
    schedule(100);
    reactor.set_time_budget(Some(Duration::from_millis(3)));
    assert_eq!(turn_now(&mut reactor).dialed, 3);
    // The time of one turn, and whichever ends first.
    assert_eq!(reactor.turn_within(Duration::from_millis(2)).unwrap().dialed, 2);
    assert_eq!(reactor.turn_within(Duration::from_millis(20)).unwrap().dialed, 3);
    reactor.set_time_budget(None);
    assert_eq!(reactor.turn_within(Duration::from_millis(20)).unwrap().dialed, 20);
    reactor.set_budget(5);
    assert_eq!(reactor.turn_within(Duration::from_millis(20)).unwrap().dialed, 5);
    assert_eq!(turn_now(&mut reactor).dialed, 5);
    // One at least, or else a loop that is late would never get on.
    assert_eq!(reactor.turn_within(Duration::ZERO).unwrap().dialed, 1);
    reactor.set_budget(0);
    assert_eq!(reactor.turn_within(Duration::from_millis(20)).unwrap().dialed, 0);
    assert_eq!(reactor.queue().tally().pending, 100 - 3 - 2 - 3 - 20 - 5 - 5 - 1);
}

/// Rule R2: a call that the next turn dials, as it was asked for in this one and reached out of turn, is
/// not looked for until the time is up.
#[test]
fn m06_a_turn_with_a_time_budget_ends_before_a_deferred_call_of_the_next_turn() {
    let mut reactor = Reactor::new().unwrap();
    let now = Instant::now();
    let reads = Rc::new(Cell::new(0));
    let count = Rc::clone(&reads);
    reactor.set_clock(move || {
        count.set(count.get() + 1);
        now
    });
    reactor.set_time_budget(Some(Duration::from_secs(1)));
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = net::local_pair();
    peer.write_all(b"x").unwrap();
    let calls = Rc::new(Cell::new(0));
    let called = Rc::clone(&calls);
    let handle = reactor.handle();
    let source = handle.register(source, Interest::READABLE, &recipient, move |(), cx, ready| {
        called.set(called.get() + 1);
        if called.get() < 3 {
            ready.again();
        }
        if called.get() == 2 {
            let report = cx.queue().dial_all();
            assert_eq!((report.dialed, report.remaining), (0, 1), "its own call is deferred");
        }
    });
    let _source = source.unwrap();
    reads.set(0);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.remaining), (2, 1));
    assert!(reads.get() < 10, "the clock was read {} times", reads.get());
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.remaining, calls.get()), (1, 0, 3));
}

#[test]
fn m06_a_time_budget_that_never_ends_is_no_limit() {
    let mut reactor = Reactor::new().unwrap();
    reactor.set_time_budget(Some(Duration::MAX));
    busy(&reactor.queue().clone(), 10);
    assert_eq!(turn_now(&mut reactor).dialed, 1024);
    assert_eq!(reactor.turn_within(Duration::MAX).unwrap().dialed, 1024);
}

#[test]
fn m06_a_round_of_again_is_dialed_and_then_the_loop_polls() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    // Ten that always ask for another call.
    let mut held = Vec::new();
    for name in 0..10 {
        let (source, mut peer) = net::local_pair();
        peer.write_all(b"x").unwrap();
        let reported = reported.clone();
        let source =
            reactor.register(source, Interest::READABLE, &recipient, move |(), _, ready| {
                reported.push(name);
                ready.again();
            });
        held.push((source.unwrap(), peer));
    }
    let (source, mut peer) = net::local_pair();
    let quiet = Log::new();
    let _quiet = net::watch(&reactor, &recipient, source, 0, &quiet);
    // The events, and one round of what they asked for.
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.remaining), (20, 10));
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "it polls without sleeping");
    for _ in 0..3 {
        let report = turn_now(&mut reactor);
        assert_eq!((report.dialed, report.remaining), (10, 10), "a round a poll");
        let mut names = reported.take();
        let mut last = names.split_off(names.len() - 10);
        last.sort_unstable();
        assert!(last.into_iter().eq(0..10));
    }
    // A socket that gets ready has its turn with the next round.
    peer.write_all(b"x").unwrap();
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, quiet.take()), (11, vec![0]));
    // Other calls that are scheduled before the round ends are dialed; those behind it wait.
    let queue = reactor.queue().clone();
    queue.call(|queue| _ = queue.call(|_| ()));
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.remaining), (11, 11));
    // No one else is bound by that: who dials the queue himself has all.
    assert_eq!(queue.dial_pending().dialed, 11);
}

#[test]
fn m06_a_stop_of_another_thread_is_not_in_line() {
    let mut reactor = Reactor::new().unwrap();
    busy(reactor.queue(), 100_000);
    let remote = reactor.remote();
    for _ in 0..10_000 {
        remote.call(|_| ()).unwrap();
    }
    thread::spawn(move || {
        remote.stop().unwrap();
        remote
    })
    .join()
    .unwrap();
    assert!(!reactor.should_run());
    reactor.run().unwrap();
    assert_eq!(reactor.queue().tally().finished, 0, "no turn was in progress");
    // It was answered once.
    assert!(reactor.should_run());
    let remote = reactor.remote();
    reactor.queue().call(move |_| thread::spawn(move || remote.stop()).join().unwrap().unwrap());
    reactor.set_budget(200_000);
    reactor.run().unwrap();
    assert_eq!(reactor.queue().tally().finished, 200_000, "the turn in progress went on");
    reactor.stop();
    reactor.resume();
    assert!(reactor.should_run());
}

#[test]
fn m06_a_stop_of_another_thread_wakes_a_loop_that_sleeps() {
    for _ in 0..100 {
        let mut reactor = Reactor::new().unwrap();
        let remote = reactor.remote();
        let other = remote.clone();
        let thread = thread::spawn(move || remote.stop().unwrap());
        reactor.run().unwrap();
        thread.join().unwrap();
        drop(other);
    }
    // One that is gone needs none.
    let reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    drop(reactor);
    remote.stop().unwrap();
}

/// What docs/embedding.md shows: bulk work in a queue of its own.
#[test]
fn bulk_work_in_a_queue_of_its_own_keeps_neither_a_timer_nor_a_socket_waiting() {
    let mut reactor = Reactor::new().unwrap();
    let clock = clock(&reactor);
    let bulk = CallQueue::new();
    (0..100_000).for_each(|_| _ = bulk.call(|_| ()));
    let log = Log::new();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = net::local_pair();
    let mut held = net::watch(&reactor, &recipient, source, 0, &log);
    for turn in 0..100 {
        let timed = log.clone();
        let callback = reactor.queue().callback(move |_, ()| timed.push(1));
        reactor.after(Duration::from_millis(1), callback).detach();
        peer.write_all(b"x").unwrap();
        clock.set(clock.get() + Duration::from_millis(1));
        turn_now(&mut reactor);
        let mut seen = log.take();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1], "both are on time in turn {turn}");
        assert_eq!(net::drain(held.source_mut()), b"x");
        assert_eq!(bulk.dial(Budget::calls(256)).dialed, 256);
    }
}

/// 4,000 calls of another thread and 1,000 sockets, served by turns of two milliseconds each.
#[cfg(feature = "testing")]
#[test]
fn m06_a_frame_takes_no_more_than_its_share_and_serves_all_in_few() {
    use switchboard::testing::{Clock, ScriptedReactor};

    const HANDLER: Duration = Duration::from_micros(16);
    const SHARE: Duration = Duration::from_millis(2);
    let mut reactor = ScriptedReactor::new().unwrap();
    reactor.set_budget(usize::MAX);
    reactor.set_time_budget(Some(SHARE));
    let clock = reactor.clock().clone();
    let served = reactor.queue().recipient(clock.clone());
    let (mut sources, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..1_000 {
        let (source, peer) = reactor.pair();
        peer.push(b"x");
        let reads = Interest::READABLE;
        let source = reactor.register(source, reads, &served, |clock: &mut Clock, _, ready| {
            ready.keep();
            clock.advance(HANDLER);
        });
        sources.push(source.unwrap());
        peers.push(peer);
    }
    let remote = reactor.remote_to(&served);
    for _ in 0..4_000 {
        remote.call(|clock, _| clock.advance(HANDLER)).unwrap();
    }
    let mut frames = 0;
    while reactor.queue().tally().finished < 5_000 {
        let before = clock.elapsed();
        reactor.turn();
        let took = clock.elapsed() - before;
        assert!(took < SHARE + HANDLER, "{took:?} in frame {frames}");
        frames += 1;
        assert!(frames <= 41, "{} served", reactor.queue().tally().finished);
    }
}
