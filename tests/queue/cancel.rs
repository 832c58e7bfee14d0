//! Cancellation at the worst of times: by the call itself, by what it captured, by who watches.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::util::{
    self, Counts, Drops, NONE, Steps, Trace, assert_counts, figures, never, on_drop,
};
use switchboard::{
    Budget, Call, CallId, CallQueue, Cancellation, Context, QueueHandle, Recipient, Step,
};

/// An id that is known later than it is captured.
type Later = Rc<Cell<Option<CallId>>>;

thread_local! {
    /// Recipients that stay until the test's thread ends.
    static KEPT: RefCell<Vec<Recipient<()>>> = const { RefCell::new(Vec::new()) };
}

/// A kind of pending call, and how to make one that captures a `C`.
type Kind<C> = (&'static str, fn(&QueueHandle, C) -> CallId);

fn kinds<C: 'static>() -> [Kind<C>; 4] {
    [
        ("a pending function call", |queue, captured| queue.call(never(captured))),
        ("a pending call to a recipient", |queue, captured| {
            let server = queue.recipient(());
            let id = server.call(move |(), cx| never(captured)(cx.queue()));
            // (A recipient that goes takes along what its calls captured.)
            KEPT.with_borrow_mut(|kept| kept.push(server));
            id
        }),
        ("an answered callback", |queue, captured| {
            let callback = queue.callback(move |queue, ()| never(captured)(queue));
            let id = callback.id();
            callback.answer(());
            id
        }),
        ("an answered callback, by its value", |queue, captured| {
            let callback = queue.callback(|queue, captured| never(captured)(queue));
            let id = callback.id();
            callback.answer(captured);
            id
        }),
    ]
}

#[test]
fn a_handler_cancels_its_own_call() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let server = queue.recipient(trace.clone());
    let cancels_itself = |trace: &mut Trace, cx: &Context<'_, Trace>| {
        assert_counts(cx.queue(), Counts { pending: 1, live: 1, ..NONE });
        assert_eq!(cx.queue().cancel(cx.id(), "own"), Cancellation::Late);
        assert_counts(cx.queue(), Counts { pending: 1, live: 1, ..NONE });
        trace.add("goes on");
    };
    server.call(cancels_itself);
    let callback = server.callback(|trace: &mut Trace, cx, id: CallId| {
        assert_eq!(cx.id(), id);
        assert_eq!(cx.queue().cancel(id, "own"), Cancellation::Late);
        trace.add("goes on, too");
    });
    let id = callback.id();
    callback.answer(id);
    assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
    assert_eq!(trace.take(), ["goes on", "goes on, too"]);
    assert_counts(&queue, Counts { finished: 2, ..NONE });
}

#[test]
fn a_nested_turn_cancels_around_itself() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let (outer, next) = (Later::default(), Later::default());
    let dials =
        |queue: &QueueHandle| assert_eq!(figures(queue.dial(Budget::calls(1))), [1, 0, 0, 0]);
    outer.set(Some(queue.call(dials)));
    let (ids, inner) = ((Rc::clone(&outer), Rc::clone(&next)), drops.clone());
    let cancels = move |queue: &QueueHandle| {
        let (outer, next) = (ids.0.get().unwrap(), ids.1.get().unwrap());
        assert_eq!(queue.cancel(outer, "around this one"), Cancellation::Late);
        assert_eq!(queue.cancel(next, "next in the outer turn"), Cancellation::Canceled);
        assert_eq!(inner.count(), 1);
        assert_counts(queue, Counts { live: 2, canceled: 1, ..NONE });
    };
    queue.call(cancels);
    next.set(Some(queue.call(never(drops.value()))));
    assert_eq!(figures(queue.dial_all()), [2, 1, 0, 0]);
    assert_counts(&queue, Counts { finished: 2, canceled: 1, ..NONE });
}

#[test]
fn what_a_canceled_call_captured_drops_while_it_uses_the_queue() {
    for (kind, make) in kinds() {
        let queue = CallQueue::new();
        let trace = Trace::default();
        let other = queue.call(never(trace.on_drop("other")));
        let waiting = queue.callback(|_, ()| unreachable!("canceled"));
        let (own, handle, log) = (Later::default(), queue.handle(), trace.clone());
        let (own_id, waiting_id) = (Rc::clone(&own), waiting.id());
        let busy = on_drop(move || {
            assert_eq!(handle.tally().canceled, 1, "{kind}");
            assert_eq!(handle.cancel(own_id.get().unwrap(), "itself"), Cancellation::Already);
            assert_eq!(handle.cancel(other, "another"), Cancellation::Canceled);
            assert_eq!(handle.cancel(waiting_id, "a callback"), Cancellation::Canceled);
            handle.call(log.note("scheduled"));
            let notes = log.clone();
            let created = handle.callback(move |_, ()| notes.add("created"));
            drop(handle.callback(|_, ()| unreachable!("abandoned")));
            created.answer(());
            assert_eq!(figures(handle.dial_all()), [2, 2, 0, 0], "{kind}");
            log.add("end");
        });
        own.set(Some(make(&queue, busy)));

        assert_eq!(queue.cancel(own.get().unwrap(), "first"), Cancellation::Canceled, "{kind}");
        assert_eq!(trace.take(), ["other", "scheduled", "created", "end"], "{kind}");
        waiting.answer(());
        assert_eq!(figures(queue.dial_all()), [0, 0, 0, 0], "{kind}");
        assert_counts(&queue, Counts { finished: 2, canceled: 3, abandoned: 1, ..NONE });
    }
}

#[test]
fn what_a_waiting_callback_captured_drops_while_it_uses_the_queue() {
    let queue = CallQueue::new();
    let (own, handle) = (Later::default(), queue.handle());
    let own_id = Rc::clone(&own);
    let busy = on_drop(move || {
        assert_eq!(handle.cancel(own_id.get().unwrap(), "itself"), Cancellation::Already);
        // Enough of them that their storage grows.
        let callbacks: Vec<_> = (0..100).map(|_| handle.callback(|_, ()| ())).collect();
        for callback in callbacks {
            callback.answer(());
        }
        assert_eq!(figures(handle.dial_all()), [100, 0, 0, 0]);
    });
    let callback = queue.callback(move |queue, ()| never(busy)(queue));
    own.set(Some(callback.id()));
    assert_eq!(queue.cancel(callback.id(), "first"), Cancellation::Canceled);
    assert_counts(&queue, Counts { finished: 100, canceled: 1, ..NONE });
    callback.decline("never");
    assert_eq!(queue.cancel(own.get().unwrap(), "its caller declined it"), Cancellation::Late);
    assert_counts(&queue, Counts { finished: 100, canceled: 1, ..NONE });
}

#[test]
fn a_chain_of_calls_cancel_each_other() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let mut next = queue.call(never(drops.value()));
    for _ in 1..500 {
        let (handle, counted) = (queue.handle(), drops.value());
        let cancels = on_drop(move || {
            assert_eq!(handle.cancel(next, "chain"), Cancellation::Canceled);
            drop(counted);
        });
        next = queue.call(never(cancels));
    }
    assert_eq!(queue.cancel(next, "first"), Cancellation::Canceled);
    assert_eq!((drops.count(), drops.alive()), (500, 0));
    assert_counts(&queue, Counts { canceled: 500, ..NONE });
    assert_eq!(figures(queue.dial_all()), [0, 500, 0, 0]);
}

#[test]
fn a_canceled_call_is_known_until_its_turn_has_passed() {
    for (kind, make) in kinds() {
        let queue = CallQueue::new();
        queue.call(|_| ());
        let id = make(&queue, ());
        assert_eq!(queue.cancel(id, "first"), Cancellation::Canceled, "{kind}");
        queue.dial(Budget::calls(1));
        assert_eq!(queue.cancel(id, "second"), Cancellation::Already, "{kind}");
        assert!(queue.is_idle(), "{kind}");
        assert_eq!(figures(queue.dial_all()), [0, 1, 0, 0], "{kind}");
        assert_eq!(queue.cancel(id, "third"), Cancellation::Late, "{kind}");
        assert_counts(&queue, Counts { finished: 1, canceled: 1, ..NONE });
    }
}

#[test]
fn canceled_calls_are_known_until_their_turn_however_many_there_are() {
    for (kind, make) in kinds() {
        let queue = CallQueue::new();
        let ids: Vec<_> = (0..300)
            .map(|_| {
                let id = make(&queue, ());
                assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled, "{kind}");
                id
            })
            .collect();
        assert_counts(&queue, Counts { canceled: 300, ..NONE });
        let pending = queue.call(|_| ());
        for id in &ids {
            assert_eq!(queue.cancel(*id, "again"), Cancellation::Already, "{kind}");
        }
        assert_counts(&queue, Counts { pending: 1, canceled: 300, ..NONE });
        let report = queue.dial_all();
        assert_eq!(figures(report), [1, 300, 0, 0], "{kind}");
        for id in ids.into_iter().chain([pending]) {
            assert_eq!(queue.cancel(id, "over"), Cancellation::Late, "{kind}");
        }
        assert_counts(&queue, Counts { finished: 1, canceled: 300, ..NONE });
    }
}

#[test]
fn a_pending_call_is_not_forgotten_for_room() {
    for (kind, make) in kinds() {
        let queue = CallQueue::new();
        let trace = Trace::default();
        let log = trace.clone();
        let callback = queue.callback(move |_, event: &str| log.add(event));
        callback.answer("answered");
        for n in 1..=500 {
            let id = make(&queue, ());
            assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled, "{kind}");
            if n % 100 == 0 {
                queue.call(trace.note(n.to_string()));
            }
        }
        assert_counts(&queue, Counts { pending: 6, canceled: 500, ..NONE });
        assert_eq!(figures(queue.dial_all()), [6, 500, 0, 0], "{kind}");
        assert_eq!(trace.take(), ["answered", "100", "200", "300", "400", "500"], "{kind}");
    }
}

#[test]
fn a_canceled_callback_is_known_until_its_caller_lets_it_go() {
    let queue = CallQueue::new();
    let steps = Steps::watch(&queue);
    let callback = queue.callback(|_, _: util::Counted| unreachable!("canceled"));
    let id = callback.id();
    assert_eq!(queue.cancel(id, "first"), Cancellation::Canceled);
    queue.dial_all();
    assert_eq!(queue.cancel(id, "second"), Cancellation::Already);
    let drops = Drops::default();
    callback.answer(drops.value());
    assert_eq!((drops.count(), queue.is_idle()), (1, true));
    assert_eq!(queue.cancel(id, "third"), Cancellation::Late);
    let reported = steps.calls(|step| *step == Step::Canceled { reason: "first" });
    assert_eq!(reported, [id]);
    assert_counts(&queue, Counts { canceled: 1, ..NONE });
}

#[test]
fn the_value_of_a_canceled_callback_drops_while_it_uses_the_queue() {
    let queue = CallQueue::new();
    let callback = queue.callback(|_, value: Box<dyn Any>| drop(value));
    let (handle, id) = (queue.handle(), callback.id());
    assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled);
    let busy = on_drop(move || {
        assert_eq!(handle.cancel(id, "again"), Cancellation::Late);
        handle.callback(|_, ()| ()).answer(());
        assert_eq!(figures(handle.dial_all()), [1, 0, 0, 0]);
    });
    callback.answer(Box::new(busy));
    assert_counts(&queue, Counts { finished: 1, canceled: 1, ..NONE });
}

/// A call whose check cancels the next call, and itself.
struct Cancels {
    own: Later,
    next: Later,
}

impl Call for Cancels {
    type Recipient = QueueHandle;

    fn can_dial(&self, queue: &QueueHandle) -> Result<(), &'static str> {
        let (own, next) = (self.own.get().unwrap(), self.next.get().unwrap());
        assert_eq!(queue.cancel(own, "in its check"), Cancellation::Late);
        assert_eq!(queue.cancel(next, "in the check before"), Cancellation::Canceled);
        Ok(())
    }

    fn dial(self, queue: &mut QueueHandle, _: &Context<'_, QueueHandle>) {
        assert_eq!(queue.cancel(self.next.get().unwrap(), "again"), Cancellation::Already);
    }
}

#[test]
fn a_check_at_the_dial_cancels() {
    let queue = CallQueue::new();
    let server = queue.recipient(queue.handle());
    let (own, next) = (Later::default(), Later::default());
    let call = Cancels { own: Rc::clone(&own), next: Rc::clone(&next) };
    own.set(Some(server.schedule(call)));
    next.set(Some(queue.call(never(()))));
    assert_eq!(figures(queue.dial_all()), [1, 1, 0, 0]);
    assert_counts(&queue, Counts { finished: 1, canceled: 1, ..NONE });
}

#[test]
fn an_observer_cancels_what_it_sees() {
    for at in ["created", "scheduled"] {
        let queue = CallQueue::new();
        let (drops, handle) = (Drops::default(), queue.handle());
        queue.add_observer(move |call: CallId, step: &Step| {
            if step.to_string().starts_with(at) {
                assert_eq!(handle.cancel(call, "observed"), Cancellation::Canceled);
            }
        });
        queue.call(never(drops.value()));
        assert_eq!(drops.count(), 1, "{at}");
        let captured = drops.value();
        let callback = queue.callback(move |queue, ()| never(captured)(queue));
        callback.answer(());
        assert_eq!(drops.count(), 2, "{at}");
        queue.dial_all();
        assert_counts(&queue, Counts { canceled: 2, ..NONE });
    }
}

#[test]
fn a_queue_whose_calls_are_all_canceled_is_idle() {
    let queue = CallQueue::new();
    for round in 1..=3 {
        for _ in 0..100 {
            let id = queue.call(never(()));
            queue.cancel(id, "unwanted");
        }
        assert_counts(&queue, Counts { finished: round - 1, canceled: 100 * round, ..NONE });
        queue.call(|_| ());
        assert_eq!(queue.dial_all().dialed, 1);
    }
}
