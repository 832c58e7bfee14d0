//! Around the samples, first: several requests to the layer below, one after the other, until one
//! succeeds.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use crate::callback::Callback;
use crate::op::{AsyncOp, OpError, OpResult};
use crate::queue::QueueHandle;
use crate::samples::error::StartError;
use crate::samples::ml_chain::{Chain, MlChain, Next};
use crate::samples::module::{Layer, Module};

/// Tries requests one after the other, never two at a time, and answers with the first that succeeds. Made by [`ModuleExt::first`](crate::samples::ModuleExt::first).
///
/// A request is a list, such as addresses to connect to. Each entry is tried when the previous one has
/// failed or was refused, but not after a cancel. If all fail, the last error is the result. An empty
/// list is refused, and so is one whose first request is. (In a chain, behind a resolved name say, that is the
/// result [`NotStarted`](OpError::NotStarted), which is not retried by default.)
///
/// Over a [`Deadline`](super::Deadline), each try has so long; below one, all together have.
///
/// Cost: that of a chain with a step for each try.
pub struct FirstOf<L: Module + 'static> {
    chain: MlChain<L, L::Answer, L::Error>,
}

/// The requests that are not tried yet.
type Rest<L> = Rc<RefCell<VecDeque<<L as Module>::Request>>>;

/// The outcome of a try: another one, or the end.
type Tried<L> =
    OpResult<Next<L, <L as Module>::Answer, <L as Module>::Error>, <L as Module>::Error>;

/// The list of requests is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing to try: the list of requests is empty; give at least one")]
struct NothingToTry;

impl<L: Module + 'static> FirstOf<L> {
    /// Makes the module, not open yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{FirstOf, LlConnect, Module, Socket};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let connects = FirstOf::new(reactor.queue(), LlConnect::new(&reactor.handle()));
    /// connects.open();
    /// let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let done = reactor.queue().callback(|_, connected: Result<Socket, _>| assert!(connected.is_ok()));
    /// connects.start(vec![closed, listener.local_addr()?], done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(queue: &QueueHandle, lower: L) -> Self {
        Self { chain: MlChain::new(queue, lower) }
    }
}

impl<L: Module + 'static> Module for FirstOf<L> {
    type Request = Vec<L::Request>;
    type Answer = L::Answer;
    type Error = L::Error;

    fn layer(&self) -> Layer<'_> {
        self.chain.layer()
    }

    fn start(
        &self,
        request: Vec<L::Request>,
        done: Callback<OpResult<L::Answer, L::Error>>,
    ) -> Result<AsyncOp, StartError<Vec<L::Request>>> {
        // 1. Refuse a list of nothing.
        let mut requests = VecDeque::from(request);
        let Some(first) = requests.pop_front() else {
            done.decline("nothing to try");
            return Err(StartError::Failed { source: NothingToTry.into(), request: Vec::new() });
        };
        // 2. A chain with a step for each try. The rest of the requests is returned if it does not
        //    start.
        let rest: Rest<L> = Rc::new(RefCell::new(requests));
        let tried = Rc::clone(&rest);
        let then = move |result| follow::<L>(result, tried);
        self.chain.start_with(|lower| lower, first, then, done).map_err(|error| {
            error.map(|first| {
                let mut requests = rest.take();
                requests.push_front(first);
                requests.into()
            })
        })
    }
}

/// What follows a try.
fn follow<L: Module + 'static>(result: OpResult<L::Answer, L::Error>, rest: Rest<L>) -> Tried<L> {
    // 1. A success is the answer, and a cancel the end.
    let error = match result {
        Ok(answer) => return Ok(Next::Done(answer)),
        Err(OpError::Canceled) => return Err(OpError::Canceled),
        Err(error) => error,
    };
    // 2. Try the next one. After the last one, its error is the result.
    let next = rest.borrow_mut().pop_front();
    let request = next.ok_or(error)?;
    let then = move |result| follow::<L>(result, rest);
    Ok(Next::Start(Chain::new(|lower| lower, request, then)))
}

impl<L: Module> fmt::Debug for FirstOf<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstOf").field("chain", &self.chain).finish_non_exhaustive()
    }
}
