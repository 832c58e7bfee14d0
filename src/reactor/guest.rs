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
use crate::queue::{Budget, CallQueue};
use crate::reactor::error::CreateError;
use crate::reactor::remote::remotes::Awake;
use crate::reactor::shared::{ReactorHandle, Shared};
use crate::reactor::timers::DeclineAll;
use crate::unwind::RunOnDrop;

/// A reactor that lives in a mio loop of somebody else's: the host polls, and hands in the events.
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
    /// Makes a reactor with a queue of its own, for the loop around the poll of `registry`.
    ///
    /// # Errors
    ///
    /// Passes on the error of the system if the registry cannot be shared.
    pub fn new(registry: &Registry, waker: Arc<Waker>) -> io::Result<Self> {
        Self::with_queue(CallQueue::new(), registry, waker).map_err(|error| error.source)
    }

    /// Makes a reactor that dials `queue`. Otherwise as [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// Hands the queue back if the registry cannot be shared.
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

    /// A handle to keep, in a recipient say.
    pub fn handle(&self) -> ReactorHandle {
        self.ends.handle.clone()
    }

    /// Schedules a call for each of the poll's events, for each timer that is due and for what
    /// other threads have sent, and dials within the budget.
    ///
    /// To be called after each poll, with all of its events; those with tokens of the host are
    /// skipped. The host may serve its own before or after. (An interest that it narrows before comes too late
    /// for the events of this poll.)
    ///
    /// # Panics
    ///
    /// Passes on a panic of a handler. What had not been dialed is still pending.
    pub fn turn(&mut self, events: &Events) -> Report {
        self.turn_noting(|shared| shared.note(events), None)
    }

    /// As [`turn`](Self::turn), and dials for as long as `limit`, by the reactor's clock. The limit is
    /// looked at after each call, so at least one call is dialed, and no call is cut short.
    ///
    /// # Panics
    ///
    /// As [`turn`](Self::turn).
    pub fn turn_within(&mut self, events: &Events, limit: Duration) -> Report {
        let end = self.now().checked_add(limit);
        self.turn_until(events, end)
    }

    /// As [`turn`](Self::turn), until `end` at most.
    pub(super) fn turn_until(&mut self, events: &Events, end: Option<Instant>) -> Report {
        self.turn_noting(|shared| shared.note(events), end)
    }

    /// As [`turn`](Self::turn), with events that `note` notes, until `end` at most.
    pub(super) fn turn_noting(
        &mut self,
        note: impl FnOnce(&Shared),
        end: Option<Instant>,
    ) -> Report {
        let shared = self.ends.handle.shared();
        let _in_progress = InProgress::new(shared);
        // What is scheduled before the dial is part of the turn too: no wake-up is needed for it.
        let turn = self.queue.begin_turn(|| shared.observe_polls());
        let Shared { queue, timers, remotes, line, .. } = shared;
        let limits = &line.limits;
        limits.begin_turn(queue);
        // Before the clock is read, which is code of a user (rule M1).
        note(shared);
        let own_end = limits.time().and_then(|time| timers.turn_time().checked_add(time));
        let end = [end, own_end].into_iter().flatten().min();
        shared.judge_handlers();
        shared.schedule_ready();
        timers.fire(queue, || limits.share(queue));
        remotes.deliver(&self.ends.handle, || limits.share(queue));
        let budget = Budget::calls(limits.calls());
        let Some(end) = end else { return turn.dial(budget, || limits.end()) };
        // One call at least, or else there might never be time for any.
        let is_first = Cell::new(true);
        let spent = || !is_first.replace(false) && timers.now() >= end;
        turn.dial(budget.until(&spent), || limits.end())
    }

    /// Whether the loop is to go on: something can still happen (a call is pending, a source
    /// registered, a timer armed, a [`Remote`](crate::reactor::Remote), an address, waker or callback of
    /// another thread's alive), and nobody asked to
    /// [stop](ReactorHandle::stop). Asking changes nothing.
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
        let _turn = self.queue.begin_turn(|| ());
        self.ends.handle.shared().remotes.close(&self.ends.handle);
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
        let _watches = shared.take_watches();
    }
}
