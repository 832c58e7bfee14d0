//! The fixture of tests on sockets: connected pairs, logs, and turns that wait for readiness and
//! never for time.
use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{self, TcpListener};
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::event::Source;
use mio::net::TcpStream;
use switchboard::reactor::{Reactor, Registration};
use switchboard::{Address, Report};

/// How long a poll may sleep before the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How many turns a test may take before it has failed.
const TURNS: usize = 100_000;

/// Our end of a connection within the machine, and the peer's: Unix sockets, or TCP where mio has none.
#[cfg(unix)]
pub type LocalStream = mio::net::UnixStream;
#[cfg(unix)]
pub type LocalPeer = std::os::unix::net::UnixStream;
#[cfg(not(unix))]
pub type LocalStream = TcpStream;
#[cfg(not(unix))]
pub type LocalPeer = net::TcpStream;

/// Two ends of a connection: ours, which does not block, and the peer's, which does. What the peer
/// has written is there for us as soon as its write returns.
pub fn local_pair() -> (LocalStream, LocalPeer) {
    #[cfg(unix)]
    {
        let (ours, peer) = LocalPeer::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (LocalStream::from_std(ours), peer)
    }
    #[cfg(not(unix))]
    tcp_pair()
}

/// The same over loopback; no write waits for what was sent before to be acknowledged.
pub fn tcp_pair() -> (TcpStream, net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nodelay(true).unwrap();
    peer.set_nodelay(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    (TcpStream::from_std(ours), peer)
}

/// Resets a connection from the peer's side: it closes while there is something that it has not
/// read.
pub fn reset(peer: net::TcpStream, ours: &mut TcpStream) {
    ours.write_all(b"unread").unwrap();
    peer.peek(&mut [0]).unwrap(); // blocks until it is there
    drop(peer);
}

/// Asserts that our end of a connection is closed: the peer reads the end, or that it was reset.
#[track_caller]
pub fn assert_closed(peer: &mut LocalPeer) {
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    match peer.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("our end is still open: {other:?}"),
    }
}

/// A loopback port that no one listens to.
pub fn closed_port() -> net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Unwinds, and prints nothing, as a panic would.
pub fn unwind(with: &'static str) {
    panic::resume_unwind(Box::new(with));
}

/// What `run` unwinds with.
#[track_caller]
pub fn unwinding<R>(run: impl FnOnce() -> R) -> &'static str {
    let panic = panic::catch_unwind(panic::AssertUnwindSafe(run)).err().expect("no panic");
    panic.downcast_ref::<&'static str>().expect("a panic of another kind")
}

/// Asserts that the books are right: every call is accounted for.
#[track_caller]
pub fn check(reactor: &Reactor) {
    let tally = reactor.queue().tally();
    assert!(tally.balances(), "{tally}");
}

/// How many turns in a row may find nothing, though something has arrived. mio's `poll` comes back once
/// when a descriptor is registered whose number belonged to one that hung up. On Windows, mio cancels
/// what it has asked the system, in one poll, to ask it something else in the next.
const IN_VAIN: usize = if cfg!(any(windows, mio_unsupported_force_poll_poll)) { 1 } else { 0 };

/// One turn, which does not sleep; on Windows, another one if it finds nothing.
#[track_caller]
pub fn turn_now(reactor: &mut Reactor) -> Report {
    let before = (reactor.event_stats(), reactor.queue().tally());
    let mut report = reactor.turn(Some(Duration::ZERO)).unwrap();
    let passed = report.dialed + report.refused + report.canceled;
    let after = (reactor.event_stats(), reactor.queue().tally());
    if cfg!(windows) && passed == 0 && before == after {
        report = reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    check(reactor);
    report
}

/// Turns for as long as there is something to do at once.
#[track_caller]
pub fn turn_until_idle(reactor: &mut Reactor) {
    const TURNS: usize = 10_000;
    for _ in 0..TURNS {
        if reactor.poll_timeout() != Some(Duration::ZERO) {
            return;
        }
        let _ = turn_now(reactor);
    }
    panic!("not idle after {TURNS} turns");
}

/// Reads until it would block, as mio requires: only then does its `poll` report the next arrival.
#[track_caller]
pub fn drain(source: &mut impl Read) -> Vec<u8> {
    let mut read = Vec::new();
    let error = source.read_to_end(&mut read).expect_err("it has no end");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    read
}

/// Turns until `over`. A turn in which nothing happens is a failure, but for those `IN_VAIN`.
#[track_caller]
pub fn turn_until(reactor: &mut Reactor, mut over: impl FnMut() -> bool) {
    for _ in 0..TURNS {
        if over() {
            return;
        }
        let before = (reactor.event_stats(), reactor.queue().tally());
        for _ in 0..=IN_VAIN {
            let _ = reactor.turn(Some(PATIENCE)).unwrap();
            check(reactor);
            if before != (reactor.event_stats(), reactor.queue().tally()) {
                break;
            }
        }
        let after = (reactor.event_stats(), reactor.queue().tally());
        assert_ne!(before, after, "waited {PATIENCE:?} for nothing");
    }
    panic!("not over after {TURNS} turns");
}

/// Registers `source` for reading. Each readiness call logs `name`; nothing is read.
#[track_caller]
pub fn watch<S: Source>(
    reactor: &Reactor,
    recipient: &Address<()>,
    source: S,
    name: usize,
    log: &Log<usize>,
) -> Registration<S> {
    let log = log.clone();
    let handle = reactor.handle();
    handle.register(source, Interest::READABLE, recipient, move |(), _, _| log.push(name)).unwrap()
}

/// What happened, in order. Clones share it.
#[derive(Debug)]
pub struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Log<T> {
    pub fn new() -> Self {
        Self(Rc::default())
    }

    pub fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    /// Takes what was logged since the last time.
    pub fn take(&self) -> Vec<T> {
        self.0.take()
    }

    /// The first entry.
    #[track_caller]
    pub fn first(&self) -> T
    where
        T: Copy,
    {
        self.0.borrow()[0]
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// Makes a type a source of mio by the one in a field. `$before` runs before each request, with its name,
/// and may fail it.
#[macro_export]
macro_rules! source_by {
    ($type:ty, $field:tt) => {
        $crate::source_by!($type, $field, |_: &Self, _| Ok(()));
    };
    ($type:ty, $field:tt, $before:expr) => {
        impl ::mio::event::Source for $type {
            fn register(
                &mut self,
                registry: &::mio::Registry,
                token: ::mio::Token,
                interest: ::mio::Interest,
            ) -> ::std::io::Result<()> {
                let before: fn(&Self, &'static str) -> ::std::io::Result<()> = $before;
                before(self, "register")?;
                ::mio::event::Source::register(&mut self.$field, registry, token, interest)
            }

            fn reregister(
                &mut self,
                registry: &::mio::Registry,
                token: ::mio::Token,
                interest: ::mio::Interest,
            ) -> ::std::io::Result<()> {
                let before: fn(&Self, &'static str) -> ::std::io::Result<()> = $before;
                before(self, "reregister")?;
                ::mio::event::Source::reregister(&mut self.$field, registry, token, interest)
            }

            fn deregister(&mut self, registry: &::mio::Registry) -> ::std::io::Result<()> {
                let before: fn(&Self, &'static str) -> ::std::io::Result<()> = $before;
                before(self, "deregister")?;
                ::mio::event::Source::deregister(&mut self.$field, registry)
            }
        }
    };
}
