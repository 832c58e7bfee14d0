//! The edges of the storage: sizes, alignments, drops and panics.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::queue::{Attempt, CallQueue, Dialing};

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

impl<const N: usize, A: 'static> Payload<Dialing> for Sized<N, A> {
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

    let places = Places::<Dialing>::new(2, 6);
    let attempt = &mut Attempt::new(&queue);
    let put = |panics| places.push(|| counts.body::<N, A>(panics), site);

    assert_eq!(put(false), 6);
    assert!(places.clear(6).is_some_and(|packed| packed.is_some()));
    counts.expect(0, 1);
    assert!(places.clear(6).is_none() && places.is_void::<Zero>(6));
    assert_eq!(places.dial_next(7, attempt), Some(false));
    assert_eq!(places.dial_next(8, attempt), None);

    assert_eq!(put(false), 7);
    assert_eq!(places.dial_next(8, attempt), Some(true));
    counts.expect(1, 2);
    assert!(places.clear(7).is_none());

    put(true);
    let result = catch_unwind(AssertUnwindSafe(|| places.dial_next(u64::MAX, attempt)));
    assert!(result.is_err());
    counts.expect(2, 3);
    assert!(places.pop().is_none() && places.clear(8).is_none());

    put(false);
    let (position, mut packed) = places.pop().expect("the one just put");
    assert!(position == 9 && packed.unpack::<Sized<N, Odd>>().is_none());
    let body = packed.unpack::<Sized<N, A>>().expect("the same type");
    assert!(body.bytes.len() == N && packed.is_empty());
    drop((packed, body));
    counts.expect(2, 4);

    put(false);
    put(false);
    assert!(places.is_full());
    places.grow();
    assert!(places.len() == 4 && !places.is_full() && !places.is_void::<Zero>(10));
    assert_eq!(places.dial_next(u64::MAX, attempt), Some(true));
    counts.expect(3, 5);

    drop(places);
    counts.expect(3, 6);

    let mut packed = Erased::<Dialing>::EMPTY;
    packed.fill(counts.body::<N, A>(false), site);
    assert!(packed.unpack::<Sized<N, Odd>>().is_none());
    assert!(packed.clear().is_some() && packed.clear().is_none());
    counts.expect(3, 7);
    packed.fill(counts.body::<N, A>(false), site);
    drop(packed);
    counts.expect(3, 8);
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

impl Payload<Dialing> for Zero {
    fn dial(self, attempt: &mut Attempt<'_>, _: &'static Location<'static>) {
        let _ = attempt.queue().call(|_| ());
    }
}

#[test]
fn a_body_without_a_size_is_dialed_and_dropped() {
    let queue = CallQueue::new();
    let places = Places::<Dialing>::new(1, 0);
    places.push(|| Zero, Location::caller());
    assert!(places.clear(0).is_some_and(|packed| packed.is_none()));
    assert!(places.pop().is_some_and(|(_, packed)| packed.is_empty()));
    places.push(|| Zero, Location::caller());
    assert_eq!(places.dial_next(u64::MAX, &mut Attempt::new(&queue)), Some(true));
    assert_eq!(queue.tally().pending, 1);
}

#[test]
fn a_body_is_inline_up_to_six_words_and_boxed_beyond() {
    assert!(fits::<[u64; 6]>() && fits::<[u8; 48]>() && fits::<()>());
    assert!(!fits::<[u8; 49]>() && !fits::<Align16>());
    assert_eq!(size_of::<Erased<Dialing>>(), 64);
    assert_eq!((size_of::<Place<Dialing>>(), align_of::<Place<Dialing>>()), (64, 64));
}

#[test]
fn calls_keep_their_places_when_the_places_grow() {
    struct Number(u64, Rc<Cell<u64>>);

    impl Payload<Dialing> for Number {
        fn dial(self, _: &mut Attempt<'_>, _: &'static Location<'static>) {
            self.1.set(self.0);
        }
    }

    let queue = CallQueue::new();
    let last = Rc::new(Cell::new(0));
    let places = Places::<Dialing>::new(4, 3);
    for position in 3..7 {
        assert_eq!(places.push(|| Number(position, last.clone()), Location::caller()), position);
    }
    places.grow();
    places.grow();
    let dialed: Vec<u64> = (3..7)
        .map(|_| {
            assert_eq!(places.dial_next(7, &mut Attempt::new(&queue)), Some(true));
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

    impl Payload<Dialing> for Holds {
        fn dial(self, _: &mut Attempt<'_>, _: &'static Location<'static>) {
            drop(self.0);
        }
    }

    let queue = CallQueue::new();
    let places = Places::<Dialing>::new(2, 0);
    let put = || places.push(|| Holds(PanicsOnDrop), Location::caller());
    put();
    let clear = catch_unwind(AssertUnwindSafe(|| drop(places.clear(0))));
    assert!(clear.is_err());
    put();
    let mut attempt = Attempt::new(&queue);
    assert_eq!(places.dial_next(1, &mut attempt), Some(false));
    let dial = catch_unwind(AssertUnwindSafe(|| places.dial_next(2, &mut attempt)));
    assert!(dial.is_err());
    assert!(places.pop().is_none());
}

#[test]
fn places_are_taken_easily_up_to_the_limit_and_only_while_they_are_free() {
    let places = Places::<Dialing>::new(4, 0);
    assert!(!places.is_easy());
    places.ease(2);
    let put = || places.push(|| Zero, Location::caller());
    assert_eq!((put(), put(), places.is_easy()), (0, 1, false));
    assert!(places.is_void::<Zero>(0) && places.is_void::<Zero>(2));
    places.ease(u64::MAX);
    assert_eq!((put(), put(), places.is_easy()), (2, 3, false));
    drop((places.pop(), places.pop()));
    places.ease(u64::MAX);
    assert_eq!((put(), put(), places.is_easy(), places.is_full()), (4, 5, false, true));
    assert!(catch_unwind(AssertUnwindSafe(put)).is_err());
}
