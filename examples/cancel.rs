//! `cargo run --example cancel -- 127.0.0.1:22 127.0.0.1:25`
//!
//! Connects to servers that speak first, as those of SSH and SMTP do, and prints what the first one sends.
//! The other reads are canceled, which closes their connections: each still delivers one result. A server
//! that sends nothing within five seconds counts as failed.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use switchboard::Reporter;
use switchboard::op::{AsyncOp, OpError, OpResult};
use switchboard::reactor::Reactor;
use switchboard::samples::{LlConnect, LlRealCancel, Module, ModuleExt, Read};

struct Race {
    others: Vec<AsyncOp>,
}

impl Race {
    fn on_read(&mut self, server: SocketAddr, result: OpResult<Vec<u8>, io::Error>) {
        match result {
            Ok(bytes) if bytes.is_empty() => println!("{server}: closed"),
            Ok(bytes) => {
                println!("{server}: {}", String::from_utf8_lossy(&bytes).trim_end());
                for op in self.others.drain(..) {
                    op.cancel(); // too late for those that have ended, such as this one: that is harmless
                }
            }
            Err(OpError::Canceled) => println!("{server}: canceled"),
            Err(error) => println!("{server}: {}", io::Error::from(error)),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let servers = std::env::args().skip(1).map(|server| server.parse());
    let servers = servers.collect::<Result<Vec<SocketAddr>, _>>()?;
    let mut reactor = Reactor::new()?;
    reactor.queue().add_observer(Reporter::stderr());
    let greetings = LlConnect::new(&reactor)
        .then(reactor.queue(), LlRealCancel::new(), |socket| {
            socket.map(|from| Read { from, limit: 1024 })
        })
        .within(&reactor, Duration::from_secs(5));
    greetings.open();
    let _race = reactor.queue().try_recipient_with(|own| {
        let start = |server| {
            let done = own.callback(move |race: &mut Race, _, read| race.on_read(server, read));
            greetings.start(server, done)
        };
        let others = servers.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok::<_, Box<dyn Error>>(Race { others })
    })?;
    Ok(reactor.run()?)
}
