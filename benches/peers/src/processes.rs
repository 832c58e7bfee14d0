//! Echo servers in processes of their own, and the client that drives them: as many messages are underway
//! as there are connections, while client and server run at the same time.
//!
//! The server's processor time is that of `/proc/PID/schedstat`, so Linux is needed. Each server is in a
//! session of its own: Linux shares the processors out by sessions first (autogroups).

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::servers;
use crate::work::echo::{self, Open, PING};
use crate::work::{Contender, Group, Run, contender};

/// Set for a process that is to serve: the server's name and the number of connections.
const SERVE: &str = "SWITCHBOARD_SERVE";

const CONNECTIONS: &[u64] = &[1, 100, 1000];

/// Starts to drive a server on so many connections.
type Start = fn(u64) -> Run;

/// The servers, switchboard's first: each with what measures its time, and its processor time.
const SERVERS: [(&str, Open, Start, Start); 6] = [
    ("switchboard", echo::board, time::<0>, cpu::<0>),
    ("switchboard, a Stream each", echo::streams, time::<1>, cpu::<1>),
    ("mio by hand", echo::by_hand, time::<2>, cpu::<2>),
    ("stakker_mio", servers::stakker, time::<3>, cpu::<3>),
    ("calloop", servers::calloop, time::<4>, cpu::<4>),
    ("tokio", servers::tokio, time::<5>, cpu::<5>),
];

/// The groups: the time that passes for a message, and the server's processor time for one.
pub fn groups() -> Vec<Group> {
    let group = |name, what, contenders: Vec<Contender>| Group {
        name,
        what,
        batches: CONNECTIONS,
        one_in: 1,
        contenders,
    };
    let times = SERVERS.iter().map(|&(name, _, time, _)| contender(name, time)).collect();
    let cpus = SERVERS.iter().map(|&(name, _, _, cpu)| contender(name, cpu)).collect();
    vec![
        group("server_time", "64 bytes echoed by a process, on so many connections", times),
        group("server_cpu", "processor time of a process that echoes 64 bytes", cpus),
    ]
}

fn time<const SERVER: usize>(connections: u64) -> Run {
    let server = Server::start(SERVER, connections);
    let mut client = Client::connect(server.address, connections);
    Box::new(move |messages| {
        let _ = &server;
        let start = Instant::now();
        let arrived = client.exchange(messages / connections);
        (arrived, start.elapsed())
    })
}

fn cpu<const SERVER: usize>(connections: u64) -> Run {
    let server = Server::start(SERVER, connections);
    let mut client = Client::connect(server.address, connections);
    Box::new(move |messages| {
        let before = server.cpu();
        let arrived = client.exchange(messages / connections);
        (arrived, server.cpu() - before)
    })
}

/// Serves, and does not return, if this process was started to do so.
pub fn serve_if_asked() {
    let Ok(asked) = env::var(SERVE) else { return };
    let (number, connections) = asked.split_once(' ').expect("a server and its connections");
    let (_, open, ..) = SERVERS[number.parse::<usize>().expect("a number")];
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("its address"));
    let accept = |_| {
        let (socket, _) = listener.accept().expect("the client");
        socket.set_nodelay(true).expect("an option of TCP");
        socket.set_nonblocking(true).expect("a socket that need not block");
        socket
    };
    let sockets = (0..connections.parse::<u64>().expect("a number")).map(accept).collect();
    // Until the client ends this process.
    open(sockets, echo::PING_BUFFER)(u64::MAX / 2);
}

/// A server's process, which ends with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(number: usize, connections: u64) -> Self {
        let mut command = Command::new("setsid");
        command.arg(env::current_exe().expect("the path of this program"));
        command.env(SERVE, format!("{number} {connections}")).stdout(Stdio::piped());
        let mut child = command.spawn().expect("setsid, of util-linux");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the server's address");
        Self { child, address: line.trim().parse().expect("the server's address") }
    }

    /// The processor time of its only thread that runs. (The time of a thread in a system call is added
    /// as the thread sleeps, or at the next tick.)
    fn cpu(&self) -> Duration {
        let statistics = fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()));
        let statistics = statistics.expect("Linux with statistics of its scheduler");
        let nanoseconds = statistics.split(' ').next().map(str::parse);
        Duration::from_nanos(nanoseconds.expect("three numbers").expect("a number"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection of the client.
struct Connection {
    socket: TcpStream,
    message: [u8; PING],
    echo: [u8; PING],
    /// Bytes of the echo that are there.
    read: usize,
    /// Echoes to wait for.
    left: u64,
}

struct Client {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
}

impl Client {
    fn connect(address: SocketAddr, connections: u64) -> Self {
        let poll = Poll::new().expect("a poll");
        let connect = |number| {
            let socket = std::net::TcpStream::connect(address).expect("the server");
            socket.set_nodelay(true).expect("an option of TCP");
            socket.set_nonblocking(true).expect("a socket that need not block");
            let mut socket = TcpStream::from_std(socket);
            let registry = poll.registry();
            registry.register(&mut socket, Token(number), Interest::READABLE).expect("room");
            Connection { socket, message: [0; PING], echo: [0; PING], read: 0, left: 0 }
        };
        let connections = (0..connections as usize).map(connect).collect();
        Self { poll, events: Events::with_capacity(1024), connections }
    }

    /// Sends so many messages on each connection, the next one once the one before is back. Returns how
    /// many came back as they were sent.
    fn exchange(&mut self, messages: u64) -> u64 {
        for connection in &mut self.connections {
            connection.left = messages;
            connection.send();
        }
        let (mut busy, mut arrived) = (self.connections.len(), 0);
        while busy > 0 {
            self.poll.poll(&mut self.events, None).expect("events");
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                let before = connection.left;
                arrived += connection.on_readable();
                busy -= usize::from(before > 0 && connection.left == 0);
            }
        }
        arrived
    }
}

impl Connection {
    fn send(&mut self) {
        let number = self.message[0].wrapping_add(1);
        self.message.fill(number);
        let written = self.socket.write(&self.message).expect("room");
        assert_eq!(written, PING, "a message fits into the buffers of a socket");
    }

    /// Reads echoes, and answers each with the next message. Returns how many were right.
    fn on_readable(&mut self) -> u64 {
        let mut arrived = 0;
        loop {
            match self.socket.read(&mut self.echo[self.read..]) {
                Ok(0) => panic!("the server hung up"),
                Ok(read) => self.read += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return arrived,
                Err(error) => panic!("a server that writes: {error}"),
            }
            if self.read == PING {
                arrived += u64::from(self.echo == self.message);
                self.read = 0;
                self.left -= 1;
                if self.left > 0 {
                    self.send();
                }
            }
        }
    }
}
