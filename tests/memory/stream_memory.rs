//! What streams hold: nothing while nothing waits, whatever came before.

use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use mio::net::TcpStream;
use switchboard::reactor::Reactor;
use switchboard::streams::{Stream, StreamSource};
use switchboard::{Context, Recipients};

use support::counting::{allocations, held};
use support::descriptors::claim;
use support::net::{tcp_pair, turn_until, turn_until_idle};

struct Session {
    stream: Stream<TcpStream>,
}

impl Session {
    fn on_ready(&mut self, _: &Context<'_, Self>) {
        let _ = self.stream.drive(|input, output| {
            // A byte stays in the input now and then, as the beginning of a message would.
            if input.len() > 1 {
                output.append(input);
            }
        });
    }

    fn on_ready_by_hand(&mut self, _: &Context<'_, Self>) {
        let mut changed = true;
        while changed {
            changed = self.stream.fill();
            let (input, output) = self.stream.buffers();
            if input.len() > 1 {
                output.append(input);
            }
            changed |= self.stream.flush();
        }
    }

    fn on_ready_by_copies(&mut self, _: &Context<'_, Self>) {
        let mut changed = true;
        while changed {
            changed = self.stream.fill();
            let (input, output) = self.stream.buffers();
            if input.len() > 1 {
                let pushed = output.push(input.bytes());
                input.consume(pushed);
            }
            changed |= self.stream.flush();
        }
    }
}

#[test]
fn m10_idle_streams_hold_no_buffers() {
    idle_streams_hold_no_buffers(Session::on_ready);
}

/// Such a stream kept the buffer of a read that would have blocked.
#[test]
fn m10_idle_streams_that_are_not_driven_hold_no_buffers() {
    idle_streams_hold_no_buffers(Session::on_ready_by_hand);
}

/// Such a stream took a buffer of its own for each message.
#[test]
fn m10_streams_that_are_not_driven_share_the_buffers_that_they_write_to() {
    idle_streams_hold_no_buffers(Session::on_ready_by_copies);
}

fn idle_streams_hold_no_buffers(on_ready: fn(&mut Session, &Context<'_, Session>)) {
    const BYTES: usize = 40_000;

    let claim = claim(2 * 200); // a pair each
    let streams = claim.count() / 2;
    let mut reactor = Reactor::new().unwrap();
    let sessions = Rc::new(Recipients::new(reactor.queue()));
    let mut peers: Vec<_> = (0..streams)
        .map(|_| {
            let (socket, peer) = tcp_pair();
            sessions.insert_with(|own| {
                let stream = Stream::new(&reactor.handle(), socket, own, on_ready);
                let mut session = Session { stream: stream.unwrap() };
                // Reads that fill the room are followed by one that would block.
                session.stream.buffers().0.set_limit(NonZeroUsize::new(10_000).unwrap());
                session
            });
            peer
        })
        .collect();
    turn_until_idle(&mut reactor);
    let before = held();
    let mut block = vec![7; BYTES];
    let mut echo = |reactor: &mut Reactor, bytes: usize| {
        for peer in &mut peers {
            peer.write_all(&block[..bytes]).unwrap();
        }
        turn_until_idle(reactor);
        for peer in &mut peers {
            peer.set_nonblocking(true).unwrap();
            let mut read = 0;
            while read < bytes {
                match peer.read(&mut block[read..bytes]) {
                    Ok(count) => read += count,
                    Err(_) => drop(reactor.turn(Some(Duration::ZERO)).unwrap()),
                }
            }
            peer.set_nonblocking(false).unwrap();
        }
    };
    echo(&mut reactor, BYTES);
    // A few buffers, which all share.
    let kept = held() - before - BYTES as isize;
    assert!(kept <= 5 * 256 * 1024, "{kept} bytes are held for {streams} streams");
    let made = allocations();
    echo(&mut reactor, 2);
    // (Now and then the queue takes a block for calls.)
    let made = allocations() - made;
    assert!(made < streams as u64 / 10, "{made} allocations for {streams} messages");

    // What waits is held, in little more room.
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }
    turn_until_idle(&mut reactor);
    let waiting = held() - before - BYTES as isize;
    assert!(waiting <= kept + (streams * 256) as isize, "{waiting} bytes, after {kept}");
}

/// Accepts a number of bytes, and then none.
struct Capped {
    socket: TcpStream,
    left: usize,
}

impl Read for Capped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = bytes.len().min(self.left);
        self.left -= written;
        if written == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

support::source_by!(Capped, socket);

impl StreamSource for Capped {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }
}

struct Producer {
    stream: Stream<Capped>,
}

impl Producer {
    fn on_ready(&mut self, _: &Context<'_, Self>) {
        let _ = self.stream.drive(|_, output| {
            output.push(&[7; 65_536][..output.room()]);
        });
    }
}

/// Such a stream kept a shared buffer for as long as its peer did not read.
#[test]
fn m10_a_stream_that_blocks_in_its_last_round_gives_the_shared_buffer_back() {
    const STREAMS: usize = 20;

    let mut reactor = Reactor::new().unwrap();
    let producers = Rc::new(Recipients::new(reactor.queue()));
    let before = held();
    let _peers: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (socket, peer) = tcp_pair();
            // Three rounds that write all, and one that leaves less than the low water.
            let source = Capped { socket, left: 3 * 65_536 + 50_000 };
            producers.insert_with(|own| {
                let stream = Stream::new(&reactor.handle(), source, own, Producer::on_ready);
                Producer { stream: stream.unwrap() }
            });
            peer
        })
        .collect();
    let queue = reactor.queue().clone();
    turn_until(&mut reactor, || queue.tally().finished == STREAMS as u64);
    let kept = held() - before;
    let most = (STREAMS * 65_536 + 5 * 256 * 1024) as isize;
    assert!(kept <= most, "{kept} bytes are held for {STREAMS} streams");
}
