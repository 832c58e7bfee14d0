//! Hazard: a scripted reactor that does something by itself, or other than a real one would.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use mio::Interest;
use mio::event::Source;
use switchboard::Recipient;
use switchboard::reactor::{
    EventStats, Missed, ReactorHandle, Readiness, RegisterError, Registration,
};
use switchboard::testing::{Peer, Ready, ScriptedReactor, ScriptedSource};

/// What was reported: a name, and readable, writable, read closed, write closed, error.
type Outcomes = Rc<RefCell<Vec<(&'static str, [bool; 5])>>>;

struct Rig {
    reactor: ScriptedReactor,
    recipient: Recipient<()>,
    reported: Outcomes,
}

impl Rig {
    fn new() -> Self {
        let reactor = ScriptedReactor::new().unwrap();
        let recipient = reactor.queue().recipient(());
        Self { reactor, recipient, reported: Outcomes::default() }
    }

    fn register(
        &self,
        name: &'static str,
        source: ScriptedSource,
        interest: Interest,
    ) -> Registration<ScriptedSource> {
        let reported = Rc::clone(&self.reported);
        let source =
            self.reactor.register(source, interest, &self.recipient, move |(), _, ready| {
                let flags = [
                    ready.is_readable(),
                    ready.is_writable(),
                    ready.is_read_closed(),
                    ready.is_write_closed(),
                    ready.is_error(),
                ];
                reported.borrow_mut().push((name, flags));
            });
        source.unwrap()
    }

    /// A source that is registered to be read.
    fn reads(&self, name: &'static str) -> (Registration<ScriptedSource>, Peer) {
        let (source, peer) = self.reactor.pair();
        (self.register(name, source, Interest::READABLE), peer)
    }

    fn names(&self) -> Vec<&'static str> {
        self.reported.take().into_iter().map(|(name, _)| name).collect()
    }
}

fn read(source: &mut ScriptedSource) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = [0; 8];
    source.read(&mut bytes).map(|read| bytes[..read].to_vec()).map_err(|error| error.kind())
}

fn write(source: &mut ScriptedSource, bytes: &[u8]) -> Result<usize, ErrorKind> {
    source.write(bytes).map_err(|error| error.kind())
}

#[test]
fn reads_take_what_was_pushed_as_limited() {
    let (mut source, peer) = ScriptedReactor::new().unwrap().pair();
    assert_eq!(read(&mut source), Err(ErrorKind::WouldBlock));
    peer.push("0123456789");
    peer.limit_reads(1);
    assert_eq!(read(&mut source), Ok(b"0".to_vec()));
    peer.limit_reads(0);
    assert_eq!(read(&mut source), Err(ErrorKind::WouldBlock));
    peer.limit_reads(usize::MAX);
    assert_eq!(read(&mut source), Ok(b"12345678".to_vec()));
    peer.fail_read(ErrorKind::Interrupted);
    peer.fail_read(ErrorKind::ConnectionReset);
    assert_eq!(read(&mut source), Err(ErrorKind::Interrupted));
    assert_eq!(read(&mut source), Err(ErrorKind::ConnectionReset));
    peer.close_write();
    assert_eq!((peer.unread(), read(&mut source)), (1, Ok(b"9".to_vec())));
    assert_eq!(read(&mut source), Ok(vec![]));
}

#[test]
fn writes_give_as_limited_and_find_a_closed_pipe() {
    let (mut source, peer) = ScriptedReactor::new().unwrap().pair();
    peer.limit_writes(2);
    assert_eq!((write(&mut source, b"abc"), peer.take_written()), (Ok(2), b"ab".to_vec()));
    peer.limit_writes(0);
    assert_eq!(write(&mut source, b"c"), Err(ErrorKind::WouldBlock));
    peer.limit_writes(usize::MAX);
    peer.fail_write(ErrorKind::Interrupted);
    assert_eq!(write(&mut source, b"c"), Err(ErrorKind::Interrupted));
    assert_eq!((write(&mut source, b"c"), peer.take_written()), (Ok(1), b"c".to_vec()));
    peer.close_read();
    assert_eq!(write(&mut source, b"d"), Err(ErrorKind::BrokenPipe));
}

#[test]
fn a_source_is_closed_in_halves() {
    let (mut source, peer) = ScriptedReactor::new().unwrap().pair();
    peer.push("x");
    source.shutdown(Shutdown::Write);
    assert!(peer.is_write_shut() && !peer.is_closed());
    assert_eq!(write(&mut source, b"a"), Err(ErrorKind::BrokenPipe));
    assert_eq!(read(&mut source), Ok(b"x".to_vec()));
    source.shutdown(Shutdown::Read);
    assert_eq!(read(&mut source), Ok(vec![]));
    drop(source);
    assert!(peer.is_closed());
}

#[test]
fn readiness_is_reported_at_its_edges_and_as_watched_for() {
    let mut rig = Rig::new();
    let (source, peer) = rig.reactor.pair();
    let mut source = rig.register("", source, Interest::WRITABLE);
    rig.reactor.turn();
    assert_eq!(rig.reported.take(), [("", [false, true, false, false, false])]);
    rig.reactor.turn();
    assert_eq!(rig.reported.take(), [], "nothing new");
    peer.limit_writes(0);
    peer.push("x");
    rig.reactor.turn();
    assert_eq!(rig.reported.take(), [], "no interest in reading");
    source.set_interest(Interest::READABLE).unwrap();
    rig.reactor.turn();
    assert_eq!(rig.reported.take(), [("", [true, false, false, false, false])]);
    peer.close_write();
    peer.close_read();
    rig.reactor.turn();
    assert_eq!(rig.reported.take(), [("", [true, true, true, true, false])], "one event");
    peer.fail_read(ErrorKind::ConnectionReset);
    rig.reactor.turn();
    assert_eq!(rig.reported.take(), [("", [true, true, true, true, true])]);
    drop(source);
    peer.push("x");
    assert!(rig.reactor.events().is_empty() && !peer.is_registered());
}

#[test]
fn a_read_that_blocked_only_as_the_script_said_so_is_ready_again() {
    let mut rig = Rig::new();
    let (mut source, peer) = rig.reads("");
    peer.push("x");
    peer.fail_read(ErrorKind::WouldBlock);
    rig.reactor.turn();
    assert_eq!(read(source.source_mut()), Err(ErrorKind::WouldBlock));
    rig.reactor.turn();
    assert_eq!(rig.names(), ["", ""]);
    assert_eq!(read(source.source_mut()), Ok(b"x".to_vec()));
    assert!(rig.reactor.events().is_empty());
}

#[test]
fn events_are_reported_as_scripted() {
    let mut rig = Rig::new();
    let (_a, a) = rig.reads("a");
    let (b_source, b) = rig.reads("b");
    a.push("x");
    b.push("x");
    let events = rig.reactor.take_events();
    assert_eq!(events.len(), 2);
    rig.reactor.turn();
    assert_eq!(rig.names(), [""; 0], "they were taken");
    rig.reactor.turn_with([events[1], events[0], events[1]]);
    assert_eq!(rig.names(), ["b", "a"], "in another order, and twice");
    rig.reactor.put_back(events.clone());
    b.push("y");
    assert_eq!(rig.reactor.events().len(), 3);
    rig.reactor.turn();
    assert_eq!(rig.names(), ["a", "b"]);
    drop(b_source);
    rig.reactor.turn_with([events[1], events[0].with(Ready::ERROR)]);
    assert_eq!(rig.reported.take(), [("a", [true, true, false, false, true])]);
    let EventStats { events, delivered, coalesced, stale, foreign, .. } = rig.reactor.event_stats();
    assert_eq!([events, delivered, coalesced, stale, foreign], [8, 5, 2, 1, 0]);
}

#[test]
fn an_event_for_nothing_is_there_only_while_the_source_is_registered() {
    let mut rig = Rig::new();
    let (source, peer) = rig.reads("a");
    let event = peer.event(Ready::READABLE | Ready::PRIORITY).expect("it is registered");
    assert!(event.ready().contains(Ready::READABLE) && !event.ready().contains(Ready::ERROR));
    assert_eq!(format!("{event:?}"), "Event(READABLE | PRIORITY of slot 0, generation 0)");
    rig.reactor.turn_with([event]);
    assert_eq!(rig.names(), ["a"]);
    let source = source.into_source().unwrap();
    assert_eq!((peer.event(Ready::READABLE), peer.is_registered()), (None, false));
    let _again = rig.register("again", source, Interest::READABLE);
    rig.reactor.turn_with([event]);
    assert_eq!((rig.names(), rig.reactor.event_stats().stale), (vec![], 1));
}

#[test]
fn a_registration_that_is_to_fail_hands_the_source_back() {
    let mut rig = Rig::new();
    let (source, peer) = rig.reactor.pair();
    peer.fail_registering(ErrorKind::OutOfMemory);
    let refused = rig.reactor.register(source, Interest::READABLE, &rig.recipient, |(), _, _| ());
    let (source, error) = refused.unwrap_err().split();
    assert!(error.to_string().contains("register"), "{error}");
    assert_eq!((rig.reactor.registration_count(), peer.is_registered()), (0, false));
    peer.push("x");
    let _source = rig.register("a", source, Interest::READABLE);
    rig.reactor.turn();
    assert_eq!(rig.names(), ["a"]);
}

#[test]
fn time_stands_still_until_it_is_advanced() {
    let mut rig = Rig::new();
    let reported = Rc::clone(&rig.reported);
    for (name, seconds) in [("late", 9), ("early", 5)] {
        let reported = Rc::clone(&reported);
        let due = rig.reactor.queue().callback(move |_, ()| {
            reported.borrow_mut().push((name, [false; 5]));
        });
        rig.reactor.after(Duration::from_secs(seconds), due).detach();
    }
    rig.reactor.advance(Duration::from_secs(4));
    rig.reactor.turn();
    assert_eq!(rig.names(), [""; 0]);
    assert_eq!(rig.reactor.jump(), Some(Duration::from_secs(1)));
    assert_eq!(rig.reactor.jump(), None, "one is due already");
    rig.reactor.turn();
    assert_eq!(rig.names(), ["early"]);
    assert_eq!(rig.reactor.settle(1).unwrap().dialed, 1);
    assert_eq!((rig.names(), rig.reactor.jump()), (vec!["late"], None));
    assert_eq!(rig.reactor.clock().elapsed(), Duration::from_secs(9));
}

#[test]
fn what_does_not_settle_names_what_is_left() {
    fn forever(queue: &switchboard::QueueHandle) {
        queue.call(forever);
    }

    let mut rig = Rig::new();
    rig.reactor.queue().call(forever);
    let due = rig.reactor.queue().callback(|_, ()| ());
    rig.reactor.after(Duration::from_secs(1), due).detach();
    let left = rig.reactor.settle(3).unwrap_err();
    assert_eq!((left.turns, left.pending, left.timers, left.due_in), (3, 1, 1, None));
    assert_eq!(
        left.to_string(),
        "not settled after 3 turns: 1 calls are pending, 0 events to be reported, 1 timers armed"
    );
    assert_eq!(rig.reactor.clock().elapsed(), Duration::ZERO, "there was no need to wait");
}

#[test]
fn a_step_dials_one_call_and_a_panic_loses_no_event() {
    let mut rig = Rig::new();
    let (_a, a) = rig.reads("a");
    a.push("x");
    rig.reactor.queue().call(|_| panic::resume_unwind(Box::new("a call")));
    rig.reactor.queue().call(|_| ());
    let turn = panic::catch_unwind(AssertUnwindSafe(|| rig.reactor.turn()));
    assert!(turn.is_err());
    assert_eq!(rig.reactor.queue().tally().pending, 2);
    assert_eq!((rig.reactor.dial_one().dialed, rig.names()), (1, vec![]));
    assert_eq!((rig.reactor.dial_one().dialed, rig.names()), (1, vec!["a"]));
    assert_eq!(rig.reactor.dial_one().dialed, 0);
}

#[cfg(unix)]
#[test]
fn events_of_real_sources_are_held_back_too() {
    use mio::net::UnixStream;

    let mut rig = Rig::new();
    let reported = Rc::clone(&rig.reported);
    let (source, mut peer) = UnixStream::pair().unwrap();
    let reads = Interest::READABLE;
    let _source = rig.reactor.register(source, reads, &rig.recipient, move |(), _, ready| {
        reported.borrow_mut().push(("real", [ready.is_readable(), false, false, false, false]));
    });
    assert!(rig.reactor.events().is_empty());
    peer.write_all(b"x").unwrap();
    assert!(rig.reactor.wait(Duration::from_secs(20)));
    let events = rig.reactor.take_events();
    assert_eq!(events.len(), 1);
    rig.reactor.turn();
    assert_eq!(rig.names(), [""; 0]);
    rig.reactor.turn_with([events[0], events[0]]);
    assert_eq!((rig.names(), rig.reactor.event_stats().coalesced), (vec!["real"], 1));
}

#[test]
fn what_other_threads_send_is_waited_for() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let remote = reactor.remote();
    let again = remote.clone();
    let sender = thread::spawn(move || again.call(ReactorHandle::stop).map_err(|_| ()));
    assert!(reactor.wait(Duration::from_secs(20)));
    sender.join().unwrap().unwrap();
    assert_eq!(reactor.settle(3).unwrap().dialed, 1);
    // What was sent before needs no waiting.
    remote.call(ReactorHandle::stop).unwrap();
    assert!(reactor.wait(Duration::from_secs(20)));
    assert_eq!(reactor.settle(3).unwrap().dialed, 1);
    assert!(!reactor.wait(Duration::ZERO));
}

/// The wire was borrowed while the bytes were asked for.
#[test]
fn what_is_pushed_may_ask_the_peer_as_it_is_taken() {
    struct Asking<'a>(&'a Peer);

    impl AsRef<[u8]> for Asking<'_> {
        fn as_ref(&self) -> &[u8] {
            assert_eq!(self.0.unread(), 0);
            b"x"
        }
    }

    let reactor = ScriptedReactor::new().unwrap();
    let (_source, peer) = reactor.pair();
    peer.push(Asking(&peer));
    assert_eq!(peer.unread(), 1);
}

#[test]
fn each_registration_that_is_to_fail_fails() {
    let reactor = ScriptedReactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let (mut source, peer) = reactor.pair();
    let kinds = [ErrorKind::OutOfMemory, ErrorKind::StorageFull];
    kinds.into_iter().for_each(|kind| peer.fail_registering(kind));
    for kind in kinds {
        let refused = reactor.register(source, Interest::READABLE, &recipient, |(), _, _| ());
        let (rejected, error) = refused.unwrap_err().split();
        assert!(matches!(error, RegisterError::Poll { source, .. } if source.kind() == kind));
        source = rejected;
    }
    assert!(reactor.register(source, Interest::READABLE, &recipient, |(), _, _| ()).is_ok());
}

#[test]
fn m07_virtual_time_covers_intervals_and_what_keeps_nothing_running() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let beats = reactor.queue().recipient(0);
    let second = Duration::from_secs(1);
    let heart = reactor.every(second, Missed::Burst, &beats, |beats, _| *beats += 1);
    for _ in 0..3 {
        assert_eq!(reactor.jump(), Some(second));
        assert_eq!(reactor.turn().dialed, 1);
    }
    assert!(reactor.settle(10).is_err(), "it goes on for ever");
    heart.unref();
    assert!(reactor.settle(0).is_ok());
    let mut timer = reactor.after(second / 2, beats.callback(|_, _, ()| ()));
    assert!(timer.reset(reactor.turn_time() + 3 * second));
    assert_eq!(reactor.settle(10).unwrap().dialed, 1 + 3, "until the timer");
}

/// A reader of one source that stops when `goes_on` says so. Attempts are seen by the registration, or not.
fn reader(
    reactor: &ScriptedReactor,
    source: ScriptedSource,
    goes_on: fn(&mut Registration<ScriptedSource>, &Readiness<'_>) -> bool,
) -> Recipient<Option<Registration<ScriptedSource>>> {
    let reader = reactor.queue().recipient(None);
    let source = reactor.register(source, Interest::READABLE, &reader, move |source, _, ready| {
        let source: &mut Registration<_> = source.as_mut().unwrap();
        while goes_on(source, ready) {}
    });
    reader.call(|reader, _| *reader = Some(source.unwrap()));
    reader
}

#[test]
fn m03_a_scripted_source_that_is_left_unread_is_found() {
    type GoesOn = fn(&mut Registration<ScriptedSource>, &Readiness<'_>) -> bool;
    let readers: [(bool, u64, GoesOn); 5] = [
        (false, 0, |source, _| source.source_mut().read(&mut [0; 3]).is_ok_and(|read| read > 0)),
        (true, 0, |source, _| {
            let _ = source.source_mut().read(&mut [0; 3]);
            false
        }),
        (true, 1, |source, _| {
            let _ = source.try_io(Interest::READABLE, |source| source.read(&mut [0; 3]));
            false
        }),
        (false, 0, |source, ready| {
            let _ = source.source_mut().read(&mut [0; 3]);
            ready.keep();
            false
        }),
        (false, 0, |source, _| {
            let _ = source.source_mut().read(&mut [0; 3]);
            source.set_interest(Interest::WRITABLE).unwrap();
            false
        }),
    ];
    for (leaves, handlers, goes_on) in readers {
        let mut reactor = ScriptedReactor::new().unwrap();
        let (source, peer) = reactor.pair();
        let reader = reader(&reactor, source, goes_on);
        reactor.settle(10).unwrap();
        peer.push("four");
        assert_eq!(reactor.check_drained(), Ok(()), "an event is to come");
        assert_eq!(reactor.events().len(), 1);
        assert_eq!(reactor.check_drained(), Ok(()), "an event is gathered");
        reactor.turn();
        reactor.settle(10).unwrap();
        reactor.turn();
        let checked = reactor.check_drained();
        assert_eq!(checked.is_err(), leaves, "{checked:?}");
        if let Err(undrained) = checked {
            let handlers = if cfg!(mio_unsupported_force_poll_poll) { 0 } else { handlers };
            assert_eq!((undrained.sites.len(), undrained.handlers), (1, handlers));
            assert!(undrained.to_string().contains(file!()), "{undrained}");
        }
        drop(reader);
        reactor.turn();
    }
}

#[test]
fn m03_the_end_of_a_scripted_stream_is_to_be_read_once() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let (source, peer) = reactor.pair();
    let reader = reader(&reactor, source, |source, _| {
        source
            .try_io(Interest::READABLE, |source| source.read(&mut [0; 3]))
            .is_ok_and(|read| read > 0)
    });
    peer.push("four");
    peer.close_write();
    reactor.settle(10).unwrap();
    reactor.turn();
    assert_eq!(reactor.check_drained(), Ok(()));
    drop(reader);
}

/// What is reported of a source that is watched for `interest`, once `close` has run.
#[cfg(target_os = "linux")]
fn reported<S: Source + 'static>(
    reactor: &mut ScriptedReactor,
    source: S,
    interest: Interest,
    close: impl FnOnce(&S),
) -> [bool; 5] {
    let flags = Rc::new(Cell::new([false; 5]));
    let reported = Rc::clone(&flags);
    let source = reactor.register_function(source, interest, move |_, ready| {
        reported.set([
            ready.is_readable(),
            ready.is_writable(),
            ready.is_read_closed(),
            ready.is_write_closed(),
            ready.is_error(),
        ]);
    });
    let source = source.unwrap();
    reactor.turn();
    flags.set([false; 5]);
    close(source.source());
    reactor.turn();
    flags.get()
}

#[cfg(target_os = "linux")]
#[test]
fn a_source_that_is_shut_down_reports_what_a_socket_does() {
    let mut reactor = ScriptedReactor::new().unwrap();
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            for peer_closes in [false, true] {
                let (socket, other) = support::net::tcp_pair();
                let real = reported(&mut reactor, socket, interest, |socket| {
                    if peer_closes {
                        other.shutdown(Shutdown::Write).unwrap();
                    }
                    socket.shutdown(how).unwrap();
                });
                let (source, peer) = reactor.pair();
                let scripted = reported(&mut reactor, source, interest, |source| {
                    if peer_closes {
                        peer.close_write();
                    }
                    source.shutdown(how);
                });
                assert_eq!(scripted, real, "{interest:?}, {how:?}, peer closes: {peer_closes}");
            }
        }
    }
}
