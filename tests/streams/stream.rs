//! Hazard: a stream that loses bytes or ends, holds more than it may, hangs with something to do, or asks
//! the system in vain.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::rc::Rc;

use mio::Interest;
use mio::net::TcpStream;
use switchboard::reactor::Reactor;
use switchboard::streams::{Stream, StreamSource, StreamStatus};
use switchboard::testing::{ScriptedReactor, ScriptedSource};
use switchboard::{Context, Recipient};

use support::net::{tcp_pair, turn_now, turn_until, turn_until_idle};

use crate::driven::Rig;

const fn size(bytes: usize) -> NonZeroUsize {
    NonZeroUsize::new(bytes).unwrap()
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|byte| (byte / 7) as u8).collect()
}

#[test]
fn m10_reads_and_writes_of_any_size_pass_everything_in_order() {
    for (reads, writes) in [(1, 1), (1, usize::MAX), (usize::MAX, 1), (3, 7), (1000, 10)] {
        let mut rig = Rig::echo();
        rig.peer.limit_reads(reads);
        rig.peer.limit_writes(writes);
        let text = text(3000);
        for chunk in text.chunks(999) {
            rig.peer.push(chunk);
            rig.reactor.turn();
        }
        assert_eq!(rig.settle(), StreamStatus::Open, "{reads} {writes}");
        assert_eq!(rig.peer.take_written(), text, "{reads} {writes}");
        rig.peer.push("the end");
        rig.peer.close_write();
        assert_eq!(rig.settle(), StreamStatus::Over, "{reads} {writes}");
        assert_eq!(rig.peer.take_written(), b"the end");
        assert!(rig.peer.is_write_shut());
    }
}

#[test]
fn m10_a_peer_that_does_not_read_stops_the_input_at_its_limits() {
    let mut rig = Rig::echo();
    rig.with(|stream| {
        let (input, output) = stream.buffers();
        input.set_limit(size(100));
        output.set_water(size(50), 10);
    });
    let text = text(1000);
    rig.peer.limit_writes(0);
    rig.peer.push(&text);
    assert_eq!(rig.settle(), StreamStatus::Open);
    assert_eq!(rig.peer.unread(), 1000 - 150);
    let waiting = rig.with(|stream| (stream.input().len(), stream.output().len()));
    assert_eq!(waiting, (100, 50));
    let calls = rig.calls.get();
    rig.reactor.turn();
    assert_eq!(rig.calls.get(), calls, "there is nothing to do");

    // Above the low water nothing more is taken; at it, all goes on without an event for the input.
    rig.peer.limit_writes(39);
    rig.reactor.turn();
    rig.peer.limit_writes(0);
    assert_eq!(rig.settle(), StreamStatus::Open);
    rig.peer.limit_writes(usize::MAX);
    assert_eq!(rig.settle(), StreamStatus::Open);
    assert_eq!((rig.peer.take_written(), rig.peer.unread()), (text, 0));
}

#[test]
fn m10_one_read_brings_as_much_as_the_limit_allows() {
    const KIB: usize = 1024;

    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&sizes);
    let mut rig = Rig::new(move |input, _| {
        seen.borrow_mut().push(input.len() / KIB);
        input.consume(input.len());
    });
    for (limit, reads) in [
        (None, &[64, 64, 64, 64][..]),
        (Some(32 * KIB), &[32; 4]),
        (Some(256 * KIB), &[256, 44]),
        (Some(1024 * KIB), &[256, 44]),
    ] {
        sizes.borrow_mut().clear();
        rig.with(move |stream| {
            limit.into_iter().for_each(|limit| stream.buffers().0.set_limit(size(limit)));
        });
        rig.peer.push(vec![7; 300 * KIB]);
        rig.reactor.turn();
        assert_eq!(&sizes.borrow()[..reads.len()], reads, "{limit:?}");
        rig.reactor.settle(1000).unwrap();
    }
}

#[test]
fn m10_a_stream_that_the_peer_keeps_busy_lets_others_have_their_turn() {
    let mut rig = Rig::echo();
    let other = Rc::new(Cell::new(0));
    rig.peer.limit_reads(1);
    rig.peer.push(text(100));
    let (seen, peer_calls) = (Rc::clone(&other), Rc::clone(&rig.calls));
    rig.reactor.turn_with(rig.peer.event(switchboard::testing::Ready::READABLE));
    rig.reactor.queue().call(move |_| seen.set(peer_calls.get()));
    assert_eq!(rig.settle(), StreamStatus::Open);
    assert!(other.get() < rig.calls.get(), "it came behind all");
    assert!(rig.calls.get() >= 100 / 4);
}

#[test]
fn m10_what_is_left_in_the_input_is_there_the_next_time() {
    // Lines, of which the last may be incomplete.
    let lines = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&lines);
    let mut rig = Rig::new(move |input, output| {
        while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
            seen.borrow_mut().push(String::from_utf8(input.bytes()[..end].to_vec()).unwrap());
            assert_eq!(output.push(&input.bytes()[..=end]), end + 1);
            input.consume(end + 1);
        }
    });
    for piece in ["on", "e\ntwo\nth", "", "ree", "\n"] {
        rig.peer.push(piece);
        assert_eq!(rig.settle(), StreamStatus::Open);
    }
    assert_eq!(lines.take(), ["one", "two", "three"]);
    assert_eq!(rig.peer.take_written(), b"one\ntwo\nthree\n");
}

#[test]
fn m10_a_producer_is_called_whenever_there_is_room() {
    const BYTES: usize = 300_000;
    let mut left = text(BYTES);
    let mut rig = Rig::new(move |_, output| {
        let taken = output.push(&left);
        left.drain(..taken);
        if left.is_empty() {
            output.finish();
        }
    });
    rig.peer.limit_writes(5000);
    rig.reactor.settle(10_000).unwrap();
    assert_eq!(rig.peer.take_written(), text(BYTES));
    assert!(rig.peer.is_write_shut());
    assert_eq!(rig.status.get(), Some(StreamStatus::Open), "the peer has not ended its side");
    rig.peer.close_write();
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.status.get(), Some(StreamStatus::Over));
}

#[test]
fn m10_parts_are_written_at_once_and_what_is_left_of_them_waits() {
    // Small ones are joined, one that is alone is written as it is, large ones are written from where they are.
    let small = ["head ", "", "body, more", "tail"].map(String::from);
    let large = small.clone().map(|part| part.repeat(1000));
    let alone = [String::new(), "body".repeat(2000), String::new(), String::new()];
    let rooms = [0, 1, 4, 5, 9, 14, 15, 100, 4999, 5001, 19_000];
    for (parts, room) in
        [small, large, alone].iter().flat_map(|parts| rooms.map(|room| (parts, room)))
    {
        let mut rig = Rig::new(|_, _| ());
        rig.reactor.settle(10).unwrap();
        rig.peer.limit_writes(room);
        let sent = rig.with({
            let parts = parts.clone();
            move |stream| stream.send(&parts.each_ref().map(|part| IoSlice::new(part.as_bytes())))
        });
        let (text, length) = (parts.concat(), parts.concat().len());
        assert_eq!(sent, length, "{room}");
        rig.peer.limit_writes(usize::MAX);
        rig.reactor.settle(10).unwrap();
        assert!(rig.peer.take_written() == text.as_bytes(), "{room} {length}");
        assert_eq!(rig.with(|stream| (stream.sent(), stream.output().len())), (length as u64, 0));
    }
    // They come behind what waits, and no more is taken than there is room for.
    let mut rig = Rig::new(|_, _| ());
    rig.reactor.settle(10).unwrap();
    rig.peer.limit_writes(0);
    let sent = rig.with(|stream| {
        let (_, output) = stream.buffers();
        output.set_water(size(10), 5);
        assert_eq!(output.push(b"first"), 5);
        stream.send(&[IoSlice::new(b"sec"), IoSlice::new(b"ond")])
    });
    assert_eq!(sent, 5);
    rig.peer.limit_writes(usize::MAX);
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.peer.take_written(), b"firstsecon");
}

#[test]
fn m10_a_producer_that_needs_more_room_than_is_left_is_called_again_once_there_is() {
    let mut rig = Rig::new(|input, output| {
        while input.len() >= 100 && output.room() >= 100 {
            assert_eq!(output.push(&input.bytes()[..100]), 100);
            input.consume(100);
        }
    });
    rig.with(|stream| stream.buffers().1.set_water(size(250), 50));
    rig.peer.limit_writes(0);
    rig.peer.push(text(1000));
    let _ = rig.settle();
    assert_eq!(rig.with(|stream| stream.output().len()), 200);
    rig.peer.limit_writes(usize::MAX);
    let _ = rig.settle();
    assert_eq!(rig.peer.take_written(), text(1000));
}

#[test]
fn m10_a_producer_that_needs_an_empty_output_is_called_again_once_it_is_empty() {
    // What waits never is above the low water, so it never falls to it.
    let mut rig = Rig::new(|input, output| {
        if input.len() == 40 || input.len() == 230 && output.room() >= 230 {
            output.append(input);
        }
    });
    rig.with(|stream| stream.buffers().1.set_water(size(250), 50));
    rig.peer.limit_writes(0);
    for message in [40, 230] {
        rig.peer.push(text(message));
        let _ = rig.settle();
    }
    assert_eq!(rig.with(|stream| (stream.input().len(), stream.output().len())), (230, 40));
    rig.peer.limit_writes(usize::MAX);
    let _ = rig.settle();
    assert_eq!(rig.peer.take_written()[40..], text(230));
}

#[test]
fn m10_parts_of_which_a_write_took_some_are_written_without_an_event() {
    // It was interrupted.
    let mut rig = Rig::new(|_, _| ());
    rig.reactor.settle(10).unwrap();
    rig.peer.fail_write(ErrorKind::Interrupted);
    assert_eq!(rig.with(|stream| stream.send(&[IoSlice::new(b"some")])), 4);
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.peer.take_written(), b"some");

    // They were more than one system call takes.
    let mut reactor = Reactor::new().unwrap();
    let (socket, peer) = tcp_pair();
    let sender = reactor.queue().recipient_with(|own| {
        let handler = |stream: &mut Option<Stream<TcpStream>>, _: &Context<'_, _>| {
            let _ = stream.as_mut().unwrap().drive(|_, _| ());
        };
        Some(Stream::new(&reactor, socket, own, handler).unwrap())
    });
    turn_now(&mut reactor);
    sender.call(|stream, _| {
        let parts = [IoSlice::new(b"xy"); 3000];
        assert_eq!(stream.as_mut().unwrap().send(&parts), 6000);
    });
    turn_now(&mut reactor);
    turn_now(&mut reactor);
    peer.set_nonblocking(true).unwrap();
    assert_eq!((&peer).read(&mut [0; 8000]).unwrap(), 6000);
}

#[test]
fn m10_errors_break_the_stream_and_are_kept() {
    for (reads, kind) in [(true, ErrorKind::ConnectionReset), (false, ErrorKind::BrokenPipe)] {
        let mut rig = Rig::echo();
        rig.peer.push("some");
        if reads {
            rig.peer.fail_read(kind);
        } else {
            rig.peer.fail_write(kind);
        }
        rig.reactor.settle(10).unwrap();
        assert_eq!(rig.status.get(), Some(StreamStatus::Broken));
        let (error, received, sent, waiting) = rig.with(|stream| {
            let waiting = stream.input().len() + stream.output().len();
            (stream.error().unwrap().kind(), stream.received(), stream.sent(), waiting as u64)
        });
        assert_eq!((error, received), (kind, sent + waiting), "L7");
        rig.peer.push("more");
        rig.reactor.settle(10).unwrap();
        assert_eq!(rig.status.get(), Some(StreamStatus::Broken));
    }
}

#[test]
fn m10_interrupted_and_spurious_attempts_are_no_errors() {
    let mut rig = Rig::echo();
    for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
        rig.peer.fail_read(kind);
        rig.peer.fail_write(kind);
        rig.peer.push("some");
        assert_eq!(rig.settle(), StreamStatus::Open);
        assert_eq!(rig.peer.take_written(), b"some");
    }
}

#[test]
fn m10_the_own_side_ends_behind_what_waits_and_reading_goes_on() {
    let read = Rc::new(Cell::new(0));
    let count = Rc::clone(&read);
    let mut rig = Rig::new(move |input, output| {
        let came = input.len();
        count.set(count.get() + came);
        input.consume(came);
        if came > 0 && count.get() == 4 {
            assert_eq!(output.push(b"bye"), 3);
            output.finish();
            assert_eq!((output.push(b"more"), output.room()), (0, 0));
        }
    });
    rig.peer.limit_writes(1);
    rig.peer.push("four");
    rig.reactor.settle(100).unwrap();
    assert_eq!((rig.peer.take_written(), rig.peer.is_write_shut()), (b"bye".to_vec(), true));
    rig.peer.push("and more");
    rig.reactor.settle(10).unwrap();
    assert_eq!((read.get(), rig.status.get()), (12, Some(StreamStatus::Open)));
    rig.peer.close_write();
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.status.get(), Some(StreamStatus::Over));
}

#[test]
fn m10_a_stream_is_handed_over_with_what_it_holds() {
    struct Next {
        stream: Option<Stream<ScriptedSource>>,
        seen: Rc<RefCell<Vec<u8>>>,
    }

    impl Next {
        fn on_ready(&mut self, _: &Context<'_, Self>) {
            let _ = self.stream.as_mut().expect("it came before").drive(|input, output| {
                self.seen.borrow_mut().extend_from_slice(input.bytes());
                output.append(input);
            });
        }
    }

    struct First {
        stream: Option<Stream<ScriptedSource>>,
    }

    let mut reactor = ScriptedReactor::new().unwrap();
    let (source, peer) = reactor.pair();
    let first = reactor.queue().recipient_with(|own| {
        let stream = Stream::new(&reactor.handle(), source, own, |first: &mut First, _| {
            let _ = first.stream.as_mut().unwrap().drive(|_, _| ());
        });
        First { stream: Some(stream.unwrap()) }
    });
    // Nothing is known to be ready: what the stream holds has the new recipient called all the same.
    peer.limit_writes(0);
    peer.push("for the next");
    reactor.settle(10).unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let next = reactor.queue().recipient(Next { stream: None, seen: Rc::clone(&seen) });
    let target = next.address();
    first.call(move |first, cx| {
        let stream = first.stream.take().unwrap();
        target.call({
            let target = target.clone();
            move |next, _| {
                stream.redirect(&target, Next::on_ready).unwrap();
                next.stream = Some(stream);
            }
        });
        cx.hang_up();
    });
    reactor.settle(10).unwrap();
    assert_eq!(*seen.borrow(), b"for the next");
    peer.push(", and more");
    peer.limit_writes(100);
    reactor.settle(10).unwrap();
    assert_eq!(peer.take_written(), b"for the next, and more");
    assert_eq!(reactor.queue().tally().refused, 0);
    reactor.check_drained().unwrap();
}

/// A connection that counts its reads.
struct Counted {
    socket: TcpStream,
    reads: Rc<Cell<usize>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        self.socket.read(buffer)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

support::source_by!(Counted, socket);

impl StreamSource for Counted {
    fn shutdown_write(&mut self) -> std::io::Result<()> {
        self.socket.shutdown_write()
    }

    fn is_empty_after_short_read(&self) -> bool {
        self.socket.is_empty_after_short_read()
    }
}

/// Owns a stream from the start, or once it is handed over.
struct Holder {
    stream: Option<Stream<Counted>>,
    seen: Rc<RefCell<Vec<u8>>>,
}

impl Holder {
    fn on_ready(&mut self, _: &Context<'_, Self>) {
        let _ = self.stream.as_mut().expect("it came before").drive(|input, _| {
            self.seen.borrow_mut().extend_from_slice(input.bytes());
            input.consume(input.len());
        });
    }
}

#[test]
fn m10_a_stream_that_is_handed_over_empty_is_not_read_in_vain() {
    let mut reactor = Reactor::new().unwrap();
    let (socket, mut peer) = tcp_pair();
    let (reads, seen) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
    let source = Counted { socket, reads: Rc::clone(&reads) };
    let is_known = source.is_empty_after_short_read();
    // What was registered without a stream becomes one, and its readiness comes along.
    let registration = reactor
        .register_function(source, Interest::READABLE | Interest::WRITABLE, |_, readiness| {
            readiness.keep();
        })
        .unwrap();
    peer.write_all(b"first").unwrap();
    turn_until(&mut reactor, || registration.readiness().is_readable());
    let first = reactor.queue().recipient_with(|own| {
        let stream = Stream::from_registration(registration, own, Holder::on_ready);
        Holder { stream: Some(stream.unwrap()), seen: Rc::clone(&seen) }
    });
    turn_until(&mut reactor, || seen.borrow().len() == 5);
    let before = reads.get();
    // To the next one: nothing has come, so nothing is read.
    let second = reactor.queue().recipient(Holder { stream: None, seen: Rc::clone(&seen) });
    first.call({
        let second = second.address();
        move |first, _| {
            let stream = first.stream.take().unwrap();
            second.call({
                let second = second.clone();
                move |holder, _| {
                    stream.redirect(&second, Holder::on_ready).unwrap();
                    holder.stream = Some(stream);
                }
            });
        }
    });
    turn_until_idle(&mut reactor);
    assert_eq!(reads.get(), if is_known { before } else { before + 1 });
    // What comes then is read.
    peer.write_all(b" second").unwrap();
    turn_until(&mut reactor, || *seen.borrow() == b"first second");
    drop((first, second));
    assert_eq!(reactor.registration_count(), 0);
}

/// Echoes on a real connection.
struct Echo {
    stream: Stream<TcpStream>,
    calls: Rc<Cell<usize>>,
}

impl Echo {
    fn start(reactor: &Reactor, socket: TcpStream) -> (Recipient<Self>, Rc<Cell<usize>>) {
        let calls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&calls);
        let echo = reactor.queue().recipient_with(|own| Self {
            stream: Stream::new(&reactor.handle(), socket, own, Self::on_ready).unwrap(),
            calls: counted,
        });
        (echo, calls)
    }

    fn on_ready(&mut self, cx: &Context<'_, Self>) {
        self.calls.set(self.calls.get() + 1);
        let status = self.stream.drive(|input, output| {
            output.append(input);
            if input.is_over() {
                output.finish();
            }
        });
        if status.is_over() {
            cx.hang_up();
        }
    }
}

#[test]
fn m10_the_end_that_comes_with_the_bytes_is_read_after_a_short_read() {
    for close_first in [true, false] {
        let mut reactor = Reactor::new().unwrap();
        let (socket, mut peer) = tcp_pair();
        let (echo, _) = Echo::start(&reactor, socket);
        peer.write_all(b"hello").unwrap();
        if !close_first {
            while turn_now(&mut reactor).dialed == 0 {}
        }
        peer.shutdown(Shutdown::Write).unwrap();
        turn_until(&mut reactor, || echo.is_gone());
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), reactor.registration_count()), ("hello", 0));
    }
}

/// A read stops at urgent data, so a short one says nothing then.
#[cfg(target_os = "linux")]
#[test]
fn m10_urgent_data_does_not_hide_what_comes_behind_it() {
    use rustix::net::{SendFlags, send};

    let mut reactor = Reactor::new().unwrap();
    let (socket, mut peer) = tcp_pair();
    let (echo, _) = Echo::start(&reactor, socket);
    peer.write_all(b"before").unwrap();
    send(&peer, b"!", SendFlags::OOB).unwrap();
    peer.write_all(b"behind").unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut text = Vec::new();
    turn_until(&mut reactor, || {
        let mut buffer = [0; 100];
        if let Ok(count) = peer.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
        }
        text == b"beforebehind"
    });
    drop(echo);
}
