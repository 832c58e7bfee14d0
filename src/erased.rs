//! Calls of any type, stored side by side without an allocation each: the only file of the crate
//! with unsafe code.
//!
//! A [`Erased`] is a call with its type erased: a table of functions that still know the type,
//! the site that scheduled it, and six words that hold the body itself. A body that is larger or
//! more strictly aligned than the words is boxed, and the box is what the words hold. [`Places`]
//! hold packed calls in order, from a head to a tail.
//!
//! Invariants, on which every `SAFETY` comment below rests:
//!
//! - I1 In a `Erased` whose table is set, `words` holds one valid body, and the table is that of
//!   the body's type. The fields are private to this file.
//! - I2 A body leaves its words at most once: whoever moves it out has cleared the table first, or
//!   has moved the head past its place.
//! - I3 Only a body that [`fits`] is ever written, so the words are large and aligned enough.
//! - I4 The places from head to tail hold initialized `Erased`s; nobody looks at the others. There
//!   are at most as many as there are places, so no two positions share one.
//! - I5 The number of places is a power of two, and `mask` is one less than it.
//! - I6 `easy_end` is at most head plus the number of places.
//! - I7 Pointers into the places are used inside this file only, while no code of a user runs:
//!   bodies are moved out before they are dialed or dropped.

#![expect(unsafe_code, reason = "the storage of calls, argued here")]

use alloc::boxed::Box;
use core::any::TypeId;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::panic::Location;
use core::ptr;

/// What calls are dialed with. The storage passes it through.
pub(crate) trait DialContext: 'static {
    type At<'a>;

    /// The turn of the call at `position` has come.
    fn begin(at: &mut Self::At<'_>, position: u64);
}

/// What is stored of a call.
pub(crate) trait Payload<C: DialContext>: Sized + 'static {
    /// Attempts to dial the call, which was scheduled at `site`.
    fn dial(self, at: &mut C::At<'_>, site: &'static Location<'static>);
}

impl<C: DialContext, P: Payload<C>> Payload<C> for Box<P> {
    fn dial(self, at: &mut C::At<'_>, site: &'static Location<'static>) {
        (*self).dial(at, site);
    }
}

/// Room for a body: six words of eight bytes on every target.
type Words = [MaybeUninit<u64>; 6];

/// Whether a `B` is stored in the words themselves, rather than boxed.
const fn fits<B>() -> bool {
    size_of::<B>() <= size_of::<Words>() && align_of::<B>() <= align_of::<Words>()
}

/// A call of any type in 64 bytes, or nothing.
pub(crate) struct Erased<C: DialContext> {
    /// `None` if there is no call.
    table: Option<&'static VTable<C>>,
    site: &'static Location<'static>,
    words: Words,
    /// The body may be neither `Send` nor `Sync`.
    not_send: PhantomData<*mut ()>,
}

/// What can be done with a body whose type is no longer known.
struct VTable<C: DialContext> {
    type_id: TypeId,
    /// Moves the body out of a `Erased` and dials it.
    dial: unsafe fn(*const Erased<C>, &mut C::At<'_>),
    /// Drops the body in place; `None` if that would do nothing.
    drop: Option<unsafe fn(*mut Words)>,
}

/// The table of each body type that is stored in the words themselves.
trait HasVTable<C: DialContext>: Payload<C> {
    const VTABLE: VTable<C> = VTable {
        type_id: TypeId::of::<Self>(),
        dial: dial::<C, Self>,
        drop: if mem::needs_drop::<Self>() { Some(drop_in_place::<Self>) } else { None },
    };
}

impl<C: DialContext, P: Payload<C>> HasVTable<C> for P {}

impl<C: DialContext> Erased<C> {
    pub(crate) const EMPTY: Self = Self {
        table: None,
        site: Location::caller(),
        words: [MaybeUninit::uninit(); 6],
        not_send: PhantomData,
    };

    /// Packs `body`, scheduled at `site`, into this, which is empty.
    #[inline(always)]
    pub(crate) fn fill<B: Payload<C>>(&mut self, body: B, site: &'static Location<'static>) {
        debug_assert!(self.is_empty());
        if fits::<B>() {
            // SAFETY: `self` is valid for writes, and the body fits.
            unsafe { write(self, body, site) }
        } else {
            // SAFETY: the same; a box fits.
            unsafe { write(self, Box::new(body), site) }
        }
    }

    /// Takes the body out, if there is a call with a body of type `B`.
    #[inline]
    pub(crate) fn unpack<B: Payload<C>>(&mut self) -> Option<B> {
        if fits::<B>() { self.read() } else { self.read::<Box<B>>().map(|body| *body) }
    }

    /// Moves the body out if it is a `B`, which fits.
    #[inline(always)]
    fn read<B: Payload<C>>(&mut self) -> Option<B> {
        self.table.take_if(|table| table.type_id == TypeId::of::<B>())?;
        let words = self.words.as_ptr().cast::<B>();
        debug_assert!(words.is_aligned());
        // SAFETY: equal type ids mean that the table was that of `B`, so the words hold a valid
        // `B` (I1). The table is cleared now, so the body is moved out just once (I2).
        Some(unsafe { words.read() })
    }

    /// Leaves this empty. Returns what is to be dropped, if it needs a drop.
    #[inline(always)]
    pub(crate) fn clear(&mut self) -> Option<Self> {
        let table = self.table.take()?;
        table.drop.map(|_| Self { table: Some(table), words: self.words, ..*self })
    }

    #[inline(always)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.table.is_none()
    }

    /// Where the call was scheduled, or the one that was there last.
    pub(crate) const fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

impl<C: DialContext> Drop for Erased<C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(drop) = self.table.and_then(|table| table.drop) {
            // SAFETY: the table is set, so the body in the words is of its type (I1). A `Erased`
            // drops once, and nobody reads its table after that (I2).
            unsafe { drop(&raw mut self.words) }
        }
    }
}

/// Makes a `Erased` of a body that [`fits`], without dropping what is there.
///
/// # Safety
///
/// `packed` is valid for writes, and aligned.
#[inline(always)]
unsafe fn write<C: DialContext, B: Payload<C>>(
    packed: *mut Erased<C>,
    body: B,
    site: &'static Location<'static>,
) {
    assert!(fits::<B>(), "a body that does not fit is boxed");
    // SAFETY: the caller's; the words are large and aligned enough by the assertion above (I3).
    unsafe {
        let words = (&raw mut (*packed).words).cast::<B>();
        debug_assert!(words.is_aligned());
        words.write(body);
        (&raw mut (*packed).site).write(site);
        (&raw mut (*packed).table).write(Some(&<B as HasVTable<C>>::VTABLE));
    }
}

/// # Safety
///
/// `packed` is valid for reads, and its words hold a valid `B`, which the caller gives up.
unsafe fn dial<C: DialContext, B: Payload<C>>(packed: *const Erased<C>, at: &mut C::At<'_>) {
    // SAFETY: guaranteed by the caller; the pointer is not used after these reads.
    let (body, site) = unsafe {
        let words = (&raw const (*packed).words).cast::<B>();
        debug_assert!(words.is_aligned());
        (words.read(), (*packed).site)
    };
    body.dial(at, site);
}

/// # Safety
///
/// `words` holds a valid `B`, which the caller gives up.
unsafe fn drop_in_place<B>(words: *mut Words) {
    debug_assert!(words.cast::<B>().is_aligned());
    if cfg!(seeded = "double_drop") {
        // SAFETY: none. It is undefined behavior on purpose: the body is dropped again below.
        unsafe { words.cast::<B>().drop_in_place() }
    }
    // SAFETY: guaranteed by the caller.
    unsafe { words.cast::<B>().drop_in_place() }
}

/// A place for one call, on a cache line of its own.
#[repr(align(64))]
struct Place<C: DialContext>(Erased<C>);

/// Places in a ring, of which a position picks one: the remainder by their number.
pub(crate) struct Places<C: DialContext> {
    places: UnsafeCell<Box<[MaybeUninit<Place<C>>]>>,
    mask: Cell<u64>,
    head: Cell<u64>,
    tail: Cell<u64>,
    easy_end: Cell<u64>,
}

impl<C: DialContext> Places<C> {
    /// Places that are all free, the next one at position `first`.
    pub(crate) fn new(len: usize, first: u64) -> Self {
        assert!(len.is_power_of_two());
        Self {
            places: UnsafeCell::new(Box::new_uninit_slice(len)),
            mask: Cell::new(len as u64 - 1),
            head: Cell::new(first),
            tail: Cell::new(first),
            easy_end: Cell::new(first),
        }
    }

    /// The number of places.
    pub(crate) const fn len(&self) -> u64 {
        self.mask.get() + 1
    }

    #[inline(always)]
    pub(crate) const fn head(&self) -> u64 {
        self.head.get()
    }

    #[inline(always)]
    pub(crate) const fn tail(&self) -> u64 {
        self.tail.get()
    }

    /// Makes pushes easy for up to `limit` places, counted from the head.
    pub(crate) fn ease(&self, limit: u64) {
        self.easy_end.set(self.head() + limit.min(self.len()));
    }

    /// Whether a push is easy: a place is free, and less than the limit are taken.
    #[inline(always)]
    pub(crate) const fn is_easy(&self) -> bool {
        self.tail() < self.easy_end.get()
    }

    /// Whether no place is free.
    pub(crate) const fn is_full(&self) -> bool {
        self.tail() - self.head() == self.len()
    }

    /// Packs what `make` makes at the tail, where a place is free. Returns the position.
    #[inline(always)]
    pub(crate) fn push<B: Payload<C>>(
        &self,
        make: impl FnOnce() -> B,
        site: &'static Location<'static>,
    ) -> u64 {
        // Either means that a place is free (I6, I4); the first has been looked at mostly.
        assert!(self.is_easy() || !self.is_full());
        let position = self.tail();
        // `make`, and the allocator for a box, have no way to these places. (If they had, what they
        // put there would be leaked: the place may be written to all the same.)
        if fits::<B>() {
            let body = make();
            // SAFETY: the place is free, so nothing there is to be dropped (I4).
            unsafe { write(self.at(position), body, site) }
        } else {
            let body = Box::new(make());
            // SAFETY: the same.
            unsafe { write(self.at(position), body, site) }
        }
        self.tail.set(position + 1);
        position
    }

    /// Goes past the next place, if its position is less than `end`, and dials its call. Says
    /// whether there was a call.
    #[inline(always)]
    pub(crate) fn dial_next(&self, end: u64, at: &mut C::At<'_>) -> Option<bool> {
        let position = self.next(end)?;
        let packed = self.at(position);
        C::begin(at, position);
        // SAFETY: the place was between head and tail (I4).
        let Some(table) = (unsafe { (*packed).table }) else { return Some(false) };
        // SAFETY: the table is set, so the body in the words is of its type (I1); the head has gone
        // past its place, so it is moved out just once (I2). The function does that first of all,
        // before any other code can reach these places (I7).
        unsafe { (table.dial)(packed, at) };
        Some(true)
    }

    /// Goes past the next place, and takes out what it holds.
    pub(crate) fn pop(&self) -> Option<(u64, Erased<C>)> {
        let position = self.next(u64::MAX)?;
        // SAFETY: the place was between head and tail (I4), and the head has gone past it (I2).
        Some((position, unsafe { self.at(position).read() }))
    }

    /// Whether `position` is between head and tail.
    #[inline(always)]
    pub(crate) const fn contains(&self, position: u64) -> bool {
        position >= self.head() && position < self.tail()
    }

    /// Leaves the place of `position` empty; `None` if it is already, or is none between head and
    /// tail. Returns what is to be dropped, which is nothing for a body that needs no drop.
    #[inline(always)]
    pub(crate) fn clear(&self, position: u64) -> Option<Option<Erased<C>>> {
        let packed = self.packed(position).filter(|packed| !packed.is_empty())?;
        Some(packed.clear())
    }

    /// Packs `body` into the place of `position`, which is empty.
    pub(crate) fn refill<B: Payload<C>>(&self, position: u64, body: B) {
        if let Some(packed) = self.packed(position) {
            packed.fill(body, packed.site);
        }
    }

    /// Whether there is no call at `position`, or one with a `V` for a body, which fits.
    pub(crate) fn is_void<V: Payload<C>>(&self, position: u64) -> bool {
        let table = self.packed(position).and_then(|packed| packed.table);
        table.is_none_or(|table| table.type_id == TypeId::of::<V>())
    }

    /// Doubles the places.
    pub(crate) fn grow(&self) {
        let more = Self::new(2 * self.len() as usize, self.head());
        for position in self.head()..self.tail() {
            // SAFETY: the place is between head and tail (I4), and a free one in `more`. It is not
            // used here any more: its places are free below.
            unsafe { ptr::copy_nonoverlapping(self.at(position), more.at(position), 1) };
        }
        // SAFETY: no pointer into either's places is in use (I7), and they are not the same. That
        // `more` drops nothing but memory then is due to its tail, which is its head.
        let (places, more_places) = unsafe { (&mut *self.places.get(), &mut *more.places.get()) };
        mem::swap(places, more_places);
        self.mask.swap(&more.mask);
        if cfg!(seeded = "leak") {
            mem::forget(more);
        }
    }

    /// Moves the head past the next position, if that is less than `end`.
    #[inline(always)]
    fn next(&self, end: u64) -> Option<u64> {
        let position = self.head();
        if position >= self.tail().min(end) {
            return None;
        }
        if cfg!(seeded = "lifo") {
            for after in (position + 1..self.tail()).rev() {
                // SAFETY: both places are between head and tail (I4).
                unsafe { ptr::swap(self.at(after - 1), self.at(after)) };
            }
        }
        self.head.set(position + 1);
        Some(position)
    }

    /// What the place of `position` holds, if it is between head and tail.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "I7: no two of these are alive at a time")]
    fn packed(&self, position: u64) -> Option<&mut Erased<C>> {
        // SAFETY: the place is between head and tail (I4), and no other pointer to it is in use (I7).
        self.contains(position).then(|| unsafe { &mut *self.at(position) })
    }

    /// The place of `position`.
    #[inline(always)]
    fn at(&self, position: u64) -> *mut Erased<C> {
        // SAFETY: the places are not shared between threads, as `UnsafeCell` is not `Sync`, and
        // nobody has a reference to the box, which is used here and in `grow` only.
        let places = unsafe { &mut *self.places.get() };
        // Keeps the low bits, which are those that count.
        let index = (position & self.mask.get()) as usize;
        debug_assert!(index < places.len());
        // SAFETY: the mask is less than the number of places (I5), so `index` is.
        let place = unsafe { &raw mut (*places.as_mut_ptr().add(index).cast::<Place<C>>()).0 };
        debug_assert!(place.is_aligned());
        place
    }
}

impl<C: DialContext> Drop for Places<C> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests;
