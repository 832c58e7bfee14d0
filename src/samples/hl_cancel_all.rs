//! High layer, cancel all: the user has no handle; closing the module cancels what runs.
//!
//! It shows a list of operations that is right at any moment. An operation enters it before its
//! start returns and leaves it in its completion, which is a call: so one that completes at once
//! is in the list before it leaves it. (Where completions run inside the start function, such
//! operations leave before they have entered, and stay in the list forever.) What the queue makes
//! unnecessary: a lock around the list, and waiting for completions in flight.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use slab::Slab;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult, Operation};
use crate::queue::QueueHandle;
use crate::recipient::Recipient;
use crate::samples::{Gate, Module, StartError};

/// Runs operations of the layer below for users who leave them alone.
pub struct HlCancelAll<L> {
    lower: L,
    gate: Gate,
    list: Rc<List>,
    tracker: Rc<Recipient<Tracker>>,
}

/// What has become of the operations of a module, told when the last one is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Operations that ran when the module was closed, and were canceled.
    pub canceled: usize,
}

/// The operations that run, and who waits for their end.
#[derive(Default)]
struct List {
    running: RefCell<Slab<AsyncOp>>,
    canceled: Cell<usize>,
    closed: Cell<Option<Callback<Closed>>>,
}

/// The module as a recipient: what its completions need.
struct Tracker {
    list: Rc<List>,
}

/// The context of one operation: its place in the list.
struct Tracked {
    place: Cell<usize>,
    /// Keeps the recipient for as long as the operation runs.
    _tracker: Rc<Recipient<Tracker>>,
}

impl<L: Module> HlCancelAll<L> {
    /// Makes the module, not open yet.
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        let list = Rc::new(List::default());
        let tracker = Rc::new(queue.recipient(Tracker { list: Rc::clone(&list) }));
        Self { lower, gate: Gate::default(), list, tracker }
    }

    /// Lets operations be started.
    pub fn open(&self) {
        self.lower.open();
        self.gate.open();
    }

    /// Starts an operation. Its result arrives at `done`, never before this has returned.
    ///
    /// # Errors
    ///
    /// Hands the request back, with the reason; `done` is then declined.
    pub fn start(
        &self,
        request: L::Request,
        done: Callback<OpResult<L::Answer, L::Error>>,
    ) -> Result<(), StartError<L::Request>> {
        // 1. Refuse before there is anything to undo. A module that is being closed is not open.
        let (request, done) = self.gate.admit(request, done)?;
        // 2. Make the operation: whatever happens from here on, `done` is answered. Its own handle
        //    is given to nobody, so it needs no cancel.
        let context = Tracked { place: Cell::new(0), _tracker: Rc::clone(&self.tracker) };
        let op = Operation::new(done, context, |_| ());
        // 3. Start the lower one.
        let upper = op.clone();
        let done = self.tracker.callback(move |tracker, _, result| tracker.on_done(&upper, result));
        let lower = match self.lower.start(request, done) {
            Ok(lower) => lower,
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error);
            }
        };
        // 4. Enter the list. The completion, which leaves it, cannot have come yet.
        op.context().place.set(self.list.running.borrow_mut().insert(lower));
        Ok(())
    }

    /// Lets no more operations be started, and cancels those that run. `closed` is told when the
    /// last one is over, never before this has returned. Closing again is a no-op, and declines
    /// `closed`.
    pub fn close(&self, closed: Callback<Closed>) {
        // 1. Close the gate: the list can only shrink from here on.
        if !self.gate.is_open() {
            return closed.decline("the module is not open");
        }
        self.gate.close();
        // 2. Cancel what runs, from a copy: a cancel may run code of any layer below.
        let running: Vec<_> = self.list.running.borrow().iter().map(|(_, op)| op.clone()).collect();
        self.list.canceled.set(running.len());
        self.list.closed.set(Some(closed));
        for op in running {
            let _ = op.cancel();
        }
        // 3. If nothing ran, nobody else will tell.
        self.list.tell_if_drained();
    }

    /// How many operations run.
    pub fn running(&self) -> usize {
        self.list.running.borrow().len()
    }

    /// How many canceled operations still take something up, below: leftovers of fake cancels.
    pub fn leftovers(&self) -> usize {
        self.lower.leftovers()
    }
}

impl Tracker {
    /// The completion.
    fn on_done<A, E>(&self, op: &Operation<Tracked, A, E>, result: OpResult<A, E>) {
        // 1. Leave the list.
        let left = self.list.running.borrow_mut().try_remove(op.context().place.get());
        drop(left);
        // 2. Complete. Nobody else does.
        let _ = op.complete(result);
        // 3. Tell of the end, after the last completion.
        self.list.tell_if_drained();
    }
}

impl List {
    fn tell_if_drained(&self) {
        if self.running.borrow().is_empty()
            && let Some(closed) = self.closed.take()
        {
            // If the queue is gone, there is nobody left to tell.
            let _ = closed.answer(Closed { canceled: self.canceled.get() });
        }
    }
}

impl<L> fmt::Debug for HlCancelAll<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HlCancelAll").field("gate", &self.gate).finish_non_exhaustive()
    }
}
