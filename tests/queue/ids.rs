//! Ids that could be mistaken for others: how they look, and that they are not used again.

use std::collections::HashSet;

use switchboard::{CallId, CallQueue, Cancellation, QueueHandle};

#[test]
fn an_id_shows_its_call_and_its_queue() {
    let queue = CallQueue::new();
    let number = format!("{:?}", queue.call(|_| ()));
    let number = number.strip_prefix("CallId(#0 of queue ").unwrap().strip_suffix(')').unwrap();
    let second = queue.call(|_| ());
    assert_eq!(second.to_string(), "#1");
    assert_eq!(format!("{second:?}"), format!("CallId(#1 of queue {number})"));

    let callback = queue.callback(|_, ()| ());
    let id = callback.id();
    assert_eq!(
        (id.to_string(), format!("{callback:?}")),
        ("#c0.0".into(), "Callback(#c0.0)".into())
    );
    assert_eq!(format!("{id:?}"), format!("CallId(#c0.0 of queue {number})"));
    callback.answer(());
    // An answered callback has its position as well, which only shows in those after it.
    assert_eq!(queue.call(|_| ()).to_string(), "#3");
    queue.dial_all();
    let again = queue.callback(|_, ()| ());
    assert_eq!(again.id().to_string(), "#c0.1");
    again.decline("never");
    let elsewhere = CallQueue::new().call(|_| ());
    assert_ne!(format!("{elsewhere:?}"), format!("CallId(#0 of queue {number})"));
}

#[test]
fn a_slot_that_is_used_again_gives_another_id() {
    let queue = CallQueue::new();
    let mut ids = HashSet::new();
    for round in 0..1000 {
        // Different numbers at a time, so that slots are used again in different order.
        let callbacks: Vec<_> = (0..=round % 7).map(|_| queue.callback(|_, ()| ())).collect();
        for (n, callback) in callbacks.into_iter().enumerate() {
            assert!(ids.insert(callback.id()), "{:?} was given out twice", callback.id());
            match (round + n) % 4 {
                0 => callback.answer(()),
                1 => callback.decline("never"),
                2 => drop(callback),
                _ => {
                    assert_eq!(queue.cancel(callback.id(), "unwanted"), Cancellation::Canceled);
                    callback.answer(());
                }
            }
        }
        queue.dial_all();
    }
    let waiting = queue.callback(|_, ()| ());
    assert!(ids.iter().all(|id| queue.cancel(*id, "stale") == Cancellation::Late));
    assert_eq!(queue.tally().unscheduled, 1);
    waiting.decline("never");
}

#[test]
fn the_id_of_a_callback_stays_when_it_is_answered() {
    let queue = CallQueue::new();
    let server = queue.recipient(None);
    let callback = server.callback(|received: &mut Option<CallId>, cx, ()| {
        *received = Some(cx.id());
    });
    let id = callback.id();
    callback.answer(());
    queue.dial_all();
    let scheduled = server.call(move |received, cx| {
        assert_eq!(*received, Some(id));
        *received = Some(cx.id());
    });
    queue.dial_all();
    let expected = scheduled;
    server.call(move |received, _| assert_eq!(*received, Some(expected)));
    assert_eq!(queue.dial_all().dialed, 1);
}

#[test]
fn handles_to_one_queue_are_equal() {
    let (queue, elsewhere) = (CallQueue::new(), CallQueue::new());
    let handle: &QueueHandle = &queue;
    assert_eq!(*handle, queue.handle());
    assert_ne!(*handle, elsewhere.handle());
    let (first, second) = (queue.recipient(()), queue.recipient(()));
    assert_eq!(first.address(), *first);
    assert_ne!(*first, *second);
    assert_eq!((first.info().number, second.info().number), (0, 1));
}

#[test]
fn r07_an_id_goes_through_an_integer_and_names_no_other_call() {
    let (queue, other) = (CallQueue::new(), CallQueue::new());
    let callback = queue.callback(|_, ()| ());
    let ids = [queue.call(|_| ()), queue.call(|_| ()), callback.id(), other.call(|_| ())];
    for id in ids {
        assert_eq!(CallId::from_bits(id.to_bits()), Some(id));
    }
    assert!(ids.windows(2).all(|pair| pair[0].to_bits() != pair[1].to_bits()));
    assert_eq!(CallId::from_bits(7), None, "no queue has the number zero");
    // What is made up names nothing.
    for made_up in [1, 1 << 63, 1 << 62, u64::MAX] {
        let made_up = u128::from(made_up) | ids[0].to_bits() >> 64 << 64;
        let id = CallId::from_bits(made_up ^ 1 << 40).unwrap();
        assert_ne!(queue.cancel(id, "made up"), Cancellation::Canceled);
    }
    let foreign = CallId::from_bits(u128::MAX).unwrap();
    assert_eq!(queue.cancel(foreign, "made up"), Cancellation::Foreign);
    assert_eq!(queue.cancel(ids[1], "unwanted"), Cancellation::Canceled);
    callback.decline("not needed");
}
