//! Hazard: a socket that the poll still knows when its stream is gone, and whose events reach the next stream.
#![cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::rc::Rc;

use mio::net::TcpStream;
use switchboard::reactor::Reactor;
use switchboard::streams::{Stream, StreamStatus};
use switchboard::{Context, Recipient};

use support::net::{PATIENCE, tcp_pair, turn_now, turn_until};

struct Reader {
    stream: Option<Stream<TcpStream>>,
    bytes: Rc<RefCell<Vec<u8>>>,
}

impl Reader {
    fn of(reactor: &Reactor, socket: TcpStream, bytes: &Rc<RefCell<Vec<u8>>>) -> Recipient<Self> {
        reactor.queue().recipient_with(|own| {
            let stream = Stream::new(reactor, socket, own, Self::on_ready).unwrap();
            Self { stream: Some(stream), bytes: Rc::clone(bytes) }
        })
    }

    fn on_ready(&mut self, _: &Context<'_, Self>) {
        let Some(stream) = &mut self.stream else { return };
        let status = stream.drive(|input, _| {
            self.bytes.borrow_mut().extend_from_slice(input.bytes());
            input.consume(input.len());
        });
        assert_eq!(status, StreamStatus::Open);
    }
}

#[test]
fn m10_a_stream_that_drops_leaves_the_poll_by_its_close_alone() {
    let mut reactor = Reactor::new().unwrap();
    let bytes = Rc::default();
    let (socket, mut peer) = tcp_pair();
    let duplicate = socket.as_fd().try_clone_to_owned().unwrap();
    let first = Reader::of(&reactor, socket, &bytes);
    let _ = turn_now(&mut reactor);
    drop(first);
    assert_eq!(reactor.registration_count(), 0);
    // The slot is used again. What the poll reports of the duplicate is of another generation.
    let (socket, mut second_peer) = tcp_pair();
    let _second = Reader::of(&reactor, socket, &bytes);
    let _ = turn_now(&mut reactor);
    assert_eq!(reactor.event_stats().stale, 0);
    peer.write_all(b"for no one").unwrap();
    let _ = reactor.turn(Some(PATIENCE)).unwrap();
    assert_eq!(reactor.event_stats().stale, 1, "nothing was deregistered");
    second_peer.write_all(b"for the second").unwrap();
    turn_until(&mut reactor, || *bytes.borrow() == b"for the second");
    // With the last descriptor it is over.
    drop(duplicate);
    let _ = peer.read(&mut [0]);
    let _ = turn_now(&mut reactor);
    assert_eq!(reactor.event_stats().stale, 1);
}

#[test]
fn m10_a_registration_out_of_a_stream_deregisters_its_source() {
    let mut reactor = Reactor::new().unwrap();
    let (socket, mut peer) = tcp_pair();
    let _duplicate = socket.as_fd().try_clone_to_owned().unwrap();
    let reader = Reader::of(&reactor, socket, &Rc::default());
    reader.call(|reader, _| drop(reader.stream.take().map(Stream::into_parts)));
    let _ = turn_now(&mut reactor);
    peer.write_all(b"for no one").unwrap();
    let _ = turn_now(&mut reactor);
    assert_eq!((reactor.registration_count(), reactor.event_stats().stale), (0, 0));
}
