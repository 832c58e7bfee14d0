//! Hazard: an answer of another thread that is lost, comes twice or on the wrong thread, and a callback
//! that is forgotten there without a word (rules O7 and R5).

use std::cell::Cell;
use std::panic;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use switchboard::op::{OpResult, Operation};
use switchboard::reactor::{Reactor, ReactorHandle, RemoteCallback, SendError};
use switchboard::{CallId, CallQueue, Callback, Cancellation, Step, Tally};

/// Turns without sleeping.
fn turn(reactor: &mut Reactor) -> u64 {
    reactor.turn(Some(Duration::ZERO)).unwrap().dialed
}

/// Does something on another thread, and waits until it is done.
fn elsewhere<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(act).join().unwrap()
}

/// A value that shows on which thread it is dropped.
struct Trace(Arc<Mutex<Vec<ThreadId>>>);

impl Drop for Trace {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

/// How calls ended that were abandoned: their ids, and the lines on which they were created.
fn abandoned(reactor: &ReactorHandle) -> Rc<Cell<Vec<(CallId, u32)>>> {
    let seen = Rc::new(Cell::new(Vec::new()));
    let noted = Rc::clone(&seen);
    reactor.queue().add_observer(move |id: CallId, step: &Step| {
        if let Step::Abandoned { site } = step {
            let mut all = noted.take();
            all.push((id, site.line()));
            noted.set(all);
        }
    });
    seen
}

#[test]
fn o07_a_callback_is_answered_from_another_thread_and_dialed_on_the_loops() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(Vec::new());
    let callback = recipient.callback(|seen, cx, value: u32| {
        seen.push((cx.id(), value, thread::current().id()));
    });
    let remote = reactor.remote_callback(callback);
    let id = remote.id();
    let thread = thread::spawn(move || remote.answer(7).unwrap());
    assert!(reactor.should_run(), "the answer may come");
    reactor.run().unwrap(); // ends, as it has come
    thread.join().unwrap();
    let here = thread::current().id();
    recipient.call(move |seen, _| assert_eq!(*seen, [(id, 7, here)]));
    assert_eq!(turn(&mut reactor), 1);
    assert_eq!(reactor.queue().tally().finished, 2);
}

#[test]
fn o07_one_that_is_dropped_unanswered_is_reported_on_the_loops_thread_with_its_creator() {
    let mut reactor = Reactor::new().unwrap();
    let seen = abandoned(&reactor);
    let callback: Callback<u32> = reactor.queue().callback(|_, _| unreachable!());
    let line = line!() - 1;
    let remote = reactor.remote_callback(callback);
    let id = remote.id();
    elsewhere(move || drop(remote));
    assert_eq!(reactor.queue().tally().unscheduled, 1, "the reactor has not turned yet");
    reactor.run().unwrap();
    assert_eq!(seen.take(), [(id, line)]);
    assert_eq!(reactor.queue().tally().abandoned, 1);
}

#[test]
fn o07_one_whose_thread_unwinds_is_reported_too() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote_callback(reactor.queue().callback(|_, _: ()| unreachable!()));
    let thread = thread::spawn(move || {
        let _remote = remote;
        panic::resume_unwind(Box::new("the thread"));
    });
    assert!(thread.join().is_err());
    reactor.run().unwrap();
    assert_eq!(reactor.queue().tally().abandoned, 1);
}

#[test]
fn o07_one_that_is_declined_ends_canceled() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote_callback(reactor.queue().callback(|_, _: ()| unreachable!()));
    let reasons = Rc::new(Cell::new(None));
    let seen = Rc::clone(&reasons);
    reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if let Step::Canceled { reason } = step {
            seen.set(Some(*reason));
        }
    });
    elsewhere(move || remote.decline("no such host"));
    reactor.run().unwrap();
    assert_eq!(reasons.take(), Some("no such host"));
    let Tally { canceled, abandoned, .. } = reactor.queue().tally();
    assert_eq!((canceled, abandoned), (1, 0));
}

#[test]
fn o07_a_loop_that_is_gone_hands_the_value_back_and_reports_nothing() {
    let reactor = Reactor::new().unwrap();
    let (queue, handle) = (reactor.queue().clone(), reactor.handle());
    let seen = abandoned(&reactor);
    let [answered, dropped, declined] =
        [(); 3].map(|()| reactor.remote_callback(queue.callback(|_, _: String| unreachable!())));
    drop(reactor);
    let Tally { canceled, unscheduled, .. } = queue.tally();
    assert_eq!((canceled, unscheduled), (3, 0));
    let error = elsewhere(move || {
        drop(dropped);
        declined.decline("not wanted");
        answered.answer("value".to_string()).unwrap_err()
    });
    assert!(matches!(error, SendError::ReactorDropped(_)));
    assert_eq!(error.into_inner(), "value");
    // One made now is gone from the start.
    let late = handle.remote_callback(queue.callback(|_, _: u8| unreachable!()));
    assert_eq!(elsewhere(move || late.answer(3)).unwrap_err().into_inner(), 3);
    drop(handle.remote_callback(queue.callback(|_, _: u8| unreachable!())));
    assert_eq!(queue.tally().canceled, 5);
    assert!(seen.take().is_empty());
}

#[test]
fn o07_an_answer_that_no_turn_has_seen_ends_canceled_with_the_loop() {
    let reactor = Reactor::new().unwrap();
    let (queue, drops) = (reactor.queue().clone(), Arc::default());
    let value = Trace(Arc::clone(&drops));
    let remote = reactor.remote_callback(queue.callback(|_, _: Trace| unreachable!()));
    elsewhere(move || remote.answer(value).map_err(drop).unwrap());
    drop(reactor);
    assert_eq!(queue.tally().canceled, 1);
    assert_eq!(*drops.lock().unwrap(), [thread::current().id()]);
}

#[test]
fn o07_a_callback_of_another_queue_ends_with_the_reactor() {
    let (mut reactor, other) = (Reactor::new().unwrap(), CallQueue::new());
    let answered = reactor.remote_callback(other.callback(|_, value| assert_eq!(value, 5)));
    let held = reactor.remote_callback(other.callback(|_, _: ()| unreachable!()));
    elsewhere(move || answered.answer(5).unwrap());
    turn(&mut reactor);
    assert_eq!(other.dial_all().dialed, 1);
    drop(reactor);
    assert_eq!((other.tally().canceled, other.tally().unscheduled), (1, 0));
    drop(held);
    assert_eq!(other.tally().abandoned, 0);
}

#[test]
fn o07_an_answer_is_a_promise() {
    // Admitted although the queue is full, and deferred while its recipient is live.
    let mut reactor = Reactor::with_queue(CallQueue::bounded(1)).unwrap();
    let recipient = reactor.queue().recipient(Vec::new());
    let remote = reactor.remote_callback(recipient.callback(|log, _, ()| log.push("answer")));
    recipient.call(|log, cx| {
        assert_eq!((cx.queue().dial_all().dialed, cx.queue().tally().pending), (0, 1));
        log.push("modal");
    });
    elsewhere(move || remote.answer(()).unwrap());
    assert_eq!(turn(&mut reactor), 2);
    recipient.call(|log, _| assert_eq!(*log, ["modal", "answer"]));
    assert_eq!(turn(&mut reactor), 1);
}

#[test]
fn o07_the_value_of_one_that_is_not_wanted_drops_on_the_loops_thread() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let drops = Arc::default();
    let callback = || recipient.callback(|(), _, _: Trace| unreachable!());
    let [canceled, gone] = [callback(), callback()].map(|one| reactor.remote_callback(one));
    assert_eq!(reactor.queue().cancel(canceled.id(), "unwanted"), Cancellation::Canceled);
    recipient.hang_up();
    let values = [Trace(Arc::clone(&drops)), Trace(Arc::clone(&drops))];
    elsewhere(move || {
        let [first, second] = values;
        canceled.answer(first).map_err(drop).unwrap();
        gone.answer(second).map_err(drop).unwrap();
    });
    reactor.run().unwrap();
    assert_eq!(*drops.lock().unwrap(), [thread::current().id(); 2]);
    let Tally { canceled, refused, created, .. } = reactor.queue().tally();
    assert_eq!((canceled, refused, created), (1, 1, 2));
}

#[test]
fn o07_answers_and_calls_of_one_sender_come_in_order() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(Vec::new());
    let to = reactor.remote_to(&recipient);
    let [first, second] = [1, 3].map(|number| {
        let callback = recipient.callback(move |log: &mut Vec<u32>, _, ()| log.push(number));
        reactor.remote_callback(callback.map(|_: &str| ()))
    });
    elsewhere(move || {
        first.answer("first").unwrap();
        to.call(|log, _| log.push(2)).unwrap();
        second.answer("second").unwrap();
    });
    reactor.run().unwrap();
    recipient.call(|log, _| assert_eq!(*log, [1, 2, 3]));
    reactor.run().unwrap();
}

#[test]
fn o07_an_operation_is_completed_from_another_thread() {
    let mut reactor = Reactor::new().unwrap();
    let result = Rc::new(Cell::new(None));
    let shown = Rc::clone(&result);
    let done =
        reactor.queue().callback(move |_, answer: OpResult<u64, ()>| shown.set(Some(answer)));
    // What a start function does.
    let op = Operation::new(done, (), |_| ());
    let handle = op.handle();
    let answered = reactor.queue().callback(move |_, sum| _ = op.complete(Ok(sum)));
    let remote: RemoteCallback<u64> = reactor.remote_callback(answered);
    thread::spawn(move || remote.answer((1..=10).sum()));
    assert!(result.take().is_none());
    reactor.run().unwrap();
    assert_eq!(result.take(), Some(Ok(55)));
    drop(handle);
}

#[test]
fn o07_each_of_many_ends_once_while_the_loop_goes() {
    for round in 0..40 {
        let mut reactor = Reactor::new().unwrap();
        let (queue, values) = (reactor.queue().clone(), Arc::new(AtomicUsize::new(0)));
        let start = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let remotes: Vec<_> = (0..40)
                    .map(|_| {
                        reactor.remote_callback(queue.callback(|_, value: Arc<_>| drop(value)))
                    })
                    .collect();
                let (start, values) = (Arc::clone(&start), Arc::clone(&values));
                thread::spawn(move || {
                    start.wait();
                    for (number, remote) in remotes.into_iter().enumerate() {
                        if number % 4 == 0 {
                            drop(remote);
                        } else if let Err(error) = remote.answer(Arc::clone(&values)) {
                            assert!(matches!(error, SendError::ReactorDropped(_)));
                        }
                    }
                })
            })
            .collect();
        start.wait();
        (0..round).for_each(|_| _ = turn(&mut reactor));
        drop(reactor);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let tally = queue.tally();
        assert!(tally.balances(), "{tally}");
        assert_eq!(tally.created, 120);
        assert_eq!(tally.finished + tally.canceled + tally.abandoned, 120, "{tally}");
        assert_eq!(Arc::strong_count(&values), 1);
    }
}
