//! Callbacks that another thread answers (rule O7).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::panic::Location;

use crate::arena::ArenaKey;
use crate::callback::Callback;
use crate::erased::Site;
use crate::id::CallId;
use crate::queue::QueueHandle;
use crate::reactor::error::SendError;
use crate::reactor::remote::Remote;
use crate::reactor::remote::call::{Deliver, Post};
use crate::reactor::shared::ReactorHandle;

/// A [`Callback`] that any thread may answer, once.
///
/// Made by [`ReactorHandle::remote_callback`]. The callback itself stays on the reactor's thread; an
/// answer takes its value there, where the call is scheduled. It is a promise: a full queue admits it,
/// and it is deferred if its recipient is live when the queue reaches it.
///
/// Dropping it unanswered is a bug (rule R5), even if the thread that has it unwinds: at the reactor's
/// next turn the call ends Abandoned, and is reported with the site that created the callback. If the
/// reactor goes first, the call ends Canceled, and nothing is reported.
///
/// While one is alive, something can happen: [`Reactor::run`](crate::reactor::Reactor::run) does not
/// return.
///
/// # Examples
///
/// ```
/// use std::thread;
/// use switchboard::reactor::Reactor;
///
/// let mut reactor = Reactor::new()?;
/// let results = reactor.queue().recipient(Vec::new());
/// let done = reactor.remote_callback(results.callback(|results, _, sum: u64| results.push(sum)));
/// thread::spawn(move || done.answer((1..=100).sum()));
/// reactor.run()?; // until it is answered
/// results.call(|results, _| assert_eq!(*results, [5050]));
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a callback must be answered or declined"]
pub struct RemoteCallback<A: 'static> {
    id: CallId,
    /// `None` once it is answered or declined, or if the reactor was gone from the start.
    kept: Option<KeptCallback>,
    value: PhantomData<fn(A)>,
}

/// Names a callback that the reactor keeps. It counts as a sender until what ends it is delivered.
struct KeptCallback {
    key: ArenaKey,
    remote: Remote,
}

impl<A: 'static> RemoteCallback<A> {
    /// Keeps `callback` with the reactor; declines it if that is gone.
    pub(crate) fn of(reactor: &ReactorHandle, callback: Callback<A>) -> Self {
        let id = callback.id();
        let kept = if reactor.queue().is_closed() {
            callback.decline("the reactor is gone");
            None
        } else {
            let key = reactor.shared().remotes.keep_callback(callback);
            Some(KeptCallback { key, remote: Remote::of(reactor) })
        };
        Self { id, kept, value: PhantomData }
    }

    /// Returns the id of the call, which stays the same once it is scheduled. Code on the reactor's
    /// thread can cancel the call with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::Cancellation;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let done = reactor.remote_callback(reactor.queue().callback(|_, _sum: u64| unreachable!()));
    /// let id = done.id();
    /// let worker = std::thread::spawn(move || done.answer((1..=100).sum()));
    /// // On the reactor's thread: the result is no longer wanted.
    /// assert_eq!(reactor.queue().cancel(id, "client disconnected"), Cancellation::Canceled);
    /// reactor.run()?;
    /// # let _ = worker.join();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// Schedules the call on the reactor's thread, to be dialed there with `value`.
    ///
    /// If the call was canceled, or its recipient is gone, `value` is dropped there.
    ///
    /// Cost: one allocation, and a system call if the reactor sleeps and is not woken yet.
    ///
    /// # Errors
    ///
    /// Returns the value in the error if the reactor is gone, or if the system fails to wake it. In the
    /// latter case the callback counts as dropped without an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let done = reactor.queue().callback(|_, text: String| assert_eq!(text, "42"));
    /// let done = reactor.remote_callback(done);
    /// let worker = std::thread::spawn(move || {
    ///     if let Err(error) = done.answer("42".into()) {
    ///         let text = error.into_inner(); // the reactor is gone, so the result is ours to keep
    ///         println!("no one waits for {text}");
    ///     }
    /// });
    /// reactor.run()?;
    /// # worker.join().expect("no panic");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn answer(mut self, value: A) -> Result<(), SendError<A>>
    where
        A: Send,
    {
        let Some(kept) = self.kept.take() else { return Err(SendError::ReactorDropped(value)) };
        let post = kept.post();
        let answer = Box::new(RemoteAnswer { kept, value, site: Location::caller() });
        post.send(answer).map_err(|(answer, error)| {
            let RemoteAnswer { kept, value, .. } = *answer;
            self.kept = Some(kept);
            error.rejecting(value)
        })
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) return even if this is not answered.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let done = reactor.remote_callback(reactor.queue().callback(|_, ()| ()));
    /// done.unref(); // a cache is being filled: the program need not wait for that
    /// reactor.run()?; // returns at once
    /// done.decline("not needed");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unref(&self) {
        self.kept.iter().for_each(|kept| kept.remote.unref());
    }

    /// Takes back an [`unref`](Self::unref).
    pub fn undo_unref(&self) {
        self.kept.iter().for_each(|kept| kept.remote.undo_unref());
    }

    /// Ends the call as Canceled, with `reason`: it will never be scheduled.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let done = reactor.remote_callback(reactor.queue().callback(|_, ()| unreachable!()));
    /// std::thread::spawn(move || done.decline("the pool is shutting down")).join().expect("no panic");
    /// reactor.run()?;
    /// assert_eq!(reactor.queue().tally().canceled, 1); // not abandoned, which would be a bug
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn decline(mut self, reason: &'static str) {
        if let Some(kept) = self.kept.take() {
            let post = kept.post();
            post.send_surely(Box::new(RemoteDecline::<A> { kept, reason, value: PhantomData }));
        }
    }
}

impl<A: 'static> Drop for RemoteCallback<A> {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            let post = kept.post();
            post.send_surely(Box::new(RemoteAbandon::<A> { kept, value: PhantomData }));
        }
    }
}

impl<A: 'static> fmt::Debug for RemoteCallback<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteCallback({})", self.id)
    }
}

impl KeptCallback {
    /// Where to send what it goes along with.
    fn post(&self) -> Arc<Post> {
        Arc::clone(&self.remote.post)
    }

    /// The callback, which the reactor keeps no more. Called on its thread.
    fn take<A: 'static>(self, reactor: &ReactorHandle) -> Option<Callback<A>> {
        self.remote.leave_on_arrival();
        reactor.shared().remotes.take_callback(self.key)
    }
}

/// The answer to a callback that the reactor keeps.
struct RemoteAnswer<A> {
    kept: KeptCallback,
    value: A,
    site: Site,
}

impl<A: Send + 'static> Deliver for RemoteAnswer<A> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let Self { kept, value, site } = *self;
        if let Some(callback) = kept.take(reactor) {
            callback.answer_from(site, value);
        }
    }

    fn call(&self, reactor: &ReactorHandle) -> Option<(QueueHandle, CallId)> {
        let call = reactor.shared().remotes.callback_call(self.kept.key);
        call.filter(|(queue, call)| queue.core().has_yet_to_end(*call)) // else it was canceled
    }
}

/// The word that a callback is not answered, and why.
struct RemoteDecline<A: 'static> {
    kept: KeptCallback,
    reason: &'static str,
    value: PhantomData<fn(A)>,
}

impl<A: 'static> Deliver for RemoteDecline<A> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let Self { kept, reason, .. } = *self;
        if let Some(callback) = kept.take::<A>(reactor) {
            callback.decline(reason);
        }
    }
}

/// The word that a callback was dropped unanswered.
struct RemoteAbandon<A: 'static> {
    kept: KeptCallback,
    value: PhantomData<fn(A)>,
}

impl<A: 'static> Deliver for RemoteAbandon<A> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        // Which is a bug, reported where it is dropped (rule R5).
        drop(self.kept.take::<A>(reactor));
    }
}
