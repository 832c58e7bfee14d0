//! `cargo run --example relay -- 127.0.0.1:7001 127.0.0.1:7000`
//!
//! A server that relays each connection to another server, both ways. When one side ends its half, so does
//! the other; a side that does not read costs a bounded buffer, and stops the side that sends.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use switchboard::mio::net::TcpStream;
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::streams::{Acceptor, Stream, relay};
use switchboard::{Address, Context, Recipients, Reporter};

pub(crate) struct Session {
    pub(crate) client: Stream<TcpStream>,
    pub(crate) server: Stream<TcpStream>,
}

impl Session {
    fn start(
        reactor: &ReactorHandle,
        own: &Address<Self>,
        client: TcpStream,
        server: SocketAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let server = TcpStream::connect(server)?;
        let client = Stream::new(reactor, client, own, Self::on_ready)?;
        let server = Stream::new(reactor, server, own, Self::on_ready)?;
        Ok(Self { client, server })
    }

    fn on_ready(&mut self, cx: &Context<'_, Self>) {
        if relay(&mut self.client, &mut self.server).is_over() {
            cx.hang_up();
        }
    }
}

pub(crate) fn serve(
    reactor: &ReactorHandle,
    address: SocketAddr,
    server: SocketAddr,
    sessions: &Rc<Recipients<Session>>,
) -> io::Result<Acceptor> {
    let sessions = Rc::clone(sessions);
    Acceptor::bind(reactor, address, move |reactor, client, peer| {
        match sessions.try_insert_with(|own| Session::start(reactor, own, client, server)) {
            Ok(session) => session.set_label(format!("{peer} -> {server}")),
            Err(error) => eprintln!("{peer}: {error}"),
        }
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let [address, server] = [(1, "127.0.0.1:7001"), (2, "127.0.0.1:7000")]
        .map(|(at, default)| std::env::args().nth(at).unwrap_or_else(|| default.into()).parse());
    let (address, server) = (address?, server?);
    let mut reactor = Reactor::new()?;
    reactor.queue().add_observer(Reporter::stderr());
    let sessions = Rc::new(Recipients::new(reactor.queue()));
    let acceptor = serve(&reactor, address, server, &sessions)?;
    println!("relaying {} to {server}", acceptor.local_addr()?);
    Ok(reactor.run()?)
}
