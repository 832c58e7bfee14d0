//! Calls from other threads (rule M8).
//!
//! What is sent waits in the [`Inbox`] until the reactor's next turn, which schedules a call for
//! each. From there on they are calls like any other.
//!
//! - I1 Closures of users run and drop on the reactor's thread, or go back to who sent them.
//! - I2 A call that is sent has an end that the tally counts: the inbox of a reactor that goes is
//!   emptied into its queue before the queue ends.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::panic::Location;
use std::sync::{Arc, Weak};

use mio::Waker;

use crate::error::RemoteError;
use crate::key::Key;
use crate::reactor::ReactorHandle;
use crate::reactor::inbox::{Inbox, Quota, Rejection};
use crate::recipient::{Address, Line};
use crate::slots::Slots;

mod waker;

/// When unused addresses are looked for first.
const FIRST_SWEEP: usize = 16;

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
/// total.call(|total, _| assert_eq!(*total, 55))?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    pub fn call<F>(&self, function: F) -> Result<(), RemoteError<F>>
    where
        F: FnOnce(&ReactorHandle) + Send + 'static,
    {
        let site = Location::caller();
        let Some(permit) = self.permit() else { return Err(RemoteError::Full(function)) };
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
pub struct RemoteAddress<T: 'static> {
    remote: Remote,
    /// Names the recipient's address, which is with the reactor for as long as `mark` lives.
    key: Key,
    mark: Arc<()>,
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
    pub fn call<F>(&self, handler: F) -> Result<(), RemoteError<F>>
    where
        F: FnOnce(&mut T, &Line<'_, T>) + Send + 'static,
    {
        let site = Location::caller();
        let Some(permit) = self.remote.permit() else { return Err(RemoteError::Full(handler)) };
        let (key, mark) = (self.key, Arc::clone(&self.mark));
        let call = RemoteHandler { handler, site, permit, key, mark, recipient: PhantomData };
        let sent = self.remote.post.send(Box::new(call));
        sent.map_err(|(call, error)| error.rejecting(call.handler))
    }
}

impl<T: 'static> Clone for RemoteAddress<T> {
    fn clone(&self) -> Self {
        let (remote, mark) = (self.remote.clone(), Arc::clone(&self.mark));
        Self { remote, key: self.key, mark, recipient: PhantomData }
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
    fn send<D: Deliver + 'static>(&self, call: Box<D>) -> Result<(), (Box<D>, RemoteError<()>)> {
        let sent = self.inbox.send(call, |call| call as Box<dyn Deliver>, || self.waker.wake());
        sent.map_err(|(call, rejection)| match rejection {
            Rejection::Closed => (call, RemoteError::ReactorDropped(())),
            Rejection::NotWoken(source) => (call, RemoteError::NotWoken { source, rejected: () }),
        })
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
        drop(reactor.queue().promised_call(site, move |_| {
            let Self { function, permit, .. } = *self;
            drop(permit);
            function(&handle);
        }));
    }
}

struct RemoteHandler<T: 'static, F> {
    handler: F,
    site: &'static Location<'static>,
    permit: Permit,
    key: Key,
    mark: Arc<()>,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T, F> Deliver for RemoteHandler<T, F>
where
    T: 'static,
    F: FnOnce(&mut T, &Line<'_, T>) + Send + 'static,
{
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let address = reactor.shared().remotes.address::<T>(self.key, &self.mark);
        drop(address.promised_call(self.site, move |recipient: &mut T, line: &Line<'_, T>| {
            let Self { handler, permit, .. } = *self;
            drop(permit);
            handler(recipient, line);
        }));
    }
}

/// The reactor's side.
pub(super) struct Remotes {
    post: Arc<Post>,
    /// Taken from the inbox, and not scheduled yet.
    taken: RefCell<VecDeque<Box<dyn Deliver>>>,
    addresses: RefCell<Addresses>,
}

impl Remotes {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        let post = Arc::new(Post { inbox: Inbox::new(), waker });
        Self { post, taken: RefCell::default(), addresses: RefCell::default() }
    }

    pub(super) fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.post), None)
    }

    pub(super) fn remote_to<T: 'static>(&self, address: &Address<T>) -> RemoteAddress<T> {
        let mark = Arc::new(());
        let dead = self.addresses.borrow_mut().sweep();
        drop(dead);
        let entry = (Arc::downgrade(&mark), Rc::new(address.clone()) as Rc<dyn Any>);
        let key = self.addresses.borrow_mut().slots.insert(entry);
        RemoteAddress { remote: self.remote(), key, mark, recipient: PhantomData }
    }

    /// Schedules calls that have come, `most` at a time: they are not to keep those that wait for
    /// readiness from their turn (rule M6). If an observer panics, the rest stays for the next turn.
    pub(super) fn deliver(&self, reactor: &ReactorHandle, most: usize) {
        let queue = reactor.queue();
        for _ in 0..most {
            if queue.core().is_full() && !queue.is_idle() {
                return;
            }
            let Some(call) = self.next() else { return };
            call.deliver(reactor);
        }
    }

    /// Whether there is something to be scheduled.
    pub(super) fn is_busy(&self) -> bool {
        !self.taken.borrow().is_empty() || self.post.inbox.has_mail()
    }

    /// Whether anybody may send. If not, [`is_busy`](Self::is_busy) tells of all that was sent.
    pub(super) fn are_alive(&self) -> bool {
        self.post.inbox.has_senders()
    }

    /// Takes no more, and schedules the rest, to be canceled by the end of the queue (I2).
    pub(super) fn close(&self, reactor: &ReactorHandle) {
        /// Goes on also behind an observer that panics.
        struct Rest<'a>(&'a Remotes, &'a ReactorHandle);

        impl Rest<'_> {
            fn run(&self) {
                while let Some(call) = self.0.next() {
                    call.deliver(self.1);
                }
            }
        }

        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                self.run();
            }
        }

        let rest = self.post.inbox.close();
        self.taken.borrow_mut().extend(rest);
        Rest(self, reactor).run();
    }

    fn next(&self) -> Option<Box<dyn Deliver>> {
        let mut taken = self.taken.borrow_mut();
        if taken.is_empty() && self.post.inbox.has_mail() {
            let mut fetched = Vec::from(mem::take(&mut *taken));
            if fetched.capacity() > KEPT {
                fetched = Vec::new();
            }
            self.post.inbox.take(&mut fetched);
            *taken = VecDeque::from(fetched);
        }
        taken.pop_front()
    }

    /// The address that `key` names, which is there for as long as `_mark` lives.
    fn address<T: 'static>(&self, key: Key, _mark: &Arc<()>) -> Rc<Address<T>> {
        let address = self.addresses.borrow_mut().slots.get_mut(key).map(|(_, any)| Rc::clone(any));
        let address = address.and_then(|address| address.downcast().ok());
        address.unwrap_or_else(|| unreachable!("the mark keeps the address"))
    }
}

/// The addresses behind [`RemoteAddress`]es, each with a mark that tells when it is of no use.
#[derive(Default)]
struct Addresses {
    slots: Slots<(Weak<()>, Rc<dyn Any>)>,
    /// Those of no use are looked for when there are so many.
    sweep_at: usize,
}

impl Addresses {
    /// Takes out what is of no use, now and then: as much work as one more address, on average.
    fn sweep(&mut self) -> Vec<Rc<dyn Any>> {
        if self.slots.len() < self.sweep_at {
            return Vec::new();
        }
        let mut dead = Vec::new();
        for key in self.slots.keys() {
            let unused = self.slots.get_mut(key).is_some_and(|(mark, _)| mark.strong_count() == 0);
            if unused && let Some((_, address)) = self.slots.remove(key) {
                dead.push(address);
            }
        }
        self.sweep_at = FIRST_SWEEP.max(2 * self.slots.len());
        dead
    }
}
