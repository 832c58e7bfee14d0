//! The worst case beside the median: `cargo bench --bench worst`.
//!
//! The longest single `call` while 10^7 get pending, in CPU time of the thread, so that a busy machine
//! does not count; the same for a vector that doubles; the time of a call in batches after such a
//! burst, beside a fresh queue, in turns; and when the first call of a turn is dialed in which a million
//! timers are due, and the longest of the turns that follow.

use std::hint::black_box;
use std::time::Duration;

use switchboard::CallQueue;

/// The CPU time that this thread has taken.
#[cfg(unix)]
fn cpu() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time since the first call: safe code has no CPU time here.
#[cfg(not(unix))]
fn cpu() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
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
    #[cfg(feature = "mio")]
    due_timers();
}

/// Turns in which a million timers are due, in a random order of deadlines.
#[cfg(feature = "mio")]
fn due_timers() {
    use std::cell::Cell;
    use std::rc::Rc;

    let mut reactor = switchboard::reactor::Reactor::new().expect("a poll");
    let first = Rc::new(Cell::new(None));
    for n in 0..1_000_000_u64 {
        let first = Rc::clone(&first);
        let callback = reactor.queue().callback(move |_, ()| {
            if first.get().is_none() {
                first.set(Some(cpu()));
            }
        });
        let delay = Duration::from_nanos(n.wrapping_mul(2_654_435_761) % 1_000_000);
        reactor.after(delay, callback).detach();
    }
    std::thread::sleep(Duration::from_millis(2));
    let (begin, mut longest, mut turns) = (cpu(), Duration::ZERO, 0);
    while reactor.timer_count() > 0 {
        let before = cpu();
        let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
        longest = longest.max(cpu() - before);
        turns += 1;
    }
    let first = first.get().expect("a call") - begin;
    println!("10^6 timers due: first call after {first:.1?}, {turns} turns, longest {longest:.1?}");
}
