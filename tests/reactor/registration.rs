//! Hazard: a source that stays registered, stays open, or is not handed back (rule M4, and what
//! `register` refuses).

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use switchboard::reactor::{Reactor, RegisterError, Registration};
use switchboard::{CallId, Step};

use support::net::{
    LocalStream, Log, assert_closed, check, local_pair, turn_now, turn_until, watch,
};

#[test]
fn m04_a_source_that_is_taken_back_can_be_registered_again() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let held = watch(&reactor, &recipient, source, 0, &reported);
    peer.write_all(b"x").unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);

    // Taken back with its readiness call pending, which is canceled.
    let source = held.into_source().unwrap();
    let tally = reactor.queue().tally();
    assert_eq!((tally.pending, tally.canceled), (0, 1));
    assert_eq!(reactor.handle().registration_count(), 0);
    peer.write_all(b"y").unwrap();
    reactor.set_budget(10);
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    assert_eq!(reactor.event_stats().events, 1);

    // Registered again, what came before is reported, by the new handler only.
    let held = watch(&reactor, &recipient, source, 1, &reported);
    turn_until(&mut reactor, || reported.len() == 1);
    assert_eq!(reported.take(), [1]);

    // Another reactor will do as well.
    let mut other = Reactor::new().unwrap();
    let recipient = other.queue().recipient(());
    let mut held = watch(&other, &recipient, held.into_source().unwrap(), 2, &reported);
    turn_until(&mut other, || reported.len() == 1);
    assert_eq!(reported.take(), [2]);
    assert_eq!(
        (reactor.handle().registration_count(), other.handle().registration_count()),
        (0, 1)
    );
    let mut bytes = [0; 8];
    assert_eq!(held.source_mut().read(&mut bytes).unwrap(), 2);
    assert_eq!(&bytes[..2], b"xy");
    assert!(held.source().peer_addr().is_ok());
}

#[test]
fn m04_the_interest_can_be_changed() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let log = reported.clone();
    let handle = reactor.handle();
    let held = handle.register(source, Interest::WRITABLE, &recipient, move |(), _, ready| {
        log.push((ready.is_readable(), ready.is_writable()));
    });
    let mut held = held.unwrap();
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(reported.take(), [(false, true)]);
    held.set_interest(Interest::READABLE).unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(reported.take(), [(true, false)]);
    held.set_interest(Interest::READABLE | Interest::WRITABLE).unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(reported.take(), [(true, true)]);
    assert_eq!(turn_now(&mut reactor).dialed, 0);
}

#[test]
fn m04_a_registration_may_be_dropped_from_its_own_handler() {
    let mut reactor = Reactor::new().unwrap();
    let holder = reactor.queue().recipient(None::<Registration<LocalStream>>);
    let (source, mut peer) = local_pair();
    let captured = Rc::new(Cell::new(0));
    let reported = Rc::clone(&captured);
    let handle = reactor.handle();
    let inner = handle.clone();
    let source = handle.register(source, Interest::READABLE, &holder, move |held, _, ready| {
        *held = None;
        ready.again(); // there is nothing to ask for any more
        assert_eq!((inner.registration_count(), inner.queue().is_idle()), (0, true));
        reported.set(reported.get() + 1); // what the handler captured is there until it returns
    });
    let source = source.unwrap();
    holder.call(|held, _| *held = Some(source));
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 2);
    assert_eq!((captured.get(), Rc::strong_count(&captured)), (1, 1));
    assert_closed(&mut peer);
    reactor.run().unwrap();
}

#[test]
fn m04_what_a_handler_captured_may_use_the_reactor_when_it_drops() {
    struct DropsAnother {
        held: Option<Registration<LocalStream>>,
        reactor: switchboard::reactor::ReactorHandle,
        seen: Rc<Cell<usize>>,
    }

    impl Drop for DropsAnother {
        fn drop(&mut self) {
            self.held = None;
            self.reactor.queue().call(|_| ());
            self.seen.set(self.reactor.registration_count());
        }
    }

    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let _bystander = watch(&reactor, &recipient, local_pair().0, 0, &log);
    let other = watch(&reactor, &recipient, local_pair().0, 1, &log);
    let seen = Rc::new(Cell::new(0));
    let captured =
        DropsAnother { held: Some(other), reactor: handle.clone(), seen: Rc::clone(&seen) };
    let held = handle.register(local_pair().0, Interest::READABLE, &recipient, move |(), _, _| {
        let _ = &captured;
    });
    assert_eq!(handle.registration_count(), 3);
    drop(held.unwrap());
    assert_eq!((handle.registration_count(), seen.get()), (1, 1));
    assert_eq!(reactor.queue().tally().pending, 1);
}

#[cfg(target_os = "linux")]
#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "it takes any source")]
fn a_source_that_the_poll_does_not_take_is_handed_back() {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    // A plain file: epoll does not take it.
    let file = OwnedFd::from(File::open("/proc/self/exe").unwrap());
    let file = mio::net::TcpStream::from_std(std::net::TcpStream::from(file));
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(());
    let captured = Rc::new(());
    let held = Rc::clone(&captured);
    let refused = handle.register(file, Interest::READABLE, &recipient, move |(), _, _| {
        let _ = &held;
    });
    let error = refused.unwrap_err();
    assert_eq!(Rc::strong_count(&captured), 1, "the handler is dropped");
    assert_eq!((handle.registration_count(), reactor.poll_timeout()), (0, None));
    assert!(matches!(error, RegisterError::Poll { .. }), "{error:?}");
    assert_eq!(error.to_string(), "source not registered: the poll rejected it; see the cause");

    // The cause is in `source`, with or without the source of events.
    let (rejected, error) = error.split();
    let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::PermissionDenied);

    // The source may be offered again: it is refused for what it is, and not for being registered.
    let refused = handle.register(rejected, Interest::READABLE, &recipient, |(), _, _| ());
    let (rejected, error) = refused.unwrap_err().split();
    let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), ErrorKind::PermissionDenied, "{cause}");
    let mut file = std::net::TcpStream::from(OwnedFd::from(rejected));
    assert!(file.write_all(b"x").is_err(), "it is the file, opened to be read");
    error.into_inner();

    // The next one is registered as if nothing had been.
    let reported = Log::new();
    let (source, mut peer) = local_pair();
    let _held = watch(&reactor, &recipient, source, 0, &reported);
    peer.write_all(b"x").unwrap();
    turn_until(&mut reactor, || reported.len() == 1);
    assert_eq!((handle.registration_count(), reactor.event_stats().stale), (1, 0));
}

/// A source that counts what is asked of it, over a socket that somebody else may hold, too.
#[derive(Clone, Debug)]
struct Shared {
    stream: Rc<RefCell<LocalStream>>,
    /// How often it was registered, reregistered, deregistered.
    asked: Rc<Cell<[u32; 3]>>,
    /// Whether it fails to deregister.
    stuck: bool,
}

impl Shared {
    fn new(stream: LocalStream, stuck: bool) -> Self {
        Self { stream: Rc::new(RefCell::new(stream)), asked: Rc::default(), stuck }
    }

    fn count(&self, which: usize) {
        let mut asked = self.asked.get();
        asked[which] += 1;
        self.asked.set(asked);
    }
}

impl Source for Shared {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.count(0);
        self.stream.borrow_mut().register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.count(1);
        self.stream.borrow_mut().reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        self.count(2);
        if self.stuck {
            return Err(ErrorKind::Other.into());
        }
        self.stream.borrow_mut().deregister(poll)
    }
}

#[test]
fn a_source_registered_twice_is_refused_once() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (stream, mut peer) = local_pair();
    let source = Shared::new(stream, false);
    let held = watch(&reactor, &recipient, source.clone(), 0, &reported);
    let second = handle.register(source.clone(), Interest::READABLE, &recipient, |(), _, _| ());
    let rejected = second.unwrap_err().into_inner();
    assert!(Rc::ptr_eq(&rejected.stream, &source.stream));
    assert_eq!((handle.registration_count(), source.asked.get()), (1, [2, 0, 0]));
    drop(rejected);

    // The first registration is as it was.
    peer.write_all(b"x").unwrap();
    turn_until(&mut reactor, || reported.len() == 1);
    assert_eq!(reported.take(), [0]);
    drop(held);
    assert_eq!(
        (handle.registration_count(), source.asked.get()),
        (0, [2, 0, 1]),
        "deregistered once"
    );
    check(&reactor);
}

#[test]
fn m02_events_of_a_source_that_could_not_be_deregistered_are_stale() {
    for take_back in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let recipient = reactor.queue().recipient(());
        let reported = Log::new();
        let (stream, mut peer) = local_pair();
        let source = Shared::new(stream, true);
        let held = watch(&reactor, &recipient, source.clone(), 0, &reported);
        if take_back {
            assert_eq!(held.into_source().unwrap_err().source.kind(), ErrorKind::Other);
        } else {
            drop(held);
        }
        assert_eq!(handle.registration_count(), 0);
        assert_eq!(source.asked.get()[2], 1, "asked once");
        assert_eq!(Rc::strong_count(&source.stream), 1, "dropped all the same");

        // The poll still reports its events, but its slot has a new owner.
        let (successor, mut its_peer) = local_pair();
        let _held = watch(&reactor, &recipient, successor, 1, &reported);
        peer.write_all(b"x").unwrap();
        assert_eq!(turn_now(&mut reactor).dialed, 0);
        assert_eq!(
            (reactor.event_stats().stale, reactor.event_stats().delivered, reported.len()),
            (1, 0, 0)
        );
        its_peer.write_all(b"x").unwrap();
        assert_eq!(turn_now(&mut reactor).dialed, 1);
        assert_eq!((reactor.event_stats().stale, reactor.event_stats().delivered), (1, 1));
        assert_eq!(reported.take(), [1]);
    }
}

#[test]
fn a_source_is_handed_back_when_the_reactor_is_gone() {
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let (source, mut peer) = local_pair();
    let mut held = watch(&reactor, &recipient, source, 0, &reported);
    peer.write_all(b"x").unwrap();
    drop(reactor);

    // What was registered is still its owner's.
    held.set_interest(Interest::WRITABLE).unwrap();
    assert_eq!(handle.registration_count(), 0);
    let source = held.into_source().unwrap();
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let refused = handle.register(source, Interest::READABLE, &recipient, move |(), _, _| {
        let _ = &inner;
    });
    let error = refused.unwrap_err();
    let text = "source not registered: the reactor has been dropped; use a live reactor";
    assert_eq!(error.to_string(), text);
    assert!(matches!(error, RegisterError::ReactorDropped(_)) && error.source().is_none());
    assert_eq!((handle.registration_count(), Rc::strong_count(&captured)), (0, 1));
    let mut source = error.into_inner();
    assert_eq!(source.read(&mut [0; 8]).unwrap(), 1);
    assert!(recipient.try_call(|(), _| ()).is_err());
    assert_eq!(reported.len(), 0);
}

#[test]
fn m04_a_registration_that_the_observer_drops_at_its_dial_is_reported_no_more() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let held = Cell::new(Some(watch(&reactor, &recipient, source, 0, &reported)));
    reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Dialed) {
            drop(held.take());
        }
    });
    peer.write_all(b"x").unwrap();
    assert_eq!((turn_now(&mut reactor).dialed, reactor.registration_count()), (1, 0));
    assert_eq!(reported.len(), 0);
}

#[test]
fn m04_a_registration_whose_call_was_refused_drops_in_silence() {
    for (canceled, expected) in [(false, (1, 0)), (true, (0, 1))] {
        let mut reactor = Reactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        let (source, mut peer) = local_pair();
        let reported = Log::new();
        let held = watch(&reactor, &recipient, source, 0, &reported);
        peer.write_all(b"x").unwrap();
        let scheduled = Rc::new(Cell::new(None));
        let last = Rc::clone(&scheduled);
        let observer = reactor.queue().add_observer(move |call: CallId, step: &Step| {
            if let Step::Scheduled { .. } = step {
                last.set(Some(call));
            }
        });
        reactor.set_budget(0);
        assert_eq!(turn_now(&mut reactor).remaining, 1);
        if canceled {
            reactor.queue().cancel(scheduled.get().unwrap(), "by a stranger");
        } else {
            recipient.hang_up();
        }
        let report = reactor.queue().dial_all();
        assert_eq!((report.refused, report.canceled), expected);
        assert!(reactor.queue().remove_observer(observer));
        let steps = Rc::new(Cell::new(0));
        let count = Rc::clone(&steps);
        reactor.queue().add_observer(move |_: CallId, _: &Step| count.set(count.get() + 1));
        drop(held);
        assert_eq!((steps.get(), reported.len()), (0, 0));
    }
}
