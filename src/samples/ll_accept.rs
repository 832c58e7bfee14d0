//! Beside the sample `ll_real_cancel`: the accept, by another attempt.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::samples::error::StartError;
use crate::samples::gate::Gate;
use crate::samples::ll_real_cancel::{IoAttempt, Side, Socket, start};
use crate::samples::module::{Layer, Module};

/// Accepts one connection from a listener, as soon as there is one.
///
/// Its request is a [`Socket`] of the listener. A lack of descriptors is
/// [`Retryable`](crate::op::OpError::Retryable), with a delay. Operations that run when the module is
/// dropped continue.
///
/// # Examples
///
/// ```
/// use mio::Interest;
/// use mio::net::TcpListener;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlAccept, LlConnect, Module, Socket};
///
/// let mut reactor = Reactor::new()?;
/// let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
/// let address = listener.local_addr()?;
/// let listener = Socket::new(&reactor.handle(), listener, Interest::READABLE)?;
///
/// let (accepts, connects) = (LlAccept::new(), LlConnect::new(&reactor.handle()));
/// accepts.open();
/// connects.open();
/// let accepted = reactor.queue().callback(|_, accepted| assert!(Result::is_ok(&accepted)));
/// accepts.start(listener, accepted)?;
/// let connected = reactor.queue().callback(move |_, connected| {
///     let socket: Socket = Result::unwrap(connected);
///     assert_eq!(socket.with(|stream| stream.peer_addr().unwrap()), Some(address));
/// });
/// connects.start(address, connected)?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct LlAccept {
    gate: Gate,
}

struct AcceptAttempt;

impl LlAccept {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::TcpListener};
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlAccept, Module, Socket};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    /// let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let listener = Socket::new(&reactor.handle(), listener, Interest::READABLE)?;
    /// let accepts = LlAccept::new();
    /// accepts.open();
    /// let done = reactor.queue().callback(|_, accepted| assert!(Result::is_ok(&accepted)));
    /// accepts.start(listener, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }
}

impl Module for LlAccept {
    type Request = Socket<TcpListener>;
    /// The connection, not registered, and its peer.
    type Answer = (TcpStream, SocketAddr);
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.gate)
    }

    #[track_caller]
    fn start(
        &self,
        listener: Socket<TcpListener>,
        done: Callback<OpResult<(TcpStream, SocketAddr), io::Error>>,
    ) -> Result<AsyncOp, StartError<Socket<TcpListener>>> {
        start(&self.gate, (listener, AcceptAttempt), done)
            .map_err(|error| error.map(|(listener, _)| listener))
    }
}

impl IoAttempt<TcpListener> for AcceptAttempt {
    type Answer = (TcpStream, SocketAddr);
    const SIDE: Side = Side::Read;

    fn attempt(&mut self, source: &mut TcpListener) -> io::Result<Option<Self::Answer>> {
        source.accept().map(Some)
    }
}
