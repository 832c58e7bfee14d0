//! Hazard: a cancel that comes while a module is busy with the operation, from code that it calls.
//! All regressions: the cancel was taken note of, but did not reach what the module started then.

#![cfg(all(feature = "mio", unix))]

mod manual;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use manual::{Manual, Told, check_over};
use mio::event::Source;
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use switchboard::op::{AsyncOp, OpError};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Chain, LlRealCancel, MlChain, MlRetries, Module, Next, Read, Retry, RetryPolicy,
};

const AGAIN: manual::Result = Err(OpError::Retryable("again"));

/// The handle of an operation, for code of its own.
type Own = Rc<RefCell<Option<AsyncOp>>>;

fn cancel(own: &Own) {
    if let Some(op) = &*own.borrow() {
        let _ = op.cancel();
    }
}

/// The timer was armed all the same, and the outcome told when it was due.
#[test]
fn a_cancel_within_backoff_is_told_at_once() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let own = Own::default();
    let inside = Rc::clone(&own);
    let policy = RetryPolicy::new().backoff(move |_| {
        cancel(&inside);
        Duration::from_secs(3600)
    });
    let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
    module.open();
    let told = Told::new(queue);
    own.replace(Some(module.start(Retry::new(|| 1), told.done()).expect("it is open")));
    lower.complete(AGAIN);
    queue.dial_all();
    assert_eq!(reactor.handle().timers(), 0);
    assert!(matches!(told.only(), Err(OpError::Canceled)));
}

#[test]
fn a_cancel_within_the_choice_of_failures_is_told_at_once() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let own = Own::default();
    let inside = Rc::clone(&own);
    let policy = RetryPolicy::new().backoff(|_| Duration::from_secs(3600)).after(move |_| {
        cancel(&inside);
        true
    });
    let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
    module.open();
    let told = Told::new(queue);
    own.replace(Some(module.start(Retry::new(|| 1), told.done()).expect("it is open")));
    lower.complete(AGAIN);
    queue.dial_all();
    assert_eq!(reactor.handle().timers(), 0);
    assert!(matches!(told.only(), Err(OpError::Canceled)));
}

/// The cancel, while the next step was started, went to the step before, too late.
#[test]
fn a_cancel_within_the_start_of_a_step_reaches_that_step() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let retries = MlRetries::new(&reactor.handle(), lower.clone(), RetryPolicy::new());
    let module = MlChain::new(queue, retries);
    module.open();
    let told = Told::<u32>::new(queue);
    let own = Own::default();
    let inside = Rc::clone(&own);
    let request = Chain::new(Retry::new(|| 1), move |_| {
        let inside = Rc::clone(&inside);
        Next::Start(Retry::new(move || {
            cancel(&inside);
            2
        }))
    });
    own.replace(Some(module.start(request, told.done()).expect("it is open")));
    lower.complete(Ok(7));
    queue.dial_all();
    assert_eq!(lower.running(), 0, "canceled, or never started");
    assert!(matches!(told.only(), Err(OpError::Canceled)));
    check_over(queue);
}

/// The same for retries of retries.
#[test]
fn a_cancel_within_the_start_of_an_attempt_reaches_that_attempt() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let once = RetryPolicy::new().attempts(1);
    let inner = MlRetries::new(&reactor.handle(), lower.clone(), once);
    let module = MlRetries::new(&reactor.handle(), inner, RetryPolicy::new());
    module.open();
    let told = Told::new(queue);
    let own = Own::default();
    let inside = Rc::clone(&own);
    let request = Retry::new(move || {
        let inside = Rc::clone(&inside);
        Retry::new(move || {
            cancel(&inside);
            1
        })
    });
    own.replace(Some(module.start(request, told.done()).expect("it is open")));
    lower.complete(AGAIN);
    queue.dial_all();
    assert_eq!(lower.running(), 0, "canceled, or never started");
    assert!(matches!(told.only(), Err(OpError::Canceled)));
    check_over(queue);
}

/// The registration was put back into an operation that was over, and stayed.
#[test]
fn a_cancel_within_the_read_deregisters_the_source() {
    let mut reactor = Reactor::new().expect("a reactor");
    let module = LlRealCancel::new(&reactor.handle());
    module.open();
    let (socket, mut peer) = UnixStream::pair().expect("a pair of sockets");
    io::Write::write_all(&mut peer, b"x").expect("room");
    let own = Own::default();
    let source = Canceling { socket, own: Rc::clone(&own) };
    let told = Rc::new(RefCell::new(Vec::new()));
    let outcomes = Rc::clone(&told);
    let done = reactor.queue().callback(move |_, result| outcomes.borrow_mut().push(result));
    own.replace(Some(module.start(Read { source, limit: 1 }, done).expect("it is open")));
    let _ = reactor.turn(None).expect("a turn");
    assert!(matches!(told.take()[..], [Err(OpError::Canceled)]));
    assert_eq!(reactor.handle().registrations(), 0);
}

struct Canceling {
    socket: UnixStream,
    own: Own,
}

impl io::Read for Canceling {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        cancel(&self.own);
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Source for Canceling {
    fn register(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        self.socket.register(registry, token, how)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, how: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, how)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}
