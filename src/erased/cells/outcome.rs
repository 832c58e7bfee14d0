//! The names of callbacks, and what comes of what is done with them.

#![deny(unsafe_code)]

use core::num::NonZeroU64;

use super::Captured;
use crate::erased::{DialContext, Erased};

/// Names a callback for as long as it is known, and nothing after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Less than 2^31.
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Key {
    /// What the tombstone of a canceled callback keeps.
    pub(crate) const fn note(self) -> NonZeroU64 {
        let note = 1 << 63 | (self.slot as u64) << 32 | self.generation as u64;
        NonZeroU64::new(note).expect("a bit is set")
    }

    /// The key in a note of [`note`](Self::note).
    #[cfg(test)]
    pub(crate) const fn from_note(note: NonZeroU64) -> Self {
        let note = note.get();
        Self { slot: (note >> 32) as u32 & !(1 << 31), generation: note as u32 }
    }
}

/// What came of canceling a callback.
pub(crate) enum Cancel<C: DialContext> {
    /// It is over, or being dialed, or never was.
    NotThere,
    Already,
    /// It was waiting. The caller must drop what it captured.
    Waiting(Captured),
    /// It was pending. The caller must drop the call; until then the key is known.
    Pending(Option<Erased<C>>),
    /// Nothing was done: whoever has the deferred call of this position must drop it.
    Deferred(u64),
}

/// What came of an answer.
pub(crate) enum Answer<A> {
    /// The call is pending. If there is a value, the recipient is gone: what is pending will say so, and
    /// the caller must drop the value.
    Pushed(Option<A>),
    /// The callback was canceled, and is over. The caller must drop the value.
    Unwanted(A),
}

/// What a callback captured, and the call that it was answered with, to be dropped in this order.
pub(crate) struct Remains<C: DialContext> {
    pub(super) _join: Captured,
    /// Holds the value only.
    pub(super) _call: Option<Erased<C>>,
}
