//! Wakers that schedule calls, from any thread: of futures, and of whatever else signals without a descriptor.
//!
//! - I1 `woken` is up exactly while a call is underway: sent or pending, and not live. A call that is
//!   canceled by its id is sent again, unless its recipient or the reactor is gone. So at most one is
//!   underway, and no wake-up is lost (if the system lets the reactor be woken).

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::panic::Location;
use core::task::Waker;

use crate::id::CallId;
use crate::queue::QueueHandle;
use crate::reactor::inbox::Flag;
use crate::reactor::remote::RemoteAddress;
use crate::reactor::remote::call::{Deliver, next_call};
use crate::reactor::shared::ReactorHandle;
use crate::recipient::{Address, Context};

impl<T: 'static> RemoteAddress<T> {
    /// Returns a [`Waker`] that schedules calls of `handler` to the recipient, so that a future can be
    /// polled in calls: see [`future`](crate::future).
    ///
    /// Wake-ups merge: at most one call is pending, even with a larger [limit](Self::bounded). A call
    /// that is canceled by its id is scheduled again. The handler is dropped with the last clone of the
    /// waker, on the thread that drops it. [`Reactor::run`](crate::reactor::Reactor::run) does not
    /// return while a clone of the waker is alive.
    ///
    /// Cost: one allocation; one more, and at most one system call, for each wake-up.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let polls = reactor.queue().recipient(0);
    /// let waker = reactor.remote_to(&polls).waker(|polls, _| *polls += 1);
    /// waker.wake_by_ref();
    /// waker.wake_by_ref(); // merges with the first
    /// drop(waker);
    /// reactor.run()?;
    /// polls.call(|polls, _| assert_eq!(*polls, 1));
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn waker<H>(&self, handler: H) -> Waker
    where
        H: Fn(&mut T, &Context<'_, T>) + Send + Sync + 'static,
    {
        let (address, site) = (self.clone(), Location::caller());
        Waker::from(Arc::new(CallWaker { address, handler, site, woken: Flag::new() }))
    }
}

struct CallWaker<T: 'static, H> {
    address: RemoteAddress<T>,
    handler: H,
    site: &'static Location<'static>,
    woken: Flag,
}

impl<T, H> Wake for CallWaker<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + Send + Sync + 'static,
{
    fn wake(self: Arc<Self>) {
        if self.woken.raise() {
            let wakeup = Box::new(Wakeup(Arc::clone(&self)));
            // The reactor is gone, or cannot be woken; the next wake-up tries again.
            if self.address.remote.post.send(wakeup).is_err() {
                self.woken.lower();
            }
        }
    }
}

/// A wake-up on its way to the reactor.
struct Wakeup<T: 'static, H>(Arc<CallWaker<T, H>>);

impl<T, H> Deliver for Wakeup<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + Send + Sync + 'static,
{
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let Self(waker) = *self;
        let address = reactor.shared().remotes.address::<T>(&waker.address.mark);
        let site = waker.site;
        let call = PendingWakeup { waker: Some(waker), address: Rc::clone(&address) };
        address.promised_call(site, |recipient: &mut T, cx: &Context<'_, T>| {
            call.dial(recipient, cx);
        });
    }

    fn call(&self, reactor: &ReactorHandle) -> Option<(QueueHandle, CallId)> {
        let address = reactor.shared().remotes.address::<T>(&self.0.address.mark);
        Some(next_call(address.queue()))
    }
}

/// What the call captures.
struct PendingWakeup<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + Send + Sync + 'static,
{
    /// `None` once it is dialed.
    waker: Option<Arc<CallWaker<T, H>>>,
    address: Rc<Address<T>>,
}

impl<T, H> PendingWakeup<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + Send + Sync + 'static,
{
    fn dial(mut self, recipient: &mut T, cx: &Context<'_, T>) {
        if let Some(waker) = self.waker.take() {
            // First, as the handler may be woken.
            waker.woken.lower();
            (waker.handler)(recipient, cx);
        }
    }
}

impl<T, H> Drop for PendingWakeup<T, H>
where
    T: 'static,
    H: Fn(&mut T, &Context<'_, T>) + Send + Sync + 'static,
{
    /// Keeps I1.
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.woken.lower();
            if !self.address.is_gone() && !self.address.queue().is_closed() {
                waker.wake();
            }
        }
    }
}
