//! Accepting connections, also while there are no descriptors for them.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};

use crate::reactor::{ReactorHandle, RegisterError, Registration, Timer};
use crate::recipient::{Context, Recipient};
use crate::streams::source::ListenSource;

/// How many connections are accepted before others have their turn.
const ROUNDS: usize = 64;

/// When it tries again if a connection could not be accepted.
const RETRY: Duration = Duration::from_millis(20);

/// Accepts connections, and hands each to a function.
///
/// If the system has no descriptor or memory for one (EMFILE, ENFILE, ENOBUFS, ENOMEM), it tries again
/// every 20 ms: connections wait in the listener's backlog meanwhile, and no event would report that there
/// is room again. So it does for any error that it does not know. A connection that is gone before it is
/// accepted is passed over.
///
/// Dropping it closes the listener.
///
/// # Examples
///
/// See the [module](crate::streams).
#[must_use = "dropping an acceptor closes its listener"]
pub struct Acceptor<L: ListenSource + 'static = TcpListener> {
    _recipient: Recipient<Accepting<L>>,
    state: Rc<AcceptorState<L>>,
}

/// What the acceptor and its recipient share.
struct AcceptorState<L: ListenSource> {
    /// `None` while it is made, and once the acceptor is dropped.
    listener: RefCell<Option<Registration<L>>>,
    /// Armed while a connection waits that could not be accepted.
    retry: RefCell<Option<Timer>>,
    is_unref: Cell<bool>,
    is_paused: Cell<bool>,
    accepted: Cell<u64>,
    failed: Cell<u64>,
    last_error: RefCell<Option<io::Error>>,
}

type OnAccept<L> =
    dyn FnMut(&ReactorHandle, <L as ListenSource>::Socket, <L as ListenSource>::Peer);

/// The recipient.
struct Accepting<L: ListenSource + 'static> {
    reactor: ReactorHandle,
    on_accept: Box<OnAccept<L>>,
    state: Rc<AcceptorState<L>>,
}

impl Acceptor {
    /// Listens at `address`, and hands each connection to `on_accept`.
    ///
    /// # Errors
    ///
    /// Passes on the error of the system, or that of the registration.
    #[track_caller]
    pub fn bind(
        reactor: &ReactorHandle,
        address: SocketAddr,
        on_accept: impl FnMut(&ReactorHandle, TcpStream, SocketAddr) + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        Self::new(reactor, listener, on_accept).map_err(|error| match error {
            RegisterError::Poll { source, .. } => source,
            error => io::Error::other(error.split().1),
        })
    }

    /// Where it listens: with the port, if that was to be chosen.
    ///
    /// # Errors
    ///
    /// Passes on the error of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.state.with_listener(|listener| listener.source().local_addr());
        address.unwrap_or_else(|| unreachable!("it is made with its listener"))
    }
}

impl<L: ListenSource + 'static> Acceptor<L> {
    /// Registers `listener`, and hands each connection to `on_accept`.
    ///
    /// # Errors
    ///
    /// As [`ReactorHandle::register`].
    #[track_caller]
    pub fn new(
        reactor: &ReactorHandle,
        listener: L,
        on_accept: impl FnMut(&ReactorHandle, L::Socket, L::Peer) + 'static,
    ) -> Result<Self, RegisterError<L>> {
        let state = Rc::new(AcceptorState {
            listener: RefCell::default(),
            retry: RefCell::default(),
            is_unref: Cell::new(false),
            is_paused: Cell::new(false),
            accepted: Cell::new(0),
            failed: Cell::new(0),
            last_error: RefCell::default(),
        });
        let recipient = Accepting {
            reactor: reactor.clone(),
            on_accept: Box::new(on_accept),
            state: Rc::clone(&state),
        };
        let recipient = reactor.queue().recipient(recipient);
        let listener = reactor.register(
            listener,
            Interest::READABLE,
            &recipient,
            |accepting: &mut Accepting<L>, cx, _| accepting.accept(cx),
        )?;
        state.listener.replace(Some(listener));
        Ok(Self { _recipient: recipient, state })
    }

    /// Accepts none any more, from now on. Connections wait in the listener's backlog.
    pub fn pause(&self) {
        self.state.is_paused.set(true);
    }

    /// Accepts again, those first that have waited.
    pub fn resume(&self) {
        if self.state.is_paused.replace(false) {
            self.state.ask_again();
        }
    }

    /// Whether it is [paused](Self::pause).
    pub fn is_paused(&self) -> bool {
        self.state.is_paused.get()
    }

    /// Lets the loop end even if this still listens ([`Registration::unref`]).
    pub fn unref(&self) {
        self.state.is_unref.set(true);
        self.state.with_listener(Registration::unref);
        self.state.retry.borrow().iter().for_each(Timer::unref);
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.get()
    }

    /// How often one could not be accepted.
    pub fn failed(&self) -> u64 {
        self.state.failed.get()
    }

    /// Takes the last error of those.
    pub fn take_error(&self) -> Option<io::Error> {
        self.state.last_error.take()
    }
}

impl<L: ListenSource> AcceptorState<L> {
    /// Accesses the listener; `None` if the acceptor is dropped.
    fn with_listener<R>(&self, access: impl FnOnce(&Registration<L>) -> R) -> Option<R> {
        self.listener.borrow().as_ref().map(access)
    }

    /// Accepts one connection. Nothing is borrowed after that.
    fn accept(&self) -> Option<io::Result<(L::Socket, L::Peer)>> {
        let mut listener = self.listener.borrow_mut();
        Some(listener.as_mut()?.try_io(Interest::READABLE, L::accept))
    }

    /// Lets the recipient be called, if there may be a connection.
    fn ask_again(&self) {
        let again = self.with_listener(Registration::again);
        // Observers are notified with nothing borrowed.
        if let Some(again) = again {
            again();
        }
    }
}

impl<L: ListenSource + 'static> Accepting<L> {
    fn accept(&mut self, cx: &Context<'_, Self>) {
        /// Comes back even if `on_accept` panics.
        struct AgainOnDrop<'a, L: ListenSource>(&'a AcceptorState<L>);

        impl<L: ListenSource> Drop for AgainOnDrop<'_, L> {
            fn drop(&mut self) {
                self.0.ask_again();
            }
        }

        for _ in 0..ROUNDS {
            if self.state.is_paused.get() {
                self.state.with_listener(|listener| listener.readiness().keep());
                return;
            }
            match self.state.accept() {
                Some(Ok((socket, peer))) => {
                    self.state.accepted.set(self.state.accepted.get() + 1);
                    let again = AgainOnDrop(&self.state);
                    (self.on_accept)(&self.reactor, socket, peer);
                    mem::forget(again);
                }
                Some(Err(error)) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return self.try_later(cx, error),
                },
                None => return,
            }
        }
        self.state.ask_again();
    }

    fn try_later(&mut self, cx: &Context<'_, Self>, error: io::Error) {
        self.state.failed.set(self.state.failed.get() + 1);
        self.state.last_error.replace(Some(error));
        let retry = cx.callback(|accepting: &mut Self, cx, ()| accepting.accept(cx));
        let retry = self.reactor.after(RETRY, retry);
        if self.state.is_unref.get() {
            retry.unref();
        }
        let fired = self.state.retry.replace(Some(retry));
        drop(fired);
    }
}

/// Closes the listener at once, even if a connection of it is being handed out.
impl<L: ListenSource + 'static> Drop for Acceptor<L> {
    fn drop(&mut self) {
        let _retry = self.state.retry.take();
        let _listener = self.state.listener.take();
    }
}

impl<L: ListenSource + 'static> fmt::Debug for Acceptor<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("accepted", &self.accepted())
            .field("failed", &self.failed())
            .field("is_paused", &self.is_paused())
            .finish_non_exhaustive()
    }
}
