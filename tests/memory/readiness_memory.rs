//! Hazard: memory that grows with events, though no more sources are registered.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token, Waker};
use switchboard::reactor::{Guest, Registration};

use support::counting::held;
use support::net::local_pair;

/// Handlers that leave readiness are judged once a poll has reported all there was, which a poll whose batch
/// is full may not have.
#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "handlers are not judged")]
fn l10_handlers_to_be_judged_do_not_pile_up_while_batches_are_full() {
    let mut poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
    let mut guest = Guest::new(poll.registry(), waker).unwrap();
    let mut events = Events::with_capacity(1);
    let (sources, mut peers): (Vec<_>, Vec<_>) = (0..2).map(|_| local_pair()).unzip();
    let sockets: Rc<RefCell<Vec<Registration<UnixStream>>>> = Rc::default();
    for (at, source) in sources.into_iter().enumerate() {
        let held = Rc::clone(&sockets);
        let socket = guest.register_function(source, Interest::READABLE, move |_, _| {
            let socket = &mut held.borrow_mut()[at];
            socket.try_io(Interest::READABLE, |socket| socket.read(&mut [0])).unwrap();
        });
        sockets.borrow_mut().push(socket.unwrap());
    }
    let before = held();
    for _ in 0..50_000 {
        for peer in &mut peers {
            peer.write_all(b"x").unwrap();
        }
        for _ in 0..2 {
            poll.poll(&mut events, None).unwrap();
            guest.turn(&events);
        }
    }
    let held = held() - before;
    assert!(held < 100_000, "{held} bytes are held");
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    guest.turn(&events);
    assert_eq!(guest.event_stats().undrained, 2, "they are judged");
    sockets.take();
}
