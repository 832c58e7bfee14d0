//! Hazard: peers that reset, refuse, close one half, never read, or send and take a byte at a time.
//! What was read is written, still buffered, or given up with an error; and no peer's fault is
//! another's.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use mio::Interest;
use mio::event::Source;
use mio::net::TcpStream;
use switchboard::Recipient;
use switchboard::reactor::{Reactor, Readiness, Registration};

use support::net::{
    LocalStream, Log, PATIENCE, closed_port, local_pair, reset, tcp_pair, turn_now, turn_until,
    turn_until_idle,
};

/// The most that an echo holds back for a peer that does not read.
const HELD_BACK: usize = 64 << 10;

/// Sends back what it reads.
struct Echo<S: Source> {
    socket: Option<Registration<S>>,
    /// Read, and not written yet.
    buffer: Vec<u8>,
    /// How much to read, and to write, at a time.
    chunk: usize,
    sends: bool,
    books: Rc<RefCell<Books>>,
}

/// What became of the bytes of one [`Echo`].
#[derive(Debug, Default)]
struct Books {
    calls: usize,
    spurious: usize,
    read: usize,
    written: usize,
    buffered: usize,
    discarded: usize,
    at_end: bool,
    error: Option<ErrorKind>,
}

impl Books {
    #[track_caller]
    fn check(&self) {
        assert_eq!(self.read, self.written + self.buffered + self.discarded, "{self:?}");
    }
}

impl<S: Source + Read + Write + 'static> Echo<S> {
    fn new(reactor: &Reactor, socket: S, chunk: usize) -> (Recipient<Self>, Rc<RefCell<Books>>) {
        Self::start(reactor, socket, chunk, true)
    }

    /// One that sends nothing back.
    fn reader(reactor: &Reactor, socket: S) -> (Recipient<Self>, Rc<RefCell<Books>>) {
        Self::start(reactor, socket, 5000, false)
    }

    fn start(
        reactor: &Reactor,
        socket: S,
        chunk: usize,
        sends: bool,
    ) -> (Recipient<Self>, Rc<RefCell<Books>>) {
        let (handle, books) = (reactor.handle(), Rc::new(RefCell::new(Books::default())));
        let both = Interest::READABLE | Interest::WRITABLE;
        let echo = reactor.queue().recipient_with(|echo| {
            let socket = handle.register(socket, both, echo, |echo: &mut Self, _, ready| {
                echo.on_ready(ready);
            });
            let socket = Some(socket.unwrap());
            Self { socket, buffer: Vec::new(), chunk, sends, books: Rc::clone(&books) }
        });
        (echo, books)
    }

    fn on_ready(&mut self, ready: &Readiness<'_>) {
        let before = self.books.borrow().read + self.books.borrow().written;
        let result = self.exchange(ready);
        let mut books = self.books.borrow_mut();
        books.calls += 1;
        books.spurious += usize::from(books.read + books.written == before);
        books.buffered = self.buffer.len();
        if let Err(error) = result {
            books.error = Some(error.kind());
            books.discarded += self.buffer.len();
            books.buffered = 0;
            self.buffer.clear();
            self.socket = None;
        } else if books.at_end && self.buffer.is_empty() {
            self.socket = None;
        }
        books.check();
    }

    /// Reads and writes a chunk each, and asks to be called again if there may be more.
    fn exchange(&mut self, ready: &Readiness<'_>) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let mut books = self.books.borrow_mut();
        let mut chunk = vec![0; self.chunk];
        if !books.at_end && self.buffer.len() < HELD_BACK {
            match unless_blocked(socket.source_mut().read(&mut chunk))? {
                Some(0) => books.at_end = true,
                Some(read) => {
                    books.read += read;
                    ready.again();
                    if !self.sends {
                        books.discarded += read;
                        return Ok(());
                    }
                    self.buffer.extend_from_slice(&chunk[..read]);
                }
                None => {}
            }
        }
        let first = self.buffer.len().min(self.chunk);
        if first > 0
            && let Some(written) = unless_blocked(socket.source_mut().write(&self.buffer[..first]))?
        {
            books.written += written;
            self.buffer.drain(..written);
            ready.again();
        }
        Ok(())
    }
}

/// `None` if it would block.
fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// Echoes `text` on a connection of its own, so all the others have done no harm.
#[track_caller]
fn assert_others_are_served(
    reactor: &mut Reactor,
    echo: &Rc<RefCell<Books>>,
    peer: &mut impl Peer,
) {
    let before = echo.borrow().written;
    peer.write_all(b"fine?").unwrap();
    turn_until(reactor, || echo.borrow().written == before + 5);
    let mut text = [0; 5];
    peer.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"fine?");
}

trait Peer: Read + Write {}
impl<T: Read + Write> Peer for T {}

#[test]
fn a_reset_gives_up_what_is_buffered_with_an_error_and_no_other_connection() {
    let mut reactor = Reactor::new().unwrap();
    let (other, mut other_peer) = tcp_pair();
    let (_other, other_books) = Echo::new(&reactor, other, 100);
    // The peer writes, does not read what comes back, and closes: that is a reset.
    let (socket, mut peer) = tcp_pair();
    let (_echo, books) = Echo::new(&reactor, socket, 100);
    peer.write_all(&[7; 1000]).unwrap();
    turn_until(&mut reactor, || books.borrow().written >= 100);
    drop(peer);
    // In one batch: the reset, and behind it what another peer has sent.
    other_peer.write_all(b"beside").unwrap();
    turn_until(&mut reactor, || books.borrow().error.is_some());
    turn_until(&mut reactor, || other_books.borrow().written == 6);
    other_peer.read_exact(&mut [0; 6]).unwrap();
    let error = books.borrow().error;
    assert!(matches!(error, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)), "{error:?}");
    books.borrow().check();
    assert_eq!(reactor.registration_count(), 1);
    assert_others_are_served(&mut reactor, &other_books, &mut other_peer);

    // The same before anything was reported.
    let (mut socket, peer) = tcp_pair();
    reset(peer, &mut socket);
    let (_echo, books) = Echo::new(&reactor, socket, 100);
    turn_until(&mut reactor, || books.borrow().error.is_some());
    assert_eq!(books.borrow().error, Some(ErrorKind::ConnectionReset));
    assert_others_are_served(&mut reactor, &other_books, &mut other_peer);
}

#[test]
fn a_refused_connection_ends_with_an_error_and_no_further_event() {
    let mut reactor = Reactor::new().unwrap();
    for _ in 0..100 {
        let socket = TcpStream::connect(closed_port()).unwrap();
        let (echo, books) = Echo::new(&reactor, socket, 100);
        turn_until(&mut reactor, || books.borrow().error.is_some());
        assert_eq!(books.borrow().error, Some(ErrorKind::ConnectionRefused));
        assert_eq!(reactor.registration_count(), 0);
        drop(echo);
    }
    turn_until_idle(&mut reactor);
    let calls = reactor.queue().tally().finished;
    assert!(calls <= 200, "{calls} calls for 100 connections that were refused");

    // Nor if the handler keeps the socket, and does not look at it.
    let recipient = reactor.queue().recipient(());
    let (reported, both) = (Log::new(), Interest::READABLE | Interest::WRITABLE);
    let log = reported.clone();
    let socket = TcpStream::connect(closed_port()).unwrap();
    let kept = reactor.handle().register(socket, both, &recipient, move |(), _, ready| {
        log.push(ready.is_error());
    });
    turn_until(&mut reactor, || reported.len() > 0);
    for _ in 0..10 {
        let _ = turn_now(&mut reactor);
    }
    assert_eq!((reported.take(), reactor.poll_timeout()), (vec![true], None));
    drop(kept.unwrap());
}

/// (Over TCP, which there is on Windows, a peer that takes nothing back is not heard of.)
#[test]
#[cfg(unix)]
fn a_broken_pipe_gives_up_what_is_buffered_with_an_error() {
    let mut reactor = Reactor::new().unwrap();
    let (socket, mut peer) = local_pair();
    let (_echo, books) = Echo::new(&reactor, socket, 100);
    peer.write_all(&[7; 1000]).unwrap();
    peer.shutdown(Shutdown::Read).unwrap(); // it takes nothing back
    turn_until(&mut reactor, || books.borrow().error.is_some());
    let books = books.borrow();
    assert_eq!((books.error, books.written), (Some(ErrorKind::BrokenPipe), 0), "{books:?}");
    assert_eq!((books.read, books.discarded, reactor.registration_count()), (100, 100, 0));
    drop(books);

    // The same while a write waits for room and there is nothing to read: only an event reports it.
    let (socket, mut peer) = local_pair();
    let (_echo, books) = Echo::new(&reactor, socket, 5000);
    peer.set_nonblocking(true).unwrap();
    while books.borrow().buffered < HELD_BACK {
        let _ = unless_blocked(peer.write(&[7; 5000])).unwrap();
        let _ = turn_now(&mut reactor);
        turn_until_idle(&mut reactor);
    }
    drop(peer);
    turn_until(&mut reactor, || books.borrow().error.is_some());
    let books = books.borrow();
    assert_eq!((books.error, books.buffered), (Some(ErrorKind::BrokenPipe), 0), "{books:?}");
    assert!(books.discarded >= HELD_BACK && reactor.registration_count() == 0, "{books:?}");
}

/// Lets a peer on a thread of its own fail with the test, which waits for the thread.
fn impatient(peer: &std::net::TcpStream) {
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
}

#[test]
fn half_close_by_either_side_leaves_the_other_direction_open() {
    const BYTES: usize = 1 << 20;
    let text: Vec<u8> = (0..BYTES).map(|byte| (byte >> 3) as u8).collect();

    // The peer closes its half before anything is read: all that it sent comes back after that.
    const FEW: usize = 50_000;
    let mut reactor = Reactor::new().unwrap();
    let (socket, mut peer) = tcp_pair();
    peer.write_all(&text[..FEW]).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let begin = Instant::now();
    while socket.peek(&mut [0; FEW]).unwrap_or(0) < FEW {
        assert!(begin.elapsed() < PATIENCE, "it does not arrive");
        thread::yield_now();
    }
    let (_echo, books) = Echo::new(&reactor, socket, 5000);
    turn_until(&mut reactor, || books.borrow().at_end && books.borrow().buffered == 0);
    let mut back = Vec::new();
    peer.read_to_end(&mut back).unwrap();
    assert!(
        back == text[..FEW] && reactor.registration_count() == 0,
        "{} bytes came back",
        back.len()
    );

    // The peer closes its half first, and gets all that it sent before.
    let (socket, mut peer) = tcp_pair();
    impatient(&peer);
    let (_echo, books) = Echo::new(&reactor, socket, 5000);
    thread::scope(|scope| {
        let mut writer = peer.try_clone().unwrap();
        let text = &text;
        scope.spawn(move || {
            writer.write_all(text).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let reader = scope.spawn(move || {
            let mut back = Vec::new();
            peer.read_to_end(&mut back).unwrap();
            assert!(back == *text, "{} bytes came back", back.len());
        });
        turn_until(&mut reactor, || books.borrow().at_end && books.borrow().buffered == 0);
        reader.join().unwrap();
    });
    assert_eq!((books.borrow().written, reactor.registration_count()), (BYTES, 0));

    // Ours closes its half first, and goes on reading.
    let (socket, mut peer) = tcp_pair();
    impatient(&peer);
    socket.shutdown(Shutdown::Write).unwrap();
    let (_echo, books) = Echo::reader(&reactor, socket);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end, and not an error");
            peer.write_all(&text).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        });
        turn_until(&mut reactor, || books.borrow().at_end);
    });
    assert_eq!((books.borrow().read, reactor.registration_count()), (BYTES, 0));
}

#[test]
fn a_peer_that_never_reads_costs_a_bounded_buffer_and_no_turn() {
    let mut reactor = Reactor::new().unwrap();
    let (other, mut other_peer) = tcp_pair();
    let (_other, other_books) = Echo::new(&reactor, other, 100);
    let (socket, mut peer) = tcp_pair();
    let (echo, books) = Echo::new(&reactor, socket, 5000);
    peer.set_nonblocking(true).unwrap();
    let mut sent = 0;
    // It sends until no one takes any more: all buffers are full, in both directions.
    for turn in 0.. {
        assert!(turn < 100_000, "{:?}", books.borrow());
        match unless_blocked(peer.write(&[7; 5000])).unwrap() {
            Some(written) => sent += written,
            None if books.borrow().buffered >= HELD_BACK => break,
            None => {}
        }
        let _ = turn_now(&mut reactor);
        turn_until_idle(&mut reactor);
    }
    let full = books.borrow().calls;
    assert!(books.borrow().buffered < HELD_BACK + 5000, "{:?}", books.borrow());
    assert_eq!(reactor.poll_timeout(), None, "there is nothing to do for it");
    for _ in 0..100 {
        assert_others_are_served(&mut reactor, &other_books, &mut other_peer);
    }
    // Where a write would block, mio's `poll`, and mio on Windows, ask for all that is of interest again:
    // also for what there is to read, which waits.
    if !cfg!(any(windows, mio_unsupported_force_poll_poll)) {
        // (What the kernel had underway when all was full may make a little room yet. So few calls in
        // so many rounds mean that at least ten rounds in a row went by without any.)
        let calls = books.borrow().calls - full;
        assert!(calls < 10, "called {calls} times in vain");
    }

    // It reads in the end, and gets all of it.
    peer.set_nonblocking(false).unwrap();
    impatient(&peer);
    thread::scope(|scope| {
        scope.spawn(|| peer.read_exact(&mut vec![0; sent]).unwrap());
        turn_until(&mut reactor, || books.borrow().written == sent);
    });
    assert_eq!((books.borrow().written, books.borrow().buffered), (sent, 0));

    drop(echo);
    assert_eq!(reactor.registration_count(), 1);
    assert_others_are_served(&mut reactor, &other_books, &mut other_peer);
}

#[test]
fn a_byte_at_a_time_is_read_and_written_in_order() {
    const BYTES: usize = 10_000;
    let mut reactor = Reactor::new().unwrap();
    reactor.set_budget(3);
    let (socket, mut peer) = local_pair();
    let (_echo, books) = Echo::new(&reactor, socket, 1);
    let mut back = Vec::new();
    for byte in 0..BYTES {
        peer.write_all(&[byte as u8]).unwrap();
        // They wait in line, some at a time.
        if byte % 7 == 0 {
            turn_until(&mut reactor, || books.borrow().written == byte + 1);
            while back.len() < byte + 1 {
                let mut byte = [0];
                peer.read_exact(&mut byte).unwrap();
                back.push(byte[0]);
            }
        }
    }
    peer.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut reactor, || books.borrow().at_end && books.borrow().buffered == 0);
    peer.read_to_end(&mut back).unwrap();
    assert_eq!(back.len(), BYTES);
    assert!(back.iter().enumerate().all(|(at, byte)| *byte == at as u8));
    assert_eq!((books.borrow().read, reactor.registration_count()), (BYTES, 0));
}

/// Two sources are ready, and the handler of each reads both.
#[test]
fn spurious_readiness_finds_nothing_and_the_next_is_reported() {
    struct Pair {
        sockets: Vec<Registration<LocalStream>>,
        spurious: u32,
        read: u32,
    }

    fn read_all(pair: &mut Pair) {
        let mut read = 0;
        for socket in &mut pair.sockets {
            while let Ok(1) = socket.source_mut().read(&mut [0]) {
                read += 1;
            }
        }
        pair.spurious += u32::from(read == 0);
        pair.read += read;
    }

    let mut reactor = Reactor::new().unwrap();
    let pair = reactor.queue().recipient(Pair { sockets: Vec::new(), spurious: 0, read: 0 });
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (socket, peer) = local_pair();
        let reads = Interest::READABLE;
        let handle = reactor.handle();
        let socket = handle.register(socket, reads, &pair, |pair: &mut Pair, _, _| read_all(pair));
        pair.call(|pair, _| pair.sockets.push(socket.unwrap()));
        peers.push(peer);
    }
    turn_until_idle(&mut reactor);
    let seen = Log::new();
    for round in 1..=1000 {
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        assert_eq!(turn_now(&mut reactor).dialed, 2);
        let log = seen.clone();
        pair.call(move |pair, _| log.push((pair.spurious, pair.read)));
        turn_until_idle(&mut reactor);
        assert_eq!(seen.take(), [(round, 2 * round)]);
    }
}
