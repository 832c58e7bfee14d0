//! The fixture of tests on operations: a module made by hand, and counts of everything.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use switchboard::{CallQueue, Callback, QueueHandle};

pub(crate) type Result = OpResult<u32, &'static str>;
pub(crate) type Op = Operation<Context, u32, &'static str>;

/// What a module keeps for an operation.
pub(crate) struct Context {
    pub(crate) queue: QueueHandle,
    pub(crate) hooks: Rc<Cell<u32>>,
    /// Dropped with the context.
    pub(crate) _alive: Rc<()>,
    /// The module's list of operations, or the caller's handle, for hooks that want them.
    pub(crate) others: Rc<RefCell<Vec<Op>>>,
    pub(crate) handle: RefCell<Option<AsyncOp>>,
}

/// A queue, what was delivered, and a count of cancel hooks.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) queue: CallQueue,
    pub(crate) outcomes: Rc<RefCell<Vec<Result>>>,
    pub(crate) hooks: Rc<Cell<u32>>,
    pub(crate) alive: Rc<()>,
    pub(crate) others: Rc<RefCell<Vec<Op>>>,
}

impl Bench {
    pub(crate) fn done(&self) -> Callback<Result> {
        let outcomes = Rc::clone(&self.outcomes);
        self.queue.callback(move |_, result| outcomes.borrow_mut().push(result))
    }

    /// Starts an operation that runs.
    pub(crate) fn start(&self, on_cancel: fn(&Op)) -> (AsyncOp, Op) {
        self.start_with(self.done(), on_cancel)
    }

    pub(crate) fn start_with(&self, done: Callback<Result>, on_cancel: fn(&Op)) -> (AsyncOp, Op) {
        let context = Context {
            queue: self.queue.handle(),
            hooks: Rc::clone(&self.hooks),
            _alive: Rc::clone(&self.alive),
            others: Rc::clone(&self.others),
            handle: RefCell::default(),
        };
        let op = Op::new(done, context, on_cancel);
        let handle = op.handle();
        assert_eq!((handle.state(), op.state()), (OpState::Running, OpState::Running));
        (handle, op)
    }

    /// Asserts how many calls are unscheduled, pending, finished and canceled; there are no others.
    #[track_caller]
    pub(crate) fn counts(&self, unscheduled: u64, pending: u64, finished: u64, canceled: u64) {
        let tally = self.queue.tally();
        let seen = [tally.unscheduled, tally.pending, tally.finished, tally.canceled];
        assert_eq!(seen, [unscheduled, pending, finished, canceled], "{tally}");
        assert_eq!(tally.created, seen.iter().sum::<u64>(), "{tally}");
        assert!(tally.balances());
    }

    /// Dials everything, and takes what was reported by that.
    #[track_caller]
    pub(crate) fn dial(&self) -> Vec<Result> {
        assert!(self.outcomes.borrow().is_empty(), "reported before it is dialed");
        self.queue.dial_all();
        self.outcomes.take()
    }

    /// How many contexts there are.
    pub(crate) fn contexts(&self) -> usize {
        Rc::strong_count(&self.alive) - 1
    }
}

/// Completes at once.
pub(crate) fn complete(op: &Op) {
    assert_eq!(op.state(), OpState::Canceling);
    op.context().hooks.set(op.context().hooks.get() + 1);
    assert_eq!(op.complete(Err(OpError::Canceled)), Ok(()));
}

/// Leaves the completion for later.
pub(crate) fn wait(op: &Op) {
    assert_eq!(op.state(), OpState::Canceling);
    op.context().hooks.set(op.context().hooks.get() + 1);
}
