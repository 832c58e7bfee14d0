//! Middle layer, chain: lower operations one after the other, each from the answer of the last.
//!
//! It shows the check that a sequence needs, twice: before it asks what follows, and right before it
//! starts that. A cancel may come when a step is over and its completion is on its way: the lower
//! cancel is late then, so the completion itself looks whether the chain is being canceled before it
//! starts another step. What the queue makes unnecessary: recursion (each step begins in a call of
//! its own, so chains of any length take constant stack), and a lock between the cancel and the next
//! start.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::queue::QueueHandle;
use crate::recipient::{Address, Recipient};
use crate::samples::{Gate, Lower, Module, StartError};

/// Runs lower operations one after the other; `A` is what a whole chain answers.
///
/// For steps of different types, stand it on a module that offers several as one, or put a chain
/// on top of a chain.
pub struct MlChain<L: Module + 'static, A: 'static> {
    lower: Rc<L>,
    gate: Gate,
    steps: Rc<Recipient<Steps<L, A>>>,
}

/// Asks for a chain: its first step, and what follows each answer.
pub struct Chain<L: Module, A> {
    /// The first request to the layer below.
    pub first: L::Request,
    /// Says what follows an answer.
    pub then: Then<L, A>,
}

type Then<L, A> = Box<dyn FnMut(<L as Module>::Answer) -> Next<<L as Module>::Request, A>>;

/// What follows a step of a chain.
#[derive(Debug)]
pub enum Next<R, A> {
    /// Another step.
    Start(R),
    /// Nothing: this is the answer of the chain.
    Done(A),
}

/// The module as a recipient: what its completions need.
struct Steps<L, A> {
    lower: Rc<L>,
    answer: PhantomData<fn() -> A>,
}

/// The context of one operation.
struct Chaining<L: Module + 'static, A: 'static> {
    lower: Lower,
    then: Cell<Option<Then<L, A>>>,
    /// Keeps the recipient for as long as the operation runs.
    _steps: Rc<Recipient<Steps<L, A>>>,
}

type ChainOperation<L, A> = Operation<Chaining<L, A>, A, <L as Module>::Error>;

impl<L: Module + 'static, A: 'static> MlChain<L, A> {
    /// Makes the module, not open yet.
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        let lower = Rc::new(lower);
        let steps = Steps { lower: Rc::clone(&lower), answer: PhantomData };
        Self { lower, gate: Gate::default(), steps: Rc::new(queue.recipient(steps)) }
    }
}

impl<L: Module, A> Chain<L, A> {
    /// Begins with `first`; `then` says what follows an answer.
    pub fn new(
        first: L::Request,
        then: impl FnMut(L::Answer) -> Next<L::Request, A> + 'static,
    ) -> Self {
        Self { first, then: Box::new(then) }
    }
}

impl<L: Module + 'static, A: 'static> Module for MlChain<L, A> {
    type Request = Chain<L, A>;
    type Answer = A;
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
        request: Chain<L, A>,
        done: Callback<OpResult<A, L::Error>>,
    ) -> Result<AsyncOp, StartError<Chain<L, A>>> {
        // 1. Refuse before there is anything to undo.
        let (Chain { first, then }, done) = self.gate.admit(request, done)?;
        // 2. Make the operation: whatever happens from here on, `done` is answered.
        let steps = Rc::clone(&self.steps);
        let context = Chaining { lower: Lower::default(), then: Cell::new(None), _steps: steps };
        let op = Operation::new(done, context, cancel);
        // 3. Start the first step. Its completion comes later: what follows can be kept then.
        match self.lower.start(first, completion(&self.steps, &op)) {
            Ok(lower) => op.context().lower.set(lower, op.state()),
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error.map(|first| Chain { first, then }));
            }
        }
        op.context().then.set(Some(then));
        Ok(op.handle())
    }
}

/// What a step is to call.
fn completion<L: Module, A>(
    steps: &Address<Steps<L, A>>,
    op: &ChainOperation<L, A>,
) -> Callback<OpResult<L::Answer, L::Error>> {
    let upper = op.clone();
    let done = steps.callback(move |steps, cx, result| steps.on_done(cx, &upper, result));
    op.waits_for(done.id());
    done
}

impl<L: Module, A> Steps<L, A> {
    /// The completion of a step.
    fn on_done(
        &self,
        steps: &Address<Self>,
        op: &ChainOperation<L, A>,
        result: OpResult<L::Answer, L::Error>,
    ) {
        let result = match result {
            // 1. A cancel that came when this step was over was late for it, but not for the
            //    chain: no further step starts.
            _ if op.state() == OpState::Canceling => Err(OpError::Canceled),
            // 2. A step that failed, or lost a cancel of its own, ends the chain.
            Err(error) => Err(error),
            // 3. Ask what follows. The closure is not in its cell meanwhile, as it may do anything.
            Ok(answer) => {
                let Some(mut then) = op.context().then.take() else { return };
                let next = then(answer);
                op.context().then.set(Some(then));
                match next {
                    Next::Done(answer) => Ok(answer),
                    Next::Start(request) => {
                        // 4. Make the completion of the next step.
                        let done = completion(steps, op);
                        // 5. Start it, if neither the closure nor an observer has canceled the
                        //    chain.
                        if op.state() == OpState::Canceling {
                            done.decline("canceled");
                            Err(OpError::Canceled)
                        } else {
                            match self.lower.start(request, done) {
                                Ok(lower) => return op.context().lower.set(lower, op.state()),
                                Err(error) => Err(OpError::NotStarted(error.into_cause().into())),
                            }
                        }
                    }
                }
            }
        };
        // 6. Complete. Nobody else does.
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<L: Module, A>(op: &ChainOperation<L, A>) {
    // 1. Cancel the latest step. If that is late, its completion sees that the chain is canceled.
    op.context().lower.cancel();
}

impl<L: Module, A> fmt::Debug for MlChain<L, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlChain").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl<L: Module, A> fmt::Debug for Chain<L, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}
