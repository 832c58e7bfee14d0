//! Hazard: a registration that is handed over loses readiness, reports it to the recipient before, or
//! asks the system (rule M4: `redirect`, interest, functions, `unref`).

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use mio::Interest;
use switchboard::reactor::{Reactor, RedirectError, Registration};
use switchboard::{CallId, CallQueue, Step};

use support::net::{
    LocalStream, Log, check, drain, local_pair, turn_now, unwind, unwinding, watch,
};

const READS: Interest = Interest::READABLE;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A socket that counts what the poll is asked.
struct Counted {
    stream: LocalStream,
    asked: Rc<Cell<u32>>,
}

impl Counted {
    fn new(stream: LocalStream) -> (Self, Rc<Cell<u32>>) {
        let asked = Rc::new(Cell::new(0));
        (Self { stream, asked: Rc::clone(&asked) }, asked)
    }
}

support::source_by!(Counted, stream, |source, _| {
    source.asked.set(source.asked.get() + 1);
    Ok(())
});

#[test]
fn m04_a_hand_over_keeps_readiness_and_asks_the_poll_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let [first, second] = [(); 2].map(|()| reactor.queue().recipient(()));
    let log = Log::new();
    let (stream, mut peer) = local_pair();
    let (source, asked) = Counted::new(stream);
    let mut held = watch(&reactor, &first, source, 1, &log);
    assert_eq!(asked.get(), 1);

    // Nothing is known of it: the new recipient is not called.
    let to = log.clone();
    held.redirect(&second, move |(), _, _| to.push(2)).unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    peer.write_all(b"x").unwrap();
    assert_eq!((turn_now(&mut reactor).dialed, log.take()), (1, vec![2]));

    // It is known to be readable: whoever gets it is called, without an event.
    let to = log.clone();
    held.redirect(&first, move |(), _, ready| to.push(if ready.is_readable() { 3 } else { 0 }))
        .unwrap();
    assert_eq!((reactor.queue().dial_all().dialed, log.take()), (1, vec![3]));

    // A call is pending: it is canceled, and the new one says what it was to say.
    assert_eq!(drain(&mut held.source_mut().stream), b"x");
    peer.write_all(b"y").unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    let to = log.clone();
    held.redirect(&second, move |(), _, ready| to.push(if ready.is_readable() { 4 } else { 0 }))
        .unwrap();
    let tally = reactor.queue().tally();
    assert_eq!((tally.pending, tally.canceled), (1, 1));
    assert_eq!((reactor.queue().dial_all().dialed, log.take()), (1, vec![4]));
    let to = log.clone();
    held.redirect_to_function(move |_, _| to.push(5)).unwrap();
    assert_eq!((reactor.queue().dial_all().dialed, log.take()), (1, vec![5]));
    assert_eq!((asked.get(), reactor.registration_count()), (1, 1));
    assert_eq!(reactor.event_stats().delivered, 2);
    check(&reactor);
}

#[test]
fn m04_a_registration_is_handed_over_from_its_own_handler() {
    struct Session(Option<Registration<LocalStream>>);

    let mut reactor = Reactor::new().unwrap();
    let log = Log::new();
    let pool = reactor.queue().recipient(Vec::<u8>::new());
    let session = reactor.queue().recipient(Session(None));
    let (source, mut peer) = local_pair();
    let (to, target) = (log.clone(), pool.address());
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let held =
        reactor.register(source, READS, &session, move |session: &mut Session, cx, ready| {
            let held = session.0.take().unwrap();
            let to = to.clone();
            held.redirect(&target, move |_, _, ready| to.push(ready.is_readable())).unwrap();
            ready.again(); // it is not this recipient's any more
            assert_eq!(Rc::strong_count(&inner), 2, "dropped while it runs");
            target.call(move |_, _| drop(held));
            cx.hang_up();
        });
    session.call(|session, _| session.0 = Some(held.unwrap()));
    peer.write_all(b"x").unwrap();
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, log.take()), (4, 0, vec![true]));
    assert_eq!((reactor.registration_count(), Rc::strong_count(&captured)), (0, 1));
    check(&reactor);
}

#[test]
fn m04_a_hand_over_that_cannot_be_changes_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let (source, mut peer) = local_pair();
    let held = watch(&reactor, &recipient, source, 1, &log);
    let other = CallQueue::new();
    let stranger = other.recipient(());
    let refused = held.redirect(&stranger, |(), _, _| unreachable!());
    assert_eq!(refused, Err(RedirectError::ForeignRecipient));
    peer.write_all(b"x").unwrap();
    assert_eq!((turn_now(&mut reactor).dialed, log.take()), (1, vec![1]));
    drop(reactor);
    let refused = held.redirect(&recipient, |(), _, _| unreachable!());
    assert_eq!(refused, Err(RedirectError::ReactorDropped));
    assert_eq!(
        held.redirect_to_function(|_, _| unreachable!()),
        Err(RedirectError::ReactorDropped)
    );
    assert!(!held.readiness().is_readable());
}

#[test]
fn m04_a_hand_over_survives_a_panic_of_an_observer() {
    let mut reactor = Reactor::new().unwrap();
    let [first, second] = [(); 2].map(|()| reactor.queue().recipient(()));
    let log = Log::new();
    let (source, mut peer) = local_pair();
    let held = watch(&reactor, &first, source, 1, &log);
    peer.write_all(b"x").unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    reactor.queue().add_observer(|_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            unwind("the observer");
        }
    });
    let to = log.clone();
    let redirect = || held.redirect(&second, move |(), _, _| to.push(2)).unwrap();
    assert_eq!(unwinding(redirect), "the observer");
    reactor.queue().clear_observers();
    reactor.set_budget(10);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, log.take()), (1, vec![2]));
    check(&reactor);
}

#[test]
fn m04_what_another_handler_of_the_batch_narrows_is_not_reported() {
    // Two sources are ready; the handler that comes first narrows the other.
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let held: Rc<RefCell<Vec<Registration<Counted>>>> = Rc::default();
    let log = Log::new();
    let mut peers = Vec::new();
    for name in 0..2 {
        let (stream, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        let (inner, log) = (Rc::downgrade(&held), log.clone());
        let source =
            reactor.register(Counted::new(stream).0, BOTH, &recipient, move |(), _, ready| {
                log.push((name, ready.is_readable(), ready.is_writable()));
                let held = inner.upgrade().unwrap();
                let narrowed = held.borrow_mut()[1 - name].set_interest(Interest::WRITABLE);
                narrowed.unwrap();
            });
        held.borrow_mut().push(source.unwrap());
        peers.push(peer);
    }
    reactor.set_budget(2);
    assert_eq!(turn_now(&mut reactor).dialed, 2);
    let reported = log.take();
    let (first, second) = (reported[0].0, 1 - reported[0].0);
    assert_eq!(reported, [(first, true, true), (second, false, true)]);
    assert!(!held.borrow()[second].readiness().is_readable());
}

#[test]
fn m04_a_readiness_call_that_has_nothing_left_to_report_is_canceled() {
    for observed in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        if observed {
            reactor.queue().add_observer(|_: CallId, _: &Step| ());
        }
        let recipient = reactor.queue().recipient(());
        let log = Log::new();
        let (source, mut peer) = local_pair();
        let mut held = watch(&reactor, &recipient, source, 1, &log);
        peer.write_all(b"x").unwrap();
        reactor.set_budget(0);
        assert_eq!(turn_now(&mut reactor).remaining, 1);
        held.set_interest(Interest::WRITABLE).unwrap();
        assert_eq!(reactor.queue().tally().canceled, 1);
        assert!(!held.readiness().is_readable());
        reactor.set_budget(10);
        assert_eq!((turn_now(&mut reactor).dialed, log.take()), (1, vec![1]), "it is writable");

        // Of interest again, it is reported again.
        held.set_interest(READS).unwrap();
        assert_eq!((turn_now(&mut reactor).dialed, log.take()), (1, vec![1]));
        assert_eq!(reactor.poll_timeout(), None);
        check(&reactor);
    }
}

#[test]
fn m04_the_interest_it_has_asks_the_poll_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let (stream, mut peer) = local_pair();
    let (source, asked) = Counted::new(stream);
    let mut held = watch(&reactor, &recipient, source, 1, &log);
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    for _ in 0..100 {
        held.set_interest(READS).unwrap();
        assert_eq!((turn_now(&mut reactor).dialed, asked.get()), (0, 1), "armed again");
    }
    assert_eq!(held.interest(), Some(READS));
    held.rearm().unwrap();
    assert_eq!((turn_now(&mut reactor).dialed, asked.get()), (1, 2));
    held.set_interest(BOTH).unwrap();
    assert_eq!((held.interest(), asked.get()), (Some(BOTH), 3));
}

#[test]
fn m04_again_does_not_bring_back_what_the_handler_has_narrowed() {
    let mut reactor = Reactor::new().unwrap();
    let held = Rc::new(RefCell::new(None::<Registration<LocalStream>>));
    let (source, mut peer) = local_pair();
    let (inner, log) = (Rc::clone(&held), Log::new());
    let reported = log.clone();
    let source = reactor.register_function(source, READS, move |_, ready| {
        reported.push(ready.is_readable());
        inner.borrow_mut().as_mut().unwrap().set_interest(Interest::WRITABLE).unwrap();
        ready.again();
    });
    held.replace(Some(source.unwrap()));
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    reactor.set_budget(1);
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(log.take(), [true, false]);
    drop(held.take());
}

#[test]
fn m04_a_function_is_called_of_readiness() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = local_pair();
    let log = Log::new();
    let (calls, expected) = (log.clone(), reactor.queue().clone());
    let held = reactor.register_function(source, READS, move |queue, ready| {
        assert_eq!(*queue, expected);
        calls.push(ready.is_readable());
        if calls.len() == 1 {
            ready.again();
            assert_eq!(queue.dial_all().dialed, 1, "a function may be called while it is live");
        }
    });
    let mut held = held.unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!((turn_now(&mut reactor).dialed, log.take()), (2, vec![true, true]));
    assert_eq!(drain(held.source_mut()), b"x");
    peer.write_all(b"y").unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    drop(held);
    assert_eq!((reactor.queue().tally().canceled, reactor.registration_count()), (1, 0));
    reactor.run().unwrap();
}

#[test]
fn m06_a_registration_that_is_unref_lets_the_loop_end() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let ((source, mut peer), (other, _other_peer)) = (local_pair(), local_pair());
    let held = watch(&reactor, &recipient, source, 1, &log);
    held.unref();
    held.unref(); // once is enough
    assert!(!reactor.should_run());
    reactor.run().unwrap();

    // What is pending is dialed before the end.
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    held.redirect(&recipient, {
        let to = log.clone();
        move |(), _, _| to.push(2)
    })
    .unwrap();
    assert!(reactor.should_run());
    reactor.run().unwrap();
    assert_eq!((log.take(), reactor.registration_count()), (vec![1, 2], 1));

    // Others keep it running, and so does this one again.
    let another = watch(&reactor, &recipient, other, 3, &log);
    assert!(reactor.should_run());
    drop(another);
    assert!(!reactor.should_run());
    held.undo_unref();
    held.undo_unref();
    assert!(reactor.should_run());
    held.unref();
    drop(held);
    let (source, _peer) = local_pair();
    let held = watch(&reactor, &recipient, source, 1, &log);
    assert!(reactor.should_run(), "the one before is counted still");
    drop(held);
    assert!(!reactor.should_run());
}
