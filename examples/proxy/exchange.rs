//! One request and its response, between a client's stream and an origin's.
//!
//! ```text
//!             request                          response
//! client  --> head, kept until it is answered  head, written anew  -->  client
//!             body, as it comes                body, as it comes
//! ```
//!
//! - X1 Each side is read only as far as the other takes it: what waits is bounded by the four buffers. It is
//!   written from where it was read to; only what the other side does not take at once is copied.
//! - X2 No byte of the client behind the request's body is touched, nor one of the origin behind the
//!   response's: what the origin sends there ends its connection.
//! - X3 A request is repeated only if that does no harm, nothing of an answer has come, and the connection was
//!   idle before: then the origin has closed it as the request was under way.

use std::io::IoSlice;
use std::mem;

use mio::net::TcpStream;
use switchboard::streams::{Input, Stream};

use super::framing::{BadFraming, Body};
use super::heads::{self, Asked, HEAD_MAX_WRITTEN, Kind, Refusal, Response};
use super::pool::Upstream;
use super::proxy::Proxy;

pub(crate) const TOO_LARGE: Refusal = Refusal(413, "the body is too large");

pub(crate) struct Exchange {
    pub(crate) kind: Kind,
    pub(crate) asked: Asked,
    /// The head for the origin, and whether it has been passed on.
    pub(crate) head: Vec<u8>,
    pub(crate) is_sent: bool,
    /// What is to come of the request's body, and how much has.
    pub(crate) body: Body,
    pub(crate) received: u64,
    /// Something of an answer has come.
    pub(crate) is_touched: bool,
    pub(crate) response: Option<Response>,
}

/// How an exchange goes on.
pub(crate) enum Next {
    /// When there is more to read or room to write; whether anything has changed.
    Wait(bool),
    /// The response is over.
    Done,
    /// On another connection (X3).
    Repeat,
}

impl Exchange {
    pub(crate) const fn new(kind: Kind, asked: Asked, head: Vec<u8>, body: Body) -> Self {
        let (is_sent, received, is_touched, response) = (false, 0, false, None);
        Self { kind, asked, head, is_sent, body, received, is_touched, response }
    }

    /// Passes on what there is, both ways. A refusal comes too late once there is a response.
    pub(crate) fn advance(
        &mut self,
        client: &mut Stream<TcpStream>,
        upstream: &mut Upstream,
        proxy: &Proxy,
    ) -> Result<Next, Refusal> {
        let origin = &mut upstream.stream;
        let is_broken = origin.error().is_some();
        let mut changed = self.pass_request(client.buffers().0, origin, proxy.settings.max_body)?;
        changed |= self.pass_response(origin.buffers().0, client, proxy)?;
        if self.response.as_ref().is_some_and(|response| response.body.is_over()) {
            return Ok(Next::Done);
        }
        // If the origin has ended, what is left waits for room, or is too little.
        let has_ended = is_broken || origin.input().has_ended();
        let waits = !origin.input().is_empty() && client.output().room() < HEAD_MAX_WRITTEN;
        if changed || !has_ended || waits {
            return Ok(Next::Wait(changed));
        }
        if self.kind == Kind::Repeatable && upstream.is_reused && !self.is_touched {
            return Ok(Next::Repeat);
        }
        Err(Refusal(502, "the origin closed the connection"))
    }

    /// Returns whether that changed anything.
    fn pass_request(
        &mut self,
        from: &mut Input,
        to: &mut Stream<TcpStream>,
        max_body: u64,
    ) -> Result<bool, Refusal> {
        let head = if self.is_sent { &[] } else { &*self.head };
        if to.output().room() < head.len() {
            return Ok(false);
        }
        let bad = |_| Refusal(400, "the body is malformed, or breaks off");
        let (changed, data) = pass(&mut self.body, head, from, to, false).map_err(bad)?;
        self.is_sent = true;
        self.received += data;
        if self.received > max_body { Err(TOO_LARGE) } else { Ok(changed) }
    }

    fn pass_response(
        &mut self,
        from: &mut Input,
        to: &mut Stream<TcpStream>,
        proxy: &Proxy,
    ) -> Result<bool, Refusal> {
        let (mut changed, mut head) = (false, Vec::new());
        while self.response.is_none()
            && !from.is_empty()
            && to.output().room() >= head.len() + HEAD_MAX_WRITTEN
        {
            self.is_touched = true;
            let keeps_alive = self.asked.keeps_alive && !proxy.is_draining();
            let asked = Asked { keeps_alive, ..self.asked };
            let read = heads::response(from.bytes(), asked, &proxy.via, &mut head)?;
            let Some((length, response)) = read else { break };
            from.consume(length);
            changed = true;
            self.response = Some(response).filter(|response| response.status >= 200);
        }
        let Some(Response { body, unchunks, .. }) = &mut self.response else {
            to.buffers().1.push(&head);
            return Ok(changed);
        };
        let bad = |_| Refusal(502, "a malformed response");
        Ok(changed | pass(body, &head, from, to, *unchunks).map_err(bad)?.0)
    }
}

/// Passes on a head, for which there must be room, and what there is of the body behind it, as far as there
/// is room (X1). Returns whether that changed anything, and how much was data.
fn pass(
    body: &mut Body,
    head: &[u8],
    from: &mut Input,
    to: &mut Stream<TcpStream>,
    unchunks: bool,
) -> Result<(bool, u64), BadFraming> {
    let part = &from.bytes()[..from.len().min(to.output().room() - head.len())];
    let (mut data, mut bare) = (0, Vec::new());
    let taken = body.advance(part, |piece| {
        data += piece.len() as u64;
        if unchunks {
            bare.extend_from_slice(piece);
        }
    })?;
    let ends = taken == 0 && !body.is_over() && from.has_ended() && part.len() == from.len();
    if ends && mem::replace(body, Body::Over) != Body::UntilClose {
        return Err(BadFraming); // it breaks off
    }
    if taken > 0 || !head.is_empty() {
        let passed = if unchunks { &bare } else { &part[..taken] };
        to.send(&[IoSlice::new(head), IoSlice::new(passed)]);
        from.consume(taken);
    }
    Ok((taken > 0 || !head.is_empty() || ends, data))
}
