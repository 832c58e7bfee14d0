//! stakker: a queue of deferred closures, actors, `Ret`, and timers. Deferred calls cannot be
//! canceled.

use std::hint::black_box;
use std::time::{Duration, Instant};

use stakker::{ActorOwn, CX, Ret, Stakker, actor, call, ret_nop};

use crate::work::waiting::{ALL_DUE, delay};
use crate::work::{Run, Words, add, added, take_in, timed};

pub(crate) fn calls(batch: u64) -> Run {
    let now = Instant::now();
    let mut stakker = Stakker::new(now);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                stakker.defer(move |_| add(words));
            }
            let _ = stakker.run(now, false);
        }
        added()
    })
}

pub(crate) fn chain(_: u64) -> Run {
    fn link(stakker: &mut Stakker, left: u64, words: [u64; 2]) {
        add([1, words[0], words[1]]);
        if left > 1 {
            stakker.defer(move |stakker| link(stakker, left - 1, words));
        }
    }
    let now = Instant::now();
    let mut stakker = Stakker::new(now);
    timed(move |calls| {
        let words = black_box([2, 2]);
        stakker.defer(move |stakker| link(stakker, calls, words));
        let _ = stakker.run(now, false);
        added()
    })
}

/// The actor that adds up.
struct Sum(u64);

impl Sum {
    fn init(_: CX![]) -> Option<Self> {
        Some(Self(0))
    }

    fn take_in(&mut self, _: CX![], words: Words) {
        take_in(&mut self.0, words);
    }

    fn report(&mut self, _: CX![]) {
        add([std::mem::take(&mut self.0), 0, 0]);
    }
}

fn sums(stakker: &mut Stakker, count: usize) -> Vec<ActorOwn<Sum>> {
    let sums = (0..count).map(|_| actor!(stakker, Sum::init(), ret_nop!())).collect();
    let _ = stakker.run(stakker.now(), false);
    sums
}

fn result(stakker: &mut Stakker, sums: &[ActorOwn<Sum>]) -> u64 {
    for sum in sums {
        call!([sum, stakker], report());
    }
    let _ = stakker.run(stakker.now(), false);
    added()
}

fn calls_to(batch: u64, actors: usize) -> Run {
    let now = Instant::now();
    let mut stakker = Stakker::new(now);
    let sums = sums(&mut stakker, actors);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for _ in 0..batch / actors as u64 {
                for (n, sum) in sums.iter().enumerate() {
                    call!([sum, stakker], take_in([1, n as u64, n as u64]));
                }
            }
            let _ = stakker.run(now, false);
        }
        result(&mut stakker, &sums)
    })
}

pub(crate) fn calls_to_one(batch: u64) -> Run {
    calls_to(batch, 1)
}

pub(crate) fn calls_to_many(batch: u64) -> Run {
    calls_to(batch, 1000)
}

pub(crate) fn returns(batch: u64) -> Run {
    let now = Instant::now();
    let mut stakker = Stakker::new(now);
    let sums = sums(&mut stakker, 1);
    let mut waiting: Vec<Ret<u64>> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                waiting.push(Ret::to_actor(sums[0].clone(), move |sum, cx, one: Option<u64>| {
                    sum.take_in(cx, [one.unwrap_or_default(), n, n]);
                }));
            }
            for ret in waiting.drain(..) {
                ret.ret(1);
            }
            let _ = stakker.run(now, false);
        }
        result(&mut stakker, &sums)
    })
}

pub(crate) fn timers_canceled(batch: u64) -> Run {
    let now = Instant::now();
    let mut stakker = Stakker::new(now);
    let mut timers = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        let mut canceled = 0;
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                timers.push(stakker.timer_add(now + delay(n), move |_| add(words)));
            }
            for timer in timers.drain(..) {
                canceled += u64::from(stakker.timer_del(timer));
            }
        }
        canceled
    })
}

pub(crate) fn timers_fired(batch: u64) -> Run {
    let mut now = Instant::now();
    let mut stakker = Stakker::new(now);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                let _ = stakker.timer_add(now + delay(n), move |_| add(words));
            }
            now += ALL_DUE + Duration::from_secs(1);
            let _ = stakker.run(now, false);
        }
        added()
    })
}
