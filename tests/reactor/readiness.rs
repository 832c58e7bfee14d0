//! Hazard: readiness that is lost, or reported to one side only (rule M3).

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::event::Source;
use mio::net::{TcpStream, UdpSocket};
use switchboard::reactor::{Reactor, Registration};
use switchboard::{Address, CallId, Step};

use support::net::{
    Log, closed_port, drain, local_pair, reset, tcp_pair, turn_now, turn_until, unwind, unwinding,
    watch,
};

/// What was reported of a source so far: readable, writable, read closed, write closed, error.
type Outcomes = Rc<Cell<[bool; 5]>>;

fn listen<S: Source>(
    reactor: &Reactor,
    recipient: &Address<()>,
    source: S,
    interest: Interest,
) -> (Registration<S>, Outcomes) {
    let reported = Outcomes::default();
    let sum = Rc::clone(&reported);
    let handle = reactor.handle();
    let source = handle.register(source, interest, recipient, move |(), _, ready| {
        let error = ready.is_error();
        let closed = (ready.is_read_closed(), ready.is_write_closed());
        let now = [ready.is_readable(), ready.is_writable(), closed.0, closed.1, error];
        let before = sum.get();
        sum.set(std::array::from_fn(|flag| before[flag] || now[flag]));
    });
    (source.unwrap(), reported)
}

#[test]
fn m03_the_end_of_the_stream_reaches_readers() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let both = Interest::READABLE | Interest::WRITABLE;

    // Half-close: the peer sends no more, and goes on receiving.
    let (ours, mut peer) = tcp_pair();
    let (mut ours, reported) = listen(&reactor, &recipient, ours, both);
    peer.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut reactor, || reported.get()[2]);
    assert_eq!(reported.get(), [true, true, true, false, false]);
    assert_eq!(ours.source_mut().read(&mut [0; 8]).unwrap(), 0);
    ours.source_mut().write_all(b"still here").unwrap();
    ours.source_mut().shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
}

/// Closed in both directions. On Windows, a writer that waits for nothing does not hear of it.
#[test]
#[cfg(unix)]
fn m03_a_hang_up_reaches_readers_and_writers() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let (ours, peer) = local_pair();
        let (_held, reported) = listen(&reactor, &recipient, ours, interest);
        drop(peer);
        turn_until(&mut reactor, || reported.get()[3]);
        assert_eq!(reported.get()[..4], [true; 4], "{interest:?}");
    }
}

#[test]
fn m03_a_reset_reaches_readers_and_writers() {
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let (mut ours, peer) = tcp_pair();
        reset(peer, &mut ours);
        let (mut ours, reported) = listen(&reactor, &recipient, ours, interest);
        // On Windows, it closes both directions, and only an attempt returns the error. (Wine ends there.)
        let is_error = !cfg!(windows);
        turn_until(&mut reactor, || reported.get()[if is_error { 4 } else { 3 }]);
        assert_eq!(reported.get(), [true, true, true, true, is_error], "{interest:?}");
        if is_error {
            let error = ours.source_mut().read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn m03_an_error_alone_reaches_readers_and_writers() {
    // A datagram that no one took comes back as an error, which is no hang-up.
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let ours = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        ours.connect(peer.local_addr().unwrap()).unwrap();
        peer.send_to(b"to be read", ours.local_addr().unwrap()).unwrap();
        drop(peer);
        ours.send(b"to a closed port").unwrap();
        let (ours, reported) = listen(&reactor, &recipient, ours, interest);
        turn_until(&mut reactor, || reported.get()[4]);
        let [readable, writable, read_closed, _, error] = reported.get();
        assert_eq!([readable, writable, read_closed, error], [true, true, false, true]);
        let error = ours.source().take_error().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn m03_a_refused_connection_reaches_readers_and_writers() {
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let ours = TcpStream::connect(closed_port()).unwrap();
        let (ours, reported) = listen(&reactor, &recipient, ours, interest);
        turn_until(&mut reactor, || reported.get()[4]);
        assert_eq!(reported.get()[..2], [true; 2], "{interest:?}");
        let error = ours.source().take_error().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn m03_urgent_data_is_distinguished_from_other_data() {
    use rustix::net::{SendFlags, send};

    for (flags, printed) in [
        (SendFlags::empty(), "readable: true, .., priority: false"),
        (SendFlags::OOB, "readable: true, .., priority: true"),
    ] {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let (ours, peer) = tcp_pair();
        let reported = Log::new();
        let log = reported.clone();
        let interest = Interest::READABLE | Interest::PRIORITY;
        let held = reactor.register(ours, interest, &recipient, move |(), _, ready| {
            log.push((ready.is_priority(), format!("{ready:?}")));
        });
        let _held = held.unwrap();
        send(&peer, b"!", flags).unwrap();
        turn_until(&mut reactor, || reported.len() == 1);
        let [(urgent, text)] = &reported.take()[..] else { panic!("reported twice") };
        assert_eq!(*urgent, flags == SendFlags::OOB);
        let others = "writable: false, read_closed: false, write_closed: false, error: false";
        assert_eq!(*text, format!("Readiness {{ {} }}", printed.replace("..", others)));
    }
}

#[test]
fn m03_readiness_deferred_by_a_nested_dial_comes_right_after_the_live_call() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let mut held = Vec::new();
    for name in 0..3 {
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        let reported = reported.clone();
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &recipient, move |(), cx, _| {
            reported.push(name);
            if reported.len() == 1 {
                let report = cx.queue().dial_all();
                assert_eq!((report.dialed, report.refused, report.remaining), (0, 0, 2));
                assert!(cx.queue().is_idle(), "there is one to dial while its recipient is live");
                let reported = reported.clone();
                cx.queue().call(move |_| reported.push(3));
            }
        });
        held.push((source.unwrap(), peer));
    }

    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.remaining), (4, 0, 0));
    let first = reported.first();
    let [.., last] = reported.take()[..] else { unreachable!() };
    assert_eq!((first < 3, last), (true, 3), "one was scheduled later, and came first");
    assert_eq!(reactor.poll_timeout(), None);
}

#[test]
fn m03_readiness_that_is_deferred_merges_and_is_canceled() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let mut peers = Vec::new();
    let mut held = Vec::new();
    for name in 0..3 {
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        peers.push(peer);
        let reported = reported.clone();
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &recipient, move |(), cx, _| {
            reported.push(name);
            if reported.len() == 1 {
                assert_eq!(cx.queue().dial_all().remaining, 2);
            }
        });
        held.push(source.unwrap());
    }

    reactor.set_budget(1);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.remaining), (1, 0, 2));
    assert_eq!(reported.len(), 1);
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "two more are pending");
    // What happens to one of them meanwhile merges; another one goes, and with it its call.
    let first = reported.first();
    let (second, third) = ((first + 1) % 3, (first + 2) % 3);
    assert_eq!(drain(held[second].source_mut()), b"x");
    peers[second].write_all(b"y").unwrap();
    drop(held.remove(third));
    reactor.set_budget(10);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.canceled, report.remaining), (1, 1, 0));
    assert_eq!(reported.take(), [first, second]);
    let traffic = reactor.event_stats();
    assert_eq!((traffic.events, traffic.delivered, traffic.coalesced), (4, 3, 1));
    assert_eq!(reactor.poll_timeout(), None);
}

#[test]
fn m03_readiness_is_lost_with_its_recipient_and_not_with_its_call() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, mut peer) = local_pair();
    let _held = watch(&reactor, &recipient, source, 0, &reported);

    // A stranger cancels the readiness call.
    let ids = Log::new();
    let log = ids.clone();
    reactor.queue().add_observer(move |id: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            log.push(id);
        }
    });
    reactor.set_budget(0);
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    reactor.queue().cancel(ids.take()[0], "by a stranger");
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!((reported.len(), ids.len()), (0, 1), "scheduled again");

    // The recipient goes: the loop does not try for ever.
    recipient.hang_up();
    reactor.set_budget(10);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.canceled), (0, 1, 1));
    assert_eq!(reactor.poll_timeout(), None);
    peer.write_all(b"x").unwrap();
    let _ = turn_now(&mut reactor);
    assert_eq!(reactor.poll_timeout(), None);
    assert!(reported.take().is_empty());
}

#[test]
fn m03_readiness_whose_dial_the_observer_interrupted_is_reported_in_the_next_turn() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let _held = watch(&reactor, &recipient, source, 0, &reported);
    let armed = Cell::new(true);
    reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Dialed) && armed.replace(false) {
            unwind("the observer");
        }
    });
    peer.write_all(b"x").unwrap();
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the observer");
    let tally = reactor.queue().tally();
    assert_eq!((reported.len(), tally.panicked, tally.pending), (0, 0, 1));
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!((reported.take(), reactor.poll_timeout()), (vec![0], None));
}

/// It stayed pending once: its id was known only after the observer had been notified of it.
#[test]
fn m04_a_readiness_call_is_canceled_also_if_the_observer_panicked() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let (source, mut peer) = local_pair();
    peer.write_all(b"x").unwrap();
    let handle = reactor.handle();
    let held = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
        unreachable!("{inner:?}");
    });
    reactor.queue().add_observer(|_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            unwind("the observer");
        }
    });
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the observer");
    assert_eq!(reactor.queue().tally().pending, 1);
    drop(held);
    let tally = reactor.queue().tally();
    assert_eq!((tally.pending, tally.canceled), (0, 1), "the call is still pending");
    assert_eq!(Rc::strong_count(&captured), 1);
}

#[test]
fn m04_a_readiness_call_that_is_put_back_is_canceled_with_its_registration() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let (source, mut peer) = local_pair();
    peer.write_all(b"x").unwrap();
    let held = reactor.register(source, Interest::READABLE, &recipient, move |(), _, _| {
        unreachable!("{inner:?}");
    });
    reactor.queue().add_observer(|_: CallId, step: &Step| {
        if matches!(step, Step::Dialed) {
            unwind("the observer");
        }
    });
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the observer");
    drop(held);
    let tally = reactor.queue().tally();
    assert_eq!((tally.pending, tally.canceled, tally.panicked), (0, 1, 0));
    assert_eq!(Rc::strong_count(&captured), 1);
    assert_eq!(turn_now(&mut reactor).canceled, 1);
}

#[test]
fn m04_a_readiness_call_is_canceled_also_if_the_observer_drops_the_registration() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    peer.write_all(b"x").unwrap();
    let handle = reactor.handle();
    let held = handle.register(source, Interest::READABLE, &recipient, |(), _, _| unreachable!());
    let held = RefCell::new(Some(held.unwrap()));
    reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            drop(held.take());
        }
    });
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.canceled), (0, 1), "dialed after all");
}

#[test]
fn m03_readiness_that_is_deferred_is_reported_as_it_came() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        let (_source, reported) = listen(&reactor, &recipient, source, interest);
        let before = Rc::clone(&reported);
        recipient.call(move |(), cx| {
            assert_eq!(cx.queue().dial_all().remaining, 1);
            assert_eq!(before.get(), [false; 5]);
        });
        let report = turn_now(&mut reactor);
        assert_eq!((report.dialed, report.refused), (2, 0));
        let expected = [interest.is_readable(), interest.is_writable(), false, false, false];
        assert_eq!(reported.get(), expected);
    }
}
