//! Hazard: a descriptor is closed behind the back of the loop. In a process of its own, no other test
//! gets its number.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use mio::Interest;
use mio::unix::SourceFd;
use switchboard::reactor::Reactor;

use support::alone;
use support::net::{Log, local_pair, turn_now, turn_until, watch};

/// mio's `poll` looks at a descriptor when it polls, and then says only that it is none.
#[cfg(mio_unsupported_force_poll_poll)]
#[test]
fn a_source_whose_descriptor_is_closed_has_an_error() {
    alone!();
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let closed: &'static _ = Box::leak(Box::new(File::open("/dev/null").unwrap().as_raw_fd()));
    let reported = Log::new();
    let log = reported.clone();
    let reads = Interest::READABLE;
    let held = reactor.register(SourceFd(closed), reads, &recipient, move |(), _, ready| {
        log.push((ready.is_error(), ready.is_readable()));
    });
    let held = held.unwrap();
    reactor.set_budget(0);
    assert_eq!(turn_now(&mut reactor).remaining, 1);
    assert_eq!(turn_now(&mut reactor).remaining, 1, "one call at a time (M3)");
    reactor.set_budget(10);
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(reported.take(), [(true, true)]);
    drop(held);
    assert_eq!((turn_now(&mut reactor).dialed, reactor.poll_timeout()), (0, None));
    let (another, mut peer) = local_pair();
    let others = Log::new();
    let _held = watch(&reactor, &recipient, another, 1, &others);
    peer.write_all(b"x").unwrap();
    turn_until(&mut reactor, || others.len() == 1);
}

#[cfg(not(mio_unsupported_force_poll_poll))]
#[test]
fn a_source_whose_descriptor_is_closed_is_refused_and_one_closed_later_does_no_harm() {
    alone!();
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let closed: &'static _ = Box::leak(Box::new(File::open("/dev/null").unwrap().as_raw_fd()));
    let reads = Interest::READABLE;
    let error = reactor.register(SourceFd(closed), reads, &recipient, |(), _, _| ()).unwrap_err();
    assert!(
        matches!(&error, switchboard::reactor::RegisterError::Poll { source, .. } if source.raw_os_error() == Some(9)),
        "EBADF: {error:?}"
    );
    assert_eq!(*error.into_inner().0, *closed);
    assert_eq!(reactor.registration_count(), 0);

    // The descriptor is closed behind the back of its registration, with readiness to report.
    let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let ours = std::os::fd::OwnedFd::from(ours);
    let descriptor: &'static _ = Box::leak(Box::new(ours.as_raw_fd()));
    let reported = Log::new();
    let held = watch(&reactor, &recipient, SourceFd(descriptor), 0, &reported);
    peer.write_all(b"x").unwrap();
    drop(ours);
    assert_eq!((turn_now(&mut reactor).dialed, reactor.poll_timeout()), (0, None));
    let error = held.into_source().unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(9), "EBADF: {error:?}");
    assert_eq!((reactor.registration_count(), reported.len()), (0, 0));
    // Nor is anything left if it is dropped, which cannot return an error.
    let (ours, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let ours = std::os::fd::OwnedFd::from(ours);
    let descriptor: &'static _ = Box::leak(Box::new(ours.as_raw_fd()));
    let held = watch(&reactor, &recipient, SourceFd(descriptor), 0, &reported);
    drop(ours);
    drop(held);
    assert_eq!((reactor.registration_count(), reported.len()), (0, 0));
    let (another, mut peer) = local_pair();
    let _held = watch(&reactor, &recipient, another, 1, &reported);
    peer.write_all(b"x").unwrap();
    turn_until(&mut reactor, || reported.len() == 1);
}
