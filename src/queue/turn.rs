//! One turn of the queue.

use crate::erased::DialNext;
use crate::outcome::Report;
use crate::outside::TurnStep;
use crate::queue::attempt::Attempt;
use crate::queue::budget::Budget;
use crate::queue::handle::QueueHandle;
use crate::queue::listener::flag;
use crate::queue::state::Core;
use crate::unwind::{RunOnDrop, in_drop};

impl QueueHandle {
    /// Does a turn; none if the queue is closed, or being closed (rule R11). (One that is closed
    /// during a turn is empty when that is done.)
    #[inline(always)]
    pub(super) fn turn(&self, dial: impl FnOnce(Turn<'_>) -> Report) -> Report {
        let core = self.core();
        if core.listener.has(flag::ON_ENTER) {
            if core.listener.has(flag::CLOSED | flag::OBSERVED) && !self.announce_turn() {
                return Report { remaining: core.pending(), ..Report::default() };
            }
            core.lower(flag::WAKE);
        }
        dial(Turn::enter(self))
    }

    /// Begins a turn with `note`, which runs no code of a user, and makes what follows part of it. Calls
    /// `if_observed` if observers are notified of it.
    #[cfg(feature = "mio")]
    #[inline(always)]
    pub(crate) fn begin_turn(&self, note: impl FnOnce(), if_observed: impl FnOnce()) -> Turn<'_> {
        let core = self.core();
        if core.listener.has(flag::WAKE) {
            core.lower(flag::WAKE);
        }
        note();
        if core.is_observed() {
            self.begin_observed(if_observed);
        }
        Turn::enter(self)
    }

    #[cfg(feature = "mio")]
    #[cold]
    #[inline(never)]
    fn begin_observed(&self, if_observed: impl FnOnce()) {
        if_observed();
        let _ = self.announce_turn();
        self.core().lower(flag::WAKE);
    }

    /// Notifies the observers that a turn begins, unless it is part of another one. False if the queue is
    /// closed.
    #[cold]
    #[inline(never)]
    fn announce_turn(&self) -> bool {
        let core = self.core();
        if !core.is_closed() && !core.listener.is_in_turn() {
            let number = core.listener.count_turn();
            let began = &core.listener.turn_began;
            began.set(Some(core.reported()));
            let kept = {
                // Part of a turn too, as an observer may dial. If one panics, this turn ends.
                let _turn = Turn::enter(self);
                core.notify_of_turn(&TurnStep::Begins { number });
                began.take()
            };
            began.set(kept);
        }
        !core.is_closed()
    }
}

/// What a turn may do next.
enum Allowed {
    /// Nothing: its budget is spent.
    Nothing,
    Dial,
    /// Dial a deferred call first, if one before the turn's end is ready since the budget's condition ran.
    DialDeferred,
}

/// A turn in progress, even while it unwinds.
pub(crate) struct Turn<'a>(&'a QueueHandle);

impl<'a> Turn<'a> {
    /// Begins a turn, in which no call wakes the embedder.
    #[inline(always)]
    fn enter(queue: &'a QueueHandle) -> Self {
        queue.core().enter_turn();
        Self(queue)
    }

    /// Dials the calls before position `end`.
    #[inline(always)]
    pub(super) fn dial_before(self, end: u64) -> Report {
        self.dial_while(move || end, |_| Allowed::Dial)
    }

    /// Dials within a budget, and only calls before position `end`, which may change meanwhile.
    #[inline]
    pub(crate) fn dial(self, budget: Budget<'_>, end: impl Fn() -> u64) -> Report {
        let Budget { mut calls, spent } = budget;
        self.dial_while(end, |attempt| {
            if calls == 0 {
                return Allowed::Nothing;
            }
            calls -= 1;
            let Some(spent) = spent else { return Allowed::Dial };
            let is_spent = spent();
            // It may have used the queue.
            attempt.look_at_flags();
            match attempt.has_ready() {
                _ if is_spent => Allowed::Nothing,
                true => Allowed::DialDeferred,
                false => Allowed::Dial,
            }
        })
    }

    /// Dials deferred calls that are ready, then calls in order, all before position `end`, for as long as
    /// `next` returns that there may be another one.
    #[inline(always)]
    fn dial_while(
        self,
        end: impl Fn() -> u64,
        mut next: impl FnMut(&mut Attempt<'_>) -> Allowed,
    ) -> Report {
        let core = self.0.core();
        let mut attempt = Attempt::new(self.0);
        let mut ready = core.listener.has(flag::READY);
        let remaining = 'turn: loop {
            while ready {
                if let Allowed::Nothing = next(&mut attempt) {
                    break 'turn core.pending();
                }
                ready = attempt.dial_deferred(end());
            }
            while !ready {
                match next(&mut attempt) {
                    Allowed::Nothing => break 'turn core.pending(),
                    Allowed::DialDeferred if core.deferred.is_ready_before(end()) => {
                        ready = attempt.dial_deferred(end());
                        continue;
                    }
                    Allowed::Dial | Allowed::DialDeferred => {}
                }
                let end = end();
                match core.calls().dial_next(end, &mut attempt) {
                    DialNext::Dialed => ready = attempt.finish(core),
                    DialNext::Tombstone(note) => core.pass_tombstone(note),
                    DialNext::Empty if end == u64::MAX => break 'turn core.deferred.len(),
                    DialNext::Empty => break 'turn core.pending(),
                }
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

/// The count of turns in progress.
impl Core {
    #[inline(always)]
    fn enter_turn(&self) {
        let turns = &self.listener.turns;
        turns.set(turns.get() + 1);
    }

    #[inline(always)]
    fn leave_turn(&self) {
        let turns = &self.listener.turns;
        turns.set(turns.get() - 1);
        if turns.get() > 0 || self.listener.has(flag::ON_LEAVE) {
            self.leave_turn_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_turn_slow(&self) {
        let _rest = RunOnDrop(Some(|| self.clear_up()));
        if !self.listener.is_in_turn()
            && let Some(before) = self.listener.turn_began.take()
        {
            let number = self.listener.reported_turns.get() - 1;
            let report = self.report_since(before, self.pending());
            // What observers schedule wakes the embedder, and what they dial is part of this turn.
            self.arm();
            let turns = &self.listener.turns;
            turns.set(1);
            let _left = RunOnDrop(Some(|| turns.set(0)));
            in_drop(|| self.notify_of_turn(&TurnStep::Ends { number, report }));
        }
    }
}
