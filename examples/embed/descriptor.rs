//! `cargo run --features timerfd --example embed descriptor` (Linux)
//!
//! In any loop that waits for descriptors, by the reactor's descriptor and nothing else: no timeout and no
//! wake hook.

use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use switchboard::reactor::Reactor;

use super::app;

/// Runs the loop until `serve`, which is called when the host's `own` descriptor is readable, breaks it.
///
/// # Errors
///
/// Passes on the errors of both polls.
pub(crate) fn run(
    reactor: &mut Reactor,
    own: impl AsFd,
    mut serve: impl FnMut() -> ControlFlow<()>,
) -> io::Result<()> {
    reactor.signal_when_due()?;
    loop {
        let mut fds = [PollFd::new(reactor, PollFlags::IN), PollFd::new(&own, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [due, own] = [0, 1].map(|at| !fds[at].revents().is_empty());
        if own && serve().is_break() {
            return Ok(());
        }
        if due {
            reactor.turn(Some(Duration::ZERO))?;
        }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    let (own, mut peer) = UnixStream::pair()?;
    let over = reactor.queue().callback(move |_, ()| peer.write_all(b"over").expect("a reader"));
    let _app = app::start(&reactor, over)?;
    run(&mut reactor, &own, || {
        println!("host: its own descriptor is readable");
        ControlFlow::Break(())
    })?;
    Ok(())
}
