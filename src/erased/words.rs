//! Where payloads are stored.

#![deny(unsafe_code)]

use core::mem::MaybeUninit;

/// How many words there are for a payload.
const WORDS: usize = 6;

/// Room for a payload: words of eight bytes on every target.
pub(super) type Words = [MaybeUninit<u64>; WORDS];

/// Words that hold nothing.
pub(super) const NO_WORDS: Words = [MaybeUninit::uninit(); WORDS];

/// Whether a `P` is stored in the words themselves, rather than boxed.
pub(super) const fn fits<P>() -> bool {
    size_of::<P>() <= size_of::<Words>() && align_of::<P>() <= align_of::<Words>()
}

/// Whether `words` are where a type of alignment `align` may be. (Not generic, so that it is compiled once.)
pub(super) fn is_aligned_to(words: *const Words, align: usize) -> bool {
    words.addr().is_multiple_of(align)
}
