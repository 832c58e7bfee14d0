//! Around the samples, map: an operation of the layer below whose result is converted.

use core::fmt;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::queue::QueueHandle;
use crate::samples::error::StartError;
use crate::samples::ml_chain::{MlChain, Next};
use crate::samples::module::{Layer, Module};

use alloc::rc::Rc;

/// Converts results, errors too. Made by [`ModuleExt::map`](crate::samples::ModuleExt::map).
///
/// The closure runs in a call of its own, not in that of the layer below. If it panics, the operation
/// answers [`OpError::Dropped`](crate::op::OpError::Dropped).
///
/// Cost: that of a chain of one step.
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
    chain: MlChain<L, A, E>,
    convert: Rc<F>,
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
        Self { chain: MlChain::new(queue, lower), convert: Rc::new(convert) }
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
        // Its chain has one step, after which it starts nothing.
        self.chain.one_step_layer()
    }

    fn start(
        &self,
        request: L::Request,
        done: Callback<OpResult<A, E>>,
    ) -> Result<AsyncOp, StartError<L::Request>> {
        // 1. A chain of one step. What follows it is the converted result.
        let convert = Rc::clone(&self.convert);
        self.chain.start_with(
            |lower| lower,
            request,
            move |result| convert(result).map(Next::Done),
            done,
        )
    }
}

impl<L, A, E, F> fmt::Debug for MapResult<L, A, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapResult").field("chain", &self.chain).finish_non_exhaustive()
    }
}
