//! Hazard: a relay that loses bytes or an end, holds more than it may, or hangs.

use std::cell::Cell;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::rc::Rc;

use switchboard::streams::{Stream, StreamStatus, relay};
use switchboard::testing::{Peer, ScriptedReactor, ScriptedSource};
use switchboard::{Context, Recipient};

struct Pair {
    a: Stream<ScriptedSource>,
    b: Stream<ScriptedSource>,
    status: Rc<Cell<Option<StreamStatus>>>,
}

impl Pair {
    fn on_ready(&mut self, _: &Context<'_, Self>) {
        self.status.set(Some(relay(&mut self.a, &mut self.b)));
    }
}

struct Rig {
    reactor: ScriptedReactor,
    pair: Recipient<Pair>,
    peers: [Peer; 2],
    status: Rc<Cell<Option<StreamStatus>>>,
}

impl Rig {
    fn new() -> Self {
        let reactor = ScriptedReactor::new().unwrap();
        let ((a, first), (b, second)) = (reactor.pair(), reactor.pair());
        let status = Rc::new(Cell::new(None));
        let noted = Rc::clone(&status);
        let pair = reactor.queue().recipient_with(|own| {
            let [a, b] = [a, b]
                .map(|source| Stream::new(&reactor.handle(), source, own, Pair::on_ready).unwrap());
            Pair { a, b, status: noted }
        });
        Self { reactor, pair, peers: [first, second], status }
    }

    #[track_caller]
    fn settle(&mut self) -> StreamStatus {
        self.reactor.settle(10_000).unwrap();
        self.pair.call(|Pair { a, b, .. }, _| {
            for (from, to) in [(&*a, &*b), (b, a)] {
                let waiting = (from.input().len() + to.output().len()) as u64;
                assert_eq!(from.received(), to.sent() + waiting, "L7: {from:?} {to:?}");
            }
        });
        self.reactor.queue().dial_all();
        self.reactor.check_drained().unwrap();
        self.status.get().unwrap()
    }
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|byte| (byte / 7) as u8).collect()
}

#[test]
fn m10_a_relay_passes_everything_on_both_ways_and_both_ends() {
    for (reads, writes) in [(1, 1), (usize::MAX, 1), (1, usize::MAX), (100, 33)] {
        let mut rig = Rig::new();
        let [there, back] = [text(3000), text(5000)];
        for peer in &rig.peers {
            peer.limit_reads(reads);
            peer.limit_writes(writes);
        }
        rig.peers[0].push(&there);
        rig.peers[1].push(&back);
        rig.peers[0].close_write();
        assert_eq!(rig.settle(), StreamStatus::Open);
        assert_eq!(rig.peers[1].take_written(), there);
        assert_eq!(rig.peers[0].take_written(), back);
        assert!(rig.peers[1].is_write_shut() && !rig.peers[0].is_write_shut(), "half closed");

        // The other half is open still.
        rig.peers[1].push("late");
        assert_eq!(rig.settle(), StreamStatus::Open);
        rig.peers[1].close_write();
        assert_eq!(rig.settle(), StreamStatus::Over);
        assert_eq!(rig.peers[0].take_written(), b"late");
        assert!(rig.peers[0].is_write_shut());
    }
}

#[test]
fn m10_a_relay_holds_no_more_than_its_limit_for_a_peer_that_does_not_read() {
    let mut rig = Rig::new();
    rig.pair.call(|pair, _| pair.a.buffers().0.set_limit(NonZeroUsize::new(100).unwrap()));
    rig.peers[1].limit_writes(0);
    rig.peers[0].push(text(10_000));
    assert_eq!(rig.settle(), StreamStatus::Open);
    assert_eq!(rig.peers[0].unread(), 10_000 - 100);
    rig.peers[1].push("the other way");
    assert_eq!(rig.settle(), StreamStatus::Open);
    assert_eq!(rig.peers[0].take_written(), b"the other way");

    // No event reports that there is more to read, and the relay goes on all the same.
    rig.peers[1].limit_writes(77);
    assert_eq!(rig.settle(), StreamStatus::Open);
    assert_eq!((rig.peers[1].take_written(), rig.peers[0].unread()), (text(10_000), 0));
}

#[test]
fn m10_what_is_put_out_before_a_relay_comes_first() {
    let mut rig = Rig::new();
    rig.pair.call(|pair, _| assert_eq!(pair.b.buffers().1.push(b"head "), 5));
    rig.peers[0].push("body");
    rig.reactor.settle(10).unwrap();
    assert_eq!(rig.peers[1].take_written(), b"head body");
}

#[test]
fn m10_a_side_that_breaks_ends_the_relay() {
    for (side, reads) in [(0, true), (0, false), (1, true), (1, false)] {
        let mut rig = Rig::new();
        rig.peers[1 - side].push("some");
        if reads {
            rig.peers[side].fail_read(ErrorKind::ConnectionReset);
        } else {
            rig.peers[side].fail_write(ErrorKind::BrokenPipe);
        }
        assert_eq!(rig.settle(), StreamStatus::Broken, "{side} {reads}");
    }
}
