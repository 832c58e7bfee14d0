//! The parts of a queue: its calls and callbacks ([`Storage`]), and its [`QueueState`].
//!
//! - I1 State and counts change first; observers, wake hooks and drops of captured values run after
//!   that, with nothing borrowed, so that they may use the queue.
//! - I2 Once `CLOSED` is set, nothing enters any more; what is inside leaves, first to last.
//! - I3 Each position that the head has passed is that of a call whose attempt to dial is counted
//!   in the tally or in progress, of a deferred call, or it is counted in `skipped` or `forgotten`.

use alloc::collections::BTreeSet;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::num::NonZeroU64;
use core::ops::Deref;

use crate::erased::FreeBlocks;
use crate::erased::cells::Storage;
use crate::id::CallId;
use crate::queue::deferred::Deferred;
use crate::queue::listener::{Listener, flag};
use crate::queue::recipient_index::RecipientIndex;
use crate::tally::{Count, Counters, Tally};

/// The reason of calls that end because their queue does.
pub(super) const QUEUE_DROPPED: &str = "queue dropped";

/// Whether a call may be turned away by a queue that is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It may.
    Plain,
    /// It may not, as nothing would schedule it again. The code that promised it limits their number.
    Promised,
}

/// What a queue's calls are dialed with: an `Attempt`.
pub(crate) enum Dialing {}

pub(crate) type Core = Storage<Dialing, QueueState>;

impl Deref for Core {
    type Target = QueueState;

    #[inline(always)]
    fn deref(&self) -> &QueueState {
        self.rest()
    }
}

pub(crate) struct QueueState {
    pub(super) id: NonZeroU64,
    /// The first position.
    first: u64,
    /// How many calls may be pending.
    capacity: u64,
    pub(crate) tally: Counters,
    /// Tombstones that the queue has passed.
    pub(super) skipped: Count,
    /// Positions that the queue passed without dialing them.
    pub(super) forgotten: Count,
    /// The keys of callbacks that were canceled while they were pending, and that the queue has not
    /// reached.
    pub(super) canceled: RefCell<BTreeSet<u64>>,
    /// How many callbacks ever became unwanted while they waited: canceled by id, or their recipient is
    /// gone.
    pub(super) unwanted: Count,
    pub(super) deferred: Deferred<Dialing>,
    pub(super) listener: Listener,
    pub(super) index: RecipientIndex,
    recipients: Cell<u64>,
    /// Memory for operations.
    pub(crate) free_blocks: Rc<FreeBlocks>,
}

impl QueueState {
    pub(super) fn new(id: NonZeroU64, first: u64, capacity: u64) -> Self {
        Self {
            id,
            first,
            capacity,
            tally: Counters::default(),
            skipped: Count::default(),
            forgotten: Count::default(),
            canceled: RefCell::default(),
            unwanted: Count::default(),
            deferred: Deferred::default(),
            listener: Listener::default(),
            index: RecipientIndex::default(),
            recipients: Cell::new(0),
            free_blocks: FreeBlocks::new(),
        }
    }

    #[inline(always)]
    pub(crate) const fn id(&self, key: u64) -> CallId {
        CallId::new(self.id, key)
    }

    /// The number of another recipient; the first is 1.
    pub(crate) fn number_recipient(&self) -> u64 {
        self.recipients.set(self.recipients.get() + 1);
        self.recipients.get()
    }

    /// How many callbacks ever became unwanted while they waited.
    #[cfg(feature = "mio")]
    pub(crate) fn unwanted(&self) -> u64 {
        self.unwanted.get()
    }

    #[cfg(feature = "mio")]
    pub(crate) const fn listener(&self) -> &Listener {
        &self.listener
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.listener.has(flag::CLOSED)
    }
}

/// Values that are derived from the counts.
impl Core {
    /// The number of calls that are scheduled, with no attempt to dial yet; deferred ones included.
    #[inline(always)]
    pub(crate) fn pending(&self) -> u64 {
        self.in_order() + self.deferred.len()
    }

    /// The number of calls between head and tail.
    #[inline(always)]
    fn in_order(&self) -> u64 {
        self.calls().tail() - self.calls().head() - self.calls().tombstones()
    }

    /// Whether a turn would find no call to dial. (A call that is deferred waits for the live call of
    /// its recipient.)
    pub(crate) fn is_idle(&self) -> bool {
        (self.calls().is_drained() || self.in_order() == 0) && self.deferred.ready_len() == 0
    }

    /// The number of live calls: those attempted that did not end yet.
    pub(super) fn live(&self) -> u64 {
        let passed = self.calls().head() - self.first;
        let attempted = passed - self.skipped.get() - self.forgotten.get();
        attempted - self.deferred.len() - self.tally.dialed.get() - self.tally.refused.get()
    }

    /// Whether the limit of pending calls is reached.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.pending() >= self.capacity
    }

    /// Lets calls be scheduled on the fast path for as long as the queue admits them, unless each needs
    /// the slow path.
    pub(super) fn set_fast_limit(&self) {
        let admits = !self.listener.has(flag::ON_SCHEDULE);
        let ids_left = CallId::END - self.calls().head();
        let places_left = self.capacity.saturating_sub(self.deferred.len());
        self.calls().set_limit(if admits { places_left.min(ids_left) } else { 0 });
    }

    pub(super) fn tally(&self) -> Tally {
        let counts = &self.tally;
        let unscheduled = counts.callbacks.get() - counts.answered.get() - counts.withdrawn.get();
        let pending = self.pending();
        let scheduled = self.calls().tail() - self.first;
        Tally {
            // An answered callback is among those scheduled, and was created before.
            created: scheduled + unscheduled + counts.withdrawn.get() + counts.turned_away.get(),
            unscheduled,
            pending,
            live: self.live(),
            finished: counts.dialed.get() - counts.panicked.get(),
            canceled: counts.canceled.get(),
            refused: counts.refused.get() + counts.refused_at_once.get(),
            abandoned: counts.abandoned.get(),
            panicked: counts.panicked.get(),
        }
    }

    /// The pending calls, counted by looking at each.
    #[cfg(feature = "testing")]
    pub(super) fn walk(&self) -> u64 {
        let positions = self.calls().head()..self.calls().tail();
        let in_order = positions.filter(|at| !self.calls().is_tombstone(*at)).count();
        in_order as u64 + self.deferred.walk()
    }
}
