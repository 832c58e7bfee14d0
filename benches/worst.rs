//! The worst case beside the median: `cargo bench --bench worst`.
//!
//! The longest single `call` while 10^7 get pending, in CPU time of the thread, so that a busy machine
//! does not count; the same for a vector that doubles; and the time of a call in batches after such a
//! burst, beside a fresh queue, in turns.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use switchboard::CallQueue;

/// The CPU time that this thread has taken.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const PENDING: u64 = 10_000_000;

/// The longest of `count` steps, and the mean. The clock is read for every 16th step only, as it takes
/// longer than a step.
fn longest(count: u64, mut step: impl FnMut(u64)) -> (Duration, Duration) {
    let (begin, mut longest, mut before) = (cpu(), Duration::ZERO, cpu());
    for n in 0..count {
        step(n);
        if n % 16 == 15 {
            let now = cpu();
            longest = longest.max(now - before);
            before = now;
        }
    }
    (longest, (cpu() - begin) / count as u32)
}

fn show(name: &str, (longest, mean): (Duration, Duration)) {
    println!("{name:<44} longest {longest:>9.1?}  mean {mean:>6.1?}");
}

fn schedule(queue: &CallQueue, n: u64) {
    queue.call(move |_| _ = black_box([n, n, n]));
}

/// The CPU time of `rounds` batches.
fn batches(queue: &CallQueue, batch: u64, rounds: u64) -> Duration {
    let begin = cpu();
    for _ in 0..rounds {
        (0..batch).for_each(|n| schedule(queue, n));
        queue.dial_all();
    }
    cpu() - begin
}

fn main() {
    let mut vector = Vec::new();
    show("a vector of 64-byte places, 10^7 pushes", longest(PENDING, |n| vector.push([n; 8])));
    drop(vector);
    let burst = CallQueue::new();
    show("a queue, 10^7 calls get pending", longest(PENDING, |n| schedule(&burst, n)));
    let begin = cpu();
    burst.dial_all();
    println!("{:<44} mean {:>6.1?}", "the same, dialed", (cpu() - begin) / PENDING as u32);

    let fresh = CallQueue::new();
    for batch in [1, 64, 1024] {
        let rounds = (1 << 16) / batch;
        let mut ratios: Vec<_> = (0..41)
            .map(|_| {
                let after = batches(&burst, batch, rounds);
                after.as_secs_f64() / batches(&fresh, batch, rounds).as_secs_f64()
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "batches of {batch} after the burst / fresh: median {:.2}",
            ratios[ratios.len() / 2]
        );
    }
}
