//! Hazard: a forked child takes the parent's events, or deregisters its sources: both have one poll
//! (rule M9).

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use mio::Interest;
use rustix::process::{Pid, WaitOptions, waitpid};
use switchboard::op::OpResult;
use switchboard::reactor::{Reactor, RegisterError};
use switchboard::samples::{LlFakeCancel, Module, ThreadPool, Work};

use support::alone;
use support::net::{Log, local_pair, turn_now, turn_until, watch};

#[expect(
    unsafe_code,
    reason = "a child that shares the poll; neither function has preconditions here: the \
    process has no other thread that runs"
)]
mod sys {
    unsafe extern "C" {
        pub(super) safe fn fork() -> i32;
        pub(super) safe fn _exit(code: i32) -> !;
    }
}

/// Runs `child` in a child process, which passes if that does not panic.
#[track_caller]
fn in_child(child: impl FnOnce()) {
    let pid = sys::fork();
    if pid == 0 {
        let passed = catch_unwind(AssertUnwindSafe(child)).is_ok();
        sys::_exit(i32::from(!passed));
    }
    let pid = Pid::from_raw(pid).expect("a child");
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0), "the child has failed");
}

/// The end of the work is a call, not the end of a descriptor that the child has too.
#[test]
fn o07_a_child_that_lives_does_not_delay_work_that_is_under_way() {
    alone!();
    let mut reactor = Reactor::new().unwrap();
    let work = LlFakeCancel::new(&reactor.handle(), &ThreadPool::new(1));
    work.open();
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let done = Rc::new(Cell::new(false));
    let seen = Rc::clone(&done);
    let callback = reactor.queue().callback(move |_, result: OpResult<u8, ()>| {
        assert_eq!(result, Ok(7));
        seen.set(true);
    });
    let request: Work<u8, ()> = Box::new(move || {
        begun.send(()).unwrap();
        released.recv().unwrap();
        Ok(7)
    });
    work.start(request, callback).unwrap();
    has_begun.recv().unwrap();

    // The child does nothing but live until the pipe is closed, as the thread is not there with it.
    let (ends, mut parent) = UnixStream::pair().unwrap();
    let pid = sys::fork();
    if pid == 0 {
        drop(ends);
        let _ = parent.read(&mut [0]);
        sys::_exit(0);
    }
    drop(parent);
    release.send(()).unwrap();
    reactor.run().unwrap();
    assert!(done.get());
    let child = Pid::from_raw(pid).expect("a child");
    let is_alive = waitpid(Some(child), WaitOptions::NOHANG).unwrap().is_none();
    drop(ends);
    waitpid(Some(child), WaitOptions::empty()).unwrap();
    assert!(is_alive, "the child has ended before the work was reported");
}

#[test]
fn m09_a_child_that_leaves_the_poll_leaves_the_parent_whole() {
    alone!();
    let reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let [mut first, mut second] = [1, 2].map(|name| {
        let (source, peer) = local_pair();
        (Some(watch(&reactor, &recipient, source, name, &log)), peer)
    });
    let fired = Rc::new(Cell::new(false));
    let count = Rc::clone(&fired);
    let timer =
        reactor.after(Duration::ZERO, reactor.queue().callback(move |_, ()| count.set(true)));
    // Something is to be reported already, and a call is pending.
    first.1.write_all(b"x").unwrap();
    reactor.queue().call(|_| ());

    let mut kept = Some((reactor, timer));
    in_child(|| {
        handle.leave_poll_to_parent();
        let (mut reactor, timer) = kept.take().unwrap();
        assert!(reactor.turn(Some(Duration::ZERO)).is_err(), "it takes the parent's events");
        assert!(reactor.run().is_err());
        assert!(second.0.as_mut().unwrap().set_interest(Interest::WRITABLE).is_err());
        assert!(second.0.as_mut().unwrap().rearm().is_err());
        let refused = handle.register_function(local_pair().0, Interest::READABLE, |_, _| ());
        assert!(matches!(refused, Err(RegisterError::Poll { .. })));
        assert_eq!(reactor.queue().dial_all().dialed, 1, "its calls are its own");
        drop(first.0.take());
        drop(second.0.take().unwrap().into_source().unwrap());
        drop((reactor, timer));

        // A loop of its own works.
        let mut own = Reactor::new().unwrap();
        let recipient = own.queue().recipient(());
        let (source, mut peer) = local_pair();
        let seen = Log::new();
        let _held = watch(&own, &recipient, source, 3, &seen);
        peer.write_all(b"x").unwrap();
        turn_until(&mut own, || seen.len() == 1);
    });

    // The parent is as it was.
    let (mut reactor, _timer) = kept.take().unwrap();
    turn_until(&mut reactor, || log.len() == 1 && fired.get());
    second.1.write_all(b"x").unwrap();
    turn_until(&mut reactor, || log.len() == 2);
    assert_eq!((log.take(), reactor.registration_count()), (vec![1, 2], 2));
    drop((first.0, second.0));
    assert_eq!(turn_now(&mut reactor).dialed, 0);
}

/// Why a child is to leave the poll: this is what happens otherwise. (On kqueue, and on mio's `poll`, a child
/// has no poll of the parent's.)
#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
#[test]
fn a_child_that_drops_its_copy_takes_the_sources_from_the_parent() {
    alone!();
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let (source, mut peer) = local_pair();
    let mut held = Some(watch(&reactor, &recipient, source, 1, &log));
    in_child(|| drop(held.take()));
    peer.write_all(b"x").unwrap();
    assert_eq!((turn_now(&mut reactor).dialed, log.len()), (0, 0));
}
