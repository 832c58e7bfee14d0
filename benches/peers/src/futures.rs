//! Executors of futures: those of the crate `futures`, and smol's. A call is a task.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

use async_executor::{LocalExecutor, Task};
use futures_channel::oneshot;
use futures_executor::{LocalPool, LocalSpawner, block_on};
use futures_util::future::{AbortHandle, Abortable, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::LocalSpawnExt;

use crate::work::{Run, Words, add, added, timed};

async fn arrive(words: Words) {
    add(words);
}

pub(crate) fn local_pool(batch: u64) -> Run {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                spawner.spawn_local(arrive([1, n, n])).expect("the pool is there");
            }
            pool.run();
        }
        added()
    })
}

pub(crate) fn unordered(batch: u64) -> Run {
    let mut unordered = FuturesUnordered::new();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                unordered.push(arrive([1, n, n]));
            }
            block_on(async { while unordered.next().await.is_some() {} });
        }
        added()
    })
}

pub(crate) fn executor(batch: u64) -> Run {
    let executor = LocalExecutor::new();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                executor.spawn(arrive([1, n, n])).detach();
            }
            while executor.try_tick() {}
        }
        added()
    })
}

pub(crate) fn local_pool_chain(_: u64) -> Run {
    fn link(spawner: LocalSpawner, left: u64, words: [u64; 2]) {
        let again = spawner.clone();
        let task = async move {
            add([1, words[0], words[1]]);
            if left > 1 {
                link(again, left - 1, words);
            }
        };
        spawner.spawn_local(task).expect("the pool is there");
    }
    let mut pool = LocalPool::new();
    timed(move |calls| {
        link(pool.spawner(), calls, black_box([2, 2]));
        pool.run();
        added()
    })
}

pub(crate) fn unordered_chain(_: u64) -> Run {
    let mut unordered = FuturesUnordered::new();
    timed(move |calls| {
        let [a, b] = black_box([2, 2]);
        unordered.push(arrive([1, a, b]));
        let mut left = calls - 1;
        block_on(async {
            while unordered.next().await.is_some() {
                if left > 0 {
                    left -= 1;
                    unordered.push(arrive([1, a, b]));
                }
            }
        });
        added()
    })
}

pub(crate) fn executor_chain(_: u64) -> Run {
    fn link(executor: &Rc<LocalExecutor<'static>>, left: u64, words: [u64; 2]) {
        let again = Rc::clone(executor);
        let task = async move {
            add([1, words[0], words[1]]);
            if left > 1 {
                link(&again, left - 1, words);
            }
        };
        executor.spawn(task).detach();
    }
    let executor = Rc::new(LocalExecutor::new());
    timed(move |calls| {
        link(&executor, calls, black_box([2, 2]));
        while executor.try_tick() {}
        added()
    })
}

pub(crate) fn local_pool_canceled(batch: u64) -> Run {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let mut unwanted: Vec<AbortHandle> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let (handle, registration) = AbortHandle::new_pair();
                let task = Abortable::new(arrive([1, n, n]), registration);
                let task = task.map(|_| ());
                spawner.spawn_local(task).expect("the pool is there");
                if n % 2 == 0 {
                    unwanted.push(handle);
                }
            }
            for handle in unwanted.drain(..) {
                handle.abort();
            }
            pool.run();
        }
        added()
    })
}

pub(crate) fn executor_canceled(batch: u64) -> Run {
    let executor = LocalExecutor::new();
    let mut unwanted: Vec<Task<()>> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let task = executor.spawn(arrive([1, n, n]));
                if n % 2 == 0 {
                    unwanted.push(task);
                } else {
                    task.detach();
                }
            }
            // Dropping a task cancels it.
            unwanted.clear();
            while executor.try_tick() {}
        }
        added()
    })
}

pub(crate) fn local_pool_oneshot(batch: u64) -> Run {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let sum = Rc::new(RefCell::new(0));
    let mut waiting = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let (sender, receiver) = oneshot::channel::<u64>();
                let sum = Rc::clone(&sum);
                let task = async move {
                    let one = receiver.await.expect("an answer");
                    crate::work::take_in(&mut sum.borrow_mut(), [one, n, n]);
                };
                spawner.spawn_local(task).expect("the pool is there");
                waiting.push(sender);
            }
            for sender in waiting.drain(..) {
                sender.send(1).expect("a receiver");
            }
            pool.run();
        }
        sum.take()
    })
}
