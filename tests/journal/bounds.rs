//! What a journal holds is bounded, whatever it has missed.

use std::rc::Rc;

use switchboard::CallQueue;
use switchboard::journal::{Journal, on_step};

use crate::production::Session;

/// How many calls the journal takes for pending and live.
pub(crate) fn watched(journal: &Journal) -> String {
    let text = format!("{journal:?}");
    text.split("dropped, ").nth(1).unwrap_or_default().to_owned()
}

#[test]
fn labels_go_with_the_steps_that_they_are_for() {
    let queue = CallQueue::new();
    let journal = Journal::builder().keep(15).install(&queue);
    for number in 0..1_000 {
        let session = queue.recipient(Session);
        session.address().set_label(format!("session {number}"));
        session.call(|_, _| ());
        queue.dial_all();
    }
    let held = journal.snapshot();
    assert!(format!("{held:?}").starts_with("Snapshot(15 steps, "), "{held:?}");
    let text = format!("{journal:?}");
    assert!(text.ends_with(" 5 labels and names)"), "{text}");
}

#[test]
fn a_journal_that_is_taken_off_and_added_again_keeps_nothing_that_is_over() {
    let queue = CallQueue::new();
    let journal = Rc::new(Journal::with_capacity(16));
    for _ in 0..100 {
        let session = queue.recipient(Session);
        session.address().set_label("of a session dropped while no journal observes");
        let observer = queue.add_observer(Rc::clone(&journal));
        for _ in 0..100 {
            queue.call(|_| ());
        }
        queue.remove_observer(observer);
        queue.dial_all();
    }
    let seen = format!("{journal:?}");
    assert!(seen.ends_with("0 calls pending, 0 live, 1 labels and names)"), "{seen}");
}

#[test]
fn calls_pending_whose_steps_were_dropped_take_no_memory() {
    let queue = CallQueue::new();
    let journal = Journal::builder().keep(16).install(&queue);
    (0..10_000).for_each(|_| _ = queue.call(|_| ()));
    let seen = format!("{journal:?}");
    assert!(seen.ends_with("16 calls pending, 0 live, 0 labels and names)"), "{seen}");
}

/// Filters, triggers and journals that come and go, whatever they have missed.
#[test]
fn memory_is_bounded_whatever_is_set_and_taken_off() {
    let queue = CallQueue::new();
    let never = || on_step(|_, _| false);
    let bare = Rc::new(Journal::with_capacity(16));
    let filtered = Journal::builder().keep(16).trigger(never()).filter(|_, _| false);
    let chosen = Journal::builder().keep(16).trigger(never()).filter_recipients(|_| true);
    let others = [Rc::new(filtered.build()), Rc::new(chosen.build())];
    let fired = Journal::builder().keep(16).trigger(on_step(|_, _| true)).install(&queue);
    let session = queue.recipient(Session);
    session.address().set_label("one that stays");
    let calls = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    for round in 0..100 {
        let set: Vec<_> = others.iter().map(|it| queue.add_observer(Rc::clone(it))).collect();
        let last = queue.add_observer(Rc::clone(&bare));
        for number in 0..calls / 100 {
            let call = session.call(|_, _| ());
            match number % 10 {
                0 => _ = queue.cancel(call, "unwanted"),
                1 => queue.name_call(call, "named"),
                2 => session.address().set_label(format!("label {number}")),
                _ => {}
            }
        }
        set.into_iter().for_each(|id| _ = queue.remove_observer(id));
        if round % 2 == 0 {
            queue.remove_observer(last);
        }
        queue.dial_all();
        queue.remove_observer(last);
    }
    for journal in others.iter().chain([&bare, &fired]) {
        let seen = watched(journal);
        let texts = seen.split(", ").nth(2).and_then(|texts| texts.split(' ').next());
        assert!(journal.snapshot().into_history().calls().len() <= 16, "{journal:?}");
        assert!(seen.starts_with("0 calls pending, 0 live, "), "{journal:?}");
        assert!(texts.is_some_and(|texts| texts.parse::<usize>().unwrap() <= 18), "{journal:?}");
    }
}

#[test]
fn a_call_that_is_named_again_displaces_no_other_name() {
    let queue = CallQueue::new();
    let journal = Journal::builder().keep(4).install(&queue);
    let [one, other] = [queue.call(|_| ()), queue.call(|_| ())];
    queue.name_call(one, "GET /");
    for percent in 0..10 {
        queue.name_call(other, &format!("{percent}0 %"));
    }
    let named = |call| journal.history().call(call).and_then(|call| call.named.clone());
    assert_eq!((named(one).as_deref(), named(other).as_deref()), (Some("GET /"), Some("90 %")));
}
