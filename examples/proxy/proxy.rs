//! What the sessions of one loop share, from its start to its end.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use socket2::{Domain, Socket, Type};
use switchboard::Recipients;
use switchboard::reactor::{ReactorHandle, Timer};
use switchboard::samples::{Module, ThreadPool};
use switchboard::streams::Acceptor;

use super::connect::{self, Connector};
use super::pool::Pool;
use super::session::Session;
use super::settings::Settings;

pub(crate) struct Proxy {
    pub(crate) reactor: ReactorHandle,
    pub(crate) settings: Settings,
    /// Our name in `Via`.
    pub(crate) via: String,
    pub(crate) connects: Connector,
    pub(crate) pool: Pool,
    pub(crate) figures: RefCell<Figures>,
    pub(crate) sessions: Recipients<Session>,
    acceptor: RefCell<Option<Acceptor>>,
    /// Ends what has not ended by itself. Armed: no more is accepted.
    drain: OnceCell<Timer>,
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    pub(crate) tunnels: u64,
    /// Bytes from clients that are gone, and to them.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// By status; 0: those that ended in the middle.
    pub(crate) refusals: BTreeMap<u16, u64>,
}

/// Prints a line to standard error. If nothing reads that any more, the loop goes on.
pub(crate) fn print(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Listens, alone or beside other loops.
pub(crate) fn listen(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(is_shared)?;
    #[cfg(not(unix))]
    if is_shared {
        let why = "several loops need SO_REUSEPORT, which this system lacks; use --loops 1";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    socket.set_tcp_nodelay(true)?; // what is accepted inherits it
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

impl Proxy {
    /// Serves what connects to `listener`.
    pub(crate) fn start(
        reactor: &ReactorHandle,
        listener: TcpListener,
        settings: &Settings,
        threads: &ThreadPool,
    ) -> io::Result<Rc<Self>> {
        let port = listener.local_addr()?.port();
        let proxy = Rc::new(Self {
            reactor: reactor.clone(),
            settings: settings.clone(),
            via: format!("switchboard-{port}-{}", std::process::id()),
            connects: connect::connector(reactor, threads, settings),
            pool: Pool::new(reactor, settings.upstreams, settings.idle),
            figures: RefCell::default(),
            sessions: Recipients::new(reactor.queue()),
            acceptor: RefCell::default(),
            drain: OnceCell::new(),
        });
        let serving = Rc::clone(&proxy);
        let listener = mio::net::TcpListener::from_std(listener);
        let acceptor =
            Acceptor::new(reactor, listener, move |_, socket, peer| serving.accept(socket, peer))?;
        proxy.acceptor.replace(Some(acceptor));
        Ok(proxy)
    }

    fn accept(self: &Rc<Self>, socket: mio::net::TcpStream, peer: SocketAddr) {
        self.figures.borrow_mut().accepted += 1;
        let session = self.sessions.try_insert_with(|own| Session::new(self, own, socket, peer));
        if let Err(error) = session {
            print(format_args!("{peer}: {error}"));
        }
        if self.sessions.len() >= self.settings.clients {
            self.acceptor.borrow().iter().for_each(Acceptor::pause);
        }
    }

    pub(crate) fn on_session_end(&self, received: u64, sent: u64) {
        let mut figures = self.figures.borrow_mut();
        figures.received += received;
        figures.sent += sent;
        self.acceptor.borrow().iter().for_each(Acceptor::resume);
    }

    /// Accepts no more, and ends when all is done, or after the drain timeout. The second time: at once.
    pub(crate) fn drain(self: &Rc<Self>) {
        if self.is_draining() {
            return self.end();
        }
        drop(self.acceptor.take());
        let (due, empty) = (Rc::clone(self), Rc::clone(self));
        let due = self.reactor.queue().callback(move |_, ()| due.end());
        let _ = self.drain.set(self.reactor.after(self.settings.drain_timeout, due));
        for session in self.sessions.iter() {
            session.call(Session::on_ready);
        }
        self.sessions.when_empty(self.reactor.queue().callback(move |_, ()| empty.end()));
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.get().is_some()
    }

    /// Ends all there is, and the loop.
    pub(crate) fn end(&self) {
        drop(self.acceptor.take());
        self.sessions.clear();
        self.connects.close();
        self.pool.clear();
        self.reactor.stop();
    }

    pub(crate) fn count_request(&self, is_tunnel: bool) {
        let mut figures = self.figures.borrow_mut();
        let Figures { requests, tunnels, .. } = &mut *figures;
        *if is_tunnel { tunnels } else { requests } += 1;
    }

    pub(crate) fn count_refusal(&self, status: u16) {
        *self.figures.borrow_mut().refusals.entry(status).or_default() += 1;
    }

    /// What SIGUSR1 prints.
    pub(crate) fn figures(&self) -> String {
        format!(
            "{} clients ({} failures to accept one), {} connections to origins, {} idle, {} connecting, \
             {} leftovers; {} timers, {} registrations; {:?}; {}; {:?}",
            self.sessions.len(),
            self.acceptor.borrow().as_ref().map_or(0, Acceptor::failed),
            self.pool.open(),
            self.pool.idle(),
            self.connects.running(),
            self.connects.leftovers(),
            self.reactor.timer_count(),
            self.reactor.registration_count(),
            self.figures.borrow(),
            self.reactor.queue().tally(),
            self.reactor.event_stats(),
        )
    }
}
