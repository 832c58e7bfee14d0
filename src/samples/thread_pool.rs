//! A bounded number of threads for blocking work, with a queue that work can be taken back from.
//!
//! - I1 A job is in the queue until a thread takes it, or its owner takes it back: never both, as both
//!   hold the lock.
//! - I2 `looking` threads are about to look at the queue: new, woken, or done with their work and
//!   passing its result on. Each does so without running user code before. If more jobs than that wait,
//!   the code that adds or takes one provides another thread: the one that became idle last, or a new
//!   one if none is idle and the limit allows it. Else those that work take them later.
//! - I3 No user code runs under the lock. A thread is started under it, so that none counts that is not
//!   there.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::Cell;
use core::fmt;
use core::mem;
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;
use std::{io, panic};

#[cfg(test)]
mod tests;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A bounded number of threads for blocking work. Clones share it, and so may modules, of several
/// reactors too.
///
/// Threads start when there is work for them, and end after ten seconds without. Further work waits in
/// a queue, first in, first out. The queue has no limit; limit the modules that use it
/// ([`LlFakeCancel::bounded`](super::LlFakeCancel::bounded)). When the last clone is dropped, queued
/// work still runs, and then the threads end.
///
/// A child of `fork` has none of the threads: make a pool of its own there.
///
/// Cost: a lock and a wake-up for each piece of work. No system call if the threads are busy.
#[derive(Clone)]
pub struct ThreadPool(Arc<PoolOwner>);

/// Work, as a pool sees it.
pub(super) trait Job: Send {
    /// Does it, on a thread of the pool.
    fn run(self: Box<Self>, thread: &PoolThread<'_>);

    /// Gives it up, on the owner's thread.
    fn cancel(self: Box<Self>);
}

/// A job that may still be in the queue.
#[derive(Clone, Copy)]
pub(super) struct Ticket(u64);

/// A job for which there is no thread.
pub(super) struct NoThread {
    pub(super) job: Box<dyn Job>,
    pub(super) error: io::Error,
}

impl ThreadPool {
    /// Creates a pool of at most `threads` threads; 0 counts as 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlFakeCancel, Module, ThreadPool, resolve};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let pool = ThreadPool::new(4); // shared by all modules of the program
    /// let names = LlFakeCancel::new(&reactor.handle(), &pool);
    /// names.open();
    /// let done = reactor.queue().callback(|_, addresses| assert!(Result::is_ok(&addresses)));
    /// names.start(resolve("127.0.0.1:80"), done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(threads: usize) -> Self {
        Self::starting(threads, |thread| {
            thread::Builder::new().name("switchboard work".into()).spawn(thread).map(drop)
        })
    }

    /// Makes a pool whose threads `start` starts.
    fn starting(
        threads: usize,
        start: impl Fn(Body) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let state = PoolState { limit: threads.max(1), ..PoolState::default() };
        let shared = PoolShared { state: Mutex::new(state), start: Box::new(start) };
        Self(Arc::new(PoolOwner(Arc::new(shared))))
    }

    /// Returns the number of threads now.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::ThreadPool;
    ///
    /// let pool = ThreadPool::new(4);
    /// assert_eq!(pool.threads(), 0); // none is started before there is work
    /// ```
    pub fn threads(&self) -> usize {
        self.0.0.lock().threads
    }

    /// Returns the number of jobs that wait for a thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::ThreadPool;
    ///
    /// let pool = ThreadPool::new(4);
    /// // Shed load while blocking work is behind.
    /// let is_overloaded = pool.queued() > 1000;
    /// assert!(!is_overloaded);
    /// ```
    pub fn queued(&self) -> usize {
        self.0.0.lock().queue.len()
    }

    /// Lets a thread do a job. Fails only if there is none, and none can be started.
    pub(super) fn add(&self, job: Box<dyn Job>) -> Result<Ticket, NoThread> {
        let mut state = self.0.0.lock();
        let jobs = state.queue.len() + 1;
        let idle = match self.0.0.engage(&mut state, jobs) {
            Ok(idle) => idle,
            Err(error) if state.threads == 0 => return Err(NoThread { job, error }),
            // One of those that are there takes it.
            Err(_) => None,
        };
        let number = state.next;
        state.next += 1;
        state.queue.insert(number, job);
        drop(state);
        idle.inspect(Thread::unpark);
        Ok(Ticket(number))
    }

    /// Takes a job back that no thread has taken.
    pub(super) fn take_back(&self, Ticket(number): Ticket) -> Option<Box<dyn Job>> {
        self.0.0.lock().queue.remove(&number)
    }
}

/// Lets the threads end when the last clone is dropped.
struct PoolOwner(Arc<PoolShared>);

impl Drop for PoolOwner {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.looking += state.idle.len();
        state.idle.drain(..).for_each(|idle| idle.unpark());
    }
}

struct PoolShared {
    state: Mutex<PoolState>,
    /// Starts a thread.
    start: Box<dyn Fn(Body) -> io::Result<()> + Send + Sync>,
}

/// What a thread does.
type Body = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct PoolState {
    queue: BTreeMap<u64, Box<dyn Job>>,
    next: u64,
    limit: usize,
    threads: usize,
    /// Threads that are about to look at the queue (I2).
    looking: usize,
    /// Threads that wait, the latest last. Who takes one out counts it as looking, and wakes it.
    idle: Vec<Thread>,
    is_closed: bool,
}

impl PoolShared {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to a thread more if fewer are looking than there are jobs. Returns an idle thread, which
    /// must be woken.
    fn engage(self: &Arc<Self>, state: &mut PoolState, jobs: usize) -> io::Result<Option<Thread>> {
        let mut idle = None;
        if jobs > state.looking {
            idle = state.idle.pop();
            if idle.is_none() {
                if state.threads == state.limit {
                    return Ok(None);
                }
                let shared = Arc::clone(self);
                (self.start)(Box::new(
                    move || while shared.next().is_some_and(|job| shared.run(job)) {},
                ))?;
                state.threads += 1;
            }
            state.looking += 1;
        }
        Ok(idle)
    }

    /// The same for the jobs in the queue. What fails is tried again when the next one is added or taken.
    fn engage_for_queue(self: &Arc<Self>, mut state: MutexGuard<'_, PoolState>) {
        let jobs = state.queue.len();
        let idle = self.engage(&mut state, jobs);
        drop(state);
        idle.ok().flatten().inspect(Thread::unpark);
    }

    /// Waits for a job; `None` if the thread must end.
    fn next(self: &Arc<Self>) -> Option<Box<dyn Job>> {
        let mut state = self.lock();
        let mut patience = None;
        loop {
            state.looking -= 1;
            if let Some((_, job)) = state.queue.pop_first() {
                self.engage_for_queue(state);
                return Some(job);
            }
            let left = patience.get_or_insert_with(|| Instant::now() + IDLE);
            let left = left.saturating_duration_since(Instant::now());
            if state.is_closed || left.is_zero() {
                state.threads -= 1;
                return None;
            }
            let own = thread::current();
            state.idle.push(own.clone());
            drop(state);
            thread::park_timeout(left);
            state = self.lock();
            // It is still there if nobody has woken it.
            if let Some(place) = state.idle.iter().position(|idle| idle.id() == own.id()) {
                state.idle.remove(place);
                state.looking += 1;
            }
        }
    }

    /// Does a job. A panic of what it leaves to be dropped ends with it.
    fn run(self: &Arc<Self>, job: Box<dyn Job>) -> bool {
        let thread = PoolThread { shared: self, is_looking: Cell::new(false) };
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| job.run(&thread))) {
            let _ = take_message(panic);
        }
        if !thread.is_looking.get() {
            self.lock().looking += 1;
        }
        true
    }
}

/// A thread that does a job.
pub(super) struct PoolThread<'a> {
    shared: &'a Arc<PoolShared>,
    is_looking: Cell<bool>,
}

impl PoolThread<'_> {
    /// Ends a job with `last`, which neither waits nor runs user code, so that the thread counts as
    /// free already. What that rejects is dropped.
    pub(super) fn end_with<R>(&self, last: impl FnOnce() -> Result<(), R>) {
        self.shared.lock().looking += 1;
        self.is_looking.set(true);
        if let Err(rejected) = last() {
            let mut state = self.shared.lock();
            state.looking -= 1;
            self.is_looking.set(false);
            self.shared.engage_for_queue(state);
            drop(rejected);
        }
    }
}

/// The message of a panic, if it has one. The panic is dropped; should that panic, too, what it panics with
/// is leaked.
pub(super) fn take_message(panic: Box<dyn Any + Send>) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref().map(String::as_str));
    let message = text.unwrap_or("no message").into();
    panic::catch_unwind(AssertUnwindSafe(|| drop(panic))).unwrap_or_else(mem::forget);
    message
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threads, queued) = (self.threads(), self.queued());
        f.debug_struct("ThreadPool").field("threads", &threads).field("queued", &queued).finish()
    }
}
