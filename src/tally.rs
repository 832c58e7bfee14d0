//! Counts of calls, by their state and by how they ended.

use core::cell::Cell;
use core::fmt;

/// Counts of calls, by their state and by how they ended.
///
/// Rule R12, at every instant: [`created`](Self::created) is the sum of all other fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// All calls ever made.
    pub created: u64,
    /// Callbacks not called yet.
    pub unscheduled: u64,
    /// Scheduled, no attempt to dial yet.
    pub pending: u64,
    /// Dialed, handler not yet returned.
    pub live: u64,
    /// Handler returned.
    pub finished: u64,
    /// Canceled before they were dialed.
    pub canceled: u64,
    /// Not dialed when the queue reached them, see [`Refusal`](crate::Refusal).
    pub refused: u64,
    /// Callbacks dropped without being called.
    pub abandoned: u64,
    /// Handler unwound.
    pub panicked: u64,
}

impl Tally {
    /// Returns true if the sum of rule R12 holds.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// queue.call(|queue| assert!(queue.tally().balances())); // in the middle of a turn, too
    /// queue.callback(|_, ()| ()).decline("not needed");
    /// queue.dial_all();
    /// assert!(queue.tally().balances());
    /// ```
    pub const fn balances(&self) -> bool {
        let now = self.unscheduled + self.pending + self.live;
        let over = self.finished + self.canceled + self.refused + self.abandoned + self.panicked;
        self.created == now + over
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, unscheduled, pending, live, .. } = self;
        let Self { finished, canceled, refused, abandoned, panicked, .. } = self;
        write!(
            f,
            "{created} created = {unscheduled} unscheduled + {pending} pending + {live} live"
        )?;
        write!(f, " + {finished} finished + {canceled} canceled + {refused} refused")?;
        write!(f, " + {abandoned} abandoned + {panicked} panicked")
    }
}

/// The running counts behind a [`Tally`]; the ring knows the others.
#[derive(Default)]
pub(crate) struct Counters {
    /// Callbacks ever created.
    pub(crate) callbacks: Count,
    /// Callbacks ever answered in time, so scheduled.
    pub(crate) answered: Count,
    /// Callbacks that ended without being answered in time.
    pub(crate) withdrawn: Count,
    pub(crate) canceled: Count,
    /// Calls whose handler returned or unwound.
    pub(crate) dialed: Count,
    pub(crate) refused: Count,
    pub(crate) abandoned: Count,
    pub(crate) panicked: Count,
    /// Calls that the queue did not admit.
    pub(crate) turned_away: Count,
    /// Those that ended Refused as they were scheduled.
    pub(crate) refused_at_once: Count,
}

/// One running count.
#[derive(Default)]
pub(crate) struct Count(Cell<u64>);

impl Count {
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }

    #[inline(always)]
    pub(crate) fn add(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }

    #[inline(always)]
    pub(crate) fn sub(&self) {
        self.0.set(self.0.get().wrapping_sub(1));
    }
}
