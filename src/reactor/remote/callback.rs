//! Callbacks that another thread answers (rule O7).

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;
use core::panic::Location;

use crate::arena::ArenaKey;
use crate::callback::Callback;
use crate::erased::Site;
use crate::id::CallId;
use crate::reactor::error::SendError;
use crate::reactor::remote::Remote;
use crate::reactor::remote::call::Deliver;
use crate::reactor::shared::ReactorHandle;

/// A [`Callback`] that any thread may answer, once.
///
/// Made by [`ReactorHandle::remote_callback`]. The callback itself stays on the reactor's thread; an
/// answer takes its value there, where the call is scheduled. It is a promise: a queue that is full
/// admits it, and if its recipient is live when its turn comes, it is deferred.
///
/// Dropping it unanswered is a bug (rule R5), also if the thread that has it unwinds: at the reactor's
/// next turn the call ends Abandoned, and is reported with the site that created the callback. If the
/// reactor goes first, the call ends Canceled, and nothing is reported.
///
/// While one is alive, something can happen: [`Reactor::run`](crate::reactor::Reactor::run) goes on.
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
    key: Option<ArenaKey>,
    // Drops last: what is sent before is in while this still counts as a sender.
    remote: Remote,
    value: PhantomData<fn(A)>,
}

impl<A: 'static> RemoteCallback<A> {
    /// Keeps `callback` with the reactor; declines it if that is gone.
    pub(crate) fn of(reactor: &ReactorHandle, callback: Callback<A>) -> Self {
        let id = callback.id();
        let key = if reactor.queue().is_closed() {
            callback.decline("the reactor is gone");
            None
        } else {
            Some(reactor.shared().remotes.keep_callback(callback))
        };
        Self { id, key, remote: Remote::of(reactor), value: PhantomData }
    }

    /// The id of the call, before and after it is scheduled. It can be canceled on the reactor's thread.
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
    /// Hands the value back if the reactor is gone, or if the system does not let the reactor be woken.
    /// In the latter case the callback counts as dropped unanswered.
    #[track_caller]
    pub fn answer(mut self, value: A) -> Result<(), SendError<A>>
    where
        A: Send,
    {
        let Some(key) = self.key else { return Err(SendError::ReactorDropped(value)) };
        let answer = Box::new(RemoteAnswer { key, value, site: Location::caller() });
        match self.remote.post.send(answer) {
            Ok(()) => {
                self.key = None;
                Ok(())
            }
            Err((answer, error)) => Err(error.rejecting(answer.value)),
        }
    }

    /// Lets [`Reactor::run`](crate::reactor::Reactor::run) end although this is not answered.
    pub fn unref(&self) {
        self.remote.unref();
    }

    /// Takes back an [`unref`](Self::unref).
    pub fn undo_unref(&self) {
        self.remote.undo_unref();
    }

    /// Says that the call will never be scheduled, and why: it ends Canceled.
    pub fn decline(mut self, reason: &'static str) {
        if let Some(key) = self.key.take() {
            let decline = RemoteDecline::<A> { key, reason, value: PhantomData };
            self.remote.post.send_surely(Box::new(decline));
        }
    }
}

impl<A: 'static> Drop for RemoteCallback<A> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let abandon = RemoteAbandon::<A> { key, value: PhantomData };
            self.remote.post.send_surely(Box::new(abandon));
        }
    }
}

impl<A: 'static> fmt::Debug for RemoteCallback<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteCallback({})", self.id)
    }
}

/// The answer to a callback that the reactor keeps.
struct RemoteAnswer<A> {
    key: ArenaKey,
    value: A,
    site: Site,
}

impl<A: Send + 'static> Deliver for RemoteAnswer<A> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        if let Some(callback) = reactor.shared().remotes.take_callback(self.key) {
            callback.answer_from(self.site, self.value);
        }
    }
}

/// The word that a callback is not answered, and why.
struct RemoteDecline<A: 'static> {
    key: ArenaKey,
    reason: &'static str,
    value: PhantomData<fn(A)>,
}

impl<A: 'static> Deliver for RemoteDecline<A> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        if let Some(callback) = reactor.shared().remotes.take_callback::<A>(self.key) {
            callback.decline(self.reason);
        }
    }
}

/// The word that a callback was dropped unanswered.
struct RemoteAbandon<A: 'static> {
    key: ArenaKey,
    value: PhantomData<fn(A)>,
}

impl<A: 'static> Deliver for RemoteAbandon<A> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        // Which is a bug, reported where it is dropped (rule R5).
        drop(reactor.shared().remotes.take_callback::<A>(self.key));
    }
}
