//! `cargo run --example echo -- 127.0.0.1:7000`
//!
//! A server that sends back what it receives. Peers that never read, read a byte at a time, close their
//! side first or reset the connection cost a bounded buffer, and no other peer anything.

use std::{error::Error, io, net::SocketAddr, rc::Rc};

use switchboard::mio::net::TcpStream;
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::streams::{Acceptor, Stream, StreamSource};
use switchboard::{Context, Recipients, Reporter};

pub(crate) struct Session<S: StreamSource + 'static = TcpStream> {
    pub(crate) stream: Stream<S>,
}

impl<S: StreamSource> Session<S> {
    pub(crate) fn on_ready(&mut self, cx: &Context<'_, Self>) {
        let status = self.stream.drive(|input, output| {
            output.append(input);
            if input.is_over() {
                output.finish();
            }
        });
        if let Some(error) = self.stream.error() {
            eprintln!("{}: {error}", cx.label().unwrap_or_default());
        }
        if status.is_over() {
            cx.hang_up();
        }
    }
}

pub(crate) fn serve(
    reactor: &ReactorHandle,
    address: SocketAddr,
    sessions: &Rc<Recipients<Session>>,
) -> io::Result<Acceptor> {
    let sessions = Rc::clone(sessions);
    Acceptor::bind(reactor, address, move |reactor, socket, peer| {
        let session = sessions.try_insert_with(|own| {
            Stream::new(reactor, socket, own, Session::on_ready).map(|stream| Session { stream })
        });
        match session {
            Ok(session) => session.set_label(peer.to_string()),
            Err(error) => eprintln!("{peer}: {error}"),
        }
    })
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    let mut reactor = Reactor::new()?;
    reactor.queue().add_observer(Reporter::stderr());
    let sessions = Rc::new(Recipients::new(reactor.queue()));
    let acceptor = serve(&reactor, address.parse()?, &sessions)?;
    println!("echoing at {}", acceptor.local_addr()?);
    Ok(reactor.run()?)
}
