//! Connections to origins: how many there are, and those that wait for another request.
//!
//! - P1 A connection counts as long as its [`Lease`] lives, in use or idle.
//! - P2 An idle connection has nothing to read and nothing to write. One that its origin closes, or on which
//!   it speaks unasked, goes at once.
//! - P3 The limits hold at any moment: a new connection may take the place of the idle one that has waited
//!   longest.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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
    _lease: Lease,
}

/// The right to one connection (P1).
pub(crate) struct Lease(Rc<Idle>);

pub(crate) struct Pool {
    reactor: ReactorHandle,
    idle: Rc<Idle>,
    keeper: Recipient<Rc<Idle>>,
    _sweeps: Interval,
    most: usize,
    most_idle: usize,
}

/// What the pool, its recipient and the leases share.
#[derive(Default)]
pub(crate) struct Idle {
    open: Cell<usize>,
    count: Cell<usize>,
    next: Cell<u64>,
    /// By destination, the one that has waited longest first.
    waiting: RefCell<HashMap<Destination, Vec<Waiting>>>,
}

struct Waiting {
    upstream: Upstream,
    number: u64,
    since: Instant,
}

impl Upstream {
    pub(crate) fn new(stream: Stream<TcpStream>, to: Destination, lease: Lease) -> Self {
        Self { stream, to, is_reused: false, _lease: lease }
    }
}

impl Pool {
    pub(crate) fn new(reactor: &ReactorHandle, most: usize, most_idle: usize) -> Self {
        let idle = Rc::<Idle>::default();
        let keeper = reactor.queue().recipient(Rc::clone(&idle));
        let sweeps = reactor.every(IDLE / 4, Missed::Skip, &keeper, {
            let reactor = reactor.clone();
            move |idle: &mut Rc<Idle>, _| idle.sweep(reactor.turn_time())
        });
        sweeps.unref();
        Self { reactor: reactor.clone(), idle, keeper, _sweeps: sweeps, most, most_idle }
    }

    /// The right to one more connection, unless all are in use (P3).
    pub(crate) fn lease(&self) -> Option<Lease> {
        if self.open() >= self.most {
            self.idle.remove_oldest()?;
        }
        self.idle.open.set(self.open() + 1);
        Some(Lease(Rc::clone(&self.idle)))
    }

    /// Takes the idle connection that was used last; it is to be redirected.
    pub(crate) fn take(&self, to: &Destination) -> Option<Upstream> {
        self.idle.take(to, |waiting| waiting.len() - 1)
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
        if self.idle.count.get() >= self.most_idle {
            self.idle.remove_oldest();
        }
        let number = self.idle.next.get();
        self.idle.next.set(number + 1);
        let to = upstream.to.clone();
        let redirected =
            stream.redirect(&self.keeper, move |idle: &mut Rc<Idle>, _| idle.look_at(&to, number));
        if redirected.is_ok() {
            upstream.is_reused = true;
            let waiting = Waiting { number, since: self.reactor.turn_time(), upstream };
            self.idle.count.set(self.idle() + 1);
            self.idle
                .waiting
                .borrow_mut()
                .entry(waiting.upstream.to.clone())
                .or_default()
                .push(waiting);
        }
    }

    pub(crate) fn clear(&self) {
        self.idle.count.set(0);
        drop(self.idle.waiting.take());
    }

    /// How many connections there are, and how many of them are idle.
    pub(crate) fn open(&self) -> usize {
        self.idle.open.get()
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.count.get()
    }
}

impl Idle {
    fn take(&self, to: &Destination, choose: impl FnOnce(&[Waiting]) -> usize) -> Option<Upstream> {
        let mut all = self.waiting.borrow_mut();
        let waiting = all.get_mut(to)?;
        let upstream = waiting.remove(choose(waiting)).upstream;
        if waiting.is_empty() {
            all.remove(to);
        }
        self.count.set(self.count.get() - 1);
        Some(upstream)
    }

    /// The origin has closed an idle connection, or sent something: it goes (P2).
    fn look_at(&self, to: &Destination, number: u64) {
        let mut all = self.waiting.borrow_mut();
        let found = all.get_mut(to).and_then(|waiting| {
            let at = waiting.binary_search_by_key(&number, |one| one.number).ok()?;
            let stream = &mut waiting[at].upstream.stream;
            (stream.fill() || stream.settle().is_over()).then_some(at)
        });
        drop(all);
        if let Some(at) = found {
            self.take(to, |_| at);
        }
    }

    /// Drops the idle connection that has waited longest.
    fn remove_oldest(&self) -> Option<()> {
        let all = self.waiting.borrow();
        let oldest = all.iter().min_by_key(|(_, waiting)| waiting[0].number)?.0.clone();
        drop(all);
        self.take(&oldest, |_| 0).map(drop)
    }

    /// Drops those that have waited too long.
    fn sweep(&self, now: Instant) {
        let mut gone = Vec::new();
        self.waiting.borrow_mut().retain(|_, waiting| {
            let stale =
                waiting.partition_point(|one| now.saturating_duration_since(one.since) >= IDLE);
            gone.extend(waiting.drain(..stale));
            !waiting.is_empty()
        });
        self.count.set(self.count.get() - gone.len());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}
