//! What can be done with a reactor from anywhere on its thread.

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use mio::Interest;
use mio::event::Source;

use crate::callback::Callback;
use crate::queue::QueueHandle;
use crate::reactor::error::RegisterError;
use crate::reactor::event_stats::EventStats;
use crate::reactor::readiness::Readiness;
use crate::reactor::registration::Registration;
use crate::reactor::remote::callback::RemoteCallback;
use crate::reactor::remote::{Remote, RemoteAddress};
use crate::reactor::shared::ReactorHandle;
use crate::reactor::timers::Timer;
use crate::reactor::timers::interval::{Interval, Missed};
use crate::recipient::{Address, Context};

impl ReactorHandle {
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
        &self.shared().queue
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
        self.shared().timers.arm_after(self, delay, callback)
    }

    /// Answers `callback` at `deadline`, not earlier. Otherwise as [`after`](Self::after).
    ///
    /// A deadline may be in the past: the next turn answers then. If it is armed as other timers fire,
    /// by an observer say, it comes behind those that are due.
    #[inline]
    #[track_caller]
    pub fn at(&self, deadline: Instant, callback: Callback<()>) -> Timer {
        self.shared().timers.arm(self, deadline, callback)
    }

    /// Calls `handler` again and again, every `period`, the first time a period from now. `missed` says
    /// what becomes of ticks that were missed.
    ///
    /// At most one tick is pending. It is a promise, like a timer. A tick that is canceled by its id is
    /// left out, and the next one comes. If the recipient goes, or the reactor, the interval ends.
    /// Periods of more than a hundred years count as a hundred years.
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::{Missed, Reactor};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let beats = reactor.queue().recipient(0);
    /// let heart = reactor.every(Duration::from_millis(1), Missed::Skip, &beats, |beats, cx| {
    ///     *beats += 1;
    ///     if *beats == 3 {
    ///         cx.hang_up();
    ///     }
    /// });
    /// heart.detach();
    /// reactor.run()?; // until the recipient is gone
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// Cost: two allocations to begin with; then a timer's steps for each tick.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    #[track_caller]
    pub fn every<T, H>(
        &self,
        period: Duration,
        missed: Missed,
        recipient: &Address<T>,
        handler: H,
    ) -> Interval
    where
        T: 'static,
        H: Fn(&mut T, &Context<'_, T>) + 'static,
    {
        Interval::new(self, period, missed, recipient, handler)
    }

    /// What other threads schedule function calls through.
    ///
    /// While a [`Remote`], a [`RemoteAddress`], a waker of one or a [`RemoteCallback`] is alive, something can happen:
    /// [`Reactor::run`](crate::reactor::Reactor::run) goes on.
    pub fn remote(&self) -> Remote {
        Remote::of(self)
    }

    /// What other threads schedule calls to `recipient` through. The same as for
    /// [`remote`](Self::remote) goes for it.
    ///
    /// The recipient may be one of another queue, whose embedder dials it then. That queue takes the
    /// calls even if it is full; if it is gone, they are dropped.
    pub fn remote_to<T: 'static>(&self, recipient: &Address<T>) -> RemoteAddress<T> {
        RemoteAddress::of(self, recipient)
    }

    /// Lets another thread answer `callback`, once. If the reactor is gone, declines it.
    ///
    /// The callback may be one of another queue, whose embedder dials it then.
    ///
    /// Cost: one allocation.
    pub fn remote_callback<A: 'static>(&self, callback: Callback<A>) -> RemoteCallback<A> {
        RemoteCallback::of(self, callback)
    }

    /// How long a poll may sleep: not at all if anything is pending (or the last poll may not have
    /// reported all), else until the next timer is due, else until an event (`None`).
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.shared().is_busy() { Some(Duration::ZERO) } else { self.shared().timers.timeout() }
    }

    /// Makes [`Reactor::run`](crate::reactor::Reactor::run), or a loop that asks
    /// [`should_run`](crate::reactor::Guest::should_run), end after the turn in progress. If none runs, the
    /// next one ends at once. Calls that are pending then stay so. Loops that do not ask go on. A loop of the
    /// host's that sleeps is not woken, unlike by [`Remote::stop`](crate::reactor::Remote::stop).
    ///
    /// `run` answers a stop once: the next `run` goes on. A loop of the host's takes it back with
    /// [`resume`](Self::resume).
    pub fn stop(&self) {
        self.shared().stopped.set(true);
    }

    /// Takes back a [`stop`](Self::stop), and that of another thread
    /// ([`Remote::stop`](crate::reactor::Remote::stop)).
    pub fn resume(&self) {
        self.shared().stopped.set(false);
        self.shared().remotes.resume();
    }

    /// Sets how many calls are dialed between two polls; 1,024 at first. With 0 a turn dials none,
    /// for those who dial the queue themselves.
    ///
    /// Of the timers that are due, and of what other threads have sent, as many enter the queue in a turn
    /// as the budget has left, at least an eighth of it, and at most all of it (rule M6). If the budget
    /// is 0 or `usize::MAX`, so that it says nothing of how much is dialed, 1,024 counts instead.
    pub fn set_budget(&self, calls: usize) {
        self.shared().line.limits.set_calls(calls);
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
        self.shared().line.limits.set_time(limit);
    }

    /// Sets the clock that timers go by, [`Instant::now`] at first.
    ///
    /// It stays until the last handle of the reactor is gone, so it must not hold one.
    ///
    /// For tests that drive time themselves. The poll sleeps in real time: give
    /// [`turn`](crate::reactor::Reactor::turn) a timeout of zero.
    pub fn set_clock(&self, clock: impl Fn() -> Instant + 'static) {
        self.shared().timers.set_clock(clock);
    }

    /// The time of the turn in progress: the clock's one reading in this turn. Outside of turns it is
    /// read anew.
    ///
    /// For handlers that need no more than that, such as one that puts an idle timeout off. What a handler
    /// has taken since is not in it, so a delay that counts from there is shorter by that.
    pub fn turn_time(&self) -> Instant {
        self.shared().timers.turn_time()
    }

    /// The time by the reactor's clock.
    pub fn now(&self) -> Instant {
        self.shared().timers.now()
    }

    /// How many timers are armed.
    ///
    /// Cost: O(1), or a look at all of them if callbacks were canceled by their id meanwhile.
    pub fn timer_count(&self) -> usize {
        self.shared().timers.count(&self.shared().queue)
    }

    /// How many sources are registered.
    pub fn registration_count(&self) -> usize {
        self.shared().watches.borrow().len()
    }

    /// What has become of the events so far.
    pub fn event_stats(&self) -> EventStats {
        self.shared().counts.read()
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
        self.shared().leave_poll();
    }
}

impl fmt::Debug for ReactorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorHandle")
            .field("queue", self.queue())
            .field("registrations", &self.registration_count())
            .field("timers", &self.timer_count())
            .finish_non_exhaustive()
    }
}
