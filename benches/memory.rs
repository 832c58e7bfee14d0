//! Counts allocations per call, and bytes per thing that waits: `cargo bench --bench memory [NAME]`.
//!
//! Exact from run to run. With `--check`, compares with the ceilings.

use std::io;
use std::process::ExitCode;
use std::time::Instant;

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
    if allocations == ExitCode::SUCCESS { bytes } else { allocations }
}

/// Calls before those that are counted, and then; a multiple of every batch that is measured.
const CALLS: u64 = 1024 * 1000;

/// Batches of this size at most: after one of them, there is nothing left to grow.
const BATCH: u64 = 1024;

/// Allocations per call of the workloads, once they have got going.
fn allocations(mode: &Mode) -> Vec<Figure> {
    let mut figures = Vec::new();
    let is_counted = |group: &work::Group| {
        !work::echo::is_one(group) && !work::remote::is_one_of_two_threads(group)
    };
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
    let each =
        |measure: fn(u64) -> usize| (measure(2 * THINGS) - measure(THINGS)) as f64 / THINGS as f64;
    wanted.map(|(name, measure)| (name.to_string(), each(measure))).collect()
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
