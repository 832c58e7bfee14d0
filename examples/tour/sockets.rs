//! What a server needs beside the read: a connect, a write, an accept, each canceled as the read is.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use mio::Interest;
use switchboard::op::OpError;
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{LlAccept, LlConnect, LlWrite, Module, Socket, Write};

use super::samples::{Client, three_ways};
use super::story::{Outcome, Story, ensure, say};

pub(crate) const STORIES: &[Story] = &[
    (
        "ll_connect: a connection to an address",
        "It completes, is canceled, which closes the connection, and is canceled late. Then no one \
         listens any more: that is a result, not a start that fails.",
        connect,
    ),
    (
        "ll_write: all of a large buffer",
        "The system takes a part of it, then the write waits until the peer reads. Canceled while it \
         waits, it leaves the rest unwritten.",
        |reactor| {
            let (writes, handle) = (LlWrite::new(), reactor.handle());
            three_ways(reactor, &writes, &mut move || write(&handle))
        },
    ),
    (
        "ll_accept: a connection from a client",
        "The client connects, and is accepted. One that connects after a cancel waits for the next \
         accept, which is canceled late.",
        |reactor| {
            let (listener, address) = listener()?;
            listener.set_nonblocking(true)?;
            let listener = mio::net::TcpListener::from_std(listener);
            let listener = Socket::new(&reactor.handle(), listener, Interest::READABLE)?;
            three_ways(reactor, &LlAccept::new(), &mut move || {
                Ok((listener.clone(), Box::new(move || drop(TcpStream::connect(address)))))
            })
        },
    ),
];

fn connect(reactor: &mut Reactor) -> Outcome {
    let connects = LlConnect::new(&reactor.handle());
    let (listener, address) = listener()?;
    // It is ready by itself, in a turn to come.
    three_ways(reactor, &connects, &mut move || Ok((address, Box::new(|| ()))))?;
    drop(listener);
    let client = Client::new(reactor);
    connects.start(address, client.callback())?;
    let Err(OpError::Retryable(error)) = client.wait(reactor)? else {
        return Err("expected that no one listens".into());
    };
    say(&format!("It fails, and may be tried again: {error}."));
    ensure(error.kind() == io::ErrorKind::ConnectionRefused, "the connection was refused")
}

fn write(reactor: &ReactorHandle) -> io::Result<(Write, Box<dyn FnOnce()>)> {
    const MORE_THAN_THE_SYSTEM_BUFFERS: usize = 16 << 20;
    let (listener, address) = listener()?;
    let mut peer = TcpStream::connect(address)?;
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let to = Socket::stream(reactor, mio::net::TcpStream::from_std(stream))?;
    let request = Write { to, bytes: vec![b'x'; MORE_THAN_THE_SYSTEM_BUFFERS] };
    let read = move || io::copy(&mut peer, &mut io::sink());
    let make_ready = move || drop(thread::spawn(read));
    Ok((request, Box::new(make_ready)))
}

/// A listener, and where it is.
fn listener() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
