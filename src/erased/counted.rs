//! Values with counted references, whose memory is used again.
//!
//! A [`Counted`] is what an `Rc` is: to clone it counts a reference, and the value drops with the last
//! one. A [`WeakErased`] keeps the memory, but not the value, and does not know the value's type; it
//! has the functions of the type instead ([`Dispatch`]). Memory is taken from the [`FreeBlocks`] of a
//! queue, and returned there for the next value of about the same size.
//!
//! Invariants:
//!
//! - I1 `strong` is the number of `Counted` of a block; `weak` is that of `WeakErased`, and one more until
//!   the value has dropped.
//! - I2 The value is valid while `strong` is not 0. The last `Counted` drops it, once.
//! - I3 A block is valid while `weak` is not 0. Who makes it 0 gives the block back, and uses it no more.
//! - I4 The `kind` of a `WeakErased` is that of the type of its block's value.
//! - I5 A block in a list is of the list's size class, and in no other list; its first word is the
//!   link.
//! - I6 No list is in use while a value drops.

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use alloc::rc::Rc;
use core::alloc::Layout;
use core::any::TypeId;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::{self, NonNull};

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

/// So many blocks that were freed end a cycle, as there may be none in which no block is in use.
const FREED: usize = if cfg!(small_blocks) { 5 } else { 256 };

/// The blocks of a size. A cycle goes from one moment in which none is in use to the next one, or until
/// many have been freed that might be needed again.
#[derive(Default)]
struct SizeClass {
    /// The first of those that are free, if there is one.
    first: Cell<Option<NonNull<FreeBlock>>>,
    /// How many are free.
    spares: Cell<usize>,
    /// How many there are, in use or free.
    blocks: Cell<usize>,
    /// The fewest that were free at a time in this cycle.
    fewest: Cell<usize>,
    /// The most that were in use in this cycle, as far as is known: `blocks` less `fewest` may be more.
    peak: Cell<usize>,
    /// How many were freed in this cycle.
    freed: Cell<usize>,
    /// The most that were in use in the cycle before.
    previous: Cell<usize>,
    /// So many are kept: the most that were in use in the two cycles before.
    limit: Cell<usize>,
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
            list.limit.set(0);
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
                list.blocks.set(list.blocks.get() + 1);
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
            Some(list) if list.blocks.get() <= list.limit.get() => {
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
            if list.spares.get() == 0 {
                // SAFETY: guaranteed by the caller.
                return unsafe { list.push(block, placement.class) };
            }
            list.peak.set(list.current_peak());
            list.blocks.set(list.blocks.get() - 1);
            list.freed.set(list.freed.get() + 1);
            if list.freed.get() == FREED {
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
    /// The most that have been in use at a time in this cycle.
    fn current_peak(&self) -> usize {
        self.peak.get().max(self.blocks.get() - self.fewest.get())
    }

    #[inline(always)]
    fn pop(&self) -> Option<NonNull<FreeBlock>> {
        let block = self.first.get()?;
        // SAFETY: the block is in the list, so its link is valid (I5).
        self.first.set(unsafe { block.as_ref() }.next);
        self.spares.set(self.spares.get() - 1);
        self.fewest.set(self.fewest.get().min(self.spares.get()));
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
        self.spares.set(self.spares.get() + 1);
        self.look_for_end(class);
    }

    /// Ends the cycle if no block is in use.
    #[inline(always)]
    fn look_for_end(&self, class: usize) {
        if self.spares.get() == self.blocks.get() {
            self.end_cycle(class);
        }
    }

    /// Ends the cycle: frees some of the blocks that have not been needed lately.
    #[inline]
    fn end_cycle(&self, class: usize) {
        let peak = self.current_peak();
        let most = const { SPARE_BYTES / STEP } / (class + 1);
        self.limit.set(peak.max(self.previous.replace(peak)).min(most));
        self.peak.set(0);
        self.freed.set(0);
        let needless = self.spares.get().saturating_sub(self.limit.get().max(1));
        if needless > 0 {
            self.free_spares(class, needless.min(16));
        }
        self.fewest.set(self.spares.get());
    }

    /// Frees at most so many of the blocks that are kept.
    #[cold]
    fn free_spares(&self, class: usize, most: usize) {
        let layout = Layout::from_size_align((class + 1) * STEP, ALIGN).expect("a small size");
        for _ in 0..most {
            let Some(block) = self.pop() else { return };
            self.blocks.set(self.blocks.get() - 1);
            // SAFETY: it is of the list's class, and the list's no more (I5).
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
        // SAFETY: no reference is left, so no one else uses the block (I3), and this moves `free` out
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
        // SAFETY: the block is valid, as this is one of its references (I1, I3).
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
                // SAFETY: the block is valid until this reference is given up (I1).
                unsafe { release_weak(self.0.cast(), const { Placement::of::<T>() }) }
            }
        }

        let _release = ReleaseBlock(block);
        // SAFETY: the value is valid, and dropped here only, as there is no `Counted` any more (I2).
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
        // SAFETY: the value is valid while there is a `Counted` (I2), and never borrowed mutably before
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
            // SAFETY: this was the last one (I1).
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
        // The block is that of a `T` (I4), whose value has not dropped (I2).
        Some(Counted { block: self.block.cast(), value: PhantomData })
    }

    #[inline(always)]
    const fn head(&self) -> &Head {
        // SAFETY: the block is valid, as this is one of its references (I1, I3).
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
        // SAFETY: the block is valid, as this is one of its references (I1, I3), which is given up. It is
        // of the kind's type (I4).
        unsafe { release_weak(self.block, self.kind.placement) }
    }
}

#[cfg(test)]
mod tests;
