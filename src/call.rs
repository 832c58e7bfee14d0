//! What a call is: its name ([`CallId`]), the open trait for call types ([`Call`]), and the one
//! attempt to dial it.
//!
//! - I1 A call is live only in an [`Attempt`], which ends it in exactly one way: finished, refused,
//!   or (if it unwinds) panicked. If its recipient was let go meanwhile, that comes before the value
//!   drops ([`Attempt::end_early`]).

use alloc::boxed::Box;
use core::fmt;
use core::mem;
use core::num::NonZeroU64;
use core::panic::Location;

use crate::observe::Step;
use crate::queue::{Core, QueueHandle};
use crate::recipient::Line;
use crate::slots::Key;

pub(crate) mod inline;

/// Names one call of one queue.
///
/// Small (16 bytes) and `Copy`. It is never used again for another call in the life of the
/// process, and means nothing to another queue. Having it is no proof of any right: whoever has
/// the id can cancel the call.
///
/// Prints as `#17` for the queue's 18th call scheduled, and as `#c3.1` for a callback. Ordered, so
/// that it can be a key; the order of callbacks means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    queue: NonZeroU64,
    /// The call's position in the queue, or [`CallId::CALLBACK`], slot and generation.
    key: u64,
}

impl CallId {
    /// Set in the key of a call that began as a callback.
    const CALLBACK: u64 = 1 << 63;

    /// Positions end here.
    pub(crate) const END: u64 = Self::CALLBACK;

    pub(crate) const fn new(queue: NonZeroU64, key: u64) -> Self {
        Self { queue, key }
    }

    pub(crate) const fn callback_key(key: Key) -> u64 {
        Self::CALLBACK | (key.slot as u64) << 32 | key.generation as u64
    }

    pub(crate) const fn queue(self) -> NonZeroU64 {
        self.queue
    }

    pub(crate) const fn named(self) -> Named {
        if self.key & Self::CALLBACK == 0 {
            return Named::Position(self.key);
        }
        let slot = ((self.key & !Self::CALLBACK) >> 32) as u32;
        Named::Callback(Key { slot, generation: self.key as u32 })
    }
}

/// What a [`CallId`] names within its queue.
pub(crate) enum Named {
    Position(u64),
    Callback(Key),
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            Named::Position(position) => write!(f, "#{position}"),
            Named::Callback(Key { slot, generation }) => write!(f, "#c{slot}.{generation}"),
        }
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self} of queue {})", self.queue)
    }
}

/// A type of call to a recipient.
///
/// Most calls are closures ([`Address::call`](crate::Address::call)). Implement this trait for a
/// call with a check of its own, and schedule it with
/// [`Address::schedule`](crate::Address::schedule).
///
/// Before the queue dials a call it asks, in this order (rule R8): was it canceled? is the
/// recipient gone? is the recipient live? and then [`can_dial`](Self::can_dial).
///
/// # Examples
///
/// ```
/// use switchboard::{Call, CallQueue, Line};
///
/// struct Door { open: bool, visitors: u32 }
///
/// struct Enter;
///
/// impl Call for Enter {
///     type Recipient = Door;
///
///     fn can_dial(&self, door: &Door) -> Result<(), &'static str> {
///         if door.open { Ok(()) } else { Err("the door is closed") }
///     }
///
///     fn dial(self, door: &mut Door, _: &Line<'_, Door>) {
///         door.visitors += 1;
///     }
/// }
///
/// let queue = CallQueue::new();
/// let door = queue.recipient(Door { open: false, visitors: 0 });
/// door.schedule(Enter)?;
/// door.call(|door, _| door.open = true)?;
/// door.schedule(Enter)?;
/// let report = queue.dial_all();
/// assert_eq!((report.refused, report.dialed), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Call: Sized + 'static {
    /// The type of the recipient.
    type Recipient: 'static;

    /// Says whether the call may be dialed.
    ///
    /// The recipient is live meanwhile: if this lets it go, and does not object, the handler runs all
    /// the same, before the value drops.
    ///
    /// # Errors
    ///
    /// Says why not; the call then ends Refused.
    fn can_dial(&self, recipient: &Self::Recipient) -> Result<(), &'static str> {
        let _ = recipient;
        Ok(())
    }

    /// Delivers the call.
    fn dial(self, recipient: &mut Self::Recipient, line: &Line<'_, Self::Recipient>);
}

/// What the queue stores of a call: the crate's own call types, over which [`Call`] is open.
pub(crate) trait Body: Sized + 'static {
    /// Attempts to dial the call, which was scheduled at `site`.
    fn dial(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>);
}

impl<B: Body> Body for Box<B> {
    fn dial(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>) {
        (*self).dial(attempt, site);
    }
}

/// Why a call was not dialed when its turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The recipient's owner had let it go (rule R9), or its value is still being made.
    Gone,
    /// The recipient was still live with another call (rule R2). This is a bug: a handler dialed
    /// the queue while a call to its own recipient was pending.
    Live {
        /// The call that was live.
        live: CallId,
        /// Where the live call was scheduled.
        site: &'static Location<'static>,
    },
    /// The call type's own check said so (rule R8).
    Check(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the recipient is gone"),
            Self::Live { live, site } => {
                write!(f, "the recipient is live with call {live} scheduled at {site}")
            }
            Self::Check(reason) => f.write_str(reason),
        }
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
    pub(crate) fn at_callback<B: Body>(&mut self, key: Key) -> Option<B> {
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
