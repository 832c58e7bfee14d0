//! Hazard: bytes that are lost, doubled or held on their way, a message that ends too early or never, and a
//! connection that is used again when it must not be.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use switchboard::streams::Stream;

use super::bench::{Bench, Origin, ask, ok, read_all, read_message, read_until, turn_until};

/// Bytes in which each place can be distinguished from the others.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

fn get(url: &str) -> String {
    format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Answers `/length/N`, `/chunked/N` and `/close/N` with N bytes of the pattern.
fn framed(head: &str, _: &[u8]) -> Vec<u8> {
    let mut parts = head.split([' ', '/']).filter(|part| !part.is_empty()).skip(1);
    let (how, length) = (parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
    let body = pattern(length);
    let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
    match how {
        "length" => {
            write!(out, "Content-Length: {length}\r\n\r\n").unwrap();
            out.extend(body);
        }
        "chunked" => {
            out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(7001) {
                write!(out, "{:x};ext\r\n", chunk.len()).unwrap();
                out.extend(chunk);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\nTrailer: x\r\n\r\n");
        }
        how => panic!("{how}"),
    }
    out
}

#[test]
fn requests_in_one_write_are_answered_in_order_over_one_connection_to_the_origin() {
    let mut bench = Bench::new("");
    let origin = Origin::answering(framed);
    let url = origin.url();
    bench.run(|connect| {
        let mut socket = connect();
        let lengths = [0, 1, 5, 70_000, 3, 300_000, 12];
        let requests: String = lengths
            .iter()
            .enumerate()
            .map(|(at, length)| get(&format!("{url}/{}/{length}", ["length", "chunked"][at % 2])))
            .collect();
        socket.write_all(format!("\r\n{requests}").as_bytes()).unwrap();
        for length in lengths {
            let (head, body) = read_message(&mut socket).unwrap();
            assert!(
                head.starts_with("HTTP/1.1 200 OK\r\n")
                    && head.contains("\r\nVia: 1.1 switchboard-"),
                "{head}"
            );
            assert!(body == pattern(length), "{length}: {}", body.len());
        }
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&mut socket).is_empty());
    });
    assert_eq!(origin.accepted(), 1);
    bench.check_over();
}

#[test]
fn bodies_of_requests_arrive_however_they_are_framed_and_however_slowly() {
    let mut bench = Bench::new("");
    let origin = Origin::answering(|head, body| {
        assert!(head.contains("\r\nVia: 1.1 "), "{head}");
        assert!(body == pattern(body.len()));
        ok(&body.len().to_string())
    });
    let url = origin.url();
    bench.run(|connect| {
        let mut socket = connect();
        for length in [0, 1, 100_000, 3_000_000] {
            let head =
                format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            socket.write_all(head.as_bytes()).unwrap();
            socket.write_all(&pattern(length)).unwrap();
            assert_eq!(read_message(&mut socket).unwrap().1, length.to_string().into_bytes());
            let mut chunked =
                format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .into_bytes();
            for chunk in pattern(length).chunks(50_000) {
                write!(chunked, "{:X}\r\n", chunk.len()).unwrap();
                chunked.extend(chunk);
                chunked.extend(b"\r\n");
            }
            chunked.extend(b"0\r\n\r\n");
            // A byte at a time where there are few.
            chunked
                .chunks(if length < 10 { 1 } else { chunked.len() })
                .for_each(|part| socket.write_all(part).unwrap());
            assert_eq!(read_message(&mut socket).unwrap().1, length.to_string().into_bytes());
        }
    });
    bench.check_over();
}

#[test]
fn what_a_slow_reader_does_not_take_waits_in_buffers_within_their_limits() {
    const LENGTH: usize = 20_000_000;
    let mut bench = Bench::new("");
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let origin = Origin::new(move |_, mut socket| {
        read_message(&mut socket).unwrap();
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
        for part in pattern(LENGTH).chunks(10_000) {
            socket.write_all(part).unwrap();
            count.fetch_add(part.len(), Ordering::AcqRel);
        }
    });
    let mut socket = bench.connect();
    socket.write_all(get(&origin.url()).as_bytes()).unwrap();
    // It goes on until all that the proxy has is full.
    let (proxy, held) = (Rc::clone(&bench.proxy), Rc::new(Cell::new((0, false))));
    turn_until(&mut bench.reactor, || {
        let held = Rc::clone(&held);
        let (held_now, is_full) = held.get();
        assert!(held_now <= (256 + 17) * 1024, "{held_now}");
        for session in proxy.sessions.iter() {
            let held = Rc::clone(&held);
            session.call(move |session, _| {
                let of = |stream: &Stream<_>| stream.input().len() + stream.output().len();
                let of_origin = session.upstream().map_or(0, |upstream| of(&upstream.stream));
                let is_waiting = !session.client.output().is_empty();
                held.set((of(&session.client) + of_origin, is_waiting));
            });
        }
        is_full
    });
    assert!(written.load(Ordering::Acquire) < LENGTH, "it did not have to wait");
    bench.run(move |_| {
        let (_, body) = read_message(&mut socket).unwrap();
        assert!(body == pattern(LENGTH));
    });
    bench.check_over();
}

#[test]
fn a_body_that_ends_with_the_connection_ends_the_client_s_too() {
    let mut bench = Bench::new("");
    let origin = Origin::new(|_, mut socket| {
        let _ = read_message(&mut socket);
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        socket.write_all(&pattern(200_000)).unwrap();
    });
    let request = get(&origin.url());
    bench.run(move |connect| {
        let mut socket = connect();
        socket.write_all(request.as_bytes()).unwrap();
        let head = String::from_utf8(read_until(&mut socket, b"\r\n\r\n").unwrap()).unwrap();
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(read_all(&mut socket) == pattern(200_000));
    });
    bench.check_over();
}

#[test]
fn clients_of_http_1_0_get_no_chunks_and_no_interim_responses() {
    let mut bench = Bench::new("");
    let origin = Origin::answering(|head, _| {
        assert!(head.starts_with("GET /chunked/10 HTTP/1.1\r\n"), "{head}");
        [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", &framed(head, b"")[..]].concat()
    });
    let request =
        format!("GET {}/chunked/10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", origin.url());
    bench.run(move |connect| {
        let mut socket = connect();
        socket.write_all(request.as_bytes()).unwrap();
        let all = read_all(&mut socket);
        let head = String::from_utf8_lossy(&all).split("\r\n\r\n").next().unwrap().to_owned();
        assert!(head.starts_with("HTTP/1.1 200 OK") && !head.contains("chunked"), "{head}");
        assert!(all.ends_with(&[b"\r\n\r\n", &pattern(10)[..]].concat()));
    });
    bench.check_over();
}

#[test]
fn responses_without_a_body_do_not_wait_for_one() {
    let mut bench = Bench::new("");
    let origin = Origin::answering(|head, _| match head.split(' ').next().unwrap() {
        "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec(),
        "DELETE" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "OPTIONS" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n".to_vec(),
        _ => ok("end"),
    });
    let url = origin.url();
    bench.run(move |connect| {
        let mut socket = connect();
        for method in ["HEAD", "DELETE", "OPTIONS"] {
            socket
                .write_all(format!("{method} {url}/ HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
                .unwrap();
            read_until(&mut socket, b"\r\n\r\n").unwrap();
        }
        socket.write_all(get(&url).as_bytes()).unwrap();
        assert_eq!(read_message(&mut socket).unwrap().1, b"end");
    });
    assert_eq!(origin.accepted(), 1);
    bench.check_over();
}

#[test]
fn a_client_that_expects_100_sends_its_body_once_the_origin_wants_it() {
    let mut bench = Bench::new("");
    let origin = Origin::new(|_, mut socket| {
        let head = String::from_utf8(read_until(&mut socket, b"\r\n\r\n").unwrap()).unwrap();
        assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
        if head.starts_with("PUT") {
            return socket.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno").unwrap();
        }
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        socket.read_exact(&mut body).unwrap();
        socket.write_all(&ok(str::from_utf8(&body).unwrap())).unwrap();
    });
    let url = origin.url();
    bench.run(move |connect| {
        let head = |method| {
            format!("{method} {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        };
        let mut socket = connect();
        socket.write_all(head("POST").as_bytes()).unwrap();
        let interim = read_until(&mut socket, b"\r\n\r\n").unwrap();
        assert!(interim.starts_with(b"HTTP/1.1 100 Continue\r\n"));
        socket.write_all(b"body").unwrap();
        assert_eq!(read_message(&mut socket).unwrap().1, b"body");
        // If it is refused, the body never comes: the connection ends.
        let mut socket = connect();
        socket.write_all(head("PUT").as_bytes()).unwrap();
        assert_eq!(read_message(&mut socket).unwrap().1, b"no");
        assert!(read_all(&mut socket).is_empty());
    });
    bench.check_over();
}

#[test]
fn a_tunnel_passes_everything_both_ways_and_each_end_by_itself() {
    const LENGTH: usize = 2_000_000;
    let mut bench = Bench::new("");
    let origin = Origin::new(|_, mut socket| {
        let mut writer = socket.try_clone().unwrap();
        let sender = thread::spawn(move || {
            writer.write_all(&pattern(LENGTH)).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_all(&mut socket) == pattern(LENGTH));
        sender.join().unwrap();
    });
    let address = origin.address;
    bench.run(move |connect| {
        let mut socket = connect();
        // What comes right behind the head is the origin's.
        let mut first =
            format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        first.extend(&pattern(LENGTH)[..1000]);
        socket.write_all(&first).unwrap();
        let head = read_until(&mut socket, b"\r\n\r\n").unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200 "));
        let mut writer = socket.try_clone().unwrap();
        let sender = thread::spawn(move || {
            writer.write_all(&pattern(LENGTH)[1000..]).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_all(&mut socket) == pattern(LENGTH));
        sender.join().unwrap();
    });
    bench.check_over();
}

/// Answers the first request of its first connection, and closes that at the second one.
fn forgetful(seen: &Arc<Mutex<Vec<String>>>) -> Origin {
    let seen = Arc::clone(seen);
    Origin::new(move |number, mut socket| {
        let mut answered = 0;
        while let Some((head, _)) = read_message(&mut socket) {
            seen.lock().unwrap().push(format!("{number} {}", head.split(' ').next().unwrap()));
            if number == 0 && answered == 1 {
                return;
            }
            socket.write_all(&ok("fine")).unwrap();
            answered += 1;
        }
    })
}

#[test]
fn a_request_that_met_a_closed_connection_is_repeated_if_that_does_no_harm() {
    let seen = Arc::default();
    let mut bench = Bench::new("");
    let origin = forgetful(&seen);
    let url = origin.url();
    bench.run(move |connect| {
        let mut socket = connect();
        for _ in 0..3 {
            socket.write_all(get(&url).as_bytes()).unwrap();
            assert_eq!(read_message(&mut socket).unwrap().1, b"fine");
        }
    });
    assert_eq!(*seen.lock().unwrap(), ["0 GET", "0 GET", "1 GET", "1 GET"]);
    bench.check_over();
}

#[test]
fn a_request_that_must_not_come_twice_gets_a_connection_of_its_own() {
    let seen = Arc::default();
    let mut bench = Bench::new("");
    let origin = forgetful(&seen);
    let url = origin.url();
    bench.run(move |connect| {
        let mut socket = connect();
        socket.write_all(get(&url).as_bytes()).unwrap();
        assert_eq!(read_message(&mut socket).unwrap().1, b"fine");
        let post = format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(post.as_bytes()).unwrap();
        assert_eq!(read_message(&mut socket).unwrap().1, b"fine");
    });
    assert_eq!(*seen.lock().unwrap(), ["0 GET", "1 POST"]);
    bench.check_over();
}

#[test]
fn what_an_origin_sends_unasked_reaches_no_client() {
    let mut bench = Bench::new("");
    let origin = Origin::new(|number, mut socket| {
        while read_message(&mut socket).is_some() {
            let mut answer = ok(&number.to_string());
            answer.extend(ok("smuggled"));
            let _ = socket.write_all(&answer);
        }
    });
    let url = origin.url();
    bench.run(move |connect| {
        let mut socket = connect();
        for number in 0..5 {
            socket.write_all(get(&url).as_bytes()).unwrap();
            assert_eq!(read_message(&mut socket).unwrap().1, number.to_string().into_bytes());
        }
    });
    assert_eq!(origin.accepted(), 5);
    bench.check_over();
}

#[test]
fn a_client_that_closes_its_side_after_its_request_gets_its_answer() {
    let mut bench = Bench::new("");
    let origin = Origin::answering(|_, _| ok("answer"));
    let request = get(&origin.url());
    bench.run(move |connect| {
        let answer = ask(&mut connect(), &request);
        assert!(answer.ends_with("\r\n\r\nanswer"), "{answer}");
    });
    bench.check_over();
}

#[test]
fn idle_connections_to_origins_serve_other_clients_and_go_after_a_while() {
    let mut bench = Bench::new("--idle 2");
    let origins = [
        Origin::answering(|_, _| ok("x")),
        Origin::answering(|_, _| ok("y")),
        Origin::answering(|_, _| ok("z")),
    ];
    let urls: Vec<_> = origins.iter().map(Origin::url).collect();
    bench.run(|connect| {
        for url in urls.iter().chain(&urls[1..]).chain(&urls) {
            let mut socket: TcpStream = connect();
            socket.write_all(get(url).as_bytes()).unwrap();
            assert_eq!(read_message(&mut socket).unwrap().1.len(), 1);
        }
    });
    // x made room for z; then it came again in y's place, y in that of z, and z in that of x.
    assert_eq!(origins.each_ref().map(Origin::accepted), [2, 2, 2]);
    assert_eq!((bench.proxy.pool.open(), bench.proxy.pool.idle()), (2, 2));
    for _ in 0..5 {
        bench.pass(std::time::Duration::from_secs(1));
    }
    assert_eq!((bench.proxy.pool.open(), bench.proxy.pool.idle()), (0, 0));
    bench.check_over();
}

#[test]
fn a_response_that_ends_with_the_connection_is_whole_though_more_requests_come() {
    let mut bench = Bench::new("");
    let origin = Origin::new(|_, mut socket| {
        let _ = read_message(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let _ = socket.write_all(&pattern(1_000_000));
    });
    let request = get(&origin.url());
    bench.run(move |connect| {
        let mut socket = connect();
        let mut writer = socket.try_clone().unwrap();
        let more = thread::spawn(move || {
            let _ = writer.write_all(request.repeat(10_000).as_bytes());
            let _ = writer.shutdown(Shutdown::Write);
        });
        read_until(&mut socket, b"\r\n\r\n").unwrap();
        assert!(read_all(&mut socket) == pattern(1_000_000));
        more.join().unwrap();
    });
    bench.check_over();
}

#[test]
fn what_an_origin_said_before_a_request_is_no_answer_to_it() {
    let mut bench = Bench::new("");
    let (go, goes) = mpsc::channel();
    let (said, is_said) = mpsc::channel();
    let goes = Mutex::new(goes);
    let origin = Origin::new(move |number, mut socket| {
        let _ = read_message(&mut socket);
        let _ = socket.write_all(&ok(&number.to_string()));
        if number == 0 {
            goes.lock().unwrap().recv().unwrap();
            let _ = socket.write_all(b"HTTP/1.1 408 Idle\r\nContent-Length: 0\r\n\r\n");
            said.send(()).unwrap();
        }
    });
    let request = get(&origin.url());
    let mut socket = bench.connect();
    socket.write_all(request.as_bytes()).unwrap();
    let proxy = Rc::clone(&bench.proxy);
    turn_until(&mut bench.reactor, || proxy.pool.idle() == 1);
    assert_eq!(read_message(&mut socket).unwrap().1, b"0");
    // Both are there in one poll, the request first.
    socket.write_all(request.as_bytes()).unwrap();
    go.send(()).unwrap();
    is_said.recv().unwrap();
    bench.run(move |_| {
        let (head, body) = read_message(&mut socket).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && body == b"1", "{head}");
    });
    bench.check_over();
}
