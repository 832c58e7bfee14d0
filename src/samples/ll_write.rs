//! Beside the sample `ll_real_cancel`: the write, by another attempt.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use std::io;

use mio::event::Source;
use mio::net::TcpStream;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::samples::error::StartError;
use crate::samples::gate::Gate;
use crate::samples::ll_real_cancel::{IoAttempt, Side, Socket, start};
use crate::samples::module::{Layer, Module};

/// How often an operation writes before others have their turn.
const ROUNDS: usize = 8;

/// Writes a whole buffer to a source, in several parts if necessary. Between the parts, other calls
/// run.
///
/// If it is canceled or fails, some of the bytes may have been written. Operations that run when the
/// module is dropped continue.
///
/// Cost: beside the `write`s, one allocation.
pub struct LlWrite<S = TcpStream> {
    gate: Gate,
    source: PhantomData<fn(S)>,
}

/// Asks to write to a source.
#[derive(Debug)]
pub struct Write<S: Source = TcpStream> {
    /// The source.
    pub to: Socket<S>,
    /// What to write.
    pub bytes: Vec<u8>,
}

struct WriteAttempt {
    bytes: Vec<u8>,
    /// How many of them have been written.
    written: usize,
}

impl<S: Source + io::Write + 'static> LlWrite<S> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::net::TcpStream;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlWrite, Module, Socket, Write};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let socket = Socket::stream(&reactor.handle(), stream)?;
    /// let writes = LlWrite::new();
    /// writes.open();
    /// let done = reactor.queue().callback(|_, written| assert!(Result::is_ok(&written)));
    /// // All of it, in as many parts as it takes.
    /// writes.start(Write { to: socket, bytes: b"hello".to_vec() }, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> Self {
        Self { gate: Gate::default(), source: PhantomData }
    }
}

impl<S: Source + io::Write + 'static> Module for LlWrite<S> {
    type Request = Write<S>;
    /// The buffer, to be used again.
    type Answer = Vec<u8>;
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.gate)
    }

    #[track_caller]
    fn start(
        &self,
        request: Write<S>,
        done: Callback<OpResult<Vec<u8>, io::Error>>,
    ) -> Result<AsyncOp, StartError<Write<S>>> {
        let Write { to, bytes } = request;
        start(&self.gate, (to, WriteAttempt { bytes, written: 0 }), done)
            .map_err(|error| error.map(|(to, attempt)| Write { to, bytes: attempt.bytes }))
    }
}

impl<S: Source + io::Write + 'static> IoAttempt<S> for WriteAttempt {
    type Answer = Vec<u8>;
    const SIDE: Side = Side::Write;

    fn attempt(&mut self, source: &mut S) -> io::Result<Option<Vec<u8>>> {
        for _ in 0..ROUNDS {
            if self.written == self.bytes.len() {
                break;
            }
            match source.write(&self.bytes[self.written..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        Ok((self.written == self.bytes.len()).then(|| mem::take(&mut self.bytes)))
    }
}

impl<S: Source + io::Write + 'static> Default for LlWrite<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for LlWrite<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlWrite").field("gate", &self.gate).finish_non_exhaustive()
    }
}
