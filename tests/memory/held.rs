//! What is held: how many bytes a queue keeps for what it does not need any more (rule R14).

use support::counting::held;
use switchboard::{CallQueue, Cancellation};

#[test]
fn canceled_calls_behind_a_pending_one_are_freed() {
    const CALLS: isize = 200_000;

    let queue = CallQueue::new();
    let before = held();
    queue.call(|_| ());
    for _ in 0..CALLS {
        let id = queue.call(|_| ());
        assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled);
    }
    // The last block, and a few bytes for each of the others.
    let kept = held() - before;
    assert!(kept < CALLS * 4, "R14: {kept} bytes are kept for {CALLS} canceled calls");
    let report = queue.dial_all();
    assert_eq!((report.dialed, report.canceled), (1, CALLS as u64));
}
