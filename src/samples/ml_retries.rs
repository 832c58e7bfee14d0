//! Middle layer, retries: the same lower operation again until it succeeds, fails for good, or is
//! canceled.
//!
//! It shows an operation that waits for one of two things, a lower operation or a timer, and whose
//! cancel ends either. What the queue makes unnecessary: recursion, which grows the stack when
//! attempts fail at once (each attempt begins in a call of its own here), and the question who
//! wins if cancel and timer meet (who takes the timer out of its cell has decided).

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use std::time::Instant;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::reactor::{ReactorHandle, Timer};
use crate::recipient::{Address, Recipient};
use crate::samples::error::StartError;
use crate::samples::gate::{Gate, Lower};
use crate::samples::module::{Layer, Module};

mod policy;

use policy::Jitter;
pub use policy::RetryPolicy;

/// Repeats lower operations.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use switchboard::op::OpError;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlFakeCancel, Module, ModuleExt, Retry, RetryPolicy, ThreadPool, Work};
///
/// let mut reactor = Reactor::new().unwrap();
/// let pool = ThreadPool::new(2);
/// let works = LlFakeCancel::<u32, &str>::new(&reactor.handle(), &pool);
/// let policy = RetryPolicy::new().exponential(Duration::from_millis(1), Duration::from_millis(8));
/// let retries = works.retried(&reactor.handle(), policy.attempts(5));
/// retries.open();
///
/// let retry = Retry::new(|attempt, last: Option<&OpError<&str>>| -> Work<u32, &str> {
///     assert_eq!(last.is_some(), attempt > 1);
///     Box::new(move || if attempt < 3 { Err(OpError::Retryable("busy")) } else { Ok(attempt) })
/// });
/// let done = reactor.queue().callback(|_, answer| assert_eq!(answer, Ok(3)));
/// retries.start(retry, done).unwrap();
/// reactor.run().unwrap();
/// ```
pub struct MlRetries<L: Module + 'static> {
    lower: Rc<L>,
    gate: Gate,
    reactor: ReactorHandle,
    limit: Option<Duration>,
    attempts: Rc<Recipient<MlRetriesAttempts<L>>>,
}

/// Asks for an operation that is repeated. Makes the lower request, for each attempt anew.
pub struct Retry<R, E>(MakeRequest<R, E>);

type MakeRequest<R, E> = Box<dyn FnMut(u32, Option<&OpError<E>>) -> R>;

impl<R, E> Retry<R, E> {
    /// Begins each attempt with a request that `make` makes, of the number of the attempt, from 1 up, and
    /// the error of the one before.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlConnect, MlRetries, Module, Retry, RetryPolicy};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let retries = MlRetries::new(
    ///     &reactor.handle(),
    ///     LlConnect::new(&reactor.handle()),
    ///     RetryPolicy::new().attempts(5),
    /// );
    /// retries.open();
    /// // Each attempt goes to the next address of the list.
    /// let addresses: Vec<SocketAddr> = vec![listener.local_addr()?];
    /// let retry = Retry::new(move |attempt, _| addresses[(attempt as usize - 1) % addresses.len()]);
    /// let done = reactor.queue().callback(|_, connected| assert!(Result::is_ok(&connected)));
    /// retries.start(retry, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(make: impl FnMut(u32, Option<&OpError<E>>) -> R + 'static) -> Self {
        Self(Box::new(make))
    }
}

/// The module as a recipient: what its completions need.
struct MlRetriesAttempts<L: Module> {
    lower: Rc<L>,
    reactor: ReactorHandle,
    policy: RetryPolicy<L::Error>,
    jitter: Jitter,
}

/// The context of one operation.
struct MlRetrying<L: Module + 'static> {
    retry: Cell<Option<Retry<L::Request, L::Error>>>,
    /// Attempts made.
    made: Cell<u32>,
    /// How the last one ended.
    last: Cell<Option<OpError<L::Error>>>,
    /// After this, no attempt begins.
    limit: Option<Instant>,
    /// What the operation waits for is one of these.
    lower: Lower,
    timer: Cell<Option<Timer>>,
    /// Keeps the recipient for as long as the operation runs.
    _attempts: Rc<Recipient<MlRetriesAttempts<L>>>,
}

type RetryOperation<L> = Operation<MlRetrying<L>, <L as Module>::Answer, <L as Module>::Error>;

impl<L: Module + 'static> MlRetries<L> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlConnect, MlRetries, Module, Retry, RetryPolicy};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let connects = LlConnect::new(&reactor.handle());
    /// // What `connects.retried(..)` makes:
    /// let retries = MlRetries::new(&reactor.handle(), connects, RetryPolicy::new().attempts(3));
    /// retries.open();
    /// let address = std::net::TcpListener::bind("127.0.0.1:0")?; // it listens
    /// let own = address.local_addr()?;
    /// let done = reactor.queue().callback(|_, connected| assert!(Result::is_ok(&connected)));
    /// retries.start(Retry::new(move |_, _| own), done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(reactor: &ReactorHandle, lower: L, policy: RetryPolicy<L::Error>) -> Self {
        let (lower, limit, jitter) = (Rc::new(lower), policy.limit(), policy.jitter());
        let (below, reactor) = (Rc::clone(&lower), reactor.clone());
        let queue = reactor.queue().clone();
        let attempts = MlRetriesAttempts { lower: below, reactor: reactor.clone(), policy, jitter };
        let attempts = Rc::new(queue.recipient(attempts));
        Self { lower, gate: Gate::default(), reactor, limit, attempts }
    }
}

impl<L: Module + 'static> Module for MlRetries<L> {
    type Request = Retry<L::Request, L::Error>;
    type Answer = L::Answer;
    type Error = L::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated_on(&self.gate, &*self.lower).kept_open()
    }

    fn start(
        &self,
        request: Retry<L::Request, L::Error>,
        done: Callback<OpResult<L::Answer, L::Error>>,
    ) -> Result<AsyncOp, StartError<Self::Request>> {
        // 1. Refuse before there is anything to undo.
        let (mut retry, done) = self.gate.admit(request, done)?;
        // 2. Make the operation: from here on, `done` is answered in any case.
        let context = MlRetrying {
            retry: Cell::new(None),
            made: Cell::new(1),
            last: Cell::new(None),
            limit: self.limit.and_then(|limit| self.reactor.now().checked_add(limit)),
            lower: Lower::default(),
            timer: Cell::new(None),
            _attempts: Rc::clone(&self.attempts),
        };
        let op = Operation::new(done, context, cancel);
        // 3. Start the first attempt. Its completion is dialed later, so the request can be kept.
        match self.lower.start((retry.0)(1, None), completion(&self.attempts, &op)) {
            Ok(lower) => op.context().lower.set(lower, op.state()),
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error.map(|_| retry));
            }
        }
        op.context().retry.set(Some(retry));
        Ok(op.handle())
    }
}

/// The callback of an attempt.
fn completion<L: Module>(
    attempts: &Address<MlRetriesAttempts<L>>,
    op: &RetryOperation<L>,
) -> Callback<OpResult<L::Answer, L::Error>> {
    let upper = op.clone();
    let done = attempts.callback(move |attempts, cx, result| attempts.on_done(cx, &upper, result));
    op.waits_for(done.id());
    done
}

impl<L: Module> MlRetriesAttempts<L> {
    /// The completion of an attempt.
    fn on_done(
        &self,
        attempts: &Address<Self>,
        op: &RetryOperation<L>,
        result: OpResult<L::Answer, L::Error>,
    ) {
        // 1. An answer is the result. No one else completes while an attempt is on its way.
        let error = match result {
            Ok(_) => return drop(op.complete(result)),
            Err(error) => error,
        };
        // 2. Ask whether to try again, and when. The answers are those of code that may do anything.
        let again = match op.state() {
            OpState::Running => self.delay(op.context(), &error),
            _ => None,
        };
        // 3. A cancel after the end of this attempt was late for it, but not for the whole.
        if op.state() == OpState::Canceling {
            return drop(op.complete(Err(OpError::Canceled)));
        }
        let Some(delay) = again else { return drop(op.complete(Err(error))) };
        op.context().last.set(Some(error));
        if delay.is_zero() {
            return self.again(attempts, op);
        }
        // 4. Wait for the timer now, no more for the lower operation.
        let upper = op.clone();
        let due = attempts.callback(move |attempts, cx, ()| attempts.on_due(cx, &upper));
        op.waits_for(due.id());
        op.context().timer.set(Some(self.reactor.after(delay, due)));
        // 5. If an observer has canceled the operation meanwhile, that found no timer.
        if op.state() == OpState::Canceling {
            cancel(op);
        }
    }

    /// How long to wait before another attempt; `None` if there is no further attempt.
    fn delay(&self, retrying: &MlRetrying<L>, error: &OpError<L::Error>) -> Option<Duration> {
        let delay = self.policy.delay(retrying.made.get(), error, &self.jitter)?;
        let Some(limit) = retrying.limit else { return Some(delay) };
        let begins = self.reactor.now().checked_add(delay)?;
        (begins <= limit).then_some(delay)
    }

    /// The delay before another attempt is over.
    fn on_due(&self, attempts: &Address<Self>, op: &RetryOperation<L>) {
        let MlRetrying { timer, limit, last, .. } = op.context();
        // 1. Take the timer, which has done its duty. If it is gone, an observer that was notified of
        //    this very call has canceled the operation, which is complete.
        if timer.take().is_none() {
            return;
        }
        // 2. It may be late. After the limit, no attempt begins.
        if limit.is_some_and(|limit| self.reactor.turn_time() > limit)
            && let Some(error) = last.take()
        {
            return drop(op.complete(Err(error)));
        }
        self.again(attempts, op);
    }

    /// Starts another attempt.
    fn again(&self, attempts: &Address<Self>, op: &RetryOperation<L>) {
        let MlRetrying { retry, made, last, lower, .. } = op.context();
        // 1. Make the request. The closure is not in its cell meanwhile, as it may do anything.
        let Some(mut make) = retry.take() else { return };
        made.set(made.get().saturating_add(1));
        let request = (make.0)(made.get(), last.take().as_ref());
        retry.set(Some(make));
        // 2. Make the completion.
        let done = completion(attempts, op);
        // 3. Start, if neither the closure nor an observer has canceled the operation.
        if op.state() == OpState::Canceling {
            done.decline("canceled");
            return drop(op.complete(Err(OpError::Canceled)));
        }
        match self.lower.start(request, done) {
            Ok(started) => lower.set(started, op.state()),
            // 4. A refusal is the result of the attempt. It comes as a call, so that attempts that are
            //    refused at once do not recurse.
            Err(error) => {
                let refused = OpError::NotStarted(error.into_cause().into());
                completion(attempts, op).answer(Err(refused));
            }
        }
    }
}

/// The cancel hook.
fn cancel<L: Module>(op: &RetryOperation<L>) {
    let MlRetrying { lower, timer, .. } = op.context();
    match timer.take() {
        // 1. Between attempts: stop the timer, whose call is then never dialed, and complete.
        Some(timer) => {
            drop(timer);
            let _ = op.complete(Err(OpError::Canceled));
        }
        // 2. During an attempt: cancel that. If it is late, its completion sees the cancel.
        None => lower.cancel(),
    }
}

impl<R, E> fmt::Debug for Retry<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").finish_non_exhaustive()
    }
}

impl<L: Module> fmt::Debug for MlRetries<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlRetries").field("gate", &self.gate).finish_non_exhaustive()
    }
}
