//! Calls from other threads: sent, and run by the loop's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use mio::{Events, Poll, Token, Waker};
use switchboard::reactor::Reactor;

use super::{Group, Run, Words, add, added, timed};

pub fn groups() -> Vec<Group> {
    const BATCHES: &[u64] = &[1, 1024];
    vec![
        Group::new("remote_own", "a remote call sent by the loop's own thread", BATCHES, |batch| {
            own_thread(batch, board)
        })
        .against("mpsc and mio by hand", |batch| own_thread(batch, by_hand)),
        Group::new("remote_other", "a remote call sent by another thread", BATCHES, |batch| {
            other_thread(batch, board)
        })
        .against("mpsc and mio by hand", |batch| other_thread(batch, by_hand)),
    ]
}

/// Sends a call with these words.
pub type Sender = Box<dyn FnMut(Words) + Send>;

/// Runs the loop until it has run so many calls more.
pub type Receiver = Box<dyn FnMut(u64)>;

/// Makes a loop and what sends to it.
pub type Open = fn() -> (Sender, Receiver);

/// Sends a batch, then receives it.
pub fn own_thread(batch: u64, open: Open) -> Run {
    let (mut send, mut receive) = open();
    timed(move |calls| {
        for _ in 0..calls / batch {
            (0..batch).for_each(|n| send([1, n, n]));
            receive(batch);
        }
        added()
    })
}

/// Has a thread send a batch, and receives it meanwhile.
pub fn other_thread(batch: u64, open: Open) -> Run {
    let (mut send, mut receive) = open();
    let (order, orders) = mpsc::channel();
    thread::spawn(move || {
        for () in orders {
            (0..batch).for_each(|n| send([1, n, n]));
        }
    });
    timed(move |calls| {
        for _ in 0..calls / batch {
            order.send(()).expect("the thread");
            receive(batch);
        }
        added()
    })
}

fn board() -> (Sender, Receiver) {
    let mut reactor = Reactor::new().expect("a poll");
    let remote = reactor.remote();
    let send = move |words| remote.call(move |_| add(words)).expect("the reactor is there");
    let receive = move |calls| {
        let mut left = calls;
        while left > 0 {
            left -= reactor.turn(None).expect("a turn").dialed;
        }
    };
    (Box::new(send), Box::new(receive))
}

/// A channel of boxed closures, and a flag that says whether the loop is woken already.
fn by_hand() -> (Sender, Receiver) {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(1024);
    let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
    let (sender, receiver) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let woken = Arc::new(AtomicBool::new(false));
    let wakes = Arc::clone(&woken);
    let send = move |words| {
        sender.send(Box::new(move || add(words))).expect("the loop is there");
        if !wakes.swap(true, Ordering::AcqRel) {
            waker.wake().expect("a poll");
        }
    };
    let receive = move |calls| {
        let mut left = calls;
        while left > 0 {
            poll.poll(&mut events, None).expect("events");
            // Before the calls are taken, so that one that comes later wakes.
            woken.swap(false, Ordering::AcqRel);
            while let Ok(call) = receiver.try_recv() {
                call();
                left -= 1;
            }
        }
    };
    (Box::new(send), Box::new(receive))
}
