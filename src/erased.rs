//! Calls of any type, pending in order, without an allocation each. This file and [`cells`] are the
//! only ones of the crate with unsafe code; they import `core` and `alloc` only.
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
//! - I2 A payload leaves its words at most once: whoever moves it out has cleared the vtable of its
//!   place, has moved the head past its place, or has consumed the `Erased`.
//! - I3 Only a payload that [`fits`] is written to words, so they are large and aligned enough.
//! - I4 Every place from head to tail whose block has memory is initialized, and if its vtable is
//!   clear, its first word too. No other place is read.
//! - I5 The blocks of the directory follow one another without a gap. If there are any, the first
//!   starts at or before the head, and the last ends at `tail_end`; the tail is in the last, or at
//!   its end. If there are none, head, tail, `head_end` and `tail_end` are equal.
//! - I6 `head_base` and `tail_base` are where position 0 would be if the block of the head (of the
//!   tail) began that early. `head_base` is valid for the positions from head to `head_end`,
//!   `tail_base` for those from `tail_start` to `tail_end`.
//! - I7 `fast_end` is at most `tail_end`.
//! - I8 A block whose memory was freed held tombstones only, and neither the head nor the tail was
//!   in it. Its entry in the directory keeps their notes.
//! - I9 A block is at least as large as the span from head to tail was when the tail entered it, or
//!   is of the largest size.
//! - I10 No pointer into a place and no borrow of the directory is in use while a payload is
//!   dialed, dropped or asked for its recipient: it has been moved out before.

#![expect(unsafe_code, reason = "the storage of calls, argued here")]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::num::NonZeroU64;
use core::panic::Location;
use core::ptr::{self, NonNull};

use cells::Key;

pub(crate) mod cells;

/// Where a call was scheduled.
pub(crate) type Site = &'static Location<'static>;

/// What a dial passes to calls. The storage hands it through, and knows nothing else of it.
pub(crate) trait DialContext: 'static {
    /// The context of one dial.
    type At<'a>;

    /// The turn of the call at `position` has come.
    fn begin(at: &mut Self::At<'_>, position: u64);

    /// The call that has begun is that of the callback `key`, answered at `site`, and its recipient is
    /// gone.
    fn gone(at: &mut Self::At<'_>, key: Key, site: Site);
}

/// What is stored of a call.
///
/// All functions, and the drop, may use the storage in any way, and may panic.
pub(crate) trait Payload<C: DialContext>: Sized + 'static {
    /// Delivers the call, scheduled at `site`.
    fn dial(self, at: &mut C::At<'_>, site: Site);

    /// The number of the recipient, or 0 for none.
    fn recipient(&self) -> u64 {
        0
    }
}

impl<C: DialContext, P: Payload<C>> Payload<C> for Box<P> {
    #[inline(always)]
    fn dial(self, at: &mut C::At<'_>, site: Site) {
        (*self).dial(at, site);
    }

    #[inline(always)]
    fn recipient(&self) -> u64 {
        (**self).recipient()
    }
}

/// Room for a payload: six words of eight bytes on every target.
type Words = [MaybeUninit<u64>; 6];

/// Whether a `P` is stored in the words themselves, rather than boxed.
const fn fits<P>() -> bool {
    size_of::<P>() <= size_of::<Words>() && align_of::<P>() <= align_of::<Words>()
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
        if fits::<P>() {
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
}

/// The vtable of each payload type that is stored in the words themselves.
trait HasVTable<C: DialContext>: Payload<C> {
    const VTABLE: VTable<C> = VTable {
        dial: dial::<C, Self>,
        recipient: recipient::<C, Self>,
        drop: drop_function::<Self>(),
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
        let payload = (&raw const (*contents).words).cast::<P>();
        debug_assert!(payload.is_aligned());
        (payload.read(), (*contents).site)
    };
    C::begin(at, position);
    payload.dial(at, site);
}

/// # Safety
///
/// `words` must hold a valid `P`, which stays there while this runs.
unsafe fn recipient<C: DialContext, P: Payload<C>>(words: *const Words) -> u64 {
    debug_assert!(words.cast::<P>().is_aligned());
    // SAFETY: guaranteed by the caller.
    unsafe { &*words.cast::<P>() }.recipient()
}

/// What drops a `T` in the words; `None` if that would do nothing.
const fn drop_function<T>() -> Option<unsafe fn(*mut Words)> {
    /// # Safety
    ///
    /// `words` must hold a valid `T`, which the caller gives up.
    unsafe fn drop_in_place<T>(words: *mut Words) {
        debug_assert!(words.cast::<T>().is_aligned());
        // SAFETY: guaranteed by the caller.
        unsafe { words.cast::<T>().drop_in_place() }
    }
    if mem::needs_drop::<T>() { Some(drop_in_place::<T>) } else { None }
}

/// Words that hold `value`, which [`fits`].
#[inline(always)]
fn write<T>(value: T) -> Words {
    let mut words = [MaybeUninit::uninit(); 6];
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
    assert!(fits::<T>(), "a value that does not fit must be boxed");
    debug_assert!(words.cast::<T>().is_aligned());
    // SAFETY: the caller's; the words are large and aligned enough by the assertion above (I3).
    unsafe { words.cast::<T>().write(value) }
}

/// A place for one call, on a cache line of its own.
#[repr(C, align(64))]
struct Place<C: DialContext> {
    contents: Contents,
    /// `None` in a tombstone, whose note is in the first word, or 0.
    vtable: Option<&'static VTable<C>>,
}

/// Places of the smallest and of the largest block: 4 KiB and 256 KiB.
const SMALLEST: u32 = if cfg!(small_blocks) { 2 } else { 64 };
const LARGEST: u32 = if cfg!(small_blocks) { 4 } else { 4096 };

/// At most so many spare blocks are kept: 4 MiB.
const SPARES: usize = 16;

/// The calls that are pending, from head to tail.
pub(crate) struct Calls<C: DialContext> {
    head: Cell<u64>,
    tail: Cell<u64>,
    /// Pushes before this position are fast.
    fast_end: Cell<u64>,
    /// Where the places end that `head_base` is valid for.
    head_end: Cell<u64>,
    head_base: Cell<*mut Place<C>>,
    tail_base: Cell<*mut Place<C>>,
    /// The positions of the tail's block.
    tail_start: Cell<u64>,
    tail_end: Cell<u64>,
    /// How many calls of the tail's block were canceled.
    tail_canceled: Cell<u32>,
    /// How many tombstones there are from head to tail.
    tombstones: Cell<u64>,
    limit: Cell<u64>,
    directory: RefCell<Directory<C>>,
}

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
    /// The call at this position had been canceled, with this note.
    Tombstone(u64, Option<NonZeroU64>),
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

impl<C: DialContext> Calls<C> {
    /// Calls, of which there are none yet; the first one gets position `first`. Allocates nothing.
    ///
    /// No push is fast before [`set_limit`](Self::set_limit) allows it.
    pub(crate) const fn new(first: u64) -> Self {
        Self {
            head: Cell::new(first),
            tail: Cell::new(first),
            fast_end: Cell::new(0),
            head_end: Cell::new(first),
            head_base: Cell::new(ptr::null_mut()),
            tail_base: Cell::new(ptr::null_mut()),
            tail_start: Cell::new(first),
            tail_end: Cell::new(first),
            tail_canceled: Cell::new(0),
            tombstones: Cell::new(0),
            limit: Cell::new(0),
            directory: RefCell::new(Directory::new()),
        }
    }

    /// The position whose turn comes next.
    #[inline(always)]
    pub(crate) const fn head(&self) -> u64 {
        self.head.get()
    }

    /// The position that the next call gets.
    #[inline(always)]
    pub(crate) const fn tail(&self) -> u64 {
        self.tail.get()
    }

    /// The number of tombstones between head and tail.
    #[inline(always)]
    pub(crate) const fn tombstones(&self) -> u64 {
        self.tombstones.get()
    }

    /// Whether a push is fast: a place is free, and the limit is not reached.
    #[inline(always)]
    pub(crate) const fn is_fast(&self) -> bool {
        self.tail.get() < self.fast_end.get()
    }

    /// Allows fast pushes as long as there are less than `limit` places from head to tail,
    /// tombstones included; 0 allows none. The head that counts is the one of now, or of the last
    /// push that was not fast.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.set(limit);
        self.set_fast_end();
    }

    fn set_fast_end(&self) {
        let end = match self.limit.get() {
            0 => 0,
            limit => self.head.get().saturating_add(limit).min(self.tail_end.get()),
        };
        self.fast_end.set(end);
    }

    /// Puts the call that `make` makes at the tail, whatever the limit. Returns its position.
    ///
    /// # Panics
    ///
    /// If the positions of 64 bits are used up.
    #[inline(always)]
    pub(crate) fn push<P: Payload<C>>(&self, make: impl FnOnce() -> P, site: Site) -> u64 {
        // What may use these calls comes first: `make`, the allocator.
        if fits::<P>() {
            self.push_fitting(make(), site)
        } else {
            self.push_fitting(Box::new(make()), site)
        }
    }

    #[inline(always)]
    fn push_fitting<P: Payload<C>>(&self, payload: P, site: Site) -> u64 {
        // (So that nothing is to be dropped if the next line unwinds, which takes a place in memory.)
        let payload = ManuallyDrop::new(payload);
        if !self.is_fast() {
            self.make_room();
        }
        let position = self.tail.get();
        debug_assert!(position >= self.tail_start.get() && position < self.tail_end.get());
        let place = at(&self.tail_base, position);
        // SAFETY: the tail is less than `tail_end`, by `is_fast` (I7) or by `make_room`; so the
        // place is in the tail's block (I6).
        // It is not between head and tail, so nothing is there that would have to be dropped (I4).
        unsafe {
            write_to(&raw mut (*place).contents.words, payload);
            (&raw mut (*place).contents.site).write(site);
            (&raw mut (*place).vtable).write(Some(&P::VTABLE));
        }
        self.tail.set(position + 1);
        position
    }

    /// Passes the next place, if its position is less than `end`, and dials its call.
    #[inline(always)]
    pub(crate) fn dial_next(&self, end: u64, context: &mut C::At<'_>) -> Next {
        let position = self.head.get();
        if position >= self.tail.get() || position >= end {
            return Next::Empty;
        }
        if position == self.head_end.get()
            && let Entered::Tombstone(note) = self.enter_block()
        {
            C::begin(context, position);
            return Next::Tombstone(note);
        }
        self.head.set(position + 1);
        let place = at(&self.head_base, position);
        // SAFETY: the place was between head and tail, and before `head_end` (I4, I6).
        let Some(vtable) = (unsafe { (*place).vtable }) else {
            self.tombstones.set(self.tombstones.get() - 1);
            // SAFETY: the same; the vtable is clear.
            let note = unsafe { note(place) };
            C::begin(context, position);
            return Next::Tombstone(note);
        };
        // SAFETY: the words hold a payload of the vtable's type (I1).
        // The head has passed the place, so the payload is moved out just once (I2). The function
        // does that before any other code can reach these calls (I10).
        unsafe { (vtable.dial)(&raw const (*place).contents, position, context) };
        Next::Dialed
    }

    /// Passes the next place, and returns what is there.
    pub(crate) fn pop(&self) -> Popped<C> {
        let position = self.head.get();
        if position >= self.tail.get() {
            return Popped::Empty;
        }
        if position == self.head_end.get()
            && let Entered::Tombstone(note) = self.enter_block()
        {
            return Popped::Tombstone(position, note);
        }
        self.head.set(position + 1);
        let place = at(&self.head_base, position);
        // SAFETY: the place was between head and tail, and before `head_end` (I4, I6).
        // The head has passed it, so the payload is moved out just once (I2).
        match unsafe { read(place) } {
            Some(call) => Popped::Call(position, call),
            None => {
                self.tombstones.set(self.tombstones.get() - 1);
                // SAFETY: the same; the vtable is clear.
                Popped::Tombstone(position, unsafe { note(place) })
            }
        }
    }

    /// Whether `position` is between head and tail.
    #[inline(always)]
    pub(crate) const fn contains(&self, position: u64) -> bool {
        position >= self.head.get() && position < self.tail.get()
    }

    /// Whether the call at `position` was canceled, and its turn has not come.
    pub(crate) fn is_tombstone(&self, position: u64) -> bool {
        match self.find(position) {
            Found::Outside => false,
            Found::Freed => true,
            // SAFETY: the place is between head and tail (I4).
            Found::Place(place) => unsafe { (*place).vtable.is_none() },
        }
    }

    /// Where the call at `position` was scheduled, if one is pending there.
    pub(crate) fn site_at(&self, position: u64) -> Option<Site> {
        let Found::Place(place) = self.find(position) else { return None };
        // SAFETY: the place is between head and tail (I4).
        unsafe { (*place).vtable.map(|_| (*place).contents.site) }
    }

    /// The number of the recipient of the call at `position`; 0 if it has none, or no call is
    /// pending there.
    ///
    /// If the payload's function passes or cancels the call, it is dropped.
    pub(crate) fn recipient_at(&self, position: u64) -> u64 {
        let Found::Place(place) = self.find(position) else { return 0 };
        // The call is out of its place while its payload is asked (I10).
        // SAFETY: the place is between head and tail (I4), and buried right here (I2).
        let Some(call) = (unsafe { read(place) }) else { return 0 };
        // SAFETY: the same.
        mem::forget(unsafe { bury(place, None) });
        self.tombstones.set(self.tombstones.get() + 1);
        let (recipient, site) = (call.recipient(), call.site());
        if let Found::Place(place) = self.find(position) {
            // SAFETY: the place is between head and tail (I4). It is still a tombstone, which
            // nothing else fills, so nothing there would have to be dropped.
            unsafe { put(place, call, site) };
            self.tombstones.set(self.tombstones.get() - 1);
        }
        recipient
    }

    /// Makes the place at `position` a tombstone that keeps `note`.
    #[inline]
    pub(crate) fn cancel(&self, position: u64, note: Option<NonZeroU64>) -> Canceled<C> {
        if !self.contains(position) {
            return Canceled::NotThere;
        }
        if position < self.tail_start.get() {
            return self.cancel_before_tail(position, note);
        }
        // SAFETY: the place is between head and tail, and in the tail's block (I4, I6).
        let canceled = unsafe { bury(at(&self.tail_base, position), note) };
        if let Canceled::Call(_) = canceled {
            self.tail_canceled.set(self.tail_canceled.get() + 1);
            self.tombstones.set(self.tombstones.get() + 1);
        }
        canceled
    }

    #[cold]
    #[inline(never)]
    fn cancel_before_tail(&self, position: u64, note: Option<NonZeroU64>) -> Canceled<C> {
        let Found::Place(place) = self.find(position) else { return Canceled::Already };
        // SAFETY: the place is between head and tail (I4).
        let canceled = unsafe { bury(place, note) };
        if let Canceled::Call(_) = canceled {
            self.tombstones.set(self.tombstones.get() + 1);
            if position >= self.head_end.get() {
                self.directory.borrow_mut().count_canceled(position);
            }
        }
        canceled
    }

    /// Puts `call` in the place of the call at `position`, which is returned, and keeps that one's
    /// site. `Err(call)` if no call is pending there.
    pub(crate) fn replace(&self, position: u64, call: Erased<C>) -> Result<Erased<C>, Erased<C>> {
        let Found::Place(place) = self.find(position) else { return Err(call) };
        // SAFETY: the place is between head and tail (I4).
        let Some(old) = (unsafe { read(place) }) else { return Err(call) };
        // SAFETY: the same. The call there has been moved out, and is overwritten (I2).
        unsafe { put(place, call, old.site()) };
        Ok(old)
    }

    /// Frees all spare memory, and if nothing is pending, all memory.
    pub(crate) fn release(&self) {
        let mut directory = self.directory.borrow_mut();
        if self.head.get() == self.tail.get() {
            *directory = Directory::new();
            // As at first (I5).
            for end in [&self.fast_end, &self.head_end, &self.tail_start, &self.tail_end] {
                end.set(self.tail.get());
            }
        } else {
            directory.spares = Vec::new();
        }
    }

    /// The number of bytes allocated, boxed payloads not included.
    pub(crate) fn memory(&self) -> usize {
        self.directory.borrow().memory()
    }

    /// Makes a push possible, and fast if the limit allows it.
    #[cold]
    #[inline(never)]
    fn make_room(&self) {
        if self.tail.get() == self.tail_end.get() {
            self.add_block();
        }
        self.set_fast_end();
    }

    /// The tail, which is at `tail_end`, enters another block.
    fn add_block(&self) {
        let (head, start) = (self.head.get(), self.tail.get());
        let directory = &mut *self.directory.borrow_mut();
        let size = directory.next_size(start - head);
        let end = start.checked_add(u64::from(size)).expect("positions must not be used up");
        let block =
            if head == start { directory.take_last(size) } else { directory.take_spare(size) };
        let base = base(block.places, start);
        directory.push(start, block, self.tail_canceled.get());
        // From here on, the new block is the tail's (I5, I6).
        self.tail_base.set(base);
        self.tail_start.set(start);
        self.tail_end.set(end);
        self.tail_canceled.set(0);
        if head == start {
            self.head_base.set(base);
            self.head_end.set(end);
        }
    }

    /// The head, which is at `head_end` and not at the tail, enters the next block, or passes a
    /// tombstone whose block was freed.
    #[cold]
    #[inline(never)]
    fn enter_block(&self) -> Entered {
        let head = self.head.get();
        let directory = &mut *self.directory.borrow_mut();
        let entry = directory.enter(head, self.tail.get() - head);
        match &entry.memory {
            Memory::Block(block) => {
                self.head_base.set(base(block.places, entry.start));
                self.head_end.set(entry.end());
                Entered::Block
            }
            Memory::Freed(notes) => {
                // `head_base` stays valid for no position (I6): the next one is entered anew.
                self.head.set(head + 1);
                self.head_end.set(head + 1);
                self.tombstones.set(self.tombstones.get() - 1);
                Entered::Tombstone(notes.get(head))
            }
        }
    }

    /// Where the place of `position` is.
    fn find(&self, position: u64) -> Found<C> {
        if !self.contains(position) {
            Found::Outside
        } else if position >= self.tail_start.get() {
            Found::Place(at(&self.tail_base, position))
        } else if position < self.head_end.get() {
            Found::Place(at(&self.head_base, position))
        } else {
            self.directory.borrow_mut().find(position)
        }
    }
}

impl<C: DialContext> Drop for Calls<C> {
    /// Drops the calls from head to tail, even if the drop of one panics.
    fn drop(&mut self) {
        struct Rest<'a, C: DialContext>(&'a Calls<C>);

        impl<C: DialContext> Drop for Rest<'_, C> {
            fn drop(&mut self) {
                while !matches!(self.0.pop(), Popped::Empty) {}
            }
        }

        let rest = Rest(self);
        while !matches!(rest.0.pop(), Popped::Empty) {}
    }
}

/// What the head met at the end of a block.
enum Entered {
    Block,
    /// A tombstone with this note, which the head has passed.
    Tombstone(Option<NonZeroU64>),
}

/// Where the place of a position is.
enum Found<C: DialContext> {
    /// It is not between head and tail.
    Outside,
    /// It was a tombstone, in a block that was freed.
    Freed,
    Place(*mut Place<C>),
}

/// Where position 0 would be, if a block that starts at `start` began that early.
fn base<C: DialContext>(places: NonNull<Place<C>>, start: u64) -> *mut Place<C> {
    // Wraps around, also if `start` is cut to 32 bits: `at` adds what is subtracted here.
    places.as_ptr().wrapping_sub(start as usize)
}

/// The place of `position`, in a block whose base is `base`.
#[inline(always)]
fn at<C: DialContext>(base: &Cell<*mut Place<C>>, position: u64) -> *mut Place<C> {
    let place = base.get().wrapping_add(position as usize);
    debug_assert!(place.is_aligned());
    place
}

/// The call in a place; `None` if it is a tombstone.
///
/// # Safety
///
/// `place` must be initialized. If there is a call, the caller takes it over: it must clear or
/// overwrite the vtable, or have passed the place.
#[inline(always)]
unsafe fn read<C: DialContext>(place: *const Place<C>) -> Option<Erased<C>> {
    // SAFETY: guaranteed by the caller.
    let (contents, vtable) = unsafe { ((*place).contents, (*place).vtable) };
    vtable.map(|vtable| Erased { contents, vtable, not_send: PhantomData })
}

/// Makes a tombstone of a place, with `note`, unless it is one.
///
/// # Safety
///
/// `place` must be initialized, and valid for writes.
#[inline(always)]
unsafe fn bury<C: DialContext>(place: *mut Place<C>, note: Option<NonZeroU64>) -> Canceled<C> {
    // SAFETY: guaranteed by the caller; the vtable is cleared right here (I2).
    unsafe {
        let Some(vtable) = (*place).vtable else { return Canceled::Already };
        let call = if vtable.drop.is_some() { read(place) } else { None };
        (&raw mut (*place).vtable).write(None);
        (&raw mut (*place).contents.words).cast::<u64>().write(note.map_or(0, NonZeroU64::get));
        Canceled::Call(call)
    }
}

/// Puts a call in a place, without dropping what is there.
///
/// # Safety
///
/// `place` must be valid for writes.
unsafe fn put<C: DialContext>(place: *mut Place<C>, call: Erased<C>, site: Site) {
    let call = ManuallyDrop::new(call);
    let contents = Contents { words: call.contents.words, site };
    // SAFETY: guaranteed by the caller. `call` does not drop: its payload moves to the place (I2).
    unsafe { place.write(Place { contents, vtable: Some(call.vtable) }) }
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

/// The blocks, and how large and how many they should be. Safe but for the blocks' own memory.
struct Directory<C: DialContext> {
    /// From the block of the head to that of the tail.
    entries: VecDeque<Entry<C>>,
    /// Blocks of `size` places that are not in use, the last one used last.
    spares: Vec<Block<C>>,
    /// The number of entries whose block has memory.
    in_use: usize,
    /// The size of the next block, at least.
    size: u32,
    /// How many times in a row the span was short when head and tail entered a block.
    short: u32,
    peaks: Peaks,
}

/// A block in use, or what is left of it.
struct Entry<C: DialContext> {
    start: u64,
    size: u32,
    /// How many calls of the block were canceled. Not counted while it is the head's, or the
    /// tail's.
    canceled: u32,
    memory: Memory<C>,
}

enum Memory<C: DialContext> {
    Block(Block<C>),
    Freed(Notes),
}

/// The notes of a block of tombstones, by position; only those that exist.
struct Notes(Box<[(u64, NonZeroU64)]>);

/// Memory for places, which the places do not own.
struct Block<C: DialContext> {
    /// As many as `size`, in a box.
    places: NonNull<Place<C>>,
    size: u32,
}

impl<C: DialContext> Directory<C> {
    const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            spares: Vec::new(),
            in_use: 0,
            size: SMALLEST,
            short: 0,
            peaks: Peaks::new(),
        }
    }

    /// The size of a block that the tail enters, `span` places after the head (I9).
    ///
    /// It doubles when the span asks for it. It halves after some blocks in a row at whose start
    /// neither the tail (here) nor the head (`enter`) saw a span of more than a quarter of it. For
    /// batches of one size that ends: unless batches end where blocks do, one of the two sees at least
    /// half a batch.
    fn next_size(&mut self, span: u64) -> u32 {
        let before = self.size;
        self.short = if self.is_long(span) { 0 } else { self.short + 1 };
        if self.short == 4 {
            self.short = 0;
            self.size = (self.size / 2).max(SMALLEST);
        }
        let needed = span.min(u64::from(LARGEST)) as u32;
        self.size = self.size.max(needed.next_power_of_two());
        if self.size != before {
            self.spares.clear();
        }
        self.size
    }

    /// Whether the head or the tail, entering a block, sees more than a quarter of one pending.
    const fn is_long(&self, span: u64) -> bool {
        span > (self.size / 4) as u64
    }

    /// Ends the entry of the tail's block, as that is full and nothing is pending. Returns its
    /// memory, if it has `size` places, or other memory.
    fn take_last(&mut self, size: u32) -> Block<C> {
        debug_assert!(self.entries.len() <= 1);
        self.peaks.end_cycle();
        let last = self.entries.pop_front().map(|entry| entry.memory);
        self.in_use = 0;
        match last {
            Some(Memory::Block(block)) if block.size == size => block,
            _ => self.take_spare(size),
        }
    }

    /// A block of `size` places, which are all free.
    fn take_spare(&mut self, size: u32) -> Block<C> {
        self.spares.pop().filter(|block| block.size == size).unwrap_or_else(|| Block::new(size))
    }

    /// Appends the block that the tail enters. In the one that it leaves, `canceled` calls were
    /// canceled.
    fn push(&mut self, start: u64, block: Block<C>, canceled: u32) {
        let size = block.size;
        // What may fail comes first: the tail is still in its block.
        self.entries.reserve(1);
        self.spares.reserve(1);
        if let Some(last) = self.entries.back_mut() {
            last.canceled = canceled;
            if self.entries.len() > 1 {
                self.free_tombstones(self.entries.len() - 1);
            }
        }
        self.entries.push_back(Entry { start, size, canceled: 0, memory: Memory::Block(block) });
        self.in_use += 1;
        self.peaks.note(self.in_use);
        self.trim();
    }

    /// The head enters the block that starts at `head`, or goes on in one that was freed. Returns
    /// its entry.
    fn enter(&mut self, head: u64, span: u64) -> &Entry<C> {
        if self.entries[0].end() == head {
            self.leave_head();
        }
        if self.entries[0].start == head {
            if self.is_long(span) {
                self.short = 0;
            }
            if self.entries.len() == 1 {
                self.peaks.end_cycle();
            }
            self.trim();
        }
        &self.entries[0]
    }

    /// Removes the first entry.
    fn leave_head(&mut self) {
        if let Some(Entry { memory: Memory::Block(block), .. }) = self.entries.pop_front() {
            self.in_use -= 1;
            self.keep(block);
        }
        if self.entries.capacity() > 32 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
    }

    /// Keeps a block that is not in use, or frees it, if the cycle before this one did not need
    /// as many.
    fn keep(&mut self, block: Block<C>) {
        let needed = self.spares_for(self.peaks.previous);
        if block.size == self.size && self.spares.len() < needed {
            self.spares.push(block);
        }
    }

    /// Frees at most two of the spare blocks that neither this cycle nor the one before needed.
    fn trim(&mut self) {
        let needed = self.spares_for(self.peaks.highest());
        let surplus = self.spares.len().saturating_sub(needed).min(2);
        self.spares.truncate(self.spares.len() - surplus);
    }

    /// How many spare blocks there should be if `peak` blocks are to be in use: one more than that,
    /// as where batches begin in a block varies.
    fn spares_for(&self, peak: usize) -> usize {
        (peak + 1).saturating_sub(self.in_use).clamp(1, SPARES)
    }

    /// Counts a call that was canceled in a block which is neither the head's nor the tail's.
    fn count_canceled(&mut self, position: u64) {
        let index = self.index(position);
        self.entries[index].canceled += 1;
        self.free_tombstones(index);
    }

    /// Frees the memory of a block that is neither the head's nor the tail's, if it holds
    /// tombstones only (I8).
    fn free_tombstones(&mut self, index: usize) {
        let Entry { start, size, canceled, memory } = &mut self.entries[index];
        let Memory::Block(block) = memory else { return };
        if canceled != size {
            return;
        }
        let base = base(block.places, *start);
        let notes = (*start..*start + u64::from(*size)).filter_map(|position| {
            // SAFETY: the block has a place at `position`, which is between head and tail, and is
            // a tombstone (I4).
            unsafe { note(base.wrapping_add(position as usize)) }.map(|note| (position, note))
        });
        let notes = Notes(notes.collect());
        if let Memory::Block(block) = mem::replace(memory, Memory::Freed(notes)) {
            self.in_use -= 1;
            self.keep(block);
        }
    }

    /// Where the place of `position` is, which is neither in the head's block nor in the tail's.
    fn find(&self, position: u64) -> Found<C> {
        let entry = &self.entries[self.index(position)];
        match &entry.memory {
            Memory::Block(block) => {
                Found::Place(base(block.places, entry.start).wrapping_add(position as usize))
            }
            Memory::Freed(_) => Found::Freed,
        }
    }

    /// The index of the block of `position`, which is before the tail's.
    ///
    /// A guess as if all blocks were of the largest size is not too low. It is too high by the
    /// number of smaller blocks at most, and that is a constant: when the tail enters a block, all
    /// blocks but the head's and the new one are in the span, so the new one is as large as they
    /// are together (I9). From the second one on, sizes are at least 1, 1, 2, 4, 8.. times the
    /// smallest, until they are the largest.
    fn index(&self, position: u64) -> usize {
        let last = self.entries.len() - 1;
        let distance = self.entries[last].start - position;
        let mut index = last.saturating_sub(distance.div_ceil(u64::from(LARGEST)) as usize);
        while self.entries[index].start > position {
            index -= 1;
        }
        index
    }

    fn memory(&self) -> usize {
        let entries = self.entries.iter().map(|entry| match &entry.memory {
            Memory::Block(block) => block.memory(),
            Memory::Freed(Notes(notes)) => size_of_val(&**notes),
        });
        entries.chain(self.spares.iter().map(Block::memory)).sum::<usize>()
            + self.entries.capacity() * size_of::<Entry<C>>()
            + self.spares.capacity() * size_of::<Block<C>>()
    }
}

impl<C: DialContext> Entry<C> {
    const fn end(&self) -> u64 {
        self.start + self.size as u64
    }
}

impl Notes {
    fn get(&self, position: u64) -> Option<NonZeroU64> {
        let index = self.0.binary_search_by_key(&position, |(position, _)| *position).ok()?;
        Some(self.0[index].1)
    }
}

impl<C: DialContext> Block<C> {
    fn new(size: u32) -> Self {
        #[cfg(test)]
        tests::BLOCKS.set(tests::BLOCKS.get() + 1);
        let places = Box::leak(Box::<[Place<C>]>::new_uninit_slice(size as usize));
        Self { places: NonNull::from(places).cast(), size }
    }

    const fn memory(&self) -> usize {
        self.size as usize * size_of::<Place<C>>()
    }
}

impl<C: DialContext> Drop for Block<C> {
    fn drop(&mut self) {
        let places = self.places.cast::<MaybeUninit<Place<C>>>();
        let places = NonNull::slice_from_raw_parts(places, self.size as usize);
        // SAFETY: `new` leaked a box of so many places, and nothing else frees it.
        // Nothing points into it any more: the block has left the directory, or that drops.
        drop(unsafe { Box::from_raw(places.as_ptr()) });
    }
}

/// The highest counts of this cycle and of the one before.
///
/// A cycle is the time in which what is counted grows and shrinks again.
struct Peaks {
    current: usize,
    previous: usize,
}

impl Peaks {
    const fn new() -> Self {
        Self { current: 0, previous: 0 }
    }

    fn note(&mut self, count: usize) {
        self.current = self.current.max(count);
    }

    /// Ends the cycle, unless nothing has been counted in it.
    fn end_cycle(&mut self) {
        if self.current > 0 {
            self.previous = mem::take(&mut self.current);
        }
    }

    fn highest(&self) -> usize {
        self.current.max(self.previous)
    }
}

#[cfg(test)]
mod tests;
