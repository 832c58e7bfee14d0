//! Hazard: what the program as a whole does wrong: its command line, signals, several loops, no descriptors,
//! many clients, and a client that everybody has. Each runs the tests' own binary as the proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};

use argh::FromArgs;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

use super::bench::{Origin, ask, ok, patient, read_message, settings};
use crate::proxy::serve;
use crate::proxy::settings::Settings;

/// The flags of a proxy that a test runs as a process of its own, and how many descriptors it has.
const FLAGS: &str = "SWITCHBOARD_PROXY";
const DESCRIPTORS: &str = "SWITCHBOARD_PROXY_DESCRIPTORS";

/// A proxy, in a process of its own: no test by itself.
#[test]
fn proxy() {
    let Ok(line) = std::env::var(FLAGS) else { return };
    if let Ok(most) = std::env::var(DESCRIPTORS) {
        let most = most.parse().ok();
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    }
    serve::serve(&settings(&line)).unwrap();
}

struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(flags: &str, descriptors: Option<usize>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["tests::proxy::process::proxy", "--exact", "--nocapture"]);
        command.env(FLAGS, format!("--listen 127.0.0.1:0 --allow loopback {flags}").trim_end());
        if let Some(descriptors) = descriptors {
            command.env(DESCRIPTORS, descriptors.to_string());
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let line =
            lines.by_ref().map(Result::unwrap).find(|line| line.contains("listening on ")).unwrap();
        let address = line.split("listening on ").nth(1).unwrap().split(',').next().unwrap();
        Self { address: address.parse().unwrap(), child }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        patient(&socket);
        socket
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The lines that SIGUSR1 prints, one a loop.
    fn figures(&mut self, loops: usize) -> Vec<String> {
        self.signal(Signal::USR1);
        let mut lines = BufReader::new(self.child.stderr.as_mut().unwrap()).lines();
        (0..loops).map(|_| lines.next().unwrap().unwrap()).collect()
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Waits until it has no more descriptors open than that.
    fn wait_for_descriptors(&self, count: usize) {
        let end = std::time::Instant::now() + support::net::PATIENCE;
        while self.descriptors() > count {
            assert!(std::time::Instant::now() < end, "{} descriptors", self.descriptors());
            std::thread::yield_now();
        }
    }

    fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(url: &str) -> String {
    format!("GET {url}/ HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[test]
fn signals_print_figures_and_end_it_and_loops_share_a_port() {
    for loops in [1, 3] {
        let origin = Origin::answering(|_, _| ok("x"));
        let mut proxy = Proxy::start(&format!("--loops {loops}"), None);
        for _ in 0..20 {
            assert!(ask(&mut proxy.connect(), &get(&origin.url())).ends_with("\r\n\r\nx"));
        }
        let figures = proxy.figures(loops);
        let requests: u32 = figures
            .iter()
            .map(|line| {
                line.split("requests: ")
                    .nth(1)
                    .unwrap()
                    .split(',')
                    .next()
                    .unwrap()
                    .parse::<u32>()
                    .unwrap()
            })
            .sum();
        assert_eq!(requests, 20, "{figures:?}");
        assert!(
            figures.iter().all(|line| line.contains("0 abandoned + 0 panicked")),
            "{figures:?}"
        );
        let mut busy = proxy.connect();
        busy.write_all(b"GET ").unwrap();
        let mut answered = proxy.connect();
        answered.write_all(get(&origin.url()).as_bytes()).unwrap();
        read_message(&mut answered).unwrap();
        proxy.signal(Signal::TERM);
        assert_eq!(answered.read(&mut [0]).unwrap(), 0, "an idle client is closed");
        // One that is not is waited for; a second signal ends it.
        assert!(proxy.child.try_wait().unwrap().is_none());
        proxy.signal(Signal::INT);
        assert!(proxy.child.wait().unwrap().success());
    }
}

#[test]
fn figures_that_nothing_reads_end_no_loop() {
    let mut proxy = Proxy::start("", None);
    drop(proxy.child.stderr.take());
    proxy.signal(Signal::USR1);
    assert!(proxy.end().success());
}

#[test]
fn without_descriptors_clients_wait_or_get_an_answer_and_all_goes_on_later() {
    let origin = Origin::answering(|_, _| ok("x"));
    let proxy = Proxy::start("", Some(40));
    let before = proxy.descriptors();
    let mut idle: Vec<_> = (0..60).map(|_| proxy.connect()).collect();
    for socket in &mut idle {
        let _ = socket.write_all(get(&origin.url()).as_bytes());
    }
    // Some got in; those among them for whom there was no second descriptor are answered so.
    let answer = read_message(&mut idle[0]).unwrap();
    assert!(
        answer.0.starts_with("HTTP/1.1 200 ") || answer.0.starts_with("HTTP/1.1 503 "),
        "{answer:?}"
    );
    drop(idle);
    let answer = ask(&mut proxy.connect(), &get(&origin.url()));
    assert!(answer.ends_with("\r\n\r\nx"), "{answer}");
    proxy.wait_for_descriptors(before + 1); // the pool may hold one
    assert!(proxy.end().success());
}

#[test]
fn a_thousand_idle_clients_cost_little_and_leave_nothing() {
    let claim = support::descriptors::claim(2500);
    let count = claim.count() * 2 / 5;
    let origin = Origin::answering(|_, _| ok("x"));
    let proxy = Proxy::start("", None);
    // (Without what is mapped of files: the first client makes the program come in, whatever their number.)
    let memory = || {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", proxy.child.id())).unwrap();
        let mut pages = statm.split(' ').skip(1).map(|field| field.parse::<usize>().unwrap());
        (pages.next().unwrap() - pages.next().unwrap()) * 4096
    };
    let (before, held) = (proxy.descriptors(), memory());
    let mut clients: Vec<_> = (0..count).map(|_| proxy.connect()).collect();
    // Each has had a request.
    for socket in &mut clients {
        socket.write_all(get(&origin.url()).as_bytes()).unwrap();
        read_message(socket).unwrap();
    }
    assert!(proxy.descriptors() >= before + count);
    let each = memory().saturating_sub(held) / count;
    assert!(each < 8 * 1024, "{each} bytes for an idle client");
    drop(clients);
    proxy.wait_for_descriptors(before + 1);
    assert!(proxy.end().success());
}

/// Runs curl, if it is there; its output.
fn curl(proxy: &Proxy, arguments: &[&str]) -> Option<Vec<u8>> {
    let command = Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            "20",
            "--noproxy",
            "",
            "--proxy",
            &format!("http://{}", proxy.address),
        ])
        .args(arguments)
        .output();
    let output = command.ok()?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[test]
fn curl_gets_posts_and_tunnels_through_it() {
    let origin = Origin::answering(|head, body| {
        let method = head.split(' ').next().unwrap();
        if method == "HEAD" {
            return b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n".to_vec();
        }
        let chunk = format!("{method} {}\n", body.len());
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
            chunk.len()
        )
        .into_bytes()
    });
    let proxy = Proxy::start("", None);
    let (url, text) = (origin.url(), "x".repeat(200_000));
    let Some(got) = curl(&proxy, &[&url, &url]) else {
        return eprintln!("there is no curl: not tested with it");
    };
    assert_eq!(got, b"GET 0\nGET 0\n");
    let get = |arguments: &[&str]| String::from_utf8(curl(&proxy, arguments).unwrap()).unwrap();
    assert_eq!(get(&["--http1.0", &url]), "GET 0\n");
    assert!(get(&["--head", &url]).contains("\r\nContent-Length: 12\r\n"));
    assert_eq!(get(&["--data-binary", "hello", &url]), "POST 5\n");
    let file = std::env::temp_dir().join(format!("switchboard-proxy-{}", std::process::id()));
    std::fs::write(&file, &text).unwrap();
    let file_text = file.to_str().unwrap();
    assert_eq!(get(&["--data-binary", &format!("@{file_text}"), &url]), "POST 200000\n");
    assert_eq!(
        get(&["-H", "Transfer-Encoding: chunked", "--upload-file", file_text, &url]),
        "PUT 200000\n"
    );
    assert_eq!(get(&["--proxytunnel", &url, &url]), "GET 0\nGET 0\n");
    std::fs::remove_file(file).unwrap();
    assert_eq!(get(&["-o", "/dev/null", "-w", "%{http_code}", "http://10.0.0.1/"]), "403");
    assert!(proxy.end().success());
}

/// A server that speaks TLS with a certificate of its own and serves the files of a folder.
struct TlsServer(Child, SocketAddr);

impl TlsServer {
    /// `None` if there is no openssl.
    fn start(folder: &std::path::Path) -> Option<Self> {
        let request =
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key -out cert";
        let openssl = |line: &str| {
            let mut command = Command::new("openssl");
            command.args(line.split(' ')).current_dir(folder).stderr(Stdio::null());
            command
        };
        assert!(openssl(request).stdout(Stdio::null()).status().ok()?.success());
        let server = "s_server -accept 127.0.0.1:0 -key key -cert cert -WWW";
        let mut child =
            openssl(server).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let line =
            lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("ACCEPT ")).unwrap();
        let address = line["ACCEPT ".len()..].parse().unwrap();
        Some(Self(child, address))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn curl_speaks_tls_through_a_tunnel() {
    let folder = std::env::temp_dir().join(format!("switchboard-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(folder.join("file"), &file).unwrap();
    let mut proxy = Proxy::start("", None);
    let before = proxy.descriptors();
    match TlsServer::start(&folder) {
        Some(server) => {
            let url = format!("https://{}/file", server.1);
            for _ in 0..3 {
                let got = curl(&proxy, &["--insecure", &url]);
                assert!(got.is_none_or(|got| got == file));
            }
            proxy.wait_for_descriptors(before);
            let figures = proxy.figures(1).remove(0);
            assert!(figures.contains("0 abandoned + 0 panicked"), "{figures}");
        }
        None => eprintln!("there is no openssl: not tested with it"),
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(proxy.end().success());
}

#[test]
fn command_lines_without_sense_are_refused() {
    for line in [
        "--listen",
        "--listen x",
        "--loops 0",
        "--allow 1/2",
        "--idle-timeout -1",
        "--idle-timeout x",
        "--what",
        "x",
    ] {
        let flags: Vec<_> = line.split(' ').collect();
        let exit = Settings::from_args(&["proxy"], &flags).unwrap_err();
        assert!(exit.status.is_err(), "{line}");
    }
    let help = Settings::from_args(&["proxy"], &["--help"]).unwrap_err();
    assert!(help.status.is_ok() && help.output.contains("--listen"), "{}", help.output);
}
