//! High layer, cancel all: a list of what runs, which closing the module cancels as a whole.
//!
//! It shows a list of operations that is right at any moment. An operation has a place in it from
//! before the layer below starts until its context is dropped, for any reason. So one that completes at
//! once is in the list before it leaves it. (Where completions run inside the start function, such
//! operations leave before they have entered, and stay forever.) What the queue makes unnecessary: a
//! lock around the list, and waiting for completions in flight.
//!
//! - I1 A place in the list belongs to at most one closing: the one that found it there first.
//! - I2 A closing waits for the places that belong to it, and for the closings before it.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;

use crate::arena::{Arena, ArenaKey};
use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, Operation};
use crate::queue::QueueHandle;
use crate::reactor::{ReactorHandle, Timer};
use crate::recipient::Recipient;
use crate::samples::error::StartError;
use crate::samples::gate::{Gate, Lower};
use crate::samples::module::{Layer, Module};
use crate::unwind::{in_drop, to_the_end};

/// Runs operations of the layer below, and cancels those that run when it is closed or dropped.
///
/// Each can also be canceled alone, by its handle.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{Closed, HlCancelAll, LlFakeCancel, Module, ThreadPool};
///
/// let mut reactor = Reactor::new().unwrap();
/// let pool = ThreadPool::new(2);
/// let works = LlFakeCancel::<(), Infallible>::new(&reactor.handle(), &pool);
/// let module = HlCancelAll::new(reactor.queue(), works);
/// module.open();
/// let (end, ends) = mpsc::channel::<()>();
/// let done = || reactor.queue().callback(|_, _| ());
/// module.start(Box::new(|| Ok(())), done()).unwrap();
/// module.start(Box::new(move || Ok(drop(ends.recv()))), done()).unwrap();
///
/// // No new ones; what does not end within 50 ms is canceled.
/// let drained = reactor.queue().callback(move |_, closed: Closed| {
///     assert_eq!((closed.completed, closed.canceled), (1, 1));
///     drop(end);
/// });
/// module.drain(&reactor.handle(), Duration::from_millis(50), drained);
/// reactor.run().unwrap();
/// ```
pub struct HlCancelAll<L> {
    lower: L,
    gate: Gate,
    list: Rc<List>,
    tracker: Rc<Recipient<Tracker>>,
}

/// What has become of the operations that ran when a module was closed, delivered when the last one is
/// over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Closed {
    /// Those whose result was [`Canceled`](OpError::Canceled).
    pub canceled: usize,
    /// Those with any other result, a failure too: those that ended during a drain, or whose result was
    /// fixed before the cancel.
    pub completed: usize,
}

/// The operations that run, and who waits for their end.
#[derive(Default)]
struct List {
    running: RefCell<Arena<Option<ListEntry>>>,
    closings: RefCell<VecDeque<Closing>>,
    /// The number of the first of them.
    first_closing: Cell<u64>,
}

/// An operation that runs.
#[derive(Default)]
struct ListEntry {
    /// Its handle; `None` while it is being made.
    op: Option<AsyncOp>,
    /// The closing that it belongs to.
    closing: Option<u64>,
}

/// The module was closed, and operations that ran are not over.
#[derive(Default)]
struct Closing {
    callbacks: Vec<Callback<Closed>>,
    closed: Closed,
    /// How many operations that belong to it still run.
    left: usize,
    /// Cancels what is left.
    deadline: Option<Timer>,
}

/// The module as a recipient: what its completions arrive at.
struct Tracker;

/// The context of one operation: its place in the list.
struct ListPlace {
    list: Rc<List>,
    key: ArenaKey,
    lower: Lower,
    /// Whether the result is Canceled; before there is one, whether it would be if it were lost.
    canceled: Cell<bool>,
    /// Keeps the recipient for as long as the operation runs.
    _tracker: Rc<Recipient<Tracker>>,
}

impl<L: Module> HlCancelAll<L> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{HlCancelAll, LlConnect, Module};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let connects = HlCancelAll::new(reactor.queue(), LlConnect::new(&reactor.handle()));
    /// connects.open();
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let done = reactor.queue().callback(|_, connected| assert!(Result::is_err(&connected)));
    /// connects.start(listener.local_addr()?, done)?;
    /// drop(connects); // cancels what runs
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        let tracker = Rc::new(queue.recipient(Tracker));
        Self { lower, gate: Gate::default(), list: Rc::default(), tracker }
    }

    /// Returns the number of operations that run.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::samples::{HlCancelAll, LlConnect, Module};
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let connects = HlCancelAll::new(reactor.queue(), LlConnect::new(&reactor.handle()));
    /// connects.open();
    /// let done = reactor.queue().callback(|_, connected| assert!(Result::is_ok(&connected)));
    /// connects.start(listener.local_addr()?, done)?;
    /// assert_eq!(connects.running(), 1);
    /// reactor.run()?;
    /// assert_eq!(connects.running(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn running(&self) -> usize {
        self.list.running.borrow().len()
    }
}

impl<L> HlCancelAll<L> {
    /// Closes the module, and cancels the operations that run. `closed` is answered when the last of
    /// them is over, never before this has returned, even if the module was closed already.
    ///
    /// If the module is opened again meanwhile, later operations do not count.
    ///
    /// Cost: O(n) steps for n operations that run.
    ///
    /// # Panics
    ///
    /// If a cancel hook below panics. All operations are canceled in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::samples::{Closed, HlCancelAll, LlConnect, Module};
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let connects = HlCancelAll::new(reactor.queue(), LlConnect::new(&reactor.handle()));
    /// connects.open();
    /// let done = reactor.queue().callback(|_, connected| assert!(Result::is_err(&connected)));
    /// connects.start(listener.local_addr()?, done)?;
    /// let closed = reactor.queue().callback(|_, closed: Closed| assert_eq!(closed.canceled, 1));
    /// connects.close_with(closed); // answered once the last operation is over
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close_with(&self, closed: Callback<Closed>) {
        self.close_and_cancel(Some(closed));
    }

    /// Closes the module, and waits for the operations that run. Those that still run after `limit` are
    /// canceled. `drained` is answered when the last of them is over, never before this has returned.
    ///
    /// Closing or dropping the module meanwhile cancels at once; `drained` is answered in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::samples::{Closed, HlCancelAll, LlConnect, Module};
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let connects = HlCancelAll::new(reactor.queue(), LlConnect::new(&reactor.handle()));
    /// connects.open();
    /// let done = reactor.queue().callback(|_, connected| assert!(Result::is_ok(&connected)));
    /// connects.start(listener.local_addr()?, done)?;
    /// // What runs has ten seconds; what is left then is canceled.
    /// let drained = reactor.queue().callback(|_, closed: Closed| assert_eq!(closed.completed, 1));
    /// connects.drain(&reactor.handle(), Duration::from_secs(10), drained);
    /// reactor.run()?; // in no ten seconds
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self, reactor: &ReactorHandle, limit: Duration, drained: Callback<Closed>) {
        // 1. Close the gate, and note who waits for what.
        let number = self.stop(Some(drained));
        // 2. Arm the timer, unless all is over. It goes with the closing.
        if let Some(number) = number {
            let list = Rc::downgrade(&self.list);
            let due = reactor.queue().callback(move |_, ()| List::on_due(&list, number));
            let deadline = reactor.after(limit, due);
            let earlier = self.list.with_closing(number, |closing| match &mut closing.deadline {
                Some(earlier) if earlier.deadline() <= deadline.deadline() => Some(deadline),
                place => place.replace(deadline),
            });
            drop(earlier);
        }
    }

    fn close_and_cancel(&self, closed: Option<Callback<Closed>>) {
        // 1. Close the gate, and note who waits for what: a cancel may run code of any layer below.
        let number = self.stop(closed);
        // 2. Cancel.
        if let Some(number) = number {
            self.list.cancel(number);
        }
    }

    /// Closes the gate. Returns the number of the closing that waits for what runs, unless nothing does.
    fn stop(&self, closed: Option<Callback<Closed>>) -> Option<u64> {
        // 1. What runs belongs to this closing from now on (I1). If the gate was closed before, and nothing
        //    has come since, the callback joins those of the last closing.
        let was_open = self.gate.is_open();
        self.gate.close();
        self.list.begin_closing(was_open);
        // 2. If nothing runs, nothing else will answer.
        let number = self.list.last_closing();
        match (number, closed) {
            (Some(number), Some(closed)) => {
                self.list.with_closing(number, |closing| closing.callbacks.push(closed));
            }
            (None, Some(closed)) => closed.answer(Closed::default()),
            (_, None) => {}
        }
        number
    }
}

impl<L: Module> Module for HlCancelAll<L> {
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
        // 1. Refuse before there is anything to undo. A module that is being closed is not open.
        let (request, done) = self.gate.admit(request, done)?;
        // 2. Make the operation, with a place in the list.
        let key = self.list.running.borrow_mut().insert(ListEntry::default());
        let place = ListPlace {
            list: Rc::clone(&self.list),
            key,
            lower: Lower::default(),
            canceled: Cell::new(false),
            _tracker: Rc::clone(&self.tracker),
        };
        let op = Operation::new(done, place, cancel);
        // 3. Enter its handle. If an observer has closed the module meanwhile, that found none.
        if self.list.enter(key, op.handle()) {
            let _ = op.handle().cancel();
        }
        // 4. Start the lower one. If it does not start, the place goes with the operation.
        let upper = op.clone();
        let passed = self.tracker.callback(move |_, _, result| Tracker::on_done(&upper, result));
        op.waits_for(passed.id());
        match self.lower.start(request, passed) {
            // 5. Keep the lower handle. If code that the layer below called has closed this module,
            //    the cancel is passed on now.
            Ok(lower) => op.context().lower.set(lower, op.state()),
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error);
            }
        }
        Ok(op.handle())
    }

    /// Closes the module, and cancels the operations that run. See
    /// [`close_with`](HlCancelAll::close_with) to be notified.
    fn close(&self) {
        self.close_and_cancel(None);
    }
}

impl Tracker {
    /// The completion.
    fn on_done<A, E>(op: &Operation<ListPlace, A, E>, result: OpResult<A, E>) {
        // 1. Note what it is.
        op.context().canceled.set(matches!(result, Err(OpError::Canceled)));
        // 2. Complete. Nobody else does. The place goes with the operation, right after this.
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<A, E>(op: &Operation<ListPlace, A, E>) {
    // 1. Should the layer below lose it, the result is Canceled now.
    op.context().canceled.set(true);
    // 2. Pass it on. The operation leaves the list when the lower result has arrived.
    op.context().lower.cancel();
}

impl Drop for ListPlace {
    fn drop(&mut self) {
        let entry = self.list.running.borrow_mut().remove(self.key);
        if let Some(ListEntry { closing: Some(number), .. }) = entry {
            in_drop(|| self.list.count_off(number, self.canceled.get()));
        }
    }
}

impl List {
    /// Enters the handle of an operation; true if that belongs to a closing already.
    fn enter(&self, key: ArenaKey, op: AsyncOp) -> bool {
        let mut running = self.running.borrow_mut();
        let Some(Some(entry)) = running.get_mut(key) else { return false };
        entry.op = Some(op);
        entry.closing.is_some()
    }

    /// Begins a closing, to which all that runs and belongs to none belongs from now on. If nothing runs,
    /// it is over already, and forgotten; if the module was not open, and nothing belongs to it, there is
    /// none to begin.
    fn begin_closing(&self, was_open: bool) {
        let mut closings = self.closings.borrow_mut();
        let number = self.first_closing.get() + closings.len() as u64;
        let mut closing = Closing::default();
        for entry in self.running.borrow_mut().values_mut() {
            if entry.closing.is_none() {
                entry.closing = Some(number);
                closing.left += 1;
            }
        }
        if closing.left > 0 || was_open && !closings.is_empty() {
            closings.push_back(closing);
        }
    }

    /// The closing that is over last, if any is not over.
    fn last_closing(&self) -> Option<u64> {
        let closings = self.closings.borrow().len() as u64;
        (self.first_closing.get() + closings).checked_sub(1).filter(|_| closings > 0)
    }

    /// Accesses a closing; `None` if it is over.
    fn with_closing<R>(&self, number: u64, access: impl FnOnce(&mut Closing) -> R) -> Option<R> {
        let number = number.checked_sub(self.first_closing.get())?;
        self.closings.borrow_mut().get_mut(number as usize).map(access)
    }

    /// Cancels all that a closing waits for (I2), even if a cancel hook panics.
    fn cancel(&self, number: u64) {
        let awaited = |entry: &ListEntry| entry.closing.is_some_and(|closing| closing <= number);
        let running = self.running.borrow();
        let entries = running.values().filter(|entry| awaited(entry));
        let mut ops = entries.filter_map(|entry| entry.op.clone()).collect::<Vec<_>>().into_iter();
        drop(running);
        to_the_end(|| ops.next().map(|op| op.cancel()).is_some());
    }

    /// The deadline of a closing has passed.
    fn on_due(list: &Weak<Self>, number: u64) {
        if let Some(list) = list.upgrade() {
            list.cancel(number);
        }
    }

    /// An operation that belongs to a closing is over.
    fn count_off(&self, number: u64, canceled: bool) {
        self.with_closing(number, |Closing { left, closed, .. }| {
            *left -= 1;
            let count = if canceled { &mut closed.canceled } else { &mut closed.completed };
            *count += 1;
        });
        self.report_drained();
    }

    /// Notifies those who wait for closings that are over (I2).
    fn report_drained(&self) {
        to_the_end(|| {
            let Some(Closing { callbacks, closed, deadline, .. }) = self.next_drained() else {
                return false;
            };
            let _stopped = deadline;
            // If the queue is gone, no one is left to be notified.
            let mut callbacks = callbacks.into_iter();
            to_the_end(|| callbacks.next().map(|callback| callback.answer(closed)).is_some());
            true
        });
    }

    fn next_drained(&self) -> Option<Closing> {
        let mut closings = self.closings.borrow_mut();
        if closings.front()?.left > 0 {
            return None;
        }
        self.first_closing.set(self.first_closing.get() + 1);
        closings.pop_front()
    }
}

/// Cancels what runs, as closing does.
impl<L> Drop for HlCancelAll<L> {
    fn drop(&mut self) {
        in_drop(|| self.close_and_cancel(None));
    }
}

impl<L> fmt::Debug for HlCancelAll<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HlCancelAll").field("gate", &self.gate).finish_non_exhaustive()
    }
}
