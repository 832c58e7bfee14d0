//! Registered sources, and who owns them.

use alloc::rc::Rc;
use core::fmt;
use core::panic::Location;
use std::io;

use mio::event::Source;
use mio::{Interest, Registry};

use crate::arena::ArenaKey;
use crate::origin::SetUp;
use crate::queue::QueueHandle;
use crate::reactor::error::{DeregisterError, RedirectError, RegisterError};
use crate::reactor::readiness::{Flags, Readiness, ReadySource};
use crate::reactor::shared::ReactorHandle;
use crate::reactor::source_state::SourceState;
use crate::reactor::token::token;
use crate::reactor::watch::{AnyWatch, Destination, FunctionHandler, RecipientHandler, Watch};
use crate::recipient::{Address, Context};
use crate::unwind::in_drop;

const HELD: &str = "the source is taken only by into_source, which uses the registration up";

/// A source of events, owned, and registered for as long as this lives (rule M4).
///
/// Dropping it deregisters the source and cancels its readiness call, if one is pending: the handler
/// does not run again.
///
/// # Readiness
///
/// Readiness is reported when it begins, and it stays with the registration until an attempt would
/// block: [`readiness`](Self::readiness) returns it in any handler. The registration sees attempts by
/// [`try_io`](Self::try_io), but not those by [`source_mut`](Self::source_mut), after which readiness
/// stays as reported. A handler must continue until an attempt would block, ask to be called
/// [`again`](Readiness::again), or [keep](Readiness::keep) the rest for another handler. A handler that
/// makes its attempts by `try_io` and does none of this is counted as
/// [`undrained`](crate::reactor::EventStats::undrained), and reported to observers
/// ([`Step::Undrained`](crate::Step::Undrained)): its source may never be reported again.
///
/// # Examples
///
/// ```
/// use std::io::{ErrorKind, Read, Write};
///
/// use mio::Interest;
/// use mio::net::UnixStream;
/// use switchboard::reactor::{Reactor, Registration};
///
/// # #[cfg(unix)] {
/// struct Reader { socket: Registration<UnixStream>, received: Vec<u8> }
///
/// impl Reader {
///     fn on_ready(&mut self) {
///         let mut buffer = [0; 1024];
///         loop {
///             match self.socket.try_io(Interest::READABLE, |socket| socket.read(&mut buffer)) {
///                 Ok(0) => break, // the end of the stream
///                 Ok(read) => self.received.extend_from_slice(&buffer[..read]),
///                 Err(error) if error.kind() == ErrorKind::Interrupted => {}
///                 Err(_) => break, // it would block, or the connection is broken
///             }
///         }
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// let (socket, mut peer) = UnixStream::pair()?;
/// let reader = reactor.queue().try_recipient_with(|reader| {
///     let socket = reactor.register(socket, Interest::READABLE, reader, |reader: &mut Reader, _, _| {
///         reader.on_ready();
///     })?;
///     Ok::<_, Box<dyn std::error::Error>>(Reader { socket, received: Vec::new() })
/// })?;
/// peer.write_all(b"hello")?;
/// let _ = reactor.turn(None)?;
/// reader.call(|reader, _| {
///     assert_eq!(reader.received, b"hello");
///     assert!(!reader.socket.readiness().is_readable());
/// });
/// let _ = reactor.turn(None)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("watcher", "uv_poll_t", "AsyncFd"))]
#[must_use = "dropping a registration deregisters its source"]
pub struct Registration<S: Source> {
    /// `None` only once it is taken back.
    source: Option<S>,
    key: ArenaKey,
    reactor: ReactorHandle,
    /// Dropping the source deregisters it.
    ends_by_close: bool,
}

impl<S: Source> Registration<S> {
    #[track_caller]
    pub(super) fn to_recipient<T, H>(
        reactor: &ReactorHandle,
        source: S,
        interest: Interest,
        recipient: &Address<T>,
        handler: H,
    ) -> Result<Self, RegisterError<S>>
    where
        H: Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static,
    {
        if *recipient.queue() != reactor.shared().queue && !reactor.shared().queue.is_closed() {
            return Err(RegisterError::ForeignRecipient(source));
        }
        let to = RecipientHandler { recipient: recipient.clone(), handler };
        Self::new(reactor, source, interest, to)
    }

    #[track_caller]
    pub(super) fn to_function<H>(
        reactor: &ReactorHandle,
        source: S,
        interest: Interest,
        handler: H,
    ) -> Result<Self, RegisterError<S>>
    where
        H: Fn(&QueueHandle, &Readiness<'_>) + 'static,
    {
        let to = FunctionHandler { handler };
        Self::new(reactor, source, interest, to)
    }

    #[track_caller]
    fn new<D: Destination>(
        reactor: &ReactorHandle,
        source: S,
        interest: Interest,
        to: D,
    ) -> Result<Self, RegisterError<S>> {
        let shared = reactor.shared();
        if shared.queue.is_closed() {
            return Err(RegisterError::ReactorDropped(source));
        }
        let (site, set_up) = (Location::caller(), SetUp::here());
        let mut watches = shared.watches.borrow_mut();
        let (key, watch) = watches.occupy(shared.least_generation());
        let state = SourceState::new(interest);
        *watch = Some(Watch::new(&shared.line, key, site, set_up, to, state));
        drop(watches);
        // From here on, dropping this ends the registration, even if the source panics.
        let mut registration =
            Self { source: Some(source), key, reactor: reactor.clone(), ends_by_close: false };
        match registration
            .with_source(|source, registry| registry.register(source, token(key), interest))
        {
            Ok(()) => Ok(registration),
            Err(error) => {
                let mut rejected = registration.take_source();
                if error.kind() != io::ErrorKind::AlreadyExists {
                    // In debug, mio remembers the attempt, and would take it for a registration.
                    let _ = shared.deregister(&mut rejected);
                }
                Err(RegisterError::Poll { source: error, rejected })
            }
        }
    }

    /// Makes an attempt at the source, and returns its result. If it would block, `interest` is cleared
    /// from the [`readiness`](Self::readiness).
    ///
    /// The attempt is made even if the source is not known to be ready. It must match `interest`: a
    /// read or an accept for [`Interest::READABLE`], a write for [`Interest::WRITABLE`].
    ///
    /// An attempt that succeeds leaves readiness as it is, as there may be more. A caller that knows
    /// better, as after a read from a socket that did not fill the buffer,
    /// [clears](Self::clear_readiness) readiness itself, and saves the next attempt.
    ///
    /// # Errors
    ///
    /// Returns the error of the attempt, [`WouldBlock`](io::ErrorKind::WouldBlock) included.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # socket.send_to(b"ping", socket.local_addr()?)?;
    /// # let mut socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// # let _ = reactor.turn(None)?;
    /// let mut buffer = [0; 2048];
    /// let mut received = 0;
    /// loop {
    ///     match socket.try_io(Interest::READABLE, |socket| socket.recv(&mut buffer)) {
    ///         Ok(_) => received += 1,
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///         Err(error) if error.kind() == ErrorKind::Interrupted => {}
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// assert_eq!(received, 1);
    /// assert!(!socket.readiness().is_readable()); // the registration has seen that it would block
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_io<R>(
        &mut self,
        interest: Interest,
        attempt: impl FnOnce(&mut S) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = attempt(self.source_mut());
        self.with_state(|state| state.note_attempt(interest, &result));
        result
    }

    /// Returns the readiness that was reported, without the part that an attempt has since found to
    /// block.
    ///
    /// Any handler may call it. A proxy that stopped reading, as its other side was full, finds here
    /// that there is more to read once there is room again. No event would report that.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # socket.send_to(b"ping", socket.local_addr()?)?;
    /// let socket = reactor.register_function(socket, Interest::READABLE, |_, readiness| {
    ///     readiness.keep(); // the other side is full: read later
    /// })?;
    /// let _ = reactor.turn(None)?;
    /// // Later, in another handler, without a new event:
    /// if socket.readiness().is_readable() {
    ///     socket.readiness().again(); // calls the handler
    /// }
    /// assert_eq!(reactor.queue().tally().pending, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn readiness(&self) -> Readiness<'_> {
        let flags = self.with_state(|state| state.ready.get()).unwrap_or(Flags::NONE);
        Readiness { flags, source: self }
    }

    /// Clears `interest` from the readiness, as an attempt that would block does.
    ///
    /// Use it if you know without an attempt: a read from a stream socket or a pipe that did not fill
    /// its buffer has emptied it. The end of the stream and errors are cleared too, so read a source
    /// that [is closed](Readiness::is_read_closed) to its end instead.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use mio::net::TcpStream;
    /// # use switchboard::reactor::Reactor;
    /// use std::io::{Read, Write};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let mut stream = reactor.register_function(stream, Interest::READABLE, |_, _| ())?;
    /// peer.write_all(b"hello")?;
    /// # while !stream.readiness().is_readable() {
    /// let _ = reactor.turn(None)?;
    /// # }
    /// let mut buffer = [0; 1024];
    /// let count = stream.try_io(Interest::READABLE, |stream| stream.read(&mut buffer))?;
    /// if count < buffer.len() && !stream.readiness().is_read_closed() {
    ///     stream.clear_readiness(Interest::READABLE); // saves the read that would block
    /// }
    /// assert!(!stream.readiness().is_readable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear_readiness(&mut self, interest: Interest) {
        self.with_state(|state| state.clear(interest));
    }

    /// Returns the interest that the source is registered with, or `None` if the reactor is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// assert_eq!(socket.interest(), Some(Interest::READABLE));
    /// drop(reactor);
    /// assert_eq!(socket.interest(), None); // the reactor is gone
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn interest(&self) -> Option<Interest> {
        self.with_state(|state| state.interest.get())
    }

    /// Changes the interest that the source is registered with.
    ///
    /// If it has that interest already, this does nothing (see [`rearm`](Self::rearm)). The part that
    /// is removed is also removed from its readiness, and from the pending readiness call, which is
    /// canceled if no flag is left: the handler is not called for it, even if it was reported in the
    /// same batch.
    ///
    /// Cost: one system call, or none.
    ///
    /// # Errors
    ///
    /// Returns the error of the poll; the interest is then as before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let mut socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// // There is something to send now.
    /// socket.set_interest(Interest::READABLE | Interest::WRITABLE)?;
    /// // All is sent: room for more is of no interest.
    /// socket.set_interest(Interest::READABLE)?;
    /// socket.set_interest(Interest::READABLE)?; // no system call
    /// assert_eq!(socket.interest(), Some(Interest::READABLE));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        if self.interest() == Some(interest) {
            return Ok(());
        }
        self.reregister(interest)?;
        if let Some(watch) = self.watch() {
            watch.set_interest(interest);
        }
        Ok(())
    }

    /// Lets the poll report the readiness of the source again, even if it was reported before.
    ///
    /// Use it for a source whose readiness was lost, as by a library that does not drain it. It makes a
    /// system call; [`again`](Readiness::again) makes none.
    ///
    /// # Errors
    ///
    /// Returns the error of the poll.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # socket.send_to(b"ping", socket.local_addr()?)?;
    /// // The source goes through a library that may stop reading before it would block.
    /// let mut socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// let _ = reactor.turn(None)?;
    /// socket.rearm()?;
    /// let _ = reactor.turn(None)?; // reported once more
    /// assert_eq!(reactor.event_stats().delivered, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rearm(&mut self) -> io::Result<()> {
        self.interest().map_or(Ok(()), |interest| self.reregister(interest))
    }

    /// Hands the source over: from now on its readiness becomes calls of `handler` to `recipient`.
    ///
    /// A pending readiness call is canceled. If the source is [known](Self::readiness) to be ready, the
    /// new recipient is called. It makes no system call.
    ///
    /// The new recipient should own the registration by the time it is called. From a handler, send it
    /// there in a call, and redirect it in that call:
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::io::Write;
    /// use mio::Interest;
    /// use mio::net::UnixStream;
    /// use switchboard::reactor::{Reactor, Registration};
    ///
    /// struct Pool { idle: Vec<Registration<UnixStream>>, calls: u32 }
    ///
    /// let mut reactor = Reactor::new()?;
    /// let (socket, mut peer) = UnixStream::pair()?;
    /// let socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    ///
    /// let pool = reactor.queue().recipient(Pool { idle: Vec::new(), calls: 0 });
    /// pool.call(|pool, cx| {
    ///     socket.redirect(cx, |pool: &mut Pool, _, _| pool.calls += 1).expect("a pool of this queue");
    ///     pool.idle.push(socket);
    /// });
    /// let _ = reactor.turn(None)?;
    /// peer.write_all(b"more")?;
    /// let _ = reactor.turn(None)?;
    /// pool.call(|pool, _| assert_eq!(pool.calls, 1));
    /// assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the recipient belongs to another queue, or if the reactor is gone. Nothing
    /// has changed then.
    #[track_caller]
    pub fn redirect<T, H>(&self, recipient: &Address<T>, handler: H) -> Result<(), RedirectError>
    where
        T: 'static,
        H: Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static,
    {
        let queue = &self.reactor.shared().queue;
        if *recipient.queue() != *queue && !queue.is_closed() {
            return Err(RedirectError::ForeignRecipient);
        }
        self.redirect_to(RecipientHandler { recipient: recipient.clone(), handler })
    }

    /// Hands the source over to a function, otherwise as [`redirect`](Self::redirect).
    ///
    /// # Errors
    ///
    /// Returns an error if the reactor is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// # socket.send_to(b"ping", socket.local_addr()?)?;
    /// let socket = reactor.register_function(socket, Interest::READABLE, |_, readiness| readiness.keep())?;
    /// let _ = reactor.turn(None)?;
    /// let handle = reactor.handle();
    /// socket.redirect_to_function(move |_, _| handle.stop())?;
    /// reactor.run()?; // the new handler is called of the readiness that was kept
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn redirect_to_function<H>(&self, handler: H) -> Result<(), RedirectError>
    where
        H: Fn(&QueueHandle, &Readiness<'_>) + 'static,
    {
        self.redirect_to(FunctionHandler { handler })
    }

    #[track_caller]
    fn redirect_to<D: Destination>(&self, to: D) -> Result<(), RedirectError> {
        /// Ends the watch before, even if an observer panics.
        struct EndOnDrop(Rc<dyn AnyWatch>);

        impl Drop for EndOnDrop {
            fn drop(&mut self) {
                in_drop(|| self.0.end("registration redirected"));
            }
        }

        let site = Location::caller();
        let old = self.watch().ok_or(RedirectError::ReactorDropped)?;
        let (flags, state) = (old.source_state().known(), old.source_state().handed_over());
        let line = &self.reactor.shared().line;
        let new = Watch::new(line, self.key, site, SetUp::here(), to, state);
        let watch: Rc<dyn AnyWatch> = new;
        self.reactor.shared().replace_watch(self.key, &watch);
        let _old = EndOnDrop(old);
        watch.again(flags);
        Ok(())
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) return even if this is still registered.
    /// Pending calls are dialed before it returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let mut reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// // A socket for statistics: the program ends without regard to it.
    /// let statistics = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// statistics.unref();
    /// reactor.run()?; // returns at once: nothing else can happen
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unref(&self) {
        self.set_unref(true);
    }

    /// Reverts [`unref`](Self::unref): the registration keeps the loop running again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let pooled = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// pooled.unref(); // while it is idle
    /// assert!(!reactor.should_run());
    /// pooled.undo_unref(); // while a request is under way
    /// assert!(reactor.should_run());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn undo_unref(&self) {
        self.set_unref(false);
    }

    fn set_unref(&self, unref: bool) {
        let before = self.with_state(|state| state.is_unref.replace(unref));
        if before == Some(!unref) {
            self.reactor.shared().count_unref(unref);
        }
    }

    /// Deregisters the source and returns it.
    ///
    /// # Errors
    ///
    /// Returns the source in the error if the poll fails to deregister it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let registration = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// let socket = registration.into_source()?; // for another reactor, on another thread say
    /// assert_eq!(reactor.registration_count(), 0);
    /// # drop(socket);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_source(mut self) -> Result<S, DeregisterError<S>> {
        let mut source = self.take_source();
        match self.reactor.shared().deregister(&mut source) {
            Ok(()) => Ok(source),
            // The poll has dropped it by itself, as mio's `poll` does when the peer hangs up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(source),
            Err(error) => Err(DeregisterError { source: error, rejected: source }),
        }
    }

    /// Returns the source.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::Reactor;
    /// # let reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// println!("listening on {}", socket.source().local_addr()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source(&self) -> &S {
        self.source.as_ref().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    /// Returns the source, to read, write or set options. If you replace it, the poll does not notice.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::{Interest, net::TcpStream};
    /// # use switchboard::reactor::Reactor;
    /// # let reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let mut stream = reactor.register_function(stream, Interest::READABLE, |_, _| ())?;
    /// stream.source_mut().set_nodelay(true)?;
    /// assert!(stream.source().nodelay()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source_mut(&mut self) -> &mut S {
        self.source.as_mut().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    /// Returns the reactor that the source is registered with.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// # use mio::{Interest, net::UdpSocket};
    /// # use switchboard::reactor::{Reactor, Registration, Timer};
    /// # let reactor = Reactor::new()?;
    /// # let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    ///
    /// /// A timeout for a source, armed where the source is.
    /// fn arm(source: &Registration<UdpSocket>) -> Timer {
    ///     let timed_out = source.reactor().queue().callback(|_, ()| println!("timed out"));
    ///     source.reactor().after(Duration::from_secs(30), timed_out)
    /// }
    ///
    /// let socket = reactor.register_function(socket, Interest::READABLE, |_, _| ())?;
    /// let timer = arm(&socket);
    /// assert_eq!(reactor.timer_count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reactor(&self) -> &ReactorHandle {
        &self.reactor
    }

    /// Notes whether dropping the source deregisters it, so that nothing else has to.
    pub(crate) const fn set_ends_by_close(&mut self, ends_by_close: bool) {
        self.ends_by_close = ends_by_close;
    }

    /// Notes that an attempt would block that [`try_io`](Self::try_io) has not made.
    pub(crate) fn note_would_block(&self, interest: Interest) {
        self.with_state(|state| state.clear(interest));
    }

    /// Returns a function that calls the handler again for all that is ready. It notifies observers, so
    /// an owner that keeps the registration in a cell calls it with nothing borrowed.
    pub(crate) fn again(&self) -> impl FnOnce() + use<S> {
        let (watch, flags) = (self.watch(), self.readiness().flags());
        move || {
            if let Some(watch) = watch {
                watch.again(flags);
            }
        }
    }

    /// Has the handler called of `flags`.
    pub(crate) fn call_again(&self, flags: Flags) {
        ReadySource::again(self, flags);
    }

    fn take_source(&mut self) -> S {
        self.source.take().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    fn reregister(&mut self, interest: Interest) -> io::Result<()> {
        let token = token(self.key);
        self.with_source(|source, registry| registry.reregister(source, token, interest))
    }

    fn with_source(
        &mut self,
        access: impl FnOnce(&mut S, &Registry) -> io::Result<()>,
    ) -> io::Result<()> {
        let reactor = self.reactor.clone();
        access(self.source_mut(), reactor.shared().registry()?)
    }

    /// The reactor's side; `None` if the reactor is gone.
    fn watch(&self) -> Option<Rc<dyn AnyWatch>> {
        self.reactor.shared().watches.borrow_mut().get(self.key).cloned()
    }

    /// As [`watch`](Self::watch), for what runs no code of a user.
    #[inline]
    fn with_state<R>(&self, access: impl FnOnce(&SourceState) -> R) -> Option<R> {
        let mut watches = self.reactor.shared().watches.borrow_mut();
        watches.get(self.key).map(|watch| access(watch.source_state()))
    }
}

impl<S: Source> ReadySource for Registration<S> {
    fn again(&self, flags: Flags) {
        if let Some(watch) = self.watch() {
            watch.again(flags);
        }
    }

    fn keep(&self) {
        self.with_state(|state| state.drain.keep());
    }
}

impl<S: Source> Drop for Registration<S> {
    fn drop(&mut self) {
        /// Deregisters the source.
        struct Deregister<'a, S: Source>(&'a mut Option<S>, &'a ReactorHandle);

        impl<S: Source> Drop for Deregister<'_, S> {
            fn drop(&mut self) {
                if let Some(source) = self.0 {
                    // A source that fails here is closed already, which deregisters it too.
                    in_drop(|| _ = self.1.shared().deregister(source));
                }
            }
        }

        // First the calls, then the source; each even if the other panics.
        let _deregister =
            (!self.ends_by_close).then(|| Deregister(&mut self.source, &self.reactor));
        in_drop(|| self.reactor.shared().forget(self.key));
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Registration<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("source", &self.source).finish_non_exhaustive()
    }
}
