//! A journal in production: labels, filters, triggers, bounded memory, and who writes it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::util::{never, panic_of};
use switchboard::journal::{
    History, Journal, JournalBuilder, Snapshot, handler_longer_than, on_step, wait_longer_than,
};
use switchboard::{CallQueue, QueueHandle, Step};

pub(crate) struct Session;

pub(crate) type Handler = Box<dyn FnOnce(&QueueHandle)>;

/// A builder in a time that only tests advance, by the second value.
pub(crate) fn timed() -> (JournalBuilder, impl Fn(u64) -> Handler) {
    let time = Rc::new(Cell::new(Instant::now()));
    let clock = Rc::clone(&time);
    let takes = move |millis| -> Handler {
        let time = Rc::clone(&time);
        Box::new(move |_| time.set(time.get() + Duration::from_millis(millis)))
    };
    (Journal::builder().clock(move || clock.get()), takes)
}

#[test]
fn labels_and_names_are_shown_even_once_the_recipient_is_gone() {
    let queue = CallQueue::new();
    let before = queue.recipient(Session);
    before.address().set_label("10.0.0.1:80");
    let journal = Journal::builder().install(&queue);
    let after = queue.recipient(Session);
    after.address().set_label("10.0.0.2:80");
    let calls = [before.call(|_, _| ()), after.call(|_, _| ())];
    queue.name_call(calls[1], "GET /");
    queue.dial_all();
    drop((before, after));
    let first_line = |call| journal.explain(call).to_string().lines().next().map(str::to_owned);
    assert_eq!(first_line(calls[0]).unwrap(), "call #0 to Session(0) (10.0.0.1:80)");
    assert_eq!(first_line(calls[1]).unwrap(), "call #1 to Session(1) (10.0.0.2:80) (GET /)");
    let labels = journal.history().recipients().into_iter().map(|it| it.label);
    let labels: Vec<_> = labels.map(|label| label.as_deref().map(str::to_owned)).collect();
    assert_eq!(labels, [Some("10.0.0.1:80".to_owned()), Some("10.0.0.2:80".to_owned())]);
}

#[test]
fn a_slow_handler_triggers_and_what_led_to_it_is_kept() {
    let (builder, takes) = timed();
    let queue = CallQueue::new();
    let slow = handler_longer_than(Duration::from_millis(20));
    let journal = builder.trigger(slow).keep(8).install(&queue);
    let fast = takes(20);
    queue.call(move |queue| fast(queue));
    queue.dial_all();
    assert_eq!(journal.triggered_by(), None, "exactly the limit");
    let handler = takes(21);
    let cause = queue.call(move |queue| _ = queue.call(move |queue| handler(queue)));
    queue.dial_all();
    let slow = journal.triggered_by().expect("over the limit");
    for _ in 0..100 {
        queue.call(|_| ());
    }
    queue.dial_all();
    assert_eq!(journal.triggered_by(), Some(slow));
    assert_eq!(journal.history().causes(slow), [cause], "still held");
    assert!(journal.explain(slow).to_string().contains("finished after 21.0ms"));
    assert_eq!(journal.figures().counts.finished, 103, "figures go on");
    let dropped = journal.figures().dropped_steps;
    journal.resume();
    assert_eq!(journal.triggered_by(), None);
    assert_eq!(journal.figures().dropped_steps, dropped + 8, "and the 8 steps held");
    assert!(journal.history().calls().is_empty());
    let next = queue.call(|_| ());
    queue.dial_all();
    assert!(journal.history().call(next).is_some(), "it records again");
}

#[test]
fn a_long_wait_triggers_and_so_does_any_step() {
    let (builder, takes) = timed();
    let queue = CallQueue::new();
    let long = builder.trigger(wait_longer_than(Duration::from_millis(5))).install(&queue);
    let refused = on_step(|_, step| matches!(step, Step::Refused { .. }));
    let refused = Journal::builder().trigger(refused).install(&queue);
    let handler = takes(6);
    queue.call(move |queue| handler(queue));
    let waits = queue.call(|_| ());
    queue.dial_all();
    assert_eq!((long.triggered_by(), refused.triggered_by()), (Some(waits), None));
    let session = queue.recipient(Session);
    let address = session.address();
    session.hang_up();
    let gone = address.call(|_, _| ());
    queue.dial_all();
    assert_eq!(refused.triggered_by(), Some(gone));
}

#[test]
fn the_call_that_took_the_time_is_named_not_the_first_ones() {
    let (builder, takes) = timed();
    let queue = CallQueue::new();
    let journal = builder.install(&queue);
    for millis in [0, 0, 0, 0, 55, 0] {
        let handler = takes(millis);
        queue.call(move |queue| handler(queue));
    }
    let waits = queue.call(|_| ());
    queue.dial_all();
    let story = journal.explain(waits).to_string();
    let names =
        "waited 55.0ms, behind 6 calls, the longest of them call #4, a function call: 55.0ms\n";
    assert!(story.contains(names), "{story}");
}

#[test]
fn another_thread_writes_a_history() {
    fn is_send<T: Send + 'static>() {}
    is_send::<History>();
    is_send::<Snapshot>();
    let queue = CallQueue::new();
    let journal = Journal::builder().install(&queue);
    queue.call(never(()));
    let (snapshot, history) = (journal.snapshot(), journal.history());
    let writer = std::thread::spawn(move || {
        let mut page = Vec::new();
        history.write_timeline(&mut page).expect("a vector takes it");
        (page.len(), snapshot.into_history().calls().len())
    });
    let (size, calls) = writer.join().unwrap();
    assert!(size > 50_000 && calls == 1);
}

#[test]
fn a_call_made_in_one_go_reads_the_clock_once() {
    let reads = Rc::new(Cell::new(0));
    let count = Rc::clone(&reads);
    let clock = move || {
        count.set(count.get() + 1);
        Instant::now()
    };
    let queue = CallQueue::new();
    let _journal = Journal::builder().clock(clock).install(&queue);
    reads.set(0);
    queue.call(|_| ());
    assert_eq!(reads.replace(0), 1, "created and scheduled");
    queue.dial_all();
    assert_eq!(reads.replace(0), 4, "the turn begins, dialed, finished, the turn ends");
    let callback = queue.callback(|_, ()| ());
    callback.answer(());
    assert_eq!(reads.get(), 2, "somebody else may have taken time in between");
}

#[test]
fn a_trigger_that_panics_leaves_journal_and_queue_usable() {
    let queue = CallQueue::new();
    let fails = Cell::new(true);
    let bad = on_step(move |_, _| if fails.replace(false) { panic!("no") } else { false });
    let journal = Journal::builder().trigger(bad).install(&queue);
    panic_of(|| queue.call(|_| ()));
    queue.call(|_| ());
    queue.dial_all();
    assert_eq!(journal.triggered_by(), None);
    assert_eq!(queue.tally().pending, 0);
}
