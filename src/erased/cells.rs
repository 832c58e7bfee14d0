//! Callbacks: calls that wait for a value, each in a slot that does not move.
//!
//! [`Storage::create`] puts a [`Join`] (a handler and its recipient) in a slot, and returns the
//! [`Waiting`] that holds it. [`Waiting::answer`] pushes an [`Answered`], which has the value and
//! the address of the slot; its dial moves the join out and runs it. So the dial of a callback needs
//! no reference count, no check of a type, no look-up and no borrow. To everybody else, a [`Key`]
//! names the callback.
//!
//! Slots are in chunks that do not move, chunks belong to a slab. A chunk starts with a header,
//! which a slot finds by its own offset. Each chunk has its own list of free slots.
//!
//! Invariants, beside those of [`erased`](super):
//!
//! - I1 A slot that is not vacant has one owner: a `Waiting`, an `Answered` or a `Gone`. Only the
//!   owner makes it vacant. A `Waiting` that is dropped leaves the slot to the slab.
//! - I2 The words of a slot hold a valid join if its tag [`has_join`](Tag::has_join), and its
//!   vtable is that of the join's type and of the value's. A join is moved out at most once: the
//!   tag changes with it.
//! - I3 Memory of a chunk is freed only when its slots are all vacant, and a slab only after its
//!   chunks. So an owner's pointer to its slot is valid, even after the storage has dropped.
//! - I4 The slots of a `Storage` have owners that are its own: a `Waiting` has a reference to it,
//!   and pushes an `Answered` to its calls only.
//! - I5 If a slot's tag is `Pending`, its position is that of its `Answered`; if a call is pending
//!   there, it is that one. (Nobody else can replace a call.)
//! - I6 While a join is looked at in its slot, the tag is `Checking`, and the slot and its words
//!   stay as they are.
//! - I7 A slot is in a list of links exactly if it has a join: that of its group, or one of its
//!   own. Links of a list are valid: slots leave it before they are vacant, anchors with their group.
//! - I8 A chunk is in the list of available ones exactly if it has a free slot and is not empty.
//! - I9 No reference to a slot's words and no borrow of the directory is held while a join or a
//!   value is dialed or dropped.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::num::NonZeroU64;
use core::panic::Location;
use core::ptr::{self, NonNull};

use super::peaks::Peaks;
use super::{
    Calls, Canceled, DialContext, Erased, Payload, Site, Words, drop_function, fits, write,
    write_to,
};

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

/// A call that lacks its value of type `A`.
///
/// All functions, and the drop, may use the storage in any way, and may panic.
pub(crate) trait Join<C: DialContext, A: 'static>: Sized + 'static {
    /// Why a call is deferred, and what is needed for that.
    type Busy;

    /// Why the call may not be dialed now; `None` if it may.
    fn busy(&self) -> Option<Self::Busy>;

    /// Takes the call of the callback `key`, which is still pending, to be dialed later.
    fn defer(busy: Self::Busy, key: Key, call: Erased<C>, at: &mut C::At<'_>);

    /// Delivers the call, answered at `site`.
    fn dial(self, value: A, key: Key, at: &mut C::At<'_>, site: Site);

    /// The number of the recipient, or 0 for none.
    fn recipient(&self) -> u64 {
        0
    }
}

impl<C: DialContext, A: 'static, J: Join<C, A>> Join<C, A> for Box<J> {
    type Busy = J::Busy;

    fn busy(&self) -> Option<J::Busy> {
        (**self).busy()
    }

    fn defer(busy: J::Busy, key: Key, call: Erased<C>, at: &mut C::At<'_>) {
        J::defer(busy, key, call, at);
    }

    fn dial(self, value: A, key: Key, at: &mut C::At<'_>, site: Site) {
        (*self).dial(value, key, at, site);
    }

    fn recipient(&self) -> u64 {
        (**self).recipient()
    }
}

/// Calls and callbacks of a queue, and the rest of its state.
#[repr(C)]
pub(crate) struct Storage<C: DialContext, X> {
    // Dropped in this order.
    calls: Calls<C>,
    slots: Slots<C>,
    rest: X,
}

/// How far a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Never created, or over.
    Unknown,
    Waiting,
    /// Canceled; its holder still has it.
    Canceled,
    /// Its recipient is gone; its holder still has it.
    Released,
    /// The call is at this position, or has just left it.
    Pending(u64),
    /// The call had this position, and was deferred.
    Deferred(u64),
}

/// What came of canceling a callback.
pub(crate) enum Cancel<C: DialContext> {
    /// It is over, or being dialed, or never was.
    NotThere,
    Already,
    /// It was waiting. The caller must drop what it captured.
    Waiting(Captured),
    /// It was pending at this position. The caller must drop the call; until then the key is known.
    Pending(#[cfg_attr(not(test), expect(dead_code, reason = "for tests"))] u64, Option<Erased<C>>),
    /// Nothing was done: whoever has the deferred call of this position must drop it.
    Deferred(u64),
}

/// What came of an answer.
pub(crate) enum Answer<A> {
    /// The call is pending.
    Pushed,
    /// The recipient is gone: a call that will say so is pending at this position. The caller
    /// must drop the value.
    Gone(#[cfg_attr(not(test), expect(dead_code, reason = "for tests"))] u64, A),
    /// The callback was canceled, and is over. The caller must drop the value.
    Unwanted(A),
}

/// How a callback ended that was not answered. The caller must drop what it captured.
pub(crate) enum GivenUp {
    Waiting(#[expect(dead_code, reason = "to be dropped")] Captured),
    Canceled,
    Released,
}

/// What a callback captured, and the value that it was answered with, to be dropped.
pub(crate) struct Remains {
    _join: Captured,
    _value: Option<Captured>,
}

impl<C: DialContext, X> Storage<C, X> {
    /// The first call gets position `first`.
    pub(crate) fn new(first: u64, rest: X) -> Self {
        Self { calls: Calls::new(first), slots: Slots::new(), rest }
    }

    #[inline(always)]
    pub(crate) const fn calls(&self) -> &Calls<C> {
        &self.calls
    }

    #[inline(always)]
    pub(crate) const fn rest(&self) -> &X {
        &self.rest
    }

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
        if fits::<J>() {
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
        let storage = Rc::clone(self);
        let anchor = group.map(Group::anchor);
        let pointer = self.slots.occupy();
        // SAFETY: the slot is in a chunk, and as of now it is owned by this function (I1, I3).
        let slot = unsafe { pointer.as_ref() };
        // SAFETY: no join is in the words (I2), which no reference points to (I9).
        unsafe { write_to(slot.words.get(), join) };
        slot.vtable.set(Some(&Typed::<J, A>::VTABLE));
        slot.site.set(site);
        slot.tag.set(Tag::Waiting);
        // SAFETY: the slot is valid until it is unlinked, and the anchor until its group has
        // unlinked all (I7).
        unsafe { link(pointer.cast(), anchor) };
        Waiting { storage, slot: pointer, answer: answer::<C, X, A, J> }
    }

    /// How far the callback `key` is.
    pub(crate) fn stage(&self, key: Key) -> Stage {
        self.slots.slab().find(key, Slot::stage).unwrap_or(Stage::Unknown)
    }

    /// Where the callback `key` was created, if it is known.
    #[cfg(test)]
    pub(crate) fn site(&self, key: Key) -> Option<Site> {
        self.slots.slab().find(key, |slot| slot.site.get())
    }

    /// The first callback that is known, of those in slot `from` or a later one.
    pub(crate) fn first_known(&self, from: u32) -> Option<(Key, Stage)> {
        let slot = self.slots.slab().first(from)?;
        // SAFETY: the slot is not vacant, so it is valid (I3).
        Some(unsafe { (key(slot), slot.as_ref().stage()) })
    }

    /// Cancels the callback `key`, so that it will not be dialed. If its call is pending, the place
    /// becomes a tombstone whose note is the key's.
    pub(crate) fn cancel(&self, key: Key) -> Cancel<C> {
        match self.stage(key) {
            Stage::Unknown => Cancel::NotThere,
            Stage::Canceled => Cancel::Already,
            Stage::Deferred(position) => Cancel::Deferred(position),
            Stage::Waiting | Stage::Released => {
                let canceled = self.slots.slab().find(key, |slot| slot.take_join(Tag::Canceled));
                canceled.map_or(Cancel::NotThere, Cancel::Waiting)
            }
            Stage::Pending(position) => match self.calls.cancel(position, Some(key.note())) {
                Canceled::NotThere => Cancel::NotThere,
                Canceled::Already => Cancel::Already,
                Canceled::Call(call) => Cancel::Pending(position, call),
            },
        }
    }

    /// Releases what one callback of `group` captured, as its recipient is gone: the first one that
    /// has not been released and is not being dialed. The caller must drop it.
    ///
    /// If the callback waits, it is no longer wanted. If its call is pending, it stays so, and its
    /// turn ends in [`DialContext::gone`].
    pub(crate) fn release_next(&self, group: &Group) -> Option<Remains> {
        let anchor = group.anchor.get()?;
        // SAFETY: the links of a list are valid (I7).
        let mut link = unsafe { anchor.as_ref() }.next.get();
        while link != anchor.as_ptr() {
            // SAFETY: links other than the anchor are those of a slot, at its start, and valid (I7).
            let (slot, is_ours) = unsafe {
                let slot = NonNull::new_unchecked(link.cast_mut()).cast::<Slot<C>>();
                (slot, header(slot).as_ref().slab == self.slots.0)
            };
            // SAFETY: the same.
            if is_ours && unsafe { slot.as_ref() }.tag.get() != Tag::Checking {
                // SAFETY: the slot is valid, of this storage, has a join, and is not looked at.
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
    unsafe fn release(&self, pointer: NonNull<Slot<C>>) -> Remains {
        // SAFETY: guaranteed by the caller.
        let slot = unsafe { pointer.as_ref() };
        let (tag, vtable) = (slot.tag.get(), slot.vtable.get());
        let join = slot.take_join(tag.released());
        let mut value = None;
        if tag == Tag::Pending {
            let gone = Erased::new(Gone { slot: pointer }, slot.site.get());
            match self.calls.replace_if(slot.position.get(), gone, |_| true) {
                // SAFETY: the call there was the `Answered` of this slot (I5, I4), and the vtable
                // is that of its types (I2). `gone` owns the slot from now on.
                Ok(call) => value = vtable.map(|vtable| unsafe { (vtable.take_value)(call) }),
                // The call was taken from its place, and whoever has it owns the slot.
                Err(gone) => mem::forget(gone),
            }
        }
        Remains { _join: join, _value: value }
    }

    /// Frees all memory that is not needed for what is pending or waiting now.
    pub(crate) fn free_memory(&self) {
        self.calls.release();
        self.slots.slab().release();
    }

    /// The number of bytes allocated, boxed payloads and joins not included.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.calls.memory() + self.slots.slab().memory()
    }
}

/// Holds a callback, to be answered with a value of type `A`.
///
/// One that is dropped leaves its callback waiting for good: see [`give_up`](Self::give_up).
pub(crate) struct Waiting<C: DialContext, X, A> {
    storage: Rc<Storage<C, X>>,
    /// A slot of the storage, which this owns.
    slot: NonNull<Slot<C>>,
    /// Knows the type of the join.
    answer: AnswerFunction<C, X, A>,
}

type AnswerFunction<C, X, A> = unsafe fn(&Storage<C, X>, NonNull<Slot<C>>, A, Site) -> Answer<A>;

impl<C: DialContext, X, A: 'static> Waiting<C, X, A> {
    #[inline(always)]
    pub(crate) const fn storage(&self) -> &Rc<Storage<C, X>> {
        &self.storage
    }

    pub(crate) fn key(&self) -> Key {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        unsafe { key(self.slot) }
    }

    /// Where the callback was created.
    pub(crate) fn site(&self) -> Site {
        self.slot().site.get()
    }

    /// Whether the callback was neither canceled nor released.
    pub(crate) fn is_wanted(&self) -> bool {
        self.slot().tag.get() == Tag::Waiting
    }

    /// Waiting, Canceled or Released.
    pub(crate) fn stage(&self) -> Stage {
        self.slot().stage()
    }

    /// Schedules the call with `value`, whatever the limit of the calls.
    #[inline(always)]
    pub(crate) fn answer(self, value: A, site: Site) -> Answer<A> {
        // SAFETY: the slot belongs to the storage, and is owned by `self`, which is given up here
        // (I1, I4). The function is that of the join's type, by `create`.
        unsafe { (self.answer)(&self.storage, self.slot, value, site) }
    }

    /// Forgets the callback.
    pub(crate) fn give_up(self) -> GivenUp {
        let stage = self.stage();
        // SAFETY: the slot is owned by `self`, which is given up here (I1).
        let join = unsafe { end(self.slot) };
        match stage {
            Stage::Canceled => GivenUp::Canceled,
            Stage::Released => GivenUp::Released,
            _ => GivenUp::Waiting(join),
        }
    }

    #[inline(always)]
    fn slot(&self) -> &Slot<C> {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        unsafe { self.slot.as_ref() }
    }
}

/// Answers the callback of a slot.
///
/// # Safety
///
/// The slot must be the storage's, have been created for `J`, and be owned by a `Waiting`, which
/// the caller gives up.
unsafe fn answer<C: DialContext, X, A: 'static, J: Join<C, A>>(
    storage: &Storage<C, X>,
    pointer: NonNull<Slot<C>>,
    value: A,
    site: Site,
) -> Answer<A> {
    // SAFETY: the caller owns the slot, so it is valid (I3).
    let slot = unsafe { pointer.as_ref() };
    if slot.tag.get() != Tag::Waiting || !storage.calls.is_fast() {
        // SAFETY: guaranteed by the caller.
        return unsafe { answer_slow::<C, X, A, J>(storage, pointer, value, site) };
    }
    // From here on, the `Answered` owns the slot (I1).
    let answered = || Answered { slot: pointer, value, join: PhantomData::<J> };
    let position = storage.calls.push(answered, site);
    slot.position.set(position);
    slot.tag.set(Tag::Pending);
    Answer::Pushed
}

/// Answers the callback of a slot, even if the calls have no place at hand, or it was canceled or
/// released.
///
/// # Safety
///
/// As that of [`answer`].
#[cold]
#[inline(never)]
unsafe fn answer_slow<C: DialContext, X, A: 'static, J: Join<C, A>>(
    storage: &Storage<C, X>,
    pointer: NonNull<Slot<C>>,
    value: A,
    site: Site,
) -> Answer<A> {
    // SAFETY: the caller owns the slot, so it is valid (I3).
    let slot = unsafe { pointer.as_ref() };
    match slot.tag.get() {
        Tag::Waiting => {
            let answered = || Answered { slot: pointer, value, join: PhantomData::<J> };
            let position = storage.calls.push(answered, site);
            slot.position.set(position);
            slot.tag.set(Tag::Pending);
            Answer::Pushed
        }
        Tag::Released => {
            let position = storage.calls.push(|| Gone { slot: pointer }, site);
            slot.position.set(position);
            slot.tag.set(Tag::PendingGone);
            Answer::Gone(position, value)
        }
        _ => {
            // SAFETY: the caller owns the slot, and gives it up.
            drop(unsafe { end(pointer) });
            Answer::Unwanted(value)
        }
    }
}

/// The call of an answered callback.
struct Answered<C: DialContext, J, A> {
    /// Owned by this; created for `J` and `A`.
    slot: NonNull<Slot<C>>,
    value: A,
    join: PhantomData<J>,
}

impl<C: DialContext, A: 'static, J: Join<C, A>> Payload<C> for Answered<C, J, A> {
    const IS_CALLBACK: bool = true;

    #[inline(always)]
    fn dial(self, at: &mut C::At<'_>, site: Site) {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let slot = unsafe { self.slot.as_ref() };
        if !slot.tag.get().may_dial() {
            return self.dial_released(at, site);
        }
        if let Some(busy) = self.look(J::busy) {
            return self.defer(busy, at, site);
        }
        // SAFETY: `self` owns the slot.
        if let Some(chunk) = unsafe { chunk_if_simple(self.slot) } {
            // SAFETY: `self` owned the slot, which has left its list; nothing else has happened.
            self.deliver(|slot| unsafe { vacate_simple(slot, chunk) }, at, site);
        } else {
            self.deliver_slow(at, site);
        }
    }

    fn recipient(&self) -> u64 {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        if unsafe { self.slot.as_ref() }.tag.get().may_dial() { self.look(J::recipient) } else { 0 }
    }
}

impl<C: DialContext, A: 'static, J: Join<C, A>> Answered<C, J, A> {
    /// Dials the join, which is there, after `vacate` has made the slot vacant.
    #[inline(always)]
    fn deliver(self, vacate: impl FnOnce(NonNull<Slot<C>>), at: &mut C::At<'_>, site: Site) {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let (slot, key) = unsafe { (self.slot.as_ref(), key(self.slot)) };
        let this = ManuallyDrop::new(self);
        debug_assert!(slot.words.get().cast::<J>().is_aligned());
        // SAFETY: the slot has a join of type `J` (I2). It is moved out just once, as the slot
        // becomes vacant right after this. `this` does not drop, so the value moves too.
        let (join, value) =
            unsafe { (slot.words.get().cast::<J>().read(), (&raw const this.value).read()) };
        // SAFETY: the slot is in a list, as it had a join (I7).
        unsafe { unlink(&slot.links) };
        vacate(this.slot);
        join.dial(value, key, at, site);
    }

    /// The same if making the slot vacant is not simple. (Apart, so that the usual dial has no
    /// calls around which it would have to save what it moved.)
    #[cold]
    #[inline(never)]
    fn deliver_slow(self, at: &mut C::At<'_>, site: Site) {
        // SAFETY: `self` owned the slot, which has left its list.
        self.deliver(|slot| unsafe { vacate(slot) }, at, site);
    }

    /// Looks at the join, which is there.
    #[inline(always)]
    fn look<R>(&self, look: impl FnOnce(&J) -> R) -> R {
        struct Restore<'a>(&'a Cell<Tag>, Tag);

        impl Drop for Restore<'_> {
            #[inline(always)]
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }

        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let slot = unsafe { self.slot.as_ref() };
        let _restore = Restore(&slot.tag, slot.tag.replace(Tag::Checking));
        debug_assert!(slot.words.get().cast::<J>().is_aligned());
        // SAFETY: a `J` is in the words (I2), and stays there while the tag is `Checking` (I6).
        look(unsafe { &*slot.words.get().cast::<J>() })
    }

    #[cold]
    #[inline(never)]
    fn defer(self, busy: J::Busy, at: &mut C::At<'_>, site: Site) {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let slot = unsafe { self.slot.as_ref() };
        slot.tag.set(Tag::Deferred);
        // SAFETY: the slot is valid.
        let key = unsafe { key(self.slot) };
        J::defer(busy, key, Erased::new(self, site), at);
    }

    /// The turn of a callback whose join was released while its call was out of the calls.
    #[cold]
    #[inline(never)]
    fn dial_released(self, at: &mut C::At<'_>, site: Site) {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` owns the slot, so it is valid (I1, I3).
        let key = unsafe { key(this.slot) };
        // SAFETY: `this` does not drop, so the value moves.
        let _value = unsafe { (&raw const this.value).read() };
        // SAFETY: `this` owned the slot, and is given up.
        drop(unsafe { end(this.slot) });
        C::gone(at, key, site);
    }
}

impl<C: DialContext, J, A> Drop for Answered<C, J, A> {
    /// Makes the slot vacant, and drops the join, then the value.
    fn drop(&mut self) {
        // SAFETY: `self` owns the slot, and drops.
        drop(unsafe { end(self.slot) });
    }
}

/// The call of an answered callback whose recipient is gone.
struct Gone<C: DialContext> {
    /// Owned by this; without a join.
    slot: NonNull<Slot<C>>,
}

impl<C: DialContext> Payload<C> for Gone<C> {
    const IS_CALLBACK: bool = true;

    fn dial(self, at: &mut C::At<'_>, site: Site) {
        // SAFETY: `self` owns the slot, so it is valid (I1, I3).
        let key = unsafe { key(self.slot) };
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
    const NOTHING: Self =
        Self { words: [MaybeUninit::uninit(); 6], drop: None, not_send: PhantomData };

    fn new<T>(value: T) -> Self {
        if fits::<T>() { Self::fitting(value) } else { Self::fitting(Box::new(value)) }
    }

    fn fitting<T>(value: T) -> Self {
        Self { words: write(value), drop: drop_function::<T>(), not_send: PhantomData }
    }
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

/// What can be done with a callback whose types are no longer known.
struct VTable<C: DialContext> {
    /// Drops the join in place; `None` if that would do nothing.
    drop: Option<unsafe fn(*mut Words)>,
    /// Takes the value out of an `Answered`, whose slot has another owner.
    take_value: unsafe fn(Erased<C>) -> Captured,
}

/// The types of a callback.
struct Typed<J, A>(PhantomData<(J, A)>);

trait HasSlotVTable<C: DialContext> {
    const VTABLE: VTable<C>;
}

impl<C: DialContext, A: 'static, J: Join<C, A>> HasSlotVTable<C> for Typed<J, A> {
    const VTABLE: VTable<C> =
        VTable { drop: drop_function::<J>(), take_value: take_value::<C, J, A> };
}

/// # Safety
///
/// `call` must be an `Answered<C, J, A>`, whose slot is not its own any more.
unsafe fn take_value<C: DialContext, J: Join<C, A>, A: 'static>(call: Erased<C>) -> Captured {
    let call = ManuallyDrop::new(call);
    let words = &raw const call.contents.words;
    let answered = if fits::<Answered<C, J, A>>() {
        // SAFETY: the words hold an `Answered`, as it fits. `call` does not drop, so it is moved.
        unsafe { words.cast::<ManuallyDrop<Answered<C, J, A>>>().read() }
    } else {
        // SAFETY: the words hold a box, as an `Answered` does not fit. The same.
        let boxed = unsafe { words.cast::<Box<ManuallyDrop<Answered<C, J, A>>>>().read() };
        *boxed
    };
    // SAFETY: `answered` does not drop, so the value moves.
    Captured::new(unsafe { (&raw const answered.value).read() })
}

/// How far the callback of a slot is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    // With a join.
    Pending,
    Deferred,
    Waiting,
    /// Pending or deferred, and its join is being looked at.
    Checking,
    // Without.
    Canceled,
    Released,
    PendingGone,
    DeferredGone,
    Vacant,
}

impl Tag {
    #[inline(always)]
    const fn has_join(self) -> bool {
        self as u8 <= Self::Checking as u8
    }

    #[inline(always)]
    const fn may_dial(self) -> bool {
        self as u8 <= Self::Deferred as u8
    }

    /// What this becomes when the join is released.
    const fn released(self) -> Self {
        match self {
            Self::Waiting => Self::Released,
            Self::Deferred => Self::DeferredGone,
            _ => Self::PendingGone,
        }
    }
}

/// Where a callback is, from its creation until it is over. 96 bytes on 64-bit.
#[repr(C)]
struct Slot<C: DialContext> {
    /// If vacant and free, `next` is the next free slot of the chunk, or this one if it is the last.
    links: Links,
    words: UnsafeCell<Words>,
    vtable: Cell<Option<&'static VTable<C>>>,
    site: Cell<Site>,
    /// That of the call, if it has one.
    position: Cell<u64>,
    generation: Cell<u32>,
    /// How many bytes the slot is after the header of its chunk.
    offset: u16,
    /// Counts the slots of the chunk, from 1 on.
    index: u8,
    tag: Cell<Tag>,
}

impl<C: DialContext> Slot<C> {
    fn stage(&self) -> Stage {
        match self.tag.get() {
            Tag::Vacant => Stage::Unknown,
            Tag::Waiting => Stage::Waiting,
            Tag::Canceled => Stage::Canceled,
            Tag::Released => Stage::Released,
            Tag::Pending | Tag::Checking | Tag::PendingGone => Stage::Pending(self.position.get()),
            Tag::Deferred | Tag::DeferredGone => Stage::Deferred(self.position.get()),
        }
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
        let drop = self.vtable.get().and_then(|vtable| vtable.drop);
        Captured { words, drop, not_send: PhantomData }
    }
}

/// The key of the callback in a slot.
///
/// # Safety
///
/// `slot` must be valid (I3).
#[inline(always)]
unsafe fn key<C: DialContext>(slot: NonNull<Slot<C>>) -> Key {
    // SAFETY: guaranteed by the caller.
    let (header, slot) = unsafe { (header(slot).as_ref(), slot.as_ref()) };
    let number = header.number << INDEX_BITS | u32::from(slot.index);
    Key { slot: number, generation: slot.generation.get() }
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

/// The chunk of a slot, if making the slot vacant changes nothing in the chunk but its free slots:
/// it is available, and stays so.
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
    let is_simple =
        !header.free.get().is_null() && header.used.get() != 1 && slot.generation.get() != u32::MAX;
    is_simple.then_some(chunk)
}

/// Makes a slot vacant, whose join has been moved out.
///
/// # Safety
///
/// The caller must own the slot, and give it up. The slot must be in no list of links. `chunk` must
/// be what [`chunk_if_simple`] returns.
#[inline(always)]
unsafe fn vacate_simple<C: DialContext>(pointer: NonNull<Slot<C>>, chunk: NonNull<Header<C>>) {
    // SAFETY: the caller owns the slot, so it and its header are valid (I3).
    let (header, slot) = unsafe { (chunk.as_ref(), pointer.as_ref()) };
    slot.tag.set(Tag::Vacant);
    slot.generation.set(slot.generation.get().wrapping_add(1));
    slot.links.next.set(header.free.replace(pointer.as_ptr()).cast());
    header.used.set(header.used.get() - 1);
}

/// Makes a slot vacant, whose join has been moved out.
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
    slot.tag.set(Tag::Vacant);
    // Else the generations of the slot are used up: it is retired.
    if let Some(generation) = slot.generation.get().checked_add(1) {
        slot.generation.set(generation);
        slot.links.next.set(free.cast());
        header.free.set(pointer.as_ptr());
    }
    header.used.set(header.used.get() - 1);
    // SAFETY: the chunk is valid. It was available exactly if it had a free slot (I8).
    unsafe { vacated(chunk, !free.is_null()) };
}

/// Makes a chunk available, or not so, and keeps or frees it if it is empty: the first slot may have
/// become vacant, or the last one that was used.
///
/// # Safety
///
/// The chunk must be valid, and be in the list of available ones exactly if `was_available`.
#[cold]
#[inline(never)]
unsafe fn vacated<C: DialContext>(chunk: NonNull<Header<C>>, was_available: bool) {
    // SAFETY: guaranteed by the caller.
    let header = unsafe { chunk.as_ref() };
    let own = header.slab;
    // SAFETY: a slab outlives its chunks (I3).
    let slab = unsafe { own.as_ref() };
    let (number, has_free) = (header.number, !header.free.get().is_null());
    let is_empty = header.used.get() == 0;
    let is_available = has_free && !is_empty;
    if is_available && !was_available {
        slab.add_available(chunk);
    } else if was_available && !is_available {
        slab.remove_available(header);
    }
    if is_empty {
        slab.directory.borrow_mut().keep(number, has_free);
        // SAFETY: the slab is valid, and not used any more here.
        unsafe { Slab::free_if_over(own) };
    }
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
        (*link.previous.get()).next.set(link.next.get());
        (*link.next.get()).previous.set(link.previous.get());
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
    fn anchor(&self) -> NonNull<Links> {
        self.anchor.get().unwrap_or_else(|| self.make_anchor())
    }

    #[cold]
    #[inline(never)]
    fn make_anchor(&self) -> NonNull<Links> {
        let (previous, next) = (Cell::new(ptr::null()), Cell::new(ptr::null()));
        let anchor = NonNull::from(Box::leak(Box::new(Links { previous, next })));
        // SAFETY: the anchor is valid until the group drops.
        unsafe { link(anchor, None) };
        self.anchor.set(Some(anchor));
        anchor
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

/// Bits of a slot's number that are its index in its chunk.
const INDEX_BITS: u32 = 8;

/// The slots of a chunk and its header: 3 KiB the first one, 24 KiB the others.
const FIRST: usize = if cfg!(small_blocks) { 2 } else { 32 };
const OTHERS: usize = if cfg!(small_blocks) { 3 } else { 256 };

/// At most so many empty chunks are kept, for 65,536 callbacks: 6 MiB.
const SPARES: usize = 65_536 / 255 + 1;

/// What a chunk starts with.
struct Header<C: DialContext> {
    slab: NonNull<Slab<C>>,
    number: u32,
    /// The number of slots, and one.
    len: u32,
    /// The first free slot, or null.
    free: Cell<*mut Slot<C>>,
    /// The number of slots that are not vacant; one more for chunk 0, so that it is kept.
    used: Cell<u32>,
    /// Neighbors in the list of available chunks, or null.
    previous: Cell<*const Self>,
    next: Cell<*const Self>,
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
/// `slot` must be valid, and come from its chunk's [`slot`](Header::slot).
#[inline(always)]
unsafe fn header<C: DialContext>(slot: NonNull<Slot<C>>) -> NonNull<Header<C>> {
    // SAFETY: the slot is valid, and the header is so many bytes before it, in the same memory.
    unsafe { slot.byte_sub(usize::from(slot.as_ref().offset)).cast() }
}

/// Memory for a header and slots. Frees it when dropped.
struct Chunk<C: DialContext>(NonNull<Header<C>>);

impl<C: DialContext> Chunk<C> {
    /// A chunk of vacant slots, all of a generation.
    fn new(slab: NonNull<Slab<C>>, number: u32, generation: u32) -> Self {
        #[cfg(test)]
        tests::CHUNKS.set(tests::CHUNKS.get() + 1);
        let len = if number == 0 { FIRST } else { OTHERS };
        const { assert!(OTHERS * size_of::<Unit<C>>() <= 1 << 16, "an offset is 16 bits") };
        let units = NonNull::from(Box::leak(Box::<[Unit<C>]>::new_uninit_slice(len)));
        let chunk = Self(units.cast());
        let (previous, next) = (Cell::new(ptr::null()), Cell::new(ptr::null()));
        let used = Cell::new(u32::from(number == 0));
        let free = Cell::new(ptr::null_mut());
        let header = Header { slab, number, len: len as u32, free, used, previous, next };
        // SAFETY: the first unit is large enough for a header.
        unsafe { chunk.0.write(header) };
        for index in (1..len).rev() {
            let slot = chunk.slot(index);
            let next = chunk.header().free.replace(slot.as_ptr());
            let vacant = Slot {
                links: Links { previous: Cell::new(ptr::null()), next: Cell::new(next.cast()) },
                words: UnsafeCell::new([MaybeUninit::uninit(); 6]),
                vtable: Cell::new(None),
                site: Cell::new(Location::caller()),
                position: Cell::new(0),
                generation: Cell::new(generation),
                offset: (index * size_of::<Unit<C>>()) as u16,
                index: index as u8,
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

    /// The slots from `index` on that are not vacant.
    fn used_from(&self, index: usize) -> impl Iterator<Item = NonNull<Slot<C>>> {
        let slots = (index.max(1)..self.header().len as usize).map(|index| self.slot(index));
        // SAFETY: `new` wrote slots there.
        slots.filter(|slot| unsafe { slot.as_ref() }.tag.get() != Tag::Vacant)
    }

    /// The highest generation of a slot; no key has had it, unless it is the last one.
    fn highest_generation(&self) -> u32 {
        let slots = (1..self.header().len as usize).map(|index| self.slot(index));
        // SAFETY: `new` wrote slots there.
        slots.map(|slot| unsafe { slot.as_ref() }.generation.get()).max().unwrap_or(0)
    }
}

impl<C: DialContext> Drop for Chunk<C> {
    fn drop(&mut self) {
        let len = self.header().len as usize;
        let units = NonNull::slice_from_raw_parts(self.0.cast::<MaybeUninit<Unit<C>>>(), len);
        // SAFETY: `new` leaked a box of so many units, and nothing else frees it. All slots are
        // vacant (I3).
        drop(unsafe { Box::from_raw(units.as_ptr()) });
    }
}

/// All chunks. In a box of its own, as the storage may move, and slots may outlive it.
struct Slab<C: DialContext> {
    /// The first chunk that has a free slot, or null.
    available: Cell<*const Header<C>>,
    directory: RefCell<Directory<C>>,
}

struct Directory<C: DialContext> {
    /// By number.
    chunks: Vec<Option<Chunk<C>>>,
    /// By number: the first generation of a chunk that is made; the last one if it must not be.
    generations: Vec<u32>,
    /// No number below this is free.
    lowest: usize,
    /// Chunks that are empty.
    spares: Vec<u32>,
    /// The number of chunks that are not empty, the first one not counted.
    in_use: usize,
    peaks: Peaks,
    /// Whether the storage has dropped.
    is_closed: bool,
}

impl<C: DialContext> Slab<C> {
    /// A slot for a callback. The caller must put a join in it, and link it.
    #[inline(always)]
    fn occupy(&self, own: NonNull<Self>) -> NonNull<Slot<C>> {
        if self.available.get().is_null() {
            self.add_chunk(own);
        }
        // SAFETY: a chunk that is available is valid, and has a free slot (I8), which is valid.
        let (header, slot) = unsafe {
            let header = &*self.available.get();
            (header, NonNull::new_unchecked(header.free.get()))
        };
        // SAFETY: the same.
        let next = unsafe { slot.as_ref() }.links.next.get();
        header.free.set(next.cast_mut().cast());
        header.used.set(header.used.get() + 1);
        if next.is_null() {
            self.remove_available(header);
        }
        slot
    }

    #[cold]
    #[inline(never)]
    fn add_chunk(&self, own: NonNull<Self>) {
        let chunk = self.directory.borrow_mut().take(own);
        self.add_available(chunk);
    }

    fn add_available(&self, chunk: NonNull<Header<C>>) {
        let next = self.available.replace(chunk.as_ptr());
        // SAFETY: the chunk is valid, and so is one that is available (I8).
        unsafe {
            chunk.as_ref().next.set(next);
            chunk.as_ref().previous.set(ptr::null());
            if let Some(next) = next.as_ref() {
                next.previous.set(chunk.as_ptr());
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn remove_available(&self, header: &Header<C>) {
        let (previous, next) = (header.previous.get(), header.next.get());
        // SAFETY: the neighbors are available, so they are valid (I8).
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.next.set(next),
                None => self.available.set(next),
            }
            if let Some(next) = next.as_ref() {
                next.previous.set(previous);
            }
        }
    }

    /// Looks at the slot of the callback `key`, if that is known.
    fn find<R>(&self, key: Key, look: impl FnOnce(&Slot<C>) -> R) -> Option<R> {
        let directory = self.directory.borrow();
        let chunk = directory.chunks.get((key.slot >> INDEX_BITS) as usize)?.as_ref()?;
        let index = (key.slot & ((1 << INDEX_BITS) - 1)) as usize;
        if index == 0 || index >= chunk.header().len as usize {
            return None;
        }
        let slot = chunk.slot(index);
        // SAFETY: the chunk has a slot there.
        let slot = unsafe { slot.as_ref() };
        let is_known = slot.generation.get() == key.generation && slot.tag.get() != Tag::Vacant;
        is_known.then(|| look(slot))
    }

    /// The first slot from number `from` on that is not vacant.
    fn first(&self, from: u32) -> Option<NonNull<Slot<C>>> {
        let directory = self.directory.borrow();
        let number = (from >> INDEX_BITS) as usize;
        let index = (from & ((1 << INDEX_BITS) - 1)) as usize;
        let here = directory.chunks.get(number)?.iter().flat_map(|chunk| chunk.used_from(index));
        let later = directory.chunks[number + 1..].iter().flatten();
        here.chain(later.flat_map(|chunk| chunk.used_from(1))).next()
    }

    /// Frees the chunks that are empty, the first one too.
    fn release(&self) {
        let mut directory = self.directory.borrow_mut();
        if let Some(Some(first)) = directory.chunks.first()
            && first.header().used.get() == 1
        {
            if !first.header().free.get().is_null() {
                self.remove_available(first.header());
            }
            directory.free(0);
        }
        for number in mem::take(&mut directory.spares) {
            directory.free(number);
        }
    }

    /// Frees the slab, if its storage has dropped, and no slot has an owner.
    ///
    /// # Safety
    ///
    /// `slab` must be valid. The caller must not use it any more.
    unsafe fn free_if_over(slab: NonNull<Self>) {
        let is_over = {
            // SAFETY: guaranteed by the caller.
            let directory = unsafe { slab.as_ref() }.directory.borrow();
            directory.is_closed && directory.chunks.is_empty()
        };
        if is_over {
            // SAFETY: `Slots::new` leaked the box. The storage has dropped, and no chunk refers to it.
            drop(unsafe { Box::from_raw(slab.as_ptr()) });
        }
    }

    #[cfg(test)]
    fn memory(&self) -> usize {
        let directory = self.directory.borrow();
        let units = directory.chunks.iter().flatten().map(|chunk| chunk.header().len as usize);
        size_of::<Self>()
            + units.sum::<usize>() * size_of::<Unit<C>>()
            + directory.chunks.capacity() * size_of::<Option<Chunk<C>>>()
            + (directory.generations.capacity() + directory.spares.capacity()) * size_of::<u32>()
    }
}

impl<C: DialContext> Directory<C> {
    /// An empty chunk, to be made available.
    fn take(&mut self, slab: NonNull<Slab<C>>) -> NonNull<Header<C>> {
        let number = self.spares.pop().unwrap_or_else(|| self.make(slab));
        if number > 0 {
            self.in_use += 1;
            self.peaks.note(self.in_use);
        }
        match &self.chunks[number as usize] {
            Some(chunk) => chunk.0,
            None => unreachable!("a chunk that was made or kept"),
        }
    }

    /// Makes a chunk. Returns its number, the lowest that is free.
    fn make(&mut self, slab: NonNull<Slab<C>>) -> u32 {
        let mut number = self.lowest;
        while self.is_taken(number) {
            number += 1;
        }
        assert!(number < 1 << (31 - INDEX_BITS), "2^31 callbacks at a time are too many");
        self.lowest = number;
        if self.chunks.len() <= number {
            self.chunks.resize_with(number + 1, || None);
        }
        if self.generations.len() <= number {
            self.generations.resize(number + 1, 0);
        }
        self.chunks[number] = Some(Chunk::new(slab, number as u32, self.generations[number]));
        number as u32
    }

    fn is_taken(&self, number: usize) -> bool {
        let is_retired = self.generations.get(number) == Some(&u32::MAX);
        is_retired || self.chunks.get(number).is_some_and(Option::is_some)
    }

    /// Keeps a chunk that has become empty, and is not available any more; or frees it, if it has no
    /// slot that can be used, or the cycle before this one did not need as many.
    fn keep(&mut self, number: u32, is_usable: bool) {
        self.in_use -= usize::from(number > 0);
        let is_usable = is_usable && !self.is_closed;
        if is_usable && self.spares.len() < self.spares_for(self.peaks.previous) {
            self.spares.push(number);
        } else {
            self.free(number);
        }
        if self.in_use == 0 {
            self.peaks.end_cycle();
            for _ in 0..2 {
                if self.spares.len() > self.spares_for(self.peaks.highest())
                    && let Some(number) = self.spares.pop()
                {
                    self.free(number);
                }
            }
        }
    }

    /// How many spare chunks there should be if `peak` chunks are to be in use.
    fn spares_for(&self, peak: usize) -> usize {
        peak.saturating_sub(self.in_use).clamp(1, SPARES)
    }

    /// Frees a chunk, which is empty.
    fn free(&mut self, number: u32) {
        let index = number as usize;
        if let Some(chunk) = self.chunks[index].take() {
            self.generations[index] = chunk.highest_generation();
        }
        self.lowest = self.lowest.min(index);
        while let Some(None) = self.chunks.last() {
            self.chunks.pop();
        }
        if self.chunks.capacity() / 4 > self.chunks.len() {
            self.chunks.shrink_to(self.chunks.capacity() / 2);
        }
    }
}

/// Owns a slab.
struct Slots<C: DialContext>(NonNull<Slab<C>>);

impl<C: DialContext> Slots<C> {
    fn new() -> Self {
        let directory = Directory {
            chunks: Vec::new(),
            generations: Vec::new(),
            lowest: 0,
            spares: Vec::new(),
            in_use: 0,
            peaks: Peaks::new(),
            is_closed: false,
        };
        let slab = Slab { available: Cell::new(ptr::null()), directory: RefCell::new(directory) };
        Self(NonNull::from(Box::leak(Box::new(slab))))
    }

    #[inline(always)]
    const fn slab(&self) -> &Slab<C> {
        // SAFETY: the slab is valid until `self` has dropped.
        unsafe { self.0.as_ref() }
    }

    /// A slot for a callback. The caller must put a join in it, and link it.
    #[inline(always)]
    fn occupy(&self) -> NonNull<Slot<C>> {
        self.slab().occupy(self.0)
    }
}

impl<C: DialContext> Drop for Slots<C> {
    /// Drops the joins of callbacks that wait, from the lowest slot on, even if the drop of one
    /// panics. What has an owner elsewhere stays with it.
    fn drop(&mut self) {
        struct Rest<'a, C: DialContext>(&'a Slots<C>, Cell<u32>);

        impl<C: DialContext> Rest<'_, C> {
            fn end_all(&self) {
                while let Some(slot) = self.0.slab().first(self.1.get()) {
                    // SAFETY: the slot is not vacant, so it is valid (I3).
                    let (key, tag) = unsafe { (key(slot), slot.as_ref().tag.get()) };
                    self.1.set(key.slot + 1);
                    if matches!(tag, Tag::Waiting | Tag::Canceled | Tag::Released) {
                        // SAFETY: its owner was a `Waiting`, which has dropped, as it had a
                        // reference to the storage, and left the slot to the slab (I1, I4).
                        drop(unsafe { end(slot) });
                    }
                }
            }
        }

        impl<C: DialContext> Drop for Rest<'_, C> {
            fn drop(&mut self) {
                self.end_all();
                let slab = self.0.slab();
                slab.release();
                slab.directory.borrow_mut().is_closed = true;
                if let Some(Some(first)) = slab.directory.borrow().chunks.first() {
                    // Owners of slots elsewhere free it.
                    first.header().used.set(first.header().used.get() - 1);
                }
                // SAFETY: the slab is valid, and the storage does not use it any more.
                unsafe { Slab::free_if_over(self.0.0) };
            }
        }

        Rest(self, Cell::new(0)).end_all();
    }
}

#[cfg(test)]
mod tests;
