//! Heads of requests and responses: read, judged, and written anew for the other side. Pure functions.
//!
//! `httparse` reads the lines. What it lets pass and two parsers could read in two ways is refused here, so
//! that nothing can be smuggled past us or the origin:
//!
//! - H1 A line ends with CR LF; neither stands alone, and no line is folded.
//! - H2 There is one length or `chunked`, never both, never twice, and neither in a list.
//! - H3 There is one `Host`, and the origin gets that of the target.
//! - H4 What belongs to one hop is not passed on, nor what `Connection` names. Lengths are written anew, so
//!   `Connection` cannot take them away.

use std::io::Write;
use std::mem::MaybeUninit;
use std::net::Ipv6Addr;
use std::num::NonZero;

use httparse::{Header, Status};

use super::framing::Body;

/// The most bytes of a head, and the most fields in one.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
pub(crate) const FIELDS_MAX: usize = 100;

/// How much longer a head may get that is written anew: a host, `Via`, `Connection`.
pub(crate) const HEAD_MAX_WRITTEN: usize = HEAD_MAX + 1024;

/// How much longer it usually gets.
const HEAD_MORE: usize = 64;

/// Why a head is refused, as a status and a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) &'static str);

const fn bad(why: &'static str) -> Refusal {
    Refusal(400, why)
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    pub(crate) asked: Asked,
    pub(crate) body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `CONNECT`.
    Tunnel,
    /// To be repeated without harm.
    Repeatable,
    Once,
}

/// What of a request decides how its response is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) is_head: bool,
    /// By a client of HTTP/1.0, which knows no chunks and no interim responses.
    pub(crate) is_old: bool,
    pub(crate) keeps_alive: bool,
}

/// What is known of a response by its head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// The body's chunks are to be passed on as bare data.
    pub(crate) unchunks: bool,
    /// The client's connection, and that of the origin, may be used again.
    pub(crate) keeps_client: bool,
    pub(crate) keeps_origin: bool,
}

/// What the parser has found: the length of the head, if all of it is there.
fn whole(
    parsed: Result<Status<usize>, httparse::Error>,
    bytes: &[u8],
) -> Result<Option<usize>, Refusal> {
    match parsed {
        Ok(Status::Complete(length)) if length <= HEAD_MAX && has_no_bare_lf(&bytes[..length]) => {
            Ok(Some(length))
        }
        Ok(Status::Partial) if bytes.len() < HEAD_MAX => Ok(None),
        Ok(Status::Complete(..=HEAD_MAX)) => Err(bad("a bare LF")),
        Ok(_) => Err(Refusal(431, "the head is too long")),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal(431, "too many fields")),
        Err(httparse::Error::Version) => Err(Refusal(505, "not HTTP/1.1")),
        Err(_) => Err(bad("a malformed head")),
    }
}

/// The parser takes a bare LF for the end of a line (H1). (All bytes are compared, many at a time.)
fn has_no_bare_lf(head: &[u8]) -> bool {
    let is_bare = |(before, at): (&u8, &u8)| (*before != b'\r') & (*at == b'\n');
    let pairs = head.iter().zip(&head[1..]);
    !pairs.fold(head[0] == b'\n', |bare, pair| bare | is_bare(pair))
}

/// Reads the head of a request, if all of it is there, and writes that for the origin to `out`. Returns its
/// length, too.
pub(crate) fn request<'a>(
    bytes: &'a [u8],
    via: &str,
    out: &mut Vec<u8>,
) -> Result<Option<(usize, Request<'a>)>, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(bytes, &mut fields);
    let Some(length) = whole(status, bytes)? else { return Ok(None) };
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let is_old = parsed.version == Some(0);
    let scan = Scan::of(parsed.headers, via)?;
    match scan.host {
        None if !is_old => return Err(bad("no Host")),
        None | Some("") => {}
        Some(host) => drop(authority(host)?),
    }
    let body = match (scan.coding, scan.length) {
        (None, length) => Body::of_length(length.unwrap_or(0)),
        (Some(_), Some(_)) => return Err(bad("a length and a coding")),
        (Some(_), None) if is_old => return Err(bad("a coding in HTTP/1.0")),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Body::Chunked,
        (Some(_), None) => return Err(Refusal(501, "an unknown coding")),
    };
    if scan.expects.is_some_and(|what| !what.eq_ignore_ascii_case("100-continue")) {
        return Err(Refusal(417, "an unknown expectation"));
    }
    let keeps_alive = !is_old && !scan.closes;
    let asked = Asked { is_head: method == "HEAD", is_old, keeps_alive };
    if method == "CONNECT" {
        if !body.is_over() {
            return Err(bad("a CONNECT with a body"));
        }
        let (host, port) = authority(target)?;
        let port = port.ok_or(bad("a CONNECT without a port"))?;
        return Ok(Some((length, Request { host, port, kind: Kind::Tunnel, asked, body })));
    }
    let rest = match target.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => rest,
        _ => return Err(bad("a target that is no http:// URL")),
    };
    let (place, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = authority(place)?;
    let (slash, path) = match path.as_bytes().first() {
        None if method == "OPTIONS" => ("", "*"),
        None | Some(b'?') => ("/", path),
        _ => ("", path),
    };
    if !target.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#') {
        return Err(bad("a target that is no http:// URL"));
    }
    out.reserve(length + HEAD_MORE);
    put(out, &[method, " ", slash, path, " HTTP/1.1\r\nHost: ", place, "\r\n"]);
    scan.write_fields(parsed.headers, out);
    if !is_old && scan.expects.is_some() {
        put(out, &["Expect: 100-continue\r\n"]);
    }
    write_framing(body == Body::Chunked, scan.length, out);
    put(out, &["Via: ", if is_old { "1.0 " } else { "1.1 " }, via, "\r\n\r\n"]);
    let repeatable =
        matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE") && body.is_over();
    let kind = if repeatable { Kind::Repeatable } else { Kind::Once };
    Ok(Some((length, Request { host, port: port.unwrap_or(80), kind, asked, body })))
}

/// Reads the head of a response, if all of it is there, and writes that for the client to `out`; nothing of
/// an interim one that the client does not know. Returns its length, too.
pub(crate) fn response(
    bytes: &[u8],
    asked: Asked,
    via: &str,
    out: &mut Vec<u8>,
) -> Result<Option<(usize, Response)>, Refusal> {
    const BAD: Refusal = Refusal(502, "a malformed response");
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let read = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields);
    let Some(length) = whole(read, bytes).map_err(|_| BAD)? else { return Ok(None) };
    let is_old = parsed.version == Some(0);
    let status = parsed.code.filter(|code| (100..600).contains(code) && *code != 101).ok_or(BAD)?;
    let scan = Scan::of(parsed.headers, "").map_err(|_| BAD)?;
    let is_interim = status < 200;
    let is_bare = is_interim || status == 204;
    let chunked = match (scan.coding, scan.length) {
        (None, _) => false,
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") && !is_old && !is_bare => {
            true
        }
        _ => return Err(BAD), // H2
    };
    let body = match scan.length {
        _ if is_bare || asked.is_head || status == 304 => Body::Over,
        _ if chunked => Body::Chunked,
        Some(length) => Body::of_length(length),
        None => Body::UntilClose,
    };
    let unchunks = chunked && asked.is_old;
    let until_close = body == Body::UntilClose || unchunks && !body.is_over();
    let keeps_client = asked.keeps_alive && !until_close;
    let keeps_origin = !is_old && !scan.closes && body != Body::UntilClose;
    if !(is_interim && asked.is_old) {
        out.reserve(length + HEAD_MORE);
        let _ = write!(out, "HTTP/1.1 {status} {}\r\n", parsed.reason.unwrap_or_default());
        scan.write_fields(parsed.headers, out);
        let length = scan.length.filter(|_| !is_bare);
        write_framing(chunked && !unchunks, length, out);
        put(out, &["Via: ", if is_old { "1.0 " } else { "1.1 " }, via, "\r\n"]);
        put(out, &[if keeps_client || is_interim { "\r\n" } else { "Connection: close\r\n\r\n" }]);
    }
    Ok(Some((length, Response { status, body, unchunks, keeps_client, keeps_origin })))
}

/// A response of our own, which ends the connection.
pub(crate) fn answer(Refusal(status, why): Refusal) -> Vec<u8> {
    let retry = if status == 503 { "Retry-After: 1\r\n" } else { "" };
    let length = why.len() + 1;
    format!(
        "HTTP/1.1 {status} {why}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{retry}\
         Connection: close\r\n\r\n{why}\n"
    )
    .into_bytes()
}

/// The parts of an authority: a host, and a port if it has one.
fn authority(place: &str) -> Result<(&str, Option<u16>), Refusal> {
    const BAD: Refusal = bad("a malformed host or port");
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let port = match port {
        Some(port) if port.starts_with('+') => return Err(BAD),
        Some(port) => Some(port.parse::<NonZero<u16>>().map_err(|_| BAD)?.get()),
        None => None,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(host) if host.parse::<Ipv6Addr>().is_ok() => Ok((host, port)),
        None if (1..=253).contains(&host.len())
            && !host.starts_with('.')
            && host.bytes().all(is_name) =>
        {
            Ok((host, port))
        }
        _ => Err(BAD),
    }
}

/// What a field is to a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Length,
    Coding,
    Connection,
    Host,
    Expect,
    Via,
    /// Of one hop (H4).
    Hop,
    Other,
}

impl Field {
    fn of(name: &str) -> Self {
        let (name_of, field) = match name.len() {
            2 => ("te", Self::Hop),
            3 => ("via", Self::Via),
            4 => ("host", Self::Host),
            6 => ("expect", Self::Expect),
            7 => ("upgrade", Self::Hop),
            10 if name.as_bytes()[0] | 32 == b'k' => ("keep-alive", Self::Hop),
            10 => ("connection", Self::Connection),
            14 => ("content-length", Self::Length),
            16 => ("proxy-connection", Self::Connection),
            17 => ("transfer-encoding", Self::Coding),
            18 => ("proxy-authenticate", Self::Hop),
            19 => ("proxy-authorization", Self::Hop),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(name_of) { field } else { Self::Other }
    }
}

/// What the fields of a head say.
#[derive(Default)]
struct Scan<'a> {
    length: Option<u64>,
    coding: Option<&'a str>,
    host: Option<&'a str>,
    expects: Option<&'a str>,
    closes: bool,
    /// `Connection` names fields.
    names: bool,
}

impl<'a> Scan<'a> {
    /// Looks at all fields. `via` is our own name, in which a loop shows.
    fn of(fields: &[Header<'a>], via: &str) -> Result<Self, Refusal> {
        let mut scan = Self::default();
        for Header { name, value } in fields {
            let kind = Field::of(name);
            if kind == Field::Other {
                continue;
            }
            let value =
                str::from_utf8(value).map_err(|_| bad("a field that is not ASCII"))?.trim_ascii();
            let place = match kind {
                Field::Length => {
                    let is_number =
                        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                    let length = value.parse().ok().filter(|_| is_number);
                    if scan.length.replace(length.ok_or(bad("a malformed length"))?).is_some() {
                        return Err(bad("two lengths")); // H2
                    }
                    continue;
                }
                Field::Connection => {
                    for name in value.split(',').map(str::trim_ascii) {
                        scan.closes |= name.eq_ignore_ascii_case("close");
                        scan.names |=
                            Field::of(name) == Field::Other && !name.eq_ignore_ascii_case("close");
                    }
                    continue;
                }
                Field::Via
                    if !via.is_empty() && value.split([',', ' ']).any(|name| name == via) =>
                {
                    return Err(Refusal(508, "it has come through here before"));
                }
                Field::Coding => &mut scan.coding,
                Field::Host => &mut scan.host,
                Field::Expect => &mut scan.expects,
                Field::Via | Field::Hop | Field::Other => continue,
            };
            if place.replace(value).is_some() {
                return Err(bad("a field that must not come twice")); // H2, H3
            }
        }
        Ok(scan)
    }

    /// Writes the fields that are passed on as they are (H4).
    fn write_fields(&self, fields: &[Header<'_>], out: &mut Vec<u8>) {
        for Header { name, value } in fields {
            let passes = matches!(Field::of(name), Field::Other | Field::Via);
            if passes && !(self.names && is_named(fields, name)) {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Whether a `Connection` names this field.
fn is_named(fields: &[Header<'_>], name: &str) -> bool {
    let connections = fields.iter().filter(|field| Field::of(field.name) == Field::Connection);
    let mut named = connections.flat_map(|field| field.value.split(|byte| *byte == b','));
    named.any(|value| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

fn write_framing(is_chunked: bool, length: Option<u64>, out: &mut Vec<u8>) {
    match length {
        Some(length) => drop(write!(out, "Content-Length: {length}\r\n")),
        None if is_chunked => put(out, &["Transfer-Encoding: chunked\r\n"]),
        None => {}
    }
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}
