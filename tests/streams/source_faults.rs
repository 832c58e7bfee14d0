//! Hazard: a source that takes some and then none, is interrupted, or fails, under a stream that waits for
//! no reason, accepts more than it may, or goes on after its end.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::rc::Rc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use switchboard::streams::{Input, Output, StreamSource, StreamStatus};
use switchboard::testing::ScriptedSource;

use crate::driven::{Driver, Rig, echo};

/// A source whose writes and close go as a script says.
#[derive(Debug)]
struct Moody {
    inner: ScriptedSource,
    script: Rc<Script>,
}

#[derive(Debug)]
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

/// A stream on it.
struct Moods {
    rig: Rig<Moody>,
    script: Rc<Script>,
}

impl Moods {
    fn new(process: impl FnMut(&mut Input, &mut Output) + 'static) -> Self {
        let script = Rc::new(Script { writes: Cell::new(usize::MAX), close: Cell::new(None) });
        let followed = Rc::clone(&script);
        let rig = Rig::around(|inner| Moody { inner, script: followed }, process);
        Self { rig, script }
    }

    /// Lets the source take so many bytes more, of which there is an event.
    fn take(&mut self, bytes: usize) {
        self.script.writes.set(1);
        self.rig.peer.limit_writes(bytes);
        let _ = self.rig.run();
    }
}

#[test]
fn m10_a_close_that_is_interrupted_or_would_block_is_made_again() {
    for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
        let Moods { mut rig, script } = Moods::new(echo);
        script.close.set(Some(kind));
        rig.peer.push("some");
        rig.peer.close_write();
        let mut status = rig.run();
        if kind == ErrorKind::WouldBlock {
            assert_eq!(status, StreamStatus::Open);
            rig.peer.limit_writes(100); // which is an event
            status = rig.run();
        }
        assert_eq!((status, rig.peer.is_write_shut()), (StreamStatus::Over, true), "{kind:?}");
        assert_eq!(rig.peer.take_written(), b"some");
    }
}

#[test]
fn m10_a_stream_that_is_broken_reads_and_writes_no_more() {
    for is_handed_over in [false, true] {
        let mut rig = Moods::new(echo).rig;
        rig.peer.limit_writes(0);
        rig.peer.push("some");
        let _ = rig.run();
        rig.peer.fail_read(ErrorKind::ConnectionReset);
        assert_eq!(rig.run(), StreamStatus::Broken);
        if is_handed_over {
            rig.driver.call(|driver, cx| {
                driver.stream.redirect(cx, Driver::on_ready).unwrap();
            });
        }
        // An event reports that all is well.
        rig.peer.limit_writes(usize::MAX);
        rig.peer.push("more");
        rig.status.take();
        assert_eq!(rig.run(), StreamStatus::Broken);
        assert_eq!((rig.peer.take_written(), rig.peer.unread()), (Vec::new(), 4));
        rig.with(|stream| {
            assert_eq!((stream.received(), stream.sent(), stream.output().len()), (4, 0, 4));
        });
    }
}

#[test]
fn m10_water_that_is_set_to_what_it_is_changes_nothing() {
    let rooms: Rc<RefCell<Vec<usize>>> = Rc::default();
    let seen = Rc::clone(&rooms);
    let mut moods = Moods::new(move |input, output| {
        output.set_water(NonZeroUsize::new(100).unwrap(), 10);
        seen.borrow_mut().push(output.room());
        output.append(input);
    });
    moods.script.writes.set(0);
    moods.rig.peer.push([7; 1000]);
    let _ = moods.rig.run();
    rooms.take();
    (0..8).for_each(|_| moods.take(10));
    assert_eq!(rooms.take(), [0; 8], "it is above its low water");
    moods.take(10);
    assert_eq!(rooms.take(), [0, 90]);
}
