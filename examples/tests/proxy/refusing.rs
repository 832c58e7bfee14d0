//! Hazard: a destination that is reached although it must not be, a refusal that no one sees, a wait without
//! an end, and limits that do not hold.

use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use super::bench::{Bench, Origin, ask, ok, read_all, read_message, reset, turn_until};
use crate::proxy::allow::{Rules, ranges};
use support::net::closed_port;

/// The status of an answer.
fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn loopback_and_private_addresses_are_refused_unless_they_are_allowed() {
    let origin = Origin::answering(|_, _| ok("reached"));
    let port = origin.address.port();
    for (flags, host, expected) in [
        ("", "127.0.0.1", "403"),
        ("", "localhost", "403"),
        ("", "LOCALHOST.", "403"),
        ("", "2130706433", "403"),
        ("", "0x7f.1", "403"),
        ("", "0.0.0.0", "403"),
        ("", "[::ffff:127.0.0.1]", "403"),
        ("", "[::127.0.0.1]", "403"),
        ("", "10.0.0.1", "403"),
        ("", "169.254.169.254", "403"),
        ("--allow private", "127.0.0.1", "403"),
        ("--allow 127.0.0.2", "127.0.0.1", "403"),
        ("--allow loopback", "127.0.0.1", "200"),
        ("--allow 127.0.0.1", "127.0.0.1", "200"),
        ("--allow 127.0.0.0/30", "127.0.0.1", "200"),
        ("--allow loopback", "localhost", "200"),
        ("--allow all", "127.0.0.1", "200"),
    ] {
        let mut bench = Bench::bare(flags);
        let got = bench.run(move |connect| {
            let forward = ask(
                &mut connect(),
                &format!(
                    "GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                ),
            );
            let tunnel = ask(
                &mut connect(),
                &format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            );
            [forward, tunnel]
        });
        assert_eq!(
            got.each_ref().map(|answer| status(answer)),
            [expected; 2],
            "{flags} {host}: {got:?}"
        );
        bench.check_over();
    }
}

#[test]
fn rules_judge_addresses_of_every_range() {
    let open = |flags: &[&str]| {
        let open: Vec<_> = flags.iter().map(|flag| ranges(flag).unwrap()).collect();
        Rules::new(&open)
    };
    let allows = |rules: &Rules, ip: &str| rules.allow(ip.parse().unwrap());
    let rules = open(&[]);
    for public in
        ["8.8.8.8", "172.32.0.1", "2606:4700::1", "223.255.255.255", "11.0.0.0", "::ffff:8.8.8.8"]
    {
        assert!(allows(&rules, public), "{public}");
    }
    let special = [
        "127.0.0.1",
        "127.255.255.255",
        "10.255.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.1.2.3",
        "192.0.0.1",
        "198.19.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "::ffff:0:7f00:1",
        "2002:7f00:1::",
        "::ffff:10.0.0.1",
    ];
    for address in special {
        assert!(!allows(&rules, address), "{address}");
    }
    let rules = open(&["private", "fe80::/10", "::1"]);
    for (address, allowed) in [
        ("10.0.0.1", true),
        ("fd00::1", true),
        ("fe80::1", true),
        ("::1", true),
        ("::2", false),
        ("127.0.0.1", false),
    ] {
        assert_eq!(allows(&rules, address), allowed, "{address}");
    }
    let rules = open(&["all"]);
    assert!(special.iter().all(|address| allows(&rules, address)));
    for wrong in ["", "10.0.0.0/33", "::/129", "a b", "host", "10.0.0.1:7", "/8"] {
        assert!(ranges(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_origin_that_cannot_be_reached_or_understood_is_a_502() {
    let mut bench = Bench::new("");
    let garbage = Origin::new(|_, mut socket| {
        let _ = read_message(&mut socket);
        let _ = socket.write_all(b"SSH-2.0-x\r\n\r\n");
    });
    let endless = Origin::new(|_, mut socket| {
        let _ = read_message(&mut socket);
        let _ = socket.write_all(&[b'x'; 100_000]);
    });
    let silent = Origin::new(|_, mut socket| drop(read_message(&mut socket)));
    let deaf = closed_port();
    // (Each attempt at the closed port waits for its backoff.)
    let urls = [garbage.url(), endless.url(), silent.url(), "http://nowhere.invalid".into()];
    bench.run(|connect| {
        for url in urls {
            let answer = ask(&mut connect(), &format!("GET {url}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(status(&answer), "502", "{url}: {answer}");
        }
    });
    let mut socket = bench.connect();
    write!(socket, "GET http://{deaf}/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let answer = wait_for_answer(&mut bench, socket, Duration::from_millis(50), 200);
    assert_eq!(status(&answer), "502", "{answer}");
    bench.check_over();
}

/// Lets time pass in steps until there is an answer.
fn wait_for_answer(
    bench: &mut Bench,
    mut socket: std::net::TcpStream,
    step: Duration,
    steps: usize,
) -> String {
    socket.set_nonblocking(true).unwrap();
    let mut byte = [0];
    for _ in 0..steps {
        // (What the other side does meanwhile takes real time.)
        for _ in 0..3 {
            let _ = bench.reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
        if socket.peek(&mut byte).is_ok() {
            socket.set_nonblocking(false).unwrap();
            return bench.run(move |_| String::from_utf8(read_all(&mut socket)).unwrap());
        }
        bench.pass(step);
    }
    panic!("no answer: {}", bench.proxy.figures());
}

#[test]
fn waits_have_an_end() {
    let silent = || {
        Origin::new(|_, mut socket| {
            let _ = read_message(&mut socket);
            let _ = socket.read(&mut [0]);
        })
    };
    let origin = silent();
    let url = origin.url();
    let ten = Duration::from_secs(1);
    for (expected, request) in [
        ("504", format!("GET {url}/ HTTP/1.1\r\nHost: x\r\n\r\n")),
        ("408", format!("GET {url}/ HTTP/1.1\r\nHost")),
        ("408", format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\npart")),
        ("none", String::new()),
    ] {
        let mut bench = Bench::new("--head-timeout 3 --idle-timeout 5");
        let mut socket = bench.connect();
        socket.write_all(request.as_bytes()).unwrap();
        let proxy = Rc::clone(&bench.proxy);
        turn_until(&mut bench.reactor, || proxy.sessions.len() == 1);
        let answer = wait_for_answer(&mut bench, socket, ten, 100);
        assert_eq!(status(&answer), expected, "{request} {answer}");
        bench.check_over();
    }
    // A client that is gone for good is not waited for as long.
    let mut bench = Bench::new("--idle-timeout 1000");
    let request = format!("GET {url}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    bench.run(move |connect| connect().write_all(request.as_bytes()).unwrap());
    let (mut steps, proxy) = (0, Rc::clone(&bench.proxy));
    turn_until(&mut bench.reactor, || proxy.figures.borrow().accepted == 1);
    while !bench.proxy.sessions.is_empty() {
        let _ = bench.reactor.turn(Some(Duration::from_millis(1))).unwrap();
        bench.pass(ten);
        steps += 1;
        assert!(steps < 100, "{}", bench.proxy.figures());
    }
    bench.check_over();
}

#[test]
fn a_head_that_comes_a_byte_at_a_time_has_a_deadline_that_does_not_move() {
    let mut bench = Bench::new("--head-timeout 3");
    let mut socket = bench.connect();
    let mut sent = 0;
    while bench.proxy.figures().contains("refusals: {}") {
        sent += 1;
        assert!(sent < 20, "{}", bench.proxy.figures());
        socket.write_all(b"G").unwrap();
        for _ in 0..3 {
            let _ = bench.reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
        bench.pass(Duration::from_millis(500));
    }
    let answer = bench.run(move |_| String::from_utf8(read_all(&mut socket)).unwrap());
    assert_eq!(status(&answer), "408");
    bench.check_over();
}

#[test]
fn what_is_too_large_is_refused_and_the_client_sees_why() {
    let mut bench = Bench::new("--max-body 100000");
    let origin = Origin::new(|_, mut socket| {
        let _ = read_message(&mut socket);
        let _ = socket.read(&mut [0]);
    });
    let url = origin.url();
    bench.run(move |connect| {
        let post = format!("POST {url}/ HTTP/1.1\r\nHost: x\r\n");
        let chunk = format!("fffff\r\n{}\r\n", "x".repeat(0xfffff));
        for (expected, request) in [
            ("413", format!("{post}Content-Length: 100001\r\n\r\n{}", "x".repeat(100_001))),
            ("413", format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunk}")),
            ("400", format!("{post}Transfer-Encoding: chunked\r\n\r\nxyz\r\n")),
            ("431", format!("GET {url}/{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(20_000))),
            ("431", format!("{post}{}\r\n", "X: y\r\n".repeat(200))),
            ("400", format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")),
            ("400", "\u{16}\u{3}\u{1}\u{2}\u{0}".into()),
        ] {
            let answer = ask(&mut connect(), &request);
            assert_eq!(status(&answer), expected, "{}", &request[..request.len().min(300)]);
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        }
    });
    bench.check_over();
}

#[test]
fn nothing_behind_a_refused_head_is_taken_for_a_request() {
    let mut bench = Bench::new("");
    let origin = Origin::answering(|_, _| ok("smuggled"));
    let url = origin.url();
    bench.run(move |connect| {
        let behind = format!("GET {url}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        let head = format!("POST {url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = ask(&mut connect(), &format!("{head}0\r\n\r\n{behind}{behind}"));
        assert!(status(&answer) == "400" && !answer.contains("smuggled"), "{answer}");
    });
    assert_eq!(origin.accepted(), 0);
    bench.check_over();
}

#[test]
fn connections_to_origins_are_limited_and_idle_ones_make_room() {
    let mut bench = Bench::new("--upstreams 2");
    let (release, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow = Origin::new(move |_, mut socket| {
        let _ = read_message(&mut socket);
        let _ = wait.lock().unwrap().recv();
        let _ = socket.write_all(&ok("late"));
    });
    let fast = Origin::answering(|_, _| ok("fast"));
    let (slow_url, fast_url) = (slow.url(), fast.url());
    bench.run(move |connect| {
        let get =
            |url: &str| format!("GET {url}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(ask(&mut connect(), &get(&fast_url)).ends_with("fast")); // is kept, idle
        let mut waiting = [connect(), connect()];
        for socket in &mut waiting {
            socket.write_all(get(&slow_url).as_bytes()).unwrap();
        }
        while slow.accepted() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(status(&ask(&mut connect(), &get(&fast_url))), "503");
        drop(release);
        for mut socket in waiting {
            assert!(read_all(&mut socket).ends_with(b"late"));
        }
        assert!(ask(&mut connect(), &get(&fast_url)).ends_with("fast"));
    });
    bench.check_over();
}

#[test]
fn clients_are_limited_and_the_others_wait_to_be_accepted() {
    let mut bench = Bench::new("--clients 2");
    let origin = Origin::answering(|_, _| ok("x"));
    let url = origin.url();
    bench.run(move |connect| {
        let get = format!("GET {url}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut sockets: Vec<_> = (0..5).map(|_| connect()).collect();
        for socket in &mut sockets {
            socket.write_all(get.as_bytes()).unwrap();
        }
        for (at, mut socket) in sockets.into_iter().enumerate() {
            assert!(read_message(&mut socket).is_some(), "{at}");
            if at % 2 == 0 { reset(socket) } else { drop(socket) }
        }
    });
    bench.check_over();
}
