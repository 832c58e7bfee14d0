//! Connects to hosts, `localhost:80` or `127.0.0.1:80` say: resolves each (or takes the address), connects to
//! the first of its addresses that answers within a second, and tries it all again, three times, with a
//! backoff. What has not ended in ten seconds is canceled.
//!
//! `cargo run --example resolve_connect -- localhost:80 example.org:80`

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use std::{env, io};

use mio::net::TcpStream;
use switchboard::op::OpResult;
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{
    Closed, HlCancelAll, LlConnect, LlFakeCancel, Module, ModuleExt, Retry, RetryPolicy, Socket,
    ThreadPool, Work, resolve,
};

/// Asks for addresses to connect to, anew for each attempt.
pub(crate) type Target = Retry<Work<Vec<SocketAddr>, io::Error>, io::Error>;

type Stack = Box<dyn Module<Request = Target, Answer = Socket, Error = io::Error>>;

/// Operations that can be canceled one by one, by their handles, and together.
pub(crate) fn connector(reactor: &ReactorHandle, pool: &ThreadPool) -> HlCancelAll<Stack> {
    let queue = reactor.queue();
    let each = LlConnect::new(reactor).within(reactor, Duration::from_secs(1));
    let stack = LlFakeCancel::new(reactor, pool)
        .then(queue, each.first(queue), |addresses| addresses)
        .retried(reactor, RetryPolicy::new().attempts(3).after(|_| true));
    HlCancelAll::new(queue, Box::new(stack))
}

pub(crate) fn host(name: String) -> Target {
    Retry::new(move |_, _| resolve(name.as_str()))
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    let connects = connector(&reactor.handle(), &ThreadPool::new(4));
    connects.open();
    for name in env::args().skip(1) {
        let target = host(name.clone());
        let done = reactor.queue().callback(move |_, connected: OpResult<Socket, io::Error>| {
            match connected {
                Ok(socket) => println!("{name}: {:?}", socket.with(TcpStream::peer_addr)),
                Err(error) => println!("{name}: {}", io::Error::from(error)),
            }
        });
        connects.start(target, done)?;
    }
    let drained = reactor.queue().callback(|_, closed: Closed| println!("{closed:?}"));
    connects.drain(&reactor.handle(), Duration::from_secs(10), drained);
    Ok(reactor.run()?)
}
