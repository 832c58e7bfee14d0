//! The end of the queue and of those that it knows: no leak, no call left over, in any order.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use support::util::{
    Counted, Counts, Drops, NONE, Steps, Trace, assert_counts, figures, never, on_drop,
};
use switchboard::{
    Address, Budget, CallId, CallQueue, Callback, Cancellation, Context, QueueHandle, Recipient,
    ScheduleErrorKind, Step,
};

/// A recipient that holds the queue, whose calls hold the recipient.
struct Held {
    _queue: QueueHandle,
    _callbacks: Vec<Callback<()>>,
    _counted: Counted,
}

#[test]
fn a_thousand_calls_in_a_cycle_are_dropped_with_the_queue() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let server = queue.recipient_with(|own: &Address<Held>| {
        let callback = |_| {
            let captured = (own.clone(), drops.value());
            own.callback(move |_: &mut Held, _, ()| drop(captured))
        };
        let _callbacks = (0..10).map(callback).collect();
        Held { _queue: queue.handle(), _callbacks, _counted: drops.value() }
    });
    let server = Rc::new(server);
    for n in 0..1000 {
        let captured = (Rc::clone(&server), queue.handle(), drops.value());
        if n % 3 == 0 {
            queue.call(never(captured));
        } else if n % 3 == 1 {
            server.call(move |_, cx| never(captured)(cx.queue()));
        } else {
            server.callback(|_, _, captured| drop(captured)).answer(captured);
        }
    }
    let (address, handle) = (server.address(), queue.handle());
    drop(server);
    assert_eq!((drops.count(), drops.alive()), (0, 1011));
    assert_counts(&queue, Counts { unscheduled: 10, pending: 1000, ..NONE });
    drop(queue);
    assert_eq!((drops.count(), drops.alive()), (1011, 0));
    assert!(address.is_gone());
    assert_counts(&handle, Counts { canceled: 1010, ..NONE });
}

#[test]
fn every_call_ends_first_to_last() {
    let queue = CallQueue::new();
    let (trace, steps) = (Trace::default(), Steps::watch(&queue));
    let server = queue.recipient(());
    let callback = |event: &'static str| {
        let captured = trace.on_drop(event);
        server.callback(move |(), cx, ()| never(captured)(cx.queue()))
    };
    // Those that no one answered come last.
    let (first, second, third) =
        (callback("unscheduled 1"), callback("2"), callback("unscheduled 2"));
    let mut ids = vec![queue.call(never(trace.on_drop("1"))), second.id()];
    second.answer(());
    let canceled = queue.call(never(()));
    queue.cancel(canceled, "before");
    ids.push(queue.call(never(trace.on_drop("3"))));
    ids.extend([first.id(), third.id()]);
    drop(queue);
    assert_eq!(trace.take(), ["1", "2", "3", "unscheduled 1", "unscheduled 2"]);
    assert_eq!(steps.calls(|step| *step == Step::Canceled { reason: "queue dropped" }), ids);
    assert_eq!(steps.of(canceled).len(), 3);
    first.answer(());
    third.decline("never");
    assert_eq!(trace.take(), [""; 0]);
}

#[test]
fn a_handler_drops_the_queue() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let handle = queue.handle();
    let server = handle.recipient(Some(queue));
    let (inner, captured) = (drops.clone(), drops.value());
    let drops_it = move |queue: &mut Option<CallQueue>, cx: &Context<'_, Option<CallQueue>>| {
        drop(queue.take());
        assert_eq!(inner.count(), 100);
        assert!(cx.queue().is_closed() && cx.is_live());
        assert_counts(cx.queue(), Counts { live: 1, canceled: 100, ..NONE });
        assert!(cx.try_call(|_, _| ()).is_err());
        assert_eq!(figures(cx.queue().dial_all()), [0, 0, 0, 0]);
        drop(captured);
    };
    server.call(drops_it);
    for _ in 0..100 {
        handle.call(never(drops.value()));
    }
    assert_eq!(figures(handle.dial_all()), [1, 0, 0, 0]);
    assert_eq!((drops.count(), drops.alive()), (101, 0));
    assert_counts(&handle, Counts { finished: 1, canceled: 100, ..NONE });
}

#[test]
fn a_nested_turn_drops_the_queue() {
    let queue = CallQueue::new();
    let handle = queue.handle();
    let owner = Cell::new(Some(queue));
    let dials = |queue: &QueueHandle| {
        assert_eq!(figures(queue.dial(Budget::calls(1))), [1, 0, 0, 0]);
        assert_counts(queue, Counts { live: 1, finished: 1, canceled: 2, ..NONE });
    };
    handle.call(dials);
    handle.call(move |_| drop(owner.take()));
    handle.call(never(()));
    let waiting = handle.callback(|_, ()| unreachable!("canceled"));
    assert_eq!(figures(handle.dial_all()), [2, 0, 0, 0]);
    waiting.answer(());
    assert_counts(&handle, Counts { finished: 2, canceled: 2, ..NONE });
}

#[test]
fn code_of_users_drops_the_queue_wherever_it_runs() {
    /// What drops it: captured by a call that is canceled, an observer, a wake hook; an observer who
    /// is notified of the end, a turn's condition, a recipient's value.
    type Story = fn(&QueueHandle, Rc<Cell<Option<CallQueue>>>);
    let stories: [Story; 6] = [
        |handle, owner| {
            let id = handle.call(never(on_drop(move || drop(owner.take()))));
            assert_eq!(handle.cancel(id, "unwanted"), Cancellation::Canceled);
        },
        |handle, owner| {
            handle.add_observer(move |_: CallId, _: &Step| drop(owner.take()));
            let id = handle.call(never(()));
            assert_eq!(handle.cancel(id, "unwanted"), Cancellation::Late);
        },
        |handle, owner| {
            handle.set_wake_hook(move || drop(owner.take()));
            handle.callback(|_, ()| unreachable!("canceled")).answer(());
        },
        |handle, owner| {
            handle.add_observer(move |_: CallId, step: &Step| {
                if let Step::Canceled { .. } = step {
                    drop(owner.take());
                }
            });
            let id = handle.call(never(()));
            assert_eq!(handle.cancel(id, "unwanted"), Cancellation::Canceled);
        },
        |handle, owner| {
            handle.call(never(()));
            let closes = || {
                drop(owner.take());
                false
            };
            let report = handle.dial(Budget::calls(1).until(&closes));
            assert_eq!(figures(report), [0, 0, 0, 0]);
        },
        |handle, owner| {
            handle.call(never(()));
            handle.recipient(on_drop(move || drop(owner.take()))).hang_up();
        },
    ];
    for story in stories {
        let queue = CallQueue::new();
        let drops = Drops::default();
        let handle = queue.handle();
        let waiting = handle.callback(|_, _: Counted| unreachable!("canceled"));
        story(&handle, Rc::new(Cell::new(Some(queue))));
        assert!(handle.is_closed());
        assert_counts(&handle, Counts { canceled: 2, ..NONE });
        waiting.answer(drops.value());
        assert_eq!(drops.count(), 1);
    }
}

#[test]
fn what_a_call_captured_finds_the_queue_closed_as_it_drops() {
    let queue = CallQueue::new();
    let (handle, trace) = (queue.handle(), Trace::default());
    let next = Rc::new(Cell::new(None));
    let (log, id) = (trace.clone(), Rc::clone(&next));
    let busy = on_drop(move || {
        assert!(handle.is_closed());
        assert!(handle.try_call(never(())).is_err());
        let callback = handle.callback(|_, ()| unreachable!("canceled"));
        assert_eq!(handle.cancel(callback.id(), "again"), Cancellation::Already);
        callback.answer(());
        assert_eq!(handle.cancel(id.get().unwrap(), "next"), Cancellation::Canceled);
        assert!(handle.tally().balances());
        log.add("drop ends");
    });
    queue.call(never(busy));
    next.set(Some(queue.call(never(trace.on_drop("next dropped")))));
    let handle = queue.handle();
    drop(queue);
    assert_eq!(trace.take(), ["next dropped", "drop ends"]);
    assert_counts(&handle, Counts { canceled: 3, ..NONE });
}

#[test]
fn callbacks_within_dropped_calls_are_canceled_and_not_abandoned() {
    let queue = CallQueue::new();
    let handle = queue.handle();
    let mut callback = queue.callback(|_, ()| ());
    for _ in 0..10 {
        callback = queue.callback(move |_, ()| callback.answer(()));
    }
    queue.call(move |_| callback.answer(()));
    drop(queue);
    assert_counts(&handle, Counts { canceled: 12, ..NONE });
}

#[test]
fn recipients_outlive_the_queue() {
    let queue = CallQueue::new();
    let (drops, handle) = (Drops::default(), queue.handle());
    let before = queue.recipient(drops.value());
    drop(queue);
    let after = handle.recipient(drops.value());
    assert_eq!((drops.alive(), before.is_gone(), after.is_gone()), (2, false, false));
    let Err(rejected) = before.try_call(|_, _| ()) else { panic!("scheduled") };
    assert_eq!(rejected.kind(), ScheduleErrorKind::QueueDropped);
    before.hang_up();
    assert_eq!(drops.alive(), 1);
    drop(after);
    assert_eq!(drops.alive(), 0);
}

#[test]
fn recipients_own_recipients() {
    /// Owns the next one.
    struct Link(Option<Recipient<Self>>, #[expect(dead_code, reason = "held")] Counted);
    let queue = CallQueue::new();
    let drops = Drops::default();
    let mut chain = queue.recipient(Link(None, drops.value()));
    let last = chain.address();
    for _ in 0..100 {
        chain = queue.recipient(Link(Some(chain), drops.value()));
    }
    chain.call(|link, _| drop(link.0.take()));
    last.call(|_, _| unreachable!("gone"));
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    assert!(last.is_gone() && !chain.is_gone());
    assert_eq!((drops.count(), drops.alive()), (100, 1));
    drop(chain);
    assert_eq!((drops.count(), drops.alive()), (101, 0));
}

#[test]
fn the_queue_is_gone_with_its_last_handle() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let captured = drops.value();
    queue.set_wake_hook(move || _ = &captured);
    let captured = drops.value();
    queue.add_observer(move |_: CallId, _: &Step| _ = &captured);
    let (handle, callback) = (queue.handle(), queue.callback(|_, ()| ()));
    let kept = Rc::new(RefCell::new(Some(queue.recipient(()))));
    drop(queue);
    drop(handle);
    callback.decline("never");
    kept.take();
    assert_eq!((drops.count(), drops.alive()), (2, 0));
}

/// Both once kept the queue alive that they were kept by.
#[test]
fn an_observer_and_a_hook_that_hold_the_queue_go_with_its_owner() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let (handle, counted) = (queue.handle(), drops.value());
    queue.set_wake_hook(move || _ = (handle.dial_all(), &counted));
    let (handle, counted) = (queue.handle(), drops.value());
    queue.add_observer(move |_: CallId, _: &Step| _ = (handle.tally(), &counted));
    let handle = queue.handle();
    drop(queue);
    assert_eq!((drops.count(), drops.alive()), (2, 0));

    // Nor does a queue that is closed take new ones.
    let (hook, observer) = (drops.value(), drops.value());
    handle.set_wake_hook(move || _ = &hook);
    handle.add_observer(move |_: CallId, _: &Step| _ = &observer);
    assert_eq!((drops.count(), drops.alive()), (4, 0));
}

/// The observer once went with the owner, before the calls that were live.
#[test]
fn the_call_that_drops_the_queue_is_reported_to_its_end() {
    let queue = CallQueue::new();
    let (drops, steps, handle) = (Drops::default(), Steps::watch(&queue), queue.handle());
    let counted = drops.value();
    handle.set_wake_hook(move || _ = &counted);
    let owner = Cell::new(Some(queue));
    let outer = handle.call(|queue| assert_eq!(queue.dial_all().dialed, 1));
    let inner = handle.call(move |_| drop(owner.take()));
    assert_eq!(handle.dial_all().dialed, 2);
    assert_eq!(steps.calls(|step| *step == Step::Finished), [inner, outer]);
    assert_eq!(drops.alive(), 0);
}

/// Such a turn once dialed the calls that were still to be canceled.
#[test]
fn a_turn_that_begins_as_the_queue_is_dropped_dials_nothing() {
    let queue = CallQueue::new();
    let handle = queue.handle();
    let dials = on_drop(move || assert_eq!(figures(handle.dial_all()), [0, 0, 0, 1]));
    queue.call(never(dials));
    queue.call(never(()));
    let (handle, observer) = (queue.handle(), queue.handle());
    queue.add_observer(move |_: CallId, _: &Step| _ = observer.dial_all());
    drop(queue);
    assert_counts(&handle, Counts { canceled: 2, ..NONE });
}

/// Answered callbacks were once reported of as canceled, and then as canceled too late.
#[test]
fn each_callback_is_reported_once_as_the_queue_is_dropped() {
    let queue = CallQueue::new();
    let steps = Steps::watch(&queue);
    let [answered, captured, waiting] = [(); 3].map(|()| queue.callback(|_, ()| ()));
    let ids = [answered.id(), captured.id(), waiting.id()];
    answered.answer(());
    queue.call(move |_| captured.answer(()));
    drop(queue);
    let canceled = Step::Canceled { reason: "queue dropped" };
    for id in ids {
        assert_eq!(steps.last_of(id), canceled);
        assert_eq!(steps.of(id).iter().filter(|step| **step == canceled).count(), 1);
    }
    drop(waiting);
}

#[test]
fn the_value_of_a_recipient_that_hung_up_drops_when_its_call_is_over() {
    for panics in [false, true] {
        for observed in [false, true] {
            let queue = CallQueue::new();
            let steps = observed.then(|| Steps::watch(&queue));
            let (handle, tallies) = (queue.handle(), Rc::new(RefCell::new(Vec::new())));
            let reported = Rc::clone(&tallies);
            let value = on_drop(move || {
                reported.borrow_mut().push(handle.tally());
                // A turn within is not taken for the one that the call was in.
                handle.call(|_| ());
                assert_eq!(figures(handle.dial_all()), [1, 0, 0, 0]);
                reported.borrow_mut().push(handle.tally());
            });
            let server = queue.recipient(value);
            let call = server.call(move |_, cx| {
                cx.hang_up();
                assert!(!panics, "on purpose");
            });
            let outcome = catch_unwind(AssertUnwindSafe(|| queue.dial_all()));
            assert_eq!(outcome.is_err(), panics);
            let (finished, panicked) = if panics { (0, 1) } else { (1, 0) };
            let live: Vec<_> = tallies.borrow().iter().map(|tally| tally.live).collect();
            assert_eq!(live, [0, 0]);
            assert_eq!(tallies.borrow()[0].finished, finished);
            assert_eq!(tallies.borrow()[0].panicked, panicked);
            assert_counts(&queue, Counts { finished: finished + 1, panicked, ..NONE });
            if let Some(steps) = steps {
                let last = if panics { Step::Panicked } else { Step::Finished };
                assert_eq!(steps.of(call)[2..], [Step::Dialed, last]);
            }
        }
    }
}

#[test]
fn the_value_of_a_recipient_that_hung_up_drops_although_the_observer_panics_first() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let server = queue.recipient(drops.value());
    server.call(|_, cx| cx.hang_up());
    queue.add_observer(|_: CallId, step: &Step| assert_ne!(*step, Step::Finished, "on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(|| queue.dial_all())).is_err());
    assert_eq!((drops.count(), drops.alive()), (1, 0));
    assert_counts(&queue, Counts { finished: 1, ..NONE });
}

/// It took the place of the one that was notified so far, and was notified of nothing itself.
#[test]
fn an_observer_that_is_set_as_the_queue_is_dropped_leaves_the_one_there_is() {
    let queue = CallQueue::new();
    let steps = Steps::watch(&queue);
    let handle = queue.handle();
    let sets =
        on_drop(move || _ = handle.add_observer(|_: CallId, _: &Step| unreachable!("too late")));
    let first = queue.call(never(sets));
    let second = queue.call(|_| ());
    drop(queue);
    for call in [first, second] {
        assert_eq!(steps.last_of(call), Step::Canceled { reason: "queue dropped" });
    }
}

#[test]
fn r09_of_many_pending_calls_those_to_a_recipient_drop_what_they_captured_with_it() {
    // More than are looked at one by one.
    const CALLS: usize = 300;
    let queue = CallQueue::new();
    let recipients: Vec<_> = (0..3).map(|_| queue.recipient(())).collect();
    let captured = Rc::new(());
    for number in 0..3 * CALLS {
        let captured = Rc::clone(&captured);
        recipients[number % 3].call(move |(), _| drop(captured));
    }
    for (gone, recipient) in (1..).zip(recipients) {
        drop(recipient);
        assert_eq!(Rc::strong_count(&captured), 1 + (3 - gone) * CALLS);
    }
    assert_eq!(queue.dial_all().refused, 3 * CALLS as u64);
}
