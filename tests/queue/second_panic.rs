//! Hazard: a second panic, which aborts the process if it leaves a destructor during an unwinding. Code of
//! users that runs one after the other all runs, and the first panic goes on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use support::util::{Drops, panic_of};
use switchboard::op::{OpError, OpResult, Operation};
use switchboard::{CallId, CallQueue, Observer, OpStep, Recipients, Step};

/// A value whose drop panics, always.
struct Bomb(u32, #[expect(dead_code, reason = "its references are counted")] Rc<()>);

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new(self.0));
    }
}

/// Asserts that the first of the bombs is what `action` panics with.
#[track_caller]
fn assert_first(action: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(action)).expect_err("a panic");
    assert_eq!(panic.downcast_ref::<u32>(), Some(&0));
}

/// Runs `action` in a destructor during an unwinding, which ends as it began.
#[track_caller]
fn in_an_unwinding(action: impl FnOnce()) {
    struct OnDrop<F: FnOnce()>(Option<F>);

    impl<F: FnOnce()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            self.0.take().expect("once")();
        }
    }

    let unwinding = || {
        let _action = OnDrop(Some(action));
        panic!("on purpose")
    };
    assert_eq!(panic_of(unwinding), "on purpose");
}

/// Runs it by itself, and during an unwinding.
#[track_caller]
fn assert_all_run(prepare: impl Fn(&Rc<()>) -> Box<dyn FnOnce()>) {
    let left = Rc::new(());
    assert_first(prepare(&left));
    assert_eq!(Rc::strong_count(&left), 1);
    in_an_unwinding(prepare(&left));
    assert_eq!(Rc::strong_count(&left), 1);
}

fn bombs(left: &Rc<()>) -> impl Iterator<Item = Bomb> {
    (0..4).map(|number| Bomb(number, Rc::clone(left)))
}

#[test]
fn r11_captures_that_panic_keep_no_other_call_from_its_end() {
    assert_all_run(|left| {
        let queue = CallQueue::new();
        for bomb in bombs(left) {
            queue.call(move |_| drop(bomb));
        }
        let handle = queue.handle();
        Box::new(move || {
            let check = handle.clone();
            let checked = catch_unwind(AssertUnwindSafe(move || drop(queue)));
            assert_eq!((check.tally().canceled, check.tally().pending), (4, 0));
            if let Err(panic) = checked {
                resume_unwind(panic);
            }
        })
    });
}

#[test]
fn r11_callbacks_whose_captures_panic_all_end_with_the_queue() {
    assert_all_run(|left| {
        let queue = CallQueue::new();
        let kept: Vec<_> =
            bombs(left).map(|bomb| queue.callback(move |_, ()| drop(bomb))).collect();
        Box::new(move || {
            let _kept = kept;
            drop(queue);
        })
    });
}

#[test]
fn r09_captures_and_a_value_that_panic_all_go_with_the_recipient() {
    assert_all_run(|left| {
        let queue = CallQueue::new();
        let mut bombs = bombs(left);
        let server = queue.recipient(bombs.next());
        let callbacks: Vec<_> =
            bombs.map(|bomb| server.callback(move |_, _, ()| drop(bomb))).collect();
        let left = Rc::clone(left);
        Box::new(move || {
            let (callbacks, queue) = (callbacks, queue);
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(server)));
            assert_eq!(Rc::strong_count(&left), 2, "captures are kept");
            callbacks.into_iter().for_each(|callback| callback.decline("not wanted"));
            drop((queue, left));
            if let Err(panic) = dropped {
                resume_unwind(panic);
            }
        })
    });
}

#[test]
fn values_that_panic_keep_no_other_in_their_set() {
    assert_all_run(|left| {
        let queue = CallQueue::new();
        let set = Recipients::new(&queue);
        bombs(left).for_each(|bomb| _ = set.insert(bomb));
        Box::new(move || drop(set))
    });
}

/// Panics at each call that is created, and as it is dropped.
struct Panics(Bomb, Drops);

impl Observer for Panics {
    fn observe(&self, _: CallId, _: &Step) {
        drop(self.1.value());
        resume_unwind(Box::new(self.0.0));
    }
}

#[test]
fn observers_that_panic_at_a_step_and_as_they_are_removed_keep_it_from_no_other() {
    let (queue, seen, left) = (CallQueue::new(), Drops::default(), Rc::new(()));
    bombs(&left).for_each(|bomb| _ = queue.add_observer(Panics(bomb, seen.clone())));
    assert_first(|| _ = queue.call(|_| ()));
    assert_eq!(seen.count() % 4, 0);
    assert_first(|| queue.clear_observers());
    assert_eq!(Rc::strong_count(&left), 1);
    assert_all_run(|left| {
        let (queue, seen) = (CallQueue::new(), Drops::default());
        bombs(left).for_each(|bomb| _ = queue.add_observer(Panics(bomb, seen.clone())));
        Box::new(move || drop(queue))
    });
}

#[test]
fn a_wake_hook_that_panics_after_the_observer_does_not_abort() {
    let queue = CallQueue::new();
    queue.set_wake_hook(|| resume_unwind(Box::new(1_u32)));
    queue.add_observer(|_: CallId, _: &Step| resume_unwind(Box::new(0_u32)));
    assert_first(|| _ = queue.call(|_| ()));
    queue.clear_observers();
    assert_eq!(queue.dial_all().dialed, 1);
}

/// Panics when an operation is canceled.
struct PanicsAtCancel;

impl Observer for PanicsAtCancel {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_operation(&self, _: CallId, step: &OpStep) {
        if let OpStep::Canceling { .. } = step {
            resume_unwind(Box::new(0_u32));
        }
    }
}

#[test]
fn o03_a_hook_that_panics_after_the_observer_or_in_an_unwinding_does_not_abort() {
    let queue = CallQueue::new();
    let start = || {
        let done = queue.callback(|_, _: OpResult<(), ()>| ());
        Operation::new(done, (), |op| {
            op.complete(Err(OpError::Canceled)).expect("it runs");
            resume_unwind(Box::new(1_u32));
        })
    };
    let op = start();
    in_an_unwinding(|| drop(op.handle().cancel_on_drop()));
    queue.add_observer(PanicsAtCancel);
    let op = start();
    assert_first(|| _ = op.handle().cancel());
    assert_eq!(queue.dial_all().dialed, 2);
}

#[test]
fn o01_an_operation_is_lost_in_an_unwinding_even_if_the_observer_panics() {
    let queue = CallQueue::new();
    let done = queue.callback(|_, result: OpResult<(), u32>| {
        assert_eq!(result, Err(OpError::Dropped));
    });
    let op = Operation::new(done, (), |_| ());
    let observer = queue.add_observer(|_: CallId, _: &Step| {
        resume_unwind(Box::new("the observer"));
    });
    in_an_unwinding(|| drop(op));
    queue.remove_observer(observer);
    assert_eq!((queue.dial_all().dialed, queue.tally().panicked), (1, 0));
}
