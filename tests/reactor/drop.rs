//! Hazard: the reactor goes while there are registrations, or they go first, and something leaks
//! or runs afterwards.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use switchboard::op::{OpResult, OpState};
use switchboard::reactor::RegisterError;
use switchboard::reactor::{Reactor, ReactorHandle, Registration, Timer};
use switchboard::samples::{LlRealCancel, Module, Read as Request, Socket};
use switchboard::{CallId, CallQueue, Cancellation, Recipient, Step};

use support::net::{
    LocalPeer, LocalStream, Log, assert_closed, local_pair, turn_now, turn_until, unwind,
    unwinding, watch,
};

/// Registrations whose handlers capture `captured`: one that is not ready, and two with a readiness
/// call pending; their peers, their recipient, and the ids of these calls.
fn three(
    reactor: &mut Reactor,
    captured: &Rc<()>,
) -> (Vec<Registration<LocalStream>>, Vec<LocalPeer>, Recipient<()>, Log<CallId>) {
    let recipient = reactor.queue().recipient(());
    let calls = Log::new();
    let log = calls.clone();
    reactor.queue().add_observer(move |call: CallId, step: &Step| {
        if let Step::Scheduled { .. } = step {
            log.push(call);
        }
    });
    let (sources, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| local_pair()).unzip();
    let mut held = Vec::new();
    for source in sources {
        let captured = Rc::clone(captured);
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
            unreachable!("{captured:?}");
        });
        held.push(source.unwrap());
    }
    for peer in &mut peers[1..] {
        peer.write_all(b"x").unwrap();
    }
    reactor.set_budget(0);
    assert_eq!(turn_now(reactor).remaining, 2);
    (held, peers, recipient, calls)
}

#[test]
fn the_reactor_may_go_before_its_registrations() {
    let captured = Rc::new(());
    let mut reactor = Reactor::new().unwrap();
    let (held, mut peers, _recipient, _) = three(&mut reactor, &captured);
    let (queue, handle) = (reactor.queue().clone(), reactor.handle());
    drop(reactor);
    let tally = queue.tally();
    assert!(queue.is_closed() && tally.balances(), "{tally}");
    assert_eq!((tally.pending, tally.canceled), (0, 2));
    assert_eq!(handle.registration_count(), 0);
    drop(held);
    assert_eq!(Rc::strong_count(&captured), 1);
    peers.iter_mut().for_each(assert_closed);
    assert_eq!(queue.tally(), tally, "nothing happens to a queue that is closed");
}

#[test]
fn registrations_may_go_before_the_reactor() {
    for recipient_goes_first in [false, true] {
        let captured = Rc::new(());
        let mut reactor = Reactor::new().unwrap();
        let (held, mut peers, recipient, _) = three(&mut reactor, &captured);
        if recipient_goes_first {
            recipient.hang_up();
        }
        assert_eq!(reactor.queue().tally().pending, 2);
        drop(held);
        assert_eq!(Rc::strong_count(&captured), 1);
        let tally = reactor.queue().tally();
        assert_eq!((tally.pending, tally.canceled), (0, 2), "{recipient_goes_first}");
        peers.iter_mut().for_each(assert_closed);
        reactor.run().unwrap();
        assert_eq!(reactor.queue().tally(), tally);
    }
}

#[test]
fn readiness_that_is_deferred_goes_with_the_reactor() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let captured = Rc::new(Cell::new(0));
    let mut peers = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        peers.push(peer);
        let dialed = Rc::clone(&captured);
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &recipient, move |(), cx, _| {
            dialed.set(dialed.get() + 1);
            assert_eq!(cx.queue().dial_all().remaining, 1);
            unwind("the handler");
        });
        held.push(source.unwrap());
    }
    assert_eq!(unwinding(|| reactor.turn(Some(Duration::ZERO))), "the handler");
    assert_eq!((captured.get(), Rc::strong_count(&captured)), (1, 3));
    let queue = reactor.queue().clone();
    assert_eq!(queue.tally().pending, 1);
    drop(reactor);
    assert_eq!((queue.tally().pending, queue.tally().canceled), (0, 1));
    drop(held);
    assert_eq!((captured.get(), Rc::strong_count(&captured)), (1, 1));
}

#[test]
fn readiness_in_line_goes_with_the_reactor() {
    let mut reactor = Reactor::new().unwrap();
    let captured = Rc::new(());
    let (held, _peers, _recipient, calls) = three(&mut reactor, &captured);
    for call in calls.take() {
        // By a stranger: each is to be called again.
        assert_eq!(reactor.queue().cancel(call, "unwanted"), Cancellation::Canceled);
    }
    assert_eq!((reactor.queue().tally().pending, Rc::strong_count(&captured)), (0, 4));
    drop(reactor);
    assert_eq!(Rc::strong_count(&captured), 1);
    drop(held);
}

#[test]
fn what_a_call_captured_may_use_the_reactor_that_goes() {
    struct Last {
        reactor: ReactorHandle,
        held: Option<Registration<LocalStream>>,
        seen: Log<&'static str>,
    }

    impl Drop for Last {
        fn drop(&mut self) {
            assert_eq!(self.reactor.registration_count(), 1);
            self.reactor.stop();
            let source = self.held.take().unwrap().into_source().unwrap();
            assert_eq!(self.reactor.registration_count(), 0);
            let recipient = self.reactor.queue().recipient(());
            let refused =
                self.reactor.register(source, Interest::READABLE, &recipient, |(), _, _| ());
            assert!(matches!(refused, Err(RegisterError::ReactorDropped(_))));
            self.seen.push("dropped");
        }
    }

    let reactor = Reactor::with_queue(CallQueue::new()).unwrap();
    let recipient = reactor.queue().recipient(());
    let seen = Log::new();
    let held = Some(watch(&reactor, &recipient, local_pair().0, 0, &Log::new()));
    let last = Last { reactor: reactor.handle(), held, seen: seen.clone() };
    reactor.queue().call(move |_| drop(last));
    drop(reactor);
    assert_eq!(seen.take(), ["dropped"]);
}

#[test]
fn a_recipient_that_owns_its_registration_goes_in_either_order() {
    for reactor_first in [true, false] {
        let mut reactor = Reactor::new().unwrap();
        let holder = reactor.queue().recipient(None::<Registration<LocalStream>>);
        let (source, mut peer) = local_pair();
        let captured = Rc::new(Cell::new(0));
        let reported = Rc::clone(&captured);
        let handle = reactor.handle();
        let source = handle.register(source, Interest::READABLE, &holder, move |held, _, _| {
            reported.set(reported.get() + 1);
            let mut byte = [0];
            held.as_mut().unwrap().source_mut().read_exact(&mut byte).unwrap();
        });
        let source = source.unwrap();
        holder.call(|held, _| *held = Some(source));
        peer.write_all(b"x").unwrap();
        turn_until(&mut reactor, || captured.get() == 1);
        if reactor_first {
            drop(reactor);
            drop(holder);
        } else {
            drop(holder);
            assert_eq!(handle.registration_count(), 0);
            reactor.run().unwrap();
            drop(reactor);
        }
        assert_eq!(Rc::strong_count(&captured), 1);
        assert_closed(&mut peer);
    }
}

#[test]
fn two_reactors_go_without_each_other() {
    // A handler of one holds a registration of the other.
    let first = Reactor::new().unwrap();
    let mut second = Reactor::new().unwrap();
    let (ours, theirs) = (first.queue().recipient(()), second.queue().recipient(()));
    let log = Log::new();
    let (source, mut peer) = local_pair();
    let inner = RefCell::new(Some(watch(&second, &theirs, source, 0, &log)));
    let captured = Rc::new(inner);
    let kept = Rc::clone(&captured);
    let outer = first
        .handle()
        .register(local_pair().0, Interest::READABLE, &ours, move |(), _, _| {
            kept.take();
        })
        .unwrap();
    drop(first);
    peer.write_all(b"x").unwrap();
    turn_until(&mut second, || log.len() == 1);
    drop(outer);
    assert_eq!(second.handle().registration_count(), 1);
    drop(captured);
    assert_eq!(second.handle().registration_count(), 0);
    second.run().unwrap();
}

/// It leaked once: the registration held its watch, which holds the handler.
#[test]
fn m04_a_handler_that_holds_its_own_registration_goes_with_the_reactor() {
    let reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let held = Rc::new(RefCell::new(None));
    let own = Rc::clone(&held);
    let registration =
        reactor.handle().register(source, Interest::READABLE, &recipient, move |(), _, _| {
            own.take();
        });
    held.replace(Some(registration.unwrap()));
    drop(reactor);
    assert_eq!(Rc::strong_count(&held), 1, "the handler leaks");
    drop(held);
    assert_closed(&mut peer);
}

#[test]
fn o01_an_operation_goes_with_the_reactor() {
    let reactor = Reactor::new().unwrap();
    let module = LlRealCancel::new();
    module.open();
    let (source, mut peer) = local_pair();
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let done = reactor.queue().callback(move |_, _: OpResult<Vec<u8>, _>| {
        unreachable!("{inner:?}");
    });
    let from = Socket::stream(&reactor.handle(), source).unwrap();
    let op = module.start(Request { from, limit: 8 }, done).unwrap();
    drop(module);
    drop(reactor);
    assert_eq!(Rc::strong_count(&captured), 1, "the callback ends with its queue");
    assert_eq!(op.state(), OpState::Completed, "the operation leaks");
    assert_closed(&mut peer);
}

#[test]
fn a_panic_in_one_handlers_capture_does_not_keep_the_others() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic::resume_unwind(Box::new("captured"));
        }
    }

    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(());
    let captured = Panics;
    let (source, _peer) = local_pair();
    let first = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
        let _ = &captured;
    });
    // Holds itself.
    let held = Rc::new(RefCell::new(None));
    let own = Rc::clone(&held);
    let (source, _peer) = local_pair();
    let second = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
        own.take();
    });
    held.replace(Some(second.unwrap()));
    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(reactor))).is_err());
    assert_eq!(Rc::strong_count(&held), 1, "the second handler leaks");
    drop(first);
}

const HOUR: Duration = Duration::from_secs(3600);

/// It panicked once, and aborted if there were two.
#[test]
fn handlers_that_own_timers_go_with_the_reactor() {
    for handlers in 1..=3 {
        let reactor = Reactor::new().unwrap();
        let queue = reactor.queue().clone();
        let recipient = queue.recipient(());
        let captured = Rc::new(());
        let mut held = Vec::new();
        for _ in 0..handlers {
            let inner = Rc::clone(&captured);
            let timer = reactor.after(HOUR, queue.callback(move |_, ()| drop(inner)));
            let source = local_pair().0;
            let registration =
                reactor.register(source, Interest::READABLE, &recipient, move |(), _, _| {
                    unreachable!("{timer:?}");
                });
            held.push(registration.unwrap());
        }
        assert_eq!(reactor.timer_count(), handlers);
        drop(reactor);
        assert_eq!(Rc::strong_count(&captured), 1);
        let tally = queue.tally();
        assert_eq!((tally.canceled, tally.unscheduled), (handlers as u64, 0), "{tally}");
    }
}

#[test]
fn a_handler_that_owns_a_recipient_with_a_timeout_goes_with_the_reactor() {
    struct Session {
        _timeout: Timer,
    }

    let reactor = Reactor::new().unwrap();
    let queue = reactor.queue().clone();
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let timeout = reactor.after(HOUR, queue.callback(move |_, ()| drop(inner)));
    let session = queue.recipient(Session { _timeout: timeout });
    let address = session.address();
    let (source, mut peer) = local_pair();
    let held = reactor.register(source, Interest::READABLE, &address, move |_, _, _| {
        unreachable!("{session:?}");
    });
    drop(reactor);
    assert_eq!(Rc::strong_count(&captured), 1);
    drop(held.unwrap());
    assert_closed(&mut peer);
    assert_eq!((queue.tally().canceled, queue.tally().unscheduled), (1, 0));
}

#[test]
fn a_timer_of_another_queue_that_owns_the_next_one_goes_with_the_reactor() {
    for first_due in [HOUR, 3 * HOUR] {
        let reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let other = CallQueue::new();
        let captured = Rc::new(());
        let inner = Rc::clone(&captured);
        let owned = handle.after(2 * HOUR, other.callback(move |_, ()| drop(inner)));
        let first = handle.after(first_due, other.callback(move |_, ()| drop(owned)));
        drop(reactor);
        assert_eq!((handle.timer_count(), Rc::strong_count(&captured)), (0, 1));
        drop(first);
        let tally = other.tally();
        assert_eq!((tally.canceled, tally.abandoned, tally.unscheduled), (2, 0, 0), "{tally}");
    }
}

#[test]
fn m05_a_reactor_that_is_gone_has_nothing_to_do() {
    for in_line in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let (_held, _peers, _recipient, calls) = three(&mut reactor, &Rc::new(()));
        if in_line {
            for call in calls.take() {
                reactor.queue().cancel(call, "by a stranger");
            }
        }
        let handle = reactor.handle();
        assert_eq!(
            (handle.queue().is_idle(), handle.poll_timeout()),
            (in_line, Some(Duration::ZERO))
        );
        drop(reactor);
        assert_eq!(handle.poll_timeout(), None);
    }
}

#[test]
fn a_handler_may_drop_its_reactor() {
    let reactor = Reactor::new().unwrap();
    let (queue, handle) = (reactor.queue().clone(), reactor.handle());
    let (remote, recipient) = (reactor.remote(), queue.recipient(()));
    let address = reactor.remote_to(&recipient);
    let waker = address.waker(|(), _| unreachable!());
    let other = CallQueue::new();
    let foreign = handle.after(HOUR, other.callback(|_, ()| unreachable!()));
    let own = handle.after(HOUR, queue.callback(|_, ()| unreachable!()));
    queue.call(move |queue| {
        remote.call(|_| unreachable!()).unwrap();
        address.call(|(), _| unreachable!()).unwrap();
        waker.wake_by_ref();
        drop(reactor);
        assert!(remote.call(|_| ()).is_err());
        waker.wake_by_ref();
        handle.after(HOUR, queue.callback(|_, ()| unreachable!())).detach();
        drop((own, foreign));
        assert_eq!((handle.timer_count(), handle.registration_count()), (0, 0));
    });
    let _ = queue.dial_all();
    let tally = queue.tally();
    assert!(tally.balances(), "{tally}");
    assert_eq!((tally.finished, tally.pending, tally.live, tally.unscheduled), (1, 0, 0, 0));
    assert_eq!((tally.canceled, other.tally().canceled), (5, 1));
}
