//! Hazard: a source that behaves badly (interrupts, false alarms, panics), or a crowd of them, leaves
//! something behind, or a stuck operation. `LlRealCancel` in detail.

use std::cell::{Cell, RefCell};
use std::io;
use std::io::ErrorKind::{
    BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, InvalidData, PermissionDenied,
    TimedOut, WouldBlock,
};
use std::io::Write as _;
use std::panic;
use std::rc::Rc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use support::net::{LocalPeer, LocalStream, check, local_pair, turn_now, turn_until};
use switchboard::Cancellation;
use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::reactor::{Reactor, RegisterError};
use switchboard::samples::{LlRealCancel, Module, Read, Socket};

/// A source whose reads first do what the script says.
#[derive(Debug)]
struct Odd {
    socket: LocalStream,
    script: Vec<Behavior>,
    registers: bool,
    _alive: Rc<()>,
}

#[derive(Clone, Copy, Debug)]
enum Behavior {
    Error(io::ErrorKind),
    Panic,
}

impl io::Read for Odd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.script.pop() {
            // (Where readiness has to be armed again, mio's own wrapper does it.)
            Some(Behavior::Error(WouldBlock)) => self.socket.try_io(|| Err(WouldBlock.into())),
            Some(Behavior::Error(kind)) => Err(kind.into()),
            Some(Behavior::Panic) => panic::resume_unwind(Box::new("the source")),
            None => self.socket.read(buffer),
        }
    }
}

support::source_by!(Odd, socket, |source, request| match request {
    "register" if !source.registers => Err(io::ErrorKind::Unsupported.into()),
    _ => Ok(()),
});

type Outcome = OpResult<Vec<u8>, io::Error>;

struct Bench {
    reactor: Reactor,
    module: LlRealCancel<Odd>,
    alive: Rc<()>,
    outcomes: Rc<RefCell<Vec<Outcome>>>,
}

impl Bench {
    fn new() -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let module = LlRealCancel::new();
        module.open();
        Self { reactor, module, alive: Rc::default(), outcomes: Rc::default() }
    }

    /// A source that is readable, and behaves like that, in this order, before it gives what there is.
    fn odd(&self, script: &[Behavior]) -> (Odd, LocalPeer) {
        let (socket, mut peer) = local_pair();
        peer.write_all(b"x").expect("room");
        let script = script.iter().rev().copied().collect();
        (Odd { socket, script, registers: true, _alive: Rc::clone(&self.alive) }, peer)
    }

    fn socket(&self, script: &[Behavior]) -> (Socket<Odd>, LocalPeer) {
        let (source, peer) = self.odd(script);
        (Socket::stream(&self.reactor.handle(), source).expect("registered"), peer)
    }

    fn start(&self, from: &Socket<Odd>) -> AsyncOp {
        let outcomes = Rc::clone(&self.outcomes);
        let done =
            self.reactor.queue().callback(move |_, result| outcomes.borrow_mut().push(result));
        let request = Read { from: from.clone(), limit: 8 };
        self.module.start(request, done).expect("it is open")
    }

    #[track_caller]
    fn result(&mut self) -> Outcome {
        turn_until(&mut self.reactor, || !self.outcomes.borrow().is_empty());
        let mut outcomes = self.outcomes.take();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// Checks that nothing is left, once all sockets are dropped.
    #[track_caller]
    fn finish(self) {
        check(&self.reactor);
        assert_eq!(self.reactor.handle().registration_count(), 0);
        assert_eq!((self.outcomes.borrow().len(), Rc::strong_count(&self.alive)), (0, 1));
    }
}

#[test]
fn interrupts_and_false_alarms_are_waited_out() {
    let mut bench = Bench::new();
    let script = [Interrupted, WouldBlock, Interrupted, WouldBlock].map(Behavior::Error);
    let (socket, mut peer) = bench.socket(&script);
    let op = bench.start(&socket);
    for _ in 0..2 {
        assert_eq!(turn_now(&mut bench.reactor).dialed, 1);
        assert_eq!((op.state(), bench.outcomes.borrow().len()), (OpState::Running, 0));
        peer.write_all(b"y").expect("room");
    }
    assert_eq!(bench.result().expect("it is read"), b"xyy");
    drop(socket);
    bench.finish();
}

#[test]
fn broken_connections_are_worth_another_attempt_and_other_errors_are_not() {
    let kinds = [ConnectionReset, ConnectionAborted, BrokenPipe, TimedOut];
    for kind in kinds.into_iter().chain([InvalidData, PermissionDenied]) {
        let mut bench = Bench::new();
        let (socket, _peer) = bench.socket(&[Behavior::Error(kind)]);
        let op = bench.start(&socket);
        let error = bench.result().expect_err("it failed");
        assert_eq!(error.is_retryable(), kinds.contains(&kind), "{error:?}");
        assert_eq!(error.error().map(io::Error::kind), Some(kind));
        assert_eq!(op.cancel(), Cancellation::Late);
        // The socket can be asked again.
        bench.start(&socket);
        assert_eq!(bench.result().expect("it is read"), b"x");
        drop(socket);
        bench.finish();
    }
}

#[test]
fn a_source_that_panics_loses_its_operation_only_and_can_be_read_on() {
    let mut bench = Bench::new();
    let scripts: [&[_]; 3] = [&[], &[Behavior::Panic], &[]];
    let (sockets, peers): (Vec<_>, Vec<_>) =
        scripts.map(|script| bench.socket(script)).into_iter().unzip();
    let ops: Vec<_> = sockets.iter().map(|socket| bench.start(socket)).collect();
    let outcomes = Rc::clone(&bench.outcomes);
    let mut panics = 0;
    while outcomes.borrow().len() < 3 {
        let turn = panic::AssertUnwindSafe(|| bench.reactor.turn(None));
        panics += u32::from(panic::catch_unwind(turn).is_err());
    }
    assert_eq!((panics, ops[1].state()), (1, OpState::Completed));
    let outcomes = outcomes.take();
    let dropped = outcomes.iter().filter(|result| matches!(result, Err(OpError::Dropped))).count();
    assert_eq!((dropped, outcomes.iter().filter(|result| result.is_ok()).count()), (1, 2));
    // Read on, with an attempt in the start function, which may panic too.
    bench.start(&sockets[1]);
    assert_eq!(bench.result().expect("it is read"), b"x");
    drop((sockets, peers));
    bench.finish();
}

#[test]
fn a_source_that_panics_within_the_start_function_leaves_a_socket_to_use() {
    let mut bench = Bench::new();
    let script = [Behavior::Error(TimedOut), Behavior::Panic];
    let (socket, _peer) = bench.socket(&script);
    bench.start(&socket);
    let _ = bench.result();
    // It is known to be readable: the attempt is made at once.
    let start = panic::AssertUnwindSafe(|| bench.start(&socket));
    assert!(panic::catch_unwind(start).is_err(), "it comes through");
    assert!(matches!(bench.result(), Err(OpError::Dropped)));
    bench.start(&socket);
    assert_eq!(bench.result().expect("it is read"), b"x");
    drop(socket);
    bench.finish();
}

#[test]
fn a_source_that_cannot_be_registered_is_handed_back() {
    let mut bench = Bench::new();
    let (mut source, _peer) = bench.odd(&[]);
    source.registers = false;
    let error = Socket::stream(&bench.reactor.handle(), source).expect_err("refused");
    let RegisterError::Poll { source: cause, mut rejected } = error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), io::ErrorKind::Unsupported);
    rejected.registers = true;
    let socket = Socket::stream(&bench.reactor.handle(), rejected).expect("registered");
    bench.start(&socket);
    assert_eq!(bench.result().expect("it is read"), b"x");
    drop(socket);
    bench.finish();
}

/// Counts what is asked of a socket.
struct Counting {
    socket: LocalStream,
    reads: Rc<Cell<u32>>,
    registers: Rc<Cell<u32>>,
}

impl io::Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        self.socket.read(buffer)
    }
}

support::source_by!(Counting, socket, |source, _| {
    source.registers.set(source.registers.get() + 1);
    Ok(())
});

/// There were 2,001 calls of `epoll_ctl` for 1,000 reads.
#[test]
fn a_thousand_reads_of_what_is_there_cost_a_thousand_reads_and_nothing_else() {
    const COUNT: u32 = 1_000;
    let mut reactor = Reactor::new().expect("a reactor");
    let module = LlRealCancel::new();
    module.open();
    let (socket, mut peer) = local_pair();
    peer.write_all(&[7; COUNT as usize]).expect("room");
    let (reads, registers, outcomes) = (Rc::default(), Rc::default(), Rc::new(Cell::new(0)));
    let source = Counting { socket, reads: Rc::clone(&reads), registers: Rc::clone(&registers) };
    let from = Socket::stream(&reactor.handle(), source).map_err(drop).expect("registered");
    for number in 1..=COUNT {
        let delivered = Rc::clone(&outcomes);
        let done = reactor.queue().callback(move |_, read: OpResult<Vec<u8>, io::Error>| {
            assert_eq!(read.expect("it is there"), [7]);
            delivered.set(delivered.get() + 1);
        });
        let request = Read { from: from.clone(), limit: 1 };
        let op = module.start(request, done).map_err(drop).expect("it is open");
        // The first one waits for the first event; the others are complete when they have started.
        assert_eq!(op.state() == OpState::Completed, number > 1);
        turn_until(&mut reactor, || outcomes.get() == number);
    }
    assert_eq!((reads.get(), registers.get()), (COUNT, 1));
    drop(from);
    assert_eq!((reads.get(), registers.get()), (COUNT, 2));
}

/// A source of which nothing is ever heard, and that takes no descriptor.
struct Silent {
    _alive: Rc<()>,
}

impl io::Read for Silent {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        unreachable!("it was never ready")
    }
}

impl Source for Silent {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_thousand_operations_are_canceled() {
    const COUNT: usize = 1_000;
    let mut reactor = Reactor::new().expect("a reactor");
    let module = LlRealCancel::<Silent>::new();
    module.open();
    let alive = Rc::new(());
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let mut ops = Vec::new();
    for number in 0..COUNT {
        let outcomes = Rc::clone(&outcomes);
        let done = reactor.queue().callback(move |_, result: OpResult<Vec<u8>, _>| {
            assert!(matches!(result, Err(OpError::Canceled)));
            outcomes.borrow_mut().push(number);
        });
        let source = Silent { _alive: Rc::clone(&alive) };
        let from = Socket::stream(&reactor.handle(), source).map_err(drop).expect("registered");
        ops.push(module.start(Read { from, limit: 8 }, done).map_err(drop).expect("it is open"));
    }
    assert_eq!(reactor.handle().registration_count(), COUNT);
    // Every third first, then the rest; what is canceled twice is reported once.
    for op in ops.iter().step_by(3).chain(&ops) {
        let late = op.state() == OpState::Completed;
        assert_eq!(op.cancel(), if late { Cancellation::Late } else { Cancellation::Canceled });
    }
    assert_eq!((reactor.handle().registration_count(), Rc::strong_count(&alive)), (0, 1));
    reactor.run().expect("it runs");
    check(&reactor);
    let mut expected: Vec<_> = (0..COUNT).step_by(3).collect();
    expected.extend((0..COUNT).filter(|number| number % 3 != 0));
    assert_eq!(outcomes.take(), expected);
    assert_eq!(reactor.queue().tally().finished, COUNT as u64);
}
