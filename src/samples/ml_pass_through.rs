//! Middle layer, pass through: an operation that is one of the layer below, cancel included.
//!
//! It shows how layers stack: the upper callback is passed down as a callback of this module, and the
//! lower handle is passed up inside a handle of this module. What the queue makes unnecessary: the
//! lower operation cannot complete before its handle is kept, as its result is a call that is dialed
//! after the start function has returned.

use alloc::rc::Rc;
use core::fmt;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult, Operation};
use crate::queue::QueueHandle;
use crate::recipient::Recipient;
use crate::samples::error::StartError;
use crate::samples::gate::{Gate, Lower};
use crate::samples::module::{Layer, Module};

/// Passes operations to the layer below.
pub struct MlPassThrough<L> {
    lower: L,
    gate: Gate,
    relay: Rc<Recipient<MlPassThroughRelay>>,
}

/// The module as a recipient: where lower results arrive.
struct MlPassThroughRelay;

/// The context of one operation.
struct MlPassing {
    lower: Lower,
    /// Keeps the recipient for as long as the operation runs.
    _relay: Rc<Recipient<MlPassThroughRelay>>,
}

impl<L: Module> MlPassThrough<L> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlConnect, MlPassThrough, Module, Socket};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let connects = MlPassThrough::new(reactor.queue(), LlConnect::new(&reactor.handle()));
    /// connects.open();
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let done = reactor.queue().callback(|_, connected: Result<Socket, _>| assert!(connected.is_ok()));
    /// connects.start(listener.local_addr()?, done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        let relay = Rc::new(queue.recipient(MlPassThroughRelay));
        Self { lower, gate: Gate::default(), relay }
    }
}

impl<L: Module> Module for MlPassThrough<L> {
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
        let context = MlPassing { lower: Lower::default(), _relay: Rc::clone(&self.relay) };
        let op = Operation::new(done, context, cancel);
        // 3. Start the lower one. Its callback holds the operation, so if the layer below loses the
        //    callback, the operation is lost too, and its result is Dropped.
        let upper = op.clone();
        let passed =
            self.relay.callback(move |_, _, result| MlPassThroughRelay::on_done(&upper, result));
        op.waits_for(passed.id());
        match self.lower.start(request, passed) {
            // 4. Keep the lower handle. The lower result cannot have arrived yet.
            Ok(lower) => op.context().lower.set(lower, op.state()),
            Err(error) => {
                op.decline("the layer below did not start");
                return Err(error);
            }
        }
        Ok(op.handle())
    }
}

impl MlPassThroughRelay {
    /// The completion.
    fn on_done<A, E>(op: &Operation<MlPassing, A, E>, result: OpResult<A, E>) {
        // 1. Whatever it is, also Canceled, it is the result. No one else completes.
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<A, E>(op: &Operation<MlPassing, A, E>) {
    // 1. Pass it on. The lower result arrives as usual: Canceled, or the real one if it is late.
    op.context().lower.cancel();
}

impl<L> fmt::Debug for MlPassThrough<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlPassThrough").field("gate", &self.gate).finish_non_exhaustive()
    }
}
