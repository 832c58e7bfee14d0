//! Hazard: events of the host that never end, as of a window that is redrawn all the time, keep the guest
//! from its turns.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::mpsc::channel;

use crate::embed::thread::{HostEvent, Poller, run};

#[test]
fn calls_are_dialed_while_each_event_of_the_host_posts_another_one() {
    let (post, host) = channel();
    let own = post.clone();
    let (poller, mut guest) = Poller::start(move |event| drop(post.send(event))).unwrap();
    let dialed = Rc::new(Cell::new(false));
    let seen = Rc::clone(&dialed);
    guest.queue().call(move |_| seen.set(true));
    let mut served = 0;
    own.send(HostEvent::Own).unwrap();
    run(&poller, &mut guest, &host, || {
        served += 1;
        if dialed.get() || served == 1000 {
            return ControlFlow::Break(());
        }
        own.send(HostEvent::Own).unwrap();
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(dialed.get());
}
