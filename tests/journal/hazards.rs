//! Where a journal could take one call's doing for another's: panics, nested turns, two queues, an
//! observer that comes late, and observers in pairs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use support::story::Decisions;
use support::util::{PanicsInCheck, panic_of, panics};
use switchboard::journal::{End, Journal, OpEnd};
use switchboard::op::{OpError, OpResult, OpState, Operation};
use switchboard::{
    CallId, CallQueue, Callback, Cancellation, Context, Observer, OpStep, Outcome, QueueHandle,
    Step,
};

fn journaled(queue: &CallQueue) -> Rc<Journal> {
    let journal = Rc::new(Journal::new());
    queue.add_observer(Rc::clone(&journal));
    journal
}

/// Who scheduled a call.
fn cause(journal: &Journal, call: CallId) -> Option<CallId> {
    journal.history().causes(call).first().copied()
}

#[test]
fn after_a_panic_nothing_is_the_doing_of_the_call_that_panicked() {
    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let outer = queue.call(|queue| {
        queue.call(panics(()));
        let _ = queue.dial_all();
    });
    panic_of(|| queue.dial_all());
    let after = queue.call(|_| ());
    queue.dial_all();
    assert_eq!(cause(&journal, after), None);
    let history = journal.history();
    let inner = history.effects(outer);
    assert_eq!(inner.len(), 1);
    assert_eq!(history.call(inner[0]).unwrap().dialed.unwrap().by, Some(outer));
    assert_eq!(history.call(after).unwrap().dialed.unwrap().by, None);
}

#[test]
fn in_nested_turns_the_innermost_live_call_is_the_cause() {
    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (before, within, after) = (Rc::clone(&seen), Rc::clone(&seen), Rc::clone(&seen));
    let outer = queue.call(move |queue| {
        before.borrow_mut().push(queue.call(|_| ()));
        let _ = queue.dial_all();
        after.borrow_mut().push(queue.call(|_| ()));
    });
    let inner = queue.call(move |queue| within.borrow_mut().push(queue.call(|_| ())));
    queue.dial_all();
    let causes: Vec<_> = seen.borrow().iter().map(|call| cause(&journal, *call).unwrap()).collect();
    assert_eq!(causes, [outer, inner, outer]);
}

#[test]
fn a_journal_that_is_set_in_a_handler_learns_of_that_call_when_it_ends() {
    let queue = CallQueue::new();
    let journal = Rc::new(Journal::new());
    let (late, seen) = (Rc::clone(&journal), Rc::new(Cell::new(None)));
    let shown = Rc::clone(&seen);
    let live = queue.call(move |queue| {
        queue.add_observer(Rc::clone(&late));
        let nested = move |queue: &QueueHandle| shown.set(Some(queue.call(|_| ())));
        queue.call(nested);
        let _ = queue.dial_pending();
    });
    queue.dial_all();
    let within = seen.get().unwrap();
    let nested = cause(&journal, within).unwrap();
    assert_eq!(journal.history().causes(within), [nested, live], "each is the doing of the next");
    let after = queue.call(|_| ());
    assert_eq!(cause(&journal, after), None);
    let story = journal.explain(live).to_string();
    assert!(story.contains("its beginning is not known: the journal did not see it"), "{story}");
    assert!(story.contains("  finished\n"), "{story}");
}

#[test]
fn two_queues_of_one_journal_are_distinct_and_cause_each_other() {
    let (one, other) = (Rc::new(CallQueue::new()), Rc::new(CallQueue::new()));
    let journal = journaled(&one);
    other.add_observer(Rc::clone(&journal));
    let (queue, seen) = (Rc::clone(&other), Rc::new(Cell::new(None)));
    let shown = Rc::clone(&seen);
    let live = one.call(move |_| {
        shown.set(Some(queue.call(|_| ())));
        let _ = queue.dial_all();
    });
    one.dial_all();
    let nested = seen.get().unwrap();
    assert_eq!(live.to_string(), nested.to_string(), "their ids look the same");
    let history = journal.history();
    assert_eq!(history.causes(nested), [live]);
    assert_eq!(history.call(nested).unwrap().dialed.unwrap().by, Some(live));
    assert_eq!(history.recipients().len(), 2, "functions of each");
}

#[test]
fn the_clock_may_use_the_queue_and_the_journal() {
    let queue = Rc::new(CallQueue::new());
    let handle = queue.handle();
    let asks = Rc::new(Cell::new(false));
    let (asked, journal) = (Rc::clone(&asks), Rc::new(RefCell::new(None::<Rc<Journal>>)));
    let reads = Rc::clone(&journal);
    let clock = move || {
        if asked.replace(false) {
            let _ = handle.tally();
            let _ = reads.borrow().as_ref().map(|journal| journal.figures());
        }
        Instant::now()
    };
    let set = Rc::new(Journal::with_clock(64, clock));
    journal.replace(Some(Rc::clone(&set)));
    queue.add_observer(Rc::clone(&set));
    asks.set(true);
    queue.call(|_| ());
    queue.dial_all();
    assert_eq!(set.figures().counts.finished, 1);
    journal.take();
}

#[test]
fn of_calls_that_are_over_only_their_steps_are_kept() {
    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let server = queue.recipient(());
    let canceled = queue.call(|_| ());
    queue.cancel(canceled, "unwanted");
    let address = server.address();
    server.hang_up();
    address.call(|(), _| ()); // refused
    queue.call(|_| ());
    queue.call(panics(()));
    let answered = queue.callback(|_, ()| ());
    let id = answered.id();
    answered.answer(());
    queue.cancel(id, "unwanted");
    assert_eq!(
        format!("{journal:?}"),
        "Journal(8 steps, 0 dropped, 3 calls pending, 0 live, 0 labels and names)"
    );
    panic_of(|| queue.dial_all());
    assert_eq!(
        format!("{journal:?}"),
        "Journal(13 steps, 0 dropped, 0 calls pending, 0 live, 0 labels and names)"
    );
}

#[test]
fn a_call_that_is_not_known_has_a_story_that_states_that() {
    let journal = Journal::new();
    let foreign = CallQueue::new().call(|_| ());
    let expected = "call #0\n  not a step of it is known: the journal did not see it\n";
    assert_eq!(journal.explain(foreign).to_string(), expected);
}

// Pairs.

/// Panics at a step, once.
struct PanicsAt(Cell<Option<&'static str>>);

impl PanicsAt {
    fn at(&self, step: &str) {
        if self.0.get().is_some_and(|at| step.starts_with(at)) {
            self.0.set(None);
            panic!("the observer panics");
        }
    }
}

impl Observer for PanicsAt {
    fn observe(&self, _: CallId, step: &Step) {
        self.at(&step.to_string());
    }

    fn observe_operation(&self, _: CallId, step: &OpStep) {
        self.at(&step.to_string());
    }
}

#[test]
fn both_of_a_pair_see_every_step_of_calls_and_operations() {
    let queue = CallQueue::new();
    let (one, other) = (Rc::new(Journal::new()), Rc::new(Journal::new()));
    queue.add_observer(Rc::clone(&one));
    queue.add_observer(Rc::clone(&other));
    let done: Callback<OpResult<(), ()>> = queue.callback(|_, _| ());
    let op = Operation::new(done, (), |_| ());
    op.complete(Ok(())).unwrap();
    queue.dial_all();
    for journal in [one, other] {
        assert_eq!(journal.figures().counts.finished, 1);
        assert_eq!(journal.figures().counts.operations, 1);
        let ended = journal.history().operations()[0].ended.map(|(_, end)| end);
        assert_eq!(ended, Some(OpEnd::Completed { outcome: Outcome::Answered }));
    }
}

#[test]
fn a_pair_whose_first_panics_at_a_dial_leaves_the_second_right() {
    let queue = CallQueue::new();
    let journal = Rc::new(Journal::new());
    let panics = PanicsAt(Cell::new(Some("dialed")));
    queue.add_observer(panics);
    queue.add_observer(Rc::clone(&journal));
    let first = queue.call(|_| ());
    panic_of(|| queue.dial_all());
    assert_eq!(journal.figures().counts.dialed, 1);
    // The call is still pending. Observers are not notified of its dial a second time.
    assert_eq!((queue.tally().pending, queue.tally().panicked), (1, 0));
    assert_eq!(queue.dial_all().dialed, 1);
    assert!(matches!(journal.history().call(first).unwrap().ended, Some((_, End::Finished))));
    let after = queue.call(|_| ());
    queue.dial_all();
    assert_eq!(cause(&journal, after), None);
    let counts = journal.figures().counts;
    assert_eq!((counts.dialed, counts.finished, counts.panicked), (2, 2, 0));
    assert!(
        format!("{journal:?}").ends_with("0 calls pending, 0 live, 0 labels and names)"),
        "{journal:?}"
    );
}

// Operations, while an observer panics: rule O1 holds.

type Done = OpResult<(), ()>;

fn operation(queue: &CallQueue, results: &Rc<RefCell<Vec<Done>>>) -> Operation<(), (), ()> {
    let results = Rc::clone(results);
    let done = queue.callback(move |_, result| results.borrow_mut().push(result));
    Operation::new(done, (), |op| {
        let _ = op.complete(Err(OpError::Canceled));
    })
}

#[test]
fn o01_holds_whichever_step_of_an_operation_the_observer_panics_at() {
    for (at, expected) in [
        ("operation () started", Err(OpError::Dropped)),
        ("operation canceled at", Err(OpError::Canceled)),
        ("operation completed", Err(OpError::Canceled)),
        ("operation waits", Err(OpError::Canceled)),
    ] {
        let queue = CallQueue::new();
        let journal = Rc::new(Journal::new());
        queue.add_observer(Rc::clone(&journal));
        queue.add_observer(PanicsAt(Cell::new(Some(at))));
        let results = Rc::new(RefCell::new(Vec::new()));
        let ran = Cell::new(false);
        panic_of(|| {
            let op = operation(&queue, &results);
            ran.set(true);
            let handle = op.handle();
            let waits = queue.call(|_| ());
            let waited =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| op.waits_for(waits)));
            handle.cancel();
            assert_eq!(op.state(), OpState::Completed);
            waited.unwrap();
        });
        queue.dial_all();
        assert_eq!(*results.borrow(), [expected], "at {at}");
        assert!(ran.get() || at.contains("started"));
    }
}

#[test]
fn o03_the_cancel_hook_runs_once_also_if_the_observer_panics_before() {
    thread_local!(static RAN: Cell<u32> = const { Cell::new(0) });
    let queue = CallQueue::new();
    queue.add_observer(PanicsAt(Cell::new(Some("operation canceled at"))));
    let done: Callback<Done> = queue.callback(|_, _| ());
    let op = Operation::new(done, (), |_| RAN.set(RAN.get() + 1));
    let handle = op.handle();
    panic_of(|| handle.cancel());
    assert_eq!((RAN.get(), op.state()), (1, OpState::Canceling));
    assert_eq!(handle.cancel(), Cancellation::Already);
    assert_eq!(RAN.get(), 1);
}

#[test]
fn a_declined_start_is_reported_with_its_reason() {
    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let results = Rc::default();
    operation(&queue, &results).decline("no sockets left");
    let history = journal.history();
    let ended = history.operations()[0].ended.map(|(_, end)| end);
    assert_eq!(ended, Some(OpEnd::Declined { reason: "no sockets left" }));
    assert!(results.borrow().is_empty());
}

#[test]
fn an_operation_that_is_lost_is_reported_as_dropped() {
    let queue = CallQueue::new();
    let journal = journaled(&queue);
    drop(operation(&queue, &Rc::default()));
    let ended = journal.history().operations()[0].ended.map(|(_, end)| end);
    assert_eq!(ended, Some(OpEnd::Completed { outcome: Outcome::Dropped }));
}

/// Its call was kept as pending for good.
#[test]
fn a_check_that_panics_leaves_nothing_pending_in_the_journal() {
    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let server = queue.recipient(());
    for _ in 0..3 {
        server.schedule(PanicsInCheck);
        panic_of(|| queue.dial_all());
    }
    let text = format!("{journal:?}");
    assert!(text.contains(" 0 calls pending, 0 live"), "{text}");
}

/// It was borrowed while it was printed.
#[test]
fn what_a_journal_is_printed_to_may_use_the_queue() {
    struct Sink(CallQueue);

    impl std::fmt::Write for Sink {
        fn write_str(&mut self, _: &str) -> std::fmt::Result {
            self.0.call(|_| ());
            Ok(())
        }
    }

    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let mut sink = Sink(queue);
    std::fmt::Write::write_fmt(&mut sink, format_args!("{journal:?}")).unwrap();
    assert!(sink.0.tally().pending > 0);
}

// At random: handlers schedule, dial, cancel, answer and panic; the journal attributes each call.

/// What really happened.
struct Truth {
    dice: Decisions,
    left: Cell<u32>,
    /// Calls, each with the live call that scheduled it.
    scheduled: RefCell<Vec<(CallId, Option<CallId>)>>,
    callbacks: RefCell<Vec<Callback<()>>>,
}

impl Truth {
    fn roll(&self, sides: usize) -> usize {
        self.dice.below(sides)
    }
}

type Site<'a> = (&'a Rc<Truth>, &'a switchboard::Address<Rc<Truth>>);

/// Schedules some, as the doing of `live`.
fn act((truth, other): Site<'_>, live: Option<CallId>) {
    for _ in 0..truth.roll(4) {
        let left = truth.left.get();
        if left == 0 {
            return;
        }
        truth.left.set(left - 1);
        let to = other.clone();
        let call = match truth.roll(4) {
            0 => {
                let callback = other.callback(move |truth, cx, ()| handle(truth, &to, cx));
                truth.callbacks.borrow_mut().push(callback);
                continue;
            }
            1 if !truth.callbacks.borrow().is_empty() => {
                let which = truth.roll(truth.callbacks.borrow().len());
                let callback = truth.callbacks.borrow_mut().remove(which);
                let id = callback.id();
                callback.answer(());
                id
            }
            _ => other.call(move |truth, cx| handle(truth, &to, cx)),
        };
        truth.scheduled.borrow_mut().push((call, live));
        if truth.roll(12) == 0 {
            other.queue().cancel(call, "at random");
        }
    }
}

fn handle(truth: &Rc<Truth>, other: &switchboard::Address<Rc<Truth>>, cx: &Context<'_, Rc<Truth>>) {
    act((truth, other), Some(cx.id()));
    if truth.roll(6) == 0 {
        let turn = || cx.queue().dial_pending();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(turn));
        act((truth, cx), Some(cx.id()));
    }
    if truth.roll(9) == 0 {
        std::panic::resume_unwind(Box::new("at random"));
    }
}

#[test]
fn at_random_the_journal_attributes_each_call_to_whom_scheduled_it() {
    for seed in 0..60 {
        let queue = CallQueue::new();
        let journal = journaled(&queue);
        let truth = Rc::new(Truth {
            dice: Decisions::of_seed(seed),
            left: Cell::new(400),
            scheduled: RefCell::default(),
            callbacks: RefCell::default(),
        });
        let recipients: Vec<_> = (0..4).map(|_| queue.recipient(Rc::clone(&truth))).collect();
        while truth.left.get() > 0 {
            let other = &recipients[truth.roll(4)];
            act((&truth, other), None);
            let turn = || queue.dial_all();
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(turn));
        }
        let history = journal.history();
        assert!(truth.scheduled.borrow().len() > 200, "seed {seed}");
        for (call, live) in &*truth.scheduled.borrow() {
            let reported = history.call(*call).and_then(|call| call.scheduled).map(|at| at.by);
            // A callback that was canceled before it was answered is never scheduled.
            let reported = reported.unwrap_or(*live);
            assert_eq!(reported, *live, "seed {seed}, call {call}");
        }
        let counts = journal.figures().counts;
        assert!(counts.panicked > 5 && counts.canceled > 5 && counts.refused > 0, "{counts:?}");
    }
}

/// It was taken for one that was live before the journal began, whose doing all before was.
#[test]
fn a_call_whose_check_panics_has_done_nothing() {
    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let recipient = queue.recipient(());
    let before = recipient.call(|(), _| ());
    queue.dial_all();
    let call = recipient.schedule(PanicsInCheck);
    panic_of(|| queue.dial_all());
    assert_eq!((cause(&journal, before), cause(&journal, call)), (None, None));
    assert_eq!(journal.history().call(before).unwrap().dialed.unwrap().by, None);
}

#[cfg(all(unix, feature = "mio"))]
#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "handlers are not judged")]
fn a_handler_that_does_not_drain_is_reported_with_where_its_source_was_registered() {
    use std::io::{Read, Write};
    use std::time::Duration;

    use mio::Interest;
    use mio::net::UnixStream;
    use switchboard::reactor::{Reactor, Registration};

    let queue = CallQueue::new();
    let journal = journaled(&queue);
    let mut reactor = Reactor::with_queue(queue).unwrap();
    let reader = reactor.queue().recipient(None::<Registration<UnixStream>>);
    let (source, mut peer) = UnixStream::pair().unwrap();
    let readiness = Rc::new(Cell::new(None));
    let live = Rc::clone(&readiness);
    let source = reactor.register(source, Interest::READABLE, &reader, move |source, cx, _| {
        let source = source.as_mut().unwrap();
        source.try_io(Interest::READABLE, |source| source.read(&mut [0])).unwrap();
        live.set(Some(cx.id()));
    });
    let site = std::panic::Location::caller();
    reader.call(|reader, _| *reader = Some(source.unwrap()));
    peer.write_all(b"four").unwrap();
    for _ in 0..3 {
        let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    let call = readiness.get().unwrap();
    let story = journal.explain(call).to_string();
    assert!(story.contains("stopped before its source would block"), "{story}");
    assert!(story.contains(&format!("the source was registered at {}:", site.file())), "{story}");
    let record = journal.history().call(call).unwrap().clone();
    assert!(record.undrained.is_some() && journal.figures().counts.undrained == 1);
}

/// It took all calls that were pending then for pending for good.
#[test]
fn a_journal_that_is_removed_and_added_again_keeps_no_calls_that_are_over() {
    let journal = Rc::new(Journal::with_capacity(4096));
    let (queue, other) = (CallQueue::new(), CallQueue::new());
    other.add_observer(Rc::clone(&journal));
    other.call(|_| ());
    let id = queue.add_observer(Rc::clone(&journal));
    let removes = Rc::clone(&journal);
    queue.call(move |queue| {
        (0..1000).for_each(|_| _ = queue.call(|_| ()));
        assert!(
            format!("{removes:?}").ends_with("1001 calls pending, 1 live, 0 labels and names)"),
            "{removes:?}"
        );
        assert!(queue.remove_observer(id));
        assert!(
            format!("{removes:?}").ends_with("1 calls pending, 0 live, 0 labels and names)"),
            "{removes:?}"
        );
    });
    queue.dial_all();
    queue.add_observer(Rc::clone(&journal));
    let call = queue.call(|_| ());
    queue.dial_all();
    assert!(
        format!("{journal:?}").ends_with("1 calls pending, 0 live, 0 labels and names)"),
        "{journal:?}"
    );
    // Nothing is the doing of the handler that it was removed in.
    assert_eq!(journal.history().call(call).unwrap().scheduled.unwrap().by, None);
}
