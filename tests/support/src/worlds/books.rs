//! What must hold after every step, and the books that it is checked against: kept by an observer,
//! by the captured values, and by those who act, never by the library.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use switchboard::{CallId, Refusal, Step, Tally};

use crate::echo::Echo;
use crate::story::Verdict;

/// How far a call is that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Created,
    Pending,
    Live,
}

/// The calls of the queue, as the observer sees them (laws L1, L2 and L5).
#[derive(Default)]
pub struct Calls {
    pub verdict: Verdict,
    lives: RefCell<HashMap<CallId, Life>>,
    /// In the order in which they were scheduled; those that are not pending any more are passed
    /// over.
    line: RefCell<VecDeque<CallId>>,
    /// How many calls were scheduled before each.
    places: RefCell<HashMap<CallId, u64>>,
    /// Deferred calls, with the call that each waits for: the live one, or the one deferred before.
    blocked: RefCell<Vec<(CallId, CallId)>>,
    /// Deferred calls that wait no more, by place.
    ready: RefCell<BTreeMap<u64, CallId>>,
    deferred: Cell<u64>,
    created: Cell<u64>,
    attempts: Cell<u64>,
    pub timers: Timers,
}

impl Calls {
    /// Attempts to dial so far.
    pub fn attempts(&self) -> u64 {
        self.attempts.get()
    }

    /// Calls deferred so far.
    pub fn deferred(&self) -> u64 {
        self.deferred.get()
    }

    pub fn observe(&self, call: CallId, step: &Step, now: Instant) {
        match step {
            Step::Created { .. } => {
                self.created.set(self.created.get() + 1);
                self.change(call, step, &[None], Some(Life::Created));
            }
            Step::Scheduled { .. } => {
                self.change(call, step, &[Some(Life::Created)], Some(Life::Pending));
                self.line.borrow_mut().push_back(call);
                let mut places = self.places.borrow_mut();
                let place = places.len() as u64;
                places.insert(call, place);
                self.timers.scheduled(call, now, &self.verdict);
            }
            Step::Dialed => {
                self.attempt(call);
                self.change(call, step, &[Some(Life::Pending)], Some(Life::Live));
            }
            Step::Deferred { live, .. } => {
                self.attempt(call);
                self.change(call, step, &[Some(Life::Pending)], Some(Life::Pending));
                self.deferred.set(self.deferred.get() + 1);
                self.blocked.borrow_mut().push((call, *live));
            }
            Step::Refused { refusal, .. } => {
                // The ids of callbacks say that they are.
                let promised = call.to_string().starts_with("#c");
                let holds = !promised || !matches!(refusal, Refusal::Live { .. });
                self.verdict.check("R2", holds, || format!("{call} is a promise: {step}"));
                // A call whose recipient is gone need not wait any more.
                if !self.attempt_if_gone(call, *refusal) {
                    self.attempt(call);
                }
                self.change(call, step, &[Some(Life::Pending)], None);
                self.unblock(call);
            }
            Step::Finished | Step::Panicked => {
                self.change(call, step, &[Some(Life::Live)], None);
                self.unblock(call);
            }
            Step::Canceled { .. } => {
                self.change(call, step, &[Some(Life::Created), Some(Life::Pending)], None);
                self.timers.canceled(call);
                self.unblock(call);
            }
            Step::Abandoned { .. } => self.change(call, step, &[Some(Life::Created)], None),
            _ => {}
        }
    }

    fn change(&self, call: CallId, step: &Step, from: &[Option<Life>], to: Option<Life>) {
        let mut lives = self.lives.borrow_mut();
        let before = match to {
            Some(life) => lives.insert(call, life),
            None => lives.remove(&call),
        };
        self.verdict
            .check("L1", from.contains(&before), || format!("{call} was {before:?}: {step}"));
    }

    /// Of the deferred calls that waited for the end of `over`, the first is ready, and the others wait
    /// for that one.
    fn unblock(&self, over: CallId) {
        let (places, lives) = (self.places.borrow(), self.lives.borrow());
        let mut blocked = self.blocked.borrow_mut();
        let (waiting, others): (Vec<_>, Vec<_>) =
            blocked.iter().copied().partition(|(_, awaited)| *awaited == over);
        *blocked = others;
        let is_pending = |call: &CallId| lives.get(call) == Some(&Life::Pending);
        let mut waiting: Vec<_> =
            waiting.into_iter().map(|(call, _)| call).filter(is_pending).collect();
        waiting.sort_unstable_by_key(|call| places[call]);
        if let Some((first, rest)) = waiting.split_first() {
            self.ready.borrow_mut().insert(places[first], *first);
            blocked.extend(rest.iter().map(|call| (*call, *first)));
        }
    }

    /// Whether the call waited, and its recipient is gone, so that it comes before its turn.
    fn attempt_if_gone(&self, call: CallId, refusal: Refusal) -> bool {
        let mut blocked = self.blocked.borrow_mut();
        let waited = blocked.iter().position(|(waits, _)| *waits == call);
        let Some(at) = waited.filter(|_| matches!(refusal, Refusal::Gone)) else { return false };
        blocked.swap_remove(at);
        self.attempts.set(self.attempts.get() + 1);
        true
    }

    /// The call whose turn has come is the first of those that are pending: of those that were deferred
    /// and are ready, if there are any (law L2).
    fn attempt(&self, call: CallId) {
        self.attempts.set(self.attempts.get() + 1);
        let lives = self.lives.borrow();
        let mut ready = self.ready.borrow_mut();
        while let Some((_, first)) = ready.pop_first() {
            if lives.get(&first) == Some(&Life::Pending) {
                self.verdict.equal("L2", "the deferred call dialed", call, first);
                return;
            }
        }
        let mut line = self.line.borrow_mut();
        while let Some(first) = line.pop_front() {
            if lives.get(&first) == Some(&Life::Pending) {
                self.verdict.equal("L2", "the call dialed", call, first);
                return;
            }
        }
        self.verdict.check("L2", false, || format!("{call} is dialed, and none was pending"));
    }

    pub fn check(&self, tally: &Tally, walked: u64) {
        let lives = self.lives.borrow();
        let waits = |(call, live): &(CallId, CallId)| {
            lives.get(call) == Some(&Life::Pending)
                && !matches!(lives.get(live), Some(Life::Live | Life::Pending))
        };
        let waits = self.blocked.borrow().iter().any(waits);
        self.verdict.check("L2", !waits, || "a call waits for one that is over".into());
        let count = |life| lives.values().filter(|is| **is == life).count() as u64;
        let counted = [count(Life::Created), count(Life::Pending), count(Life::Live)];
        let reported = [tally.unscheduled, tally.pending, tally.live];
        self.verdict.check("L1", tally.balances(), || tally.to_string());
        self.verdict.equal("L1", "unscheduled, pending, live", reported, counted);
        self.verdict.equal("L1", "pending, by walking the queue", walked, counted[1]);
        self.verdict.equal("L1", "created", tally.created, self.created.get());
    }
}

/// Timers (law L5).
#[derive(Default)]
pub struct Timers {
    /// By deadline, and by when they were armed.
    live: RefCell<BTreeMap<(Instant, u64), CallId>>,
    keys: RefCell<HashMap<CallId, (Instant, u64)>>,
    armed: Cell<u64>,
    fired: Cell<u64>,
    canceled: Cell<u64>,
}

impl Timers {
    pub fn arm(&self, call: CallId, deadline: Instant) {
        let key = (deadline, self.armed.get());
        self.armed.set(self.armed.get() + 1);
        self.live.borrow_mut().insert(key, call);
        self.keys.borrow_mut().insert(call, key);
    }

    fn scheduled(&self, call: CallId, now: Instant, verdict: &Verdict) {
        let Some(key) = self.keys.borrow_mut().remove(&call) else { return };
        let first = self.live.borrow().keys().next().copied();
        verdict.check("L5", first == Some(key), || format!("{call} fires out of order"));
        verdict.check("L5", key.0 <= now, || format!("{call} is {:?} early", key.0 - now));
        self.live.borrow_mut().remove(&key);
        self.fired.set(self.fired.get() + 1);
    }

    fn canceled(&self, call: CallId) {
        if let Some(key) = self.keys.borrow_mut().remove(&call) {
            self.live.borrow_mut().remove(&key);
            self.canceled.set(self.canceled.get() + 1);
        }
    }

    /// Those that are due at `now`.
    pub fn due(&self, now: Instant) -> Vec<CallId> {
        self.live.borrow().range(..=(now, u64::MAX)).map(|(_, call)| *call).collect()
    }

    pub fn is_live(&self, call: CallId) -> bool {
        self.keys.borrow().contains_key(&call)
    }

    /// `others` are armed by those who keep no books.
    pub fn check(&self, timers: usize, others: usize, verdict: &Verdict) {
        let live = self.live.borrow().len();
        let sum = self.fired.get() + self.canceled.get() + live as u64;
        verdict.equal("L5", "armed", self.armed.get(), sum);
        // One that was canceled by its id counts until it would be the next.
        let most = live + others + self.canceled.get() as usize;
        let holds = (live..=most).contains(&timers);
        verdict.check("L5", holds, || format!("{timers} timers, of which {live} are known"));
    }
}

/// Captured values: entered by a handler, or dropped, once (law L1).
#[derive(Default)]
pub struct Captures {
    /// `None` while neither; then whether it was entered.
    ends: RefCell<Vec<Option<bool>>>,
}

impl Captures {
    pub fn make(&self) -> usize {
        self.ends.borrow_mut().push(None);
        self.ends.borrow().len() - 1
    }

    pub fn end(&self, capture: usize, entered: bool, verdict: &Verdict) {
        let before = self.ends.borrow_mut()[capture].replace(entered);
        verdict.check("L1", before.is_none(), || format!("capture {capture} ends twice"));
    }

    pub fn held(&self) -> usize {
        self.ends.borrow().iter().filter(|end| end.is_none()).count()
    }

    /// Entered and dropped.
    pub fn counts(&self) -> [u64; 2] {
        let ends = self.ends.borrow();
        [true, false].map(|how| ends.iter().filter(|end| **end == Some(how)).count() as u64)
    }
}

/// What one sender has sent (law L6). What is sent may own nothing of the thread.
#[derive(Default)]
pub struct Sent {
    /// Accepted, or handed back.
    given: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    /// The next number that may be received.
    next: AtomicU64,
    disordered: AtomicU64,
}

impl Sent {
    fn receive(&self, number: u64) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let next = self.next.swap(number + 1, Ordering::Relaxed);
        self.disordered.fetch_add(u64::from(number < next), Ordering::Relaxed);
    }

    fn drop_unreceived(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// `over`: nothing is underway any more.
    pub fn check(&self, over: bool, verdict: &Verdict) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let given = read(&self.given);
        let ended = read(&self.received) + read(&self.dropped);
        let holds = if over { given == ended } else { given >= ended };
        verdict.check("L6", holds, || {
            format!("{given} sent or handed back, {ended} received or dropped")
        });
        verdict.equal("L6", "received out of order", read(&self.disordered), 0);
    }

    /// How many are neither received nor dropped.
    pub fn underway(&self) -> u64 {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        read(&self.given) - read(&self.received) - read(&self.dropped)
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// A value that is sent: received, or dropped, once.
pub struct Parcel {
    sent: Arc<Sent>,
    number: u64,
    received: bool,
}

impl Parcel {
    pub fn new(sent: &Arc<Sent>) -> Self {
        let number = sent.given.fetch_add(1, Ordering::Relaxed);
        Self { sent: Arc::clone(sent), number, received: false }
    }

    pub fn receive(&mut self) {
        self.received = true;
        self.sent.receive(self.number);
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if !self.received {
            self.sent.drop_unreceived();
        }
    }
}

/// How far serving a connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Served {
    Blocked,
    More,
    Over,
}

/// One connection, from both ends (laws L4, L7 and L8).
#[derive(Default)]
pub struct Flow {
    pub pushed: Cell<u64>,
    pub read: Cell<u64>,
    pub written: Cell<u64>,
    pub buffered: Cell<u64>,
    pub discarded: Cell<u64>,
    /// How often it was served for nothing.
    pub spurious: Cell<u64>,
    /// What the peer has received.
    pub arrived: Cell<u64>,
    /// Whether readiness was reported or asked for that no handler has seen.
    pub reported: Cell<bool>,
    /// The attempt to dial by which that is to be seen.
    pub due: Cell<Option<u64>>,
}

impl Flow {
    pub fn add(count: &Cell<u64>, more: usize) {
        count.set(count.get() + more as u64);
    }

    /// The byte at a place of a stream.
    const fn byte(place: u64) -> u8 {
        (place % 251) as u8
    }

    /// Whether `bytes` are those from `place` on.
    fn matches(place: u64, bytes: &[u8]) -> bool {
        (place..).zip(bytes).all(|(place, byte)| Self::byte(place) == *byte)
    }

    pub fn discard(&self) {
        self.discarded.set(self.discarded.get() + self.buffered.take());
    }

    /// What the peer sends next.
    pub fn next(&self, bytes: usize) -> Vec<u8> {
        (self.pushed.get()..).take(bytes).map(Self::byte).collect()
    }

    /// The peer has received `bytes`.
    pub fn receive(&self, bytes: &[u8], verdict: &Verdict) {
        let matches = Self::matches(self.arrived.get(), bytes);
        verdict.check("L7", matches, || "other bytes are written".into());
        Self::add(&self.arrived, bytes.len());
    }

    /// Reads once, and writes as much as may be.
    pub fn serve<S: Read + Write>(
        &self,
        echo: &mut Echo,
        source: &mut S,
        most: usize,
        verdict: &Verdict,
    ) -> Served {
        let served = match echo.read(&mut *source, most) {
            Ok(Some(0)) if echo.is_over() => return Served::Over,
            Ok(Some(0) | None) => Served::Blocked,
            Ok(Some(read)) => {
                let matches = Self::matches(self.read.get(), &echo.latest(read));
                verdict.check("L7", matches, || "other bytes are read".into());
                Self::add(&self.read, read);
                Self::add(&self.buffered, read);
                Served::More
            }
            Err(_) => return Served::Over,
        };
        if served == Served::Blocked && echo.waiting() == 0 {
            Self::add(&self.spurious, 1);
        }
        let before = echo.written();
        let result = echo.write(source);
        let written = echo.written() - before;
        Self::add(&self.written, written as usize);
        self.buffered.set(self.buffered.get() - written);
        if result.is_err() { Served::Over } else { served }
    }

    /// `unread`: how much waits to be read, if that is known, and all that is written has arrived.
    pub fn check(&self, unread: Option<usize>, verdict: &Verdict) {
        let (pushed, read, written) = (self.pushed.get(), self.read.get(), self.written.get());
        let sum = written + self.buffered.get() + self.discarded.get();
        verdict.equal("L7", "bytes read", read, sum);
        if let Some(unread) = unread {
            verdict.equal("L7", "bytes pushed", pushed, read + unread as u64);
            verdict.equal("L7", "bytes arrived", self.arrived.get(), written);
        }
        let holds = read <= pushed && self.arrived.get() <= written;
        verdict.check("L7", holds, || "bytes out of nothing".into());
    }
}
