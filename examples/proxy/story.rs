//! Laws of heads and framing, for any bytes: for tests and for a fuzzer.

use super::framing::{BadFraming, Body};
use super::heads::{Asked, Request, request, response};

const VIA: &str = "us-1";

/// Checks that what is made of `bytes` does not depend on how they come, and that what we write is read in
/// one way.
pub(crate) fn run(bytes: &[u8]) {
    let (how, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let size = usize::from(how >> 3) + 1;
    check_chunks(bytes, size);
    let asked = Asked { is_head: how & 1 != 0, is_old: how & 2 != 0, keeps_alive: how & 6 == 0 };
    check_request(bytes, size);
    check_response(bytes, size, asked);
}

/// What is read of the first bytes, more and more of them, and of all.
fn read<T: PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
    bytes: &[u8],
    size: usize,
    read: impl Fn(&[u8]) -> Result<Option<(usize, T)>, E>,
) -> Option<(usize, T)> {
    let whole = read(bytes);
    let mut length = 0;
    let parts = loop {
        length = bytes.len().min(length + size);
        match read(&bytes[..length]) {
            Ok(None) if length < bytes.len() => {}
            other => break other,
        }
    };
    match (whole, parts) {
        (Ok(whole), Ok(parts)) => {
            assert_eq!(whole, parts);
            whole
        }
        (Err(_), Err(_)) => None,
        // (A field too many shows before the end.)
        (whole, parts) => panic!("{whole:?}, in parts {parts:?}: {}", bytes.escape_ascii()),
    }
}

fn check_request(bytes: &[u8], size: usize) {
    let read = |bytes: &[u8]| {
        let mut out = Vec::new();
        let found = request(bytes, VIA, &mut out)?;
        Ok::<_, super::heads::Refusal>(found.map(|(length, request)| {
            let Request { host, port, kind, body, .. } = request;
            (length, (host.to_string(), port, kind, body, out))
        }))
    };
    let Some((_, (host, port, kind, body, out))) = self::read(bytes, size, read) else { return };
    if out.is_empty() {
        return; // a tunnel
    }
    // The next proxy, which is asked for the same URL, reads the same.
    let text = String::from_utf8_lossy(&out).into_owned();
    let (method, rest) = text.split_once(' ').unwrap();
    let place = text.split("\r\nHost: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let slash = if rest.starts_with('*') { "" } else { rest.split(' ').next().unwrap() };
    let behind = rest.split_once(" HTTP/1.1\r\n").unwrap().1.as_bytes();
    let start = format!("{method} http://{place}{slash} HTTP/1.1\r\n");
    let again: Vec<u8> = if text.is_ascii() { [start.as_bytes(), behind].concat() } else { return };
    if again.len() > 16 * 1024 {
        return;
    }
    let mut other = Vec::new();
    let second = request(&again, "us-2", &mut other);
    let (length, second) = second.unwrap_or_else(|refusal| panic!("{refusal:?} {text}")).unwrap();
    assert_eq!(length, again.len(), "{text}");
    assert_eq!((&*host, port, kind, body), (second.host, second.port, second.kind, second.body));
}

fn check_response(bytes: &[u8], size: usize, asked: Asked) {
    let read = |bytes: &[u8]| {
        let mut out = Vec::new();
        let found = response(bytes, asked, VIA, &mut out)?;
        Ok::<_, super::heads::Refusal>(found.map(|(length, response)| (length, (response, out))))
    };
    let Some((_, (first, out))) = self::read(bytes, size, read) else { return };
    if out.is_empty() {
        return; // of no use to an old client
    }
    let second = response(&out, asked, "us-2", &mut Vec::new());
    let (length, second) = second.unwrap_or_else(|refusal| panic!("{refusal:?}")).unwrap();
    assert_eq!(length, out.len(), "{}", out.escape_ascii());
    let body = if first.unchunks && !first.body.is_over() { Body::UntilClose } else { first.body };
    assert_eq!((first.status, body), (second.status, second.body), "{}", out.escape_ascii());
}

/// The body ends at the same place whatever the parts are.
fn check_chunks(bytes: &[u8], size: usize) {
    assert_eq!(unchunk(bytes, bytes.len()), unchunk(bytes, size));
}

/// Takes a chunked body of which `size` bytes more come at a time: what is left, how much was taken, and its
/// data.
pub(crate) fn unchunk(bytes: &[u8], size: usize) -> Result<(Body, usize, Vec<u8>), BadFraming> {
    let (mut body, mut at, mut come, mut data) = (Body::Chunked, 0, 0, Vec::new());
    while come < bytes.len() && !body.is_over() {
        come = bytes.len().min(come + size);
        at += body.advance(&bytes[at..come], |piece| data.extend_from_slice(piece))?;
    }
    Ok((body, at, data))
}
