//! Low layer, real cancel: a read from a non-blocking source, completed by mio readiness.
//!
//! It shows the simplest safe operation. All that happens to it (readiness, cancel, loss) happens
//! on one thread, so each function below sees the operation either running or complete, never in
//! between. What a multi-threaded version needs and this does not: a lock around the state, an
//! extra reference for the completion in flight, a check in the completion whether a cancel got in
//! first. Leaving the place in which the operation waits settles it: nothing completes it after that.
//!
//! The source is registered once, as a [`Socket`], for any number of operations. A write (`ll_write.rs`), an
//! accept and a connect differ from a read in their [`IoAttempt`] only; the rest of what is here is common to them.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use std::io;

use mio::event::Source;
use mio::net::TcpStream;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::samples::error::StartError;
use crate::samples::gate::Gate;
use crate::samples::module::{Layer, Module};

mod socket;

pub(super) use socket::Side;
pub use socket::Socket;
use socket::Waiter;

/// The most that one read can take, in bytes.
const LIMIT: usize = 64 * 1024;

/// Reads once from a source, as soon as there is something to read.
///
/// A canceled read consumes nothing: the next one returns all bytes. Operations that run when the
/// module is dropped continue.
///
/// Cost: beside the `read`, two allocations (its place, the bytes).
pub struct LlRealCancel<S = TcpStream> {
    gate: Gate,
    buffer: Buffer,
    source: PhantomData<fn(S)>,
}

/// Asks to read from a source.
#[derive(Debug)]
pub struct Read<S: Source = TcpStream> {
    /// The source.
    pub from: Socket<S>,
    /// The most to read, in bytes; 0 counts as 1, and more than 65,536 count as that.
    pub limit: usize,
}

/// What attempts read into, one at a time; empty during an attempt.
type Buffer = Rc<Cell<Box<[u8]>>>;

struct ReadAttempt {
    limit: usize,
    buffer: Buffer,
}

impl<S: Source + io::Read + 'static> LlRealCancel<S> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{self, Write};
    /// # use mio::net::TcpStream;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlRealCancel, Module, Read, Socket};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// let socket = Socket::stream(&reactor.handle(), stream)?;
    /// let reads = LlRealCancel::new();
    /// reads.open();
    /// let done = reactor.queue().callback(|_, read: Result<Vec<u8>, _>| {
    ///     assert!(read.is_ok_and(|bytes| bytes == b"hello"));
    /// });
    /// reads.start(Read { from: socket, limit: 1024 }, done)?;
    /// peer.write_all(b"hello")?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> Self {
        Self { gate: Gate::default(), buffer: Buffer::default(), source: PhantomData }
    }
}

impl<S: Source + io::Read + 'static> Module for LlRealCancel<S> {
    type Request = Read<S>;
    /// One byte at least, or none at the end of the stream.
    type Answer = Vec<u8>;
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.gate)
    }

    #[track_caller]
    fn start(
        &self,
        request: Read<S>,
        done: Callback<OpResult<Vec<u8>, io::Error>>,
    ) -> Result<AsyncOp, StartError<Read<S>>> {
        let Read { from, limit } = request;
        let attempt = ReadAttempt { limit, buffer: Rc::clone(&self.buffer) };
        start(&self.gate, (from, attempt), done)
            .map_err(|error| error.map(|(from, _)| Read { from, limit }))
    }
}

/// What an operation does when its source is ready.
pub(super) trait IoAttempt<S: Source>: 'static {
    /// What the operation answers.
    type Answer: 'static;
    /// Which readiness it waits for.
    const SIDE: Side;

    /// Tries, without blocking. `None` if it has more to do, but other calls must run before.
    fn attempt(&mut self, source: &mut S) -> io::Result<Option<Self::Answer>>;
}

/// The context of one operation.
struct Attempting<S: Source + 'static, W> {
    /// Keeps the source open for as long as the operation runs.
    socket: Socket<S>,
    /// Not there during an attempt.
    attempt: Cell<Option<W>>,
}

type IoOperation<S, W> = Operation<Attempting<S, W>, <W as IoAttempt<S>>::Answer, io::Error>;

/// The start function. A request is a socket and an attempt.
#[track_caller]
pub(super) fn start<S: Source + 'static, W: IoAttempt<S>>(
    gate: &Gate,
    (socket, attempt): (Socket<S>, W),
    done: Callback<OpResult<W::Answer, io::Error>>,
) -> Result<AsyncOp, StartError<(Socket<S>, W)>> {
    // 1. Refuse before there is anything to undo.
    let ((socket, attempt), done) = gate.admit((socket, attempt), done)?;
    if let Err(error) = socket.admit(W::SIDE) {
        done.decline(error.reason());
        return Err(StartError::Failed { source: error.into(), request: (socket, attempt) });
    }
    // 2. Make the operation: from here on, `done` is answered in any case.
    let context = Attempting { socket, attempt: Cell::new(Some(attempt)) };
    let op: IoOperation<S, W> = Operation::new(done, context, cancel);
    // 3. If the source is known to be ready, there will be no event: make an attempt now. Its result is
    //    a call, so that it cannot be dialed before this function returns. Otherwise wait.
    let socket = &op.context().socket;
    if socket.is_ready(W::SIDE) {
        op.on_ready();
    } else {
        socket.wait(W::SIDE, &op);
    }
    Ok(op.handle())
}

impl<S: Source + 'static, W: IoAttempt<S>> Waiter for IoOperation<S, W> {
    /// The completion: the source may be ready. The operation has no place meanwhile, so if the source
    /// panics, it is lost, and its result is Dropped.
    fn on_ready(&self) {
        let Attempting { socket, attempt } = self.context();
        // 1. Try.
        let Some(mut trying) = attempt.take() else { return };
        let blocks = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let result = match socket.attempt(W::SIDE, |source| trying.attempt(source)).transpose() {
            Some(result) if !result.as_ref().is_err_and(blocks) => result,
            // 2. If it would block after all, or goes on later, wait, unless the source itself has
            //    canceled the operation.
            unfinished => {
                attempt.set(Some(trying));
                if self.state() == OpState::Running {
                    socket.wait(W::SIDE, self);
                    if unfinished.is_none() {
                        socket.ask_again();
                    }
                }
                return;
            }
        };
        // 3. Complete. A cancel would have left the place; if the source itself has canceled the
        //    operation, this changes nothing.
        let _ = self.complete(result.map_err(classify));
    }
}

/// The cancel hook.
fn cancel<S: Source + 'static, W: IoAttempt<S>>(op: &IoOperation<S, W>) {
    // 1. Leave the place: no attempt is made after this, not even if the source is ready already.
    drop(op.context().socket.leave(W::SIDE));
    // 2. Complete. The operation was running: a completion would have ended it.
    let _ = op.complete(Err(OpError::Canceled));
}

/// A connection that is refused or broken is worth another attempt, with a new one, and so is what the
/// system has no room for now.
pub(super) fn classify(error: io::Error) -> OpError<io::Error> {
    /// `ENFILE`, `EMFILE` and `ENOBUFS`, which have no kind.
    const LACKS: &[i32] = if cfg!(windows) {
        &[10_024, 10_055]
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        &[23, 24, 105]
    } else if cfg!(unix) {
        &[23, 24, 55]
    } else {
        &[]
    };

    match error.kind() {
        io::ErrorKind::AddrInUse
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::OutOfMemory
        | io::ErrorKind::TimedOut => OpError::Retryable(error),
        _ if error.raw_os_error().is_some_and(|number| LACKS.contains(&number)) => {
            OpError::Retryable(error)
        }
        _ => OpError::Failed(error),
    }
}

impl<S: Source + io::Read + 'static> IoAttempt<S> for ReadAttempt {
    type Answer = Vec<u8>;
    const SIDE: Side = Side::Read;

    fn attempt(&mut self, source: &mut S) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = self.buffer.take();
        if buffer.is_empty() {
            buffer = vec![0; LIMIT].into_boxed_slice();
        }
        let read = source.read(&mut buffer[..self.limit.clamp(1, LIMIT)]);
        let bytes = read.map(|read| Some(buffer[..read].to_vec()));
        self.buffer.set(buffer);
        bytes
    }
}

impl<S: Source + io::Read + 'static> Default for LlRealCancel<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for LlRealCancel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlRealCancel").field("gate", &self.gate).finish_non_exhaustive()
    }
}
