//! Callbacks: calls that wait for a value, each in a slot that does not move.
//!
//! [`Storage::create`] puts a [`Join`] (a handler and its recipient) in a slot, and returns the
//! [`Waiting`] that holds it. [`Waiting::answer`] pushes an [`Answered`], which has the value and
//! the address of the slot; its dial moves the join out and runs it. So the dial of a callback needs
//! no reference count, no check of a type, no look-up and no borrow. To everybody else, a [`Key`]
//! names the callback.
//!
//! Slots are in chunks that do not move, chunks belong to a slab. A chunk starts with a header,
//! which a slot finds by its offset. Each chunk has its own list of free slots.
//!
//! Invariants, beside those of [`erased`](super):
//!
//! - I1 A slot that is not free has one owner: a `Waiting`, an `Answered` or a `Gone`. Only the
//!   owner makes it free. A `Waiting` that is dropped leaves the slot to the slab.
//! - I2 The words of a slot hold a valid join if its tag [`has_join`](Tag::has_join), and its
//!   vtable is that of the join's type and of the value's. A join is moved out at most once: the
//!   tag changes with it.
//! - I3 Memory of a chunk is freed only when its slots are all free, and a slab only after its
//!   chunks. So an owner's pointer to its slot is valid, even after the storage has dropped.
//! - I4 The slots of a `Storage` have owners that are its own: a `Waiting` has a reference to it,
//!   and pushes an `Answered` to its calls only.
//! - I5 If a slot's tag is `Pending`, its position is that of its `Answered`; if a call is pending
//!   there, it is that one: it [`is a callback's`](Payload::CALLBACK), so nothing else replaces it.
//! - I6 While a join is looked at in its slot, the tag is `Vacant`, so that nothing takes it. The slot
//!   is not free, and stays in its list.
//! - I7 A slot is in a list of links exactly if it has a join: that of its group, or one of its
//!   own. Links of a list are valid: slots leave it before they are free, anchors with their group.
//! - I8 `available` is a chunk with a free slot, or null if there is none that is not empty.
//! - I9 No reference to a slot's words and no borrow of the chunks is held while a join or a
//!   value is dialed or dropped.
//! - I10 A slot is created at a site, and has a position once it is answered; not both.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::panic::Location;
use core::ptr::{self, NonNull};

use super::words::{NO_WORDS, Words, fits, is_aligned_to};
use super::{
    CallbackFunctions, DialContext, Erased, HasVTable, Key, Payload, Site, VTable, drop_function,
    write_to,
};
use chunks::{ChunkMemory, Chunks, FIRST, INDEX_BITS, OTHERS, TICK};
pub(crate) use join::Join;
pub(crate) use outcome::{Answer, Cancel, Remains};
pub(crate) use stage::Stage;
use stage::Tag;
pub(crate) use storage::Storage;

mod chunks;
mod join;
mod outcome;
mod stage;
mod storage;

impl<C: DialContext, X> Storage<C, X> {
    /// Creates a callback, which is in `group` until it is dialed or over.
    ///
    /// # Panics
    ///
    /// If there are 2^31 callbacks.
    #[inline(always)]
    pub(crate) fn create<A: 'static, J: Join<C, A>>(
        self: &Rc<Self>,
        group: Option<&Group>,
        join: J,
        site: Site,
    ) -> Waiting<C, X, A> {
        if const { fits::<J>() } {
            self.create_fitting(group, join, site)
        } else {
            self.create_fitting(group, Box::new(join), site)
        }
    }

    #[inline(always)]
    fn create_fitting<A: 'static, J: Join<C, A>>(
        self: &Rc<Self>,
        group: Option<&Group>,
        join: J,
        site: Site,
    ) -> Waiting<C, X, A> {
        let slab = self.slots.slab();
        let anchor = group.map_or(Some(None), |group| group.anchor.get().map(Some));
        let (Some(chunk), Some(anchor)) = (slab.available(), anchor) else {
            return self.create_slow(group, join, site);
        };
        let pointer = chunk.occupy();
        // SAFETY: the slot is in a chunk, and as of now it is owned by this function (I1, I3).
        let slot = unsafe { pointer.as_ref() };
        // SAFETY: no join is in the words (I2), which no reference points to (I9).
        unsafe { write_to(slot.words.get(), join) };
        slot.vtable.set(if const { fits::<Joined<C, J, A>>() } {
            &<Joined<C, J, A> as HasVTable<C>>::VTABLE
        } else {
            &<Box<Joined<C, J, A>> as HasVTable<C>>::VTABLE
        });
        slot.origin.set(SiteOrPosition { site });
        slot.tag.set(Tag::Waiting);
        // SAFETY: the slot is valid until it is unlinked, and the anchor until its group has
        // unlinked all (I7).
        unsafe { link(pointer.cast(), anchor) };
        if chunk.free.get().is_null() {
            slab.used_up(chunk);
        }
        Waiting { storage: Rc::clone(self), slot: pointer, value: PhantomData }
    }

    /// The same if a chunk or an anchor must be made first.
    #[cold]
    #[inline(never)]
    fn create_slow<A: 'static, J: Join<C, A>>(
        self: &Rc<Self>,
        group: Option<&Group>,
        join: J,
        site: Site,
    ) -> Waiting<C, X, A> {
        if let Some(group) = group {
            group.make_anchor();
        }
        self.slots.add_chunk();
        self.create_fitting(group, join, site)
    }

    /// The first callback that is known, of those in slot `from` or a later one.
    pub(crate) fn first_known(&self, from: u32) -> Option<(Key, Stage)> {
        let slot = self.slots.slab().first(from)?;
        // SAFETY: the slot is not vacant, so it is valid (I3).
        let slot = unsafe { slot.as_ref() };
        Some((slot.key(), slot.stage()))
    }

    /// Releases what one callback of `group` captured, as its recipient is gone: the first one that
    /// has not been released and is not being dialed. The caller must drop it.
    ///
    /// If the callback waits, it is no longer wanted. If its call is pending, it stays so, and its
    /// turn ends in [`DialContext::gone`].
    pub(crate) fn release_next(&self, group: &Group) -> Option<Remains<Captured, Erased<C>>> {
        let anchor = group.anchor.get()?;
        // SAFETY: the links of a list are valid (I7).
        let mut link = unsafe { anchor.as_ref() }.next.get();
        while link != anchor.as_ptr() {
            // SAFETY: links other than the anchor are those of a slot, at its start, and valid (I7).
            let slot = unsafe { NonNull::new_unchecked(link.cast_mut()).cast::<Slot<C>>() };
            // SAFETY: the same, and so is the header of its chunk.
            let is_ours = unsafe { header(slot).as_ref() }.slab == self.slots.0;
            // SAFETY: the same.
            if is_ours && unsafe { slot.as_ref() }.tag.get().has_join() {
                // SAFETY: the slot is valid, of this storage, has a join, and is not looked at (I6).
                return Some(unsafe { self.release(slot) });
            }
            // SAFETY: the links of a list are valid (I7).
            link = unsafe { (*link).next.get() };
        }
        None
    }

    /// Releases what a callback captured.
    ///
    /// # Safety
    ///
    /// The slot must be valid, be one of this storage, and have a join that is not being looked at.
    unsafe fn release(&self, pointer: NonNull<Slot<C>>) -> Remains<Captured, Erased<C>> {
        // SAFETY: guaranteed by the caller.
        let slot = unsafe { pointer.as_ref() };
        let tag = slot.tag.get();
        let mut remains = Remains { _join: slot.take_join(tag.released()), _call: None };
        if tag == Tag::Pending {
            let gone = Erased::new(Gone { slot: pointer }, Location::caller());
            match self.calls.replace_if(slot.position(), gone, |_| true) {
                Ok(mut call) => {
                    // SAFETY: the call there was the `Answered` of this slot (I5, I4), and the
                    // vtable is that of its types (I2). `gone` owns the slot from now on.
                    unsafe { (slot.functions().disown)(&raw mut call.contents.words) };
                    remains._call = Some(call);
                }
                // The call was taken from its place, and what has it owns the slot.
                Err(gone) => mem::forget(gone),
            }
        }
        remains
    }
}

/// Holds a callback, to be answered with a value of type `A`.
///
/// One that is dropped leaves its callback waiting for good: see [`give_up`](Self::give_up).
pub(crate) struct Waiting<C: DialContext, X, A> {
    storage: Rc<Storage<C, X>>,
    /// A slot of the storage, which this owns, and which was created for values of type `A`.
    slot: NonNull<Slot<C>>,
    value: PhantomData<fn(A)>,
}

impl<C: DialContext, X, A: 'static> Waiting<C, X, A> {
    #[inline(always)]
    pub(crate) const fn storage(&self) -> &Rc<Storage<C, X>> {
        &self.storage
    }

    pub(crate) fn key(&self) -> Key {
        self.slot().key()
    }

    /// Where the callback was created.
    pub(crate) fn site(&self) -> Site {
        // SAFETY: the callback was not answered (I10).
        unsafe { self.slot().origin.get().site }
    }

    /// Whether the callback was neither canceled nor released.
    #[inline(always)]
    pub(crate) fn is_wanted(&self) -> bool {
        self.slot().tag.get() == Tag::Waiting
    }

    /// Waiting, Canceled or Released.
    pub(crate) fn stage(&self) -> Stage {
        self.slot().stage()
    }

    /// Schedules the call with `value`, if that is simple: the calls are fast, the callback is wanted,
    /// and no allocation is needed. Calls `then` when that is done.
    ///
    /// # Errors
    ///
    /// Else hands all back.
    #[inline(always)]
    pub(crate) fn answer_fast(
        self,
        value: A,
        site: Site,
        then: impl FnOnce(&X),
    ) -> Result<(), (Self, A)> {
        if const { !fits::<Answered<C, A>>() } || !self.storage.calls.is_fast() || !self.is_wanted()
        {
            return Err((self, value));
        }
        // SAFETY: the slot is owned by `self`, which is given up, and its callback waits.
        unsafe { self.push(Answered { slot: Some(self.slot), value }, site) };
        then(&self.storage.rest);
        Ok(())
    }

    /// Schedules the call with `value`, even beyond the limit of the calls.
    #[cold]
    #[inline(never)]
    pub(crate) fn answer(self, value: A, site: Site) -> Answer<A> {
        // What may use the storage comes first: the allocator.
        let room = (!fits::<Answered<C, A>>()).then(Box::<Answered<C, A>>::new_uninit);
        self.storage.calls.reserve();
        match self.slot().tag.get() {
            Tag::Waiting => {
                let answered = Answered { slot: Some(self.slot), value };
                // SAFETY: the slot is owned by `self`, which is given up, and its callback waits.
                unsafe {
                    match room {
                        Some(room) => self.push(Box::write(room, answered), site),
                        None => self.push(answered, site),
                    };
                }
                Answer::Pushed(None)
            }
            Tag::Released => {
                let position = self.storage.calls.push(|| Gone { slot: self.slot }, site);
                self.slot().origin.set(SiteOrPosition { position });
                self.slot().tag.set(Tag::PendingGone);
                Answer::Pushed(Some(value))
            }
            _ => {
                // SAFETY: the slot is owned by `self`, which is given up here (I1).
                drop(unsafe { end(self.slot) });
                Answer::Unwanted(value)
            }
        }
    }

    /// Pushes the call.
    ///
    /// # Safety
    ///
    /// `answered` must be an `Answered` that owns the slot, or a box of one if that does not fit. The
    /// tag must be `Waiting`.
    #[inline(always)]
    unsafe fn push<P>(&self, answered: P, site: Site) -> u64 {
        let slot = self.slot();
        // SAFETY: the vtable is that of an `Answered` of these types, or of a box of it, by `create`.
        // It is the same whatever the join is, but for its functions.
        let position =
            unsafe { self.storage.calls.push_fitting(answered, site, slot.vtable.get()) };
        slot.origin.set(SiteOrPosition { position });
        slot.tag.set(Tag::Pending);
        position
    }

    /// Forgets the callback, and returns what it captured, unless it was canceled. The caller must drop
    /// that.
    pub(crate) fn give_up(self) -> Option<Captured> {
        let canceled = self.stage() == Stage::Canceled;
        // SAFETY: the slot is owned by `self`, which is given up here (I1).
        let join = unsafe { end(self.slot) };
        (!canceled).then_some(join)
    }

    #[inline(always)]
    fn slot(&self) -> &Slot<C> {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        unsafe { self.slot.as_ref() }
    }
}

/// The call of an answered callback, whose join may be of any type.
struct Answered<C: DialContext, A> {
    /// Owned by this, unless it was disowned.
    slot: Option<NonNull<Slot<C>>>,
    value: A,
}

impl<C: DialContext, A> Answered<C, A> {
    /// The slot of one that was not disowned.
    #[inline(always)]
    fn slot(&self) -> NonNull<Slot<C>> {
        debug_assert!(self.slot.is_some());
        // SAFETY: only what `release` hands out was disowned, and that is dropped only.
        unsafe { self.slot.unwrap_unchecked() }
    }

    /// Moves the value out, and leaves the slot to the caller.
    #[inline(always)]
    fn into_value(self) -> A {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` does not drop, so the value moves.
        unsafe { (&raw const this.value).read() }
    }
}

impl<C: DialContext, A> Drop for Answered<C, A> {
    /// Makes the slot vacant, and drops the join, then the value.
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            // SAFETY: `self` owns the slot, and drops.
            drop(unsafe { end(slot) });
        }
    }
}

/// An [`Answered`] whose slot was created for a `J`.
#[repr(transparent)]
struct Joined<C: DialContext, J, A>(Answered<C, A>, PhantomData<J>);

impl<C: DialContext, A: 'static, J: Join<C, A>> Payload<C> for Joined<C, J, A> {
    const CALLBACK: Option<CallbackFunctions> =
        Some(CallbackFunctions { drop_join: drop_function::<J>(), disown: disown::<C, A> });

    #[inline(always)]
    fn dial(self, at: &mut C::At<'_>, site: Site) {
        let pointer = self.0.slot();
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let slot = unsafe { pointer.as_ref() };
        if !slot.tag.get().has_join() {
            return self.dial_released(at, site);
        }
        let hidden = slot.hide();
        // SAFETY: a `J` is in the words (I2), and stays there while it is hidden (I6).
        if let Some(busy) = unsafe { slot.join::<J>() }.busy() {
            drop(hidden);
            return self.defer(busy, at, site);
        }
        mem::forget(hidden);
        // SAFETY: the slot is valid.
        let Some(chunk) = (unsafe { chunk_if_simple(pointer) }) else {
            return self.deliver_slow(at, site);
        };
        // SAFETY: a `J` is in the words (I2). It is moved out just once, as the tag stays `Vacant`.
        let (key, join) = (slot.key(), unsafe { slot.words.get().cast::<J>().read() });
        // SAFETY: `self` owns the slot, which is in a list, as it had a join (I7).
        unsafe {
            unlink(&slot.links);
            vacate_simple(pointer, chunk);
        }
        join.dial(self.0.into_value(), key, at, site);
    }

    fn recipient(&self) -> u64 {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let slot = unsafe { self.0.slot().as_ref() };
        if !slot.tag.get().has_join() {
            return 0;
        }
        let _hidden = slot.hide();
        // SAFETY: a `J` is in the words (I2), and stays there while it is hidden (I6).
        unsafe { slot.join::<J>() }.recipient()
    }
}

impl<C: DialContext, A: 'static, J: Join<C, A>> Joined<C, J, A> {
    /// Dials the join, which is hidden, if making the slot vacant is not simple. (Apart, so that the
    /// usual dial has no calls around which it would have to save what it moved.)
    #[cold]
    #[inline(never)]
    fn deliver_slow(self, at: &mut C::At<'_>, site: Site) {
        let pointer = self.0.slot();
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let slot = unsafe { pointer.as_ref() };
        // SAFETY: a `J` is in the words (I2). It is moved out just once, as the tag stays `Vacant`.
        let (key, join) = (slot.key(), unsafe { slot.words.get().cast::<J>().read() });
        // SAFETY: `self` owns the slot, which is in a list, as it had a join (I7).
        unsafe {
            unlink(&slot.links);
            vacate(pointer);
        }
        join.dial(self.0.into_value(), key, at, site);
    }

    #[cold]
    #[inline(never)]
    fn defer(self, busy: J::Busy, at: &mut C::At<'_>, site: Site) {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let slot = unsafe { self.0.slot().as_ref() };
        slot.tag.set(Tag::Deferred);
        J::defer(busy, slot.key(), Erased::new(self, site), at);
    }

    /// The turn of a callback whose join was released while its call was out of the calls.
    #[cold]
    #[inline(never)]
    fn dial_released(self, at: &mut C::At<'_>, site: Site) {
        let pointer = self.0.slot();
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let key = unsafe { pointer.as_ref() }.key();
        let _value = self.0.into_value();
        // SAFETY: `self` owned the slot, and was given up.
        drop(unsafe { end(pointer) });
        C::gone(at, key, site);
    }
}

/// The call of an answered callback whose recipient is gone.
struct Gone<C: DialContext> {
    /// Owned by this; without a join.
    slot: NonNull<Slot<C>>,
}

impl<C: DialContext> Payload<C> for Gone<C> {
    const CALLBACK: Option<CallbackFunctions> = Some(CallbackFunctions::NONE);

    fn dial(self, at: &mut C::At<'_>, site: Site) {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let key = unsafe { self.slot.as_ref() }.key();
        drop(self);
        C::gone(at, key, site);
    }
}

impl<C: DialContext> Drop for Gone<C> {
    fn drop(&mut self) {
        // SAFETY: `self` owns the slot, and drops. There is no join to be dropped.
        drop(unsafe { end(self.slot) });
    }
}

/// A value of any type, to be dropped.
pub(crate) struct Captured {
    words: Words,
    /// Drops the value in the words; `None` if that would do nothing.
    drop: Option<unsafe fn(*mut Words)>,
    /// The value may be neither `Send` nor `Sync`.
    not_send: PhantomData<*mut ()>,
}

impl Captured {
    const NOTHING: Self = Self { words: NO_WORDS, drop: None, not_send: PhantomData };
}

impl Drop for Captured {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the words hold a valid value, and the function is that of its type.
            // A `Captured` drops at most once, and nothing else reads its words.
            unsafe { drop(&raw mut self.words) }
        }
    }
}

/// # Safety
///
/// `words` must be those of the call of a callback that was answered with an `A`.
unsafe fn disown<C: DialContext, A>(words: *mut Words) {
    // SAFETY: guaranteed by the caller.
    let answered = unsafe {
        if const { fits::<Answered<C, A>>() } {
            &mut *words.cast::<Answered<C, A>>()
        } else {
            &mut **words.cast::<Box<Answered<C, A>>>()
        }
    };
    answered.slot = None;
}

/// Where a callback is, from its creation until it is over. 96 bytes on 64-bit.
#[repr(C)]
struct Slot<C: DialContext> {
    /// If the slot is free, `next` is the next free one of the chunk, or null.
    links: Links,
    words: UnsafeCell<Words>,
    /// Of the `Answered`, or of a box of it if that does not fit.
    vtable: Cell<&'static VTable<C>>,
    origin: Cell<SiteOrPosition>,
    generation: Cell<u32>,
    /// Of all slots of the slab. The low bits are the index in the chunk, from 1 on.
    number: u32,
    /// How many bytes the header of the slot's chunk is after the slot: less than 0.
    header: i16,
    tag: Cell<Tag>,
}

/// Where the callback was created; once it is answered, the position of its call.
#[derive(Clone, Copy)]
union SiteOrPosition {
    site: Site,
    position: u64,
}

impl<C: DialContext> Slot<C> {
    /// The key of the callback.
    #[inline(always)]
    const fn key(&self) -> Key {
        Key { slot: self.number, generation: self.generation.get() }
    }

    fn functions(&self) -> &'static CallbackFunctions {
        self.vtable.get().callback.as_ref().unwrap_or(&CallbackFunctions::NONE)
    }

    fn stage(&self) -> Stage {
        match self.tag.get() {
            Tag::Vacant => Stage::Unknown,
            Tag::Waiting => Stage::Waiting,
            Tag::Canceled => Stage::Canceled,
            Tag::Released => Stage::Released,
            Tag::Pending | Tag::PendingGone => Stage::Pending(self.position()),
            Tag::Deferred | Tag::DeferredGone => Stage::Deferred(self.position()),
        }
    }

    /// The position of the call of a callback that was answered.
    fn position(&self) -> u64 {
        // SAFETY: any bits are a position, and all of them are initialized (I10).
        unsafe { self.origin.get().position }
    }

    /// The join.
    ///
    /// # Safety
    ///
    /// A valid `J` must be in the words, and stay there as long as the reference is used.
    #[inline(always)]
    unsafe fn join<J>(&self) -> &J {
        debug_assert!(is_aligned_to(self.words.get(), align_of::<J>()));
        // SAFETY: guaranteed by the caller.
        unsafe { &*self.words.get().cast::<J>() }
    }

    /// Makes the callback seem to be unknown, until what this returns drops.
    #[inline(always)]
    fn hide(&self) -> HiddenSlot<'_> {
        HiddenSlot { tag: &self.tag, was: self.tag.replace(Tag::Vacant) }
    }

    /// Changes the tag to one without a join, and takes the join out, if there is one.
    #[inline]
    fn take_join(&self, tag: Tag) -> Captured {
        if !self.tag.replace(tag).has_join() {
            return Captured::NOTHING;
        }
        // SAFETY: there was a join, so the slot is in a list (I7).
        unsafe { unlink(&self.links) };
        // SAFETY: the words are valid for reads. What they hold is moved, as the tag has changed (I2).
        let words = unsafe { self.words.get().read() };
        Captured { words, drop: self.functions().drop_join, not_send: PhantomData }
    }
}

/// A callback that is hidden until this drops.
struct HiddenSlot<'a> {
    tag: &'a Cell<Tag>,
    was: Tag,
}

impl Drop for HiddenSlot<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.tag.set(self.was);
    }
}

/// Ends the callback in a slot: makes it vacant, and returns its join, if there is one.
///
/// # Safety
///
/// The caller must own the slot, and give it up.
unsafe fn end<C: DialContext>(slot: NonNull<Slot<C>>) -> Captured {
    // SAFETY: the caller owns the slot, so it is valid (I3).
    let join = unsafe { slot.as_ref() }.take_join(Tag::Vacant);
    // SAFETY: guaranteed by the caller; the join has been taken.
    unsafe { vacate(slot) };
    join
}

/// The chunk of a slot, if making the slot free changes nothing but the chunk's free slots: it is
/// available, and stays so, and no cycle ends.
///
/// # Safety
///
/// The slot must be valid.
#[inline(always)]
unsafe fn chunk_if_simple<C: DialContext>(slot: NonNull<Slot<C>>) -> Option<NonNull<Header<C>>> {
    // SAFETY: the slot is valid, and so is its header (I3).
    let chunk = unsafe { header(slot) };
    // SAFETY: the same.
    let (header, slot) = unsafe { (chunk.as_ref(), slot.as_ref()) };
    let is_simple = !header.free.get().is_null()
        && header.used.get() != 1
        && slot.generation.get() % TICK != TICK - 1;
    is_simple.then_some(chunk)
}

/// Makes a slot free, whose tag is `Vacant`, and whose join has been moved out.
///
/// # Safety
///
/// The caller must own the slot, and give it up. The slot must be in no list of links. `chunk` must
/// be what [`chunk_if_simple`] returns.
#[inline(always)]
unsafe fn vacate_simple<C: DialContext>(pointer: NonNull<Slot<C>>, chunk: NonNull<Header<C>>) {
    // SAFETY: the caller owns the slot, so it and its header are valid (I3).
    let (header, slot) = unsafe { (chunk.as_ref(), pointer.as_ref()) };
    debug_assert!(slot.tag.get() == Tag::Vacant);
    slot.generation.set(slot.generation.get().wrapping_add(1));
    slot.links.next.set(header.free.replace(pointer.as_ptr()).cast());
    header.used.set(header.used.get() - 1);
}

/// Makes a slot free, whose tag is `Vacant`, and whose join has been moved out.
///
/// # Safety
///
/// The caller must own the slot, and give it up. The slot must be in no list of links.
unsafe fn vacate<C: DialContext>(pointer: NonNull<Slot<C>>) {
    // SAFETY: guaranteed by the caller.
    if let Some(chunk) = unsafe { chunk_if_simple(pointer) } {
        // SAFETY: the same.
        return unsafe { vacate_simple(pointer, chunk) };
    }
    // SAFETY: the caller owns the slot, so it and its header are valid (I3).
    let (chunk, slot) = unsafe { (header(pointer), pointer.as_ref()) };
    // SAFETY: the same.
    let header = unsafe { chunk.as_ref() };
    let free = header.free.get();
    let generation = slot.generation.get().checked_add(1);
    // Else the generations of the slot are used up: it is retired.
    if let Some(generation) = generation {
        slot.generation.set(generation);
        slot.links.next.set(free.cast());
        header.free.set(pointer.as_ptr());
    }
    header.used.set(header.used.get() - 1);
    let is_tick = generation.is_none_or(|generation| generation % TICK == 0);
    // SAFETY: the chunk is valid, and nothing here uses it or the slot any more.
    unsafe { vacated(chunk, is_tick) };
}

/// Makes a chunk available, or keeps or frees it if it is empty: its first slot may have become free,
/// or its last one that was used. Then ends a cycle if it `is_tick`.
///
/// # Safety
///
/// The chunk must be valid. The caller must not use it any more.
#[cold]
#[inline(never)]
unsafe fn vacated<C: DialContext>(chunk: NonNull<Header<C>>, is_tick: bool) {
    // SAFETY: guaranteed by the caller.
    let header = unsafe { chunk.as_ref() };
    let (own, number, has_free) = (header.slab, header.number, !header.free.get().is_null());
    // SAFETY: a slab outlives its chunks (I3).
    let slab = unsafe { own.as_ref() };
    if header.used.get() == 0 {
        slab.chunks.borrow_mut().keep(number, has_free);
    } else {
        slab.chunks.borrow_mut().set_available(number, has_free);
    }
    if is_tick {
        slab.chunks.borrow_mut().tick();
    }
    slab.look_for_available();
    // SAFETY: the slab is valid, and not used any more here.
    unsafe { Slab::free_if_over(own) };
}

/// Neighbors in a list of links, which is a ring.
#[repr(C)]
struct Links {
    previous: Cell<*const Self>,
    next: Cell<*const Self>,
}

/// Appends `link` to the list of `anchor`, or makes it a list of its own.
///
/// # Safety
///
/// Both must stay valid as long as they are in the list. `link` must be in none yet.
#[inline(always)]
unsafe fn link(link: NonNull<Links>, anchor: Option<NonNull<Links>>) {
    let own = link.as_ptr().cast_const();
    // SAFETY: guaranteed by the caller.
    let link = unsafe { link.as_ref() };
    let Some(anchor) = anchor else {
        link.previous.set(own);
        link.next.set(own);
        return;
    };
    // SAFETY: guaranteed by the caller; so is the last link of the list (I7).
    unsafe {
        let last = anchor.as_ref().previous.replace(own);
        (*last).next.set(own);
        link.previous.set(last);
    }
    link.next.set(anchor.as_ptr());
}

/// Removes `link` from its list.
///
/// # Safety
///
/// `link` must be in a list.
#[inline(always)]
unsafe fn unlink(link: &Links) {
    // SAFETY: the links of a list are valid (I7).
    unsafe {
        let (previous, next) = (link.previous.get(), link.next.get());
        (*previous).next.set(next);
        (*next).previous.set(previous);
    }
}

/// The callbacks of a recipient that have a join.
pub(crate) struct Group {
    /// Made at the first use. The links of all members, and this, are a ring.
    anchor: Cell<Option<NonNull<Links>>>,
}

impl Group {
    pub(crate) const fn new() -> Self {
        Self { anchor: Cell::new(None) }
    }

    #[inline(always)]
    const fn is_new(&self) -> bool {
        self.anchor.get().is_none()
    }

    fn make_anchor(&self) {
        if !self.is_new() {
            return;
        }
        let (previous, next) = (Cell::new(ptr::null()), Cell::new(ptr::null()));
        let anchor = NonNull::from(Box::leak(Box::new(Links { previous, next })));
        // SAFETY: the anchor is valid until the group drops.
        unsafe { link(anchor, None) };
        self.anchor.set(Some(anchor));
    }
}

impl Drop for Group {
    /// Leaves the members without a group.
    fn drop(&mut self) {
        let Some(anchor) = self.anchor.get() else { return };
        // SAFETY: the links of the list are valid (I7). Each becomes a list of its own, so that none
        // refers to the anchor when that is freed. `make_anchor` leaked the box.
        unsafe {
            let mut at = anchor.as_ref().next.get();
            while at != anchor.as_ptr() {
                let next = (*at).next.get();
                (*at).previous.set(at);
                (*at).next.set(at);
                at = next;
            }
            drop(Box::from_raw(anchor.as_ptr()));
        }
    }
}

/// What a chunk starts with.
struct Header<C: DialContext> {
    slab: NonNull<Slab<C>>,
    number: u32,
    /// The number of slots, and one.
    len: u32,
    /// The first free slot, or null.
    free: Cell<*mut Slot<C>>,
    /// The number of slots that are not free; one more for chunk 0, so that it is kept.
    used: Cell<u32>,
}

impl<C: DialContext> Header<C> {
    /// A slot for a callback. The chunk must be the available one. The caller must put a join in the
    /// slot and link it, and if it was the last that is free, call [`used_up`](Slab::used_up).
    #[inline(always)]
    fn occupy(&self) -> NonNull<Slot<C>> {
        debug_assert!(!self.free.get().is_null());
        // SAFETY: a chunk that is available has a free slot (I8), which is valid.
        let slot = unsafe { NonNull::new_unchecked(self.free.get()) };
        // SAFETY: the same.
        let next = unsafe { slot.as_ref() }.links.next.get();
        self.free.set(next.cast_mut().cast());
        self.used.set(self.used.get() + 1);
        slot
    }
}

/// An item of a chunk: the first is the header.
union Unit<C: DialContext> {
    _header: ManuallyDrop<Header<C>>,
    _slot: ManuallyDrop<Slot<C>>,
}

/// The header of the chunk of a slot.
///
/// # Safety
///
/// `slot` must be valid, and be returned by its chunk's [`slot`](Chunk::slot).
#[inline(always)]
unsafe fn header<C: DialContext>(slot: NonNull<Slot<C>>) -> NonNull<Header<C>> {
    // SAFETY: the slot is valid, and its header is in the same memory.
    unsafe { slot.byte_offset(isize::from(slot.as_ref().header)).cast() }
}

/// Memory for a header and slots. Frees it when dropped.
struct Chunk<C: DialContext>(NonNull<Header<C>>);

impl<C: DialContext> Chunk<C> {
    /// A chunk of free slots, all of a generation.
    fn new(slab: NonNull<Slab<C>>, number: u32, generation: u32) -> Self {
        #[cfg(test)]
        tests::CHUNKS.set(tests::CHUNKS.get() + 1);
        const { assert!(OTHERS * size_of::<Unit<C>>() <= 1 << 15, "an offset is 16 bits") };
        let len = if number == 0 { FIRST } else { OTHERS };
        let units = NonNull::from(Box::leak(Box::<[Unit<C>]>::new_uninit_slice(len)));
        let chunk = Self(units.cast());
        let used = Cell::new(u32::from(number == 0));
        let header =
            Header { slab, number, len: len as u32, free: Cell::new(ptr::null_mut()), used };
        // SAFETY: the first unit is large enough for a header.
        unsafe { chunk.0.write(header) };
        for index in (1..len).rev() {
            let slot = chunk.slot(index);
            let next = chunk.header().free.replace(slot.as_ptr());
            let vacant = Slot {
                links: Links { previous: Cell::new(ptr::null()), next: Cell::new(next.cast()) },
                words: UnsafeCell::new(NO_WORDS),
                vtable: Cell::new(&<Gone<C> as HasVTable<C>>::VTABLE),
                origin: Cell::new(SiteOrPosition { position: 0 }),
                generation: Cell::new(generation),
                number: number << INDEX_BITS | index as u32,
                header: -((index * size_of::<Unit<C>>()) as i16),
                tag: Cell::new(Tag::Vacant),
            };
            // SAFETY: the unit is in the chunk, and large enough for a slot.
            unsafe { slot.write(vacant) };
        }
        chunk
    }

    fn header(&self) -> &Header<C> {
        // SAFETY: `new` wrote a header there.
        unsafe { self.0.as_ref() }
    }

    /// The slot at `index`, from 1 on.
    fn slot(&self, index: usize) -> NonNull<Slot<C>> {
        assert!(index > 0 && index < self.header().len as usize, "an index in the chunk");
        // SAFETY: the chunk has more units than `index`.
        unsafe { self.0.cast::<Unit<C>>().add(index).cast() }
    }

    /// The slots from `index` on.
    fn slots(&self, index: usize) -> impl Iterator<Item = NonNull<Slot<C>>> {
        (index.max(1)..self.header().len as usize).map(|index| self.slot(index))
    }

    /// The first slot from `index` on that is not vacant.
    fn first_used(&self, index: usize) -> Option<NonNull<Slot<C>>> {
        // SAFETY: `new` wrote slots there.
        self.slots(index).find(|slot| unsafe { slot.as_ref() }.tag.get() != Tag::Vacant)
    }
}

impl<C: DialContext> ChunkMemory for Chunk<C> {
    fn highest_generation(&self) -> u32 {
        // SAFETY: `new` wrote slots there.
        let generations = self.slots(1).map(|slot| unsafe { slot.as_ref() }.generation.get());
        generations.max().unwrap_or(0)
    }
}

impl<C: DialContext> Drop for Chunk<C> {
    fn drop(&mut self) {
        let len = self.header().len as usize;
        let units = NonNull::slice_from_raw_parts(self.0.cast::<MaybeUninit<Unit<C>>>(), len);
        // SAFETY: `new` leaked a box of so many units, and nothing else frees it. All slots are
        // free (I3).
        drop(unsafe { Box::from_raw(units.as_ptr()) });
    }
}

/// All chunks. In a box of its own, as the storage may move, and slots may outlive it.
struct Slab<C: DialContext> {
    available: Cell<*const Header<C>>,
    chunks: RefCell<Chunks<Chunk<C>>>,
}

impl<C: DialContext> Slab<C> {
    /// The chunk that has the next free slot, if there is one.
    #[inline(always)]
    fn available(&self) -> Option<&Header<C>> {
        // SAFETY: a chunk that is available is valid (I8).
        unsafe { self.available.get().as_ref() }
    }

    #[cold]
    #[inline(never)]
    fn used_up(&self, header: &Header<C>) {
        self.chunks.borrow_mut().set_available(header.number, false);
        self.look_for_available();
    }

    fn look_for_available(&self) {
        let chunks = self.chunks.borrow();
        let chunk = chunks.first_available().map_or(ptr::null(), |chunk| chunk.0.as_ptr());
        self.available.set(chunk);
    }

    /// Looks at the slot of the callback `key`, if that is known.
    fn find<R>(&self, key: Key, look: impl FnOnce(&Slot<C>) -> R) -> Option<R> {
        let chunks = self.chunks.borrow();
        let chunk = chunks.get(key.slot >> INDEX_BITS)?;
        // (Index 0, which no slot has, finds one of another key.)
        let slot = chunk.slots((key.slot & ((1 << INDEX_BITS) - 1)) as usize).next()?;
        // SAFETY: the chunk has a slot there.
        let slot = unsafe { slot.as_ref() };
        (slot.key() == key && slot.tag.get() != Tag::Vacant).then(|| look(slot))
    }

    /// The first slot from number `from` on that is not vacant.
    fn first(&self, from: u32) -> Option<NonNull<Slot<C>>> {
        let chunks = self.chunks.borrow();
        let (number, index) = (from >> INDEX_BITS, (from & ((1 << INDEX_BITS) - 1)) as usize);
        let here = chunks.get(number).and_then(|chunk| chunk.first_used(index));
        here.or_else(|| chunks.from(number + 1).find_map(|chunk| chunk.first_used(1)))
    }

    /// Frees the chunks that are empty, the first one too.
    fn release(&self) {
        let mut chunks = self.chunks.borrow_mut();
        if chunks.get(0).is_some_and(|first| first.header().used.get() == 1) {
            chunks.free(0);
        }
        chunks.free_spares();
        drop(chunks);
        self.look_for_available();
    }

    /// Frees the slab, if its storage has dropped, and no slot has an owner.
    ///
    /// # Safety
    ///
    /// `slab` must be valid. The caller must not use it any more.
    unsafe fn free_if_over(slab: NonNull<Self>) {
        let is_over = {
            // SAFETY: guaranteed by the caller.
            let chunks = unsafe { slab.as_ref() }.chunks.borrow();
            chunks.is_closed && chunks.is_empty()
        };
        if is_over {
            // SAFETY: `Slots::new` leaked the box. The storage has dropped, and no chunk refers to it.
            drop(unsafe { Box::from_raw(slab.as_ptr()) });
        }
    }

    #[cfg(test)]
    fn memory(&self) -> usize {
        let chunks = self.chunks.borrow();
        let units = chunks.from(0).map(|chunk| chunk.header().len as usize).sum::<usize>();
        size_of::<Self>() + units * size_of::<Unit<C>>() + chunks.memory()
    }
}

/// Owns a slab.
struct Slots<C: DialContext>(NonNull<Slab<C>>);

impl<C: DialContext> Slots<C> {
    fn new() -> Self {
        let chunks = RefCell::new(Chunks::new());
        let slab = Slab { available: Cell::new(ptr::null()), chunks };
        Self(NonNull::from(Box::leak(Box::new(slab))))
    }

    #[inline(always)]
    const fn slab(&self) -> &Slab<C> {
        // SAFETY: the slab is valid until `self` has dropped.
        unsafe { self.0.as_ref() }
    }

    /// Makes a chunk available, unless one is.
    fn add_chunk(&self) {
        if self.slab().available.get().is_null() {
            let make = |number, generation| Chunk::new(self.0, number, generation);
            self.slab().chunks.borrow_mut().add(make);
            self.slab().look_for_available();
        }
    }
}

impl<C: DialContext> Drop for Slots<C> {
    /// Drops the joins of callbacks that wait, from the lowest slot on, even if the drop of one
    /// panics. What has an owner elsewhere stays with it.
    fn drop(&mut self) {
        struct RemainingSlots<'a, C: DialContext>(&'a Slots<C>, Cell<u32>);

        impl<C: DialContext> RemainingSlots<'_, C> {
            fn end_all(&self) {
                while let Some(pointer) = self.0.slab().first(self.1.get()) {
                    // SAFETY: the slot is not vacant, so it is valid (I3).
                    let slot = unsafe { pointer.as_ref() };
                    self.1.set(slot.number + 1);
                    if matches!(slot.tag.get(), Tag::Waiting | Tag::Canceled | Tag::Released) {
                        // SAFETY: its owner was a `Waiting`, which has dropped, as it had a
                        // reference to the storage, and left the slot to the slab (I1, I4).
                        drop(unsafe { end(pointer) });
                    }
                }
            }
        }

        impl<C: DialContext> Drop for RemainingSlots<'_, C> {
            fn drop(&mut self) {
                self.end_all();
                let slab = self.0.slab();
                slab.release();
                let mut chunks = slab.chunks.borrow_mut();
                chunks.is_closed = true;
                if let Some(first) = chunks.get(0) {
                    // Owners of slots elsewhere free it.
                    first.header().used.set(first.header().used.get() - 1);
                }
                drop(chunks);
                // SAFETY: the slab is valid, and the storage does not use it any more.
                unsafe { Slab::free_if_over(self.0.0) };
            }
        }

        RemainingSlots(self, Cell::new(0)).end_all();
    }
}

#[cfg(test)]
mod tests;
