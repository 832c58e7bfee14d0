//! Which thread a call was sent by, which only observers ask for.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use std::thread;

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
    pub(super) fn here(call: Box<dyn Deliver>) -> Box<dyn Deliver> {
        let thread = thread::current();
        let sender = thread.name().map_or_else(|| format!("{:?}", thread.id()).into(), Arc::from);
        Box::new(Self { call, sender })
    }
}

impl Deliver for FromThread {
    fn deliver(self: Box<Self>, reactor: &ReactorHandle) {
        let Self { call, sender } = *self;
        let (remotes, core) = (&reactor.shared().remotes, reactor.queue().core());
        remotes.deliver_from(sender, core, || call.deliver(reactor));
    }
}
