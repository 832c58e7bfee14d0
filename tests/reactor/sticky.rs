//! Hazard: readiness that is forgotten between handlers, or that a handler leaves and nothing reports
//! again (rule M3: `readiness`, `try_io`, `keep`, and handlers that do not drain).

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use mio::Interest;
use mio::net::TcpListener;
use switchboard::reactor::{Reactor, Readiness, Registration};
use switchboard::{CallId, Recipient, Reporter, Step};

use support::net::{
    LocalStream, Log, check, drain, local_pair, turn_now, turn_until, turn_until_idle, unwind,
    unwinding,
};

const READS: Interest = Interest::READABLE;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

type Socket = Registration<LocalStream>;
type Held = Rc<RefCell<Option<Socket>>>;

/// Registers `source` in a cell that the handler and the test share.
fn register(
    reactor: &Reactor,
    source: LocalStream,
    interest: Interest,
    handler: impl Fn(&mut Socket, &Readiness<'_>) + 'static,
) -> (Held, Recipient<()>) {
    let recipient = reactor.queue().recipient(());
    let held = Held::default();
    let inner = Rc::downgrade(&held);
    let source = reactor.register(source, interest, &recipient, move |(), _, ready| {
        if let Some(held) = inner.upgrade() {
            handler(held.borrow_mut().as_mut().unwrap(), ready);
        }
    });
    held.replace(Some(source.unwrap()));
    (held, recipient)
}

fn is_readable(held: &Held) -> bool {
    held.borrow().as_ref().unwrap().readiness().is_readable()
}

/// Reads once.
fn read(socket: &mut Socket, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
    socket.try_io(READS, |source| source.read(buffer)).map_err(|error| error.kind())
}

#[test]
fn m03_readiness_sticks_until_an_attempt_would_block() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = local_pair();
    let (held, _recipient) = register(&reactor, source, BOTH, |_, _| ());
    assert!(!is_readable(&held));
    peer.write_all(b"xy").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!((turn_now(&mut reactor).dialed, reactor.poll_timeout()), (0, None));
    assert!(is_readable(&held), "the handler is over, and nothing was read");

    let mut held_socket = held.borrow_mut();
    let socket = held_socket.as_mut().unwrap();
    assert_eq!(read(socket, &mut [0]), Ok(1));
    assert!(socket.readiness().is_readable(), "there may be more");
    assert_eq!(read(socket, &mut [0; 8]), Ok(1));
    assert_eq!(read(socket, &mut [0; 8]), Err(ErrorKind::WouldBlock));
    assert!(!socket.readiness().is_readable() && socket.readiness().is_writable());
    drop(held_socket);

    // The next event is noted as the first was.
    peer.write_all(b"z").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert!(is_readable(&held));
    check(&reactor);
}

#[test]
fn m03_a_write_that_would_block_clears_that_it_is_writable() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = local_pair();
    let (held, _recipient) = register(&reactor, source, BOTH, |_, _| ());
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    let mut held_socket = held.borrow_mut();
    let socket = held_socket.as_mut().unwrap();
    let write =
        |socket: &mut Socket| socket.try_io(Interest::WRITABLE, |source| source.write(&[0; 4096]));
    let mut written = 0;
    while let Ok(count) = write(socket) {
        assert!(socket.readiness().is_writable());
        written += count;
    }
    assert!(!socket.readiness().is_writable());
    drop(held_socket);
    peer.read_exact(&mut vec![0; written]).unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert!(held.borrow().as_ref().unwrap().readiness().is_writable());
}

/// A proxy of one direction. It keeps no flags.
struct Proxy {
    from: Socket,
    to: Socket,
    /// Read, and not written.
    buffer: Vec<u8>,
    passed: usize,
}

const ROOM: usize = 1000;

impl Proxy {
    fn pass(&mut self) {
        loop {
            while !self.buffer.is_empty() && self.to.readiness().is_writable() {
                let buffer = &mut self.buffer;
                match self.to.try_io(Interest::WRITABLE, |to| to.write(buffer)) {
                    Ok(written) => {
                        self.buffer.drain(..written);
                        self.passed += written;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            if self.buffer.len() >= ROOM {
                return self.from.readiness().keep(); // the other side is full: `to` goes on
            }
            if !self.from.readiness().is_readable() {
                return;
            }
            let mut chunk = [0; ROOM];
            match read(&mut self.from, &mut chunk) {
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(kind) => assert_eq!(kind, ErrorKind::WouldBlock),
            }
        }
    }
}

#[test]
fn m03_a_proxy_goes_on_without_an_event_once_its_other_side_has_room() {
    const BYTES: usize = 1 << 20;
    let mut reactor = Reactor::new().unwrap();
    let ((from, mut sender), (to, mut receiver)) = (local_pair(), local_pair());
    let handle = reactor.handle();
    let proxy = reactor.queue().recipient_with(|proxy| {
        let from = handle.register(from, READS, proxy, |proxy: &mut Proxy, _, _| proxy.pass());
        let to =
            handle.register(to, Interest::WRITABLE, proxy, |proxy: &mut Proxy, _, _| proxy.pass());
        Proxy { from: from.unwrap(), to: to.unwrap(), buffer: Vec::new(), passed: 0 }
    });
    sender.set_nonblocking(true).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let (mut sent, mut received) = (0, 0);
    let passed = Rc::new(Cell::new(0));
    let mut stops = 0;
    while received < BYTES {
        while sent < BYTES
            && let Ok(count) = sender.write(&vec![7; (BYTES - sent).min(8192)])
        {
            sent += count;
        }
        turn_until_idle(&mut reactor);
        let seen = Rc::clone(&passed);
        proxy.call(move |proxy, _| {
            assert!(proxy.buffer.len() < 2 * ROOM);
            seen.set(proxy.passed);
        });
        turn_until_idle(&mut reactor);
        stops += u32::from(passed.get() < sent);
        let mut buffer = vec![0; 1 << 20];
        match receiver.read(&mut buffer) {
            Ok(count) => received += count,
            Err(error) => panic!("it hangs after {received} of {sent} bytes: {error}"),
        }
    }
    assert!(stops > 0, "the other side was never full");
    assert_eq!((received, reactor.event_stats().undrained), (BYTES, 0));
}

#[test]
fn m03_again_can_be_asked_from_another_handler() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = local_pair();
    let log = Log::new();
    let calls = log.clone();
    let (held, _recipient) = register(&reactor, source, READS, move |_, ready| {
        calls.push(ready.is_readable());
    });
    held.borrow().as_ref().unwrap().readiness().again(); // for nothing
    assert!(reactor.queue().is_idle());
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    let inner = Rc::clone(&held);
    reactor.queue().call(move |_| {
        inner.borrow().as_ref().unwrap().readiness().again();
        inner.borrow().as_ref().unwrap().readiness().again(); // merges
    });
    assert_eq!(reactor.queue().dial_all().dialed, 2);
    assert_eq!(log.take(), [true, true]);
}

type Handler = fn(&mut Socket, &Readiness<'_>);

/// Handlers of a socket with four bytes to read, and whether they leave some.
const HANDLERS: [(&str, bool, Handler); 12] = [
    ("reads once", true, |socket, _| {
        read(socket, &mut [0]).unwrap();
    }),
    ("reads all, and does not know", true, |socket, _| {
        read(socket, &mut [0; 4]).unwrap();
    }),
    ("reads, blocks at a write, and leaves the rest", true, |socket, _| {
        read(socket, &mut [0]).unwrap();
        socket.clear_readiness(Interest::WRITABLE);
    }),
    ("reads until it would block", false, |socket, _| while read(socket, &mut [0]).is_ok() {}),
    ("asks again before", false, |socket, ready| {
        if socket.readiness().is_readable() {
            ready.again();
        }
        let _ = read(socket, &mut [0]);
    }),
    ("asks again after", false, |socket, ready| {
        if read(socket, &mut [0]).is_ok() {
            ready.again();
        }
    }),
    ("keeps the rest, before or after", false, |socket, ready| {
        ready.keep();
        read(socket, &mut [0]).unwrap();
    }),
    ("reads short, and knows", false, |socket, _| {
        read(socket, &mut [0; 8]).unwrap();
        socket.clear_readiness(READS);
    }),
    ("does not read", false, |_, _| ()),
    ("writes all that it has", false, |socket, _| {
        socket.try_io(Interest::WRITABLE, |source| source.write(b"some")).unwrap();
    }),
    ("reads out of sight", false, |socket, _| {
        assert_eq!(socket.source_mut().read(&mut [0]).unwrap(), 1);
    }),
    ("reads no more of interest", false, |socket, _| {
        read(socket, &mut [0]).unwrap();
        socket.set_interest(Interest::WRITABLE).unwrap();
    }),
];

#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "handlers are not judged")]
fn m03_an_observer_that_panics_at_one_handler_hides_no_other() {
    let mut reactor = Reactor::new().unwrap();
    reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Undrained { .. }) {
            unwind("undrained");
        }
    });
    let (sources, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| local_pair()).unzip();
    let held: Vec<_> = sources
        .into_iter()
        .map(|source| register(&reactor, source, READS, |socket, _| _ = read(socket, &mut [0])))
        .collect();
    peers.iter_mut().for_each(|peer| peer.write_all(b"two").unwrap());
    let _ = turn_now(&mut reactor);
    for judged in 1..=3 {
        assert_eq!(unwinding(|| turn_now(&mut reactor)), "undrained");
        assert_eq!(reactor.event_stats().undrained, judged);
    }
    let _ = turn_now(&mut reactor);
    drop(held);
}

#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "handlers are not judged")]
fn m03_a_handler_that_does_not_drain_is_counted_and_reported() {
    for (what, leaves, handler) in HANDLERS {
        let mut reactor = Reactor::new().unwrap();
        let (lines, steps) = (Log::new(), Log::new());
        let (line, seen) = (lines.clone(), steps.clone());
        reactor.queue().add_observer(Reporter::new(move |text| line.push(text.to_owned())));
        reactor.queue().add_observer(move |_: CallId, step: &Step| {
            if let Step::Undrained { recipient, site } = step {
                seen.push((recipient.is_some(), site.file()));
            }
        });
        let (source, mut peer) = local_pair();
        let (_held, _recipient) = register(&reactor, source, BOTH, handler);
        peer.write_all(b"four").unwrap();
        let _ = turn_now(&mut reactor);
        assert_eq!(reactor.event_stats().undrained, 0, "{what}: judged too soon");
        turn_until_idle(&mut reactor);
        for _ in 0..3 {
            let _ = turn_now(&mut reactor);
        }
        assert_eq!(reactor.event_stats().undrained, u64::from(leaves), "{what}");
        assert_eq!(steps.take(), vec![(true, file!()); usize::from(leaves)], "{what}");
        let lines = lines.take();
        assert_eq!(lines.len(), usize::from(leaves), "{what}: {lines:?}");
        assert!(lines.iter().all(|line| line.contains("to ()(0), of the source registered at")));
        check(&reactor);
    }
}

#[test]
fn m03_the_end_of_a_stream_is_no_reason_to_count() {
    // The end comes with what is read, before it is read, or after.
    for (before, at_once) in [(true, true), (false, true), (false, false)] {
        let mut reactor = Reactor::new().unwrap();
        let (source, mut peer) = local_pair();
        let ends = Rc::new(Cell::new(0));
        let end = Rc::clone(&ends);
        let peer_at_read = Rc::new(RefCell::new(None));
        let closes = Rc::clone(&peer_at_read);
        let (_held, _recipient) = register(&reactor, source, READS, move |socket, _| {
            drop(closes.take()); // in the middle, if not before
            loop {
                match read(socket, &mut [0; 2]) {
                    Ok(0) => return end.set(end.get() + 1),
                    Ok(_) => {}
                    Err(kind) => return assert_eq!(kind, ErrorKind::WouldBlock),
                }
            }
        });
        peer.write_all(b"four").unwrap();
        if before {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        if at_once {
            peer_at_read.replace(Some(peer));
        } else {
            let _ = turn_now(&mut reactor);
            drop(peer);
        }
        for _ in 0..4 {
            let _ = turn_now(&mut reactor);
        }
        assert!(ends.get() > 0);
        assert_eq!(reactor.event_stats().undrained, 0, "{before} {at_once}");
    }
}

#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "handlers are not judged")]
fn m03_a_listener_that_accepts_once_is_counted_and_one_that_goes_is_not() {
    for keeps in [true, false] {
        let mut reactor = Reactor::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let held = Rc::new(RefCell::new(None::<Registration<TcpListener>>));
        let (inner, accepted) = (Rc::clone(&held), Rc::new(Cell::new(0)));
        let count = Rc::clone(&accepted);
        let listener = reactor.register_function(listener, READS, move |_, _| {
            let mut held = inner.borrow_mut();
            let listener = held.as_mut().unwrap();
            listener.try_io(READS, |listener| listener.accept()).unwrap();
            count.set(count.get() + 1);
            if !keeps {
                *held = None;
            }
        });
        held.replace(Some(listener.unwrap()));
        let _clients = [(); 2].map(|()| std::net::TcpStream::connect(address).unwrap());
        turn_until(&mut reactor, || accepted.get() == 1);
        for _ in 0..3 {
            let _ = turn_now(&mut reactor);
        }
        assert_eq!(reactor.event_stats().undrained, u64::from(keeps));
        drop(held.take());
    }
}

#[test]
fn m03_what_another_handler_reads_on_is_not_counted() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = local_pair();
    let held = Held::default();
    let inner = Rc::downgrade(&held);
    let source = reactor.register_function(source, READS, move |queue, _| {
        let held = inner.upgrade().unwrap();
        read(held.borrow_mut().as_mut().unwrap(), &mut [0]).unwrap();
        // Dialed before the next poll, as the handler of a proxy's other side may be.
        queue.call(move |_| {
            read(held.borrow_mut().as_mut().unwrap(), &mut [0]).unwrap();
        });
    });
    held.replace(Some(source.unwrap()));
    peer.write_all(b"four").unwrap();
    for _ in 0..4 {
        let _ = turn_now(&mut reactor);
    }
    assert!(is_readable(&held));
    assert_eq!(reactor.event_stats().undrained, 0);
}

#[test]
fn m03_rearming_reports_what_is_left() {
    let mut reactor = Reactor::new().unwrap();
    let (source, mut peer) = local_pair();
    let log = Log::new();
    let calls = log.clone();
    let (held, _recipient) = register(&reactor, source, READS, move |_, _| calls.push(()));
    peer.write_all(b"x").unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    held.borrow_mut().as_mut().unwrap().rearm().unwrap();
    assert_eq!(turn_now(&mut reactor).dialed, 1);
    assert_eq!(drain(held.borrow_mut().as_mut().unwrap().source_mut()), b"x");
    held.borrow_mut().as_mut().unwrap().rearm().unwrap();
    assert_eq!((turn_now(&mut reactor).dialed, log.len()), (0, 2));
}
