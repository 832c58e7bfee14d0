//! Low layer, real cancel: a read from a non-blocking source, completed by mio readiness.
//!
//! It shows the simplest safe operation. All that happens to it (readiness, cancel, loss) happens
//! on one thread, so each function below sees the operation either running or complete, never in
//! between. What a multi-threaded version needs and this does not: a lock around the state, an
//! extra reference for the completion in flight, a check in the completion whether a cancel got in
//! first. Dropping the registration settles it: no readiness call comes after that.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use std::io;

use mio::Interest;
use mio::event::Source;
use mio::net::TcpStream;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::reactor::{ReactorHandle, Registration};
use crate::recipient::Recipient;
use crate::samples::{Gate, Layer, Module, StartError};

/// The most that one read can take, in bytes.
const LIMIT: usize = 64 * 1024;

/// Reads once from a source, as soon as there is something to read.
///
/// Operations that run when the module is dropped go on.
pub struct LlRealCancel<S = TcpStream> {
    reactor: ReactorHandle,
    reader: Rc<Recipient<Reader>>,
    gate: Gate,
    source: PhantomData<fn(S) -> S>,
}

/// Asks to read from a source.
#[derive(Debug)]
pub struct Read<S = TcpStream> {
    /// The source, which does not block. It is closed if the read is canceled or fails.
    pub source: S,
    /// The most to read, in bytes; 0 counts as 1, and more than 65,536 count as that.
    pub limit: usize,
}

/// What was read.
#[derive(Debug)]
pub struct Received<S = TcpStream> {
    /// The source, to go on with.
    pub source: S,
    /// One byte at least, or none at the end of the stream.
    pub bytes: Vec<u8>,
}

/// The module as a recipient: what completions share, one at a time.
struct Reader {
    buffer: Box<[u8]>,
}

/// The context of one operation.
struct Reading<S: Source> {
    registration: Cell<Option<Registration<S>>>,
    limit: usize,
    /// Keeps the recipient for as long as the operation runs.
    _reader: Rc<Recipient<Reader>>,
}

type ReadOperation<S> = Operation<Reading<S>, Received<S>, io::Error>;

impl<S: Source + io::Read + 'static> LlRealCancel<S> {
    /// Makes the module, not open yet.
    pub fn new(reactor: &ReactorHandle) -> Self {
        let reader = Reader { buffer: vec![0; LIMIT].into_boxed_slice() };
        Self {
            reactor: reactor.clone(),
            reader: Rc::new(reactor.queue().recipient(reader)),
            gate: Gate::default(),
            source: PhantomData,
        }
    }
}

impl<S: Source + io::Read + 'static> Module for LlRealCancel<S> {
    type Request = Read<S>;
    type Answer = Received<S>;
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.gate)
    }

    #[track_caller]
    fn start(
        &self,
        request: Read<S>,
        done: Callback<OpResult<Received<S>, io::Error>>,
    ) -> Result<AsyncOp, StartError<Read<S>>> {
        // 1. Refuse before there is anything to undo.
        let (request, done) = self.gate.admit(request, done)?;
        // 2. Make the operation: whatever happens from here on, `done` is answered.
        let Read { source, limit } = request;
        let registration = Cell::new(None);
        let context = Reading { registration, limit, _reader: Rc::clone(&self.reader) };
        let op: ReadOperation<S> = Operation::new(done, context, cancel);
        // 3. Register the source, even if there is something to read already: the completion
        //    comes from the queue, so it cannot come before this function returns.
        let completion = op.clone();
        let registered =
            self.reactor.register(source, Interest::READABLE, &self.reader, move |reader, _, _| {
                reader.on_ready(&completion);
            });
        match registered {
            Ok(registration) => op.context().registration.set(Some(registration)),
            // 4. Nothing can happen to the operation any more: take the start back.
            Err(error) => {
                op.decline("the source cannot be registered");
                let (source, error) = error.split();
                let request = Read { source, limit };
                return Err(StartError::Failed { source: Box::new(error), request });
            }
        }
        Ok(op.handle())
    }
}

impl Reader {
    /// The completion: the source may have something to read.
    fn on_ready<S: Source + io::Read>(&mut self, op: &ReadOperation<S>) {
        let Reading { registration, limit, .. } = op.context();
        // 1. Take the registration. It is there: whoever takes it for good drops it, and then no
        //    readiness call comes any more.
        let Some(mut registered) = registration.take() else { return };
        // 2. Read. If there is nothing after all, wait on.
        let buffer = &mut self.buffer[..(*limit).clamp(1, LIMIT)];
        let read = loop {
            match registered.source_mut().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Unless the source has canceled the operation.
                    if op.state() == OpState::Running {
                        registration.set(Some(registered));
                    }
                    return;
                }
                read => break read,
            }
        };
        // 3. Deregister, so that the source can go back to its owner.
        let result = read.and_then(|read| {
            let source = registered.into_source().map_err(|error| error.source)?;
            Ok(Received { source, bytes: buffer[..read].to_vec() })
        });
        // 4. Complete. A cancel would have taken the registration; if the source itself has canceled
        //    the operation, this changes nothing.
        let _ = op.complete(result.map_err(classify));
    }
}

/// A broken connection is worth another attempt, with a new one.
fn classify(error: io::Error) -> OpError<io::Error> {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::TimedOut => OpError::Retryable(error),
        _ => OpError::Failed(error),
    }
}

/// The cancel hook.
fn cancel<S: Source>(op: &ReadOperation<S>) {
    // 1. Deregister: no readiness call comes after this, not even one that was pending.
    drop(op.context().registration.take());
    // 2. Complete. The operation was running: a completion would have ended it.
    let _ = op.complete(Err(OpError::Canceled));
}

impl<S> fmt::Debug for LlRealCancel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlRealCancel").field("gate", &self.gate).finish_non_exhaustive()
    }
}
