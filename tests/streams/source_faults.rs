//! Hazard: a source that takes some and then none, is interrupted, or fails, under a stream that waits for
//! no reason, accepts more than it may, or goes on after its end.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::rc::Rc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use switchboard::streams::{Input, Output, Stream, StreamSource, StreamStatus};
use switchboard::testing::{Peer, ScriptedReactor, ScriptedSource};
use switchboard::{Context, Recipient};

/// A source whose writes and close go as a script says.
struct Moody {
    inner: ScriptedSource,
    script: Rc<Script>,
}

struct Script {
    /// So many writes are made before one would block.
    writes: Cell<usize>,
    /// What the next close fails with.
    close: Cell<Option<ErrorKind>>,
}

impl Read for Moody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Write for Moody {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = self.script.writes.get().checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
        self.script.writes.set(left);
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Source for Moody {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        self.inner.deregister(poll)
    }
}

impl StreamSource for Moody {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match self.script.close.take() {
            Some(kind) => Err(kind.into()),
            None => self.inner.shutdown_write(),
        }
    }
}

type Process = Box<dyn FnMut(&mut Input, &mut Output)>;

struct Session {
    stream: Stream<Moody>,
    process: Process,
    status: Rc<Cell<Option<StreamStatus>>>,
}

impl Session {
    fn on_ready(&mut self, _: &Context<'_, Self>) {
        self.status.set(Some(self.stream.drive(&mut self.process)));
    }
}

struct Rig {
    reactor: ScriptedReactor,
    session: Recipient<Session>,
    peer: Peer,
    script: Rc<Script>,
    status: Rc<Cell<Option<StreamStatus>>>,
}

impl Rig {
    fn new(process: impl FnMut(&mut Input, &mut Output) + 'static) -> Self {
        let reactor = ScriptedReactor::new().unwrap();
        let (inner, peer) = reactor.pair();
        let script = Rc::new(Script { writes: Cell::new(usize::MAX), close: Cell::new(None) });
        let source = Moody { inner, script: Rc::clone(&script) };
        let status = Rc::new(Cell::new(None));
        let session = reactor.queue().recipient_with(|own| Session {
            stream: Stream::new(&reactor.handle(), source, own, Session::on_ready).unwrap(),
            process: Box::new(process),
            status: Rc::clone(&status),
        });
        Self { reactor, session, peer, script, status }
    }

    fn echo() -> Self {
        Self::new(|input, output| {
            output.append(input);
            if input.is_over() {
                output.finish();
            }
        })
    }

    #[track_caller]
    fn settle(&mut self) -> StreamStatus {
        self.reactor.settle(100).unwrap();
        self.status.get().expect("it was called")
    }

    /// Lets the source take so many bytes more, of which there is an event.
    fn take(&mut self, bytes: usize) {
        self.script.writes.set(1);
        self.peer.limit_writes(bytes);
        let _ = self.settle();
    }
}

#[test]
fn m10_a_close_that_is_interrupted_or_would_block_is_made_again() {
    for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
        let mut rig = Rig::echo();
        rig.script.close.set(Some(kind));
        rig.peer.push("some");
        rig.peer.close_write();
        let mut status = rig.settle();
        if kind == ErrorKind::WouldBlock {
            assert_eq!(status, StreamStatus::Open);
            rig.peer.limit_writes(100); // which is an event
            status = rig.settle();
        }
        assert_eq!((status, rig.peer.is_write_shut()), (StreamStatus::Over, true), "{kind:?}");
        assert_eq!(rig.peer.take_written(), b"some");
    }
}

#[test]
fn m10_a_stream_that_is_broken_reads_and_writes_no_more() {
    for is_handed_over in [false, true] {
        let mut rig = Rig::echo();
        rig.peer.limit_writes(0);
        rig.peer.push("some");
        let _ = rig.settle();
        rig.peer.fail_read(ErrorKind::ConnectionReset);
        assert_eq!(rig.settle(), StreamStatus::Broken);
        if is_handed_over {
            rig.session.call(|session, cx| {
                session.stream.redirect(cx, Session::on_ready).unwrap();
            });
        }
        // An event reports that all is well.
        rig.peer.limit_writes(usize::MAX);
        rig.peer.push("more");
        rig.status.take();
        assert_eq!(rig.settle(), StreamStatus::Broken);
        assert_eq!((rig.peer.take_written(), rig.peer.unread()), (Vec::new(), 4));
        rig.session.call(|Session { stream, .. }, _| {
            assert_eq!((stream.received(), stream.sent(), stream.output().len()), (4, 0, 4));
        });
        rig.reactor.queue().dial_all();
    }
}

#[test]
fn m10_water_that_is_set_to_what_it_is_changes_nothing() {
    let rooms: Rc<RefCell<Vec<usize>>> = Rc::default();
    let seen = Rc::clone(&rooms);
    let mut rig = Rig::new(move |input, output| {
        output.set_water(NonZeroUsize::new(100).unwrap(), 10);
        seen.borrow_mut().push(output.room());
        output.append(input);
    });
    rig.script.writes.set(0);
    rig.peer.push([7; 1000]);
    let _ = rig.settle();
    rooms.take();
    (0..8).for_each(|_| rig.take(10));
    assert_eq!(rooms.take(), [0; 8], "it is above its low water");
    rig.take(10);
    assert_eq!(rooms.take(), [0, 90]);
}
