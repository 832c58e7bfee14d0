//! The 26 compositions of the samples, each driven by a script: how its lowest operations end, one
//! after the other, and whether each is ready at once or later.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use mio::net::TcpStream;
use switchboard::op::{AsyncOp, OpError, OpResult};
use switchboard::reactor::ReactorHandle;
use switchboard::samples::{
    Chain, Closed, Hl, HlCancelAll, MlChain, MlPassThrough, MlRetries, Module, Next, Retry,
    RetryPolicy, StartError,
};
use switchboard::{Address, Callback};

mod drive;
mod low;
mod observe;
mod script;
#[cfg(feature = "testing")]
pub mod scripted;

pub use drive::{Drive, PATIENCE, Rig, RigOn};
pub use low::{Cue, Fake, Held, Low, Real, Socket, Wire};
pub use observe::explore_observer;
pub use script::{End, Script, Trigger, When};

/// How an operation of a whole composition ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answers of its lowest operations that succeeded.
    Answer(Vec<u8>),
    Canceled,
    Dropped,
    TimedOut,
    Full,
    NotStarted,
    Panicked,
    Retryable,
    Failed,
}

/// The steps of every chain.
pub const STEPS: usize = 3;

thread_local! {
    /// How long retries wait; not at all where time is real.
    pub static BACKOFF: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A stack of modules below the top, known by its type.
pub trait Shape: 'static {
    type Module: Module + 'static;
    fn module(reactor: &ReactorHandle) -> Self::Module;
    fn request(script: &Script) -> <Self::Module as Module>::Request;
    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8>;
}

pub struct Bottom<L>(PhantomData<L>);
pub struct Passed<S>(PhantomData<S>);
pub struct Chained<S>(PhantomData<S>);
pub struct Retried<S>(PhantomData<S>);
pub struct Topped<S>(PhantomData<S>);

impl<L: Low> Shape for Bottom<L> {
    type Module = L::Module;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        L::module(reactor)
    }

    fn request(script: &Script) -> <Self::Module as Module>::Request {
        script.next::<L>()
    }

    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8> {
        vec![L::value(answer)]
    }
}

impl<S: Shape> Shape for Passed<S> {
    type Module = MlPassThrough<S::Module>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        MlPassThrough::new(reactor.queue(), S::module(reactor))
    }

    fn request(script: &Script) -> <Self::Module as Module>::Request {
        S::request(script)
    }

    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8> {
        S::values(answer)
    }
}

impl<S: Shape> Shape for Chained<S> {
    type Module = MlChain<S::Module, Vec<u8>, <S::Module as Module>::Error>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        MlChain::new(reactor.queue(), S::module(reactor))
    }

    fn request(script: &Script) -> ChainOf<S> {
        step::<S>(script.clone(), Vec::new())
    }

    fn values(answer: Vec<u8>) -> Vec<u8> {
        answer
    }
}

type ChainOf<S> = Chain<<S as Shape>::Module, Vec<u8>, <<S as Shape>::Module as Module>::Error>;

/// A step of a chain, and those that follow it.
fn step<S: Shape>(script: Script, mut values: Vec<u8>) -> ChainOf<S> {
    Chain::new(
        |lower| lower,
        S::request(&script),
        move |answer: OpResult<_, _>| {
            values.extend(S::values(answer?));
            Ok(match values.len() {
                STEPS => Next::Done(values),
                _ => Next::Start(step::<S>(script, values)),
            })
        },
    )
}

impl<S: Shape> Shape for Retried<S> {
    type Module = MlRetries<S::Module>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        let policy = RetryPolicy::new().backoff(|_| BACKOFF.get());
        MlRetries::new(reactor, S::module(reactor), policy)
    }

    fn request(script: &Script) -> <Self::Module as Module>::Request {
        let script = script.clone();
        Retry::new(move |_, _| S::request(&script))
    }

    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8> {
        S::values(answer)
    }
}

impl<S: Shape> Shape for Topped<S> {
    type Module = Hl<S::Module>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        Hl::new(S::module(reactor))
    }

    fn request(script: &Script) -> <Self::Module as Module>::Request {
        S::request(script)
    }

    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8> {
        S::values(answer)
    }
}

/// What outcomes are delivered to: which operation, and how it ended, in order.
#[derive(Default)]
pub struct Recorder {
    pub outcomes: Rc<RefCell<Vec<(usize, Outcome)>>>,
    pub closed: Rc<RefCell<Vec<Closed>>>,
    /// Whether handlers unwind, after they have recorded what is delivered to them.
    pub unwinds: Rc<Cell<bool>>,
}

impl Recorder {
    fn recorded(&self) {
        if self.unwinds.get() {
            std::panic::resume_unwind(Box::new("the upper callback"));
        }
    }
}

/// A composition, whatever its types.
pub trait Composition {
    fn open(&self);

    /// Closes it. Where that cancels, `recorder` is notified once all is over.
    fn close(&self, recorder: &Address<Recorder>);

    /// Drains it, where that is possible; `recorder` is notified once all is over.
    fn drain(&self, reactor: &ReactorHandle, limit: Duration, recorder: &Address<Recorder>);

    /// Starts operation number `number`. The handle is missing where there is none for the user.
    /// If the start is refused, the request that was handed back is kept.
    fn start(
        &self,
        script: &Script,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()>;

    /// Starts operation number `number` with the request that was handed back last.
    fn start_again(
        &self,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()>;

    fn leftovers(&self) -> usize;

    /// How many operations run, where that is known.
    fn running(&self) -> Option<usize>;
}

fn done<A: 'static, E: 'static>(
    recorder: &Address<Recorder>,
    number: usize,
    values: fn(A) -> Vec<u8>,
) -> Callback<OpResult<A, E>> {
    recorder.callback(move |recorder, _, result: OpResult<A, E>| {
        let outcome = match result {
            Ok(answer) => Outcome::Answer(values(answer)),
            Err(OpError::Canceled) => Outcome::Canceled,
            Err(OpError::Dropped) => Outcome::Dropped,
            Err(OpError::TimedOut) => Outcome::TimedOut,
            Err(OpError::Full) => Outcome::Full,
            Err(OpError::NotStarted(_)) => Outcome::NotStarted,
            Err(OpError::Panicked(_)) => Outcome::Panicked,
            Err(OpError::Retryable(_)) => Outcome::Retryable,
            Err(_) => Outcome::Failed,
        };
        recorder.outcomes.borrow_mut().push((number, outcome));
        recorder.recorded();
    })
}

fn closed(recorder: &Address<Recorder>) -> Callback<Closed> {
    recorder.callback(|recorder, _, closed| {
        recorder.closed.borrow_mut().push(closed);
        recorder.recorded();
    })
}

/// One whose operations have handles.
struct Handled<S: Shape> {
    module: S::Module,
    refused: Refused<S>,
}

/// The request that was handed back last.
type Refused<S> = Cell<Option<<<S as Shape>::Module as Module>::Request>>;

impl<S: Shape> Handled<S> {
    fn request(
        &self,
        request: <S::Module as Module>::Request,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        let started = self.module.start(request, done(recorder, number, S::values));
        started.map(Some).map_err(|error: StartError<_>| {
            self.refused.set(Some(error.into_request()));
        })
    }
}

impl<S: Shape> Composition for Handled<S> {
    fn open(&self) {
        self.module.open();
    }

    fn close(&self, _: &Address<Recorder>) {
        self.module.close();
    }

    fn drain(&self, _: &ReactorHandle, _: Duration, _: &Address<Recorder>) {
        unreachable!("only hl_cancel_all can be drained");
    }

    fn start(
        &self,
        script: &Script,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        self.request(S::request(script), recorder, number)
    }

    fn start_again(
        &self,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        self.request(self.refused.take().expect("one was refused"), recorder, number)
    }

    fn leftovers(&self) -> usize {
        self.module.leftovers()
    }

    fn running(&self) -> Option<usize> {
        None
    }
}

/// One that is canceled as a whole, and whose handles are not used.
struct All<S: Shape> {
    module: HlCancelAll<S::Module>,
    refused: Refused<S>,
}

impl<S: Shape> All<S> {
    fn request(
        &self,
        request: <S::Module as Module>::Request,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        let started = self.module.start(request, done(recorder, number, S::values));
        started.map(|_| None).map_err(|error| self.refused.set(Some(error.into_request())))
    }
}

impl<S: Shape> Composition for All<S> {
    fn open(&self) {
        self.module.open();
    }

    fn close(&self, recorder: &Address<Recorder>) {
        self.module.close_with(closed(recorder));
    }

    fn drain(&self, reactor: &ReactorHandle, limit: Duration, recorder: &Address<Recorder>) {
        self.module.drain(reactor, limit, closed(recorder));
    }

    fn start(
        &self,
        script: &Script,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        self.request(S::request(script), recorder, number)
    }

    fn start_again(
        &self,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        self.request(self.refused.take().expect("one was refused"), recorder, number)
    }

    fn leftovers(&self) -> usize {
        self.module.leftovers()
    }

    fn running(&self) -> Option<usize> {
        Some(self.module.running())
    }
}

/// How to make a composition, and what to expect of it.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub name: &'static str,
    pub make: fn(&ReactorHandle) -> Box<dyn Composition>,
    /// Lowest operations that must succeed for the whole to succeed.
    pub steps: usize,
    /// Whether retryable failures are repeated.
    pub retries: bool,
    /// Whether operations are canceled by their handles; else by closing.
    pub handles: bool,
    /// Whether canceled operations leave something over.
    pub fake: bool,
}

impl Recipe {
    /// A script in which everything succeeds, as `when` says of each lowest operation in turn.
    pub fn success(&self, when: impl Fn(usize) -> When) -> Script {
        self.success_from(0, when)
    }

    /// The same with other answers, from `first` up.
    pub fn success_from(&self, first: u8, when: impl Fn(usize) -> When) -> Script {
        Script::new((0..self.steps).map(|step| (End::Answer(first + step as u8), when(step))))
    }

    /// What such a script comes to.
    pub fn answer(&self) -> Outcome {
        self.answer_from(0)
    }

    pub fn answer_from(&self, first: u8) -> Outcome {
        Outcome::Answer((first..first + self.steps as u8).collect())
    }

    /// A script that succeeds and has something of everything: at once and later, both first and
    /// after one another, and retryable failures of both kinds at each step, where they are
    /// repeated.
    pub fn representative(&self) -> Script {
        let mut lines = Vec::new();
        for step in 0..self.steps {
            let (first, second) = match step % 2 {
                0 => (When::AtOnce, When::Later),
                _ => (When::Later, When::AtOnce),
            };
            if self.retries {
                lines.extend([(End::Retryable, first), (End::Retryable, second)]);
            }
            lines.push((End::Answer(step as u8), first));
        }
        Script::new(lines)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} cancel", self.name, if self.fake { "fake" } else { "real" })
    }
}

fn handled<S: Shape>(reactor: &ReactorHandle) -> Box<dyn Composition> {
    let module = S::module(reactor);
    Box::new(Handled::<S> { module, refused: Cell::new(None) })
}

fn all<S: Shape>(reactor: &ReactorHandle) -> Box<dyn Composition> {
    let module = HlCancelAll::new(reactor.queue(), S::module(reactor));
    Box::new(All::<S> { module, refused: Cell::new(None) })
}

/// The 13 compositions over one lowest layer.
pub fn over<L: Low>(fake: bool) -> Vec<Recipe> {
    type B<L> = Bottom<L>;
    let recipe =
        |name, make, steps, retries, handles| Recipe { name, make, steps, retries, handles, fake };
    vec![
        recipe("LL", handled::<B<L>>, 1, false, true),
        recipe("pass_through(LL)", handled::<Passed<B<L>>>, 1, false, true),
        recipe("chain(LL)", handled::<Chained<B<L>>>, STEPS, false, true),
        recipe("retries(LL)", handled::<Retried<B<L>>>, 1, true, true),
        recipe("chain(retries(LL))", handled::<Chained<Retried<B<L>>>>, STEPS, true, true),
        recipe("hl(pass_through(LL))", handled::<Topped<Passed<B<L>>>>, 1, false, true),
        recipe("hl(chain(LL))", handled::<Topped<Chained<B<L>>>>, STEPS, false, true),
        recipe("hl(retries(LL))", handled::<Topped<Retried<B<L>>>>, 1, true, true),
        recipe(
            "hl(chain(retries(LL)))",
            handled::<Topped<Chained<Retried<B<L>>>>>,
            STEPS,
            true,
            true,
        ),
        recipe("hl_cancel_all(pass_through(LL))", all::<Passed<B<L>>>, 1, false, false),
        recipe("hl_cancel_all(chain(LL))", all::<Chained<B<L>>>, STEPS, false, false),
        recipe("hl_cancel_all(retries(LL))", all::<Retried<B<L>>>, 1, true, false),
        recipe(
            "hl_cancel_all(chain(retries(LL)))",
            all::<Chained<Retried<B<L>>>>,
            STEPS,
            true,
            false,
        ),
    ]
}

/// All 26 compositions.
pub fn compositions<R: Drive>() -> Vec<Recipe> {
    let mut all = over::<Real<R::Socket>>(false);
    all.extend(compositions_of_work());
    all
}

/// The 13 compositions that work on threads.
pub fn compositions_of_work() -> Vec<Recipe> {
    over::<Fake>(true)
}

/// The 13 compositions that read from sockets, over TCP.
pub fn compositions_over_tcp() -> Vec<Recipe> {
    over::<Real<TcpStream>>(false)
}

/// The compositions whose operations have handles.
pub fn with_handles<R: Drive>() -> impl Iterator<Item = Recipe> {
    compositions::<R>().into_iter().filter(|recipe| recipe.handles)
}

/// The compositions that are canceled by closing them.
pub fn canceled_by_closing<R: Drive>() -> impl Iterator<Item = Recipe> {
    compositions::<R>().into_iter().filter(|recipe| !recipe.handles)
}

/// The compositions that repeat retryable failures.
pub fn with_retries<R: Drive>() -> impl Iterator<Item = Recipe> {
    compositions::<R>().into_iter().filter(|recipe| recipe.retries)
}
