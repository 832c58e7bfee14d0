//! Counts instructions per call with callgrind: `cargo bench --bench instructions`.
//!
//! Each workload runs N and 2N calls in a process of its own under valgrind; the difference over
//! N is the cost of one call, exact from run to run on one machine and compiler. Every call
//! carries 24 bytes of captured state.

use std::env;
use std::hint::black_box;
use std::process::Command;

use switchboard::{CallQueue, Cancellation};

/// Calls in the smaller run of each pair.
const CALLS: u64 = 1 << 16;

/// Name, what one call of it does, batch, the work.
type Workload = (&'static str, &'static str, u64, fn(u64, u64) -> u64);

const WORKLOADS: &[Workload] = &[
    ("W1-1", "function call", 1, function_calls),
    ("W1-64", "function call", 64, function_calls),
    ("W1-1024", "function call", 1024, function_calls),
    ("W1-65536", "function call", 65_536, function_calls),
    ("W1r-1024", "call to one recipient", 1024, recipient_calls),
    ("W1r-1000", "call to 1,000 recipients in turn", 1000, many_recipients),
    ("W2", "each handler schedules the next", 1, chain),
    ("W3-1024", "as W1, every second canceled", 1024, every_second_canceled),
    ("W4-1024", "create a callback, answer it, dial", 1024, callbacks),
    #[cfg(feature = "journal")]
    ("J-1024", "as W1, told to a journal", 1024, journal),
];

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    match (arguments.next(), arguments.next()) {
        (Some(name), Some(calls)) => {
            let (_, _, batch, work) = find(&name);
            let calls = calls.parse().expect("the number of calls");
            assert_eq!(work(calls, *batch), calls, "{name} did all of its work");
        }
        (filter, _) => table(filter.as_deref().unwrap_or_default()),
    }
}

fn find(name: &str) -> &'static Workload {
    WORKLOADS.iter().find(|workload| workload.0 == name).expect("a workload of that name")
}

fn table(filter: &str) {
    println!("{:<14} {:<36} {:>12}", "workload", "one call is", "instructions");
    for (name, what, ..) in WORKLOADS.iter().filter(|workload| workload.0.contains(filter)) {
        let per_call = (count(name, 2 * CALLS) - count(name, CALLS)) as f64 / CALLS as f64;
        println!("{name:<14} {what:<36} {per_call:>12.1}");
    }
}

/// Instructions of a whole run, as callgrind counts them.
fn count(name: &str, calls: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("the path of this program"))
        .args([name, &calls.to_string()])
        .output()
        .expect("valgrind is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} ran under valgrind:\n{text}");
    let total = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    total.and_then(|total| total.trim().parse().ok()).expect("callgrind's total")
}

/// The work of a handler: takes in the three words that the call carries.
#[inline(always)]
fn take_in(sum: &mut u64, words: [u64; 3]) {
    let [a, b, c] = words;
    *sum = sum.wrapping_add(a).wrapping_add(b).wrapping_sub(c);
}

thread_local! {
    static SUM: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[inline(always)]
fn add(words: [u64; 3]) {
    SUM.with(|sum| {
        let mut value = sum.get();
        take_in(&mut value, words);
        sum.set(value);
    });
}

fn function_calls(calls: u64, batch: u64) -> u64 {
    schedule_and_dial(&CallQueue::new(), calls, batch)
}

#[inline(always)]
fn schedule_and_dial(queue: &CallQueue, calls: u64, batch: u64) -> u64 {
    for _ in 0..calls / batch {
        for n in 0..batch {
            let words = [1, n, n];
            queue.call(move |_| add(words)).expect("the queue is open");
        }
        let _ = queue.dial_all();
    }
    SUM.get()
}

/// With a clock that stands still: what reading one costs depends on the system.
#[cfg(feature = "journal")]
fn journal(calls: u64, batch: u64) -> u64 {
    let (queue, now) = (CallQueue::new(), std::time::Instant::now());
    let journal = switchboard::journal::Journal::with_clock(1 << 16, move || now);
    queue.set_observer(std::rc::Rc::new(journal));
    schedule_and_dial(&queue, calls, batch)
}

fn recipient_calls(calls: u64, batch: u64) -> u64 {
    let queue = CallQueue::new();
    let sum = queue.recipient(0_u64);
    for _ in 0..calls / batch {
        for n in 0..batch {
            let words = [1, n, n];
            sum.call(move |sum, _| take_in(sum, words)).expect("the queue is open");
        }
        let _ = queue.dial_all();
    }
    result(&queue, &[sum])
}

fn many_recipients(calls: u64, batch: u64) -> u64 {
    let queue = CallQueue::new();
    let sums: Vec<_> = (0..1000).map(|_| queue.recipient(0_u64)).collect();
    let mut left = calls;
    while left > 0 {
        let now = left.min(batch);
        for (n, sum) in sums[..now as usize].iter().enumerate() {
            let words = [1, n as u64, n as u64];
            sum.call(move |sum, _| take_in(sum, words)).expect("the queue is open");
        }
        let _ = queue.dial_all();
        left -= now;
    }
    result(&queue, &sums)
}

fn result(queue: &CallQueue, sums: &[switchboard::Recipient<u64>]) -> u64 {
    for sum in sums {
        sum.call(|sum, _| SUM.set(SUM.get() + *sum)).expect("the queue is open");
    }
    let _ = queue.dial_all();
    SUM.get()
}

fn chain(calls: u64, _: u64) -> u64 {
    fn link(queue: &switchboard::QueueHandle, left: u64, words: [u64; 2]) {
        add([1, words[0], words[1]]);
        if left > 1 {
            let call = move |queue: &switchboard::QueueHandle| link(queue, left - 1, words);
            queue.call(call).expect("the queue is open");
        }
    }
    let queue = CallQueue::new();
    let words = black_box([2, 2]);
    queue.call(move |queue| link(queue, calls, words)).expect("the queue is open");
    let _ = queue.dial_all();
    SUM.get()
}

fn every_second_canceled(calls: u64, batch: u64) -> u64 {
    let queue = CallQueue::new();
    let mut ids = Vec::with_capacity(batch as usize);
    let mut canceled = 0;
    for _ in 0..calls / batch {
        for n in 0..batch {
            let words = [1, n, n];
            let id = queue.call(move |_| add(words)).expect("the queue is open");
            if n % 2 == 0 {
                ids.push(id);
            }
        }
        for id in ids.drain(..) {
            if queue.cancel(id, "every second") == Cancellation::Canceled {
                canceled += 1;
            }
        }
        let _ = queue.dial_all();
    }
    SUM.get() + canceled
}

fn callbacks(calls: u64, batch: u64) -> u64 {
    let queue = CallQueue::new();
    let sum = queue.recipient(0_u64);
    let mut waiting = Vec::with_capacity(batch as usize);
    for _ in 0..calls / batch {
        for n in 0..batch {
            waiting.push(sum.callback(move |sum, _, one| take_in(sum, [one, n, n])));
        }
        for callback in waiting.drain(..) {
            callback.answer(1).expect("the queue is open");
        }
        let _ = queue.dial_all();
    }
    result(&queue, &[sum])
}
