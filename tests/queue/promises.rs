//! Hazard: a promise that is lost, or comes out of order, because a handler of its recipient dials the
//! queue (rule R2).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::util::{Counts, Drops, NONE, Steps, Trace, assert_counts, figures, panic_of};
use switchboard::{
    Address, Budget, CallId, CallQueue, Callback, Cancellation, Context, Recipient, Refusal, Step,
};

/// A recipient of what happened.
fn tracing(queue: &CallQueue) -> (Recipient<Trace>, Trace) {
    let trace = Trace::default();
    (queue.recipient(trace.clone()), trace)
}

/// A callback that is answered.
fn promise(to: &Address<Trace>, event: &'static str) -> CallId {
    let callback = to.callback(|trace: &mut Trace, _, event: &str| trace.add(event));
    let id = callback.id();
    callback.answer(event);
    id
}

#[test]
fn deferred_promises_keep_the_order_of_the_calls_of_their_recipient() {
    let queue = CallQueue::new();
    let (server, trace) = tracing(&queue);
    let steps = Steps::watch(&queue);
    let (other, shared) = (queue.recipient(()), trace.clone());
    server.call(move |trace, cx| {
        // What is scheduled before, and what while they wait.
        assert_eq!(figures(cx.queue().dial_all()), [1, 0, 0, 2]);
        promise(cx, "third");
        cx.call(|trace, _| trace.add("fourth"));
        trace.add("modal");
    });
    let first = promise(&server, "first");
    other.call(move |(), _| shared.add("other"));
    let second = promise(&server, "second");
    assert_eq!(figures(queue.dial_all()), [6, 0, 0, 0]);
    assert_eq!(trace.take(), ["other", "modal", "first", "second", "third", "fourth"]);
    assert_counts(&queue, Counts { finished: 6, ..NONE });
    let deferred = steps.calls(|step| matches!(step, Step::Deferred { .. }));
    assert_eq!(deferred, [first, second], "each is deferred once");
}

#[test]
fn a_deferred_promise_comes_ahead_of_what_was_scheduled_after_it() {
    let queue = CallQueue::new();
    let (server, trace) = tracing(&queue);
    server.call(|trace, cx| {
        // One call only: the promise. What stands behind it has had no turn.
        assert_eq!(figures(cx.queue().dial(Budget::calls(1))), [0, 0, 0, 3]);
        assert!(!cx.queue().is_idle());
        trace.add("modal");
    });
    promise(&server, "deferred");
    queue.call(trace.note("function"));
    server.call(|trace, _| trace.add("plain"));
    assert_eq!(figures(queue.dial(Budget::calls(2))), [2, 0, 0, 2]);
    assert_eq!(trace.take(), ["modal", "deferred"]);
    assert_eq!(figures(queue.dial_pending()), [2, 0, 0, 0]);
    assert_eq!(trace.take(), ["function", "plain"]);
}

#[test]
fn a_deferred_promise_can_be_canceled_until_it_is_dialed() {
    for plain in [false, true] {
        let (queue, drops) = (CallQueue::new(), Drops::default());
        let (server, trace) = tracing(&queue);
        server.set_defers_calls(true);
        let steps = Steps::watch(&queue);
        let to_cancel = Rc::new(Cell::new(None::<CallId>));
        let (id, alive) = (Rc::clone(&to_cancel), drops.clone());
        server.call(move |_, cx| {
            let queue = cx.queue();
            assert_eq!(figures(queue.dial_all()), [0, 0, 0, 2]);
            let id = id.get().unwrap();
            assert_eq!(queue.cancel(id, "first"), Cancellation::Canceled);
            assert_eq!(alive.alive(), 0, "what it captured is there after the cancel");
            assert_counts(queue, Counts { pending: 1, live: 1, canceled: 1, ..NONE });
            // Known until its turn would have come, which is not yet.
            assert_eq!(queue.cancel(id, "second"), Cancellation::Already);
            assert_eq!(figures(queue.dial_all()), [0, 0, 0, 1]);
            assert_eq!(queue.cancel(id, "third"), Cancellation::Already);
        });
        let captured = drops.value();
        to_cancel.set(Some(if plain {
            server.call(move |_, _| drop(captured))
        } else {
            let callback = server.callback(move |_, _, ()| drop(captured));
            let id = callback.id();
            callback.answer(());
            id
        }));
        promise(&server, "the other one");
        let id = to_cancel.get().unwrap();
        assert_eq!(figures(queue.dial_all()), [2, 1, 0, 0]);
        assert_eq!(queue.cancel(id, "over"), Cancellation::Late);
        assert_eq!(trace.take(), ["the other one"]);
        assert_counts(&queue, Counts { finished: 2, canceled: 1, ..NONE });
        let [
            ..,
            Step::Deferred { .. },
            Step::Canceled { reason: "first" },
            Step::LateCancel { .. },
        ] = steps.of(id)[..]
        else {
            panic!("{:?}", steps.of(id));
        };
    }
}

#[test]
fn r11_the_end_of_the_queue_cancels_deferred_calls_first() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let handle = queue.handle();
    let (server, trace) = tracing(&queue);
    let steps = Steps::watch(&queue);
    let owner = Rc::new(Cell::new(None));
    let ends = Rc::clone(&owner);
    server.call(move |_, cx| {
        assert_eq!(figures(cx.queue().dial(Budget::calls(2))), [0, 0, 0, 3]);
        drop(ends.take());
        assert_counts(cx.queue(), Counts { live: 1, canceled: 4, ..NONE });
    });
    let captured = drops.value();
    let first = server.callback(move |_, _, ()| drop(captured));
    let second = server.callback(|_, _, _: support::util::Counted| ());
    let ids = (first.id(), second.id());
    second.answer(drops.value());
    first.answer(());
    let captured = drops.value();
    let third = queue.call(move |_| drop(captured));
    let waiting = server.callback(|_, _, ()| ());
    owner.set(Some(queue));
    assert_eq!(handle.dial_all().dialed, 1);
    let canceled = steps.calls(|step| matches!(step, Step::Canceled { .. }));
    assert_eq!(canceled, [ids.1, ids.0, third, waiting.id()]);
    assert_eq!((drops.alive(), trace.take().len()), (0, 0));
    waiting.decline("over");
    assert_counts(&handle, Counts { finished: 1, canceled: 4, ..NONE });
}

#[test]
fn r09_a_recipient_that_goes_in_the_live_handler_refuses_what_was_deferred() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let (server, trace) = tracing(&queue);
    server.set_defers_calls(true);
    let steps = Steps::watch(&queue);
    let (alive, to_cancel) = (drops.clone(), Rc::new(RefCell::new(Vec::new())));
    let unwanted = Rc::clone(&to_cancel);
    server.call(move |_, cx| {
        assert_eq!(figures(cx.queue().dial_all()), [0, 0, 0, 4]);
        assert_eq!(alive.alive(), 3);
        cx.hang_up();
        assert_eq!(alive.alive(), 0, "what they captured is there, though the recipient is gone");
        assert_counts(cx.queue(), Counts { pending: 4, live: 1, ..NONE });
        // They can be canceled still.
        for id in unwanted.take() {
            assert_eq!(cx.queue().cancel(id, "unwanted"), Cancellation::Canceled);
            assert_eq!(cx.queue().cancel(id, "again"), Cancellation::Already);
        }
        // They have nothing to wait for any more: the recipient is gone.
        assert_eq!(figures(cx.queue().dial_all()), [0, 2, 2, 0]);
    });
    let (captured, value) = (drops.value(), drops.value());
    let callback = server.callback(move |_, _, value| drop((captured, value)));
    let answered = callback.id();
    callback.answer(value);
    let captured = drops.value();
    let plain = server.call(move |_, _| drop(captured));
    to_cancel.replace(vec![promise(&server, "unwanted"), server.call(|_, _| ())]);
    assert_eq!(figures(queue.dial_all()), [1, 2, 2, 0]);
    for id in [answered, plain] {
        let Step::Refused { refusal: Refusal::Gone, .. } = steps.last_of(id) else {
            panic!("{:?}", steps.of(id));
        };
    }
    assert_eq!(trace.take().len(), 0);
    assert_counts(&queue, Counts { finished: 1, refused: 2, canceled: 2, ..NONE });
}

#[test]
fn r10_a_panic_of_the_live_handler_leaves_a_deferred_promise_for_the_next_turn() {
    let queue = CallQueue::new();
    let (server, trace) = tracing(&queue);
    server.call(|_, cx| {
        assert_eq!(figures(cx.queue().dial_all()), [1, 0, 0, 1]);
        panic!("the live handler");
    });
    let id = promise(&server, "promise");
    queue.call(|_| ());
    assert_eq!(panic_of(|| queue.dial_all()), "the live handler");
    assert_counts(&queue, Counts { pending: 1, finished: 1, panicked: 1, ..NONE });
    assert!(!queue.is_idle() && !server.is_live());
    queue.call(trace.note("scheduled later"));
    assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
    assert_eq!(trace.take(), ["promise", "scheduled later"]);
    assert_eq!(queue.cancel(id, "over"), Cancellation::Late);
}

#[test]
fn turns_within_turns_defer_a_promise_each() {
    const DEPTH: usize = 50;

    struct Level {
        depth: usize,
        next: Option<Address<Self>>,
        trace: Rc<RefCell<Vec<usize>>>,
    }

    impl Level {
        fn descend(&mut self, cx: &Context<'_, Self>) {
            let own: Callback<()> =
                cx.callback(|level, _, ()| level.trace.borrow_mut().push(level.depth));
            own.answer(());
            let Some(next) = &self.next else {
                // The turn of each promise has come, and each recipient is live.
                let tally = cx.queue().tally();
                assert_eq!((tally.live, tally.pending), (DEPTH as u64, DEPTH as u64));
                assert_eq!(figures(cx.queue().dial_all()), [0, 0, 0, DEPTH as u64]);
                assert!(cx.queue().is_idle());
                return;
            };
            next.call(Self::descend);
            let pending = self.depth as u64 + 1;
            // The call of the next level, what that dials, and its promise.
            let below = (DEPTH - self.depth - 1) as u64;
            assert_eq!(figures(cx.queue().dial_all()), [2 * below, 0, 0, pending]);
        }
    }

    let queue = CallQueue::new();
    let trace = Rc::new(RefCell::new(Vec::new()));
    let mut levels: Vec<Recipient<Level>> = Vec::new();
    for depth in (0..DEPTH).rev() {
        let next = levels.last().map(|level| level.address());
        levels.push(queue.recipient(Level { depth, next, trace: Rc::clone(&trace) }));
    }
    levels[DEPTH - 1].call(Level::descend);
    assert_eq!(figures(queue.dial_all()), [2 * DEPTH as u64, 0, 0, 0]);
    let inside_out: Vec<_> = (0..DEPTH).rev().collect();
    assert_eq!(*trace.borrow(), inside_out);
}

#[test]
fn plain_calls_are_deferred_if_their_recipient_asks_for_it() {
    let queue = CallQueue::new();
    let (server, trace) = tracing(&queue);
    let steps = Steps::watch(&queue);
    for defers in [false, true, false] {
        server.set_defers_calls(defers);
        let live = server.call(move |trace, cx| {
            let [refused, deferred] = [!defers, defers].map(u64::from);
            assert_eq!(figures(cx.queue().dial_all()), [0, 0, refused, deferred]);
            assert!(cx.queue().is_idle(), "no call can be dialed");
            trace.add("modal");
        });
        let plain = server.call(|trace, _| trace.add("plain"));
        let report = queue.dial_all();
        if defers {
            assert_eq!(figures(report), [2, 0, 0, 0]);
            assert_eq!(trace.take(), ["modal", "plain"]);
            assert!(steps.of(plain).iter().any(|step| {
                matches!(step, Step::Deferred { live: with, .. } if *with == live)
            }));
        } else {
            assert_eq!(figures(report), [1, 0, 1, 0]);
            assert_eq!(trace.take(), ["modal"]);
        }
    }
}

#[test]
fn a_hundred_thousand_deferred_calls_whose_handlers_dial_are_deferred_once_each() {
    const CALLS: u64 = 100_000;

    let queue = CallQueue::new();
    let server = queue.recipient(0_u64);
    let steps = Rc::new(Cell::new([0_u64; 2]));
    let count = Rc::clone(&steps);
    queue.add_observer(move |_: CallId, step: &Step| {
        let [all, deferred] = count.get();
        count.set([all + 1, deferred + u64::from(matches!(step, Step::Deferred { .. }))]);
    });
    server.call(|_, cx| assert_eq!(figures(cx.queue().dial_all()), [0, 0, 0, CALLS]));
    for number in 0..CALLS {
        let callback = server.callback(|count, cx, number| {
            assert_eq!(*count, number, "out of order");
            *count += 1;
            // A modal loop in every handler: those behind it still wait, and are not deferred again.
            assert_eq!(figures(cx.queue().dial_all()), [0, 0, 0, CALLS - *count]);
        });
        callback.answer(number);
    }
    assert_eq!(figures(queue.dial_all()), [CALLS + 1, 0, 0, 0]);
    // Created, scheduled, deferred, dialed, finished; the first call is not deferred.
    assert_eq!(steps.get(), [5 * CALLS + 4, CALLS]);
    server.call(|count, _| assert_eq!(*count, CALLS));
    queue.dial_all();
}

#[test]
fn a_deferred_promise_that_is_canceled_when_ready_makes_the_next_one_ready() {
    let queue = CallQueue::new();
    let (server, trace) = tracing(&queue);
    server.call(|_, cx| assert_eq!(figures(cx.queue().dial_all()), [0, 0, 0, 4]));
    let ids = ["first", "second", "third", "fourth"].map(|event| promise(&server, event));
    // The live call has ended, the first promise is ready, and the others wait for it.
    assert_eq!(figures(queue.dial(Budget::calls(1))), [1, 0, 0, 4]);
    assert_eq!(queue.cancel(ids[1], "waits"), Cancellation::Canceled);
    assert_eq!(queue.cancel(ids[0], "is ready"), Cancellation::Canceled);
    assert!(!queue.is_idle(), "the third promise is ready");
    assert_eq!(queue.cancel(ids[2], "is ready"), Cancellation::Canceled);
    assert_eq!(
        ids[..3].iter().map(|id| queue.cancel(*id, "again")).collect::<Vec<_>>(),
        [Cancellation::Already; 3]
    );
    assert_eq!(figures(queue.dial_all()), [1, 3, 0, 0]);
    assert_eq!(trace.take(), ["fourth"]);
    assert!(queue.tally().balances());
}
