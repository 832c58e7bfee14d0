//! The parts of modules: the gate that is open or not, and the handle of the operation below.

use core::cell::{Cell, RefCell};

use crate::callback::Callback;
use crate::op::{AsyncOp, OpState};
use crate::outcome::Cancellation;
use crate::samples::error::StartError;

/// Whether a module is open.
#[derive(Debug, Default)]
pub struct Gate(Cell<bool>);

impl Gate {
    /// Opens it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::Gate;
    ///
    /// let gate = Gate::default(); // in a module of one's own
    /// gate.open();
    /// assert!(gate.is_open());
    /// ```
    pub fn open(&self) {
        self.0.set(true);
    }

    /// Closes it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::Gate;
    ///
    /// let gate = Gate::default();
    /// gate.open();
    /// gate.close(); // operations that run continue
    /// assert!(!gate.is_open());
    /// ```
    pub fn close(&self) {
        self.0.set(false);
    }

    /// Returns true if it is open.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::Gate;
    ///
    /// let gate = Gate::default();
    /// assert!(!gate.is_open()); // a module must be opened first
    /// gate.open();
    /// assert!(gate.is_open());
    /// ```
    pub fn is_open(&self) -> bool {
        self.0.get()
    }

    /// Returns a request and its callback if the gate is open. Otherwise declines the callback.
    ///
    /// # Errors
    ///
    /// [`StartError::NotOpen`], with the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::samples::{Gate, StartError};
    /// use switchboard::{Callback, CallQueue};
    ///
    /// struct Doubler { gate: Gate }
    ///
    /// impl Doubler {
    ///     fn start(&self, number: u32, done: Callback<u32>) -> Result<(), StartError<u32>> {
    ///         let (number, done) = self.gate.admit(number, done)?; // else `done` is declined
    ///         done.answer(2 * number);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let queue = CallQueue::new();
    /// let doubler = Doubler { gate: Gate::default() };
    /// assert!(doubler.start(4, queue.callback(|_, _| ())).is_err());
    /// doubler.gate.open();
    /// assert!(doubler.start(4, queue.callback(|_, doubled| assert_eq!(doubled, 8))).is_ok());
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    #[inline]
    pub fn admit<R, T>(
        &self,
        request: R,
        done: Callback<T>,
    ) -> Result<(R, Callback<T>), StartError<R>> {
        if self.is_open() {
            return Ok((request, done));
        }
        done.decline("the module is not open");
        Err(StartError::NotOpen(request))
    }
}

/// The lower operation that an operation waits for, if any: part of the context of an operation in the
/// middle.
#[derive(Debug, Default)]
pub struct Lower(RefCell<Option<AsyncOp>>);

impl Lower {
    /// Keeps the handle of a lower operation that was just started for an operation in `state`. If the
    /// operation was canceled meanwhile, by code that the layer below called, the cancel is passed on.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpError, OpResult, Operation};
    /// use switchboard::samples::Lower;
    ///
    /// # let queue = CallQueue::new();
    /// # let lower_done = queue.callback(|_, _: OpResult<(), ()>| ());
    /// # let lower = Operation::new(lower_done, (), |op| drop(op.complete(Err(OpError::Canceled))));
    /// # let done = queue.callback(|_, _: OpResult<(), ()>| ());
    /// // In a start function of a middle layer, once the lower operation is started:
    /// let upper = Operation::new(done, Lower::default(), |op| op.context().cancel());
    /// upper.context().set(lower.handle(), upper.state());
    /// # upper.complete(Ok(())).expect("it runs");
    /// # lower.complete(Ok(())).expect("it runs");
    /// # assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    pub fn set(&self, op: AsyncOp, state: OpState) {
        self.0.replace(Some(op));
        if state == OpState::Canceling {
            self.cancel();
        }
    }

    /// Cancels the lower operation. Its result still arrives.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::op::{OpError, OpResult, Operation};
    /// use switchboard::samples::Lower;
    ///
    /// # let queue = CallQueue::new();
    /// # let lower_done = queue.callback(|_, result: OpResult<(), ()>| {
    /// #     assert_eq!(result, Err(OpError::Canceled));
    /// # });
    /// # let lower_op = Operation::new(lower_done, (), |op| drop(op.complete(Err(OpError::Canceled))));
    /// # let done = queue.callback(|_, _: OpResult<(), ()>| ());
    /// // The cancel hook of a middle layer passes the cancel on; the lower result completes the upper one.
    /// let upper = Operation::new(done, Lower::default(), |op| op.context().cancel());
    /// upper.context().set(lower_op.handle(), upper.state());
    /// let _ = upper.handle().cancel();
    /// # upper.complete(Err(OpError::Canceled)).expect("not complete yet");
    /// # assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    pub fn cancel(&self) {
        self.try_cancel();
    }

    /// As [`cancel`](Self::cancel). Returns false if the operation was complete or canceled before.
    pub(super) fn try_cancel(&self) -> bool {
        let op = self.0.borrow().clone();
        op.is_some_and(|op| op.cancel() == Cancellation::Canceled)
    }
}
