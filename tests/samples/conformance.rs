//! The conformance kit: it passes the samples in all 26 compositions and a module as users write
//! theirs, and names the rule and the scenario for each way to be wrong.

mod around;
mod faulty;
mod mutants;
mod timed_read;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use faulty::{Bell, Fault};
use mio::net::{TcpStream, UnixStream};
use support::descriptors::claim;
use support::rig::{
    Bottom, Chained, End, Fake, Low, Passed, Real, Retried, STEPS, Script, Shape, Topped, When,
};
use switchboard::conformance::Cue::{After, BeforeOpen, Completing, InHandler, Waiting};
use switchboard::conformance::Ending::{Cancel, Complete};
use switchboard::conformance::Timing::{AtOnce, Later};
use switchboard::conformance::{
    Conformance, Cue, Ending, Rule, Scenario, Started, Subject, Timing, Violation,
};
use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::reactor::Reactor;
use switchboard::samples::{HlCancelAll, Module};
use switchboard::{Callback, QueueHandle};
use timed_read::TimedRead;

/// How many operations started in the scenarios of one size: all but those of two scenarios, in
/// which all are refused.
const STARTED: usize = 20 - 2;

#[test]
fn the_compositions_that_read_from_sockets_pass() {
    let claim = claim(2 * 1000); // a pair each
    let sizes = [1, 2, claim.count() / 2];
    lowest::<Real<UnixStream>>(&sizes);
    higher::<Real<UnixStream>>(&sizes);
}

#[test]
fn the_compositions_that_read_from_sockets_and_are_canceled_by_closing_pass() {
    let claim = claim(2 * 1000);
    canceled_by_closing::<Real<UnixStream>>(&[1, 2, claim.count() / 2]);
}

#[test]
fn the_compositions_that_read_from_tcp_sockets_pass() {
    lowest::<Real<TcpStream>>(&[1, 2, 20]);
    higher::<Real<TcpStream>>(&[1, 2, 20]);
    canceled_by_closing::<Real<TcpStream>>(&[1, 2, 20]);
}

/// A thousand threads at a time take their time: the layers above make do with fewer.
#[test]
fn the_compositions_that_work_on_threads_pass() {
    let claim = claim(2 * 1000);
    let most = claim.count() / 2;
    lowest::<Fake>(&[1, 2, most]);
    higher::<Fake>(&[1, 2, most.min(100)]);
    canceled_by_closing::<Fake>(&[1, 2, most.min(100)]);
}

#[test]
fn a_module_of_a_user_passes() {
    let claim = claim(2 * 1000);
    passes(&[1, 2, claim.count() / 2], |reactor| TimedRead::new(reactor.handle()));
}

#[test]
fn operations_that_fail_pass() {
    for end in [End::Failed, End::Retryable] {
        passes(&[1, 2], |reactor| Handled::<Bottom<Real<UnixStream>>> {
            module: Real::module(&reactor.handle()),
            script: Box::new(move |ready| Script::new([(end, when(ready))])),
        });
    }
}

#[test]
fn a_function_that_is_always_open_passes_without_the_scenarios_before_open() {
    let report = Conformance::new().check(|_| Function).unwrap();
    assert_eq!((report.scenarios, report.operations), (48, 16 * 1003));
}

#[test]
fn a_module_whose_operations_go_on_once_it_is_closed_passes_without_handles() {
    passes(&[1, 2], |reactor| Listed::new(false, false, reactor));
}

#[test]
fn a_module_whose_operations_are_canceled_at_once_as_it_is_closed_passes() {
    for has_handles in [true, false] {
        passes(&[1, 2], |reactor| Listed::new(has_handles, true, reactor));
    }
}

#[test]
fn a_module_without_fault_passes() {
    passes(&[0, 1, 2, 1000], |reactor| Bell::new(Fault::None, reactor));
}

#[test]
fn o1_a_callback_that_never_comes_is_caught() {
    let first = scenario(Complete, Waiting, AtOnce, 1);
    caught(Fault::NeverCompletes, Rule::O1, first);
    caught(Fault::KeepsTheCallback, Rule::O1, first);
    caught(Fault::ForgetsTheCallback, Rule::O1, first);
    caught(Fault::DeclinesTheCallback, Rule::O1, first);
    caught(Fault::LosesTheOperation, Rule::O1, scenario(Complete, Waiting, Later, 1));
}

#[test]
fn o1_a_callback_of_a_failed_start_is_caught() {
    let first = scenario(Complete, Waiting, AtOnce, 1);
    caught(Fault::AnswersAFailedStart, Rule::O1, first);
    caught(Fault::AnswersAFailedStartAfterwards, Rule::O1, first);
    caught(Fault::ForgetsTheCallbackOfAFailedStart, Rule::O1, first);
}

#[test]
fn o2_a_callback_inside_start_is_caught() {
    caught(Fault::DialsInStart, Rule::O2, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn o2_a_callback_inside_cancel_is_caught() {
    caught(Fault::DialsInCancel, Rule::O2, scenario(Cancel, Waiting, Later, 1));
}

#[test]
fn o3_a_cancel_that_is_ignored_is_caught() {
    let first = scenario(Cancel, Waiting, Later, 1);
    caught(Fault::IgnoresCancel, Rule::O3, first);
    caught(Fault::NeverCompletesOnceCanceled, Rule::O3, first);
    caught(Fault::HasNoHandleAndDoesNotCancelAll, Rule::O3, first);
}

#[test]
fn o3_a_handle_of_something_else_is_caught() {
    caught(Fault::GivesAnotherHandle, Rule::O3, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn o4_a_handle_that_cancels_another_operation_is_caught() {
    caught(Fault::CancelsTheFirst, Rule::O4, scenario(Cancel, Waiting, Later, 2));
    let bell = |reactor: &Reactor| Bell::new(Fault::CancelsTheLast, reactor);
    let violation = impatient().sizes([3]).check(bell).unwrap_err();
    assert_eq!(violation.scenario, scenario(Cancel, Waiting, Later, 3), "{violation}");
}

#[test]
fn o3_a_cancel_that_is_late_and_does_not_say_so_is_caught() {
    for moment in [Completing, InHandler, After] {
        for ready in [AtOnce, Later] {
            let scenario = scenario(Cancel, moment, ready, 2);
            let bell = |reactor: &Reactor| Bell::new(Fault::GivesAnotherHandle, reactor);
            let violation = impatient().check_one(scenario, bell).unwrap_err();
            assert_eq!((violation.scenario, violation.rule), (scenario, Rule::O3), "{violation}");
            assert!(violation.seen.contains("returned Canceled where Late is due"), "{violation}");
        }
    }
}

#[test]
fn o4_a_result_of_a_canceled_operation_is_caught() {
    caught(Fault::CompletesWhenCanceled, Rule::O4, scenario(Cancel, Waiting, Later, 1));
}

#[test]
fn o4_a_late_cancel_that_changes_the_result_is_caught() {
    let bell = |reactor: &Reactor| Bell::new(Fault::IsCanceledTooLate, reactor);
    let violation = impatient().check_one(scenario(Cancel, Waiting, AtOnce, 1), bell).unwrap_err();
    assert_eq!(violation.rule, Rule::O4, "{violation}");
}

#[test]
fn o5_an_operation_that_no_one_canceled_is_caught() {
    caught(Fault::CancelsByItself, Rule::O5, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn r2_a_call_to_a_live_recipient_is_caught() {
    caught(Fault::CallsARecipientThatIsLive, Rule::R2, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn r5_an_abandoned_callback_is_caught() {
    let first = scenario(Complete, Waiting, AtOnce, 1);
    caught(Fault::DropsTheCallback, Rule::R5, first);
    caught(Fault::DropsTheCallbackOfAFailedStart, Rule::R5, first);
    caught(Fault::AbandonsACallbackOfItsOwn, Rule::R5, first);
}

#[test]
fn r11_an_operation_that_owns_itself_is_caught() {
    caught(Fault::OwnsItself, Rule::R11, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn r11_a_reactor_that_is_kept_is_caught_also_if_its_clock_is_set() {
    caught(Fault::KeepsTheReactor, Rule::R11, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn r11_a_queue_that_is_kept_is_caught() {
    caught(Fault::KeepsTheQueue, Rule::R11, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn m6_a_remote_that_is_kept_is_caught_as_the_loop_would_not_end() {
    caught(Fault::KeepsARemote, Rule::M6, scenario(Complete, Waiting, AtOnce, 1));
}

#[test]
fn patience_may_have_no_end() {
    let patient = Conformance::new().sizes([1]).patience(Duration::MAX);
    assert!(patient.check(|reactor| Bell::new(Fault::None, reactor)).is_ok());
}

#[test]
fn r12_calls_left_are_caught() {
    let first = scenario(Complete, Waiting, AtOnce, 1);
    caught(Fault::LeavesACallback, Rule::R12, first);
    caught(Fault::CallsWithoutEnd, Rule::R12, first);
}

#[test]
fn m4_a_registration_left_is_caught() {
    let first = scenario(Complete, Waiting, AtOnce, 1);
    caught(Fault::LeavesARegistration, Rule::M4, first);
    caught(Fault::ForgetsARegistration, Rule::M4, first);
    caught(Fault::LeavesARegistrationWhenCanceled, Rule::M4, scenario(Cancel, Waiting, Later, 1));
}

#[test]
fn m7_a_timer_left_is_caught() {
    let first = scenario(Complete, Waiting, AtOnce, 1);
    caught(Fault::LeavesATimer, Rule::M7, first);
    caught(Fault::LeavesATimerBehindItself, Rule::M7, first);
}

#[test]
fn a_subject_that_is_open_when_it_should_not_be_or_the_other_way_round_is_caught() {
    let first = scenario(Complete, Waiting, AtOnce, 1);
    caught(Fault::RefusesWhileOpen, Rule::Subject, first);
    caught(Fault::AcceptsAfterClose, Rule::Subject, first);
    let before_open = scenario(Complete, BeforeOpen, AtOnce, 1);
    caught(Fault::AcceptsBeforeOpen, Rule::Subject, before_open);
}

#[test]
fn a_subject_that_is_ready_when_it_should_not_be_is_caught() {
    caught(Fault::CompletesTooSoon, Rule::Subject, scenario(Complete, Waiting, Later, 1));
    caught(Fault::GivesNoTrigger, Rule::Subject, scenario(Complete, Waiting, Later, 1));
}

/// A callback cannot be answered twice, as answering uses it up. This is the nearest to it.
#[test]
fn a_completion_that_answers_the_callback_of_another_operation_is_caught() {
    caught(Fault::CompletesTheOther, Rule::Subject, scenario(Complete, Waiting, Later, 2));
}

#[test]
fn a_violation_names_all() {
    let bell = |reactor: &Reactor| Bell::new(Fault::NeverCompletesOnceCanceled, reactor);
    let violation = impatient().sizes([3]).check(bell).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "rule O3 broken, scenario \"cancel while waiting, ready later, 3 at a time\": 3 of 3 \
         operations never completed, though canceled; operation 0 is the first",
    );
}

#[test]
fn a_panic_of_the_subject_passes_through() {
    let bell = |reactor: &Reactor| Bell::new(Fault::Panics, reactor);
    let panic = catch_unwind(AssertUnwindSafe(|| Conformance::new().check(bell))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the bell has cracked"));
}

/// Checks a subject that keeps all rules.
#[track_caller]
fn passes<S: Subject>(sizes: &[usize], make: impl Fn(&Reactor) -> S) {
    match Conformance::new().sizes(sizes.iter().copied()).check(make) {
        Ok(report) => {
            assert_eq!(report.scenarios, 20 * sizes.len() + 1);
            assert_eq!(report.operations, STARTED * sizes.iter().sum::<usize>());
        }
        Err(violation) => panic!("{}: {violation}", std::any::type_name::<S>()),
    }
}

/// Checks that a fault is noticed, and first in the scenario given.
#[track_caller]
fn caught(fault: Fault, rule: Rule, scenario: Scenario) {
    let bell = |reactor: &Reactor| Bell::new(fault, reactor);
    let violation = match impatient().check(bell) {
        Ok(report) => panic!("{fault:?} is not caught in {report:?}"),
        Err(violation) => violation,
    };
    let Violation { rule: broken, scenario: seen_in, .. } = &violation;
    assert_eq!((*broken, *seen_in), (rule, scenario), "{fault:?}: {violation}");
    // It is caught alone, too.
    let again = impatient().check_one(scenario, bell).map_err(|violation| violation.rule);
    assert_eq!(again, Err(rule), "{fault:?}");
}

/// For modules that cannot be stalled by anybody else.
fn impatient() -> Conformance {
    Conformance::new().sizes([1, 2]).patience(Duration::from_millis(50))
}

const fn scenario(ending: Ending, moment: Cue, ready: Timing, operations: usize) -> Scenario {
    Scenario { ending, moment, ready, operations }
}

/// Checks a lowest layer.
#[track_caller]
fn lowest<L: Low>(sizes: &[usize]) {
    handled::<Bottom<L>>(sizes, 1, false);
}

/// Checks the 8 compositions on top of it whose operations have handles.
#[track_caller]
fn higher<L: Low>(sizes: &[usize]) {
    handled::<Passed<Bottom<L>>>(sizes, 1, false);
    handled::<Chained<Bottom<L>>>(sizes, STEPS, false);
    handled::<Retried<Bottom<L>>>(sizes, 1, true);
    handled::<Chained<Retried<Bottom<L>>>>(sizes, STEPS, true);
    handled::<Topped<Passed<Bottom<L>>>>(sizes, 1, false);
    handled::<Topped<Chained<Bottom<L>>>>(sizes, STEPS, false);
    handled::<Topped<Retried<Bottom<L>>>>(sizes, 1, true);
    handled::<Topped<Chained<Retried<Bottom<L>>>>>(sizes, STEPS, true);
}

/// Checks the 4 compositions on top of it whose operations have none.
#[track_caller]
fn canceled_by_closing<L: Low>(sizes: &[usize]) {
    all::<Passed<Bottom<L>>>(sizes, 1, false);
    all::<Chained<Bottom<L>>>(sizes, STEPS, false);
    all::<Retried<Bottom<L>>>(sizes, 1, true);
    all::<Chained<Retried<Bottom<L>>>>(sizes, STEPS, true);
}

#[track_caller]
fn handled<S: Shape>(sizes: &[usize], steps: usize, retried: bool) {
    passes(sizes, |reactor| Handled::<S> {
        module: S::module(&reactor.handle()),
        script: script(steps, retried),
    });
}

#[track_caller]
fn all<S: Shape>(sizes: &[usize], steps: usize, retried: bool) {
    passes(sizes, |reactor| All::<S> {
        module: HlCancelAll::new(reactor.queue(), S::module(&reactor.handle())),
        queue: reactor.queue().clone(),
        script: script(steps, retried),
    });
}

/// How the lowest operations of one operation end.
type MakeScript = Box<dyn Fn(Timing) -> Script>;

/// Each step succeeds, the first after a failure if that is repeated. The first lowest operation is
/// ready as asked for, the others are at once.
fn script(steps: usize, retried: bool) -> MakeScript {
    Box::new(move |ready| {
        let failures = retried.then_some(End::Retryable).into_iter();
        let ends = failures.chain((0..steps).map(|step| End::Answer(step as u8)));
        let whens = std::iter::once(when(ready)).chain(std::iter::repeat(When::AtOnce));
        Script::new(ends.zip(whens))
    })
}

const fn when(ready: Timing) -> When {
    match ready {
        AtOnce => When::AtOnce,
        Later => When::Later,
    }
}

/// Makes the first lowest operation ready, unless it was.
fn trigger(script: Script) -> impl FnOnce() {
    move || {
        let _ = script.trigger();
    }
}

/// A composition whose operations have handles.
struct Handled<S: Shape> {
    module: S::Module,
    script: MakeScript,
}

impl<S: Shape> Subject for Handled<S> {
    type Answer = <S::Module as Module>::Answer;
    type Error = <S::Module as Module>::Error;

    fn open(&self) {
        self.module.open();
    }

    fn close(&self) {
        self.module.close();
    }

    fn leftovers(&self) -> usize {
        self.module.leftovers()
    }

    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<Started, Box<dyn Error>> {
        let script = (self.script)(ready);
        let started = self.module.start(S::request(&script), done);
        let op = started.map_err(|error| error.map(drop))?;
        Ok(Started::new(op).with_trigger(trigger(script)))
    }
}

/// A composition that is canceled by closing it.
struct All<S: Shape> {
    module: HlCancelAll<S::Module>,
    queue: QueueHandle,
    script: MakeScript,
}

impl<S: Shape> Subject for All<S> {
    type Answer = <S::Module as Module>::Answer;
    type Error = <S::Module as Module>::Error;

    fn open(&self) {
        self.module.open();
    }

    fn close(&self) {
        self.module.close_with(self.queue.callback(|_, _| ()));
    }

    fn leftovers(&self) -> usize {
        self.module.leftovers()
    }

    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<Self::Answer, Self::Error>>,
    ) -> Result<Started, Box<dyn Error>> {
        let script = (self.script)(ready);
        let started = self.module.start(S::request(&script), done);
        started.map_err(|error| error.map(drop))?;
        Ok(Started::without_handle().with_trigger(trigger(script)))
    }
}

/// A start function without a module, which nothing opens or closes.
struct Function;

impl Subject for Function {
    type Answer = ();
    type Error = Infallible;

    fn is_gated(&self) -> bool {
        false
    }

    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<(), Infallible>>,
    ) -> Result<Started, Box<dyn Error>> {
        let op = Operation::new(done, (), |op| drop(op.complete(Err(OpError::Canceled))));
        let started = Started::new(op.handle());
        if ready == AtOnce {
            drop(op.complete(Ok(())));
        }
        Ok(started.with_trigger(move || drop(op.complete(Ok(())))))
    }
}

/// A module that has a list of its operations, to cancel all.
struct Listed {
    has_handles: bool,
    /// To close it cancels all, at once; or lets them go on.
    is_canceled_by_close: bool,
    queue: QueueHandle,
    is_open: Cell<bool>,
    running: RefCell<Vec<AsyncOp>>,
}

impl Listed {
    fn new(has_handles: bool, is_canceled_by_close: bool, reactor: &Reactor) -> Self {
        let (queue, is_open) = (reactor.queue().clone(), Cell::default());
        Self { has_handles, is_canceled_by_close, queue, is_open, running: RefCell::default() }
    }
}

impl Subject for Listed {
    type Answer = ();
    type Error = Infallible;

    fn open(&self) {
        self.is_open.set(true);
    }

    fn close(&self) {
        self.is_open.set(false);
        if self.is_canceled_by_close {
            self.cancel_all();
        }
    }

    fn cancel_all(&self) {
        for op in self.running.take() {
            let _ = op.cancel();
        }
    }

    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<(), Infallible>>,
    ) -> Result<Started, Box<dyn Error>> {
        if !self.is_open.get() {
            done.decline("not open");
            return Err("not open".into());
        }
        let op = Operation::new(done, (), |op| drop(op.complete(Err(OpError::Canceled))));
        let handle = op.handle();
        self.running.borrow_mut().push(handle.clone());
        self.queue.callback(|_, ()| ()).decline("a step once it is in the list");
        if ready == AtOnce {
            drop(op.complete(Ok(())));
        }
        let started =
            if self.has_handles { Started::new(handle) } else { Started::without_handle() };
        Ok(started.with_trigger(move || drop(op.complete(Ok(())))))
    }
}
