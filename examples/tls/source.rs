//! A socket that rustls encrypts, as the source of a stream.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use switchboard::mio::{Interest, Registry, Token, event::Source, net::TcpStream};
use switchboard::streams::StreamSource;

#[derive(Debug)]
pub(crate) struct TlsSource {
    socket: TcpStream,
    session: ServerConnection,
}

impl TlsSource {
    pub(crate) fn new(
        socket: TcpStream,
        config: &Arc<ServerConfig>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self { socket, session: ServerConnection::new(Arc::clone(config))? })
    }
}

impl Read for TlsSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.session.read_tls(&mut self.socket)?;
            if let Err(error) = self.session.process_new_packets() {
                let _ = self.flush(); // an alert notifies the peer
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }
}

impl Write for TlsSource {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.flush()?; // what the session holds goes first
        match self.session.writer().write(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()), // full, and the handshake is not over
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl StreamSource for TlsSource {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.session.send_close_notify(); // once, even if it is called again
        self.flush()?;
        self.socket.shutdown_write()
    }

    fn holds_output(&self) -> bool {
        self.session.wants_write()
    }
}

impl Source for TlsSource {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.socket.reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        self.socket.deregister(poll)
    }
}
