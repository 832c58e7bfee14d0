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

pub(crate) struct Exchange {
    pub(crate) kind: Kind,
    pub(crate) asked: Asked,
    /// The head for the origin.
    head: Vec<u8>,
    is_sent: bool,
    /// What is to come of the request's body, and how much has.
    pub(crate) body: Body,
    received: u64,
    /// How much of the response's head was looked at, in vain.
    scanned: usize,
    is_touched: bool,
    pub(crate) response: Option<Response>,
}

/// How an exchange goes on.
pub(crate) enum Next {
    /// When there is more to read or room to write; whether anything has changed.
    Wait(bool),
    /// The response is over.
    Done,
    Refuse(Refusal),
    /// On another connection (X3).
    Repeat,
    /// There is no way to go on, and it is too late for an answer.
    Abort,
}

impl Exchange {
    pub(crate) const fn new(kind: Kind, asked: Asked, head: Vec<u8>, body: Body) -> Self {
        Self {
            kind,
            asked,
            head,
            is_sent: false,
            body,
            received: 0,
            scanned: 0,
            is_touched: false,
            response: None,
        }
    }

    /// Starts again, with another connection.
    pub(crate) const fn rewind(&mut self) {
        (self.is_sent, self.scanned) = (false, 0);
    }

    /// Passes on what there is, both ways.
    pub(crate) fn advance(
        &mut self,
        client: &mut Stream<TcpStream>,
        upstream: &mut Upstream,
        proxy: &Proxy,
    ) -> Next {
        let is_broken = upstream.stream.error().is_some();
        let ((from_client, to_client), (from_origin, to_origin)) =
            (client.buffers(), upstream.stream.buffers());
        let request = self.pass_request(from_client, to_origin, proxy.settings.max_body);
        let response =
            request.and_then(|sent| Ok(sent | self.pass_response(from_origin, to_client, proxy)?));
        match response {
            Err(Some(refusal)) if self.response.is_none() => return Next::Refuse(refusal),
            Err(_) => return Next::Abort,
            Ok(_) if self.response.as_ref().is_some_and(|response| response.body.is_over()) => {
                return Next::Done;
            }
            Ok(true) => return Next::Wait(true),
            Ok(false) if !is_broken && !from_origin.has_ended() => return Next::Wait(false),
            // It has ended; what is left waits for room, or is too little.
            Ok(false) if !from_origin.is_empty() && to_client.room() < HEAD_MAX_WRITTEN => {
                return Next::Wait(false);
            }
            Ok(false) => {}
        }
        match &mut self.response {
            Some(Response { body: body @ Body::UntilClose, .. })
                if !is_broken && from_origin.is_empty() =>
            {
                *body = Body::Over;
                Next::Done
            }
            Some(_) => Next::Abort,
            None if self.kind == Kind::Repeatable && upstream.is_reused && !self.is_touched => {
                Next::Repeat
            }
            None => Next::Refuse(Refusal { status: 502, why: "the origin closed the connection" }),
        }
    }

    /// Returns whether that changed anything; an error with what the client is told, or none.
    fn pass_request(
        &mut self,
        from: &mut Input,
        to: &mut Output,
        max_body: u64,
    ) -> Result<bool, Option<Refusal>> {
        let mut changed = false;
        if !self.is_sent && to.room() >= self.head.len() {
            to.push(&self.head);
            (self.is_sent, changed) = (true, true);
        }
        if self.is_sent && !self.body.is_over() {
            let bad = |_| Some(Refusal { status: 400, why: "malformed chunks" });
            let (moved, data) = pass(&mut self.body, from, to, false).map_err(bad)?;
            self.received += data;
            if self.received > max_body {
                return Err(Some(TOO_LARGE));
            }
            if from.is_over() && !self.body.is_over() {
                return Err(None); // the client is gone
            }
            changed |= moved;
        }
        Ok(changed)
    }

    fn pass_response(
        &mut self,
        from: &mut Input,
        to: &mut Output,
        proxy: &Proxy,
    ) -> Result<bool, Option<Refusal>> {
        let mut changed = false;
        while self.response.is_none() && !from.is_empty() && to.room() >= HEAD_MAX_WRITTEN {
            self.is_touched = true;
            let bad = |_| Some(Refusal { status: 502, why: "a malformed response" });
            let Some(end) = heads::end(from.bytes(), self.scanned).map_err(bad)? else {
                self.scanned = from.len();
                break;
            };
            let asked =
                Asked { keeps_alive: self.asked.keeps_alive && !proxy.is_draining(), ..self.asked };
            let mut out = proxy.take_buffer();
            let response =
                heads::response(&from.bytes()[..end], asked, &proxy.via, &mut out).map_err(bad);
            to.push(&out);
            proxy.keep_buffer(out);
            from.consume(end);
            (self.scanned, changed) = (0, true);
            self.response = Some(response?).filter(|response| response.status >= 200);
        }
        if let Some(Response { body, unchunks, .. }) = &mut self.response {
            changed |= pass(body, from, to, *unchunks).map_err(|_| None)?.0;
        }
        Ok(changed)
    }
}

pub(crate) const TOO_LARGE: Refusal = Refusal { status: 413, why: "the body is too large" };

/// Passes on what there is of a body, as far as there is room (X1). Returns whether there was anything, and how
/// much of it was data.
fn pass(
    body: &mut Body,
    from: &mut Input,
    to: &mut Output,
    unchunks: bool,
) -> Result<(bool, u64), BadFraming> {
    let (before, mut passed) = (from.len(), 0);
    while !body.is_over() && !from.is_empty() && to.room() > 0 {
        let part = &from.bytes()[..from.len().min(to.room())];
        if unchunks {
            let piece = body.next(part)?;
            if piece.is_data {
                to.push(&part[..piece.length]);
            }
            from.consume(piece.length);
        } else {
            let (length, data) = body.take(part)?;
            passed += data;
            if length == from.len() {
                to.append(from); // nothing is copied if the output is empty
            } else {
                to.push(&part[..length]);
                from.consume(length);
            }
        }
    }
    Ok((from.len() != before, passed))
}
