//! The read.

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
use crate::op::{AsyncOp, OpResult};
use crate::samples::ll_real_cancel::{Attempt, Side, Socket, start};
use crate::samples::{Gate, Layer, Module, StartError};

/// The most that one read can take, in bytes.
const LIMIT: usize = 64 * 1024;

/// Reads once from a source, as soon as there is something to read.
///
/// A read that is canceled takes nothing: the next one finds it all. Operations that run when the module is
/// dropped go on.
///
/// Cost: beside the `read`, three allocations (the operation, its place, the bytes).
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

impl<S: Source + io::Read + 'static> Attempt<S> for ReadAttempt {
    type Answer = Vec<u8>;
    const SIDE: Side = Side::Read;

    fn attempt(&mut self, source: &mut S) -> io::Result<Vec<u8>> {
        let mut buffer = self.buffer.take();
        if buffer.is_empty() {
            buffer = vec![0; LIMIT].into_boxed_slice();
        }
        let read = source.read(&mut buffer[..self.limit.clamp(1, LIMIT)]);
        let bytes = read.map(|read| buffer[..read].to_vec());
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
