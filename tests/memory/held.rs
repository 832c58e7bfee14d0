//! What is held: how many bytes a queue keeps for what it does not need any more (rule R14).

use support::counting::held;
use switchboard::{Call, CallQueue, Cancellation, Context, Recipient};

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

const BURST: u64 = 200_000;

/// Runs a burst on a queue with a recipient that counts, and asserts that less than `most` bytes are
/// kept after it, and next to nothing once the owner has dropped the queue.
fn keeps_less_than(most: isize, what: &str, burst: impl FnOnce(&CallQueue, &Recipient<u64>)) {
    let before = held();
    let queue = CallQueue::new();
    let server = queue.recipient(0);
    burst(&queue, &server);
    let kept = held() - before;
    assert!(kept < most, "R14: {what} left {kept} bytes behind");
    for _ in 0..BURST {
        server.schedule(Add);
    }
    drop(queue);
    // (The storage remembers which ids of callbacks it has given out: a few bytes for 256 of them.)
    let kept = held() - before;
    assert!(kept < 16_384, "R14: {kept} bytes are kept of a queue that is gone, after {what}");
}

/// Adds one.
struct Add;

impl Call for Add {
    type Recipient = u64;

    fn dial(self, count: &mut u64, _: &Context<'_, u64>) {
        *count += 1;
    }
}

#[test]
fn r14_memory_follows_what_is_pending() {
    const MOST: isize = 1 << 20;

    let calls = |queue: &CallQueue, server: &Recipient<u64>| {
        for _ in 0..BURST {
            server.schedule(Add);
        }
        assert_eq!(queue.dial_all().dialed, BURST);
    };
    keeps_less_than(MOST, "a burst of calls", calls);
    keeps_less_than(5 * MOST, "bursts that come one after the other", |queue, server| {
        (0..3).for_each(|_| calls(queue, server));
    });
    keeps_less_than(MOST, "a burst of callbacks", |queue, server| {
        let callbacks: Vec<_> =
            (0..BURST).map(|_| server.callback(|count, _, more: u64| *count += more)).collect();
        callbacks.into_iter().for_each(|callback| callback.answer(1));
        assert_eq!(queue.dial_all().dialed, BURST);
    });
    keeps_less_than(MOST, "a burst of deferred calls", |queue, server| {
        server.call(|_, cx| assert_eq!(cx.queue().dial_all().remaining, BURST));
        for _ in 0..BURST {
            server.callback(|count, _, ()| *count += 1).answer(());
        }
        assert_eq!(queue.dial_all().dialed, BURST + 1);
    });
    keeps_less_than(MOST, "recipients that are gone, while calls to others are pending,", {
        |queue, server| {
            let others = [(); 10].map(|()| queue.recipient(()));
            for _ in 0..BURST {
                server.schedule(Add);
            }
            drop(others);
            assert_eq!(queue.dial_all().dialed, BURST);
        }
    });
    keeps_less_than(MOST, "a recipient that is gone, with its calls,", |queue, _| {
        let server = queue.recipient(0);
        let callbacks: Vec<_> =
            (0..BURST).map(|_| server.callback(|count, _, more: u64| *count += more)).collect();
        for _ in 0..BURST {
            server.schedule(Add);
        }
        server.hang_up();
        assert_eq!(queue.dial_all().refused, BURST);
        callbacks.into_iter().for_each(|callback| callback.decline("unwanted"));
    });
}
