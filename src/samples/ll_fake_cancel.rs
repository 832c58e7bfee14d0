//! Low layer, fake cancel: blocking work on a thread, which nothing can stop.
//!
//! It shows how to cancel what cannot be canceled: the caller is notified at once, and the work is
//! left to end by itself. Its result is swallowed when it comes, and only then is what it takes up
//! freed. One flag, the state of the operation, makes the callback happen exactly once: whichever
//! of cancel and completion comes first completes it, the other finds it complete. What the queue
//! makes unnecessary: that flag need not be atomic, and nothing is freed under anybody's feet.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mio::Interest;
use mio::net::UnixStream;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, Operation};
use crate::reactor::{ReactorHandle, Registration};
use crate::recipient::Recipient;
use crate::samples::{Gate, Layer, Module, StartError};

/// Work to be done on a thread of its own, which may block.
pub type Work<A, E> = Box<dyn FnOnce() -> OpResult<A, E> + Send>;

/// Makes work of a name's resolution by the system, `host` with port, like `localhost:80`.
pub fn resolve(host: impl Into<String>) -> Work<Vec<SocketAddr>, io::Error> {
    let host = host.into();
    Box::new(move || match host.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(OpError::Failed(error)),
    })
}

/// Runs blocking work.
pub struct LlFakeCancel<A: 'static, E: 'static> {
    reactor: ReactorHandle,
    worker: Rc<Recipient<Worker>>,
    leftovers: Rc<Cell<usize>>,
    threads: Rc<Cell<usize>>,
    /// How many threads there may be.
    capacity: usize,
    gate: Gate,
    work: PhantomData<fn(A, E)>,
}

/// The module as a recipient: where its threads report.
struct Worker;

/// The context of one operation.
struct Working<A, E> {
    /// The thread holds the other end, and closes it when it is done.
    end: Cell<Option<Registration<UnixStream>>>,
    result: Receiver<OpResult<A, E>>,
    leftovers: Rc<Cell<usize>>,
    leftover: Cell<Option<Counted>>,
    _thread: Counted,
    /// Keeps the recipient for as long as the work goes on.
    _worker: Rc<Recipient<Worker>>,
}

/// One of those that are counted: a thread, or a canceled operation whose work goes on.
struct Counted(Rc<Cell<usize>>);

type WorkOperation<A, E> = Operation<Working<A, E>, A, E>;

impl<A: Send + 'static, E: Send + 'static> LlFakeCancel<A, E> {
    /// Makes the module, not open yet.
    pub fn new(reactor: &ReactorHandle) -> Self {
        Self {
            reactor: reactor.clone(),
            worker: Rc::new(reactor.queue().recipient(Worker)),
            leftovers: Rc::default(),
            threads: Rc::default(),
            capacity: usize::MAX,
            gate: Gate::default(),
            work: PhantomData,
        }
    }

    /// Lets at most `capacity` operations have a thread at a time, and so at most as many
    /// leftovers be. More are refused with [`OpError::Full`].
    #[must_use]
    pub fn bounded(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }
}

impl<A: Send + 'static, E: Send + 'static> Module for LlFakeCancel<A, E> {
    type Request = Work<A, E>;
    type Answer = A;
    type Error = E;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.gate)
    }

    /// How many canceled operations still have their thread.
    fn leftovers(&self) -> usize {
        self.leftovers.get()
    }

    fn start(
        &self,
        request: Work<A, E>,
        done: Callback<OpResult<A, E>>,
    ) -> Result<AsyncOp, StartError<Work<A, E>>> {
        // 1. Refuse before there is anything to undo.
        let (work, done) = self.gate.admit(request, done)?;
        if self.threads.get() >= self.capacity {
            let op = Operation::new(done, (), |_| ());
            let _ = op.complete(Err(OpError::Full));
            return Ok(op.handle());
        }
        let (ours, theirs) = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => {
                done.decline("no pair of sockets");
                return Err(StartError::Failed { source: Box::new(error), request: work });
            }
        };
        // 2. Make the operation: whatever happens from here on, `done` is answered.
        let (sender, result) = channel();
        let context = Working {
            end: Cell::new(None),
            result,
            leftovers: Rc::clone(&self.leftovers),
            leftover: Cell::new(None),
            _thread: Counted::new(&self.threads),
            _worker: Rc::clone(&self.worker),
        };
        let op = Operation::new(done, context, cancel);
        // 3. Register our end, before there is a thread that could close the other.
        let completion = op.clone();
        let registered =
            self.reactor.register(ours, Interest::READABLE, &self.worker, move |_, _, _| {
                Worker::on_done(&completion);
            });
        match registered {
            Ok(end) => op.context().end.set(Some(end)),
            Err(error) => {
                op.decline("the socket cannot be registered");
                let source = Box::new(error.split().1);
                return Err(StartError::Failed { source, request: work });
            }
        }
        // 4. Start the thread. It sends its result and then closes its end, which makes ours
        //    ready; also if the work panics, without a result then.
        let shared = Arc::new(Mutex::new(Some(work)));
        let work = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("ll_fake_cancel".into()).spawn(move || {
            // Dropped last, also if the work panics.
            let _end = theirs;
            let sender = sender;
            if let Some(work) = take(&work) {
                // Nobody takes it if the reactor is gone.
                let _ = sender.send(work());
            }
        });
        match spawned {
            Ok(_) => Ok(op.handle()),
            Err(error) => {
                drop(op.context().end.take());
                op.decline("no thread could be started");
                let request = take(&shared).unwrap_or_else(|| unreachable!("no thread took it"));
                Err(StartError::Failed { source: Box::new(error), request })
            }
        }
    }
}

fn take<W>(work: &Mutex<Option<W>>) -> Option<W> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Worker {
    /// The completion: our end is ready, so the thread may be done.
    fn on_done<A, E>(op: &WorkOperation<A, E>) {
        // 1. Take the result. If there is none after all, wait on.
        let result = match op.context().result.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(OpError::Dropped),
        };
        // 2. Deregister. This was the last readiness call.
        drop(op.context().end.take());
        // 3. If there was a cancel, the leftover is gone now.
        drop(op.context().leftover.take());
        // 4. Complete. If a cancel did so before, this swallows the result.
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<A, E>(op: &WorkOperation<A, E>) {
    // 1. Count the leftover: the thread, the sockets and the registration stay until it is done.
    let Working { leftover, leftovers, .. } = op.context();
    leftover.set(Some(Counted::new(leftovers)));
    // 2. Complete at once.
    let _ = op.complete(Err(OpError::Canceled));
}

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<A, E> fmt::Debug for LlFakeCancel<A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlFakeCancel")
            .field("gate", &self.gate)
            .field("leftovers", &self.leftovers)
            .finish_non_exhaustive()
    }
}
