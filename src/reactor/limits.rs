//! The limits of a reactor's turn: how many calls it dials, how long it runs (`guest.rs` looks at the clock),
//! and how many calls from outside enter it (rule M6).
//!
//! - I1 However much is pending, at least an eighth of the budget of each kind of outside calls enters a
//!   turn (or all there is), and at most a budget. Of readiness a poll's whole batch does, which is
//!   bounded by itself (rule M1).
//! - I2 A readiness call that was asked for `again` by one that was pending before the turn, or was
//!   asked for itself in this turn, is not dialed before the next poll.

use core::cell::Cell;
use core::time::Duration;

use crate::queue::QueueHandle;

/// Calls dialed between two polls, by default.
const BUDGET: usize = 1024;

/// At least this part of the budget is each kind's of outside calls.
const SHARE: usize = 8;

/// The limits of a reactor's turns.
pub(super) struct Limits {
    calls: Cell<usize>,
    time: Cell<Option<Duration>>,
    /// What was pending as the turn began has positions before this.
    begin: Cell<u64>,
    /// The position of the first call that was asked for `again` in this turn.
    again: Cell<u64>,
    /// The turn ends before this position (I2).
    end: Cell<u64>,
}

impl Limits {
    pub(super) const fn new() -> Self {
        let [again, end] = [const { Cell::new(u64::MAX) }; 2];
        Self { calls: Cell::new(BUDGET), time: Cell::new(None), begin: Cell::new(0), again, end }
    }

    pub(super) fn set_calls(&self, calls: usize) {
        self.calls.set(calls);
    }

    pub(super) fn set_time(&self, time: Option<Duration>) {
        self.time.set(time);
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.get()
    }

    pub(super) fn time(&self) -> Option<Duration> {
        self.time.get()
    }

    /// How many calls of one kind may enter the queue now (I1).
    pub(super) fn share(&self, queue: &QueueHandle) -> usize {
        let budget = match self.calls.get() {
            // The budget does not limit what a turn dials.
            0 | usize::MAX => BUDGET,
            calls => calls,
        };
        let pending = usize::try_from(queue.core().pending()).unwrap_or(usize::MAX);
        budget.saturating_sub(pending).max(budget.div_ceil(SHARE))
    }

    /// A turn begins.
    #[inline]
    pub(super) fn begin_turn(&self, queue: &QueueHandle) {
        let (scheduled, _) = queue.core().positions();
        self.begin.set(scheduled);
        self.again.set(u64::MAX);
        self.end.set(u64::MAX);
    }

    /// The readiness call whose handler runs asks for another one, which is scheduled next (I2).
    #[inline]
    pub(super) fn note_again(&self, queue: &QueueHandle) {
        let (next, passed) = queue.core().positions();
        // That of the call that runs, or of another one that was scheduled later.
        let asking = passed.saturating_sub(1);
        if asking < self.begin.get() || asking >= self.again.get() {
            self.end.set(self.end.get().min(next));
        } else {
            self.again.set(self.again.get().min(next));
        }
    }

    /// The position before which the turn ends.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.end.get()
    }
}
