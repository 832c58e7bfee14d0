//! A reactor without a poll of its own, and what every reactor does in a turn.

use core::cell::Cell;
use core::fmt;
use core::ops::Deref;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::{Events, Registry, Waker};

use crate::outcome::Report;
use crate::queue::turn::Turn;
use crate::queue::{Budget, CallQueue};
use crate::reactor::error::CreateError;
use crate::reactor::remote::remotes::Awake;
use crate::reactor::shared::{ReactorHandle, Shared};
use crate::reactor::timers::{DeclineAll, Timers};
use crate::unwind::{RunOnDrop, drop_all, in_drop};

/// A reactor inside a mio loop of the host: the host polls, and hands in the events.
///
/// Everything that can be asked of it is on its [`ReactorHandle`], to which this derefs. Dropping
/// it does what dropping a [`Reactor`](crate::reactor::Reactor) does.
///
/// The host's own tokens must be less than 2<sup>63</sup>; the others are the guest's. A poll has
/// one [`Waker`] at most, which the host makes and shares. Guests can share a poll, too: each is given
/// all events, and counts those of the others as stale.
///
/// # Examples
///
/// ```
/// use std::io::ErrorKind;
/// use std::sync::Arc;
///
/// use mio::{Events, Poll, Token, Waker};
/// use switchboard::reactor::Guest;
///
/// const WAKE: Token = Token(0);
///
/// let mut poll = Poll::new()?;
/// let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
/// let mut guest = Guest::new(poll.registry(), waker)?;
///
/// let remote = guest.remote();
/// std::thread::spawn(move || remote.call(|reactor| reactor.stop()));
///
/// let mut events = Events::with_capacity(1024);
/// while guest.should_run() {
///     match poll.poll(&mut events, guest.poll_timeout()) {
///         Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(), // a signal
///         result => result?,
///     }
///     // The host serves its own tokens here.
///     guest.turn(&events);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Guest {
    // Fields drop in this order: calls first, then registrations.
    queue: CallQueue,
    ends: EndsOnDrop,
}

impl Guest {
    /// Creates a reactor with a queue of its own, for the loop around the poll of `registry`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if the registry cannot be cloned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mio::{Poll, Token, Waker};
    /// use switchboard::reactor::Guest;
    ///
    /// let poll = Poll::new()?; // the host's
    /// let waker = Arc::new(Waker::new(poll.registry(), Token(0))?); // the only one of the poll
    /// let guest = Guest::new(poll.registry(), waker)?;
    /// assert!(!guest.should_run()); // there is nothing to do yet
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(registry: &Registry, waker: Arc<Waker>) -> io::Result<Self> {
        Self::with_queue(CallQueue::new(), registry, waker).map_err(|error| error.source)
    }

    /// Creates a reactor that dials `queue`. Otherwise as [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// Returns the queue in the error if the registry cannot be cloned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mio::{Poll, Token, Waker};
    /// use switchboard::CallQueue;
    /// use switchboard::reactor::Guest;
    ///
    /// let poll = Poll::new()?;
    /// let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    /// let queue = CallQueue::bounded(100_000);
    /// let guest = Guest::with_queue(queue, poll.registry(), waker)?;
    /// assert!(guest.queue().is_idle());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_queue(
        queue: CallQueue,
        registry: &Registry,
        waker: Arc<Waker>,
    ) -> Result<Self, CreateError> {
        Self::on(registry, true, queue, waker)
    }

    /// Makes a reactor for a poll that it shares, or that is its own.
    pub(super) fn on(
        registry: &Registry,
        shares_poll: bool,
        queue: CallQueue,
        waker: Arc<Waker>,
    ) -> Result<Self, CreateError> {
        match registry.try_clone() {
            Ok(registry) => {
                let shared = Shared::new(registry, shares_poll, waker, queue.handle());
                if shares_poll {
                    shared.remotes.set_host_sleeps();
                }
                Ok(Self { queue, ends: EndsOnDrop { handle: ReactorHandle::new(shared) } })
            }
            Err(source) => Err(CreateError { source, queue }),
        }
    }

    /// Returns a handle, to keep in a recipient.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use mio::{Poll, Token, Waker};
    /// # use switchboard::reactor::{Guest, ReactorHandle};
    /// # let poll = Poll::new()?;
    /// # let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    /// # let guest = Guest::new(poll.registry(), waker)?;
    /// struct Session { reactor: ReactorHandle }
    ///
    /// let session = guest.queue().recipient(Session { reactor: guest.handle() });
    /// session.call(|session, _| session.reactor.stop());
    /// # guest.queue().dial_all();
    /// assert!(!guest.should_run());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handle(&self) -> ReactorHandle {
        self.ends.handle.clone()
    }

    /// Schedules a call for each of the poll's events, for each timer that is due and for each call
    /// from another thread, dials within the budget, and returns a report.
    ///
    /// Call this after each poll, with all of its events. Events with tokens of the host are skipped;
    /// the host may handle them before or after. (To narrow an interest before that has no effect on
    /// the events of this poll.)
    ///
    /// A host that polls on another thread passes a batch without room (`Events::with_capacity(0)`) for a
    /// turn without a poll.
    ///
    /// # Panics
    ///
    /// If a handler panics. The calls that were not dialed are still pending.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use mio::{Events, Poll, Token, Waker};
    /// # use switchboard::reactor::Guest;
    /// # let mut poll = Poll::new()?;
    /// # let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    /// # let mut guest = Guest::new(poll.registry(), waker)?;
    /// let mut events = Events::with_capacity(1024);
    /// guest.queue().call(|_| ());
    /// poll.poll(&mut events, guest.poll_timeout())?; // does not sleep: a call is pending
    /// let report = guest.turn(&events);
    /// assert_eq!(report.dialed, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn turn(&mut self, events: &Events) -> Report {
        self.run_turn(|shared| shared.note(events), |_| None)
    }

    /// As [`turn`](Self::turn), and dials for as long as `limit`, by the reactor's clock. The limit is
    /// checked after each call, so at least one call is dialed, and none is interrupted.
    ///
    /// # Panics
    ///
    /// As [`turn`](Self::turn).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use mio::{Events, Poll, Token, Waker};
    /// # use switchboard::reactor::Guest;
    /// # let mut poll = Poll::new()?;
    /// # let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    /// # let mut guest = Guest::new(poll.registry(), waker)?;
    /// let mut events = Events::with_capacity(1024);
    /// guest.queue().call(|_| ());
    /// poll.poll(&mut events, Some(Duration::ZERO))?;
    /// let report = guest.turn_within(&events, Duration::from_millis(2)); // the rest of a frame
    /// assert_eq!(report.dialed, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn_within(&mut self, events: &Events, limit: Duration) -> Report {
        let end = |timers: &Timers| timers.now().checked_add(limit);
        self.run_turn(|shared| shared.note(events), end)
    }

    /// As [`turn`](Self::turn), until `end` at most.
    pub(super) fn turn_until(&mut self, events: &Events, end: Option<Instant>) -> Report {
        self.run_turn(|shared| shared.note(events), |_| end)
    }

    /// As [`turn`](Self::turn), with events that `note` notes, until what `end` returns at most, which may
    /// read the clock.
    #[inline]
    pub(super) fn run_turn(
        &mut self,
        note: impl FnOnce(&Shared),
        end: impl FnOnce(&Timers) -> Option<Instant>,
    ) -> Report {
        let shared = self.ends.handle.shared();
        let _in_progress = InProgress::new(shared);
        let limits = &shared.line.limits;
        limits.begin_turn(&self.queue);
        // What is scheduled before the dial is part of the turn too: no wake-up is needed for it. The events
        // are noted before observers are notified and the clock is read, which is code of a user (rule M1).
        let turn = self.queue.begin_turn(|| note(shared), || shared.begin_observation());
        let end = end(&shared.timers);
        let end = if limits.time().is_some() { self.sooner_end(end) } else { end };
        if shared.has_more_than_events() {
            self.enter_others();
        }
        let budget = Budget::calls(limits.calls());
        match end {
            None => turn.dial(budget, || limits.end()),
            Some(end) => self.dial_until(end, turn, budget),
        }
    }

    /// `end`, or that of the time budget of a turn that begins now, if that is sooner.
    #[cold]
    #[inline(never)]
    fn sooner_end(&self, end: Option<Instant>) -> Option<Instant> {
        let Shared { timers, line, .. } = self.ends.handle.shared();
        let own = line.limits.time().and_then(|time| timers.turn_time().checked_add(time));
        [end, own].into_iter().flatten().min()
    }

    /// Schedules all that enters a turn beside the events of its poll, once its handlers are judged.
    #[inline(never)]
    fn enter_others(&self) {
        let shared = self.ends.handle.shared();
        let share = || shared.line.limits.share(&self.queue);
        shared.judge_handlers();
        shared.schedule_ready();
        shared.timers.fire(&self.queue, share);
        shared.remotes.deliver(&self.ends.handle, share);
    }

    #[cold]
    #[inline(never)]
    fn dial_until(&self, end: Instant, turn: Turn<'_>, budget: Budget<'_>) -> Report {
        let Shared { timers, line, .. } = self.ends.handle.shared();
        // One call at least, or else there might never be time for any.
        let is_first = Cell::new(true);
        let spent = || !is_first.replace(false) && timers.now() >= end;
        turn.dial(budget.until(&spent), || line.limits.end())
    }

    /// Returns true if the loop should run on: something can still happen (a call is pending, a source
    /// registered, a timer armed, or a [`Remote`](crate::reactor::Remote), an address, waker or
    /// callback of another thread alive), and no [stop](ReactorHandle::stop) was requested. This
    /// changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use mio::{Events, Poll, Token, Waker};
    /// # use switchboard::reactor::Guest;
    /// # let mut poll = Poll::new()?;
    /// # let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    /// # let mut guest = Guest::new(poll.registry(), waker)?;
    /// let mut events = Events::with_capacity(1024);
    /// guest.queue().call(|_| ());
    /// while guest.should_run() {
    ///     poll.poll(&mut events, guest.poll_timeout())?;
    ///     guest.turn(&events);
    /// }
    /// assert!(guest.queue().is_idle());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn should_run(&self) -> bool {
        let shared = self.ends.handle.shared();
        !shared.is_stopped() && shared.can_go_on()
    }
}

impl Deref for Guest {
    type Target = ReactorHandle;

    fn deref(&self) -> &ReactorHandle {
        &self.ends.handle
    }
}

impl Drop for Guest {
    /// What other threads have sent ends with the queue's own calls (rule M8).
    fn drop(&mut self) {
        let handle = &self.ends.handle;
        in_drop(|| {
            // Even if an observer panics as the turn begins.
            let close = RunOnDrop(Some(|| handle.shared().remotes.close(handle)));
            let _turn = self.queue.begin_turn(|| (), || ());
            drop(close);
        });
    }
}

/// As for [`ReactorHandle`].
impl UnwindSafe for Guest {}
impl RefUnwindSafe for Guest {}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guest({:?})", **self)
    }
}

/// A turn in progress, even while it unwinds.
struct InProgress<'a> {
    shared: &'a Shared,
    _awake: Awake<'a>,
}

impl<'a> InProgress<'a> {
    #[inline]
    fn new(shared: &'a Shared) -> Self {
        shared.timers.begin_turn();
        Self { shared, _awake: shared.remotes.stay_awake() }
    }
}

impl Drop for InProgress<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.timers.end_turn();
    }
}

/// The end of registrations and timers, when the reactor goes: what their handlers captured is
/// dropped, even if it refers to the registration itself.
struct EndsOnDrop {
    handle: ReactorHandle,
}

impl Drop for EndsOnDrop {
    fn drop(&mut self) {
        let shared = self.handle.shared();
        // The queue is closed: no call is left to be canceled. All of this goes, even if one of the
        // drops panics.
        let _timers = DeclineAll(&shared.timers);
        let _callbacks = RunOnDrop(Some(|| shared.remotes.decline_callbacks()));
        in_drop(|| drop_all(shared.take_watches().into_values()));
    }
}
