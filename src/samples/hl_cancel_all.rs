//! High layer, cancel all: the user has no handle; closing the module cancels what runs.
//!
//! It shows a list of operations that is right at any moment. An operation has a place in it from
//! before the layer below starts until its context is dropped, however that comes about. So one
//! that completes at once is in the list before it leaves it. (Where completions run inside the
//! start function, such operations leave before they have entered, and stay forever.) What the
//! queue makes unnecessary: a lock around the list, and waiting for completions in flight.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::{self, Vec};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem;

use slab::Slab;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult, Operation};
use crate::queue::QueueHandle;
use crate::recipient::Recipient;
use crate::samples::{Gate, Module, StartError};

/// Runs operations of the layer below for users who leave them alone.
///
/// It has the functions of a [`Module`] without being one: its start function gives no handle, and
/// its close function takes a callback.
pub struct HlCancelAll<L> {
    lower: L,
    gate: Gate,
    list: Rc<List>,
    tracker: Rc<Recipient<Tracker>>,
}

/// What has become of the operations of a module that was closed, delivered when the last one is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Closed {
    /// Operations that ran when the module was closed, and so were canceled. One whose result
    /// was on its way by then answers that.
    pub canceled: usize,
}

/// The operations that run, and who waits for their end.
#[derive(Default)]
struct List {
    running: RefCell<Slab<Running>>,
    closings: RefCell<VecDeque<Closing>>,
    /// How many closings are over.
    drained: Cell<u64>,
}

/// Somebody waits for the end of all that ran when the module was closed. What is started when it is
/// open again does not count.
struct Closing {
    callback: Callback<Closed>,
    closed: Closed,
    /// How many of them still run.
    left: usize,
}

/// An operation that runs.
enum Running {
    /// The layer below is starting: there is no handle yet.
    Starting,
    /// The same, and the module was closed meanwhile.
    Unwanted,
    /// The lower handle.
    Started(AsyncOp),
}

/// The module as a recipient: what its completions arrive at.
struct Tracker;

/// The context of one operation: its place in the list.
struct ListPlace {
    list: Rc<List>,
    number: usize,
    /// How many closings came before.
    closings: u64,
    /// Keeps the recipient for as long as the operation runs.
    _tracker: Rc<Recipient<Tracker>>,
}

impl<L: Module> HlCancelAll<L> {
    /// Makes the module, not open yet.
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        let tracker = Rc::new(queue.recipient(Tracker));
        Self { lower, gate: Gate::default(), list: Rc::default(), tracker }
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
        // 2. Make the operation, with a place in the list. Its own handle is given to nobody, so
        //    it needs no cancel.
        let number = self.list.running.borrow_mut().insert(Running::Starting);
        let (list, closings) = (Rc::clone(&self.list), self.list.closings());
        let place = ListPlace { list, number, closings, _tracker: Rc::clone(&self.tracker) };
        let op = Operation::new(done, place, |_| ());
        // 3. Start the lower one. If it does not start, the place goes with the operation.
        let upper = op.clone();
        let done = self.tracker.callback(move |_, _, result| Tracker::on_done(&upper, result));
        op.waits_for(done.id());
        let lower = match self.lower.start(request, done) {
            Ok(lower) => lower,
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error);
            }
        };
        // 4. Keep its handle in the list.
        let started = Running::Started(lower.clone());
        let before =
            self.list.running.borrow_mut().get_mut(number).map(|now| mem::replace(now, started));
        // 5. If the layer below has called code that closed this module, that found no handle.
        if matches!(before, Some(Running::Unwanted)) {
            let _ = lower.cancel();
        }
        Ok(())
    }

    /// Lets no more operations be started, and cancels those that run. `closed` is answered when the
    /// last of them is over, never before this has returned. Closing again is a no-op, and declines
    /// `closed`.
    ///
    /// # Panics
    ///
    /// Passes on a panic of a cancel hook below. All operations are canceled all the same.
    pub fn close(&self, closed: Callback<Closed>) {
        // 1. Close the gate: nothing enters the list until it is opened again.
        if !self.gate.is_open() {
            return closed.decline("the module is not open");
        }
        self.gate.close();
        // 2. Take note of who waits, and of what runs: a cancel may run code of any layer below.
        let running = self.list.to_cancel();
        let left = self.running();
        let closing = Closing { callback: closed, closed: Closed { canceled: left }, left };
        self.list.closings.borrow_mut().push_back(closing);
        // 3. Cancel.
        CancelAll(running.into_iter()).run();
        // 4. If nothing ran, nothing else will answer.
        self.list.report_if_drained();
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
    fn on_done<A, E>(op: &Operation<ListPlace, A, E>, result: OpResult<A, E>) {
        // 1. Complete. Nobody else does. The place goes with the operation, right after this.
        let _ = op.complete(result);
    }
}

impl Drop for ListPlace {
    fn drop(&mut self) {
        let left = self.list.running.borrow_mut().try_remove(self.number);
        self.list.count_off(self.closings);
        drop(left);
        self.list.report_if_drained();
    }
}

impl List {
    /// The handles of all that is to be canceled. What is starting has none yet: it is marked, and
    /// canceled once it has started.
    fn to_cancel(&self) -> Vec<AsyncOp> {
        let mut handles = Vec::new();
        for (_, running) in self.running.borrow_mut().iter_mut() {
            match running {
                Running::Started(lower) => handles.push(lower.clone()),
                Running::Starting => *running = Running::Unwanted,
                Running::Unwanted => {}
            }
        }
        handles
    }

    /// How many closings there were.
    fn closings(&self) -> u64 {
        self.drained.get() + self.closings.borrow().len() as u64
    }

    /// An operation is over, for which all closings waited but those that came `before` it.
    fn count_off(&self, before: u64) {
        let others = before.saturating_sub(self.drained.get()) as usize;
        self.closings.borrow_mut().iter_mut().skip(others).for_each(|closing| closing.left -= 1);
    }

    fn report_if_drained(&self) {
        while let Some(Closing { callback, closed, .. }) = self.next_drained() {
            // If the queue is gone, no one is left to be notified.
            callback.answer(closed);
        }
    }

    /// Of two closings, the earlier one is over first, or both at once.
    fn next_drained(&self) -> Option<Closing> {
        let mut closings = self.closings.borrow_mut();
        if closings.front()?.left > 0 {
            return None;
        }
        self.drained.set(self.drained.get() + 1);
        closings.pop_front()
    }
}

/// Cancels operations, also those behind one whose cancel panics.
struct CancelAll(vec::IntoIter<AsyncOp>);

impl CancelAll {
    fn run(&mut self) {
        for op in self.0.by_ref() {
            let _ = op.cancel();
        }
    }
}

impl Drop for CancelAll {
    fn drop(&mut self) {
        self.run();
    }
}

impl<L> fmt::Debug for HlCancelAll<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HlCancelAll").field("gate", &self.gate).finish_non_exhaustive()
    }
}
