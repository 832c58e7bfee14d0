//! Hazard: the system has no descriptor left, and a queue is lost with its calls (as was found
//! once), or a connection. The test takes all descriptors of its process.

use std::error::Error;
use std::fs::File;
use std::iter;

use mio::net::TcpListener;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use switchboard::CallQueue;
use switchboard::reactor::Reactor;

use support::alone;
use support::net::{Log, turn_until, watch};

/// How many descriptors this process may have at most.
const LIMIT: u64 = 256;

#[test]
fn nothing_is_lost_while_there_is_no_descriptor() {
    alone!();
    let limit = getrlimit(Resource::Nofile);
    let fewer = limit.current.map_or(LIMIT, |current| current.min(LIMIT));
    setrlimit(Resource::Nofile, Rlimit { current: Some(fewer), ..limit }).unwrap();
    let queue = CallQueue::new();
    let handle = queue.handle();
    queue.call(|_| ());
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let reported = Log::new();
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = watch(&reactor, &recipient, listener, 0, &reported);
    let client = std::net::TcpStream::connect(address).unwrap();

    let descriptors = iter::from_fn(|| File::open("/dev/null").ok());
    let mut all: Vec<_> = descriptors.collect();
    let error = Reactor::with_queue(queue).unwrap_err();
    let text = "reactor not created: the system failed to create a poll; see the cause";
    assert_eq!(error.to_string(), text);
    assert_eq!(error.source().unwrap().to_string(), error.source.to_string());
    assert_eq!(Reactor::new().unwrap_err().kind(), error.source.kind());
    // It takes some; whichever is missing, the queue comes back.
    let mut queue = error.queue;
    let mut freed = 0;
    let mut another = loop {
        match Reactor::with_queue(queue) {
            Ok(reactor) => break reactor,
            Err(error) => queue = error.queue,
        }
        assert!(!handle.is_closed(), "the queue is lost");
        drop(all.pop().expect("it takes a few"));
        freed += 1;
    };
    assert!(freed > 0);

    // The loop goes on: who is notified of a connection finds that it cannot be accepted, for now.
    all.extend(iter::from_fn(|| File::open("/dev/null").ok()));
    turn_until(&mut reactor, || reported.len() == 1);
    assert!(listener.source().accept().is_err());
    drop(all);
    let (accepted, peer) = listener.source().accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    drop(accepted);
    another.run().unwrap();
    assert_eq!(handle.tally().finished, 1);
}
