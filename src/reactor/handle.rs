//! What a reactor, its handles and its registrations share.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::event::Source;
use mio::{Events, Interest, Registry, Token, Waker};

use crate::arena::{Arena, ArenaKey};
use crate::callback::Callback;
use crate::queue::QueueHandle;
use crate::reactor::error::RegisterError;
use crate::reactor::readiness::{Flags, Readiness};
use crate::reactor::registration::Registration;
use crate::reactor::remote::{Remote, RemoteAddress, RemoteCallback, Remotes};
use crate::reactor::scratch::Scratch;
use crate::reactor::timers::{Timer, Timers};
use crate::reactor::token;
use crate::reactor::watch::{AnyWatch, Line};
use crate::recipient::{Address, Context};
use crate::step::Step;
use crate::tally::Count;

/// A reactor, for whoever registers sources with it. Cloning counts a reference.
#[derive(Clone)]
pub struct ReactorHandle {
    shared: Rc<Shared>,
}

impl ReactorHandle {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Rc::new(shared) }
    }

    /// Registers `source`: from now on its readiness becomes calls of `handler` to `recipient`.
    ///
    /// The registration owns the source; keep it where the handler finds it, in the recipient, for
    /// which [`try_recipient_with`](QueueHandle::try_recipient_with) is made. What else the handler
    /// changes belongs there too: it is a `Fn`, called once for each readiness call. (Write the
    /// closure inside the call of `register`: one that is bound to a variable before is not general
    /// enough for the compiler, which then guesses its lifetimes.)
    ///
    /// If the recipient goes before its registration, the events that still come are refused, and
    /// [`Reactor::run`](crate::reactor::Reactor::run) goes on until the registration is dropped.
    ///
    /// Cost: two system calls over its life, one allocation, none per readiness call.
    ///
    /// # Errors
    ///
    /// Hands the source back if the poll does not take it, if the recipient belongs to another
    /// queue, or if the reactor is gone.
    #[track_caller]
    pub fn register<S, T, H>(
        &self,
        source: S,
        interest: Interest,
        recipient: &Address<T>,
        handler: H,
    ) -> Result<Registration<S>, RegisterError<S>>
    where
        S: Source,
        T: 'static,
        H: Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static,
    {
        Registration::to_recipient(self, source, interest, recipient, handler)
    }

    /// Registers `source`: from now on its readiness becomes calls of a function, which have no
    /// recipient. Otherwise as [`register`](Self::register).
    ///
    /// A function that dials the queue may be called again before it returns (rule R2 is for recipients).
    ///
    /// # Errors
    ///
    /// Hands the source back if the poll does not take it, or if the reactor is gone.
    #[track_caller]
    pub fn register_function<S, H>(
        &self,
        source: S,
        interest: Interest,
        handler: H,
    ) -> Result<Registration<S>, RegisterError<S>>
    where
        S: Source,
        H: Fn(&QueueHandle, &Readiness<'_>) + 'static,
    {
        Registration::to_function(self, source, interest, handler)
    }

    /// The queue of the reactor.
    pub fn queue(&self) -> &QueueHandle {
        &self.shared.queue
    }

    /// Answers `callback` once `delay` has passed, not earlier. If the reactor is gone, declines it.
    ///
    /// The callback may be one of another queue, whose embedder dials it then. Delays of more than
    /// a hundred years count as a hundred years, deadlines more than 292 years after the reactor was
    /// made as that.
    ///
    /// Cost: O(log n) steps for n timers (O(1) if none is due later), and a reading of the clock. To
    /// cancel it takes O(log n). Memory is taken for 64 timers at a time, and given back when they
    /// are gone.
    ///
    /// # Panics
    ///
    /// If the clock was [set](Self::set_clock) to within a hundred years of the last [`Instant`].
    #[inline]
    #[track_caller]
    pub fn after(&self, delay: Duration, callback: Callback<()>) -> Timer {
        self.shared.timers.arm_after(self, delay, callback)
    }

    /// Answers `callback` at `deadline`, not earlier. Otherwise as [`after`](Self::after).
    ///
    /// A deadline may be in the past: the next turn answers then. If it is armed as other timers fire,
    /// by an observer say, it comes behind those that are due.
    #[inline]
    #[track_caller]
    pub fn at(&self, deadline: Instant, callback: Callback<()>) -> Timer {
        self.shared.timers.arm(self, deadline, callback)
    }

    /// What other threads schedule function calls through.
    ///
    /// While a [`Remote`], a [`RemoteAddress`], a waker of one or a [`RemoteCallback`] is alive, something can happen:
    /// [`Reactor::run`](crate::reactor::Reactor::run) goes on.
    pub fn remote(&self) -> Remote {
        self.shared.remotes.remote()
    }

    /// What other threads schedule calls to `recipient` through. The same as for
    /// [`remote`](Self::remote) goes for it.
    ///
    /// The recipient may be one of another queue, whose embedder dials it then. That queue takes the
    /// calls also if it is full; if it is gone, they are dropped.
    pub fn remote_to<T: 'static>(&self, recipient: &Address<T>) -> RemoteAddress<T> {
        self.shared.remotes.remote_to(self, recipient)
    }

    /// Lets another thread answer `callback`, once. If the reactor is gone, declines it.
    ///
    /// The callback may be one of another queue, whose embedder dials it then.
    ///
    /// Cost: one allocation.
    pub fn remote_callback<A: 'static>(&self, callback: Callback<A>) -> RemoteCallback<A> {
        self.shared.remotes.remote_callback(self, callback)
    }

    /// How long a poll may sleep: not at all if anything is pending (or the last poll may not have
    /// reported all), else until the next timer is due, else until an event (`None`).
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.shared.is_busy() { Some(Duration::ZERO) } else { self.shared.timers.timeout() }
    }

    /// Makes [`Reactor::run`](crate::reactor::Reactor::run), or a loop that asks
    /// [`should_run`](crate::reactor::Guest::should_run), end after the turn in progress. If none runs, the
    /// next one ends at once. Calls that are pending then stay so. Loops that do not ask go on.
    ///
    /// `run` answers a stop once: the next `run` goes on. A loop of the host's takes it back with
    /// [`resume`](Self::resume).
    pub fn stop(&self) {
        self.shared.stopped.set(true);
    }

    /// Takes back a [`stop`](Self::stop), and that of another thread
    /// ([`Remote::stop`](crate::reactor::Remote::stop)).
    pub fn resume(&self) {
        self.shared.stopped.set(false);
        self.shared.remotes.resume();
    }

    /// Sets how many calls are dialed between two polls; 1,024 at first. With 0 a turn dials none,
    /// for those who dial the queue themselves.
    ///
    /// Of the timers that are due, and of what other threads have sent, as many enter the queue in a turn
    /// as the budget has left, at least an eighth of it, and at most all of it (rule M6). If the budget
    /// is 0 or `usize::MAX`, so that it says nothing of how much is dialed, 1,024 counts instead.
    pub fn set_budget(&self, calls: usize) {
        self.shared.line.limits.set_calls(calls);
    }

    /// Sets for how long calls are dialed between two polls, by the reactor's clock; `None`, as at first,
    /// for no limit. The budget in calls is another limit: `usize::MAX` is none.
    ///
    /// The time counts from the end of the poll. It is looked at after each call, so at least one call is
    /// dialed, and no call is cut short. For a limit of one turn, see
    /// [`turn_within`](crate::reactor::Reactor::turn_within).
    ///
    /// Cost: a reading of the clock for each call.
    pub fn set_time_budget(&self, limit: Option<Duration>) {
        self.shared.line.limits.set_time(limit);
    }

    /// Sets the clock that timers go by, [`Instant::now`] at first.
    ///
    /// It stays until the last handle of the reactor is gone, so it must not hold one.
    ///
    /// For tests that drive time themselves. The poll sleeps in real time: give
    /// [`turn`](crate::reactor::Reactor::turn) a timeout of zero.
    pub fn set_clock(&self, clock: impl Fn() -> Instant + 'static) {
        self.shared.timers.set_clock(clock);
    }

    /// The time by the reactor's clock.
    pub fn now(&self) -> Instant {
        self.shared.timers.now()
    }

    /// How many timers are armed.
    ///
    /// Cost: O(1), or a look at all of them if callbacks were canceled by their id meanwhile.
    pub fn timer_count(&self) -> usize {
        self.shared.timers.count(&self.shared.queue)
    }

    /// How many sources are registered.
    pub fn registration_count(&self) -> usize {
        self.shared.watches.borrow().len()
    }

    /// What has become of the events so far.
    pub fn event_stats(&self) -> EventStats {
        self.shared.counts.read()
    }

    /// Leaves the poll to the parent process: for a child that was forked, and is to go on with its copy
    /// of the reactor, or only to drop it.
    ///
    /// Both copies share one poll in the system. A child that drops its own deregisters the parent's
    /// sources, and one that turns takes events from the parent. After this, nothing of the child's
    /// reactor touches the poll: a registration that drops closes its descriptor and no more, and what
    /// needs the poll is an error (to register, to change an interest, [`Reactor::turn`]). Calls and
    /// timers are the child's own; it may dial the queue. What it sends through a
    /// [`Remote`] wakes the parent, for nothing. For events of its own, the child makes a
    /// new reactor.
    ///
    /// A child that calls `exec` or `_exit` at once needs none of this: descriptors are closed on `exec`.
    /// In a process of several threads, a child may do no more than that (see `fork(2)`).
    ///
    /// [`Reactor::turn`]: crate::reactor::Reactor::turn
    pub fn leave_poll_to_parent(&self) {
        self.shared.is_left.set(true);
    }

    /// Buffers for streams.
    pub(crate) fn scratch(&self) -> &Rc<Scratch> {
        &self.shared.scratch
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Shows whether a handle is left.
    #[cfg(feature = "conformance")]
    pub(crate) fn downgrade(&self) -> alloc::rc::Weak<dyn core::any::Any> {
        Rc::<Shared>::downgrade(&self.shared)
    }
}

/// A panic of a handler leaves the reactor as rules R10 and M1 say.
impl UnwindSafe for ReactorHandle {}
impl RefUnwindSafe for ReactorHandle {}

impl fmt::Debug for ReactorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorHandle")
            .field("queue", self.queue())
            .field("registrations", &self.registration_count())
            .field("timers", &self.timer_count())
            .finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    registry: Registry,
    /// Whether the poll is the parent process's.
    pub(super) is_left: Cell<bool>,
    /// Whether others may have registered with the poll what looks like ours: another guest,
    /// or one that is gone, and survived by its registrations.
    shares_poll: bool,
    pub(super) queue: QueueHandle,
    pub(super) watches: RefCell<Arena<Option<Rc<dyn AnyWatch>>>>,
    pub(super) line: Rc<Line>,
    scratch: Rc<Scratch>,
    /// How many registrations do not keep the loop running.
    unref: Cell<usize>,
    pub(super) timers: Timers,
    pub(super) remotes: Remotes,
    stopped: Cell<bool>,
    /// Whether the poll may have more events, which a loop around its descriptor is not notified of again.
    batch_was_full: Cell<bool>,
    counts: EventCounts,
}

impl Shared {
    pub(super) fn new(
        registry: Registry,
        shares_poll: bool,
        waker: Arc<Waker>,
        queue: QueueHandle,
    ) -> Self {
        Self {
            registry,
            is_left: Cell::new(false),
            shares_poll,
            watches: RefCell::new(Arena::new()),
            line: Rc::new(Line::new(queue.clone())),
            scratch: Rc::default(),
            queue,
            unref: Cell::new(0),
            timers: Timers::new(),
            remotes: Remotes::new(waker),
            stopped: Cell::new(false),
            batch_was_full: Cell::new(false),
            counts: EventCounts::default(),
        }
    }

    /// In which generation, or a later one, the token of the next registration is to be (rule M2).
    // (Inlined, it makes each readiness call 15 instructions dearer.)
    #[inline(never)]
    pub(super) fn least_generation(&self) -> u32 {
        if self.shares_poll { token::unused_generation() } else { 0 }
    }

    /// Notes a batch of events of a poll.
    #[inline]
    pub(super) fn note(&self, events: &Events) {
        let reported = events.iter().map(|event| (event.token(), || Flags::of(event)));
        let noted = self.note_each(reported);
        self.batch_was_full.set(noted > 0 && noted == events.capacity());
    }

    /// Notes a batch of events, and counts them. No code of a user runs here, so none is lost (rule
    /// M1): if nobody observes, their calls are scheduled too.
    #[inline]
    pub(super) fn note_each(
        &self,
        events: impl Iterator<Item = (Token, impl FnOnce() -> Flags)>,
    ) -> usize {
        let at_once = !self.queue.core().is_observed() && self.line.ready.borrow().is_empty();
        let mut watches = self.watches.borrow_mut();
        let mut noted = 0;
        for (token, flags) in events {
            noted += 1;
            let Some(key) = token::key(token) else {
                self.counts.foreign.add();
                continue;
            };
            match watches.get(key) {
                None => self.counts.stale.add(),
                Some(watch) if watch.note(flags()) => {
                    self.counts.delivered.add();
                    if at_once {
                        Rc::clone(watch).schedule();
                    } else {
                        self.line.ready.borrow_mut().push_back(key);
                    }
                }
                Some(_) => self.counts.coalesced.add(),
            }
        }
        noted
    }

    /// Schedules the readiness calls of those in line. If an observer panics meanwhile, the rest
    /// stays in line for the next turn.
    #[inline]
    pub(super) fn schedule_ready(&self) {
        let in_line = self.line.ready.borrow().len();
        for _ in 0..in_line {
            let Some(key) = self.line.ready.borrow_mut().pop_front() else { return };
            let watch = self.watches.borrow_mut().get(key).cloned();
            if let Some(watch) = watch.filter(|watch| watch.is_in_line()) {
                watch.schedule();
            }
        }
    }

    /// Judges the handlers that may have left readiness, now that a poll has reported what there was:
    /// counts and reports those whose source it did not report. An observer may panic meanwhile.
    #[inline]
    pub(super) fn judge_handlers(&self) {
        if !self.line.suspects.borrow().is_empty() && !self.batch_was_full.get() {
            self.report_undrained();
        }
    }

    #[cold]
    fn report_undrained(&self) {
        for (key, call) in self.line.suspects.take() {
            let watch = self.watches.borrow_mut().get(key).cloned();
            // (On mio's `poll`, what an attempt has not found to block is not reported at all.)
            let watch = watch.filter(|watch| watch.source_state().is_left_for_good());
            if let Some(watch) = watch.filter(|_| !cfg!(mio_unsupported_force_poll_poll)) {
                self.counts.undrained.add();
                let (recipient, site) = (watch.recipient(), watch.site());
                self.queue.core().notify_end(call.key(), Step::Undrained { recipient, site });
            }
        }
    }

    /// The poll's registry.
    #[inline(always)]
    pub(super) fn registry(&self) -> io::Result<&Registry> {
        if self.is_left.get() { Err(poll_was_left()) } else { Ok(&self.registry) }
    }

    #[inline(always)]
    pub(super) fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry().map_or(Ok(()), |registry| registry.deregister(source))
    }

    /// Puts another watch in the place of one.
    pub(super) fn replace_watch(&self, key: ArenaKey, watch: &Rc<dyn AnyWatch>) {
        if let Some(place) = self.watches.borrow_mut().get_mut(key) {
            *place = Some(Rc::clone(watch));
        }
    }

    /// Counts a registration that does not keep the loop running any more, or does again.
    pub(super) fn count_unref(&self, unref: bool) {
        let count = self.unref.get();
        self.unref.set(if unref { count + 1 } else { count - 1 });
    }

    /// Ends a registration.
    pub(super) fn forget(&self, key: ArenaKey) {
        let watch = self.watches.borrow_mut().remove(key);
        if let Some(watch) = watch {
            if watch.source_state().is_unref.get() {
                self.count_unref(false);
            }
            watch.end("registration dropped");
        }
    }

    /// Takes all registrations out, to be dropped.
    pub(super) fn take_watches(&self) -> Arena<Option<Rc<dyn AnyWatch>>> {
        self.line.ready.borrow_mut().clear();
        self.unref.set(0);
        self.batch_was_full.set(false);
        self.watches.replace(Arena::new())
    }

    /// Whether there is something to do at once.
    fn is_busy(&self) -> bool {
        !self.queue.is_idle()
            || !self.line.ready.borrow().is_empty()
            || self.remotes.is_busy()
            || self.batch_was_full.get()
    }

    /// Whether somebody asked for the end of `run`.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get() || self.remotes.is_stopped()
    }

    /// Whether anything can still happen.
    pub(super) fn can_go_on(&self) -> bool {
        // The remotes first: what the last of them sent is seen then.
        self.remotes.are_alive()
            || self.is_busy()
            || self.watches.borrow().len() > self.unref.get()
            || self.timers.has_wanted()
    }
}

#[cold]
fn poll_was_left() -> io::Error {
    io::Error::other("the poll was left to the parent process")
}

/// What has become of the events of a reactor's polls:
/// [`events`](Self::events) = [`delivered`](Self::delivered) + [`coalesced`](Self::coalesced) +
/// [`stale`](Self::stale) + [`foreign`](Self::foreign).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStats {
    /// Events received.
    pub events: u64,
    /// Those that led to a readiness call.
    pub delivered: u64,
    /// Those merged into what was still to be reported of the same source.
    pub coalesced: u64,
    /// Those dropped, as their source was gone, or is that of another guest of the poll.
    pub stale: u64,
    /// Those of no source of the reactor's: wake-ups by other threads, and in a host's loop the
    /// host's own.
    pub foreign: u64,
    /// Readiness calls whose handler returned with readiness left that the poll does not report again:
    /// the last attempt by [`Registration::try_io`] had gone well, and the handler
    /// neither asked to be called [`again`](Readiness::again) nor [kept](Readiness::keep) what was left.
    /// A bug of the handler, which may be called no more. (No event: not part of the sum.)
    pub undrained: u64,
}

#[derive(Default)]
struct EventCounts {
    delivered: Count,
    coalesced: Count,
    stale: Count,
    foreign: Count,
    undrained: Count,
}

impl EventCounts {
    fn read(&self) -> EventStats {
        let [delivered, coalesced, stale, foreign, undrained] =
            [&self.delivered, &self.coalesced, &self.stale, &self.foreign, &self.undrained]
                .map(Count::get);
        EventStats {
            events: delivered + coalesced + stale + foreign,
            delivered,
            coalesced,
            stale,
            foreign,
            undrained,
        }
    }
}
