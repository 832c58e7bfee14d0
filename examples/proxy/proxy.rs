//! What the sessions of one loop share, from its start to its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use switchboard::Recipients;
use switchboard::reactor::{ReactorHandle, Timer};
use switchboard::samples::{Module, ThreadPool};
use switchboard::streams::Acceptor;

use super::connect::{self, Connector};
use super::flags::Settings;
use super::pool::Pool;
use super::session::Session;

pub(crate) struct Proxy {
    pub(crate) reactor: ReactorHandle,
    pub(crate) settings: Settings,
    /// Our name in `Via`.
    pub(crate) via: String,
    pub(crate) connects: Connector,
    pub(crate) pool: Pool,
    pub(crate) figures: Figures,
    pub(crate) sessions: Recipients<Session>,
    acceptor: RefCell<Option<Acceptor>>,
    /// Ends what has not ended by itself. Armed: no more is accepted.
    drain: OnceCell<Timer>,
    buffer: Cell<Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) clients: Cell<usize>,
    pub(crate) accepted: Cell<u64>,
    requests: Cell<u64>,
    tunnels: Cell<u64>,
    /// From clients, and to them.
    received: Cell<u64>,
    sent: Cell<u64>,
    /// By status; 0: those that ended in the middle.
    refusals: RefCell<BTreeMap<u16, u64>>,
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
            figures: Figures::default(),
            sessions: Recipients::new(reactor.queue()),
            acceptor: RefCell::default(),
            drain: OnceCell::new(),
            buffer: Cell::default(),
        });
        let serving = Rc::clone(&proxy);
        let listener = mio::net::TcpListener::from_std(listener);
        let acceptor =
            Acceptor::new(reactor, listener, move |_, socket, peer| serving.accept(socket, peer))?;
        proxy.acceptor.replace(Some(acceptor));
        Ok(proxy)
    }

    fn accept(self: &Rc<Self>, socket: mio::net::TcpStream, peer: SocketAddr) {
        self.figures.accepted.set(self.figures.accepted.get() + 1);
        if let Err(error) =
            self.sessions.try_insert_with(|own| Session::new(self, own, socket, peer))
        {
            eprintln!("{peer}: {error}");
        }
        if self.figures.clients.get() >= self.settings.clients
            && let Some(acceptor) = &*self.acceptor.borrow()
        {
            acceptor.pause();
        }
    }

    pub(crate) fn on_session_end(&self, received: u64, sent: u64) {
        let Figures { clients, received: all_received, sent: all_sent, .. } = &self.figures;
        clients.set(clients.get() - 1);
        all_received.set(all_received.get() + received);
        all_sent.set(all_sent.get() + sent);
        if let Some(acceptor) = &*self.acceptor.borrow()
            && acceptor.is_paused()
        {
            acceptor.resume();
        }
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

    /// A buffer for a head, empty.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.buffer.take()
    }

    pub(crate) fn keep_buffer(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffer.set(buffer);
    }

    /// What SIGUSR1 prints.
    pub(crate) fn figures(&self) -> String {
        let Figures { clients, accepted, requests, tunnels, received, sent, refusals } =
            &self.figures;
        let failed = self.acceptor.borrow().as_ref().map_or(0, Acceptor::failed);
        format!(
            "clients {} of {} accepted ({failed} failures); requests {}, tunnels {}; received {} B, sent {} B of ended \
             clients; refusals {:?}; origins {} connected, {} idle, {} connecting, {} leftovers; timers {}, \
             registrations {}; {}; {:?}",
            clients.get(),
            accepted.get(),
            requests.get(),
            tunnels.get(),
            received.get(),
            sent.get(),
            refusals.borrow(),
            self.pool.open(),
            self.pool.idle(),
            self.connects.running(),
            self.connects.leftovers(),
            self.reactor.timer_count(),
            self.reactor.registration_count(),
            self.reactor.queue().tally(),
            self.reactor.event_stats(),
        )
    }
}

impl Figures {
    pub(crate) fn count_request(&self, is_tunnel: bool) {
        let count = if is_tunnel { &self.tunnels } else { &self.requests };
        count.set(count.get() + 1);
    }

    pub(crate) fn count_refusal(&self, status: u16) {
        *self.refusals.borrow_mut().entry(status).or_default() += 1;
    }
}
