//! Hazard: many connections, held and in a row: descriptors that leak, memory that grows. The peer
//! is this test in a process of its own, as both ends need a descriptor each.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream as Client};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use switchboard::reactor::{Reactor, ReactorHandle, Registration};
use switchboard::{Context, Recipient};

use support::alone;
use support::counting::held;
use support::descriptors::{self, claim};
use support::net::{self, PATIENCE};

/// How many are held if there are descriptors for them. Fewer where the poll looks at all of them each
/// time.
const HELD: usize = if cfg!(mio_unsupported_force_poll_poll) { 300 } else { 10_000 };

/// The same, and in debug.
const CHURNED: usize = if cfg!(mio_unsupported_force_poll_poll) {
    3_000
} else if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};

/// So many addresses are listened at: each takes 28,000 connections a minute, by the ports that
/// connections which are over keep for a while.
const LISTENERS: usize = 8;

const CHILD: &str = "SWITCHBOARD_TEST_CONNECTS_TO";

struct Server {
    reactor: ReactorHandle,
    listeners: Vec<Registration<TcpListener>>,
    connections: BTreeMap<usize, Recipient<Connection>>,
    accepted: usize,
    counts: Rc<Counts>,
}

#[derive(Default)]
struct Counts {
    open: Cell<usize>,
    echoed: Cell<usize>,
    over: Cell<usize>,
}

impl Server {
    fn accept(&mut self, which: usize, cx: &Context<'_, Self>) {
        while let Ok((socket, _)) = self.listeners[which].source().accept() {
            let (number, server) = (self.accepted, cx.address());
            self.accepted += 1;
            let connection = cx.queue().recipient_with(|connection| {
                let reads = Interest::READABLE;
                let socket = self.reactor.register(socket, reads, connection, {
                    move |connection: &mut Connection, _, _| {
                        if connection.is_over_after_echo() {
                            let end = move |server: &mut Self, _: &Context<'_, Self>| {
                                server.connections.remove(&number);
                                server.count();
                            };
                            server.call(end);
                        }
                    }
                });
                Connection { socket: socket.unwrap(), counts: Rc::clone(&self.counts) }
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
    counts: Rc<Counts>,
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
            self.counts.echoed.set(self.counts.echoed.get() + 1);
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
            let reads = Interest::READABLE;
            let listener =
                handle.register(listener, reads, server, move |server: &mut Server, cx, _| {
                    server.accept(which, cx);
                });
            listener.unwrap()
        });
        let listeners = listeners.collect();
        let (connections, counts) = (BTreeMap::new(), Rc::clone(counts));
        Server { reactor: handle.clone(), listeners, connections, accepted: 0, counts }
    });
    (server, addresses)
}

/// The process that connects. It is instructed line by line, and reports when it is done.
struct Peer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(addresses: &[SocketAddr]) -> Self {
        let name = "connections::ten_thousand_connections_held_and_a_hundred_thousand_churned_leave_nothing";
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

    fn order(&mut self, order: impl Display) {
        writeln!(self.orders, "{order}").unwrap();
    }

    fn wait_until_done(&mut self) {
        let mut line = String::new();
        while !line.ends_with("done\n") {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the peer is gone");
        }
    }

    fn end(mut self) {
        drop(self.orders);
        self.answers.read_to_string(&mut String::new()).unwrap();
        assert!(self.process.wait().unwrap().success());
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
        let order = order.unwrap();
        match order.split_once(' ') {
            Some(("hold", count)) => clients.extend((0..count.parse().unwrap()).map(exchange)),
            Some(("churn", count)) => {
                (0..count.parse().unwrap()).for_each(|number| drop(exchange(number)));
            }
            None if order == "release" => clients.clear(),
            _ => panic!("{order}"),
        }
        println!("done");
    }
}

/// Turns until `over`: there are more of them than other tests may take.
fn turn_until(reactor: &mut Reactor, mut over: impl FnMut() -> bool) {
    while !over() {
        let before = reactor.queue().tally().finished;
        let _ = reactor.turn(Some(PATIENCE)).unwrap();
        assert!(reactor.queue().tally().finished > before, "waited {PATIENCE:?} for nothing");
    }
    net::check(reactor);
}

/// Dials a call at a time, through more blocks than the queue keeps for as many calls as were pending
/// lately: how many that were is a matter of who was faster.
fn forget_bursts(reactor: &Reactor) {
    for _ in 0..100_000 {
        reactor.queue().call(|_| ());
        reactor.queue().dial_all();
    }
}

#[test]
fn ten_thousand_connections_held_and_a_hundred_thousand_churned_leave_nothing() {
    alone!();
    if let Ok(addresses) = env::var(CHILD) {
        return connect(&addresses);
    }
    let claim = claim(HELD);
    let connections = claim.count();
    let before = (descriptors::open(), held());
    let mut reactor = Reactor::new().unwrap();
    let counts = Rc::new(Counts::default());
    let (server, addresses) = listen(&reactor, &counts);
    let mut peer = Peer::start(&addresses);
    let idle = descriptors::open();
    let mut after_each = [0; 2];
    for round in 1..=2 {
        peer.order(format_args!("hold {connections}"));
        let echoed = round * connections + (round - 1) * CHURNED;
        turn_until(&mut reactor, || counts.echoed.get() == echoed);
        peer.wait_until_done();
        assert_eq!(counts.open.get(), connections);
        let all = (descriptors::open(), reactor.registration_count());
        assert_eq!(all, (idle + connections, LISTENERS + connections));
        peer.order(format_args!("churn {CHURNED}"));
        let over = |rounds| (rounds - 1) * connections + rounds * CHURNED;
        turn_until(&mut reactor, || counts.over.get() == over(round));
        peer.wait_until_done();
        peer.order("release");
        turn_until(&mut reactor, || counts.over.get() == over(round) + connections);
        peer.wait_until_done();
        assert_eq!((descriptors::open(), reactor.registration_count()), (idle, LISTENERS));
        forget_bursts(&reactor);
        after_each[round - 1] = held();
    }
    let [first, second] = after_each;
    assert!(second < first + CHURNED as isize, "{first}, then {second} bytes held");
    drop((server, reactor));
    peer.end();
    drop((counts, addresses));
    assert_eq!((descriptors::open(), held()), before);
}
