//! Hazard: the process has no descriptor left for a connection (EMFILE). mio is edge-triggered, so
//! nobody tells again of a connection that waits: the server must come back by itself, without
//! spinning.

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream as Client};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::alone::alone;
use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use switchboard::Context;
use switchboard::reactor::{Reactor, ReactorHandle, Registration, Timer};

const CLIENTS: usize = 60;
const CHILD: &str = "SWITCHBOARD_TEST_FEW_DESCRIPTORS";

#[test]
fn a_server_without_descriptors_accepts_again_when_there_are_some() {
    alone!();
    if env::var_os(CHILD).is_some() {
        return serve();
    }
    // The server is this test in a process that may have 40 descriptors.
    let this = env::current_exe().unwrap();
    let limited = "ulimit -n 40 && exec \"$0\" --nocapture --exact \"$1\"";
    let name = "accept::a_server_without_descriptors_accepts_again_when_there_are_some";
    let mut server = Command::new("sh")
        .args(["-c", limited, this.to_str().unwrap(), name])
        .env(CHILD, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address: SocketAddr = lines
        .find_map(|line| Some(line.unwrap().rsplit_once("listening at ")?.1.parse().unwrap()))
        .expect("the server tells its address");
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(address).unwrap()).collect();
    for mut client in clients {
        // Longer than any retry takes: a server that does not come back is a failure, not a hang.
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let read = client.read(&mut [0]).inspect_err(|_| server.kill().unwrap());
        assert_eq!(read.unwrap(), 0, "accepted, and closed in the end");
    }
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(server.wait().unwrap().success(), "{rest:#?}");
}

struct Server {
    reactor: ReactorHandle,
    listener: Registration<TcpListener>,
    clients: Vec<TcpStream>,
    accepted: usize,
    exhausted: usize,
    /// Set while there are connections that nobody will tell of again.
    retry: Option<Timer>,
}

impl Server {
    fn accept(&mut self, cx: &Context<'_, Self>) {
        loop {
            match self.listener.source().accept() {
                Ok((client, _)) => {
                    self.clients.push(client);
                    self.accepted += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.try_later(cx, &error),
            }
        }
    }

    fn try_later(&mut self, cx: &Context<'_, Self>, error: &io::Error) {
        assert_eq!(error.raw_os_error(), Some(24), "EMFILE: {error}");
        self.exhausted += 1;
        let retry = cx.callback(|server: &mut Self, cx, ()| {
            server.clients.drain(..10); // these leave meanwhile
            server.accept(cx);
        });
        self.retry = Some(self.reactor.after(Duration::from_millis(20), retry));
    }
}

fn serve() {
    let mut reactor = Reactor::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    println!("listening at {}", listener.local_addr().unwrap());
    let server = reactor.queue().try_recipient_with(|server| {
        let accepts = Interest::READABLE;
        let handle = reactor.handle();
        let listener =
            handle.register(listener, accepts, server, |server: &mut Server, cx, _| {
                server.accept(cx);
            })?;
        Ok::<_, Box<dyn std::error::Error>>(Server {
            reactor: handle,
            listener,
            clients: Vec::new(),
            accepted: 0,
            exhausted: 0,
            retry: None,
        })
    });
    let server = server.unwrap();
    let mut turns = 0;
    let over = std::rc::Rc::new(std::cell::Cell::new(false));
    while !over.get() {
        let seen = std::rc::Rc::clone(&over);
        let _ = reactor.turn(None).unwrap();
        turns += 1;
        server.call(move |server, _| seen.set(server.accepted == CLIENTS));
        reactor.queue().dial_all();
    }
    let check = move |server: &mut Server, _: &Context<'_, Server>| {
        assert!(server.exhausted >= 3, "{} times without a descriptor", server.exhausted);
        let most = CLIENTS + 2 * server.exhausted;
        assert!(turns <= most, "{turns} turns, so it spins: {most} would do");
    };
    server.call(check);
    reactor.queue().dial_all();
}
