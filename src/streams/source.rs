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
    /// With [`WouldBlock`](io::ErrorKind::WouldBlock) it is called again once the source is writable.
    /// Any other error breaks the stream.
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
}

impl StreamSource for TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    /// (On mio's `poll`, only an attempt that would block has the next event reported.)
    fn is_empty_after_short_read(&self) -> bool {
        cfg!(any(target_os = "linux", target_os = "android", target_vendor = "apple"))
            && !cfg!(mio_unsupported_force_poll_poll)
    }
}

/// A read stops where a message with a descriptor ended, so a short one proves nothing.
#[cfg(unix)]
impl StreamSource for UnixStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
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
