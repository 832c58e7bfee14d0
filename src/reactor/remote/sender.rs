//! Which thread a call was sent by, which only observers ask for.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::any::Any;
use std::thread;

use crate::id::CallId;
use crate::outside::CallOrigin;
use crate::queue::QueueHandle;
use crate::reactor::remote::call::Deliver;
use crate::reactor::shared::ReactorHandle;

/// What is sent, and the name of the thread that sends it.
pub(super) struct FromThread {
    call: Box<dyn Deliver>,
    sender: Arc<str>,
}

impl FromThread {
    /// Adds the name of this thread, or its id if it has none.
    #[cold]
    pub(super) fn here(call: Box<dyn Deliver>) -> Self {
        let thread = thread::current();
        let sender = thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from);
        Self { call, sender }
    }

    /// What was sent, of one that is not known as such.
    pub(super) fn into_call(this: Box<dyn Any>) -> Box<dyn Deliver> {
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
