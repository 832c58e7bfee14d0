//! `cargo run --example embed_poll` (Unix)
//!
//! In any loop that waits for descriptors, here around the system call `poll`: by the reactor's
//! descriptor and its timeout.

use std::error::Error;
#[cfg(unix)]
use std::{io, ops::ControlFlow, os::fd::AsFd, time::Duration};

#[cfg(unix)]
use switchboard::reactor::Reactor;

#[cfg(unix)]
mod app;

/// Runs the loop until `serve`, which is called when the host's `own` descriptor is readable, breaks
/// it.
///
/// # Errors
///
/// Passes on the errors of both polls.
#[cfg(unix)]
pub fn run(
    reactor: &mut Reactor,
    own: impl AsFd,
    mut serve: impl FnMut() -> ControlFlow<()>,
) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;

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

#[cfg(unix)]
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

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

#[cfg(not(unix))]
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    Err("this takes descriptors, which are Unix's".into())
}
