//! Timers that fire again and again.
//!
//! - I1 Of an interval at most one tick is waiting for its time or pending: the next one is armed when
//!   the queue reaches the tick, before its handler runs, or if its call is canceled by its id.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::panic::Location;
use core::time::Duration;
use std::time::Instant;

use crate::erased::Site;
use crate::reactor::shared::ReactorHandle;
use crate::reactor::timers::{FOREVER, Timer};
use crate::recipient::{Address, Context};
use crate::unwind::in_drop;

/// A tick that fires less than this after its deadline is on time.
const ON_TIME: Duration = Duration::from_millis(5);

/// The treatment of ticks of an [`Interval`] that were missed because the loop was busy or the machine
/// asleep. A tick is on time within five milliseconds, or a period if that is shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// They fire one after the other, at most one a turn, until none is missed: each period has its
    /// tick.
    #[default]
    Burst,
    /// The next tick fires a period after the late one.
    Delay,
    /// They are skipped: the next tick fires at the next multiple of the period.
    Skip,
}

/// A timer that fires periodically, made by [`ReactorHandle::every`]. Dropping it ends it, even if a
/// tick is pending; after [`detach`](Self::detach) it runs until its recipient is gone.
#[doc(alias("setInterval", "ticker"))]
#[must_use = "dropping an interval ends it"]
pub struct Interval {
    ticks: Rc<Ticks>,
    ends_on_drop: bool,
}

impl Interval {
    #[track_caller]
    pub(crate) fn new<T, H>(
        reactor: &ReactorHandle,
        period: Duration,
        missed: Missed,
        recipient: &Address<T>,
        handler: H,
    ) -> Self
    where
        T: 'static,
        H: Fn(&mut T, &Context<'_, T>) + 'static,
    {
        let period = checked(period);
        let ticks = Rc::new(Ticks {
            reactor: reactor.clone(),
            missed,
            period: Cell::new(period),
            deadline: Cell::new(reactor.now() + period),
            timer: RefCell::new(None),
            is_ended: Cell::new(false),
            is_unref: Cell::new(false),
        });
        let site = Location::caller();
        let target = Rc::new(Target { ticks, recipient: recipient.clone(), handler, site });
        target.arm();
        Self { ticks: Rc::clone(&target.ticks), ends_on_drop: true }
    }

    /// Returns when the next tick is due or, if a tick is pending, when that was due.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::{Missed, Reactor};
    /// let reactor = Reactor::new()?;
    /// let beats = reactor.queue().recipient(0);
    /// let second = Duration::from_secs(1);
    /// let interval = reactor.every(second, Missed::Skip, &beats, |beats, _| *beats += 1);
    /// assert!(interval.deadline() <= reactor.now() + second);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn deadline(&self) -> Instant {
        self.ticks.deadline.get()
    }

    /// Returns the time from one tick to the next.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::{Missed, Reactor};
    /// let reactor = Reactor::new()?;
    /// let polls = reactor.queue().recipient(0);
    /// let second = Duration::from_secs(1);
    /// let interval = reactor.every(second, Missed::Delay, &polls, |polls, _| *polls += 1);
    /// interval.set_period(2 * interval.period()); // nothing new: ask less often
    /// assert_eq!(interval.period(), 2 * second);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn period(&self) -> Duration {
        self.ticks.period.get()
    }

    /// Sets the time between ticks, from the next tick on. To move the next tick itself, call
    /// [`reset`](Self::reset).
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::{Missed, Reactor};
    /// let reactor = Reactor::new()?;
    /// let beats = reactor.queue().recipient(0);
    /// let minute = Duration::from_secs(60);
    /// let interval = reactor.every(minute, Missed::Skip, &beats, |beats, _| *beats += 1);
    /// interval.set_period(Duration::from_secs(1));
    /// interval.reset(); // the next tick, too, comes a second from now
    /// assert!(interval.deadline() <= reactor.now() + Duration::from_secs(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_period(&self, period: Duration) {
        self.ticks.period.set(checked(period));
    }

    /// Moves the next tick to a period after the turn's time ([`ReactorHandle::turn_time`]). A pending
    /// tick stays pending.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::{Missed, Reactor};
    /// let reactor = Reactor::new()?;
    /// let link = reactor.queue().recipient(0);
    /// let period = Duration::from_secs(30);
    /// let keepalive = reactor.every(period, Missed::Delay, &link, |pings, _| *pings += 1);
    /// // Something else was sent: the next keepalive is due 30 seconds from now.
    /// let before = keepalive.deadline();
    /// keepalive.reset();
    /// assert!(keepalive.deadline() >= before);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset(&self) {
        let Ticks { reactor, period, deadline, timer, .. } = &*self.ticks;
        let next = reactor.turn_time() + period.get();
        let is_first = timer.borrow_mut().as_mut().and_then(|timer| timer.move_to(next));
        if let Some(is_first) = is_first {
            deadline.set(next);
            if is_first {
                // The wake hook may use the interval.
                reactor.queue().core().wake_for_deadline();
            }
        }
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) return even if the interval has not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::{Missed, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let log = reactor.queue().recipient(0);
    /// let minute = Duration::from_secs(60);
    /// let statistics = reactor.every(minute, Missed::Skip, &log, |lines, _| *lines += 1);
    /// statistics.unref();
    /// reactor.run()?; // returns at once: nothing else can happen
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unref(&self) {
        self.set_unref(true);
    }

    /// Takes back an [`unref`](Self::unref).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::{Missed, Reactor};
    /// let reactor = Reactor::new()?;
    /// let log = reactor.queue().recipient(0);
    /// let minute = Duration::from_secs(60);
    /// let statistics = reactor.every(minute, Missed::Skip, &log, |lines, _| *lines += 1);
    /// statistics.unref();
    /// statistics.undo_unref();
    /// assert!(reactor.should_run());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn undo_unref(&self) {
        self.set_unref(false);
    }

    fn set_unref(&self, unref: bool) {
        self.ticks.is_unref.set(unref);
        if let Some(timer) = &*self.ticks.timer.borrow() {
            timer.set_unref(unref);
        }
    }

    /// Detaches the interval: it ends when its recipient or the reactor is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::{Missed, Reactor};
    /// let mut reactor = Reactor::new()?;
    /// let countdown = reactor.queue().recipient(3);
    /// let tick = Duration::from_millis(1);
    /// let interval = reactor.every(tick, Missed::Burst, &countdown, |left, cx| {
    ///     *left -= 1;
    ///     if *left == 0 {
    ///         cx.hang_up(); // which ends the interval
    ///     }
    /// });
    /// interval.detach();
    /// reactor.run()?;
    /// assert!(countdown.is_gone());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn detach(mut self) {
        self.ends_on_drop = false;
    }
}

impl Drop for Interval {
    fn drop(&mut self) {
        if self.ends_on_drop {
            self.ticks.is_ended.set(true);
            let timer = self.ticks.timer.take();
            drop(timer);
        }
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("deadline", &self.deadline())
            .field("period", &self.period())
            .finish_non_exhaustive()
    }
}

/// A period, a hundred years at most.
fn checked(period: Duration) -> Duration {
    assert!(!period.is_zero(), "interval not set: its period is zero; give a longer one");
    period.min(FOREVER)
}

/// When the ticks fire.
struct Ticks {
    reactor: ReactorHandle,
    missed: Missed,
    period: Cell<Duration>,
    deadline: Cell<Instant>,
    /// That of the next tick; once it has fired, of no use but to cancel its call.
    timer: RefCell<Option<Timer>>,
    is_ended: Cell<bool>,
    is_unref: Cell<bool>,
}

impl Ticks {
    /// When the tick after the present one is due.
    fn next(&self) -> Instant {
        let (due, period, now) = (self.deadline.get(), self.period.get(), self.reactor.turn_time());
        match self.missed {
            Missed::Burst => due + period,
            // One that is on time keeps the rhythm.
            _ if now < due + ON_TIME.min(period) => due + period,
            Missed::Delay => now + period,
            Missed::Skip => {
                let late = (now - due).as_nanos() % period.as_nanos();
                now + period - Duration::from_nanos(u64::try_from(late).unwrap_or(u64::MAX))
            }
        }
    }
}

/// The recipient of the ticks.
struct Target<T: 'static, H> {
    ticks: Rc<Ticks>,
    recipient: Address<T>,
    handler: H,
    site: Site,
}

impl<T, H> Target<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + 'static,
{
    /// Arms the timer of the next tick.
    fn arm(self: &Rc<Self>) {
        let ticks = &self.ticks;
        let tick = IntervalTick { target: Rc::clone(self), is_dialed: false };
        let callback = self.recipient.callback(move |value: &mut T, cx, ()| tick.dial(value, cx));
        let timers = &ticks.reactor.shared().timers;
        let timer = timers.arm_from(self.site, &ticks.reactor, ticks.deadline.get(), callback);
        if ticks.is_ended.get() {
            // By an observer, or by the wake hook.
            return drop(timer);
        }
        timer.set_unref(ticks.is_unref.get());
        // Its call is live or over; if it was canceled by its id, this takes the timer away.
        let old = ticks.timer.replace(Some(timer));
        drop(old);
    }

    fn arm_next(self: &Rc<Self>) {
        let ticks = &self.ticks;
        let is_over = ticks.is_ended.get()
            || self.recipient.is_gone()
            || self.recipient.queue().is_closed()
            || ticks.reactor.queue().is_closed();
        if !is_over {
            ticks.deadline.set(ticks.next());
            self.arm();
        }
    }
}

/// What the call of a tick captures.
struct IntervalTick<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + 'static,
{
    target: Rc<Target<T, H>>,
    is_dialed: bool,
}

impl<T, H> IntervalTick<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + 'static,
{
    fn dial(mut self, value: &mut T, cx: &Context<'_, T>) {
        self.is_dialed = true;
        // First, as the handler may end or reset the interval, or panic.
        self.target.arm_next();
        (self.target.handler)(value, cx);
    }
}

impl<T, H> Drop for IntervalTick<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + 'static,
{
    /// Keeps I1.
    fn drop(&mut self) {
        if !self.is_dialed {
            in_drop(|| self.target.arm_next());
        }
    }
}
