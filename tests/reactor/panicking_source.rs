//! Hazard: a source whose `register` or `deregister` panics, or whose handler does as it drops, leaves
//! its registration behind, which is then reported although it was dropped, and keeps `run` from ending
//! (as was found once).

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use mio::event::Source;
use mio::net::UnixStream;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use switchboard::Context;
use switchboard::reactor::{Reactor, Readiness};

use support::net::{Log, local_pair, turn_now, unwind, unwinding, watch};

struct Panicking {
    stream: UnixStream,
    when: &'static str,
}

impl Panicking {
    fn at(&self, step: &'static str) {
        if self.when == step {
            unwind(step);
        }
    }
}

support::source_by!(Panicking, stream, |source, request| {
    source.at(request);
    Ok(())
});

/// A source whose descriptor stays open when it drops.
struct Borrowed(Rc<UnixStream>);

impl Source for Borrowed {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(poll)
    }
}

/// A captured value that panics as it drops.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        unwind("a capture");
    }
}

/// It stayed with the poll, which could not be asked for it again.
#[test]
fn m04_a_source_is_deregistered_also_if_what_its_handler_captured_panics() {
    let reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let stream = Rc::new(local_pair().0);
    let register = |bomb: Option<Bomb>| {
        let handler = move |(): &mut (), _: &Context<'_, ()>, _: &Readiness<'_>| _ = &bomb;
        let source = Borrowed(Rc::clone(&stream));
        reactor.register(source, Interest::READABLE, &recipient, handler)
    };
    let held = register(Some(Bomb)).unwrap();
    assert_eq!(unwinding(|| drop(held)), "a capture");
    assert_eq!(reactor.registration_count(), 0);
    assert!(register(None).is_ok(), "it was deregistered");
}

#[test]
fn m04_a_source_that_panics_when_it_is_registered_leaves_no_registration() {
    let reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let source = Panicking { stream: local_pair().0, when: "register" };
    let reported = Log::new();
    assert_eq!(unwinding(|| watch(&reactor, &recipient, source, 0, &reported)), "register");
    assert_eq!(reactor.handle().registration_count(), 0);
}

#[test]
fn m04_a_source_that_panics_when_it_is_deregistered_is_never_reported_again() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (stream, mut peer) = local_pair();
    let reported = Log::new();
    let held = watch(&reactor, &recipient, Panicking { stream, when: "deregister" }, 0, &reported);
    peer.write_all(b"x").unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!(unwinding(|| drop(held)), "deregister");
    reactor.set_budget(10);
    let _ = turn_now(&mut reactor);
    assert_eq!((reported.len(), reactor.handle().registration_count()), (0, 0));
}
