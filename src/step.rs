//! The observable steps of a call, as plain data.

use core::fmt;
use core::panic::Location;

use crate::id::CallId;
use crate::outcome::ScheduleErrorKind;

/// One step in the life of a call.
///
/// A call that is created and scheduled in one go has both steps, one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mio"),
    allow(rustdoc::broken_intra_doc_links, reason = "what they name is there with `mio` only")
)]
#[non_exhaustive]
pub enum Step {
    /// The call exists.
    Created {
        /// Its recipient; none for a function call.
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
    /// The call was canceled too late, which is a no-op (rule R4).
    LateCancel {
        /// The reason given.
        reason: &'static str,
    },
    /// The queue reached the call while its recipient was live with another call (rule R2). It is a
    /// promise, or its recipient defers calls, so it is still pending, and dialed once the live call
    /// has ended.
    Deferred {
        /// The call that was live.
        live: CallId,
        /// Where the live call was scheduled.
        live_site: &'static Location<'static>,
        /// Where the deferred call was scheduled.
        site: &'static Location<'static>,
    },
    /// The queue reached the call, and could not dial it.
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
    /// The call was a readiness call, and over before. Its handler had made attempts by
    /// [`Registration::try_io`], stopped before one would block, and neither asked to be called again
    /// nor kept readiness on purpose (rule M3). This is a bug: it may never be called again. The call
    /// itself is not affected.
    ///
    /// [`Registration::try_io`]: crate::reactor::Registration::try_io
    Undrained {
        /// Its recipient; none for a function call.
        recipient: Option<RecipientInfo>,
        /// Where the source was registered.
        site: &'static Location<'static>,
    },
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
            Self::Deferred { live, live_site, site } => {
                write!(
                    f,
                    "scheduled at {site}, deferred: the recipient is live with call {live} "
                )?;
                write!(f, "scheduled at {live_site}")
            }
            Self::Refused { refusal, site } => {
                write!(f, "scheduled at {site}, refused: {refusal}")
            }
            Self::Abandoned { site } => {
                write!(f, "abandoned: the callback created at {site} was dropped without a call")
            }
            Self::Panicked => f.write_str("panicked"),
            Self::Undrained { site, .. } => {
                write!(
                    f,
                    "undrained: its handler stopped early, of the source registered at {site}"
                )
            }
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

/// A type's own name, without path and parameters; a tuple, for example, has no such name.
pub(crate) fn short_name(type_name: &'static str) -> &'static str {
    let named = type_name.starts_with(|first: char| first.is_alphabetic());
    let path = type_name.split('<').next().filter(|_| named);
    path.and_then(|path| path.rsplit("::").next()).unwrap_or(type_name)
}

/// Why a call was not dialed when the queue reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The recipient was gone (rule R9), or its value was still being made.
    Gone,
    /// The recipient was still live with another call (rule R2). This is a bug: a handler dialed
    /// the queue while a call to its own recipient was pending.
    Live {
        /// The call that was live.
        live: CallId,
        /// Where the live call was scheduled.
        site: &'static Location<'static>,
    },
    /// The call type's own check returned this error (rule R8).
    Check(&'static str),
    /// The queue was full, or out of ids, when the call was scheduled.
    NotAdmitted(ScheduleErrorKind),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the recipient is gone"),
            Self::Live { live, site } => {
                write!(f, "the recipient is live with call {live} scheduled at {site}")
            }
            Self::Check(reason) => f.write_str(reason),
            Self::NotAdmitted(kind) => kind.fmt(f),
        }
    }
}
