//! The embedder that sleeps too long or wakes for nothing: when the wake hook is called.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;

use support::util::{
    self, Counts, NONE, Steps, Trace, assert_counts, figures, never, on_drop, panic_of,
};
use switchboard::{Budget, CallId, CallQueue, QueueHandle, Step};

/// A queue whose wake hook adds to the trace.
fn hooked() -> (CallQueue, Trace) {
    let (queue, trace) = (CallQueue::new(), Trace::default());
    let log = trace.clone();
    queue.set_wake_hook(move || log.add("woken"));
    (queue, trace)
}

#[track_caller]
fn expect(trace: &Trace, times: usize) {
    assert_eq!(trace.take(), vec!["woken"; times]);
}

#[test]
fn the_hook_is_called_once_until_the_queue_is_empty_again() {
    for observed in [false, true] {
        let (queue, trace) = hooked();
        if observed {
            Steps::watch(&queue);
        }
        expect(&trace, 0);
        for _ in 0..3 {
            queue.call(|_| ());
            expect(&trace, 1);
            queue.call(|_| ());
            queue.callback(|_, ()| ()).answer(());
            expect(&trace, 0);
            queue.dial_all();
            queue.dial_all();
            expect(&trace, 0);
        }
    }
}

#[test]
fn an_answer_wakes_and_a_waiting_callback_does_not() {
    let (queue, trace) = hooked();
    let server = queue.recipient(());
    let [first, second, third, fourth] = [(); 4].map(|()| server.callback(|(), _, ()| ()));
    expect(&trace, 0);
    queue.cancel(first.id(), "unwanted");
    first.answer(());
    second.decline("never");
    drop(third);
    expect(&trace, 0);
    fourth.answer(());
    expect(&trace, 1);
}

#[test]
fn nothing_wakes_within_a_turn_nor_does_what_a_turn_leaves() {
    let (queue, trace) = hooked();
    let schedules = |queue: &QueueHandle| {
        queue.dial_all();
        queue.call(|_| ());
        queue.call(|_| ());
    };
    queue.call(schedules);
    expect(&trace, 1);
    assert_eq!(figures(queue.dial_pending()), [1, 0, 0, 2]);
    expect(&trace, 0);
    queue.call(|_| ());
    assert_eq!(figures(queue.dial(Budget::calls(2))), [2, 0, 0, 1]);
    queue.call(|_| ());
    expect(&trace, 0);
    assert_eq!(figures(queue.dial(Budget::calls(2))), [2, 0, 0, 0]);
    queue.call(|_| ());
    expect(&trace, 1);
}

#[test]
fn a_queue_emptied_by_canceling_wakes_again() {
    let (queue, trace) = hooked();
    for _ in 0..3 {
        let id = queue.call(never(()));
        expect(&trace, 1);
        queue.cancel(id, "unwanted");
        let callback = queue.callback(|_, ()| unreachable!("canceled"));
        let id = callback.id();
        callback.answer(());
        expect(&trace, 1);
        queue.cancel(id, "unwanted");
    }
    let (handle, log) = (queue.handle(), trace.clone());
    let schedules = on_drop(move || {
        log.take();
        handle.call(|_| ());
    });
    let id = queue.call(never(schedules));
    queue.cancel(id, "unwanted");
    expect(&trace, 1);
    assert_counts(&queue, Counts { pending: 1, canceled: 7, ..NONE });
}

#[test]
fn a_panic_out_of_a_turn_wakes_again_once_the_queue_is_empty() {
    let (queue, trace) = hooked();
    queue.call(util::panics(()));
    expect(&trace, 1);
    panic_of(|| queue.dial_all());
    queue.call(|_| ());
    expect(&trace, 1);
}

#[test]
fn the_hook_may_dial() {
    let queue = CallQueue::new();
    let (handle, trace) = (queue.handle(), Trace::default());
    let log = trace.clone();
    queue.set_wake_hook(move || {
        log.add("woken");
        assert_eq!(figures(handle.dial_all()), [1, 0, 0, 0]);
    });
    for event in ["1", "2"] {
        queue.call(trace.note(event));
        assert_eq!(trace.take(), ["woken", event]);
    }
    assert_counts(&queue, Counts { finished: 2, ..NONE });
}

#[test]
fn the_hook_may_schedule() {
    let queue = CallQueue::new();
    let (handle, trace) = (Cell::new(Some(queue.handle())), Trace::default());
    let log = trace.clone();
    queue.set_wake_hook(move || {
        log.add("woken");
        if let Some(queue) = handle.take() {
            queue.call(log.note("by the hook"));
        }
    });
    queue.call(trace.note("first"));
    queue.dial_all();
    assert_eq!(trace.take(), ["woken", "first", "by the hook"]);
}

#[test]
fn the_hook_is_replaced_from_inside_itself() {
    let queue = CallQueue::new();
    let (handle, trace) = (Cell::new(Some(queue.handle())), Trace::default());
    let (log, captured) = (trace.clone(), trace.on_drop("first hook dropped"));
    queue.set_wake_hook(move || {
        let (queue, second) = (handle.take().unwrap(), log.clone());
        queue.set_wake_hook(move || second.add("second hook"));
        log.add("first hook");
        _ = &captured;
    });
    queue.call(|_| ());
    // A call is pending when the second hook is set.
    assert_eq!(trace.take(), ["second hook", "first hook", "first hook dropped"]);
    queue.dial_all();
    queue.call(|_| ());
    assert_eq!(trace.take(), ["second hook"]);
}

#[test]
fn the_hook_is_cleared_from_inside_itself() {
    let queue = CallQueue::new();
    let (handle, trace) = (Cell::new(Some(queue.handle())), Trace::default());
    let log = trace.clone();
    queue.set_wake_hook(move || {
        handle.take().unwrap().clear_wake_hook();
        log.add("woken");
    });
    queue.call(|_| ());
    queue.dial_all();
    queue.call(|_| ());
    expect(&trace, 1);
}

#[test]
fn a_hook_set_late_waits_for_the_next_time() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let log = trace.clone();
    let sets = move |queue: &QueueHandle| {
        let hook = log.clone();
        queue.set_wake_hook(move || hook.add("woken"));
        queue.call(|_| ());
    };
    queue.call(sets);
    queue.dial_pending();
    queue.call(|_| ());
    expect(&trace, 0);
    queue.dial_all();
    queue.call(|_| ());
    expect(&trace, 1);
}

#[test]
fn a_hook_that_is_replaced_drops_while_it_uses_the_queue() {
    let queue = CallQueue::new();
    let (handle, trace) = (queue.handle(), Trace::default());
    let log = trace.clone();
    let busy = on_drop(move || {
        handle.call(log.note("by the drop"));
        handle.set_wake_hook(|| ());
        handle.dial_all();
    });
    queue.set_wake_hook(move || _ = &busy);
    let log = trace.clone();
    queue.set_wake_hook(move || log.add("woken"));
    assert_eq!(trace.take(), ["woken", "by the drop"]);
}

#[test]
fn a_hook_is_called_although_the_one_that_it_replaces_panics_as_it_drops() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let bomb = on_drop(|| resume_unwind(Box::new("in a drop")));
    queue.set_wake_hook(move || _ = &bomb);
    queue.call(|_| ());
    let log = trace.clone();
    assert_eq!(panic_of(|| queue.set_wake_hook(move || log.add("woken"))), "in a drop");
    expect(&trace, 1);
}

/// The observer is notified before the embedder is woken, and may have emptied the queue by then.
#[test]
fn a_call_that_the_observer_cancels_wakes_no_host_and_the_next_one_does() {
    let queue = CallQueue::new();
    let wakes = Rc::new(Cell::new(0));
    let count = Rc::clone(&wakes);
    queue.set_wake_hook(move || count.set(count.get() + 1));
    let handle = queue.handle();
    queue.add_observer(move |call: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            handle.cancel(call, "not wanted");
        }
    });
    queue.call(|_| ());
    assert_eq!((wakes.get(), queue.is_idle()), (0, true));
    queue.clear_observers();
    queue.call(|_| ());
    assert_eq!(wakes.get(), 1);
}
