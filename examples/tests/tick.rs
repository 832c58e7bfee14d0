//! Hazard: a host without I/O that overruns its tick, or leaves calls behind. What is tested is the
//! code of the example.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::{CallQueue, QueueHandle};

use crate::embed::tick::{self, Alarms, dial};

/// A queue, and a clock that every call advances by 1.
fn clocked() -> (CallQueue, Rc<Cell<u64>>) {
    (CallQueue::new(), Rc::default())
}

/// A call that takes 1 unit of time, and schedules itself `left` times more.
fn work(queue: &QueueHandle, clock: &Rc<Cell<u64>>, left: u64) {
    let clock = Rc::clone(clock);
    let call = move |queue: &QueueHandle| {
        clock.set(clock.get() + 1);
        if left > 0 {
            work(queue, &clock, left - 1);
        }
    };
    queue.call(call);
}

#[test]
fn a_tick_ends_when_its_time_is_up_and_the_next_one_goes_on() {
    let (queue, clock) = clocked();
    work(&queue, &clock, u64::MAX); // without end
    for tick in 1..=5 {
        let report = dial(&queue, 1000, || clock.get() >= 10 * tick);
        assert_eq!((report.dialed, report.remaining), (10, 1));
        assert_eq!(clock.get(), 10 * tick);
    }
    // One that comes too late dials nothing.
    assert_eq!(dial(&queue, 1000, || true).dialed, 0);
}

#[test]
fn a_tick_dials_no_more_calls_than_it_may() {
    let (queue, clock) = clocked();
    work(&queue, &clock, 24);
    for expected in [(10, 1), (10, 1), (5, 0), (0, 0)] {
        let report = dial(&queue, 10, || false);
        assert_eq!((report.dialed, report.remaining), expected);
    }
}

#[test]
fn calls_scheduled_between_ticks_are_dialed_in_the_next() {
    let (queue, clock) = clocked();
    for _ in 0..3 {
        assert!(queue.is_idle(), "nothing is to be done: the tick may be skipped");
        work(&queue, &clock, 0);
        assert!(!queue.is_idle());
        assert_eq!(dial(&queue, 10, || false).dialed, 1);
    }
}

#[test]
fn alarms_are_answered_at_their_tick_in_order_and_not_early() {
    let queue = CallQueue::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut alarms = Alarms::default();
    for (tick, name) in [(3, "second"), (2, "first"), (3, "third"), (9, "passed over")] {
        let log = Rc::clone(&log);
        alarms.at(tick, queue.callback(move |_, ()| log.borrow_mut().push(name)));
    }
    let unwanted = queue.callback(|_, ()| panic!("canceled"));
    queue.cancel(unwanted.id(), "not wanted");
    alarms.at(2, unwanted);
    for (tick, expected) in [(1, vec![]), (2, vec!["first"]), (3, vec!["second", "third"])] {
        alarms.fire(tick);
        dial(&queue, 10, || false);
        assert_eq!(log.take(), expected);
    }
    alarms.fire(12); // a host that skips ticks
    dial(&queue, 10, || false);
    assert_eq!(log.take(), ["passed over"]);
}

#[test]
fn alarms_that_wait_as_the_host_ends_are_declined() {
    let queue = CallQueue::new();
    let mut alarms = Alarms::default();
    alarms.at(3, queue.callback(|_, ()| unreachable!("declined")));
    drop(alarms);
    let tally = queue.tally();
    assert_eq!((tally.canceled, tally.abandoned), (1, 0));
}

#[test]
fn the_example_ends_by_itself() {
    tick::main().unwrap();
}
