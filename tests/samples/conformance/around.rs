//! The modules around the seven samples, each in a few lines, as users check theirs.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::Duration;

use mio::Interest;
use mio::net::{TcpListener, UnixStream};
use support::read_once::{Once, ReadOnce};
use support::rig::{End, Held, Low, Real, Wire};
use switchboard::conformance::Timing::{self, AtOnce};
use switchboard::conformance::{Conformance, Summary, Violation};
use switchboard::op::{OpError, OpResult};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{
    HlCancelAll, LlAccept, LlConnect, LlFakeCancel, LlRealCancel, LlWrite, Module, ModuleExt, Read,
    Retry, RetryPolicy, Socket, ThreadPool, Work, Write,
};

const HOUR: Duration = Duration::from_secs(3600);

type Reads = ReadOnce<Wire<UnixStream>>;
type Trigger = Box<dyn FnOnce()>;

#[track_caller]
fn passes(checked: Result<Summary, Violation>) {
    match checked {
        Ok(summary) => assert_eq!(summary.scenarios, 61),
        Err(violation) => panic!("{violation}"),
    }
}

/// For what takes descriptors.
fn small() -> Conformance {
    Conformance::new().sizes([1, 2, 20])
}

fn reads(reactor: &Reactor) -> Reads {
    Reads::new(&reactor.handle())
}

/// A read that ends like that, and what makes it ready.
fn read(ready: Timing, end: End) -> (Once<Wire<UnixStream>>, Trigger) {
    let (request, cue) = Real::<UnixStream>::request(end, Held::default());
    if ready == AtOnce {
        (cue.trigger)();
        return (request, Box::new(|| ()));
    }
    (request, cue.trigger)
}

#[test]
fn a_deadline_passes() {
    passes(small().check_module(|reactor| {
        let module = reads(reactor).within(&reactor.handle(), HOUR);
        (module, |ready| read(ready, End::Answer(7)))
    }));
}

#[test]
fn the_first_that_succeeds_passes() {
    passes(small().check_module(|reactor| {
        let module = reads(reactor).first(reactor.queue());
        (module, |ready| {
            let (last, trigger) = read(ready, End::Answer(7));
            let failing = |end| read(AtOnce, end).0;
            (vec![failing(End::Failed), failing(End::Retryable), last], trigger)
        })
    }));
}

#[test]
fn a_map_passes() {
    passes(small().check_module(|reactor| {
        let module = reads(reactor).map(reactor.queue(), |bytes| Ok::<_, OpError<_>>(bytes?.len()));
        (module, |ready| read(ready, End::Answer(7)))
    }));
}

#[test]
fn steps_of_different_types_pass() {
    passes(small().check_module(|reactor| {
        let second = LlFakeCancel::<usize, io::Error>::new(&reactor.handle(), &ThreadPool::new(4));
        let module = reads(reactor).then(reactor.queue(), second, |bytes: OpResult<Vec<u8>, _>| {
            let length = bytes?.len();
            Ok(Box::new(move || Ok(length)) as Work<usize, io::Error>)
        });
        (module, |ready| read(ready, End::Answer(7)))
    }));
}

#[test]
fn retries_of_whatever_fails_and_backs_off_pass() {
    passes(small().check_module(|reactor| {
        let policy = RetryPolicy::new().exponential(Duration::from_millis(1), HOUR).attempts(3);
        let module = reads(reactor).retried(&reactor.handle(), policy);
        (module, |ready| {
            let (last, trigger) = read(ready, End::Answer(7));
            let last = Rc::new(Cell::new(Some(last)));
            let first = Rc::new(Cell::new(Some(read(AtOnce, End::Retryable).0)));
            let retry = Retry::new(move |_, _: Option<&OpError<io::Error>>| {
                first.take().or_else(|| last.take()).expect("two attempts")
            });
            (retry, trigger)
        })
    }));
}

#[test]
fn operations_in_the_list_of_a_module_that_cancels_all_pass_with_their_handles() {
    passes(small().check_module(|reactor| {
        let module = HlCancelAll::new(reactor.queue(), reads(reactor));
        (module, |ready| read(ready, End::Answer(7)))
    }));
}

#[test]
fn a_boxed_stack_of_them_passes() {
    type Boxed =
        Box<dyn Module<Request = Vec<Once<Wire<UnixStream>>>, Answer = usize, Error = io::Error>>;
    passes(small().check_module(|reactor| {
        let (handle, queue) = (reactor.handle(), reactor.queue());
        let stack = reads(reactor).within(&handle, HOUR).first(queue);
        let stack = stack.map(queue, |bytes| Ok::<_, OpError<io::Error>>(bytes?.len()));
        let module: Boxed = Box::new(stack.within(&handle, HOUR));
        (module, |ready| {
            let (request, trigger) = read(ready, End::Answer(7));
            (vec![request], trigger)
        })
    }));
}

#[test]
fn work_on_a_pool_passes() {
    passes(small().check_module(|reactor| {
        // (With fewer threads, work that ends later would wait for the work before it.)
        let module = LlFakeCancel::<u8, io::Error>::new(&reactor.handle(), &ThreadPool::new(40));
        (module, |ready| {
            let (end, ends) = channel::<()>();
            let work = move || {
                if ready != AtOnce {
                    let _ = ends.recv();
                }
                Ok(7_u8)
            };
            (Box::new(work) as Work<u8, io::Error>, move || drop(end))
        })
    }));
}

/// A socket for operations, and its peer.
fn pair(reactor: &ReactorHandle) -> (Socket<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    (Socket::stream(reactor, ours).expect("registered"), theirs)
}

#[test]
fn a_read_from_a_socket_passes() {
    passes(small().check_module(|reactor| {
        let handle = reactor.handle();
        (LlRealCancel::new(), move |ready| {
            let (from, mut theirs) = pair(&handle);
            if ready == AtOnce {
                theirs.write_all(b"x").expect("room");
            }
            // No one reads it after a cancel.
            (Read { from, limit: 8 }, move || drop(theirs.write_all(b"x")))
        })
    }));
}

#[test]
fn a_write_passes() {
    passes(small().check_module(|reactor| {
        let (handle, peers) = (reactor.handle(), Rc::new(RefCell::new(Vec::new())));
        (LlWrite::new(), move |ready| {
            let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
            let mut buffer = vec![0; 65_536];
            if ready != AtOnce {
                while ours.write(&buffer).is_ok() {}
            }
            let to = Socket::stream(&handle, ours).expect("registered");
            // The peer stays open, to be written to.
            let (theirs, kept) = (Rc::new(RefCell::new(theirs)), Rc::clone(&peers));
            kept.borrow_mut().push(Rc::clone(&theirs));
            let make_room =
                move || while theirs.borrow_mut().read(&mut buffer).is_ok_and(|read| read > 0) {};
            (Write { to, bytes: vec![1; 1000] }, make_room)
        })
    }));
}

#[test]
fn an_accept_passes() {
    passes(small().check_module(|reactor| {
        let handle = reactor.handle();
        (LlAccept::new(), move |ready| {
            let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"));
            let listener = listener.expect("a loopback port");
            let address = listener.local_addr().expect("it is bound");
            let listener = Socket::new(&handle, listener, Interest::READABLE).expect("registered");
            // (It does not listen any more after a cancel.)
            let connect = move || drop(TcpStream::connect(address));
            if ready == AtOnce {
                connect();
            }
            (listener, connect)
        })
    }));
}

/// A connect to this host cannot be held up; the step before it can.
#[test]
fn a_connect_passes() {
    passes(small().check_module(|reactor| {
        let (handle, pool) = (reactor.handle(), ThreadPool::new(40));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket");
        let module = LlFakeCancel::<_, io::Error>::new(&handle, &pool).then(
            reactor.queue(),
            LlConnect::new(&handle),
            |address| address,
        );
        (module, move |ready| {
            while listener.accept().is_ok() {} // or its backlog would be full
            let (end, ends) = channel::<()>();
            let work = move || {
                if ready != AtOnce {
                    let _ = ends.recv();
                }
                Ok(address)
            };
            (Box::new(work) as Work<_, io::Error>, move || drop(end))
        })
    }));
}
