//! Calls from other threads (rule M8).
//!
//! What is sent waits in the [`Inbox`] until the reactor's next turn, which schedules a call for
//! each. From there on they are calls like any other.
//!
//! - I1 Closures of users run and drop on the reactor's thread, or go back to who sent them. (The
//!   handler of a waker, which threads share, drops with the last clone of the waker.)
//! - I2 A call that is sent to the reactor's own queue has an end that the tally counts: the inbox
//!   of a reactor that goes is emptied into its queue before the queue ends.
//! - I3 The address behind a [`RemoteAddress`] stays with the reactor until the last of its clones,
//!   and of the calls sent through them, lets go of the [`Mark`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::panic::Location;
use std::sync::Arc;

use mio::Waker;

use crate::arena::{Arena, ArenaKey};
use crate::id::CallId;
use crate::reactor::ReactorHandle;
use crate::reactor::error::SendError;
use crate::reactor::inbox::{Inbox, Quota, Rejection};
use crate::recipient::{Address, Context};
use crate::unwind::to_the_end;

mod waker;

/// Room for as many calls is kept for the next ones.
const KEPT: usize = 1024;

/// Schedules function calls from any thread.
///
/// Made by [`ReactorHandle::remote`]. Cloning counts a reference. Calls are scheduled in the order
/// they were sent, per sender. They cannot be canceled from outside: that could not be immediate.
///
/// # Examples
///
/// ```
/// use std::thread;
/// use switchboard::reactor::Reactor;
///
/// let mut reactor = Reactor::new()?;
/// let total = reactor.queue().recipient(0);
/// let sender = reactor.remote_to(&total);
/// thread::spawn(move || {
///     for number in 1..=10 {
///         sender.call(move |total, _| *total += number).expect("the reactor is there");
///     }
/// });
/// reactor.run()?; // until the sender is gone
/// total.call(|total, _| assert_eq!(*total, 55));
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("uv_async_t", "EventLoopProxy", "call_soon_threadsafe", "waker"))]
pub struct Remote {
    post: Arc<Post>,
    quota: Option<Arc<Quota>>,
}

impl Remote {
    /// Limits how many calls may be underway: sent, and neither dialed nor dropped. What is sent
    /// beyond that comes back.
    ///
    /// Clones share the limit, which replaces the one before. With a `capacity` of 0 everything
    /// comes back.
    #[must_use]
    pub fn bounded(self, capacity: usize) -> Self {
        let post = Arc::clone(&self.post);
        Self::new(post, Some(Arc::new(Quota::new(capacity))))
    }

    /// Schedules a function call, which gets the reactor.
    ///
    /// Cost: one allocation, and a system call if nothing else waits to be fetched.
    ///
    /// # Errors
    ///
    /// Hands the closure back if the reactor is gone, if as many calls are underway as may be, or
    /// if the system does not let the reactor be woken.
    #[track_caller]
    pub fn call<F>(&self, function: F) -> Result<(), SendError<F>>
    where
        F: FnOnce(&ReactorHandle) + Send + 'static,
    {
        let site = Location::caller();
        let Some(permit) = self.permit() else { return Err(SendError::Full(function)) };
        let call = Box::new(RemoteFunction { function, site, permit });
        self.post.send(call).map_err(|(call, error)| error.rejecting(call.function))
    }

    fn new(post: Arc<Post>, quota: Option<Arc<Quota>>) -> Self {
        post.inbox.join();
        Self { post, quota }
    }

    /// The permit to send; none if as many calls are underway as may be.
    fn permit(&self) -> Option<Permit> {
        match &self.quota {
            Some(quota) => quota.enter().then(|| Permit(Some(Arc::clone(quota)))),
            None => Some(Permit(None)),
        }
    }
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.post), self.quota.clone())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A reactor that runs is to see that nothing comes any more. If it cannot be woken, it sees
        // that at its next event.
        self.post.inbox.leave(|| drop(self.post.waker.wake()));
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Schedules calls to one recipient from any thread, whatever its type.
///
/// Made by [`ReactorHandle::remote_to`]. Like an [`Address`], it does not own the recipient: calls
/// to one that is gone are refused. Otherwise as [`Remote`].
///
/// Cost: two allocations to make one, none to clone it. The last clone to drop has the reactor
/// to let go of the address: one allocation, and a system call if nothing else waits to be fetched.
pub struct RemoteAddress<T: 'static> {
    // Fields drop in this order: what the mark sends is in while the remote still counts as a sender.
    mark: Arc<Mark>,
    remote: Remote,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T: 'static> RemoteAddress<T> {
    /// Limits how many calls may be underway, as [`Remote::bounded`].
    #[must_use]
    pub fn bounded(self, capacity: usize) -> Self {
        Self { remote: self.remote.bounded(capacity), ..self }
    }

    /// Schedules a call to the recipient.
    ///
    /// Cost: one allocation, and a system call if nothing else waits to be fetched.
    ///
    /// # Errors
    ///
    /// As [`Remote::call`].
    #[track_caller]
    pub fn call<F>(&self, handler: F) -> Result<(), SendError<F>>
    where
        F: FnOnce(&mut T, &Context<'_, T>) + Send + 'static,
    {
        let site = Location::caller();
        let Some(permit) = self.remote.permit() else { return Err(SendError::Full(handler)) };
        let mark = Arc::clone(&self.mark);
        let call = RemoteHandler { handler, site, permit, mark, recipient: PhantomData };
        let sent = self.remote.post.send(Box::new(call));
        sent.map_err(|(call, error)| error.rejecting(call.handler))
    }
}

impl<T: 'static> Clone for RemoteAddress<T> {
    fn clone(&self) -> Self {
        let (remote, mark) = (self.remote.clone(), Arc::clone(&self.mark));
        Self { remote, mark, recipient: PhantomData }
    }
}

impl<T: 'static> fmt::Debug for RemoteAddress<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAddress").finish_non_exhaustive()
    }
}

/// What threads share: where they send to, and how they wake the reactor.
struct Post {
    inbox: Inbox<Box<dyn Deliver>>,
    waker: Arc<Waker>,
}

impl Post {
    /// Hands the call back with the error.
    fn send<D: Deliver + 'static>(&self, call: Box<D>) -> Result<(), (Box<D>, SendError<()>)> {
        let sent = self.inbox.send(call, |call| call as Box<dyn Deliver>, || self.waker.wake());
        sent.map_err(|(call, rejection)| match rejection {
            Rejection::Closed => (call, SendError::ReactorDropped(())),
            Rejection::NotWoken(source) => (call, SendError::NotWoken { source, rejected: () }),
        })
    }
}

/// Names an address that is with the reactor (I3).
struct Mark {
    key: ArenaKey,
    post: Arc<Post>,
}

impl Drop for Mark {
    fn drop(&mut self) {
        // If the reactor is gone, so is the address. If it cannot be woken, the address stays with
        // it.
        let _ = self.post.send(Box::new(Release(self.key)));
    }
}

/// Tells the reactor to let go of an address.
struct Release(ArenaKey);

impl Deliver for Release {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let address = reactor.shared().remotes.addresses.borrow_mut().remove(self.0);
        drop(address);
    }
}

/// The right to be underway. Dropping it makes room for another call.
struct Permit(Option<Arc<Quota>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(quota) = &self.0 {
            quota.leave();
        }
    }
}

/// A call on its way to the reactor.
trait Deliver: Send {
    /// Schedules the call, on the reactor's thread.
    fn deliver(self: Box<Self>, reactor: &ReactorHandle);
}

struct RemoteFunction<F> {
    function: F,
    site: &'static Location<'static>,
    permit: Permit,
}

impl<F: FnOnce(&ReactorHandle) + Send + 'static> Deliver for RemoteFunction<F> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let (site, handle) = (self.site, reactor.clone());
        // The call comes back if the queue takes no more; it is dropped here then (I1).
        reactor.queue().promised_call(site, move |_| {
            let Self { function, permit, .. } = *self;
            drop(permit);
            function(&handle);
        });
    }
}

struct RemoteHandler<T: 'static, F> {
    handler: F,
    site: &'static Location<'static>,
    permit: Permit,
    mark: Arc<Mark>,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T, F> Deliver for RemoteHandler<T, F>
where
    T: 'static,
    F: FnOnce(&mut T, &Context<'_, T>) + Send + 'static,
{
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let address = reactor.shared().remotes.address::<T>(&self.mark);
        address.promised_call(self.site, move |recipient: &mut T, cx: &Context<'_, T>| {
            let Self { handler, permit, .. } = *self;
            drop(permit);
            handler(recipient, cx);
        });
    }
}

/// The reactor's side.
pub(super) struct Remotes {
    post: Arc<Post>,
    /// Taken from the inbox, and not scheduled yet.
    taken: RefCell<VecDeque<Box<dyn Deliver>>>,
    /// Those behind [`RemoteAddress`]es.
    addresses: RefCell<Arena<Option<Rc<dyn Any>>>>,
    /// The id that the latest call beyond the queue's capacity got, or was to get.
    beyond: Cell<Option<CallId>>,
}

impl Remotes {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        let post = Arc::new(Post { inbox: Inbox::new(), waker });
        let (taken, addresses) = (RefCell::default(), RefCell::default());
        Self { post, taken, addresses, beyond: Cell::new(None) }
    }

    pub(super) fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.post), None)
    }

    pub(super) fn remote_to<T: 'static>(
        &self,
        reactor: &ReactorHandle,
        address: &Address<T>,
    ) -> RemoteAddress<T> {
        let key = self.addresses.borrow_mut().insert(Rc::new(address.clone()));
        // A reactor that is gone delivers nothing, so it needs no address.
        if reactor.queue().is_closed() {
            let unused = self.addresses.borrow_mut().remove(key);
            drop(unused);
        }
        let mark = Arc::new(Mark { key, post: Arc::clone(&self.post) });
        RemoteAddress { remote: self.remote(), mark, recipient: PhantomData }
    }

    /// Schedules calls that have come, at most as many as the budget has left: more would keep those
    /// that wait for readiness from their turn (rule M6). But one at least, or else what keeps the
    /// queue busy would keep them out for good; of those beyond the queue's capacity, one at a time.
    /// If an observer panics, the rest stays for the next turn.
    #[inline]
    pub(super) fn deliver(&self, reactor: &ReactorHandle, budget: usize) {
        if self.is_busy() {
            self.deliver_some(reactor, budget);
        }
    }

    #[inline(never)]
    fn deliver_some(&self, reactor: &ReactorHandle, budget: usize) {
        let queue = reactor.queue().core();
        let most = budget.saturating_sub(queue.pending() as usize).max(1);
        self.fetch();
        for delivered in 0..most {
            let is_full = queue.is_full();
            if is_full
                && (delivered > 0 || self.beyond.get().is_some_and(|id| queue.has_turn_ahead(id)))
            {
                return;
            }
            let Some(call) = self.take() else { return };
            if is_full {
                self.beyond.set(Some(queue.next_id()));
            }
            call.deliver(reactor);
        }
    }

    /// Whether there is something to be scheduled.
    pub(super) fn is_busy(&self) -> bool {
        !self.taken.borrow().is_empty() || self.post.inbox.has_mail()
    }

    /// Whether anybody may send. If not, [`is_busy`](Self::is_busy) covers all that was sent.
    pub(super) fn are_alive(&self) -> bool {
        self.post.inbox.has_senders()
    }

    /// Takes no more, and schedules the rest, to be canceled by the end of the queue (I2).
    pub(super) fn close(&self, reactor: &ReactorHandle) {
        let rest = self.post.inbox.close();
        self.taken.borrow_mut().extend(rest);
        to_the_end(|| self.take().map(|call| call.deliver(reactor)).is_some());
        let addresses = self.addresses.take();
        drop(addresses);
    }

    /// Takes what is in the inbox, once all that was taken before is scheduled.
    fn fetch(&self) {
        let mut taken = self.taken.borrow_mut();
        if taken.is_empty() {
            let mut fetched = Vec::from(mem::take(&mut *taken));
            self.post.inbox.take(&mut fetched);
            *taken = VecDeque::from(fetched);
        }
    }

    fn take(&self) -> Option<Box<dyn Deliver>> {
        let mut taken = self.taken.borrow_mut();
        let call = taken.pop_front();
        if taken.is_empty() && taken.capacity() > KEPT {
            *taken = VecDeque::new();
        }
        call
    }

    /// The address that is there for as long as `mark` is.
    fn address<T: 'static>(&self, mark: &Arc<Mark>) -> Rc<Address<T>> {
        let address = self.addresses.borrow_mut().get(mark.key).cloned();
        let address = address.and_then(|address| address.downcast().ok());
        address.unwrap_or_else(|| unreachable!("the mark keeps the address (I3)"))
    }
}
