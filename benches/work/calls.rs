//! Calls through a queue: one after another, chained, canceled, answered, many pending.

use std::hint::black_box;

use switchboard::{CallQueue, Cancellation, QueueHandle, Recipient};

use super::{Group, Run, add, added, floors, take_in, timed};

const OPEN: &str = "the queue is open";

pub fn groups() -> Vec<Group> {
    const BATCHES: &[u64] = &[1, 64, 1024, 65_536];
    const MANY: &[u64] = &[1000, 65_000];
    const PENDING: &[u64] = &[100, 10_000, 1_000_000, 10_000_000];
    let every_second = |group: Group| Group { one_in: 2, ..group };
    vec![
        Group::new("function_call", "a function call", BATCHES, function_calls)
            .against("floor: two vectors", floors::swapped_calls)
            .against("floor: ring", floors::ring_calls)
            .against("floor: boxed", floors::boxed_calls),
        Group::new("recipient_call", "a call to one recipient", BATCHES, recipient_calls)
            .against("floor: boxed", floors::boxed_calls_to_one),
        Group::new("many_recipients", "a call to one of 1,000 recipients", MANY, many_recipients)
            .against("floor: boxed", floors::boxed_calls_to_many),
        Group::new("chained_call", "a call that schedules the next", &[1], chain)
            .against("floor: two vectors", floors::swapped_chain)
            .against("floor: ring", floors::ring_chain)
            .against("floor: boxed", floors::boxed_chain),
        every_second(Group::new(
            "canceled_call",
            "a function call, every second one canceled",
            &BATCHES[1..],
            every_second_canceled,
        )),
        Group::new("callback", "a callback created, answered and dialed", BATCHES, callbacks),
        Group::new("pending_calls", "a function call, so many pending", PENDING, function_calls)
            .against("floor: two vectors", floors::swapped_calls)
            .against("floor: ring", floors::ring_calls)
            .against("floor: boxed", floors::boxed_calls),
        #[cfg(feature = "journal")]
        Group::new("journaled", "a function call, seen by a journal", &BATCHES[2..3], journaled),
    ]
}

pub fn function_calls(batch: u64) -> Run {
    dial_function_calls(CallQueue::new(), batch)
}

fn dial_function_calls(queue: CallQueue, batch: u64) -> Run {
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                queue.call(move |_| add(words));
            }
            let _ = queue.dial_all();
        }
        added()
    })
}

/// With a clock that stands still: what reading one costs depends on the system.
#[cfg(feature = "journal")]
fn journaled(batch: u64) -> Run {
    let (queue, now) = (CallQueue::new(), std::time::Instant::now());
    let journal = switchboard::journal::Journal::with_clock(1 << 16, move || now);
    queue.add_observer(std::rc::Rc::new(journal));
    dial_function_calls(queue, batch)
}

pub fn recipient_calls(batch: u64) -> Run {
    let queue = CallQueue::new();
    let sum = queue.recipient(0_u64);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                sum.call(move |sum, _| take_in(sum, words));
            }
            let _ = queue.dial_all();
        }
        result(&queue, std::slice::from_ref(&sum))
    })
}

pub fn many_recipients(batch: u64) -> Run {
    let queue = CallQueue::new();
    let sums: Vec<_> = (0..1000).map(|_| queue.recipient(0_u64)).collect();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for _ in 0..batch / 1000 {
                for (n, sum) in sums.iter().enumerate() {
                    let words = [1, n as u64, n as u64];
                    sum.call(move |sum, _| take_in(sum, words));
                }
            }
            let _ = queue.dial_all();
        }
        result(&queue, &sums)
    })
}

/// What the recipients have taken in since the last time.
fn result(queue: &CallQueue, sums: &[Recipient<u64>]) -> u64 {
    for sum in sums {
        sum.call(|sum, _| add([std::mem::take(sum), 0, 0]));
    }
    let _ = queue.dial_all();
    added()
}

pub fn chain(_: u64) -> Run {
    fn link(queue: &QueueHandle, left: u64, words: [u64; 2]) {
        add([1, words[0], words[1]]);
        if left > 1 {
            queue.call(move |queue| link(queue, left - 1, words));
        }
    }
    let queue = CallQueue::new();
    timed(move |calls| {
        let words = black_box([2, 2]);
        queue.call(move |queue| link(queue, calls, words));
        let _ = queue.dial_all();
        added()
    })
}

pub fn every_second_canceled(batch: u64) -> Run {
    let queue = CallQueue::new();
    let mut ids = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                let id = queue.call(move |_| add(words));
                if n % 2 == 0 {
                    ids.push(id);
                }
            }
            for id in ids.drain(..) {
                assert_eq!(queue.cancel(id, "every second"), Cancellation::Canceled);
            }
            let _ = queue.dial_all();
        }
        added()
    })
}

pub fn callbacks(batch: u64) -> Run {
    let queue = CallQueue::new();
    let sum = queue.recipient(0_u64);
    let mut waiting = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                waiting.push(sum.callback(move |sum, _, one| take_in(sum, [one, n, n])));
            }
            for callback in waiting.drain(..) {
                callback.answer(1);
            }
            let _ = queue.dial_all();
        }
        result(&queue, std::slice::from_ref(&sum))
    })
}
