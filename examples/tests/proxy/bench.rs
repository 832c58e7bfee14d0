//! The fixture: a proxy that the test turns, clients and origins that block on threads of their own.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use argh::FromArgs;
use switchboard::reactor::Reactor;
use switchboard::samples::{Module, ThreadPool};

use crate::proxy::proxy::{Proxy, listen};
use crate::proxy::settings::Settings;
use support::net::{PATIENCE, check, turn_until_idle};

pub(crate) struct Bench {
    pub(crate) reactor: Reactor,
    pub(crate) proxy: Rc<Proxy>,
    pub(crate) address: SocketAddr,
    /// How much time has passed beside the real one.
    clock: Rc<Cell<Duration>>,
    /// How many clients have connected.
    connected: AtomicUsize,
}

pub(crate) fn settings(line: &str) -> Settings {
    let flags: Vec<_> = line.split_whitespace().collect();
    Settings::from_args(&["proxy"], &flags).unwrap_or_else(|exit| panic!("{exit:?}"))
}

impl Bench {
    /// A proxy that allows loopback, with these flags.
    pub(crate) fn new(line: &str) -> Self {
        Self::bare(&format!("--allow loopback {line}"))
    }

    pub(crate) fn bare(line: &str) -> Self {
        let settings = settings(&format!("--listen 127.0.0.1:0 {line}"));
        let reactor = Reactor::new().unwrap();
        let clock = Rc::new(Cell::new(Duration::ZERO));
        let passed = Rc::clone(&clock);
        reactor.set_clock(move || Instant::now() + passed.get());
        let listener = listen(settings.listen, false).unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Proxy::start(&reactor, listener, &settings, &ThreadPool::new(2)).unwrap();
        Self { reactor, proxy, address, clock, connected: AtomicUsize::new(0) }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.set(self.clock.get() + time);
        let _ = self.reactor.turn(Some(Duration::ZERO)).unwrap();
        turn_until_idle(&mut self.reactor);
    }

    /// Runs a client, until it is done.
    pub(crate) fn run<R: Send>(
        &mut self,
        client: impl FnOnce(&dyn Fn() -> TcpStream) -> R + Send,
    ) -> R {
        let (address, is_done, connected) = (self.address, AtomicBool::new(false), &self.connected);
        let remote = self.reactor.remote();
        remote.unref();
        thread::scope(|scope| {
            let client = scope.spawn(|| {
                struct Done<'a>(&'a AtomicBool, switchboard::reactor::Remote);
                impl Drop for Done<'_> {
                    fn drop(&mut self) {
                        self.0.store(true, Ordering::Release);
                        let _ = self.1.call(|_| ());
                    }
                }
                let _done = Done(&is_done, remote);
                client(&|| connect(address, connected))
            });
            turn_until(&mut self.reactor, || is_done.load(Ordering::Acquire));
            client.join().unwrap()
        })
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address, &self.connected)
    }

    /// Turns until no session is left, and checks that nothing else is, either.
    #[track_caller]
    pub(crate) fn check_over(&mut self) {
        let proxy = Rc::clone(&self.proxy);
        let connected = self.connected.load(Ordering::Acquire) as u64;
        turn_until(&mut self.reactor, || proxy.figures.borrow().accepted == connected);
        turn_until(&mut self.reactor, || proxy.sessions.is_empty());
        self.proxy.pool.clear();
        turn_until(&mut self.reactor, || proxy.connects.leftovers() == 0);
        turn_until_idle(&mut self.reactor);
        let (tally, stats) = (self.reactor.queue().tally(), self.reactor.event_stats());
        let figures = self.proxy.figures();
        assert!(self.proxy.sessions.is_empty(), "{figures}");
        assert_eq!((self.proxy.pool.open(), self.proxy.pool.idle()), (0, 0), "{figures}");
        assert_eq!(self.proxy.connects.running(), 0, "{figures}");
        assert_eq!(self.reactor.registration_count(), 1, "the listener's: {figures}");
        assert_eq!(self.reactor.timer_count(), 1, "the pool's: {figures}");
        // (What a canceled connect answers to a session that is gone is refused.)
        assert_eq!((tally.abandoned, tally.panicked), (0, 0), "{figures}");
        assert_eq!(stats.undrained, 0, "{figures}");
        check(&self.reactor);
    }
}

/// Turns until `over`. (Timers of the proxy end polls in which nothing happens.)
#[track_caller]
pub(crate) fn turn_until(reactor: &mut Reactor, mut over: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !over() {
        let _ = reactor.turn(Some(PATIENCE)).unwrap();
        assert!(Instant::now() < end, "not over after {PATIENCE:?}");
    }
}

fn connect(address: SocketAddr, connected: &AtomicUsize) -> TcpStream {
    connected.fetch_add(1, Ordering::AcqRel);
    let socket = TcpStream::connect(address).unwrap();
    patient(&socket);
    socket
}

pub(crate) fn patient(socket: &TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
}

/// Closes by a reset.
pub(crate) fn reset(socket: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    drop(socket);
}

/// An origin: `serve` is run for each connection, with its number, on a thread of its own.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    pub(crate) fn new(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over, serve) = (Arc::clone(&accepted), Arc::clone(&is_over), Arc::new(serve));
        let thread = thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(socket) = socket else { continue };
                if over.load(Ordering::Acquire) {
                    return;
                }
                patient(&socket);
                let (number, serve) = (count.fetch_add(1, Ordering::AcqRel), Arc::clone(&serve));
                thread::spawn(move || serve(number, socket));
            }
        });
        Self { address, accepted, is_over, thread: Some(thread) }
    }

    /// Answers requests with what `answer` makes of their head and body, for as long as there are any.
    pub(crate) fn answering(
        answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |_, mut socket| {
            while let Some((head, body)) = read_message(&mut socket) {
                if socket.write_all(&answer(&head, &body)).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Acquire)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Reads up to an end of `bytes`; `None` if the peer has closed before.
pub(crate) fn read_until(socket: &mut TcpStream, end: &[u8]) -> Option<Vec<u8>> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end) {
        match socket.read(&mut byte) {
            Ok(1) => read.push(byte[0]),
            _ => return None,
        }
    }
    Some(read)
}

/// Reads a message: its head, and its body by length or chunks (whose data is returned).
pub(crate) fn read_message(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let head = String::from_utf8(read_until(socket, b"\r\n\r\n")?).unwrap();
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if let Some((_, rest)) = lower.split_once("content-length: ") {
        body.resize(rest.split("\r\n").next().unwrap().parse().unwrap(), 0);
        socket.read_exact(&mut body).ok()?;
    } else if lower.contains("transfer-encoding: chunked") {
        loop {
            let line = String::from_utf8(read_until(socket, b"\r\n")?).unwrap();
            let size =
                usize::from_str_radix(line.trim_end().split(';').next().unwrap(), 16).unwrap();
            if size == 0 {
                while read_until(socket, b"\r\n")? != b"\r\n" {}
                break;
            }
            let at = body.len();
            body.resize(at + size + 2, 0);
            socket.read_exact(&mut body[at..]).ok()?;
            body.truncate(at + size);
        }
    }
    Some((head, body))
}

pub(crate) fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    all
}

/// A whole exchange on a connection of its own: everything that comes back.
pub(crate) fn ask(socket: &mut TcpStream, request: &str) -> String {
    socket.write_all(request.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    String::from_utf8(read_all(socket)).unwrap()
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
