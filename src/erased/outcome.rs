//! The outcomes of operations on calls.

#![deny(unsafe_code)]

use core::num::NonZeroU64;

/// The outcome of an attempt to dial the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialNext {
    Dialed,
    /// The call had been canceled, with this note.
    Tombstone(Option<NonZeroU64>),
    /// No call is pending before the end that was asked for.
    Empty,
}

/// What was at the head.
pub(crate) enum Popped<E> {
    Call(u64, E),
    /// A call that had been canceled, with this note.
    Tombstone(Option<NonZeroU64>),
    Empty,
}

/// The outcome of a cancel of a call.
pub(crate) enum Canceled<E> {
    /// The head has passed the position, or the tail has not reached it.
    NotThere,
    /// The call had been canceled before.
    Already,
    /// The caller must drop the call; `None` if that would do nothing.
    Call(Option<E>),
}
