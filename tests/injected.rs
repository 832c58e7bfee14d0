//! Hazard: system calls fail. An echo server and its clients, which take every error for one that
//! passes: `.ci/inject` runs this under strace, which makes system calls fail, and here it runs
//! without. Without the test harness, whose own system calls are no business of this.

#[cfg(not(all(unix, feature = "mio")))]
fn main() {}

#[cfg(all(unix, feature = "mio"))]
fn main() {
    echo::main();
}

#[cfg(all(unix, feature = "mio"))]
mod echo {
    use std::cell::Cell;
    use std::collections::HashMap;
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpStream as Client};
    use std::rc::Rc;
    use std::thread;
    use std::time::Duration;

    use mio::Interest;
    use mio::net::{TcpListener, TcpStream};
    use support::echo::Echo;
    use switchboard::reactor::{Reactor, ReactorHandle, RegisterError, Registration, Timer};
    use switchboard::{CallQueue, Context, Recipient};

    const CLIENTS: usize = 4;
    /// Connections of each client, one after the other.
    const ROUNDS: usize = 10;
    const BYTES: usize = 20_000;
    /// How often the same may fail.
    const ATTEMPTS: usize = 20;
    /// The delay before a retry that no event will trigger.
    const LATER: Duration = Duration::from_millis(20);

    struct Server {
        reactor: ReactorHandle,
        listener: Option<Registration<TcpListener>>,
        connections: HashMap<usize, Recipient<Connection>>,
        accepted: usize,
        retry: Option<Timer>,
        left: usize,
    }

    impl Server {
        fn accept(&mut self, cx: &Context<'_, Self>) {
            while let Some(listener) = &self.listener {
                match listener.source().accept() {
                    Ok((socket, _)) => self.serve(socket, cx),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Err(_) => {
                        let retry = cx.callback(|server: &mut Self, cx, ()| server.accept(cx));
                        self.retry = Some(self.reactor.after(LATER, retry));
                        return;
                    }
                }
            }
        }

        /// A connection that cannot be registered is closed; its client comes again.
        fn serve(&mut self, socket: TcpStream, cx: &Context<'_, Self>) {
            let (number, server) = (self.accepted, cx.address());
            self.accepted += 1;
            let connection = cx.queue().try_recipient_with(|connection| {
                let both = Interest::READABLE | Interest::WRITABLE;
                let socket = self.reactor.register(socket, both, connection, {
                    move |connection: &mut Connection, cx, _| {
                        if connection.is_over(cx) {
                            let end = move |server: &mut Self, _: &Context<'_, Self>| {
                                server.connections.remove(&number);
                            };
                            server.call(end);
                        }
                    }
                })?;
                let (reactor, echo) = (self.reactor.clone(), Echo::default());
                let connection = Connection { reactor, socket, echo, retry: None };
                Ok::<_, RegisterError<TcpStream>>(connection)
            });
            if let Ok(connection) = connection {
                self.connections.insert(number, connection);
            }
        }

        fn client_is_done(&mut self) {
            self.left -= 1;
            if self.left == 0 {
                (self.listener, self.retry) = (None, None);
            }
        }
    }

    struct Connection {
        reactor: ReactorHandle,
        socket: Registration<TcpStream>,
        echo: Echo,
        retry: Option<Timer>,
    }

    impl Connection {
        fn is_over(&mut self, cx: &Context<'_, Self>) -> bool {
            let result = self.echo();
            if let Err(error) = &result
                && matches!(error.raw_os_error(), Some(ENOBUFS))
            {
                self.try_later(cx);
                return false;
            }
            if self.echo.waiting() > 0 {
                // (An error that was made up is followed by no event.)
                self.try_later(cx);
            }
            result.unwrap_or(true)
        }

        fn try_later(&mut self, cx: &Context<'_, Self>) {
            let retry = cx.callback(|connection: &mut Self, cx, ()| {
                if connection.is_over(cx) {
                    let _ = connection.socket.source().shutdown(Shutdown::Both);
                }
            });
            self.retry = Some(self.reactor.after(LATER, retry));
        }

        /// True at the end.
        fn echo(&mut self) -> io::Result<bool> {
            while !self.echo.at_end() && self.echo.read(self.socket.source_mut(), 1000)?.is_some() {
            }
            self.echo.write(self.socket.source_mut())?;
            Ok(self.echo.is_over())
        }
    }

    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };

    /// Tries again until it succeeds.
    #[track_caller]
    fn persist<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
        for _ in 1..ATTEMPTS {
            if let Ok(value) = attempt() {
                return value;
            }
        }
        attempt().expect("an error that passes")
    }

    fn exchange(address: SocketAddr, number: usize) -> io::Result<()> {
        let mut client = Client::connect(address)?;
        let text: Vec<u8> = (0..BYTES).map(|byte| (byte * (number + 3)) as u8).collect();
        client.write_all(&text)?;
        client.shutdown(Shutdown::Write)?;
        let mut back = Vec::new();
        client.read_to_end(&mut back)?;
        let complete = back.len() == BYTES;
        assert!(back[..] == text[..back.len()], "other bytes came back");
        if complete { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// A reactor whose queue has a call pending already, which is not lost if the system gives no
    /// poll.
    fn reactor(kept: &Rc<Cell<bool>>) -> Reactor {
        let mut queue = CallQueue::new();
        let keeps = Rc::clone(kept);
        queue.call(move |_| keeps.set(true));
        for _ in 0..ATTEMPTS {
            match Reactor::with_queue(queue) {
                Ok(reactor) => return reactor,
                Err(error) => queue = error.queue,
            }
        }
        panic!("no poll");
    }

    fn listen(reactor: &Reactor) -> (Recipient<Server>, SocketAddr) {
        let handle = reactor.handle();
        let mut listener = persist(|| TcpListener::bind(([127, 0, 0, 1], 0).into()));
        let address = persist(|| listener.local_addr());
        let server = reactor.queue().recipient_with(|server| {
            let mut attempts = 0;
            let listener = loop {
                let reads = Interest::READABLE;
                let accepts =
                    handle.register(listener, reads, server, |server: &mut Server, cx, _| {
                        server.accept(cx);
                    });
                match accepts {
                    Ok(listener) => break Some(listener),
                    Err(error) => listener = error.into_inner(),
                }
                attempts += 1;
                assert!(attempts < ATTEMPTS, "not registered");
            };
            let (connections, reactor) = (HashMap::new(), handle.clone());
            Server { reactor, listener, connections, accepted: 0, retry: None, left: CLIENTS }
        });
        (server, address)
    }

    pub(crate) fn main() {
        let kept = Rc::new(Cell::new(false));
        let mut reactor = reactor(&kept);
        let (server, address) = listen(&reactor);
        let remote = reactor.remote_to(&server);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let remote = remote.clone();
                thread::spawn(move || {
                    for round in 0..ROUNDS {
                        persist(|| exchange(address, client * ROUNDS + round));
                    }
                    persist(|| remote.call(|server, _| server.client_is_done()));
                })
            })
            .collect();
        drop(remote);
        reactor.run().expect("no error of the poll");
        for client in clients {
            client.join().expect("no panic");
        }
        let tally = reactor.queue().tally();
        assert!(kept.get() && tally.balances(), "{tally}");
        let left =
            (tally.unscheduled, tally.pending, reactor.registration_count(), reactor.timer_count());
        assert_eq!(left, (0, 0, 0, 0), "unscheduled, pending, registered, timers");
        let _ = writeln!(io::stdout(), "injected: ok");
    }
}
