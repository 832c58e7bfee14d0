//! One descriptor that is readable whenever a turn is due: that of the poll, with a timer in it.
//!
//! - I1 Outside of turns, the poll is awake (its waker was used, and no turn has been since) if a turn
//!   is due at once, and the timer is armed for the next deadline if not.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::reactor::shared::ReactorHandle;
use crate::unwind::in_drop;

/// The token of the timer.
const TIMER: Token = Token(1);

const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A deadline that is so little later is the same.
const SLACK: Duration = Duration::from_micros(10);

pub(super) struct DueSignal {
    reactor: ReactorHandle,
    waker: Arc<Waker>,
    timer: OwnedFd,
    /// When the timer expires, if it is armed.
    expires: Cell<Option<Instant>>,
}

impl DueSignal {
    pub(super) fn new(
        reactor: ReactorHandle,
        registry: &Registry,
        waker: Arc<Waker>,
    ) -> io::Result<Rc<Self>> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Rc::new(Self { reactor, waker, timer, expires: Cell::new(None) }))
    }

    /// Keeps I1.
    pub(super) fn update(&self) {
        // What a forked child has left to its parent: the waker and the timer are in the same poll.
        if self.reactor.shared().registry().is_err() {
            return;
        }
        match self.reactor.poll_timeout() {
            // What cannot be waked is readable at its next event.
            Some(Duration::ZERO) => drop(self.waker.wake()),
            Some(timeout) => self.set_timer(timeout),
            None if self.expires.take().is_some() => self.write_timer(NEVER),
            None => {}
        }
    }

    fn set_timer(&self, timeout: Duration) {
        let now = Instant::now();
        // One that expires sooner comes before all that is due, and is set anew then. (The same deadline
        // is a little later each time that it is asked for.)
        let is_soon = |expires: Instant| now < expires && expires <= now + timeout + SLACK;
        if self.expires.get().is_some_and(is_soon) {
            return;
        }
        self.expires.set(Some(now + timeout));
        self.write_timer(Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
    }

    fn write_timer(&self, value: Timespec) {
        let value = Itimerspec { it_interval: NEVER, it_value: value };
        // It cannot fail: the descriptor is a timer's, and the times are in range.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value);
    }

    /// Keeps I1 when this drops, even if a turn unwinds.
    pub(super) fn after_turn(self: &Rc<Self>) -> impl Sized + use<> {
        UpdateOnDrop(Rc::clone(self))
    }
}

struct UpdateOnDrop(Rc<DueSignal>);

impl Drop for UpdateOnDrop {
    fn drop(&mut self) {
        in_drop(|| self.0.update());
    }
}

impl fmt::Debug for DueSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DueSignal").field("expires", &self.expires).finish_non_exhaustive()
    }
}
