//! One request and its response, between a client's stream and an origin's.
//!
//! ```text
//!             request                          response
//! client  --> head, kept until it is answered  head, written anew  -->  client
//!             body, as it comes                body, as it comes
//! ```
//!
//! - X1 Each side is read only as far as the other takes it: what waits is bounded by the four buffers.
//! - X2 No byte of the client behind the request's body is touched, nor one of the origin behind the
//!   response's: what the origin sends there ends its connection.
//! - X3 A request is repeated only if that does no harm, nothing of an answer has come, and the connection was
//!   idle before: then the origin has closed it as the request was under way.

use mio::net::TcpStream;
use switchboard::streams::{Input, Output, Stream};

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
        let is_broken = upstream.stream.error().is_some();
        let ((from_client, to_client), (from_origin, to_origin)) =
            (client.buffers(), upstream.stream.buffers());
        let mut changed = self.pass_request(from_client, to_origin, proxy.settings.max_body)?;
        changed |= self.pass_response(from_origin, to_client, proxy)?;
        if self.response.as_ref().is_some_and(|response| response.body.is_over()) {
            return Ok(Next::Done);
        }
        // If the origin has ended, what is left waits for room, or is too little.
        let has_ended = is_broken || from_origin.has_ended();
        let waits = !from_origin.is_empty() && to_client.room() < HEAD_MAX_WRITTEN;
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
        to: &mut Output,
        max_body: u64,
    ) -> Result<bool, Refusal> {
        if !self.is_sent && to.room() < self.head.len() {
            return Ok(false);
        }
        let is_new = !self.is_sent;
        if is_new {
            to.push(&self.head);
            self.is_sent = true;
        }
        let bad = |_| Refusal(400, "the body is malformed, or breaks off");
        let (moved, data) = pass(&mut self.body, from, to, false).map_err(bad)?;
        self.received += data;
        if self.received > max_body { Err(TOO_LARGE) } else { Ok(is_new || moved) }
    }

    fn pass_response(
        &mut self,
        from: &mut Input,
        to: &mut Output,
        proxy: &Proxy,
    ) -> Result<bool, Refusal> {
        let mut changed = false;
        while self.response.is_none() && !from.is_empty() && to.room() >= HEAD_MAX_WRITTEN {
            self.is_touched = true;
            let keeps_alive = self.asked.keeps_alive && !proxy.is_draining();
            let asked = Asked { keeps_alive, ..self.asked };
            let mut head = Vec::with_capacity(512);
            let read = heads::response(from.bytes(), asked, &proxy.via, &mut head)?;
            let Some((length, response)) = read else { break };
            to.push(&head);
            from.consume(length);
            changed = true;
            self.response = Some(response).filter(|response| response.status >= 200);
        }
        if let Some(Response { body, unchunks, .. }) = &mut self.response {
            let bad = |_| Refusal(502, "a malformed response");
            changed |= pass(body, from, to, *unchunks).map_err(bad)?.0;
        }
        Ok(changed)
    }
}

/// Passes on what there is of a body, as far as there is room (X1). Returns whether that changed anything, and
/// how much was data.
fn pass(
    body: &mut Body,
    from: &mut Input,
    to: &mut Output,
    unchunks: bool,
) -> Result<(bool, u64), BadFraming> {
    if body.is_over() {
        return Ok((false, 0));
    }
    let part = &from.bytes()[..from.len().min(to.room())];
    let (mut taken, mut data) = (0, 0);
    while taken < part.len() {
        let (length, is_data) = body.next(&part[taken..])?;
        if length == 0 {
            break;
        }
        if is_data && unchunks {
            to.push(&part[taken..taken + length]);
        }
        taken += length;
        data += if is_data { length as u64 } else { 0 };
    }
    if taken == 0 && from.has_ended() && part.len() == from.len() {
        // It breaks off, unless just that is its end.
        let is_end = *body == Body::UntilClose;
        *body = Body::Over;
        return if is_end { Ok((true, 0)) } else { Err(BadFraming) };
    }
    match unchunks {
        false if taken == from.len() => drop(to.append(from)), // (copies nothing if the output is empty)
        false => drop(to.push(&from.bytes()[..taken])),
        true => {}
    }
    from.consume(taken.min(from.len()));
    Ok((taken > 0, data))
}
