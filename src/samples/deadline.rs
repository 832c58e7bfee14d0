//! Around the samples, deadline: an operation of the layer below, for so long at most.
//!
//! It shows an operation that two things may end, and that ends once: the timer only cancels the lower
//! operation, whose result arrives as usual and decides. So a result that was fixed before the time was
//! up is not lost, and the timer goes with the operation.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::reactor::{ReactorHandle, Timer};
use crate::recipient::Recipient;
use crate::samples::error::StartError;
use crate::samples::gate::{Gate, Lower};
use crate::samples::module::{Layer, Module};

/// Cancels operations of the layer below that exceed a limit of time. Made by
/// [`ModuleExt::within`](crate::samples::ModuleExt::within).
///
/// Their result is then [`OpError::TimedOut`], which can be retried. A result that was fixed before the
/// deadline still arrives.
///
/// Cost: a timer, and that of [`MlPassThrough`](super::MlPassThrough).
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use switchboard::op::OpError;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlFakeCancel, Module, ModuleExt, ThreadPool};
///
/// let mut reactor = Reactor::new().unwrap();
/// let pool = ThreadPool::new(2);
/// let works = LlFakeCancel::<(), Infallible>::new(&reactor.handle(), &pool);
/// let works = works.within(&reactor.handle(), Duration::from_millis(1));
/// works.open();
/// let (end, ends) = mpsc::channel::<()>();
/// let done = reactor.queue().callback(move |_, result| {
///     assert_eq!(result, Err(OpError::TimedOut));
///     drop(end); // the work itself runs until then
/// });
/// let forever = Box::new(move || Ok(drop(ends.recv())));
/// works.start(forever, done).unwrap();
/// reactor.run().unwrap();
/// ```
pub struct Deadline<L> {
    lower: L,
    gate: Gate,
    limit: Duration,
    reactor: ReactorHandle,
    watch: Rc<Recipient<DeadlineWatchdog>>,
}

/// The module as a recipient: where lower results and timers arrive.
struct DeadlineWatchdog;

/// The context of one operation.
struct DeadlineLimited {
    lower: Lower,
    /// Until the time is up.
    timer: Cell<Option<Timer>>,
    timed_out: Cell<bool>,
    /// Keeps the recipient for as long as the operation runs.
    _watch: Rc<Recipient<DeadlineWatchdog>>,
}

/// The operation, as the completion of the lower one holds it.
struct Passed<A: 'static, E: 'static>(Operation<DeadlineLimited, A, E>);

impl<A, E> Drop for Passed<A, E> {
    /// Stops the timer, so that an operation that the layer below has lost does not wait for it.
    fn drop(&mut self) {
        drop(self.0.context().timer.take());
    }
}

impl<L: Module> Deadline<L> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{Deadline, LlConnect, Module};
    ///
    /// let reactor = Reactor::new()?;
    /// let connects = LlConnect::new(&reactor.handle());
    /// // What `connects.within(..)` makes: a connect that takes three seconds at most.
    /// let connects = Deadline::new(&reactor.handle(), connects, Duration::from_secs(3));
    /// connects.open();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(reactor: &ReactorHandle, lower: L, limit: Duration) -> Self {
        let watch = Rc::new(reactor.queue().recipient(DeadlineWatchdog));
        Self { lower, gate: Gate::default(), limit, reactor: reactor.clone(), watch }
    }
}

impl<L: Module> Module for Deadline<L> {
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
        // 1. Refuse before there is anything to undo.
        let (request, done) = self.gate.admit(request, done)?;
        // 2. Make the operation: from here on, `done` is answered in any case.
        let context = DeadlineLimited {
            lower: Lower::default(),
            timer: Cell::new(None),
            timed_out: Cell::new(false),
            _watch: Rc::clone(&self.watch),
        };
        let op = Operation::new(done, context, cancel);
        // 3. Arm the timer. It holds the operation, and the operation the timer, until the completion of the
        //    lower one ends that: it is dialed, or lost.
        let passed = Passed(op.clone());
        let passed =
            self.watch.callback(move |_, _, result| DeadlineWatchdog::on_done(&passed.0, result));
        let upper = op.clone();
        let due = self.watch.callback(move |_, _, ()| DeadlineWatchdog::on_due(&upper));
        op.context().timer.set(Some(self.reactor.after(self.limit, due)));
        // 4. Start the lower one, and keep its handle.
        op.waits_for(passed.id());
        match self.lower.start(request, passed) {
            Ok(lower) => op.context().lower.set(lower, op.state()),
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error);
            }
        }
        Ok(op.handle())
    }
}

impl DeadlineWatchdog {
    /// The completion.
    fn on_done<A, E>(op: &Operation<DeadlineLimited, A, E>, result: OpResult<A, E>) {
        let DeadlineLimited { timer, timed_out, .. } = op.context();
        // 1. Stop the timer, whose call is then never dialed.
        drop(timer.take());
        // 2. The cancel was the timer's, unless the user canceled, too.
        let result = match result {
            Err(OpError::Canceled) if timed_out.get() && op.state() == OpState::Running => {
                Err(OpError::TimedOut)
            }
            result => result,
        };
        // 3. Complete. No one else does.
        let _ = op.complete(result);
    }

    /// The time is up.
    fn on_due<A, E>(op: &Operation<DeadlineLimited, A, E>) {
        let DeadlineLimited { lower, timer, timed_out, .. } = op.context();
        // 1. The timer has done its duty. (If it is gone, the operation is complete.)
        if timer.take().is_some() {
            // 2. Cancel the lower operation, whose hook may panic. If that is late, the real result
            //    arrives, even if it is Canceled.
            timed_out.set(true);
            timed_out.set(lower.try_cancel());
        }
    }
}

/// The cancel hook.
fn cancel<A, E>(op: &Operation<DeadlineLimited, A, E>) {
    // 1. Pass it on. The timer is dropped when the lower result arrives.
    op.context().lower.cancel();
}

impl<L> fmt::Debug for Deadline<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("limit", &self.limit).finish_non_exhaustive()
    }
}
