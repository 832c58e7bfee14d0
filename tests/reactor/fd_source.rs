//! Hazard: a descriptor that is no socket is not reported (rule M10).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use switchboard::reactor::{FdSource, Reactor};

use support::net::{Log, turn_now, turn_until, watch};

const READS: Interest = Interest::READABLE;

#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "it reports each source once")]
fn m10_an_eventfd_is_a_source() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let counter = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
    let mut other = File::from(counter.try_clone().unwrap());
    let mut held = watch(&reactor, &recipient, FdSource::from(File::from(counter)), 1, &log);
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    for count in 1..=3_u64 {
        other.write_all(&count.to_ne_bytes()).unwrap();
        assert_eq!((turn_now(&mut reactor).dialed, log.take()), (1, vec![1]));
        let mut read = [0; 8];
        held.try_io(READS, |source| source.read(&mut read)).unwrap();
        assert_eq!(u64::from_ne_bytes(read), count);
        assert!(held.try_io(READS, |source| source.read(&mut read)).is_err());
        assert!(!held.readiness().is_readable());
    }
    // It can write as well, and goes back to its owner deregistered.
    held.source_mut().write_all(&1_u64.to_ne_bytes()).unwrap();
    let source = held.into_source().unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    source.into_inner().read_exact(&mut [0; 8]).unwrap();
}

#[test]
fn m10_a_timerfd_is_a_source() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let log = Log::new();
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).unwrap();
    let held = watch(&reactor, &recipient, FdSource::from(timer), 1, &log);
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec::try_from(Duration::from_millis(1)).unwrap(),
    };
    timerfd_settime(held.source().get_ref(), TimerfdTimerFlags::empty(), &once).unwrap();
    turn_until(&mut reactor, || log.len() == 1);
    let mut expirations = [0; 8];
    rustix::io::read(held.source().as_fd(), &mut expirations).unwrap();
    assert_eq!(u64::from_ne_bytes(expirations), 1);
}

#[test]
fn m10_a_pidfd_is_a_source() {
    let mut reactor = Reactor::new().unwrap();
    let log = Log::new();
    let ended = log.clone();
    let mut child =
        std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let held = reactor
        .register_function(FdSource::from(Rc::new(pidfd)), READS, move |_, _| ended.push(()));
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    drop(child.stdin.take());
    turn_until(&mut reactor, || log.len() == 1);
    assert!(child.wait().unwrap().success());
    drop(held.unwrap());
    reactor.run().unwrap();
}
