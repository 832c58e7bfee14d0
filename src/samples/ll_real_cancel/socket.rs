//! A source that is registered once for any number of operations.
//!
//! - I1 What waits is held by the reactor's side of the registration: it goes with the reactor. It holds
//!   the socket, which deregisters once no operation and no user has it any more.
//! - I2 Each side has one place to wait in.

use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};
use core::fmt;
use std::io;

use mio::Interest;
use mio::event::Source;
use mio::net::TcpStream;

use crate::reactor::{ReactorHandle, Readiness, RegisterError, Registration};
use crate::unwind::{in_drop, to_the_end};

/// A source of readiness for operations: registered once, for any number of them.
///
/// Clones share it. When the last one is dropped, and no operation runs on it, the source is
/// deregistered and closed. One operation at a time can wait to read (or accept), and one to write (or
/// connect); to start another one is an error.
///
/// A socket that is kept keeps [`Reactor::run`](crate::reactor::Reactor::run) running, even if no operation waits on it.
///
/// Cost: two system calls over its life, and none for an operation but its own reads and writes: one,
/// if the source is ready; one that would block, and one after the event, if it is not.
///
/// # Examples
///
/// A read with a deadline, and another one from the same stream after it has passed:
///
/// ```
/// # #[cfg(unix)] {
/// use std::io::Write;
/// use std::rc::Rc;
/// use std::time::Duration;
/// use mio::net::UnixStream;
/// use switchboard::op::{OpError, OpResult};
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlRealCancel, Module, ModuleExt, Read, Socket};
///
/// let mut reactor = Reactor::new().unwrap();
/// let (ours, mut theirs) = UnixStream::pair().unwrap();
/// let socket = Socket::stream(&reactor.handle(), ours).unwrap();
/// let reads = Rc::new(LlRealCancel::new());
/// let timed = Rc::clone(&reads).within(&reactor.handle(), Duration::from_millis(1));
/// timed.open();
///
/// let again = socket.clone();
/// type Outcome = OpResult<Vec<u8>, std::io::Error>;
/// let last = reactor.queue().callback(|_, read: Outcome| assert_eq!(read.unwrap(), b"late"));
/// let done = reactor.queue().callback(move |_, read: Outcome| {
///     assert!(matches!(read, Err(OpError::TimedOut)));
///     theirs.write_all(b"late").unwrap();
///     reads.start(Read { from: again, limit: 100 }, last).unwrap();
/// });
/// timed.start(Read { from: socket, limit: 100 }, done).unwrap();
/// reactor.run().unwrap();
/// # }
/// ```
pub struct Socket<S: Source = TcpStream>(Rc<SocketCell<S>>);

struct SocketCell<S: Source> {
    /// Lent during an attempt, and while the source is accessed.
    registration: Cell<Option<Registration<S>>>,
    /// The handler must be called again once it is back, as an attempt was due meanwhile.
    calls_again: Cell<bool>,
    /// Gone with the reactor (I1).
    places: Weak<Places>,
}

/// Where operations wait (I2).
#[derive(Default)]
struct Places {
    read: RefCell<Option<Rc<dyn Waiter>>>,
    write: RefCell<Option<Rc<dyn Waiter>>>,
}

/// An operation that waits for readiness.
pub(super) trait Waiter {
    /// The source may be ready.
    fn on_ready(&self);
}

/// What an operation waits for.
#[derive(Clone, Copy)]
pub(in super::super) enum Side {
    Read,
    Write,
}

/// An operation cannot wait at the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    #[error("no place to wait: another operation waits for the same; let it end, or cancel it")]
    Taken,
    #[error(
        "no place to wait: the source is in use by `Socket::with` or by an attempt; start when that is over"
    )]
    InUse,
    #[error("no place to wait: the reactor has been dropped; drop the socket")]
    ReactorDropped,
}

impl NoPlace {
    /// In a few words, for observers.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Taken => "another operation waits for the same",
            Self::InUse => "the source is in use",
            Self::ReactorDropped => "the reactor has been dropped",
        }
    }
}

impl<S: Source + 'static> Socket<S> {
    /// Registers a stream, to read from and write to.
    ///
    /// # Errors
    ///
    /// Returns the source in the error if the poll rejects it, or if the reactor is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::net::TcpStream;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::Socket;
    ///
    /// let reactor = Reactor::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let socket = Socket::stream(&reactor.handle(), stream)?;
    /// let for_writes = socket.clone(); // both share the registration
    /// assert_eq!(reactor.registration_count(), 1);
    /// # drop(for_writes);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn stream(reactor: &ReactorHandle, source: S) -> Result<Self, RegisterError<S>> {
        Self::new(reactor, source, Interest::READABLE | Interest::WRITABLE)
    }

    /// Registers a source of any kind, such as a listener, which is only read.
    ///
    /// # Errors
    ///
    /// Returns the source in the error if the poll rejects it, or if the reactor is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::TcpListener};
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::Socket;
    ///
    /// let reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    /// let listener = Socket::new(&reactor.handle(), listener, Interest::READABLE)?; // for accepts
    /// assert_eq!(reactor.registration_count(), 1);
    /// # drop(listener);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn new(
        reactor: &ReactorHandle,
        source: S,
        interest: Interest,
    ) -> Result<Self, RegisterError<S>> {
        let waiting = Rc::new(Places::default());
        let places = Rc::downgrade(&waiting);
        let on_ready = move |_: &_, readiness: &Readiness<'_>| waiting.on_ready(readiness);
        let registration = reactor.register_function(source, interest, on_ready)?;
        let registration = Cell::new(Some(registration));
        Ok(Self(Rc::new(SocketCell { registration, calls_again: Cell::new(false), places })))
    }

    /// Calls `access` with the source, to read its address or to set an option, and returns the result.
    /// Returns `None` during an attempt, that is, for code that the source itself calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::net::TcpStream;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::Socket;
    ///
    /// let reactor = Reactor::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let socket = Socket::stream(&reactor.handle(), stream)?;
    /// socket.with(|stream| stream.set_nodelay(true)).transpose()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with<R>(&self, access: impl FnOnce(&S) -> R) -> Option<R> {
        let lent = Lent { registration: Some(self.0.registration.take()?), cell: &self.0 };
        lent.registration.as_ref().map(|registration| access(registration.source()))
    }

    /// Returns the registration, if this is the last clone and no operation runs on it. Its readiness
    /// is kept.
    ///
    /// # Errors
    ///
    /// Returns the socket if it is shared.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::net::TcpStream;
    /// # use switchboard::Context;
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::samples::Socket;
    /// use switchboard::streams::Stream;
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let socket = Socket::stream(&reactor.handle(), stream)?;
    /// struct Session { stream: Stream<TcpStream> }
    ///
    /// impl Session {
    ///     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    ///         let status = self.stream.drive(|input, output| {
    ///             output.append(input);
    ///             if input.is_over() {
    ///                 output.finish();
    ///             }
    ///         });
    ///         if status.is_over() {
    ///             cx.hang_up();
    ///         }
    ///     }
    /// }
    ///
    /// // An operation has connected; from here on it is a stream.
    /// let registration = socket.into_registration().map_err(|_| "the socket is shared")?;
    /// let session = reactor.queue().try_recipient_with(|own| {
    ///     let stream = Stream::from_registration(registration, own, Session::on_ready)?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// })?;
    /// # drop(listener.accept()?);
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_registration(self) -> Result<Registration<S>, Self> {
        let cell = Rc::try_unwrap(self.0).map_err(Self)?;
        match cell.registration.take() {
            Some(registration) => Ok(registration),
            None => Err(Self(Rc::new(cell))),
        }
    }

    /// Whether an operation can wait.
    pub(super) fn admit(&self, side: Side) -> Result<(), NoPlace> {
        let places = self.0.places.upgrade().ok_or(NoPlace::ReactorDropped)?;
        if places.of(side).borrow().is_some() {
            return Err(NoPlace::Taken);
        }
        let registration = self.0.registration.take().ok_or(NoPlace::InUse)?;
        self.0.registration.set(Some(registration));
        Ok(())
    }

    /// Lets an operation wait.
    pub(super) fn wait(&self, side: Side, waiter: &(impl Waiter + Clone + 'static)) {
        if let Some(places) = self.0.places.upgrade() {
            *places.of(side).borrow_mut() = Some(Rc::new(waiter.clone()));
        }
    }

    /// Lets an operation wait no more. What is returned holds it.
    #[must_use]
    pub(super) fn leave(&self, side: Side) -> Option<Rc<dyn Waiter>> {
        self.0.places.upgrade()?.of(side).take()
    }

    /// Whether the source was ready when last heard of.
    pub(super) fn is_ready(&self, side: Side) -> bool {
        let Some(registration) = self.0.registration.take() else { return false };
        let is_ready = side.is_ready(&registration.readiness());
        self.0.registration.set(Some(registration));
        is_ready
    }

    /// Has the operation that waits make another attempt, without an event, behind others.
    pub(super) fn ask_again(&self) {
        self.0.calls_again.set(true);
        self.0.call_again();
    }

    /// Makes an attempt at the source, which notes whether it would block. Goes on after a signal.
    pub(super) fn attempt<R>(
        &self,
        side: Side,
        mut attempt: impl FnMut(&mut S) -> io::Result<R>,
    ) -> io::Result<R> {
        let Some(registration) = self.0.registration.take() else {
            // No event would report what this misses.
            self.0.calls_again.set(true);
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let mut lent = Lent { registration: Some(registration), cell: &self.0 };
        let Some(registration) = &mut lent.registration else { unreachable!("just put there") };
        loop {
            match registration.try_io(side.interest(), &mut attempt) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// A registration that is lent. Goes back even if the source panics.
struct Lent<'a, S: Source> {
    registration: Option<Registration<S>>,
    cell: &'a SocketCell<S>,
}

impl<S: Source> Drop for Lent<'_, S> {
    #[inline]
    fn drop(&mut self) {
        self.cell.registration.set(self.registration.take());
        if self.cell.calls_again.get() {
            in_drop(|| self.cell.call_again());
        }
    }
}

impl<S: Source> SocketCell<S> {
    #[cold]
    fn call_again(&self) {
        let Some(registration) = self.registration.take() else { return };
        self.calls_again.set(false);
        let again = registration.again();
        self.registration.set(Some(registration));
        again();
    }
}

impl Places {
    const fn of(&self, side: Side) -> &RefCell<Option<Rc<dyn Waiter>>> {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }

    /// The readiness call.
    fn on_ready(&self, readiness: &Readiness<'_>) {
        // What is left stays known, for the next operation.
        readiness.keep();
        // Both, even if the source panics.
        let mut sides = [Side::Read, Side::Write].into_iter();
        to_the_end(|| {
            let Some(side) = sides.next() else { return false };
            let waiter = if side.is_ready(readiness) { self.of(side).take() } else { None };
            if let Some(waiter) = waiter {
                waiter.on_ready();
            }
            true
        });
    }
}

impl Side {
    const fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READABLE,
            Self::Write => Interest::WRITABLE,
        }
    }

    const fn is_ready(self, readiness: &Readiness<'_>) -> bool {
        match self {
            Self::Read => readiness.is_readable(),
            Self::Write => readiness.is_writable(),
        }
    }
}

impl<S: Source> Clone for Socket<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Source> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}
