//! What a journal must not claim of what it has not seen.

use std::time::Duration;

use switchboard::journal::wait_longer_than;
use switchboard::CallQueue;

use crate::production::timed;

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
