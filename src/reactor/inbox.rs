//! What a reactor's thread and the others share: the only code of the crate that several threads
//! run at a time. It needs nothing but `sync`, so the checks of `tests/threads` compile it as it
//! is against primitives that try every interleaving.
//!
//! - I1 `mail` is set exactly while `entries` is not empty, but for moments in which the lock is
//!   held.
//! - I2 Whoever sets `mail` wakes the reactor after that, and before the lock is given up. So a
//!   reactor that is awake, and then finds no mail, is woken by whatever comes later.
//! - I3 Nothing enters once `closed` is set.
//! - I4 A sender is counted until all that it has sent is in.
//! - I5 What was written before a flag was raised is seen by whoever lowers it.

use std::io;
use std::mem;
use std::vec::Vec;

use super::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering, lock};

/// Where entries of other threads wait for the reactor.
pub(super) struct Inbox<E> {
    state: Mutex<InboxState<E>>,
    mail: AtomicBool,
    senders: AtomicUsize,
}

struct InboxState<E> {
    entries: Vec<E>,
    closed: bool,
}

/// Why an entry was not taken.
#[derive(Debug)]
pub(super) enum Rejection {
    /// The reactor is gone.
    Closed,
    /// The reactor cannot be woken.
    NotWoken(io::Error),
}

impl<E> Inbox<E> {
    pub(super) fn new() -> Self {
        let state = InboxState { entries: Vec::new(), closed: false };
        Self {
            state: Mutex::new(state),
            mail: AtomicBool::new(false),
            senders: AtomicUsize::new(0),
        }
    }

    /// Puts an entry in, which `enter` makes of `value`, and wakes the reactor if it is the first.
    pub(super) fn send<V>(
        &self,
        value: V,
        enter: impl FnOnce(V) -> E,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), (V, Rejection)> {
        let mut state = self.lock();
        if state.closed {
            return Err((value, Rejection::Closed));
        }
        if state.entries.is_empty() {
            self.mail.store(true, Ordering::Release);
            if let Err(error) = wake() {
                self.mail.store(false, Ordering::Release);
                return Err((value, Rejection::NotWoken(error)));
            }
        }
        state.entries.push(enter(value));
        Ok(())
    }

    /// Whether there may be something to take.
    pub(super) fn has_mail(&self) -> bool {
        self.mail.load(Ordering::Acquire)
    }

    /// Takes all entries, in exchange for an empty vector.
    pub(super) fn take(&self, empty: &mut Vec<E>) {
        if self.has_mail() {
            let mut state = self.lock();
            mem::swap(&mut state.entries, empty);
            self.mail.store(false, Ordering::Release);
        }
    }

    /// Takes all entries, and no more from now on.
    pub(super) fn close(&self) -> Vec<E> {
        let mut state = self.lock();
        state.closed = true;
        self.mail.store(false, Ordering::Release);
        mem::take(&mut state.entries)
    }

    /// Counts a sender more.
    pub(super) fn join(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a sender less, and wakes the reactor if it was the last.
    pub(super) fn leave(&self, wake: impl FnOnce()) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            wake();
        }
    }

    /// Whether anybody may send. If not, [`has_mail`](Self::has_mail) covers all that was sent.
    pub(super) fn has_senders(&self) -> bool {
        self.senders.load(Ordering::Acquire) > 0
    }

    fn lock(&self) -> MutexGuard<'_, InboxState<E>> {
        lock(&self.state)
    }
}

/// How many entries may be underway, of those that count.
pub(super) struct Quota {
    capacity: usize,
    underway: AtomicUsize,
}

impl Quota {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, underway: AtomicUsize::new(0) }
    }

    /// Counts one more; false if there are as many as may be.
    pub(super) fn enter(&self) -> bool {
        let more = |underway| (underway < self.capacity).then(|| underway + 1);
        self.underway.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn leave(&self) {
        self.underway.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A flag that many threads raise, and one lowers.
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Raises the flag; true if it was down.
    pub(super) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Lowers the flag. (It is read too, as only that lets the writes of others be seen: I5.)
    pub(super) fn lower(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
