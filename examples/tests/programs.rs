//! Hazard: a small program that people copy, and that hangs, spins, loses what a peer has sent, or reports a bug
//! (`Reporter`) on standard error. Each runs as a process, built by `cargo build --examples`, as `cargo test` does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::net::{PATIENCE, closed_port};

/// The command that runs an example: it is built beside the folder of the tests.
fn program(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().with_file_name("examples");
    let file = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(file.exists(), "{file:?} is not built: cargo build --examples, with the same flags");
    let mut command = Command::new(file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a program, which must end by itself.
fn output(command: &mut Command) -> Output {
    end_of(command.spawn().unwrap())
}

fn end_of(mut child: Child) -> Output {
    let latest = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > latest {
            child.kill().unwrap();
            panic!("it does not end: {:?}", child.wait_with_output());
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    child.wait_with_output().unwrap()
}

/// The lines that a program prints, which succeeds and reports no bug.
#[track_caller]
fn lines(output: &Output) -> Vec<&str> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", output.status);
    str::from_utf8(&output.stdout).unwrap().lines().collect()
}

/// A server in a process of its own, which listens on a port that the system chooses.
struct Server {
    child: Option<Child>,
    #[allow(dead_code, reason = "kept open, even if it is not read")]
    printed: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        printed.read_line(&mut line).unwrap();
        let address = line.split(" 127.").nth(1).unwrap_or_else(|| panic!("{line:?}"));
        let address = address.split_whitespace().next().unwrap();
        let address = format!("127.{address}").parse().unwrap();
        Self { child: Some(child), printed, address }
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_write_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    /// Waits for its end, and returns what it printed since it began.
    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    fn output(mut self) -> Output {
        let mut output = end_of(self.child.take().unwrap());
        self.printed.read_to_end(&mut output.stdout).unwrap();
        output
    }

    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.printed.read_line(&mut line).unwrap();
        line
    }

    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Kills it, and returns what it printed as errors.
    fn kill(&mut self) -> String {
        let Some(mut child) = self.child.take() else { return String::new() };
        child.kill().unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[track_caller]
fn is_echoed(peer: &mut TcpStream, text: &[u8]) {
    peer.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

#[test]
fn echo_and_relay_send_back_all_before_the_end() {
    let mut echo = Server::start(program("echo").arg("127.0.0.1:0"));
    let mut relay =
        Server::start(program("relay").args(["127.0.0.1:0", &echo.address.to_string()]));
    for server in [&echo, &relay] {
        let mut peer = server.connect();
        is_echoed(&mut peer, b"hello");
        peer.write_all(&[7; 10_000]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 10_000);
    }
    assert_eq!((relay.kill(), echo.kill()), (String::new(), String::new()));
}

/// (On a machine that stalls, the timeout may come before the last requests.)
#[test]
fn timer_closes_the_session_after_the_requests_that_it_served() {
    let output = output(program("timer").arg("3"));
    let lines = lines(&output);
    let served: Vec<_> = lines.iter().filter(|line| line.starts_with("request ")).collect();
    assert!(served.len() <= 3, "{lines:?}");
    assert!((1..).zip(&served).all(|(number, line)| **line == format!("request {number}")));
    let closed = format!("idle for 200ms: closed after {} requests", served.len());
    assert_eq!(lines.last(), Some(&&*closed), "the heartbeat does not keep it running");
}

#[test]
fn cancel_takes_the_first_answer_and_each_read_ends_once() {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, silent, also_silent] =
        listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let refused = closed_port().to_string();
    let [answers, ..] = listeners.each_ref().map(|listener| listener.try_clone().unwrap());
    let server =
        thread::spawn(move || answers.accept().unwrap().0.write_all(b"hello\r\n").unwrap());
    let servers = [&silent, &first, &refused, &also_silent];
    let output = output(program("cancel").args(servers));
    let lines = lines(&output);
    server.join().unwrap();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in [
        format!("{first}: hello"),
        format!("{silent}: canceled"),
        format!("{also_silent}: canceled"),
    ] {
        assert!(lines.contains(&&*line), "{lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with(&refused)), "{lines:?}");
}

#[test]
fn resolve_connect_reads_what_each_server_sends_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for _ in 0..2 {
            listener.accept().unwrap().0.write_all(b"hello\r\n").unwrap();
        }
    });
    let (host, address) = (format!("localhost:{}", address.port()), address.to_string());
    let output = output(program("resolve_connect").args([&host, &address]));
    let mut lines = lines(&output);
    server.join().unwrap();
    assert_eq!(lines.pop(), Some("Closed { canceled: 0, completed: 2 }"));
    lines.sort_unstable();
    assert_eq!(lines, [format!("{address}: hello"), format!("{host}: hello")]);
}

#[test]
fn chat_answers_each_line_and_ends_with_the_input() {
    let mut child = program("chat").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"91\n\nno\n97\n1000000007").unwrap();
    let output = end_of(child);
    let divisible = |number: u64, by: u64| format!("{number} is divisible by {by}");
    let prime = 1_000_000_007;
    let no_answer = "no answer: is it a number?".to_owned();
    let wanted = [divisible(91, 7), no_answer.clone(), no_answer, divisible(97, 97)];
    assert_eq!(lines(&output), [&wanted[..], &[divisible(prime, prime)]].concat());
}

/// (On mio's `poll`, the pipe that the signals are read from is reported once.)
#[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
mod signals {
    use std::io::ErrorKind;

    use rustix::process::Signal;

    use super::*;

    #[test]
    fn the_first_ends_a_server_once_its_sessions_have_ended() {
        let mut server = Server::start(program("signals").arg("127.0.0.1:0"));
        let mut peer = server.connect();
        is_echoed(&mut peer, b"hello");
        server.signal(Signal::USR1);
        assert!(server.line().starts_with("1 sessions; "));
        server.signal(Signal::TERM);
        assert_eq!(server.line(), "draining 1 sessions\n");
        let refused = TcpStream::connect(server.address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "the port is free");
        is_echoed(&mut peer, b"still here");
        drop(peer);
        assert_eq!(lines(&server.output()), [""; 0]);
    }

    #[test]
    fn the_second_closes_the_sessions() {
        let mut server = Server::start(program("signals").arg("127.0.0.1:0"));
        let mut peer = server.connect();
        is_echoed(&mut peer, b"hello");
        server.signal(Signal::INT);
        assert_eq!(server.line(), "draining 1 sessions\n");
        server.signal(Signal::INT);
        assert_eq!(lines(&server.output()), [""; 0]);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn child_reports_how_it_ended_and_kills_what_takes_too_long() {
    let run = |arguments: &[&str]| output(program("child").args(arguments));
    assert_eq!(
        lines(&run(&["1000", "sh", "-c", "echo its own; exit 3"])),
        ["its own", "exit status: 3"]
    );
    assert_eq!(lines(&run(&["0", "sleep", "1000"])), ["too long: killed", "signal: 9 (SIGKILL)"]);
    assert!(!run(&["1", "/no/such/command"]).status.success());
}

#[cfg(unix)]
mod tls {
    use std::sync::Arc;

    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// A certificate for localhost that signs itself, and its key, for tests only.
    const FILES: [&str; 2] = ["certificate.pem", "key.pem"];

    fn file(name: &str) -> String {
        format!("{}/examples/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    /// Writes the text and reads its echo, a chunk behind the other; at last it closes its side.
    fn echo(socket: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file(FILES[0])).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tls = rustls::Stream::new(&mut session, socket);
        let mut back = Vec::new();
        for chunk in text.chunks(100_000) {
            tls.write_all(chunk).unwrap();
            let mut echo = vec![0; chunk.len()];
            tls.read_exact(&mut echo).unwrap();
            back.extend(echo);
        }
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        tls.read_to_end(&mut back).unwrap();
        back
    }

    #[test]
    fn m10_tls_fits_under_a_stream() {
        let mut server = Server::start(program("tls").args(FILES.map(file)).arg("127.0.0.1:0"));
        let _silent = server.connect();
        let text: Vec<u8> = (0..1_000_000).map(|byte| (byte >> 5) as u8).collect();
        thread::scope(|scope| {
            for bytes in [1, 1000, 1_000_000] {
                let (mut socket, text) = (server.connect(), &text[..bytes]);
                scope.spawn(move || assert!(echo(&mut socket, text) == text, "{bytes} bytes"));
            }
        });
        assert_eq!(server.kill(), "", "nothing is left undrained");
    }

    #[test]
    fn a_peer_without_tls_ends_its_own_session_only() {
        let mut server = Server::start(program("tls").args(FILES.map(file)).arg("127.0.0.1:0"));
        let mut plain = server.connect();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let alert = &mut Vec::new();
        let _ = plain.read_to_end(alert);
        assert_eq!(alert.first(), Some(&21), "an alert");
        assert_eq!(echo(&mut server.connect(), b"hello"), b"hello");
        let errors = server.kill();
        assert!(errors.starts_with(&plain.local_addr().unwrap().to_string()), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
