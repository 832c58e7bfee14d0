//! What modules are made of: the gate that is open or not, what they stand on, and the handle of the
//! operation below.

use core::cell::{Cell, RefCell};
use core::fmt;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpState};
use crate::samples::{Module, StartError};

/// What a module stands on: another module, or several as a tuple.
///
/// Implemented for these only; name it where code is generic over what a [`MlChain`](super::MlChain)
/// stands on.
pub trait Below {
    /// Opens them.
    #[doc(hidden)]
    fn open_all(&self);

    /// Closes them.
    #[doc(hidden)]
    fn close_all(&self);

    /// The leftovers of all.
    #[doc(hidden)]
    fn count_leftovers(&self) -> usize;
}

impl<M: Module> Below for M {
    fn open_all(&self) {
        self.open();
    }

    fn close_all(&self) {
        self.close();
    }

    fn count_leftovers(&self) -> usize {
        self.leftovers()
    }
}

impl<M: Module, N: Module> Below for (M, N) {
    fn open_all(&self) {
        self.0.open();
        self.1.open();
    }

    fn close_all(&self) {
        self.0.close();
        self.1.close();
    }

    fn count_leftovers(&self) -> usize {
        self.0.leftovers() + self.1.leftovers()
    }
}

impl<M: Module, N: Module, O: Module> Below for (M, N, O) {
    fn open_all(&self) {
        self.0.open();
        self.1.open();
        self.2.open();
    }

    fn close_all(&self) {
        self.0.close();
        self.1.close();
        self.2.close();
    }

    fn count_leftovers(&self) -> usize {
        self.0.leftovers() + self.1.leftovers() + self.2.leftovers()
    }
}

/// What is opened and closed with a module. Returned by [`Module::layer`].
#[derive(Clone, Copy)]
#[must_use]
pub struct Layer<'a> {
    gate: Option<&'a Gate>,
    below: Option<&'a dyn Below>,
}

impl<'a> Layer<'a> {
    /// A module that stands on nothing.
    pub const fn gated(gate: &'a Gate) -> Self {
        Self { gate: Some(gate), below: None }
    }

    /// A module that stands on nothing, and is always open.
    pub const fn ungated() -> Self {
        Self { gate: None, below: None }
    }

    /// A module that changes what goes through it, and has nothing of its own to close: it is open if
    /// what it stands on is.
    pub const fn on(below: &'a impl Below) -> Self {
        Self { gate: None, below: Some(below) }
    }

    /// A module that starts operations on what it stands on also after it was closed: further steps,
    /// further attempts. So it closes itself only.
    pub const fn gated_on(gate: &'a Gate, below: &'a impl Below) -> Self {
        Self { gate: Some(gate), below: Some(below) }
    }

    /// Opens what is below, then the gate.
    pub(super) fn open(self) {
        self.below.into_iter().for_each(Below::open_all);
        self.gate.into_iter().for_each(Gate::open);
    }

    /// Closes the gate, or where there is none, what is below.
    pub(super) fn close(self) {
        match (self.gate, self.below) {
            (Some(gate), _) => gate.close(),
            (None, Some(below)) => below.close_all(),
            (None, None) => {}
        }
    }

    /// The leftovers of what is below.
    pub(super) fn leftovers(self) -> usize {
        self.below.map_or(0, Below::count_leftovers)
    }
}

impl fmt::Debug for Layer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("gate", &self.gate).finish_non_exhaustive()
    }
}

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
