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

use httparse::{Header, Status};

use super::framing::Body;

/// The most bytes of a head, and the most fields in one.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
pub(crate) const FIELDS_MAX: usize = 100;

/// How much longer a head may get that is written anew: a host, `Via`, `Connection`.
pub(crate) const HEAD_MAX_WRITTEN: usize = HEAD_MAX + 1024;

/// Why a head is refused, as a status and a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

const fn bad(why: &'static str) -> Refusal {
    Refusal { status: 400, why }
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

/// Where a head ends, behind its empty line, if all of it is there. The first `from` bytes were looked at
/// before.
pub(crate) fn end(bytes: &[u8], from: usize) -> Result<Option<usize>, Refusal> {
    let mut at = from.saturating_sub(3);
    while let Some(next) = next_control(bytes, at) {
        at = next;
        match bytes[at] {
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(bad("a bare LF")), // H1
            b'\n' if at >= 3 && bytes[at - 2] == b'\n' => return within(Some(at + 1), at + 1),
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(bad("a bare CR"));
            }
            0 => return Err(bad("a NUL byte")),
            _ => {}
        }
        at += 1;
    }
    within(None, bytes.len() + 1)
}

/// Where the next byte below 16 is, `at` or behind. Eight are looked at at a time.
fn next_control(bytes: &[u8], mut at: usize) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let eight = u64::from_le_bytes(*eight);
        // The lowest bit that is set is right: only those above may be by a borrow.
        let below = eight.wrapping_sub(EACH * 16) & !eight & (EACH * 128);
        if below != 0 {
            return Some(at + below.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    bytes.get(at..)?.iter().position(|byte| *byte < 16).map(|further| at + further)
}

fn within(end: Option<usize>, length: usize) -> Result<Option<usize>, Refusal> {
    let too_long = Refusal { status: 431, why: "the head is too long" };
    if length > HEAD_MAX { Err(too_long) } else { Ok(end) }
}

/// Reads the head of a request, as far as its [`end`], and writes that for the origin to `out`.
pub(crate) fn request<'a>(
    head: &'a [u8],
    via: &str,
    out: &mut Vec<u8>,
) -> Result<Request<'a>, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut fields) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal { status: 431, why: "too many fields" });
        }
        Err(httparse::Error::Version) if is_of_other_version(head) => {
            return Err(Refusal { status: 505, why: "not HTTP/1.1" });
        }
        _ => return Err(bad("a malformed head")),
    }
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
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Body::CHUNKED,
        (Some(_), None) => return Err(Refusal { status: 501, why: "an unknown coding" }),
    };
    if scan.expects.is_some_and(|what| !what.eq_ignore_ascii_case("100-continue")) {
        return Err(Refusal { status: 417, why: "an unknown expectation" });
    }
    let keeps_alive = !is_old && !scan.closes;
    let asked = Asked { is_head: method == "HEAD", is_old, keeps_alive };
    if method == "CONNECT" {
        if !body.is_over() {
            return Err(bad("a CONNECT with a body"));
        }
        let (host, port) = authority(target)?;
        let port = port.ok_or(bad("a CONNECT without a port"))?;
        return Ok(Request { host, port, kind: Kind::Tunnel, asked, body });
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
    put(out, &[method, " ", slash, path, " HTTP/1.1\r\nHost: ", place, "\r\n"]);
    scan.write_fields(parsed.headers, out);
    if !is_old && scan.expects.is_some() {
        put(out, &["Expect: 100-continue\r\n"]);
    }
    write_framing(body == Body::CHUNKED, scan.length, out);
    put(out, &["Via: ", if is_old { "1.0 " } else { "1.1 " }, via, "\r\n\r\n"]);
    let repeatable =
        matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE") && body.is_over();
    let kind = if repeatable { Kind::Repeatable } else { Kind::Once };
    Ok(Request { host, port: port.unwrap_or(80), kind, asked, body })
}

/// Whether the first line ends with a version that is none of ours.
fn is_of_other_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match line.last_chunk::<9>() {
        Some([b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) => {
            major.is_ascii_digit()
                && minor.is_ascii_digit()
                && !matches!((major, minor), (b'1', b'0' | b'1'))
        }
        _ => false,
    }
}

/// Reads the head of a response, as far as its [`end`], and writes that for the client to `out`; nothing of
/// an interim one that the client does not know.
pub(crate) fn response(
    head: &[u8],
    asked: Asked,
    via: &str,
    out: &mut Vec<u8>,
) -> Result<Response, Refusal> {
    const BAD: Refusal = Refusal { status: 502, why: "a malformed response" };
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, &mut fields) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        _ => return Err(BAD),
    }
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
        _ if chunked => Body::CHUNKED,
        Some(length) => Body::of_length(length),
        None => Body::UntilClose,
    };
    let unchunks = chunked && asked.is_old;
    let until_close = body == Body::UntilClose || unchunks && !body.is_over();
    let keeps_client = asked.keeps_alive && !until_close;
    let keeps_origin = !is_old && !scan.closes && body != Body::UntilClose;
    if !(is_interim && asked.is_old) {
        let _ = write!(out, "HTTP/1.1 {status} {}\r\n", parsed.reason.unwrap_or_default());
        scan.write_fields(parsed.headers, out);
        let length = scan.length.filter(|_| !is_bare);
        write_framing(chunked && !unchunks, length, out);
        put(out, &["Via: ", if is_old { "1.0 " } else { "1.1 " }, via, "\r\n"]);
        put(out, &[if keeps_client || is_interim { "\r\n" } else { "Connection: close\r\n\r\n" }]);
    }
    Ok(Response { status, body, unchunks, keeps_client, keeps_origin })
}

/// A response of our own, which ends the connection.
pub(crate) fn answer(refusal: Refusal) -> Vec<u8> {
    let Refusal { status, why } = refusal;
    let name = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Error",
    };
    let body = format!("{status} {name}: {why}\n");
    let length = body.len();
    let retry = if status == 503 { "Retry-After: 1\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {name}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{retry}"
    );
    [head, "Connection: close\r\n\r\n".into(), body].concat().into_bytes()
}

/// The parts of an authority: a host, and a port if it has one.
fn authority(place: &str) -> Result<(&str, Option<u16>), Refusal> {
    const BAD: Refusal = bad("a malformed host or port");
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            host.parse::<Ipv6Addr>().map_err(|_| BAD)?;
            (host, port)
        }
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            let is_name =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if host.is_empty()
                || host.len() > 253
                || host.starts_with('.')
                || !host.bytes().all(is_name)
            {
                return Err(BAD);
            }
            (host, port)
        }
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port
        .strip_prefix(':')
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or(BAD)?;
    let port = digits.parse().ok().filter(|port| *port != 0).ok_or(BAD)?;
    Ok((host, Some(port)))
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
                    return Err(Refusal { status: 508, why: "it has come through here before" });
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
