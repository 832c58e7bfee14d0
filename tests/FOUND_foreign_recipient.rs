//! Found: `register` takes a recipient of another queue than the reactor's. Its readiness calls go
//! to that queue, where dropping the registration does not cancel them (rule M4); and once that
//! queue is gone, the loop spins on readiness that nobody can be told.
#![cfg(all(unix, feature = "mio"))]
#![allow(non_snake_case, reason = "marked as found until it is repaired")]

mod net;

use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use switchboard::CallQueue;
use switchboard::reactor::Reactor;

use net::{turn_now, unix_pair};

#[test]
fn m04_a_readiness_call_in_another_queue_is_canceled() {
    let mut reactor = Reactor::new().unwrap();
    let other = CallQueue::new();
    let recipient = other.recipient(());
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let (source, mut peer) = unix_pair();
    peer.write_all(b"x").unwrap();
    let registered =
        reactor.handle().register(source, Interest::READABLE, &recipient, move |(), _, _| {
            unreachable!("{inner:?}");
        });
    let Ok(held) = registered else { return }; // to refuse it is as good
    let _ = turn_now(&mut reactor);
    assert_eq!(other.tally().pending, 1);
    drop(held);
    assert_eq!((other.tally().pending, other.tally().canceled), (0, 1), "still pending");
    assert_eq!(Rc::strong_count(&captured), 1);
}

#[test]
fn m05_the_loop_sleeps_when_the_queue_of_a_recipient_is_gone() {
    let mut reactor = Reactor::new().unwrap();
    let other = CallQueue::new();
    let recipient = other.recipient(());
    let (source, mut peer) = unix_pair();
    peer.write_all(b"x").unwrap();
    let handle = reactor.handle();
    let registered = handle.register(source, Interest::READABLE, &recipient, |(), _, _| ());
    let Ok(_held) = registered else { return };
    drop(other);
    for _ in 0..10 {
        let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(reactor.poll_timeout(), None, "the loop spins");
}
