//! Middle layer, retries: the same lower operation again until it succeeds, fails for good, or is
//! canceled.
//!
//! It shows an operation that waits for one of two things, a lower operation or a timer, and whose
//! cancel ends either. What the queue makes unnecessary: recursion, which grows the stack when
//! attempts fail at once (each attempt begins in a call of its own here), and the question who
//! wins if cancel and timer meet (dropping the timer settles it).

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::reactor::{ReactorHandle, Timer};
use crate::recipient::{Address, Recipient};
use crate::samples::{Gate, Lower, Module, StartError};

/// Repeats lower operations.
pub struct MlRetries<L: Module + 'static> {
    lower: Rc<L>,
    gate: Gate,
    attempts: Rc<Recipient<Attempts<L>>>,
}

/// Asks for an operation that is repeated. Makes the lower request, for each attempt anew.
pub struct Retry<R>(Box<dyn FnMut() -> R>);

impl<R> Retry<R> {
    /// Begins each attempt with a request that `make` makes.
    pub fn new(make: impl FnMut() -> R + 'static) -> Self {
        Self(Box::new(make))
    }
}

/// What is repeated, how often, and after how long.
pub struct RetryPolicy<E> {
    attempts: u32,
    backoff: Box<dyn Fn(u32) -> Duration>,
    retries: Predicate<E>,
}

type Predicate<E> = Box<dyn Fn(&OpError<E>) -> bool>;

impl<E> RetryPolicy<E> {
    /// Repeats what fails as [`Retryable`](OpError::Retryable), at once, without end.
    pub fn new() -> Self {
        Self {
            attempts: u32::MAX,
            backoff: Box::new(|_| Duration::ZERO),
            retries: Box::new(|error| matches!(error, OpError::Retryable(_))),
        }
    }

    /// Attempts at most `attempts` times, the first included.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// Waits before each attempt but the first, for what `backoff` says of the number of attempts
    /// made.
    #[must_use]
    pub fn backoff(self, backoff: impl Fn(u32) -> Duration + 'static) -> Self {
        Self { backoff: Box::new(backoff), ..self }
    }

    /// Repeats after those errors that `retries` says. Canceled operations are never repeated.
    #[must_use]
    pub fn after(self, retries: impl Fn(&OpError<E>) -> bool + 'static) -> Self {
        Self { retries: Box::new(retries), ..self }
    }
}

impl<E> Default for RetryPolicy<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// The module as a recipient: what its completions need.
struct Attempts<L: Module> {
    lower: Rc<L>,
    reactor: ReactorHandle,
    policy: RetryPolicy<L::Error>,
}

/// The context of one operation.
struct Retrying<L: Module + 'static> {
    retry: Cell<Option<Retry<L::Request>>>,
    /// Attempts made.
    made: Cell<u32>,
    /// What the operation waits for is one of these.
    lower: Lower,
    timer: Cell<Option<Timer>>,
    /// Keeps the recipient for as long as the operation runs.
    _attempts: Rc<Recipient<Attempts<L>>>,
}

type RetryOperation<L> = Operation<Retrying<L>, <L as Module>::Answer, <L as Module>::Error>;

impl<L: Module + 'static> MlRetries<L> {
    /// Makes the module, not open yet.
    pub fn new(reactor: &ReactorHandle, lower: L, policy: RetryPolicy<L::Error>) -> Self {
        let lower = Rc::new(lower);
        let attempts = Attempts { lower: Rc::clone(&lower), reactor: reactor.clone(), policy };
        let attempts = Rc::new(reactor.queue().recipient(attempts));
        Self { lower, gate: Gate::default(), attempts }
    }
}

impl<L: Module + 'static> Module for MlRetries<L> {
    type Request = Retry<L::Request>;
    type Answer = L::Answer;
    type Error = L::Error;

    fn open(&self) {
        self.lower.open();
        self.gate.open();
    }

    fn close(&self) {
        self.gate.close();
    }

    fn leftovers(&self) -> usize {
        self.lower.leftovers()
    }

    fn start(
        &self,
        request: Retry<L::Request>,
        done: Callback<OpResult<L::Answer, L::Error>>,
    ) -> Result<AsyncOp, StartError<Retry<L::Request>>> {
        // 1. Refuse before there is anything to undo.
        let (mut retry, done) = self.gate.admit(request, done)?;
        // 2. Make the operation: whatever happens from here on, `done` is answered.
        let context = Retrying {
            retry: Cell::new(None),
            made: Cell::new(0),
            lower: Lower::default(),
            timer: Cell::new(None),
            _attempts: Rc::clone(&self.attempts),
        };
        let op = Operation::new(done, context, cancel);
        // 3. Start the first attempt. Its completion comes later: the request can be kept then.
        if let Err(error) = start_attempt(&*self.lower, &self.attempts, &op, (retry.0)()) {
            op.decline("the layer below did not start");
            return Err(error.map(|_| retry));
        }
        op.context().retry.set(Some(retry));
        Ok(op.handle())
    }
}

/// Starts an attempt and keeps its handle.
fn start_attempt<L: Module>(
    lower: &L,
    attempts: &Address<Attempts<L>>,
    op: &RetryOperation<L>,
    request: L::Request,
) -> Result<(), StartError<L::Request>> {
    let upper = op.clone();
    let done =
        attempts.callback(move |attempts, line, result| attempts.on_done(line, &upper, result));
    op.context().lower.set(lower.start(request, done)?);
    op.context().made.set(op.context().made.get() + 1);
    Ok(())
}

impl<L: Module> Attempts<L> {
    /// The completion of an attempt.
    fn on_done(
        &self,
        attempts: &Address<Self>,
        op: &RetryOperation<L>,
        result: OpResult<L::Answer, L::Error>,
    ) {
        let made = op.context().made.get();
        let RetryPolicy { attempts: most, backoff, retries } = &self.policy;
        match result {
            // 1. Try again, unless a cancel came when this attempt was over, or it was the last.
            Err(error) if op.state() == OpState::Running && made < *most && retries(&error) => {
                let delay = backoff(made);
                if delay.is_zero() {
                    return self.again(attempts, op);
                }
                // 2. Wait for the timer now, no more for the lower operation.
                let upper = op.clone();
                let due = attempts.callback(move |attempts, line, ()| attempts.again(line, &upper));
                op.context().timer.set(Some(self.reactor.after(delay, due)));
            }
            // 3. Complete. Nobody else does while an attempt is on its way.
            Err(OpError::Retryable(_)) if op.state() == OpState::Canceling => {
                let _ = op.complete(Err(OpError::Canceled));
            }
            result => {
                let _ = op.complete(result);
            }
        }
    }

    /// Starts another attempt. The operation is not canceled: that would have dropped the timer.
    fn again(&self, attempts: &Address<Self>, op: &RetryOperation<L>) {
        // 1. The timer has done its duty.
        drop(op.context().timer.take());
        // 2. Make the request. The closure is not in its cell meanwhile, as it may do anything.
        let Some(mut retry) = op.context().retry.take() else { return };
        let request = (retry.0)();
        op.context().retry.set(Some(retry));
        // 3. Start, if the closure has not canceled the operation.
        let result = if op.state() == OpState::Canceling {
            Err(OpError::Canceled)
        } else {
            match start_attempt(&*self.lower, attempts, op, request) {
                Ok(()) => return,
                Err(error) => Err(OpError::NotStarted(error.into_cause())),
            }
        };
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<L: Module>(op: &RetryOperation<L>) {
    let Retrying { lower, timer, .. } = op.context();
    match timer.take() {
        // 1. Between attempts: stop the timer, whose call never comes then, and complete.
        Some(timer) => {
            drop(timer);
            let _ = op.complete(Err(OpError::Canceled));
        }
        // 2. During an attempt: cancel that. If it is late, its completion sees the cancel.
        None => lower.cancel(),
    }
}

impl<R> fmt::Debug for Retry<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for RetryPolicy<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl<L: Module> fmt::Debug for MlRetries<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlRetries").field("gate", &self.gate).finish_non_exhaustive()
    }
}
