//! The examples `echo` and `relay`, with peers that read a byte at a time, reset, close one half, or never
//! read. The relay stands before an echo server, so that both take part.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread;

use switchboard::Recipients;
use switchboard::reactor::Reactor;
use switchboard::streams::Acceptor;

use crate::{echo, relay};
use support::net::{PATIENCE, check, turn_until, turn_until_idle};

/// The most that a stream holds: what was read, and what is to be written.
const MOST: usize = 128 * 1024;

struct Servers {
    reactor: Reactor,
    echoes: Rc<Recipients<echo::Session>>,
    relays: Rc<Recipients<relay::Session>>,
    acceptors: Vec<Acceptor>,
    /// Where clients connect.
    address: SocketAddr,
}

impl Servers {
    /// An echo server, and a relay before it if that is asked for.
    fn new(relayed: bool) -> Self {
        let reactor = Reactor::new().unwrap();
        let echoes = Rc::new(Recipients::new(reactor.queue()));
        let relays = Rc::new(Recipients::new(reactor.queue()));
        let any = "127.0.0.1:0".parse().unwrap();
        let mut acceptors = vec![echo::serve(&reactor, any, &echoes).unwrap()];
        let mut address = acceptors[0].local_addr().unwrap();
        if relayed {
            acceptors.push(relay::serve(&reactor, any, address, &relays).unwrap());
            address = acceptors[1].local_addr().unwrap();
        }
        Self { reactor, echoes, relays, acceptors, address }
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_write_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    /// Turns until no session is left, and looks at what is held meanwhile.
    fn turn_until_over(&mut self, accepted: u64) {
        let (echoes, relays) = (Rc::clone(&self.echoes), Rc::clone(&self.relays));
        let acceptors: Vec<_> = self.acceptors.drain(..).collect();
        turn_until(&mut self.reactor, || {
            let all = acceptors.iter().all(|acceptor| acceptor.accepted() == accepted);
            all && echoes.is_empty() && relays.is_empty()
        });
        self.acceptors = acceptors;
        self.check();
    }

    /// Checks that nothing is lost or held that should not be; returns how much is held.
    fn check(&self) -> usize {
        let held = Rc::new(Cell::new(0));
        for echo in self.echoes.iter() {
            let held = Rc::clone(&held);
            echo.call(move |session, _| {
                let stream = &session.stream;
                let waiting = stream.input().len() + stream.output().len();
                assert!(waiting <= MOST, "{stream:?}");
                assert_eq!(stream.received(), stream.sent() + waiting as u64, "{stream:?}");
                held.set(held.get() + waiting);
            });
        }
        for relay in self.relays.iter() {
            let held = Rc::clone(&held);
            relay.call(move |relay::Session { client, server }, _| {
                for (from, to) in [(&*client, &*server), (server, client)] {
                    let waiting = from.input().len() + to.output().len();
                    assert!(waiting <= MOST, "{from:?} {to:?}");
                    assert_eq!(from.received(), to.sent() + waiting as u64, "{from:?} {to:?}");
                    held.set(held.get() + waiting);
                }
            });
        }
        self.reactor.queue().dial_all();
        check(&self.reactor);
        assert_eq!(self.reactor.event_stats().undrained, 0);
        held.get()
    }
}

#[track_caller]
fn is_echoed(peer: &mut TcpStream, text: &[u8], servers: &mut Servers) {
    peer.write_all(text).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (mut echo, mut read) = (vec![0; text.len()], 0);
    turn_until(&mut servers.reactor, || {
        while read < text.len() {
            match peer.read(&mut echo[read..]) {
                Ok(0) => panic!("closed after {read} bytes"),
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
        true
    });
    peer.set_nonblocking(false).unwrap();
    assert_eq!(echo, text);
}

#[test]
fn a_byte_at_a_time_comes_back_in_order() {
    for relayed in [false, true] {
        let mut servers = Servers::new(relayed);
        let mut peer = servers.connect();
        for byte in 0..500_u32 {
            is_echoed(&mut peer, &[byte as u8], &mut servers);
        }
        // All at once, read a byte at a time.
        let text: Vec<u8> = (0..2000).map(|byte| (byte / 3) as u8).collect();
        peer.write_all(&text).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let reader = thread::spawn(move || {
            let mut back = Vec::new();
            let mut byte = [0];
            while peer.read(&mut byte).unwrap() == 1 {
                back.push(byte[0]);
            }
            back
        });
        servers.turn_until_over(1);
        assert_eq!(reader.join().unwrap(), text);
    }
}

#[test]
fn half_close_by_the_peer_leaves_the_other_direction_open() {
    const BYTES: usize = 1 << 21;
    for relayed in [false, true] {
        let mut servers = Servers::new(relayed);
        let text: Vec<u8> = (0..BYTES).map(|byte| (byte >> 3) as u8).collect();
        let mut peer = servers.connect();
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
            servers.turn_until_over(1);
            reader.join().unwrap();
        });
    }
}

#[test]
fn a_peer_that_never_reads_costs_a_bounded_buffer_and_no_other_anything() {
    for relayed in [false, true] {
        let mut servers = Servers::new(relayed);
        let mut peer = servers.connect();
        let mut other = servers.connect();
        is_echoed(&mut other, b"fine?", &mut servers);
        peer.set_nonblocking(true).unwrap();
        // It sends until no one takes any more, a while after all are full.
        let (mut sent, mut refused) = (0, 0);
        while refused < 100 {
            match peer.write(&[7; 50_000]) {
                Ok(count) => (sent, refused) = (sent + count, 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refused += 1;
                    thread::yield_now();
                }
            }
            let _ = servers.reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
        }
        turn_until_idle(&mut servers.reactor);
        assert!(servers.check() > 0, "nothing had to wait");
        assert_eq!(servers.reactor.poll_timeout(), None, "there is nothing to do for it");
        for _ in 0..20 {
            is_echoed(&mut other, b"still fine?", &mut servers);
        }
        // It reads in the end, and gets all of it.
        peer.set_nonblocking(false).unwrap();
        let reader = thread::spawn(move || {
            peer.read_exact(&mut vec![0; sent]).unwrap();
            drop(peer);
        });
        drop(other);
        servers.turn_until_over(2);
        reader.join().unwrap();
    }
}

#[test]
fn a_reset_ends_its_own_session_only() {
    for relayed in [false, true] {
        let mut servers = Servers::new(relayed);
        let mut other = servers.connect();
        is_echoed(&mut other, b"fine?", &mut servers);
        let mut peer = servers.connect();
        is_echoed(&mut peer, b"x", &mut servers);
        // It closes with something unread, which resets the connection.
        peer.write_all(&[7; 1000]).unwrap();
        let mut waiting = [0];
        peer.set_nonblocking(true).unwrap();
        turn_until(&mut servers.reactor, || peer.peek(&mut waiting).is_ok());
        drop(peer);
        let echoes = Rc::clone(&servers.echoes);
        turn_until(&mut servers.reactor, || echoes.len() == 1);
        is_echoed(&mut other, b"still fine?", &mut servers);
        drop(other);
        servers.turn_until_over(2);
    }
}

#[test]
fn a_port_without_a_listener_ends_the_session() {
    let mut reactor = Reactor::new().unwrap();
    let sessions = Rc::new(Recipients::new(reactor.queue()));
    let acceptor = relay::serve(
        &reactor,
        "127.0.0.1:0".parse().unwrap(),
        support::net::closed_port(),
        &sessions,
    )
    .unwrap();
    let mut peer = TcpStream::connect(acceptor.local_addr().unwrap()).unwrap();
    turn_until(&mut reactor, || acceptor.accepted() == 1 && sessions.is_empty());
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}
