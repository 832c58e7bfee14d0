//! The text of the stories that a journal prints.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::util::{never, panic_of, panics};
use switchboard::journal::{End, Journal, OpEnd};
use switchboard::op::{OpError, OpResult, Operation};
use switchboard::{CallId, CallQueue, Callback, Outcome, QueueHandle};

/// A queue, and its journal in a time that only tests advance.
struct Scene {
    queue: CallQueue,
    journal: Rc<Journal>,
    time: Rc<Cell<Instant>>,
}

impl Scene {
    fn new() -> Self {
        Self::with_capacity(1024)
    }

    fn with_capacity(steps: usize) -> Self {
        let time = Rc::new(Cell::new(Instant::now()));
        let clock = Rc::clone(&time);
        let journal = Rc::new(Journal::with_clock(steps, move || clock.get()));
        let queue = CallQueue::new();
        queue.add_observer(Rc::clone(&journal));
        Self { queue, journal, time }
    }

    fn pass(&self, millis: u64) {
        pass(&self.time, millis);
    }

    /// A handler that takes time.
    fn takes(&self, millis: u64) -> impl FnOnce(&QueueHandle) + 'static + use<> {
        let time = Rc::clone(&self.time);
        move |_| pass(&time, millis)
    }

    /// Asserts the story of a call, but for the places in this file.
    #[track_caller]
    fn expect(&self, call: CallId, story: &[&str]) {
        let reported = self.journal.explain(call).to_string();
        let reported: Vec<_> = reported.lines().map(without_place).collect();
        assert_eq!(reported, story);
    }
}

fn pass(time: &Cell<Instant>, millis: u64) {
    time.set(time.get() + Duration::from_millis(millis));
}

fn without_place(line: &str) -> String {
    let words = line.split(' ').map(|word| if word.contains(file!()) { "here" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

struct Server;

#[test]
fn the_story_of_a_call_that_finished_names_who_scheduled_it_and_what_it_waited_behind() {
    let scene = Scene::new();
    let server = scene.queue.recipient(Server);
    let call = Rc::new(Cell::new(None));
    let (reported, address, takes) = (Rc::clone(&call), server.address(), scene.takes(3));
    let first = scene.queue.call(move |queue| {
        let time = takes;
        reported.set(Some(address.call(move |_, cx| time(cx.queue()))));
        let _ = queue;
    });
    let second = scene.queue.call(scene.takes(2));
    scene.pass(1);
    scene.queue.dial_all();
    let call = call.get().unwrap();
    scene.expect(
        call,
        &[
            "call #2 to Server(0)",
            "  created and scheduled at here by call #0, a function call",
            "  waited 2.0ms, behind call #1, a function call",
            "  dialed in turn 0",
            "  finished after 3.0ms",
        ],
    );
    scene.expect(
        first,
        &[
            "call #0, a function call",
            "  created and scheduled at here from outside any call",
            "  waited 1.0ms, behind no other call",
            "  dialed in turn 0",
            "  finished after 0.0ns",
            "  its handler scheduled call #2 to Server(0)",
        ],
    );
    let history = scene.journal.history();
    assert_eq!(history.causes(call), [first]);
    assert_eq!(history.effects(first), [call]);
    assert_eq!(history.effects(second), []);
}

#[test]
fn a_callback_distinguishes_its_creator_and_its_caller() {
    let scene = Scene::new();
    let server = scene.queue.recipient(Server);
    let handed = Rc::new(RefCell::new(None::<Callback<()>>));
    let hands = Rc::clone(&handed);
    server.call(move |_, cx| _ = hands.replace(Some(cx.callback(|_, _, ()| ()))));
    scene.queue.dial_all();
    let call = handed.borrow().as_ref().unwrap().id();
    scene.expect(
        call,
        &[
            "call #c0.0 to Server(0)",
            "  created at here by call #0 to Server(0)",
            "  not scheduled yet: its callback was not called",
        ],
    );
    scene.pass(5);
    scene.queue.call(move |_| handed.take().unwrap().answer(()));
    scene.queue.dial_all();
    scene.expect(
        call,
        &[
            "call #c0.0 to Server(0)",
            "  created at here by call #0 to Server(0)",
            "  scheduled at here by call #1, a function call, 5.0ms later",
            "  waited 0.0ns, behind no other call",
            "  dialed in turn 1",
            "  finished after 0.0ns",
        ],
    );
}

#[test]
fn the_story_of_a_canceled_call_names_who_and_why_and_that_a_second_cancel_was_late() {
    let scene = Scene::new();
    let pending = scene.queue.call(never(()));
    scene.pass(1);
    scene.queue.call(move |queue| _ = queue.cancel(pending, "unwanted"));
    // When that is dialed, the turn of the call that it cancels has passed.
    let callback = scene.queue.callback(|_, ()| ());
    let waiting = callback.id();
    scene.queue.cancel(waiting, "the client went away");
    callback.answer(());
    scene.queue.cancel(pending, "from outside");
    scene.queue.dial_all();
    scene.expect(
        pending,
        &[
            "call #0, a function call",
            "  created and scheduled at here from outside any call",
            "  canceled after 1.0ms pending, from outside any call: from outside",
            "  its handler will never run",
            "  canceled too late, by call #1, a function call, which changes nothing: unwanted",
        ],
    );
    scene.expect(
        waiting,
        &[
            "call #c0.0, a function call",
            "  created at here from outside any call",
            "  canceled before it was scheduled, from outside any call: the client went away",
            "  its handler will never run",
        ],
    );
    let live = scene.queue.call(move |_| ());
    scene.queue.dial_all();
    scene.queue.call(move |queue| _ = queue.cancel(live, "too bad"));
    scene.queue.dial_all();
    let story = scene.journal.explain(live).to_string();
    let late = "canceled too late, by call #3, a function call, which changes nothing: too bad";
    assert!(story.contains(late), "{story}");
}

#[test]
fn nested_and_refused_calls_name_the_live_call() {
    let scene = Scene::new();
    let (a, b) = (scene.queue.recipient(Server), scene.queue.recipient(0));
    a.call(|_, cx| _ = cx.queue().dial_all());
    let nested = b.call(|_, _| ());
    let refused = a.call(|_, _| ());
    scene.queue.dial_all();
    let story = scene.journal.explain(nested).to_string();
    assert!(
        story.contains("\n  dialed in turn 0 while call #0 to Server(0) was live: nested in it\n"),
        "{story}"
    );
    let story = scene.journal.explain(refused).to_string();
    assert!(
        story.contains("\n  refused: the recipient is live with call #0 scheduled at "),
        "{story}"
    );
    let nested = "\n  reached in turn 0, when that call dialed the queue\n";
    assert!(story.contains(nested), "{story}");
}

#[test]
fn bad_ends_are_reported() {
    let scene = Scene::new();
    let callback = scene.queue.callback(|_, ()| ());
    let abandoned = callback.id();
    drop(callback);
    let panicked = scene.queue.call(panics(()));
    panic_of(|| scene.queue.dial_all());
    let pending = scene.queue.call(never(()));
    scene.pass(7);
    let ends = |call, end: &str| {
        let story = scene.journal.explain(call).to_string();
        assert!(story.contains(end), "{story}");
    };
    ends(abandoned, "abandoned: dropped without being called");
    ends(panicked, "panicked after 0.0ns");
    ends(pending, "pending for 7.0ms now: its turn is to come");
    let history = scene.journal.history();
    let ended = |call| history.call(call).and_then(|call| call.ended).map(|(_, end)| end);
    assert_eq!(ended(abandoned), Some(End::Abandoned));
    assert_eq!(ended(panicked), Some(End::Panicked));
    assert_eq!(ended(pending), None);
}

#[test]
fn a_chain_of_causes_is_reported_from_the_nearest_on() {
    fn link(queue: &QueueHandle, left: u32) {
        if left > 0 {
            queue.call(move |queue| link(queue, left - 1));
        }
    }
    let scene = Scene::new();
    let first = scene.queue.call(|queue| link(queue, 20));
    scene.queue.dial_all();
    let history = scene.journal.history();
    let last = history.calls().last().unwrap().id;
    let causes = history.causes(last);
    assert_eq!(causes.len(), 20);
    assert_eq!(causes.last(), Some(&first));
    let story = scene.journal.explain(last).to_string();
    assert!(story.contains("causes: #19, a function call <- #18, a function call"), "{story}");
    assert!(story.contains(" <- 12 more"), "{story}");
}

#[test]
fn an_operation_shows_its_layers_and_its_cancel() {
    struct Upper;
    struct Lower;
    let scene = Scene::new();
    let client = scene.queue.recipient(Server);
    let done: Callback<OpResult<(), String>> = client.callback(|_, _, _| ());
    let upper = Operation::new(done, Upper, |_| ());
    let reported = upper.clone();
    let passed = client.callback(move |_, _, result| reported.complete(result).unwrap());
    let (upper_id, lower_id) = {
        upper.waits_for(passed.id());
        let history = scene.journal.history();
        (history.operations()[0].id, passed.id())
    };
    let lower = Operation::new(passed, Lower, |lower| {
        lower.complete(Err(OpError::Canceled)).unwrap();
    });
    scene.pass(4);
    let handle = lower.handle();
    scene.queue.call(move |_| _ = handle.cancel());
    scene.queue.dial_all();
    let story = |call| {
        let story = scene.journal.explain(call).to_string();
        let lines = story.lines().skip_while(|line| !line.contains("operation"));
        lines.map(without_place).collect::<Vec<_>>()
    };
    assert_eq!(
        story(upper_id),
        [
            "  delivers the result of an operation, Upper:",
            "    started at here from outside any call",
            "    waited for call #c1.0 to Server(0)",
            "    completed: canceled, after 4.0ms",
        ]
    );
    assert_eq!(
        story(lower_id),
        [
            "  delivers the result of an operation, Lower:",
            "    started at here from outside any call",
            "    the layer below operation #c0.0, Upper",
            "    canceled at here by call #0, a function call",
            "    completed: canceled, after 4.0ms",
        ]
    );
    let history = scene.journal.history();
    let ended = history.operation(lower_id).and_then(|lower| lower.ended).map(|(_, end)| end);
    assert_eq!(ended, Some(OpEnd::Completed { outcome: Outcome::Canceled }));
}

#[test]
fn recipients_list_their_calls_and_how_long_they_took() {
    let scene = Scene::new();
    let servers = [scene.queue.recipient(Server), scene.queue.recipient(Server)];
    for millis in 1..=10 {
        for server in &servers[..] {
            let takes = scene.takes(millis);
            server.call(move |_, cx| takes(cx.queue()));
        }
    }
    scene.queue.call(|_| ());
    scene.queue.dial_all();
    let recipients = scene.journal.history().recipients();
    let names = recipients.iter().map(|it| it.info.map(|info| info.to_string()));
    let expected = [None, Some("Server(0)".to_owned()), Some("Server(1)".to_owned())];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    assert_eq!(recipients[1].calls.len(), 10);
    let handling = recipients[1].handling;
    assert_eq!((handling.count, handling.max), (10, Duration::from_millis(10)));
    let off = handling.median.abs_diff(Duration::from_millis(5));
    assert!(off < Duration::from_micros(100), "{handling}");
    assert_eq!(recipients[0].waiting.max, Duration::from_millis(110));
}

#[test]
fn figures_agree_with_the_tally_also_when_steps_were_dropped() {
    let scene = Scene::with_capacity(8);
    for number in 0..100 {
        let call = scene.queue.call(scene.takes(1));
        if number % 4 == 0 {
            scene.queue.cancel(call, "every fourth");
        }
        scene.queue.dial_all();
    }
    scene.queue.call(panics(()));
    panic_of(|| scene.queue.dial_all());
    let (figures, tally) = (scene.journal.figures(), scene.queue.tally());
    assert_eq!(figures.counts.created, tally.created);
    assert_eq!(figures.counts.finished, tally.finished);
    assert_eq!(figures.counts.canceled, tally.canceled);
    assert_eq!(figures.counts.panicked, tally.panicked);
    assert_eq!(figures.handling.count, 76);
    assert_eq!(figures.dropped_steps, 75 * 3 + 25 * 2 + 3 - 8);
    assert!(scene.journal.history().calls().len() <= 8);
    let text = figures.to_string();
    assert!(
        text.contains("handlers    76: median 1.0ms, mean 986.8µs, 99 % within 1.0ms"),
        "{text}"
    );
}

#[test]
fn a_story_whose_beginning_was_dropped_states_that() {
    let scene = Scene::with_capacity(4);
    let early = scene.queue.call(|_| ());
    let late = scene.queue.call(|_| ());
    scene.queue.dial_all();
    scene.expect(
        early,
        &[
            "call #0",
            "  its beginning is not known: the journal has dropped its 2 oldest steps",
            "  dialed in turn 0",
            "  finished after 0.0ns",
        ],
    );
    for _ in 0..4 {
        scene.queue.call(never(()));
    }
    scene.expect(
        late,
        &["call #1", "  not a step of it is known: the journal has dropped its 6 oldest steps"],
    );
}

#[test]
fn a_call_that_waited_for_the_handler_that_scheduled_it_names_that() {
    let scene = Scene::new();
    let call = Rc::new(Cell::new(None));
    let (reported, takes) = (Rc::clone(&call), scene.takes(50));
    scene.queue.call(move |queue| {
        reported.set(Some(queue.call(|_| ())));
        takes(queue);
    });
    scene.queue.dial_all();
    let story = scene.journal.explain(call.get().unwrap()).to_string();
    let waited =
        "waited 50.0ms, 50.0ms of it until call #0 ended, which scheduled it, behind no other";
    assert!(story.contains(waited), "{story}");
}
