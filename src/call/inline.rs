//! Calls of any type, stored side by side without an allocation each: the only file of the crate
//! with unsafe code.
//!
//! A [`Packed`] is a call with its type erased: a table of functions that still know the type,
//! the site that scheduled it, and six words that hold the body itself. A body that is larger or
//! more strictly aligned than the words is boxed, and the box is what the words hold. Packed calls
//! stand in [`Places`], which they leave one way or another: dialed, unpacked or cleared.
//!
//! Invariants, on which every `SAFETY` comment below rests:
//!
//! - I1 In a `Packed` whose table is set, `words` holds one valid body, and the table is that of
//!   the body's type. The fields are private to this file.
//! - I2 A body leaves its words at most once: whoever moves it out has cleared the table first.
//! - I3 Only a body that [`fits`] is ever written, so the words are large and aligned enough.
//! - I4 References into `Places` live inside its methods only, while no code of a user runs:
//!   bodies are moved out before they are dialed or dropped. (When the `Places` themselves drop,
//!   nobody can reach them any more.)
//! - I5 The number of `Places` is a power of two, and `mask` is one less than it.

#![expect(unsafe_code, reason = "the storage of calls, argued here")]

use alloc::boxed::Box;
use core::any::TypeId;
use core::cell::{Cell, UnsafeCell};
use core::iter;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::ops::Range;
use core::panic::Location;

use crate::call::{Attempt, Body};

/// Room for a body: six words of eight bytes on every target.
type Words = [MaybeUninit<u64>; 6];

/// Whether a `B` is stored in the words themselves, rather than boxed.
const fn fits<B>() -> bool {
    size_of::<B>() <= size_of::<Words>() && align_of::<B>() <= align_of::<Words>()
}

/// A call of any type in 64 bytes, or nothing.
pub(crate) struct Packed {
    /// `None` if there is no call.
    table: Option<&'static Table>,
    site: &'static Location<'static>,
    words: Words,
    /// The body may be neither `Send` nor `Sync`.
    not_send: PhantomData<*mut ()>,
}

/// What can be done with a body whose type is no longer known.
struct Table {
    type_id: TypeId,
    /// Moves the body out of a `Packed` and dials it.
    dial: unsafe fn(*const Packed, &mut Attempt<'_>),
    /// Drops the body in place; `None` if that would do nothing.
    drop: Option<unsafe fn(*mut Words)>,
}

/// The table of each body type that is stored in the words themselves.
trait Tabled: Body {
    const TABLE: Table = Table {
        type_id: TypeId::of::<Self>(),
        dial: dial::<Self>,
        drop: if mem::needs_drop::<Self>() { Some(drop_in_place::<Self>) } else { None },
    };
}

impl<B: Body> Tabled for B {}

impl Packed {
    const EMPTY: Self = Self {
        table: None,
        site: Location::caller(),
        words: [MaybeUninit::uninit(); 6],
        not_send: PhantomData,
    };

    /// Fills an empty `Packed` with a body that [`fits`].
    #[inline(always)]
    fn fill<B: Body>(&mut self, body: B, site: &'static Location<'static>) {
        assert!(fits::<B>(), "a body that does not fit is boxed");
        debug_assert!(self.table.is_none());
        let words = self.words.as_mut_ptr().cast::<B>();
        debug_assert!(words.is_aligned());
        // SAFETY: the pointer is valid for a write of `B`: it is to all of the words, which are
        // large and aligned enough by the assertion above (I3).
        unsafe { words.write(body) };
        self.site = site;
        self.table = Some(&B::TABLE);
    }

    /// Moves the body out if it is a `B`.
    fn read<B: Body>(&mut self) -> Option<B> {
        self.table.take_if(|table| table.type_id == TypeId::of::<B>())?;
        let words = self.words.as_ptr().cast::<B>();
        debug_assert!(words.is_aligned());
        // SAFETY: equal type ids mean that the table was that of `B`, so the words hold a valid
        // `B` (I1). The table is cleared now, so the body is moved out just once (I2).
        Some(unsafe { words.read() })
    }
}

impl Drop for Packed {
    #[inline]
    fn drop(&mut self) {
        if let Some(drop) = self.table.and_then(|table| table.drop) {
            // SAFETY: the table is set, so the body in the words is of its type (I1). A `Packed`
            // drops once, and nobody reads its table after that (I2).
            unsafe { drop(&raw mut self.words) }
        }
    }
}

/// # Safety
///
/// `packed` is valid for reads, and its words hold a valid `B`, which the caller gives up.
unsafe fn dial<B: Body>(packed: *const Packed, attempt: &mut Attempt<'_>) {
    // SAFETY: guaranteed by the caller; the pointer is not used after these reads.
    let (body, site) = unsafe {
        let words = (&raw const (*packed).words).cast::<B>();
        debug_assert!(words.is_aligned());
        (words.read(), (*packed).site)
    };
    body.dial(attempt, site);
}

/// # Safety
///
/// `words` holds a valid `B`, which the caller gives up.
unsafe fn drop_in_place<B>(words: *mut Words) {
    debug_assert!(words.cast::<B>().is_aligned());
    // SAFETY: guaranteed by the caller.
    unsafe { words.cast::<B>().drop_in_place() }
}

/// A place for one call, on a cache line of its own.
#[repr(align(64))]
struct Place(Packed);

/// Shared places, of which a position picks one: the remainder by their number.
pub(crate) struct Places {
    places: UnsafeCell<Box<[Place]>>,
    mask: Cell<usize>,
}

impl Places {
    pub(crate) fn new(len: usize) -> Self {
        assert!(len.is_power_of_two());
        let places = iter::repeat_with(|| Place(Packed::EMPTY)).take(len).collect();
        Self { places: UnsafeCell::new(places), mask: Cell::new(len - 1) }
    }

    /// One less than the number of places.
    #[inline(always)]
    pub(crate) fn mask(&self) -> usize {
        self.mask.get()
    }

    /// Packs `body`, scheduled at `site`, into the place of `position`, which is empty.
    #[inline(always)]
    pub(crate) fn put<B: Body>(&self, position: u64, body: B, site: &'static Location<'static>) {
        if fits::<B>() {
            self.at(position).fill(body, site);
        } else {
            // Boxed first, as the allocator is code of a user, too (I4).
            let body = Box::new(body);
            self.at(position).fill(body, site);
        }
    }

    /// Empties the place of `position`; `None` if it is empty already. Returns what is to be
    /// dropped, which is nothing for a body that needs no drop.
    #[inline(always)]
    pub(crate) fn clear(&self, position: u64) -> Option<Option<Packed>> {
        let packed = self.at(position);
        let table = packed.table.take()?;
        Some(table.drop.map(|_| Packed { table: Some(table), words: packed.words, ..*packed }))
    }

    /// Dials the call in the place of `position`, leaving that empty; false if it is empty.
    #[inline(always)]
    pub(crate) fn dial(&self, position: u64, attempt: &mut Attempt<'_>) -> bool {
        let packed = self.at(position);
        let Some(table) = packed.table.take() else { return false };
        // SAFETY: the table was set, so the body in the words is of its type (I1); it is cleared
        // now, so the body is moved out just once (I2). The function does that first of all,
        // before any other code can reach these places (I4).
        unsafe { (table.dial)(&raw const *packed, attempt) };
        true
    }

    /// Takes the body out of the place of `position`, if there is a call with a body of type `B`.
    #[inline]
    pub(crate) fn unpack<B: Body>(&self, position: u64) -> Option<B> {
        let packed = self.at(position);
        if fits::<B>() { packed.read() } else { packed.read::<Box<B>>().map(|body| *body) }
    }

    /// Whether the place of `position` holds a body of type `B`, one that is not boxed.
    #[cfg(feature = "testing")]
    pub(crate) fn holds<B: Body>(&self, position: u64) -> bool {
        self.at(position).table.is_some_and(|table| table.type_id == TypeId::of::<B>())
    }

    /// Whether the place of `position` is empty.
    pub(crate) fn is_empty(&self, position: u64) -> bool {
        self.at(position).table.is_none()
    }

    /// The site of the call in the place of `position`, or of the call that was there last.
    pub(crate) fn site(&self, position: u64) -> &'static Location<'static> {
        self.at(position).site
    }

    /// Doubles the places, keeping the calls at `positions`.
    pub(crate) fn grow(&self, positions: Range<u64>) {
        let more = Self::new(2 * (self.mask() + 1));
        for position in positions {
            mem::swap(self.at(position), more.at(position));
        }
        // SAFETY: no reference into either's places is alive (I4), and they are not the same.
        let (places, more_places) = unsafe { (&mut *self.places.get(), &mut *more.places.get()) };
        mem::swap(places, more_places);
        self.mask.swap(&more.mask);
    }

    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "I4: no two of these are alive at a time")]
    fn at(&self, position: u64) -> &mut Packed {
        // SAFETY: the places are not shared between threads, as `UnsafeCell` is not `Sync`, and
        // no other reference into them is alive (I4).
        let places = unsafe { &mut *self.places.get() };
        // The truncation to `usize` keeps the low bits, which are those that count.
        let index = position as usize & self.mask.get();
        debug_assert!(index < places.len());
        // SAFETY: the mask is less than the number of places (I5), so `index` is.
        unsafe { &mut places.get_unchecked_mut(index).0 }
    }
}

#[cfg(test)]
mod tests;
