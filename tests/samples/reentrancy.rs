//! Hazard: a cancel that comes while a module is busy with the operation, from code that it calls.
//! All regressions: the cancel was taken note of, but did not reach what the module started then.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use mio::net::UnixStream;
use support::manual::retrying::{self, Bench};
use support::manual::{self, Before, Manual, Outcomes, check_over};
use switchboard::op::{AsyncOp, OpError};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Chain, Closed, HlCancelAll, LlRealCancel, MlChain, MlRetries, Module, Next, Read, Retry,
    RetryPolicy, Socket,
};
use switchboard::{CallId, CallQueue, Callback, Observer, OpStep, Step};

const AGAIN: manual::Result = Err(OpError::Retryable("again"));

/// The handle of an operation, for code of its own.
type Own = Rc<RefCell<Option<AsyncOp>>>;

fn cancel(own: &Own) {
    if let Some(op) = &*own.borrow() {
        let _ = op.cancel();
    }
}

/// The timer was armed all the same, and the outcome reported when it was due.
#[test]
fn a_cancel_within_backoff_is_reported_at_once() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let own = Own::default();
    let inside = Rc::clone(&own);
    let policy = RetryPolicy::new().backoff(move |_| {
        cancel(&inside);
        Duration::from_secs(3600)
    });
    let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
    module.open();
    let outcomes = Outcomes::new(queue);
    own.replace(Some(module.start(Retry::new(|_, _| 1), outcomes.done()).expect("it is open")));
    lower.complete(AGAIN);
    queue.dial_all();
    assert_eq!(reactor.handle().timer_count(), 0);
    assert!(matches!(outcomes.only(), Err(OpError::Canceled)));
}

#[test]
fn a_cancel_within_the_choice_of_failures_is_reported_at_once() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let own = Own::default();
    let inside = Rc::clone(&own);
    let policy = RetryPolicy::new().backoff(|_| Duration::from_secs(3600)).after(move |_| {
        cancel(&inside);
        true
    });
    let module = MlRetries::new(&reactor.handle(), lower.clone(), policy);
    module.open();
    let outcomes = Outcomes::new(queue);
    own.replace(Some(module.start(Retry::new(|_, _| 1), outcomes.done()).expect("it is open")));
    lower.complete(AGAIN);
    queue.dial_all();
    assert_eq!(reactor.handle().timer_count(), 0);
    assert!(matches!(outcomes.only(), Err(OpError::Canceled)));
}

/// The cancel, while the next step was started, went to the step before, too late.
#[test]
fn a_cancel_within_the_start_of_a_step_reaches_that_step() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let retries = MlRetries::new(&reactor.handle(), lower.clone(), RetryPolicy::new().at_once());
    let module = MlChain::new(queue, retries);
    module.open();
    let outcomes = Outcomes::<u32>::new(queue);
    let own = Own::default();
    let inside = Rc::clone(&own);
    let request = Chain::new(
        |lower| lower,
        Retry::new(|_, _| 1),
        move |_: manual::Result| {
            let second = Retry::new(move |_, _| {
                cancel(&inside);
                2
            });
            let then = |answer: manual::Result| answer.map(Next::Done);
            Ok(Next::Start(Chain::new(|lower| lower, second, then)))
        },
    );
    own.replace(Some(module.start(request, outcomes.done()).expect("it is open")));
    lower.complete(Ok(7));
    queue.dial_all();
    assert_eq!(lower.running(), 0, "canceled, or never started");
    assert!(matches!(outcomes.only(), Err(OpError::Canceled)));
    check_over(queue);
}

/// The same for retries of retries.
#[test]
fn a_cancel_within_the_start_of_an_attempt_reaches_that_attempt() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Manual::default();
    let once = RetryPolicy::new().at_once().attempts(1);
    let inner = MlRetries::new(&reactor.handle(), lower.clone(), once);
    let module = MlRetries::new(&reactor.handle(), inner, RetryPolicy::new().at_once());
    module.open();
    let outcomes = Outcomes::new(queue);
    let own = Own::default();
    let inside = Rc::clone(&own);
    let request = Retry::new(move |_, _| {
        let inside = Rc::clone(&inside);
        Retry::new(move |_, _| {
            cancel(&inside);
            1
        })
    });
    own.replace(Some(module.start(request, outcomes.done()).expect("it is open")));
    lower.complete(AGAIN);
    queue.dial_all();
    assert_eq!(lower.running(), 0, "canceled, or never started");
    assert!(matches!(outcomes.only(), Err(OpError::Canceled)));
    check_over(queue);
}

/// The registration was put back into an operation that was over, and stayed.
#[test]
fn a_cancel_within_the_read_deregisters_the_source() {
    let mut reactor = Reactor::new().expect("a reactor");
    let module = LlRealCancel::new();
    module.open();
    let (socket, mut peer) = UnixStream::pair().expect("a pair of sockets");
    io::Write::write_all(&mut peer, b"x").expect("room");
    let own = Own::default();
    let source = Canceling { socket, own: Rc::clone(&own) };
    let from = Socket::stream(&reactor.handle(), source).map_err(drop).expect("registered");
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let delivered = Rc::clone(&outcomes);
    let done = reactor.queue().callback(move |_, result| delivered.borrow_mut().push(result));
    own.replace(Some(module.start(Read { from, limit: 1 }, done).expect("it is open")));
    let _ = reactor.turn(None).expect("a turn");
    assert!(matches!(outcomes.take()[..], [Err(OpError::Canceled)]));
    assert_eq!(reactor.handle().registration_count(), 0);
}

struct Canceling {
    socket: UnixStream,
    own: Own,
}

impl io::Read for Canceling {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        cancel(&self.own);
        Err(io::ErrorKind::WouldBlock.into())
    }
}

support::source_by!(Canceling, socket);

/// Cancels an operation when it is notified of such a step or, if `at_waits`, of what an operation waits
/// for.
struct Canceler {
    own: Own,
    at: fn(&Step) -> bool,
    at_waits: bool,
}

impl Observer for Canceler {
    fn observe(&self, _: CallId, step: &Step) {
        if (self.at)(step) {
            cancel(&self.own);
        }
    }

    fn observe_operation(&self, _: CallId, step: &OpStep) {
        if self.at_waits && matches!(step, OpStep::WaitsFor { .. }) {
            cancel(&self.own);
        }
    }
}

fn cancels_at_created(own: &Own) -> Canceler {
    let at = |step: &Step| matches!(step, Step::Created { .. });
    Canceler { own: Rc::clone(own), at, at_waits: false }
}

fn cancels_at_waits_for(own: &Own) -> Canceler {
    Canceler { own: Rc::clone(own), at: |_| false, at_waits: true }
}

/// The timer was armed all the same, and the outcome reported when it was due.
#[test]
fn a_cancel_by_an_observer_as_the_timer_is_armed_is_reported_at_once() {
    for canceler in [cancels_at_created, cancels_at_waits_for] {
        let mut bench = Bench::new(RetryPolicy::new().backoff(|_| Duration::from_secs(3600)));
        let own = Rc::new(RefCell::new(Some(bench.start())));
        bench.reactor.queue().add_observer(canceler(&own));
        bench.end_attempt(retrying::AGAIN);
        assert_eq!(bench.timer_count(), 0);
        assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
        bench.finish();
    }
}

/// An attempt was started although the operation was over.
#[test]
fn a_cancel_by_an_observer_as_the_timer_is_dialed_starts_no_attempt() {
    let mut bench = Bench::new(RetryPolicy::new().backoff(|_| Duration::from_secs(1)));
    let own = Rc::new(RefCell::new(Some(bench.start())));
    bench.end_attempt(retrying::AGAIN);
    let at = |step: &Step| *step == Step::Dialed;
    let canceler = Canceler { own, at, at_waits: false };
    bench.reactor.queue().add_observer(canceler);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.lower.requests(), [0]);
    assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
    bench.finish();
}

/// The next step, or attempt, was started, and then canceled.
#[test]
fn a_cancel_by_an_observer_starts_nothing_after_it() {
    for canceler in [cancels_at_created, cancels_at_waits_for] {
        let mut bench = Bench::new(RetryPolicy::new().at_once());
        let own = Rc::new(RefCell::new(Some(bench.start())));
        bench.reactor.queue().add_observer(canceler(&own));
        bench.end_attempt(retrying::AGAIN);
        assert_eq!((bench.lower.requests().len(), bench.lower.cancels()), (1, 0));
        assert!(matches!(bench.outcomes.only(), Err(OpError::Canceled)));
        bench.finish();

        let queue = CallQueue::new();
        let lower = Manual::default();
        let module = MlChain::new(&queue, lower.clone());
        module.open();
        let outcomes = Outcomes::<u32>::new(&queue);
        let last = |answer: manual::Result| answer.map(Next::Done);
        let second = move |_: manual::Result| Ok(Next::Start(Chain::new(|lower| lower, 2, last)));
        let first = Chain::new(|lower| lower, 1, second);
        let op = module.start(first, outcomes.done()).expect("it is open");
        queue.add_observer(canceler(&Rc::new(RefCell::new(Some(op)))));
        lower.complete(Ok(7));
        queue.dial_all();
        assert_eq!((lower.requests(), lower.cancels()), (vec![1], 0));
        assert!(matches!(outcomes.only(), Err(OpError::Canceled)));
        check_over(&queue);
    }
}

/// What stands on a layer, to be closed and opened again as an operation starts there.
struct Closing {
    above: Rc<HlCancelAll<Before>>,
    closed: Callback<Closed>,
}

/// It counted as canceled, and went on.
#[test]
fn what_is_starting_as_its_module_is_closed_and_opened_again_is_canceled() {
    let queue = CallQueue::new();
    let (outcomes, drained) = (Outcomes::<u32>::new(&queue), Rc::new(Cell::new(None)));
    let sees = Rc::clone(&drained);
    let closed = queue.callback(move |_, closed: Closed| sees.set(Some(closed.canceled)));
    let (lower, closes) = (Manual::default(), Rc::new(RefCell::new(None)));
    let closing = Rc::clone(&closes);
    let below = Before::new(&lower, move |_| {
        if let Some(Closing { above, closed }) = closing.take() {
            above.close_with(closed);
            above.open();
        }
    });
    let module = Rc::new(HlCancelAll::new(&queue, below));
    module.open();
    closes.replace(Some(Closing { above: Rc::clone(&module), closed }));
    module.start(1, outcomes.done()).expect("it is open");
    queue.dial_all();
    assert_eq!(drained.get(), Some(1));
    assert!(matches!(outcomes.only(), Err(OpError::Canceled)));
    // What is started after that is not affected.
    module.start(2, outcomes.done()).expect("it is open again");
    lower.complete(Ok(5));
    queue.dial_all();
    assert!(matches!(outcomes.only(), Ok(5)));
    check_over(&queue);
}
