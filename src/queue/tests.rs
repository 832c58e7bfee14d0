//! What needs a queue that is older than a test can wait for.

use super::*;

#[test]
fn an_id_is_not_confused_with_one_that_is_two_to_the_32_calls_younger() {
    let queue = CallQueue::new();
    let old = queue.call(|_| ()).expect("the queue is open");
    let aged = CallQueue::starting_at(1 << 32);
    let young = aged.call(|_| ()).expect("the queue is open");
    assert_ne!(old, young);
    assert_eq!(queue.cancel(young, "of the other queue"), Cancellation::Foreign);
    // The low 32 bits of both positions are the same.
    let same_queue_old = CallId::new(young.queue(), 0);
    assert_eq!(aged.cancel(same_queue_old, "2^32 calls ago"), Cancellation::Late);
    assert_eq!(aged.cancel(young, "the one meant"), Cancellation::Canceled);
}
