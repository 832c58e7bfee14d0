//! A client's connection: a recipient, with the client's stream, and the origin's while it has one.
//!
//! ```text
//!   +--> Head --> Connecting --> Exchange --+      Head, if both connections are kept: the origin's goes to
//!   |     |          |    \         |  ^    |      the pool
//!   |     |          |     v        |  |repeat
//!   |     |          |   Tunnel     |  +-- Connecting
//!   |     v          v              v       |
//!   |     +----> Closing <----------+       |      Over comes of any state: it hangs up, and frees what it has
//!   +---------------------------------------+
//! ```
//!
//! - S1 Whatever changes runs through [`on_ready`](Session::on_ready), which goes on until nothing does.
//! - S2 There is a deadline in each state, and one timer, which is moved only to an earlier time: it looks
//!   at the deadline when it fires.
//! - S3 No more is read of a client than the input holds while its request is under way.

use std::mem;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::SockRef;
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
const ROUNDS: usize = 4;

/// How much of a response is read at a time, and waits for the client at most (and a head).
const BULK: NonZeroUsize = NonZeroUsize::new(256 * 1024).unwrap();

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
    mark: Mark,
}

enum State {
    /// Waits for a request.
    Head,
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
    Over,
}

/// What the deadline counts from: how long it is, and what had been done by then.
type Mark = (Duration, u64, u64, u64);

impl Session {
    pub(crate) fn new(
        proxy: &Rc<Proxy>,
        own: &Address<Self>,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let reactor = &proxy.reactor;
        let mut client = Stream::new(reactor, socket, own, Self::on_ready)?;
        client.buffers().1.set_water(BULK.saturating_add(HEAD_MAX_WRITTEN), 0);
        let limit = proxy.settings.idle_timeout;
        let deadline = reactor.turn_time() + limit;
        let timer = reactor.at(deadline, own.callback(Self::on_timer));
        let (proxy, state, mark) = (Rc::clone(proxy), State::Head, (limit, 0, 0, 0));
        Ok(Self { proxy, client, peer, state, last: None, requests: 0, deadline, timer, mark })
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
            if self.client.output().is_empty() {
                changed |= self.upstream().is_some_and(|upstream| upstream.stream.fill());
            }
            match self.advance(cx) {
                Ok(advanced) => changed |= advanced,
                Err(refusal) => {
                    self.refuse(refusal);
                    changed = true;
                }
            }
            changed |= self.client.flush();
            changed |= self.upstream().is_some_and(|upstream| upstream.stream.flush());
            if matches!(self.state, State::Over) {
                return cx.hang_up();
            }
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

    /// Does what the state asks for. Returns whether that changed anything.
    fn advance(&mut self, cx: &Context<'_, Self>) -> Result<bool, Refusal> {
        match &mut self.state {
            State::Head => self.read_head(cx),
            State::Connecting { .. } | State::Tunnel { .. } | State::Over => Ok(false),
            State::Exchange { exchange, upstream } => {
                match exchange.advance(&mut self.client, upstream, &self.proxy)? {
                    Next::Wait(changed) => return Ok(changed),
                    Next::Done => self.finish(),
                    Next::Repeat => self.repeat(cx)?,
                }
                Ok(true)
            }
            State::Closing { lingers } => {
                let input = self.client.buffers().0;
                let changed = !input.is_empty();
                input.consume(input.len());
                let waits = *lingers && !self.client.status().is_over();
                if self.client.output().is_empty() && !waits {
                    self.state = State::Over;
                }
                Ok(changed)
            }
        }
    }

    /// Begins an exchange, if there is a request. Returns whether that changed anything.
    fn read_head(&mut self, cx: &Context<'_, Self>) -> Result<bool, Refusal> {
        let (input, output) = self.client.buffers();
        if output.room() < HEAD_MAX_WRITTEN {
            return Ok(false);
        }
        let mut head = Vec::new();
        let Some((length, request)) = heads::request(input.bytes(), &self.proxy.via, &mut head)?
        else {
            if input.has_ended() || input.is_empty() && self.proxy.is_draining() {
                self.state = State::Closing { lingers: false };
                return Ok(true);
            }
            return Ok(false);
        };
        if matches!(request.body, Body::Length(length) if length > self.proxy.settings.max_body) {
            return Err(TOO_LARGE);
        }
        let is_last = |to: &&Destination| {
            to.port == request.port && to.host.eq_ignore_ascii_case(request.host)
        };
        let to = self.last.as_ref().filter(is_last).cloned().unwrap_or_else(|| {
            let host = request.host.to_ascii_lowercase();
            let to = Destination { host: host.trim_end_matches('.').into(), port: request.port };
            if self.proxy.reactor.queue().is_observed() {
                cx.set_label(format!("{} -> {}:{}", self.peer, to.host, to.port));
            }
            to
        });
        self.last = Some(to.clone());
        let exchange = Exchange::new(request.kind, request.asked, head, request.body);
        input.consume(length);
        self.requests += 1;
        self.proxy.count_request(exchange.kind == Kind::Tunnel);
        if exchange.kind == Kind::Repeatable
            && let Some(upstream) = self.proxy.pool.take(&to)
            && upstream.stream.redirect(cx, Self::on_ready).is_ok()
        {
            self.state = State::Exchange { exchange, upstream };
            return Ok(true);
        }
        self.connect(cx, exchange, to)?;
        Ok(true)
    }

    fn connect(
        &mut self,
        cx: &Context<'_, Self>,
        exchange: Exchange,
        to: Destination,
    ) -> Result<(), Refusal> {
        let full = Refusal(503, "too many connections to origins");
        let lease = self.proxy.pool.lease().ok_or(full)?;
        let target = connect::target(to.clone());
        let connected = cx.callback(move |session: &mut Self, cx, result| {
            session.on_connected(cx, result, to, lease);
        });
        let closed = |_| Refusal(503, "connections are not made now");
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
        let State::Connecting { exchange, .. } = mem::replace(&mut self.state, State::Over) else {
            return cx.hang_up();
        };
        let stream = result.map_err(|error| connect::refusal(&error)).and_then(|socket| {
            let lost = Refusal(503, "the connection was lost");
            let registration = socket.into_registration().map_err(|_| lost)?;
            Stream::from_registration(registration, cx, Self::on_ready).map_err(|_| lost)
        });
        match stream {
            Ok(mut stream) => {
                stream.buffers().0.set_limit(BULK);
                let mut upstream = Upstream { stream, to, is_reused: false, _lease: lease };
                if !exchange.body.is_over() || exchange.kind == Kind::Tunnel {
                    let _ = upstream.stream.source_mut().set_nodelay(true);
                }
                self.state = if exchange.kind == Kind::Tunnel {
                    self.client.buffers().1.push(b"HTTP/1.1 200 Connection established\r\n\r\n");
                    State::Tunnel { upstream }
                } else {
                    State::Exchange { exchange, upstream }
                };
            }
            Err(refusal) => self.refuse(refusal),
        }
        self.on_ready(cx);
    }

    /// The response is over: both connections serve again, if they may.
    fn finish(&mut self) {
        let State::Exchange { exchange: Exchange { body, response: Some(response), .. }, upstream } =
            mem::replace(&mut self.state, State::Over)
        else {
            return;
        };
        if body.is_over() && response.keeps_origin {
            self.proxy.pool.put(upstream);
        }
        self.state = match body.is_over() {
            true if response.keeps_client => State::Head,
            true if self.client.input().is_empty() => State::Closing { lingers: false },
            // (A close before all is read that it sends could take the response with it.)
            _ => self.linger(),
        };
    }

    /// Sends the end, and waits for the client's.
    fn linger(&mut self) -> State {
        self.client.buffers().1.finish();
        State::Closing { lingers: true }
    }

    /// Answers for the origin, and ends the connection. Once there is a response it is ended in the middle, by
    /// a reset: it must not look complete.
    fn refuse(&mut self, refusal: Refusal) {
        let is_late =
            matches!(&self.state, State::Exchange { exchange, .. } if exchange.response.is_some());
        self.proxy.count_refusal(if is_late { 0 } else { refusal.0 });
        let answer = heads::answer(refusal);
        self.state = if is_late {
            self.break_off();
            State::Over
        } else if self.client.buffers().1.push(&answer) < answer.len() {
            State::Over
        } else {
            self.linger()
        };
    }

    /// Lets the close be a reset.
    fn break_off(&self) {
        let client = SockRef::from(self.client.source());
        let _ = client.set_linger(Some(Duration::ZERO));
    }

    /// Asks again, on another connection.
    fn repeat(&mut self, cx: &Context<'_, Self>) -> Result<(), Refusal> {
        match mem::replace(&mut self.state, State::Over) {
            State::Exchange { mut exchange, upstream } => {
                exchange.is_sent = false;
                let to = upstream.to.clone();
                drop(upstream);
                self.connect(cx, exchange, to)
            }
            _ => Ok(()),
        }
    }

    /// Moves the deadline if something has changed (S2).
    fn set_deadline(&mut self) {
        let settings = &self.proxy.settings;
        let has_ended = self.client.input().has_ended();
        let limit = match &self.state {
            State::Head if self.client.input().is_empty() => settings.idle_timeout,
            State::Head => settings.head_timeout,
            State::Connecting { .. } | State::Exchange { .. } if has_ended => HALF_CLOSED,
            // (The operation has its own, which comes before.)
            State::Connecting { .. } => settings.connect_timeout * 4,
            State::Exchange { .. } | State::Tunnel { .. } => settings.idle_timeout,
            // (The rest of a response, which a slow client takes in its time.)
            State::Closing { .. } if !self.client.output().is_empty() => settings.idle_timeout,
            State::Closing { .. } | State::Over => LINGER,
        };
        let origin = match &self.state {
            State::Exchange { upstream, .. } | State::Tunnel { upstream } => {
                upstream.stream.sent() + upstream.stream.received()
            }
            _ => 0,
        };
        let mark = (limit, self.requests, self.client.sent(), origin);
        if self.mark != mark {
            self.mark = mark;
            self.deadline = self.proxy.reactor.turn_time() + limit;
            if self.deadline < self.timer.deadline() {
                // (If it is due already, it looks at the deadline.)
                self.timer.reset(self.deadline);
            }
        }
    }

    fn on_timer(&mut self, cx: &Context<'_, Self>, (): ()) {
        if self.proxy.reactor.turn_time() >= self.deadline {
            self.expire();
        }
        self.set_deadline();
        self.timer = self.proxy.reactor.at(self.deadline, cx.callback(Self::on_timer));
        self.on_ready(cx);
    }

    /// The deadline has passed.
    fn expire(&mut self) {
        let (status, why) = match &self.state {
            State::Head if !self.client.input().is_empty() => (408, "no whole head in time"),
            State::Connecting { .. } => (504, "no connection in time"),
            State::Exchange { exchange, upstream }
                if !exchange.body.is_over() && upstream.stream.output().is_empty() =>
            {
                (408, "no whole body in time")
            }
            State::Exchange { .. } => (504, "no answer of the origin in time"),
            _ => {
                self.state = State::Over;
                return;
            }
        };
        self.refuse(Refusal(status, why));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let is_amid =
            matches!(&self.state, State::Exchange { exchange, .. } if exchange.response.is_some());
        if is_amid || !self.client.output().is_empty() {
            self.break_off(); // as above, whoever has ended it
        }
        self.proxy.on_session_end(self.client.received(), self.client.sent());
    }
}
