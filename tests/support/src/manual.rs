//! A lowest layer that the test completes by hand, and the record of what is reported.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::samples::{Gate, Layer, Module, StartError};
use switchboard::{Address, Callback, QueueHandle, Recipient, Tally};

pub mod retrying;

/// How an operation ends.
pub type Result = OpResult<u32, &'static str>;

/// The module. Clones share it.
#[derive(Clone, Default)]
pub struct Manual(Rc<Shared>);

#[derive(Default)]
struct Shared {
    gate: Gate,
    refuses: Cell<Option<&'static str>>,
    running: RefCell<Vec<Operation<Rc<Self>, u32, &'static str>>>,
    requests: RefCell<Vec<u32>>,
    cancels: Cell<u32>,
    panics: Cell<u32>,
}

impl Manual {
    /// Makes all starts fail from now on, or succeed again.
    pub fn refuse(&self, reason: Option<&'static str>) {
        self.0.refuses.set(reason);
    }

    /// Closes the module behind the back of whoever stands on it.
    pub fn close_down(&self) {
        self.0.gate.close();
    }

    /// Makes the next `count` cancel hooks panic.
    pub fn panic_in_cancels(&self, count: u32) {
        self.0.panics.set(count);
    }

    /// Completes the operation that has run longest.
    #[track_caller]
    pub fn complete(&self, result: Result) {
        let op = self.0.running.borrow_mut().remove(0);
        op.complete(result).expect("it runs");
    }

    /// Loses the operation that has run longest.
    #[track_caller]
    pub fn lose(&self) {
        let op = self.0.running.borrow_mut().remove(0);
        drop(op);
    }

    /// Operations that run.
    pub fn running(&self) -> usize {
        self.0.running.borrow().len()
    }

    /// Requests so far.
    pub fn requests(&self) -> Vec<u32> {
        self.0.requests.borrow().clone()
    }

    /// Cancel hooks that ran.
    pub fn cancels(&self) -> u32 {
        self.0.cancels.get()
    }

    /// References to the module: this one, and those of what stands on it or runs.
    pub fn references(&self) -> usize {
        Rc::strong_count(&self.0)
    }
}

impl Module for Manual {
    type Request = u32;
    type Answer = u32;
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        Layer::gated(&self.0.gate)
    }

    fn start(
        &self,
        request: u32,
        done: Callback<Result>,
    ) -> std::result::Result<AsyncOp, StartError<u32>> {
        let (request, done) = self.0.gate.admit(request, done)?;
        if let Some(reason) = self.0.refuses.get() {
            done.decline(reason);
            return Err(StartError::Failed { source: reason.into(), request });
        }
        self.0.requests.borrow_mut().push(request);
        let op = Operation::new(done, Rc::clone(&self.0), cancel);
        self.0.running.borrow_mut().push(op.clone());
        Ok(op.handle())
    }
}

/// A layer on a manual one that calls a function before an operation starts there.
pub struct Before {
    lower: Manual,
    function: Box<OnStart>,
}

type OnStart = dyn Fn(&Callback<Result>);

impl Before {
    pub fn new(lower: &Manual, function: impl Fn(&Callback<Result>) + 'static) -> Self {
        Self { lower: lower.clone(), function: Box::new(function) }
    }
}

impl Module for Before {
    type Request = u32;
    type Answer = u32;
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        Layer::on(&self.lower)
    }

    fn start(
        &self,
        request: u32,
        done: Callback<Result>,
    ) -> std::result::Result<AsyncOp, StartError<u32>> {
        (self.function)(&done);
        self.lower.start(request, done)
    }
}

fn cancel(op: &Operation<Rc<Shared>, u32, &'static str>) {
    let shared = op.context();
    shared.cancels.set(shared.cancels.get() + 1);
    let _ = op.complete(Err(OpError::Canceled));
    let running = shared.running.take();
    let (over, running) =
        running.into_iter().partition(|op| op.state() == switchboard::op::OpState::Completed);
    shared.running.replace(running);
    drop::<Vec<_>>(over);
    if let Some(left) = shared.panics.get().checked_sub(1) {
        shared.panics.set(left);
        std::panic::resume_unwind(Box::new("the cancel hook"));
    }
}

/// What outcomes are delivered to, in order.
pub struct Outcomes<A: 'static> {
    recorder: Recipient<()>,
    outcomes: Rc<RefCell<Vec<OpResult<A, &'static str>>>>,
}

impl<A: 'static> Outcomes<A> {
    pub fn new(queue: &QueueHandle) -> Self {
        Self { recorder: queue.recipient(()), outcomes: Rc::default() }
    }

    /// The callback of one operation.
    #[track_caller]
    pub fn done(&self) -> Callback<OpResult<A, &'static str>> {
        let outcomes = Rc::clone(&self.outcomes);
        self.address().callback(move |(), _, result| outcomes.borrow_mut().push(result))
    }

    /// How many have been reported.
    pub fn count(&self) -> usize {
        self.outcomes.borrow().len()
    }

    /// What was reported since this was asked last.
    pub fn take(&self) -> Vec<OpResult<A, &'static str>> {
        self.outcomes.take()
    }

    /// The only outcome that was delivered since this was asked last.
    #[track_caller]
    pub fn only(&self) -> OpResult<A, &'static str> {
        let mut outcomes = self.take();
        assert_eq!(outcomes.len(), 1, "outcomes");
        outcomes.remove(0)
    }

    fn address(&self) -> &Address<()> {
        &self.recorder
    }
}

/// Asserts that the tally balances, and that nothing is unscheduled, pending, refused or abandoned.
#[track_caller]
pub fn check_over(queue: &QueueHandle) {
    let tally = queue.tally();
    assert!(tally.balances(), "{tally}");
    let Tally { unscheduled, pending, live, refused, abandoned, .. } = tally;
    assert_eq!([unscheduled, pending, live, refused, abandoned], [0; 5], "{tally}");
}
