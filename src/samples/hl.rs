//! High layer: the top-level operation, handed to a user who may cancel it.
//!
//! It shows that there is nothing left to do at the top: the handle of the layer below is passed on as
//! it is, and a cancel goes down through all layers at once, before it returns. The result is passed up
//! as calls, one a layer. What the queue makes unnecessary: a state of its own, to be kept in step with
//! that below.

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::samples::error::StartError;
use crate::samples::gate::Gate;
use crate::samples::module::{Layer, Module};

/// Hands operations of the layer below to users.
#[derive(Debug)]
pub struct Hl<L> {
    lower: L,
    gate: Gate,
}

impl<L: Module> Hl<L> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{Hl, LlConnect, Module};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let connects = Hl::new(LlConnect::new(&reactor.handle()));
    /// connects.open();
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let done = reactor.queue().callback(|_, connected| assert!(Result::is_ok(&connected)));
    /// let _handle = connects.start(listener.local_addr()?, done)?; // for the user, to cancel it with
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(lower: L) -> Self {
        Self { lower, gate: Gate::default() }
    }
}

impl<L: Module> Module for Hl<L> {
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
        // 2. The handle is the user's, to keep, to cancel, or to drop.
        self.lower.start(request, done)
    }
}
