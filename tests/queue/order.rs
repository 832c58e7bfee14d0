//! Calls that overtake each other: order over turns, budgets and the growth of the queue.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::util::{Counts, NONE, Trace, assert_counts, figures, never, on_drop};
use switchboard::{Budget, CallQueue, Cancellation, Context, QueueHandle};

#[test]
fn the_queue_grows_while_a_handler_is_live() {
    let queue = CallQueue::new();
    // So that growing finds the pending calls at the end and at the start of the ring.
    for _ in 0..50 {
        queue.call(|_| ());
    }
    queue.dial_all();

    let dialed = Rc::new(RefCell::new(Vec::new()));
    let (log, words) = (Rc::clone(&dialed), [3_u64; 4]);
    let grows = move |queue: &QueueHandle| {
        for n in 2..1000 {
            let log = Rc::clone(&log);
            let id = queue.call(move |_| log.borrow_mut().push((n, [n; 4])));
            if n % 7 == 0 {
                assert_eq!(queue.cancel(id, "every seventh"), Cancellation::Canceled);
            }
        }
        assert_eq!(figures(queue.dial(Budget::calls(10))), [9, 1, 0, 848]);
        log.borrow_mut().push((0, words));
    };
    queue.call(grows);
    let log = Rc::clone(&dialed);
    queue.call(move |_| log.borrow_mut().push((1, [1; 4])));

    assert_eq!(figures(queue.dial_all()), [858, 142, 0, 0]);
    // The nested turn dialed 1 to 10 but for 7, and then the growing call ended.
    let order = (1..=10).chain([0]).chain(11..1000).filter(|n| n % 7 != 0 || *n == 0);
    let expected: Vec<_> = order.map(|n| (n, if n == 0 { words } else { [n; 4] })).collect();
    assert_eq!(*dialed.borrow(), expected);
    assert_counts(&queue, Counts { finished: 908, canceled: 142, ..NONE });
}

#[test]
fn a_nested_turn_goes_on_where_the_outer_turn_is() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let log = trace.clone();
    let dials = move |queue: &QueueHandle| {
        log.add("1 begins");
        queue.call(log.note("4"));
        assert_eq!(figures(queue.dial(Budget::calls(2))), [2, 0, 0, 1]);
        log.add("1 ends");
        queue.call(log.note("5"));
    };
    queue.call(dials);
    queue.call(trace.note("2"));
    queue.call(trace.note("3"));

    assert_eq!(figures(queue.dial_all()), [5, 0, 0, 0]);
    assert_eq!(trace.take(), ["1 begins", "2", "3", "1 ends", "4", "5"]);
}

#[test]
fn a_callback_takes_its_place_when_it_is_answered() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let server = queue.recipient(trace.clone());
    let [first, second, third] =
        [(); 3].map(|()| server.callback(|trace: &mut Trace, _, event: &str| trace.add(event)));
    third.answer("third");
    queue.call(trace.note("function"));
    first.answer("first");
    queue.dial_all();
    second.answer("second");
    queue.dial_all();
    assert_eq!(trace.take(), ["third", "function", "first", "second"]);
}

#[test]
fn order_is_kept_over_all_recipients() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let servers = [(); 3].map(|()| queue.recipient(trace.clone()));
    for n in 0..12 {
        servers[n * 5 % 3].call(move |trace, _| trace.add(n.to_string()));
    }
    assert_eq!(figures(queue.dial_all()), [12, 0, 0, 0]);
    assert_eq!(trace.take(), (0..12).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_call_scheduled_by_the_drop_of_a_canceled_one_goes_to_the_tail() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let (handle, log) = (queue.handle(), trace.clone());
    let schedules = on_drop(move || _ = handle.call(log.note("tail")));
    let canceled = queue.call(never(schedules));
    queue.call(trace.note("head"));
    queue.cancel(canceled, "unwanted");
    assert_eq!(figures(queue.dial_all()), [2, 1, 0, 0]);
    assert_eq!(trace.take(), ["head", "tail"]);
}

#[test]
fn dial_pending_leaves_what_was_scheduled_meanwhile() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let log = trace.clone();
    let schedules = move |queue: &QueueHandle| _ = queue.call(log.note("2"));
    let unwanted = queue.call(never(()));
    queue.call(schedules);
    queue.call(trace.note("1"));
    queue.cancel(unwanted, "unwanted");
    assert_eq!(figures(queue.dial_pending()), [2, 1, 0, 1]);
    assert_eq!(trace.take(), ["1"]);
    assert_eq!(figures(queue.dial_pending()), [1, 0, 0, 0]);
    assert_eq!(trace.take(), ["2"]);
    assert_eq!(figures(queue.dial_pending()), [0, 0, 0, 0]);
}

#[test]
fn dial_pending_ends_if_a_nested_turn_goes_past_its_end() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let log = trace.clone();
    let dials = move |queue: &QueueHandle| {
        for event in ["2", "3", "4"] {
            queue.call(log.note(event));
        }
        assert_eq!(figures(queue.dial(Budget::calls(2))), [2, 0, 0, 2]);
    };
    queue.call(dials);
    queue.call(trace.note("1"));
    assert_eq!(figures(queue.dial_pending()), [3, 0, 0, 2]);
    assert_eq!(trace.take(), ["1", "2"]);
    assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
    assert_eq!(trace.take(), ["3", "4"]);
}

#[test]
fn a_budget_counts_every_call_whose_turn_comes() {
    let queue = CallQueue::new();
    let gone = queue.recipient(());
    let canceled = queue.call(never(()));
    let callback = queue.callback(|_, ()| ());
    let also_canceled = callback.id();
    callback.answer(());
    gone.call(|(), _| unreachable!("gone"));
    gone.hang_up();
    queue.call(|_| ());
    queue.call(|_| ());
    queue.cancel(canceled, "unwanted");
    queue.cancel(also_canceled, "unwanted");

    assert_eq!(figures(queue.dial(Budget::calls(0))), [0, 0, 0, 3]);
    assert_eq!(figures(queue.dial(Budget::calls(1))), [0, 1, 0, 3]);
    assert_eq!(figures(queue.dial(Budget::calls(3))), [1, 1, 1, 1]);
    assert_eq!(figures(queue.dial(Budget::calls(usize::MAX))), [1, 0, 0, 0]);
    assert_counts(&queue, Counts { finished: 2, canceled: 2, refused: 1, ..NONE });

    for _ in 0..2 {
        let canceled = queue.call(never(()));
        queue.cancel(canceled, "unwanted");
    }
    assert_eq!(figures(queue.dial(Budget::calls(1))), [0, 1, 0, 0]);
    assert_eq!(figures(queue.dial(Budget::calls(1))), [0, 1, 0, 0]);
}

#[test]
fn a_condition_is_asked_before_each_call() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    for n in 0..9 {
        queue.call(trace.note(n.to_string()));
    }
    let asked = Cell::new(0);
    let third_time = || {
        trace.add("asked");
        asked.set(asked.get() + 1);
        asked.get() == 3
    };
    let budget = Budget::calls(5).until(&third_time);
    assert_eq!(figures(queue.dial(budget)), [2, 0, 0, 7]);
    assert_eq!(trace.take(), ["asked", "0", "asked", "1", "asked"]);
    // The number of calls ends the turn first; then there is nothing to ask.
    assert_eq!(figures(queue.dial(budget)), [5, 0, 0, 2]);
    assert_eq!(asked.get(), 8);
    assert_eq!(figures(queue.dial(Budget::calls(9).until(&|| true))), [0, 0, 0, 2]);
    assert_counts(&queue, Counts { pending: 2, finished: 7, ..NONE });
}

#[test]
fn a_condition_may_use_the_queue() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let unwanted = queue.call(never(()));
    let condition = || {
        if queue.cancel(unwanted, "by the condition") == Cancellation::Canceled {
            queue.call(trace.note("2"));
            queue.dial(Budget::calls(2));
            trace.add("condition ends");
        }
        false
    };
    queue.call(trace.note("1"));
    queue.call(trace.note("3"));
    let report = queue.dial(Budget::calls(9).until(&condition));
    assert_eq!(figures(report), [3, 1, 0, 0]);
    assert_eq!(trace.take(), ["1", "condition ends", "3", "2"]);
}

/// A deferred call was dialed wherever the turn ended: a handler that answers itself and dials kept
/// `dial_pending` from returning.
#[test]
fn dial_pending_leaves_what_was_scheduled_and_deferred_meanwhile() {
    fn answers_itself(count: &mut u32, cx: &Context<'_, u32>, (): ()) {
        *count += 1;
        assert!(*count <= 5, "the turn does not end");
        cx.callback(answers_itself).answer(());
        assert_eq!(figures(cx.queue().dial_all()), [0, 0, 0, 1]);
    }
    let queue = CallQueue::new();
    let server = queue.recipient(0);
    server.callback(answers_itself).answer(());
    for finished in 1..=5 {
        assert_eq!(figures(queue.dial_pending()), [1, 0, 0, 1]);
        assert_counts(&queue, Counts { pending: 1, finished, ..NONE });
    }
}

#[test]
fn a_call_that_a_condition_makes_ready_comes_ahead_of_those_in_order() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let server = queue.recipient(trace.clone());
    server.call(|trace, cx| {
        trace.add("1");
        cx.queue().dial(Budget::calls(1)); // defers the next one
    });
    for event in ["2", "3"] {
        server.callback(move |trace: &mut Trace, _, ()| trace.add(event)).answer(());
    }
    let asked = Cell::new(0);
    let condition = || {
        asked.set(asked.get() + 1);
        if asked.get() == 1 {
            queue.dial(Budget::calls(1));
        }
        false
    };
    assert_eq!(figures(queue.dial(Budget::calls(2).until(&condition))), [3, 0, 0, 0]);
    assert_eq!((trace.take(), asked.get()), (["1", "2", "3"].map(Into::into).into(), 2));
}
