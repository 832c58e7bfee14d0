//! Hazard: what a reactor has promised is lost, as a handler of its recipient dials the queue when its
//! turn comes (rule R2).

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use mio::Interest;
use switchboard::op::{OpResult, Operation};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::{Address, Recipient};

use support::net::{local_pair, turn_now, unwind, unwinding};

/// What reached it.
type Dialog = Vec<&'static str>;

/// A handler that dials the queue; it then notes how many calls were deferred.
fn modal(dialog: &Recipient<Dialog>, panics: bool) {
    dialog.call(move |dialog, cx| {
        let report = cx.queue().dial_all();
        assert_eq!((report.dialed, report.refused, report.remaining), (0, 0, 5));
        assert!(dialog.is_empty() && cx.queue().is_idle());
        dialog.push("modal");
        if panics {
            unwind("the handler");
        }
    });
}

/// Something of each kind that reaches `dialog` in the next turn: a timer, a call and a wake-up of
/// another thread, readiness, and the result of an operation. What is returned keeps them alive.
fn promise_each(reactor: &ReactorHandle, dialog: &Address<Dialog>) -> impl Sized + use<> {
    let timer =
        reactor.after(Duration::ZERO, dialog.callback(|dialog, _, ()| dialog.push("timer")));
    let remote = reactor.remote_to(dialog);
    let waker: Waker = remote.waker(|dialog: &mut Dialog, _| dialog.push("waker"));
    waker.wake_by_ref();
    remote.call(|dialog, _| dialog.push("remote")).unwrap();
    let (source, mut peer) = local_pair();
    peer.write_all(b"x").unwrap();
    let registration =
        reactor.register(source, Interest::READABLE, dialog, |dialog: &mut Dialog, _, ready| {
            assert!(ready.is_readable());
            dialog.push("readiness");
        });
    let done = dialog.callback(|dialog, _, result: OpResult<(), ()>| {
        assert_eq!(result, Ok(()));
        dialog.push("result");
    });
    let op = Operation::new(done, (), |_| ());
    op.complete(Ok(())).unwrap();
    (timer, remote, waker, registration.unwrap(), peer, op)
}

fn sorted(dialog: &Dialog) -> Vec<&'static str> {
    let mut sorted = dialog.clone();
    sorted.sort_unstable();
    sorted
}

const EACH: [&str; 5] = ["readiness", "remote", "result", "timer", "waker"];

#[test]
fn r02_each_kind_of_promise_survives_a_modal_loop_of_its_recipient() {
    let mut reactor = Reactor::new().unwrap();
    let dialog = reactor.queue().recipient(Dialog::new());
    modal(&dialog, false);
    let _kept = promise_each(&reactor, &dialog);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.remaining), (6, 0, 0));
    dialog.call(|dialog, _| {
        assert_eq!(dialog[0], "modal");
        dialog.remove(0);
        assert_eq!(sorted(dialog), EACH);
    });
    assert_eq!(turn_now(&mut reactor).dialed, 1);
}

#[test]
fn r10_each_kind_of_promise_survives_a_modal_loop_that_panics() {
    let mut reactor = Reactor::new().unwrap();
    let dialog = reactor.queue().recipient(Dialog::new());
    modal(&dialog, true);
    let _kept = promise_each(&reactor, &dialog);
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the handler");
    assert_eq!(reactor.queue().tally().pending, 5);
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "there are calls to dial");
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.remaining), (5, 0, 0));
    dialog.call(|dialog, _| assert_eq!(sorted(&dialog[1..].to_vec()), EACH));
    assert_eq!(turn_now(&mut reactor).dialed, 1);
}

#[test]
fn r09_each_kind_of_promise_is_refused_if_its_recipient_goes_in_the_modal_loop() {
    let mut reactor = Reactor::new().unwrap();
    let dialog = reactor.queue().recipient(Dialog::new());
    dialog.call(|_, cx| {
        assert_eq!(cx.queue().dial_all().remaining, 5);
        cx.hang_up();
    });
    let _kept = promise_each(&reactor, &dialog);
    let report = turn_now(&mut reactor);
    assert_eq!((report.dialed, report.refused, report.remaining), (1, 5, 0));
    assert_eq!(reactor.poll_timeout(), None);
}

#[test]
fn r02_promises_of_many_turns_of_a_modal_loop_come_in_order() {
    // An embedder whose handler runs the loop: it lends the reactor to its handlers.
    let reactor = Rc::new(RefCell::new(Reactor::new().unwrap()));
    let queue = reactor.borrow().queue().clone();
    let dialog = queue.recipient(Vec::new());
    let lent = Rc::clone(&reactor);
    queue.call({
        let dialog = dialog.address();
        move |_| {
            dialog.call(move |_, cx| {
                for round in 0..3 {
                    let mut reactor = lent.borrow_mut();
                    let timer = cx.callback(move |log: &mut Vec<u32>, _, ()| log.push(round));
                    reactor.after(Duration::ZERO, timer).detach();
                    let report = turn_now(&mut reactor);
                    assert_eq!((report.dialed, report.refused), (0, 0));
                    assert_eq!(report.remaining, u64::from(round) + 1);
                    assert_eq!(reactor.poll_timeout(), None, "it would spin: none can be dialed");
                }
            });
        }
    });
    assert_eq!(queue.dial_all().dialed, 5);
    dialog.call(|log, _| assert_eq!(*log, [0, 1, 2]));
    assert_eq!(queue.dial_all().dialed, 1);
}
