//! What waits: timers, operations, registrations.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Interest;
use support::net::{LocalStream, local_pair};
use switchboard::op::{OpError, OpResult, Operation};
use switchboard::reactor::{Reactor, Readiness, Registration, Timer};
use switchboard::{CallQueue, Recipient};

use super::{Group, Run, Words, add, added, take_in, timed};

pub fn groups() -> Vec<Group> {
    const TIMERS: &[u64] = &[1000, 1_000_000];
    vec![
        Group::new("timers_cancel", "a timer armed and canceled", TIMERS, timers_canceled),
        Group::new("timers_fire", "a timer armed and fired", TIMERS, timers_fired),
        Group::new("operations_complete", "an operation completed", &[1, 1024], ops_completed),
        Group::new("operations_cancel", "an operation canceled", &[1, 1024], ops_canceled),
        Group::new("registrations", "a source registered and taken back", &[1], registrations),
        Group::new("readiness", "a readiness call asked for again", &[1], readiness),
    ]
}

/// All timers are due before this.
pub const ALL_DUE: Duration = Duration::from_secs(30_001);

/// When the nth timer is due, in no order. Whole seconds: how many nanoseconds the clock shows at
/// the start makes no difference then, and counts of instructions are exact.
pub const fn delay(n: u64) -> Duration {
    Duration::from_secs(1 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 30_000)
}

pub fn timers_canceled(batch: u64) -> Run {
    let reactor = Reactor::new().expect("a poll");
    let handle = reactor.handle();
    let now = Instant::now();
    let queue = reactor.queue().clone();
    let mut timers: Vec<Timer> = Vec::with_capacity(batch as usize);
    let mut canceled = 0;
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let callback = queue.callback(move |_, ()| add([1, n, n]));
                timers.push(handle.at(now + delay(n), callback));
            }
            timers.clear();
        }
        let before = std::mem::replace(&mut canceled, reactor.queue().tally().canceled);
        canceled - before
    })
}

pub fn timers_fired(batch: u64) -> Run {
    let mut reactor = Reactor::new().expect("a poll");
    reactor.set_budget(usize::MAX);
    let handle = reactor.handle();
    let clock = Rc::new(Cell::new(Instant::now()));
    reactor.set_clock({
        let clock = Rc::clone(&clock);
        move || clock.get()
    });
    let queue = reactor.queue().clone();
    timed(move |calls| {
        for _ in 0..calls / batch {
            let now = clock.get();
            for n in 0..batch {
                let callback = queue.callback(move |_, ()| add([1, n, n]));
                handle.at(now + delay(n), callback).detach();
            }
            clock.set(now + ALL_DUE);
            // A share of them each turn.
            while reactor.poll_timeout() == Some(Duration::ZERO) {
                let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
            }
        }
        added()
    })
}

fn result(queue: &CallQueue, sum: &Recipient<u64>) -> u64 {
    sum.call(|sum, _| add([std::mem::take(sum), 0, 0]));
    let _ = queue.dial_all();
    added()
}

type Op = Operation<u64, Words, ()>;

/// Starts a batch of operations at a time, and ends each with `end`.
fn operations(batch: u64, end: fn(&Op)) -> Run {
    let queue = CallQueue::new();
    let sum = queue.recipient(0_u64);
    let mut running: Vec<Op> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let done = sum.callback(|sum, _, result: OpResult<Words, ()>| match result {
                    Ok(words) => take_in(sum, words),
                    Err(_) => *sum += 1,
                });
                running.push(Operation::new(done, n, |op| {
                    let _ = op.complete(Err(OpError::Canceled));
                }));
            }
            running.iter().for_each(end);
            running.clear();
            let _ = queue.dial_all();
        }
        result(&queue, &sum)
    })
}

pub fn ops_completed(batch: u64) -> Run {
    operations(batch, |op| {
        let n = *op.context();
        op.complete(Ok([1, n, n])).expect("it runs");
    })
}

pub fn ops_canceled(batch: u64) -> Run {
    operations(batch, |op| {
        let _ = op.handle().cancel();
    })
}

pub fn registrations(_: u64) -> Run {
    let reactor = Reactor::new().expect("a poll");
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(0_u64);
    let (source, peer) = local_pair();
    let mut source = Some(source);
    timed(move |calls| {
        let _ = (&reactor, &peer);
        for n in 0..calls {
            let words = [1, n, n];
            let registration = source.take().map(|source| {
                let reads = Interest::READABLE;
                handle.register(source, reads, &recipient, move |sum, _, _| take_in(sum, words))
            });
            let registration = registration.and_then(Result::ok);
            add([handle.registration_count() as u64, n, n]);
            source = registration.and_then(|registration| registration.into_source().ok());
        }
        added()
    })
}

/// Keeps its registration, and counts down.
struct Ready {
    registration: Option<Registration<LocalStream>>,
    left: u64,
}

impl Ready {
    fn on_ready(&mut self, readiness: &Readiness<'_>) {
        self.left -= 1;
        if self.left > 0 {
            readiness.again();
        } else if let Some(registration) = &mut self.registration {
            assert_eq!(registration.source_mut().read(&mut [0; 2]).expect("a byte"), 1);
        }
    }
}

pub fn readiness(_: u64) -> Run {
    let mut reactor = Reactor::new().expect("a poll");
    reactor.set_budget(usize::MAX);
    let (source, mut peer) = local_pair();
    let handle = reactor.handle();
    let ready = reactor.queue().recipient_with(|address| {
        let words = std::hint::black_box([1, 2, 2]);
        let registered = handle.register(source, Interest::READABLE, address, {
            move |ready: &mut Ready, _, readiness| {
                add(words);
                ready.on_ready(readiness);
            }
        });
        Ready { registration: Some(registered.expect("room")), left: 0 }
    });
    timed(move |calls| {
        ready.call(move |ready, _| ready.left = calls);
        let _ = reactor.queue().dial_all();
        peer.write_all(&[0]).expect("room for a byte");
        let _ = reactor.turn(None).expect("a turn");
        let _ = reactor.queue().dial_all(); // a turn ends after a round
        added()
    })
}
