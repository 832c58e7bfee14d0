//! Hazard: a second panic as the reactor, a timer, an interval or a registration goes, with what timers,
//! registrations and senders captured, or of an observer: it would abort the process. All of it goes, and
//! the first panic goes on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::Interest;
use support::net::{local_pair, turn_now};
use support::util::panic_of;
use switchboard::reactor::{Missed, Reactor};

/// A value whose drop panics, always.
struct Bomb<R>(R);

impl<R> Drop for Bomb<R> {
    fn drop(&mut self) {
        resume_unwind(Box::new("a bomb"));
    }
}

/// Drops it, by itself or during an unwinding, which ends as it began.
#[track_caller]
fn assert_drops<T>(value: T, is_unwinding: bool) {
    if is_unwinding {
        let unwinding = || {
            let _value = value;
            panic!("on purpose")
        };
        assert_eq!(panic_of(unwinding), "on purpose");
    } else {
        let panic = catch_unwind(AssertUnwindSafe(|| drop(value))).expect_err("a panic");
        assert_eq!(panic.downcast_ref(), Some(&"a bomb"));
    }
}

#[test]
fn m07_captures_of_timers_that_panic_all_go_with_the_reactor() {
    for is_unwinding in [false, true] {
        let (reactor, left) = (Reactor::new().expect("a reactor"), Rc::new(()));
        let hour = Duration::from_secs(3600);
        for _ in 0..3 {
            let bomb = Bomb(Rc::clone(&left));
            let due = reactor.queue().callback(move |_, ()| drop(bomb));
            reactor.after(hour, due).detach();
        }
        assert_drops(reactor, is_unwinding);
        assert_eq!(Rc::strong_count(&left), 1);
    }
}

#[test]
fn m04_handlers_whose_captures_panic_all_go_with_the_reactor() {
    for is_unwinding in [false, true] {
        let (reactor, left) = (Reactor::new().expect("a reactor"), Rc::new(()));
        let mut held = Vec::new();
        for _ in 0..3 {
            let (bomb, (source, peer)) = (Bomb(Rc::clone(&left)), local_pair());
            let registered = reactor.register_function(source, Interest::READABLE, move |_, _| {
                let _ = &bomb;
            });
            held.push((registered.expect("a registration"), peer));
        }
        assert_drops(reactor, is_unwinding);
        assert_eq!(Rc::strong_count(&left), 1);
    }
}

#[test]
fn m08_calls_of_other_threads_whose_captures_panic_all_go_with_the_reactor() {
    for is_unwinding in [false, true] {
        let (reactor, left) = (Reactor::new().expect("a reactor"), Arc::new(()));
        let remote = reactor.remote();
        let (sender, captured) = (remote.clone(), Arc::clone(&left));
        let sends = move || {
            for _ in 0..3 {
                let bomb = Bomb(Arc::clone(&captured));
                assert!(sender.call(move |_| drop(bomb)).is_ok());
            }
        };
        thread::spawn(sends).join().expect("no panic");
        assert_drops(reactor, is_unwinding);
        assert_eq!(Arc::strong_count(&left), 1);
        drop(remote);
    }
}

#[test]
fn m07_a_timer_or_an_interval_whose_captures_panic_goes_in_an_unwinding_too() {
    for is_unwinding in [false, true] {
        let (reactor, left) = (Reactor::new().expect("a reactor"), Rc::new(()));
        let ticks = reactor.queue().recipient(());
        let hour = Duration::from_secs(3600);
        let bomb = Bomb(Rc::clone(&left));
        assert_drops(
            reactor.every(hour, Missed::Skip, &ticks, move |(), _| _ = &bomb),
            is_unwinding,
        );
        let bomb = Bomb(Rc::clone(&left));
        let due = reactor.queue().callback(move |_, ()| drop(bomb));
        assert_drops(reactor.after(hour, due), is_unwinding);
        assert_eq!((Rc::strong_count(&left), reactor.timer_count()), (1, 0));
    }
}

#[test]
fn m07_a_timer_that_has_fired_goes_in_an_unwinding_whatever_its_captures_do() {
    let (mut reactor, left) = (Reactor::new().expect("a reactor"), Rc::new(()));
    let bomb = Bomb(Rc::clone(&left));
    let timer = reactor.after(Duration::ZERO, reactor.queue().callback(move |_, ()| drop(bomb)));
    reactor.set_budget(0);
    let _ = turn_now(&mut reactor); // which fires it, and does not dial
    assert_eq!((reactor.timer_count(), reactor.queue().tally().pending), (0, 1));
    assert_drops(timer, true);
    assert_eq!(Rc::strong_count(&left), 1);
}

#[test]
fn m04_a_registration_whose_captures_panic_goes_in_an_unwinding_too() {
    for is_unwinding in [false, true] {
        let (reactor, left) = (Reactor::new().expect("a reactor"), Rc::new(()));
        let (bomb, (source, _peer)) = (Bomb(Rc::clone(&left)), local_pair());
        let registered =
            reactor.register_function(source, Interest::READABLE, move |_, _| _ = &bomb);
        assert_drops(registered.expect("a registration"), is_unwinding);
        assert_eq!((Rc::strong_count(&left), reactor.registration_count()), (1, 0));
    }
}
