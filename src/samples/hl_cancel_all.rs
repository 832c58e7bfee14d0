//! High layer, cancel all: a list of what runs, which closing the module cancels as a whole.
//!
//! It shows a list of operations that is right at any moment. An operation has a place in it from
//! before the layer below starts until its context is dropped, for any reason. So one that completes at
//! once is in the list before it leaves it. (Where completions run inside the start function, such
//! operations leave before they have entered, and stay forever.) What the queue makes unnecessary: a
//! lock around the list, and waiting for completions in flight.
//!
//! - I1 A place in the list belongs to at most one closing: the one that found it there first.
//! - I2 A closing waits for the places that belong to it, and for the closings before it; its limits apply to
//!   all of these.
//! - I3 However the timer of a limit ends, what its closing waits for is canceled then.

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
    tracker: Rc<Recipient<HlCancelAllTracker>>,
}

/// What has become of the operations that ran when a module was closed, delivered when the last one is
/// over.
///
/// Each operation counts in one closing, the first that found it running. A caller that closes or drains the
/// module again receives the same counts, unless it was opened in between: then that is another closing, which
/// waits for the earlier ones too, and counts only what was started since. A start that was refused
/// counts in none, even if the module was closed within it.
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
    /// They cancel what is left (I3).
    limits: Vec<Timer>,
}

/// Cancels what a closing waits for when it is dropped, unless that is over (I3).
struct CancelRest {
    list: Weak<List>,
    number: u64,
}

/// The module as a recipient: what its completions arrive at.
struct HlCancelAllTracker;

/// The context of one operation: its place in the list.
struct HlCancelAllPlace {
    list: Rc<List>,
    key: ArenaKey,
    lower: Lower,
    /// What it counts as at its end.
    counts_as: Cell<CountsAs>,
    /// Keeps the recipient for as long as the operation runs.
    _tracker: Rc<Recipient<HlCancelAllTracker>>,
}

/// What the end of an operation counts as.
#[derive(Clone, Copy)]
enum CountsAs {
    Canceled,
    Completed,
    /// It was not started.
    Nothing,
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
        let tracker = Rc::new(queue.recipient(HlCancelAllTracker));
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
    /// Operations are canceled in no particular order. If the module is opened again meanwhile, later
    /// operations are not waited for, and do not count; for several closers, see [`Closed`].
    ///
    /// Cost: O(n) steps for n operations that run.
    ///
    /// # Panics
    ///
    /// If a cancel hook below panics. All operations are canceled in any case: the first panic is passed on
    /// after that, and further ones end in the hooks.
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
    /// Closing or dropping the module meanwhile cancels at once, and so does the end of `reactor`, or one that is
    /// gone already: `drained` is answered in any case. Of several drains, the limit that comes first cancels
    /// for all that wait; each limit applies to what earlier drains still wait for, too. If the module is
    /// opened again meanwhile, the limit does not apply to later operations.
    ///
    /// # Panics
    ///
    /// If `reactor` is gone and a cancel hook below panics, as [`close_with`](Self::close_with) does.
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
        // 2. Arm the timer, unless all is over. It goes with the closing, or with the reactor (I3).
        if let Some(number) = number {
            let rest = CancelRest { list: Rc::downgrade(&self.list), number };
            let due = reactor.queue().callback(move |_, ()| drop(rest));
            let mut timer = Some(reactor.after(limit, due));
            self.list.with_closing(number, |closing| closing.limits.extend(timer.take()));
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
        Layer::gated_on(&self.gate, &self.lower).kept_open()
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
        let place = HlCancelAllPlace {
            list: Rc::clone(&self.list),
            key,
            lower: Lower::default(),
            counts_as: Cell::new(CountsAs::Completed),
            _tracker: Rc::clone(&self.tracker),
        };
        let op = Operation::new(done, place, cancel);
        // 3. Enter its handle. If an observer has closed the module meanwhile, that found none.
        if self.list.enter(key, op.handle()) {
            let _ = op.handle().cancel();
        }
        // 4. Start the lower one. If it does not start, the place goes with the operation.
        let upper = op.clone();
        let passed =
            self.tracker.callback(move |_, _, result| HlCancelAllTracker::on_done(&upper, result));
        op.waits_for(passed.id());
        match self.lower.start(request, passed) {
            // 5. Keep the lower handle. If code that the layer below called has closed this module,
            //    the cancel is passed on now.
            Ok(lower) => op.context().lower.set(lower, op.state()),
            Err(error) => {
                op.context().counts_as.set(CountsAs::Nothing);
                op.decline("the layer below did not start");
                return Err(error);
            }
        }
        Ok(op.handle())
    }

    /// Closes the module, and cancels the operations that run. See
    /// [`close_with`](HlCancelAll::close_with) to be notified. What it stands on stays open.
    fn close(&self) {
        self.close_and_cancel(None);
    }
}

impl HlCancelAllTracker {
    /// The completion.
    fn on_done<A, E>(op: &Operation<HlCancelAllPlace, A, E>, result: OpResult<A, E>) {
        // 1. Note what it is.
        let is_canceled = matches!(result, Err(OpError::Canceled));
        let counts_as = if is_canceled { CountsAs::Canceled } else { CountsAs::Completed };
        op.context().counts_as.set(counts_as);
        // 2. Complete. No one else does. The place goes with the operation, right after this.
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<A, E>(op: &Operation<HlCancelAllPlace, A, E>) {
    // 1. Should the layer below lose it, the result is Canceled now.
    op.context().counts_as.set(CountsAs::Canceled);
    // 2. Pass it on. The operation leaves the list when the lower result has arrived.
    op.context().lower.cancel();
}

impl Drop for HlCancelAllPlace {
    fn drop(&mut self) {
        let entry = self.list.running.borrow_mut().remove(self.key);
        if let Some(ListEntry { closing: Some(number), .. }) = entry {
            in_drop(|| self.list.count_off(number, self.counts_as.get()));
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

    /// An operation that belongs to a closing is over.
    fn count_off(&self, number: u64, counts_as: CountsAs) {
        self.with_closing(number, |Closing { left, closed, .. }| {
            *left -= 1;
            match counts_as {
                CountsAs::Canceled => closed.canceled += 1,
                CountsAs::Completed => closed.completed += 1,
                CountsAs::Nothing => {}
            }
        });
        self.report_drained();
    }

    /// Notifies those who wait for closings that are over (I2).
    fn report_drained(&self) {
        to_the_end(|| {
            let Some(Closing { callbacks, closed, limits, .. }) = self.next_drained() else {
                return false;
            };
            let _stopped = limits;
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

impl Drop for CancelRest {
    fn drop(&mut self) {
        let Some(list) = self.list.upgrade() else { return };
        if list.with_closing(self.number, |_| ()).is_some() {
            in_drop(|| list.cancel(self.number));
        }
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
