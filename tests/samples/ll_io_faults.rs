//! Hazard: an operation that takes along the one on the other side of its socket.

use std::io;

use support::net::{Log, unwind, unwinding};
use switchboard::op::{OpError, OpResult};
use switchboard::samples::{LlRealCancel, LlWrite, Module, Read, Socket, Write};
use switchboard::testing::{ScriptedReactor, ScriptedSource};
use switchboard::{CallId, Step};

/// A source whose first read panics.
struct PanicsOnce {
    source: ScriptedSource,
    panics: bool,
}

support::source_by!(PanicsOnce, source);

impl io::Read for PanicsOnce {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.panics) {
            unwind("a read");
        }
        self.source.read(buffer)
    }
}

impl io::Write for PanicsOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.source.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source whose reads fail with an error of the system.
struct Fails(ScriptedSource, i32);

support::source_by!(Fails, 0);

impl io::Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(self.1))
    }
}

/// A lack of buffers was an error for good: it has no kind.
#[test]
fn o06_what_the_system_lacks_for_now_may_be_retried() {
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    const EMFILE: i32 = 24;
    const EINVAL: i32 = 22;
    let mut reactor = ScriptedReactor::new().expect("a reactor");
    let reads = LlRealCancel::new();
    reads.open();
    for (number, is_retryable) in [(EMFILE, true), (ENOBUFS, true), (EINVAL, false)] {
        let (source, peer) = reactor.pair();
        let from = Socket::stream(&reactor.handle(), Fails(source, number)).expect("registered");
        let read = Log::new();
        let outcomes = read.clone();
        let done = reactor.queue().callback(move |_, result: OpResult<Vec<u8>, io::Error>| {
            outcomes.push(result.expect_err("it fails").is_retryable());
        });
        reads.start(Read { from, limit: 8 }, done).expect("it is open");
        peer.push("in");
        reactor.settle(10).expect("it is over");
        assert_eq!(read.take(), [is_retryable], "{number}");
    }
}

#[test]
fn a_read_that_panics_keeps_no_writer_waiting() {
    let mut reactor = ScriptedReactor::new().expect("a reactor");
    let (source, peer) = reactor.pair();
    let socket = PanicsOnce { source, panics: true };
    let socket = Socket::stream(&reactor.handle(), socket).expect("registered");
    let (reads, writes) = (LlRealCancel::new(), LlWrite::new());
    reads.open();
    writes.open();
    let (read, written) = (Log::new(), Log::new());
    peer.limit_writes(0);
    let write = Write { to: socket.clone(), bytes: b"out".to_vec() };
    let outcomes = written.clone();
    let done = reactor.queue().callback(move |_, result| outcomes.push(result));
    writes.start(write, done).expect("it is open");
    let outcomes = read.clone();
    let done = reactor.queue().callback(move |_, result| outcomes.push(result));
    reads.start(Read { from: socket, limit: 8 }, done).expect("it is open");
    reactor.settle(10).expect("both wait");
    peer.push("in");
    peer.limit_writes(usize::MAX);
    assert_eq!(unwinding(|| reactor.settle(10)), "a read");
    reactor.settle(10).expect("both are over");
    assert!(matches!(read.take()[..], [Err(OpError::Dropped)]));
    assert!(matches!(written.take()[..], [Ok(_)]));
    assert_eq!(peer.take_written(), b"out");
}

/// Its readiness was reported while the source was lent, and no event came after that.
#[test]
fn an_operation_that_is_ready_while_its_source_is_accessed_is_not_forgotten() {
    let mut reactor = ScriptedReactor::new().expect("a reactor");
    let (source, peer) = reactor.pair();
    let socket = Socket::stream(&reactor.handle(), source).expect("registered");
    let reads = LlRealCancel::new();
    reads.open();
    let read = Log::new();
    let outcomes = read.clone();
    let done = reactor.queue().callback(move |_, result: OpResult<Vec<u8>, io::Error>| {
        outcomes.push(result.expect("it is read"));
    });
    reads.start(Read { from: socket.clone(), limit: 8 }, done).expect("it is open");
    reactor.settle(10).expect("it waits");
    peer.push("in");
    reactor.set_budget(0);
    reactor.turn();
    reactor.set_budget(1024);
    let dialed = socket.with(|_| reactor.queue().dial_all().dialed);
    assert_eq!((dialed, read.len()), (Some(1), 0));
    reactor.settle(10).expect("it is over");
    assert_eq!(read.take(), [b"in"]);
}

/// All of a buffer was written in one call, however long that took.
#[test]
fn a_write_that_goes_on_and_on_lets_others_have_their_turn() {
    const BYTES: usize = 1000;
    let mut reactor = ScriptedReactor::new().expect("a reactor");
    let (source, peer) = reactor.pair();
    let socket = Socket::stream(&reactor.handle(), source).expect("registered");
    let writes = LlWrite::new();
    writes.open();
    reactor.settle(10).expect("it is known to be writable");
    peer.limit_writes(1);
    let written = Log::new();
    let outcomes = written.clone();
    let done = reactor.queue().callback(move |_, result: OpResult<Vec<u8>, io::Error>| {
        outcomes.push(result.expect("it is written").len());
    });
    writes.start(Write { to: socket, bytes: vec![7; BYTES] }, done).expect("it is open");
    let mut received = peer.take_written().len();
    let mut most = received;
    while written.len() == 0 {
        reactor.turn();
        let more = peer.take_written().len();
        most = most.max(more);
        received += more;
    }
    assert_eq!((received, written.take()), (BYTES, vec![BYTES]));
    assert!(most < 100, "{most} writes in a turn");
}

#[test]
fn a_panic_while_a_socket_is_lent_is_passed_on_even_if_an_observer_panics() {
    let mut reactor = ScriptedReactor::new().expect("a reactor");
    let (source, peer) = reactor.pair();
    let socket = Socket::stream(&reactor.handle(), source).expect("registered");
    let reads = LlRealCancel::new();
    reads.open();
    let read = Log::new();
    let outcomes = read.clone();
    let done = reactor.queue().callback(move |_, result| outcomes.push(result));
    reads.start(Read { from: socket.clone(), limit: 8 }, done).expect("it is open");
    reactor.settle(10).expect("it waits");
    peer.push("in");
    reactor.set_budget(0);
    reactor.turn();
    reactor.set_budget(100);
    let queue = reactor.queue().clone();
    let observer = queue.add_observer(|_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) && std::thread::panicking() {
            unwind("an observer");
        }
    });
    let panic = unwinding(|| {
        socket.with(|_| {
            queue.dial_all(); // The read finds the socket lent, and is to be tried again.
            unwind("who has it");
        })
    });
    assert_eq!(panic, "who has it");
    queue.remove_observer(observer);
    reactor.settle(10).expect("it is over");
    assert!(matches!(&read.take()[..], [Ok(bytes)] if bytes == b"in"));
}
