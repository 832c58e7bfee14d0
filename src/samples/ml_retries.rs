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

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::reactor::{ReactorHandle, Timer};
use crate::recipient::{Address, Recipient};
use crate::samples::{Gate, Lower, Module, StartError};

mod policy;

pub use policy::RetryPolicy;

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
        match self.lower.start((retry.0)(), completion(&self.attempts, &op)) {
            Ok(lower) => op.context().started(lower, op.state()),
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error.map(|_| retry));
            }
        }
        op.context().retry.set(Some(retry));
        Ok(op.handle())
    }
}

/// What an attempt is to call.
fn completion<L: Module>(
    attempts: &Address<Attempts<L>>,
    op: &RetryOperation<L>,
) -> Callback<OpResult<L::Answer, L::Error>> {
    let upper = op.clone();
    let done = attempts.callback(move |attempts, cx, result| attempts.on_done(cx, &upper, result));
    op.waits_for(done.id());
    done
}

impl<L: Module> Retrying<L> {
    /// Keeps the handle of an attempt.
    fn started(&self, lower: AsyncOp, state: OpState) {
        self.lower.set(lower, state);
        self.made.set(self.made.get().saturating_add(1));
    }
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
        // 1. Ask whether to try again, and when. The answers come from code that may do anything.
        let again = match &result {
            Err(error) if op.state() == OpState::Running => self.policy.delay(made, error),
            _ => None,
        };
        // 2. A cancel that came when this attempt was over was late for it, but not for us.
        if result.is_err() && op.state() == OpState::Canceling {
            let _ = op.complete(Err(OpError::Canceled));
            return;
        }
        match again {
            // 3. Complete. Nobody else does while an attempt is on its way.
            None => drop(op.complete(result)),
            Some(Duration::ZERO) => self.again(attempts, op),
            // 4. Wait for the timer now, no more for the lower operation.
            Some(delay) => {
                let upper = op.clone();
                let due = attempts.callback(move |attempts, cx, ()| attempts.on_due(cx, &upper));
                op.waits_for(due.id());
                op.context().timer.set(Some(self.reactor.after(delay, due)));
                // 5. If an observer has canceled the operation meanwhile, that found no timer.
                if op.state() == OpState::Canceling {
                    cancel(op);
                }
            }
        }
    }

    /// The time for another attempt has come.
    fn on_due(&self, attempts: &Address<Self>, op: &RetryOperation<L>) {
        // 1. Take the timer, which has done its duty. If it is gone, an observer that was notified of
        //    this very call has canceled the operation, which is complete.
        if op.context().timer.take().is_some() {
            self.again(attempts, op);
        }
    }

    /// Starts another attempt.
    fn again(&self, attempts: &Address<Self>, op: &RetryOperation<L>) {
        // 1. Make the request. The closure is not in its cell meanwhile, as it may do anything.
        let Some(mut retry) = op.context().retry.take() else { return };
        let request = (retry.0)();
        op.context().retry.set(Some(retry));
        // 2. Make the completion.
        let done = completion(attempts, op);
        // 3. Start, if neither the closure nor an observer has canceled the operation.
        let result = if op.state() == OpState::Canceling {
            done.decline("canceled");
            Err(OpError::Canceled)
        } else {
            match self.lower.start(request, done) {
                Ok(lower) => return op.context().started(lower, op.state()),
                Err(error) => Err(OpError::NotStarted(error.into_cause().into())),
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

impl<L: Module> fmt::Debug for MlRetries<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlRetries").field("gate", &self.gate).finish_non_exhaustive()
    }
}
