//! What a reactor's thread and the others share: the only code of the crate that several threads
//! run at a time. It needs nothing but `sync`, so the checks of `tests/threads` compile it as it
//! is against primitives that try every interleaving.
//!
//! - I1 `MAIL` is set exactly while there are entries, or the reactor was notified since it looked (by the last
//!   sender that left, say), but for moments in which the lock is held.
//! - I2 `ASLEEP` is set by the reactor alone, before it may sleep, and cleared by whoever wakes it or by
//!   the reactor. Both flags are in one word, and whoever sets one of them sees whether the other is set:
//!   so the reactor finds the mail and does not sleep, or the sender finds it asleep and wakes it. A
//!   reactor that is awake is never woken.
//! - I3 Nothing enters once `CLOSED` is set.
//! - I4 A sender is counted until all that it has sent is in.
//! - I5 What was written before a flag was raised is seen by whoever lowers it.

use std::io;
use std::mem;
use std::vec::Vec;

use super::sync::{AtomicBool, AtomicU8, AtomicUsize, Mutex, MutexGuard, Ordering, lock};

/// There is something to look at.
const MAIL: u8 = 1;
/// The reactor may sleep, and has not been woken.
const ASLEEP: u8 = 1 << 1;

/// Nothing more is taken.
const CLOSED: u8 = 1;
/// Entries are to bear where they come from.
const TRACED: u8 = 1 << 1;

/// Where entries of other threads wait for the reactor.
pub(super) struct Inbox<E> {
    state: Mutex<InboxState<E>>,
    /// `MAIL` and `ASLEEP`. Neither: the reactor is awake. Mail only: it is awake, or has been woken.
    signal: AtomicU8,
    senders: AtomicUsize,
}

struct InboxState<E> {
    entries: Vec<E>,
    /// Zero as usual, `CLOSED`, `TRACED`.
    flags: u8,
}

/// Why an entry was not taken.
#[derive(Debug)]
pub(super) enum Rejection {
    /// The reactor is gone.
    Closed,
    /// The reactor cannot be woken.
    NotWoken(io::Error),
}

/// What senders do, on any thread.
impl<E> Inbox<E> {
    /// Makes the inbox of a reactor that is awake.
    pub(super) fn new() -> Self {
        let state = InboxState { entries: Vec::new(), flags: 0 };
        Self { state: Mutex::new(state), signal: AtomicU8::new(0), senders: AtomicUsize::new(0) }
    }

    /// Puts an entry in, which `enter` makes of `value` and of whether it is to bear where it comes from,
    /// and wakes the reactor if it is asleep.
    #[inline]
    pub(super) fn send<V>(
        &self,
        value: V,
        enter: impl FnOnce(V, bool) -> E,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), (V, Rejection)> {
        let state = self.lock();
        if state.flags == 0 {
            self.put(state, value, |value| enter(value, false), wake)
        } else {
            self.send_slow(state, value, enter, wake)
        }
    }

    #[cold]
    #[inline(never)]
    fn send_slow<V>(
        &self,
        state: MutexGuard<'_, InboxState<E>>,
        value: V,
        enter: impl FnOnce(V, bool) -> E,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), (V, Rejection)> {
        if state.flags & CLOSED != 0 {
            return Err((value, Rejection::Closed));
        }
        self.put(state, value, |value| enter(value, true), wake)
    }

    #[inline(always)]
    fn put<V>(
        &self,
        mut state: MutexGuard<'_, InboxState<E>>,
        value: V,
        enter: impl FnOnce(V) -> E,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), (V, Rejection)> {
        // Else the reactor has not looked since the first of them entered, so it does not sleep (I2).
        if state.entries.is_empty()
            && let Err(error) = self.signal(wake)
        {
            return Err((value, Rejection::NotWoken(error)));
        }
        state.entries.push(enter(value));
        Ok(())
    }

    /// Counts a sender more.
    pub(super) fn join(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a sender less. If it was the last, the reactor is to look, and is woken if it is asleep.
    pub(super) fn leave(&self, wake: impl FnOnce() -> io::Result<()>) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A reactor that cannot be woken sees it at its next event.
            let _ = self.notify(wake);
        }
    }

    /// Has the reactor look, and wakes it if it is asleep.
    pub(super) fn notify(&self, wake: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let state = self.lock();
        if state.flags & CLOSED != 0 { Ok(()) } else { self.signal(wake) }
    }

    /// Sets `MAIL`, with the lock held, and wakes the reactor if it is asleep.
    fn signal(&self, wake: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let before = self.signal.swap(MAIL, Ordering::AcqRel);
        let woken = if before & ASLEEP == 0 { Ok(()) } else { wake() };
        if woken.is_err() {
            // A reactor that is awake by now is woken once too often.
            self.signal.swap(before, Ordering::AcqRel);
        }
        woken
    }
}

/// What the reactor does, on its thread.
impl<E> Inbox<E> {
    /// Has the reactor woken by what comes from now on. False if something has come before: then it must
    /// not sleep.
    pub(super) fn fall_asleep(&self) -> bool {
        self.signal.fetch_or(ASLEEP, Ordering::AcqRel) & MAIL == 0
    }

    /// The reactor is awake: it looks at the inbox before it sleeps again.
    pub(super) fn wake_up(&self) {
        self.signal.fetch_and(!ASLEEP, Ordering::AcqRel);
    }

    /// Whether there may be something to take.
    pub(super) fn has_mail(&self) -> bool {
        self.signal.load(Ordering::Acquire) & MAIL != 0
    }

    /// Takes all entries, in exchange for an empty vector. The reactor is awake.
    pub(super) fn take(&self, empty: &mut Vec<E>) {
        if self.has_mail() {
            let mut state = self.lock();
            mem::swap(&mut state.entries, empty);
            self.signal.swap(0, Ordering::AcqRel);
        }
    }

    /// Takes all entries, and no more from now on.
    pub(super) fn close(&self) -> Vec<E> {
        let mut state = self.lock();
        state.flags |= CLOSED;
        self.signal.swap(0, Ordering::AcqRel);
        mem::take(&mut state.entries)
    }

    /// Has entries bear where they come from, from now on or no more.
    pub(super) fn set_traced(&self, traced: bool) {
        let mut state = self.lock();
        state.flags = if traced { state.flags | TRACED } else { state.flags & !TRACED };
    }

    /// Counts a sender less, which the reactor has just seen to.
    pub(super) fn leave_on_arrival(&self) {
        self.senders.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether anybody may send. If not, [`has_mail`](Self::has_mail) covers all that was sent.
    pub(super) fn has_senders(&self) -> bool {
        self.senders.load(Ordering::Acquire) > 0
    }

    #[inline]
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
