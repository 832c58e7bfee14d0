//! Laws of heads and framing, for any bytes: for tests and for a fuzzer.

use super::framing::Body;
use super::heads::{Asked, end, request, response};

const VIA: &str = "us-1";

/// Checks that what is made of `bytes` does not depend on how they come, and that what we write is read in
/// one way.
pub(crate) fn run(bytes: &[u8]) {
    let (how, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let size = usize::from(how >> 3) + 1;
    check_chunks(bytes, size);
    let whole = end(bytes, 0);
    let mut scanned = 0;
    let parts = loop {
        let length = bytes.len().min(scanned + size);
        match end(&bytes[..length], scanned) {
            Ok(None) if length < bytes.len() => scanned = length,
            other => break other,
        }
    };
    match (whole, parts) {
        (Ok(Some(whole)), parts) => assert_eq!(parts, Ok(Some(whole))),
        (Ok(None), parts) => assert_eq!(parts, Ok(None)),
        (Err(_), parts) => assert!(!matches!(parts, Ok(None))),
    }
    let Ok(Some(at)) = whole else { return };
    check_request(&bytes[..at]);
    let asked = Asked { is_head: how & 1 != 0, is_old: how & 2 != 0, keeps_alive: how & 6 == 0 };
    check_response(&bytes[..at], asked);
}

fn check_request(head: &[u8]) {
    let mut out = Vec::new();
    let Ok(first) = request(head, VIA, &mut out) else { return };
    if out.is_empty() {
        return; // a tunnel
    }
    assert_eq!(end(&out, 0), Ok(Some(out.len())), "{}", out.escape_ascii());
    // The next proxy, which is asked for the same URL, reads the same.
    let text = String::from_utf8_lossy(&out).into_owned();
    let (method, rest) = text.split_once(' ').unwrap();
    let host = text.split("\r\nHost: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let slash = if rest.starts_with('*') { "" } else { rest.split(' ').next().unwrap() };
    let behind = rest.split_once(" HTTP/1.1\r\n").unwrap().1.as_bytes();
    let start = format!("{method} http://{host}{slash} HTTP/1.1\r\n");
    let again: Vec<u8> = if text.is_ascii() { [start.as_bytes(), behind].concat() } else { return };
    if again.len() > 16 * 1024 {
        return;
    }
    let mut other = Vec::new();
    let second =
        request(&again, "us-2", &mut other).unwrap_or_else(|refusal| panic!("{refusal:?} {text}"));
    assert_eq!(
        (first.host, first.port, first.kind, first.body),
        (second.host, second.port, second.kind, second.body)
    );
}

fn check_response(head: &[u8], asked: Asked) {
    let mut out = Vec::new();
    let Ok(first) = response(head, asked, VIA, &mut out) else { return };
    if out.is_empty() {
        return; // of no use to an old client
    }
    assert!(end(&out, 0).is_ok_and(|at| at == Some(out.len())), "{}", out.escape_ascii());
    let second = response(&out, asked, "us-2", &mut Vec::new())
        .unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let body = if first.unchunks && !first.body.is_over() { Body::UntilClose } else { first.body };
    assert_eq!((first.status, body), (second.status, second.body), "{}", out.escape_ascii());
}

/// The body ends at the same place whatever the parts are.
fn check_chunks(bytes: &[u8], size: usize) {
    let (mut whole, mut parts) = (Body::CHUNKED, Body::CHUNKED);
    let taken = whole.take(bytes);
    let (mut at, mut data) = (0, 0);
    let mut result = Ok(());
    while at < bytes.len() && !parts.is_over() {
        match parts.next(&bytes[at..bytes.len().min(at + size)]) {
            Ok(piece) => {
                at += piece.length;
                data += if piece.is_data { piece.length as u64 } else { 0 };
            }
            Err(bad) => {
                result = Err(bad);
                break;
            }
        }
    }
    assert_eq!(taken, result.map(|()| (at, data)));
}
