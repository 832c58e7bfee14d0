//! What a journal must not claim of what it has not seen.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::util::panic_of;
use switchboard::journal::{Journal, on_step, wait_longer_than};
use switchboard::op::{OpResult, Operation};
use switchboard::{CallQueue, Callback, Step};

use crate::production::{Session, timed};

#[test]
fn a_frozen_journal_is_as_of_its_trigger() {
    let (builder, takes) = timed();
    let queue = CallQueue::new();
    let journal = builder.trigger(wait_longer_than(Duration::from_millis(10))).install(&queue);
    let (slow, later) = (takes(20), takes(60_000));
    queue.call(move |queue| slow(queue));
    let late = queue.call(|_| ());
    let pending = queue.call(|_| ());
    queue.dial_all();
    assert_eq!(journal.triggered_by(), Some(late));
    queue.call(move |queue| later(queue));
    queue.dial_all();
    let story = journal.explain(late).to_string();
    assert!(story.contains("live for 0.0ns when a trigger stopped the journal"), "{story}");
    let story = journal.explain(pending).to_string();
    assert!(story.contains("pending for 20.0ms when a trigger stopped the journal"), "{story}");
    assert_eq!(journal.history().now(), Duration::from_millis(20));
}

#[test]
fn what_a_filter_leaves_out_attributes_nothing() {
    let queue = CallQueue::new();
    let wrong = |_, step: &Step| matches!(step, Step::Canceled { .. } | Step::Panicked);
    let journal = Journal::builder().filter(wrong).install(&queue);
    let canceled = queue.call(|_| ());
    queue.cancel(canceled, "unwanted");
    queue.call(|_| panic!("a bug of the handler"));
    panic_of(|| queue.dial_all());
    let history = journal.history();
    let by = history.call(canceled).and_then(|call| call.ended).map(|(moment, _)| moment.by);
    assert_eq!(by, Some(None), "{}", history.explain(canceled));
}

#[test]
fn what_came_before_a_journal_was_set_in_a_handler_is_not_of_that_call() {
    let (ui, network) = (CallQueue::new(), CallQueue::new());
    let journal = Rc::new(Journal::new());
    network.add_observer(Rc::clone(&journal));
    let before = network.call(|_| ());
    let set = Rc::clone(&journal);
    let inner = Rc::new(RefCell::new(None));
    let made = Rc::clone(&inner);
    let setting = ui.call(move |ui| {
        ui.add_observer(set);
        *made.borrow_mut() = Some(ui.call(|_| ()));
    });
    ui.dial_all();
    let history = journal.history();
    let inner = inner.borrow().expect("it ran");
    assert_eq!(history.causes(before), [], "{}", history.explain(before));
    assert_eq!(history.causes(inner), [setting]);
}

#[test]
fn what_came_before_a_journal_was_taken_off_is_not_of_the_call_that_sets_it_again() {
    let queue = CallQueue::new();
    let journal = Rc::new(Journal::new());
    let observer = queue.add_observer(Rc::clone(&journal));
    let before = queue.call(|_| ());
    queue.remove_observer(observer);
    let set = Rc::clone(&journal);
    queue.call(move |queue| _ = queue.add_observer(set));
    queue.dial_all();
    let history = journal.history();
    assert_eq!(history.causes(before), [], "{}", history.explain(before));
}

#[test]
fn calls_that_a_filter_leaves_out_are_not_said_not_to_be_there() {
    let queue = CallQueue::new();
    let (one, other) = (queue.recipient(Session), queue.recipient(Session));
    let chosen = one.info();
    let journal = Journal::builder().filter_recipients(move |to| *to == chosen).install(&queue);
    other.call(|_, _| ());
    let ahead = one.call(|_, _| ());
    other.call(|_, _| ());
    let behind = one.call(|_, _| ());
    queue.dial_all();
    let story = journal.explain(ahead).to_string();
    assert!(story.contains("behind no other call of those that the filter keeps\n"), "{story}");
    let story = journal.explain(behind).to_string();
    assert!(story.contains("behind one call of those that the filter keeps: #1 to"), "{story}");
}

#[test]
fn a_call_whose_end_a_filter_leaves_out_is_not_said_to_be_pending() {
    let queue = CallQueue::new();
    let begins = |_, step: &Step| matches!(step, Step::Created { .. } | Step::Scheduled { .. });
    let journal = Journal::builder().filter(begins).install(&queue);
    let call = queue.call(|_| ());
    queue.dial_all();
    let story = journal.explain(call).to_string();
    assert!(story.contains("its end is not known"), "{story}");
    assert!(!story.contains("its turn is to come"), "{story}");
}

#[test]
fn a_callback_that_a_handler_only_creates_is_not_scheduled_by_it() {
    let queue = CallQueue::new();
    let journal = Journal::builder().install(&queue);
    let kept: Rc<RefCell<Vec<Callback<()>>>> = Rc::default();
    let keeps = Rc::clone(&kept);
    let creator = queue.call(move |queue| keeps.borrow_mut().push(queue.callback(|_, ()| ())));
    queue.dial_all();
    let story = journal.explain(creator).to_string();
    assert!(!story.contains("its handler scheduled"), "{story}");
    assert!(story.contains("its handler created call #c0"), "{story}");
    kept.take().into_iter().for_each(|callback| callback.decline("never called"));
}

#[test]
fn a_name_or_label_cannot_forge_a_line_of_a_story() {
    let queue = CallQueue::new();
    let journal = Journal::builder().install(&queue);
    let session = queue.recipient(Session);
    session.set_label("10.0.0.1\n  canceled");
    let call = session.call(|_, _| ());
    queue.name_call(call, "GET /\r\n  panicked after 1s\u{1b}[2J");
    queue.dial_all();
    let story = journal.explain(call).to_string();
    assert!(
        !story.lines().any(|line| line.starts_with("  canceled") || line.starts_with("  panicked")),
        "{story}"
    );
    assert!(!story.contains('\u{1b}'));
}

#[test]
fn turns_within_one_instant_are_distinct() {
    let queue = CallQueue::new();
    let now = Instant::now();
    let journal = Journal::builder().clock(move || now).install(&queue);
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(queue.call(|_| ()));
        queue.dial_all();
    }
    let history = journal.history();
    let turns: Vec<_> =
        calls.iter().map(|call| history.turn_of(*call).map(|turn| turn.number)).collect();
    assert_eq!(turns, [Some(0), Some(1), Some(2)]);
}

#[test]
fn what_happens_while_a_journal_is_frozen_drops_no_name_or_label() {
    let queue = CallQueue::new();
    let abandoned = on_step(|_, step| matches!(step, Step::Abandoned { .. }));
    let journal = Journal::builder().keep(8).trigger(abandoned).install(&queue);
    let session = queue.recipient(Session);
    session.set_label("10.0.0.1:80");
    let callback = session.callback(|_, _, ()| ());
    let lost = callback.id();
    queue.name_call(lost, "GET /");
    drop(callback);
    drop(session);
    assert_eq!(journal.triggered_by(), Some(lost));
    for _ in 0..20 {
        let other = queue.recipient(Session);
        other.set_label("10.0.0.2:80");
        queue.name_call(other.call(|_, _| ()), "GET /favicon.ico");
        queue.dial_all();
    }
    let story = journal.explain(lost).to_string();
    assert!(story.contains("(10.0.0.1:80) (GET /)"), "{story}");
}

#[test]
fn a_call_that_was_pending_as_the_journal_was_taken_off_is_not_said_to_be() {
    let (builder, takes) = timed();
    let queue = CallQueue::new();
    let journal = Rc::new(builder.build());
    let observer = queue.add_observer(Rc::clone(&journal));
    let call = queue.call(|_| ());
    queue.remove_observer(observer);
    let later = takes(5000);
    queue.call(move |queue| later(queue));
    queue.dial_all();
    let story = journal.explain(call).to_string();
    assert!(!story.contains("its turn is to come"), "{story}");
    let mut page = Vec::new();
    journal.history().write_timeline(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("\"lost\":[0]"), "the page does not show it as pending");
}

#[test]
fn a_call_whose_schedule_was_dropped_was_not_canceled_before() {
    let queue = CallQueue::new();
    let journal = Journal::builder().keep(1).install(&queue);
    let canceled = queue.call(|_| ());
    queue.cancel(canceled, "unwanted");
    let story = journal.explain(canceled).to_string();
    assert!(!story.contains("before it was scheduled"), "{story}");
}

#[test]
fn a_call_of_which_only_a_late_cancel_is_known_is_not_said_to_be_unscheduled() {
    let queue = CallQueue::new();
    let journal = Journal::builder().keep(1).install(&queue);
    let late = queue.call(|_| ());
    queue.dial_all();
    queue.cancel(late, "too late");
    let story = journal.explain(late).to_string();
    assert!(story.contains("canceled too late"), "{story}");
    assert!(!story.contains("not scheduled yet"), "{story}");
    let mut trace = Vec::new();
    journal.history().write_trace(&mut trace).unwrap();
    assert!(!String::from_utf8(trace).unwrap().contains("not scheduled yet"));
}

#[test]
fn an_operation_whose_call_was_canceled_is_followed_to_its_end_too() {
    let queue = CallQueue::new();
    let one = queue.recipient(Session);
    let chosen = one.info();
    let journal =
        Journal::builder().keep(64).filter_recipients(move |to| *to == chosen).install(&queue);
    let done = one.callback(|_, _, _: OpResult<(), ()>| ());
    let id = done.id();
    let operation = Operation::new(done, (), |_| ());
    queue.cancel(id, "silenced");
    one.call(|_, _| ());
    queue.dial_all();
    let _ = operation.complete(Ok(()));
    queue.dial_all();
    let story = journal.explain(id).to_string();
    assert!(!story.contains("still running"), "{story}");
}

#[test]
fn a_story_distinguishes_calls_of_two_queues_whose_ids_look_the_same() {
    let (one, other) = (CallQueue::new(), CallQueue::new());
    let journal = Rc::new(Journal::new());
    one.add_observer(Rc::clone(&journal));
    other.add_observer(Rc::clone(&journal));
    let (inner, handle) = (Rc::new(RefCell::new(None)), other.handle());
    let made = Rc::clone(&inner);
    let outer = one.call(move |_| *made.borrow_mut() = Some(handle.call(|_| ())));
    one.dial_all();
    other.dial_all();
    let inner = inner.borrow().expect("it ran");
    let story = journal.explain(inner).to_string();
    let by = format!(" by call #0, a function call of queue {}\n", outer.queue());
    assert!(story.contains(&by), "{story}");
    let mut trace = Vec::new();
    journal.history().write_trace(&mut trace).unwrap();
    let trace = String::from_utf8(trace).unwrap();
    assert!(trace.contains(&format!("\"by\":\"#0 of queue {}\"", outer.queue())), "{trace}");
}

#[test]
fn labels_of_two_queues_are_not_those_of_each_others_recipients() {
    let (one, other) = (CallQueue::new(), CallQueue::new());
    let journal = Rc::new(Journal::builder().keep(8).build());
    let id = one.add_observer(Rc::clone(&journal));
    other.add_observer(Rc::clone(&journal));
    let [first, second] = [&one, &other].map(|queue| queue.recipient(Session));
    first.set_label("10.0.0.1:80");
    second.set_label("10.0.0.2:80");
    let call = first.call(|_, _| ());
    one.dial_all();
    let story = journal.explain(call).to_string();
    assert!(story.contains("(10.0.0.1:80)"), "{story}");
    // The labels of one go with it, those of the other stay.
    one.remove_observer(id);
    for _ in 0..20 {
        let call = second.call(|_, _| ());
        other.dial_all();
        let story = journal.explain(call).to_string();
        assert!(story.contains("(10.0.0.2:80)"), "{story}");
    }
    let text = format!("{journal:?}");
    assert!(text.ends_with(" 1 labels and names)"), "{text}");
}
