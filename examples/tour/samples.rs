//! The sample modules: what an operation of each does, and how each is canceled.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};

use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{
    Chain, Hl, HlCancelAll, LlFakeCancel, LlRealCancel, MlChain, MlPassThrough, MlRetries, Module,
    Next, Read, Retry, RetryPolicy, Socket, ThreadPool, Work, resolve,
};
use switchboard::{Callback, Cancellation, Recipient};

use super::story::{Outcome, Story, ensure, say};

pub(crate) const STORIES: &[Story] = &[
    (
        "ll_real_cancel: a read from a socket",
        "It completes, is canceled, and is canceled late.",
        |reactor| {
            let reads = LlRealCancel::new();
            let handle = reactor.handle();
            three_ways(reactor, &reads, &mut move || read(&handle))
        },
    ),
    (
        "ll_fake_cancel: blocking work on a thread",
        "The same. The work of the canceled operation continues until it is asked to end: until then it \
         is a leftover. Then a name is resolved.",
        |reactor| {
            let pool = ThreadPool::new(4);
            let works = LlFakeCancel::new(&reactor.handle(), &pool);
            three_ways(reactor, &works, &mut work)?;
            let resolver = LlFakeCancel::new(&reactor.handle(), &pool);
            resolver.open();
            let client = Client::new(reactor);
            resolver.start(resolve("localhost:80"), client.callback())?;
            let addresses = client.wait(reactor)??;
            say(&format!("localhost is at {} address(es).", addresses.len()));
            ensure(!addresses.is_empty(), "localhost has an address")
        },
    ),
    (
        "ml_pass_through: one layer on another",
        "The same read, through a layer that passes it on, cancel included.",
        |reactor| {
            let reads = LlRealCancel::new();
            let module = MlPassThrough::new(reactor.queue(), reads);
            let handle = reactor.handle();
            three_ways(reactor, &module, &mut move || read(&handle))
        },
    ),
    (
        "ml_chain: three reads, one after the other",
        "It completes. Then it is canceled at each of its steps: the steps after that never start.",
        chain,
    ),
    (
        "ml_retries: until it succeeds",
        "Work that fails three times, to be repeated after a short while, and succeeds then. \
         Another is canceled while it waits for its next attempt.",
        retries,
    ),
    (
        "hl: the handle is the user's",
        "A read through two layers, as a user starts it at the top.",
        |reactor| {
            let reads = LlRealCancel::new();
            let module = MlPassThrough::new(reactor.queue(), reads);
            let module = Hl::new(module);
            let handle = reactor.handle();
            three_ways(reactor, &module, &mut move || read(&handle))
        },
    ),
    (
        "hl_cancel_all: a hundred at once",
        "A hundred reads, of which one completes. Closing the module cancels the others, and answers \
         a callback when the last is over.",
        cancel_all,
    ),
];

/// Makes a request, and what makes it ready.
pub(super) type Make<R> = dyn FnMut() -> io::Result<(R, Box<dyn FnOnce()>)>;

/// Completes an operation, cancels one, and cancels one late.
pub(super) fn three_ways<M: Module>(
    reactor: &mut Reactor,
    module: &M,
    make: &mut Make<M::Request>,
) -> Outcome {
    module.open();
    for way in ["completes", "is canceled", "is canceled late"] {
        let client = Client::new(reactor);
        let (request, make_ready) = make()?;
        let op = module.start(request, client.callback())?;
        match way {
            "completes" => make_ready(),
            "is canceled" => {
                cancel(&op, Cancellation::Canceled)?;
                let leftovers = module.leftovers();
                make_ready();
                while module.leftovers() > 0 {
                    let _ = reactor.turn(None)?;
                }
                if leftovers > 0 {
                    say(&format!("Leftovers: {leftovers}, and 0 once the work has ended."));
                }
            }
            _ => {
                make_ready();
                reactor.set_budget(1); // so that there is a moment before the client is notified
                while op.state() != OpState::Completed {
                    let _ = reactor.turn(None)?;
                }
                reactor.set_budget(1024);
                cancel(&op, Cancellation::Late)?;
            }
        }
        let result = client.wait(reactor)?;
        let canceled = matches!(result, Err(OpError::Canceled));
        say(&format!("It {way}: {}.", if canceled { "Canceled" } else { "a result" }));
        ensure(canceled == (way == "is canceled"), "it ended as expected")?;
        ensure(canceled || result.is_ok(), "the result is an answer")?;
    }
    Ok(())
}

fn cancel(op: &AsyncOp, expected: Cancellation) -> Outcome {
    let cancellation = op.cancel();
    say(&format!("The client cancels: {cancellation:?}."));
    ensure(cancellation == expected, "the cancel did as expected")
}

fn chain(reactor: &mut Reactor) -> Outcome {
    const STEPS: usize = 3;
    let reads = LlRealCancel::new();
    let module = MlChain::new(reactor.queue(), reads);
    module.open();
    for canceled_at in (0..STEPS).rev().map(Some).chain([None]).rev() {
        let peers = Rc::new(RefCell::new(Vec::new()));
        let next = {
            let (peers, handle) = (Rc::clone(&peers), reactor.handle());
            move || {
                let (request, peer) = socket(&handle)?;
                peers.borrow_mut().push(peer);
                io::Result::Ok(request)
            }
        };
        let client = Client::new(reactor);
        let chain = read_step(Rc::new(next), STEPS, String::new())?;
        let op = module.start(chain, client.callback())?;
        for step in 0..canceled_at.unwrap_or(STEPS) {
            peers.borrow_mut()[step].write_all(b"x")?;
            while step + 1 < STEPS && peers.borrow().len() == step + 1 {
                let _ = reactor.turn(None)?;
            }
        }
        if canceled_at.is_some() {
            let _ = op.cancel();
        }
        let result = client.wait(reactor)?;
        match canceled_at {
            None => {
                say(&format!("It completes: {result:?}."));
                ensure(result.is_ok_and(|text| text == "xxx"), "three reads were put together")?;
            }
            Some(step) => {
                say(&format!("It is canceled at step {}: {result:?}.", step + 1));
                ensure(matches!(result, Err(OpError::Canceled)), "the chain was canceled")?;
                ensure(peers.borrow().len() == step + 1, "no further step was started")?;
            }
        }
    }
    Ok(())
}

/// Reads `left` times more, each time from a socket of its own.
fn read_step(
    next: Rc<dyn Fn() -> io::Result<Read>>,
    left: usize,
    mut text: String,
) -> io::Result<Chain<LlRealCancel, String, io::Error>> {
    Ok(Chain::new(
        |reads| reads,
        next()?,
        move |received: OpResult<Vec<u8>, _>| {
            text.push_str(&String::from_utf8_lossy(&received?));
            match left - 1 {
                0 => Ok(Next::Done(text)),
                left => Ok(Next::Start(read_step(next, left, text).map_err(OpError::Failed)?)),
            }
        },
    ))
}

fn retries(reactor: &mut Reactor) -> Outcome {
    let works = LlFakeCancel::<u32, io::Error>::new(&reactor.handle(), &ThreadPool::new(4));
    let policy = RetryPolicy::new()
        .attempts(10)
        .backoff(|made| std::time::Duration::from_millis(1 << made.min(6)));
    let module = MlRetries::new(&reactor.handle(), works, policy);
    module.open();

    let made = Rc::new(Cell::new(0));
    let count = Rc::clone(&made);
    let attempts = Retry::new(move |attempt, _| -> Work<u32, io::Error> {
        count.set(attempt);
        Box::new(move || match attempt {
            1..=3 => Err(OpError::Retryable(io::ErrorKind::TimedOut.into())),
            _ => Ok(attempt),
        })
    });
    let client = Client::new(reactor);
    module.start(attempts, client.callback())?;
    let result = client.wait(reactor)?;
    say(&format!("After {} attempts: {result:?}.", made.get()));
    ensure(result.is_ok_and(|attempt| attempt == 4), "the fourth attempt succeeded")?;

    let fails = Retry::new(|_, _| -> Work<u32, io::Error> {
        Box::new(|| Err(OpError::Retryable(io::ErrorKind::TimedOut.into())))
    });
    let client = Client::new(reactor);
    let op = module.start(fails, client.callback())?;
    while reactor.handle().timer_count() == 0 {
        let _ = reactor.turn(None)?;
    }
    cancel(&op, Cancellation::Canceled)?;
    ensure(reactor.handle().timer_count() == 0, "no timer is left")?;
    let result = client.wait(reactor)?;
    ensure(matches!(result, Err(OpError::Canceled)), "the operation was canceled")
}

fn cancel_all(reactor: &mut Reactor) -> Outcome {
    let reads = LlRealCancel::new();
    let module = HlCancelAll::new(reactor.queue(), reads);
    module.open();
    let mut peers = Vec::new();
    let clients: Vec<_> = (0..100).map(|_| Client::new(reactor)).collect();
    for client in &clients {
        let (request, peer) = socket(&reactor.handle())?;
        peers.push(peer);
        module.start(request, client.callback())?;
    }
    peers[0].write_all(b"x")?;
    let received = clients[0].wait(reactor)??;
    ensure(received == b"x", "the first read completed")?;
    say(&format!("{} run.", module.running()));

    let closed = Rc::new(Cell::new(None));
    let reported = Rc::clone(&closed);
    module.close_with(reactor.queue().callback(move |_, closed| reported.set(Some(closed))));
    let (request, _peer) = socket(&reactor.handle())?;
    let refused = module.start(request, clients[0].callback());
    ensure(refused.is_err(), "nothing can be started any more")?;
    while closed.get().is_none() {
        let _ = reactor.turn(None)?;
    }
    let canceled = closed.get().map_or(0, |closed| closed.canceled);
    say(&format!("Closed, with {canceled} canceled."));
    ensure(canceled == 99 && module.running() == 0, "the others were canceled")?;
    for client in &clients[1..] {
        let result = client.wait(reactor)?;
        ensure(matches!(result, Err(OpError::Canceled)), "each client was notified")?;
    }
    Ok(())
}

/// A connected socket to read from, and its peer.
fn socket(reactor: &ReactorHandle) -> io::Result<(Read, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let source = TcpStream::connect(listener.local_addr()?)?;
    let (peer, _) = listener.accept()?;
    source.set_nonblocking(true)?;
    let from = Socket::stream(reactor, mio::net::TcpStream::from_std(source))?;
    Ok((Read { from, limit: 64 }, peer))
}

fn read(reactor: &ReactorHandle) -> io::Result<(Read, Box<dyn FnOnce()>)> {
    let (request, mut peer) = socket(reactor)?;
    let make_ready = move || {
        // The socket is closed if the read was canceled.
        let _ = peer.write_all(b"hello");
    };
    Ok((request, Box::new(make_ready)))
}

type Ready = (Work<u32, io::Error>, Box<dyn FnOnce()>);

fn work() -> io::Result<Ready> {
    let (ready, until): (Sender<()>, _) = channel();
    let work = move || {
        let _ = until.recv(); // until the sender is dropped
        Ok(42)
    };
    Ok((Box::new(work), Box::new(move || drop(ready))))
}

/// Who gets the result of an operation.
pub(super) struct Client<A: 'static, E: 'static> {
    result: Rc<RefCell<Option<OpResult<A, E>>>>,
    recipient: Recipient<Inbox<A, E>>,
}

/// A client as a recipient.
struct Inbox<A, E>(Rc<RefCell<Option<OpResult<A, E>>>>);

impl<A: 'static, E: 'static> Client<A, E> {
    pub(super) fn new(reactor: &Reactor) -> Self {
        let result = Rc::default();
        let recipient = reactor.queue().recipient(Inbox(Rc::clone(&result)));
        Self { result, recipient }
    }

    pub(super) fn callback(&self) -> Callback<OpResult<A, E>> {
        self.recipient.callback(|client, _, result| {
            client.0.replace(Some(result));
        })
    }

    /// Turns until the result is there.
    pub(super) fn wait(&self, reactor: &mut Reactor) -> Result<OpResult<A, E>, Box<dyn Error>> {
        loop {
            if let Some(result) = self.result.take() {
                return Ok(result);
            }
            let _ = reactor.turn(None)?;
        }
    }
}
