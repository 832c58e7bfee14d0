//! Allocations that the docs deny: how many there are for each call in steady state.

use switchboard::{CallQueue, Context, QueueHandle, future};

use support::counting::{allocations, held};

/// Calls in one turn; turns in which nothing may be allocated, and those before.
const CALLS: u64 = 1000;
const TURNS: u64 = 10;
/// The first of these begins in a small block, and the storage keeps what the two before needed.
const WARM_UP: u64 = 3;

/// Allocations of `TURNS` turns of `CALLS` calls each, after those of `WARM_UP` turns.
fn steady_allocations(mut one_call: impl FnMut(&QueueHandle)) -> u64 {
    let queue = CallQueue::new();
    let mut turn = || {
        for _ in 0..CALLS {
            one_call(&queue);
        }
        queue.dial_all();
    };
    for _ in 0..WARM_UP {
        turn();
    }
    let before = allocations();
    for _ in 0..TURNS {
        turn();
    }
    let taken = allocations() - before;
    let tally = queue.tally();
    assert_eq!(tally.finished + tally.canceled, CALLS * (TURNS + WARM_UP));
    taken
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
    steady_allocations(|queue| {
        let held = Held::<N>::new();
        queue.call(move |_| drop(held));
    })
}

fn calls_to_a_recipient<const N: usize>(cancel: bool) -> u64 {
    let mut server = None;
    steady_allocations(|queue| {
        let server = server.get_or_insert_with(|| queue.recipient(()));
        let held = Held::<N>::new();
        let id = server.call(move |(), _| drop(held));
        if cancel {
            queue.cancel(id, "unwanted");
        }
    })
}

fn callbacks<const N: usize, const M: usize>() -> u64 {
    let mut server = None;
    steady_allocations(|queue| {
        let server = server.get_or_insert_with(|| queue.recipient(()));
        let held = Held::<N>::new();
        let callback = server.callback(move |(), _: &Context<'_, ()>, value| drop((held, value)));
        callback.answer(Held::<M>::new());
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
fn batches_of_any_size_do_not_allocate_once_they_have_crossed_blocks() {
    // The seventh batch of 10 is the first that ends in another block than it began in.
    const SETTLED: u64 = 8;
    for batch in [1, 10, 63, 64, 65, 100, 1000, 4095, 4096, 4097, 10_000, 50_000] {
        let queue = CallQueue::new();
        for turn in 0..SETTLED + 5 * TURNS {
            let before = allocations();
            for _ in 0..batch {
                queue.call(|_| ());
            }
            assert_eq!(queue.dial_all().dialed, batch);
            let taken = allocations() - before;
            assert!(turn < SETTLED || taken == 0, "{taken} for {batch} calls in turn {turn}");
        }
    }
}

#[test]
fn calls_to_a_recipient_do_not_allocate_up_to_40_bytes() {
    for cancel in [false, true] {
        assert_eq!(calls_to_a_recipient::<0>(cancel), 0);
        assert_eq!(calls_to_a_recipient::<ROOM>(cancel), 0);
        assert_eq!(calls_to_a_recipient::<{ ROOM + 1 }>(cancel), CALLS * TURNS);
    }
}

/// What a call or a callback has room for beside a pointer: 40 bytes where that has 64 bits.
const ROOM: usize = 48 - size_of::<usize>();

#[test]
fn callbacks_do_not_allocate_up_to_40_bytes_and_a_value_of_40() {
    assert_eq!(callbacks::<0, ROOM>(), 0);
    assert_eq!(callbacks::<20, 20>(), 0);
    assert_eq!(callbacks::<ROOM, ROOM>(), 0);
    // What does not fit is boxed: the captures when the callback is created, the value when it is
    // answered.
    assert_eq!(callbacks::<ROOM, { ROOM + 1 }>(), CALLS * TURNS);
    assert_eq!(callbacks::<{ ROOM + 1 }, ROOM>(), CALLS * TURNS);
    assert_eq!(callbacks::<{ ROOM + 1 }, { ROOM + 1 }>(), 2 * CALLS * TURNS);
}

#[test]
fn calls_that_schedule_the_next_do_not_allocate() {
    fn again(count: &mut u64, cx: &Context<'_, u64>) {
        *count += 1;
        if !count.is_multiple_of(CALLS) {
            cx.call(again);
        }
    }
    let queue = CallQueue::new();
    let server = queue.recipient(0);
    for round in 0..WARM_UP + TURNS {
        let before = allocations();
        server.call(again);
        assert_eq!(queue.dial_all().dialed, CALLS);
        let taken = allocations() - before;
        assert!(round < WARM_UP || taken == 0, "{taken} allocations in round {round}");
    }
}

#[test]
fn a_recipient_takes_one_allocation_and_its_address_none() {
    let queue = CallQueue::new();
    let before = allocations();
    let server = queue.recipient([0; 10]);
    assert_eq!(allocations() - before, 1);
    let addresses = [(); 10].map(|()| server.address());
    drop((server, addresses));
    assert_eq!(allocations() - before, 1);
}

#[test]
fn a_future_of_an_answer_takes_one_allocation() {
    let taken = steady_allocations(|queue| {
        let (callback, answer) = future::callback(queue);
        callback.answer(1_u64);
        queue.dial_all();
        drop(answer);
    });
    assert_eq!(taken, CALLS * TURNS);
}

#[cfg(feature = "mio")]
#[test]
fn a_timer_that_comes_and_goes_takes_no_allocation() {
    use std::time::Duration;
    use switchboard::reactor::Reactor;

    let mut reactor = Reactor::new().unwrap();
    for round in 0..15 {
        let before = allocations();
        reactor.after(Duration::ZERO, reactor.queue().callback(|_, ()| ())).detach();
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().dialed, 1);
        assert!(round < 10 || allocations() == before, "in round {round}");
    }
}

/// A canceled call is known until its turn, and an idle queue gets no turn: the places of canceled
/// calls once were never used again then.
#[test]
fn a_queue_that_is_never_dialed_keeps_less_than_a_bit_of_each_canceled_call() {
    const CANCELED: isize = 1_000_000;
    let queue = CallQueue::new();
    let mut kept = Vec::with_capacity(2);
    for _ in 0..2 {
        for round in 0..CANCELED {
            let captured = Held::<40>::new();
            let id = queue.call(move |_| drop(captured));
            queue.cancel(id, "unwanted");
            assert!(queue.is_idle(), "in round {round}");
        }
        kept.push(held());
    }
    // A spare block of full size is kept beside that.
    assert!(kept[0] < 1 << 20, "{kept:?}");
    assert!(kept[1] - kept[0] < CANCELED / 8, "{kept:?}");
}
