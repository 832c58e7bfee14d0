//! Reads from a stream that is there already, by operation and by hand.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::rc::Rc;

use mio::Interest;
use support::net::{LocalPeer, LocalStream, local_pair};
use switchboard::op::{OpResult, Operation};
use switchboard::reactor::{Reactor, Registration};
use switchboard::samples::{LlRealCancel, Module, Read, Socket};

use super::{Group, Run, Words, add, added, timed};

pub fn groups() -> Vec<Group> {
    vec![
        Group::new("operation_reads", "24 bytes that are there, read", &[1], by_operation)
            .against("in a handler, and an operation", in_a_handler),
    ]
}

const BYTES: usize = size_of::<Words>();

fn words(n: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (bytes, word) in bytes.chunks_mut(8).zip([1, n, n]) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn take_in(bytes: &[u8]) {
    let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map(u64::from_ne_bytes));
    let mut next = || words.next().and_then(Result::ok).expect("three words");
    add([next(), next(), next()]);
}

/// (What the peer does is the same for all, and left out of counts of system calls.)
fn send(mut peer: &LocalPeer, n: u64) {
    let sent = peer.write_vectored(&[IoSlice::new(&words(n))]).expect("room");
    assert_eq!(sent, BYTES);
}

pub fn by_operation(_: u64) -> Run {
    let mut reactor = Reactor::new().expect("a poll");
    let module = LlRealCancel::new();
    module.open();
    let (source, peer) = local_pair();
    let socket = Socket::stream(&reactor.handle(), source).expect("registered");
    let recipient = reactor.queue().recipient(());
    send(&peer, 0);
    let _ = reactor.turn(None).expect("a turn");
    let mut is_first = true;
    timed(move |calls| {
        for n in 0..calls {
            if !std::mem::take(&mut is_first) {
                send(&peer, n);
            }
            let done = recipient.callback(|(), _, read: OpResult<Vec<u8>, _>| {
                take_in(&read.expect("it is there"));
            });
            let request = Read { from: socket.clone(), limit: BYTES };
            let _ = module.start(request, done).expect("it is open");
            let _ = reactor.queue().dial_all();
        }
        added()
    })
}

type ReadOperation = Operation<(), [u8; BYTES], io::Error>;

/// What a handler reads from, and for whom.
#[derive(Default)]
struct Reader {
    socket: RefCell<Option<Registration<LocalStream>>>,
    op: Cell<Option<ReadOperation>>,
}

impl Reader {
    fn on_ready(&self) {
        let Some(op) = self.op.take() else { return };
        let mut socket = self.socket.borrow_mut();
        let socket = socket.as_mut().expect("registered");
        let mut bytes = [0; BYTES];
        let read = socket.try_io(Interest::READABLE, |socket| socket.read(&mut bytes));
        assert_eq!(read.expect("it is there"), BYTES);
        let _ = op.complete(Ok(bytes));
    }
}

pub fn in_a_handler(_: u64) -> Run {
    let mut reactor = Reactor::new().expect("a poll");
    let (source, peer) = local_pair();
    let reader = Rc::new(Reader::default());
    let handled = reactor.queue().recipient(Rc::clone(&reader));
    let handle = reactor.handle();
    let socket = handle.register(source, Interest::READABLE, &handled, |reader, _, _| {
        reader.on_ready();
    });
    reader.socket.replace(Some(socket.expect("registered")));
    let recipient = reactor.queue().recipient(());
    send(&peer, 0);
    let _ = reactor.turn(None).expect("a turn");
    let mut is_first = true;
    timed(move |calls| {
        let _keep = &handled;
        for n in 0..calls {
            if !std::mem::take(&mut is_first) {
                send(&peer, n);
            }
            let done = recipient.callback(|(), _, read: OpResult<[u8; BYTES], io::Error>| {
                take_in(&read.expect("it is there"));
            });
            reader.op.set(Some(Operation::new(done, (), |_| ())));
            reader.socket.borrow().as_ref().expect("registered").readiness().again();
            let _ = reactor.queue().dial_all();
        }
        added()
    })
}
