//! Hazard: a connect that goes on after it was canceled, or gives up before all was tried. What is tested
//! is the code of the example.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use switchboard::op::{OpError, OpResult};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{Closed, HlCancelAll, Module, Retry, Socket, ThreadPool, Work};
use switchboard::{Callback, Cancellation, QueueHandle};

use crate::resolve_connect::{Connects, Target, connector, host};

type Outcome = OpResult<Socket, io::Error>;

/// What was reported, in order.
#[derive(Default)]
struct Outcomes(Rc<RefCell<Vec<Outcome>>>);

impl Outcomes {
    fn done(&self, queue: &QueueHandle) -> Callback<Outcome> {
        let outcomes = Rc::clone(&self.0);
        queue.callback(move |_, outcome| outcomes.borrow_mut().push(outcome))
    }
}

/// A reactor whose time passes when there is nothing to do but to wait.
fn patient() -> (Reactor, Rc<Cell<Duration>>) {
    let reactor = Reactor::new().expect("a reactor");
    let (start, passed) = (Instant::now(), Rc::new(Cell::new(Duration::ZERO)));
    let clock = Rc::clone(&passed);
    reactor.set_clock(move || start + clock.get());
    (reactor, passed)
}

/// What the example starts, and can cancel, up to the connection.
fn connects_of(reactor: &ReactorHandle, pool: &ThreadPool) -> HlCancelAll<Connects> {
    HlCancelAll::new(reactor.queue(), connector(reactor, pool))
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// An address at which no one listens.
fn deaf() -> SocketAddr {
    listener().1
}

/// Attempts that find these addresses, one list after the other.
fn found(mut lists: Vec<Vec<SocketAddr>>, made: &Rc<Cell<u32>>) -> Target {
    let made = Rc::clone(made);
    Retry::new(move |attempt, _| {
        made.set(attempt);
        let list = lists.remove(0);
        let work: Work<_, io::Error> = Box::new(move || Ok(list));
        work
    })
}

/// Turns until that many outcomes were reported. Backoffs are jumped over.
fn until(reactor: &mut Reactor, passed: &Cell<Duration>, outcomes: &Outcomes, count: usize) {
    while outcomes.0.borrow().len() < count {
        let _ = reactor.turn(Some(Duration::from_millis(1))).expect("a turn");
        if reactor.queue().is_idle() && reactor.registration_count() == 0 {
            let step = reactor.poll_timeout().unwrap_or_default();
            passed.set(passed.get() + step);
        }
    }
}

#[test]
fn a_host_is_resolved_and_an_address_taken() {
    let (mut reactor, passed) = patient();
    let connects = connects_of(&reactor, &ThreadPool::new(2));
    connects.open();
    let (_listener, address) = listener();
    let outcomes = Outcomes::default();
    let names = [format!("localhost:{}", address.port()), address.to_string()];
    for (number, name) in (1..).zip(names) {
        connects.start(host(name), outcomes.done(reactor.queue())).expect("it is open");
        until(&mut reactor, &passed, &outcomes, number);
    }
    for outcome in outcomes.0.take() {
        let peer = outcome.expect("it is connected").with(|stream| stream.peer_addr().ok());
        assert_eq!(peer, Some(Some(address)));
    }
    assert_eq!((reactor.registration_count(), reactor.timer_count()), (0, 0));
}

#[test]
fn the_first_address_that_answers_is_taken_in_the_attempt_in_which_it_does() {
    let (mut reactor, passed) = patient();
    let connects = connects_of(&reactor, &ThreadPool::new(2));
    connects.open();
    let (_listener, address) = listener();
    let (outcomes, made) = (Outcomes::default(), Rc::default());
    let lists = vec![vec![], vec![deaf(), deaf()], vec![deaf(), address, deaf()]];
    let op =
        connects.start(found(lists, &made), outcomes.done(reactor.queue())).expect("it is open");
    until(&mut reactor, &passed, &outcomes, 1);
    let socket = outcomes.0.borrow_mut().pop().expect("an outcome").expect("it is connected");
    assert_eq!(socket.with(|stream| stream.peer_addr().ok()), Some(Some(address)));
    assert_eq!((made.get(), op.cancel()), (3, Cancellation::Late));
    drop(socket);
    // Or none does.
    let lists = vec![vec![deaf()], vec![deaf(), deaf()], vec![deaf()]];
    connects.start(found(lists, &made), outcomes.done(reactor.queue())).expect("it is open");
    until(&mut reactor, &passed, &outcomes, 1);
    let error = io::Error::from(
        outcomes.0.borrow_mut().pop().expect("an outcome").expect_err("no one listens"),
    );
    assert_eq!((error.kind(), made.get()), (io::ErrorKind::ConnectionRefused, 3));
    assert!(error.raw_os_error().is_some(), "the number of the system's error is kept");
    assert_eq!((reactor.registration_count(), reactor.timer_count()), (0, 0));
}

#[test]
fn one_is_canceled_alone_and_the_others_together_when_the_drain_is_over() {
    let (mut reactor, passed) = patient();
    let connects = connects_of(&reactor, &ThreadPool::new(8));
    connects.open();
    let (outcomes, ends) = (Outcomes::default(), RefCell::new(Vec::new()));
    let endless = || {
        let (end, ends_work) = channel::<()>();
        ends.borrow_mut().push(end);
        let ends_work = Cell::new(Some(ends_work));
        Retry::new(move |_, _| {
            let ends_work = ends_work.take();
            let work: Work<Vec<SocketAddr>, io::Error> = Box::new(move || {
                let _ = ends_work.map(|ends| ends.recv());
                Ok(Vec::new())
            });
            work
        })
    };
    let ops: Vec<_> = (0..3)
        .map(|_| connects.start(endless(), outcomes.done(reactor.queue())).expect("it is open"))
        .collect();
    assert_eq!(ops[1].cancel(), Cancellation::Canceled);
    until(&mut reactor, &passed, &outcomes, 1);
    let closed = Rc::new(Cell::new(None));
    let sees = Rc::clone(&closed);
    let drained = reactor.queue().callback(move |_, closed: Closed| sees.set(Some(closed)));
    connects.drain(&reactor.handle(), Duration::from_secs(10), drained);
    assert!(
        connects.start(host(String::new()), outcomes.done(reactor.queue())).is_err(),
        "it drains"
    );
    let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!((outcomes.0.borrow().len(), closed.get()), (1, None));
    passed.set(Duration::from_secs(10));
    while closed.get().is_none() {
        let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
    }
    assert_eq!(closed.get().map(|closed| (closed.canceled, closed.completed)), Some((2, 0)));
    assert!(outcomes.0.take().iter().all(|outcome| matches!(outcome, Err(OpError::Canceled))));
    drop(ends);
    reactor.run().expect("the leftovers end");
    assert_eq!(connects.leftovers(), 0);
}

#[cfg(feature = "conformance")]
#[test]
fn the_stack_passes_the_conformance_kit() {
    use switchboard::conformance::{Conformance, Timing};

    let (listener, address) = listener();
    listener.set_nonblocking(true).expect("a socket");
    let checked = Conformance::new().sizes([1, 2, 20]).check_module(|reactor| {
        let module = connects_of(reactor, &ThreadPool::new(40));
        let listener = listener.try_clone().expect("a descriptor");
        (module, move |ready| {
            while listener.accept().is_ok() {} // or its backlog would be full
            let (end, ends) = channel::<()>();
            let ends = Cell::new(Some(ends));
            let request = Retry::new(move |_, _| {
                let ends = ends.take();
                let work: Work<_, io::Error> = Box::new(move || {
                    if ready == Timing::Later {
                        let _ = ends.map(|ends| ends.recv());
                    }
                    Ok(vec![address])
                });
                work
            });
            (request, move || drop(end))
        })
    });
    assert_eq!(checked.map(|summary| summary.scenarios), Ok(61));
}
