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
//!   and of the calls sent through them, drops the [`Mark`].
//! - I4 The callback behind a [`RemoteCallback`] stays with the reactor until an answer, a decline or
//!   the report that it was dropped has come, or the reactor goes.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::panic::Location;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::sync::Arc;

use crate::reactor::error::SendError;
use crate::reactor::inbox::Quota;
use crate::reactor::shared::ReactorHandle;
use crate::recipient::{Address, Context};

mod call;
pub(super) mod callback;
pub(super) mod remotes;
mod sender;
mod waker;

use call::{Mark, Permit, Post, RemoteFunction, RemoteHandler};

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
    /// Whether it counts as a sender, which keeps the reactor running.
    counts: AtomicBool,
}

impl Remote {
    /// Limits how many calls may be underway: sent, and neither dialed nor dropped. What is sent
    /// beyond that comes back.
    ///
    /// Clones share the limit, which replaces the one before. With a `capacity` of 0 everything
    /// comes back.
    #[must_use]
    pub fn bounded(mut self, capacity: usize) -> Self {
        self.quota = Some(Arc::new(Quota::new(capacity)));
        self
    }

    /// Schedules a function call, which gets the reactor.
    ///
    /// Cost: one allocation, and a system call if the reactor sleeps and is not woken yet.
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

    /// Makes [`Reactor::run`](crate::reactor::Reactor::run) end, as
    /// [`ReactorHandle::stop`] does, after the turn in progress. Unlike a call that stops it, this is not
    /// in line behind all that is pending. A reactor that is gone needs no stop.
    ///
    /// # Errors
    ///
    /// Passes on the error of the system if it does not let the reactor be woken. The reactor then stops
    /// at its next event.
    pub fn stop(&self) -> io::Result<()> {
        self.post.stop()
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) end although this is alive. What is sent
    /// afterwards waits for the next run, or comes back when the reactor is gone. Clones made from now on
    /// do the same.
    pub fn unref(&self) {
        if self.counts.swap(false, Ordering::AcqRel) {
            self.post.leave();
        }
    }

    /// Takes back an [`unref`](Self::unref).
    pub fn undo_unref(&self) {
        if !self.counts.swap(true, Ordering::AcqRel) {
            self.post.inbox.join();
        }
    }

    /// Drops this on the reactor's thread, which looks whether it can end anyway.
    fn leave_on_arrival(mut self) {
        if mem::take(self.counts.get_mut()) {
            self.post.inbox.leave_on_arrival();
        }
    }

    pub(super) fn of(reactor: &ReactorHandle) -> Self {
        Self::new(Arc::clone(reactor.shared().remotes.post()), None)
    }

    fn new(post: Arc<Post>, quota: Option<Arc<Quota>>) -> Self {
        post.inbox.join();
        Self { post, quota, counts: AtomicBool::new(true) }
    }

    /// The permit to send; none if as many calls are underway as may be.
    #[inline]
    fn permit(&self) -> Option<Permit> {
        match &self.quota {
            Some(quota) => quota.enter().then(|| Permit(Some(Arc::clone(quota)))),
            None => Some(Permit(None)),
        }
    }
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        let counts = self.counts.load(Ordering::Acquire);
        if counts {
            self.post.inbox.join();
        }
        let (post, quota) = (Arc::clone(&self.post), self.quota.clone());
        Self { post, quota, counts: AtomicBool::new(counts) }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if *self.counts.get_mut() {
            self.post.leave();
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Schedules calls to one recipient from any thread, whatever its type.
///
/// Made by [`ReactorHandle::remote_to`]. Like an [`Address`](crate::Address), it does not own the recipient: calls
/// to one that is gone are refused. Otherwise as [`Remote`].
///
/// Cost: two allocations to make one, none to clone it. The last clone to drop sends the reactor word
/// to drop the address, which costs what a call does.
pub struct RemoteAddress<T: 'static> {
    // Fields drop in this order: what the mark sends is in while the remote still counts as a sender.
    mark: Arc<Mark>,
    remote: Remote,
    /// Set once the recipient is gone.
    gone: Arc<AtomicBool>,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T: 'static> RemoteAddress<T> {
    pub(super) fn of(reactor: &ReactorHandle, address: &Address<T>) -> Self {
        let remotes = &reactor.shared().remotes;
        let key = remotes.keep_address(Rc::new(address.clone()));
        // A reactor that is gone delivers nothing, so it needs no address.
        if reactor.queue().is_closed() {
            remotes.release_address(key);
        }
        let mark = Arc::new(Mark { key, post: Arc::clone(remotes.post()) });
        Self {
            remote: Remote::of(reactor),
            mark,
            gone: address.gone_flag(),
            recipient: PhantomData,
        }
    }

    /// Limits how many calls may be underway, as [`Remote::bounded`].
    #[must_use]
    pub fn bounded(self, capacity: usize) -> Self {
        Self { remote: self.remote.bounded(capacity), ..self }
    }

    /// Schedules a call to the recipient.
    ///
    /// Cost: one allocation, and a system call if the reactor sleeps and is not woken yet.
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

    /// Lets `run` end although this is alive, as [`Remote::unref`]. So do wakers made from now on.
    pub fn unref(&self) {
        self.remote.unref();
    }

    /// Takes back an [`unref`](Self::unref).
    pub fn undo_unref(&self) {
        self.remote.undo_unref();
    }

    /// Whether the recipient is gone: calls are then refused, also those sent before that are not
    /// dialed yet. (It may go right after this has returned false.)
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let recipient = reactor.queue().recipient(0);
    /// let remote = reactor.remote_to(&recipient);
    /// assert!(!remote.is_gone());
    /// recipient.hang_up();
    /// assert!(remote.is_gone());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl<T: 'static> Clone for RemoteAddress<T> {
    fn clone(&self) -> Self {
        let (mark, gone) = (Arc::clone(&self.mark), Arc::clone(&self.gone));
        Self { remote: self.remote.clone(), mark, gone, recipient: PhantomData }
    }
}

impl<T: 'static> fmt::Debug for RemoteAddress<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAddress").finish_non_exhaustive()
    }
}
