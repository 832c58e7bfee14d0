//! Hazard: an operation on a source that behaves in unusual ways (interrupts, false alarms,
//! panics), or a crowd of them, leaves something behind.

use std::io::{self, ErrorKind, Write};
use std::os::unix;
use std::rc::Rc;

use mio::event::Source;
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use switchboard::Cancellation;
use switchboard::op::{OpError, OpResult, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{LlRealCancel, Module, Read, Received};

use support::net::{Log, check, turn_now, turn_until, unix_pair, unwind, unwinding};

/// A socket whose reads first do what the script says.
#[derive(Debug)]
struct Scripted {
    stream: UnixStream,
    script: Vec<&'static str>,
    _alive: Rc<()>,
}

impl Scripted {
    /// With something to read.
    fn new(script: &[&'static str], alive: &Rc<()>) -> (Self, unix::net::UnixStream) {
        let (stream, mut peer) = unix_pair();
        peer.write_all(b"x").unwrap();
        let mut script = script.to_vec();
        script.reverse();
        (Self { stream, script, _alive: Rc::clone(alive) }, peer)
    }
}

impl io::Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.script.pop() {
            Some("interrupt") => Err(ErrorKind::Interrupted.into()),
            Some("block") => self.stream.try_io(|| Err(ErrorKind::WouldBlock.into())),
            Some("fail") => Err(ErrorKind::TimedOut.into()),
            Some("panic") => {
                unwind("a read");
                Ok(0)
            }
            _ => io::Read::read(&mut self.stream, buffer),
        }
    }
}

impl Source for Scripted {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.stream.register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.stream.reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        if self.script.pop() == Some("stuck") {
            return Err(ErrorKind::Other.into());
        }
        self.stream.deregister(poll)
    }
}

type Told = Log<OpResult<Received<Scripted>, io::Error>>;

fn set_up() -> (Reactor, LlRealCancel<Scripted>, Told, Rc<()>) {
    let reactor = Reactor::new().unwrap();
    let module = LlRealCancel::new(&reactor.handle());
    module.open();
    (reactor, module, Log::new(), Rc::new(()))
}

#[test]
fn interrupts_and_false_alarms_are_waited_out() {
    let (mut reactor, module, told, alive) = set_up();
    let (source, mut peer) = Scripted::new(&["interrupt", "block", "interrupt", "block"], &alive);
    let log = told.clone();
    let done = reactor.queue().callback(move |_, result| log.push(result));
    let op = module.start(Read { source, limit: 8 }, done).unwrap();
    for _ in 0..2 {
        assert_eq!(turn_now(&mut reactor).dialed, 1);
        assert_eq!((op.state(), told.len()), (OpState::Running, 0));
        assert_eq!(reactor.handle().registration_count(), 1);
        peer.write_all(b"y").unwrap();
    }
    turn_until(&mut reactor, || told.len() == 1);
    let [Ok(received)] = &told.take()[..] else { panic!("not received") };
    assert_eq!(received.bytes, b"xyy");
    assert_eq!(reactor.handle().registration_count(), 0);
    assert_eq!(Rc::strong_count(&alive), 1 + 1);
}

#[test]
fn a_read_that_fails_ends_the_operation_and_closes_the_source() {
    // That the source cannot be deregistered after a good read is a failure as well.
    let scripts: [(&[_], _); 2] =
        [(&["fail"], ErrorKind::TimedOut), (&["read", "stuck"], ErrorKind::Other)];
    for (script, kind) in scripts {
        let (mut reactor, module, told, alive) = set_up();
        let (source, mut peer) = Scripted::new(script, &alive);
        let log = told.clone();
        let done = reactor.queue().callback(move |_, result| log.push(result));
        let op = module.start(Read { source, limit: 8 }, done).unwrap();
        turn_until(&mut reactor, || told.len() == 1);
        let told = told.take();
        // A connection that broke is worth another one.
        let error = match &told[..] {
            [Err(OpError::Retryable(error))] if kind == ErrorKind::TimedOut => error,
            [Err(OpError::Failed(error))] if kind == ErrorKind::Other => error,
            other => panic!("{script:?}: {other:?}"),
        };
        assert_eq!((error.kind(), op.cancel()), (kind, Cancellation::Late));
        assert_eq!((reactor.handle().registration_count(), Rc::strong_count(&alive)), (0, 1));
        assert!(peer.write(b"x").is_err(), "still open");
    }
}

#[test]
fn a_read_that_panics_loses_its_operation_only() {
    let (mut reactor, module, told, alive) = set_up();
    let mut peers = Vec::new();
    let mut ops = Vec::new();
    for script in ["read", "panic", "read"] {
        let (source, peer) = Scripted::new(&[script], &alive);
        peers.push(peer);
        let log = told.clone();
        let done = reactor.queue().callback(move |_, result| log.push(result));
        ops.push(module.start(Read { source, limit: 8 }, done).unwrap());
    }
    assert_eq!(unwinding(|| reactor.run()), "a read");
    check(&reactor);
    assert_eq!(ops[1].state(), OpState::Completed);
    reactor.run().unwrap();
    check(&reactor);
    let told = told.take();
    let dropped = told.iter().filter(|result| matches!(result, Err(OpError::Dropped))).count();
    let received = told.iter().filter(|result| result.is_ok()).count();
    assert_eq!((dropped, received, told.len()), (1, 2, 3));
    assert!(peers[1].write(b"x").is_err(), "still open");
    drop(told);
    assert_eq!(Rc::strong_count(&alive), 1);
    let tally = reactor.queue().tally();
    assert_eq!((tally.panicked, tally.finished, tally.refused), (1, 5, 0));
}

#[test]
fn a_call_that_is_canceled_silences_its_operation_and_drops_the_answer() {
    let (mut reactor, module, told, alive) = set_up();
    let (source, mut peer) = Scripted::new(&[], &alive);
    let log = told.clone();
    let done = reactor.queue().callback(move |_, result| log.push(result));
    let id = done.id();
    let op = module.start(Read { source, limit: 8 }, done).unwrap();
    assert_eq!(reactor.queue().cancel(id, "not interested"), Cancellation::Canceled);
    assert_eq!((op.state(), reactor.handle().registration_count()), (OpState::Running, 1));
    reactor.run().unwrap(); // ends, as the operation does
    assert_eq!((op.state(), told.len()), (OpState::Completed, 0));
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(peer.write(b"x").is_err(), "still open");
    check(&reactor);
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
    let mut reactor = Reactor::new().unwrap();
    let module = LlRealCancel::<Silent>::new(&reactor.handle());
    module.open();
    let alive = Rc::new(());
    let told = Log::new();
    let mut ops = Vec::new();
    for number in 0..COUNT {
        let log = told.clone();
        let done = reactor.queue().callback(move |_, result: OpResult<Received<_>, _>| {
            assert!(matches!(result, Err(OpError::Canceled)));
            log.push(number);
        });
        let source = Silent { _alive: Rc::clone(&alive) };
        ops.push(module.start(Read { source, limit: 8 }, done).map_err(drop).unwrap());
    }
    assert_eq!(reactor.handle().registration_count(), COUNT);
    // Every third first, then the rest; what is canceled twice is told once.
    for op in ops.iter().step_by(3).chain(&ops) {
        let late = op.state() == OpState::Completed;
        assert_eq!(op.cancel(), if late { Cancellation::Late } else { Cancellation::Canceled });
    }
    assert_eq!((reactor.handle().registration_count(), Rc::strong_count(&alive)), (0, 1));
    let tally = reactor.queue().tally();
    assert_eq!((tally.pending, tally.unscheduled), (COUNT as u64, 0));
    reactor.run().unwrap();
    check(&reactor);
    let mut expected: Vec<_> = (0..COUNT).step_by(3).collect();
    expected.extend((0..COUNT).filter(|number| number % 3 != 0));
    assert_eq!(told.take(), expected);
    assert_eq!(reactor.queue().tally().finished, COUNT as u64);
}
