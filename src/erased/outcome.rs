//! What comes of what is done with calls.

#![deny(unsafe_code)]

use core::num::NonZeroU64;

use super::{DialContext, Erased};

/// What came of an attempt to dial the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Dialed,
    /// The call had been canceled, with this note.
    Tombstone(Option<NonZeroU64>),
    /// No call is pending before the end that was asked for.
    Empty,
}

/// What was at the head.
pub(crate) enum Popped<C: DialContext> {
    Call(u64, Erased<C>),
    /// A call that had been canceled, with this note.
    Tombstone(Option<NonZeroU64>),
    Empty,
}

/// What came of canceling a call.
pub(crate) enum Canceled<C: DialContext> {
    /// The head has passed the position, or the tail has not reached it.
    NotThere,
    /// The call had been canceled before.
    Already,
    /// The caller must drop the call; `None` if that would do nothing.
    Call(Option<Erased<C>>),
}
