//! High layer: the top-level operation, handed to a user who may cancel it.
//!
//! It shows that there is nothing left to do at the top: the handle of the layer below is passed
//! on as it is, and a cancel goes down through all layers at once, before it returns. The result
//! comes back up as calls, one a layer. What the queue makes unnecessary: a state of its own.

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::queue::QueueHandle;
use crate::samples::{MlPassThrough, Module, StartError};

/// Hands operations of the layer below to users.
#[derive(Debug)]
pub struct Hl<L> {
    top: MlPassThrough<L>,
}

impl<L: Module> Hl<L> {
    /// Makes the module, not open yet.
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        Self { top: MlPassThrough::new(queue, lower) }
    }
}

impl<L: Module> Module for Hl<L> {
    type Request = L::Request;
    type Answer = L::Answer;
    type Error = L::Error;

    fn open(&self) {
        self.top.open();
    }

    fn close(&self) {
        self.top.close();
    }

    fn leftovers(&self) -> usize {
        self.top.leftovers()
    }

    fn start(
        &self,
        request: L::Request,
        done: Callback<OpResult<L::Answer, L::Error>>,
    ) -> Result<AsyncOp, StartError<L::Request>> {
        // 1. The handle is the user's, to keep, to cancel, or to drop.
        self.top.start(request, done)
    }
}
