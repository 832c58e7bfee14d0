//! `cargo run --example resolve_connect -- localhost:22 localhost:25`
//!
//! Reads the greeting of servers that speak first: resolves each host, connects to the first of its addresses
//! that answers within a second, in up to three attempts with a backoff, and reads. What has not ended in ten
//! seconds is canceled.

use std::{env, error::Error, io, net::SocketAddr, time::Duration};

use switchboard::op::OpResult;
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{
    Closed, HlCancelAll, LlConnect, LlFakeCancel, LlRealCancel, Module, ModuleExt, Read, Retry,
    RetryPolicy, Socket, ThreadPool, Work, resolve,
};

/// Asks for addresses to connect to, anew for each attempt.
pub(crate) type Target = Retry<Work<Vec<SocketAddr>, io::Error>, io::Error>;

pub(crate) type Connects = Box<dyn Module<Request = Target, Answer = Socket, Error = io::Error>>;

pub(crate) fn connector(reactor: &ReactorHandle, pool: &ThreadPool) -> Connects {
    let queue = reactor.queue();
    let each = LlConnect::new(reactor).within(reactor, Duration::from_secs(1));
    let stack = LlFakeCancel::new(reactor, pool)
        .then(queue, each.first(queue), |addresses| addresses)
        .retried(reactor, RetryPolicy::new().attempts(3).after(|_| true));
    Box::new(stack)
}

pub(crate) fn host(name: String) -> Target {
    Retry::new(move |_, _| resolve(name.as_str()))
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    let stack = connector(&reactor, &ThreadPool::new(4)).then(
        reactor.queue(),
        LlRealCancel::new(),
        |connected| connected.map(|from| Read { from, limit: 1024 }),
    );
    // Operations that can be canceled one by one, by their handles, and together.
    let greetings = HlCancelAll::new(reactor.queue(), stack);
    greetings.open();
    for name in env::args().skip(1) {
        let target = host(name.clone());
        let done =
            reactor.queue().callback(move |_, read: OpResult<Vec<u8>, io::Error>| match read {
                Ok(bytes) => println!("{name}: {}", String::from_utf8_lossy(&bytes).trim_end()),
                Err(error) => println!("{name}: {}", io::Error::from(error)),
            });
        greetings.start(target, done)?;
    }
    let drained = reactor.queue().callback(|_, closed: Closed| println!("{closed:?}"));
    greetings.drain(&reactor, Duration::from_secs(10), drained);
    Ok(reactor.run()?)
}
