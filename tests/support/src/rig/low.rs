//! The two lowest layers, and their requests.

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use switchboard::op::OpError;
use switchboard::reactor::ReactorHandle;
use switchboard::samples::{LlFakeCancel, Module, ThreadPool, Work};

use super::script::{End, Trigger};
use crate::read_once::{Once, ReadOnce};

/// Counts requests that are not dropped yet.
pub type Held = Arc<()>;

/// How to make a lowest operation ready.
pub struct Cue {
    pub trigger: Trigger,
    pub spurious: SpuriousReadiness,
    pub spoil: Spoil,
}

/// Causes spurious readiness of a lowest operation: it is notified, attempts to read, and would block.
/// Does nothing to one that is ready or over, and nothing at all where it is not possible.
pub type SpuriousReadiness = Box<dyn Fn()>;

/// Lets a lowest operation fail for good, if it is not ready yet. Then it is ready, or will be.
pub type Spoil = Box<dyn Fn()>;

/// A lowest layer.
pub trait Low: 'static {
    type Module: Module + 'static;
    fn module(reactor: &ReactorHandle) -> Self::Module;
    fn request(end: End, held: Held) -> (<Self::Module as Module>::Request, Cue);
    fn value(answer: <Self::Module as Module>::Answer) -> u8;
}

/// Reads from sockets.
pub struct Real<S>(S);

/// A kind of socket.
pub trait Socket: Source + io::Read + Sized + 'static {
    type Peer: io::Write + 'static;
    fn pair() -> io::Result<(Self, Self::Peer)>;
}

impl Socket for UnixStream {
    type Peer = Self;

    fn pair() -> io::Result<(Self, Self)> {
        Self::pair()
    }
}

impl Socket for TcpStream {
    type Peer = std::net::TcpStream;

    fn pair() -> io::Result<(Self, Self::Peer)> {
        static LISTENER: OnceLock<Mutex<TcpListener>> = OnceLock::new();
        let listener = LISTENER
            .get_or_init(|| Mutex::new(TcpListener::bind("127.0.0.1:0").expect("a loopback port")));
        let listener = listener.lock().expect("no test panics here");
        let ours = Self::Peer::connect(listener.local_addr()?)?;
        let (theirs, _) = listener.accept()?;
        ours.set_nonblocking(true)?;
        Ok((Self::from_std(ours), theirs))
    }
}

/// A socket whose peer makes it fail, or causes spurious readiness, by sending certain bytes.
#[derive(Debug)]
pub struct Wire<S> {
    socket: S,
    _held: Held,
}

const NOTHING: u8 = 0xFD;
const RETRYABLE: u8 = 0xFE;
const FAILED: u8 = 0xFF;

impl<S: io::Read> io::Read for Wire<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.socket.read(buffer)?;
            match buffer[..read].first() {
                Some(&NOTHING) => {}
                Some(&RETRYABLE) => return Err(io::ErrorKind::ConnectionReset.into()),
                Some(&FAILED) => return Err(io::ErrorKind::InvalidData.into()),
                _ => return Ok(read),
            }
        }
    }
}

impl<S: Source> Source for Wire<S> {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

impl<S: Socket> Low for Real<S> {
    type Module = ReadOnce<Wire<S>>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        ReadOnce::new(reactor)
    }

    fn request(end: End, held: Held) -> (Once<Wire<S>>, Cue) {
        let (socket, peer) = S::pair().expect("a pair of sockets");
        let byte = match end {
            End::Answer(value) => value,
            End::Retryable => RETRYABLE,
            End::Failed => FAILED,
        };
        // Writes go nowhere if the read was canceled.
        let write = |mut peer: S::Peer, byte| {
            drop(io::Write::write_all(&mut peer, &[byte]));
            peer
        };
        let peer = Rc::new(Cell::new(Some(peer)));
        let (woken, spoiled) = (Rc::clone(&peer), Rc::clone(&peer));
        let trigger = move || drop(peer.take().map(|peer| write(peer, byte)));
        let spurious = move || woken.set(woken.take().map(|peer| write(peer, NOTHING)));
        let spoil = move || spoiled.set(spoiled.take().map(|peer| write(peer, FAILED)));
        let cue = Cue {
            trigger: Box::new(trigger),
            spurious: Box::new(spurious),
            spoil: Box::new(spoil),
        };
        (Once(Wire { socket, _held: held }, 1), cue)
    }

    fn value(answer: Vec<u8>) -> u8 {
        answer[0]
    }
}

/// Works on threads.
pub struct Fake;

thread_local! {
    /// As many as there are operations at a time: each blocks until the script triggers it.
    static POOL: ThreadPool = ThreadPool::new(4096);
}

/// Waits until threads have taken all work, so that none can be canceled before that.
pub(super) fn settle() {
    POOL.with(|pool| {
        while pool.queued() > 0 {
            thread::yield_now();
        }
    });
}

impl Low for Fake {
    type Module = LlFakeCancel<u8, io::Error>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        POOL.with(|pool| LlFakeCancel::new(reactor, pool))
    }

    fn request(end: End, held: Held) -> (Work<u8, io::Error>, Cue) {
        let (trigger, triggered) = channel();
        let triggers = Rc::new(Cell::new(end));
        let spoiled = Rc::clone(&triggers);
        let work = move || {
            let _held = held;
            // A real blocking call. A trigger that is dropped counts too.
            let end = triggered.recv().unwrap_or(end);
            match end {
                End::Answer(value) => Ok(value),
                End::Retryable => Err(OpError::Retryable(io::ErrorKind::TimedOut.into())),
                End::Failed => Err(OpError::Failed(io::ErrorKind::InvalidData.into())),
            }
        };
        // No one receives it if the thread is gone.
        let trigger = move || {
            let _ = trigger.send(triggers.get());
        };
        let spoil = move || spoiled.set(End::Failed);
        let cue =
            Cue { trigger: Box::new(trigger), spurious: Box::new(|| ()), spoil: Box::new(spoil) };
        (Box::new(work), cue)
    }

    fn value(answer: u8) -> u8 {
        answer
    }
}
