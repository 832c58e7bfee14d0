//! Allocations that the docs deny: how many there are for each call in steady state.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use switchboard::{CallQueue, Line, QueueHandle};

/// The system's allocator, with a count for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: forwards to the system's allocator; a `Cell` of a number needs no allocation and no drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the layout is the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer is from `alloc` or `realloc`, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Calls in one turn; and turns after the first, which may allocate.
const CALLS: u64 = 1000;
const TURNS: u64 = 10;

/// Allocations of `TURNS` turns of `CALLS` calls each, after one turn to get going.
fn allocations(mut one_call: impl FnMut(&QueueHandle)) -> u64 {
    let queue = CallQueue::new();
    let mut turn = || {
        for _ in 0..CALLS {
            one_call(&queue);
        }
        queue.dial_all();
    };
    turn();
    let before = ALLOCATIONS.get();
    for _ in 0..TURNS {
        turn();
    }
    let allocations = ALLOCATIONS.get() - before;
    let tally = queue.tally();
    assert_eq!(tally.finished + tally.canceled, CALLS * (TURNS + 1));
    allocations
}

/// Captures that need a drop, so that nothing is optimized out.
struct Held<const N: usize>([u8; N]);

impl<const N: usize> Held<N> {
    const fn new() -> Self {
        Self([1; N])
    }
}

impl<const N: usize> Drop for Held<N> {
    fn drop(&mut self) {
        assert!(self.0.iter().all(|byte| *byte == 1));
    }
}

fn function_calls<const N: usize>() -> u64 {
    allocations(|queue| {
        let held = Held::<N>::new();
        queue.call(move |_| drop(held)).unwrap();
    })
}

fn calls_to_a_recipient<const N: usize>(cancel: bool) -> u64 {
    let mut server = None;
    allocations(|queue| {
        let server = server.get_or_insert_with(|| queue.recipient(()));
        let held = Held::<N>::new();
        let id = server.call(move |(), _| drop(held)).unwrap();
        if cancel {
            queue.cancel(id, "unwanted");
        }
    })
}

fn callbacks<const N: usize, const M: usize>() -> u64 {
    let mut server = None;
    allocations(|queue| {
        let server = server.get_or_insert_with(|| queue.recipient(()));
        let held = Held::<N>::new();
        let callback = server.callback(move |(), _: &Line<'_, ()>, value| drop((held, value)));
        callback.answer(Held::<M>::new()).unwrap();
    })
}

#[test]
fn function_calls_do_not_allocate_up_to_48_bytes() {
    assert_eq!(function_calls::<0>(), 0);
    assert_eq!(function_calls::<40>(), 0);
    assert_eq!(function_calls::<48>(), 0);
    assert_eq!(function_calls::<49>(), CALLS * TURNS);
}

#[test]
fn calls_to_a_recipient_do_not_allocate_up_to_40_bytes() {
    for cancel in [false, true] {
        assert_eq!(calls_to_a_recipient::<0>(cancel), 0);
        assert_eq!(calls_to_a_recipient::<40>(cancel), 0);
        assert_eq!(calls_to_a_recipient::<41>(cancel), CALLS * TURNS);
    }
}

#[test]
fn callbacks_do_not_allocate_up_to_32_bytes_value_included() {
    assert_eq!(callbacks::<0, 32>(), 0);
    assert_eq!(callbacks::<20, 12>(), 0);
    assert_eq!(callbacks::<32, 0>(), 0);
    // What is joined to more than fits is boxed when it is answered, or before.
    assert_eq!(callbacks::<32, 1>(), CALLS * TURNS);
    assert_eq!(callbacks::<40, 0>(), CALLS * TURNS);
    assert_eq!(callbacks::<41, 0>(), 2 * CALLS * TURNS);
}

#[test]
fn calls_that_schedule_the_next_do_not_allocate() {
    fn again(count: &mut u64, line: &Line<'_, u64>) {
        *count += 1;
        if *count < CALLS {
            line.call(again).unwrap();
        }
    }
    let queue = CallQueue::new();
    let server = queue.recipient(0);
    let before = ALLOCATIONS.get();
    server.call(again).unwrap();
    assert_eq!(queue.dial_all().dialed, CALLS);
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_recipient_takes_one_allocation_and_its_address_none() {
    let queue = CallQueue::new();
    let before = ALLOCATIONS.get();
    let server = queue.recipient([0; 10]);
    assert_eq!(ALLOCATIONS.get() - before, 1);
    let addresses = [(); 10].map(|()| server.address());
    drop((server, addresses));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

/// A canceled call keeps its place until its turn, and an idle queue gets no turn: the places of
/// canceled calls once were never used again then.
#[test]
fn a_queue_that_is_never_dialed_does_not_grow_by_canceled_calls() {
    let queue = CallQueue::new();
    let before = ALLOCATIONS.get();
    for round in 0..100_000_u64 {
        let held = Held::<40>::new();
        let id = queue.call(move |_| drop(held)).unwrap();
        queue.cancel(id, "unwanted");
        assert!(queue.is_idle(), "in round {round}");
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
