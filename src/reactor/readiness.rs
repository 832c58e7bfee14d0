//! The readiness of a source.

use core::fmt;

use mio::Interest;
use mio::event::Event;

/// The flags of an event; the flags of several events can be merged.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    pub(crate) const READABLE: u8 = 1;
    pub(crate) const WRITABLE: u8 = 1 << 1;
    pub(crate) const READ_CLOSED: u8 = 1 << 2;
    pub(crate) const WRITE_CLOSED: u8 = 1 << 3;
    pub(crate) const ERROR: u8 = 1 << 4;
    pub(crate) const PRIORITY: u8 = 1 << 5;

    pub(crate) const NONE: Self = Self(0);
    pub(super) const WRITES: Self = Self(Self::WRITABLE | Self::WRITE_CLOSED);

    pub(super) fn of(event: &Event) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(event.is_readable(), Self::READABLE)
            | flag(event.is_writable(), Self::WRITABLE)
            | flag(event.is_read_closed(), Self::READ_CLOSED)
            | flag(event.is_write_closed(), Self::WRITE_CLOSED)
            | flag(event.is_error(), Self::ERROR)
            | flag(event.is_priority(), Self::PRIORITY);
        // An event without these flags is of a closed descriptor, on mio's `poll`.
        Self(if flags == 0 { Self::ERROR } else { flags })
    }

    /// What an attempt at `interest` that would block shows not to hold.
    #[inline]
    pub(crate) const fn refuted_by(interest: Interest) -> Self {
        let mut flags = 0;
        if interest.is_readable() {
            flags |= Self::READABLE | Self::READ_CLOSED | Self::ERROR;
        }
        if interest.is_writable() {
            flags |= Self::WRITABLE | Self::WRITE_CLOSED | Self::ERROR;
        }
        if interest.is_priority() {
            flags |= Self::PRIORITY;
        }
        Self(flags)
    }

    /// What is still of interest. A connection that is closed in both directions, or broken, is so for
    /// readers and writers.
    pub(super) fn within(self, interest: Interest) -> Self {
        let mut kept = Self::READ_CLOSED | Self::WRITE_CLOSED | Self::ERROR;
        if !interest.is_readable() && !self.any(Self::WRITE_CLOSED | Self::ERROR) {
            kept &= !Self::READ_CLOSED;
        }
        if interest.is_readable() {
            kept |= Self::READABLE;
        }
        if interest.is_writable() {
            kept |= Self::WRITABLE;
        }
        if interest.is_priority() {
            kept |= Self::PRIORITY;
        }
        Self(self.0 & kept)
    }

    pub(crate) const fn merge(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn any(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    /// Returns true if a read may succeed: there is data, the end of the stream or an error.
    pub(crate) const fn is_readable(self) -> bool {
        self.any(Self::READABLE | Self::READ_CLOSED | Self::ERROR)
    }

    pub(crate) const fn is_priority(self) -> bool {
        self.any(Self::PRIORITY)
    }

    /// Returns true if a write may succeed: there is room, a closed stream or an error.
    pub(crate) const fn is_writable(self) -> bool {
        self.any(Self::WRITABLE | Self::WRITE_CLOSED | Self::ERROR)
    }
}

/// The readiness of a source. A readiness call passes it to its handler, and
/// [`Registration::readiness`](crate::reactor::Registration::readiness) returns it.
///
/// Readiness is a hint: the read or write itself may still block. It is reported once, when it begins
/// (mio is edge-triggered). A handler that stops before its source would block must ask to be called
/// [`again`](Self::again), or [keep](Self::keep) the rest for another handler.
pub struct Readiness<'a> {
    pub(super) flags: Flags,
    pub(super) source: &'a dyn ReadySource,
}

/// Whose readiness it is.
pub(super) trait ReadySource {
    /// Schedules a readiness call that reports `flags`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::Registration;
    ///
    /// fn on_ready(socket: &mut Registration<UdpSocket>) {
    ///     let mut buffer = [0; 2048];
    ///     for _ in 0..16 {
    ///         match socket.try_io(Interest::READABLE, |socket| socket.recv(&mut buffer)) {
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => return,
    ///             _ => {} // use the datagram, or count the error
    ///         }
    ///     }
    ///     // There may be more. First the other sockets have their turn.
    ///     socket.readiness().again();
    /// }
    /// # let mut reactor = switchboard::reactor::Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # for _ in 0..17 { socket.send_to(b"ping", socket.local_addr()?)?; }
    /// # let mut socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// # let _ = reactor.turn(None)?;
    /// # on_ready(&mut socket);
    /// # assert_eq!(reactor.queue().tally().pending, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn again(&self, flags: Flags);

    /// Notes that what is left is left on purpose.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::Registration;
    ///
    /// /// Forwards datagrams, unless `waiting` is full: then the handler that empties it continues.
    /// fn on_ready(socket: &mut Registration<UdpSocket>, waiting: &mut Vec<Vec<u8>>) {
    ///     let mut buffer = [0; 2048];
    ///     while waiting.len() < 8 {
    ///         match socket.try_io(Interest::READABLE, |socket| socket.recv(&mut buffer)) {
    ///             Ok(count) => waiting.push(buffer[..count].to_vec()),
    ///             Err(_) => return, // it would block, say
    ///         }
    ///     }
    ///     socket.readiness().keep(); // stopped on purpose
    /// }
    /// # let mut reactor = switchboard::reactor::Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # for _ in 0..9 { socket.send_to(b"ping", socket.local_addr()?)?; }
    /// # let mut socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// # let _ = reactor.turn(None)?;
    /// # let mut waiting = Vec::new();
    /// # on_ready(&mut socket, &mut waiting);
    /// # assert!(waiting.len() == 8 && socket.readiness().is_readable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn keep(&self);
}

impl Readiness<'_> {
    #[inline]
    pub(crate) const fn flags(&self) -> Flags {
        self.flags
    }

    /// Returns true if a read may succeed: there is data, the end of the stream or an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # socket.send_to(b"ping", socket.local_addr()?)?;
    /// let handle = reactor.handle();
    /// let _socket = reactor.register_function(socket, Interest::READABLE, move |_, readiness| {
    ///     if readiness.is_readable() {
    ///         handle.stop();
    ///     }
    /// })?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_readable(&self) -> bool {
        self.flags.is_readable()
    }

    /// Returns true if a write may succeed: there is room, a closed stream or an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let mut socket = reactor.register_function(socket, Interest::WRITABLE, |_, _| ())?;
    /// let _ = reactor.turn(None)?;
    /// if socket.readiness().is_writable() {
    ///     let address = socket.source().local_addr()?;
    ///     socket.try_io(Interest::WRITABLE, |socket| socket.send_to(b"ping", address))?;
    /// }
    /// # assert!(socket.readiness().is_writable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_writable(&self) -> bool {
        self.flags.is_writable()
    }

    /// Returns true if the peer will send no more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::TcpStream};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let (peer, _) = listener.accept()?;
    /// let stream = reactor.register_function(stream, Interest::READABLE, |_, _| ())?;
    /// peer.shutdown(std::net::Shutdown::Write)?;
    /// while !stream.readiness().is_read_closed() {
    ///     let _ = reactor.turn(None)?;
    /// }
    /// // The peer sends no more: read what is left, to the end of the stream.
    /// assert!(stream.readiness().is_readable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_read_closed(&self) -> bool {
        self.flags.any(Flags::READ_CLOSED)
    }

    /// Returns true if the peer will receive no more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let socket = reactor.register_function(socket, Interest::WRITABLE, |_, readiness| {
    ///     if readiness.is_write_closed() {
    ///         println!("the peer has gone; no need to send what is left");
    ///     }
    /// })?;
    /// let _ = reactor.turn(None)?;
    /// assert!(!socket.readiness().is_write_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_write_closed(&self) -> bool {
        self.flags.any(Flags::WRITE_CLOSED)
    }

    /// Returns true if the source has an error to report.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::TcpStream};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    /// let stream = TcpStream::connect(address)?; // nobody listens there
    /// let stream = reactor.register_function(stream, Interest::WRITABLE, |_, _| ())?;
    /// while !stream.readiness().is_error() {
    ///     let _ = reactor.turn(None)?;
    /// }
    /// assert!(stream.source().take_error()?.is_some()); // why the connect failed
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_error(&self) -> bool {
        self.flags.any(Flags::ERROR)
    }

    /// Returns true if there is urgent data.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let socket = reactor.register_function(socket, Interest::READABLE, |_, readiness| {
    ///     if readiness.is_priority() {
    ///         println!("urgent data (TCP), or a changed file (sysfs)");
    ///     }
    /// })?;
    /// assert!(!socket.readiness().is_priority()); // nothing is reported yet
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_priority(&self) -> bool {
        self.flags.any(Flags::PRIORITY)
    }

    /// Schedules another readiness call with the same flags, as far as they are still of interest, at
    /// the tail of the queue. It makes no system call. Without flags, nothing is scheduled.
    ///
    /// A handler that stops before its source would block, so that other sources are served, must call
    /// this. With the readiness that a [`Registration`](crate::reactor::Registration) returns, another
    /// handler lets the source's handler continue.
    pub fn again(&self) {
        self.source.again(self.flags);
    }

    /// Keeps readiness for later: the handler stops on purpose before its source would block, and
    /// another handler continues, as in a proxy that stops reading while its other side is full. That
    /// handler finds the readiness at
    /// [`Registration::readiness`](crate::reactor::Registration::readiness).
    ///
    /// Its only effect is that this call of the handler is not counted as
    /// [`undrained`](crate::reactor::EventStats::undrained).
    pub fn keep(&self) {
        self.source.keep();
    }
}

impl fmt::Debug for Readiness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("read_closed", &self.is_read_closed())
            .field("write_closed", &self.is_write_closed())
            .field("error", &self.is_error())
            .field("priority", &self.is_priority())
            .finish()
    }
}
