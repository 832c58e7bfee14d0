//! Sources in memory, and their other ends.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::mem;
use std::io::{self, ErrorKind};
use std::net::Shutdown;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::testing::event::{Event, Ready};
use crate::testing::wire::Wire;

/// Makes sources whose readiness one reactor reports. Cloning counts a reference.
#[derive(Clone, Default)]
pub struct Sources {
    /// Those with something new to report, in order.
    line: Rc<RefCell<VecDeque<SharedWire>>>,
    /// All that are not dropped, and some that are.
    all: Rc<RefCell<Vec<Weak<RefCell<Wire>>>>>,
}

type SharedWire = Rc<RefCell<Wire>>;

impl Sources {
    /// Makes a source, and its other end.
    pub fn pair(&self) -> (ScriptedSource, Peer) {
        let end = PairEnd { wire: Rc::new(RefCell::new(Wire::new())), sources: self.clone() };
        let mut all = self.all.borrow_mut();
        if all.len() == all.capacity() {
            all.retain(|wire| wire.strong_count() > 0);
        }
        all.push(Rc::downgrade(&end.wire));
        drop(all);
        (ScriptedSource { end: end.clone() }, Peer { end })
    }

    /// Those that have something to read, and nothing new to report.
    pub(super) fn unread(&self) -> Vec<Token> {
        let all = self.all.borrow();
        let wires = all.iter().filter_map(Weak::upgrade);
        wires.filter_map(|wire| wire.borrow().unread()).collect()
    }

    /// Adds what those in line have to report.
    pub(super) fn gather(&self, events: &mut Vec<Event>) {
        for wire in self.line.take() {
            let mut wire = wire.borrow_mut();
            wire.edge = false;
            events.extend(wire.event());
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Either end.
#[derive(Clone)]
struct PairEnd {
    wire: SharedWire,
    sources: Sources,
}

impl PairEnd {
    /// Does something after which the source may have something new to report.
    fn change<R>(&self, change: impl FnOnce(&mut Wire) -> R) -> R {
        let mut wire = self.wire.borrow_mut();
        let result = change(&mut wire);
        if wire.event().is_some() && !mem::replace(&mut wire.edge, true) {
            self.sources.line.borrow_mut().push_back(Rc::clone(&self.wire));
        }
        result
    }

    /// Reads or writes. What would have blocked only as the script said so is ready right after.
    fn access(&self, access: impl FnOnce(&mut Wire) -> io::Result<usize>) -> io::Result<usize> {
        let mut wire = self.wire.borrow_mut();
        let errors = wire.errors();
        let result = access(&mut wire);
        let was_said = wire.errors() < errors;
        drop(wire);
        if was_said && result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            self.change(|_| ());
        }
        result
    }
}

/// A source in memory, which reads what its [`Peer`] pushes. It never blocks, and is made by
/// [`ScriptedReactor::pair`](crate::testing::ScriptedReactor::pair), for that reactor: no other is
/// reported of its readiness.
///
/// Its readiness is that of a socket at an edge-triggered poll: reported when it is registered, and when
/// something new happens; with all that holds when it is reported, of what it is watched for.
pub struct ScriptedSource {
    end: PairEnd,
}

impl ScriptedSource {
    /// Reads, writes, or does both no more, as a socket would: the peer sees the end of what is
    /// written, and own reads and writes find the end of the stream and a broken pipe.
    pub fn shutdown(&self, how: Shutdown) {
        self.end.change(|wire| {
            wire.inward.is_shut |= how != Shutdown::Write;
            wire.outward.is_shut |= how != Shutdown::Read;
        });
    }
}

impl io::Read for ScriptedSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.end.access(|wire| wire.read(buffer))
    }
}

impl io::Write for ScriptedSource {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.end.access(|wire| wire.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for ScriptedSource {
    fn register(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.end.change(|wire| wire.register(false, Some((token, interest))))
    }

    fn reregister(&mut self, _: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.end.change(|wire| wire.register(true, Some((token, interest))))
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        self.end.wire.borrow_mut().register(true, None)
    }
}

impl Drop for ScriptedSource {
    /// A source that is closed is not watched any more, as with descriptors.
    fn drop(&mut self) {
        let mut wire = self.end.wire.borrow_mut();
        wire.is_closed = true;
        wire.registered = None;
    }
}

impl fmt::Debug for ScriptedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScriptedSource").field(&self.end.wire.borrow()).finish()
    }
}

/// The other end of a [`ScriptedSource`], in the test's hands. Dropping it changes nothing.
pub struct Peer {
    end: PairEnd,
}

/// What the source reads.
impl Peer {
    /// Sends bytes.
    pub fn push(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.end.change(|wire| wire.inward.bytes.extend(bytes));
    }

    /// Sends no more: once it has read the rest, the source reads the end of the stream.
    pub fn close_write(&self) {
        self.end.change(|wire| wire.inward.ended = true);
    }

    /// Lets each read take that many bytes at most, from now on. With 0 it would block.
    pub fn limit_reads(&self, bytes: usize) {
        self.end.change(|wire| wire.inward.limit = bytes);
    }

    /// Lets one read more fail with `error`, once. Those that were lined up before come first.
    ///
    /// The source is ready then, unless the error is [`Interrupted`](ErrorKind::Interrupted) or
    /// [`WouldBlock`](ErrorKind::WouldBlock). After a `WouldBlock` it has something new to report.
    pub fn fail_read(&self, error: ErrorKind) {
        self.end.change(|wire| wire.inward.errors.push_back(error));
    }

    /// How many bytes the source has not read yet.
    pub fn unread(&self) -> usize {
        self.end.wire.borrow().inward.bytes.len()
    }
}

/// What the source writes.
impl Peer {
    /// Takes what was written since this was asked last.
    pub fn take_written(&self) -> Vec<u8> {
        mem::take(&mut self.end.wire.borrow_mut().outward.bytes)
    }

    /// Receives no more: writes find a broken pipe.
    pub fn close_read(&self) {
        self.end.change(|wire| wire.outward.ended = true);
    }

    /// Lets each write take that many bytes at most, from now on. With 0 it would block.
    pub fn limit_writes(&self, bytes: usize) {
        self.end.change(|wire| wire.outward.limit = bytes);
    }

    /// Lets one write more fail with `error`, once. Otherwise as [`fail_read`](Self::fail_read).
    pub fn fail_write(&self, error: ErrorKind) {
        self.end.change(|wire| wire.outward.errors.push_back(error));
    }

    /// Whether the source has [shut](ScriptedSource::shutdown) its writing, or is closed.
    pub fn is_write_shut(&self) -> bool {
        let wire = self.end.wire.borrow();
        wire.outward.is_shut || wire.is_closed
    }
}

/// The source itself.
impl Peer {
    /// Lets the poll refuse the next change of the registration with `error`, once: to register, to
    /// change the interest, or to deregister. Those that were lined up before come first.
    pub fn fail_registering(&self, error: ErrorKind) {
        self.end.wire.borrow_mut().registering.push_back(error);
    }

    /// Whether the source is registered.
    pub fn is_registered(&self) -> bool {
        self.end.wire.borrow().registered.is_some()
    }

    /// Whether the source was dropped.
    pub fn is_closed(&self) -> bool {
        self.end.wire.borrow().is_closed
    }

    /// An event of the source that says `ready`, whether that is so or not; none if it is not
    /// registered. It is reported only if the script does
    /// ([`turn_with`](crate::testing::ScriptedReactor::turn_with)): at once, it is readiness for
    /// nothing; once the source is gone, it is stale.
    pub fn event(&self, ready: Ready) -> Option<Event> {
        let (token, _) = self.end.wire.borrow().registered?;
        Some(Event::new(token, ready))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.end.wire.borrow()).finish()
    }
}
