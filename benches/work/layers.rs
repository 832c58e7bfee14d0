//! What each sample adds to the operation below it, which completes at once; and the write of what a
//! socket has room for. (What a peer does is the same for all.)

use std::cell::Cell;
use std::convert::Infallible;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use switchboard::Callback;
use switchboard::op::{AsyncOp, OpResult, Operation};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{
    Chain, Gate, Hl, HlCancelAll, Layer, LlWrite, MlChain, MlPassThrough, Module, ModuleExt, Next,
    Retry, RetryPolicy, Socket, StartError, Write,
};

use super::{Group, Run, Words, add, added, timed};

const SECOND: Duration = Duration::from_secs(1);

pub fn groups() -> Vec<Group> {
    vec![
        Group::new(
            "operation_layers",
            "an operation, by the samples it goes through",
            &[1],
            |_| run(|_| Now::default(), |words| words),
        )
        .against("ml_pass_through", |_| {
            run(|reactor| MlPassThrough::new(reactor.queue(), Now::default()), |words| words)
        })
        .against("ml_chain, one step", |_| {
            run(
                |reactor| MlChain::new(reactor.queue(), Now::default()),
                |words| {
                    Chain::new(|now| now, words, |words: OpResult<Words, _>| Ok(Next::Done(words?)))
                },
            )
        })
        .against("ml_retries, one attempt", |_| {
            run(
                |reactor| Now::default().retried(reactor, RetryPolicy::new()),
                |words| Retry::new(move |_, _| words),
            )
        })
        .against("hl", |_| run(|_| Hl::new(Now::default()), |words| words))
        .against("hl_cancel_all", |_| {
            run(|reactor| HlCancelAll::new(reactor.queue(), Now::default()), |words| words)
        })
        .against("deadline", |_| {
            run(|reactor| Now::default().within(reactor, SECOND), |words| words)
        })
        .against("map", |_| {
            run(|reactor| Now::default().map(reactor.queue(), |words| words), |words| words)
        })
        .against("then, two operations", |_| {
            run(
                |reactor| Now::default().then(reactor.queue(), Now::default(), |words| words),
                |words| words,
            )
        })
        .against("first, one to try", |_| {
            run(|reactor| Now::default().first(reactor.queue()), |words| vec![words])
        })
        .against("ll_write", |_| write()),
    ]
}

/// Completes at once, with the request.
#[derive(Default)]
struct Now(Gate);

impl Module for Now {
    type Request = Words;
    type Answer = Words;
    type Error = Infallible;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.0)
    }

    fn start(
        &self,
        request: Words,
        done: Callback<OpResult<Words, Infallible>>,
    ) -> Result<AsyncOp, StartError<Words>> {
        let (request, done) = self.0.admit(request, done)?;
        let op = Operation::new(done, (), |_| ());
        let _ = op.complete(Ok(request));
        Ok(op.handle())
    }
}

/// Starts operations, each when the one before has ended.
fn run<M>(module: impl FnOnce(&ReactorHandle) -> M, request: fn(Words) -> M::Request) -> Run
where
    M: Module<Answer = Words, Error = Infallible> + 'static,
{
    let reactor = Reactor::new().expect("a poll");
    let module = module(&reactor.handle());
    module.open();
    let recipient = reactor.queue().recipient(());
    timed(move |calls| {
        for n in 0..calls {
            let done =
                recipient.callback(|(), _, result| add(Result::expect(result, "it ends well")));
            assert!(module.start(request([1, n, n]), done).is_ok());
            let _ = reactor.queue().dial_all();
        }
        added()
    })
}

fn write() -> Run {
    let mut reactor = Reactor::new().expect("a poll");
    let writes = LlWrite::new();
    writes.open();
    let (ours, mut peer) = UnixStream::pair().expect("a pair of sockets");
    ours.set_nonblocking(true).expect("a socket that does not block");
    let to = Socket::stream(&reactor.handle(), mio::net::UnixStream::from_std(ours));
    let (to, written) = (to.expect("registered"), Rc::new(Cell::new(0)));
    let (recipient, mut buffer) = (reactor.queue().recipient(()), [0; 24]);
    let bytes = Rc::new(Cell::new(vec![7; 24]));
    // It is ready to be written to.
    let _ = reactor.turn(Some(Duration::ZERO)).expect("a turn");
    timed(move |calls| {
        for _ in 0..calls {
            let (kept, count) = (Rc::clone(&bytes), Rc::clone(&written));
            let done = recipient.callback(move |(), _, result: OpResult<Vec<u8>, _>| {
                kept.set(result.expect("room"));
                count.set(count.get() + 1);
            });
            writes.start(Write { to: to.clone(), bytes: bytes.take() }, done).expect("it is open");
            let _ = reactor.queue().dial_all();
            peer.read_exact(&mut buffer).expect("it is written");
        }
        written.take()
    })
}
