//! Calls from other threads (rule M8).
//!
//! Entries wait in the [`Inbox`] until the reactor's next turn, which schedules a call for each. From
//! there on they are calls like any other.
//!
//! - I1 Closures of a host run and drop on the reactor's thread, or are returned to their sender. (The
//!   handler of a waker, which threads share, drops with the last clone of the waker.)
//! - I2 A call that is sent to the reactor's own queue has an end that the tally counts: the inbox
//!   of a reactor that goes is emptied into its queue before the queue ends.
//! - I3 The address behind a [`RemoteAddress`] stays with the reactor until the last of its clones,
//!   and of the calls sent through them, drops the [`Mark`].
//! - I4 The callback behind a [`RemoteCallback`] stays with the reactor until an answer, a decline or
//!   the report that it was dropped has arrived, or the reactor is dropped.

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
    /// Limits how many calls may be underway: sent, and neither dialed nor dropped. Calls beyond that
    /// are returned in the error.
    ///
    /// Clones share the limit, which replaces the previous one. With a `capacity` of 0 every call is
    /// returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::{Reactor, SendError};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let remote = reactor.remote().bounded(1);
    /// assert!(remote.call(|_| ()).is_ok());
    /// // The reactor is behind: the sender drops its sample, or waits.
    /// assert!(matches!(remote.call(|_| ()), Err(SendError::Full(_))));
    /// let _ = reactor.turn(None)?;
    /// assert!(remote.call(|_| ()).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn bounded(mut self, capacity: usize) -> Self {
        self.quota = Some(Arc::new(Quota::new(capacity)));
        self
    }

    /// Schedules a function call, which receives the reactor.
    ///
    /// Cost: one allocation, and a system call if the reactor sleeps and is not woken yet.
    ///
    /// # Errors
    ///
    /// Returns the closure in the error if the reactor is gone, if the limit of calls underway is
    /// reached, or if the system fails to wake the reactor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// let sender = thread::spawn(move || {
    ///     // The closure moves to the reactor's thread, runs there, and gets the reactor.
    ///     remote.call(|reactor| assert_eq!(reactor.timer_count(), 0)).is_ok()
    /// });
    /// reactor.run()?;
    /// assert!(sender.join().expect("no panic"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    /// Makes [`Reactor::run`](crate::reactor::Reactor::run) return after the turn in progress, as
    /// [`ReactorHandle::stop`] does. It does not wait behind the pending calls, as a call that stops
    /// the reactor would.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it fails to wake the reactor. The reactor then stops at its
    /// next event.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// let _keeps_running = reactor.remote();
    /// let signals = thread::spawn(move || remote.stop()); // on SIGTERM, say
    /// reactor.run()?;
    /// signals.join().expect("no panic")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(&self) -> io::Result<()> {
        self.post.stop()
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) return while this is alive. Later calls wait
    /// for the next run, or are returned in the error if the reactor is gone. Later clones inherit
    /// this.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let log = reactor.remote(); // kept by a logger for the life of the process
    /// log.unref();
    /// reactor.run()?; // returns at once: nothing else can happen
    /// # drop(log);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unref(&self) {
        if self.counts.swap(false, Ordering::AcqRel) {
            self.post.leave();
        }
    }

    /// Takes back an [`unref`](Self::unref).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// remote.unref();
    /// // A job that will send its result has begun:
    /// remote.undo_unref();
    /// assert!(reactor.should_run());
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
        Self::new(reactor.shared().remotes.share_post(), None)
    }

    fn new(post: Arc<Post>, quota: Option<Arc<Quota>>) -> Self {
        post.inbox.join();
        Self { post, quota, counts: AtomicBool::new(true) }
    }

    /// The permit to send; none if the limit of calls underway is reached.
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

/// Schedules calls to one recipient from any thread. The type of the recipient need not be `Send`.
///
/// Made by [`ReactorHandle::remote_to`]. Like an [`Address`](crate::Address), it does not own the recipient: calls
/// to one that is gone are refused. Otherwise as [`Remote`].
///
/// Cost: two allocations to make one, none to clone it. The drop of the last clone sends a message to
/// the reactor, at the cost of a call.
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
        let mark = Arc::new(Mark { key, post: remotes.share_post() });
        Self {
            remote: Remote::of(reactor),
            mark,
            gone: address.gone_flag(),
            recipient: PhantomData,
        }
    }

    /// Limits how many calls may be underway, as [`Remote::bounded`].
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let samples = reactor.queue().recipient(Vec::new());
    /// let sender = reactor.remote_to(&samples).bounded(100);
    /// let accepted = (0..1000).filter(|&n| sender.call(move |list, _| list.push(n)).is_ok()).count();
    /// assert_eq!(accepted, 100);
    /// let _ = reactor.turn(None)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let lines = reactor.queue().recipient(Vec::new());
    /// let sender = reactor.remote_to(&lines);
    /// thread::spawn(move || {
    ///     for line in ["first", "second"] {
    ///         if sender.call(move |lines, _| lines.push(line)).is_err() {
    ///             return; // the reactor is gone
    ///         }
    ///     }
    /// });
    /// reactor.run()?;
    /// lines.call(|lines, _| assert_eq!(*lines, ["first", "second"]));
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
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

    /// Lets `run` return while this is alive, as [`Remote::unref`]. Later wakers inherit this.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let monitor = reactor.queue().recipient(0);
    /// let sender = reactor.remote_to(&monitor); // for a thread that never ends
    /// sender.unref();
    /// reactor.run()?; // returns at once
    /// # drop(sender);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unref(&self) {
        self.remote.unref();
    }

    /// Takes back an [`unref`](Self::unref).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let monitor = reactor.queue().recipient(0);
    /// let sender = reactor.remote_to(&monitor);
    /// sender.unref();
    /// sender.undo_unref(); // what it sends from now on is to be waited for
    /// assert!(reactor.should_run());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn undo_unref(&self) {
        self.remote.undo_unref();
    }

    /// Returns true if the recipient is gone. Its calls are then refused, those included that were sent
    /// before and are not dialed. (It may be dropped right after this returned false.)
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
