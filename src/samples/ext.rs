//! How modules are put together.

use core::time::Duration;

use crate::op::OpResult;
use crate::queue::QueueHandle;
use crate::reactor::ReactorHandle;
use crate::samples::deadline::Deadline;
use crate::samples::first::FirstOf;
use crate::samples::hl_cancel_all::HlCancelAll;
use crate::samples::map::MapResult;
use crate::samples::ml_retries::{MlRetries, RetryPolicy};
use crate::samples::module::Module;
use crate::samples::then::Then;

/// Puts modules together: one is made of another, by value. Implemented for all modules.
///
/// # Examples
///
/// Connects to the first of several addresses that answers within a second, and tries it all again if
/// none does:
///
/// ```
/// use std::net::SocketAddr;
/// use std::time::Duration;
/// use switchboard::reactor::Reactor;
/// use switchboard::samples::{LlConnect, Module, ModuleExt, Retry, RetryPolicy, Socket};
///
/// let mut reactor = Reactor::new()?;
/// let connects = LlConnect::new(&reactor.handle())
///     .within(&reactor.handle(), Duration::from_secs(1))
///     .first(reactor.queue())
///     .retried(&reactor.handle(), RetryPolicy::new().attempts(3));
/// connects.open();
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
/// let done = reactor.queue().callback(move |_, connected| {
///     let socket: Socket = Result::unwrap(connected);
///     assert_eq!(socket.with(|stream| stream.peer_addr().unwrap()), Some(address));
/// });
/// connects.start(Retry::new(move |_, _| vec![closed, address]), done).unwrap();
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ModuleExt: Module + Sized + 'static {
    /// Converts the results of operations. See [`MapResult`].
    fn map<A, E, F>(self, queue: &QueueHandle, convert: F) -> MapResult<Self, A, E, F>
    where
        A: 'static,
        E: 'static,
        F: Fn(OpResult<Self::Answer, Self::Error>) -> OpResult<A, E> + 'static,
    {
        MapResult::new(queue, self, convert)
    }

    /// Lets an operation of `second` follow each one, with a request made of its result. See [`Then`].
    fn then<M, F>(self, queue: &QueueHandle, second: M, request: F) -> Then<Self, M, F>
    where
        M: Module + 'static,
        F: Fn(OpResult<Self::Answer, Self::Error>) -> OpResult<M::Request, M::Error> + 'static,
    {
        Then::new(queue, self, second, request)
    }

    /// Tries several requests, one after the other and never two at a time, until one succeeds. See [`FirstOf`].
    fn first(self, queue: &QueueHandle) -> FirstOf<Self>
where {
        FirstOf::new(queue, self)
    }

    /// Cancels operations that are not complete after `limit`. See [`Deadline`].
    fn within(self, reactor: &ReactorHandle, limit: Duration) -> Deadline<Self>
where {
        Deadline::new(reactor, self, limit)
    }

    /// Repeats operations that fail, according to `policy`. See [`MlRetries`].
    fn retried(self, reactor: &ReactorHandle, policy: RetryPolicy<Self::Error>) -> MlRetries<Self>
where {
        MlRetries::new(reactor, self, policy)
    }

    /// Keeps a list of the operations that run, to cancel or drain them all. See [`HlCancelAll`].
    fn cancel_all(self, queue: &QueueHandle) -> HlCancelAll<Self>
where {
        HlCancelAll::new(queue, self)
    }
}

impl<M: Module + 'static> ModuleExt for M {}
