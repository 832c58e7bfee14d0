//! Hazard: a loop that sleeps although there is something to do, spins although there is nothing,
//! or does not end (rules M5 and M6).

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use switchboard::reactor::{Reactor, Registration};

use support::net::{
    LocalStream, Log, check, drain, local_pair, turn_now, turn_until, unwind, unwinding, watch,
};

/// A recipient that holds registrations until it is cleared.
type Holder = Vec<Registration<LocalStream>>;

#[cfg(target_os = "linux")]
#[test]
fn m05_an_idle_loop_sleeps_until_there_is_an_event() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::{fs, thread};

    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, mut peer) = local_pair();
    let _held = watch(&reactor, &recipient, source, 0, &reported);

    // The peer writes once the loop's thread is seen asleep, or would be for good.
    let thread = fs::read_link("/proc/thread-self").unwrap();
    let stat = format!("/proc/{}/stat", thread.display());
    let about_to_turn = Arc::new(AtomicBool::new(false));
    let turning = Arc::clone(&about_to_turn);
    let writer = thread::spawn(move || {
        let asleep = || {
            let stat = fs::read_to_string(&stat).unwrap();
            stat.rsplit(')').next().unwrap().trim_start().starts_with('S')
        };
        while !(turning.load(Ordering::Acquire) && asleep()) {
            thread::yield_now();
        }
        peer.write_all(b"x").unwrap();
    });
    assert_eq!(reactor.poll_timeout(), None);
    about_to_turn.store(true, Ordering::Release);
    let report = reactor.turn(None).unwrap();
    assert_eq!((report.dialed, reported.take()), (1, vec![0]), "the loop did not sleep");
    check(&reactor);
    writer.join().unwrap();
}

#[test]
fn m05_no_event_is_needed_to_come_back_from_a_short_sleep() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, _peer) = local_pair();
    let _held = watch(&reactor, &recipient, source, 0, &reported);
    let report = reactor.turn(Some(Duration::from_nanos(1))).unwrap();
    assert_eq!((report.dialed, report.remaining, reported.len()), (0, 0, 0));
    assert_eq!(reactor.event_stats().events, 0);
}

#[test]
fn m06_run_ends_when_nothing_can_happen_any_more() {
    let mut reactor = Reactor::new().unwrap();
    reactor.run().unwrap(); // nothing pending, nothing registered

    // Calls only, more than a turn's budget.
    reactor.set_budget(2);
    for _ in 0..5 {
        reactor.queue().call(|_| ());
    }
    reactor.run().unwrap();
    assert_eq!(reactor.queue().tally().finished, 5);

    // Calls that schedule calls, then a source that goes when it has been notified.
    let log = Log::new();
    let holder = reactor.queue().recipient(Holder::new());
    let (source, mut peer) = local_pair();
    let reported = log.clone();
    let handle = reactor.handle();
    let source = handle.register(source, Interest::READABLE, &holder, move |holder, cx, _| {
        reported.push("notified");
        holder.clear();
        let reported = reported.clone();
        cx.call(move |_, _| reported.push("afterwards"));
    });
    let source = source.unwrap();
    let first = log.clone();
    let call = move |holder: &mut Holder, _: &switchboard::Context<'_, Holder>| {
        first.push("first");
        holder.push(source);
        peer.write_all(b"x").unwrap();
    };
    holder.call(call);
    reactor.run().unwrap();
    check(&reactor);
    assert_eq!(log.take(), ["first", "notified", "afterwards"]);
    assert!(reactor.queue().is_idle());
}

#[test]
fn m06_run_ends_on_stop_and_can_be_run_again() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let log = Log::new();
    let (reported, handle) = (log.clone(), reactor.handle());
    let held = reactor.handle().register(source, Interest::READABLE, &recipient, {
        move |(), cx, _| {
            handle.stop();
            reported.push("notified");
            let reported = reported.clone();
            cx.call(move |(), _| reported.push("same turn"));
        }
    });
    let mut held = held.unwrap();
    for _ in 0..3 {
        peer.write_all(b"x").unwrap();
        reactor.run().unwrap(); // the source stays registered, so only the stop can end this
        check(&reactor);
        assert_eq!(log.take(), ["notified", "same turn"]);
        assert_eq!(drain(held.source_mut()), b"x");
    }

    // A stop that comes before `run` is not lost, and counts once.
    reactor.handle().stop();
    reactor.handle().stop();
    reactor.run().unwrap();
    assert_eq!(log.len(), 0);
    peer.write_all(b"x").unwrap();
    reactor.run().unwrap();
    assert_eq!(log.take(), ["notified", "same turn"]);
}

#[test]
fn m06_run_goes_on_after_a_panic() {
    let mut reactor = Reactor::new().unwrap();
    let log = Log::new();
    let holder = reactor.queue().recipient(Holder::new());
    let mut peers = Vec::new();
    for name in 0..3 {
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        peers.push(peer);
        let log = log.clone();
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &holder, move |holder, _, _| {
            log.push(name);
            match log.len() {
                3 => holder.clear(),
                _ => unwind("the handler"),
            }
        });
        let source = source.unwrap();
        holder.call(|holder, _| holder.push(source));
    }
    for panicked in 1..=2 {
        assert_eq!(unwinding(|| reactor.run()), "the handler");
        check(&reactor);
        assert_eq!((log.len(), reactor.queue().tally().panicked), (panicked, panicked as u64));
    }
    reactor.run().unwrap();
    let mut reported = log.take();
    reported.sort_unstable();
    assert_eq!(reported, [0, 1, 2]);
    assert_eq!(reactor.handle().registration_count(), 0);
}

#[test]
fn m06_a_socket_that_is_always_ready_does_not_starve_another_one() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (busy, mut busy_peer) = local_pair();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let handle = reactor.handle();
    let busy = handle.register(busy, Interest::READABLE, &recipient, move |(), _, ready| {
        count.set(count.get() + 1);
        assert!(count.get() < 1_000_000, "the other one starves");
        ready.again();
    });
    let mut busy = busy.unwrap();
    let reported = Log::new();
    let (other, mut other_peer) = local_pair();
    let mut other = watch(&reactor, &recipient, other, 0, &reported);

    busy_peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!(calls.get(), 2, "the event, and one round of `again`");
    for turn in 1..=10 {
        other_peer.write_all(b"x").unwrap();
        let _ = turn_now(&mut reactor);
        assert_eq!(reported.take(), [0], "turn {turn}");
        assert_eq!(
            (drain(busy.source_mut()), drain(other.source_mut())),
            (b"x".into(), b"x".into())
        );
        busy_peer.write_all(b"x").unwrap();
    }
    assert!(reactor.event_stats().coalesced >= 9, "into the call that `again` asked for");
}

#[test]
fn m06_a_handler_reaches_the_reactor_through_a_handle() {
    // Each handler drops its source and registers the next one. The last only drops its own.
    struct Relay {
        runner: Option<Registration<LocalStream>>,
        left: u32,
        handle: switchboard::reactor::ReactorHandle,
    }

    impl Relay {
        fn hand_over(&mut self, cx: &switchboard::Context<'_, Self>) {
            let (source, mut peer) = local_pair();
            peer.write_all(b"x").unwrap();
            let next = self.handle.register(source, Interest::READABLE, cx, |relay, cx, _| {
                relay.left -= 1;
                relay.runner = None;
                if relay.left > 0 {
                    relay.hand_over(cx);
                }
            });
            self.runner = Some(next.unwrap());
        }
    }

    let mut reactor = Reactor::new().unwrap();
    let relay = Relay { runner: None, left: 100, handle: reactor.handle() };
    let relay = reactor.queue().recipient(relay);
    relay.call(Relay::hand_over);
    let handle = reactor.handle();
    turn_until(&mut reactor, || handle.queue().is_idle() && handle.registration_count() == 0);
    assert_eq!(reactor.event_stats().delivered, 100);
    assert_eq!(reactor.queue().tally().finished, 101);
    assert!(format!("{reactor:?} {handle:?}").contains("registrations: 0"));
}
