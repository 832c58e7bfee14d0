//! Hazard: a wake-up that is made for nothing, as the loop is awake, or that is not made, as the loop
//! was taken to be (rule M8).

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use switchboard::reactor::{Guest, Reactor};
use switchboard::{CallQueue, future};

use support::net::turn_now;

#[test]
fn m08_a_loop_that_is_awake_is_not_woken_by_its_own_thread() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(0);
    let (remote, address) = (reactor.remote(), reactor.remote_to(&recipient));
    let waker: Waker = address.waker(|count: &mut i32, _| *count += 1);
    for _ in 0..10 {
        // Between turns, and in a handler.
        remote.call(|_| ()).unwrap();
        address.call(|count, _| *count += 1).unwrap();
        waker.wake_by_ref();
        let (remote, waker) = (remote.clone(), waker.clone());
        reactor.queue().call(move |_| {
            remote.call(|_| ()).unwrap();
            waker.wake_by_ref();
        });
        assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
        let dialed = turn_now(&mut reactor).dialed + turn_now(&mut reactor).dialed;
        assert_eq!(dialed, 6 - 1, "the two wake-ups of the waker are one");
    }
    drop((remote, address, waker));
    reactor.run().unwrap();
    assert_eq!(reactor.event_stats().events, 0, "an event is a wake-up here");
}

#[test]
fn m08_a_loop_that_is_awake_is_not_woken_by_other_threads() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(0);
    let (order, orders) = channel::<()>();
    let (sent, all_sent) = channel();
    let address = reactor.remote_to(&recipient);
    let callback = reactor.remote_callback(recipient.callback(|count, _, more| *count += more));
    let thread = thread::spawn(move || {
        for () in orders {
            address.call(|count, _| *count += 1).unwrap();
            sent.send(()).unwrap();
        }
        callback.answer(100).unwrap();
        drop(address); // the last sender
    });
    let mut order = Some(order);
    for round in 0..10 {
        // Between turns, and while a handler runs.
        order.as_ref().unwrap().send(()).unwrap();
        all_sent.recv().unwrap();
        assert_eq!(turn_now(&mut reactor).dialed, 1);
        thread::scope(|_| {
            let next = order.clone().unwrap();
            next.send(()).unwrap();
            all_sent.recv().unwrap();
        });
        assert_eq!(turn_now(&mut reactor).dialed, 1);
        if round == 9 {
            order = None;
        }
    }
    thread.join().unwrap();
    reactor.run().unwrap();
    recipient.call(|count, _| assert_eq!(*count, 120));
    reactor.run().unwrap();
    assert_eq!(reactor.event_stats().events, 0, "an event is a wake-up here");
}

#[test]
fn m08_a_future_that_is_woken_on_the_loops_thread_wakes_no_loop() {
    use std::pin::Pin;
    use std::task::{self, Poll};

    let mut reactor = Reactor::new().unwrap();
    let (question, answer) = future::callback(reactor.queue());
    let answer = Box::pin(answer);
    let session = reactor.queue().recipient((answer, None));
    type Session = (Pin<Box<future::CallbackFuture<i32>>>, Option<i32>);
    let waker = reactor.remote_to(&session).waker(|session: &mut Session, _| {
        let mut context = task::Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(value)) = session.0.as_mut().poll(&mut context) {
            session.1 = Some(value);
        }
    });
    session.call(move |session, _| {
        let mut context = task::Context::from_waker(&waker);
        assert!(session.0.as_mut().poll(&mut context).is_pending());
    });
    turn_now(&mut reactor);
    question.answer(42);
    reactor.run().unwrap();
    session.call(|session, _| assert_eq!(session.1, Some(42)));
    reactor.run().unwrap();
    assert_eq!(reactor.event_stats().events, 0, "an event is a wake-up here");
}

/// (mio's `poll` has no descriptor.)
#[cfg(not(mio_unsupported_force_poll_poll))]
mod descriptor {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Whether the descriptor is readable now.
    fn is_readable(descriptor: impl AsFd) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn m08_what_was_sent_before_the_descriptor_was_out_wakes_the_host() {
        let mut reactor = Reactor::new().unwrap();
        let remote = reactor.remote();
        assert_eq!(reactor.poll_timeout(), None, "so the host is going to sleep without end");
        remote.call(|_| ()).unwrap();
        assert!(is_readable(reactor.as_fd()));
        assert_eq!(turn_now(&mut reactor).dialed, 1);
        assert!(!is_readable(reactor.as_fd()), "once");
    }

    #[test]
    fn m08_a_reactor_whose_descriptor_is_out_is_woken_whenever_it_does_not_turn() {
        let mut reactor = Reactor::new().unwrap();
        let remote = reactor.remote();
        let descriptor = reactor.as_fd().try_clone_to_owned().unwrap();
        for _ in 0..3 {
            assert!(!is_readable(&descriptor));
            remote.call(|_| ()).unwrap();
            assert!(is_readable(&descriptor), "the host sleeps by it");
            assert_eq!(turn_now(&mut reactor).dialed, 1);
            // Sent in a turn: the host is to ask for the timeout after it.
            let sender = remote.clone();
            reactor.queue().call(move |_| sender.call(|_| ()).unwrap());
            assert_eq!(turn_now(&mut reactor).dialed, 1);
            assert!(!is_readable(&descriptor));
            assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
            assert_eq!(turn_now(&mut reactor).dialed, 1);
        }
        // The last sender of all.
        drop(remote);
        assert!(is_readable(&descriptor));
        assert!(!reactor.should_run() || turn_now(&mut reactor).dialed == 0);
        assert_eq!(reactor.event_stats().events, 4);
    }
}

#[test]
fn m08_a_guest_is_woken_whenever_it_does_not_turn() {
    let mut host = Poll::new().unwrap();
    let waker = Arc::new(mio::Waker::new(host.registry(), Token(0)).unwrap());
    let mut guest = Guest::with_queue(CallQueue::new(), host.registry(), waker).unwrap();
    let mut events = Events::with_capacity(8);
    let remote = guest.remote();
    let mut turn = |guest: &mut Guest| {
        host.poll(&mut events, Some(Duration::ZERO)).unwrap();
        (events.iter().count(), guest.turn(&events).dialed)
    };
    for _ in 0..3 {
        remote.call(|_| ()).unwrap();
        assert_eq!(turn(&mut guest), (1, 1));
        let sender = remote.clone();
        guest.queue().call(move |_| sender.call(|_| ()).unwrap());
        assert_eq!(turn(&mut guest), (0, 1));
        assert_eq!(guest.poll_timeout(), Some(Duration::ZERO));
        assert_eq!(turn(&mut guest), (0, 1));
    }
}

#[test]
fn m08_a_sender_sees_that_the_recipient_is_gone() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let address = reactor.remote_to(&recipient);
    let clone = address.clone();
    assert!(!address.is_gone());
    address.call(|(), cx| cx.hang_up()).unwrap();
    assert!(!address.is_gone(), "the call is not dialed yet");
    turn_now(&mut reactor);
    assert!(thread::spawn(move || clone.is_gone()).join().unwrap());
    assert!(address.is_gone() && reactor.remote_to(&recipient).is_gone());
    // It is so before the value drops.
    let queue = reactor.queue().clone();
    struct Value(Option<switchboard::reactor::RemoteAddress<Self>>);
    impl Drop for Value {
        fn drop(&mut self) {
            assert!(self.0.take().is_some_and(|own| own.is_gone()));
        }
    }
    let handle = reactor.handle();
    drop(queue.recipient_with(|own| Value(Some(handle.remote_to(own)))));
}
