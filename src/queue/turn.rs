//! One turn of the queue.

use crate::erased::DialNext;
use crate::outcome::Report;
use crate::queue::attempt::Attempt;
use crate::queue::budget::Budget;
use crate::queue::handle::QueueHandle;
use crate::queue::listener::flag;

impl QueueHandle {
    /// Does a turn; none if the queue is closed, or being closed (rule R11). (One that is closed
    /// during a turn is empty when that is done.)
    #[inline(always)]
    pub(super) fn turn(&self, dial: impl FnOnce(Turn<'_>) -> Report) -> Report {
        let core = self.core();
        if core.is_closed() {
            return Report { remaining: core.pending(), ..Report::default() };
        }
        dial(self.begin_turn(|| ()))
    }

    /// Makes what follows part of a turn. Calls `if_observed` if observers are notified of it.
    #[inline(always)]
    pub(crate) fn begin_turn(&self, if_observed: impl FnOnce()) -> Turn<'_> {
        // First, as an observer may panic.
        let turn = Turn(self);
        self.core().enter_turn(if_observed);
        turn
    }
}

/// A turn in progress, even while it unwinds.
pub(crate) struct Turn<'a>(&'a QueueHandle);

impl Turn<'_> {
    /// Dials the calls before position `end`.
    #[inline(always)]
    pub(super) fn dial_before(self, end: u64) -> Report {
        self.dial_while(move || end, |_| true)
    }

    /// Dials within a budget, and only calls before position `end`, which may change meanwhile.
    #[inline]
    pub(crate) fn dial(self, budget: Budget<'_>, end: impl Fn() -> u64) -> Report {
        let Budget { mut calls, spent } = budget;
        self.dial_while(end, |attempt| {
            if calls == 0 {
                return false;
            }
            calls -= 1;
            spent.is_none_or(|spent| {
                let may_go_on = !spent();
                attempt.look_for_observers();
                may_go_on
            })
        })
    }

    /// Dials deferred calls that are ready, then calls before position `end`, for as long as
    /// `may_go_on` says.
    #[inline(always)]
    fn dial_while(
        self,
        end: impl Fn() -> u64,
        mut may_go_on: impl FnMut(&mut Attempt<'_>) -> bool,
    ) -> Report {
        let core = self.0.core();
        let mut attempt = Attempt::new(self.0);
        let mut ready = core.listener.has(flag::READY);
        let remaining = loop {
            if !may_go_on(&mut attempt) {
                break core.pending();
            }
            if ready {
                ready = attempt.dial_deferred();
                continue;
            }
            let end = end();
            match core.calls().dial_next(end, &mut attempt) {
                DialNext::Dialed => ready = attempt.finish(core),
                DialNext::Tombstone(note) => core.pass_tombstone(note),
                DialNext::Empty if end == u64::MAX => break core.deferred.len(),
                DialNext::Empty => break core.pending(),
            }
        };
        attempt.done(core, remaining)
    }
}

impl Drop for Turn<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.core().leave_turn();
    }
}
