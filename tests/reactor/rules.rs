//! Hazard: an event lost, reported to the wrong one, or never polled for. One test for each rule of the
//! reactor; more of M3 is in `readiness.rs` and `again.rs`, of M4 in `registration.rs`, of M5 and M6
//! in `run.rs`.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Interest;
use switchboard::reactor::{Reactor, Registration};
use switchboard::{CallId, Observer, QueueHandle, Step, TurnStep};

use support::net::{
    LocalStream, Log, PATIENCE, assert_closed, check, drain, local_pair, turn_now, turn_until,
    unwind, unwinding, watch,
};

#[test]
fn m01_a_whole_batch_is_scheduled_before_any_of_it_is_dialed() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (sources, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| local_pair()).unzip();
    let _held: Vec<_> = (0..)
        .zip(sources)
        .map(|(name, source)| watch(&reactor, &recipient, source, name, &reported))
        .collect();
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }

    let steps = Log::new();
    reactor.queue().add_observer({
        let steps = steps.clone();
        move |_: CallId, step: &Step| match step {
            Step::Scheduled { .. } => steps.push("scheduled"),
            Step::Dialed => steps.push("dialed"),
            _ => {}
        }
    });
    assert_eq!(turn_now(&mut reactor).dialed, 3);

    let expected = ["scheduled", "scheduled", "scheduled", "dialed", "dialed", "dialed"];
    assert_eq!(steps.take(), expected);
    let mut reported = reported.take();
    reported.sort_unstable();
    assert_eq!(reported, [0, 1, 2]);
    assert_eq!(reactor.event_stats().delivered, 3);
}

#[test]
fn m01_a_panic_of_the_clock_loses_no_event() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, mut peer) = local_pair();
    let _held = watch(&reactor, &recipient, source, 0, &reported);
    let panics = Rc::new(Cell::new(true));
    reactor.set_time_budget(Some(Duration::from_secs(1)));
    reactor.set_clock({
        let panics = Rc::clone(&panics);
        move || {
            if panics.get() {
                unwind("no time");
            }
            Instant::now()
        }
    });
    peer.write_all(b"x").unwrap();
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "no time");
    panics.set(false);
    let _ = turn_now(&mut reactor);
    assert_eq!(reported.take(), [0]);
}

#[test]
fn m01_a_panic_in_a_handler_loses_no_event() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (sources, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| local_pair()).unzip();
    let mut held = Vec::new();
    for (name, source) in (0..).zip(sources) {
        let reported = reported.clone();
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
            reported.push(name);
            if reported.len() == 1 {
                unwind("the first handler");
            }
        });
        held.push(source.unwrap());
    }
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }

    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the first handler");
    check(&reactor);
    let tally = reactor.queue().tally();
    assert_eq!((tally.panicked, tally.pending, reported.len()), (1, 2, 1));

    assert_eq!(turn_now(&mut reactor).dialed, 2);
    let mut reported = reported.take();
    reported.sort_unstable();
    assert_eq!(reported, [0, 1, 2]);
    assert_eq!((reactor.event_stats().events, reactor.event_stats().delivered), (3, 3));
}

#[test]
fn m01_a_panic_in_the_observer_loses_no_event() {
    // The observer panics while the first, second or third call of the batch is scheduled.
    for panics_at in 1..=3 {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let reported = Log::new();
        let (sources, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| local_pair()).unzip();
        let _held: Vec<_> = (0..)
            .zip(sources)
            .map(|(name, source)| watch(&reactor, &recipient, source, name, &reported))
            .collect();
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        let scheduled = Cell::new(0);
        reactor.queue().add_observer(move |_: CallId, step: &Step| {
            if matches!(step, Step::Scheduled { .. }) {
                scheduled.set(scheduled.get() + 1);
                if scheduled.get() == panics_at {
                    unwind("the observer");
                }
            }
        });

        assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the observer");
        check(&reactor);
        assert_eq!(reactor.queue().tally().pending, panics_at);
        assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "calls or events are left");
        assert!(reported.take().is_empty());

        assert_eq!(turn_now(&mut reactor).dialed, 3);
        let mut reported = reported.take();
        reported.sort_unstable();
        assert_eq!(reported, [0, 1, 2], "panicked at call {panics_at}");
        assert_eq!((reactor.event_stats().events, reactor.event_stats().delivered), (3, 3));
        assert_eq!(reactor.poll_timeout(), None);
    }
}

/// Panics as a turn begins, once.
struct PanicsAtTurn(Cell<bool>);

impl Observer for PanicsAtTurn {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_turn(&self, _: NonZeroU64, step: &TurnStep) {
        if matches!(step, TurnStep::Begins { .. }) && self.0.take() {
            unwind("the observer");
        }
    }
}

#[test]
fn m01_an_observer_that_panics_as_a_turn_begins_loses_no_event() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, mut peer) = local_pair();
    let _held = watch(&reactor, &recipient, source, 0, &reported);
    peer.write_all(b"x").unwrap();
    reactor.queue().add_observer(PanicsAtTurn(Cell::new(true)));
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the observer");
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "an event is left");
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(reported.take(), [0]);
}

#[test]
fn m02_an_event_does_not_reach_the_new_owner_of_a_slot() {
    // Its call is pending when its source goes; or it is in line for one, as the observer dials.
    for in_line in [false, true] {
        does_not_reach_the_new_owner(in_line);
    }
}

fn does_not_reach_the_new_owner(in_line: bool) {
    struct Pair {
        held: [Option<Registration<LocalStream>>; 2],
        successor: Option<Registration<LocalStream>>,
    }

    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let pair = reactor.queue().recipient(Pair { held: [None, None], successor: None });
    let reported = Log::new();
    let (new, mut new_peer) = local_pair();
    let new = Rc::new(Cell::new(Some(new)));
    let mut peers = Vec::new();
    for name in 0..2 {
        let (source, peer) = local_pair();
        peers.push(peer);
        let (inner, reported, new) = (handle.clone(), reported.clone(), Rc::clone(&new));
        let source = handle.register(source, Interest::READABLE, &pair, move |pair, cx, _| {
            reported.push(name);
            // The other one's event is in the same batch. Its slot goes to the successor.
            pair.held[1 - name] = None;
            let reported = reported.clone();
            let new = new.take().expect("only one handler runs");
            let new = inner
                .register(new, Interest::READABLE, cx, move |_, _, _| reported.push(2))
                .unwrap();
            pair.successor = Some(new);
        });
        let source = source.unwrap();
        pair.call(move |pair, _| pair.held[name] = Some(source));
    }
    reactor.queue().dial_all();
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }

    if in_line {
        let dialer = reactor.queue().clone();
        reactor.queue().add_observer(move |_: CallId, step: &Step| {
            if matches!(step, Step::Scheduled { .. }) {
                let _ = dialer.dial_all();
            }
        });
    }
    assert_eq!(turn_now(&mut reactor).canceled, u64::from(!in_line));
    let first = reported.take();
    assert_eq!(first.len(), 1, "one of {first:?} was deregistered by the other");
    assert_eq!(handle.registration_count(), 2);
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    assert!(reported.take().is_empty());

    new_peer.write_all(b"x").unwrap();
    turn_until(&mut reactor, || reported.len() == 1);
    assert_eq!(reported.take(), [2]);
    assert_eq!((reactor.event_stats().events, reactor.event_stats().delivered), (3, 3));
}

#[test]
fn m03_events_merge_into_the_readiness_call_that_is_pending() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let log = reported.clone();
    let handle = reactor.handle();
    let held = handle.register(source, Interest::READABLE, &recipient, move |(), _, ready| {
        log.push((ready.is_readable(), ready.is_read_closed(), ready.is_writable()));
    });
    let mut held = held.unwrap();

    // The call stays pending over three polls.
    reactor.set_budget(0);
    peer.write_all(b"first").unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!((reactor.event_stats().delivered, reactor.event_stats().coalesced), (1, 0));
    assert_eq!(drain(held.source_mut()), b"first");
    peer.write_all(b"second").unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!((reactor.event_stats().delivered, reactor.event_stats().coalesced), (1, 1));
    assert_eq!(drain(held.source_mut()), b"second");
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!((reactor.event_stats().delivered, reactor.event_stats().coalesced), (1, 2));
    assert_eq!(reactor.queue().tally().created, 1);

    // What one of them says is not what the next one says.
    assert_eq!(held.source_mut().read(&mut [0]).unwrap(), 0);
    held.set_interest(Interest::READABLE | Interest::WRITABLE).unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!((reactor.event_stats().delivered, reactor.event_stats().coalesced), (1, 3));

    reactor.set_budget(10);
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(reported.take(), [(true, true, true)], "the flags of all four");

    // It starts afresh after that: no flag is left over from before.
    held.set_interest(Interest::WRITABLE).unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(reported.take(), [(false, false, true)]);
    assert_eq!(reactor.event_stats().delivered, 2);
}

#[test]
fn m04_a_dropped_registration_is_never_reported_again() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let captured = Rc::new(Cell::new(0));
    let reported = Rc::clone(&captured);
    let held = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
        reported.set(reported.get() + 1);
    });
    let held = held.unwrap();
    assert_eq!((handle.registration_count(), Rc::strong_count(&captured)), (1, 2));

    // Its readiness call is pending when it is dropped.
    reactor.set_budget(0);
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    drop(held);
    let tally = reactor.queue().tally();
    assert_eq!((tally.pending, tally.canceled, tally.created), (0, 1, 1));
    assert_eq!((handle.registration_count(), Rc::strong_count(&captured)), (0, 1));

    // The descriptor is closed with it, and the poll knows nothing of it.
    assert_closed(&mut peer);
    reactor.set_budget(10);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.canceled), (0, 1));
    assert_eq!((captured.get(), reactor.event_stats().events), (0, 1));
}

#[test]
fn m05_the_sleep_depends_on_what_is_pending() {
    let mut reactor = Reactor::new().unwrap();
    assert_eq!(reactor.poll_timeout(), None, "idle");
    for _ in 0..3 {
        reactor.queue().call(|_| ());
    }
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "three calls are pending");

    // Whoever asks for a long sleep does not get it while something is pending.
    let start = Instant::now();
    reactor.set_budget(2);
    assert_eq!(reactor.turn(Some(PATIENCE)).unwrap().remaining, 1);
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "the budget left one over");
    assert_eq!(reactor.turn(Some(PATIENCE)).unwrap().remaining, 0);
    assert!(start.elapsed() < PATIENCE, "slept although a call was pending");
    assert_eq!(reactor.poll_timeout(), None, "idle again");

    // A canceled call is not pending.
    let unwanted = reactor.queue().call(|_| ());
    reactor.queue().cancel(unwanted, "not needed");
    assert_eq!(reactor.poll_timeout(), None, "canceled");

    reactor.handle().stop();
    assert_eq!(reactor.poll_timeout(), None, "a stop is for `run` only");
}

#[test]
fn m06_calls_that_keep_scheduling_calls_do_not_starve_sockets() {
    /// Schedules itself forever; so that a starved test ends, not quite.
    fn forever(queue: &QueueHandle, calls: &Rc<Cell<u32>>) {
        calls.set(calls.get() + 1);
        assert!(calls.get() < 1_000_000, "sockets starve");
        let calls = Rc::clone(calls);
        queue.call(move |queue| forever(queue, &calls));
    }

    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, mut peer) = local_pair();
    let mut held = watch(&reactor, &recipient, source, 0, &reported);
    let calls = Rc::new(Cell::new(0));
    forever(reactor.queue(), &calls);
    peer.write_all(b"x").unwrap();

    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!(reported.take(), [0]);
    assert_eq!(drain(held.source_mut()), b"x");
    peer.write_all(b"x").unwrap();
    reactor.set_budget(10);
    assert_eq!(turn_now(&mut reactor).dialed, 10);
    assert_eq!(reported.take(), [0]);

    // Nor do they keep `run` from being stopped.
    let handle = reactor.handle();
    reactor.queue().call(move |_| handle.stop());
    reactor.run().unwrap();
    check(&reactor);
}
