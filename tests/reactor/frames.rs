//! Hazard: a host with frames whose share of time is overrun, or which never serves what waits.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UnixDatagram;
use switchboard::reactor::Reactor;

use support::descriptors::claim;

const SHARE: Duration = Duration::from_millis(2);

/// What each call takes, by the clock of the test: 5,000 of them take 40 shares.
const CALL: Duration = Duration::from_micros(16);

const REMOTE_CALLS: usize = 4_000;
const SOCKETS: usize = 1_000;

/// What has been served by when.
struct Served {
    now: Cell<Instant>,
    calls: Cell<usize>,
    sockets: Cell<usize>,
}

impl Served {
    fn count(&self, kind: &Cell<usize>) {
        kind.set(kind.get() + 1);
        self.now.set(self.now.get() + CALL);
    }
}

#[test]
fn m09_frames_keep_to_their_share_and_serve_4000_remote_calls_and_1000_sockets_in_41() {
    let claim = claim(SOCKETS);
    let mut reactor = Reactor::new().unwrap();
    reactor.set_budget(usize::MAX); // only time counts
    let [calls, sockets] = [0, 0].map(Cell::new);
    let served = Rc::new(Served { now: Cell::new(Instant::now()), calls, sockets });
    let clock = Rc::clone(&served);
    reactor.set_clock(move || clock.now.get());
    let recipient = reactor.queue().recipient(Rc::clone(&served));

    let registered = Vec::from_iter((0..claim.count()).map(|_| {
        let socket = UnixDatagram::unbound().expect("as many descriptors");
        let registration =
            reactor.register(socket, Interest::WRITABLE, &recipient, |served, _, _| {
                served.count(&served.sockets);
            });
        registration.unwrap()
    }));
    let remote = reactor.remote_to(&recipient);
    let send = move || {
        let call = |_| remote.call(|served, _| served.count(&served.calls)).unwrap();
        (0..REMOTE_CALLS).for_each(call);
    };
    thread::spawn(send).join().unwrap();

    let mut turns = Vec::new();
    while served.calls.get() < REMOTE_CALLS || served.sockets.get() < registered.len() {
        assert!(turns.len() < 41, "{} calls, {} sockets", served.calls.get(), served.sockets.get());
        let begin = served.now.get();
        let _ = reactor.turn_within(SHARE).unwrap();
        turns.push(served.now.get() - begin);
        served.now.set(begin + Duration::from_secs(1) / 60); // when the next frame begins
    }
    let longest = turns.iter().max().unwrap();
    println!("{} frames, the longest turn {longest:?}", turns.len());
    assert!(*longest < SHARE + CALL, "longer than the share and the call at its end: {longest:?}");
    assert!(*longest <= Duration::from_micros(2_500));
}
