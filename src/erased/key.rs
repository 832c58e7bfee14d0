//! The names of callbacks.

#![deny(unsafe_code)]

use core::num::NonZeroU64;

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
