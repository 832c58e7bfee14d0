//! Hazard: one of many that stays keeps the memory of all (rule R14).

use std::time::Duration;

use support::counting::held;
use switchboard::op::{OpError, Operation};
use switchboard::reactor::Reactor;
use switchboard::samples::{HlCancelAll, LlFakeCancel, Module, ThreadPool, Work};
use switchboard::{CallQueue, Recipients};

const MANY: usize = 200_000;

/// Makes many with `make`, ends all but the one in the middle with `end`, twice, and asserts that after
/// some traffic less than a MiB is held for it.
#[track_caller]
fn all_but_one_go<T>(what: &str, mut make: impl FnMut() -> T, mut end: impl FnMut(Vec<T>)) {
    // What is there from the first one on does not count.
    end(vec![make()]);
    let before = held();
    for _ in 0..2 {
        let mut all: Vec<_> = (0..MANY).map(|_| make()).collect();
        let kept = all.swap_remove(MANY / 2);
        end(all);
        for _ in 0..2000 {
            end((0..16).map(|_| make()).collect());
        }
        let held = held() - before;
        assert!(held < 1 << 20, "L10: {what}: {held} bytes are held for one");
        end(vec![kept]);
    }
}

#[test]
fn l10_one_callback_recipient_or_operation_keeps_its_own_memory_only() {
    let queue = CallQueue::new();
    let recipient = queue.recipient(());
    let dial = || {
        let _ = queue.dial_all();
    };
    all_but_one_go(
        "callbacks",
        || recipient.callback(|_, _, ()| ()),
        |callbacks| {
            callbacks.into_iter().for_each(|callback| callback.answer(()));
            dial();
        },
    );
    all_but_one_go(
        "calls",
        || recipient.call(|_, _| ()),
        |ids| {
            for id in ids {
                let _ = queue.cancel(id, "unwanted");
            }
        },
    );
    dial();
    all_but_one_go("recipients", || queue.recipient([0_u64; 4]), drop);
    all_but_one_go(
        "labels",
        || {
            let recipient = queue.recipient(());
            recipient.set_label("one of many");
            recipient
        },
        drop,
    );
    let recipients = Recipients::new(&queue);
    all_but_one_go(
        "owned recipients",
        || recipients.insert([0_u64; 4]),
        |addresses| {
            addresses.iter().for_each(|address| _ = address.call(|_, cx| cx.hang_up()));
            dial();
        },
    );
    all_but_one_go(
        "operations",
        || {
            let done = recipient.callback(|_, _, _: Result<(), OpError<()>>| ());
            Operation::new(done, 0_u64, |_| ())
        },
        |operations| {
            operations.iter().for_each(|operation| operation.complete(Ok(())).expect("it runs"));
            drop(operations);
            dial();
        },
    );
}

/// Callbacks that leave their slots, as they are released while they are deferred.
#[test]
fn l10_callbacks_that_left_their_slots_hold_nothing_once_they_are_over() {
    let queue = CallQueue::new();
    let round = || {
        let recipient = queue.recipient(());
        let callbacks: Vec<_> = (0..1000).map(|_| recipient.callback(|_, _, ()| ())).collect();
        recipient.call(move |_, cx| {
            callbacks.into_iter().for_each(|callback| callback.answer(()));
            assert_eq!(cx.queue().dial_all().remaining, 1000, "all are deferred");
            cx.hang_up();
        });
        let report = queue.dial_all();
        assert_eq!((report.refused, report.remaining), (1000, 0));
    };
    (0..50).for_each(|_| round());
    let before = held();
    (0..100).for_each(|_| round());
    let held = held() - before;
    assert!(held < 1 << 16, "L10: {held} bytes are held for nothing");
}

#[test]
fn l10_one_operation_of_a_module_keeps_its_own_memory_only() {
    let mut reactor = Reactor::new().unwrap();
    let queue = reactor.queue().clone();
    let pool = ThreadPool::new(1);
    let work = LlFakeCancel::<(), ()>::new(&reactor.handle(), &pool);
    let module = HlCancelAll::new(&queue, work);
    module.open();
    // The only thread is busy.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let busy: Work<(), ()> = Box::new(move || {
        let _ = released.recv();
        Ok(())
    });
    module.start(busy, queue.callback(|_, _| ())).unwrap();
    all_but_one_go(
        "operations",
        || module.start(Box::new(|| Ok(())), queue.callback(|_, _| ())).unwrap(),
        |operations| {
            for operation in operations {
                let _ = operation.cancel();
            }
            while reactor.poll_timeout() == Some(Duration::ZERO) {
                let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
            }
        },
    );
    drop(release);
}

#[test]
fn l10_one_timer_keeps_its_own_memory_only() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let queue = reactor.queue().clone();
    let mut n = 0_u64;
    let mut arm = || {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let callback = queue.callback(|_, ()| ());
        (callback.id(), handle.after(Duration::from_secs(10 + (n >> 40)), callback))
    };
    all_but_one_go("timers", &mut arm, drop);
    all_but_one_go("timers, canceled by their call's id", &mut arm, |timers| {
        for (id, timer) in timers {
            timer.detach();
            let _ = queue.cancel(id, "unwanted");
        }
    });
    let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
}
