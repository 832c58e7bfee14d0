//! The sources of streams and acceptors.

use std::io::{self, Read, Write};
use std::net::{self, Shutdown};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use mio::net::{UnixListener, UnixStream};

/// A source that a [`Stream`](crate::streams::Stream) can stand on: a socket, or what encrypts one.
pub trait StreamSource: Source + Read + Write {
    /// Writes no more: the peer finds the end of the stream once it has read the rest.
    ///
    /// # Errors
    ///
    /// With [`WouldBlock`](io::ErrorKind::WouldBlock) it is called again once the source is writable,
    /// with [`Interrupted`](io::ErrorKind::Interrupted) at once. Any other error breaks the stream.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Returns true if it holds bytes that its `flush` must write, as a source that encrypts does. (A
    /// flush that would block is made again once the source is writable.)
    fn holds_output(&self) -> bool {
        false
    }

    /// Returns true if a read that does not fill its buffer has emptied the source, so that another one
    /// would block. It saves a system call for each message. The default is false.
    fn is_empty_after_short_read(&self) -> bool {
        false
    }

    /// Whether the poll forgets it when it is dropped, as epoll and kqueue do when the last descriptor of a
    /// socket is closed. It saves a system call for each connection; it is not so if not known.
    ///
    /// If the descriptor was duplicated, or a process was forked that keeps it, the poll still reports
    /// such a socket once its stream is dropped. Those events reach no handler (rule M2), and are
    /// counted as [`stale`](crate::reactor::EventStats::stale).
    /// [`Registration::into_source`](crate::reactor::Registration::into_source) ends that.
    fn is_deregistered_by_drop(&self) -> bool {
        false
    }
}

/// Whether the poll is epoll or kqueue, which report each arrival, and forget a socket that is closed.
const IS_EDGE_TRIGGERED: bool =
    cfg!(any(target_os = "linux", target_os = "android", target_vendor = "apple"))
        && !cfg!(mio_unsupported_force_poll_poll);

impl StreamSource for TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    /// (On mio's `poll`, only an attempt that would block has the next event reported.)
    fn is_empty_after_short_read(&self) -> bool {
        IS_EDGE_TRIGGERED
    }

    fn is_deregistered_by_drop(&self) -> bool {
        IS_EDGE_TRIGGERED
    }
}

/// A read stops where a message with a descriptor ended, so a short one proves nothing.
#[cfg(unix)]
impl StreamSource for UnixStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn is_deregistered_by_drop(&self) -> bool {
        IS_EDGE_TRIGGERED
    }
}

#[cfg(feature = "testing")]
impl StreamSource for crate::testing::ScriptedSource {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write);
        Ok(())
    }
}

/// A source that an [`Acceptor`](crate::streams::Acceptor) can stand on.
pub trait ListenSource: Source {
    /// A connection.
    type Socket;

    /// Who has connected.
    type Peer;

    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn accept(&mut self) -> io::Result<(Self::Socket, Self::Peer)>;
}

impl ListenSource for TcpListener {
    type Socket = TcpStream;
    type Peer = net::SocketAddr;

    fn accept(&mut self) -> io::Result<(TcpStream, net::SocketAddr)> {
        Self::accept(self)
    }
}

#[cfg(unix)]
impl ListenSource for UnixListener {
    type Socket = UnixStream;
    type Peer = std::os::unix::net::SocketAddr;

    fn accept(&mut self) -> io::Result<(UnixStream, std::os::unix::net::SocketAddr)> {
        Self::accept(self)
    }
}
