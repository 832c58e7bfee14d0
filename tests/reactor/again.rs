//! Hazard: a handler that stops before its source would block is not called again, is called twice,
//! or leaves no turn to others (rule M3, `again`).

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use switchboard::reactor::{Reactor, Readiness, Registration};

use support::net::{
    LocalStream, Log, check, drain, local_pair, turn_now, turn_until, unwind, unwinding,
};

/// Readers that read one byte at a time and then let others have their turn.
struct Polite {
    sockets: Vec<Option<Registration<LocalStream>>>,
    read: Log<(usize, u8)>,
}

impl Polite {
    fn on_ready(&mut self, name: usize, ready: &Readiness<'_>) {
        let Some(Some(socket)) = self.sockets.get_mut(name) else { return };
        let mut byte = [0];
        match socket.source_mut().read(&mut byte) {
            Ok(0) => self.sockets[name] = None,
            Ok(_) => {
                self.read.push((name, byte[0]));
                ready.again();
                ready.again(); // asks for what is asked for already
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn m03_again_lets_another_socket_have_its_turn_and_takes_no_poll() {
    let mut reactor = Reactor::new().unwrap();
    let read = Log::new();
    let polite = Polite { sockets: Vec::new(), read: read.clone() };
    let polite = reactor.queue().recipient(polite);
    let mut peers = Vec::new();
    for name in 0..2 {
        let (source, peer) = local_pair();
        peers.push(peer);
        let source = reactor.handle().register(source, Interest::READABLE, &polite, {
            move |polite, _, ready| polite.on_ready(name, ready)
        });
        let source = source.unwrap();
        polite.call(|polite, _| polite.sockets.push(Some(source)));
    }
    reactor.queue().dial_all();
    peers[0].write_all(b"abc").unwrap();
    peers[1].write_all(b"xyz").unwrap();

    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 2);
    // There is no reactor in what follows, so nothing is polled.
    let queue = reactor.queue().clone();
    assert_eq!(queue.dial_pending().dialed, 2);
    assert_eq!(queue.tally().pending, 2, "one call for each, however often it is asked for");
    queue.dial_all();
    let expected = [(0, b'a'), (1, b'x'), (0, b'b'), (1, b'y'), (0, b'c'), (1, b'z')];
    let mut read_in_turns = read.take();
    read_in_turns.chunks_mut(2).for_each(<[_]>::sort_unstable); // a batch has no order
    assert_eq!(read_in_turns, expected);
    // Three bytes each, and one attempt that would block.
    assert_eq!(queue.tally().finished, 2 + 8);
    check(&reactor);
    assert_eq!((reactor.event_stats().events, reactor.event_stats().delivered), (2, 2));

    // The end of the stream comes after the last byte.
    reactor.set_budget(100);
    peers[0].write_all(b"d").unwrap();
    drop(peers);
    let handle = reactor.handle();
    turn_until(&mut reactor, || handle.registration_count() == 0);
    assert_eq!(read.take(), [(0, b'd')]);
}

#[test]
fn m03_an_event_merges_into_the_call_that_again_asked_for() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let log = reported.clone();
    let handle = reactor.handle();
    let held = handle.register(source, Interest::READABLE, &recipient, move |(), _, ready| {
        log.push(ready.is_read_closed());
        if log.len() == 1 {
            ready.again();
        }
    });
    let _held = held.unwrap();
    peer.write_all(b"x").unwrap();
    reactor.set_budget(1);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(turn_now(&mut reactor).remaining, 0);
    assert_eq!(reported.take(), [false, true]);
    let traffic = reactor.event_stats();
    assert_eq!((traffic.events, traffic.delivered, traffic.coalesced), (2, 1, 1));
}

#[test]
fn m03_again_is_kept_when_the_handler_panics_and_void_when_it_drops_the_registration() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let holder = reactor.queue().recipient(None::<Registration<LocalStream>>);
    let (source, mut peer) = local_pair();
    let reported = Rc::new(Cell::new(0));
    let count = Rc::clone(&reported);
    let source = handle.register(source, Interest::READABLE, &holder, move |held, _, ready| {
        count.set(count.get() + 1);
        ready.again();
        match count.get() {
            1 => unwind("after again"),
            _ => *held = None,
        }
        ready.again();
    });
    let source = source.unwrap();
    holder.call(|held, _| *held = Some(source));
    peer.write_all(b"x").unwrap();

    reactor.set_budget(2);
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "after again");
    assert_eq!((reported.get(), reactor.queue().tally().pending), (1, 1));
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    let tally = reactor.queue().tally();
    assert_eq!((reported.get(), tally.pending, tally.canceled), (2, 0, 1));
    assert_eq!((handle.registration_count(), Rc::strong_count(&reported)), (0, 1));
}

#[test]
fn m03_a_spurious_readiness_call_finds_that_it_would_block() {
    let mut reactor = Reactor::new().unwrap();
    let read = Log::new();
    let polite = reactor.queue().recipient(Polite { sockets: Vec::new(), read: read.clone() });
    let (source, mut peer) = local_pair();
    peer.write_all(b"x").unwrap();
    let handle = reactor.handle();
    let source = handle.register(source, Interest::READABLE, &polite, |polite, _, ready| {
        polite.on_ready(0, ready);
    });
    let mut source = source.unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!(drain(source.source_mut()), b"x"); // behind the handler's back
    polite.call(|polite, _| polite.sockets.push(Some(source)));
    // The handler runs before it has its socket, and that is harmless as well.
    assert_eq!(reactor.queue().dial_all().dialed, 2);
    peer.write_all(b"y").unwrap();
    reactor.set_budget(10);
    turn_until(&mut reactor, || read.len() == 1);
    assert_eq!(read.take(), [(0, b'y')]);
}

#[test]
fn m03_again_is_kept_when_its_call_is_deferred() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let log = reported.clone();
    let handle = reactor.handle();
    let held = handle.register(source, Interest::READABLE, &recipient, move |(), cx, ready| {
        log.push(ready.is_readable());
        if log.len() == 1 {
            ready.again();
            // The turn of its own next readiness call comes while it is live.
            let report = cx.queue().dial_all();
            assert_eq!((report.dialed, report.refused, report.remaining), (0, 0, 1));
            ready.again(); // merges
        }
    });
    let _held = held.unwrap();
    peer.write_all(b"x").unwrap();
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.remaining), (2, 0, 0));
    assert_eq!(reported.take(), [true, true]);
    assert_eq!((reactor.event_stats().delivered, reactor.poll_timeout()), (1, None));
}

#[test]
fn m03_again_reports_what_was_reported() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        let reported = Log::new();
        let log = reported.clone();
        let source = reactor.register(source, interest, &recipient, move |(), _, ready| {
            log.push((ready.is_readable(), ready.is_writable()));
            if log.len() < 3 {
                ready.again();
            }
        });
        let _source = source.unwrap();
        turn_until(&mut reactor, || reported.len() == 3);
        assert_eq!(reported.take(), [(interest.is_readable(), interest.is_writable()); 3]);
    }
}
