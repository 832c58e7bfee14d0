//! Hazard: an operation that takes along the one on the other side of its socket.

use std::io;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use support::net::{Log, unwind, unwinding};
use switchboard::op::OpError;
use switchboard::samples::{LlRealCancel, LlWrite, Module, Read, Socket, Write};
use switchboard::testing::{ScriptedReactor, ScriptedSource};

/// A source whose first read panics.
struct PanicsOnce {
    source: ScriptedSource,
    panics: bool,
}

impl Source for PanicsOnce {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source.register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source.reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        self.source.deregister(poll)
    }
}

impl io::Read for PanicsOnce {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.panics) {
            unwind("a read");
        }
        self.source.read(buffer)
    }
}

impl io::Write for PanicsOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.source.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_read_that_panics_keeps_no_writer_waiting() {
    let mut reactor = ScriptedReactor::new().expect("a reactor");
    let (source, peer) = reactor.pair();
    let socket = PanicsOnce { source, panics: true };
    let socket = Socket::stream(&reactor.handle(), socket).expect("registered");
    let (reads, writes) = (LlRealCancel::new(), LlWrite::new());
    reads.open();
    writes.open();
    let (read, written) = (Log::new(), Log::new());
    peer.limit_writes(0);
    let write = Write { to: socket.clone(), bytes: b"out".to_vec() };
    let told = written.clone();
    let done = reactor.queue().callback(move |_, result| told.push(result));
    writes.start(write, done).expect("it is open");
    let told = read.clone();
    let done = reactor.queue().callback(move |_, result| told.push(result));
    reads.start(Read { from: socket, limit: 8 }, done).expect("it is open");
    reactor.settle(10).expect("both wait");
    peer.push("in");
    peer.limit_writes(usize::MAX);
    assert_eq!(unwinding(|| reactor.settle(10)), "a read");
    reactor.settle(10).expect("both are over");
    assert!(matches!(read.take()[..], [Err(OpError::Dropped)]));
    assert!(matches!(written.take()[..], [Ok(_)]));
    assert_eq!(peer.take_written(), b"out");
}
