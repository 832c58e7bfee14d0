//! Panics in the code of users, wherever the queue runs it: state and counts stay right, and the
//! calls behind are dialed by the next turn.

use std::cell::Cell;
use std::rc::Rc;

use support::util::{
    self, Counted, Counts, Drops, NONE, Trace, assert_counts, figures, never, on_drop, panic_of,
    panics,
};
use switchboard::{
    Address, Budget, Call, CallId, CallQueue, Cancellation, Context, Observer, QueueHandle, Step,
};

/// Captured values that panic when they are dropped.
fn bomb() -> util::OnDrop<impl FnOnce()> {
    on_drop(|| panic!("in a drop"))
}

/// Asserts that the queue dials on, first the calls that it has and then a new one.
#[track_caller]
fn assert_goes_on(queue: &QueueHandle, pending: u64) {
    let tally = queue.tally();
    assert_eq!((tally.pending, tally.live), (pending, 0));
    assert!(tally.balances());
    queue.call(|_| ());
    assert_eq!(queue.dial_all().dialed, pending + 1);
    assert_eq!(queue.tally().finished, tally.finished + pending + 1);
}

/// A handler that dials the queue.
fn dials_within((): &mut (), cx: &Context<'_, ()>) {
    cx.queue().dial_all();
}

#[test]
fn every_kind_of_handler_panics() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let server = queue.recipient(());
    let captured = drops.value();
    server.call(move |(), cx| panics(captured)(cx.queue()));
    let captured = drops.value();
    let callback = server.callback(move |(), cx, value| panics((captured, value))(cx.queue()));
    callback.answer(drops.value());
    queue.call(panics(drops.value()));
    queue.callback(|queue, value| panics(value)(queue)).answer(drops.value());
    server.call(|(), _| ());
    for panicked in 1..=4 {
        assert_eq!(panic_of(|| queue.dial_all()), "on purpose");
        assert!(!server.is_live());
        assert_counts(&queue, Counts { pending: 5 - panicked, panicked, ..NONE });
    }
    assert_eq!((drops.count(), drops.alive()), (5, 0));
    assert_goes_on(&queue, 1);
}

#[test]
fn a_panic_passes_through_nested_turns() {
    let queue = CallQueue::new();
    let (outer, inner) = (queue.recipient(()), queue.recipient(()));
    outer.call(dials_within);
    inner.call(dials_within);
    queue.call(panics(()));
    queue.call(|_| ());
    assert_eq!(panic_of(|| queue.dial_all()), "on purpose");
    assert!(!outer.is_live() && !inner.is_live());
    assert_counts(&queue, Counts { pending: 1, panicked: 3, ..NONE });
    assert_goes_on(&queue, 1);
}

#[test]
fn a_captured_value_panics_as_its_call_ends() {
    let queue = CallQueue::new();
    let server = queue.recipient(());

    let canceled = queue.call(never(bomb()));
    assert_eq!(panic_of(|| queue.cancel(canceled, "unwanted")), "in a drop");
    assert_eq!(queue.cancel(canceled, "again"), Cancellation::Already);
    assert_counts(&queue, Counts { canceled: 1, ..NONE });
    let captured = bomb();
    let callback = queue.callback(move |queue, ()| never(captured)(queue));
    assert_eq!(panic_of(|| queue.cancel(callback.id(), "unwanted")), "in a drop");
    callback.answer(());
    assert_counts(&queue, Counts { canceled: 2, ..NONE });

    let captured = bomb();
    let callback = queue.callback(move |queue, ()| never(captured)(queue));
    assert_eq!(panic_of(|| callback.decline("never")), "in a drop");
    let captured = bomb();
    let callback = queue.callback(move |queue, ()| never(captured)(queue));
    assert_eq!(panic_of(|| drop(callback)), "in a drop");
    assert_counts(&queue, Counts { canceled: 3, abandoned: 1, ..NONE });

    let callback = queue.callback(|_, _| ());
    queue.cancel(callback.id(), "unwanted");
    assert_eq!(panic_of(|| callback.answer(bomb())), "in a drop");
    assert_counts(&queue, Counts { canceled: 4, abandoned: 1, ..NONE });

    let captured = bomb();
    server.call(move |(), _| drop(captured));
    queue.call(|_| ());
    assert_eq!(panic_of(|| queue.dial_all()), "in a drop");
    assert!(!server.is_live());
    let counts = Counts { pending: 1, canceled: 4, abandoned: 1, panicked: 1, ..NONE };
    assert_counts(&queue, counts);

    let captured = bomb();
    server.call(move |(), _| drop(captured));
    assert_eq!(panic_of(|| server.hang_up()), "in a drop");
    queue.dial_all();
    assert_counts(&queue, Counts { pending: 0, finished: 1, refused: 1, ..counts });
    assert_goes_on(&queue, 0);
}

#[test]
fn a_captured_value_panics_as_the_queue_is_dropped() {
    let drops = Drops::default();
    let queue = CallQueue::new();
    let mut callbacks = Vec::new();
    for n in 0..20 {
        let captured = (drops.value(), (n == 7).then(bomb));
        queue.call(never(captured));
        let captured = drops.value();
        callbacks.push(queue.callback(move |queue, ()| never(captured)(queue)));
    }
    let handle = queue.handle();
    assert_eq!(panic_of(|| drop(queue)), "in a drop");
    assert!(handle.is_closed());
    assert_eq!((drops.count(), drops.alive()), (40, 0));
    assert_counts(&handle, Counts { canceled: 40, ..NONE });
    drop(callbacks);
    assert_counts(&handle, Counts { canceled: 40, ..NONE });

    let queue = CallQueue::new();
    let captured = bomb();
    let waiting =
        [queue.callback(move |queue, ()| never(captured)(queue)), queue.callback(|_, ()| ())];
    let handle = queue.handle();
    assert_eq!(panic_of(|| drop(queue)), "in a drop");
    assert_counts(&handle, Counts { canceled: 2, ..NONE });
    for callback in waiting {
        callback.answer(());
    }
}

#[test]
fn the_value_of_a_recipient_panics_as_it_is_dropped() {
    let queue = CallQueue::new();
    let idle = queue.recipient(bomb());
    let address = idle.address();
    assert_eq!(panic_of(|| idle.hang_up()), "in a drop");
    assert!(address.is_gone() && !address.is_live());
    address.call(|_, _| unreachable!("gone"));
    assert_eq!(figures(queue.dial_all()), [0, 0, 1, 0]);

    let live = queue.recipient(bomb());
    live.call(|_, cx| cx.hang_up());
    live.call(|_, _| unreachable!("gone"));
    assert_eq!(panic_of(|| queue.dial_all()), "in a drop");
    assert!(live.is_gone() && !live.is_live());
    assert_counts(&queue, Counts { pending: 1, refused: 1, finished: 1, ..NONE });
    assert_eq!(figures(queue.dial_all()), [0, 0, 1, 0]);
    drop(live);
    assert_goes_on(&queue, 0);
}

#[test]
fn a_handler_panics_after_it_hung_up() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let server = queue.recipient(drops.value());
    let hangs_up = |_: &mut Counted, cx: &Context<'_, Counted>| {
        cx.hang_up();
        panic!("on purpose");
    };
    server.call(hangs_up);
    assert_eq!(panic_of(|| queue.dial_all()), "on purpose");
    assert_eq!((drops.count(), drops.alive()), (1, 0));
    assert_counts(&queue, Counts { panicked: 1, ..NONE });
    assert_goes_on(&queue, 0);
}

/// A call whose check panics.
struct PanicsInCheck(Counted);

impl Call for PanicsInCheck {
    type Recipient = ();

    fn can_dial(&self, (): &()) -> Result<(), &'static str> {
        panic!("in a check");
    }

    fn dial(self, (): &mut (), _: &Context<'_, ()>) {
        drop(self.0);
    }
}

#[test]
fn a_check_panics() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let server = queue.recipient(());
    server.schedule(PanicsInCheck(drops.value()));
    server.call(|(), _| ());
    assert_eq!(panic_of(|| queue.dial_all()), "in a check");
    assert_eq!((drops.count(), server.is_live()), (1, false));
    assert_counts(&queue, Counts { pending: 1, panicked: 1, ..NONE });
    assert_goes_on(&queue, 1);
}

#[test]
fn a_condition_and_a_maker_panic() {
    let queue = CallQueue::new();
    queue.call(|_| ());
    let budget = Budget::calls(1);
    assert_eq!(panic_of(|| queue.dial(budget.until(&|| panic!("asked")))), "asked");
    assert_counts(&queue, Counts { pending: 1, ..NONE });
    assert_goes_on(&queue, 1);

    let kept = Cell::new(None);
    let maker = |own: &Address<()>| {
        own.call(|(), _| unreachable!("never made"));
        kept.set(Some(own.clone()));
        panic!("making");
    };
    assert_eq!(panic_of(|| queue.recipient_with(maker)), "making");
    assert!(kept.take().unwrap().is_gone());
    assert_eq!(figures(queue.dial_all()), [0, 0, 1, 0]);
    assert_goes_on(&queue, 0);
}

#[test]
fn a_wake_hook_panics() {
    let queue = CallQueue::new();
    let trace = Trace::default();
    let log = trace.clone();
    queue.set_wake_hook(move || {
        log.add("woken");
        panic!("in the hook");
    });
    for round in 1..=2 {
        assert_eq!(panic_of(|| queue.call(|_| ())), "in the hook");
        queue.call(|_| ());
        assert_counts(&queue, Counts { pending: 2, finished: 2 * round - 2, ..NONE });
        assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
        assert_eq!(trace.take(), ["woken"]);
    }
    let callback = queue.callback(|_, ()| ());
    assert_eq!(panic_of(|| callback.answer(())), "in the hook");
    queue.clear_wake_hook();
    assert_goes_on(&queue, 1);
}

#[test]
fn an_observer_that_panics_does_not_keep_the_embedder_asleep() {
    for step in ["Created", "Scheduled"] {
        let queue = CallQueue::new();
        let trace = Trace::default();
        let log = trace.clone();
        queue.set_wake_hook(move || log.add("woken"));
        queue.add_observer(PanicsAt(step, Rc::default(), Cell::new(false)));
        assert_eq!(panic_of(|| queue.call(|_| ())), "the observer");
        assert_eq!(trace.take(), ["woken"], "{step}");
        assert_goes_on(&queue, 1);
    }
}

/// Panics at the first step whose name this is, and counts the steps.
struct PanicsAt(&'static str, Rc<Cell<u32>>, Cell<bool>);

impl Observer for PanicsAt {
    fn observe(&self, _: CallId, step: &Step) {
        self.1.set(self.1.get() + 1);
        if format!("{step:?}").starts_with(self.0) && !self.2.replace(true) {
            panic!("the observer");
        }
    }
}

fn schedules(queue: &QueueHandle, captured: Counted) {
    queue.call(move |_| drop(captured));
}

fn answers(queue: &QueueHandle, captured: Counted) {
    queue.callback(|_, captured| drop(captured)).answer(captured);
}

fn dials(queue: &QueueHandle, captured: Counted) {
    schedules(queue, captured);
    queue.dial_all();
}

fn dials_a_callback(queue: &QueueHandle, captured: Counted) {
    queue.callback(move |_, ()| drop(captured)).answer(());
    queue.dial_all();
}

fn cancels(queue: &QueueHandle, captured: Counted) {
    let id = queue.call(never(captured));
    queue.cancel(id, "unwanted");
}

fn cancels_late(queue: &QueueHandle, captured: Counted) {
    let id = queue.call(move |_| drop(captured));
    queue.dial_all();
    queue.cancel(id, "late");
}

fn declines(queue: &QueueHandle, captured: Counted) {
    queue.callback(move |queue, ()| never(captured)(queue)).decline("never");
}

fn abandons(queue: &QueueHandle, captured: Counted) {
    drop(queue.callback(move |queue, ()| never(captured)(queue)));
}

fn refuses(queue: &QueueHandle, captured: Counted) {
    let server = queue.recipient(());
    server.call(move |(), cx| never(captured)(cx.queue()));
    server.hang_up();
    queue.dial_all();
}

fn refuses_in_a_nested_turn(queue: &QueueHandle, captured: Counted) {
    let server = queue.recipient(());
    server.call(dials_within);
    server.call(move |(), cx| never(captured)(cx.queue()));
    queue.dial_all();
}

/// (Not at Panicked: that step is reported while the handler unwinds, so the process would abort.)
#[test]
fn an_observer_panics_at_each_step() {
    type Story = (&'static str, fn(&QueueHandle, Counted), Counts);
    let stories: [Story; 12] = [
        ("Created", schedules, Counts { pending: 1, ..NONE }),
        ("Scheduled", schedules, Counts { pending: 1, ..NONE }),
        ("Scheduled", answers, Counts { pending: 1, ..NONE }),
        // (The call may be a promise.)
        ("Dialed", dials, Counts { pending: 1, ..NONE }),
        ("Dialed", dials_a_callback, Counts { pending: 1, ..NONE }),
        ("Finished", dials, Counts { finished: 1, ..NONE }),
        ("Canceled", cancels, Counts { canceled: 1, ..NONE }),
        ("Canceled", declines, Counts { canceled: 1, ..NONE }),
        ("LateCancel", cancels_late, Counts { finished: 1, ..NONE }),
        ("Refused", refuses, Counts { refused: 1, ..NONE }),
        ("Refused", refuses_in_a_nested_turn, Counts { refused: 1, panicked: 1, ..NONE }),
        ("Abandoned", abandons, Counts { abandoned: 1, ..NONE }),
    ];
    for (step, story, counts) in stories {
        let queue = CallQueue::new();
        let (drops, reported) = (Drops::default(), Rc::new(Cell::new(0)));
        queue.add_observer(PanicsAt(step, Rc::clone(&reported), Cell::new(false)));
        let captured = drops.value();
        assert_eq!(panic_of(|| story(&queue, captured)), "the observer");
        assert_counts(&queue, counts);
        assert_eq!(drops.alive(), counts.pending, "{step}");
        // The observer is still there, and so is the queue.
        let before = reported.get();
        assert_goes_on(&queue, counts.pending);
        // Nothing is reported twice.
        let left = if step == "Dialed" { 1 } else { 2 };
        assert_eq!(reported.get(), before + 4 + left * counts.pending as u32, "{step}");
        assert_eq!(drops.alive(), 0, "{step}");
    }
}

/// The call was once left waiting, though no one held its `Callback` or knew its id.
#[test]
fn an_observer_panics_as_a_callback_is_created() {
    let queue = CallQueue::new();
    let (drops, reported) = (Drops::default(), Rc::new(Cell::new(0)));
    queue.add_observer(PanicsAt("Created", Rc::clone(&reported), Cell::new(false)));
    let captured = drops.value();
    let create = || drop(queue.callback(move |queue, ()| never(captured)(queue)));
    assert_eq!(panic_of(create), "the observer");
    assert_counts(&queue, Counts { abandoned: 1, ..NONE });
    assert_eq!((drops.alive(), reported.get()), (0, 2));
    assert_goes_on(&queue, 0);
}

#[test]
fn an_observer_panics_as_the_queue_is_dropped() {
    let queue = CallQueue::new();
    let drops = Drops::default();
    let reported = Rc::new(Cell::new(0));
    for _ in 0..10 {
        queue.call(never(drops.value()));
    }
    queue.add_observer(PanicsAt("Canceled", Rc::clone(&reported), Cell::new(false)));
    let handle = queue.handle();
    assert_eq!(panic_of(|| drop(queue)), "the observer");
    assert_eq!((reported.get(), drops.alive()), (10, 0));
    assert_counts(&handle, Counts { canceled: 10, ..NONE });
}

/// The hook may hold the queue, so it must not stay.
#[test]
fn the_wake_hook_of_a_closed_queue_goes_also_if_the_observer_panics_as_it_drops() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let handle = queue.handle();
    let (observer, hook) = (bomb(), (drops.value(), handle.clone()));
    handle.add_observer(move |_: CallId, _: &Step| _ = &observer);
    handle.set_wake_hook(move || _ = &hook);
    handle.call(move |_| drop(queue));
    assert_eq!(panic_of(|| handle.dial_all()), "in a drop");
    assert_eq!(drops.count(), 1);
    assert_counts(&handle, Counts { finished: 1, ..NONE });
}
