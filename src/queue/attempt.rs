//! One attempt to dial a call, and its end.
//!
//! - I1 A call is live only in an [`Attempt`], which ends it in exactly one way: finished, refused,
//!   or (if it unwinds) panicked. If its recipient was released meanwhile, that comes before the value
//!   drops ([`Attempt::end_early`]).

use core::mem;
use core::panic::Location;

use crate::erased::{DialContext, Payload};
use crate::id::CallId;
use crate::queue::QueueHandle;
use crate::queue::inner::Core;
use crate::slots::Key;
use crate::step::{Refusal, Step};

/// What a queue's calls are dialed with: an [`Attempt`].
pub(crate) enum Dialing {}

impl DialContext for Dialing {
    type At<'a> = Attempt<'a>;

    #[inline(always)]
    fn begin(attempt: &mut Attempt<'_>, position: u64) {
        attempt.begin(position);
    }
}

/// How a handler, or the check before it, was left.
#[derive(Clone, Copy)]
pub(crate) enum Ended {
    Returned,
    Unwound,
}

impl Ended {
    /// Counts the end of the live call `key`, and tells it.
    fn note(self, core: &Core, key: u64) {
        match self {
            Self::Returned => {
                core.tally.finished.add();
                core.tell(key, || Step::Finished);
            }
            Self::Unwound => {
                core.tally.panicked.add();
                core.tell_end(key, Step::Panicked);
            }
        }
    }
}

/// The attempts of one turn to dial, one after the other. What becomes of a call whose turn has
/// come is counted and told in its methods, and only there (I1).
pub(crate) struct Attempt<'a> {
    queue: &'a QueueHandle,
    core: &'a Core,
    /// The key of the live call.
    key: u64,
    /// Whether an observer is to be told that a handler is about to run.
    observed: bool,
    /// The number of live calls around this turn.
    live_around: u64,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(queue: &'a QueueHandle) -> Self {
        let core = queue.core();
        let (observed, live_around) = (core.is_observed(), core.live());
        Self { queue, core, key: 0, observed, live_around }
    }

    /// The turn of the call `key` has come: it is live from now on.
    #[inline(always)]
    pub(crate) const fn begin(&mut self, key: u64) {
        self.key = key;
    }

    /// The handler has returned, or the call was over before. (`core` is the same as this one's, at
    /// hand.)
    #[inline(always)]
    pub(crate) fn finish(&mut self, core: &Core) {
        if core.is_unattended() {
            core.tally.finished.add();
        } else {
            self.finish_attentively();
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_attentively(&mut self) {
        self.look();
        if self.is_live() {
            Ended::Returned.note(self.core, self.key);
        }
    }

    /// Whether the call did not end yet.
    fn is_live(&self) -> bool {
        self.core.live() > self.live_around
    }

    /// Looks whether there is an observer.
    pub(crate) fn look(&mut self) {
        self.observed = self.core.attend();
    }

    /// The turn is over, and nothing unwinds.
    pub(crate) const fn done(self) {
        mem::forget(self);
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
        self.core.id(self.key)
    }

    /// Whether an observer is to be told that the handler is about to run.
    #[inline(always)]
    pub(crate) const fn is_observed(&self) -> bool {
        self.observed
    }

    /// Tells that the handler is about to run.
    pub(crate) fn dialed(&self) {
        self.core.tell(self.key, || Step::Dialed);
    }

    /// Ends the call, scheduled at `site`, without dialing it.
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse(&self, refusal: Refusal, site: &'static Location<'static>) {
        self.core.tally.refused.add();
        self.core.call_is_over();
        self.core.tell_end(self.key, Step::Refused { refusal, site });
    }

    /// The call is that of an answered callback, known as `key` so far. Takes out the body, which
    /// is there until its turn has come.
    #[inline(always)]
    pub(crate) fn at_callback<B: Payload<Dialing>>(&mut self, key: Key) -> Option<B> {
        self.key = CallId::callback_key(key);
        self.core.take_callback(key)
    }

    /// The call was that of the callback `key`, and canceled.
    pub(crate) fn at_canceled(&self, key: Key) {
        self.core.forget_canceled(key);
        self.core.skip_void();
        self.core.call_is_over();
    }

    /// Ends the live call `key` ahead of its attempt, which then finds it over: the drop of the
    /// recipient's value, which comes in between, is no part of the call.
    pub(crate) fn end_early(core: &Core, key: u64, ended: Ended) {
        core.call_is_over();
        ended.note(core, key);
    }
}

impl Drop for Attempt<'_> {
    /// Unwinding. If the handler does, its call ends.
    fn drop(&mut self) {
        if self.is_live() {
            Ended::Unwound.note(self.core, self.key);
        }
    }
}
