//! Code that uses the queue while the queue is at work: nested turns, and recipients, values and
//! observers that go or come meanwhile.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use support::util::{
    Counted, Counts, Drops, NONE, OnDrop, Steps, Trace, assert_counts, figures, on_drop,
};
use switchboard::{
    Address, Budget, Call, CallId, CallQueue, Context, Observer, QueueHandle, Recipient, Refusal,
    Step,
};

#[test]
fn turns_nest() {
    fn dial_deeper(queue: &QueueHandle, depth: u64) {
        assert_counts(queue, Counts { live: depth, pending: 50 - depth, ..NONE });
        if depth < 50 {
            assert_eq!(figures(queue.dial(Budget::calls(1))), [50 - depth, 0, 0, 0]);
        }
    }
    let queue = CallQueue::new();
    for depth in 1..=50 {
        queue.call(move |queue| dial_deeper(queue, depth));
    }
    assert_eq!(figures(queue.dial(Budget::calls(1))), [50, 0, 0, 0]);
    assert_counts(&queue, Counts { finished: 50, ..NONE });
}

#[test]
fn a_modal_loop_dials_everyone_else() {
    /// Counts up in calls to itself.
    fn tick(count: &mut u64, cx: &Context<'_, u64>) {
        *count += 1;
        if *count < 10 {
            cx.call(tick);
        }
    }
    let queue = CallQueue::new();
    let (modal, clocks) = (queue.recipient(()), [(); 3].map(|()| queue.recipient(0)));
    let addresses = clocks.each_ref().map(|clock| clock.address());
    let loops = move |(): &mut (), cx: &Context<'_, ()>| {
        for clock in &addresses {
            clock.call(tick);
        }
        for turn in 1..=10 {
            assert_eq!(
                figures(cx.queue().dial_pending()),
                [3, 0, 0, if turn < 10 { 3 } else { 0 }]
            );
            assert!(cx.is_live() && addresses.iter().all(|clock| !clock.is_live()));
        }
    };
    modal.call(loops);
    assert_eq!(figures(queue.dial_all()), [31, 0, 0, 0]);
    for clock in &clocks {
        clock.call(|count, _| assert_eq!(*count, 10));
    }
    assert_eq!(figures(queue.dial_all()), [3, 0, 0, 0]);
}

#[test]
fn a_handler_hangs_up_on_its_own_recipient() {
    let queue = CallQueue::new();
    let (drops, steps) = (Drops::default(), Steps::watch(&queue));
    let server = queue.recipient(drops.value());
    let inner = drops.clone();
    let hangs_up = move |_: &mut Counted, cx: &Context<'_, Counted>| {
        cx.hang_up();
        assert_eq!((inner.count(), cx.is_gone(), cx.is_live()), (0, true, true));
        cx.call(|_, _| unreachable!("gone"));
        // It is gone before it is live, also for a call in a nested turn.
        assert_eq!(figures(cx.queue().dial_all()), [0, 0, 1, 0]);
        assert_eq!(inner.count(), 0);
    };
    server.call(hangs_up);
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    assert_eq!(drops.count(), 1);
    let refused = |step: &Step| matches!(step, Step::Refused { refusal: Refusal::Gone, .. });
    assert_eq!(steps.calls(refused).len(), 1);
    drop(server);
    assert_eq!((drops.count(), drops.alive()), (1, 0));
}

#[test]
fn a_handler_owns_its_own_recipient_and_drops_it() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    type Own = (Cell<Option<Recipient<Counting>>>, Trace);
    struct Counting(Rc<Own>);
    impl Drop for Counting {
        fn drop(&mut self) {
            self.0.1.add("value dropped");
        }
    }
    let own: Rc<Own> = Rc::new((Cell::new(None), trace.clone()));
    let recipient = queue.recipient(Counting(Rc::clone(&own)));
    let lets_itself_go = |value: &mut Counting, cx: &Context<'_, Counting>| {
        drop(value.0.0.take());
        value.0.1.add(format!("gone: {}", cx.is_gone()));
    };
    recipient.call(lets_itself_go);
    own.0.set(Some(recipient));
    assert_eq!(figures(queue.dial_all()), [1, 0, 0, 0]);
    assert_eq!(trace.take(), ["gone: true", "value dropped"]);
    assert_eq!(Rc::strong_count(&own), 1);
}

#[test]
fn a_recipient_is_dropped_by_another_while_it_is_live() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let victim = queue.recipient(drops.value());
    let address = victim.address();
    let other = queue.recipient(Some(victim));

    let inner = drops.clone();
    let dials = move |_: &mut Counted, cx: &Context<'_, Counted>| {
        assert_eq!(figures(cx.queue().dial_all()), [1, 0, 1, 0]);
        assert_eq!((inner.count(), cx.is_gone()), (0, true));
    };
    address.call(dials);
    other.call(|victim, _| drop(victim.take()));
    address.call(|_, _| unreachable!("gone"));
    let inner = drops.clone();
    assert_eq!(figures(queue.dial_all()), [2, 0, 1, 0]);
    assert_eq!((inner.count(), inner.alive()), (1, 0));
    assert!(address.is_gone() && !address.is_live());
    assert_counts(&queue, Counts { finished: 2, refused: 1, ..NONE });
}

#[test]
fn the_value_of_a_recipient_drops_while_it_uses_the_queue() {
    for live in [false, true] {
        let queue = CallQueue::new();
        let trace = Trace::default();
        let (handle, log) = (queue.handle(), trace.clone());
        let own = Rc::new(RefCell::new(None::<Address<_>>));
        let address = Rc::clone(&own);
        let busy = on_drop(move || {
            let own: Address<OnDrop<Box<dyn FnOnce()>>> = address.take().unwrap();
            assert!(own.is_gone() && !own.is_live());
            own.call(|_, _| unreachable!("gone"));
            handle.call(log.note("scheduled"));
            assert_eq!(figures(handle.dial_all()), [1, 0, 1, 0]);
            log.add("value dropped");
        });
        let boxed: Box<dyn FnOnce()> = Box::new(move || drop(busy));
        let server = queue.recipient(on_drop(boxed));
        own.replace(Some(server.address()));
        if live {
            server.call(|_, cx| cx.hang_up());
            assert_eq!(figures(queue.dial_all()), [2, 0, 1, 0]);
        }
        drop(server);
        assert_eq!(trace.take(), ["scheduled", "value dropped"]);
        let finished = 1 + u64::from(live);
        assert_counts(&queue, Counts { finished, refused: 1, ..NONE });
    }
}

#[test]
fn a_recipient_calls_itself_while_it_is_made() {
    let queue = CallQueue::new();
    let made = queue.recipient_with(|own: &Address<Vec<u32>>| {
        own.call(|list, _| list.push(2));
        own.callback(|list: &mut Vec<u32>, _, value| list.push(value)).answer(3);
        assert!(!own.is_gone());
        vec![1]
    });
    assert_counts(&queue, Counts { pending: 2, ..NONE });
    assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
    made.call(|list, _| assert_eq!(*list, [1, 2, 3]));
    assert_eq!(figures(queue.dial_all()), [1, 0, 0, 0]);

    // No one is there yet if the queue is dialed meanwhile.
    let early = queue.recipient_with(|own: &Address<()>| {
        own.call(|(), _| unreachable!("too early"));
        assert_eq!(figures(own.queue().dial_all()), [0, 0, 1, 0]);
    });
    early.call(|(), _| ());
    assert_eq!(figures(queue.dial_all()), [1, 0, 0, 0]);
    assert_ne!(made.info().number, early.info().number);
}

#[test]
fn an_observer_uses_the_queue_at_every_step() {
    let queue = CallQueue::new();
    let (handle, busy, seen) = (queue.handle(), Cell::new(false), Trace::default());
    let trace = seen.clone();
    queue.add_observer(move |_: CallId, step: &Step| {
        if busy.replace(true) {
            return;
        }
        trace.add(format!("{step:?}").split(' ').next().unwrap());
        handle.call(|_| ());
        let unwanted = handle.call(|_| unreachable!("canceled"));
        handle.cancel(unwanted, "by the observer");
        let answered = handle.callback(|_, ()| ());
        drop(handle.callback(|_, ()| ()));
        answered.answer(());
        // To dial the call before it is reported as scheduled would be possible, but confusing.
        if !matches!(step, Step::Created { .. } | Step::Scheduled { .. }) {
            handle.dial_all();
        }
        assert!(handle.tally().balances());
        busy.set(false);
    });
    let server = queue.recipient(());
    let id = server.call(|(), _| ());
    queue.dial_all();
    queue.cancel(id, "late");
    queue.callback(|_, ()| ()).decline("never");
    drop(queue.callback(|_, ()| ()));
    server.call(|(), _| ());
    server.hang_up();
    queue.dial_all();
    let finished = ["Created", "Scheduled", "Dialed", "Finished", "LateCancel"];
    let callbacks = ["Created", "Canceled", "Created", "Abandoned"];
    let refused = ["Created", "Scheduled", "Refused"];
    assert_eq!(seen.take(), [&finished[..], &callbacks, &refused].concat());
    let tally = queue.tally();
    assert_eq!((tally.pending, tally.live, tally.unscheduled), (0, 0, 0));
}

/// Replaces itself by another observer, or by none, when it is notified of the first step.
struct Replaces(Option<Steps>, Cell<Option<QueueHandle>>, Trace);

impl Observer for Replaces {
    fn observe(&self, _: CallId, step: &Step) {
        self.2.add(step.to_string().split(' ').next().unwrap());
        let Some(queue) = self.1.take() else { return };
        match &self.0 {
            Some(steps) => {
                queue.clear_observers();
                queue.add_observer(steps.clone());
            }
            None => queue.clear_observers(),
        }
        self.2.add("replaced");
    }
}

impl Drop for Replaces {
    fn drop(&mut self) {
        self.2.add("dropped");
    }
}

#[test]
fn an_observer_is_replaced_from_inside_itself() {
    for next in [None, Some(Steps::default())] {
        let queue = CallQueue::new();
        let trace = Trace::default();
        let observer = Replaces(next.clone(), Cell::new(Some(queue.handle())), trace.clone());
        queue.add_observer(observer);
        let id = queue.call(|_| ());
        assert_eq!(trace.take(), ["created", "replaced", "dropped"]);
        queue.dial_all();
        if let Some(next) = next {
            let steps: Vec<_> = next.of(id).iter().map(ToString::to_string).collect();
            assert!(steps[0].starts_with("scheduled at "));
            assert_eq!(steps[1..], ["dialed", "finished"]);
        }
        assert_counts(&queue, Counts { finished: 1, ..NONE });
    }
}

#[test]
fn an_observer_that_is_replaced_drops_while_it_uses_the_queue() {
    let queue = CallQueue::new();
    let (handle, trace) = (queue.handle(), Trace::default());
    let log = trace.clone();
    let busy = on_drop(move || {
        handle.add_observer(|_: CallId, _: &Step| ());
        handle.call(log.note("by the drop"));
        handle.dial_all();
    });
    queue.add_observer(move |_: CallId, _: &Step| _ = &busy);
    queue.clear_observers();
    assert_eq!(trace.take(), ["by the drop"]);
    assert_counts(&queue, Counts { finished: 1, ..NONE });
}

#[test]
fn a_call_that_is_over_as_its_observer_sees_it_is_not_scheduled_after_that() {
    let ends = [
        |queue: &QueueHandle, call| _ = queue.cancel(call, "not wanted"),
        |queue: &QueueHandle, _| _ = queue.dial_all(),
    ];
    for (end, reported) in ends.into_iter().zip([["created", "canceled"], ["dialed", "finished"]]) {
        let (queue, trace) = (CallQueue::new(), Trace::default());
        let (handle, log) = (queue.handle(), trace.clone());
        queue.add_observer(move |call: CallId, step: &Step| {
            log.add(step.to_string().split([' ', ':']).next().unwrap_or_default());
            if matches!(step, Step::Created { .. }) {
                end(&handle, call);
            }
        });
        queue.call(|_| ());
        let steps = trace.take();
        assert!(steps.ends_with(&reported.map(String::from)), "{steps:?}");
    }
}

/// Dials, once, when it is notified of a step.
struct Dialer {
    queue: QueueHandle,
    at: fn(&Step) -> bool,
    has_dialed: Cell<bool>,
}

impl Observer for Dialer {
    fn observe(&self, _: CallId, step: &Step) {
        if (self.at)(step) && !self.has_dialed.replace(true) {
            self.queue.dial_all();
        }
    }
}

/// A call whose check drops the recipient, and objects.
struct Closing(Rc<RefCell<Option<Recipient<()>>>>);

impl Call for Closing {
    type Recipient = ();

    fn can_dial(&self, (): &()) -> Result<(), &'static str> {
        drop(self.0.take());
        Err("closed")
    }

    fn dial(self, (): &mut (), _: &Context<'_, ()>) {
        unreachable!("its check objects");
    }
}

/// The value was still there when the observer was notified of the end of the call.
#[test]
fn r09_an_observer_that_dials_reaches_no_recipient_that_is_gone() {
    type Owner = Rc<RefCell<Option<Recipient<()>>>>;
    type Way = (fn(&Address<()>, &Owner), fn(&Step) -> bool, Counts);
    let hangs_up = |server: &Address<()>, _: &Owner| {
        server.call(|(), cx| cx.hang_up());
    };
    let panics = |server: &Address<()>, _: &Owner| {
        let handler = |(): &mut (), cx: &Context<'_, ()>| {
            cx.hang_up();
            panic::resume_unwind(Box::new("on purpose"));
        };
        server.call(handler);
    };
    let closes = |server: &Address<()>, owner: &Owner| {
        server.schedule(Closing(Rc::clone(owner)));
    };
    let ways: [Way; 3] = [
        (hangs_up, |step| *step == Step::Finished, Counts { finished: 1, refused: 1, ..NONE }),
        (panics, |step| *step == Step::Panicked, Counts { panicked: 1, refused: 1, ..NONE }),
        (closes, |step| matches!(step, Step::Refused { .. }), Counts { refused: 2, ..NONE }),
    ];
    for (ends, at, counts) in ways {
        let queue = CallQueue::new();
        let owner = Rc::new(RefCell::new(Some(queue.recipient(()))));
        let address = owner.borrow().as_ref().map(|owner| owner.address()).unwrap();
        ends(&address, &owner);
        address.call(|(), _| unreachable!("it is gone"));
        let has_dialed = Cell::new(false);
        queue.add_observer(Dialer { queue: queue.handle(), at, has_dialed });
        let _ = panic::catch_unwind(AssertUnwindSafe(|| queue.dial_all()));
        assert!(address.is_gone());
        assert_counts(&queue, counts);
    }
}
