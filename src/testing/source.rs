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
    /// Returns a source and its other end.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.sources().pair();
    /// peer.push("hello");
    /// let mut buffer = [0; 8];
    /// assert_eq!(source.read(&mut buffer)?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    /// Reads or writes. A source that blocked only because the script made it is ready right after.
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
    /// Shuts down reading, writing or both, as a socket does: the peer sees the end of what is written,
    /// and own reads and writes find the end of the stream and a broken pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Shutdown;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let reactor = ScriptedReactor::new()?;
    /// let (source, peer) = reactor.pair();
    /// source.shutdown(Shutdown::Write);
    /// assert!(peer.is_write_shut());
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::Read;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.push("GET / HT");
    /// peer.push("TP/1.1\r\n"); // a request in two parts
    /// let mut request = [0; 32];
    /// assert_eq!(source.read(&mut request)?, 16);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn push(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.end.change(|wire| wire.inward.bytes.extend(bytes));
    }

    /// Ends the stream: once it has read the rest, the source reads the end.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::Read;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.push("last words");
    /// peer.close_write();
    /// let mut text = String::new();
    /// source.read_to_string(&mut text)?; // reads to the end of the stream
    /// assert_eq!(text, "last words");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close_write(&self) {
        self.end.change(|wire| wire.inward.ended = true);
    }

    /// Lets each read take that many bytes at most, from now on. With 0 it would block.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::Read;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.push("hello");
    /// peer.limit_reads(1); // a byte at a time
    /// assert_eq!(source.read(&mut [0; 8])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn limit_reads(&self, bytes: usize) {
        self.end.change(|wire| wire.inward.limit = bytes);
    }

    /// Lets one read more fail with `error`, once. Errors that were lined up before are returned first.
    ///
    /// The source is ready then, unless the error is [`Interrupted`](ErrorKind::Interrupted) or
    /// [`WouldBlock`](ErrorKind::WouldBlock). After a `WouldBlock` it has something new to report.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{ErrorKind, Read};
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.fail_read(ErrorKind::ConnectionReset);
    /// let read = source.read(&mut [0; 8]);
    /// assert!(read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fail_read(&self, error: ErrorKind) {
        self.end.change(|wire| wire.inward.errors.push_back(error));
    }

    /// Returns the number of bytes that the source has not read yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::Read;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.push("hello");
    /// assert_eq!(peer.unread(), 5);
    /// source.read_exact(&mut [0; 2])?;
    /// assert_eq!(peer.unread(), 3); // backpressure: the rest waits with the peer
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unread(&self) -> usize {
        self.end.wire.borrow().inward.bytes.len()
    }
}

/// What the source writes.
impl Peer {
    /// Takes and returns the bytes that were written since the last call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::Write;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// source.write_all(b"HTTP/1.1 200 OK\r\n")?;
    /// assert_eq!(peer.take_written(), b"HTTP/1.1 200 OK\r\n");
    /// assert!(peer.take_written().is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_written(&self) -> Vec<u8> {
        mem::take(&mut self.end.wire.borrow_mut().outward.bytes)
    }

    /// Closes the receiving side: writes fail with a broken pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{ErrorKind, Write};
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.close_read();
    /// let written = source.write(b"hello");
    /// assert!(written.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close_read(&self) {
        self.end.change(|wire| wire.outward.ended = true);
    }

    /// Lets each write take that many bytes at most, from now on. With 0 it would block.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{ErrorKind, Write};
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.limit_writes(0); // a peer that does not read
    /// let written = source.write(b"hello");
    /// assert!(written.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn limit_writes(&self, bytes: usize) {
        self.end.change(|wire| wire.outward.limit = bytes);
    }

    /// Lets one write more fail with `error`, once. Otherwise as [`fail_read`](Self::fail_read).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{ErrorKind, Write};
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (mut source, peer) = reactor.pair();
    /// peer.fail_write(ErrorKind::Interrupted);
    /// assert!(source.write(b"hello").is_err());
    /// assert_eq!(source.write(b"hello")?, 5); // it fails once
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fail_write(&self, error: ErrorKind) {
        self.end.change(|wire| wire.outward.errors.push_back(error));
    }

    /// Returns true if the source has [shut](ScriptedSource::shutdown) its writing, or is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (source, peer) = reactor.pair();
    /// assert!(!peer.is_write_shut());
    /// drop(source);
    /// assert!(peer.is_write_shut());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_write_shut(&self) -> bool {
        let wire = self.end.wire.borrow();
        wire.outward.is_shut || wire.is_closed
    }
}

/// The source itself.
impl Peer {
    /// Lets the poll refuse the next change of the registration with `error`, once: to register, to
    /// change the interest, or to deregister. Errors that were lined up before are returned first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::ErrorKind;
    /// # use mio::Interest;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (source, peer) = reactor.pair();
    /// peer.fail_registering(ErrorKind::OutOfMemory);
    /// let registered = reactor.register_function(source, Interest::READABLE, |_, _| ());
    /// assert!(registered.is_err()); // with the source inside
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fail_registering(&self, error: ErrorKind) {
        self.end.wire.borrow_mut().registering.push_back(error);
    }

    /// Returns true if the source is registered.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (source, peer) = reactor.pair();
    /// let source = reactor.register_function(source, Interest::READABLE, |_, _| ())?;
    /// assert!(peer.is_registered());
    /// drop(source);
    /// assert!(!peer.is_registered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_registered(&self) -> bool {
        self.end.wire.borrow().registered.is_some()
    }

    /// Returns true if the source was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::testing::ScriptedReactor;
    /// # let reactor = ScriptedReactor::new()?;
    /// let (source, peer) = reactor.pair();
    /// let session = reactor.queue().recipient(source);
    /// session.hang_up();
    /// assert!(peer.is_closed()); // the session's socket went with it
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.end.wire.borrow().is_closed
    }

    /// Returns an event of the source with the flags `ready`, true or not, or `None` if the source is
    /// not registered. The script may report it
    /// ([`turn_with`](crate::testing::ScriptedReactor::turn_with)): at once, as readiness for nothing,
    /// or once the source is gone, as a stale event.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::{Ready, ScriptedReactor};
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (source, peer) = reactor.pair();
    /// let _source = reactor.register_function(source, Interest::READABLE, |_, _| ())?;
    /// // Readiness for nothing: the handler must not rely on there being data.
    /// assert_eq!(reactor.turn_with(peer.event(Ready::READABLE)).dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
