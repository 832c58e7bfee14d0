//! What filters keep, and what they do not hide.

use std::time::Duration;

use switchboard::journal::{Journal, wait_longer_than};
use switchboard::op::{OpResult, Operation};
use switchboard::{CallQueue, Step};

use crate::production::{Session, timed};

#[test]
fn what_a_filter_leaves_out_takes_no_room_and_is_counted() {
    let queue = CallQueue::new();
    let ends = |_, step: &Step| !matches!(step, Step::Created { .. } | Step::Scheduled { .. });
    let journal = Journal::builder().keep(4).filter(ends).install(&queue);
    let calls = [queue.call(|_| ()), queue.call(|_| ())];
    queue.dial_all();
    let history = journal.history();
    assert!(calls.iter().all(|call| history.call(*call).is_some_and(|it| it.ended.is_some())));
    assert_eq!((history.dropped_steps(), journal.figures().counts.created), (0, 2));
}

#[test]
fn a_filter_by_recipient_keeps_calls_and_operations_to_it_from_creation_to_end() {
    let queue = CallQueue::new();
    let (one, other) = (queue.recipient(Session), queue.recipient(Session));
    let chosen = one.info();
    let journal =
        Journal::builder().keep(64).filter_recipients(move |to| *to == chosen).install(&queue);
    let to_one = one.call(|_, _| ());
    let callback = one.callback(|_, _, ()| ());
    let answered = callback.id();
    callback.answer(());
    let left_out = [other.call(|_, _| ()), queue.call(|_| ())];
    let canceled = one.call(|_, _| ());
    queue.cancel(canceled, "unwanted");
    let done = one.callback(|_, _, _: OpResult<(), ()>| ());
    let declined = done.id();
    Operation::new(done, (), |_| ()).decline("no sockets left");
    let done = other.callback(|_, _, _: OpResult<(), ()>| ());
    let other_declined = done.id();
    Operation::new(done, (), |_| ()).decline("no sockets left");
    queue.dial_all();
    let history = journal.history();
    let calls: Vec<_> = history.calls().iter().map(|call| call.id).collect();
    assert_eq!(calls, [to_one, answered, canceled, declined]);
    assert!(history.calls().iter().all(|call| call.created.is_some() && call.ended.is_some()));
    assert!(left_out.iter().all(|call| history.call(*call).is_none()));
    let ended = |call| history.operation(call).map(|operation| operation.ended.is_some());
    assert_eq!((ended(declined), ended(other_declined)), (Some(true), None));
    let counts = journal.figures().counts;
    assert_eq!((counts.finished, counts.operations), (4, 2), "all are counted");
}

#[test]
fn a_filter_by_type_goes_with_one_by_step() {
    let queue = CallQueue::new();
    let (session, number) = (queue.recipient(Session), queue.recipient(0_u8));
    let journal = Journal::builder()
        .filter_recipients(|to| to.type_name == std::any::type_name::<Session>())
        .filter(|_, step| matches!(step, Step::Finished))
        .install(&queue);
    let kept = session.call(|_, _| ());
    number.call(|_, _| ());
    queue.dial_all();
    let history = journal.history();
    let [call] = history.calls() else { panic!("{history:?}") };
    assert!(call.id == kept && call.created.is_none() && call.ended.is_some());
}

#[test]
fn what_a_filter_leaves_out_is_waited_for_and_triggers() {
    let (builder, takes) = timed();
    let queue = CallQueue::new();
    let long = wait_longer_than(Duration::from_millis(5));
    let journal = builder.filter(|_, _| false).trigger(long).install(&queue);
    let handler = takes(6);
    queue.call(move |queue| handler(queue));
    let waits = queue.call(|_| ());
    queue.dial_all();
    assert_eq!(journal.triggered_by(), Some(waits));
    let waiting = journal.figures().waiting;
    assert_eq!((waiting.count, waiting.max), (2, Duration::from_millis(6)));
}

#[test]
fn labels_and_names_of_what_a_filter_leaves_out_displace_none_of_what_it_keeps() {
    let queue = CallQueue::new();
    let one = queue.recipient(Session);
    let chosen = one.info();
    let builder = Journal::builder().keep(8).filter_recipients(move |to| *to == chosen);
    let journal = builder.install(&queue);
    one.set_label("10.0.0.1:80");
    let kept = one.call(|_, _| ());
    queue.name_call(kept, "GET /");
    queue.dial_all();
    drop(one);
    for _ in 0..20 {
        let other = queue.recipient(Session);
        other.set_label("10.0.0.2:80");
        queue.name_call(other.call(|_, _| ()), "GET /favicon.ico");
        queue.dial_all();
    }
    let story = journal.explain(kept).to_string();
    assert!(story.contains("(10.0.0.1:80) (GET /)"), "{story}");
}
