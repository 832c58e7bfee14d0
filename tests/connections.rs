//! Hazard: many connections, held and in a row: descriptors that leak, memory that grows. The peer
//! is this test in a process of its own, as both ends need a descriptor each. One test only, so that
//! no other one of this process opens any.
#![cfg(all(target_os = "linux", feature = "mio"))]

mod counting;
mod net;

use std::cell::Cell;
use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as Client};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use switchboard::reactor::{Reactor, ReactorHandle, Registration};
use switchboard::{Line, Recipient};

use counting::held;
use net::turn_until;

const HELD: usize = 10_000;

/// In debug a tenth of them.
const CHURNED: usize = if cfg!(debug_assertions) { 10_000 } else { 100_000 };

/// So many addresses are listened at: each takes 28,000 connections a minute, by the ports that
/// connections which are over keep for a while.
const LISTENERS: usize = 8;

const CHILD: &str = "SWITCHBOARD_TEST_CONNECTS_TO";

struct Server {
    reactor: ReactorHandle,
    listeners: Vec<Registration<TcpListener>>,
    connections: HashMap<usize, Recipient<Connection>>,
    accepted: usize,
    counts: Rc<Counts>,
}

#[derive(Default)]
struct Counts {
    open: Cell<usize>,
    over: Cell<usize>,
}

impl Server {
    fn accept(&mut self, which: usize, line: &Line<'_, Self>) {
        while let Ok((socket, _)) = self.listeners[which].source().accept() {
            let (number, server) = (self.accepted, line.address());
            self.accepted += 1;
            let connection = line.queue().recipient_with(|connection| {
                let reads = Interest::READABLE;
                let socket = self.reactor.register(socket, reads, connection, {
                    move |connection: &mut Connection, _, _| {
                        if connection.is_over_after_echo() {
                            let end = move |server: &mut Self, _: &Line<'_, Self>| {
                                server.connections.remove(&number);
                                server.count();
                            };
                            server.call(end).unwrap();
                        }
                    }
                });
                Connection { socket: socket.unwrap() }
            });
            self.connections.insert(number, connection);
            self.count();
        }
    }

    fn count(&self) {
        self.counts.open.set(self.connections.len());
        self.counts.over.set(self.accepted - self.connections.len());
    }
}

struct Connection {
    socket: Registration<TcpStream>,
}

impl Connection {
    /// Echoes; true at the end of the stream.
    fn is_over_after_echo(&mut self) -> bool {
        let mut bytes = [0; 16];
        while let Ok(read) = self.socket.source_mut().read(&mut bytes) {
            if read == 0 {
                return true;
            }
            self.socket.source_mut().write_all(&bytes[..read]).unwrap();
        }
        false
    }
}

fn listen(reactor: &Reactor, counts: &Rc<Counts>) -> (Recipient<Server>, Vec<SocketAddr>) {
    let handle = reactor.handle();
    let mut addresses = Vec::new();
    let server = reactor.queue().recipient_with(|server| {
        let listeners = (0..LISTENERS).map(|which| {
            let address = format!("127.0.0.{}:0", which + 1).parse().unwrap();
            let listener = TcpListener::bind(address).unwrap();
            addresses.push(listener.local_addr().unwrap());
            let accepts = move |server: &mut Server, line: &Line<'_, Server>, _: &_| {
                server.accept(which, line);
            };
            handle.register(listener, Interest::READABLE, server, accepts).unwrap()
        });
        let listeners = listeners.collect();
        let (connections, counts) = (HashMap::new(), Rc::clone(counts));
        Server { reactor: handle.clone(), listeners, connections, accepted: 0, counts }
    });
    (server, addresses)
}

/// The process that connects. It is told what to do line by line, and tells when it is done.
struct Peer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(addresses: &[SocketAddr]) -> Self {
        let name = "ten_thousand_connections_held_and_a_hundred_thousand_churned_leave_nothing";
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--nocapture", "--exact", name])
            .env(CHILD, addresses.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, orders, answers }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    fn wait_until_done(&mut self) {
        let mut line = String::new();
        while !line.ends_with("done\n") {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the peer is gone");
        }
    }
}

/// What the other process does.
fn connect(addresses: &str) {
    let addresses: Vec<SocketAddr> =
        addresses.split(' ').map(|address| address.parse().unwrap()).collect();
    let exchange = |number: usize| {
        let mut client = Client::connect(addresses[number % LISTENERS]).unwrap();
        let mut byte = [number as u8];
        client.write_all(&byte).unwrap();
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number as u8]);
        client
    };
    let mut clients = Vec::new();
    for order in std::io::stdin().lines() {
        match &*order.unwrap() {
            "hold" => clients.extend((0..HELD).map(exchange)),
            "churn" => (0..CHURNED).for_each(|number| drop(exchange(number))),
            "let go" => clients.clear(),
            other => panic!("{other}"),
        }
        println!("done");
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn ten_thousand_connections_held_and_a_hundred_thousand_churned_leave_nothing() {
    if let Ok(addresses) = env::var(CHILD) {
        return connect(&addresses);
    }
    let before = (descriptors(), held());
    let mut reactor = Reactor::new().unwrap();
    let counts = Rc::new(Counts::default());
    let (server, addresses) = listen(&reactor, &counts);
    let mut peer = Peer::start(&addresses);
    let idle = descriptors();
    let mut after_each = Vec::new();
    for round in 1..=2 {
        peer.order("hold");
        turn_until(&mut reactor, || counts.open.get() == HELD);
        peer.wait_until_done();
        assert_eq!((descriptors(), reactor.registrations()), (idle + HELD, LISTENERS + HELD));
        peer.order("churn");
        let over = |rounds| (rounds - 1) * HELD + rounds * CHURNED;
        turn_until(&mut reactor, || counts.over.get() == over(round));
        peer.wait_until_done();
        peer.order("let go");
        turn_until(&mut reactor, || counts.over.get() == over(round) + HELD);
        peer.wait_until_done();
        assert_eq!((descriptors(), reactor.registrations()), (idle, LISTENERS));
        after_each.push(held());
    }
    // What is kept for the next connections is kept once.
    assert_eq!(after_each[0], after_each[1], "bytes held after each round");
    drop((server, reactor));
    drop((peer.orders, peer.answers));
    assert!(peer.process.wait().unwrap().success());
    drop((counts, addresses, after_each));
    assert_eq!((descriptors(), held()), before);
}
