//! Hazard: several cancel hooks that panic. A panic that left the rest of a cancel would leave operations
//! running, and two would abort the process.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use support::manual::{Manual, Outcomes, check_over};
use support::util::panic_of;
use switchboard::op::OpError;
use switchboard::reactor::Reactor;
use switchboard::samples::{Closed, HlCancelAll, Module};
use switchboard::{CallQueue, Callback, QueueHandle};

type Module4 = HlCancelAll<Manual>;

/// What `Closed` counted, for each who waited.
type Ends = Rc<RefCell<Vec<(usize, usize)>>>;

fn end(queue: &QueueHandle, ends: &Ends) -> Callback<Closed> {
    let ends = Rc::clone(ends);
    queue.callback(move |_, closed: Closed| {
        ends.borrow_mut().push((closed.canceled, closed.completed));
    })
}

/// Four operations, the cancel hooks of three of which panic, in an action that panics once; then all are
/// canceled, and over.
#[track_caller]
fn all_are_canceled(queue: &QueueHandle, action: impl FnOnce(Module4)) {
    let lower = Manual::default();
    let module = HlCancelAll::new(queue, lower.clone());
    module.open();
    let outcomes = Outcomes::new(queue);
    (0..4).for_each(|number| drop(module.start(number, outcomes.done()).expect("it is open")));
    lower.panic_in_cancels(3);
    action(module);
    queue.dial_all();
    assert_eq!((lower.cancels(), lower.running()), (4, 0));
    assert_eq!(outcomes.take(), [const { Err(OpError::Canceled) }; 4]);
    check_over(queue);
}

fn panic_of_cancel(action: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(action)).expect_err("a panic");
    assert_eq!(panic.downcast_ref(), Some(&"the cancel hook"));
}

#[test]
fn r10_hooks_that_panic_in_a_close_keep_no_operation_from_its_cancel() {
    let queue = CallQueue::new();
    let ends = Ends::default();
    all_are_canceled(&queue, |module| panic_of_cancel(|| module.close()));
    all_are_canceled(&queue, |module| {
        panic_of_cancel(|| module.close_with(end(&queue, &ends)));
    });
    assert_eq!(ends.take(), [(4, 0)]);
}

#[test]
fn r10_hooks_that_panic_as_the_module_drops_keep_no_operation_from_its_cancel() {
    let queue = CallQueue::new();
    all_are_canceled(&queue, |module| panic_of_cancel(|| drop(module)));
    // During another unwinding, which goes on.
    all_are_canceled(&queue, |module| {
        let unwinding = || {
            let _module = module;
            panic!("on purpose")
        };
        assert_eq!(panic_of(unwinding), "on purpose");
    });
}

#[test]
fn r10_hooks_that_panic_at_the_limit_of_a_drain_keep_no_operation_from_its_cancel() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (queue, ends) = (reactor.queue().clone(), Ends::default());
    all_are_canceled(&queue, |module| {
        module.drain(&reactor.handle(), Duration::ZERO, end(&queue, &ends));
        panic_of_cancel(|| drop(reactor.run()));
        reactor.run().expect("a poll");
    });
    assert_eq!(ends.take(), [(4, 0)]);
}
