//! The state that a reactor's thread and the others share: the only code of the crate that several
//! threads run at a time. It needs nothing but `sync`, so the checks of `tests/threads` compile it as
//! it is against primitives that try every interleaving.
//!
//! - I1 `MAIL` is set exactly while there are entries, or the reactor was notified since it looked (as
//!   by the last sender that left), but for moments in which the lock is held.
//! - I2 `ASLEEP` is set by the reactor alone, before it may sleep, and cleared by the thread that wakes
//!   it or by the reactor. Both flags are in one word, and a thread that sets one of them sees whether
//!   the other is set: so the reactor finds the mail and does not sleep, or the sender finds it asleep
//!   and wakes it. A reactor that is awake is never woken.
//! - I3 Nothing enters once `CLOSED` is set.
//! - I4 A sender is counted until all that it has sent is in.
//! - I5 What was written before a flag was raised is seen by the thread that lowers it.
//! - I6 The reactor is woken with no lock held that it takes: it would run into that lock at once. Senders
//!   exclude each other by another lock, so that none relies on a wake-up that fails.

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
/// Entries are marked with the thread that sends them.
const TRACED: u8 = 1 << 1;

/// Where entries of other threads wait for the reactor.
pub(super) struct Inbox<E> {
    state: Mutex<InboxState<E>>,
    /// Locked by a sender until the reactor is woken (I6).
    sending: Mutex<()>,
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
    /// It is to be marked with the thread that sends it.
    Traced,
    /// The reactor cannot be woken.
    NotWoken(io::Error),
}

/// What senders do, on any thread.
impl<E> Inbox<E> {
    /// Makes the inbox of a reactor that is awake.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(InboxState { entries: Vec::new(), flags: 0 }),
            sending: Mutex::new(()),
            signal: AtomicU8::new(0),
            senders: AtomicUsize::new(0),
        }
    }

    /// Puts an entry in, and wakes the reactor if it is asleep.
    #[inline]
    pub(super) fn send(
        &self,
        entry: E,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), (E, Rejection)> {
        self.send_unless::<{ CLOSED | TRACED }>(entry, wake)
    }

    /// As [`send`](Self::send), of an entry that is marked.
    #[cold]
    pub(super) fn send_traced(
        &self,
        entry: E,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), (E, Rejection)> {
        self.send_unless::<CLOSED>(entry, wake)
    }

    #[inline(always)]
    fn send_unless<const FLAGS: u8>(
        &self,
        entry: E,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), (E, Rejection)> {
        let _sending = lock(&self.sending);
        let mut state = self.lock();
        if state.flags & FLAGS != 0 {
            let is_closed = state.flags & CLOSED != 0;
            return Err((entry, if is_closed { Rejection::Closed } else { Rejection::Traced }));
        }
        state.entries.push(entry);
        // Else the reactor has not looked since the first of them entered, so it does not sleep (I2).
        if state.entries.len() == 1
            && let Err(error) = self.signal(state, wake)
            // Else the reactor has taken it all the same.
            && let Some(entry) = self.lock().entries.pop()
        {
            return Err((entry, Rejection::NotWoken(error)));
        }
        Ok(())
    }

    /// Counts a sender more.
    pub(super) fn join(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a sender less. If it was the last, the reactor must check, and is woken if it is asleep.
    pub(super) fn leave(&self, wake: impl FnOnce() -> io::Result<()>) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A reactor that cannot be woken sees it at its next event.
            let _ = self.notify(wake);
        }
    }

    /// Has the reactor look, and wakes it if it is asleep.
    pub(super) fn notify(&self, wake: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let _sending = lock(&self.sending);
        let state = self.lock();
        if state.flags & CLOSED != 0 { Ok(()) } else { self.signal(state, wake) }
    }

    /// Sets `MAIL`, unlocks, and wakes the reactor if it is asleep (I6).
    fn signal(
        &self,
        state: MutexGuard<'_, InboxState<E>>,
        wake: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let before = self.signal.swap(MAIL, Ordering::AcqRel);
        drop(state);
        if before & ASLEEP == 0 {
            return Ok(());
        }
        wake().inspect_err(|_| {
            let _state = self.lock();
            // Still set unless the reactor has looked meanwhile. If it is awake by now, it is woken once too often.
            if self.has_mail() {
                self.signal.swap(before, Ordering::AcqRel);
            }
        })
    }
}

/// What the reactor does, on its thread.
impl<E> Inbox<E> {
    /// Lets entries from now on wake the reactor. Returns false if there are entries already: then it
    /// must not sleep.
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

    /// Has entries traced, from now on or no more.
    pub(super) fn set_traced(&self, traced: bool) {
        let mut state = self.lock();
        state.flags = if traced { state.flags | TRACED } else { state.flags & !TRACED };
    }

    /// Counts a sender less, which the reactor has just seen to.
    pub(super) fn leave_on_arrival(&self) {
        self.senders.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether any sender is left. If not, [`has_mail`](Self::has_mail) covers all that was sent.
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

    /// Counts one more; false if the limit is reached.
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

    /// Lowers the flag. (It is read too, as only that makes the writes of other threads visible: I5.)
    pub(super) fn lower(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
