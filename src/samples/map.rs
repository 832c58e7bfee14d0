//! Around the samples, map: an operation of the layer below whose result is converted.

use alloc::rc::Rc;
use core::fmt;
use core::marker::PhantomData;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use crate::queue::QueueHandle;
use crate::recipient::Recipient;
use crate::samples::error::StartError;
use crate::samples::gate::{Gate, Lower};
use crate::samples::module::{Layer, Module};

/// Converts results, errors too. Made by [`ModuleExt::map`](crate::samples::ModuleExt::map).
///
/// The closure runs in a call of its own, not in that of the layer below. If it panics, the operation
/// answers [`OpError::Dropped`](crate::op::OpError::Dropped). A cancel that reaches the layer below in time is
/// not converted; if it is late there, the real result is.
///
/// Cost: that of [`MlPassThrough`](super::MlPassThrough).
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlFakeCancel, Module, ModuleExt, ThreadPool};
///
/// let mut reactor = Reactor::new().unwrap();
/// let pool = ThreadPool::new(2);
/// let works = LlFakeCancel::<&str, Infallible>::new(&reactor.handle(), &pool);
/// let lengths = works.map(reactor.queue(), |text| Ok(text?.len()));
/// lengths.open();
/// let done = reactor.queue().callback(|_, length| assert_eq!(length, Ok(4)));
/// lengths.start(Box::new(|| Ok("four")), done).unwrap();
/// reactor.run().unwrap();
/// ```
pub struct MapResult<L: 'static, A: 'static, E: 'static, F> {
    lower: L,
    gate: Gate,
    convert: Rc<F>,
    converter: Rc<Recipient<MapResultConverter>>,
    result: PhantomData<fn() -> OpResult<A, E>>,
}

/// The module as a recipient: where lower results arrive.
struct MapResultConverter;

/// The context of one operation.
struct MapConverting {
    lower: Lower,
    /// Keeps the recipient for as long as the operation runs.
    _converter: Rc<Recipient<MapResultConverter>>,
}

impl<L: Module + 'static, A: 'static, E: 'static, F> MapResult<L, A, E, F>
where
    F: Fn(OpResult<L::Answer, L::Error>) -> OpResult<A, E> + 'static,
{
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use switchboard::reactor::Reactor;
    /// # use switchboard::samples::{LlFakeCancel, MapResult, Module, ThreadPool};
    /// # let mut reactor = Reactor::new()?;
    /// # let pool = ThreadPool::new(2);
    /// let works = LlFakeCancel::<&str, Infallible>::new(&reactor.handle(), &pool);
    /// // What `works.map(..)` makes:
    /// let lengths = MapResult::new(reactor.queue(), works, |text| Ok(text?.len()));
    /// lengths.open();
    /// # let done = reactor.queue().callback(|_, length| assert_eq!(length, Ok::<_, switchboard::op::OpError<Infallible>>(4)));
    /// lengths.start(Box::new(|| Ok("four")), done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(queue: &QueueHandle, lower: L, convert: F) -> Self {
        let converter = Rc::new(queue.recipient(MapResultConverter));
        let convert = Rc::new(convert);
        Self { lower, gate: Gate::default(), convert, converter, result: PhantomData }
    }
}

impl<L: Module + 'static, A: 'static, E: 'static, F> Module for MapResult<L, A, E, F>
where
    F: Fn(OpResult<L::Answer, L::Error>) -> OpResult<A, E> + 'static,
{
    type Request = L::Request;
    type Answer = A;
    type Error = E;

    fn layer(&self) -> Layer<'_> {
        Layer::gated_on(&self.gate, &self.lower)
    }

    fn start(
        &self,
        request: L::Request,
        done: Callback<OpResult<A, E>>,
    ) -> Result<AsyncOp, StartError<L::Request>> {
        // 1. Refuse before there is anything to undo.
        let (request, done) = self.gate.admit(request, done)?;
        // 2. Make the operation: from here on, `done` is answered in any case.
        let context =
            MapConverting { lower: Lower::default(), _converter: Rc::clone(&self.converter) };
        let op = Operation::new(done, context, cancel);
        // 3. Start the lower one, and keep its handle.
        let (upper, convert) = (op.clone(), Rc::clone(&self.convert));
        let passed = self.converter.callback(move |_, _, result| {
            MapResultConverter::on_done(&upper, result, &*convert);
        });
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

impl MapResultConverter {
    /// The completion.
    fn on_done<A, E, B, D>(
        op: &Operation<MapConverting, B, D>,
        result: OpResult<A, E>,
        convert: impl Fn(OpResult<A, E>) -> OpResult<B, D>,
    ) {
        // 1. A cancel was passed on, unless that was late: then the real result is converted.
        let result = match result {
            Err(OpError::Canceled) if op.state() == OpState::Canceling => Err(OpError::Canceled),
            result => convert(result),
        };
        // 2. Complete. No one else does.
        let _ = op.complete(result);
    }
}

/// The cancel hook.
fn cancel<A, E>(op: &Operation<MapConverting, A, E>) {
    // 1. Pass it on. The lower result arrives as usual: Canceled, or the real one if it is late.
    op.context().lower.cancel();
}

impl<L, A, E, F> fmt::Debug for MapResult<L, A, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapResult").field("gate", &self.gate).finish_non_exhaustive()
    }
}
