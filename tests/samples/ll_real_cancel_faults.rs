//! Hazard: a source that behaves badly, or is held for too long. `LlRealCancel` in detail.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::panic;
use std::rc::Rc;

use mio::event::Source;
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use support::net::{reset, tcp_pair, turn_until, unix_pair};
use switchboard::op::{AsyncOp, OpError, OpResult};
use switchboard::reactor::Reactor;
use switchboard::samples::{LlRealCancel, Module, Read, Received, StartError};
use switchboard::{Cancellation, Recipient};

type Outcome<S> = OpResult<Received<S>, io::Error>;

/// `LlRealCancel`, and what its operations told.
struct Bench<S: Source + io::Read + 'static> {
    reactor: Reactor,
    module: LlRealCancel<S>,
    recorder: Recipient<()>,
    told: Rc<RefCell<Vec<Outcome<S>>>>,
}

impl<S: Source + io::Read + fmt::Debug + 'static> Bench<S> {
    fn new() -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let module = LlRealCancel::new(&reactor.handle());
        module.open();
        let recorder = reactor.queue().recipient(());
        Self { reactor, module, recorder, told: Rc::default() }
    }

    #[track_caller]
    fn start(&self, source: S, limit: usize) -> AsyncOp {
        self.try_start(source, limit).expect("it is open")
    }

    fn try_start(&self, source: S, limit: usize) -> Result<AsyncOp, StartError<Read<S>>> {
        let told = Rc::clone(&self.told);
        let done = self.recorder.callback(move |(), _, result| told.borrow_mut().push(result));
        self.module.start(Read { source, limit }, done)
    }

    /// Goes on until nothing can happen any more, and returns the only outcome.
    #[track_caller]
    fn outcome(&mut self) -> Outcome<S> {
        let handle = self.reactor.handle();
        let over = || handle.registration_count() == 0 && handle.queue().is_idle();
        turn_until(&mut self.reactor, over);
        let tally = self.reactor.queue().tally();
        assert!(tally.balances(), "{tally}");
        assert_eq!([tally.unscheduled, tally.pending, tally.abandoned], [0; 3]);
        let mut told = self.told.take();
        assert_eq!(told.len(), 1, "outcomes");
        told.remove(0)
    }
}

#[test]
fn a_source_is_read_again_and_again_up_to_the_end_of_its_stream() {
    let mut bench = Bench::new();
    let (mut source, mut peer) = unix_pair();
    peer.write_all(b"abcdef").expect("room");
    drop(peer);
    for expected in ["abcd", "ef", "", ""] {
        bench.start(source, 4);
        let received = bench.outcome().expect("it is read");
        assert_eq!(received.bytes, expected.as_bytes());
        source = received.source;
    }
}

#[test]
fn a_read_takes_65536_bytes_at_most() {
    let mut bench = Bench::new();
    let (source, mut peer) = unix_pair();
    peer.write_all(&[7; 70_000]).expect("room");
    bench.start(source, usize::MAX);
    assert_eq!(bench.outcome().expect("it is read").bytes, [7; 65_536]);
}

#[test]
fn a_connection_that_is_reset_is_worth_another_attempt() {
    let mut bench = Bench::new();
    let (mut source, peer) = tcp_pair();
    reset(peer, &mut source);
    bench.start(source, 4);
    assert!(matches!(bench.outcome(), Err(OpError::Retryable(_))));
}

#[test]
fn a_canceled_read_closes_its_socket_before_cancel_returns() {
    let mut bench = Bench::new();
    let (source, mut peer) = unix_pair();
    let op = bench.start(source, 4);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert_eq!(peer.read(&mut [0]).ok(), Some(0), "the end of the stream");
    assert_eq!(bench.reactor.handle().registration_count(), 0);
    assert!(matches!(bench.outcome(), Err(OpError::Canceled)));
}

#[test]
fn a_cancel_when_the_readiness_call_is_pending_is_in_time() {
    let mut bench = Bench::new();
    let (source, mut peer) = unix_pair();
    let op = bench.start(source, 4);
    peer.write_all(b"x").expect("room");
    bench.reactor.set_budget(0);
    let _ = bench.reactor.turn(None).expect("a turn");
    assert_eq!(bench.reactor.queue().tally().pending, 1);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    bench.reactor.set_budget(10);
    assert!(matches!(bench.outcome(), Err(OpError::Canceled)));
}

#[test]
fn a_start_when_the_reactor_is_gone_is_refused_and_the_source_is_handed_back() {
    let Bench { reactor, module, recorder, told } = Bench::new();
    drop(reactor);
    let (source, mut peer) = unix_pair();
    let done = recorder.callback(|(), _, _: Outcome<_>| unreachable!("it is declined"));
    let error = module.start(Read { source, limit: 4 }, done).expect_err("refused");
    let StartError::Failed { mut request, .. } = error else { panic!("{error:?}") };
    peer.write_all(b"x").expect("room");
    assert_eq!(request.source.read(&mut [0]).ok(), Some(1), "it is as good as new");
    assert!(told.borrow().is_empty());
}

/// A source that behaves as it is told: each read of it takes the next of what it has.
#[derive(Debug)]
struct Odd {
    socket: UnixStream,
    reads: Vec<Behavior>,
    registers: bool,
}

#[derive(Debug)]
enum Behavior {
    Error(io::ErrorKind),
    Panic,
}

/// A source that is readable, and behaves like that before it gives what there is.
fn odd(reads: impl IntoIterator<Item = Behavior>) -> Odd {
    let (socket, mut peer) = unix_pair();
    peer.write_all(b"x").expect("room");
    Odd { socket, reads: reads.into_iter().collect(), registers: true }
}

impl io::Read for Odd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reads.pop() {
            Some(Behavior::Error(kind)) => Err(kind.into()),
            Some(Behavior::Panic) => panic::resume_unwind(Box::new("the source")),
            None => self.socket.read(buffer),
        }
    }
}

impl Source for Odd {
    fn register(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        if !self.registers {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.socket.register(registry, token, how)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, how)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

#[test]
fn a_source_that_cannot_be_registered_is_handed_back() {
    let bench = Bench::new();
    let error = bench.try_start(Odd { registers: false, ..odd([]) }, 4).expect_err("refused");
    let StartError::Failed { mut request, source } = error else { panic!("{error:?}") };
    assert_eq!(source.source().expect("a cause").to_string(), "unsupported");
    request.source.registers = true;
    assert_eq!((bench.reactor.handle().registration_count(), bench.told.borrow().len()), (0, 0));
    let mut bench = bench;
    bench.start(request.source, 4);
    assert_eq!(bench.outcome().expect("it is read").bytes, b"x");
}

#[test]
fn a_read_that_is_interrupted_goes_on() {
    let mut bench = Bench::new();
    bench.start(odd([(); 3].map(|()| Behavior::Error(io::ErrorKind::Interrupted))), 4);
    assert_eq!(bench.outcome().expect("it is read").bytes, b"x");
}

#[test]
fn broken_connections_are_worth_another_attempt_and_other_errors_are_not() {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, PermissionDenied, TimedOut,
    };
    for kind in [ConnectionReset, ConnectionAborted, BrokenPipe, TimedOut] {
        let mut bench = Bench::new();
        bench.start(odd([Behavior::Error(kind)]), 4);
        let outcome = bench.outcome();
        assert!(matches!(&outcome, Err(OpError::Retryable(error)) if error.kind() == kind));
    }
    for kind in [InvalidData, PermissionDenied] {
        let mut bench = Bench::new();
        bench.start(odd([Behavior::Error(kind)]), 4);
        let outcome = bench.outcome();
        assert!(matches!(&outcome, Err(OpError::Failed(error)) if error.kind() == kind));
    }
}

#[test]
fn a_source_that_panics_is_dropped_and_the_operation_is_lost() {
    let mut bench = Bench::new();
    bench.start(odd([Behavior::Panic]), 4);
    let run = panic::AssertUnwindSafe(|| bench.reactor.run());
    assert!(panic::catch_unwind(run).is_err(), "it comes through");
    assert_eq!(bench.reactor.handle().registration_count(), 0);
    assert!(matches!(bench.outcome(), Err(OpError::Dropped)));
}

#[test]
fn the_operation_after_one_whose_source_panics_is_fine() {
    let mut bench = Bench::new();
    bench.start(odd([Behavior::Panic]), 4);
    let run = panic::AssertUnwindSafe(|| bench.reactor.run());
    assert!(panic::catch_unwind(run).is_err(), "it comes through");
    let _ = bench.outcome();
    bench.start(odd([]), 4);
    assert_eq!(bench.outcome().expect("it is read").bytes, b"x");
}
