//! Low layer, fake cancel: blocking work on a thread, which nothing can stop.
//!
//! It shows how to cancel what cannot be canceled: the caller is notified at once, and the work is left
//! to end by itself. Its late result is swallowed, and only then are its resources freed. One flag, the
//! state of the operation, makes the callback happen exactly once: the first of cancel and completion
//! completes it, the second finds it complete. What the queue makes unnecessary: that flag need not be
//! atomic, and no resource is freed while it is in use.
//!
//! Work that no thread has taken yet can be canceled after all: it never runs.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::panic::AssertUnwindSafe;
use std::net::{SocketAddr, ToSocketAddrs};
use std::{io, panic};

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, Operation};
use crate::reactor::{ReactorHandle, RemoteCallback, SendError};
use crate::recipient::Recipient;
use crate::samples::error::StartError;
use crate::samples::gate::Gate;
use crate::samples::module::{Layer, Module};
use crate::samples::thread_pool::{Job, NoThread, PoolThread, ThreadPool, Ticket, take_message};

/// Work to be done on a thread, which may block.
pub type Work<A, E> = Box<dyn FnOnce() -> OpResult<A, E> + Send>;

/// Returns work that resolves a name by the system; `host` includes a port, as in `localhost:80`.
///
/// # Errors
///
/// Every error of the resolver is the result [`OpError::Failed`], which is not retried by default: the
/// standard library does not distinguish temporary ones. A policy may retry them
/// ([`RetryPolicy::after`](crate::samples::RetryPolicy::after)).
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use switchboard::op::OpResult;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlFakeCancel, Module, ThreadPool, resolve};
///
/// let mut reactor = Reactor::new()?;
/// let names = LlFakeCancel::new(&reactor.handle(), &ThreadPool::new(4));
/// names.open();
/// let done = reactor.queue().callback(|_, addresses: OpResult<Vec<SocketAddr>, _>| {
///     assert!(addresses.is_ok_and(|addresses| addresses[0].ip().is_loopback()));
/// });
/// names.start(resolve("localhost:80"), done)?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resolve(host: impl Into<String>) -> Work<Vec<SocketAddr>, io::Error> {
    let host = host.into();
    Box::new(move || match host.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(OpError::Failed(error)),
    })
}

/// Runs blocking work on the threads of a [`ThreadPool`].
///
/// Work that panics answers [`OpError::Panicked`], with the message of the panic.
///
/// While work is under way, [`Reactor::run`](crate::reactor::Reactor::run) does not return. If the
/// reactor is dropped first, the work runs to its end, and its result is dropped.
///
/// Cost: two allocations, and what [`ThreadPool`] and [`RemoteCallback`] cost.
pub struct LlFakeCancel<A: 'static, E: 'static> {
    reactor: ReactorHandle,
    pool: ThreadPool,
    worker: Rc<Recipient<Worker>>,
    leftovers: Rc<Cell<usize>>,
    running: Rc<Cell<usize>>,
    /// How much work may be queued or under way.
    capacity: usize,
    gate: Gate,
    work: PhantomData<fn(A, E)>,
}

/// The module as a recipient: where threads report.
struct Worker;

/// The context of one operation.
struct Working {
    pool: ThreadPool,
    /// The work, as long as it may be in the pool's queue.
    ticket: Cell<Option<Ticket>>,
    /// Counts while the work is queued or under way.
    running: Cell<Option<CountGuard>>,
    leftovers: Rc<Cell<usize>>,
    leftover: Cell<Option<CountGuard>>,
    /// Keeps the recipient for as long as the work runs.
    _worker: Rc<Recipient<Worker>>,
}

/// One of those that are counted.
struct CountGuard(Rc<Cell<usize>>);

/// Work, and the callback for its result.
struct WorkJob<A: 'static, E: 'static> {
    work: Work<A, E>,
    done: RemoteCallback<OpResult<A, E>>,
}

impl<A: Send + 'static, E: Send + 'static> LlFakeCancel<A, E> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    /// use switchboard::op::OpError;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlFakeCancel, Module, ThreadPool};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let files = LlFakeCancel::<String, io::Error>::new(&reactor.handle(), &ThreadPool::new(4));
    /// files.open();
    /// let done = reactor.queue().callback(|_, text| assert!(Result::is_ok(&text)));
    /// let read = || std::fs::read_to_string("Cargo.toml").map_err(OpError::Failed); // it may block
    /// files.start(Box::new(read), done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(reactor: &ReactorHandle, pool: &ThreadPool) -> Self {
        Self {
            reactor: reactor.clone(),
            pool: pool.clone(),
            worker: Rc::new(reactor.queue().recipient(Worker)),
            leftovers: Rc::default(),
            running: Rc::default(),
            capacity: usize::MAX,
            gate: Gate::default(),
            work: PhantomData,
        }
    }

    /// Lets at most `capacity` operations have work queued or under way, leftovers included. More end
    /// with [`OpError::Full`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use switchboard::op::OpError;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlFakeCancel, Module, ThreadPool};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let works = LlFakeCancel::<(), Infallible>::new(&reactor.handle(), &ThreadPool::new(2)).bounded(0);
    /// works.open();
    /// // Overload is a result, which retries can cure.
    /// let done = reactor.queue().callback(|_, result| assert_eq!(result, Err(OpError::Full)));
    /// works.start(Box::new(|| Ok(())), done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        if self.reactor.queue().is_closed() {
            done.decline("the reactor is gone");
            let source = Box::new(SendError::ReactorDropped(()));
            return Err(StartError::Failed { source, request: work });
        }
        // 2. Make the operation: from here on, `done` is answered in any case.
        let context = Working {
            pool: self.pool.clone(),
            ticket: Cell::new(None),
            running: Cell::new(None),
            leftovers: Rc::clone(&self.leftovers),
            leftover: Cell::new(None),
            _worker: Rc::clone(&self.worker),
        };
        let op = Operation::new(done, context, cancel);
        // 3. A limit that is reached is a result, which another attempt may cure.
        if self.running.get() >= self.capacity {
            let _ = op.complete(Err(OpError::Full));
            return Ok(op.handle());
        }
        op.context().running.set(Some(CountGuard::new(&self.running)));
        // 4. Give the work away, with a callback that a thread can answer. It holds the operation.
        let completion = op.clone();
        let done = self.worker.callback(move |_, _, result| Worker::on_done(&completion, result));
        op.waits_for(done.id());
        let done = self.reactor.remote_callback(done);
        match self.pool.add(Box::new(WorkJob { work, done })) {
            Ok(ticket) => op.context().ticket.set(Some(ticket)),
            // 5. So is a thread that could not be started.
            Err(NoThread { job, error }) => {
                drop(op.context().running.take());
                job.cancel();
                let _ = op.complete(Err(OpError::NotStarted(Arc::new(error))));
            }
        }
        Ok(op.handle())
    }
}

impl<A: Send + 'static, E: Send + 'static> Job for WorkJob<A, E> {
    fn run(self: Box<Self>, thread: &PoolThread<'_>) {
        let Self { work, done } = *self;
        let result = panic::catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic| Err(OpError::Panicked(take_message(panic))));
        // No one takes it if the reactor is gone.
        thread.end_with(|| done.answer(result));
    }

    fn cancel(self: Box<Self>) {
        let Self { work, done } = *self;
        done.decline("canceled before a thread took it");
        drop(work);
    }
}

impl Worker {
    /// The completion: the work is done.
    fn on_done<A, E>(op: &Operation<Working, A, E>, result: OpResult<A, E>) {
        // 1. The thread is free. If there was a cancel, the leftover is gone now.
        drop(op.context().running.take());
        drop(op.context().leftover.take());
        // 2. Complete. If a cancel did so before, this swallows the result.
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<A, E>(op: &Operation<Working, A, E>) {
    let Working { pool, ticket, running, leftovers, leftover, .. } = op.context();
    // 1. Take the work back, if no thread has taken it. Then it never runs.
    let queued = ticket.take().and_then(|ticket| pool.take_back(ticket));
    // 2. Otherwise count the leftover: the thread runs until the work is done.
    match queued {
        Some(_) => drop(running.take()),
        None => leftover.set(Some(CountGuard::new(leftovers))),
    }
    // 3. Complete at once.
    let _ = op.complete(Err(OpError::Canceled));
    // 4. What the work captured goes now, last, as that may run any code.
    if let Some(job) = queued {
        job.cancel();
    }
}

impl CountGuard {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for CountGuard {
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
