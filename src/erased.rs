//! Calls of any type, pending in order, without an allocation each; and values with counted references,
//! whose memory is used again. This file and [`cells`] are the only ones of the crate with unsafe code;
//! they import `core` and `alloc` only.
//!
//! # Calls
//!
//! An [`Erased`] is one call whose type is erased: a table of functions that still know the type,
//! the site that scheduled it, and six words that hold the payload. A payload that is larger or
//! more strictly aligned than the words is boxed, and the words hold the box. [`Calls`] holds
//! erased calls in places, from a head to a tail, each place at a position that is never used
//! again. The places are in blocks that never move; a directory lists the blocks in order. A
//! canceled call leaves a tombstone in its place.
//!
//! Invariants, on which the `SAFETY` comments rest:
//!
//! - I1 The words of an `Erased`, and of a place whose vtable is set, hold one valid payload, and
//!   the vtable is that of the payload's type.
//! - I2 A payload leaves its words at most once: the code that moves it out has cleared the vtable of
//!   its place, has moved the head past its place, or has consumed the `Erased`.
//! - I3 Only a payload that [`fits`] is written to words, so they are large and aligned enough.
//! - I4 Every place from head to tail whose block has memory is initialized; if its vtable is clear,
//!   its first word too. So is the vtable of the place at the tail, which is clear. A block has one
//!   place more than it has positions, so that there always is one.
//! - I5 The blocks of the directory follow one another without a gap. If there are any, the head is
//!   in the first or at its end, and the tail is in the last or at its end.
//! - I6 `head` points to the place of the head's position, or to the one at the end of its block.
//!   So does `tail`. If their positions are equal, so are the places, unless the head is at the end of
//!   its block. A position is the number of its place less the base of its block ([`position`]).
//!   While the head is in a block that was freed, and if there are no blocks, pointers are to
//!   [`Place::NONE`], which is not written to.
//! - I7 `tail` is at most `tail_end`, and so is `fast_end`, or `fast_end` is null.
//! - I8 A block whose memory was freed held tombstones only, and neither the head nor the tail was
//!   in it. Its entry in the directory keeps their notes.
//! - I9 The cursor is empty, or is at a block of the directory that has memory. It is emptied before
//!   a block leaves the directory or is freed.
//! - I10 No pointer into a place and no borrow of the directory is in use while a payload is
//!   dialed or dropped: it has been moved out before. While a payload is asked for its recipient,
//!   it stays in its place, and there seem to be no calls ([`Calls::hide`]).
//!
//! # Counted values
//!
//! A [`Counted`] is what an `Rc` is: to clone it counts a reference, and the value drops with the last
//! one. A [`WeakErased`] keeps the memory, but not the value, and does not know the value's type; it
//! has the functions of the type instead ([`Dispatch`]). Memory is taken from the [`FreeBlocks`] of a
//! queue, and returned there for the next value of about the same size.
//!
//! Invariants:
//!
//! - C1 `strong` is the number of `Counted` of a block; `weak` is that of `WeakErased`, and one more until
//!   the value has dropped.
//! - C2 The value is valid while `strong` is not 0. The last `Counted` drops it, once.
//! - C3 A block is valid while `weak` is not 0. Who makes it 0 gives the block back, and uses it no more.
//! - C4 The `kind` of a `WeakErased` is that of the type of its block's value.
//! - C5 A block in a list is of the list's size class, and in no other list; its first word is the
//!   link.
//! - C6 No list is in use while a value drops.

#![expect(unsafe_code, reason = "the storage of calls and of counted values, argued here")]

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::alloc::Layout;
use core::any::TypeId;
use core::cell::{Cell, RefCell, RefMut};
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::num::NonZeroU64;
use core::ops::Deref;
use core::panic::Location;
use core::ptr::{self, NonNull};

use block_counts::BlockCounts;
use directory::Directory;
pub(crate) use key::Key;
use moves::{Cursor, Entered};
pub(crate) use outcome::{Canceled, DialNext, Popped};
use words::{NO_WORDS, Words, fits, is_aligned_to};

mod block_counts;
pub(crate) mod cells;
mod directory;
mod key;
mod moves;
mod outcome;
mod peaks;
mod words;

/// Where a call was scheduled.
pub(crate) type Site = &'static Location<'static>;

/// What a dial passes to calls. The storage hands it through, and knows nothing else of it.
pub(crate) trait DialContext: 'static {
    /// The context of one dial.
    type At<'a>;

    /// The queue has reached the call at `position`, which is not that of a callback.
    fn begin(at: &mut Self::At<'_>, position: u64);

    /// The call that has begun is that of the callback `key`, answered at `site`, and its recipient is
    /// gone.
    fn gone(at: &mut Self::At<'_>, key: Key, site: Site);
}

/// What is stored of a call.
///
/// `dial` and the drop may use the storage in any way; all may panic.
pub(crate) trait Payload<C: DialContext>: Sized + 'static {
    /// Set if the payload is that of a callback, which nothing else may take the place of.
    const CALLBACK: Option<CallbackFunctions> = None;

    /// Delivers the call, scheduled at `site`.
    fn dial(self, at: &mut C::At<'_>, site: Site);

    /// The number of the recipient, or 0 for none. There seem to be no calls meanwhile, and a push
    /// panics.
    fn recipient(&self) -> u64 {
        0
    }
}

impl<C: DialContext, P: Payload<C>> Payload<C> for Box<P> {
    const CALLBACK: Option<CallbackFunctions> = P::CALLBACK;

    #[inline(always)]
    fn dial(self, at: &mut C::At<'_>, site: Site) {
        (*self).dial(at, site);
    }

    #[inline(always)]
    fn recipient(&self) -> u64 {
        (**self).recipient()
    }
}

/// What can be done with a callback whose types are no longer known.
pub(crate) struct CallbackFunctions {
    /// Drops the join in place; `None` if that would do nothing.
    drop_join: Option<unsafe fn(*mut Words)>,
    /// Leaves to the `Answered` in the words its value only.
    disown: unsafe fn(*mut Words),
}

impl CallbackFunctions {
    /// For what is in no slot.
    const NONE: Self = Self { drop_join: None, disown: |_| () };
}

/// A payload and the site that scheduled it, but not the payload's type.
#[derive(Clone, Copy)]
#[repr(C)]
struct Contents {
    words: Words,
    site: Site,
}

/// A call of any type, in 64 bytes at most.
pub(crate) struct Erased<C: DialContext> {
    contents: Contents,
    vtable: &'static VTable<C>,
    /// The payload may be neither `Send` nor `Sync`.
    not_send: PhantomData<*mut ()>,
}

impl<C: DialContext> Erased<C> {
    pub(crate) fn new<P: Payload<C>>(payload: P, site: Site) -> Self {
        if const { fits::<P>() } {
            Self::fitting(payload, site)
        } else {
            Self::fitting(Box::new(payload), site)
        }
    }

    fn fitting<P: Payload<C>>(payload: P, site: Site) -> Self {
        let contents = Contents { words: write(payload), site };
        Self { contents, vtable: &P::VTABLE, not_send: PhantomData }
    }

    /// Dials the call, whose position is or was `position`.
    pub(crate) fn dial(self, position: u64, at: &mut C::At<'_>) {
        let this = ManuallyDrop::new(self);
        // SAFETY: the words hold a valid payload of the vtable's type (I1).
        // `self` is consumed and does not drop, so the payload is moved out just once (I2).
        unsafe { (this.vtable.dial)(&raw const this.contents, position, at) }
    }

    /// Where the call was scheduled.
    pub(crate) const fn site(&self) -> Site {
        self.contents.site
    }

    /// The number of the recipient, or 0 for none.
    pub(crate) fn recipient(&self) -> u64 {
        // SAFETY: the words hold a valid payload of the vtable's type (I1), borrowed as `self` is.
        unsafe { (self.vtable.recipient)(&raw const self.contents.words) }
    }
}

impl<C: DialContext> Drop for Erased<C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(drop) = self.vtable.drop {
            // SAFETY: the words hold a valid payload of the vtable's type (I1).
            // An `Erased` drops at most once, and nothing reads its words after that (I2).
            unsafe { drop(&raw mut self.contents.words) }
        }
    }
}

/// What can be done with a payload whose type is no longer known.
struct VTable<C: DialContext> {
    /// Moves the payload out, begins, and dials.
    dial: unsafe fn(*const Contents, u64, &mut C::At<'_>),
    recipient: unsafe fn(*const Words) -> u64,
    /// Drops the payload in place; `None` if that would do nothing.
    drop: Option<unsafe fn(*mut Words)>,
    callback: Option<CallbackFunctions>,
}

/// The vtable of each payload type that is stored in the words themselves.
trait HasVTable<C: DialContext>: Payload<C> {
    const VTABLE: VTable<C> = VTable {
        dial: dial::<C, Self>,
        recipient: recipient::<C, Self>,
        drop: drop_function::<Self>(),
        callback: Self::CALLBACK,
    };
}

impl<C: DialContext, P: Payload<C>> HasVTable<C> for P {}

/// # Safety
///
/// The words of `contents` must hold a valid `P`, which the caller gives up.
unsafe fn dial<C: DialContext, P: Payload<C>>(
    contents: *const Contents,
    position: u64,
    at: &mut C::At<'_>,
) {
    // SAFETY: guaranteed by the caller. The pointer is not used after this.
    let (payload, site) = unsafe {
        let words = &raw const (*contents).words;
        debug_assert!(is_aligned_to(words, align_of::<P>()));
        (words.cast::<P>().read(), (*contents).site)
    };
    if P::CALLBACK.is_none() {
        C::begin(at, position);
    }
    payload.dial(at, site);
}

/// # Safety
///
/// `words` must hold a valid `P`, which stays there while this runs.
unsafe fn recipient<C: DialContext, P: Payload<C>>(words: *const Words) -> u64 {
    debug_assert!(is_aligned_to(words, align_of::<P>()));
    // SAFETY: guaranteed by the caller.
    unsafe { &*words.cast::<P>() }.recipient()
}

/// What drops a `T` in the words; `None` if that would do nothing.
const fn drop_function<T>() -> Option<unsafe fn(*mut Words)> {
    /// # Safety
    ///
    /// `words` must hold a valid `T`, which the caller gives up.
    unsafe fn drop_in_place<T>(words: *mut Words) {
        debug_assert!(is_aligned_to(words, align_of::<T>()));
        // SAFETY: guaranteed by the caller.
        unsafe { words.cast::<T>().drop_in_place() }
    }
    if mem::needs_drop::<T>() { Some(drop_in_place::<T>) } else { None }
}

/// Words that hold `value`, which [`fits`].
#[inline(always)]
fn write<T>(value: T) -> Words {
    let mut words = NO_WORDS;
    // SAFETY: `words` is valid for writes.
    unsafe { write_to(&raw mut words, value) }
    words
}

/// Writes `value`, which [`fits`], to `words`.
///
/// # Safety
///
/// `words` must be valid for writes, and aligned.
#[inline(always)]
unsafe fn write_to<T>(words: *mut Words, value: T) {
    assert!(const { fits::<T>() }, "a value that does not fit must be boxed");
    debug_assert!(is_aligned_to(words, align_of::<T>()));
    // SAFETY: the caller's; the words are large and aligned enough by the assertion above (I3).
    unsafe { words.cast::<T>().write(value) }
}

/// A place for one call, on a cache line of its own.
#[repr(C, align(64))]
struct Place<C: DialContext> {
    contents: Contents,
    /// `None` in a tombstone, whose note is in the first word, or 0; and at the tail.
    vtable: Option<&'static VTable<C>>,
}

impl<C: DialContext> Place<C> {
    /// What is at the tail if there are no blocks.
    const NONE: &'static Self =
        &Self { contents: Contents { words: NO_WORDS, site: Location::caller() }, vtable: None };

    const fn none() -> *mut Self {
        ptr::from_ref(Self::NONE).cast_mut()
    }
}

/// The number of a place, of all there could be.
#[inline(always)]
fn number<C: DialContext>(place: *mut Place<C>) -> u64 {
    (place.addr() / size_of::<Place<C>>()) as u64
}

/// The position of a place in a block with this base. (Either may wrap around.)
#[inline(always)]
fn position<C: DialContext>(place: *mut Place<C>, base: u64) -> u64 {
    number(place).wrapping_sub(base)
}

/// The pending calls, from head to tail.
///
/// The fields that pushes and dials use stand first, on one cache line.
#[repr(C, align(64))]
pub(crate) struct Calls<C: DialContext> {
    head: Cell<*mut Place<C>>,
    /// Of the block that the head is in.
    head_base: Cell<u64>,
    /// Where that block ends.
    head_end: Cell<*mut Place<C>>,
    tail: Cell<*mut Place<C>>,
    tail_base: Cell<u64>,
    tail_end: Cell<*mut Place<C>>,
    /// Pushes before this place are fast.
    fast_end: Cell<*mut Place<C>>,
    /// How many tombstones there are from head to tail.
    tombstones: Cell<u64>,
    cursor: Cursor<C>,
    limit: Cell<u64>,
    directory: RefCell<Directory<Block<C>>>,
}

impl<C: DialContext> Calls<C> {
    /// Calls, of which there are none yet; the first one gets position `first`. Allocates nothing.
    ///
    /// No push is fast before [`set_limit`](Self::set_limit) allows it.
    pub(crate) fn new(first: u64) -> Self {
        let none = Place::none();
        let base = number(none).wrapping_sub(first);
        Self {
            head: Cell::new(none),
            head_base: Cell::new(base),
            head_end: Cell::new(none),
            tail: Cell::new(none),
            tail_base: Cell::new(base),
            tail_end: Cell::new(none),
            fast_end: Cell::new(ptr::null_mut()),
            tombstones: Cell::new(0),
            cursor: Cursor {
                start: Cell::new(0),
                len: Cell::new(0),
                first: Cell::new(none),
                size: Cell::new(0),
                live: Cell::new(0),
                index: Cell::new(0),
            },
            limit: Cell::new(0),
            directory: RefCell::new(Directory::new()),
        }
    }

    /// The position that is dialed next.
    #[inline(always)]
    pub(crate) fn head(&self) -> u64 {
        position(self.head.get(), self.head_base.get())
    }

    /// The position that the next call gets.
    #[inline(always)]
    pub(crate) fn tail(&self) -> u64 {
        position(self.tail.get(), self.tail_base.get())
    }

    /// The number of tombstones between head and tail.
    #[inline(always)]
    pub(crate) const fn tombstones(&self) -> u64 {
        self.tombstones.get()
    }

    /// Whether a push is fast: a place is free, and the limit is not reached.
    #[inline(always)]
    pub(crate) fn is_fast(&self) -> bool {
        self.tail.get() < self.fast_end.get()
    }

    /// Allows fast pushes as long as there are less than `limit` places from head to tail,
    /// tombstones included; 0 allows none. The head that counts is the one of now, or of the last
    /// push that was not fast.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.set(limit);
        self.set_fast_end();
    }

    /// Puts the call that `make` returns at the tail, even beyond the limit. Returns its position.
    ///
    /// # Panics
    ///
    /// If the positions of 64 bits are used up.
    #[inline(always)]
    pub(crate) fn push<P: Payload<C>>(&self, make: impl FnOnce() -> P, site: Site) -> u64 {
        // First the code that may use these calls: `make`, the allocator.
        if const { fits::<P>() } {
            // SAFETY: the vtable is that of the payload.
            unsafe { self.push_fitting(make(), site, &P::VTABLE) }
        } else {
            let payload = Box::new(make());
            // SAFETY: the same.
            unsafe { self.push_fitting(payload, site, &<Box<P> as HasVTable<C>>::VTABLE) }
        }
    }

    /// Puts `call` at the tail, even beyond the limit. Returns its position.
    ///
    /// # Panics
    ///
    /// If the positions of 64 bits are used up.
    pub(crate) fn push_erased(&self, call: Erased<C>) -> u64 {
        // What could panic comes first: `call` still drops then.
        self.reserve();
        let (Contents { words, site }, vtable) = (call.contents, call.vtable);
        mem::forget(call);
        // SAFETY: the words hold a payload of the vtable's type (I1), which is moved just once, as `call` does
        // not drop (I2). There is a place, by `reserve`.
        unsafe { self.push_reserved(words, site, vtable) }
    }

    /// Puts a call at the tail, of which `payload` is the payload.
    ///
    /// # Safety
    ///
    /// `payload` must be a valid payload of the type that `vtable` is for.
    #[inline(always)]
    unsafe fn push_fitting<P>(&self, payload: P, site: Site, vtable: &'static VTable<C>) -> u64 {
        if !self.is_fast() {
            self.make_room();
        }
        // SAFETY: guaranteed by the caller; there is a place, by `is_fast` (I7) or by `make_room`.
        unsafe { self.push_reserved(payload, site, vtable) }
    }

    /// The same if there is a place: the tail is less than `tail_end`.
    ///
    /// # Safety
    ///
    /// There must be one, and `payload` must be a valid payload of the type that `vtable` is for.
    #[inline(always)]
    unsafe fn push_reserved<P>(&self, payload: P, site: Site, vtable: &'static VTable<C>) -> u64 {
        let place = self.tail.get();
        // SAFETY: the tail is in its block (I4, I6). Nothing is there that would have to be dropped, as it is
        // not before the tail. With that, the words are written.
        unsafe {
            write_to(&raw mut (*place).contents.words, payload);
            self.push_written(place, site, vtable)
        }
    }

    /// The rest, which does not depend on the type of the payload.
    ///
    /// # Safety
    ///
    /// `place` must be that at the tail, less than `tail_end`, and its words hold a valid payload of the type
    /// that `vtable` is for.
    #[inline]
    unsafe fn push_written(
        &self,
        place: *mut Place<C>,
        site: Site,
        vtable: &'static VTable<C>,
    ) -> u64 {
        debug_assert!(place.is_aligned() && place < self.tail_end.get());
        let next = place.wrapping_add(1);
        // SAFETY: the tail is less than `tail_end`, so it and the next place are in the tail's block (I4, I6).
        unsafe {
            (&raw mut (*place).contents.site).write(site);
            (&raw mut (*place).vtable).write(Some(vtable));
            (&raw mut (*next).vtable).write(None);
        }
        self.tail.set(next);
        position(place, self.tail_base.get())
    }

    /// Passes the next place, if its position is less than `end`, and dials its call.
    #[inline(always)]
    pub(crate) fn dial_next(&self, end: u64, context: &mut C::At<'_>) -> DialNext {
        let place = self.head.get();
        // (The first condition costs nothing if `end` is known.)
        if end != u64::MAX && self.head() >= end {
            return DialNext::Empty;
        }
        debug_assert!(place.is_aligned());
        // SAFETY: the vtable is initialized, also at the tail and at the end of a block (I4, I6).
        let Some(vtable) = (unsafe { (*place).vtable }) else {
            if place == self.tail.get() {
                return DialNext::Empty;
            }
            if place == self.head_end.get() {
                return self.dial_in_next_block(context);
            }
            let position = self.head();
            // SAFETY: the place is between head and tail (I4), and its vtable is clear.
            let note = unsafe { self.pass_tombstone(place) };
            C::begin(context, position);
            return DialNext::Tombstone(note);
        };
        let position = self.head();
        self.head.set(place.wrapping_add(1));
        // SAFETY: the words hold a payload of the vtable's type (I1).
        // The head has passed the place, so the payload is moved out just once (I2). The function
        // does that before any other code can reach these calls (I10).
        unsafe { (vtable.dial)(&raw const (*place).contents, position, context) };
        DialNext::Dialed
    }

    /// The same if the head is at the end of its block.
    #[cold]
    #[inline(never)]
    fn dial_in_next_block(&self, context: &mut C::At<'_>) -> DialNext {
        let position = self.head();
        match self.enter_block() {
            Entered::Block => self.dial_next(u64::MAX, context),
            Entered::Tombstone(note) => {
                C::begin(context, position);
                DialNext::Tombstone(note)
            }
        }
    }

    /// Passes the tombstone at the head. Returns its note.
    ///
    /// # Safety
    ///
    /// `place` must be the head's, which must be a tombstone.
    #[inline(always)]
    unsafe fn pass_tombstone(&self, place: *mut Place<C>) -> Option<NonZeroU64> {
        self.head.set(place.wrapping_add(1));
        self.tombstones.set(self.tombstones.get() - 1);
        // SAFETY: guaranteed by the caller.
        unsafe { note(place) }
    }

    /// Passes the next place, and returns what is there.
    pub(crate) fn pop(&self) -> Popped<Erased<C>> {
        let position = self.head();
        if position == self.tail() {
            return Popped::Empty;
        }
        if self.head.get() == self.head_end.get()
            && let Entered::Tombstone(note) = self.enter_block()
        {
            return Popped::Tombstone(note);
        }
        let place = self.head.get();
        // SAFETY: the place is between head and tail (I4). The head passes it right here, so the
        // payload is moved out just once (I2).
        match unsafe { read(place) } {
            Some(call) => {
                self.head.set(place.wrapping_add(1));
                Popped::Call(position, call)
            }
            // SAFETY: the same; the vtable is clear.
            None => Popped::Tombstone(unsafe { self.pass_tombstone(place) }),
        }
    }

    /// Whether there is no place between head and tail. (False at times even so: if the head is at the end
    /// of its block, I6.)
    #[inline(always)]
    pub(crate) fn is_drained(&self) -> bool {
        self.head.get() == self.tail.get()
    }

    /// Whether `position` is between head and tail.
    #[inline(always)]
    pub(crate) fn contains(&self, position: u64) -> bool {
        position >= self.head() && position < self.tail()
    }

    /// Whether the call at `position` was canceled, and the queue has not reached it.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_tombstone(&self, position: u64) -> bool {
        match self.find(position) {
            // SAFETY: the place is between head and tail (I4).
            Some(place) => unsafe { (*place).vtable.is_none() },
            // Of the places between, only those of blocks that were freed are not found (I8).
            None => self.contains(position),
        }
    }

    /// Where the call at `position` was scheduled, if one is pending there.
    pub(crate) fn site_at(&self, position: u64) -> Option<Site> {
        let place = self.find(position)?;
        // SAFETY: the place is between head and tail (I4).
        unsafe { (*place).vtable.map(|_| (*place).contents.site) }
    }

    /// The number of the recipient of the call at `position`; 0 if it has none, or no call is
    /// pending there.
    pub(crate) fn recipient_at(&self, position: u64) -> u64 {
        let Some(place) = self.find(position) else { return 0 };
        // SAFETY: the place is between head and tail (I4).
        let Some(vtable) = (unsafe { (*place).vtable }) else { return 0 };
        let _hidden = self.hide();
        // SAFETY: the words hold a payload of the vtable's type (I1). It stays there meanwhile, as
        // nothing is reached while all is hidden (I10).
        unsafe { (vtable.recipient)(&raw const (*place).contents.words) }
    }

    /// Makes it seem that there are no calls and no blocks, until what this returns drops.
    #[inline(always)]
    fn hide(&self) -> HiddenCalls<'_, C> {
        let none = Place::none();
        // All positions are before such a head, so that the cursor is not looked at.
        let base = number(none).wrapping_sub(u64::MAX);
        HiddenCalls {
            calls: self,
            // A push, which would add a block, panics.
            _directory: self.directory.borrow_mut(),
            head: (self.head.replace(none), self.head_base.replace(base)),
            tail: (self.tail.replace(none), self.tail_base.replace(base)),
            tail_end: self.tail_end.replace(none),
            fast_end: self.fast_end.replace(ptr::null_mut()),
        }
    }

    /// Makes the place at `position` a tombstone that keeps `note`.
    #[inline]
    pub(crate) fn cancel(&self, position: u64, note: Option<NonZeroU64>) -> Canceled<Erased<C>> {
        let place = match self.find(position) {
            Some(place) => place,
            None if self.contains(position) => return Canceled::Already,
            None => return Canceled::NotThere,
        };
        // SAFETY: the place is between head and tail (I4).
        let Some(vtable) = (unsafe { (*place).vtable }) else { return Canceled::Already };
        if vtable.drop.is_some() {
            // SAFETY: the same; the vtable is set.
            return Canceled::Call(Some(unsafe { self.take(place, vtable, note) }));
        }
        // SAFETY: the same; the payload need not be dropped.
        unsafe { self.bury(place, note) };
        Canceled::Call(None)
    }

    /// Makes the place at `position` a tombstone without a note, and returns true, if nothing else is
    /// needed: a call is pending there that need not be dropped. Else does nothing.
    #[inline(always)]
    pub(crate) fn cancel_fast(&self, position: u64) -> bool {
        let Some(place) = self.find(position) else { return false };
        // SAFETY: the place is between head and tail (I4).
        if unsafe { (*place).vtable }.is_none_or(|vtable| vtable.drop.is_some()) {
            return false;
        }
        // SAFETY: the same; the payload need not be dropped.
        unsafe { self.bury(place, None) };
        true
    }

    /// Moves a call out of its place, which becomes a tombstone.
    ///
    /// # Safety
    ///
    /// `place` must be between head and tail, and `vtable` be its vtable.
    #[cold]
    #[inline(never)]
    unsafe fn take(
        &self,
        place: *mut Place<C>,
        vtable: &'static VTable<C>,
        note: Option<NonZeroU64>,
    ) -> Erased<C> {
        // SAFETY: guaranteed by the caller; the vtable is cleared right here (I2).
        unsafe {
            let contents = (*place).contents;
            self.bury(place, note);
            Erased { contents, vtable, not_send: PhantomData }
        }
    }

    /// Makes a tombstone of a place, whose payload has been moved out or need not be dropped.
    ///
    /// # Safety
    ///
    /// `place` must be between head and tail, and be what [`find`](Self::find) returned last.
    #[inline(always)]
    unsafe fn bury(&self, place: *mut Place<C>, note: Option<NonZeroU64>) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            (&raw mut (*place).vtable).write(None);
            (&raw mut (*place).contents.words).cast::<u64>().write(note.map_or(0, NonZeroU64::get));
        }
        self.tombstones.set(self.tombstones.get() + 1);
        let live = self.cursor.live.get() - 1;
        self.cursor.live.set(live);
        if live == 0 {
            self.free_cursor_block();
        }
    }

    /// Puts `call` in the place of the call at `position`, which is returned, and keeps that one's
    /// site.
    ///
    /// # Errors
    ///
    /// Hands `call` back if no call is pending there, or that of a callback.
    pub(crate) fn replace(&self, position: u64, call: Erased<C>) -> Result<Erased<C>, Erased<C>> {
        self.replace_if(position, call, |vtable| vtable.callback.is_none())
    }

    fn replace_if(
        &self,
        position: u64,
        call: Erased<C>,
        may_replace: impl FnOnce(&VTable<C>) -> bool,
    ) -> Result<Erased<C>, Erased<C>> {
        let Some(place) = self.find(position) else { return Err(call) };
        // SAFETY: the place is between head and tail (I4).
        let Some(vtable) = (unsafe { (*place).vtable }) else { return Err(call) };
        if !may_replace(vtable) {
            return Err(call);
        }
        let call = ManuallyDrop::new(call);
        // SAFETY: the same. The call there is moved out, and overwritten (I2). `call` does not
        // drop: its payload moves to the place.
        unsafe {
            let contents = (*place).contents;
            (&raw mut (*place).contents.words).write(call.contents.words);
            (&raw mut (*place).vtable).write(Some(call.vtable));
            Ok(Erased { contents, vtable, not_send: PhantomData })
        }
    }
}

impl<C: DialContext> Drop for Calls<C> {
    /// Drops the calls from head to tail, even if the drop of one panics.
    fn drop(&mut self) {
        struct RemainingCalls<'a, C: DialContext>(&'a Calls<C>);

        impl<C: DialContext> Drop for RemainingCalls<'_, C> {
            fn drop(&mut self) {
                while !matches!(self.0.pop(), Popped::Empty) {}
            }
        }

        let rest = RemainingCalls(self);
        while !matches!(rest.0.pop(), Popped::Empty) {}
    }
}

/// Calls that are hidden until this drops, and what they are like.
struct HiddenCalls<'a, C: DialContext> {
    calls: &'a Calls<C>,
    _directory: RefMut<'a, Directory<Block<C>>>,
    head: (*mut Place<C>, u64),
    tail: (*mut Place<C>, u64),
    tail_end: *mut Place<C>,
    fast_end: *mut Place<C>,
}

impl<C: DialContext> Drop for HiddenCalls<'_, C> {
    #[inline(always)]
    fn drop(&mut self) {
        self.calls.head.set(self.head.0);
        self.calls.head_base.set(self.head.1);
        self.calls.tail.set(self.tail.0);
        self.calls.tail_base.set(self.tail.1);
        self.calls.tail_end.set(self.tail_end);
        self.calls.fast_end.set(self.fast_end);
    }
}

/// The call in a place; `None` if it is a tombstone.
///
/// # Safety
///
/// `place` must be initialized. If there is a call, the caller takes it over: it must clear or
/// overwrite the vtable, or pass the place.
unsafe fn read<C: DialContext>(place: *const Place<C>) -> Option<Erased<C>> {
    // SAFETY: guaranteed by the caller.
    let (contents, vtable) = unsafe { ((*place).contents, (*place).vtable) };
    vtable.map(|vtable| Erased { contents, vtable, not_send: PhantomData })
}

/// The note of a tombstone.
///
/// # Safety
///
/// `place` must be an initialized tombstone.
#[inline(always)]
unsafe fn note<C: DialContext>(place: *const Place<C>) -> Option<NonZeroU64> {
    // SAFETY: guaranteed by the caller; the first word of a tombstone is initialized (I4).
    NonZeroU64::new(unsafe { (&raw const (*place).contents.words).cast::<u64>().read() })
}

/// Memory for places, which the places do not own.
struct Block<C: DialContext> {
    /// One more than `size`, in a box.
    places: NonNull<Place<C>>,
    /// The number of positions.
    size: u32,
}

impl<C: DialContext> directory::Allocation for Block<C> {
    fn new(size: u32) -> Self {
        #[cfg(test)]
        tests::BLOCKS.set(tests::BLOCKS.get() + 1);
        let places = Box::leak(Box::<[Place<C>]>::new_uninit_slice(size as usize + 1));
        Self { places: NonNull::from(places).cast(), size }
    }

    fn size(&self) -> u32 {
        self.size
    }

    #[cfg(test)]
    fn memory(&self) -> usize {
        (self.size as usize + 1) * size_of::<Place<C>>()
    }
}

impl<C: DialContext> Block<C> {
    /// Makes the first place one that the tail may be at.
    fn clear(&self) {
        // SAFETY: the block has a place there, which no one else uses.
        unsafe { (&raw mut (*self.first()).vtable).write(None) }
    }

    /// The notes of the block, all of whose places must be tombstones, and their positions.
    fn notes(&self, start: u64) -> impl Iterator<Item = (u64, NonZeroU64)> {
        (0..self.size).filter_map(move |index| {
            let place = self.first().wrapping_add(index as usize);
            // SAFETY: the block has a place there, which is between head and tail (I4).
            unsafe { note(place) }.map(|note| (start + u64::from(index), note))
        })
    }

    const fn first(&self) -> *mut Place<C> {
        self.places.as_ptr()
    }
}

impl<C: DialContext> Drop for Block<C> {
    fn drop(&mut self) {
        let places = self.places.cast::<MaybeUninit<Place<C>>>();
        let places = NonNull::slice_from_raw_parts(places, self.size as usize + 1);
        // SAFETY: `new` leaked a box of so many places, and nothing else frees it.
        // Nothing points into it any more: the block has left the directory, or that drops.
        drop(unsafe { Box::from_raw(places.as_ptr()) });
    }
}

/// Block sizes are multiples of this, in bytes, and blocks are aligned to a pair of words.
const STEP: usize = 32;
const ALIGN: usize = 16;

/// The number of sizes. Larger blocks are allocated.
const CLASSES: usize = 8;

/// At most so many bytes are kept in blocks of a size.
const SPARE_BYTES: usize = if cfg!(small_blocks) { 3 * CLASSES * STEP } else { 1 << 17 };

/// Lists of blocks to be used again, by their size.
#[derive(Default)]
pub(crate) struct FreeBlocks {
    classes: [SizeClass; CLASSES],
    is_closed: Cell<bool>,
}

/// The blocks of a size.
#[derive(Default)]
struct SizeClass {
    /// The first of those that are kept, if there is one.
    first: Cell<Option<NonNull<FreeBlock>>>,
    counts: BlockCounts,
}

struct FreeBlock {
    next: Option<NonNull<Self>>,
}

/// The source of the memory of a type's blocks.
#[derive(Clone, Copy)]
struct Placement {
    layout: Layout,
    /// The size class, or `CLASSES` for the allocator.
    class: usize,
}

impl Placement {
    const fn of<T>() -> Self {
        let layout = Layout::new::<CountedBlock<T>>();
        let class = (layout.size() - 1) / STEP;
        if class < CLASSES && layout.align() <= ALIGN {
            // (The step and the alignment are powers of two.)
            match Layout::from_size_align((class + 1) * STEP, ALIGN) {
                Ok(layout) => Self { layout, class },
                Err(_) => unreachable!(),
            }
        } else {
            Self { layout, class: CLASSES }
        }
    }

    fn allocate(self) -> NonNull<u8> {
        // SAFETY: a block is not of size 0, as it has a head.
        let block = unsafe { alloc(self.layout) };
        NonNull::new(block).unwrap_or_else(|| handle_alloc_error(self.layout))
    }

    /// # Safety
    ///
    /// `block` must be from [`allocate`](Self::allocate) of an equal placement, and not used any more.
    unsafe fn free(self, block: NonNull<u8>) {
        // SAFETY: guaranteed by the caller.
        unsafe { dealloc(block.as_ptr(), self.layout) }
    }
}

impl FreeBlocks {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Frees what is kept, and keeps nothing from now on.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        for (class, list) in self.classes.iter().enumerate() {
            list.counts.keep_none();
            list.free_spares(class, usize::MAX);
        }
    }

    /// A block that must be given back.
    #[inline(always)]
    fn take(&self, placement: Placement) -> NonNull<u8> {
        let Some(list) = self.classes.get(placement.class) else { return placement.allocate() };
        match list.pop() {
            Some(block) => block.cast(),
            None => {
                list.counts.add_new();
                placement.allocate()
            }
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` must be one that [`take`](Self::take) returned for an equal placement, of these lists, and
    /// not be used any more.
    #[inline(always)]
    unsafe fn give_back(&self, block: NonNull<u8>, placement: Placement) {
        match self.classes.get(placement.class) {
            Some(list) if list.counts.is_within_limit() => {
                // SAFETY: guaranteed by the caller.
                unsafe { list.push(block, placement.class) }
            }
            // SAFETY: guaranteed by the caller.
            list => unsafe { self.give_back_slow(list, block, placement) },
        }
    }

    /// Frees a block of which there are too many, unless it would be the only one that is kept.
    ///
    /// # Safety
    ///
    /// As for [`give_back`](Self::give_back).
    #[cold]
    #[inline(never)]
    unsafe fn give_back_slow(
        &self,
        list: Option<&SizeClass>,
        block: NonNull<u8>,
        placement: Placement,
    ) {
        if let Some(list) = list.filter(|_| !self.is_closed.get()) {
            if list.counts.spares.get() == 0 {
                // SAFETY: guaranteed by the caller.
                return unsafe { list.push(block, placement.class) };
            }
            if list.counts.free_used() {
                list.end_cycle(placement.class);
            }
            list.look_for_end(placement.class);
        }
        // SAFETY: guaranteed by the caller.
        unsafe { placement.free(block) };
    }
}

impl Drop for FreeBlocks {
    fn drop(&mut self) {
        self.close();
    }
}

impl SizeClass {
    #[inline(always)]
    fn pop(&self) -> Option<NonNull<FreeBlock>> {
        let block = self.first.get()?;
        // SAFETY: the block is in the list, so its link is valid (C5).
        self.first.set(unsafe { block.as_ref() }.next);
        self.counts.take_spare();
        Some(block)
    }

    /// Keeps a block.
    ///
    /// # Safety
    ///
    /// The block must be of this class, and must not be in use.
    #[inline(always)]
    unsafe fn push(&self, block: NonNull<u8>, class: usize) {
        let block = block.cast::<FreeBlock>();
        debug_assert!(block.is_aligned());
        // SAFETY: the block is the list's as of now. It is large and aligned enough for a link.
        unsafe { block.write(FreeBlock { next: self.first.get() }) };
        self.first.set(Some(block));
        self.counts.add_spare();
        self.look_for_end(class);
    }

    /// Ends the cycle if no block is in use.
    #[inline(always)]
    fn look_for_end(&self, class: usize) {
        if self.counts.is_none_in_use() {
            self.end_cycle(class);
        }
    }

    /// Ends the cycle: frees some of the blocks that have not been needed lately.
    #[inline]
    fn end_cycle(&self, class: usize) {
        let needless = self.counts.end_cycle(const { SPARE_BYTES / STEP } / (class + 1));
        if needless > 0 {
            self.free_spares(class, needless);
        }
    }

    /// Frees at most so many of the blocks that are kept.
    #[cold]
    fn free_spares(&self, class: usize, most: usize) {
        let layout = Layout::from_size_align((class + 1) * STEP, ALIGN).expect("a small size");
        for _ in 0..most {
            let Some(block) = self.pop() else { return };
            self.counts.free_spare();
            // SAFETY: it is of the list's class, and the list's no more (C5).
            unsafe { Placement { layout, class }.free(block.cast()) };
        }
    }
}

/// What can be done with a value whose type is not known.
pub(crate) trait Dispatch: Sized + 'static {
    type Functions: 'static;
    const FUNCTIONS: &'static Self::Functions;
}

/// What a [`WeakErased`] knows of the value's type.
struct BlockKind<F: 'static> {
    placement: Placement,
    type_id: fn() -> TypeId,
    functions: &'static F,
}

trait HasKind: Dispatch {
    const KIND: BlockKind<Self::Functions> = BlockKind {
        placement: Placement::of::<Self>(),
        type_id: TypeId::of::<Self>,
        functions: Self::FUNCTIONS,
    };
}

impl<T: Dispatch> HasKind for T {}

#[repr(C)]
struct CountedBlock<T> {
    head: Head,
    value: ManuallyDrop<T>,
}

struct Head {
    strong: Cell<u32>,
    weak: Cell<u32>,
    /// Where the block is taken from and returned to.
    free: ManuallyDrop<Rc<FreeBlocks>>,
}

/// Counts a reference more.
#[inline(always)]
fn count(references: &Cell<u32>) {
    let more = references.get().checked_add(1);
    references.set(more.expect("2^32 references at a time are too many"));
}

/// Gives up a weak reference; the last one gives the block back.
///
/// # Safety
///
/// The block must be valid, of `placement`, and the caller must own the reference that it gives up.
#[inline(always)]
unsafe fn release_weak(block: NonNull<Head>, placement: Placement) {
    // SAFETY: guaranteed by the caller.
    let weak = unsafe { &block.as_ref().weak };
    weak.set(weak.get() - 1);
    if weak.get() == 0 {
        // SAFETY: no reference is left, so no one else uses the block (C3), and this moves `free` out
        // once. The block came from there.
        unsafe {
            let free = ptr::read(&raw const (*block.as_ptr()).free);
            free.give_back(block.cast(), placement);
            drop(ManuallyDrop::into_inner(free));
        }
    }
}

/// A counted reference to a value.
pub(crate) struct Counted<T> {
    block: NonNull<CountedBlock<T>>,
    value: PhantomData<T>,
}

impl<T> Counted<T> {
    #[inline(always)]
    pub(crate) fn new(free: Rc<FreeBlocks>, value: T) -> Self {
        let block = free.take(const { Placement::of::<T>() }).cast::<CountedBlock<T>>();
        let (strong, weak) = (Cell::new(1), Cell::new(1));
        let head = Head { strong, weak, free: ManuallyDrop::new(free) };
        debug_assert!(block.is_aligned());
        // SAFETY: the block is large and aligned enough for this, by its placement, and no one else's.
        unsafe { block.write(CountedBlock { head, value: ManuallyDrop::new(value) }) };
        Self { block, value: PhantomData }
    }

    /// A reference that keeps the memory only.
    #[inline(always)]
    pub(crate) fn downgrade(&self) -> WeakErased<T::Functions>
    where
        T: Dispatch,
    {
        count(&self.head().weak);
        WeakErased { block: self.block.cast(), kind: &T::KIND }
    }

    #[inline(always)]
    fn head(&self) -> &Head {
        // SAFETY: the block is valid, as this is one of its references (C1, C3).
        unsafe { &(*self.block.as_ptr()).head }
    }

    /// Drops the value.
    ///
    /// # Safety
    ///
    /// `block` must be valid, and have lost its last `Counted` just now.
    #[inline(never)]
    unsafe fn end(block: NonNull<CountedBlock<T>>) {
        /// Gives the weak reference up that the value had, even if the value's drop panics.
        struct ReleaseBlock<T>(NonNull<CountedBlock<T>>);

        impl<T> Drop for ReleaseBlock<T> {
            #[inline(always)]
            fn drop(&mut self) {
                // SAFETY: the block is valid until this reference is given up (C1).
                unsafe { release_weak(self.0.cast(), const { Placement::of::<T>() }) }
            }
        }

        let _release = ReleaseBlock(block);
        // SAFETY: the value is valid, and dropped here only, as there is no `Counted` any more (C2). Its drop
        // may take and give back other blocks, as no list is in use (C6).
        unsafe { ManuallyDrop::drop(&mut (*block.as_ptr()).value) }
    }
}

impl<T> Clone for Counted<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        count(&self.head().strong);
        Self { ..*self }
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the value is valid while there is a `Counted` (C2), and never borrowed mutably before
        // it drops.
        unsafe { &(*self.block.as_ptr()).value }
    }
}

impl<T> Drop for Counted<T> {
    #[inline(always)]
    fn drop(&mut self) {
        let strong = &self.head().strong;
        strong.set(strong.get() - 1);
        if strong.get() == 0 {
            // SAFETY: this was the last one (C1).
            unsafe { Self::end(self.block) }
        }
    }
}

/// A reference to the memory of a value whose type is not known, and to the functions of that type.
pub(crate) struct WeakErased<F: 'static> {
    block: NonNull<Head>,
    kind: &'static BlockKind<F>,
}

impl<F> WeakErased<F> {
    #[inline(always)]
    pub(crate) const fn functions(&self) -> &'static F {
        self.kind.functions
    }

    /// The value, if it is there, and a `T`.
    #[inline(always)]
    pub(crate) fn upgrade<T: Dispatch>(&self) -> Option<Counted<T>> {
        let strong = &self.head().strong;
        if strong.get() == 0 || (self.kind.type_id)() != TypeId::of::<T>() {
            return None;
        }
        count(strong);
        // The block is that of a `T` (C4), whose value has not dropped (C2).
        Some(Counted { block: self.block.cast(), value: PhantomData })
    }

    #[inline(always)]
    const fn head(&self) -> &Head {
        // SAFETY: the block is valid, as this is one of its references (C1, C3).
        unsafe { self.block.as_ref() }
    }
}

impl<F> Clone for WeakErased<F> {
    fn clone(&self) -> Self {
        count(&self.head().weak);
        Self { ..*self }
    }
}

impl<F> Drop for WeakErased<F> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the block is valid, as this is one of its references (C1, C3), which is given up. It is
        // of the kind's type (C4).
        unsafe { release_weak(self.block, self.kind.placement) }
    }
}

#[cfg(test)]
mod counted_tests;
#[cfg(test)]
mod tests;
