//! tokio on one thread: a `LocalSet`, whose tasks are the calls, and its timers.

use std::cell::RefCell;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::work::waiting::delay;
use crate::work::{Run, Words, add, added, take_in, timed};

async fn arrive(words: Words) {
    add(words);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

pub(crate) fn calls(batch: u64) -> Run {
    let (runtime, mut set) = (runtime(), LocalSet::new());
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                drop(set.spawn_local(arrive([1, n, n])));
            }
            runtime.block_on(&mut set);
        }
        added()
    })
}

pub(crate) fn chain(_: u64) -> Run {
    async fn link(left: u64, words: [u64; 2]) {
        add([1, words[0], words[1]]);
        if left > 1 {
            spawn_link(left - 1, words);
        }
    }
    fn spawn_link(left: u64, words: [u64; 2]) {
        drop(spawn_local(link(left, words)));
    }
    let (runtime, mut set) = (runtime(), LocalSet::new());
    timed(move |calls| {
        drop(set.spawn_local(link(calls, black_box([2, 2]))));
        runtime.block_on(&mut set);
        added()
    })
}

pub(crate) fn aborted(batch: u64) -> Run {
    let (runtime, mut set) = (runtime(), LocalSet::new());
    let mut unwanted: Vec<JoinHandle<()>> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let task = set.spawn_local(arrive([1, n, n]));
                if n % 2 == 0 {
                    unwanted.push(task);
                }
            }
            for task in unwanted.drain(..) {
                task.abort();
            }
            runtime.block_on(&mut set);
        }
        added()
    })
}

pub(crate) fn canceled_by_token(batch: u64) -> Run {
    let (runtime, mut set) = (runtime(), LocalSet::new());
    let mut unwanted: Vec<CancellationToken> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let token = CancellationToken::new();
                let task = token.clone().run_until_cancelled_owned(arrive([1, n, n]));
                drop(set.spawn_local(task));
                if n % 2 == 0 {
                    unwanted.push(token);
                }
            }
            for token in unwanted.drain(..) {
                token.cancel();
            }
            runtime.block_on(&mut set);
        }
        added()
    })
}

pub(crate) fn oneshot(batch: u64) -> Run {
    let (runtime, mut set) = (runtime(), LocalSet::new());
    let sum = Rc::new(RefCell::new(0));
    let mut waiting = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let (sender, receiver) = oneshot::channel::<u64>();
                let sum = Rc::clone(&sum);
                drop(set.spawn_local(async move {
                    let one = receiver.await.expect("an answer");
                    take_in(&mut sum.borrow_mut(), [one, n, n]);
                }));
                waiting.push(sender);
            }
            for sender in waiting.drain(..) {
                sender.send(1).expect("a receiver");
            }
            runtime.block_on(&mut set);
        }
        sum.take()
    })
}

/// A timer is armed by the first poll of its future, and canceled by dropping it.
pub(crate) fn timers_canceled(batch: u64) -> Run {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let now = Instant::now();
    let mut timers: Vec<Pin<Box<Sleep>>> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        let _entered = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        let mut canceled = 0;
        for _ in 0..calls / batch {
            for n in 0..batch {
                let mut timer = Box::pin(sleep_until(now + delay(n)));
                canceled += u64::from(timer.as_mut().poll(&mut context).is_pending());
                timers.push(timer);
            }
            timers.clear();
        }
        canceled
    })
}
