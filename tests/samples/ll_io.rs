//! Hazard: a write that is cut short, a connect that is not reported, an accept that takes no other. `LlWrite`,
//! `LlConnect` and `LlAccept`.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::net::TcpListener;
use support::net::{turn_now, turn_until};
use switchboard::op::{OpError, OpResult};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    LlAccept, LlConnect, LlRealCancel, LlWrite, Module, ModuleExt, Read, Socket, StartError, Write,
};
use switchboard::{CallQueue, Callback, Cancellation, QueueHandle};

/// The results of operations, in order.
struct Outcomes<A>(Rc<RefCell<Vec<OpResult<A, io::Error>>>>);

impl<A: 'static> Outcomes<A> {
    fn new() -> Self {
        Self(Rc::default())
    }

    fn done(&self, queue: &QueueHandle) -> Callback<OpResult<A, io::Error>> {
        let outcomes = Rc::clone(&self.0);
        queue.callback(move |_, result| outcomes.borrow_mut().push(result))
    }

    #[track_caller]
    fn only(&self, reactor: &mut Reactor) -> OpResult<A, io::Error> {
        turn_until(reactor, || !self.0.borrow().is_empty());
        let mut outcomes = self.0.take();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }
}

fn listener(reactor: &Reactor) -> (Socket<TcpListener>, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port");
    let address = listener.local_addr().expect("it is bound");
    (Socket::new(&reactor.handle(), listener, Interest::READABLE).expect("registered"), address)
}

/// A connected socket, and its peer.
fn connected(reactor: &mut Reactor) -> (Socket, mio::net::TcpStream) {
    let (listener, address) = listener(reactor);
    let (accepts, connects) = (LlAccept::new(), LlConnect::new(&reactor.handle()));
    accepts.open();
    connects.open();
    let (accepted, connected) = (Outcomes::new(), Outcomes::new());
    accepts.start(listener, accepted.done(reactor.queue())).expect("it is open");
    connects.start(address, connected.done(reactor.queue())).expect("it is open");
    let socket = connected.only(reactor).expect("it is connected");
    let (peer, _) = accepted.only(reactor).expect("it is accepted");
    (socket, peer)
}

#[test]
fn all_of_a_buffer_is_written_however_slowly_the_peer_reads() {
    const LEN: usize = 10_000_000;
    let mut reactor = Reactor::new().expect("a reactor");
    let (to, mut peer) = connected(&mut reactor);
    let writes = LlWrite::new();
    writes.open();
    let bytes: Vec<u8> = (0..LEN).map(|number| number as u8).collect();
    let outcomes = Outcomes::new();
    let request = Write { to: to.clone(), bytes: bytes.clone() };
    writes.start(request, outcomes.done(reactor.queue())).expect("it is open");
    assert!(outcomes.0.borrow().is_empty(), "not inside start");
    let (mut received, mut buffer) = (Vec::new(), vec![0; 65_536]);
    while received.len() < LEN {
        let _ = turn_now(&mut reactor);
        match peer.read(&mut buffer) {
            Ok(read) => received.extend_from_slice(&buffer[..read]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(outcomes.only(&mut reactor).expect("it is written"), bytes, "the buffer comes back");
    assert!(received == bytes);
    // And the next one, at once; and one of nothing.
    for bytes in [b"more".to_vec(), Vec::new()] {
        let request = Write { to: to.clone(), bytes: bytes.clone() };
        writes.start(request, outcomes.done(reactor.queue())).expect("it is open");
        assert_eq!(outcomes.only(&mut reactor).expect("it is written"), bytes);
    }
    let read = peer.read(&mut buffer).expect("it is there");
    assert_eq!(&buffer[..read], b"more");
}

#[test]
fn a_socket_reads_and_writes_at_the_same_time_and_one_is_canceled() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (socket, mut peer) = connected(&mut reactor);
    let (reads, writes) = (LlRealCancel::new(), LlWrite::new());
    reads.open();
    writes.open();
    let (read, written) = (Outcomes::new(), Outcomes::new());
    let reading = reads.start(Read { from: socket.clone(), limit: 8 }, read.done(reactor.queue()));
    let bytes = vec![1; 10_000_000];
    let request = Write { to: socket.clone(), bytes };
    let writing = writes.start(request, written.done(reactor.queue())).expect("it is open");
    while turn_now(&mut reactor).dialed > 0 {}
    let refused = Write { to: socket.clone(), bytes: vec![2] };
    let error = writes.start(refused, written.done(reactor.queue())).expect_err("one waits");
    assert!(
        matches!(error, StartError::Failed { request: Write { ref bytes, .. }, .. } if bytes == &[2])
    );
    // The peer has not read: the write waits, the read too.
    assert_eq!(writing.cancel(), Cancellation::Canceled);
    assert!(matches!(written.only(&mut reactor), Err(OpError::Canceled)));
    io::Write::write_all(&mut peer, b"hello").expect("room");
    assert_eq!(read.only(&mut reactor).expect("it is read"), b"hello");
    drop(reading);
}

#[test]
fn a_write_to_a_peer_that_is_gone_fails() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (to, peer) = connected(&mut reactor);
    drop(peer);
    let writes = LlWrite::new();
    writes.open();
    let outcomes = Outcomes::new();
    loop {
        let request = Write { to: to.clone(), bytes: vec![0; 1000] };
        writes.start(request, outcomes.done(reactor.queue())).expect("it is open");
        if let Err(error) = outcomes.only(&mut reactor) {
            assert!(error.is_retryable(), "with another connection: {error:?}");
            return;
        }
    }
}

#[test]
fn one_listener_accepts_any_number_of_connections() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (listener, address) = listener(&reactor);
    let accepts = LlAccept::new();
    accepts.open();
    let outcomes = Outcomes::new();
    let mut clients = Vec::new();
    for round in 0..20 {
        // Later, at once, several at a time.
        if round % 3 == 0 {
            clients.push(std::net::TcpStream::connect(address).expect("it listens"));
        }
        let op =
            accepts.start(listener.clone(), outcomes.done(reactor.queue())).expect("it is open");
        if round % 3 == 1 {
            assert_eq!(op.cancel(), Cancellation::Canceled);
            assert!(matches!(outcomes.only(&mut reactor), Err(OpError::Canceled)));
            continue;
        }
        if round % 3 != 0 {
            clients.push(std::net::TcpStream::connect(address).expect("it listens"));
        }
        let (_, peer) = outcomes.only(&mut reactor).expect("it is accepted");
        assert_eq!(Some(peer), clients.last().and_then(|client| client.local_addr().ok()));
    }
    drop(listener);
    assert_eq!(reactor.handle().registration_count(), 0);
}

/// A connect that fails at once, or later: never a refused start, which a retry would not repeat.
#[test]
fn o06_a_connect_that_fails_is_a_result() {
    let mut reactor = Reactor::new().expect("a reactor");
    let connects = LlConnect::new(&reactor.handle());
    connects.open();
    let outcomes = Outcomes::new();
    // Refused: no one listens any more.
    let (listener, address) = listener(&reactor);
    drop(listener);
    connects.start(address, outcomes.done(reactor.queue())).expect("it is open");
    let Err(OpError::Retryable(error)) = outcomes.only(&mut reactor) else { panic!("not refused") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    // At once: the system does not even try.
    let broadcast = SocketAddr::from((Ipv4Addr::BROADCAST, 80));
    connects.start(broadcast, outcomes.done(reactor.queue())).expect("it is open");
    let error = outcomes.only(&mut reactor).expect_err("no connection to a broadcast address");
    assert!(error.error().and_then(io::Error::raw_os_error).is_some(), "{error:?}");
    assert_eq!(reactor.handle().registration_count(), 0);
}

#[test]
fn a_connect_is_canceled_and_its_connection_closed() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (listener, address) = listener(&reactor);
    let connects = LlConnect::new(&reactor.handle());
    connects.open();
    let outcomes = Outcomes::new();
    let op = connects.start(address, outcomes.done(reactor.queue())).expect("it is open");
    assert_eq!(reactor.handle().registration_count(), 2);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert!(matches!(outcomes.only(&mut reactor), Err(OpError::Canceled)));
    assert_eq!(reactor.handle().registration_count(), 1);
    drop(listener);
    // By a deadline, too.
    let timed = connects.within(&reactor.handle(), Duration::ZERO);
    // (A test network that never answers: a connect to it waits, or fails at once.)
    timed
        .start(SocketAddr::from(([192, 0, 2, 1], 80)), outcomes.done(reactor.queue()))
        .expect_err("not open");
    timed.open();
    timed
        .start(SocketAddr::from(([192, 0, 2, 1], 80)), outcomes.done(reactor.queue()))
        .expect("open");
    assert!(outcomes.only(&mut reactor).is_err());
    assert_eq!((reactor.handle().registration_count(), reactor.handle().timer_count()), (0, 0));
}

/// It opened a connection, and returned a handle whose callback was never called.
#[test]
fn o06_a_connect_when_the_reactor_is_gone_is_refused() {
    let queue = CallQueue::new();
    let reactor = Reactor::new().expect("a reactor");
    let connects = LlConnect::new(&reactor.handle());
    connects.open();
    let (listener, address) = listener(&reactor);
    let own = reactor.queue().callback(|_, _: OpResult<Socket, io::Error>| ());
    drop(reactor);
    for done in [own, queue.callback(|_, _| ())] {
        let error = connects.start(address, done).expect_err("the reactor is gone");
        assert!(matches!(error, StartError::Failed { .. }), "{error:?}");
        assert_eq!(error.into_request(), address);
    }
    assert_eq!((queue.dial_all().dialed, queue.tally().canceled), (0, 1));
    let accepted = listener.with(TcpListener::accept).expect("it is not in use");
    assert!(accepted.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
}
