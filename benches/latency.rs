//! How long a message waits for its echo, beside other busy connections: `cargo bench --bench latency`.
//!
//! Two servers, one whose handler asks to be called `again` after every read, and one that stops at a
//! short read. The client, on a thread of its own, has 100 connections with one message each on its
//! way. The servers take turns; quoted are the medians over the rounds, and of the ratio within a round.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use switchboard::Context;
use switchboard::reactor::{Reactor, Readiness, Registration};

const CONNECTIONS: usize = 100;
const MESSAGE: usize = 64;
/// Messages of a stretch.
const MESSAGES: usize = 20_000;
const ROUNDS: usize = 21;

struct Echo {
    socket: Option<Registration<TcpStream>>,
    asks_again: bool,
}

impl Echo {
    fn on_ready(&mut self, _: &Context<'_, Self>, ready: &Readiness<'_>) {
        let Some(socket) = &mut self.socket else { return };
        let mut buffer = [0; 1024];
        loop {
            match socket.source_mut().read(&mut buffer) {
                Ok(0) => return self.socket = None,
                Ok(read) => {
                    let written = socket.source_mut().write(&buffer[..read]);
                    assert_eq!(written.ok(), Some(read), "a client that reads");
                    if self.asks_again {
                        return ready.again();
                    }
                    if read < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("a client that writes: {error}"),
            }
        }
    }
}

/// Serves until the client has closed all connections.
fn serve(asks_again: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let mut reactor = Reactor::new().expect("a poll");
        let _sessions: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (socket, _) = listener.accept().expect("a client");
                socket.set_nodelay(true).expect("an option of TCP");
                socket.set_nonblocking(true).expect("a socket that need not block");
                let handle = reactor.handle();
                reactor.queue().recipient_with(|own| {
                    let socket = TcpStream::from_std(socket);
                    let socket = handle.register(socket, Interest::READABLE, own, Echo::on_ready);
                    Echo { socket: Some(socket.expect("room")), asks_again }
                })
            })
            .collect();
        reactor.run().expect("events");
    });
    address
}

struct Client {
    poll: Poll,
    events: Events,
    /// Each with the time at which its message was sent.
    connections: Vec<(TcpStream, Instant)>,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        let poll = Poll::new().expect("a poll");
        let connect = |number| {
            let socket = std::net::TcpStream::connect(server).expect("the server");
            socket.set_nodelay(true).expect("an option of TCP");
            socket.set_nonblocking(true).expect("a socket that need not block");
            let mut socket = TcpStream::from_std(socket);
            let registry = poll.registry();
            registry.register(&mut socket, Token(number), Interest::READABLE).expect("room");
            (socket, Instant::now())
        };
        let connections = (0..CONNECTIONS).map(connect).collect();
        Self { poll, events: Events::with_capacity(CONNECTIONS), connections }
    }

    /// Sends messages and waits for their echoes. Returns the median and the 99th percentile.
    fn stretch(&mut self) -> (Duration, Duration) {
        let mut waits = Vec::with_capacity(MESSAGES);
        let mut sent = CONNECTIONS;
        self.connections.iter_mut().for_each(send);
        while waits.len() < MESSAGES {
            self.poll.poll(&mut self.events, None).expect("events");
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                let mut echo = [0; MESSAGE];
                while let Ok(read) = connection.0.read(&mut echo) {
                    assert_eq!(read, MESSAGE, "a message arrives as a whole");
                    waits.push(connection.1.elapsed());
                    if sent < MESSAGES {
                        sent += 1;
                        send(connection);
                    }
                }
            }
        }
        waits.sort();
        (waits[MESSAGES / 2], waits[MESSAGES * 99 / 100])
    }
}

fn send((socket, sent): &mut (TcpStream, Instant)) {
    *sent = Instant::now();
    assert_eq!(socket.write(&[7; MESSAGE]).ok(), Some(MESSAGE), "a server that reads");
}

fn median<T: Copy + PartialOrd>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<_> = values.collect();
    values.sort_by(|one, other| one.partial_cmp(other).expect("no NaN"));
    values[values.len() / 2]
}

fn main() {
    let (results, all) = mpsc::channel();
    let client = thread::spawn(move || {
        let mut clients = [false, true].map(|asks_again| Client::new(serve(asks_again)));
        for _ in 0..ROUNDS {
            results.send(clients.each_mut().map(Client::stretch)).expect("main waits");
        }
    });
    let rounds: Vec<_> = all.iter().collect();
    client.join().expect("a client that ends");
    for (which, name) in ["stops at a short read", "asks again after every read"].iter().enumerate()
    {
        let middle = median(rounds.iter().map(|round| round[which].0));
        let high = median(rounds.iter().map(|round| round[which].1));
        println!("{name:<28} p50 {middle:>8.1?}  p99 {high:>8.1?}");
    }
    let ratio = |of: fn((Duration, Duration)) -> Duration| {
        median(rounds.iter().map(|[short, again]| of(*again).div_duration_f64(of(*short))))
    };
    println!(
        "again / short read           p50 {:>8.2}  p99 {:>8.2}",
        ratio(|r| r.0),
        ratio(|r| r.1)
    );
}
