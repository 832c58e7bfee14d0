//! What needs a look behind the loop: events that are older than what they are noted for, and wake-ups.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::io::Write;
use std::os::unix::net::UnixStream as Peer;
use std::sync::mpsc::channel;
use std::thread;

use mio::event::Source;
use mio::net::UnixStream;
use mio::{Interest, Registry};

use super::*;
use crate::arena::ArenaKey;
use crate::id::CallId;
use crate::reactor::error::RegisterError;
use crate::reactor::inbox::{Inbox, Rejection};
use crate::recipient::Address;
use crate::step::Step;

type Reported = Rc<RefCell<Vec<&'static str>>>;

fn pair() -> (UnixStream, Peer) {
    let (ours, peer) = Peer::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (UnixStream::from_std(ours), peer)
}

/// Registers a source that has something to read; its readiness calls log `name`.
fn register(
    reactor: &Reactor,
    recipient: &Address<()>,
    name: &'static str,
    reported: &Reported,
) -> (Registration<UnixStream>, Peer) {
    let (source, mut peer) = pair();
    peer.write_all(b"x").unwrap();
    let reported = Rc::clone(reported);
    let handle = reactor.handle();
    let source = handle.register(source, Interest::READABLE, recipient, move |(), _, _| {
        reported.borrow_mut().push(name);
    });
    (source.unwrap(), peer)
}

fn poll(reactor: &mut Reactor) {
    reactor.poll.poll(&mut reactor.events, Some(Duration::ZERO)).unwrap();
}

/// Does with the events of the last poll what a turn does.
fn go_on(reactor: &Reactor) -> Report {
    let shared = reactor.shared();
    shared.note(&reactor.events);
    shared.schedule_ready();
    reactor.queue().dial_all()
}

/// Notes the events of the last poll without scheduling their calls, as what observes may panic.
fn note_in_line(reactor: &Reactor) {
    reactor.queue().add_observer(|_: CallId, _: &Step| {});
    reactor.shared().note(&reactor.events);
    reactor.queue().clear_observers();
}

/// The slots of the registrations, found by trying: a key of a vacant slot finds nothing.
fn slots(reactor: &Reactor) -> Vec<(u32, u32)> {
    let mut watches = reactor.shared().watches.borrow_mut();
    let keys = (0..4).flat_map(|slot| (0..4).map(move |generation| ArenaKey { slot, generation }));
    keys.filter(|&key| watches.get(key).is_some()).map(|key| (key.slot, key.generation)).collect()
}

#[test]
fn m02_a_stale_event_is_not_delivered_to_the_new_owner_of_its_slot() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Reported::default();
    let (old, _old_peer) = register(&reactor, &recipient, "old", &reported);
    poll(&mut reactor);
    assert_eq!(slots(&reactor), [(0, 0)]);
    drop(old);
    let (_new, _new_peer) = register(&reactor, &recipient, "new", &reported);
    assert_eq!(slots(&reactor), [(0, 1)], "the same slot, in its next generation");

    // The batch polled before is noted: it holds the event of the old one only.
    assert_eq!(go_on(&reactor).dialed, 0);
    let stale = EventStats { events: 1, stale: 1, ..EventStats::default() };
    assert_eq!((reactor.event_stats(), reported.take()), (stale, vec![]));
    assert!(reactor.shared().line.ready.is_empty());

    poll(&mut reactor);
    assert_eq!(go_on(&reactor).dialed, 1);
    assert_eq!((reactor.event_stats().delivered, reported.take()), (1, vec!["new"]));
}

#[test]
fn m02_an_event_for_an_empty_slot_is_stale() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Reported::default();
    let (first, _first_peer) = register(&reactor, &recipient, "first", &reported);
    let (_second, _second_peer) = register(&reactor, &recipient, "second", &reported);
    poll(&mut reactor);
    drop(first);
    assert_eq!(go_on(&reactor).dialed, 1);
    let expected = EventStats { events: 2, delivered: 1, stale: 1, ..EventStats::default() };
    assert_eq!((reactor.event_stats(), reported.take()), (expected, vec!["second"]));
}

#[test]
fn a_registration_that_goes_while_it_is_in_line_is_not_reported() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Reported::default();
    let (first, _first_peer) = register(&reactor, &recipient, "first", &reported);
    poll(&mut reactor);
    note_in_line(&reactor);
    drop(first);
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "in line, so the next turn looks");
    // Its slot is used again, and the one in line is not taken for the new owner.
    let (_new, _new_peer) = register(&reactor, &recipient, "new", &reported);
    reactor.shared().schedule_ready();
    assert_eq!((reactor.queue().dial_all().dialed, reported.take()), (0, vec![]));
    assert_eq!(reactor.poll_timeout(), None);
}

#[test]
fn what_was_in_line_before_is_first() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Reported::default();
    let _held = ["first", "second"].map(|name| {
        let held = register(&reactor, &recipient, name, &reported);
        poll(&mut reactor);
        if name == "first" {
            note_in_line(&reactor);
        }
        held
    });
    assert_eq!(go_on(&reactor).dialed, 2);
    assert_eq!(reported.take(), ["first", "second"]);
}

#[test]
fn a_token_names_slot_and_generation() {
    for slot in [0, 1, (1 << 31) - 1] {
        for generation in [0, 1, u32::MAX] {
            let key = ArenaKey { slot, generation };
            assert_eq!(token::key(token::token(key)), Some(key));
        }
    }
}

#[test]
fn a_source_that_is_refused_leaves_no_slot() {
    struct Refused;

    impl Source for Refused {
        fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
            Err(io::ErrorKind::AlreadyExists.into())
        }

        fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
            unreachable!("it was refused")
        }

        fn deregister(&mut self, _: &Registry) -> io::Result<()> {
            unreachable!("it was refused")
        }
    }

    let reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    for generation in 0..3 {
        let refused =
            reactor.handle().register(Refused, Interest::READABLE, &recipient, |(), _, _| ());
        let Err(RegisterError::Poll { rejected: Refused, source }) = refused else {
            panic!("not refused");
        };
        assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(slots(&reactor), [], "attempt {generation}");
    }
    let reported = Reported::default();
    let _held = register(&reactor, &recipient, "next", &reported);
    assert_eq!(slots(&reactor), [(0, 3)], "the slot of those that were refused");
}

#[test]
fn only_the_first_of_many_wakes_and_only_a_reactor_that_sleeps() {
    let (inbox, wakes) = (Inbox::new(), Cell::new(0));
    let send = |entry| {
        let wake = || {
            wakes.set(wakes.get() + 1);
            Ok(())
        };
        inbox.send(entry, wake).map_err(|_| ()).unwrap();
    };
    for round in 1..=3 {
        assert!(inbox.fall_asleep());
        (0..10).for_each(send);
        assert_eq!(wakes.get(), round);
        inbox.wake_up();
        let mut taken = Vec::new();
        inbox.take(&mut taken);
        assert!(taken.drain(..).eq(0..10));
        // Awake:
        (0..10).for_each(send);
        assert_eq!(wakes.get(), round);
        assert!(!inbox.fall_asleep(), "it would sleep over ten entries");
        inbox.wake_up();
        inbox.take(&mut taken);
        assert!(taken.into_iter().eq(0..10));
    }
}

#[test]
fn what_cannot_wake_the_reactor_is_handed_back() {
    let inbox = Inbox::new();
    for round in 1..=2 {
        assert!(inbox.fall_asleep());
        let refused = inbox.send("first", || Err(io::ErrorKind::Other.into()));
        let Err(("first", Rejection::NotWoken(error))) = refused else { panic!("{refused:?}") };
        assert_eq!((error.kind(), inbox.has_mail()), (io::ErrorKind::Other, false));
        // The next one is the first again, and wakes.
        let woken = Cell::new(false);
        let wake = || {
            woken.set(true);
            Ok(())
        };
        assert!(inbox.send("second", wake).is_ok() && woken.get());
        let mut taken = Vec::new();
        inbox.take(&mut taken);
        assert_eq!(taken, ["second"], "round {round}");
    }
}

/// It ran into the lock that its sender held meanwhile.
#[test]
fn the_reactor_is_woken_with_nothing_locked_that_it_takes() {
    let inbox = Inbox::new();
    assert!(inbox.fall_asleep());
    thread::scope(|scope| {
        let wake = || {
            let (take, taken) = channel();
            let inbox = &inbox;
            scope.spawn(move || {
                let mut entries = Vec::new();
                inbox.wake_up();
                inbox.take(&mut entries);
                take.send(entries)
            });
            let taken = taken.recv_timeout(Duration::from_secs(20));
            assert_eq!(taken.as_deref(), Ok(&["entry"][..]), "it does not wait");
            Ok(())
        };
        assert!(inbox.send("entry", wake).is_ok());
    });
}

#[test]
fn what_the_reactor_takes_although_it_could_not_be_woken_is_sent() {
    let inbox = Inbox::new();
    assert!(inbox.fall_asleep());
    let mut taken = Vec::new();
    let wake = || {
        inbox.wake_up(); // by something else
        inbox.take(&mut taken);
        Err(io::ErrorKind::Other.into())
    };
    assert!(inbox.send("entry", wake).is_ok());
    assert_eq!((taken, inbox.has_mail(), inbox.close().len()), (vec!["entry"], false, 0));
}
