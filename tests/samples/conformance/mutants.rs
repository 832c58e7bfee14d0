//! A layer as users write theirs, and the mistakes that are made there: the kit finds each of them.

use std::cell::{Cell, RefCell};
use std::io::{self, Write as _};
use std::rc::Rc;

use mio::net::UnixStream;
use switchboard::conformance::{Conformance, Cue, Ending, Rule, Scenario, Timing};
use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Gate, Layer, LlFakeCancel, LlRealCancel, Lower, Module, Read, Socket, StartError, ThreadPool,
    Work,
};
use switchboard::{Callback, QueueHandle};

use super::impatient;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The cancel hook completes the operation, and leaves the one below.
    CancelsNothingBelow,
    /// Nothing is declined if the layer below refuses.
    ForgetsToDecline,
    /// The context owns its operation.
    OwnsItself,
    /// What was canceled as it started is not canceled below.
    MissesTheCancelInStart,
    /// It starts before open, and after close.
    HasNoGate,
}

/// Passes operations on, and keeps their handles, to cancel them as it closes.
struct Passing<L> {
    mistake: Mistake,
    queue: QueueHandle,
    gate: Gate,
    lower: L,
    started: RefCell<Vec<AsyncOp>>,
}

struct Context<A: 'static, E: 'static> {
    mistake: Mistake,
    lower: Lower,
    /// The handle below, kept without a look at the state.
    unchecked: RefCell<Option<AsyncOp>>,
    itself: Cell<Option<Operation<Self, A, E>>>,
}

impl<L: Module> Passing<L> {
    fn new(mistake: Mistake, reactor: &Reactor, lower: L) -> Self {
        let (queue, gate) = (reactor.queue().clone(), Gate::default());
        Self { mistake, queue, gate, lower, started: RefCell::default() }
    }
}

impl<L: Module> Module for Passing<L> {
    type Request = L::Request;
    type Answer = L::Answer;
    type Error = L::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::gated_on(&self.gate, &self.lower)
    }

    fn start(
        &self,
        request: L::Request,
        done: Callback<OpResult<L::Answer, L::Error>>,
    ) -> Result<AsyncOp, StartError<L::Request>> {
        let admitted = match self.mistake {
            Mistake::HasNoGate => Ok((request, done)),
            _ => self.gate.admit(request, done),
        };
        let (request, done) = admitted?;
        let context = Context {
            mistake: self.mistake,
            lower: Lower::default(),
            unchecked: RefCell::default(),
            itself: Cell::default(),
        };
        let op = Operation::new(done, context, cancel);
        self.started.borrow_mut().push(op.handle());
        let upper = op.clone();
        let passed = self.queue.callback(move |_, result| drop(upper.complete(result)));
        match (self.lower.start(request, passed), self.mistake) {
            (Ok(lower), Mistake::MissesTheCancelInStart) => {
                op.context().unchecked.replace(Some(lower));
            }
            (Ok(lower), _) => op.context().lower.set(lower, op.state()),
            (Err(error), Mistake::ForgetsToDecline) => return Err(error),
            (Err(error), _) => {
                op.decline("the layer below did not start");
                return Err(error);
            }
        }
        if self.mistake == Mistake::OwnsItself {
            op.context().itself.set(Some(op.clone()));
        }
        Ok(op.handle())
    }

    fn close(&self) {
        self.gate.close();
        let started = self.started.take();
        started.iter().for_each(|op| _ = op.cancel());
    }
}

fn cancel<A, E>(op: &Operation<Context<A, E>, A, E>) {
    if op.context().mistake == Mistake::CancelsNothingBelow {
        return drop(op.complete(Err(OpError::Canceled)));
    }
    op.context().lower.cancel();
    let unchecked = op.context().unchecked.borrow().clone();
    unchecked.iter().for_each(|lower| _ = lower.cancel());
}

/// Checks all scenarios, or one. A mistake that lets the kit wait for what never comes is looked for in
/// one, impatiently; in the others threads complete, for which a busy machine may need long.
fn check<M, Q, T>(
    one: Option<Scenario>,
    make: impl Fn(&Reactor) -> (M, Q),
) -> Option<(Rule, Scenario)>
where
    M: Module + 'static,
    Q: Fn(Timing) -> (M::Request, T) + 'static,
    T: FnOnce() + 'static,
{
    let checked = match one {
        None => Conformance::new().sizes([1, 2]).check_module(make),
        Some(scenario) => impatient().check_one_of_module(scenario, make),
    };
    checked.err().map(|violation| (violation.rule, violation.scenario))
}

/// What is found over reads, and over work that cannot be canceled.
fn findings(mistake: Mistake, one: Option<Scenario>) -> [Option<(Rule, Scenario)>; 2] {
    let reads = check(one, |reactor| {
        let handle = reactor.handle();
        (Passing::new(mistake, reactor, LlRealCancel::new()), move |ready| {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
            if ready == Timing::AtOnce {
                theirs.write_all(b"x").expect("room");
            }
            let from = Socket::stream(&handle, ours).expect("registered");
            (Read { from, limit: 8 }, move || drop(theirs.write_all(b"x")))
        })
    });
    let works = check(one, |reactor| {
        let works = LlFakeCancel::new(&reactor.handle(), &ThreadPool::new(4));
        (Passing::new(mistake, reactor, works), |ready| {
            let (end, ends) = std::sync::mpsc::channel::<()>();
            let work = move || {
                if ready == Timing::Later {
                    let _ = ends.recv();
                }
                Ok(5_u32)
            };
            (Box::new(work) as Work<u32, io::Error>, move || drop(end))
        })
    });
    [reads, works]
}

#[track_caller]
fn found(mistake: Mistake, rule: Rule, moment: Cue) {
    let moments = findings(mistake, None).map(|found| found.map(|(rule, at)| (rule, at.moment)));
    assert_eq!(moments, [Some((rule, moment)); 2], "{mistake:?}");
}

#[track_caller]
fn found_in(mistake: Mistake, rule: Rule, scenario: Scenario) {
    assert_eq!(findings(mistake, Some(scenario)), [Some((rule, scenario)); 2], "{mistake:?}");
}

#[test]
fn a_layer_without_a_mistake_passes() {
    assert_eq!(findings(Mistake::None, None), [None; 2]);
}

#[test]
fn o3_a_cancel_that_is_not_passed_on_is_caught_even_if_the_operation_completes() {
    let scenario = super::scenario(Ending::Cancel, Cue::Waiting, Timing::Later, 1);
    found_in(Mistake::CancelsNothingBelow, Rule::O3, scenario);
}

#[test]
fn o1_a_callback_that_is_not_declined_as_the_layer_below_refuses_is_caught() {
    found(Mistake::ForgetsToDecline, Rule::O1, Cue::After);
}

#[test]
fn r7_an_operation_that_owns_itself_and_nothing_else_is_caught() {
    found(Mistake::OwnsItself, Rule::R7, Cue::Waiting);
}

#[test]
fn o3_a_cancel_during_the_start_that_is_not_passed_on_is_caught() {
    let scenario = super::scenario(Ending::Cancel, Cue::Starting, Timing::Later, 1);
    found_in(Mistake::MissesTheCancelInStart, Rule::O3, scenario);
}

#[test]
fn a_layer_that_starts_without_looking_at_its_gate_is_caught() {
    found(Mistake::HasNoGate, Rule::Subject, Cue::Waiting);
}

/// A module that is always open.
struct Bells;

/// What rings: an operation that runs, if any.
type Bell = Rc<Cell<Option<Operation<(), u32, io::Error>>>>;

fn ring(bell: &Bell) {
    if let Some(op) = bell.take() {
        drop(op.complete(Ok(7)));
    }
}

impl Module for Bells {
    type Request = (Timing, Bell);
    type Answer = u32;
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::ungated()
    }

    fn start(
        &self,
        (ready, bell): (Timing, Bell),
        done: Callback<OpResult<u32, io::Error>>,
    ) -> Result<AsyncOp, StartError<(Timing, Bell)>> {
        let op = Operation::new(done, (), |op| drop(op.complete(Err(OpError::Canceled))));
        let handle = op.handle();
        bell.set(Some(op));
        if ready == Timing::AtOnce {
            ring(&bell);
        }
        Ok(handle)
    }
}

fn request(ready: Timing) -> ((Timing, Bell), impl FnOnce()) {
    let bell = Bell::default();
    ((ready, Rc::clone(&bell)), move || ring(&bell))
}

/// It was refused, as its starts succeed before open.
#[test]
fn a_module_that_is_always_open_passes_and_so_does_a_layer_without_a_gate_on_it() {
    struct Converting(Bells);

    impl Module for Converting {
        type Request = (Timing, Bell);
        type Answer = u32;
        type Error = io::Error;

        fn layer(&self) -> Layer<'_> {
            Layer::on(&self.0)
        }

        fn start(
            &self,
            request: (Timing, Bell),
            done: Callback<OpResult<u32, io::Error>>,
        ) -> Result<AsyncOp, StartError<(Timing, Bell)>> {
            self.0.start(request, done)
        }
    }

    let kit = Conformance::new().sizes([1, 2]);
    let alone = kit.check_module(|_| (Bells, request)).expect("it keeps the rules");
    let below = kit.check_module(|_| (Converting(Bells), request)).expect("it keeps the rules");
    assert_eq!((alone.scenarios, below.scenarios), (32, 32));
    // One scenario, as for a subject.
    let scenario = super::scenario(Ending::Cancel, Cue::Waiting, Timing::Later, 2);
    let one = kit.check_one_of_module(scenario, |_| (Bells, request)).expect("as before");
    assert_eq!((one.scenarios, one.operations), (1, 2));
}
