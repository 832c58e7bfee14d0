//! The edges of the storage: sizes, alignments, drops and panics.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::queue::CallQueue;

/// Counts its drops.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A body of `N` bytes beside the counters, which checks at its dial that it is intact.
struct Sized<const N: usize, A> {
    bytes: [u8; N],
    _align: [A; 0],
    dialed: Rc<Cell<u32>>,
    _dropped: Dropped,
    panics: bool,
}

impl<const N: usize, A: 'static> Body for Sized<N, A> {
    fn dial(self, _: &mut Attempt<'_>, _: &'static Location<'static>) {
        assert!((&raw const self).is_aligned());
        assert!(self.bytes.iter().enumerate().all(|(index, byte)| *byte == index as u8));
        self.dialed.set(self.dialed.get() + 1);
        assert!(!self.panics, "asked to panic");
    }
}

struct Counts {
    dialed: Rc<Cell<u32>>,
    dropped: Rc<Cell<u32>>,
}

impl Counts {
    fn body<const N: usize, A>(&self, panics: bool) -> Sized<N, A> {
        Sized {
            bytes: core::array::from_fn(|index| index as u8),
            _align: [],
            dialed: self.dialed.clone(),
            _dropped: Dropped(self.dropped.clone()),
            panics,
        }
    }

    #[track_caller]
    fn expect(&self, dialed: u32, dropped: u32) {
        assert_eq!((self.dialed.get(), self.dropped.get()), (dialed, dropped));
    }
}

/// Every way out of the storage, for one size and alignment.
#[track_caller]
fn check<const N: usize, A: 'static>() {
    let counts = Counts { dialed: Rc::default(), dropped: Rc::default() };
    let queue = CallQueue::new();
    let site = Location::caller();

    let places = Places::new(2);
    let attempt = &mut Attempt::new(&queue);
    let put = |position, panics| places.put(position, counts.body::<N, A>(panics), site);

    put(6, false);
    assert!(places.clear(6).is_some_and(|packed| packed.is_some()));
    counts.expect(0, 1);
    assert!(places.clear(6).is_none());

    put(6, false);
    assert!(places.dial(6, attempt));
    counts.expect(1, 2);
    assert!(!places.dial(6, attempt));

    put(6, true);
    let result = catch_unwind(AssertUnwindSafe(|| places.dial(6, attempt)));
    assert!(result.is_err());
    counts.expect(2, 3);
    assert!(!places.dial(6, attempt));

    put(6, false);
    assert!(places.unpack::<Sized<N, Odd>>(6).is_none());
    let body = places.unpack::<Sized<N, A>>(6).expect("the same type");
    assert!(body.bytes.len() == N && places.clear(6).is_none());
    drop(body);
    counts.expect(2, 4);

    put(6, false);
    put(7, false);
    places.grow(6..8);
    assert!(places.mask() == 3 && places.clear(4).is_none());
    assert!(places.dial(6, attempt));
    counts.expect(3, 5);

    drop(places);
    counts.expect(3, 6);
}

/// Never stored: a type to be told apart from others.
struct Odd;

#[repr(align(16))]
struct Align16;

#[repr(align(64))]
struct Align64;

#[repr(align(128))]
struct Align128;

#[test]
fn a_body_of_any_size_and_alignment_leaves_its_words_just_once() {
    macro_rules! check_sizes {
        ($($size:literal)*) => {
            $(
                check::<$size, u8>();
                check::<$size, u64>();
                check::<$size, Align16>();
                check::<$size, Align64>();
                check::<$size, Align128>();
            )*
        };
    }
    // The fields beside the bytes take 24 bytes, so 23 bytes are the last that fit.
    check_sizes!(0 1 2 7 8 9 15 16 17 22 23 24 25 31 32 33 40 41 48 63 64 65 255 256 4096);
}

struct Zero;

impl Body for Zero {
    fn dial(self, attempt: &mut Attempt<'_>, _: &'static Location<'static>) {
        let _ = attempt.queue().call(|_| ()).expect("the queue is open");
    }
}

#[test]
fn a_body_without_a_size_is_dialed_and_dropped() {
    let queue = CallQueue::new();
    let places = Places::new(1);
    places.put(0, Zero, Location::caller());
    assert!(places.clear(0).is_some_and(|packed| packed.is_none()));
    places.put(0, Zero, Location::caller());
    assert!(places.dial(0, &mut Attempt::new(&queue)));
    assert_eq!(queue.tally().pending, 1);
}

#[test]
fn a_body_is_inline_up_to_six_words_and_boxed_beyond() {
    assert!(fits::<[u64; 6]>() && fits::<[u8; 48]>() && fits::<()>());
    assert!(!fits::<[u8; 49]>() && !fits::<Align16>());
    assert_eq!(size_of::<Packed>(), 64);
    assert_eq!((size_of::<Place>(), align_of::<Place>()), (64, 64));
}

#[test]
fn calls_keep_their_places_when_the_places_grow() {
    struct Number(u64, Rc<Cell<u64>>);

    impl Body for Number {
        fn dial(self, _: &mut Attempt<'_>, _: &'static Location<'static>) {
            self.1.set(self.0);
        }
    }

    let queue = CallQueue::new();
    let last = Rc::new(Cell::new(0));
    let places = Places::new(4);
    for position in 3..7 {
        places.put(position, Number(position, last.clone()), Location::caller());
    }
    places.grow(3..7);
    places.grow(3..7);
    let dialed: Vec<u64> = (3..7)
        .map(|position| {
            assert!(places.dial(position, &mut Attempt::new(&queue)));
            last.get()
        })
        .collect();
    assert_eq!(dialed, [3, 4, 5, 6]);
}

#[test]
fn a_panic_in_a_drop_leaves_the_place_empty() {
    struct PanicsOnDrop;

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("asked to panic");
        }
    }

    struct Holds(PanicsOnDrop);

    impl Body for Holds {
        fn dial(self, _: &mut Attempt<'_>, _: &'static Location<'static>) {
            drop(self.0);
        }
    }

    let queue = CallQueue::new();
    let places = Places::new(2);
    places.put(0, Holds(PanicsOnDrop), Location::caller());
    let clear = catch_unwind(AssertUnwindSafe(|| drop(places.clear(0))));
    assert!(clear.is_err());
    places.put(0, Holds(PanicsOnDrop), Location::caller());
    let mut attempt = Attempt::new(&queue);
    let dial = catch_unwind(AssertUnwindSafe(|| places.dial(0, &mut attempt)));
    assert!(dial.is_err());
    assert!(places.clear(0).is_none());
}
