//! What modules are made of: the gate that is open or not, and the handle of the operation below.

use core::cell::{Cell, RefCell};

use crate::callback::Callback;
use crate::op::{AsyncOp, OpState};
use crate::samples::error::StartError;

/// Whether a module is open.
#[derive(Debug, Default)]
pub struct Gate(Cell<bool>);

impl Gate {
    /// Opens it.
    pub fn open(&self) {
        self.0.set(true);
    }

    /// Closes it.
    pub fn close(&self) {
        self.0.set(false);
    }

    /// Returns true if it is open.
    pub fn is_open(&self) -> bool {
        self.0.get()
    }

    /// Returns a request and its callback if the gate is open. Otherwise declines the callback.
    ///
    /// # Errors
    ///
    /// [`StartError::NotOpen`], with the request.
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
    /// Keeps the handle of a lower operation that was just started for an operation in `state`. If
    /// a cancel came meanwhile, from code that the layer below called, it is passed on.
    pub fn set(&self, op: AsyncOp, state: OpState) {
        self.0.replace(Some(op));
        if state == OpState::Canceling {
            self.cancel();
        }
    }

    /// Cancels it. Its result is still to come.
    pub fn cancel(&self) {
        let op = self.0.borrow().clone();
        if let Some(op) = op {
            let _ = op.cancel();
        }
    }
}
