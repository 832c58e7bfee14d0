//! Beside the sample `ll_real_cancel`: the connect, by another attempt.

use alloc::boxed::Box;
use std::io;
use std::net::SocketAddr;

use mio::Interest;
use mio::net::TcpStream;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult, Operation};
use crate::reactor::{ReactorHandle, RegisterError};
use crate::samples::error::StartError;
use crate::samples::gate::Gate;
use crate::samples::ll_real_cancel::{IoAttempt, Side, Socket, classify, start};
use crate::samples::module::{Layer, Module};
use crate::streams::READS;

/// Connects to an address.
///
/// A connect that fails at once is a result, too (rule O6). A cancel closes the connection. Operations
/// that run when the module is dropped continue.
///
/// The answer is a [`Socket`], which is registered: keeping it keeps [`Reactor::run`](crate::reactor::Reactor::run)
/// running, even if no operation waits on it.
#[derive(Debug)]
pub struct LlConnect {
    reactor: ReactorHandle,
    gate: Gate,
}

struct ConnectAttempt;

impl LlConnect {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlConnect, Module, Socket};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let connects = LlConnect::new(&reactor.handle());
    /// connects.open();
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let done = reactor.queue().callback(|_, connected: Result<Socket, _>| assert!(connected.is_ok()));
    /// connects.start(listener.local_addr()?, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(reactor: &ReactorHandle) -> Self {
        Self { reactor: reactor.clone(), gate: Gate::default() }
    }

    /// Begins to connect.
    fn connect(&self, address: SocketAddr) -> io::Result<Socket> {
        // (As a stream watches it: it may become one.)
        let both = READS.add(Interest::WRITABLE);
        Ok(Socket::new(&self.reactor, TcpStream::connect(address)?, both)?)
    }
}

impl Module for LlConnect {
    type Request = SocketAddr;
    /// The connection, registered.
    type Answer = Socket;
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.gate)
    }

    #[track_caller]
    fn start(
        &self,
        address: SocketAddr,
        done: Callback<OpResult<Socket, io::Error>>,
    ) -> Result<AsyncOp, StartError<SocketAddr>> {
        // 1. Refuse before there is anything to undo.
        let (address, done) = self.gate.admit(address, done)?;
        if self.reactor.queue().is_closed() {
            done.decline("the reactor is gone");
            let source = Box::new(RegisterError::ReactorDropped(()));
            return Err(StartError::Failed { source, request: address });
        }
        // 2. Begin. What fails at once is a result.
        let socket = match self.connect(address) {
            Ok(socket) => socket,
            Err(error) => {
                let op = Operation::new(done, address, |_| ());
                let _ = op.complete(Err(classify(error)));
                return Ok(op.handle());
            }
        };
        // 3. It is connected once it is writable. Then it is the answer.
        let connected = socket.clone();
        let done = done.map(|result: OpResult<(), io::Error>| result.map(|()| connected));
        start(&self.gate, (socket, ConnectAttempt), done).map_err(|error| error.map(|_| address))
    }
}

impl IoAttempt<TcpStream> for ConnectAttempt {
    type Answer = ();
    const SIDE: Side = Side::Write;

    fn attempt(&mut self, source: &mut TcpStream) -> io::Result<Option<()>> {
        // (What has a peer is connected: that is asked first, as one system call is enough then.)
        match source.peer_addr() {
            Ok(_) => return Ok(Some(())),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => return Err(source.take_error()?.unwrap_or(error)),
        }
        Err(source.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
    }
}
