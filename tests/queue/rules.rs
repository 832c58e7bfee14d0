//! The rules of the queue, R1 to R13: tests named after each. Other files look at the hazards.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use support::util::{
    self, Counts, Drops, NONE, Steps, Trace, assert_counts, figures, never, on_drop, panic_of,
    panics,
};
use switchboard::{
    Budget, Call, CallId, CallQueue, Callback, Cancellation, Context, Observer, QueueHandle,
    Recipient, Refusal, ScheduleErrorKind, Step, Tally,
};

#[test]
fn r01_calls_are_dialed_in_the_order_they_were_scheduled() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let server = queue.recipient(trace.clone());

    let created_first = server.callback(|trace: &mut Trace, cx, event: &'static str| {
        trace.add(event);
        cx.call(|trace, _| trace.add("7"));
    });
    let log = trace.clone();
    let first = move |queue: &QueueHandle| {
        log.add("1");
        queue.call(log.note("5"));
    };
    queue.call(first);
    server.call(|trace, _| trace.add("2"));
    created_first.answer("3");
    queue.call(trace.note("4"));

    assert_eq!(figures(queue.dial(Budget::calls(2))), [2, 0, 0, 3]);
    assert_eq!(trace.take(), ["1", "2"]);
    queue.call(trace.note("6"));
    assert_eq!(figures(queue.dial_pending()), [4, 0, 0, 1]);
    assert_eq!(trace.take(), ["3", "4", "5", "6"]);
    assert_eq!(figures(queue.dial_all()), [1, 0, 0, 0]);
    assert_eq!(trace.take(), ["7"]);
    assert_counts(&queue, Counts { finished: 7, ..NONE });
}

#[test]
fn r02_a_recipient_has_one_live_call() {
    let queue = CallQueue::new();
    let (trace, drops, steps) = (Trace::default(), Drops::default(), Steps::watch(&queue));
    let server = queue.recipient(trace.clone());
    let other = queue.recipient(trace.clone());

    let dials = |trace: &mut Trace, cx: &Context<'_, Trace>| {
        trace.add("a begins");
        assert_eq!(figures(cx.queue().dial_all()), [3, 0, 1, 1]);
        assert_counts(cx.queue(), Counts { pending: 1, live: 1, finished: 3, refused: 1, ..NONE });
        assert!(cx.queue().is_idle(), "what is deferred waits for this handler");
        assert!(cx.is_live());
        cx.call(|trace, _| trace.add("g"));
        trace.add("a ends");
    };
    let dials_too = |trace: &mut Trace, cx: &Context<'_, Trace>| {
        trace.add("c begins");
        assert_eq!(figures(cx.queue().dial_all()), [2, 0, 1, 1]);
        trace.add("c ends");
    };
    let log = trace.clone();
    let dials_a_function = move |queue: &QueueHandle| {
        log.add("d begins");
        queue.dial_all();
        log.add("d ends");
    };
    let captured = drops.value();
    let unlucky = move |_: &mut Trace, _: &Context<'_, Trace>| drop(captured);
    let (a, a_line) = (server.call(dials), line!());
    other.call(dials_too);
    let (b, b_line) = (server.call(unlucky), line!());
    queue.call(dials_a_function);
    let callback = server.callback(|trace, _, event| trace.add(event));
    let (e, e_line) = (callback.id(), line!() + 1);
    callback.answer("e");
    queue.call(trace.note("f"));

    assert_eq!(figures(queue.dial_all()), [6, 0, 1, 0]);
    // A promise is deferred, and comes ahead of what was scheduled after it.
    let order = ["a begins", "c begins", "d begins", "f", "d ends", "c ends", "a ends", "e", "g"];
    assert_eq!(trace.take(), order);
    assert_counts(&queue, Counts { finished: 6, refused: 1, ..NONE });
    assert_eq!((drops.count(), drops.alive()), (1, 0));
    assert!(!server.is_live());
    let Step::Refused { refusal: Refusal::Live { live, site: live_site }, site } = steps.last_of(b)
    else {
        panic!("not refused because of a live call: {}", steps.last_of(b));
    };
    assert_eq!((live, live_site.file(), live_site.line()), (a, file!(), a_line));
    assert_eq!((site.file(), site.line()), (file!(), b_line));
    assert_eq!(steps.of(b).iter().filter(|step| **step == Step::Dialed).count(), 0);
    let [
        Step::Created { .. },
        Step::Scheduled { .. },
        Step::Deferred { live, live_site, site },
        Step::Dialed,
        Step::Finished,
    ] = steps.of(e)[..]
    else {
        panic!("not deferred: {:?}", steps.of(e));
    };
    assert_eq!((live, live_site.line(), site.line()), (a, a_line, e_line));
}

#[test]
fn r03_cancel_is_immediate() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let server = queue.recipient(());

    let pending = queue.call(never(drops.value()));
    assert_eq!(queue.cancel(pending, "while pending"), Cancellation::Canceled);
    assert_eq!(drops.count(), 1);
    assert_counts(&queue, Counts { canceled: 1, ..NONE });

    let captured = drops.value();
    let callback = server.callback(move |(), _, _: util::Counted| drop(captured));
    assert_eq!(queue.cancel(callback.id(), "before it is scheduled"), Cancellation::Canceled);
    assert_eq!(drops.count(), 2);
    assert_counts(&queue, Counts { canceled: 2, ..NONE });
    callback.answer(drops.value());
    assert_eq!(drops.count(), 3);
    assert_counts(&queue, Counts { canceled: 2, ..NONE });

    let captured = drops.value();
    let callback = server.callback(move |(), _, _: util::Counted| drop(captured));
    let answered = callback.id();
    callback.answer(drops.value());
    assert_counts(&queue, Counts { pending: 1, canceled: 2, ..NONE });
    assert_eq!(queue.cancel(answered, "while pending"), Cancellation::Canceled);
    assert_eq!(drops.count(), 5);
    assert_counts(&queue, Counts { canceled: 3, ..NONE });

    let (inner, captured) = (drops.clone(), drops.value());
    let later = Rc::new(Cell::new(None));
    let to_cancel = Rc::clone(&later);
    let cancels = move |(): &mut (), cx: &Context<'_, ()>| {
        let id = to_cancel.get().unwrap();
        assert_eq!(cx.queue().cancel(id, "from a handler"), Cancellation::Canceled);
        assert_eq!(inner.count(), 6);
        assert_eq!(cx.queue().cancel(cx.id(), "from its own"), Cancellation::Late);
        assert_eq!(inner.count(), 6);
        drop(captured);
    };
    server.call(cancels);
    let captured = drops.value();
    later.set(Some(server.call(move |(), _| drop(never(captured)))));
    assert_eq!(figures(queue.dial_all()), [1, 3, 0, 0]);
    assert_eq!((drops.count(), drops.alive()), (7, 0));
    assert_counts(&queue, Counts { finished: 1, canceled: 4, ..NONE });
}

#[test]
fn r03_what_a_canceled_call_captured_may_use_the_queue_as_it_drops() {
    for as_callback in [false, true] {
        let queue = CallQueue::new();
        let trace = Trace::default();
        let other = queue.call(never(trace.on_drop("other dropped")));
        let (own, handle, log) = (Rc::new(Cell::new(None)), queue.handle(), trace.clone());
        let own_id = Rc::clone(&own);
        let busy = on_drop(move || {
            let pending = handle.tally().pending;
            assert_counts(&handle, Counts { pending, canceled: 1, ..NONE });
            assert_eq!(handle.cancel(own_id.get().unwrap(), "again"), Cancellation::Already);
            assert_eq!(handle.cancel(other, "by the drop"), Cancellation::Canceled);
            handle.call(log.note("scheduled by the drop"));
            let notes = log.clone();
            let callback = handle.callback(move |_, event: &str| notes.add(event));
            callback.answer("created by the drop");
            assert_eq!(handle.dial_all().dialed, 2);
            log.add("drop ends");
        });
        let callback = if as_callback {
            let callback = queue.callback(move |queue, ()| never(busy)(queue));
            own.set(Some(callback.id()));
            Some(callback)
        } else {
            own.set(Some(queue.call(never(busy))));
            None
        };

        assert_eq!(queue.cancel(own.get().unwrap(), "first"), Cancellation::Canceled);
        trace.add("canceled");
        let during = ["other dropped", "scheduled by the drop", "created by the drop"];
        assert_eq!(trace.take(), [&during[..], &["drop ends", "canceled"]].concat());
        drop(callback);
        assert_counts(&queue, Counts { finished: 2, canceled: 2, ..NONE });
    }
}

#[test]
fn r04_late_cancel_is_a_no_op() {
    let queue = CallQueue::new();
    let steps = Steps::watch(&queue);
    let log = Trace::default();
    let server = queue.recipient(log.clone());
    let cancel = |id, reason, expected| {
        let before = queue.tally();
        assert_eq!(queue.cancel(id, reason), expected);
        if expected != Cancellation::Canceled {
            assert_eq!(queue.tally(), before);
        }
    };

    let callback = server.callback(|_, _, ()| ());
    for id in [queue.call(never(())), callback.id()] {
        cancel(id, "first", Cancellation::Canceled);
        cancel(id, "second", Cancellation::Already);
        let canceled = |step: &&Step| matches!(step, Step::Canceled { .. });
        let reasons: Vec<_> = steps.of(id).iter().filter(canceled).copied().collect();
        assert_eq!(reasons, [Step::Canceled { reason: "first" }]);
    }
    callback.decline("third");

    let captured = log.on_drop("captured dropped");
    let live = move |log: &mut Trace, cx: &Context<'_, Trace>| {
        let before = cx.queue().tally();
        assert_eq!(cx.queue().cancel(cx.id(), "while live"), Cancellation::Late);
        assert_eq!(cx.queue().tally(), before);
        log.add("handler goes on");
        drop(captured);
    };
    let finished = server.call(live);
    let answered = server.callback(|log: &mut Trace, _, event: &str| log.add(event));
    let answered_id = answered.id();
    answered.answer("answered");
    assert_eq!(figures(queue.dial_all()), [2, 1, 0, 0]);
    assert_eq!(log.take(), ["handler goes on", "captured dropped", "answered"]);
    for id in [finished, answered_id] {
        cancel(id, "when over", Cancellation::Late);
        assert_eq!(steps.last_of(id), Step::LateCancel { reason: "when over" });
        assert_eq!(steps.calls(|step| *step == Step::Finished).len(), 2);
    }

    let panicked = server.call(|_, _| panic!("on purpose"));
    panic_of(|| queue.dial_all());
    server.hang_up();
    cancel(panicked, "when over", Cancellation::Late);
    assert_counts(&queue, Counts { finished: 2, canceled: 2, panicked: 1, ..NONE });
}

/// What a caller can do with a callback.
const ENDS: [fn(Callback<()>); 3] =
    [|callback| callback.answer(()), |callback| callback.decline("never"), drop];

#[test]
fn r05_a_callback_must_be_called() {
    let queue = CallQueue::new();
    let (steps, drops) = (Steps::watch(&queue), Drops::default());
    let total = queue.recipient(0);
    let make = || {
        let captured = drops.value();
        let add = move |total: &mut u64, _: &Context<'_, u64>, value: u64| {
            *total += value;
            drop(captured);
        };
        total.callback(add)
    };

    let (answered, declined) = (make(), make());
    assert_counts(&queue, Counts { unscheduled: 2, ..NONE });
    let (answered_id, declined_id) = (answered.id(), declined.id());
    answered.answer(12);
    assert_counts(&queue, Counts { unscheduled: 1, pending: 1, ..NONE });
    declined.decline("start failed");
    assert_eq!(drops.count(), 1);
    assert_counts(&queue, Counts { pending: 1, canceled: 1, ..NONE });
    assert_eq!(steps.last_of(declined_id), Step::Canceled { reason: "start failed" });
    assert_eq!(figures(queue.dial_all()), [1, 0, 0, 0]);
    assert_eq!((steps.last_of(answered_id), drops.count()), (Step::Finished, 2));

    let (abandoned, cx) = (total.callback(|_, _, ()| ()), line!());
    let abandoned_id = abandoned.id();
    drop(abandoned);
    let Step::Abandoned { site } = steps.last_of(abandoned_id) else {
        panic!("not abandoned: {}", steps.last_of(abandoned_id));
    };
    assert_eq!((site.file(), site.line()), (file!(), cx));
    drop(make());
    assert_eq!(drops.count(), 3);
    assert_counts(&queue, Counts { finished: 1, canceled: 1, abandoned: 2, ..NONE });

    // Whether the call will be dialed is not the caller's business.
    for end in ENDS {
        let captured = drops.value();
        let callback = total.callback(move |_, _, ()| drop(captured));
        let id = callback.id();
        assert_eq!(queue.cancel(id, "not wanted"), Cancellation::Canceled);
        let (tally, steps_so_far) = (queue.tally(), steps.of(id));
        end(callback);
        assert_eq!((queue.tally(), steps.of(id)), (tally, steps_so_far));
    }
    assert_eq!(drops.alive(), 0);
    total.call(|total, _| assert_eq!(*total, 12));
    assert_eq!(figures(queue.dial_all()), [1, 0, 0, 0]);
}

/// A recipient as rule R6 wants it: it knows what it waits for.
struct Client {
    waiting: Vec<CallId>,
    queue: QueueHandle,
    got: Vec<u32>,
    canceled: Rc<RefCell<Vec<Cancellation>>>,
}

impl Client {
    fn expect_one(&mut self, cx: &Context<'_, Self>) -> Callback<u32> {
        let callback = cx.callback(|client, cx, value| {
            client.waiting.retain(|id| *id != cx.id());
            client.got.push(value);
        });
        self.waiting.push(callback.id());
        callback
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for id in self.waiting.drain(..) {
            self.canceled.borrow_mut().push(self.queue.cancel(id, "the client is gone"));
        }
    }
}

#[test]
fn r06_a_recipient_cancels_the_callbacks_that_it_gave_away() {
    let queue = CallQueue::new();
    let canceled = Rc::default();
    let client = queue.recipient(Client {
        waiting: Vec::new(),
        queue: queue.handle(),
        got: Vec::new(),
        canceled: Rc::clone(&canceled),
    });
    let given = Rc::new(RefCell::new(Vec::new()));
    let taken = Rc::clone(&given);
    let give_away = move |client: &mut Client, cx: &Context<'_, Client>| {
        taken.borrow_mut().extend([(); 4].map(|()| client.expect_one(cx)));
    };
    client.call(give_away);
    queue.dial_all();

    let mut given = given.take().into_iter();
    given.next().unwrap().answer(1);
    queue.dial_all();
    client.call(|client, _| assert_eq!((&client.got[..], client.waiting.len()), (&[1][..], 3)));
    queue.dial_all();

    given.next().unwrap().answer(2);
    assert_counts(&queue, Counts { unscheduled: 2, pending: 1, finished: 3, ..NONE });
    client.hang_up();
    assert_eq!(canceled.take(), [Cancellation::Canceled; 3]);
    assert_counts(&queue, Counts { finished: 3, canceled: 3, ..NONE });
    given.next().unwrap().answer(3);
    given.next().unwrap().decline("never");
    assert_eq!(figures(queue.dial_all()), [0, 1, 0, 0]);
    assert_counts(&queue, Counts { finished: 3, canceled: 3, ..NONE });
}

#[test]
fn r07_an_id_names_one_call_forever() {
    let (queue, elsewhere) = (CallQueue::new(), CallQueue::new());
    let (mut ids, mut foreign) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        // All of these end in this round, so that the next one uses their slots again.
        let callbacks = [(); 3].map(|()| queue.callback(|_, ()| ()));
        ids.extend(callbacks.each_ref().map(Callback::id));
        let [answered, declined, canceled] = callbacks;
        answered.answer(());
        declined.decline("never");
        assert_eq!(queue.cancel(canceled.id(), "unwanted"), Cancellation::Canceled);
        drop(canceled);
        ids.push(queue.call(|_| ()));
        foreign.push(elsewhere.call(|_| ()));
        assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
    }
    let unique: HashSet<_> = ids.iter().chain(&foreign).collect();
    assert_eq!(unique.len(), 500);

    let callback = queue.callback(|_, ()| ());
    queue.call(|_| ());
    let counts = Counts { unscheduled: 1, pending: 1, finished: 200, canceled: 200, ..NONE };
    for id in ids {
        assert_eq!(queue.cancel(id, "stale"), Cancellation::Late, "{id:?}");
    }
    for id in foreign {
        assert_eq!(queue.cancel(id, "of another queue"), Cancellation::Foreign, "{id:?}");
    }
    assert_counts(&queue, counts);
    assert_counts(&elsewhere, Counts { pending: 100, ..NONE });
    callback.answer(());
    assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
}

#[test]
fn r07_what_a_call_captured_goes_when_the_call_ends() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let server = queue.recipient(());
    let holding = || {
        let captured = drops.value();
        move |_: &QueueHandle| drop(captured)
    };

    queue.call(holding());
    assert_eq!(queue.dial_all().dialed, 1);
    assert_eq!(drops.count(), 1, "finished");
    let canceled = queue.call(holding());
    assert_eq!(queue.cancel(canceled, "unwanted"), Cancellation::Canceled);
    assert_eq!(drops.count(), 2, "canceled");
    let captured = drops.value();
    queue.callback(move |_, ()| drop(captured)).decline("never");
    assert_eq!(drops.count(), 3, "declined");
    let captured = drops.value();
    drop(queue.callback(move |_, ()| drop(captured)));
    assert_eq!(drops.count(), 4, "abandoned");
    queue.call(panics(drops.value()));
    panic_of(|| queue.dial_all());
    assert_eq!(drops.count(), 5, "panicked");
    let captured = drops.value();
    server.call(move |(), _| drop(captured));
    server.hang_up();
    assert_eq!(figures(queue.dial_all()), [0, 0, 1, 0]);
    assert_eq!(drops.count(), 6, "refused");
    let ends = Counts { finished: 1, canceled: 2, refused: 1, abandoned: 1, panicked: 1, ..NONE };
    assert_counts(&queue, ends);
}

/// A call type with a check, which adds to the recipient's trace what becomes of it.
struct Checked {
    name: &'static str,
    verdict: Result<(), &'static str>,
    asked: Trace,
}

impl Call for Checked {
    type Recipient = Trace;

    fn can_dial(&self, _: &Trace) -> Result<(), &'static str> {
        self.asked.add(format!("{}: asked", self.name));
        self.verdict
    }

    fn dial(self, trace: &mut Trace, cx: &Context<'_, Trace>) {
        trace.add(format!("{}: dialed", self.name));
        match self.name {
            "dials" => drop(cx.queue().dial_all()),
            "hangs up and dials" => drop((cx.hang_up(), cx.queue().dial_all())),
            _ => {}
        }
    }
}

#[test]
fn r08_the_checks_at_the_dial_have_an_order() {
    let queue = CallQueue::new();
    let (trace, steps) = (Trace::default(), Steps::watch(&queue));
    let call = |name, verdict| Checked { name, verdict, asked: trace.clone() };
    let refused = |id| match steps.last_of(id) {
        Step::Refused { refusal, .. } => refusal,
        step => panic!("not refused: {step}"),
    };

    // The call type's own check comes last.
    let server = queue.recipient(trace.clone());
    server.schedule(call("yes", Ok(())));
    let no = server.schedule(call("no", Err("not today")));
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    assert_eq!(trace.take(), ["yes: asked", "yes: dialed", "no: asked"]);
    assert_eq!(refused(no), Refusal::Check("not today"));
    assert!(!steps.of(no).contains(&Step::Dialed));

    // Before it: is the recipient live?
    let dials = server.schedule(call("dials", Ok(())));
    let live = server.schedule(call("while live", Err("not today")));
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    assert_eq!(trace.take(), ["dials: asked", "dials: dialed"]);
    assert!(matches!(refused(live), Refusal::Live { live, .. } if live == dials));

    // Before that: is it gone?
    let last = server.schedule(call("hangs up and dials", Ok(())));
    let gone = server.schedule(call("gone and live", Err("not today")));
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    assert_eq!(trace.take(), ["hangs up and dials: asked", "hangs up and dials: dialed"]);
    assert_eq!((steps.last_of(last), refused(gone)), (Step::Finished, Refusal::Gone));

    // And first of all: was the call canceled?
    let canceled = server.schedule(call("canceled", Err("not today")));
    let also_gone = server.schedule(call("gone", Err("not today")));
    assert_eq!(queue.cancel(canceled, "unwanted"), Cancellation::Canceled);
    assert_eq!(figures(queue.dial_all()), [0, 1, 1, 0]);
    assert_eq!(trace.take(), [""; 0]);
    assert_eq!(steps.last_of(canceled), Step::Canceled { reason: "unwanted" });
    assert_eq!(refused(also_gone), Refusal::Gone);
    assert_counts(&queue, Counts { finished: 3, canceled: 1, refused: 4, ..NONE });
}

#[test]
fn r09_a_recipient_that_is_gone_gets_no_more_calls() {
    let queue = CallQueue::new();
    let (values, captures) = (Drops::default(), Drops::default());
    let steps = Steps::watch(&queue);

    // Hung up while not live: the value drops at once, the calls are refused when their turn comes.
    for hang_up in [Recipient::hang_up as fn(Recipient<util::Counted>), drop] {
        let (dropped, refused) = (values.count(), queue.tally().refused);
        let server = queue.recipient(values.value());
        let address = server.address();
        let captured = captures.value();
        let id = server.call(move |_, _| drop(captured));
        assert!(!address.is_gone());
        hang_up(server);
        assert!(address.is_gone());
        assert_eq!(values.count(), dropped + 1);
        assert_eq!(captures.alive(), 0, "what the call captured goes with its recipient");
        assert_counts(&queue, Counts { pending: 1, refused, ..NONE });
        assert_eq!(figures(queue.dial_all()), [0, 0, 1, 0]);
        assert!(matches!(steps.last_of(id), Step::Refused { refusal: Refusal::Gone, .. }));
        assert_eq!(captures.alive(), 0);
    }

    // Hung up while live: the value drops right after the handler has returned.
    let server = queue.recipient(values.value());
    let address = server.address();
    let (owner, inner) = (Cell::new(Some(server)), values.clone());
    let hangs_up = move |_: &mut util::Counted, cx: &Context<'_, util::Counted>| {
        drop(owner.take());
        cx.hang_up();
        assert!(cx.is_gone() && cx.is_live());
        assert_eq!(inner.alive(), 1);
    };
    let (next, later) = (values.clone(), address.clone());
    address.call(hangs_up);
    queue.call(move |_| assert_eq!((next.alive(), later.is_live()), (0, false)));
    address.call(|_, _| ());
    assert_eq!(figures(queue.dial_all()), [2, 0, 1, 0]);
    assert_eq!((values.count(), values.alive()), (3, 0));
    assert_counts(&queue, Counts { finished: 2, refused: 3, ..NONE });
}

#[test]
fn r10_a_live_call_ends_when_its_handler_unwinds() {
    let queue = CallQueue::new();
    let (trace, steps) = (Trace::default(), Steps::watch(&queue));
    let server = queue.recipient(trace.clone());
    let captured = trace.on_drop("captured dropped");
    let panics = move |trace: &mut Trace, _: &Context<'_, Trace>| {
        trace.add("panics");
        let _captured = captured;
        panic!("on purpose");
    };
    let panicked = server.call(panics);
    server.call(|trace, _| trace.add("second"));
    queue.call(trace.note("third"));

    assert_eq!(panic_of(|| queue.dial_all()), "on purpose");
    assert_eq!(trace.take(), ["panics", "captured dropped"]);
    assert_eq!(steps.last_of(panicked), Step::Panicked);
    assert!(!server.is_live());
    assert_counts(&queue, Counts { pending: 2, panicked: 1, ..NONE });
    queue.call(trace.note("fourth"));
    assert_eq!(figures(queue.dial_all()), [3, 0, 0, 0]);
    assert_eq!(trace.take(), ["second", "third", "fourth"]);
    assert_counts(&queue, Counts { finished: 3, panicked: 1, ..NONE });

    // Out of a nested turn into the handler that dials, which may catch it and go on.
    let catches = |trace: &mut Trace, cx: &Context<'_, Trace>| {
        let payload = panic_of(|| cx.queue().dial_all());
        trace.add(format!("caught: {payload}"));
        assert!(cx.is_live());
        assert_counts(cx.queue(), Counts { pending: 1, live: 1, finished: 3, panicked: 2, ..NONE });
    };
    server.call(catches);
    queue.call(|_| panic!("within"));
    server.call(|trace, _| trace.add("after"));
    assert_eq!(figures(queue.dial_all()), [3, 0, 0, 0]);
    assert_eq!(trace.take(), ["caught: within", "after"]);
    assert_counts(&queue, Counts { finished: 5, panicked: 2, ..NONE });
}

#[test]
fn r11_the_end_of_the_queue_is_the_end_of_its_calls() {
    let queue = CallQueue::new();
    let (trace, steps) = (Trace::default(), Steps::watch(&queue));
    let server = queue.recipient(0);
    let captured = trace.on_drop("1");
    let mut ids = vec![queue.call(|_| drop(never(captured)))];
    let captured = trace.on_drop("2");
    let answered = server.callback(move |_: &mut u64, _, ()| drop(captured));
    ids.push(answered.id());
    let captured = trace.on_drop("4");
    let unscheduled = server.callback(move |_: &mut u64, _, _: &'static str| drop(captured));
    answered.answer(());
    let captured = trace.on_drop("3");
    ids.push(server.call(move |_, _| drop(captured)));
    ids.push(unscheduled.id());

    let handle = queue.handle();
    assert_eq!(figures(handle.dial(Budget::calls(0))), [0, 0, 0, 3]);
    assert!(!handle.is_closed());
    drop(queue);
    assert!(handle.is_closed());
    assert_eq!(trace.take(), ["1", "2", "3", "4"]);
    let canceled = Step::Canceled { reason: "queue dropped" };
    assert_eq!(steps.calls(|step| *step == canceled), ids);
    assert_counts(&handle, Counts { canceled: 4, ..NONE });

    // What surviving handles schedule ends at once, or is handed back.
    let Err(rejected) = handle.try_call(trace.note("handed back")) else { panic!("scheduled") };
    assert_eq!(rejected.kind(), ScheduleErrorKind::QueueDropped);
    rejected.into_inner()(&handle);
    assert_eq!(trace.take(), ["handed back"]);
    assert_counts(&handle, Counts { canceled: 4, ..NONE });
    handle.call(never(trace.on_drop("dropped")));
    assert_eq!(trace.take(), ["dropped"]);
    assert!(server.try_call(|_, _| ()).is_err());
    unscheduled.answer("dropped");
    let late = server.callback(|_, _, ()| ());
    assert_eq!(handle.cancel(late.id(), "again"), Cancellation::Already);
    assert_counts(&handle, Counts { canceled: 6, ..NONE });
    drop(late);
    assert_eq!(figures(handle.dial_all()), [0, 0, 0, 0]);
    assert_counts(&handle, Counts { canceled: 6, ..NONE });
}

/// Looks at rule R12 wherever it is asked to. (It does not assert, as it is notified in drops, too.)
#[derive(Clone)]
struct Scale {
    queue: QueueHandle,
    weighed: Rc<Cell<u32>>,
    off_balance: Rc<RefCell<Vec<Tally>>>,
}

impl Scale {
    fn weigh(&self) {
        self.expect(self.queue.tally().balances());
    }

    fn expect(&self, balanced: bool) {
        self.weighed.set(self.weighed.get() + 1);
        if !balanced {
            self.off_balance.borrow_mut().push(self.queue.tally());
        }
    }

    fn weighing<C: 'static>(&self, captured: C) -> impl FnOnce(&QueueHandle) + 'static + use<C> {
        let scale = self.clone();
        move |_| {
            scale.weigh();
            drop(captured);
        }
    }

    fn on_drop(&self) -> util::OnDrop<impl FnOnce() + 'static + use<>> {
        let scale = self.clone();
        on_drop(move || scale.weigh())
    }
}

/// Counts how calls end, as it is notified, and compares with the tally.
struct Ledger(Scale, RefCell<[u64; 5]>);

impl Observer for Ledger {
    fn observe(&self, _: CallId, step: &Step) {
        let mut ends = self.1.borrow_mut();
        match step {
            Step::Finished => ends[0] += 1,
            Step::Canceled { .. } => ends[1] += 1,
            Step::Refused { .. } => ends[2] += 1,
            Step::Abandoned { .. } => ends[3] += 1,
            Step::Panicked => ends[4] += 1,
            _ => {}
        }
        let tally = self.0.queue.tally();
        let counted =
            [tally.finished, tally.canceled, tally.refused, tally.abandoned, tally.panicked];
        self.0.expect(tally.balances() && *ends == counted);
    }
}

impl Call for Scale {
    type Recipient = Self;

    fn can_dial(&self, scale: &Self) -> Result<(), &'static str> {
        scale.weigh();
        Err("weighed")
    }

    fn dial(self, _: &mut Self, _: &Context<'_, Self>) {}
}

#[test]
fn r12_the_tally_balances_at_every_instant() {
    let queue = CallQueue::new();
    let scale = Scale { queue: queue.handle(), weighed: Rc::default(), off_balance: Rc::default() };
    queue.add_observer(Ledger(scale.clone(), RefCell::default()));
    let hook = scale.clone();
    queue.set_wake_hook(move || hook.weigh());

    let server = queue.recipient(scale.clone());
    let nested = scale.weighing(scale.on_drop());
    let dials = move |queue: &QueueHandle| {
        queue.call(nested);
        assert_eq!(figures(queue.dial(Budget::calls(1))), [0, 0, 1, 3]);
    };
    queue.call(dials);
    server.schedule(scale.clone());
    queue.call(panics(scale.on_drop()));
    let canceled = queue.call(scale.weighing(scale.on_drop()));
    for end in ENDS {
        let (captured, inner) = (scale.on_drop(), scale.clone());
        end(queue.callback(move |_, ()| drop((inner.weigh(), captured))));
    }
    queue.cancel(canceled, "unwanted");
    let captured = scale.on_drop();
    let waiting = server.callback(move |scale: &mut Scale, _, ()| drop((scale.weigh(), captured)));
    assert_counts(&queue, Counts { unscheduled: 1, pending: 4, canceled: 2, abandoned: 1, ..NONE });

    panic_of(|| queue.dial_all());
    let never_spent = || {
        scale.weigh();
        false
    };
    assert_eq!(figures(queue.dial(Budget::calls(9).until(&never_spent))), [2, 1, 0, 0]);
    server.hang_up();
    waiting.answer(());
    queue.dial_all();
    let left = queue.call(scale.weighing(scale.on_drop()));
    let handle = queue.handle();
    drop(queue);
    assert_eq!(handle.cancel(left, "late"), Cancellation::Late);
    let over = Counts { finished: 3, canceled: 3, refused: 2, abandoned: 1, panicked: 1, ..NONE };
    assert_counts(&handle, over);
    assert_eq!(scale.off_balance.take(), []);
    assert!(scale.weighed.get() > 40, "weighed {} times", scale.weighed.get());
}

/// Every misuse that does not fail to compile, with what comes of it in any build.
#[test]
fn r13_misuse_is_the_same_in_debug_and_release() {
    let queue = CallQueue::new();
    let server = queue.recipient(());

    // A handler dials the calls to its own recipient; it cancels itself; it hangs up twice.
    let misbehaves = |(): &mut (), cx: &Context<'_, ()>| {
        cx.call(|(), _| unreachable!("live twice"));
        assert_eq!(figures(cx.queue().dial_all()), [0, 0, 1, 0]);
        assert_eq!(cx.queue().cancel(cx.id(), "live"), Cancellation::Late);
        cx.hang_up();
        cx.hang_up();
    };
    let id = server.call(misbehaves);
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    assert_counts(&queue, Counts { finished: 1, refused: 1, ..NONE });

    // Calls to a recipient that is gone.
    server.call(|(), _| unreachable!("gone"));
    server.callback(|(), _, ()| unreachable!("gone")).answer(());
    assert_eq!(figures(queue.dial_all()), [0, 0, 2, 0]);
    server.hang_up();

    // A callback forgotten; an id used when it is stale, twice, or with another queue.
    drop(queue.callback(|_, ()| unreachable!("abandoned")));
    assert_eq!(queue.cancel(id, "stale"), Cancellation::Late);
    let canceled = queue.call(never(()));
    assert_eq!(queue.cancel(canceled, "once"), Cancellation::Canceled);
    assert_eq!(queue.cancel(canceled, "twice"), Cancellation::Already);
    assert_eq!(CallQueue::new().cancel(canceled, "elsewhere"), Cancellation::Foreign);
    assert_counts(&queue, Counts { finished: 1, canceled: 1, refused: 3, abandoned: 1, ..NONE });

    // The queue dropped by its own handler, and used afterwards.
    let handle = queue.handle();
    let owner = Cell::new(Some(queue));
    let ends_it = move |queue: &QueueHandle| {
        drop(owner.take());
        assert!(queue.try_call(never(())).is_err());
        drop(queue.callback(|_, ()| unreachable!("closed")));
        assert_eq!(figures(queue.dial_all()), [0, 0, 0, 0]);
    };
    handle.call(ends_it);
    let lost = handle.call(never(()));
    assert_eq!(figures(handle.dial_all()), [1, 1, 0, 0]);
    assert_eq!(handle.cancel(lost, "over"), Cancellation::Late);
    assert_counts(&handle, Counts { finished: 2, canceled: 3, refused: 3, abandoned: 1, ..NONE });
}
