//! TLS fits under a stream: a source that encrypts, over a socket. Hazard: bytes that the session holds
//! while the socket has no room, or that come with the handshake.

use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::sync::Arc;
use std::thread;

use mio::net::TcpStream;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use switchboard::reactor::Reactor;
use switchboard::streams::{Acceptor, Stream, StreamSource};
use switchboard::{Context, Recipients};

use support::net::{PATIENCE, turn_until};

/// A socket, and the session that encrypts what it sends.
#[derive(Debug)]
struct TlsSource {
    socket: TcpStream,
    session: ServerConnection,
    is_closing: bool,
}

impl TlsSource {
    fn new(socket: TcpStream, config: &Arc<ServerConfig>) -> Self {
        let session = ServerConnection::new(Arc::clone(config)).unwrap();
        Self { socket, session, is_closing: false }
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
            self.session
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

impl Write for TlsSource {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.session.writer().write(buffer)? {
            0 => {
                self.flush()?; // the session is full
                Err(ErrorKind::Interrupted.into())
            }
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
        if !self.is_closing {
            self.is_closing = true;
            self.session.send_close_notify();
        }
        self.flush()?;
        self.socket.shutdown_write()
    }

    fn holds_output(&self) -> bool {
        self.session.wants_write()
    }
}

support::source_by!(TlsSource, socket);

struct Session {
    stream: Stream<TlsSource>,
}

impl Session {
    fn on_ready(&mut self, cx: &Context<'_, Self>) {
        let status = self.stream.drive(|input, output| {
            output.append(input);
            if input.is_over() {
                output.finish();
            }
        });
        if status.is_over() {
            assert!(self.stream.error().is_none(), "{:?}", self.stream);
            assert_eq!(self.stream.received(), self.stream.sent());
            cx.hang_up();
        }
    }
}

/// A certificate for localhost that signs itself, and its key, for tests only.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let certificate = CertificateDer::from(&include_bytes!("tls/certificate.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("tls/key.der")[..]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from(key))
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Echoes `text`, which it reads as it writes, a chunk behind the other; at last it closes its side.
fn client(address: net::SocketAddr, config: Arc<ClientConfig>, text: &[u8]) -> Vec<u8> {
    let mut socket = net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(config, name).unwrap();
    let mut tls = rustls::Stream::new(&mut session, &mut socket);
    let mut back = Vec::new();
    for chunk in text.chunks(100_000) {
        tls.write_all(chunk).unwrap();
        let mut echo = vec![0; chunk.len()];
        tls.read_exact(&mut echo).unwrap();
        back.extend(echo);
    }
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    tls.read_to_end(&mut back).unwrap();
    back
}

#[test]
fn m10_tls_fits_under_a_stream() {
    let (server, config) = configs();
    let mut reactor = Reactor::new().unwrap();
    let sessions = std::rc::Rc::new(Recipients::new(reactor.queue()));
    let held = std::rc::Rc::clone(&sessions);
    let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse().unwrap(), {
        move |reactor, socket, _| {
            let source = TlsSource::new(socket, &server);
            held.insert_with(|own| Session {
                stream: Stream::new(reactor, source, own, Session::on_ready).unwrap(),
            });
        }
    });
    let acceptor = acceptor.unwrap();
    let address = acceptor.local_addr().unwrap();
    let text: Vec<u8> = (0..1_000_000).map(|byte| (byte >> 5) as u8).collect();
    thread::scope(|scope| {
        let text = &text;
        let clients: Vec<_> = [1, 1000, 1_000_000]
            .map(|bytes| {
                let config = Arc::clone(&config);
                scope.spawn(move || {
                    assert!(client(address, config, &text[..bytes]) == text[..bytes]);
                })
            })
            .into();
        turn_until(&mut reactor, || acceptor.accepted() == 3 && sessions.is_empty());
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert_eq!(reactor.event_stats().undrained, 0);
}
