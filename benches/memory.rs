//! Counts allocations per call, and bytes per thing that waits: `cargo bench --bench memory [NAME]`.
//!
//! Exact from run to run. With `--check`, compares with the ceilings.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use support::counting::{Counting, allocations as allocated, held};
use switchboard::CallQueue;
use switchboard::op::{OpError, OpResult, Operation};
use switchboard::reactor::Reactor;

mod costs;
mod work;

use costs::{Figure, Mode};
use work::{Words, add};

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() -> ExitCode {
    let mode = Mode::from_arguments();
    let allocations = costs::report("allocations", "per call", &mode, &allocations(&mode));
    let bytes = costs::report("bytes", "each", &mode, &bytes(&mode));
    let kept = costs::report("bytes kept", "in all", &mode, &kept(&mode));
    let all = [allocations, bytes, kept];
    all.into_iter().find(|code| *code != ExitCode::SUCCESS).unwrap_or(ExitCode::SUCCESS)
}

/// Calls before those that are counted, and then; a multiple of every batch that is measured.
const CALLS: u64 = 1024 * 1000;

/// Batches of this size at most: after one of them, there is nothing left to grow.
const BATCH: u64 = 1024;

/// Allocations per call of the workloads, once they have got going.
fn allocations(mode: &Mode) -> Vec<Figure> {
    let mut figures = Vec::new();
    let is_counted = |group: &work::Group| !work::echo::is_one(group) && !group.has_two_threads();
    for group in work::groups().into_iter().filter(is_counted) {
        for batch in group.batches.iter().copied().filter(|batch| *batch <= BATCH) {
            let contender = &group.contenders[0];
            let name = costs::name(&group, contender.name, batch);
            if mode.wants(&name) {
                let calls = CALLS / 100 / batch * batch;
                let mut run = (contender.start)(batch);
                let _ = group.run(contender, &mut run, calls);
                let before = allocated();
                let _ = group.run(contender, &mut run, calls);
                figures.push((name, (allocated() - before) as f64 / calls as f64));
            }
        }
    }
    figures
}

/// Things in the smaller run of each pair. A power of two, as storage grows by doubling.
const THINGS: u64 = 1 << 14;

/// Bytes that so many things of one kind take.
type Measure = fn(u64) -> usize;

/// Bytes on the heap for each thing that waits. What the handle itself takes is not in it.
fn bytes(mode: &Mode) -> Vec<Figure> {
    let measures: [(&str, Measure); 6] = [
        ("pending call", pending_calls),
        ("idle recipient of 8 bytes", idle_recipients),
        ("callback that waits", waiting_callbacks),
        ("timer that is armed, its callback included", armed_timers),
        ("operation that runs, its callback included", running_operations),
        ("registration, its handler included", registrations),
    ];
    let wanted = measures.into_iter().filter(|(name, _)| mode.wants(name));
    let each = |measure: Measure| (measure(2 * THINGS) - measure(THINGS)) as f64 / THINGS as f64;
    wanted.map(|(name, measure)| (name.to_string(), each(measure))).collect()
}

/// What a burst leaves behind: bytes on the heap beyond those of a queue that has dialed a batch.
fn kept(mode: &Mode) -> Vec<Figure> {
    const BURST: u64 = 1_000_000;
    let measures: [(&str, Measure); 5] = [
        ("1,000,000 calls, dialed", burst_of_calls),
        ("1,000,000 calls, dialed; then as many, 64 at a time", burst_then_traffic),
        ("1,000,000 canceled calls behind a pending one", canceled_behind_pending),
        ("1,000,000 callbacks, answered and dialed", burst_of_callbacks),
        ("1,000,000 timers, canceled by their id", timers_canceled_by_id),
    ];
    let wanted = measures.into_iter().filter(|(name, _)| mode.wants(name));
    wanted.map(|(name, measure)| (name.to_string(), measure(BURST) as f64)).collect()
}

/// Bytes that are held after `story` beyond those that were held before.
fn left_by(queue: &CallQueue, story: impl FnOnce(&CallQueue)) -> usize {
    for n in 0..64 {
        queue.call(move |_| add([1, n, n]));
    }
    queue.dial_all();
    let before = held();
    story(queue);
    (held() - before).max(0) as usize
}

fn schedule(queue: &CallQueue, count: u64) {
    for n in 0..count {
        queue.call(move |_| add([1, n, n]));
    }
}

fn burst_of_calls(count: u64) -> usize {
    left_by(&CallQueue::new(), |queue| {
        schedule(queue, count);
        queue.dial_all();
    })
}

fn burst_then_traffic(count: u64) -> usize {
    left_by(&CallQueue::new(), |queue| {
        schedule(queue, count);
        queue.dial_all();
        for _ in 0..count / 64 {
            schedule(queue, 64);
            queue.dial_all();
        }
    })
}

fn canceled_behind_pending(count: u64) -> usize {
    left_by(&CallQueue::new(), |queue| {
        queue.call(|_| ());
        for n in 0..count {
            let call = queue.call(move |_| add([1, n, n]));
            queue.cancel(call, "measured");
        }
    })
}

fn burst_of_callbacks(count: u64) -> usize {
    left_by(&CallQueue::new(), |queue| {
        let callbacks: Vec<_> =
            (0..count).map(|n| queue.callback(move |_, one| add([one, n, n]))).collect();
        for callback in callbacks {
            callback.answer(1);
        }
        queue.dial_all();
    })
}

fn timers_canceled_by_id(count: u64) -> usize {
    let reactor = Reactor::new().expect("a poll");
    let handle = reactor.handle();
    let before = held();
    for n in 0..count {
        let callback = reactor.queue().callback(move |_, ()| add([1, n, n]));
        let call = callback.id();
        handle.after(Duration::from_secs(3600), callback).detach();
        reactor.queue().cancel(call, "measured");
    }
    (held() - before).max(0) as usize
}

/// Bytes that `count` things take, made by `make`, once they are all there.
fn taken<T>(count: u64, mut make: impl FnMut(u64) -> T) -> usize {
    let mut things = Vec::with_capacity(count as usize);
    let before = held();
    things.extend((0..count).map(&mut make));
    (held() - before) as usize
}

fn pending_calls(count: u64) -> usize {
    let queue = CallQueue::new();
    taken(count, |n| queue.call(move |_| add([1, n, n])))
}

fn idle_recipients(count: u64) -> usize {
    let queue = CallQueue::new();
    taken(count, |n| queue.recipient(n))
}

fn waiting_callbacks(count: u64) -> usize {
    let queue = CallQueue::new();
    let sum = queue.recipient(0);
    taken(count, |n| sum.callback(move |sum, _, one| work::take_in(sum, [one, n, n])))
}

fn armed_timers(count: u64) -> usize {
    let reactor = Reactor::new().expect("a poll");
    let (handle, now) = (reactor.handle(), Instant::now());
    let sum = reactor.queue().recipient(0);
    taken(count, |n| {
        let callback = sum.callback(move |sum, _, ()| work::take_in(sum, [1, n, n]));
        handle.at(now + work::waiting::delay(n), callback)
    })
}

fn running_operations(count: u64) -> usize {
    let queue = CallQueue::new();
    let sum = queue.recipient(0);
    taken(count, |n| {
        let done = sum.callback(|sum, _, result: OpResult<Words, ()>| {
            work::take_in(sum, result.unwrap_or_default());
        });
        Operation::new(done, n, |op: &Operation<u64, Words, ()>| {
            let _ = op.complete(Err(OpError::Canceled));
        })
    })
}

fn registrations(count: u64) -> usize {
    let reactor = Reactor::new().expect("a poll");
    let handle = reactor.handle();
    let sum = reactor.queue().recipient(0);
    taken(count, |_| {
        let registered = handle.register(Nothing, Interest::READABLE, &sum, |sum, _, _| *sum += 1);
        registered.expect("nothing that could be refused")
    })
}

/// A source that takes no descriptor.
#[derive(Debug)]
struct Nothing;

impl Source for Nothing {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}
