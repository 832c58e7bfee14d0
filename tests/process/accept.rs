//! Hazard: the process has no descriptor left for a connection (EMFILE). mio is edge-triggered, so a
//! connection that waits is not reported again: the server must retry by itself, without spinning.

use std::cell::RefCell;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream as Client};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use switchboard::reactor::Reactor;
use switchboard::streams::Acceptor;

use support::alone;

const CLIENTS: u64 = 60;
const CHILD: &str = "SWITCHBOARD_TEST_FEW_DESCRIPTORS";

#[test]
fn a_server_without_descriptors_accepts_again_when_there_are_some() {
    alone!();
    if env::var_os(CHILD).is_some() {
        return serve();
    }
    // The server is this test in a process that may have 40 descriptors.
    let this = env::current_exe().unwrap();
    let limited = "ulimit -n 40 && exec \"$0\" --nocapture --exact \"$1\"";
    let name = "accept::a_server_without_descriptors_accepts_again_when_there_are_some";
    let mut server = Command::new("sh")
        .args(["-c", limited, this.to_str().unwrap(), name])
        .env(CHILD, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address: SocketAddr = lines
        .find_map(|line| Some(line.unwrap().rsplit_once("listening at ")?.1.parse().unwrap()))
        .expect("the server prints its address");
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(address).unwrap()).collect();
    for mut client in clients {
        // Longer than any retry takes: a server that does not come back is a failure, not a hang.
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let read = client.read(&mut [0]).inspect_err(|_| server.kill().unwrap());
        assert_eq!(read.unwrap(), 0, "accepted, and closed in the end");
    }
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(server.wait().unwrap().success(), "{rest:#?}");
}

fn serve() {
    let mut reactor = Reactor::new().unwrap();
    let clients = Rc::new(RefCell::new(Vec::new()));
    let accepted = Rc::clone(&clients);
    let any = "127.0.0.1:0".parse().unwrap();
    let acceptor = Acceptor::bind(&reactor, any, move |_, client, _| {
        accepted.borrow_mut().push(client);
    });
    let acceptor = acceptor.unwrap();
    println!("listening at {}", acceptor.local_addr().unwrap());
    let (mut turns, mut failed) = (0, 0);
    while acceptor.accepted() < CLIENTS {
        let _ = reactor.turn(None).unwrap();
        turns += 1;
        if acceptor.failed() > failed {
            failed = acceptor.failed();
            assert_eq!(acceptor.take_error().unwrap().raw_os_error(), Some(24), "EMFILE");
            clients.borrow_mut().drain(..10); // these leave meanwhile
        }
    }
    assert!(failed >= 3, "{failed} times without a descriptor");
    let most = CLIENTS + 3 * failed;
    assert!(turns <= most, "{turns} turns, so it spins: {most} would do");
}
