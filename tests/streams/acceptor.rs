//! Hazard: an acceptor that stops accepting, or spins, while the system has nothing for a connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;
use std::time::Duration;

use mio::net::TcpListener;
use switchboard::reactor::Reactor;
use switchboard::streams::{Acceptor, ListenSource};
use switchboard::testing::{Peer, ScriptedReactor, ScriptedSource};
use switchboard::{CallId, Step};

use support::net::{Log, turn_until, unwind, unwinding};

/// A listener whose connections are the bytes that its peer pushes, and that fails as the script says.
struct Listener {
    source: ScriptedSource,
    errors: Rc<RefCell<VecDeque<io::Error>>>,
}

support::source_by!(Listener, source);

impl ListenSource for Listener {
    type Socket = u8;
    type Peer = ();

    fn accept(&mut self) -> io::Result<(u8, ())> {
        if let Some(error) = self.errors.borrow_mut().pop_front() {
            return Err(error);
        }
        let mut socket = [0];
        match self.source.read(&mut socket)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok((socket[0], ())),
        }
    }
}

struct Rig {
    reactor: ScriptedReactor,
    acceptor: Acceptor<Listener>,
    peer: Peer,
    errors: Rc<RefCell<VecDeque<io::Error>>>,
    accepted: Log<u8>,
}

impl Rig {
    fn new(on_accept: impl Fn(u8) + 'static) -> Self {
        let reactor = ScriptedReactor::new().unwrap();
        let (source, peer) = reactor.pair();
        let (errors, accepted) = (Rc::<RefCell<VecDeque<_>>>::default(), Log::new());
        let log = accepted.clone();
        let listener = Listener { source, errors: Rc::clone(&errors) };
        let acceptor = Acceptor::new(&reactor, listener, move |_, socket, ()| {
            log.push(socket);
            on_accept(socket);
        });
        Self { acceptor: acceptor.unwrap(), reactor, peer, errors, accepted }
    }

    fn fail(&self, error: i32) {
        self.errors.borrow_mut().push_back(io::Error::from_raw_os_error(error));
    }
}

const EMFILE: i32 = 24;

#[test]
fn m10_an_acceptor_without_descriptors_tries_again_and_does_not_spin() {
    let mut rig = Rig::new(|_| ());
    for _ in 0..3 {
        rig.fail(EMFILE);
    }
    rig.peer.push("abc");
    for failed in 1..=3 {
        assert_eq!(rig.reactor.turn().dialed, 1);
        assert_eq!((rig.acceptor.failed(), rig.accepted.len()), (failed, 0));
        assert_eq!(rig.reactor.turn().dialed, 0, "it spins");
        let wait = rig.reactor.jump().expect("it comes back by itself");
        assert!(wait <= Duration::from_millis(100));
    }
    assert_eq!(rig.reactor.turn().dialed, 1);
    assert_eq!((rig.accepted.take(), rig.acceptor.accepted()), (b"abc".to_vec(), 3));
    assert_eq!(rig.acceptor.take_error().unwrap().raw_os_error(), Some(EMFILE));
    assert!(rig.acceptor.take_error().is_none());
    rig.peer.push("d");
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.accepted.take(), b"d");
    rig.reactor.check_drained().unwrap();
}

#[test]
fn m10_a_connection_that_is_gone_is_passed_over() {
    let mut rig = Rig::new(|_| ());
    rig.errors.borrow_mut().push_back(ErrorKind::ConnectionAborted.into());
    rig.errors.borrow_mut().push_back(ErrorKind::Interrupted.into());
    rig.peer.push("a");
    assert_eq!(rig.reactor.turn().dialed, 1);
    assert_eq!((rig.accepted.take(), rig.acceptor.failed()), (b"a".to_vec(), 0));
}

#[test]
fn m10_a_paused_acceptor_accepts_none_and_all_of_them_later() {
    let mut rig = Rig::new(|_| ());
    rig.acceptor.pause();
    rig.peer.push("ab");
    rig.reactor.settle(10).unwrap();
    assert_eq!((rig.accepted.len(), rig.acceptor.is_paused()), (0, true));
    rig.reactor.check_drained().unwrap();
    rig.acceptor.resume();
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.accepted.take(), b"ab");

    // Paused while it waits for a descriptor, or by the connection that it accepts.
    rig.fail(EMFILE);
    rig.peer.push("c");
    rig.reactor.turn();
    rig.acceptor.pause();
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.accepted.len(), 0);
    rig.acceptor.resume();
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.accepted.take(), b"c");
}

#[test]
fn m10_a_burst_of_connections_lets_others_have_their_turn() {
    let mut rig = Rig::new(|_| ());
    rig.peer.push([7; 200]);
    let (seen, log) = (Rc::new(Cell::new(0)), rig.accepted.clone());
    let at = Rc::clone(&seen);
    let queue = rig.reactor.queue().clone();
    let events = rig.reactor.take_events();
    rig.reactor.set_budget(0);
    rig.reactor.turn_with(events);
    queue.call(move |_| at.set(log.len()));
    rig.reactor.set_budget(1000);
    rig.reactor.settle(10).unwrap();
    assert!((1..200).contains(&seen.get()), "{} came before", seen.get());
    assert_eq!(rig.accepted.len(), 200);
}

#[test]
fn m10_a_panic_loses_no_other_connection() {
    let mut rig = Rig::new(|socket| {
        if socket == b'b' {
            unwind("a bad one");
        }
    });
    rig.peer.push("abc");
    assert_eq!(unwinding(|| rig.reactor.turn()), "a bad one");
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.accepted.take(), b"abc");
}

#[test]
fn m10_a_panic_is_passed_on_even_if_an_observer_panics_as_the_acceptor_goes_on() {
    let mut rig = Rig::new(|_| unwind("a bad one"));
    rig.reactor.queue().add_observer(|_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) && std::thread::panicking() {
            unwind("an observer");
        }
    });
    rig.peer.push("a");
    assert_eq!(unwinding(|| rig.reactor.turn()), "a bad one");
}

#[test]
fn m10_an_acceptor_that_goes_closes_its_listener_and_may_be_unref() {
    let mut reactor = Reactor::new().unwrap();
    let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse().unwrap(), |_, _, _| ()).unwrap();
    let address = acceptor.local_addr().unwrap();
    assert!(reactor.should_run());
    acceptor.unref();
    assert!(!reactor.should_run());
    let client = std::net::TcpStream::connect(address).unwrap();
    turn_until(&mut reactor, || acceptor.accepted() == 1);
    drop((acceptor, client));
    assert_eq!(reactor.registration_count(), 0);
    let refused = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bound = Acceptor::bind(&reactor, taken.local_addr().unwrap(), |_, _, _| ());
    assert_eq!(bound.unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn m10_an_acceptor_of_a_reactor_that_is_gone_is_not_connected() {
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    drop(reactor);
    let bound = Acceptor::bind(&handle, "127.0.0.1:0".parse().unwrap(), |_, _, _| ());
    assert_eq!(bound.unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn m10_an_acceptor_that_is_dropped_by_a_connection_accepts_no_other() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let (source, peer) = reactor.pair();
    let own = Rc::new(RefCell::new(None::<Acceptor<Listener>>));
    let accepted = Log::new();
    let (held, log) = (Rc::clone(&own), accepted.clone());
    let listener = Listener { source, errors: Rc::default() };
    let acceptor = Acceptor::new(&reactor, listener, move |_, socket, ()| {
        log.push(socket);
        drop(held.take());
    });
    own.replace(Some(acceptor.unwrap()));
    peer.push("ab");
    reactor.settle(10).unwrap();
    assert_eq!(accepted.take(), b"a");
    assert!(peer.is_closed() && reactor.registration_count() == 0);
}

/// Accepts after it has used its acceptor.
struct Meddles {
    source: ScriptedSource,
    acceptor: Rc<RefCell<Option<Acceptor<Self>>>>,
    meddle: fn(&RefCell<Option<Acceptor<Self>>>),
}

support::source_by!(Meddles, source);

impl ListenSource for Meddles {
    type Socket = u8;
    type Peer = ();

    fn accept(&mut self) -> io::Result<(u8, ())> {
        (self.meddle)(&self.acceptor);
        let mut socket = [0];
        match self.source.read(&mut socket)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok((socket[0], ())),
        }
    }
}

/// It panicked: the listener was borrowed.
#[test]
fn m10_a_listener_may_use_its_acceptor_or_drop_it_as_it_accepts() {
    type Meddle = fn(&RefCell<Option<Acceptor<Meddles>>>);
    let drops: Meddle = |acceptor| drop(acceptor.take());
    let uses: Meddle = |acceptor| {
        acceptor.borrow().iter().for_each(|acceptor| {
            acceptor.unref();
            acceptor.pause();
            acceptor.resume();
        });
    };
    for (meddle, accepts, left) in [(drops, "a", 0), (uses, "ab", 1)] {
        let mut reactor = ScriptedReactor::new().unwrap();
        let (source, peer) = reactor.pair();
        let own = Rc::new(RefCell::new(None));
        let listener = Meddles { source, acceptor: Rc::clone(&own), meddle };
        let accepted = Log::new();
        let log = accepted.clone();
        let acceptor = Acceptor::new(&reactor, listener, move |_, socket, ()| log.push(socket));
        own.replace(Some(acceptor.unwrap()));
        peer.push("ab");
        reactor.settle(10).unwrap();
        assert_eq!(accepted.take(), accepts.as_bytes());
        assert_eq!((reactor.registration_count(), peer.is_closed()), (left, left == 0));
        drop(own.take());
        assert_eq!((reactor.registration_count(), peer.is_closed()), (0, true));
    }
}

#[test]
fn m10_an_observer_may_dial_as_an_acceptor_is_resumed() {
    let mut rig = Rig::new(|_| ());
    rig.acceptor.pause();
    rig.peer.push("ab");
    rig.reactor.settle(10).unwrap();
    let queue = rig.reactor.queue().clone();
    rig.reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            queue.dial_all();
        }
    });
    rig.acceptor.resume();
    assert_eq!(rig.accepted.take(), b"ab");
}

/// A listener for whose connections there are no descriptors.
struct NoDescriptors(TcpListener);

support::source_by!(NoDescriptors, 0);

impl ListenSource for NoDescriptors {
    type Socket = ();
    type Peer = ();

    fn accept(&mut self) -> io::Result<((), ())> {
        Err(io::Error::from_raw_os_error(EMFILE))
    }
}

#[test]
fn m10_an_acceptor_that_is_unref_lets_the_loop_end_while_it_tries_again() {
    let mut reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(&reactor, NoDescriptors(listener), |_, (), ()| ()).unwrap();
    let _client = std::net::TcpStream::connect(address).unwrap();
    turn_until(&mut reactor, || acceptor.failed() == 1);
    assert!(reactor.should_run());
    acceptor.unref();
    assert!(!reactor.should_run());
    turn_until(&mut reactor, || acceptor.failed() == 2);
    assert!(!reactor.should_run());
}
