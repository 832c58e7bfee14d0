//! The reactor's side: what has been sent, and what is kept for senders.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::mem;
use core::sync::atomic::Ordering;
use std::sync::Arc;

use mio::Waker;

use crate::arena::{Arena, ArenaKey};
use crate::callback::Callback;
use crate::id::CallId;
use crate::queue::QueueHandle;
use crate::reactor::remote::call::{Mark, Post, Sent};
use crate::reactor::shared::ReactorHandle;
use crate::recipient::Address;
use crate::unwind::to_the_end;

/// The number of calls for which room is kept.
const KEPT: usize = 1024;

const GONE: &str = "the reactor is gone";

/// The reactor's side.
pub(crate) struct Remotes {
    post: Arc<Post>,
    /// Taken from the inbox, and not scheduled yet.
    taken: RefCell<VecDeque<Sent>>,
    /// Those behind [`RemoteAddress`]es.
    addresses: RefCell<Arena<Option<Rc<dyn Any>>>>,
    /// Those behind [`RemoteCallback`]s (I4).
    callbacks: RefCell<Arena<Option<Box<dyn AnyCallback>>>>,
    /// Whether a host may sleep whenever the reactor does not turn: by its own poll, or the descriptor
    /// of the reactor's.
    host_sleeps: Cell<bool>,
    /// Whether the post was ever given to a sender. If not, no entry arrives, and no thread wakes the
    /// reactor.
    is_shared: Cell<bool>,
    /// The id of the latest call beyond the queue's capacity, or the id that it would have had.
    beyond: Cell<Option<CallId>>,
}

impl Remotes {
    /// The side of a reactor that is awake, unless it sleeps.
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            post: Arc::new(Post::new(waker)),
            taken: RefCell::default(),
            addresses: RefCell::default(),
            callbacks: RefCell::default(),
            host_sleeps: Cell::new(false),
            is_shared: Cell::new(false),
            beyond: Cell::new(None),
        }
    }

    #[cfg(all(target_os = "linux", feature = "timerfd"))]
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.post.waker)
    }

    /// The place to send to, for senders.
    pub(super) fn share_post(&self) -> Arc<Post> {
        self.is_shared.set(true);
        Arc::clone(&self.post)
    }

    pub(super) fn keep_address(&self, address: Rc<dyn Any>) -> ArenaKey {
        self.addresses.borrow_mut().insert(address)
    }

    pub(super) fn keep_callback<A: 'static>(&self, callback: Callback<A>) -> ArenaKey {
        self.callbacks.borrow_mut().insert(Box::new(callback))
    }

    /// The call of a callback that is kept, and its queue.
    pub(super) fn callback_call(&self, key: ArenaKey) -> Option<(QueueHandle, CallId)> {
        self.callbacks.borrow_mut().get(key).map(|callback| callback.call())
    }

    /// Has calls bear the thread that sends them, or no more.
    pub(crate) fn set_traced(&self, traced: bool) {
        self.post.inbox.set_traced(traced);
    }

    /// Takes the callback under `key` out; `None` if the reactor has gone meanwhile.
    pub(super) fn take_callback<A: 'static>(&self, key: ArenaKey) -> Option<Callback<A>> {
        let callback = self.callbacks.borrow_mut().remove(key)?;
        callback.into_any().downcast().map(|callback| *callback).ok()
    }

    pub(super) fn release_address(&self, key: ArenaKey) {
        let address = self.addresses.borrow_mut().remove(key);
        drop(address);
    }

    /// Declines the callbacks that other threads have not answered, even if a decline panics.
    pub(crate) fn decline_callbacks(&self) {
        let mut callbacks = self.callbacks.take().into_values();
        to_the_end(|| callbacks.next().map(|callback| callback.end(GONE)).is_some());
    }

    /// From now on, a host may sleep whenever the reactor does not turn.
    pub(crate) fn set_host_sleeps(&self) {
        if !self.host_sleeps.replace(true) && !self.post.inbox.fall_asleep() {
            // What was sent before has woken no one, and the host may have decided before how long it
            // sleeps. (If this fails, `poll_timeout` still returns zero.)
            let _ = self.post.waker.wake();
        }
    }

    /// The reactor is awake for as long as this lives.
    #[inline]
    pub(crate) fn stay_awake(&self) -> Awake<'_> {
        if self.host_sleeps.get() {
            self.post.inbox.wake_up();
        }
        Awake(self)
    }

    /// Calls `sleep` with true if it may sleep: no entry has arrived. Entries that arrive meanwhile
    /// wake the reactor.
    pub(crate) fn sleep<R>(&self, sleep: impl FnOnce(bool) -> R) -> R {
        if !self.is_shared.get() {
            return sleep(true);
        }
        let slept = sleep(self.post.inbox.fall_asleep());
        if !self.host_sleeps.get() {
            self.post.inbox.wake_up();
        }
        slept
    }

    /// Schedules calls that have arrived, at most a share (rule M6); of those beyond the queue's
    /// capacity, one at a time. If an observer panics, the rest stays for the next turn.
    #[inline]
    pub(crate) fn deliver(&self, reactor: &ReactorHandle, share: impl FnOnce() -> usize) {
        if self.is_busy() {
            self.deliver_some(reactor, share());
        }
    }

    #[inline(never)]
    fn deliver_some(&self, reactor: &ReactorHandle, most: usize) {
        let queue = reactor.queue().core();
        self.fetch(most);
        for delivered in 0..most {
            let is_full = queue.is_full();
            if is_full
                && (delivered > 0 || self.beyond.get().is_some_and(|id| queue.has_turn_ahead(id)))
            {
                return;
            }
            let Some(call) = self.take() else { return };
            if is_full {
                self.beyond.set(Some(queue.id(queue.next_position())));
            }
            call.deliver(reactor);
        }
    }

    /// Whether another thread asked for the end of `run`.
    pub(crate) fn is_stopped(&self) -> bool {
        self.post.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn resume(&self) {
        self.post.stopped.store(false, Ordering::Relaxed);
    }

    /// Whether there is something to be scheduled.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.is_shared.get() && (!self.taken.borrow().is_empty() || self.post.inbox.has_mail())
    }

    /// Whether any sender is left. If not, [`is_busy`](Self::is_busy) covers all that was sent.
    pub(crate) fn are_alive(&self) -> bool {
        self.post.inbox.has_senders()
    }

    /// Takes no more, and schedules the rest, to be canceled by the end of the queue (I2).
    pub(crate) fn close(&self, reactor: &ReactorHandle) {
        let rest = self.post.inbox.close();
        self.taken.borrow_mut().extend(rest);
        to_the_end(|| self.take().map(|call| call.deliver(reactor)).is_some());
        let addresses = self.addresses.take();
        drop(addresses);
    }

    /// Takes what is in the inbox, unless what is left of the last time is a share.
    fn fetch(&self, share: usize) {
        let mut taken = self.taken.borrow_mut();
        if taken.is_empty() {
            let mut fetched = Vec::from(mem::take(&mut *taken));
            self.post.inbox.take(&mut fetched);
            *taken = VecDeque::from(fetched);
        } else if taken.len() < share && self.post.inbox.has_mail() {
            let mut fetched = Vec::new();
            self.post.inbox.take(&mut fetched);
            // (In memory of its own, so that that of a burst is freed.)
            *taken = mem::take(&mut *taken).into_iter().chain(fetched).collect();
        }
    }

    #[inline]
    fn take(&self) -> Option<Sent> {
        let mut taken = self.taken.borrow_mut();
        let call = taken.pop_front();
        if taken.is_empty() && taken.capacity() > KEPT {
            *taken = VecDeque::new();
        }
        call
    }

    /// The address that is there for as long as `mark` is.
    pub(super) fn address<T: 'static>(&self, mark: &Arc<Mark>) -> Rc<Address<T>> {
        let address = self.addresses.borrow_mut().get(mark.key).cloned();
        let address = address.and_then(|address| address.downcast().ok());
        address.unwrap_or_else(|| unreachable!("the mark keeps the address (I3)"))
    }
}

/// A reactor that is awake.
pub(crate) struct Awake<'a>(&'a Remotes);

impl Drop for Awake<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.host_sleeps.get() {
            // If there are entries, `poll_timeout` does not let the host sleep.
            self.0.post.inbox.fall_asleep();
        }
    }
}

/// A [`Callback`] whose type is of no interest.
trait AnyCallback: Any {
    fn call(&self) -> (QueueHandle, CallId);
    fn end(self: Box<Self>, reason: &'static str);
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<A: 'static> AnyCallback for Callback<A> {
    fn call(&self) -> (QueueHandle, CallId) {
        (self.queue(), self.id())
    }

    fn end(self: Box<Self>, reason: &'static str) {
        self.decline(reason);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
