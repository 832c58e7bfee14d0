//! One turn of the queue: how long it goes on, and what it reports.

use core::fmt;

use crate::outcome::Report;
use crate::queue::Attempt;
use crate::queue::QueueHandle;

/// How long [`QueueHandle::dial`] may go on: a number of calls, a condition, or both.
///
/// The queue touches no clock. For a limit of time, pass one in:
///
/// ```
/// use std::time::{Duration, Instant};
/// use switchboard::{Budget, CallQueue};
///
/// let queue = CallQueue::new();
/// let end = Instant::now() + Duration::from_millis(2);
/// let report = queue.dial(Budget::calls(1024).until(&|| Instant::now() >= end));
/// assert_eq!(report.remaining, 0);
/// ```
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    calls: usize,
    spent: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Budget<'a> {
    /// At most `calls` calls whose turn comes, whether they are dialed, refused or found canceled.
    pub const fn calls(calls: usize) -> Self {
        Self { calls, spent: None }
    }

    /// Stops as soon as `spent` says so; it is asked before each call.
    #[must_use]
    pub const fn until(self, spent: &'a dyn Fn() -> bool) -> Self {
        Self { spent: Some(spent), ..self }
    }
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, spent } = self;
        write!(f, "Budget({calls} calls{})", if spent.is_some() { ", condition" } else { "" })
    }
}

impl QueueHandle {
    /// Does a turn; none if the queue is closed, or being closed (rule R11). (One that is closed
    /// during a turn is empty when that is done.)
    #[inline(always)]
    pub(super) fn turn(&self, dial: impl FnOnce(Turn<'_>) -> Report) -> Report {
        let core = self.core();
        if core.is_closed() {
            return Report { remaining: core.ring.pending(), ..Report::default() };
        }
        dial(self.begin_turn())
    }

    /// Makes what follows part of a turn.
    #[inline(always)]
    pub(crate) fn begin_turn(&self) -> Turn<'_> {
        self.core().enter_turn();
        Turn(self)
    }
}

/// A turn in progress, also while it unwinds.
pub(crate) struct Turn<'a>(&'a QueueHandle);

impl Turn<'_> {
    /// Dials the calls before position `end`.
    #[inline(always)]
    pub(super) fn dial_before(self, end: u64) -> Report {
        self.dial_while(end, |_| true)
    }

    /// Dials within a budget.
    #[inline]
    pub(crate) fn dial(self, budget: Budget<'_>) -> Report {
        let Budget { mut calls, spent } = budget;
        self.dial_while(u64::MAX, |attempt| {
            if calls == 0 {
                return false;
            }
            calls -= 1;
            spent.is_none_or(|spent| {
                let should_run = !spent();
                attempt.look();
                should_run
            })
        })
    }

    /// Dials calls before position `end` for as long as `may_go_on` says.
    #[inline(always)]
    fn dial_while(self, end: u64, mut may_go_on: impl FnMut(&mut Attempt<'_>) -> bool) -> Report {
        let core = self.0.core();
        let before = core.report();
        let mut attempt = Attempt::new(self.0);
        while may_go_on(&mut attempt) && core.ring.dial_next(end, core, &mut attempt) {}
        attempt.done();
        let after = core.report();
        Report {
            dialed: after.dialed - before.dialed,
            canceled: after.canceled - before.canceled,
            refused: after.refused - before.refused,
            remaining: after.remaining,
        }
    }
}

impl Drop for Turn<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.core().leave_turn();
    }
}
