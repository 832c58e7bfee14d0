//! `cargo run --example embed mio`
//!
//! In a mio loop of your own: with your `Poll`, your `Events`, your `Waker`, and sources of yours
//! next to those of switchboard.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net;
use std::sync::Arc;

use switchboard::mio::net::UdpSocket;
use switchboard::mio::{Events, Interest, Poll, Token, Waker};
use switchboard::reactor::Guest;

use super::app;

/// The tokens of the host, which are less than 2^63.
const WAKE: Token = Token(0);
const OWN: Token = Token(1);

/// Runs the loop until nothing more can happen in the guest, or until it is stopped. `serve` sees to
/// the events of the host.
///
/// # Errors
///
/// Passes on the error of the poll.
pub(crate) fn run(
    poll: &mut Poll,
    guest: &mut Guest,
    mut serve: impl FnMut(&Events),
) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    while guest.should_run() {
        match poll.poll(&mut events, guest.poll_timeout()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(), // a signal
            result => result?,
        }
        serve(&events); // before the turn, so that a panic of a handler takes nothing from the host
        guest.turn(&events);
    }
    Ok(())
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?); // the only one of this poll
    let mut guest = Guest::new(poll.registry(), waker)?;

    let mut own = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    poll.registry().register(&mut own, OWN, Interest::READABLE)?;
    net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"datagram", own.local_addr()?)?;

    let _app = app::start(&guest, guest.queue().callback(|_, ()| println!("guest: over")))?;
    run(&mut poll, &mut guest, |events| {
        if events.iter().any(|event| event.token() == OWN) {
            while let Ok(read) = own.recv(&mut [0; 64]) {
                println!("host: a datagram of {read} bytes");
            }
        }
    })?;
    Ok(())
}
