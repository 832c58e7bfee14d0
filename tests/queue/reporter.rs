//! Hazard: a bug that is not reported, or is reported without end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::util::{Steps, figures, panic_of};
use switchboard::{Call, CallQueue, Context, Reporter, Step};

type Lines = Rc<RefCell<Vec<String>>>;

fn reported(queue: &CallQueue) -> Lines {
    let lines = Lines::default();
    let log = Rc::clone(&lines);
    queue.add_observer(Reporter::new(move |line| log.borrow_mut().push(line.to_owned())));
    lines
}

#[derive(Default)]
struct Server;

/// A call that its own check refuses.
struct Objects;

impl Call for Objects {
    type Recipient = Server;

    fn can_dial(&self, _: &Server) -> Result<(), &'static str> {
        Err("the server is closed")
    }

    fn dial(self, _: &mut Server, _: &Context<'_, Server>) {}
}

/// The only line so far; it names the place, and contains all of `parts`.
#[track_caller]
fn assert_line(lines: &Lines, line: u32, parts: &[&str]) {
    let taken = lines.take();
    let [text] = &taken[..] else { panic!("{} lines: {taken:#?}", taken.len()) };
    assert!(text.contains(&format!("{}:{line}:", file!())), "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
    assert!(!text.contains('\n'), "{text:?}");
}

#[test]
fn each_kind_of_bug_is_reported_in_one_line() {
    let queue = CallQueue::new();
    let server = queue.recipient(Server);
    server.set_label("10.0.0.7");
    let lines = reported(&queue);

    let (callback, line) = (server.callback(|_, _, ()| ()), line!());
    drop(callback);
    let to = "to Server(0) \"10.0.0.7\"";
    assert_line(&lines, line, &["callback #c", to, "was dropped without being called"]);

    let live_line = line!() + 1;
    server.call(|_, cx| _ = cx.queue().dial_all());
    let (callback, line) = (server.callback(|_, _, ()| ()), line!() + 1);
    callback.answer(());
    assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
    let live = format!("scheduled at {}:{live_line}:", file!());
    assert_line(&lines, line, &["was deferred", to, "is live with call #", &live]);

    let live_line = line!() + 1;
    server.call(|_, cx| _ = cx.queue().dial_all());
    let line = line!() + 1;
    server.call(|_, _| ());
    assert_eq!(figures(queue.dial_all()), [1, 0, 1, 0]);
    let live = format!("scheduled at {}:{live_line}:", file!());
    assert_line(&lines, line, &["was refused", to, &live, "set_defers_calls"]);

    let line = line!() + 1;
    server.schedule(Objects);
    queue.dial_all();
    assert_line(&lines, line, &["refused by its own check", to, "the server is closed"]);

    let line = line!() + 1;
    server.call(|_, _| ());
    server.hang_up();
    queue.dial_all();
    assert_line(&lines, line, &["was refused", "to Server(0)", "its recipient is gone"]);

    let full = CallQueue::bounded(0);
    let lines = reported(&full);
    let line = line!() + 1;
    full.call(|_| ());
    assert_line(&lines, line, &["was refused", "the queue is full"]);
}

#[test]
fn what_is_no_bug_is_not_reported() {
    let queue = CallQueue::new();
    let server = queue.recipient(Server);
    let lines = reported(&queue);
    server.call(|_, _| ());
    queue.call(|queue| _ = queue.dial_all());
    let canceled = server.call(|_, _| ());
    queue.cancel(canceled, "unwanted");
    queue.cancel(canceled, "late");
    server.callback(|_, _, ()| ()).decline("declined");
    let canceled = server.callback(|_, _, ()| ());
    queue.cancel(canceled.id(), "unwanted");
    drop(canceled);
    server.callback(|_, _, ()| ()).answer(());
    let waiting = server.callback(|_, _, ()| ());
    queue.dial_all();
    assert!(queue.try_call(|_| ()).is_ok());
    drop(queue);
    drop(waiting);
    server.call(|_, _| ());
    assert_eq!(*lines.borrow(), [""; 0]);
}

#[test]
fn of_one_place_the_same_is_reported_ten_times_at_most() {
    let queue = CallQueue::new();
    let lines = reported(&queue);
    for _ in 0..100 {
        drop(queue.callback(|_, ()| ()));
    }
    let taken = lines.take();
    assert_eq!(taken.len(), 10, "{taken:#?}");
    let last = |line: &String| line.ends_with("(reported 10 times, and no more)");
    assert_eq!(taken.iter().filter(|line| last(line)).count(), 1);
    assert!(last(&taken[9]));
    // Of another place, and another kind at the same place, it is.
    drop(queue.callback(|_, ()| ()));
    assert_eq!(lines.take().len(), 1);
    let server = queue.recipient(Server);
    let callback = || server.callback(|_, _, ()| ());
    for _ in 0..20 {
        drop(callback());
        callback().answer(());
    }
    // Those that were answered are no bugs so far.
    assert_eq!(lines.take().len(), 10);
    server.hang_up();
    queue.dial_all();
    let gone = lines.take();
    assert_eq!(gone.len(), 10);
    assert!(gone.iter().all(|line| line.contains("its recipient is gone")), "{gone:#?}");
}

#[test]
fn a_reporter_stands_beside_other_observers() {
    let queue = CallQueue::new();
    let first = Steps::watch(&queue);
    let lines = reported(&queue);
    let last = Steps::watch(&queue);
    let others = reported(&queue);
    let callback = queue.callback(|_, ()| ());
    let id = callback.id();
    drop(callback);
    for steps in [first, last] {
        assert!(matches!(steps.of(id)[..], [Step::Created { .. }, Step::Abandoned { .. }]));
    }
    assert_eq!((lines.borrow().len(), others.borrow().len()), (1, 1));
    assert_eq!(lines.take(), others.take());
}

#[test]
fn a_sink_may_use_the_queue() {
    let queue = CallQueue::new();
    let (handle, lines) = (queue.handle(), Lines::default());
    let log = Rc::clone(&lines);
    queue.add_observer(Reporter::new(move |line| {
        log.borrow_mut().push(line.to_owned());
        if log.borrow().len() < 3 {
            drop(handle.callback(|_, ()| ()));
        }
    }));
    drop(queue.callback(|_, ()| ()));
    assert_eq!(lines.borrow().len(), 3);
}

#[test]
fn r10_a_call_that_was_put_back_is_reported_with_its_name_and_recipient() {
    let queue = CallQueue::new();
    let server = queue.recipient(Server);
    let lines = reported(&queue);
    let panics = Cell::new(true);
    queue.add_observer(move |_, step: &Step| {
        assert!(!(matches!(step, Step::Dialed) && panics.replace(false)), "the observer panics");
    });
    let line = line!() + 1;
    let call = server.call(|_, _| ());
    queue.name_call(call, "main.lua:12");
    panic_of(|| queue.dial_all());
    server.hang_up();
    queue.dial_all();
    assert_line(&lines, line, &["\"main.lua:12\" to Server(0)", "its recipient is gone"]);
}

#[test]
fn labels_of_two_queues_are_not_those_of_each_others_recipients() {
    let (one, other) = (CallQueue::new(), CallQueue::new());
    let lines = Lines::default();
    let log = Rc::clone(&lines);
    let reporter = Rc::new(Reporter::new(move |line| log.borrow_mut().push(line.to_owned())));
    let [id, _] = [&one, &other].map(|queue| queue.add_observer(Rc::clone(&reporter)));
    let [first, second] = [&one, &other].map(|queue| queue.recipient(Server));
    first.set_label("10.0.0.1:80");
    second.set_label("10.0.0.2:80");
    let line = line!() + 1;
    first.schedule(Objects);
    one.dial_all();
    assert_line(&lines, line, &["to Server(0) \"10.0.0.1:80\"", "the server is closed"]);
    // What is taken off one queue still knows the other's.
    one.remove_observer(id);
    let line = line!() + 1;
    second.schedule(Objects);
    other.dial_all();
    assert_line(&lines, line, &["to Server(0) \"10.0.0.2:80\"", "the server is closed"]);
}
