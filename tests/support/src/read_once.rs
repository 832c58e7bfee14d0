//! A layer of one's own: a read from a source that is not registered yet, and is closed after it.

use std::io;

use mio::event::Source;
use switchboard::Callback;
use switchboard::op::{AsyncOp, OpResult};
use switchboard::reactor::ReactorHandle;
use switchboard::samples::{Gate, Layer, LlRealCancel, Module, Read, Socket, StartError};

/// The module.
pub struct ReadOnce<S> {
    reactor: ReactorHandle,
    gate: Gate,
    reads: LlRealCancel<S>,
}

/// A source, and the most to read.
#[derive(Debug)]
pub struct Once<S>(pub S, pub usize);

impl<S: Source + io::Read + 'static> ReadOnce<S> {
    pub fn new(reactor: &ReactorHandle) -> Self {
        let (gate, reads) = (Gate::default(), LlRealCancel::new());
        Self { reactor: reactor.clone(), gate, reads }
    }
}

impl<S: Source + io::Read + 'static> Module for ReadOnce<S> {
    type Request = Once<S>;
    type Answer = Vec<u8>;
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated_on(&self.gate, &self.reads)
    }

    fn start(
        &self,
        request: Once<S>,
        done: Callback<OpResult<Vec<u8>, io::Error>>,
    ) -> Result<AsyncOp, StartError<Once<S>>> {
        let (Once(source, limit), done) = self.gate.admit(request, done)?;
        match Socket::stream(&self.reactor, source) {
            Ok(from) => {
                let started = self.reads.start(Read { from, limit }, done);
                started.map_err(|error| unreachable!("it is open and alone: {error:?}"))
            }
            Err(error) => {
                done.decline("the source cannot be registered");
                let (source, error) = error.split();
                Err(StartError::Failed { source: error.into(), request: Once(source, limit) })
            }
        }
    }
}
