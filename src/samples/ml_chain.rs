//! Middle layer, chain: lower operations one after the other, each made of the result of the last.
//!
//! It shows the check that a sequence needs, twice: before it asks what follows, and right before it
//! starts that. A cancel may arrive when a step is over and its completion is pending: the lower cancel
//! is late then, so the completion itself looks whether the chain is being canceled before it starts
//! another step. What the queue makes unnecessary: recursion (each step begins in a call of its own, so
//! chains of any length take constant stack), and a lock between the cancel and the next start.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::Cell;
use core::error::Error;
use core::fmt;
use core::marker::PhantomData;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::queue::QueueHandle;
use crate::recipient::Recipient;
use crate::samples::error::StartError;
use crate::samples::gate::{Gate, Lower};
use crate::samples::module::{Below, Layer, Module};

/// Runs lower operations one after the other. `A` is what a whole chain answers, `E` how it fails.
///
/// If the first step is refused, so is the chain. For a later one, that is its result:
/// [`OpError::NotStarted`].
///
/// It stands on one module, or on several, as a tuple; each step selects one of them.
///
/// # Examples
///
/// A name is resolved, then its first address is used. A name without an address, an error of the first
/// step, is replaced:
///
/// ```
/// use std::convert::Infallible;
/// use switchboard::op::OpError;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{Chain, LlFakeCancel, MlChain, Module, Next, ThreadPool, Work};
///
/// type Names = LlFakeCancel<Option<u32>, &'static str>;
/// type Squares = LlFakeCancel<String, Infallible>;
///
/// let mut reactor = Reactor::new().unwrap();
/// let pool = ThreadPool::new(2);
/// let names = Names::new(&reactor.handle(), &pool);
/// let squares = Squares::new(&reactor.handle(), &pool);
/// let chains = MlChain::<_, String, Infallible>::new(reactor.queue(), (names, squares));
/// chains.open();
///
/// let find: Work<Option<u32>, &'static str> = Box::new(|| Err(OpError::Failed("no such name")));
/// let chain = Chain::new(|(names, _): &(Names, Squares)| names, find, |found| {
///     let number = found.ok().flatten().unwrap_or(4);
///     let square: Work<String, Infallible> = Box::new(move || Ok((number * number).to_string()));
///     Ok(Next::Start(Chain::new(|(_, squares): &(Names, Squares)| squares, square, |answer| {
///         answer.map(Next::Done)
///     })))
/// });
/// let done = reactor.queue().callback(|_, answer| assert_eq!(answer, Ok("16".to_owned())));
/// chains.start(chain, done).unwrap();
/// reactor.run().unwrap();
/// ```
pub struct MlChain<L: 'static, A: 'static, E: 'static> {
    lower: Rc<L>,
    gate: Gate,
    steps: Rc<Recipient<MlChainSteps<L>>>,
    result: PhantomData<fn() -> OpResult<A, E>>,
}

/// Asks for a chain: its first step, and what follows it.
pub struct Chain<L, A: 'static, E: 'static>(Box<dyn AnyStep<L, A, E>>);

/// What follows a step of a chain.
pub enum Next<L, A: 'static, E: 'static> {
    /// Another step.
    Start(Chain<L, A, E>),
    /// Nothing: this is the answer of the chain.
    Done(A),
}

/// The outcome of a step: what follows, or an error that ends the chain.
type Follow<L, A, E> = OpResult<Next<L, A, E>, E>;

/// A step: which module it is for, its request, and what follows its result.
struct ChainStep<L, M: Module, F> {
    module: fn(&L) -> &M,
    request: M::Request,
    then: F,
}

/// The module as a recipient: what its completions need.
struct MlChainSteps<L> {
    lower: Rc<L>,
}

/// The context of one operation.
struct MlChaining<L: 'static> {
    lower: Lower,
    /// Keeps the recipient for as long as the operation runs.
    steps: Rc<Recipient<MlChainSteps<L>>>,
}

type ChainOperation<L, A, E> = Operation<MlChaining<L>, A, E>;

impl<L: Below + 'static, A: 'static, E: 'static> MlChain<L, A, E> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::reactor::Reactor;
    /// use switchboard::samples::{Chain, LlFakeCancel, MlChain, Module, ThreadPool};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let pool = ThreadPool::new(2);
    /// type Works = LlFakeCancel<u32, Infallible>;
    ///
    /// let works = Works::new(&reactor.handle(), &pool);
    /// let chains = MlChain::<Works, u32, Infallible>::new(reactor.queue(), works);
    /// chains.open();
    /// # let done = reactor.queue().callback(|_, answer| assert_eq!(answer, Ok(3)));
    /// # let three: switchboard::samples::Work<u32, Infallible> = Box::new(|| Ok(3));
    /// # let chain = Chain::new(|works: &Works| works, three, |answer| {
    /// #     answer.map(switchboard::samples::Next::Done)
    /// # });
    /// chains.start(chain, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        let lower = Rc::new(lower);
        let steps = Rc::new(queue.recipient(MlChainSteps { lower: Rc::clone(&lower) }));
        Self { lower, gate: Gate::default(), steps, result: PhantomData }
    }

    /// Starts a chain of known types, for a layer that knows its first step. See [`Chain::new`].
    ///
    /// # Errors
    ///
    /// Returns the first request in the error; `done` is then declined.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlFakeCancel, MlChain, Module, Next, ThreadPool, Work};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let pool = ThreadPool::new(2);
    /// type Works = LlFakeCancel<u32, Infallible>;
    ///
    /// # let works = Works::new(&reactor.handle(), &pool);
    /// let chains = MlChain::<Works, u32, Infallible>::new(reactor.queue(), works);
    /// chains.open();
    /// let done = reactor.queue().callback(|_, answer| assert_eq!(answer, Ok(9)));
    /// let three: Work<u32, Infallible> = Box::new(|| Ok(3));
    /// let square = |three: Result<u32, _>| three.map(|three| Next::Done(three * three));
    /// chains.start_with(|works: &Works| works, three, square, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_with<M, F>(
        &self,
        module: fn(&L) -> &M,
        request: M::Request,
        then: F,
        done: Callback<OpResult<A, E>>,
    ) -> Result<AsyncOp, StartError<M::Request>>
    where
        M: Module + 'static,
        F: FnOnce(OpResult<M::Answer, M::Error>) -> Follow<L, A, E> + 'static,
    {
        let step = ChainStep { module, request, then };
        self.start_step(step, done).map_err(|error| error.map(|step| step.request))
    }

    /// The start function.
    fn start_step<S: StartStep<L, A, E>>(
        &self,
        step: S,
        done: Callback<OpResult<A, E>>,
    ) -> Result<AsyncOp, StartError<S>> {
        // 1. Refuse before there is anything to undo.
        let (step, done) = self.gate.admit(step, done)?;
        // 2. Make the operation: from here on, `done` is answered in any case.
        let context = MlChaining { lower: Lower::default(), steps: Rc::clone(&self.steps) };
        let op = Operation::new(done, context, cancel);
        // 3. Start the first step. Its completion cannot be dialed before this returns.
        if let Err(error) = step.start(&self.lower, &op) {
            op.decline("the first step did not start");
            return Err(error);
        }
        Ok(op.handle())
    }
}

impl<L: 'static, A: 'static, E: 'static> Chain<L, A, E> {
    /// Returns a chain that begins with `request` to the module that `module` selects of those that the
    /// chain stands on. `then` receives the result, error or not, and returns what follows.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::reactor::Reactor;
    /// use switchboard::samples::{Chain, LlFakeCancel, MlChain, Module, Next, ThreadPool, Work};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let pool = ThreadPool::new(2);
    /// type Works = LlFakeCancel<u32, Infallible>;
    ///
    /// # let works = Works::new(&reactor.handle(), &pool);
    /// # let chains = MlChain::<Works, u32, Infallible>::new(reactor.queue(), works);
    /// # chains.open();
    /// // Two steps: the second one is made of the result of the first.
    /// let three: Work<u32, Infallible> = Box::new(|| Ok(3));
    /// let chain = Chain::new(|works: &Works| works, three, |three| {
    ///     let three = three?;
    ///     let square: Work<u32, Infallible> = Box::new(move || Ok(three * three));
    ///     Ok(Next::Start(Chain::new(|works: &Works| works, square, |nine| nine.map(Next::Done))))
    /// });
    /// let done = reactor.queue().callback(|_, answer| assert_eq!(answer, Ok(9)));
    /// chains.start(chain, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<M, F>(module: fn(&L) -> &M, request: M::Request, then: F) -> Self
    where
        M: Module + 'static,
        F: FnOnce(OpResult<M::Answer, M::Error>) -> OpResult<Next<L, A, E>, E> + 'static,
    {
        Self(Box::new(ChainStep { module, request, then }))
    }
}

impl<L: Below + 'static, A: 'static, E: 'static> Module for MlChain<L, A, E> {
    type Request = Chain<L, A, E>;
    type Answer = A;
    type Error = E;

    fn layer(&self) -> Layer<'_> {
        Layer::gated_on(&self.gate, &*self.lower).kept_open()
    }

    fn start(
        &self,
        request: Chain<L, A, E>,
        done: Callback<OpResult<A, E>>,
    ) -> Result<AsyncOp, StartError<Chain<L, A, E>>> {
        self.start_step(request, done)
    }
}

/// Starts the lower operation of a step, on behalf of the chain `op`, unless that is being canceled.
trait StartStep<L, A: 'static, E: 'static>: Sized {
    fn start(self, lower: &L, op: &ChainOperation<L, A, E>) -> Result<(), StartError<Self>>;

    /// What follows the step, which was refused.
    fn refused(self, cause: Box<dyn Error + Send + Sync>) -> Follow<L, A, E>;
}

impl<L, M, F, A: 'static, E: 'static> StartStep<L, A, E> for ChainStep<L, M, F>
where
    L: 'static,
    M: Module,
    F: FnOnce(OpResult<M::Answer, M::Error>) -> Follow<L, A, E> + 'static,
{
    fn start(self, lower: &L, op: &ChainOperation<L, A, E>) -> Result<(), StartError<Self>> {
        let Self { module, request, then } = self;
        // 1. Make the completion. What follows is handed back if the step does not start, so it is kept
        //    where both find it.
        let (kept, upper) = (Rc::new(Cell::new(Some(then))), op.clone());
        let then = Rc::clone(&kept);
        let done = op.context().steps.callback(move |steps, _, result| {
            if let Some(then) = then.take() {
                steps.on_done(&upper, || then(result));
            }
        });
        op.waits_for(done.id());
        // 2. An observer that was notified of it may have canceled the chain: then nothing starts.
        if op.state() == OpState::Canceling {
            done.decline("canceled");
            let _ = op.complete(Err(OpError::Canceled));
            return Ok(());
        }
        // 3. Start, and keep the handle. The completion cannot have been dialed yet.
        match module(lower).start(request, done) {
            Ok(started) => op.context().lower.set(started, op.state()),
            Err(error) => {
                let then = kept.take().unwrap_or_else(|| unreachable!("the call was declined"));
                return Err(error.map(|request| Self { module, request, then }));
            }
        }
        Ok(())
    }

    fn refused(self, cause: Box<dyn Error + Send + Sync>) -> Follow<L, A, E> {
        (self.then)(Err(OpError::NotStarted(cause.into())))
    }
}

/// A [`StartStep`] whose types are of no interest.
trait AnyStep<L, A: 'static, E: 'static> {
    fn start_boxed(
        self: Box<Self>,
        lower: &L,
        op: &ChainOperation<L, A, E>,
    ) -> Result<(), StartError<Chain<L, A, E>>>;

    fn refused_boxed(self: Box<Self>, cause: Box<dyn Error + Send + Sync>) -> Follow<L, A, E>;
}

impl<L: 'static, A: 'static, E: 'static, S: StartStep<L, A, E> + 'static> AnyStep<L, A, E> for S {
    fn start_boxed(
        self: Box<Self>,
        lower: &L,
        op: &ChainOperation<L, A, E>,
    ) -> Result<(), StartError<Chain<L, A, E>>> {
        self.start(lower, op).map_err(|error| error.map(|step| Chain(Box::new(step))))
    }

    fn refused_boxed(self: Box<Self>, cause: Box<dyn Error + Send + Sync>) -> Follow<L, A, E> {
        self.refused(cause)
    }
}

impl<L: 'static, A: 'static, E: 'static> StartStep<L, A, E> for Chain<L, A, E> {
    fn start(self, lower: &L, op: &ChainOperation<L, A, E>) -> Result<(), StartError<Self>> {
        self.0.start_boxed(lower, op)
    }

    fn refused(self, cause: Box<dyn Error + Send + Sync>) -> Follow<L, A, E> {
        self.0.refused_boxed(cause)
    }
}

impl<L: 'static> MlChainSteps<L> {
    /// The completion of a step.
    fn on_done<A: 'static, E: 'static>(
        &self,
        op: &ChainOperation<L, A, E>,
        then: impl FnOnce() -> Follow<L, A, E>,
    ) {
        // 1. A cancel after the end of this step was late for it, but not for the chain: it does not
        //    ask what follows.
        let follow = match op.state() {
            OpState::Canceling => Err(OpError::Canceled),
            // 2. Ask what follows the result, which may be an error.
            _ => then(),
        };
        let result = match follow {
            // 3. Start it, if that closure has not canceled the chain.
            Ok(Next::Start(_)) if op.state() == OpState::Canceling => Err(OpError::Canceled),
            Ok(Next::Start(step)) => match step.start(&self.lower, op) {
                Ok(()) => return,
                // 4. A refusal is the result of the step.
                Err(error) => return Self::report_refused(op, error),
            },
            Ok(Next::Done(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        // 5. Complete. No one else does.
        let _ = op.complete(result);
    }

    /// Reports that a step was refused. It is a call, so that steps that are refused at once do not
    /// recurse.
    fn report_refused<A: 'static, E: 'static>(
        op: &ChainOperation<L, A, E>,
        error: StartError<Chain<L, A, E>>,
    ) {
        let ((step, cause), upper) = (error.split(), op.clone());
        let refused = op.context().steps.callback(move |steps: &mut Self, _, ()| {
            steps.on_done(&upper, || step.refused(cause));
        });
        op.waits_for(refused.id());
        refused.answer(());
    }
}

/// The cancel hook.
fn cancel<L, A, E>(op: &ChainOperation<L, A, E>) {
    // 1. Cancel the latest step. If that is late, its completion sees that the chain is canceled.
    op.context().lower.cancel();
}

impl<L, A, E> fmt::Debug for MlChain<L, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlChain").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl<L, A, E> fmt::Debug for Chain<L, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

impl<L, A: fmt::Debug, E> fmt::Debug for Next<L, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(_) => f.write_str("Start(..)"),
            Self::Done(answer) => f.debug_tuple("Done").field(answer).finish(),
        }
    }
}
