//! Hazard: a descriptor leaks.

use std::io::Write;

use switchboard::CallQueue;
use switchboard::op::{OpError, OpResult};
use switchboard::reactor::Reactor;
use switchboard::samples::{LlRealCancel, Module, Read, Socket};

use support::alone;
use support::descriptors;
use support::net::{Log, local_pair, turn_now, turn_until, watch};

#[test]
fn m04_every_descriptor_is_closed_in_the_end() {
    alone!();
    let before = descriptors::open();
    for round in 0..100 {
        let mut reactor = Reactor::with_queue(CallQueue::new()).unwrap();
        let recipient = reactor.queue().recipient(());
        let handle = reactor.handle();
        let reported = Log::new();

        // Sources that are notified, taken back, dropped before and after the reactor.
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        let first = watch(&reactor, &recipient, source, 0, &reported);
        let second = watch(&reactor, &recipient, local_pair().0, 1, &reported);
        let third = watch(&reactor, &recipient, local_pair().0, 2, &reported);
        drop(second.into_source().unwrap());
        drop(third);
        turn_until(&mut reactor, || reported.len() > 0);

        // Operations that complete, and that are canceled.
        let module = LlRealCancel::new();
        module.open();
        for cancel in [false, true] {
            let (source, mut peer) = local_pair();
            let done = reactor.queue().callback(move |_, result: OpResult<Vec<u8>, _>| {
                assert_eq!(matches!(result, Err(OpError::Canceled)), cancel);
            });
            let from = Socket::stream(&handle, source).unwrap();
            let op = module.start(Read { from, limit: 8 }, done).unwrap();
            peer.write_all(b"x").unwrap();
            if cancel {
                op.cancel();
            }
        }
        while handle.registration_count() > 1 || !reactor.queue().is_idle() {
            let _ = turn_now(&mut reactor);
        }

        // Everything goes, in one order or the other.
        if round % 2 == 0 {
            drop(reactor);
            drop((first, module));
        } else {
            drop((first, module));
            drop(reactor);
        }
        drop(handle);
        drop((recipient, peer));
        assert_eq!(descriptors::open(), before, "round {round}");
    }
}
