//! Hazard: a read that completes twice or never, that reports what did not happen, or that costs more
//! than its `read`. `LlRealCancel` on a socket that stays.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::rc::Rc;

use mio::net::TcpStream;
use support::net::{LocalPeer, LocalStream, local_pair, reset, tcp_pair, turn_now, turn_until};
use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{LlRealCancel, Module, Read, Socket, StartError};
use switchboard::{Callback, Cancellation};

type Outcome = OpResult<Vec<u8>, io::Error>;

/// A module that is open, a socket, and what its operations reported.
struct Bench {
    reactor: Reactor,
    module: LlRealCancel<LocalStream>,
    socket: Option<Socket<LocalStream>>,
    peer: LocalPeer,
    outcomes: Rc<RefCell<Vec<(u32, Outcome)>>>,
}

impl Bench {
    fn new() -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let module = LlRealCancel::new();
        module.open();
        let (ours, peer) = local_pair();
        let socket = Some(Socket::stream(&reactor.handle(), ours).expect("registered"));
        Self { reactor, module, socket, peer, outcomes: Rc::default() }
    }

    fn done(&self, name: u32) -> Callback<Outcome> {
        let outcomes = Rc::clone(&self.outcomes);
        self.reactor.queue().callback(move |_, result| outcomes.borrow_mut().push((name, result)))
    }

    fn request(&self, limit: usize) -> Read<LocalStream> {
        Read { from: self.socket.clone().expect("the socket is there"), limit }
    }

    #[track_caller]
    fn start(&self, name: u32) -> AsyncOp {
        self.module.start(self.request(100), self.done(name)).expect("it is open")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).expect("room");
    }

    /// The one result that came.
    #[track_caller]
    fn result(&mut self) -> Outcome {
        turn_until(&mut self.reactor, || !self.outcomes.borrow().is_empty());
        let mut outcomes = self.outcomes.take();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0).1
    }

    #[track_caller]
    fn read(&mut self) -> Vec<u8> {
        self.result().expect("it is read")
    }

    /// Drops the socket, and asserts that nothing is reported, pending or registered.
    #[track_caller]
    fn finish(mut self) {
        assert_eq!(turn_now(&mut self.reactor).dialed, 0);
        self.socket = None;
        assert_eq!(self.reactor.handle().registration_count(), 0);
        assert_eq!(self.peer.read(&mut [0]).ok(), Some(0), "the socket is closed");
        let tally = self.reactor.queue().tally();
        assert_eq!((tally.pending, tally.unscheduled, self.outcomes.borrow().len()), (0, 0, 0));
        assert_eq!((tally.refused, tally.abandoned, tally.panicked), (0, 0, 0), "{tally}");
    }
}

#[test]
fn it_completes_when_there_is_something_to_read_and_the_socket_stays() {
    let mut bench = Bench::new();
    let op = bench.start(0);
    let _ = turn_now(&mut bench.reactor);
    assert_eq!((op.state(), bench.outcomes.borrow().len()), (OpState::Running, 0));
    bench.write(b"hello");
    assert_eq!((bench.read(), op.state()), (b"hello".to_vec(), OpState::Completed));

    // There already when it starts.
    bench.write(b"again");
    let op = bench.start(1);
    assert!(bench.outcomes.borrow().is_empty(), "not inside start");
    assert_eq!(bench.read(), b"again");
    assert_eq!(op.cancel(), Cancellation::Late);

    // The end of the stream is no error, and stays.
    bench.peer.shutdown(std::net::Shutdown::Write).expect("it is open");
    for name in [2, 3] {
        bench.start(name);
        assert_eq!(bench.read(), b"");
    }
    assert_eq!(bench.reactor.handle().registration_count(), 1);
    bench.finish();
}

/// It was closed: there was no read with a deadline.
#[test]
fn o03_a_socket_is_read_on_after_a_cancel_which_takes_nothing_of_it() {
    let mut bench = Bench::new();
    for round in 0..3 {
        let op = bench.start(round);
        let _ = turn_now(&mut bench.reactor);
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!((op.state(), bench.outcomes.borrow().len()), (OpState::Completed, 0));
        assert!(matches!(bench.result(), Err(OpError::Canceled)));
        // With its readiness call pending.
        let op = bench.start(round);
        bench.write(b"abc");
        bench.reactor.set_budget(0);
        assert_eq!(turn_now(&mut bench.reactor).remaining, 1);
        assert_eq!(op.cancel(), Cancellation::Canceled);
        bench.reactor.set_budget(10);
        assert!(matches!(bench.result(), Err(OpError::Canceled)));
        // What came is there for the next one.
        bench.start(round);
        assert_eq!(bench.read(), b"abc");
    }
    bench.finish();
}

#[test]
fn it_is_not_canceled_once_it_is_complete() {
    let mut bench = Bench::new();
    let op = bench.start(0);
    bench.write(b"x");
    // The completion is scheduled, and not dialed.
    bench.reactor.set_budget(1);
    while op.state() == OpState::Running {
        let _ = turn_now(&mut bench.reactor);
    }
    assert_eq!((bench.outcomes.borrow().len(), op.cancel()), (0, Cancellation::Late));
    assert_eq!(bench.read(), b"x");
    bench.finish();
}

#[test]
fn it_does_not_start_unless_the_module_is_open() {
    let mut bench = Bench::new();
    bench.module.close();
    let error = bench.module.start(bench.request(7), bench.done(0)).expect_err("not open");
    assert!(matches!(error, StartError::NotOpen(Read { limit: 7, .. })));
    let what = "operation not started: the module is not open; call `open` first";
    assert_eq!(error.to_string(), what);
    assert_eq!(bench.reactor.queue().tally().canceled, 1, "declined");
    bench.module.open();
    let _ = bench.module.start(error.into_request(), bench.done(1)).expect("it is open");
    // What runs when the module is closed or dropped goes on.
    bench.module.close();
    bench.module = LlRealCancel::new();
    bench.write(b"later");
    assert_eq!(bench.read(), b"later");
    bench.finish();
}

#[test]
fn a_second_read_at_a_time_is_refused_and_the_socket_serves_the_first() {
    let mut bench = Bench::new();
    bench.start(0);
    let error = bench.module.start(bench.request(7), bench.done(1)).expect_err("one waits");
    let StartError::Failed { source, request } = error else { panic!("{error:?}") };
    let what = "no place to wait: another operation waits for the same; let it end, or cancel it";
    assert_eq!((source.to_string().as_str(), request.limit), (what, 7));
    drop(request);
    bench.write(b"x");
    assert_eq!(bench.read(), b"x");
    bench.finish();
}

#[test]
fn a_read_that_is_started_while_the_source_is_lent_is_refused_with_that_reason() {
    let bench = Bench::new();
    let (request, done) = (bench.request(7), bench.done(0));
    let lent = bench.socket.clone().expect("it has an owner");
    let error =
        lent.with(|_| bench.module.start(request, done).expect_err("in use")).expect("lent");
    let what = "no place to wait: the source is in use by `Socket::with` or by an attempt; start when that is over";
    let StartError::Failed { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), what);
    let canceled = bench.reactor.queue().tally().canceled;
    assert_eq!(canceled, 1, "declined");
}

#[test]
fn a_socket_without_an_owner_is_read_to_the_end_of_its_operation_and_closed() {
    let mut bench = Bench::new();
    let op = bench.start(0);
    bench.socket = None;
    bench.write(b"x");
    assert_eq!(bench.read(), b"x");
    assert_eq!(op.state(), OpState::Completed);
    bench.finish();
    // Canceled: closed before cancel returns.
    let mut bench = Bench::new();
    let op = bench.start(0);
    bench.socket = None;
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert_eq!(bench.peer.read(&mut [0]).ok(), Some(0), "the end of the stream");
    assert!(matches!(bench.result(), Err(OpError::Canceled)));
    bench.finish();
}

#[test]
fn a_registration_that_is_taken_out_goes_on_without_operations() {
    let mut bench = Bench::new();
    bench.write(b"xy");
    bench.start(0);
    let socket = bench.socket.take().expect("the socket is there");
    let socket = socket.into_registration().expect_err("an operation runs on it");
    assert_eq!(bench.read(), b"xy");
    let registration = socket.into_registration().expect("no one else holds it");
    assert!(registration.readiness().is_readable(), "known until an attempt would block");
    let source = registration.into_source().expect("deregistered");
    drop(source);
    bench.finish();
}

#[test]
fn two_run_at_a_time_on_two_sockets() {
    let mut bench = Bench::new();
    let (other, mut other_peer) = local_pair();
    let other = Socket::stream(&bench.reactor.handle(), other).expect("registered");
    bench.start(1);
    let op = bench.module.start(Read { from: other.clone(), limit: 8 }, bench.done(2));
    // In the same batch.
    other_peer.write_all(b"two").expect("room");
    bench.write(b"one");
    turn_until(&mut bench.reactor, || bench.outcomes.borrow().len() == 2);
    let mut outcomes = bench.outcomes.take();
    outcomes.sort_by_key(|(name, _)| *name);
    let [(1, Ok(one)), (2, Ok(two))] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!((&one[..], &two[..]), (&b"one"[..], &b"two"[..]));
    drop((op, other));
    bench.finish();
}

#[test]
fn a_callback_cancels_another_operation_of_the_same_batch() {
    // Late, if the other one's readiness call comes before the callback of the first; in time after it.
    for in_time in [false, true] {
        let mut bench = Bench::new();
        let (other, mut other_peer) = local_pair();
        let other = Socket::stream(&bench.reactor.handle(), other).expect("registered");
        let request = Read { from: other, limit: 8 };
        let op = bench.module.start(request, bench.done(2)).expect("it is open");
        let outcomes = Rc::clone(&bench.outcomes);
        let done = bench.reactor.queue().callback(move |_, result| {
            let expected = if in_time { Cancellation::Canceled } else { Cancellation::Late };
            assert_eq!(op.cancel(), expected);
            outcomes.borrow_mut().push((1, result));
        });
        // The events of registration first.
        let _ = turn_now(&mut bench.reactor);
        bench.module.start(bench.request(8), done).expect("it is open");
        bench.write(b"one");
        if in_time {
            bench.reactor.set_budget(1);
            assert_eq!(turn_now(&mut bench.reactor).remaining, 1);
        }
        other_peer.write_all(b"two").expect("room");
        bench.reactor.set_budget(2);
        turn_until(&mut bench.reactor, || bench.outcomes.borrow().len() == 2);
        let mut outcomes = bench.outcomes.take();
        outcomes.sort_by_key(|(name, _)| *name); // a batch has no order
        let [(1, Ok(one)), (2, two)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(one, b"one");
        assert_eq!(matches!(two, Err(OpError::Canceled)), in_time, "{two:?}");
        bench.finish();
    }
}

#[test]
fn the_reactor_may_go_while_operations_run() {
    let Bench { reactor, module, socket, mut peer, .. } = Bench::new();
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let done = reactor.queue().callback(move |_, _: Outcome| unreachable!("{inner:?}"));
    let from = socket.clone().expect("the socket is there");
    let op = module.start(Read { from, limit: 8 }, done).expect("it is open");
    let after = reactor.queue().callback(|_, _: Outcome| unreachable!("it is declined"));
    drop(reactor);
    assert_eq!(Rc::strong_count(&captured), 1, "the callback ends with its queue");
    assert_eq!((op.state(), op.cancel()), (OpState::Completed, Cancellation::Late));
    let from = socket.expect("the socket is there");
    let error = module.start(Read { from, limit: 8 }, after).expect_err("the reactor is gone");
    let StartError::Failed { source, request } = error else { panic!("{error:?}") };
    let text = "no place to wait: the reactor has been dropped; drop the socket";
    assert_eq!(source.to_string(), text);
    drop(request);
    assert_eq!(peer.read(&mut [0]).ok(), Some(0), "the socket is closed");
}

#[test]
fn the_limit_is_honored() {
    let mut bench = Bench::new();
    bench.write(&[7; 100_000]);
    for (limit, expected) in
        [(0, 1), (1, 1), (100, 100), (usize::MAX, 65_536), (usize::MAX, 34_362)]
    {
        bench.module.start(bench.request(limit), bench.done(0)).expect("it is open");
        let bytes = bench.read();
        assert_eq!((bytes.len(), bytes.iter().all(|byte| *byte == 7)), (expected, true));
    }
    bench.finish();
}

#[test]
fn a_connection_that_is_reset_is_worth_another_attempt() {
    let mut reactor = Reactor::new().expect("a reactor");
    let module = LlRealCancel::<TcpStream>::new();
    module.open();
    let (mut source, peer) = tcp_pair();
    reset(peer, &mut source);
    let from = Socket::stream(&reactor.handle(), source).expect("registered");
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let delivered = Rc::clone(&outcomes);
    let done = reactor.queue().callback(move |_, result| delivered.borrow_mut().push(result));
    module.start(Read { from, limit: 8 }, done).expect("it is open");
    turn_until(&mut reactor, || outcomes.borrow().len() == 1);
    let Some(Err(OpError::Retryable(error))) = outcomes.borrow_mut().pop() else {
        panic!("not failed")
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(reactor.handle().registration_count(), 0);
}

#[test]
fn a_call_that_is_canceled_silences_its_operation_and_drops_the_answer() {
    let mut bench = Bench::new();
    let done = bench.done(0);
    let id = done.id();
    let op = bench.module.start(bench.request(8), done).expect("it is open");
    assert_eq!(bench.reactor.queue().cancel(id, "not interested"), Cancellation::Canceled);
    assert_eq!(op.state(), OpState::Running);
    bench.write(b"x");
    turn_until(&mut bench.reactor, || op.state() == OpState::Completed);
    assert!(bench.outcomes.borrow().is_empty());
    bench.finish();
}
