//! Around the samples, then: an operation of one layer, and one of another layer after it.

use alloc::rc::Rc;
use core::fmt;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpResult};
use crate::queue::QueueHandle;
use crate::samples::error::StartError;
use crate::samples::ml_chain::{Chain, MlChain, Next};
use crate::samples::module::{Layer, Module};

/// Lets an operation of another layer follow each one. Made by [`ModuleExt::then`](crate::samples::ModuleExt::then).
///
/// The closure makes the second request of the first result, or gives an error, with which it ends. It
/// sees the errors of the first operation, too; to pass them on, it uses `?`.
///
/// Cost: that of a chain of two steps.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlFakeCancel, Module, ModuleExt, ThreadPool, Work};
///
/// let mut reactor = Reactor::new().unwrap();
/// let pool = ThreadPool::new(2);
/// let texts = LlFakeCancel::<&str, Infallible>::new(&reactor.handle(), &pool);
/// let lengths = LlFakeCancel::<usize, Infallible>::new(&reactor.handle(), &pool);
/// let both = texts.then(reactor.queue(), lengths, |text| {
///     let text = text?;
///     Ok(Box::new(move || Ok(text.len())))
/// });
/// both.open();
/// let done = reactor.queue().callback(|_, length| assert_eq!(length, Ok(4)));
/// both.start(Box::new(|| Ok("four")), done).unwrap();
/// reactor.run().unwrap();
/// ```
pub struct Then<L: 'static, M: Module + 'static, F> {
    chain: MlChain<(L, M), M::Answer, M::Error>,
    request: Rc<F>,
}

impl<L: Module + 'static, M: Module + 'static, F> Then<L, M, F>
where
    F: Fn(OpResult<L::Answer, L::Error>) -> OpResult<M::Request, M::Error> + 'static,
{
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::reactor::Reactor;
    /// use switchboard::op::{OpError, OpResult};
    /// use switchboard::samples::{LlConnect, LlFakeCancel, Module, Socket, Then, ThreadPool, resolve};
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let names = LlFakeCancel::new(&reactor.handle(), &ThreadPool::new(2));
    /// let connects = LlConnect::new(&reactor.handle());
    /// // What `names.then(..)` makes: resolves a name, and connects to its first address.
    /// let both = Then::new(reactor.queue(), names, connects, |addresses: OpResult<Vec<_>, _>| {
    ///     addresses?.first().copied().ok_or(OpError::Failed(std::io::ErrorKind::NotFound.into()))
    /// });
    /// both.open();
    /// let done = reactor.queue().callback(|_, connected: Result<Socket, _>| assert!(connected.is_ok()));
    /// both.start(resolve(listener.local_addr()?.to_string()), done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(queue: &QueueHandle, first: L, second: M, request: F) -> Self {
        Self { chain: MlChain::new(queue, (first, second)), request: Rc::new(request) }
    }
}

impl<L: Module + 'static, M: Module + 'static, F> Module for Then<L, M, F>
where
    F: Fn(OpResult<L::Answer, L::Error>) -> OpResult<M::Request, M::Error> + 'static,
{
    type Request = L::Request;
    type Answer = M::Answer;
    type Error = M::Error;

    fn layer(&self) -> Layer<'_> {
        self.chain.layer()
    }

    fn start(
        &self,
        request: L::Request,
        done: Callback<OpResult<M::Answer, M::Error>>,
    ) -> Result<AsyncOp, StartError<L::Request>> {
        // 1. A chain of two steps. The second ends it, with any result.
        let second = Rc::clone(&self.request);
        let then = move |result| {
            let request = second(result)?;
            Ok(Next::Start(Chain::new(
                |lower: &(L, M)| &lower.1,
                request,
                |last: OpResult<_, _>| last.map(Next::Done),
            )))
        };
        self.chain.start_with(|lower| &lower.0, request, then, done)
    }
}

impl<L, M: Module, F> fmt::Debug for Then<L, M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Then").field("chain", &self.chain).finish_non_exhaustive()
    }
}
