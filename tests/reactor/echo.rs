//! Hazard: a server under load loses a connection, a byte, or the end of a stream. Handlers
//! register what they accept, and the loop ends by itself.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use switchboard::reactor::{Reactor, ReactorHandle, Readiness, Registration};
use switchboard::{Address, Context, Recipient};

use support::descriptors::claim;
use support::echo::Echo;
use support::net::check;

/// Bytes that a connection reads before it lets others have their turn.
const CHUNK: usize = 100;

/// Accepts `left` connections and serves them.
struct Server {
    reactor: ReactorHandle,
    listener: Option<Registration<TcpListener>>,
    connections: HashMap<u32, Recipient<Connection>>,
    left: u32,
}

impl Server {
    fn on_ready(&mut self, cx: &Context<'_, Self>) {
        while self.left > 0 {
            let Some(listener) = &self.listener else { return };
            match listener.source().accept() {
                Ok((socket, _)) => self.serve(socket, cx),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
        self.listener = None;
    }

    fn serve(&mut self, socket: TcpStream, cx: &Context<'_, Self>) {
        self.left -= 1;
        let number = self.left;
        let both = Interest::READABLE | Interest::WRITABLE;
        let server = cx.address();
        let connection = cx.queue().recipient_with(|connection| {
            let registered = self.reactor.register(socket, both, connection, {
                move |connection: &mut Connection, _, ready| {
                    if connection.echo(ready).unwrap_or(true) {
                        let over = move |server: &mut Self, _: &Context<'_, Self>| {
                            server.connections.remove(&number);
                        };
                        server.call(over);
                    }
                }
            });
            Connection { socket: registered.unwrap(), echo: Echo::default() }
        });
        self.connections.insert(number, connection);
    }
}

struct Connection {
    socket: Registration<TcpStream>,
    echo: Echo,
}

impl Connection {
    /// Reads a little, and writes all that it can; true if that was the end.
    fn echo(&mut self, ready: &Readiness<'_>) -> io::Result<bool> {
        let socket = self.socket.source_mut();
        if !self.echo.at_end() && self.echo.read(&mut *socket, CHUNK)?.is_some_and(|read| read > 0)
        {
            ready.again();
        }
        self.echo.write(socket)?;
        Ok(self.echo.is_over())
    }
}

fn listen(reactor: &Reactor, left: u32) -> (Recipient<Server>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        Server { reactor: reactor.handle(), listener: None, connections: HashMap::new(), left };
    let server = reactor.queue().recipient(server);
    let to: &Address<Server> = &server;
    let listener = reactor
        .handle()
        .register(listener, Interest::READABLE, to, |server, cx, _| server.on_ready(cx))
        .unwrap();
    server.call(|server, _| server.listener = Some(listener));
    (server, address)
}

/// Writes `bytes` while it reads them back.
fn client(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut writer = std::net::TcpStream::connect(address).unwrap();
    let mut reader = writer.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(bytes).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut echo = Vec::new();
        reader.read_to_end(&mut echo).unwrap();
        echo
    })
}

#[test]
fn m01_a_hundred_clients_get_everything_back() {
    const CLIENTS: usize = 100;
    let claim = claim(2 * CLIENTS);
    let clients = (claim.count() / 2) as u32;
    let mut reactor = Reactor::new().unwrap();
    let (server, address) = listen(&reactor, clients);
    thread::scope(|scope| {
        let client = |number: u32| {
            let bytes: Vec<u8> =
                (0..5_000).map(|byte| ((byte * (number + 1)) >> 3) as u8).collect();
            assert!(client(address, &bytes) == bytes, "client {number}");
        };
        let clients: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || client(number))).collect();
        reactor.run().unwrap();
        for client in clients {
            client.join().unwrap();
        }
    });
    check(&reactor);
    assert_eq!(reactor.handle().registration_count(), 0);
    let tally = reactor.queue().tally();
    assert_eq!((tally.pending, tally.unscheduled, tally.refused), (0, 0, 0));
    assert!(tally.finished > u64::from(clients) * 50, "a chunk at a time: {tally}");
    server.call(|server, _| assert!(server.connections.is_empty()));
    reactor.run().unwrap();
}

#[test]
fn m03_a_client_that_sends_more_than_buffers_hold_is_served() {
    let mut reactor = Reactor::new().unwrap();
    let (_server, address) = listen(&reactor, 1);
    reactor.set_budget(7);
    let bytes: Vec<u8> = (0..8 << 20).map(|byte| (byte >> 5) as u8).collect();
    thread::scope(|scope| {
        let client = scope.spawn(|| assert!(client(address, &bytes) == bytes));
        reactor.run().unwrap();
        client.join().unwrap();
    });
    check(&reactor);
    assert_eq!(reactor.handle().registration_count(), 0);
}
