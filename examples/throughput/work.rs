//! What is measured: work of switchboard, and the same by hand.
//!
//! Each call captures an array whose first word is 1, which its handler adds to a sum: the sum shows that
//! all calls were dialed, and no compiler can leave them out.

use std::cell::Cell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard::op::{OpResult, Operation};
use switchboard::reactor::Reactor;
use switchboard::{CallId, CallQueue, QueueHandle, Recipient, Step};

use super::flags::{Flags, Observed};

/// One kind of work.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// Whether it is not switchboard's, but the same by hand.
    pub(crate) is_floor: bool,
    /// Calls of a batch, and how many of them are dialed.
    pub(crate) calls: u64,
    pub(crate) dialed: u64,
    /// Does so many batches. Returns how many calls arrived.
    pub(crate) run: Box<dyn FnMut(u64) -> u64>,
}

/// All kinds of work.
pub(crate) fn all(flags: &Flags) -> Vec<Work> {
    match flags.bytes {
        8 => of_size::<1>(flags),
        40 => of_size::<5>(flags),
        64 => of_size::<8>(flags),
        256 => of_size::<32>(flags),
        _ => of_size::<3>(flags),
    }
}

thread_local!(static SUM: Cell<u64> = const { Cell::new(0) });

/// What every handler does with the words of its call.
#[inline]
fn add<const N: usize>(words: [u64; N]) {
    SUM.set(SUM.get() + black_box(words)[0]);
}

/// The kind of work that most programs consist of.
pub(crate) const TO_RECIPIENTS: &str = "calls to recipients";

/// What a call captures.
#[inline]
fn words<const N: usize>(n: u64) -> [u64; N] {
    let mut words = [n; N];
    words[0] = 1;
    words
}

fn of_size<const N: usize>(flags: &Flags) -> Vec<Work> {
    let Flags { batch, recipients, cancel, .. } = *flags;
    let queue = || make_queue(flags);
    let work = |name, run| Work { name, is_floor: false, calls: batch, dialed: batch, run };
    let floor = |name, run| Work { is_floor: true, ..work(name, run) };
    let canceled = (0..batch).filter(|n| n % 100 * cancel % 100 < cancel).count() as u64;
    vec![
        work("function calls", calls::<N>(queue(), batch)),
        work(TO_RECIPIENTS, recipient_calls::<N>(queue(), recipients, batch)),
        work("callbacks, answered", callbacks::<N>(queue(), batch)),
        Work {
            dialed: batch - canceled,
            ..work("function calls, some canceled", canceled_calls::<N>(queue(), batch, cancel))
        },
        work("operations, completed", operations::<N>(queue(), batch)),
        work("timers, armed and fired", timers::<N>(flags, batch)),
        floor("two vectors, by hand", two_vectors::<N>(batch)),
        floor("VecDeque of functions, by hand", deque::<N>(batch)),
        floor("VecDeque of boxed closures, by hand", boxed::<N>(batch)),
    ]
}

fn make_queue(flags: &Flags) -> CallQueue {
    let room = usize::try_from(flags.batch).unwrap_or(usize::MAX);
    let queue = if flags.bounded { CallQueue::bounded(room) } else { CallQueue::new() };
    match flags.observer {
        Observed::None => (),
        Observed::Counting => {
            let steps = Cell::new(0_u64);
            queue.add_observer(move |_: CallId, _: &Step| steps.set(black_box(steps.get() + 1)));
        }
        #[cfg(feature = "journal")]
        Observed::Journal => _ = queue.add_observer(switchboard::journal::Journal::new()),
        #[cfg(feature = "tracing")]
        Observed::Spans => _ = queue.add_observer(switchboard::DialSpans::new()),
    }
    queue
}

type Run = Box<dyn FnMut(u64) -> u64>;

/// Repeats a batch. Returns the sum of what arrived.
fn repeat(mut batch: impl FnMut() + 'static) -> Run {
    Box::new(move |batches| {
        SUM.set(0);
        (0..batches).for_each(|_| batch());
        SUM.take()
    })
}

fn calls<const N: usize>(queue: CallQueue, batch: u64) -> Run {
    repeat(move || {
        for n in 0..batch {
            let words = words::<N>(n);
            queue.call(move |_| add(words));
        }
        queue.dial_all();
    })
}

fn recipient_calls<const N: usize>(queue: CallQueue, recipients: usize, batch: u64) -> Run {
    let recipients: Vec<Recipient<u64>> = (0..recipients).map(|_| queue.recipient(0)).collect();
    let mut next = 0;
    repeat(move || {
        for n in 0..batch {
            let words = words::<N>(n);
            recipients[next].call(move |count, _| {
                *count += 1;
                add(words);
            });
            next = if next + 1 < recipients.len() { next + 1 } else { 0 };
        }
        queue.dial_all();
    })
}

fn callbacks<const N: usize>(queue: CallQueue, batch: u64) -> Run {
    repeat(move || {
        for n in 0..batch {
            let callback = queue.callback(|_, words: [u64; N]| add(words));
            callback.answer(words(n));
        }
        queue.dial_all();
    })
}

fn canceled_calls<const N: usize>(queue: CallQueue, batch: u64, cancel: u64) -> Run {
    let mut ids = Vec::new();
    repeat(move || {
        for n in 0..batch {
            let words = words::<N>(n);
            let id = queue.call(move |_| add(words));
            if n % 100 * cancel % 100 < cancel {
                ids.push(id);
            }
        }
        for id in ids.drain(..) {
            let _ = queue.cancel(id, "measured");
        }
        queue.dial_all();
    })
}

fn operations<const N: usize>(queue: CallQueue, batch: u64) -> Run {
    let mut running: Vec<Operation<u64, [u64; N], ()>> = Vec::new();
    repeat(move || {
        for n in 0..batch {
            let done = queue.callback(|_: &QueueHandle, result: OpResult<[u64; N], ()>| {
                add(result.expect("it completes"));
            });
            running.push(Operation::new(done, n, |_| ()));
        }
        for operation in running.drain(..) {
            let result = Ok(words(*operation.context()));
            operation.complete(result).expect("it runs");
        }
        queue.dial_all();
    })
}

fn timers<const N: usize>(flags: &Flags, batch: u64) -> Run {
    let mut reactor = Reactor::with_queue(make_queue(flags)).expect("a poll");
    reactor.set_budget(usize::MAX);
    let clock = Rc::new(Cell::new(Instant::now()));
    reactor.set_clock({
        let clock = Rc::clone(&clock);
        move || clock.get()
    });
    repeat(move || {
        for n in 0..batch {
            let words = words::<N>(n);
            let callback = reactor.queue().callback(move |_, ()| add(words));
            let delay = Duration::from_micros(n.wrapping_mul(0x9e37_79b9) % 1_000_000);
            reactor.after(delay, callback).detach();
        }
        clock.set(clock.get() + Duration::from_secs(2));
        while reactor.timer_count() > 0 {
            let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
        }
        let _ = reactor.queue().dial_all();
    })
}

/// A function and what it is called with.
type Entry<const N: usize> = (fn([u64; N]), [u64; N]);

fn two_vectors<const N: usize>(batch: u64) -> Run {
    let (mut one, mut other): (Vec<Entry<N>>, Vec<Entry<N>>) = (Vec::new(), Vec::new());
    repeat(move || {
        (0..batch).for_each(|n| one.push((black_box(add::<N>), words(n))));
        mem::swap(&mut one, &mut other);
        other.drain(..).for_each(|(function, words)| function(words));
    })
}

fn deque<const N: usize>(batch: u64) -> Run {
    let mut entries: VecDeque<Entry<N>> = VecDeque::new();
    repeat(move || {
        (0..batch).for_each(|n| entries.push_back((black_box(add::<N>), words(n))));
        while let Some((function, words)) = entries.pop_front() {
            function(words);
        }
    })
}

fn boxed<const N: usize>(batch: u64) -> Run {
    let mut entries: VecDeque<Box<dyn FnOnce()>> = VecDeque::new();
    repeat(move || {
        for n in 0..batch {
            let words = words::<N>(n);
            entries.push_back(Box::new(move || add(words)));
        }
        while let Some(call) = entries.pop_front() {
            call();
        }
    })
}
