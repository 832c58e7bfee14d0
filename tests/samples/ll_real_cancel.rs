//! Hazard: a read that completes twice or never, that reports what did not happen, or that leaves
//! its source registered.

use std::io::{self, ErrorKind, Read as _, Write};
use std::net::Shutdown;
use std::os::unix;
use std::rc::Rc;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{LlRealCancel, Module, Read, Received, StartError};
use switchboard::{Callback, Cancellation};

use support::net::{Log, reset, tcp_pair, turn_now, turn_until, unix_pair};

type Outcome<S> = OpResult<Received<S>, io::Error>;

/// A module that is open, and what its operations answered.
struct Bench<S: Source + io::Read + 'static = UnixStream> {
    reactor: Reactor,
    module: LlRealCancel<S>,
    told: Log<(u32, Outcome<S>)>,
}

impl<S: Source + io::Read + 'static> Bench<S> {
    fn new() -> Self {
        let reactor = Reactor::new().unwrap();
        let module = LlRealCancel::new(&reactor.handle());
        module.open();
        Self { reactor, module, told: Log::new() }
    }

    fn done(&self, name: u32) -> Callback<Outcome<S>> {
        let told = self.told.clone();
        self.reactor.queue().callback(move |_, result| told.push((name, result)))
    }

    fn start(&self, name: u32, source: S) -> AsyncOp {
        self.module.start(Read { source, limit: 100 }, self.done(name)).map_err(drop).unwrap()
    }

    /// The one result that came.
    #[track_caller]
    fn result(&mut self) -> Outcome<S> {
        turn_until(&mut self.reactor, || self.told.len() > 0);
        let mut told = self.told.take();
        assert_eq!(told.len(), 1);
        told.remove(0).1
    }

    /// Turns once, and asserts that nothing is told, pending or registered.
    #[track_caller]
    fn nothing_left(&mut self) {
        let before = self.reactor.event_stats();
        assert_eq!(self.reactor.handle().registration_count(), 0);
        assert_eq!(turn_now(&mut self.reactor).dialed, 0);
        assert_eq!(self.reactor.event_stats(), before);
        let tally = self.reactor.queue().tally();
        assert_eq!((tally.pending, tally.unscheduled, self.told.len()), (0, 0, 0), "{tally}");
        assert_eq!((tally.refused, tally.abandoned, tally.panicked), (0, 0, 0), "{tally}");
    }
}

fn is_canceled<S>(result: &Outcome<S>) -> bool {
    matches!(result, Err(OpError::Canceled))
}

#[track_caller]
fn is_closed(peer: &mut unix::net::UnixStream) {
    assert_eq!(peer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe, "still open");
}

#[test]
fn it_completes_when_there_is_something_to_read() {
    let mut bench = Bench::new();
    let (source, mut peer) = unix_pair();
    let op = bench.start(0, source);
    assert_eq!((op.state(), bench.reactor.handle().registration_count()), (OpState::Running, 1));
    assert_eq!(turn_now(&mut bench.reactor).dialed, 0);
    peer.write_all(b"hello").unwrap();
    let Received { source, bytes } = bench.result().unwrap();
    assert_eq!((&bytes[..], op.state()), (&b"hello"[..], OpState::Completed));
    bench.nothing_left();

    // There already when it starts; the source came back and can be read again.
    peer.write_all(b"again").unwrap();
    let op = bench.start(1, source);
    assert_eq!((op.state(), bench.told.len()), (OpState::Running, 0), "not inside start");
    let Received { source, bytes } = bench.result().unwrap();
    assert_eq!(bytes, b"again");

    // The end of the stream is no error, and stays.
    peer.shutdown(Shutdown::Write).unwrap();
    let _ = bench.start(2, source);
    let Received { source, bytes } = bench.result().unwrap();
    assert_eq!(bytes, b"");
    let _ = bench.start(3, source);
    let Received { mut source, bytes } = bench.result().unwrap();
    assert_eq!(bytes, b"");
    source.write_all(b"still ours").unwrap();
    bench.nothing_left();
}

#[test]
fn it_fails_when_the_connection_is_reset() {
    for reset_first in [true, false] {
        let mut bench = Bench::<TcpStream>::new();
        let (mut source, peer) = tcp_pair();
        if reset_first {
            reset(peer, &mut source);
            let _ = bench.start(0, source);
        } else {
            source.write_all(b"unread").unwrap();
            let _ = bench.start(0, source);
            peer.peek(&mut [0]).unwrap();
            drop(peer);
        }
        let Err(OpError::Retryable(error)) = bench.result() else { panic!("not failed") };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        bench.nothing_left();
    }
}

#[test]
fn it_is_canceled_while_it_waits() {
    let mut bench = Bench::new();
    let (source, mut peer) = unix_pair();
    let op = bench.start(0, source);
    assert_eq!(turn_now(&mut bench.reactor).dialed, 0);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert_eq!((op.state(), bench.told.len()), (OpState::Completed, 0), "not inside cancel");
    assert_eq!(bench.reactor.handle().registration_count(), 0);
    is_closed(&mut peer);
    assert!(is_canceled(&bench.result()));
    // Canceled when it is over: nothing more.
    assert_eq!(op.cancel(), Cancellation::Late);
    bench.nothing_left();

    // Before there was any turn, and with data there already.
    let (source, mut peer) = unix_pair();
    peer.write_all(b"x").unwrap();
    let op = bench.start(1, source);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert!(is_canceled(&bench.result()));
    bench.nothing_left();
    assert_eq!(bench.reactor.event_stats().delivered, 0);

    // With its readiness call pending.
    let (source, mut peer) = unix_pair();
    let op = bench.start(2, source);
    peer.write_all(b"x").unwrap();
    bench.reactor.set_budget(0);
    assert_eq!(turn_now(&mut bench.reactor).remaining, 1);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    bench.reactor.set_budget(10);
    assert!(is_canceled(&bench.result()));
    bench.nothing_left();
}

#[test]
fn it_is_not_canceled_once_it_is_complete() {
    let mut bench = Bench::new();
    let (source, mut peer) = unix_pair();
    let op = bench.start(0, source);
    peer.write_all(b"x").unwrap();
    // The completion is scheduled, and not dialed.
    bench.reactor.set_budget(1);
    assert_eq!(turn_now(&mut bench.reactor).remaining, 1);
    assert_eq!((op.state(), op.cancel()), (OpState::Completed, Cancellation::Late));
    assert_eq!(bench.result().unwrap().bytes, b"x");
    assert_eq!(op.cancel(), Cancellation::Late);
    bench.nothing_left();
}

#[test]
fn it_does_not_start_unless_the_module_is_open() {
    let mut bench = Bench::new();
    let module = LlRealCancel::<UnixStream>::new(&bench.reactor.handle());
    let (mut source, mut peer) = unix_pair();
    for (canceled, closed) in [(1, false), (2, true)] {
        if closed {
            module.open();
            module.close();
            module.close();
        }
        let refused = module.start(Read { source, limit: 7 }, bench.done(0));
        let Err(error @ StartError::NotOpen(_)) = refused else { panic!("started") };
        let what = "operation not started: the module is not open; call `open` first";
        assert_eq!(error.to_string(), what);
        let StartError::NotOpen(Read { source: back, limit: 7 }) = error else { unreachable!() };
        source = back;
        assert_eq!(bench.reactor.queue().tally().canceled, canceled, "not declined");
        bench.nothing_left();
    }
    // What runs when the module is closed goes on, and it can be opened again.
    module.open();
    let _ = module.start(Read { source, limit: 7 }, bench.done(1)).map_err(drop).unwrap();
    module.close();
    peer.write_all(b"later").unwrap();
    assert_eq!(bench.result().unwrap().bytes, b"later");
    bench.nothing_left();
}

#[cfg(target_os = "linux")]
#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "it takes any source")]
fn it_does_not_start_if_its_source_cannot_be_registered() {
    use std::error::Error;
    use std::fs::File;
    use std::os::fd::OwnedFd;

    let file = OwnedFd::from(File::open("/proc/self/exe").unwrap());
    let source = TcpStream::from_std(std::net::TcpStream::from(file));
    let mut bench = Bench::new();
    let refused = bench.module.start(Read { source, limit: 7 }, bench.done(0));
    let Err(error @ StartError::Failed { .. }) = refused else { panic!("started") };
    assert_eq!(error.to_string(), "operation not started");
    let cause = error.source().unwrap().source().unwrap();
    let cause = cause.downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::PermissionDenied);
    assert_eq!(bench.reactor.queue().tally().canceled, 1, "not declined");
    bench.nothing_left();

    // The reactor is gone.
    let StartError::Failed { request, .. } = error else { unreachable!() };
    let Bench { reactor, module, .. } = bench;
    let done = reactor.queue().callback(|_, _: Outcome<TcpStream>| unreachable!());
    drop(reactor);
    let refused = module.start(request, done);
    assert!(matches!(refused, Err(StartError::Failed { request: Read { limit: 7, .. }, .. })));
}

#[test]
fn two_run_at_a_time() {
    let mut bench = Bench::new();
    let (first, mut first_peer) = unix_pair();
    let (second, mut second_peer) = unix_pair();
    let _first = bench.start(1, first);
    let _second = bench.start(2, second);
    // In the same batch.
    first_peer.write_all(b"one").unwrap();
    second_peer.write_all(b"two").unwrap();
    assert_eq!(turn_now(&mut bench.reactor).dialed, 4);
    let mut told: Vec<_> =
        bench.told.take().into_iter().map(|(name, result)| (name, result.unwrap())).collect();
    told.sort_by_key(|(name, _)| *name);
    let [(1, first), (2, second)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&first.bytes[..], &second.bytes[..]), (&b"one"[..], &b"two"[..]));
    bench.nothing_left();

    // One after the other, the one that started first last; the other one is canceled.
    let (third, mut third_peer) = unix_pair();
    let (fourth, mut fourth_peer) = unix_pair();
    let _third = bench.start(3, third);
    let op = bench.start(4, fourth);
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert!(is_canceled(&bench.result()));
    is_closed(&mut fourth_peer);
    third_peer.write_all(b"three").unwrap();
    assert_eq!(bench.result().unwrap().bytes, b"three");
    bench.nothing_left();
}

#[test]
fn a_callback_cancels_another_operation_of_the_same_batch() {
    // Late, if the other one's readiness call comes before the callback of the first: complete.
    // In time, if the first one's callback comes before it.
    for in_time in [false, true] {
        let mut bench = Bench::new();
        let (first, mut first_peer) = unix_pair();
        let (second, mut second_peer) = unix_pair();
        let op = bench.start(2, second);
        let told = bench.told.clone();
        let done = bench.reactor.queue().callback(move |_, result| {
            let expected = if in_time { Cancellation::Canceled } else { Cancellation::Late };
            assert_eq!(op.cancel(), expected);
            told.push((1, result));
        });
        let _ = bench.module.start(Read { source: first, limit: 8 }, done).unwrap();
        first_peer.write_all(b"one").unwrap();
        if in_time {
            bench.reactor.set_budget(1);
            assert_eq!(turn_now(&mut bench.reactor).remaining, 1);
        }
        second_peer.write_all(b"two").unwrap();
        bench.reactor.set_budget(2);
        let told = bench.told.clone();
        turn_until(&mut bench.reactor, || told.len() == 2);
        let mut told = told.take();
        told.sort_by_key(|(name, _)| *name); // a batch has no order
        let [(1, Ok(first)), (2, second)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(first.bytes, b"one");
        match second {
            Ok(second) => assert!(!in_time && second.bytes == b"two"),
            result => assert!(in_time && is_canceled(result)),
        }
        assert_eq!(bench.reactor.event_stats().delivered, 2);
        bench.nothing_left();
    }
}

#[test]
fn the_module_may_go_while_operations_run() {
    let mut bench = Bench::new();
    let (first, mut first_peer) = unix_pair();
    let (second, _second_peer) = unix_pair();
    let _first = bench.start(1, first);
    let op = bench.start(2, second);
    bench.module = LlRealCancel::new(&bench.reactor.handle());
    first_peer.write_all(b"one").unwrap();
    assert_eq!(bench.result().unwrap().bytes, b"one");
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert!(is_canceled(&bench.result()));
    bench.nothing_left();
}

#[test]
fn the_reactor_may_go_while_operations_run() {
    let Bench { reactor, module, .. } = Bench::new();
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let done = reactor.queue().callback(move |_, _| unreachable!("{inner:?}"));
    let (source, mut peer) = unix_pair();
    let op = module.start(Read { source, limit: 8 }, done).unwrap();
    drop(reactor);
    assert_eq!(Rc::strong_count(&captured), 1, "the callback ends with its queue");
    let _ = op.cancel(); // harmless
    assert_eq!(op.state(), OpState::Completed);
    is_closed(&mut peer);
}

#[test]
fn the_limit_is_honored() {
    let mut bench = Bench::new();
    let (mut source, mut peer) = unix_pair();
    peer.write_all(&[7; 100_000]).unwrap();
    for (limit, expected) in
        [(0, 1), (1, 1), (100, 100), (usize::MAX, 65_536), (usize::MAX, 34_362)]
    {
        let _ = bench.module.start(Read { source, limit }, bench.done(0)).unwrap();
        let received = bench.result().unwrap();
        assert_eq!(received.bytes.len(), expected, "limit {limit}");
        assert!(received.bytes.iter().all(|byte| *byte == 7));
        source = received.source;
    }
    assert_eq!(source.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    bench.nothing_left();
}
