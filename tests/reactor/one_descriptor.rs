//! Hazard: a host that waits for the reactor's descriptor, and for nothing else, sleeps although a turn is
//! due, or spins although none is (rule M9).

use std::cell::Cell;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::{CallId, Observer, Step, TurnStep};

use support::net::{PATIENCE, turn_now, unwind, unwinding};

fn reactor() -> Reactor {
    let mut reactor = Reactor::new().unwrap();
    reactor.signal_when_due().unwrap();
    reactor
}

/// Whether the descriptor gets readable within that time.
fn is_readable_within(reactor: &Reactor, time: Duration) -> bool {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    poll(&mut [PollFd::new(&reactor.as_fd(), PollFlags::IN)], Some(&time)).unwrap() == 1
}

fn is_readable(reactor: &Reactor) -> bool {
    is_readable_within(reactor, Duration::ZERO)
}

#[test]
fn m09_the_descriptor_is_readable_while_calls_are_pending() {
    let mut reactor = reactor();
    assert!(!is_readable(&reactor));
    for _ in 0..3 {
        reactor.queue().call(|queue| _ = queue.call(|_| ()));
        assert!(is_readable(&reactor), "scheduled outside of a turn");
        reactor.set_budget(1);
        assert_eq!(turn_now(&mut reactor).remaining, 1);
        assert!(is_readable(&reactor), "left by a turn");
        assert_eq!(turn_now(&mut reactor).remaining, 0);
        assert!(!is_readable(&reactor));
    }
    // A turn that unwinds.
    reactor.set_budget(10);
    reactor.queue().call(|_| unwind("a handler"));
    reactor.queue().call(|_| ());
    let turn = AssertUnwindSafe(|| reactor.turn(Some(Duration::ZERO)));
    assert!(panic::catch_unwind(turn).is_err());
    assert!(is_readable(&reactor));
    assert_eq!(turn_now(&mut reactor).remaining, 0);
    assert!(!is_readable(&reactor));
}

#[test]
fn m09_the_descriptor_is_readable_if_calls_were_pending_before() {
    let mut reactor = Reactor::new().unwrap();
    reactor.queue().call(|_| ());
    reactor.signal_when_due().unwrap();
    assert!(is_readable(&reactor));
    turn_now(&mut reactor);
    assert!(!is_readable(&reactor));
}

#[test]
fn m09_the_descriptor_is_readable_when_a_timer_is_due() {
    let mut reactor = reactor();
    let fired = reactor.queue().recipient(Vec::new());
    let start = Instant::now();
    let arm = |delay: u64| {
        let delay = Duration::from_micros(delay);
        let callback =
            fired.callback(move |fired, _, ()| fired.push((delay, start.elapsed() >= delay)));
        reactor.after(delay, callback)
    };
    let _late = arm(3_000);
    let _sooner = arm(1_500); // which wakes a host that sleeps
    drop(arm(500));
    while reactor.timer_count() > 0 {
        assert!(is_readable_within(&reactor, PATIENCE));
        turn_now(&mut reactor);
    }
    fired.call(|fired, _| assert!(fired.len() == 2 && fired.iter().all(|(_, late)| *late)));
    turn_now(&mut reactor);
    assert!(!is_readable(&reactor));
    // One that is armed in a turn, and the last one that is canceled.
    let handle = reactor.handle();
    let (callback, never) =
        (reactor.queue().callback(|_, ()| ()), reactor.queue().callback(|_, ()| ()));
    let _hour = reactor.after(Duration::from_secs(3600), never);
    reactor.queue().call(move |_| handle.after(Duration::from_micros(200), callback).detach());
    turn_now(&mut reactor);
    while reactor.timer_count() > 1 {
        assert!(is_readable_within(&reactor, PATIENCE));
        turn_now(&mut reactor);
    }
    assert!(!is_readable(&reactor));
}

#[test]
fn m09_the_descriptor_is_readable_when_another_thread_has_sent_something() {
    let mut reactor = reactor();
    let remote = reactor.remote();
    let sender = remote.clone();
    thread::spawn(move || sender.call(|_| ()).unwrap());
    assert!(is_readable_within(&reactor, PATIENCE));
    while turn_now(&mut reactor).dialed == 0 {}
    assert!(!is_readable(&reactor));
    // In a turn, when a sender makes no system call.
    reactor.queue().call(move |_| remote.call(|_| ()).unwrap());
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert!(is_readable(&reactor));
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert!(!is_readable(&reactor));
    // The hook holds nothing: all goes with the reactor.
    let queue = reactor.queue().clone();
    drop(reactor);
    assert!(queue.is_closed());
}

/// Before a poll, does a turn of the queue, as which begins it arms a timer, and panics; once.
struct PanicsBeforePoll(ReactorHandle, Cell<bool>);

impl Observer for PanicsBeforePoll {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_turn(&self, _: NonZeroU64, step: &TurnStep) {
        let Self(reactor, waits) = self;
        match step {
            TurnStep::Polls if waits.get() => {
                let _ = reactor.queue().dial_all();
                waits.set(false);
                unwind("the observer");
            }
            TurnStep::Begins { number: 1 } => {
                reactor.after(Duration::ZERO, reactor.queue().callback(|_, ()| ())).detach();
            }
            _ => {}
        }
    }
}

#[test]
fn m09_the_descriptor_is_readable_after_an_observer_that_panics_before_the_poll() {
    let mut reactor = reactor();
    reactor.queue().add_observer(PanicsBeforePoll(reactor.handle(), Cell::new(true)));
    let _ = turn_now(&mut reactor); // polls are observed from now on
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the observer");
    assert!(is_readable(&reactor), "a timer is due");
    assert_eq!(turn_now(&mut reactor).dialed, 1);
}

#[test]
fn m09_a_child_that_has_left_the_poll_adds_no_timer_to_it() {
    let mut reactor = Reactor::new().unwrap();
    reactor.leave_poll_to_parent();
    assert!(reactor.signal_when_due().is_err(), "the poll is the parent's");
}

#[test]
fn m09_a_clock_that_panics_after_a_turn_that_unwinds_does_not_abort() {
    let mut reactor = reactor();
    let _timer = reactor.after(Duration::from_secs(60), reactor.queue().callback(|_, ()| ()));
    reactor.set_clock(|| {
        if thread::panicking() {
            unwind("the clock");
        }
        Instant::now()
    });
    reactor.queue().call(|_| unwind("a handler"));
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "a handler");
    assert_eq!(turn_now(&mut reactor).dialed, 0);
}
