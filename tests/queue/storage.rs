//! Where calls stand: captures of every size up to 256 bytes, at every alignment up to 128, through
//! every end that a call has. Each arrives whole and aligned, and is dropped exactly once. (A size is
//! a multiple of its alignment, so there are 518 of them.)

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use switchboard::{CallId, CallQueue, Cancellation, QueueHandle};

thread_local! {
    static MADE: Cell<u64> = const { Cell::new(0) };
    static DROPPED: Cell<u64> = const { Cell::new(0) };
    static DIALED: Cell<u64> = const { Cell::new(0) };
    static PANICS: Cell<Panics> = const { Cell::new(Panics::Nowhere) };
}

/// Where the next panic comes from.
#[derive(Clone, Copy, PartialEq)]
enum Panics {
    Nowhere,
    InHandler,
    InDrop,
}

/// What it is.
struct OnPurpose;

impl Panics {
    /// Panics once, if this is where to.
    fn here(self) {
        if PANICS.get() == self {
            PANICS.set(Self::Nowhere);
            panic::resume_unwind(Box::new(OnPurpose));
        }
    }
}

/// `N` bytes, aligned as `A`: all that a function call captures, and so its body. (They count in
/// statics, as the smallest have no room for a counter.)
struct Bytes<const N: usize, A: Align> {
    bytes: [u8; N],
    aligned: [A; 0],
}

impl<const N: usize, A: Align> Bytes<N, A> {
    fn new() -> Self {
        let mut bytes = [0; N];
        make(&mut bytes, A::ALIGN);
        Self { bytes, aligned: [] }
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!((&raw const self.aligned).addr() % A::ALIGN, 0);
        check_pattern(&self.bytes, A::ALIGN);
    }
}

// What does not depend on a type is no part of what is generic: there are 518 types.

fn pattern(size: usize, align: usize) -> impl Iterator<Item = u8> {
    (0..size).map(move |at| (at as u8).wrapping_mul(31).wrapping_add(size as u8 ^ align as u8))
}

fn make(bytes: &mut [u8], align: usize) {
    MADE.set(MADE.get() + 1);
    let values = pattern(bytes.len(), align);
    bytes.iter_mut().zip(values).for_each(|(byte, value)| *byte = value);
}

#[track_caller]
fn check_pattern(bytes: &[u8], align: usize) {
    let size = bytes.len();
    assert!(
        pattern(size, align).eq(bytes.iter().copied()),
        "{size} bytes aligned to {align} changed"
    );
}

fn note_dial() {
    DIALED.set(DIALED.get() + 1);
    Panics::InHandler.here();
}

impl<const N: usize, A: Align> Drop for Bytes<N, A> {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
        self.check();
        Panics::InDrop.here();
    }
}

trait Align: Sized + 'static {
    const ALIGN: usize = align_of::<Self>();
}

macro_rules! aligned {
    ($($name:ident $align:literal)*) => {
        $(
            #[repr(align($align))]
            struct $name;

            impl Align for $name {}
        )*
    };
}

aligned!(To1 1 To2 2 To4 4 To8 8 To16 16 To32 32 To64 64 To128 128);

/// So many calls were dialed, so many captures dropped, and none is left.
#[track_caller]
fn expect(dialed: u64, dropped: u64) {
    assert_eq!((DIALED.take(), DROPPED.take(), MADE.take()), (dialed, dropped, dropped));
}

#[track_caller]
fn panics<R>(place: Panics, function: impl FnOnce() -> R) {
    PANICS.set(place);
    let payload = panic::catch_unwind(AssertUnwindSafe(function)).err().expect("a panic");
    if !payload.is::<OnPurpose>() {
        panic::resume_unwind(payload);
    }
}

/// Every end of a call with `N` bytes aligned as `A`.
fn check<const N: usize, A: Align>(queue: &QueueHandle) {
    fn call<const N: usize, A: Align>() -> impl FnOnce(&QueueHandle) + 'static {
        let bytes = Bytes::<N, A>::new();
        move |_: &QueueHandle| {
            bytes.check();
            note_dial();
        }
    }
    assert_eq!(size_of_val(&call::<N, A>()), N);
    assert_eq!(align_of_val(&call::<N, A>()), A::ALIGN);
    expect(0, 2);

    let schedule = |queue: &QueueHandle| queue.call(call::<N, A>());
    every_end(queue, &schedule);
}

fn every_end(queue: &QueueHandle, schedule: &dyn Fn(&QueueHandle) -> CallId) {
    schedule(queue);
    assert_eq!(queue.dial_all().dialed, 1);
    expect(1, 1);

    let id = schedule(queue);
    assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled);
    expect(0, 1);
    assert_eq!(queue.dial_all().canceled, 1);

    for place in [Panics::InHandler, Panics::InDrop] {
        schedule(queue);
        panics(place, || queue.dial_all());
        expect(1, 1);
    }

    let id = schedule(queue);
    panics(Panics::InDrop, || queue.cancel(id, "unwanted"));
    expect(0, 1);
    assert_eq!(queue.dial_all().canceled, 1);

    let dropped = CallQueue::new();
    for _ in 0..3 {
        schedule(&dropped);
    }
    panics(Panics::InDrop, || drop(dropped));
    expect(0, 3);
    assert!(queue.is_idle() && queue.tally().balances());
}

/// The multiples of an alignment: 16 for each of `high`, and the last.
macro_rules! multiples {
    ($queue:ident $align:ident) => {};
    ($queue:ident $align:ident $high:literal $($more:literal)*) => {
        multiples!($queue $align $high: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        multiples!($queue $align $($more)*);
    };
    ($queue:ident $align:ident $high:literal: $($low:literal)*) => {
        $(check::<{ $align::ALIGN * (16 * $high + $low) }, $align>(&$queue);)*
    };
}

macro_rules! sizes {
    ($($test:ident $align:ident [$($high:literal)*] [$($low:literal)*])*) => {
        $(
            #[test]
            fn $test() {
                let queue = CallQueue::new();
                multiples!(queue $align $($high)*);
                multiples!(queue $align 0: $($low)*);
            }
        )*
    };
}

sizes! {
    every_size_aligned_to_1_byte To1 [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] [256]
    every_size_aligned_to_2_bytes To2 [0 1 2 3 4 5 6 7] [128]
    every_size_aligned_to_4_bytes To4 [0 1 2 3] [64]
    every_size_aligned_to_8_bytes To8 [0 1] [32]
    every_size_aligned_to_16_bytes To16 [0] [16]
    every_size_aligned_to_32_bytes To32 [] [0 1 2 3 4 5 6 7 8]
    every_size_aligned_to_64_bytes To64 [] [0 1 2 3 4]
    every_size_aligned_to_128_bytes To128 [] [0 1 2]
}
