//! How far a callback is.

#![deny(unsafe_code)]

/// How far a callback is, for all to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Never created, being dialed, or over.
    Unknown,
    Waiting,
    /// Canceled; its holder still has it.
    Canceled,
    /// Its recipient is gone; its holder still has it.
    Released,
    /// The call is at this position, or has just left it.
    Pending(u64),
    /// The call had this position, and was deferred.
    Deferred(u64),
}

/// How far the callback of a slot is, and whether its join is there.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    // With a join.
    Pending,
    Deferred,
    Waiting,
    // Without.
    Canceled,
    Released,
    PendingGone,
    DeferredGone,
    /// Or its join is being looked at.
    Vacant,
}

impl Tag {
    #[inline(always)]
    pub(super) const fn has_join(self) -> bool {
        self as u8 <= Self::Waiting as u8
    }

    /// What this becomes when the join is released.
    pub(super) const fn released(self) -> Self {
        match self {
            Self::Waiting => Self::Released,
            Self::Deferred => Self::DeferredGone,
            _ => Self::PendingGone,
        }
    }
}
