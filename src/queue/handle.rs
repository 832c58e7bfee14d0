//! What a handle to a queue is; what can be done with it is in [`queue`](super).

use alloc::rc::Rc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::queue::state::Core;

/// A handle to a queue, to schedule, cancel and dial calls with. Cloning counts a reference.
#[derive(Clone)]
pub struct QueueHandle {
    pub(super) core: Rc<Core>,
}

impl QueueHandle {
    #[inline(always)]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// What the handle counts a reference to.
    #[inline(always)]
    pub(crate) fn shared_core(&self) -> &Rc<Core> {
        &self.core
    }

    /// A handle to the queue of `core`.
    pub(crate) fn of(core: &Rc<Core>) -> Self {
        Self { core: Rc::clone(core) }
    }
}

impl PartialEq for QueueHandle {
    /// Whether both are handles to the same queue.
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.core, &other.core)
    }
}

impl Eq for QueueHandle {}

impl Hash for QueueHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Rc::as_ptr(&self.core).hash(state);
    }
}

/// A panic of a handler or of a captured value's drop leaves the queue as rule R10 demands: its counts
/// are right, and later calls are still pending in order.
impl UnwindSafe for QueueHandle {}
impl RefUnwindSafe for QueueHandle {}

impl fmt::Debug for QueueHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueHandle({:?})", self.tally())
    }
}
