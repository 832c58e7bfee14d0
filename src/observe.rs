//! Watching calls: every [`Step`] of every call, every [`OpStep`] of every operation, and the
//! [`Tally`] of how calls ended.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::panic::Location;

use crate::call::{CallId, Refusal};

#[cfg(feature = "journal")]
pub mod journal;
mod operations;
#[cfg(feature = "tracing")]
mod spans;

pub(crate) use operations::Watch;
pub use operations::{OpStep, Outcome};
#[cfg(feature = "tracing")]
pub use spans::DialSpans;
#[cfg(feature = "tracing")]
pub(crate) use spans::log;

/// Sees every step of every call of a queue, as it happens.
///
/// An observer is told after the queue's own state has changed, with nothing borrowed, so it may
/// use the queue. If it panics, the panic goes to whoever caused the step (the one who schedules,
/// cancels or dials) and the queue stays right; during an unwinding it aborts the process, as any
/// second panic does.
///
/// Closures are observers:
///
/// ```
/// use switchboard::{CallId, CallQueue, Step};
///
/// let queue = CallQueue::new();
/// queue.set_observer(|call: CallId, step: &Step| println!("call {call}: {step}"));
/// queue.call(|_| ())?; // prints that call #0 is created and scheduled, and where
/// queue.dial_all(); // prints that it is dialed and finished
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// So are pairs of observers: each step is told to the first, then to the second. If the first
/// panics, the second misses that step. If the first dials or cancels, the second is told of what
/// comes of it before it is told of that step: put the one that acts last, behind a journal say.
///
/// Cost: one predictable branch for each step while no observer is set.
pub trait Observer {
    /// Receives one step of one call.
    fn observe(&self, call: CallId, step: &Step);

    /// Receives one step of one operation, which is named by the call that tells its result: the
    /// upper callback. Closures do not get these.
    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        let _ = (operation, step);
    }
}

impl<F: Fn(CallId, &Step)> Observer for F {
    fn observe(&self, call: CallId, step: &Step) {
        self(call, step);
    }
}

impl<O: Observer + ?Sized> Observer for Rc<O> {
    fn observe(&self, call: CallId, step: &Step) {
        (**self).observe(call, step);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        (**self).observe_operation(operation, step);
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, call: CallId, step: &Step) {
        self.0.observe(call, step);
        self.1.observe(call, step);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        self.0.observe_operation(operation, step);
        self.1.observe_operation(operation, step);
    }
}

/// One step in the life of a call.
///
/// A call that is created and scheduled in one go has both steps, one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The call exists.
    Created {
        /// Whom it is for; none for a function call.
        recipient: Option<RecipientInfo>,
        /// Where it was created.
        site: &'static Location<'static>,
    },
    /// The call is pending.
    Scheduled {
        /// Where it was scheduled.
        site: &'static Location<'static>,
    },
    /// The call is live: its handler is about to run.
    Dialed,
    /// The handler returned.
    Finished,
    /// The call was canceled: its handler will never run.
    Canceled {
        /// The reason given.
        reason: &'static str,
    },
    /// Somebody tried to cancel the call too late. Changes nothing (rule R4).
    LateCancel {
        /// The reason given.
        reason: &'static str,
    },
    /// The call's turn came, and it could not be dialed.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Where the refused call was scheduled.
        site: &'static Location<'static>,
    },
    /// A callback was dropped without being called (rule R5). This is a bug of its caller.
    Abandoned {
        /// Where the callback was created.
        site: &'static Location<'static>,
    },
    /// The handler panicked; or the call's own check did, and it was not dialed.
    Panicked,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { recipient: Some(recipient), site } => {
                write!(f, "created for {recipient} at {site}")
            }
            Self::Created { recipient: None, site } => {
                write!(f, "created as a function call at {site}")
            }
            Self::Scheduled { site } => write!(f, "scheduled at {site}"),
            Self::Dialed => f.write_str("dialed"),
            Self::Finished => f.write_str("finished"),
            Self::Canceled { reason } => write!(f, "canceled: {reason}"),
            Self::LateCancel { reason } => write!(f, "canceled too late: {reason}"),
            Self::Refused { refusal, site } => {
                write!(f, "scheduled at {site}, refused: {refusal}")
            }
            Self::Abandoned { site } => {
                write!(f, "abandoned: the callback created at {site} was dropped without a call")
            }
            Self::Panicked => f.write_str("panicked"),
        }
    }
}

/// Which recipient a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecipientInfo {
    /// The recipient's number: how many its queue had made before.
    pub number: u64,
    /// The full name of the recipient's type.
    pub type_name: &'static str,
}

impl fmt::Display for RecipientInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", short_name(self.type_name), self.number)
    }
}

/// A type's own name, without path and parameters; a tuple, say, has no such name.
fn short_name(type_name: &'static str) -> &'static str {
    let named = type_name.starts_with(|first: char| first.is_alphabetic());
    let path = type_name.split('<').next().filter(|_| named);
    path.and_then(|path| path.rsplit("::").next()).unwrap_or(type_name)
}

/// How many calls there are, and how they ended.
///
/// Rule R12, at every instant: [`created`](Self::created) is the sum of all other fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// All calls ever made.
    pub created: u64,
    /// Callbacks not called yet.
    pub unscheduled: u64,
    /// Scheduled, no attempt to dial yet.
    pub pending: u64,
    /// Dialed, handler not yet returned.
    pub live: u64,
    /// Handler returned.
    pub finished: u64,
    /// Canceled before they were dialed.
    pub canceled: u64,
    /// Not dialed when their turn came, see [`Refusal`].
    pub refused: u64,
    /// Callbacks dropped without being called.
    pub abandoned: u64,
    /// Handler unwound.
    pub panicked: u64,
}

impl Tally {
    /// Whether the sum of rule R12 holds.
    pub const fn balances(&self) -> bool {
        let now = self.unscheduled + self.pending + self.live;
        let over = self.finished + self.canceled + self.refused + self.abandoned + self.panicked;
        self.created == now + over
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, unscheduled, pending, live, .. } = self;
        let Self { finished, canceled, refused, abandoned, panicked, .. } = self;
        write!(
            f,
            "{created} created = {unscheduled} unscheduled + {pending} pending + {live} live"
        )?;
        write!(f, " + {finished} finished + {canceled} canceled + {refused} refused")?;
        write!(f, " + {abandoned} abandoned + {panicked} panicked")
    }
}

/// The running counts behind a [`Tally`]; the ring knows the others.
#[derive(Default)]
pub(crate) struct Counters {
    /// Callbacks ever created.
    pub(crate) callbacks: Count,
    /// Callbacks ever answered in time, so scheduled.
    pub(crate) answered: Count,
    /// Callbacks that ended without being answered in time.
    pub(crate) withdrawn: Count,
    pub(crate) canceled: Count,
    pub(crate) finished: Count,
    pub(crate) refused: Count,
    pub(crate) abandoned: Count,
    pub(crate) panicked: Count,
}

/// One running count.
#[derive(Default)]
pub(crate) struct Count(Cell<u64>);

impl Count {
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }

    #[inline(always)]
    pub(crate) fn add(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }

    #[inline(always)]
    pub(crate) fn sub(&self) {
        self.0.set(self.0.get().wrapping_sub(1));
    }
}
