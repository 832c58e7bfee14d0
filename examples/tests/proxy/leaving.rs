//! Hazard: something that stays behind when a client or an origin goes, at whatever stage; a drain that does
//! not end, or ends too early.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use socket2::SockRef;

use super::bench::{Bench, Origin, ok, read_all, read_message, read_until, reset, turn_until};

#[test]
fn a_client_that_goes_at_any_stage_leaves_nothing_behind() {
    let mut bench = Bench::new("");
    let origin = Origin::new(|_, mut socket| {
        // Answers slowly, and reads to the end.
        while let Some((_, body)) = read_message(&mut socket) {
            let text = "x".repeat(200_000);
            if !body.is_empty() || socket.write_all(&ok(&text)).is_err() {
                return;
            }
        }
    });
    let url = origin.url();
    let head = format!("GET {url}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let post = format!(
        "POST {url}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let tunnel = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n{head}", origin.address);
    bench.run(move |connect| {
        for request in [&head, &post, &tunnel] {
            for cut in 0..=request.len() {
                for ends in [reset, drop] {
                    let mut socket = connect();
                    let _ = socket.write_all(&request.as_bytes()[..cut]);
                    ends(socket);
                }
            }
            // In the middle of the answer.
            for read in [1, 100, 60_000, 150_000] {
                for ends in [reset, drop] {
                    let mut socket = connect();
                    socket.write_all(request.as_bytes()).unwrap();
                    let _ = socket.read_exact(&mut vec![0; read]);
                    ends(socket);
                }
            }
        }
    });
    let mut steps = 0;
    while !bench.proxy.sessions.is_empty() {
        let _ = bench.reactor.turn(Some(Duration::from_millis(1))).unwrap();
        bench.pass(Duration::from_millis(100)); // (those who closed one side are given a while)
        steps += 1;
        assert!(steps < 2000, "{}", bench.proxy.figures());
    }
    bench.check_over();
}

#[test]
fn an_origin_that_goes_at_any_stage_ends_what_depends_on_it() {
    const ANSWERS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ];
    for answer in ANSWERS {
        let mut bench = Bench::new("");
        // The path is where it goes; at a `DELETE`, before anything is read.
        let origin = Origin::new(move |number, mut socket| {
            let ends = [reset, drop][number % 2];
            let mut first = [0; 6];
            let _ = socket.peek(&mut first);
            if first == *b"DELETE" {
                return ends(socket);
            }
            if let Some((head, _)) = read_message(&mut socket) {
                let cut = head.split(['/', ' ']).nth(2).unwrap().parse::<usize>().unwrap();
                let _ = socket.write_all(&answer.as_bytes()[..cut]);
            }
            ends(socket);
        });
        let url = origin.url();
        bench.run(move |connect| {
            for number in 0..2 * answer.len() {
                let mut socket = connect();
                let (method, cut) = (if number < 10 { "DELETE" } else { "POST" }, number / 2);
                let request = format!(
                    "{method} {url}/{cut} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
                );
                socket.write_all(request.as_bytes()).unwrap();
                let mut got = Vec::new();
                let ended = socket.read_to_end(&mut got);
                let text = String::from_utf8(got).unwrap();
                let final_head = text
                    .strip_prefix("HTTP/1.1 100 Continue\r\n")
                    .map_or(&*text, |rest| rest.split_once("\r\n\r\n").unwrap().1);
                // It is delivered, or cut short by a reset. Nothing looks complete that is not.
                assert!(
                    final_head.starts_with("HTTP/1.1 502 ") || ended.is_err(),
                    "{number}: {text}"
                );
            }
        });
        bench.check_over();
    }
}

#[test]
fn a_body_that_ends_with_the_connection_is_not_complete_after_a_reset() {
    let mut bench = Bench::new("");
    let origin = Origin::new(|_, mut socket| {
        let _ = read_until(&mut socket, b"\r\n\r\n");
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\npart");
        let _ = socket.read(&mut [0; 8]); // until the client has that
        reset(socket);
    });
    let request =
        format!("POST {}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n", origin.url());
    bench.run(move |connect| {
        let mut socket = connect();
        socket.write_all(request.as_bytes()).unwrap();
        read_until(&mut socket, b"\r\n\r\npart").unwrap();
        socket.write_all(b"1234").unwrap();
        let ended = socket.read_to_end(&mut Vec::new());
        assert!(ended.is_err(), "it looks complete");
    });
    bench.check_over();
}

#[test]
fn a_drain_lets_end_what_is_under_way_and_ends_the_loop() {
    let mut bench = Bench::new("--drain-timeout 7");
    let origin = Origin::answering(|_, _| ok("answer"));
    let mut idle = bench.connect();
    let mut busy = bench.connect();
    write!(busy, "GET {}/ HTTP/1.1\r\nHo", origin.url()).unwrap();
    let mut tunnel = bench.connect();
    write!(tunnel, "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address).unwrap();
    let proxy = Rc::clone(&bench.proxy);
    turn_until(&mut bench.reactor, || proxy.sessions.len() == 3);
    turn_until(&mut bench.reactor, || proxy.pool.open() == 1);
    bench.proxy.drain();
    bench.run(move |_| {
        // Who is idle is closed at once; who is not is served, and closed then.
        assert!(read_all(&mut idle).is_empty());
        busy.write_all(b"st: x\r\n\r\n").unwrap();
        let answer = String::from_utf8(read_all(&mut busy)).unwrap();
        assert!(
            answer.contains("\r\nConnection: close\r\n") && answer.ends_with("answer"),
            "{answer}"
        );
    });
    assert!(std::net::TcpStream::connect(bench.address).is_err(), "no one listens");
    // The tunnel has until the deadline.
    read_until(&mut tunnel, b"\r\n\r\n").unwrap();
    assert_eq!(bench.proxy.sessions.len(), 1);
    bench.pass(Duration::from_secs(8));
    bench.reactor.run().unwrap(); // ends
    assert_eq!(bench.proxy.sessions.len(), 0);
    assert!(
        tunnel.read(&mut [0]).is_ok_and(|read| read == 0)
            || tunnel.shutdown(Shutdown::Both).is_err()
    );
    assert_eq!(bench.reactor.registration_count(), 0);
}

#[test]
fn a_second_drain_ends_everything_at_once() {
    let mut bench = Bench::new("");
    let origin = Origin::new(|_, mut socket| drop(socket.read_to_end(&mut Vec::new())));
    let mut socket = bench.connect();
    write!(socket, "GET {}/ HTTP/1.1\r\nHost: x\r\n\r\n", origin.url()).unwrap();
    let proxy = Rc::clone(&bench.proxy);
    turn_until(&mut bench.reactor, || proxy.pool.open() == 1);
    bench.proxy.drain();
    assert_eq!(bench.proxy.sessions.len(), 1);
    bench.proxy.drain();
    assert_eq!(bench.proxy.sessions.len(), 0);
    bench.reactor.run().unwrap();
    assert_eq!((bench.reactor.registration_count(), bench.proxy.pool.open()), (0, 0));
}

#[test]
fn a_drain_that_breaks_off_a_response_does_not_let_it_look_complete() {
    let mut bench = Bench::new("--drain-timeout 7");
    let origin = Origin::new(|_, mut socket| {
        let _ = read_message(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\npart");
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let request = format!("GET {}/ HTTP/1.1\r\nHost: x\r\n\r\n", origin.url());
    let mut socket = bench.connect();
    bench.run(|_| {
        socket.write_all(request.as_bytes()).unwrap();
        read_until(&mut socket, b"\r\n\r\npart").unwrap();
    });
    bench.proxy.drain();
    bench.pass(Duration::from_secs(8));
    assert_eq!(bench.proxy.sessions.len(), 0);
    assert!(socket.read_to_end(&mut Vec::new()).is_err(), "it looks complete");
}

#[test]
fn a_slow_client_has_the_idle_timeout_for_the_rest_of_its_last_response() {
    const LENGTH: usize = 1_000_000; // the last quarter of it is more than the system takes here
    let mut bench = Bench::new("--idle-timeout 60");
    let origin = Origin::answering(|_, _| ok(&"x".repeat(LENGTH)));
    let request = format!("GET {}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", origin.url());
    for is_in_time in [true, false] {
        let mut socket = bench.connect();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 32_768).unwrap();
        let proxy = Rc::clone(&bench.proxy);
        turn_until(&mut bench.reactor, || !proxy.sessions.is_empty());
        let is_rest = Rc::new(Cell::new(false));
        proxy.sessions.iter().next().unwrap().call(|session, _| {
            SockRef::from(session.client.source()).set_send_buffer_size(32_768).unwrap();
        });
        socket.write_all(request.as_bytes()).unwrap();
        turn_until(&mut bench.reactor, || proxy.pool.open() > 0);
        // Until the rest waits in the proxy alone.
        let (mut all, mut part) = (Vec::new(), vec![0; 50_000]);
        while !is_rest.get() {
            let read = bench.run(|_| socket.read(&mut part).unwrap());
            all.extend_from_slice(&part[..read]);
            for session in proxy.sessions.iter() {
                let is_rest = Rc::clone(&is_rest);
                session.call(move |session, _| {
                    let waits = !session.client.output().is_empty();
                    is_rest.set(session.upstream().is_none() && waits);
                });
            }
            bench.pass(Duration::ZERO);
            assert!(read > 0, "all has come");
        }
        bench.pass(Duration::from_secs(if is_in_time { 50 } else { 70 }));
        bench.run(|_| {
            let ended = socket.read_to_end(&mut all);
            assert_eq!(ended.is_ok(), is_in_time, "{ended:?}");
        });
        assert_eq!(all.len() > LENGTH, is_in_time, "{}", all.len());
    }
    bench.check_over();
}

#[test]
fn a_slow_answer_takes_nothing_of_the_time_until_the_next_request() {
    let mut bench = Bench::new("--idle-timeout 60");
    let (go, goes) = mpsc::channel();
    let (heard, hears) = mpsc::channel();
    let goes = Mutex::new(goes);
    // What the client gets is as long as what the origin got.
    let origin = Origin::answering(move |head, _| {
        heard.send(()).unwrap();
        goes.lock().unwrap().recv().unwrap();
        let via = head.split("\r\n").find(|line| line.starts_with("Via: ")).unwrap();
        let rest = format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n{via}\r\n\r\n").len();
        ok(&"x".repeat(head.len() - rest))
    });
    let mut socket = bench.connect();
    let path = "x".repeat(40);
    write!(socket, "GET {}/{path} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url()).unwrap();
    let proxy = Rc::clone(&bench.proxy);
    turn_until(&mut bench.reactor, || hears.try_recv().is_ok());
    bench.pass(Duration::from_secs(50));
    go.send(()).unwrap();
    turn_until(&mut bench.reactor, || proxy.pool.idle() == 1);
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.proxy.sessions.len(), 1);
    drop(socket);
    bench.check_over();
}
