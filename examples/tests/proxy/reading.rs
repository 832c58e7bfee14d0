//! Hazard: a head or a body that we read in one way, and the origin or the client in another.

use crate::proxy::heads::{Asked, HEAD_MAX, answer, request, response};
use crate::proxy::story::unchunk;

const VIA: &str = "us-1";

/// What comes of the head of a request: its parts and what the origin gets, or the status of a refusal.
fn judge(head: &[u8]) -> Result<(String, String), u16> {
    let mut out = Vec::new();
    let request = request(head, VIA, &mut out).map_err(|refusal| refusal.0)?;
    let (length, request) = request.ok_or(0_u16)?;
    assert_eq!(length, head.len(), "the head ends early: {}", head.escape_ascii());
    let summary =
        format!("{}:{} {:?} {:?}", request.host, request.port, request.kind, request.body);
    Ok((summary, String::from_utf8(out).unwrap()))
}

/// A request with these fields behind its `Host`.
fn with(fields: &str) -> String {
    format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn post(fields: &str) -> String {
    format!("POST http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

#[test]
fn heads_that_could_be_read_in_two_ways_are_refused() {
    let long = "x".repeat(HEAD_MAX);
    let many: String = (0..101).map(|at| format!("f{at}: x\r\n")).collect();
    let table: Vec<(u16, String)> = vec![
        // Lengths and codings.
        (400, post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
        (400, post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")),
        (400, post("Content-Length: 5\r\nContent-Length: 5\r\n")),
        (400, post("Content-Length: 5\r\nContent-Length: 6\r\n")),
        (400, post("Content-Length: 5, 5\r\n")),
        (400, post("Content-Length: 5,6\r\n")),
        (400, post("Content-Length: +5\r\n")),
        (400, post("Content-Length: -5\r\n")),
        (400, post("Content-Length: 0x5\r\n")),
        (400, post("Content-Length: 5 5\r\n")),
        (400, post("Content-Length: 5\t5\r\n")),
        (400, post("Content-Length: 5.0\r\n")),
        (400, post("Content-Length: 5e1\r\n")),
        (400, post("Content-Length: 1_0\r\n")),
        (400, post("Content-Length: \"5\"\r\n")),
        (400, post("Content-Length:\r\n")),
        (400, post("Content-Length:  \r\n")),
        (400, post("Content-Length: five\r\n")),
        (400, post("Content-Length: 18446744073709551616\r\n")),
        (400, post("Content-Length: 99999999999999999999999\r\n")),
        (400, post("Content-Length: \u{665}\r\n")),
        (400, post("content-length: 5\r\nCONTENT-LENGTH: 5\r\n")),
        (400, post("Content-Length : 5\r\n")),
        (400, post("Content-Length\t: 5\r\n")),
        (400, post(" Content-Length: 5\r\n")),
        (400, post("\tContent-Length: 5\r\n")),
        (400, post("Content-Length: 5\r\n 6\r\n")),
        (400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
        (400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
        (400, post("Transfer-Encoding : chunked\r\n")),
        (400, post("Transfer-Encoding\n: chunked\r\n")),
        (400, post("Transfer-Encoding: chunked\r\n\tx\r\n")),
        (400, post("X: y\r\n Transfer-Encoding: chunked\r\n")),
        (400, post("X: y\nTransfer-Encoding: chunked\r\n")),
        (400, post("X: y\rTransfer-Encoding: chunked\r\n")),
        (400, post("Transfer-Encoding: \u{b}chunked\r\n")),
        (501, post("Transfer-Encoding: xchunked\r\n")),
        (501, post("Transfer-Encoding: chunked, chunked\r\n")),
        (501, post("Transfer-Encoding: gzip, chunked\r\n")),
        (501, post("Transfer-Encoding: chunked, identity\r\n")),
        (501, post("Transfer-Encoding: identity\r\n")),
        (501, post("Transfer-Encoding: gzip\r\n")),
        (501, post("Transfer-Encoding: \"chunked\"\r\n")),
        (501, post("Transfer-Encoding: chunked;x\r\n")),
        (501, post("Transfer-Encoding: chunked,\r\n")),
        (501, post("Transfer-Encoding: ,chunked\r\n")),
        (501, post("Transfer-Encoding:\r\n")),
        (400, "POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
        (400, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n\r\n".into()),
        (400, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
        // Lines.
        (400, "GET http://a/ HTTP/1.1\nHost: a\n\n".into()),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a\n\r\n".into()),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\n".into()),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a\r\rX: y\r\n\r\n".into()),
        (400, "GET http://a/ HTTP/1.1\rHost: a\r\n\r\n".into()),
        (400, "\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, with("X: a\rb\r\n")),
        (400, with("X: a\nb\r\n")),
        (400, with("X: a\0b\r\n")),
        (400, with("X: a\u{1}b\r\n")),
        (400, with("X: a\u{7f}b\r\n")),
        (400, with("X\0: a\r\n")),
        (400, with("X a: b\r\n")),
        (400, with("X: a\r\n folded\r\n")),
        (400, with("X: a\r\n\tfolded\r\n")),
        (400, with(": no name\r\n")),
        (400, with("no colon\r\n")),
        (400, with("X(: a\r\n")),
        (400, with("X\"y\": a\r\n")),
        (400, with("X@y: a\r\n")),
        (400, with("\u{fc}: a\r\n")),
        (400, " GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, line("GET  http://a/ HTTP/1.1")),
        (505, line("GET http://a/  HTTP/1.1")),
        (400, line("GET http://a/ HTTP/1.1 ")),
        (400, line("GET\thttp://a/\tHTTP/1.1")),
        (505, line("GET http://a/ x HTTP/1.1")),
        (400, line("GET http://a/")),
        (400, line("GET")),
        (400, line("")),
        (400, line("G(T http://a/ HTTP/1.1")),
        (400, line("G\u{e9}T http://a/ HTTP/1.1")),
        (505, line("GET http://a/ HTTP/2.0")),
        (505, line("GET http://a/ HTTP/0.9")),
        (505, line("GET http://a/ HTTP/1.2")),
        (400, line("GET http://a/ HTTP/1.10")),
        (505, line("GET http://a/ http/1.1")),
        (505, line("GET http://a/ HTTP/11")),
        (400, line("GET http://a/ HTTP/1.1x")),
        (505, line("PRI * HTTP/2.0")),
        // Targets.
        (400, line("GET / HTTP/1.1")),
        (400, line("GET * HTTP/1.1")),
        (400, line("OPTIONS * HTTP/1.1")),
        (400, line("GET a/ HTTP/1.1")),
        (400, line("GET a:80 HTTP/1.1")),
        (400, line("GET //a/ HTTP/1.1")),
        (400, line("GET http:/a/ HTTP/1.1")),
        (400, line("GET http:///x HTTP/1.1")),
        (400, line("GET http:// HTTP/1.1")),
        (400, line("GET https://a/ HTTP/1.1")),
        (400, line("GET ftp://a/ HTTP/1.1")),
        (400, line("GET http://a/#part HTTP/1.1")),
        (400, line("GET http://me@a/ HTTP/1.1")),
        (400, line("GET http://me:too@a/ HTTP/1.1")),
        (400, line("GET http://a:x/ HTTP/1.1")),
        (400, line("GET http://a:/ HTTP/1.1")),
        (400, line("GET http://a:0/ HTTP/1.1")),
        (400, line("GET http://a:+80/ HTTP/1.1")),
        (400, line("GET http://a:65536/ HTTP/1.1")),
        (400, line("GET http://a:80:80/ HTTP/1.1")),
        (400, line("GET http://.a/ HTTP/1.1")),
        (400, line("GET http://a%2f/ HTTP/1.1")),
        (400, line("GET http://a\\b/ HTTP/1.1")),
        (400, line("GET http://[::1/ HTTP/1.1")),
        (400, line("GET http://[::1]x/ HTTP/1.1")),
        (400, line("GET http://[x]/ HTTP/1.1")),
        (400, line("GET http://[fe80::1%25eth0]/ HTTP/1.1")),
        (400, line("GET http://::1/ HTTP/1.1")),
        (400, line("GET http://\u{e4}/ HTTP/1.1")),
        (400, line("GET http://a/\u{e4} HTTP/1.1")),
        (400, line(&format!("GET http://{}/ HTTP/1.1", "a".repeat(254)))),
        (400, line("CONNECT a HTTP/1.1")),
        (400, line("CONNECT a: HTTP/1.1")),
        (400, line("CONNECT :443 HTTP/1.1")),
        (400, line("CONNECT http://a:443 HTTP/1.1")),
        (400, line("CONNECT a:443/ HTTP/1.1")),
        (400, line("CONNECT me@a:443 HTTP/1.1")),
        // Hosts and the rest.
        (400, "GET http://a/ HTTP/1.1\r\n\r\n".into()),
        (400, with("Host: a\r\n")),
        (400, with("Host: b\r\n")),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n".into()),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a,b\r\n\r\n".into()),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a/b\r\n\r\n".into()),
        (400, "GET http://a/ HTTP/1.1\r\nHost: me@a\r\n\r\n".into()),
        (400, with("Expect: 100-continue\r\nExpect: 100-continue\r\n")),
        (417, with("Expect: more\r\n")),
        (508, with("Via: 1.1 us-1\r\n")),
        (508, with("Via: 1.0 x, 1.1 us-1 (comment)\r\n")),
        (431, with(&format!("X: {long}\r\n"))),
        (431, line(&format!("GET http://a/{long} HTTP/1.1"))),
        (431, with(&many)),
    ];
    assert!(table.len() >= 100, "{}", table.len());
    for (status, head) in &table {
        let found = judge(head.as_bytes()).map(|(parts, _)| parts);
        assert_eq!(found, Err(*status), "{}", head.escape_debug());
    }
}

#[test]
fn heads_that_are_right_are_passed_on_without_what_belongs_to_one_hop() {
    let table = [
        (
            "GET http://a/x?y HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n",
            "a:80 Repeatable Over",
            "GET /x?y HTTP/1.1\r\nHost: a\r\nX: y\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "GET HTTP://A.b:81 HTTP/1.1\r\nHost:\r\n\r\n",
            "A.b:81 Repeatable Over",
            "GET / HTTP/1.1\r\nHost: A.b:81\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n",
            "a:80 Repeatable Over",
            "GET /?q HTTP/1.1\r\nHost: a\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
            "a:80 Repeatable Over",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "GET http://[::1]:8/ HTTP/1.1\r\nHost: [::1]:8\r\n\r\n",
            "::1:8 Repeatable Over",
            "GET / HTTP/1.1\r\nHost: [::1]:8\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "GET http://a/ HTTP/1.0\r\n\r\n",
            "a:80 Repeatable Over",
            "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 us-1\r\n\r\n",
        ),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "a:443 Tunnel Over", ""),
        ("CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", "::1:443 Tunnel Over", ""),
        (
            "POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n",
            "a:80 Once Length(7)",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "a:80 Once Over",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "PUT http://a/ HTTP/1.1\r\nHost: a\r\ntransfer-encoding:  Chunked\t\r\nExpect: 100-Continue\r\n\r\n",
            "a:80 Once Chunked",
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: X-Own , close, content-length,Host\r\nx-own: 1\r\nTE: trailers\r\nUpgrade: websocket\r\n\
             Keep-Alive: 5\r\nProxy-Connection: Other\r\nother: 2\r\nProxy-Authorization: Basic x\r\nLast: 3\r\nContent-Length: 4\r\n\r\n",
            "a:80 Once Length(4)",
            "GET / HTTP/1.1\r\nHost: a\r\nLast: 3\r\nContent-Length: 4\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 us-11\r\nX:\r\n\r\n",
            "a:80 Repeatable Over",
            "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 us-11\r\nX: \r\nVia: 1.1 us-1\r\n\r\n",
        ),
    ];
    for (head, parts, out) in table {
        assert_eq!(
            judge(head.as_bytes()),
            Ok((parts.into(), out.into())),
            "{}",
            head.escape_debug()
        );
    }
}

const ASKED: Asked = Asked { is_head: false, is_old: false, keeps_alive: true };
const OLD: Asked = Asked { is_head: false, is_old: true, keeps_alive: false };
const HEAD: Asked = Asked { is_head: true, is_old: false, keeps_alive: true };

/// As [`judge`], of a response: its body, whether chunks are taken off, whose connections are kept.
fn judge_response(head: &str, asked: Asked) -> Result<(String, String), u16> {
    let mut out = Vec::new();
    let found = response(head.as_bytes(), asked, VIA, &mut out).map_err(|refusal| refusal.0)?;
    let (_, found) = found.ok_or(0_u16)?;
    let body = format!("{:?}", found.body);
    let flags = [
        (found.unchunks, " bare"),
        (found.keeps_client, " client"),
        (found.keeps_origin, " origin"),
    ];
    let flags: String = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
    Ok((body + &flags, String::from_utf8(out).unwrap()))
}

#[test]
fn responses_that_could_be_read_in_two_ways_are_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Go\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 600 High\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
    ] {
        assert_eq!(judge_response(head, ASKED), Err(502), "{}", head.escape_debug());
    }
}

#[test]
fn responses_end_as_their_head_and_their_request_say() {
    let length =
        "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX: y\r\nConnection: z\r\nKeep-Alive: 5\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\n";
    let none = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
    let table = [
        (
            length,
            ASKED,
            "Length(5) client origin",
            "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            length,
            OLD,
            "Length(5) origin",
            "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nVia: 1.1 us-1\r\nConnection: close\r\n\r\n",
        ),
        (
            length,
            HEAD,
            "Over client origin",
            "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            chunked,
            ASKED,
            "Chunked client origin",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            chunked,
            OLD,
            "Chunked bare origin",
            "HTTP/1.1 200 OK\r\nVia: 1.1 us-1\r\nConnection: close\r\n\r\n",
        ),
        (
            chunked,
            HEAD,
            "Over client origin",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            until_close,
            ASKED,
            "UntilClose",
            "HTTP/1.1 200 OK\r\nVia: 1.1 us-1\r\nConnection: close\r\n\r\n",
        ),
        (until_close, HEAD, "Over client origin", "HTTP/1.1 200 OK\r\nVia: 1.1 us-1\r\n\r\n"),
        (none, ASKED, "Over client origin", "HTTP/1.1 204 No Content\r\nVia: 1.1 us-1\r\n\r\n"),
        (
            "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
            ASKED,
            "Over client origin",
            "HTTP/1.1 304 Same\r\nContent-Length: 5\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "HTTP/1.1 100 Go\r\n\r\n",
            ASKED,
            "Over client origin",
            "HTTP/1.1 100 Go\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        ("HTTP/1.1 103 Hint\r\n\r\n", OLD, "Over origin", ""),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            ASKED,
            "Over client",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVia: 1.1 us-1\r\n\r\n",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            ASKED,
            "Over client",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVia: 1.0 us-1\r\n\r\n",
        ),
    ];
    for (head, asked, parts, out) in table {
        let out = if head == length {
            out.replace("\r\nContent-L", "\r\nX: y\r\nContent-L")
        } else {
            out.into()
        };
        assert_eq!(judge_response(head, asked), Ok((parts.into(), out)), "{}", head.escape_debug());
    }
}

#[test]
fn a_head_ends_at_its_empty_line_however_it_comes() {
    let head = with("X: y\r\n");
    let bytes = format!("{head}\r\nGET");
    let length = |bytes: &str| {
        request(bytes.as_bytes(), VIA, &mut Vec::new()).map(|found| found.map(|found| found.0))
    };
    for cut in 0..head.len() {
        assert_eq!(length(&bytes[..cut]), Ok(None), "{cut}");
    }
    for cut in head.len()..=bytes.len() {
        assert_eq!(length(&bytes[..cut]), Ok(Some(head.len())), "{cut}");
    }
}

#[test]
fn chunks_are_taken_apart_at_any_cut_and_nothing_behind_them_is_touched() {
    let extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(254));
    for (bytes, data, rest) in [
        ("0\r\n\r\n", "", 0),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", 0),
        ("5\r\nhello\r\n00\r\n\r\nGET", "hello", 3),
        (
            "A\r\n0123456789\r\n1;a=\"b\"\r\nx\r\n0;last\r\nTrailer: x\r\nMore:\r\n\r\nnext",
            "0123456789x",
            4,
        ),
        ("000000000000003\r\n\r\n\n\r\n0\r\n\r\n", "\r\n\n", 0),
        (&extension, "abc", 0),
    ] {
        for size in 1..=bytes.len() {
            let (body, taken, found) = unchunk(bytes.as_bytes(), size).unwrap();
            assert!(body.is_over(), "{body:?}: {}", bytes.escape_debug());
            assert_eq!((&*found, bytes.len() - taken), (data.as_bytes(), rest));
        }
    }
}

#[test]
fn chunks_that_could_be_read_in_two_ways_are_refused() {
    let extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(255));
    let trailers = format!(
        "0\r\n{}\r\n",
        "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(200)
    );
    for bytes in [
        "\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "g\r\n",
        ";x\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\0\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\n\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n: x\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX: y\r\n folded\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\nX: y\r\n\rz\r\n",
        &extension,
        &trailers,
    ] {
        for size in [1, 2, 3, bytes.len()] {
            let end = unchunk(bytes.as_bytes(), size);
            assert!(end.is_err(), "{end:?} {}", bytes.escape_debug());
        }
    }
}

#[test]
fn every_answer_of_our_own_is_one_that_we_would_pass_on() {
    for status in [400, 403, 408, 413, 417, 431, 501, 502, 503, 504, 505, 508] {
        let refusal = crate::proxy::heads::Refusal(status, "a reason");
        let text = String::from_utf8(answer(refusal)).unwrap();
        let at = text.find("\r\n\r\n").unwrap() + 4;
        let (parts, _) = judge_response(&text, ASKED).unwrap();
        assert_eq!(parts, format!("Length({}) client", text.len() - at));
    }
}

#[test]
fn what_fuzzers_have_found_is_read_in_one_way() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/corpora/proxy");
    for file in std::fs::read_dir(folder).unwrap() {
        crate::proxy::story::run(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

#[test]
fn what_we_write_is_read_in_one_way_whatever_comes() {
    let seeds: [&[u8]; 7] = [
        b"\x08GET http://a/x HTTP/1.1\r\nHost: a\r\nX: y\r\nConnection: x\r\n\r\n",
        b"\x10POST http://a:8?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nVia: 1.1 b\r\n\r\n",
        b"\x01PUT http://[::1]/ HTTP/1.0\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
        b"\x22OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x00HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n",
        b"\x09HTTP/1.1 304 Same\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
        b"\x155;x=y\r\nhello\r\n0\r\nA: b\r\n\r\nGET",
    ];
    let stories = support::util::number("SEEDS").unwrap_or(20_000) as usize;
    let random = support::story::Decisions::of_seed(7);
    for story in 0..stories {
        let mut bytes = seeds[story % seeds.len()].to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            let byte = b"\r\n :;,\t\0ax0159/@[]\x80"[random.below(19)];
            match random.below(4) {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => {
                    let other = seeds[random.below(7)];
                    let from = random.below(other.len());
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
        crate::proxy::story::run(&bytes);
    }
}
