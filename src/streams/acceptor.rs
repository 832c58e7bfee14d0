//! Accepting connections, even when descriptors run out.

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
use crate::unwind::in_drop;

/// How many connections are accepted before others have their turn.
const ROUNDS: usize = 64;

/// When it tries again if a connection could not be accepted.
const RETRY: Duration = Duration::from_millis(20);

/// Accepts connections, and passes each to a function.
///
/// If the system has no descriptor or memory for a connection (EMFILE, ENFILE, ENOBUFS, ENOMEM), or for
/// any unknown error, it tries again every 20 ms. Connections wait in the listener's backlog meanwhile,
/// as no event would report that there is room again. A connection that is gone before it is accepted
/// is skipped.
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
    /// `None` while it is made or lent, and once the acceptor is dropped.
    listener: RefCell<Option<Registration<L>>>,
    is_dropped: Cell<bool>,
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
    /// Listens on `address`, and passes each connection to `on_accept`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, or that of the registration.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::streams::Acceptor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |reactor, socket, peer| {
    ///     println!("{peer} has connected");
    ///     drop(socket); // a server makes a recipient with a `Stream` of it
    ///     reactor.stop();
    /// })?;
    /// let _client = std::net::TcpStream::connect(acceptor.local_addr()?)?;
    /// reactor.run()?;
    /// assert_eq!(acceptor.accepted(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn bind(
        reactor: &ReactorHandle,
        address: SocketAddr,
        on_accept: impl FnMut(&ReactorHandle, TcpStream, SocketAddr) + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        Ok(Self::new(reactor, listener, on_accept)?)
    }

    /// Returns the address that it listens on. If it was bound to port 0, this has the port that the
    /// system chose.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::streams::Acceptor;
    ///
    /// let reactor = Reactor::new()?;
    /// // Port 0: the system chooses one.
    /// let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |_, _, _| ())?;
    /// assert_ne!(acceptor.local_addr()?.port(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.state.with_listener(|listener| listener.source().local_addr());
        address.unwrap_or_else(|| unreachable!("it is made with its listener"))
    }
}

impl<L: ListenSource + 'static> Acceptor<L> {
    /// Registers `listener`, and passes each connection to `on_accept`.
    ///
    /// # Errors
    ///
    /// As [`ReactorHandle::register`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::net::TcpListener;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::streams::Acceptor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// // A listener from elsewhere: one with options of its own, or one that was inherited.
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// let address = listener.local_addr()?;
    /// let listener = TcpListener::from_std(listener);
    /// let _acceptor = Acceptor::new(&reactor, listener, |reactor, _socket, _peer| reactor.stop())?;
    /// let _client = std::net::TcpStream::connect(address)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn new(
        reactor: &ReactorHandle,
        listener: L,
        on_accept: impl FnMut(&ReactorHandle, L::Socket, L::Peer) + 'static,
    ) -> Result<Self, RegisterError<L>> {
        let state = Rc::new(AcceptorState {
            listener: RefCell::default(),
            is_dropped: Cell::new(false),
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

    /// Stops accepting. Connections wait in the listener's backlog.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::streams::Acceptor;
    /// # let mut reactor = Reactor::new()?;
    /// # let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |_, _, _| ())?;
    /// acceptor.pause(); // as many sessions as the server wants
    /// let _client = std::net::TcpStream::connect(acceptor.local_addr()?)?; // waits in the backlog
    /// let _ = reactor.turn(None)?;
    /// assert_eq!(acceptor.accepted(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) {
        self.state.is_paused.set(true);
    }

    /// Accepts again, beginning with the connections that have waited.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::streams::Acceptor;
    /// # let mut reactor = Reactor::new()?;
    /// # let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |reactor, _, _| reactor.stop())?;
    /// acceptor.pause();
    /// let _client = std::net::TcpStream::connect(acceptor.local_addr()?)?;
    /// let _ = reactor.turn(None)?;
    /// acceptor.resume(); // a session has ended: there is room for another one
    /// reactor.run()?;
    /// assert_eq!(acceptor.accepted(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self) {
        if self.state.is_paused.replace(false) {
            self.state.ask_again();
        }
    }

    /// Returns true if the acceptor is [paused](Self::pause).
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::streams::Acceptor;
    /// # let reactor = Reactor::new()?;
    /// # let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |_, _, _| ())?;
    /// acceptor.pause();
    /// assert!(acceptor.is_paused());
    /// acceptor.resume();
    /// assert!(!acceptor.is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_paused(&self) -> bool {
        self.state.is_paused.get()
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) return even if this still listens
    /// ([`Registration::unref`]).
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::streams::Acceptor;
    /// # let mut reactor = Reactor::new()?;
    /// // A port for statistics beside the work of the program, which ends without regard to it.
    /// let statistics = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |_, _, _| ())?;
    /// statistics.unref();
    /// reactor.run()?; // returns at once: nothing else can happen
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unref(&self) {
        self.state.is_unref.set(true);
        self.state.with_listener(Registration::unref);
        self.state.retry.borrow().iter().for_each(Timer::unref);
    }

    /// Returns the number of connections that were accepted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::streams::Acceptor;
    /// # let mut reactor = Reactor::new()?;
    /// let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |_, _, _| ())?;
    /// let _client = std::net::TcpStream::connect(acceptor.local_addr()?)?;
    /// while acceptor.accepted() == 0 {
    ///     let _ = reactor.turn(None)?;
    /// }
    /// assert_eq!((acceptor.accepted(), acceptor.failed()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn accepted(&self) -> u64 {
        self.state.accepted.get()
    }

    /// Returns the number of attempts to accept that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::streams::Acceptor;
    /// # let reactor = Reactor::new()?;
    /// # let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |_, _, _| ())?;
    /// // For a metric: it goes up while there are no descriptors, every 20 ms.
    /// let failed = acceptor.failed();
    /// assert_eq!(failed, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn failed(&self) -> u64 {
        self.state.failed.get()
    }

    /// Takes and returns the error of the last attempt that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::streams::Acceptor;
    /// # let reactor = Reactor::new()?;
    /// # let acceptor = Acceptor::bind(&reactor, "127.0.0.1:0".parse()?, |_, _, _| ())?;
    /// // Every second, from a timer, so that a lack of descriptors is logged once a second:
    /// if let Some(error) = acceptor.take_error() {
    ///     eprintln!("{} connections not accepted: {error}", acceptor.failed());
    /// }
    /// # assert_eq!(acceptor.failed(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_error(&self) -> Option<io::Error> {
        self.state.last_error.take()
    }
}

impl<L: ListenSource> AcceptorState<L> {
    /// Accesses the listener; `None` if it is lent, or the acceptor dropped.
    fn with_listener<R>(&self, access: impl FnOnce(&Registration<L>) -> R) -> Option<R> {
        self.listener.borrow().as_ref().map(access)
    }

    /// Accepts one connection. The listener is lent meanwhile, as it may use its acceptor.
    fn accept(&self) -> Option<io::Result<(L::Socket, L::Peer)>> {
        let mut lent = LentListener { listener: self.listener.take(), state: self };
        Some(lent.listener.as_mut()?.try_io(Interest::READABLE, L::accept))
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

/// A listener that is lent. Goes back even if it panics, unless its acceptor is dropped.
struct LentListener<'a, L: ListenSource> {
    listener: Option<Registration<L>>,
    state: &'a AcceptorState<L>,
}

impl<L: ListenSource> Drop for LentListener<'_, L> {
    fn drop(&mut self) {
        if self.state.is_dropped.get() {
            return;
        }
        if self.state.is_unref.get() {
            self.listener.iter().for_each(Registration::unref);
        }
        self.state.listener.replace(self.listener.take());
    }
}

impl<L: ListenSource + 'static> Accepting<L> {
    fn accept(&mut self, cx: &Context<'_, Self>) {
        /// Continues even if `on_accept` panics.
        struct AgainOnDrop<'a, L: ListenSource>(&'a AcceptorState<L>);

        impl<L: ListenSource> Drop for AgainOnDrop<'_, L> {
            fn drop(&mut self) {
                in_drop(|| self.0.ask_again());
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
        self.state.is_dropped.set(true);
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
