//! What needs a queue that is older than a test can wait for.

use alloc::rc::Rc;
use core::cell::Cell;

use super::*;
use crate::outcome::ScheduleErrorKind;
use crate::step::Step;

#[test]
fn an_id_is_not_confused_with_one_that_is_two_to_the_32_calls_younger() {
    let queue = CallQueue::new();
    let old = queue.call(|_| ());
    let aged = CallQueue::starting_at(1 << 32, u64::MAX);
    let young = aged.call(|_| ());
    assert_ne!(old, young);
    assert_eq!(queue.cancel(young, "of the other queue"), Cancellation::Foreign);
    // The low 32 bits of both positions are the same.
    let same_queue_old = CallId::new(young.queue(), 0);
    assert_eq!(aged.cancel(same_queue_old, "2^32 calls ago"), Cancellation::Late);
    assert_eq!(aged.cancel(young, "the one meant"), Cancellation::Canceled);
}

#[test]
fn a_queue_takes_calls_up_to_its_last_id() {
    let queue = CallQueue::starting_at((1 << 62) - 2, u64::MAX);
    let dialed = Rc::new(Cell::new(0));
    let count = |queue: &QueueHandle| {
        let dialed = Rc::clone(&dialed);
        queue.try_call(move |_| dialed.set(dialed.get() + 1))
    };
    let waiting = queue.callback(|_, value: &'static str| panic!("{value} was scheduled"));
    let server = queue.recipient(());

    let last_but_one = count(&queue).expect("two are left");
    let last = count(&queue).expect("one is left");
    assert_eq!(
        alloc::format!("{last_but_one} {last}"),
        "#4611686018427387902 #4611686018427387903"
    );
    for _ in 0..2 {
        let rejected = count(&queue).expect_err("none is left");
        assert_eq!(rejected.kind(), ScheduleErrorKind::IdsExhausted);
        rejected.into_inner()(&queue);
    }
    assert_eq!(dialed.take(), 2);
    assert!(server.try_call(|(), _| ()).is_err());
    // Callbacks have ids of their own. But what cannot be scheduled is refused.
    waiting.answer("the value");
    assert_eq!(alloc::format!("{}", server.call(|(), _| ())), "#x0");
    queue.callback(|_, ()| ()).decline("never");

    let tally = queue.tally();
    let ended = (tally.created, tally.pending, tally.canceled, tally.refused);
    assert_eq!(ended, (5, 2, 1, 2));
    assert_eq!(queue.cancel(last, "the last"), Cancellation::Canceled);
    let report = queue.dial_all();
    assert_eq!((report.dialed, report.canceled, report.remaining), (1, 1, 0));
    assert_eq!((dialed.get(), queue.is_idle(), queue.is_closed()), (1, true, false));
    assert_eq!(queue.cancel(last_but_one, "over"), Cancellation::Late);
    assert!(count(&queue).is_err());
    assert!(queue.tally().balances());
}

#[test]
fn a_queue_near_its_end_notifies_its_observer_and_wakes() {
    let queue = CallQueue::starting_at((1 << 62) - 3, u64::MAX);
    let (steps, woken) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (inner_steps, inner_woken) = (Rc::clone(&steps), Rc::clone(&woken));
    queue.add_observer(move |_: CallId, _: &Step| inner_steps.set(inner_steps.get() + 1));
    queue.set_wake_hook(move || inner_woken.set(inner_woken.get() + 1));
    for calls in 1..=2 {
        queue.call(|_| ());
        queue.dial_all();
        assert_eq!((steps.get(), woken.get()), (4 * calls, calls));
    }
    queue.callback(|_, ()| ()).answer(());
    assert_eq!((steps.get(), woken.get()), (10, 3));
    assert!(queue.try_call(|_| ()).is_err());
    assert_eq!((steps.get(), queue.dial_all().dialed), (10, 1));
}
