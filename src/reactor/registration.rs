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

const HELD: &str = "the source is taken only by into_source, which uses the registration up";

/// A source of events, owned, and registered for as long as this lives (rule M4).
///
/// Dropping it deregisters the source and cancels its readiness call, if one is pending: the
/// handler does not run any more.
///
/// # Readiness
///
/// Readiness is reported when it begins, and it sticks to the registration until an attempt finds that it
/// would block: [`readiness`](Self::readiness) returns it in any handler. Attempts that are made by
/// [`try_io`](Self::try_io) are seen by the registration; those by [`source_mut`](Self::source_mut) are
/// not, so readiness then stays as it was reported. A handler of readiness either goes on until an
/// attempt would block, or asks to be called [`again`](Readiness::again), or
/// [keeps](Readiness::keep) what is left for another handler. One that makes its attempts by `try_io`
/// and does none of this is counted as [`undrained`](crate::reactor::EventStats::undrained), and
/// reported to observers ([`Step::Undrained`](crate::Step::Undrained)): its source may never be
/// reported again.
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
        let to = FunctionHandler { queue: reactor.queue().clone(), handler };
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

    /// Makes an attempt at the source, and notes how it went: if it would block, what `interest` names is
    /// cleared from the [`readiness`](Self::readiness).
    ///
    /// The attempt is made whatever the readiness is. It must be one at what `interest` names: a read or
    /// an accept at [`Interest::READABLE`], a write at [`Interest::WRITABLE`].
    ///
    /// An attempt that went well leaves readiness as it is, as there may be more. If the caller knows
    /// that there is not, as after a read from a socket that has not filled the buffer, it
    /// [clears](Self::clear_readiness) readiness itself, and saves the next attempt.
    ///
    /// # Errors
    ///
    /// Passes on the error of the attempt, [`WouldBlock`](io::ErrorKind::WouldBlock) included.
    pub fn try_io<R>(
        &mut self,
        interest: Interest,
        attempt: impl FnOnce(&mut S) -> io::Result<R>,
    ) -> io::Result<R> {
        let result = attempt(self.source_mut());
        self.with_state(|state| state.note_attempt(interest, &result));
        result
    }

    /// What the source was reported ready for, and was not found to block at since.
    ///
    /// It can be asked in any handler: a proxy that stopped reading, as its other side was full, finds
    /// here that there is more to read once there is room again. No event would report it.
    pub fn readiness(&self) -> Readiness<'_> {
        let flags = self.with_state(|state| state.ready.get()).unwrap_or(Flags::NONE);
        Readiness { flags, source: self }
    }

    /// Clears from the readiness what `interest` names, as an attempt that would block does.
    ///
    /// For a caller that knows without an attempt: a read from a stream socket or a pipe that has not
    /// filled its buffer has emptied it. The end of the stream and errors are cleared too, so one that
    /// [is closed](Readiness::is_read_closed) is read to its end instead.
    pub fn clear_readiness(&mut self, interest: Interest) {
        self.with_state(|state| state.clear(interest));
    }

    /// What the source is watched for.
    pub fn interest(&self) -> Option<Interest> {
        self.with_state(|state| state.interest.get())
    }

    /// Changes what the source is watched for.
    ///
    /// If it is watched for just that, this does nothing (see [`rearm`](Self::rearm)). What it is not
    /// watched for any more is taken out of its readiness, and out of the readiness call that is
    /// pending, which is canceled if nothing is left: the handler is not called of it, even if it
    /// was reported in the same batch.
    ///
    /// Cost: one system call, or none.
    ///
    /// # Errors
    ///
    /// Passes on the poll's error; the interest is then as before.
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

    /// Lets the poll report anew what the source is ready for, even if it has reported it before.
    ///
    /// For sources whose readiness was lost: a handler that did not drain, say, and now has nothing to
    /// be called by. It costs a system call; [`again`](Readiness::again) costs none.
    ///
    /// # Errors
    ///
    /// Passes on the poll's error.
    pub fn rearm(&mut self) -> io::Result<()> {
        self.interest().map_or(Ok(()), |interest| self.reregister(interest))
    }

    /// Hands the source over: from now on its readiness becomes calls of `handler` to `recipient`.
    ///
    /// A readiness call that is pending is canceled. If the source is ready for anything, as far as
    /// is [known](Self::readiness), the new recipient is called of all that. It takes no system call.
    ///
    /// The new recipient is to own the registration by the time it is called. From a handler, send it there
    /// in a call, and redirect it then:
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
    /// If the recipient belongs to another queue, or the reactor is gone. Nothing has changed then.
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
    /// If the reactor is gone.
    #[track_caller]
    pub fn redirect_to_function<H>(&self, handler: H) -> Result<(), RedirectError>
    where
        H: Fn(&QueueHandle, &Readiness<'_>) + 'static,
    {
        self.redirect_to(FunctionHandler { queue: self.reactor.queue().clone(), handler })
    }

    #[track_caller]
    fn redirect_to<D: Destination>(&self, to: D) -> Result<(), RedirectError> {
        /// Ends the watch before, even if an observer panics.
        struct EndOnDrop(Rc<dyn AnyWatch>);

        impl Drop for EndOnDrop {
            fn drop(&mut self) {
                self.0.end("registration redirected");
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

    /// Lets the loop end even if this is still registered: [`Reactor::run`](crate::reactor::Reactor::run)
    /// goes on for the others only. What is pending is dialed before.
    pub fn unref(&self) {
        self.set_unref(true);
    }

    /// Lets this registration keep the loop running again, as it does at first.
    pub fn undo_unref(&self) {
        self.set_unref(false);
    }

    fn set_unref(&self, unref: bool) {
        let before = self.with_state(|state| state.is_unref.replace(unref));
        if before == Some(!unref) {
            self.reactor.shared().count_unref(unref);
        }
    }

    /// Takes the source back, deregistered.
    ///
    /// # Errors
    ///
    /// Hands the source back if the poll does not let it go.
    pub fn into_source(mut self) -> Result<S, DeregisterError<S>> {
        let mut source = self.take_source();
        match self.reactor.shared().deregister(&mut source) {
            Ok(()) => Ok(source),
            // The poll has let go of it by itself, as mio's `poll` does when the peer hangs up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(source),
            Err(error) => Err(DeregisterError { source: error, rejected: source }),
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        self.source.as_ref().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    /// The source, to read or write. If another one is put in its place, the poll knows nothing of that.
    pub fn source_mut(&mut self) -> &mut S {
        self.source.as_mut().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    /// The reactor that it is registered with.
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

    /// Returns what has the handler called again of all that is ready. That notifies observers, so an owner
    /// that keeps the registration in a cell calls it with nothing borrowed.
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
        /// Lets the source go.
        struct Deregister<'a, S: Source>(&'a mut Option<S>, &'a ReactorHandle);

        impl<S: Source> Drop for Deregister<'_, S> {
            fn drop(&mut self) {
                if let Some(source) = self.0 {
                    // A source that fails here is closed already, which deregisters it too.
                    let _ = self.1.shared().deregister(source);
                }
            }
        }

        // First the calls, then the source; each even if the other panics.
        let _deregister =
            (!self.ends_by_close).then(|| Deregister(&mut self.source, &self.reactor));
        self.reactor.shared().forget(self.key);
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Registration<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("source", &self.source).finish_non_exhaustive()
    }
}
