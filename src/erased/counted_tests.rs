//! Counted values: their ends, their memory, and every operation against `Rc` and `Weak`.

use alloc::rc::{self, Rc};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::erased::block_counts::FREED;
use crate::erased::tests::{Random, rounds, seed};

impl FreeBlocks {
    /// The number of blocks that are kept, and of all that there are.
    fn counts(&self) -> (usize, usize) {
        let sum = |count: fn(&SizeClass) -> usize| self.classes.iter().map(count).sum();
        (sum(|class| class.counts.spares.get()), sum(|class| class.counts.blocks.get()))
    }
}

pub(crate) struct Names {
    name: &'static str,
}

/// Counts its drops, and does something in them.
struct Droppy<D: FnMut() + 'static>(D);

impl<D: FnMut() + 'static> Drop for Droppy<D> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl<D: FnMut() + 'static> Dispatch for Droppy<D> {
    type Functions = Names;
    const FUNCTIONS: &'static Names = &Names { name: "droppy" };
}

impl Dispatch for u64 {
    type Functions = Names;
    const FUNCTIONS: &'static Names = &Names { name: "number" };
}

impl Dispatch for i64 {
    type Functions = Names;
    const FUNCTIONS: &'static Names = &Names { name: "signed number" };
}

#[test]
fn a_value_drops_with_its_last_reference_and_once() {
    let (free, drops) = (FreeBlocks::new(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&drops);
    let first = Counted::new(Rc::clone(&free), Droppy(move || count.set(count.get() + 1)));
    let (second, weak) = (first.clone(), first.downgrade());
    let third = same(&weak, &first);
    drop(first);
    drop(second);
    assert_eq!(drops.get(), 0);
    drop(third);
    assert_eq!(drops.get(), 1);
    drop((weak.clone(), weak));
    assert_eq!((drops.get(), free.counts()), (1, (1, 1)));
}

/// Upgrades to the type of `value`, which a closure makes nameless.
fn same<T: Dispatch<Functions = Names>>(
    weak: &WeakErased<Names>,
    _value: &Counted<T>,
) -> Option<Counted<T>> {
    weak.upgrade()
}

#[test]
fn a_block_is_used_again_once_all_references_are_gone() {
    let free = FreeBlocks::new();
    let first = Counted::new(Rc::clone(&free), 1_u64);
    let (block, weak) = (first.block.as_ptr(), first.downgrade());
    drop(first);
    let second = Counted::new(Rc::clone(&free), 2_u64);
    assert_ne!(second.block.as_ptr(), block, "a weak reference still has it");
    drop(weak);
    let third = Counted::new(Rc::clone(&free), 3_i64);
    assert_eq!(third.block.as_ptr().cast(), block);
    assert_eq!((*second, *third, free.counts()), (2, 3, (0, 2)));
}

#[test]
fn a_weak_reference_finds_no_value_of_another_type() {
    let value = Counted::new(FreeBlocks::new(), 7_u64);
    let weak = value.downgrade();
    assert_eq!(weak.functions().name, "number");
    assert!(weak.upgrade::<i64>().is_none());
    assert_eq!(weak.upgrade::<u64>().map(|value| *value), Some(7));
    drop(value);
    assert!(weak.upgrade::<u64>().is_none());
    assert_eq!(weak.functions().name, "number");
}

#[test]
fn a_value_that_drops_is_not_found_and_may_make_others() {
    let free = FreeBlocks::new();
    let weak = Rc::new(RefCell::new(None::<WeakErased<Names>>));
    let (own, lists) = (Rc::clone(&weak), Rc::clone(&free));
    let value = Counted::new(
        Rc::clone(&free),
        Droppy(move || {
            let weak = own.borrow_mut().take().expect("a weak reference");
            assert!(weak.upgrade::<u64>().is_none() && weak.head().strong.get() == 0);
            // Of the same size: neither of these is the block of the value that drops.
            drop([1, 2].map(|n| Counted::new(Rc::clone(&lists), (n, [0_usize; 2]))));
        }),
    );
    *weak.borrow_mut() = Some(value.downgrade());
    drop(value);
    let (spares, blocks) = free.counts();
    assert_eq!(spares, blocks);
}

#[test]
fn a_drop_that_panics_gives_the_block_back() {
    let free = FreeBlocks::new();
    let value = Counted::new(Rc::clone(&free), Droppy(|| panic!("a drop")));
    let weak = value.downgrade();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(value))).is_err());
    assert_eq!(weak.head().strong.get(), 0);
    assert_eq!(free.counts(), (0, 1));
    drop(weak);
    assert_eq!(free.counts(), (1, 1));
}

#[test]
fn values_of_any_size_and_alignment_are_what_they_were() {
    fn check<T: Copy + PartialEq + core::fmt::Debug + 'static>(free: &Rc<FreeBlocks>, value: T) {
        for _ in 0..3 {
            let values = [(); 3].map(|()| Counted::new(Rc::clone(free), value));
            for counted in &values {
                assert_eq!(**counted, value);
                assert!((&raw const **counted).is_aligned());
            }
        }
    }
    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(16))]
    struct Wide(u8);
    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(128))]
    struct Wider(u8);

    let free = FreeBlocks::new();
    check(&free, ());
    check(&free, 1_u8);
    check(&free, [2_u8; 15]);
    check(&free, [2_u8; 16]);
    check(&free, [3_u8; 17]);
    check(&free, [4_u64; 28]);
    check(&free, [5_u64; 30]);
    check(&free, [6_u64; 31]);
    check(&free, [7_u64; 1000]);
    check(&free, Wide(8));
    check(&free, [Wide(9); 20]);
    check(&free, Wider(10));
    let (spares, blocks) = free.counts();
    assert_eq!(spares, blocks);
}

#[test]
fn closed_lists_keep_nothing() {
    let free = FreeBlocks::new();
    let values = [1, 2, 3].map(|n: u64| Counted::new(Rc::clone(&free), n));
    let [first, second, third] = values;
    drop(first);
    assert_eq!(free.counts().0, 1);
    free.close();
    assert_eq!(free.counts().0, 0);
    drop(second);
    for n in 0..10_u64 {
        drop(Counted::new(Rc::clone(&free), n));
    }
    assert_eq!(free.counts().0, 0);
    drop(free);
    assert_eq!(*third, 3);
}

#[test]
fn what_is_kept_follows_what_was_needed_lately() {
    let free = FreeBlocks::new();
    let cycle = |count: u64| {
        drop((0..count).map(|n| Counted::new(Rc::clone(&free), n)).collect::<Vec<_>>());
    };
    // (A number and what a block starts with take one step.)
    let most = SPARE_BYTES / STEP;
    let burst = 1000.min(most as u64);
    cycle(FREED.min(10) as u64);
    assert_eq!(free.counts(), (1, 1), "the cycle before needed none");
    (0..3).for_each(|_| cycle(burst));
    assert_eq!(free.counts(), (burst as usize, burst as usize));
    for _ in 0..burst {
        cycle(2);
    }
    assert_eq!(free.counts(), (2, 2));
    // At most so many, however many were needed.
    (0..3).for_each(|_| cycle(most as u64 + 10));
    assert_eq!(free.counts().0, most);
}

/// One that stayed in use kept the cycle from ending, so that the others were freed each time.
#[test]
fn what_is_kept_follows_though_one_block_stays_in_use() {
    let free = FreeBlocks::new();
    let _stays = Counted::new(Rc::clone(&free), 0_u64);
    let some = 100.min((SPARE_BYTES / STEP) as u64 - 1);
    let traffic = || {
        drop((0..some).map(|n| Counted::new(Rc::clone(&free), n)).collect::<Vec<_>>());
    };
    (0..20).for_each(|_| traffic());
    let (spares, blocks) = free.counts();
    assert_eq!((spares as u64, blocks as u64), (some, some + 1));
    traffic();
    assert_eq!(free.counts(), (spares, blocks));
}

/// Random acts, on values whose drops are counted, beside `Rc` and `Weak`.
#[test]
fn counted_values_are_what_rc_is() {
    struct Value(Rc<Cell<u64>>, u64, Vec<u8>);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.set(self.0.get().wrapping_mul(31).wrapping_add(self.1));
        }
    }
    impl Dispatch for Value {
        type Functions = Names;
        const FUNCTIONS: &'static Names = &Names { name: "value" };
    }

    let mut random = Random(0x9e37_79b9 + seed());
    for _ in 0..rounds(2000) {
        let free = FreeBlocks::new();
        let (ours, theirs) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut strong: Vec<(Counted<Value>, Rc<Value>)> = Vec::new();
        let mut weak: Vec<(WeakErased<Names>, rc::Weak<Value>)> = Vec::new();
        for n in 1..200 {
            let of = |len: usize, random: &mut Random| random.below(len as u64) as usize;
            match random.below(7) {
                0 | 1 => {
                    let bytes =
                        |drops: &Rc<Cell<u64>>| Value(Rc::clone(drops), n, Vec::from([n as u8]));
                    strong.push((
                        Counted::new(Rc::clone(&free), bytes(&ours)),
                        Rc::new(bytes(&theirs)),
                    ));
                }
                2 if !strong.is_empty() => {
                    let (one, other) = &strong[of(strong.len(), &mut random)];
                    strong.push((one.clone(), Rc::clone(other)));
                }
                3 if !strong.is_empty() => {
                    let (one, other) = &strong[of(strong.len(), &mut random)];
                    weak.push((one.downgrade(), Rc::downgrade(other)));
                }
                4 if !weak.is_empty() => {
                    let (one, other) = &weak[of(weak.len(), &mut random)];
                    match (one.upgrade::<Value>(), other.upgrade()) {
                        (Some(one), Some(other)) => strong.push((one, other)),
                        (None, None) => (),
                        _ => panic!("one is there, the other is not"),
                    }
                }
                5 if !strong.is_empty() => {
                    drop(strong.swap_remove(of(strong.len(), &mut random)));
                }
                6 if !weak.is_empty() => {
                    drop(weak.swap_remove(of(weak.len(), &mut random)));
                }
                _ => (),
            }
            assert_eq!(ours.get(), theirs.get());
            assert!(strong.iter().all(|(one, other)| (one.1, &one.2) == (other.1, &other.2)));
        }
        strong.clear();
        weak.clear();
        assert_eq!(ours.get(), theirs.get());
        let (spares, blocks) = free.counts();
        assert_eq!(spares, blocks);
    }
}
