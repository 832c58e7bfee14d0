//! The methods of a reactor, from anywhere on its thread.

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
    /// The registration owns the source; keep it in the recipient, where the handler finds it
    /// ([`try_recipient_with`](QueueHandle::try_recipient_with) makes such a recipient). Other state of
    /// the handler belongs there too: the handler is a `Fn`, called once for each readiness call.
    /// (Write the closure inside the call of `register`. If it is bound to a variable before, the
    /// compiler infers lifetimes that are not general enough.)
    ///
    /// If the recipient is dropped before its registration, later readiness calls are refused, and
    /// [`Reactor::run`](crate::reactor::Reactor::run) does not return until the registration is
    /// dropped.
    ///
    /// Cost: two system calls over its life, one allocation, none per readiness call.
    ///
    /// # Errors
    ///
    /// Returns the source in the error if the poll rejects it, if the recipient belongs to another
    /// queue, or if the reactor is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::{Reactor, Registration};
    ///
    /// struct Logger { socket: Registration<UdpSocket>, lines: usize }
    ///
    /// impl Logger {
    ///     fn on_ready(&mut self) {
    ///         let mut line = [0; 2048];
    ///         loop {
    ///             match self.socket.try_io(Interest::READABLE, |socket| socket.recv(&mut line)) {
    ///                 Ok(_) => self.lines += 1,
    ///                 Err(error) if error.kind() == ErrorKind::WouldBlock => return, // drained
    ///                 Err(_) => {} // of one datagram; the next may be well
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// # let mut reactor = Reactor::new()?;
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # let address = socket.local_addr()?;
    /// let logger = reactor.queue().try_recipient_with(|own| {
    ///     let socket = reactor.register(socket, Interest::READABLE, own, |logger: &mut Logger, _, _| {
    ///         logger.on_ready();
    ///     })?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Logger { socket, lines: 0 })
    /// })?;
    /// # std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"a line", address)?;
    /// # let _ = reactor.turn(None)?;
    /// # logger.call(|logger, _| assert_eq!(logger.lines, 1));
    /// # let _ = reactor.turn(None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// A function that dials the queue may be called again before it returns (rule R2 protects
    /// recipients only).
    ///
    /// # Errors
    ///
    /// Returns the source in the error if the poll rejects it, or if the reactor is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let address = socket.local_addr()?;
    /// let handle = reactor.handle();
    /// // Any datagram to this port stops the loop.
    /// let _control = reactor.register_function(socket, Interest::READABLE, move |_, _| handle.stop())?;
    ///
    /// std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"stop", address)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Returns the queue of the reactor.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::{Reactor, ReactorHandle};
    ///
    /// fn greet(reactor: &ReactorHandle) {
    ///     reactor.queue().call(|_| println!("hello"));
    /// }
    ///
    /// let mut reactor = Reactor::new()?;
    /// greet(&reactor);
    /// assert_eq!(reactor.queue().tally().pending, 1);
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn queue(&self) -> &QueueHandle {
        &self.shared().queue
    }

    /// Arms a timer that answers `callback` once `delay` has passed, never earlier, and returns it. If
    /// the reactor is gone, the callback is declined.
    ///
    /// The callback may belong to another queue, whose embedder then dials it. Delays of more than a
    /// hundred years count as a hundred years, deadlines more than 292 years after the reactor was made
    /// as that.
    ///
    /// Cost: O(log n) steps for n timers (O(1) if none is due later), and a reading of the clock. To
    /// cancel it takes O(log n). Memory is taken for 64 timers at a time, and given back when they
    /// are gone.
    ///
    /// # Panics
    ///
    /// If the clock was [set](Self::set_clock) to within a hundred years of the last [`Instant`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::{Reactor, Timer};
    ///
    /// struct Session { idle: Option<Timer> }
    ///
    /// let mut reactor = Reactor::new()?;
    /// let session = reactor.queue().recipient(Session { idle: None });
    /// let timed_out = session.callback(|_, cx, ()| cx.hang_up());
    /// let idle = reactor.after(Duration::from_millis(1), timed_out);
    /// session.call(|session, _| session.idle = Some(idle)); // it goes with the session
    /// reactor.run()?;
    /// assert!(session.is_gone());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn after(&self, delay: Duration, callback: Callback<()>) -> Timer {
        self.shared().timers.arm_after(self, delay, callback)
    }

    /// Arms a timer that answers `callback` at `deadline`, never earlier, and returns it. Otherwise as
    /// [`after`](Self::after).
    ///
    /// A deadline may be in the past: the next turn answers then. If an observer arms it while other
    /// timers fire, it fires after those that are due.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let deadline = reactor.now() + Duration::from_millis(1);
    /// // One deadline for two things: they are dialed in this order.
    /// let warn = reactor.queue().callback(|_, ()| println!("no reply yet"));
    /// let give_up = reactor.queue().callback(|queue, ()| assert_eq!(queue.tally().finished, 1));
    /// reactor.at(deadline, warn).detach();
    /// reactor.at(deadline, give_up).detach();
    /// reactor.run()?;
    /// assert!(reactor.now() >= deadline); // never early
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn at(&self, deadline: Instant, callback: Callback<()>) -> Timer {
        self.shared().timers.arm(self, deadline, callback)
    }

    /// Calls `handler` every `period`, the first time a period from now, until the returned interval is
    /// dropped. `missed` selects what happens to missed ticks.
    ///
    /// At most one tick is pending. It is a promise, like a timer. A tick that is canceled by its id is
    /// skipped. If the recipient or the reactor is gone, the interval ends. Periods of more than a
    /// hundred years count as a hundred years.
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

    /// Returns a [`Remote`], through which other threads schedule function calls.
    ///
    /// [`Reactor::run`](crate::reactor::Reactor::run) does not return while a [`Remote`], a
    /// [`RemoteAddress`], a waker of one or a [`RemoteCallback`] is alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// let worker = thread::spawn(move || {
    ///     remote.call(|reactor| {
    ///         reactor.queue().call(|_| println!("on the reactor's thread"));
    ///     })
    /// });
    /// reactor.run()?; // until the remote is dropped, and all it has sent is dialed
    /// assert!(worker.join().expect("no panic").is_ok());
    /// assert_eq!(reactor.queue().tally().finished, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remote(&self) -> Remote {
        self.observe_threads();
        Remote::of(self)
    }

    /// Returns a [`RemoteAddress`], through which other threads schedule calls to `recipient`. It keeps
    /// the reactor running as [`remote`](Self::remote) does.
    ///
    /// The recipient may belong to another queue, whose embedder then dials it. That queue admits the
    /// calls even if it is full; if it is gone, they are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let progress = reactor.queue().recipient(0);
    /// let sender = reactor.remote_to(&progress);
    /// thread::spawn(move || {
    ///     for percent in [50, 100] {
    ///         // An error means that the reactor is gone: the progress is of no interest then.
    ///         let _ = sender.call(move |progress, _| *progress = percent);
    ///     }
    /// });
    /// reactor.run()?; // until the sender is dropped
    /// progress.call(|progress, _| assert_eq!(*progress, 100));
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remote_to<T: 'static>(&self, recipient: &Address<T>) -> RemoteAddress<T> {
        self.observe_threads();
        RemoteAddress::of(self, recipient)
    }

    /// Has the names of threads sent along if the queue is observed.
    fn observe_threads(&self) {
        if self.queue().core().is_observed() {
            self.shared().begin_observation();
        }
    }

    /// Returns a [`RemoteCallback`], with which another thread answers `callback`, once. If the reactor
    /// is gone, the callback is declined.
    ///
    /// The callback may belong to another queue, whose embedder then dials it.
    ///
    /// Cost: one allocation.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let sums = reactor.queue().recipient(Vec::new());
    /// let done = sums.callback(|sums, _, sum: u64| sums.push(sum));
    /// let done = reactor.remote_callback(done);
    /// thread::spawn(move || done.answer((1..=100).sum()));
    /// reactor.run()?; // until it is answered
    /// sums.call(|sums, _| assert_eq!(*sums, [5050]));
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remote_callback<A: 'static>(&self, callback: Callback<A>) -> RemoteCallback<A> {
        RemoteCallback::of(self, callback)
    }

    /// Returns how long a poll may sleep: not at all if anything is pending (or if the last poll may
    /// not have reported all events), otherwise until the next timer is due, otherwise without a limit
    /// (`None`).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// assert_eq!(reactor.poll_timeout(), None); // until there is an event
    /// let timer = reactor.queue().callback(|_, ()| ());
    /// reactor.after(Duration::from_secs(60), timer).detach();
    /// assert!(reactor.poll_timeout() <= Some(Duration::from_secs(60)));
    /// reactor.queue().call(|_| ());
    /// assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO)); // a call is pending
    /// # let _ = reactor.turn(None)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let shared = self.shared();
        if shared.is_busy() {
            Some(Duration::ZERO)
        } else {
            shared.timers.timeout(|| shared.is_busy())
        }
    }

    /// Makes [`Reactor::run`](crate::reactor::Reactor::run) return after the turn in progress, and
    /// [`should_run`](crate::reactor::Guest::should_run) return false. If no loop runs, the next `run`
    /// returns at once. Pending calls stay pending. A loop of the host that sleeps is not woken, unlike
    /// by [`Remote::stop`](crate::reactor::Remote::stop).
    ///
    /// `run` resets the stop when it returns without an error, so the next `run` runs. A loop of the host resets it with
    /// [`resume`](Self::resume).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let remote = reactor.remote(); // keeps `run` going
    /// let handle = reactor.handle();
    /// reactor.queue().call(move |_| handle.stop());
    /// reactor.run()?;
    /// # drop(remote);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(&self) {
        self.shared().stopped.set(true);
    }

    /// Resets a [`stop`](Self::stop), and that of another thread
    /// ([`Remote::stop`](crate::reactor::Remote::stop)).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.queue().call(|_| ());
    /// reactor.stop();
    /// assert!(!reactor.should_run());
    /// reactor.resume(); // by a loop of the host's; `run` does it by itself
    /// assert!(reactor.should_run());
    /// # let _ = reactor.turn(None)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn resume(&self) {
        self.shared().stopped.set(false);
        self.shared().remotes.resume();
    }

    /// Sets how many calls are dialed between two polls; 1,024 at first. With 0 a turn dials none, for
    /// a host that dials the queue itself.
    ///
    /// In each turn, due timers and calls from other threads each enter the queue up to the rest of the
    /// budget, at least an eighth of it, and at most all of it (rule M6). If the budget is 0 or
    /// `usize::MAX`, and so sets no limit, 1,024 counts instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.set_budget(64); // polls more often: lower latency of events, more system calls
    /// for _ in 0..100 {
    ///     reactor.queue().call(|_| ());
    /// }
    /// let report = reactor.turn(None)?;
    /// assert_eq!((report.dialed, report.remaining), (64, 36));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_budget(&self, calls: usize) {
        self.shared().line.limits.set_calls(calls);
    }

    /// Sets for how long calls are dialed between two polls, by the reactor's clock; `None`, as at first,
    /// for no limit. The budget in calls is another limit: `usize::MAX` is none.
    ///
    /// The time counts from the end of the poll. It is checked after each call, so at least one call is
    /// dialed, and none is interrupted. For a limit of one turn, see
    /// [`turn_within`](crate::reactor::Reactor::turn_within).
    ///
    /// Cost: a reading of the clock for each call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// // Events wait for one millisecond and the longest handler at most, however many calls are pending.
    /// reactor.set_budget(usize::MAX);
    /// reactor.set_time_budget(Some(Duration::from_millis(1)));
    /// reactor.queue().call(|_| ());
    /// assert!(reactor.turn(None)?.dialed >= 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_time_budget(&self, limit: Option<Duration>) {
        self.shared().line.limits.set_time(limit);
    }

    /// Sets the clock of the timers, which is [`Instant::now`] at first.
    ///
    /// The clock is dropped with the last handle of the reactor, so it must not hold one.
    ///
    /// Tests drive virtual time with it. The poll still sleeps in real time, so pass
    /// [`turn`](crate::reactor::Reactor::turn) a timeout of zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use std::time::{Duration, Instant};
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let time = Rc::new(Cell::new(Instant::now()));
    /// let clock = Rc::clone(&time);
    /// reactor.set_clock(move || clock.get());
    ///
    /// let timer = reactor.queue().callback(|_, ()| ());
    /// reactor.after(Duration::from_secs(3600), timer).detach();
    /// time.set(time.get() + Duration::from_secs(3600)); // an hour later
    /// assert_eq!(reactor.turn(Some(Duration::ZERO))?.dialed, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_clock(&self, clock: impl Fn() -> Instant + 'static) {
        self.shared().timers.set_clock(clock);
    }

    /// Returns the time of the turn in progress, for which the clock was read once. Outside of turns
    /// the clock is read anew.
    ///
    /// Use it where that is exact enough, as to put off an idle timeout. The time that handlers took
    /// since the turn began is not in it, so a delay that counts from it is shorter by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use switchboard::reactor::Reactor;
    ///
    /// struct Session { last_used: Instant }
    ///
    /// let mut reactor = Reactor::new()?;
    /// let session = reactor.queue().recipient(Session { last_used: reactor.turn_time() });
    /// let handle = reactor.handle();
    /// session.call(move |session, _| {
    ///     // No reading of the clock: all handlers of a turn get the same time.
    ///     session.last_used = handle.turn_time();
    ///     assert_eq!(session.last_used, handle.turn_time());
    /// });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn_time(&self) -> Instant {
        self.shared().timers.turn_time()
    }

    /// Returns the time by the reactor's clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let start = reactor.now(); // rather than `Instant::now()`, so that tests can set the clock
    /// let handle = reactor.handle();
    /// let timer = reactor.queue().callback(move |_, ()| {
    ///     assert!(handle.now() - start >= Duration::from_millis(1));
    /// });
    /// reactor.after(Duration::from_millis(1), timer).detach();
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn now(&self) -> Instant {
        self.shared().timers.now()
    }

    /// Returns the number of armed timers.
    ///
    /// Cost: O(1), or O(n) if callbacks were canceled by their id meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let timer = reactor.after(Duration::from_secs(60), reactor.queue().callback(|_, ()| ()));
    /// assert_eq!(reactor.timer_count(), 1);
    /// drop(timer);
    /// assert_eq!(reactor.timer_count(), 0); // a test that nothing was left behind
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timer_count(&self) -> usize {
        self.shared().timers.count(&self.shared().queue)
    }

    /// Returns the number of registered sources.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let registration = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// assert_eq!(reactor.registration_count(), 1);
    /// drop(registration);
    /// assert_eq!(reactor.registration_count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn registration_count(&self) -> usize {
        self.shared().watches.borrow().len()
    }

    /// Returns the counts of events by their outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// socket.send_to(b"ping", socket.local_addr()?)?;
    /// let _socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// let _ = reactor.turn(None)?;
    /// let stats = reactor.event_stats();
    /// assert_eq!((stats.delivered, stats.stale), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn event_stats(&self) -> EventStats {
        self.shared().counts.read()
    }

    /// Leaves the poll to the parent process. A forked child must call this before it uses or drops its
    /// copy of the reactor.
    ///
    /// Both copies share one poll in the system. If the child drops its copy, the parent's sources are
    /// deregistered; if it turns, it takes events from the parent. After this, the child's reactor does
    /// not touch the poll: a registration that is dropped only closes its descriptor, and all that
    /// needs the poll returns an error (to register, to change an interest, [`Reactor::turn`],
    /// `Reactor::signal_when_due`). Calls and timers are the child's own; it may dial the queue. A call that it sends through a [`Remote`]
    /// wakes the parent, without effect. For events of its own, the child creates a new reactor.
    ///
    /// A child that calls `exec` or `_exit` at once needs none of this: descriptors are closed on `exec`.
    /// In a process of several threads, a child may do no more than that (see `fork(2)`).
    ///
    /// [`Reactor::turn`]: crate::reactor::Reactor::turn
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.queue().call(|_| ());
    /// // In the child, right after `fork`:
    /// reactor.leave_poll_to_parent();
    /// assert!(reactor.turn(None).is_err()); // the poll is the parent's
    /// assert_eq!(reactor.queue().dial_all().dialed, 1); // the calls are the child's own
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
