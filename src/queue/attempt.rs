//! One attempt to dial a call, and its end.
//!
//! - I1 A call is live from when its attempt begins until its end is counted, which is done in
//!   [`Attempt::finish`], [`HandlerEnd::count`] or [`Attempt::refuse`]; or it is deferred or put back. So a call
//!   of this turn is live exactly if the queue has more live calls than were live around the turn
//!   ([`Attempt::is_live`]).
//! - I2 Code that ends a call before its payload returns raises `OVER`, so that the turn looks before
//!   it counts the call as finished.

use core::mem;

use crate::erased::Key;
use crate::erased::{DialContext, Erased, Site};
use crate::id::CallId;
use crate::outcome::Report;
use crate::queue::deferred::DeferredCall;
use crate::queue::handle::QueueHandle;
use crate::queue::listener::flag;
use crate::queue::state::{Core, Dialing, QUEUE_DROPPED};
use crate::step::{Refusal, Step};
use crate::unwind::{DropLast, in_drop};

impl DialContext for Dialing {
    type At<'a> = Attempt<'a>;

    #[inline(always)]
    fn begin(attempt: &mut Attempt<'_>, position: u64) {
        attempt.key = position;
    }

    fn gone(attempt: &mut Attempt<'_>, key: Key, site: Site) {
        attempt.begin_callback(key);
        attempt.refuse(Refusal::Gone, site);
    }
}

/// How a handler, or the check before it, was left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandlerEnd {
    Returned,
    Unwound,
}

impl HandlerEnd {
    /// Counts the end of the live call `key`, and notifies the observers.
    fn count(self, core: &Core, key: u64) {
        match self {
            Self::Returned => {
                core.tally.dialed.add();
                core.notify(key, || Step::Finished);
            }
            Self::Unwound => {
                core.tally.dialed.add();
                core.tally.panicked.add();
                core.notify_end(key, Step::Panicked);
            }
        }
    }
}

/// The attempts of one turn to dial, one after the other.
pub(crate) struct Attempt<'a> {
    queue: &'a QueueHandle,
    /// The key of the live call.
    key: u64,
    /// Set if the live call was deferred or put back before.
    again: Option<Again>,
    /// The flags of the listener, as they were looked at last. If `OBSERVED` is among them, observers must
    /// be notified that a handler is about to run.
    flags: u8,
    /// The number of live calls around this turn.
    live_around: u64,
    /// The counts of a report as this turn began. (Here, so that the loop of the turn keeps nothing for
    /// them.)
    before: [u64; 3],
}

/// What is known of a call that is attempted again.
#[derive(Clone, Copy)]
struct Again {
    position: u64,
    /// Whether observers have been notified of its dial.
    notified: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(queue: &'a QueueHandle) -> Self {
        let core = queue.core();
        // Outside of all turns nothing is live.
        let live_around = if core.listener.is_nested() { core.live() } else { 0 };
        let flags = core.listener.flags.get();
        Self { queue, key: 0, again: None, flags, live_around, before: core.reported() }
    }

    /// The live call is that of the callback `key`.
    #[inline(always)]
    pub(crate) const fn begin_callback(&mut self, key: Key) {
        self.key = CallId::callback_key(key);
    }

    /// The payload has returned. Ends the call as finished if it is still live. (`core` is the
    /// same as this one's, at hand.) Returns whether a deferred call is ready.
    #[inline(always)]
    pub(super) fn finish(&mut self, core: &Core) -> bool {
        if core.listener.has(flag::ON_FINISH) {
            self.finish_slow()
        } else {
            core.tally.dialed.add();
            false
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_slow(&mut self) -> bool {
        let core = self.core();
        let may_be_over = core.listener.has(flag::OVER);
        core.lower(flag::OVER);
        self.look_at_flags();
        // (I2)
        if !may_be_over || self.is_live() {
            HandlerEnd::Returned.count(core, self.key);
        }
        core.listener.has(flag::READY)
    }

    /// Whether the call did not end yet (I1).
    fn is_live(&self) -> bool {
        self.core().live() > self.live_around
    }

    pub(super) fn look_at_flags(&mut self) {
        self.flags = self.core().listener.flags.get();
    }

    /// Whether a deferred call was ready as the flags were looked at last.
    pub(super) const fn has_ready(&self) -> bool {
        self.flags & flag::READY != 0
    }

    /// The turn is over, and nothing unwinds. Returns its report. (`core` is as for `finish`.)
    #[inline(always)]
    pub(super) fn done(self, core: &Core, remaining: u64) -> Report {
        let before = self.before;
        mem::forget(self);
        core.report_since(before, remaining)
    }

    #[inline(always)]
    fn core(&self) -> &'a Core {
        self.queue.core()
    }

    #[inline(always)]
    pub(crate) const fn queue(&self) -> &'a QueueHandle {
        self.queue
    }

    #[inline(always)]
    pub(crate) const fn key(&self) -> u64 {
        self.key
    }

    #[inline(always)]
    pub(crate) fn id(&self) -> CallId {
        self.core().id(self.key)
    }

    #[inline(always)]
    pub(crate) const fn is_observed(&self) -> bool {
        self.flags & flag::OBSERVED != 0
    }

    /// Ends the call, scheduled at `site`, without dialing it.
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse(&self, refusal: Refusal, site: Site) {
        self.core().tally.refused.add();
        self.core().raise(flag::OVER);
        self.core().notify_end(self.key, Step::Refused { refusal, site });
    }

    /// Ends the live call `key` before its payload returns: the drop of the recipient's value, which
    /// runs in between, is no part of the call.
    pub(crate) fn end_early(core: &Core, key: u64, end: HandlerEnd) {
        core.raise(flag::OVER);
        end.count(core, key);
    }

    /// Puts the call off until [`Core::unblock_first`]: its recipient is live with the call `live`,
    /// scheduled at `live_site`.
    #[cold]
    #[inline(never)]
    pub(crate) fn defer(&self, call: Erased<Dialing>, key: u64, (live, live_site): (CallId, Site)) {
        let position = self.position();
        let (site, recipient) = (call.site(), call.recipient());
        let notified = self.again.is_some_and(|again| again.notified);
        self.core()
            .deferred
            .block(position, DeferredCall { key, recipient, notified, call: Some(call) });
        self.core().raise(flag::OVER);
        self.core().notify_end(key, Step::Deferred { live, live_site, site });
    }

    /// The position of the live call, before any user code has run for it.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.again.map_or_else(|| self.core().calls().head() - 1, |again| again.position)
    }

    /// Notifies the observers that the handler of `call`, whose position is or was `position`, is about
    /// to run. If one of them panics, the call stays pending, as it may be a promise: the next turn
    /// dials it, without a second [`Step::Dialed`]. Else returns the call.
    pub(crate) fn notify_dialed<C>(
        &self,
        position: u64,
        call: C,
        erase: impl FnOnce(C) -> Erased<Dialing>,
    ) -> C {
        let mut put_back =
            PutBackOnDrop { core: self.core(), position, key: self.key, call: Some((call, erase)) };
        self.notify_of_dial();
        match put_back.call.take() {
            Some((call, _)) => call,
            None => unreachable!("taken on unwinding only"),
        }
    }

    /// Notifies the observers, once, that a handler is about to run.
    #[inline]
    fn notify_of_dial(&self) {
        if self.again.is_some_and(|again| again.notified) {
            self.core().notify_dial_again(self.key);
        } else {
            self.core().notify(self.key, || Step::Dialed);
        }
    }

    /// Dials the first deferred call that is ready, if its position is less than `end`. Returns whether
    /// another one is ready then. (If none is, all that is pending before `end` has been dialed: what is
    /// deferred was reached before.)
    #[cold]
    #[inline(never)]
    pub(super) fn dial_deferred(&mut self, end: u64) -> bool {
        let core = self.core();
        let popped = core.deferred.pop_ready(end);
        if !core.deferred.has_ready() {
            core.lower(flag::READY);
        }
        let Some((position, deferred)) = popped else { return false };
        let DeferredCall { key, notified, call, .. } = deferred;
        let Some(call) = call else {
            core.pass_canceled_deferred(key);
            return core.listener.has(flag::READY);
        };
        self.again = Some(Again { position, notified });
        call.dial(key, self);
        self.again = None;
        let ready = self.finish(core);
        self.look_at_flags();
        ready
    }
}

/// Puts a call back if an observer panics.
struct PutBackOnDrop<'a, C, E: FnOnce(C) -> Erased<Dialing>> {
    core: &'a Core,
    position: u64,
    key: u64,
    call: Option<(C, E)>,
}

impl<C, E: FnOnce(C) -> Erased<Dialing>> Drop for PutBackOnDrop<'_, C, E> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some((call, erase)) = self.call.take() {
            self.core.put_back(self.position, self.key, erase(call));
        }
    }
}

impl Drop for Attempt<'_> {
    /// Unwinding. If the handler does, its call ends.
    fn drop(&mut self) {
        if self.is_live() {
            in_drop(|| HandlerEnd::Unwound.count(self.core(), self.key));
        }
    }
}

impl Core {
    /// What a report counts, since the queue was made: calls dialed, canceled, and refused.
    #[inline(always)]
    pub(super) fn reported(&self) -> [u64; 3] {
        [self.tally.dialed.get(), self.skipped.get(), self.tally.refused.get()]
    }

    /// What was counted since the counts were `before`.
    #[inline(always)]
    pub(super) fn report_since(&self, before: [u64; 3], remaining: u64) -> Report {
        let [dialed, canceled, refused] = self.reported();
        Report {
            dialed: dialed - before[0],
            canceled: canceled - before[1],
            refused: refused - before[2],
            remaining,
        }
    }

    /// Puts a call back that has not run, as an observer panics.
    #[cold]
    #[inline(never)]
    fn put_back(&self, position: u64, key: u64, call: Erased<Dialing>) {
        in_drop(|| {
            if self.is_closed() {
                // The observer has dropped the queue before.
                self.forgotten.add();
                let _call = DropLast::new(call);
                return self.end_canceled(key, QUEUE_DROPPED);
            }
            let recipient = call.recipient();
            let call = DeferredCall { key, recipient, notified: true, call: Some(call) };
            self.deferred.put_back(position, call);
            self.raise(flag::READY);
            self.notify_put_back(key);
        });
    }

    /// Makes the first deferred call of a recipient ready: its live call has ended. Returns false if
    /// none is deferred.
    pub(crate) fn unblock_first(&self, recipient: u64) -> bool {
        let has_any = self.deferred.unblock_first(recipient);
        self.raise_if_ready();
        has_any
    }

    /// Makes all deferred calls of a recipient ready: it is gone.
    pub(crate) fn unblock_all(&self, recipient: u64) {
        self.deferred.unblock_all(recipient);
        self.raise_if_ready();
    }

    fn raise_if_ready(&self) {
        if self.deferred.has_ready() {
            self.raise(flag::READY);
        }
    }
}
