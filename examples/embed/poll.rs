//! `cargo run --example embed poll` (Unix)
//!
//! In any loop that waits for descriptors, here around the system call `poll`: by the reactor's
//! descriptor and its timeout.

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

/// Runs the loop until `serve`, which is called when the host's `own` descriptor is readable, breaks
/// it.
///
/// # Errors
///
/// Passes on the errors of both polls.
pub(crate) fn run(
    reactor: &mut Reactor,
    own: impl AsFd,
    mut serve: impl FnMut() -> ControlFlow<()>,
) -> io::Result<()> {
    loop {
        // The last thing before the sleep. (A timeout that is too long for the system counts as none.)
        let timeout = reactor.poll_timeout().and_then(|timeout| timeout.try_into().ok());
        let mut fds = [PollFd::new(reactor, PollFlags::IN), PollFd::new(&own, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[1].revents().is_empty() && serve().is_break() {
            return Ok(());
        }
        reactor.turn(Some(Duration::ZERO))?; // even if its descriptor is silent: a timer may be due
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
