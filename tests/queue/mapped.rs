//! Hazard: a callback behind a conversion that is another call than the one it converts to, and one
//! whose caller does work that is not wanted.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use support::util::{Counts, Drops, NONE, Steps, assert_counts, figures};
use switchboard::{Address, CallQueue, Callback, Cancellation, QueueHandle, Step};

type Answers = Rc<RefCell<Vec<u32>>>;

/// A callback that takes text, and the answers that come of it.
fn parsing(queue: &QueueHandle, drops: &Drops) -> (Callback<&'static str>, Answers) {
    let answers = Answers::default();
    let (log, captured) = (Rc::clone(&answers), drops.value());
    let callback = queue.callback(move |_, number| {
        let _captured = &captured;
        log.borrow_mut().push(number);
    });
    let captured = drops.value();
    let mapped = callback.map(move |text: &str| {
        let _captured = &captured;
        text.parse().expect("a number")
    });
    (mapped, answers)
}

#[test]
fn a_mapped_callback_is_the_same_call() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let recipient = queue.recipient(Vec::new());
    let steps = Steps::watch(&queue);
    let callback = recipient.callback(|numbers, _, number: usize| numbers.push(number));
    let id = callback.id();
    let captured = drops.value();
    let lengths = callback.map(move |text: String| {
        drop(captured);
        text.len()
    });
    // A conversion of a conversion.
    let mapped = lengths.map(|times| "x".repeat(times));
    assert_eq!((mapped.id(), mapped.queue()), (id, queue.handle()));
    assert_eq!(format!("{mapped:?}"), format!("Callback({id})"));
    assert_counts(&queue, Counts { unscheduled: 1, ..NONE });
    let line = line!() + 1;
    mapped.answer(5);
    assert_eq!(drops.alive(), 0, "the conversion is for the caller to do");
    assert_counts(&queue, Counts { pending: 1, ..NONE });
    recipient.call(|numbers, _| assert_eq!(*numbers, [5]));
    assert_eq!(figures(queue.dial_all()), [2, 0, 0, 0]);
    let [Step::Created { .. }, Step::Scheduled { site }, Step::Dialed, Step::Finished] =
        steps.of(id)[..]
    else {
        panic!("{:?}", steps.of(id));
    };
    assert_eq!((site.file(), site.line()), (file!(), line));
}

#[test]
fn canceling_a_mapped_callback_cancels_its_call() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let (mapped, answers) = parsing(&queue, &drops);
    let id = mapped.id();
    assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled);
    // The conversion is its holder's.
    assert_eq!(drops.alive(), 1);
    assert!(!mapped.is_wanted());
    assert_eq!(queue.cancel(id, "again"), Cancellation::Already);
    mapped.answer("7");
    assert_eq!((drops.alive(), queue.cancel(id, "over")), (0, Cancellation::Late));

    // Also once it is answered.
    let (mapped, _) = parsing(&queue, &drops);
    let id = mapped.id();
    mapped.answer("7");
    assert_eq!((queue.cancel(id, "unwanted"), drops.alive()), (Cancellation::Canceled, 0));
    assert_eq!(figures(queue.dial_all()), [0, 1, 0, 0]);
    assert!(answers.borrow().is_empty());

    // And one that is canceled may be dropped.
    let (mapped, _) = parsing(&queue, &drops);
    queue.cancel(mapped.id(), "unwanted");
    drop(mapped);
    assert_eq!(drops.alive(), 0);
    assert_counts(&queue, Counts { canceled: 3, ..NONE });
}

#[test]
fn declining_a_mapped_callback_gives_its_reason() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let steps = Steps::watch(&queue);
    let (mapped, _) = parsing(&queue, &drops);
    let id = mapped.id();
    mapped.decline("not today");
    assert_eq!(steps.last_of(id), Step::Canceled { reason: "not today" });
    assert_eq!(drops.alive(), 0);
    assert_counts(&queue, Counts { canceled: 1, ..NONE });
}

#[test]
fn r05_a_mapped_callback_that_is_dropped_is_abandoned_at_the_site_of_its_creator() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let steps = Steps::watch(&queue);
    let captured = drops.value();
    let (callback, line) = (queue.callback(move |_, _: u32| drop(captured)), line!());
    let id = callback.id();
    let mapped = callback.map(|text: &str| text.len() as u32);
    drop(mapped.map(|number: u8| if number == 0 { "" } else { "x" }));
    let Step::Abandoned { site } = steps.last_of(id) else { panic!("{:?}", steps.of(id)) };
    assert_eq!((site.file(), site.line()), (file!(), line));
    assert_eq!(steps.of(id).len(), 2, "{:?}", steps.of(id));
    assert_eq!(drops.alive(), 0);
    assert_counts(&queue, Counts { abandoned: 1, ..NONE });
}

#[test]
fn a_conversion_that_panics_passes_it_on_and_the_call_is_abandoned() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let (mapped, answers) = parsing(&queue, &drops);
    let failing =
        mapped.map(|(): ()| -> &'static str { panic::resume_unwind(Box::new("convert")) });
    assert!(panic::catch_unwind(AssertUnwindSafe(|| failing.answer(()))).is_err());
    assert_eq!((drops.alive(), answers.borrow().len()), (0, 0));
    assert_counts(&queue, Counts { abandoned: 1, ..NONE });
    assert!(queue.is_idle());
}

#[test]
fn a_mapped_callback_goes_with_its_queue() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let handle = queue.handle();
    let [(first, _), (second, _), (third, _)] = [(); 3].map(|()| parsing(&queue, &drops));
    drop(queue);
    assert!(!first.is_wanted());
    first.answer("1");
    second.decline("over");
    drop(third);
    assert_eq!(drops.alive(), 0);
    assert_counts(&handle, Counts { canceled: 3, ..NONE });
}

#[test]
fn a_callback_is_wanted_until_it_is_canceled_or_its_recipient_or_queue_is_gone() {
    let queue = CallQueue::new();
    let recipient = queue.recipient(());
    let callback = || recipient.callback(|(), _, ()| ());
    let [canceled, mapped] = [callback(), callback().map(|()| ())];
    let [left, left_too] = [callback(), callback().map(|()| ())];
    let function = queue.callback(|_, ()| ());
    let all = [&canceled, &mapped, &left, &left_too, &function];
    assert!(all.iter().all(|callback| callback.is_wanted()));
    queue.cancel(canceled.id(), "unwanted");
    queue.cancel(mapped.id(), "unwanted");
    assert_eq!(all.map(Callback::is_wanted), [false, false, true, true, true]);
    recipient.hang_up();
    assert_eq!(all.map(Callback::is_wanted), [false, false, false, false, true]);
    drop(queue);
    assert_eq!(all.map(Callback::is_wanted), [false; 5]);
    for callback in [canceled, mapped, left, left_too, function] {
        callback.answer(());
    }
}

#[test]
fn a_callback_of_a_recipient_that_is_gone_is_refused_at_its_turn() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let recipient = queue.recipient(());
    let captured = drops.value();
    let callback = recipient.callback(move |(), _, _: support::util::Counted| drop(captured));
    recipient.hang_up();
    assert_eq!((callback.is_wanted(), drops.alive()), (false, 0));
    assert_counts(&queue, Counts { unscheduled: 1, ..NONE });
    callback.answer(drops.value());
    assert_eq!(drops.alive(), 0);
    assert_counts(&queue, Counts { pending: 1, ..NONE });
    assert_eq!(figures(queue.dial_all()), [0, 0, 1, 0]);
}

#[test]
fn r09_a_callback_made_of_a_recipient_that_is_gone_is_not_wanted_and_keeps_nothing() {
    let (queue, drops) = (CallQueue::new(), Drops::default());
    let make = |address: &Address<()>| {
        let captured = drops.value();
        address.callback(move |(), _, _: support::util::Counted| drop(captured))
    };
    let check = |callback: Callback<support::util::Counted>| {
        assert_eq!((callback.is_wanted(), drops.alive()), (false, 0));
        callback.answer(drops.value());
        assert_eq!(drops.alive(), 0);
    };
    let recipient = queue.recipient(());
    let address = recipient.address();
    recipient.hang_up();
    check(make(&address));
    let steps = Steps::watch(&queue);
    let observed = make(&address);
    assert!(matches!(steps.of(observed.id())[..], [Step::Created { .. }]));
    check(observed);
    make(&address).decline("not wanted");
    assert_eq!(figures(queue.dial_all()), [0, 0, 2, 0]);
    assert_counts(&queue, Counts { refused: 2, canceled: 1, ..NONE });
}
