//! Names resolved by the system, on the threads of a pool: blocking work whose result comes back.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;

use mio::{Events, Poll, Token, Waker};
use switchboard::Context;
use switchboard::op::OpResult;
use switchboard::reactor::Reactor;
use switchboard::samples::{LlFakeCancel, Module, ThreadPool, resolve};

use super::{Group, Run, timed};

/// What is resolved: a name that needs no server.
const NAME: &str = "localhost:80";
const THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;
type Names = LlFakeCancel<Vec<SocketAddr>, io::Error>;

pub fn groups() -> Vec<Group> {
    vec![
        Group::new("resolve", "a name resolved, so many at a time", &[1, 32], operations)
            .against("a pool and mio by hand", |batch| in_a_loop(batch, lock_pool()))
            .against("a pool by hand, channels", |batch| by_hand(batch, channel_pool()))
            .against("a pool by hand, a condition variable", |batch| by_hand(batch, lock_pool())),
    ]
}

fn addresses() -> Vec<SocketAddr> {
    NAME.to_socket_addrs().expect("the name is known").collect()
}

/// The thread that has a result asks for the next name.
struct Client {
    names: Names,
    left: Rc<Cell<u64>>,
    resolved: Rc<Cell<u64>>,
}

impl Client {
    fn next(&mut self, cx: &Context<'_, Self>) {
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let done = cx.address().callback(|client: &mut Self, cx, result: OpResult<_, _>| {
                let addresses: Vec<_> = result.expect("the name is known");
                client.resolved.set(client.resolved.get() + u64::from(!addresses.is_empty()));
                client.next(cx);
            });
            self.names.start(resolve(NAME), done).expect("the module is open");
        }
    }
}

fn operations(batch: u64) -> Run {
    let mut reactor = Reactor::new().expect("a poll");
    let names = Names::new(&reactor.handle(), &ThreadPool::new(THREADS));
    names.open();
    let (left, resolved) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let client = Client { names, left: Rc::clone(&left), resolved: Rc::clone(&resolved) };
    let client = reactor.queue().recipient(client);
    timed(move |calls| {
        left.set(calls);
        for _ in 0..batch {
            client.call(Client::next);
        }
        reactor.run().expect("events");
        resolved.take()
    })
}

/// The same in a loop that can wait for sockets, too: a channel back, and a waker.
fn in_a_loop(batch: u64, mut submit: impl FnMut(Job) + 'static) -> Run {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(1024);
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
    let (sender, results) = mpsc::channel();
    // Whether the loop is woken already.
    let woken = Arc::new(AtomicBool::new(false));
    timed(move |calls| {
        let (mut left, mut resolved) = (calls, 0);
        let mut next = |left: &mut u64| {
            if let Some(less) = left.checked_sub(1) {
                *left = less;
                let (sender, waker, woken) =
                    (sender.clone(), Arc::clone(&waker), Arc::clone(&woken));
                submit(Box::new(move || {
                    sender.send(addresses()).expect("the loop is there");
                    if !woken.swap(true, Ordering::AcqRel) {
                        waker.wake().expect("a poll");
                    }
                }));
            }
        };
        for _ in 0..batch {
            next(&mut left);
        }
        while resolved < calls {
            poll.poll(&mut events, None).expect("events");
            // Before the results are taken, so that one that comes later wakes.
            woken.swap(false, Ordering::AcqRel);
            while let Ok(addresses) = results.try_recv() {
                resolved += u64::from(!addresses.is_empty());
                next(&mut left);
            }
        }
        resolved
    })
}

/// A thread that waits for nothing else: a channel back to it.
fn by_hand(batch: u64, mut submit: impl FnMut(Job) + 'static) -> Run {
    let (sender, results) = mpsc::channel();
    timed(move |calls| {
        let (mut left, mut resolved) = (calls, 0);
        let mut next = |left: &mut u64| {
            if let Some(less) = left.checked_sub(1) {
                *left = less;
                let sender = sender.clone();
                submit(Box::new(move || _ = sender.send(addresses())));
            }
        };
        for _ in 0..batch {
            next(&mut left);
        }
        while resolved < calls {
            let addresses = results.recv().expect("a result");
            resolved += u64::from(!addresses.is_empty());
            next(&mut left);
        }
        resolved
    })
}

fn channel_pool() -> impl FnMut(Job) {
    let (sender, jobs) = mpsc::channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..THREADS {
        let jobs = Arc::clone(&jobs);
        let next = move || jobs.lock().expect("no panic").recv().ok();
        thread::spawn(move || while next().map(|job| job()).is_some() {});
    }
    move |job| sender.send(job).expect("the threads are there")
}

fn lock_pool() -> impl FnMut(Job) {
    let shared = Arc::new((Mutex::new(VecDeque::<Job>::new()), Condvar::new()));
    for _ in 0..THREADS {
        let shared = Arc::clone(&shared);
        let next = move || {
            let (queue, more) = &*shared;
            let queue = queue.lock().expect("no panic");
            let mut queue = more.wait_while(queue, |queue| queue.is_empty()).expect("no panic");
            queue.pop_front().expect("a job")
        };
        thread::spawn(move || {
            loop {
                next()();
            }
        });
    }
    move |job| {
        let (queue, more) = &*shared;
        queue.lock().expect("no panic").push_back(job);
        more.notify_one();
    }
}
