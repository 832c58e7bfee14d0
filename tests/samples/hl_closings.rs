//! Hazard: an end whose counts are not those of its closing, or a limit that never comes. Who closes and
//! drains `HlCancelAll`, several times and in any order.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use support::manual::{self, Manual, Outcomes, check_over};
use switchboard::op::{AsyncOp, OpError, OpState, Operation};
use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::samples::{Closed, HlCancelAll, Layer, Module, ModuleExt, StartError};
use switchboard::{CallQueue, Callback, QueueHandle};

/// A deadline that does not come.
const HOUR: Duration = Duration::from_secs(3600);

/// What `Closed` counted, for each who waited: canceled, completed.
#[derive(Clone, Default)]
struct Ends(Rc<RefCell<Vec<(usize, usize)>>>);

impl Ends {
    fn next(&self, queue: &QueueHandle) -> Callback<Closed> {
        let ends = Rc::clone(&self.0);
        queue.callback(move |_, closed: Closed| {
            ends.borrow_mut().push((closed.canceled, closed.completed));
        })
    }

    fn take(&self) -> Vec<(usize, usize)> {
        self.0.take()
    }
}

/// Starts operations whose cancel completes nothing, and calls back into what stands on it.
#[derive(Clone, Default)]
struct Slow(Rc<SlowState>);

#[derive(Default)]
struct SlowState {
    running: RefCell<Vec<Operation<(), u32, &'static str>>>,
    refusing: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl Slow {
    /// The next start calls this, and is refused.
    fn refuse(&self, action: impl FnOnce() + 'static) {
        self.0.refusing.replace(Some(Box::new(action)));
    }

    fn complete(&self, result: manual::Result) {
        let op = self.0.running.borrow_mut().remove(0);
        op.complete(result).expect("it runs");
    }
}

impl Module for Slow {
    type Request = ();
    type Answer = u32;
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        Layer::ungated()
    }

    fn start(&self, (): (), done: Callback<manual::Result>) -> Result<AsyncOp, StartError<()>> {
        if let Some(action) = self.0.refusing.take() {
            action();
            done.decline("refused");
            return Err(StartError::Failed { source: "refused".into(), request: () });
        }
        let op = Operation::new(done, (), |_| ());
        self.0.running.borrow_mut().push(op.clone());
        Ok(op.handle())
    }
}

/// A module with `count` operations that run.
fn running(
    queue: &QueueHandle,
    outcomes: &Outcomes<u32>,
    count: usize,
) -> (Rc<HlCancelAll<Slow>>, Slow) {
    let lower = Slow::default();
    let module = Rc::new(HlCancelAll::new(queue, lower.clone()));
    module.open();
    (0..count).for_each(|_| drop(module.start((), outcomes.done()).expect("it is open")));
    (module, lower)
}

/// It counted as canceled if it was closed, and as completed if it was drained.
#[test]
fn an_operation_that_was_refused_as_the_module_closed_does_not_count() {
    let reactor = Reactor::new().expect("a reactor");
    let (queue, handle) = (reactor.queue(), reactor.handle());
    let close = |module: &HlCancelAll<Slow>, _: &_, end| module.close_with(end);
    let drain = |module: &HlCancelAll<Slow>, reactor: &_, end| module.drain(reactor, HOUR, end);
    for closes in [close as fn(&HlCancelAll<Slow>, &ReactorHandle, _), drain] {
        let (outcomes, ends) = (Outcomes::new(queue), Ends::default());
        let (module, lower) = running(queue, &outcomes, 1);
        let (inner, end, handle) = (Rc::clone(&module), ends.next(queue), handle.clone());
        lower.refuse(move || closes(&inner, &handle, end));
        assert!(module.start((), outcomes.done()).is_err());
        lower.complete(Ok(7));
        queue.dial_all();
        assert_eq!((outcomes.take(), ends.take()), (vec![Ok(7)], vec![(0, 1)]));
        check_over(queue);
    }
}

#[test]
fn a_second_closer_receives_the_counts_of_the_first_unless_the_module_was_opened_between() {
    let queue = CallQueue::new();
    let (outcomes, ends) = (Outcomes::new(&queue), Ends::default());
    let (module, lower) = running(&queue, &outcomes, 2);
    module.close_with(ends.next(&queue));
    module.close_with(ends.next(&queue));
    module.open();
    module.start((), outcomes.done()).expect("it is open");
    // Waits for all three, of which one is its own.
    module.close_with(ends.next(&queue));
    lower.complete(Err(OpError::Canceled));
    lower.complete(Ok(7));
    queue.dial_all();
    assert_eq!(ends.take(), [(1, 1), (1, 1)]);
    lower.complete(Err(OpError::Canceled));
    queue.dial_all();
    assert_eq!((ends.take(), outcomes.take().len()), (vec![(1, 0)], 3));
    // Opened in between, with nothing started: it waits, and counts none.
    let (module, lower) = running(&queue, &outcomes, 1);
    module.close();
    module.open();
    module.close_with(ends.next(&queue));
    queue.dial_all();
    assert_eq!(ends.take(), []);
    lower.complete(Err(OpError::Canceled));
    queue.dial_all();
    assert_eq!(ends.take(), [(0, 0)]);
    check_over(&queue);
}

#[test]
fn of_two_drains_the_shorter_limit_cancels_for_both() {
    for limits in [[Duration::ZERO, HOUR], [HOUR, Duration::ZERO]] {
        let mut reactor = Reactor::new().expect("a reactor");
        let queue = reactor.queue().clone();
        let (outcomes, ends, lower) = (Outcomes::new(&queue), Ends::default(), Manual::default());
        let module = HlCancelAll::new(&queue, lower.clone());
        module.open();
        module.start(1, outcomes.done()).expect("it is open");
        limits.iter().for_each(|limit| module.drain(&reactor.handle(), *limit, ends.next(&queue)));
        reactor.run().expect("a poll");
        assert_eq!((outcomes.only(), ends.take()), (Err(OpError::Canceled), vec![(1, 0), (1, 0)]));
        check_over(&queue);
    }
}

#[test]
fn a_module_that_is_opened_during_a_drain_starts_operations_that_its_limit_leaves_alone() {
    let mut reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue().clone();
    let (outcomes, ends, lower) = (Outcomes::new(&queue), Ends::default(), Manual::default());
    let module = HlCancelAll::new(&queue, lower.clone());
    module.open();
    module.start(1, outcomes.done()).expect("it is open");
    module.drain(&reactor.handle(), Duration::ZERO, ends.next(&queue));
    module.open();
    let op = module.start(2, outcomes.done()).expect("it is open again");
    reactor.run().expect("a poll");
    assert_eq!((outcomes.only(), ends.take()), (Err(OpError::Canceled), vec![(1, 0)]));
    assert_eq!((op.state(), module.running()), (OpState::Running, 1));
    // A close waits for both, and cancels what is left of the drain.
    module.start(3, outcomes.done()).expect("it is open again");
    module.drain(&reactor.handle(), HOUR, ends.next(&queue));
    module.close_with(ends.next(&queue));
    reactor.run().expect("a poll");
    assert_eq!((outcomes.take().len(), ends.take()), (2, vec![(2, 0), (2, 0)]));
    check_over(&queue);
}

/// It was never canceled: the timer went with the reactor.
#[test]
fn a_drain_whose_reactor_goes_or_is_gone_cancels_at_once() {
    for goes_before in [false, true] {
        let queue = CallQueue::new();
        let (outcomes, ends, lower) = (Outcomes::new(&queue), Ends::default(), Manual::default());
        let module = HlCancelAll::new(&queue, lower.clone());
        module.open();
        module.start(1, outcomes.done()).expect("it is open");
        let other = Reactor::new().expect("a reactor");
        let handle = other.handle();
        let mut other = Some(other);
        if goes_before {
            drop(other.take());
        }
        module.drain(&handle, HOUR, ends.next(&queue));
        queue.dial_all();
        if !goes_before {
            assert_eq!((lower.cancels(), ends.take()), (0, vec![]));
            drop(other);
        }
        assert_eq!(lower.cancels(), 1);
        queue.dial_all();
        assert_eq!((outcomes.only(), ends.take()), (Err(OpError::Canceled), vec![(1, 0)]));
        check_over(&queue);
    }
}

#[test]
fn a_layer_that_owns_the_module_closes_it_and_one_that_shares_it_does_not() {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let (outcomes, lower) = (Outcomes::new(queue), Manual::default());
    let list = || HlCancelAll::new(queue, lower.clone());
    let map = |module: HlCancelAll<Manual>| module.map(queue, |result| result);
    let boxed: [Box<dyn Module<Request = u32, Answer = u32, Error = &'static str>>; 4] = [
        Box::new(switchboard::samples::Hl::new(list())),
        Box::new(switchboard::samples::MlPassThrough::new(queue, list())),
        Box::new(map(list())),
        Box::new(list().within(&reactor.handle(), HOUR)),
    ];
    for module in boxed {
        module.open();
        module.start(1, outcomes.done()).expect("it is open");
        module.close();
        queue.dial_all();
        assert_eq!((outcomes.only(), lower.running()), (Err(OpError::Canceled), 0));
    }
    // What is shared is closed by whoever shares it.
    let shared = Rc::new(list());
    let above = Rc::clone(&shared).within(&reactor.handle(), HOUR);
    above.open();
    above.start(1, outcomes.done()).expect("it is open");
    above.close();
    assert_eq!((shared.running(), shared.start(2, outcomes.done()).is_ok()), (1, true));
    shared.close();
    queue.dial_all();
    assert_eq!((outcomes.take().len(), lower.running()), (2, 0));
    check_over(queue);
}
