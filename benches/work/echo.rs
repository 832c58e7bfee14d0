//! Servers that echo, and the client that all of them serve.
//!
//! Client and server take turns on one thread: the client writes to all connections, the server
//! runs until it has echoed all of that, the client reads and checks it. So a round is the same
//! from run to run, down to its system calls, and the time is the server's alone. (The client
//! uses `readv` and `writev`, the servers `recvfrom` and `sendto`: a trace distinguishes them.)

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net;
use mio::{Events, Interest, Poll, Token};
use support::descriptors;
use switchboard::reactor::{Reactor, Registration};
use switchboard::streams::{Stream, StreamStatus};
use switchboard::{Context, Recipient};

use super::{Group, Run};

/// Bytes of a message of the ping-pong, and of the buffer that a server has for it.
pub const PING: usize = 64;
pub const PING_BUFFER: usize = 1024;

/// Bytes of a block of the streaming, and of the buffer that a server has for it.
pub const BLOCK: usize = 64 * 1024;
const BLOCK_BUFFER: usize = 16 * 1024;

pub fn groups() -> Vec<Group> {
    vec![
        Group::new("ping_pong", "64 bytes echoed, on so many connections", &[1, 100, 1000], {
            |connections| ping_pong(connections, board)
        })
        .against("mio by hand", |connections| ping_pong(connections, by_hand)),
        Group::new("streaming", "64 KiB echoed, on so many connections", &[1, 100], {
            |connections| streaming(connections, board)
        })
        .against("mio by hand", |connections| streaming(connections, by_hand)),
        Group::new("streams_small", "64 bytes echoed by a `Stream`", &[1, 100], {
            |connections| ping_pong(connections, streams)
        })
        .against("bare registration", |connections| ping_pong(connections, board)),
        Group::new("streams_large", "64 KiB echoed by a `Stream`", &[1, 100], {
            |connections| streaming(connections, streams)
        })
        .against("bare registration", |connections| streaming(connections, board)),
    ]
}

/// Whether a group is one of these.
pub fn is_one(group: &Group) -> bool {
    groups().iter().any(|one| one.name == group.name)
}

/// Runs a server until it has echoed so many bytes more.
pub type Serve = Box<dyn FnMut(u64)>;

/// Makes a server of sockets that do not block, with buffers of that size.
pub type Open = fn(Vec<TcpStream>, usize) -> Serve;

pub fn ping_pong(connections: u64, open: Open) -> Run {
    rounds(connections, PING, PING_BUFFER, open)
}

pub fn streaming(connections: u64, open: Open) -> Run {
    rounds(connections, BLOCK, BLOCK_BUFFER, open)
}

fn rounds(connections: u64, message: usize, buffer: usize, open: Open) -> Run {
    // Both ends of each, under a limit that is raised for them.
    let _claimed = descriptors::claim(2 * connections as usize);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (mut clients, servers): (Vec<_>, Vec<_>) =
        (0..connections).map(|_| connection(&listener)).collect();
    let mut serve = open(servers, buffer);
    let (mut sent, mut echo) = (vec![0_u8; message], vec![0; message]);
    Box::new(move |messages| {
        let (mut arrived, mut spent) = (0, Duration::ZERO);
        for _ in 0..messages / connections {
            let number = sent[0].wrapping_add(1);
            sent.fill(number);
            for client in &mut clients {
                let written = client.write_vectored(&[IoSlice::new(&sent)]).expect("room");
                assert_eq!(written, message, "a message fits into the buffers of a socket");
            }
            let start = Instant::now();
            serve(connections * message as u64);
            spent += start.elapsed();
            for client in &mut clients {
                echo[message - 1] = !number;
                read_all(client, &mut echo);
                arrived += u64::from(echo == sent);
            }
        }
        (arrived, spent)
    })
}

fn read_all(client: &mut TcpStream, bytes: &mut [u8]) {
    let mut read = 0;
    while read < bytes.len() {
        let slice = &mut [IoSliceMut::new(&mut bytes[read..])];
        read += client.read_vectored(slice).expect("an echo");
    }
}

/// A connection over loopback: the client's end, which blocks, and the server's, which does not.
fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("room");
    let (server, _) = listener.accept().expect("the client");
    for end in [&client, &server] {
        end.set_nodelay(true).expect("an option of TCP");
    }
    server.set_nonblocking(true).expect("a socket that need not block");
    (client, server)
}

/// What a connection does on an event, the same for all servers that handle readiness.
pub struct Echo {
    buffer: Vec<u8>,
    /// Read, and not written yet.
    waiting: std::ops::Range<usize>,
    /// Whether there may be more to read: a read that does not fill the buffer empties the socket.
    more: bool,
}

impl Echo {
    pub fn new(buffer: usize) -> Self {
        Self { buffer: vec![0; buffer], waiting: 0..0, more: true }
    }

    /// Reads and writes until the socket is empty, or takes no more. Returns the bytes written.
    #[inline]
    pub fn on_ready(&mut self, mut socket: impl Read + Write) -> u64 {
        let mut echoed = 0;
        self.more = true;
        loop {
            while !self.waiting.is_empty() {
                match socket.write(&self.buffer[self.waiting.clone()]) {
                    Ok(written) => {
                        self.waiting.start += written;
                        echoed += written as u64;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return echoed,
                    Err(error) => panic!("a client that reads: {error}"),
                }
            }
            if !self.more {
                return echoed;
            }
            match socket.read(&mut self.buffer) {
                Ok(0) => return echoed,
                Ok(read) => {
                    self.waiting = 0..read;
                    self.more = read == self.buffer.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return echoed,
                Err(error) => panic!("a client that writes: {error}"),
            }
        }
    }
}

/// A connection of switchboard's server.
struct Connection {
    socket: Registration<net::TcpStream>,
    echo: Echo,
    echoed: Rc<Cell<u64>>,
}

/// The server on switchboard: a recipient for each connection.
pub fn board(sockets: Vec<TcpStream>, buffer: usize) -> Serve {
    let mut reactor = Reactor::new().expect("a poll");
    let echoed = Rc::new(Cell::new(0));
    let connect = |socket| -> Recipient<Connection> {
        let (handle, echoed) = (reactor.handle(), Rc::clone(&echoed));
        reactor.queue().recipient_with(|address| {
            let socket = net::TcpStream::from_std(socket);
            let both = Interest::READABLE | Interest::WRITABLE;
            let socket =
                handle.register(socket, both, address, |connection: &mut Connection, _, _| {
                    connection.on_ready();
                });
            Connection { socket: socket.expect("room"), echo: Echo::new(buffer), echoed }
        })
    };
    let connections: Vec<_> = sockets.into_iter().map(connect).collect();
    Box::new(move |bytes| {
        let _ = &connections;
        let end = echoed.get() + bytes;
        while echoed.get() < end {
            let _ = reactor.turn(None).expect("a turn");
        }
    })
}

impl Connection {
    fn on_ready(&mut self) {
        let written = self.echo.on_ready(self.socket.source_mut());
        self.echoed.set(self.echoed.get() + written);
    }
}

/// A connection of the server on streams.
struct Session {
    stream: Stream<net::TcpStream>,
    echoed: Rc<Cell<u64>>,
}

/// The server on switchboard's streams. Their room follows what is underway, whatever `buffer` says.
pub fn streams(sockets: Vec<TcpStream>, _buffer: usize) -> Serve {
    let mut reactor = Reactor::new().expect("a poll");
    let echoed = Rc::new(Cell::new(0));
    let connect = |socket| -> Recipient<Session> {
        let (handle, echoed) = (reactor.handle(), Rc::clone(&echoed));
        reactor.queue().recipient_with(|address| {
            let socket = net::TcpStream::from_std(socket);
            let stream = Stream::new(&handle, socket, address, Session::on_ready);
            Session { stream: stream.expect("room"), echoed }
        })
    };
    let sessions: Vec<_> = sockets.into_iter().map(connect).collect();
    Box::new(move |bytes| {
        let _ = &sessions;
        let end = echoed.get() + bytes;
        while echoed.get() < end {
            let _ = reactor.turn(None).expect("a turn");
        }
    })
}

impl Session {
    fn on_ready(&mut self, _: &Context<'_, Self>) {
        let before = self.stream.sent();
        let status = self.stream.drive(|input, output| {
            output.append(input);
        });
        assert_eq!(status, StreamStatus::Open);
        self.echoed.set(self.echoed.get() + self.stream.sent() - before);
    }
}

/// The server by hand: a vector of connections, and mio's poll.
pub fn by_hand(sockets: Vec<TcpStream>, buffer: usize) -> Serve {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(1024);
    let connect = |(number, socket)| {
        let mut socket = net::TcpStream::from_std(socket);
        let both = Interest::READABLE | Interest::WRITABLE;
        socket.register(poll.registry(), Token(number), both).expect("room");
        (socket, Echo::new(buffer))
    };
    let mut connections: Vec<_> = sockets.into_iter().enumerate().map(connect).collect();
    Box::new(move |bytes| {
        let mut echoed = 0;
        while echoed < bytes {
            poll.poll(&mut events, None).expect("events");
            for event in &events {
                let (socket, echo) = &mut connections[event.token().0];
                echoed += echo.on_ready(socket);
            }
        }
    })
}
