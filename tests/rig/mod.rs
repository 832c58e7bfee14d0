//! The 26 compositions of the samples, each driven by a script: how its lowest operations end, one
//! after the other, and whether each is ready at once or later.

#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::marker::PhantomData;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use switchboard::op::{AsyncOp, OpError, OpResult};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{
    Chain, Closed, Hl, HlCancelAll, LlFakeCancel, LlRealCancel, MlChain, MlPassThrough, MlRetries,
    Module, Next, Read, Received, Retry, RetryPolicy, StartError, Work,
};
use switchboard::{Address, Callback};

/// How a lowest operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answer(u8),
    Retryable,
    Failed,
}

/// When a lowest operation is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    AtOnce,
    Later,
}

/// How an operation of a whole composition ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The answers of its lowest operations that succeeded.
    Answer(Vec<u8>),
    Canceled,
    Dropped,
    NotStarted,
    Retryable,
    Failed,
}

/// The steps of every chain.
pub(crate) const STEPS: usize = 3;

/// Makes a lowest operation ready.
pub(crate) type Trigger = Box<dyn FnOnce()>;

/// What is still to be played, and the triggers of lowest operations that wait for theirs.
#[derive(Clone, Default)]
pub(crate) struct Script {
    lines: Rc<RefCell<VecDeque<(End, When)>>>,
    triggers: Rc<RefCell<VecDeque<Trigger>>>,
}

impl Script {
    pub(crate) fn new(lines: impl IntoIterator<Item = (End, When)>) -> Self {
        let lines = Rc::new(RefCell::new(lines.into_iter().collect()));
        Self { lines, ..Self::default() }
    }

    /// Makes the lowest operation ready that has waited longest; false if none waits.
    pub(crate) fn trigger(&self) -> bool {
        let trigger = self.triggers.borrow_mut().pop_front();
        trigger.map(|trigger| trigger()).is_some()
    }

    /// Lowest operations not started yet.
    pub(crate) fn left(&self) -> usize {
        self.lines.borrow().len()
    }

    fn next<L: Low>(&self) -> <L::Module as Module>::Request {
        let (end, when) = self.lines.borrow_mut().pop_front().expect("the script goes on");
        let (request, trigger) = L::request(end);
        match when {
            When::AtOnce => trigger(),
            When::Later => self.triggers.borrow_mut().push_back(trigger),
        }
        request
    }
}

/// A lowest layer.
pub(crate) trait Low: 'static {
    type Module: Module + 'static;
    fn module(reactor: &ReactorHandle) -> Self::Module;
    fn request(end: End) -> (<Self::Module as Module>::Request, Trigger);
    fn value(answer: <Self::Module as Module>::Answer) -> u8;
}

/// Reads from sockets.
pub(crate) struct Real;

/// A socket whose peer can make it fail, with bytes of a meaning.
#[derive(Debug)]
pub(crate) struct Wire(mio::net::TcpStream);

const RETRYABLE: u8 = 0xFE;
const FAILED: u8 = 0xFF;

impl io::Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        match buffer.first() {
            Some(&RETRYABLE) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(&FAILED) => Err(io::ErrorKind::InvalidData.into()),
            _ => Ok(read),
        }
    }
}

impl Source for Wire {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.0.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.0.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.deregister(registry)
    }
}

impl Low for Real {
    type Module = LlRealCancel<Wire>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        LlRealCancel::new(reactor)
    }

    fn request(end: End) -> (Read<Wire>, Trigger) {
        let (ours, mut theirs) = pair().expect("a pair of sockets");
        let byte = match end {
            End::Answer(value) => value,
            End::Retryable => RETRYABLE,
            End::Failed => FAILED,
        };
        let source = Wire(mio::net::TcpStream::from_std(ours));
        // The peer may be gone: then the read was canceled.
        let trigger = move || drop(theirs.write_all(&[byte]));
        (Read { source, limit: 1 }, Box::new(trigger))
    }

    fn value(answer: Received<Wire>) -> u8 {
        answer.bytes[0]
    }
}

/// A connected pair of loopback sockets; the first one does not block.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    static LISTENER: OnceLock<Mutex<TcpListener>> = OnceLock::new();
    let listener = LISTENER
        .get_or_init(|| Mutex::new(TcpListener::bind("127.0.0.1:0").expect("a loopback port")));
    let listener = listener.lock().expect("no test panics here");
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// Works on threads.
pub(crate) struct Fake;

impl Low for Fake {
    type Module = LlFakeCancel<u8, io::Error>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        LlFakeCancel::new(reactor)
    }

    fn request(end: End) -> (Work<u8, io::Error>, Trigger) {
        let (trigger, triggered) = channel();
        let work = move || {
            // A real blocking call. A trigger that is dropped counts too.
            let _: Result<(), _> = triggered.recv();
            match end {
                End::Answer(value) => Ok(value),
                End::Retryable => Err(OpError::Retryable(io::ErrorKind::TimedOut.into())),
                End::Failed => Err(OpError::Failed(io::ErrorKind::InvalidData.into())),
            }
        };
        (Box::new(work), Box::new(move || drop(trigger.send(()))))
    }

    fn value(answer: u8) -> u8 {
        answer
    }
}

/// A stack of modules below the top, known by its type.
pub(crate) trait Shape: 'static {
    type Module: Module + 'static;
    fn module(reactor: &ReactorHandle) -> Self::Module;
    fn request(script: &Script) -> <Self::Module as Module>::Request;
    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8>;
}

pub(crate) struct Bottom<L>(PhantomData<L>);
pub(crate) struct Passed<S>(PhantomData<S>);
pub(crate) struct Chained<S>(PhantomData<S>);
pub(crate) struct Retried<S>(PhantomData<S>);
pub(crate) struct Topped<S>(PhantomData<S>);

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
    type Module = MlChain<S::Module, Vec<u8>>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        MlChain::new(reactor.queue(), S::module(reactor))
    }

    fn request(script: &Script) -> Chain<S::Module, Vec<u8>> {
        let first = S::request(script);
        let script = script.clone();
        let mut values = Vec::new();
        Chain::new(first, move |answer| {
            values.extend(S::values(answer));
            if values.len() == STEPS {
                Next::Done(std::mem::take(&mut values))
            } else {
                Next::Start(S::request(&script))
            }
        })
    }

    fn values(answer: Vec<u8>) -> Vec<u8> {
        answer
    }
}

impl<S: Shape> Shape for Retried<S> {
    type Module = MlRetries<S::Module>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        MlRetries::new(reactor, S::module(reactor), RetryPolicy::new())
    }

    fn request(script: &Script) -> Retry<<S::Module as Module>::Request> {
        let script = script.clone();
        Retry::new(move || S::request(&script))
    }

    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8> {
        S::values(answer)
    }
}

impl<S: Shape> Shape for Topped<S> {
    type Module = Hl<S::Module>;

    fn module(reactor: &ReactorHandle) -> Self::Module {
        Hl::new(reactor.queue(), S::module(reactor))
    }

    fn request(script: &Script) -> <Self::Module as Module>::Request {
        S::request(script)
    }

    fn values(answer: <Self::Module as Module>::Answer) -> Vec<u8> {
        S::values(answer)
    }
}

/// Who is told of outcomes: which operation, and how it ended, in order.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) outcomes: Rc<RefCell<Vec<(usize, Outcome)>>>,
    pub(crate) closed: Rc<RefCell<Vec<Closed>>>,
}

/// A composition, whatever its types.
pub(crate) trait Composition {
    fn open(&self);

    /// Closes it. Where that cancels, `recorder` is told once all is over.
    fn close(&self, recorder: &Address<Recorder>);

    /// Starts operation number `number`; false if the start was refused. The handle is missing
    /// where there is none for the user.
    fn start(
        &self,
        script: &Script,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()>;

    fn leftovers(&self) -> usize;
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
            Err(OpError::NotStarted(_)) => Outcome::NotStarted,
            Err(OpError::Retryable(_)) => Outcome::Retryable,
            Err(_) => Outcome::Failed,
        };
        recorder.outcomes.borrow_mut().push((number, outcome));
    })
}

/// One whose operations have handles.
struct Handled<S: Shape>(S::Module);

impl<S: Shape> Composition for Handled<S> {
    fn open(&self) {
        self.0.open();
    }

    fn close(&self, _: &Address<Recorder>) {
        self.0.close();
    }

    fn start(
        &self,
        script: &Script,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        let started = self.0.start(S::request(script), done(recorder, number, S::values));
        started.map(Some).map_err(|error: StartError<_>| drop(error.into_request()))
    }

    fn leftovers(&self) -> usize {
        self.0.leftovers()
    }
}

/// One that is canceled as a whole.
struct All<S: Shape>(HlCancelAll<S::Module>);

impl<S: Shape> Composition for All<S> {
    fn open(&self) {
        self.0.open();
    }

    fn close(&self, recorder: &Address<Recorder>) {
        self.0.close(recorder.callback(|recorder, _, closed| {
            recorder.closed.borrow_mut().push(closed);
        }));
    }

    fn start(
        &self,
        script: &Script,
        recorder: &Address<Recorder>,
        number: usize,
    ) -> Result<Option<AsyncOp>, ()> {
        let started = self.0.start(S::request(script), done(recorder, number, S::values));
        started.map(|()| None).map_err(|error| drop(error.into_request()))
    }

    fn leftovers(&self) -> usize {
        self.0.leftovers()
    }
}

/// How to make a composition, and what to expect of it.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&Reactor) -> Box<dyn Composition>,
    /// Lowest operations that must succeed for the whole to succeed.
    pub(crate) steps: usize,
    /// Whether retryable failures are repeated.
    pub(crate) retries: bool,
    /// Whether operations have handles; else closing cancels.
    pub(crate) handles: bool,
    /// Whether canceled operations leave something over.
    pub(crate) fake: bool,
}

impl Recipe {
    /// A script in which everything succeeds, as `when` says of each lowest operation in turn.
    pub(crate) fn success(&self, when: impl Fn(usize) -> When) -> Script {
        Script::new((0..self.steps).map(|step| (End::Answer(step as u8), when(step))))
    }

    /// What such a script comes to.
    pub(crate) fn answer(&self) -> Outcome {
        Outcome::Answer((0..self.steps as u8).collect())
    }
}

fn handled<S: Shape>(reactor: &Reactor) -> Box<dyn Composition> {
    Box::new(Handled::<S>(S::module(&reactor.handle())))
}

fn all<S: Shape>(reactor: &Reactor) -> Box<dyn Composition> {
    let handle = reactor.handle();
    Box::new(All::<S>(HlCancelAll::new(handle.queue(), S::module(&handle))))
}

/// The 13 compositions over one lowest layer.
fn over<L: Low>(fake: bool) -> Vec<Recipe> {
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
pub(crate) fn compositions() -> Vec<Recipe> {
    let mut all = over::<Real>(false);
    all.extend(over::<Fake>(true));
    all
}
