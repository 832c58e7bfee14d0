//! Connections to origins: how many there are, and those that wait for another request.
//!
//! - P1 A connection counts as long as its lease lives, in use or idle.
//! - P2 An idle connection has nothing to read and nothing to write. One that its origin closes, or on which
//!   it speaks unasked, goes at once.
//! - P3 The limits hold at any moment: a new connection may take the place of the idle one that has waited
//!   longest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use switchboard::Recipient;
use switchboard::reactor::{Interval, Missed, ReactorHandle};
use switchboard::streams::{Stream, StreamStatus};

use super::connect::Destination;

/// How long a connection may be idle: less than most origins wait.
const IDLE: Duration = Duration::from_secs(4);

/// A connection to an origin.
pub(crate) struct Upstream {
    pub(crate) stream: Stream<TcpStream>,
    pub(crate) to: Destination,
    /// It has carried a request before.
    pub(crate) is_reused: bool,
    pub(crate) _lease: Lease,
}

/// The right to one connection (P1).
pub(crate) type Lease = Rc<()>;

pub(crate) struct Pool {
    reactor: ReactorHandle,
    lease: Lease,
    idle: Rc<Idle>,
    keeper: Recipient<Rc<Idle>>,
    _sweeps: Interval,
    most: usize,
    most_idle: usize,
}

/// The idle connections, by destination and number, which grows, with the time since when they wait.
#[derive(Default)]
struct Idle {
    waiting: RefCell<BTreeMap<(Destination, u64), (Upstream, Instant)>>,
    next: Cell<u64>,
}

impl Pool {
    pub(crate) fn new(reactor: &ReactorHandle, most: usize, most_idle: usize) -> Self {
        let idle = Rc::<Idle>::default();
        let keeper = reactor.queue().recipient(Rc::clone(&idle));
        let handle = reactor.clone();
        let sweeps =
            reactor.every(IDLE / 4, Missed::Skip, &keeper, move |idle: &mut Rc<Idle>, _| {
                let is_fresh = |since: &Instant| handle.turn_time().duration_since(*since) < IDLE;
                idle.waiting.borrow_mut().retain(|_, (_, since)| is_fresh(since));
            });
        sweeps.unref();
        let (reactor, lease) = (reactor.clone(), Lease::default());
        Self { reactor, lease, idle, keeper, _sweeps: sweeps, most, most_idle }
    }

    /// The right to one more connection, unless all are in use (P3).
    pub(crate) fn lease(&self) -> Option<Lease> {
        if self.open() >= self.most {
            self.idle.remove_oldest()?;
        }
        Some(Rc::clone(&self.lease))
    }

    /// Takes the idle connection that was used last, if it is still fit for a request (P2); it is to be redirected.
    pub(crate) fn take(&self, to: &Destination) -> Option<Upstream> {
        let mut waiting = self.idle.waiting.borrow_mut();
        let last = waiting.range((to.clone(), 0)..=(to.clone(), u64::MAX)).next_back()?.0.clone();
        let (upstream, _) = waiting.remove(&last)?;
        // (What was reported in the same batch as the request may not have been looked at.)
        let stream = &upstream.stream;
        let has_spoken = stream.registration().readiness().is_readable()
            && !stream
                .source()
                .peek(&mut [0])
                .is_err_and(|why| why.kind() == ErrorKind::WouldBlock);
        Some(upstream).filter(|_| !has_spoken)
    }

    /// Keeps a connection for another request, if it is fit for one (P2).
    pub(crate) fn put(&self, mut upstream: Upstream) {
        let stream = &mut upstream.stream;
        let is_clean = stream.settle() == StreamStatus::Open
            && stream.input().is_empty()
            && !stream.input().has_ended()
            && stream.output().is_empty();
        if !is_clean || self.most_idle == 0 {
            return;
        }
        if self.idle() >= self.most_idle {
            let _ = self.idle.remove_oldest();
        }
        let key = (upstream.to.clone(), self.idle.next.replace(self.idle.next.get() + 1));
        let own = key.clone();
        let redirected =
            stream.redirect(&self.keeper, move |idle: &mut Rc<Idle>, _| idle.look_at(&own));
        if redirected.is_ok() {
            upstream.is_reused = true;
            let waiting = (upstream, self.reactor.turn_time());
            self.idle.waiting.borrow_mut().insert(key, waiting);
        }
    }

    pub(crate) fn clear(&self) {
        drop(self.idle.waiting.take());
    }

    /// How many connections there are, and how many of them are idle.
    pub(crate) fn open(&self) -> usize {
        Rc::strong_count(&self.lease) - 1
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.waiting.borrow().len()
    }
}

impl Idle {
    /// The origin has closed an idle connection, or sent something: it goes (P2).
    fn look_at(&self, key: &(Destination, u64)) {
        let mut waiting = self.waiting.borrow_mut();
        let stream = waiting.get_mut(key).map(|(upstream, _)| &mut upstream.stream);
        if stream.is_some_and(|stream| stream.fill() || stream.settle().is_over()) {
            waiting.remove(key);
        }
    }

    /// Drops the idle connection that has waited longest.
    fn remove_oldest(&self) -> Option<()> {
        let mut waiting = self.waiting.borrow_mut();
        let oldest = waiting.keys().min_by_key(|(_, number)| *number)?.clone();
        waiting.remove(&oldest).map(drop)
    }
}
