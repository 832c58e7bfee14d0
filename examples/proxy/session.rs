//! A client's connection: a recipient, with the client's stream, and the origin's while it has one.
//!
//! ```text
//!   +--> Head --> Connecting --> Exchange --+      Head, if both connections are kept: the origin's goes to
//!   |     |          |    \         |  ^    |      the pool
//!   |     |          |     v        |  |repeat
//!   |     |          |   Tunnel     |  +-- Connecting
//!   |     v          v              v       |
//!   |     +----> Closing <----------+       |      hang_up ends it from any state, and frees what it has
//!   +---------------------------------------+
//! ```
//!
//! - S1 Whatever changes runs through [`on_ready`](Session::on_ready), which goes on until nothing does.
//! - S2 There is a deadline in each state, and one timer, which is moved only to an earlier time: it looks
//!   at the deadline when it fires.
//! - S3 No more is read of a client than the input holds while its request is under way.

use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use switchboard::op::{CancelOnDrop, OpResult};
use switchboard::reactor::Timer;
use switchboard::samples::{Module, Socket};
use switchboard::streams::{Stream, StreamStatus, relay};
use switchboard::{Address, Context};

use super::connect::{self, Destination};
use super::exchange::{Exchange, Next, TOO_LARGE};
use super::framing::Body;
use super::heads::{self, HEAD_MAX_WRITTEN, Kind, Refusal};
use super::pool::{Lease, Upstream};
use super::proxy::Proxy;

/// How often a session reads and writes before others have their turn.
const ROUNDS: usize = 8;

/// How long a client that has closed its side is waited for, or its origin for its sake.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// How long it is read from a client that was refused, so that it sees why.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) struct Session {
    proxy: Rc<Proxy>,
    pub(crate) client: Stream<TcpStream>,
    peer: SocketAddr,
    state: State,
    /// Where the last request went, which the label shows.
    last: Option<Destination>,
    requests: u64,
    deadline: Instant,
    timer: Timer,
    /// What the deadline counts from: where it was, and what had been read and written by then.
    mark: (Phase, u64),
}

enum State {
    /// Waits for a request, of whose head so much was looked at.
    Head {
        scanned: usize,
    },
    Connecting {
        exchange: Exchange,
        _operation: CancelOnDrop,
    },
    Exchange {
        exchange: Exchange,
        upstream: Upstream,
    },
    Tunnel {
        upstream: Upstream,
    },
    /// Writes what is left; then waits for the client's end, if it may still be sending.
    Closing {
        lingers: bool,
    },
}

/// Which deadline counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Connecting,
    Passing,
    HalfClosed,
    Closing,
}

impl Session {
    pub(crate) fn new(
        proxy: &Rc<Proxy>,
        own: &Address<Self>,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let reactor = &proxy.reactor;
        let client = Stream::new(reactor, socket, own, Self::on_ready)?;
        let deadline = reactor.turn_time() + proxy.settings.idle_timeout;
        let timer = reactor.at(deadline, own.callback(Self::on_timer));
        proxy.figures.clients.set(proxy.figures.clients.get() + 1);
        Ok(Self {
            proxy: Rc::clone(proxy),
            client,
            peer,
            state: State::Head { scanned: 0 },
            last: None,
            requests: 0,
            deadline,
            timer,
            mark: (Phase::Idle, 0),
        })
    }

    /// Reads, goes on, and writes, until nothing changes any more (S1).
    pub(crate) fn on_ready(&mut self, cx: &Context<'_, Self>) {
        for _ in 0..ROUNDS {
            if let State::Tunnel { upstream } = &mut self.state {
                if relay(&mut self.client, &mut upstream.stream).is_over() {
                    return cx.hang_up();
                }
                return self.set_deadline();
            }
            let mut changed = self.client.fill();
            changed |= self.upstream().is_some_and(|upstream| upstream.stream.fill());
            match self.advance(cx) {
                Some(advanced) => changed |= advanced,
                None => return cx.hang_up(),
            }
            changed |= self.client.flush();
            changed |= self.upstream().is_some_and(|upstream| upstream.stream.flush());
            if !changed {
                self.set_deadline();
                let _ = self.upstream().map(|upstream| upstream.stream.settle());
                if self.client.settle() == StreamStatus::Broken {
                    cx.hang_up();
                }
                return;
            }
        }
        self.client.again();
    }

    pub(crate) const fn upstream(&mut self) -> Option<&mut Upstream> {
        match &mut self.state {
            State::Exchange { upstream, .. } | State::Tunnel { upstream } => Some(upstream),
            _ => None,
        }
    }

    /// Does what the state asks for. Returns whether that changed anything; `None` to hang up.
    fn advance(&mut self, cx: &Context<'_, Self>) -> Option<bool> {
        match &mut self.state {
            State::Head { .. } => match self.read_head(cx) {
                Ok(advanced) => advanced,
                Err(refusal) => self.refuse(refusal),
            },
            State::Connecting { .. } | State::Tunnel { .. } => Some(false),
            State::Exchange { exchange, upstream } => {
                match exchange.advance(&mut self.client, upstream, &self.proxy) {
                    Next::Wait(changed) => Some(changed),
                    Next::Done => self.finish(),
                    Next::Refuse(refusal) => self.refuse(refusal),
                    Next::Repeat => self.repeat(cx),
                    Next::Abort => self.abort(),
                }
            }
            State::Closing { lingers } => {
                let (is_over, lingers) = (self.client.output().is_empty(), *lingers);
                let (input, _) = self.client.buffers();
                let changed = !input.is_empty();
                input.consume(input.len());
                if lingers && !self.client.status().is_over() || !is_over {
                    Some(changed)
                } else {
                    None
                }
            }
        }
    }

    /// Begins an exchange, if there is a request. As [`advance`](Self::advance).
    fn read_head(&mut self, cx: &Context<'_, Self>) -> Result<Option<bool>, Refusal> {
        let State::Head { scanned } = &mut self.state else { return Ok(Some(false)) };
        let (input, output) = self.client.buffers();
        while *scanned == 0 && input.bytes().starts_with(b"\r\n") {
            input.consume(2); // what some clients send behind a body
        }
        if output.room() < HEAD_MAX_WRITTEN {
            return Ok(Some(false));
        }
        let Some(end) = heads::end(input.bytes(), *scanned)? else {
            *scanned = input.len();
            if input.has_ended() || input.is_empty() && self.proxy.is_draining() {
                self.state = State::Closing { lingers: false };
                return Ok(Some(true));
            }
            return Ok(Some(false));
        };
        let mut head = Vec::with_capacity(end + 128);
        let request = heads::request(&input.bytes()[..end], &self.proxy.via, &mut head)?;
        if matches!(request.body, Body::Length(length) if length > self.proxy.settings.max_body) {
            return Err(TOO_LARGE);
        }
        let is_as_last = |last: &Destination| {
            last.port == request.port && last.host.eq_ignore_ascii_case(request.host)
        };
        let to = match &self.last {
            Some(last) if is_as_last(last) => last.clone(),
            _ => {
                let host = request.host.to_ascii_lowercase();
                let to =
                    Destination { host: host.trim_end_matches('.').into(), port: request.port };
                cx.set_label(format!("{} -> {}:{}", self.peer, to.host, to.port));
                self.last.insert(to).clone()
            }
        };
        let exchange = Exchange::new(request.kind, request.asked, head, request.body);
        input.consume(end);
        self.requests += 1;
        self.proxy.figures.count_request(exchange.kind == Kind::Tunnel);
        if !self.proxy.settings.rules.allow_host(&to.host) {
            return Err(Refusal { status: 403, why: "this host is not allowed" });
        }
        if exchange.kind == Kind::Repeatable
            && let Some(upstream) = self.proxy.pool.take(&to)
            && upstream.stream.redirect(cx, Self::on_ready).is_ok()
        {
            self.state = State::Exchange { exchange, upstream };
            return Ok(Some(true));
        }
        self.connect(cx, exchange, to)?;
        Ok(Some(true))
    }

    fn connect(
        &mut self,
        cx: &Context<'_, Self>,
        exchange: Exchange,
        to: Destination,
    ) -> Result<(), Refusal> {
        let full = Refusal { status: 503, why: "too many connections to origins" };
        let lease = self.proxy.pool.lease().ok_or(full)?;
        let target = connect::target(to.clone());
        let connected = cx.callback(move |session: &mut Self, cx, result| {
            session.on_connected(cx, result, to, lease);
        });
        let closed = |_| Refusal { status: 503, why: "connections are not made now" };
        let operation = self.proxy.connects.start(target, connected).map_err(closed)?;
        self.state = State::Connecting { exchange, _operation: operation.cancel_on_drop() };
        Ok(())
    }

    fn on_connected(
        &mut self,
        cx: &Context<'_, Self>,
        result: OpResult<Socket, std::io::Error>,
        to: Destination,
        lease: Lease,
    ) {
        let State::Connecting { exchange, .. } =
            mem::replace(&mut self.state, State::Closing { lingers: true })
        else {
            return;
        };
        let stream = result.map_err(|error| connect::refusal(&error)).and_then(|socket| {
            let lost = Refusal { status: 503, why: "the connection was lost" };
            let registration = socket.into_registration().map_err(|_| lost)?;
            Stream::from_registration(registration, cx, Self::on_ready).map_err(|_| lost)
        });
        match stream {
            Ok(stream) => {
                let mut upstream = Upstream::new(stream, to, lease);
                if exchange.kind == Kind::Tunnel {
                    self.client.buffers().1.push(b"HTTP/1.1 200 Connection established\r\n\r\n");
                    let _ = upstream.stream.source_mut().set_nodelay(true);
                    self.state = State::Tunnel { upstream };
                } else {
                    if !exchange.body.is_over() {
                        let _ = upstream.stream.source_mut().set_nodelay(true);
                    }
                    self.state = State::Exchange { exchange, upstream };
                }
            }
            Err(refusal) if self.refuse(refusal).is_none() => return cx.hang_up(),
            Err(_) => {}
        }
        self.on_ready(cx);
    }

    /// The response is over: both connections serve again, if they may.
    fn finish(&mut self) -> Option<bool> {
        let state = mem::replace(&mut self.state, State::Head { scanned: 0 });
        let State::Exchange { exchange: Exchange { body, response: Some(response), .. }, upstream } =
            state
        else {
            return None;
        };
        if body.is_over() && response.keeps_origin {
            self.proxy.pool.put(upstream);
        }
        if !body.is_over() || !response.keeps_client {
            self.close(!body.is_over());
        }
        Some(true)
    }

    fn close(&mut self, lingers: bool) {
        if lingers {
            self.client.buffers().1.finish();
        }
        self.state = State::Closing { lingers };
    }

    /// Answers for the origin, and ends the connection.
    fn refuse(&mut self, refusal: Refusal) -> Option<bool> {
        self.proxy.figures.count_refusal(refusal.status);
        let answer = heads::answer(refusal);
        if self.client.buffers().1.push(&answer) < answer.len() {
            return None;
        }
        self.close(true);
        Some(true)
    }

    fn repeat(&mut self, cx: &Context<'_, Self>) -> Option<bool> {
        let state = mem::replace(&mut self.state, State::Closing { lingers: true });
        let State::Exchange { mut exchange, upstream } = state else { return None };
        exchange.rewind();
        let to = upstream.to.clone();
        drop(upstream);
        match self.connect(cx, exchange, to) {
            Ok(()) => Some(true),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Ends a response in the middle, by a reset: it must not look complete.
    fn abort(&self) -> Option<bool> {
        self.proxy.figures.count_refusal(0);
        let _ = rustix::net::sockopt::set_socket_linger(self.client.source(), Some(Duration::ZERO));
        None
    }

    /// Moves the deadline if something has changed (S2).
    fn set_deadline(&mut self) {
        let has_ended = self.client.input().has_ended();
        let passed = |upstream: &Upstream| upstream.stream.sent() + upstream.stream.received();
        let (phase, progress) = match &self.state {
            State::Head { .. } if self.client.input().is_empty() => (Phase::Idle, self.requests),
            State::Head { .. } => (Phase::Head, self.requests),
            State::Connecting { .. } if has_ended => (Phase::HalfClosed, 0),
            State::Connecting { .. } => (Phase::Connecting, self.requests),
            State::Exchange { upstream, .. } if has_ended => {
                (Phase::HalfClosed, passed(upstream) + self.client.sent())
            }
            State::Exchange { upstream, .. } | State::Tunnel { upstream } => {
                (Phase::Passing, passed(upstream) + self.client.sent())
            }
            State::Closing { .. } => (Phase::Closing, self.client.sent()),
        };
        if self.mark == (phase, progress) {
            return;
        }
        self.mark = (phase, progress);
        let settings = &self.proxy.settings;
        let limit = match phase {
            Phase::Idle | Phase::Passing => settings.idle_timeout,
            Phase::Head => settings.head_timeout,
            // (The operation has its own, which comes before.)
            Phase::Connecting => settings.connect_timeout * 4,
            Phase::HalfClosed => HALF_CLOSED,
            Phase::Closing => LINGER,
        };
        self.deadline = self.proxy.reactor.turn_time() + limit;
        if self.deadline < self.timer.deadline() {
            // (If it is due already, it looks at the deadline.)
            self.timer.reset(self.deadline);
        }
    }

    fn on_timer(&mut self, cx: &Context<'_, Self>, (): ()) {
        if self.proxy.reactor.turn_time() >= self.deadline && self.expire().is_none() {
            return cx.hang_up();
        }
        self.set_deadline();
        self.timer = self.proxy.reactor.at(self.deadline, cx.callback(Self::on_timer));
        self.on_ready(cx);
    }

    /// The deadline has passed. As [`advance`](Self::advance).
    fn expire(&mut self) -> Option<bool> {
        let refusal = match &self.state {
            State::Head { .. } if !self.client.input().is_empty() => (408, "no whole head in time"),
            State::Connecting { .. } => (504, "no connection in time"),
            State::Exchange { exchange: Exchange { response: Some(_), .. }, .. } => {
                return self.abort();
            }
            State::Exchange { exchange, upstream }
                if !exchange.body.is_over() && upstream.stream.output().is_empty() =>
            {
                (408, "no whole body in time")
            }
            State::Exchange { .. } => (504, "no answer of the origin in time"),
            _ => return None,
        };
        self.refuse(Refusal { status: refusal.0, why: refusal.1 })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.proxy.on_session_end(self.client.received(), self.client.sent());
    }
}
