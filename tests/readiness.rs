//! Hazard: readiness that is lost, told twice, or told to one side only (rule M3 in its corners).
#![cfg(all(unix, feature = "mio"))]

mod net;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use switchboard::reactor::{Reactor, Readiness, Registration};
use switchboard::{Address, CallId, Step};

use net::{
    Log, check, closed_port, reset, tcp_pair, turn_now, turn_until, unix_pair, unwind, unwinding,
    watch,
};

/// Readers that read one byte at a time and then let others have their turn.
struct Polite {
    sockets: Vec<Option<Registration<UnixStream>>>,
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
        let (source, peer) = unix_pair();
        peers.push(peer);
        let source = reactor.handle().register(source, Interest::READABLE, &polite, {
            move |polite, _, ready| polite.on_ready(name, ready)
        });
        let source = source.unwrap();
        polite.call(|polite, _| polite.sockets.push(Some(source))).unwrap();
    }
    reactor.queue().dial_all();
    peers[0].write_all(b"abc").unwrap();
    peers[1].write_all(b"xyz").unwrap();

    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 2);
    // There is no reactor in what follows, so nothing is polled.
    let queue = reactor.queue().handle();
    assert_eq!(queue.dial_pending().dialed, 2);
    assert_eq!(queue.tally().pending, 2, "one call for each, however often it is asked for");
    queue.dial_all();
    let expected = [(0, b'a'), (1, b'x'), (0, b'b'), (1, b'y'), (0, b'c'), (1, b'z')];
    assert_eq!(read.take(), expected);
    // Three bytes each, and one attempt that would block.
    assert_eq!(queue.tally().finished, 2 + 8);
    check(&reactor);
    assert_eq!((reactor.traffic().events, reactor.traffic().told), (2, 2));

    // The end of the stream comes after the last byte.
    reactor.set_budget(100);
    peers[0].write_all(b"d").unwrap();
    drop(peers);
    let handle = reactor.handle();
    turn_until(&mut reactor, || handle.registrations() == 0);
    assert_eq!(read.take(), [(0, b'd')]);
}

#[test]
fn m03_an_event_merges_into_the_call_that_again_asked_for() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = unix_pair();
    let told = Log::new();
    let log = told.clone();
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
    assert_eq!(told.take(), [false, true]);
    let traffic = reactor.traffic();
    assert_eq!((traffic.events, traffic.told, traffic.merged), (2, 1, 1));
}

#[test]
fn m03_again_is_kept_when_the_handler_panics_and_void_when_it_drops_the_registration() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let holder = reactor.queue().recipient(None::<Registration<UnixStream>>);
    let (source, mut peer) = unix_pair();
    let told = Rc::new(Cell::new(0));
    let count = Rc::clone(&told);
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
    holder.call(|held, _| *held = Some(source)).unwrap();
    peer.write_all(b"x").unwrap();

    reactor.set_budget(2);
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "after again");
    assert_eq!((told.get(), reactor.queue().tally().pending), (1, 1));
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    let tally = reactor.queue().tally();
    assert_eq!((told.get(), tally.pending, tally.canceled), (2, 0, 1));
    assert_eq!((handle.registrations(), Rc::strong_count(&told)), (0, 1));
}

/// What a source was told so far: readable, writable, read closed, write closed, error.
type Told = Rc<Cell<[bool; 5]>>;

fn listen<S: Source>(
    reactor: &Reactor,
    recipient: &Address<()>,
    source: S,
    interest: Interest,
) -> (Registration<S>, Told) {
    let told = Told::default();
    let sum = Rc::clone(&told);
    let handle = reactor.handle();
    let source = handle.register(source, interest, recipient, move |(), _, ready| {
        let error = ready.is_error();
        let closed = (ready.is_read_closed(), ready.is_write_closed());
        let now = [ready.is_readable(), ready.is_writable(), closed.0, closed.1, error];
        let before = sum.get();
        sum.set(std::array::from_fn(|flag| before[flag] || now[flag]));
    });
    (source.unwrap(), told)
}

#[test]
fn m03_the_end_of_the_stream_reaches_readers() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let both = Interest::READABLE | Interest::WRITABLE;

    // Half-close: the peer sends no more, and goes on receiving.
    let (ours, mut peer) = tcp_pair();
    let (mut ours, told) = listen(&reactor, &recipient, ours, both);
    peer.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut reactor, || told.get()[2]);
    assert_eq!(told.get(), [true, true, true, false, false]);
    assert_eq!(ours.source_mut().read(&mut [0; 8]).unwrap(), 0);
    ours.source_mut().write_all(b"still here").unwrap();
    ours.source_mut().shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");

    // Hang-up: closed in both directions, seen by somebody who only writes, too.
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let (ours, peer) = unix_pair();
        let (_held, told) = listen(&reactor, &recipient, ours, interest);
        drop(peer);
        turn_until(&mut reactor, || told.get()[3]);
        assert_eq!(told.get()[..4], [true; 4], "{interest:?}");
    }
}

#[test]
fn m03_a_reset_reaches_readers_and_writers() {
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let (mut ours, peer) = tcp_pair();
        reset(peer, &mut ours);
        let (mut ours, told) = listen(&reactor, &recipient, ours, interest);
        turn_until(&mut reactor, || told.get()[4]);
        assert_eq!(told.get(), [true; 5], "{interest:?}");
        let error = ours.source_mut().read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn m03_a_refused_connection_reaches_readers_and_writers() {
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let ours = TcpStream::connect(closed_port()).unwrap();
        let (ours, told) = listen(&reactor, &recipient, ours, interest);
        turn_until(&mut reactor, || told.get()[4]);
        assert_eq!(told.get()[..2], [true; 2], "{interest:?}");
        let error = ours.source().take_error().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn m03_a_spurious_readiness_call_finds_that_it_would_block() {
    let mut reactor = Reactor::new().unwrap();
    let read = Log::new();
    let polite = reactor.queue().recipient(Polite { sockets: Vec::new(), read: read.clone() });
    let (source, mut peer) = unix_pair();
    peer.write_all(b"x").unwrap();
    let handle = reactor.handle();
    let source = handle.register(source, Interest::READABLE, &polite, |polite, _, ready| {
        polite.on_ready(0, ready);
    });
    let mut source = source.unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!(source.source_mut().read(&mut [0; 8]).unwrap(), 1); // behind the handler's back
    polite.call(|polite, _| polite.sockets.push(Some(source))).unwrap();
    // The handler runs before it has its socket, and that is harmless as well.
    assert_eq!(reactor.queue().dial_all().dialed, 2);
    peer.write_all(b"y").unwrap();
    reactor.set_budget(10);
    turn_until(&mut reactor, || read.len() == 1);
    assert_eq!(read.take(), [(0, b'y')]);
}

#[test]
fn m03_readiness_refused_by_a_nested_dial_is_told_in_the_next_turn() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let told = Log::new();
    let mut peers = Vec::new();
    let mut held = Vec::new();
    for name in 0..3 {
        let (source, mut peer) = unix_pair();
        peer.write_all(b"x").unwrap();
        peers.push(peer);
        let told = told.clone();
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &recipient, move |(), line, _| {
            told.push(name);
            if told.len() == 1 {
                assert_eq!(line.queue().dial_all().refused, 2);
            }
        });
        held.push(source.unwrap());
    }

    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.remaining), (1, 2, 0));
    assert_eq!(told.len(), 1);
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "two more are to be told");
    // What happens to one of them meanwhile merges; another one goes, and is told no more.
    let first = told.first();
    let (second, third) = ((first + 1) % 3, (first + 2) % 3);
    peers[second].write_all(b"y").unwrap();
    drop(held.remove(third));
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(told.take(), [first, second]);
    let traffic = reactor.traffic();
    assert_eq!((traffic.events, traffic.told, traffic.merged), (4, 3, 1));
    assert_eq!(reactor.poll_timeout(), None);
}

#[test]
fn m03_readiness_is_lost_with_its_recipient_and_not_with_its_call() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let told = Log::new();
    let (source, mut peer) = unix_pair();
    let _held = watch(&reactor, &recipient, source, 0, &told);

    // Somebody else cancels the readiness call.
    let ids = Log::new();
    let log = ids.clone();
    reactor.queue().set_observer(move |id: CallId, step: &Step| {
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
    assert_eq!((told.len(), ids.len()), (0, 1), "scheduled again");

    // The recipient goes: nobody is left to tell, and the loop does not try for ever.
    recipient.hang_up();
    reactor.set_budget(10);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.canceled), (0, 1, 1));
    assert_eq!(reactor.poll_timeout(), None);
    peer.write_all(b"x").unwrap();
    let _ = turn_now(&mut reactor);
    assert_eq!(reactor.poll_timeout(), None);
    assert!(told.take().is_empty());
}
