//! The calls that are sent to the reactor, and their delivery there.

use alloc::boxed::Box;
use alloc::format;
use core::any::Any;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::{io, thread};

use mio::Waker;

use crate::arena::ArenaKey;
use crate::erased::Site;
use crate::id::CallId;
use crate::origin::SetUp;
use crate::outside::CallOrigin;
use crate::queue::QueueHandle;
use crate::reactor::error::SendError;
use crate::reactor::inbox::{Inbox, Quota, Rejection};
use crate::reactor::shared::ReactorHandle;
use crate::recipient::Context;

/// What threads share: where they send to, and how they wake the reactor.
pub(super) struct Post {
    pub(super) inbox: Inbox<Sent>,
    pub(super) waker: Arc<Waker>,
    /// Whether a stop of `run` was requested.
    pub(super) stopped: AtomicBool,
}

impl Post {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self { inbox: Inbox::new(), waker, stopped: AtomicBool::new(false) }
    }

    /// Sends a call. Returns it with the error.
    #[inline]
    pub(super) fn send<D: Deliver + 'static>(
        &self,
        call: Box<D>,
    ) -> Result<(), (Box<D>, SendError<()>)> {
        let sent = self.inbox.send(Sent::new(call), || self.waker.wake());
        sent.or_else(|(sent, rejection)| self.reject(sent, rejection))
    }

    /// Returns what was rejected, unless it is to be sent with the thread that sends it.
    #[cold]
    fn reject<D: Deliver + 'static>(
        &self,
        sent: Sent,
        rejection: Rejection,
    ) -> Result<(), (Box<D>, SendError<()>)> {
        match rejection {
            Rejection::Traced => {
                let sent = self.inbox.send_traced(sent.traced_here(), || self.waker.wake());
                sent.or_else(|(sent, rejection)| self.reject(sent, rejection))
            }
            Rejection::Closed => Err((sent.into_call(), SendError::ReactorDropped(()))),
            Rejection::NotWoken(source) => {
                Err((sent.into_call(), SendError::NotWoken { source, rejected: () }))
            }
        }
    }

    /// Sends an entry that has no owner to be returned to. A reactor that is gone does not need it; one
    /// that cannot be woken gets it at its next turn.
    pub(super) fn send_surely<D: Deliver + 'static>(&self, call: Box<D>) {
        let wake = || {
            let _ = self.waker.wake();
            Ok(())
        };
        if let Err((sent, Rejection::Traced)) = self.inbox.send(Sent::new(call), wake) {
            let _ = self.inbox.send_traced(sent.traced_here(), wake);
        }
    }

    /// Asks for the end of `run`.
    pub(super) fn stop(&self) -> io::Result<()> {
        self.stopped.store(true, Ordering::Release);
        self.inbox.notify(|| self.waker.wake())
    }

    /// Counts a sender less.
    pub(super) fn leave(&self) {
        // A reactor that runs must see that no sender is left.
        self.inbox.leave(|| self.waker.wake());
    }
}

/// Names an address that is with the reactor (I3).
pub(super) struct Mark {
    pub(super) key: ArenaKey,
    pub(super) post: Arc<Post>,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.post.send_surely(Box::new(ReleaseAddress(self.key)));
    }
}

/// Has the reactor drop an address.
struct ReleaseAddress(ArenaKey);

impl Deliver for ReleaseAddress {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        reactor.shared().remotes.release_address(self.0);
    }
}

/// The right to be underway. Dropping it makes room for another call.
pub(super) struct Permit(pub(super) Option<Arc<Quota>>);

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if let Some(quota) = &self.0 {
            quota.leave();
        }
    }
}

/// A call on its way to the reactor, and where it was sent.
pub(super) struct Sent {
    call: Box<dyn Deliver>,
    set_up: SetUp,
}

impl Sent {
    #[inline]
    fn new(call: Box<dyn Deliver>) -> Self {
        Self { call, set_up: SetUp::here() }
    }

    /// Adds the thread that sends it, which is this one.
    fn traced_here(self) -> Self {
        Self { call: Box::new(FromThread::here(self.call)), ..self }
    }

    /// The call, whose type is `D`.
    fn into_call<D: Deliver + 'static>(self) -> Box<D> {
        let call: Box<dyn Any> = self.call;
        call.downcast().unwrap_or_else(|call| {
            // It was traced.
            let call: Box<dyn Any> = FromThread::into_call(call);
            call.downcast().unwrap_or_else(|_| unreachable!("its sender knows its type"))
        })
    }

    pub(super) fn deliver(self, reactor: &ReactorHandle) {
        let Self { call, set_up } = self;
        let _origin = set_up.replay(reactor.queue().core().is_observed());
        call.deliver(reactor);
    }
}

/// A call whose type is of no interest.
pub(super) trait Deliver: Any + Send {
    /// Schedules the call, on the reactor's thread.
    fn deliver(self: Box<Self>, reactor: &ReactorHandle);

    /// The call that it will schedule, if any, and in which queue: what is sent may end a callback, say.
    fn call(&self, reactor: &ReactorHandle) -> Option<(QueueHandle, CallId)> {
        let _ = reactor;
        None
    }
}

/// What is sent, and the name of the thread that sends it, which only observers ask for.
struct FromThread {
    call: Box<dyn Deliver>,
    sender: Arc<str>,
}

impl FromThread {
    /// Adds the name of this thread, or its id if it has none.
    #[cold]
    fn here(call: Box<dyn Deliver>) -> Self {
        let thread = thread::current();
        let sender = thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from);
        Self { call, sender }
    }

    /// What was sent, of one that is not known as such.
    fn into_call(this: Box<dyn Any>) -> Box<dyn Deliver> {
        let this: Box<Self> = this.downcast().unwrap_or_else(|_| unreachable!("it is traced"));
        this.call
    }
}

impl Deliver for FromThread {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let Self { call, sender: name } = *self;
        if !reactor.queue().core().is_observed() {
            reactor.shared().end_observation();
            return call.deliver(reactor);
        }
        let scheduled = call.call(reactor);
        call.deliver(reactor);
        if let Some((queue, scheduled)) = scheduled {
            queue.core().notify_of_origin(scheduled, &CallOrigin::Thread { name });
        }
    }

    fn call(&self, reactor: &ReactorHandle) -> Option<(QueueHandle, CallId)> {
        self.call.call(reactor)
    }
}

/// The next call of a queue.
pub(super) fn next_call(queue: &QueueHandle) -> (QueueHandle, CallId) {
    (queue.clone(), queue.core().id(queue.core().next_position()))
}

pub(super) struct RemoteFunction<F> {
    pub(super) function: F,
    pub(super) site: Site,
    pub(super) permit: Permit,
}

impl<F: FnOnce(&ReactorHandle) + Send + 'static> Deliver for RemoteFunction<F> {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let (site, handle) = (self.site, reactor.clone());
        // A closed queue returns the call; it is dropped here then (I1).
        reactor.queue().promised_call(site, move |_| {
            let Self { function, permit, .. } = *self;
            drop(permit);
            function(&handle);
        });
    }

    fn call(&self, reactor: &ReactorHandle) -> Option<(QueueHandle, CallId)> {
        Some(next_call(reactor.queue()))
    }
}

pub(super) struct RemoteHandler<T: 'static, F> {
    pub(super) handler: F,
    pub(super) site: Site,
    pub(super) permit: Permit,
    pub(super) mark: Arc<Mark>,
    pub(super) recipient: PhantomData<fn(&mut T)>,
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

    fn call(&self, reactor: &ReactorHandle) -> Option<(QueueHandle, CallId)> {
        // The recipient may belong to another queue.
        Some(next_call(reactor.shared().remotes.address::<T>(&self.mark).queue()))
    }
}
