//! The names of calls.

use core::fmt;
use core::num::NonZeroU64;

use crate::erased::Key;

/// Names one call of one queue.
///
/// An id takes 16 bytes and is `Copy`. It is never reused in the life of the process, and names nothing
/// in another queue. An id grants no right and proves none: any code that has the id can cancel the
/// call.
///
/// Prints as `#17` for the queue's 18th call scheduled, as `#c3.1` for a callback, and as `#x2` for a
/// call that the queue did not admit. Ordered, so
/// that it can be a key; the order of callbacks means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    queue: NonZeroU64,
    /// The call's position in the queue, or [`CallId::CALLBACK`], slot and generation.
    key: u64,
}

impl CallId {
    /// Set in the key of a call that began as a callback.
    const CALLBACK: u64 = 1 << 63;

    /// Set in the key of a call that its queue did not admit.
    const TURNED_AWAY: u64 = 1 << 62;

    /// Positions end here.
    pub(crate) const END: u64 = Self::TURNED_AWAY;

    /// Returns the id as an integer, which fits through a C ABI as two words.
    ///
    /// ```
    /// use switchboard::{CallId, CallQueue, Cancellation};
    ///
    /// let queue = CallQueue::new();
    /// let bits = queue.call(|_| ()).to_bits();
    /// let (high, low) = ((bits >> 64) as u64, bits as u64); // what a C host keeps
    /// let id = CallId::from_bits(u128::from(high) << 64 | u128::from(low)).expect("an id");
    /// assert_eq!(queue.cancel(id, "unwanted"), Cancellation::Canceled);
    /// ```
    pub const fn to_bits(self) -> u128 {
        (self.queue.get() as u128) << 64 | self.key as u128
    }

    /// Returns the id of which [`to_bits`](Self::to_bits) returned this integer, or `None` if the upper
    /// half of the integer is zero: no queue has that number.
    ///
    /// Any other integer names some call, or none. That is harmless: it can at most cancel a call of
    /// this thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallId, CallQueue, Cancellation};
    ///
    /// let queue = CallQueue::new();
    /// let user_data: u128 = queue.call(|_| ()).to_bits(); // what the host keeps
    ///
    /// let id = CallId::from_bits(user_data).ok_or("not an id")?;
    /// assert_eq!(queue.cancel(id, "the host asked for it"), Cancellation::Canceled);
    /// assert_eq!(CallId::from_bits(0), None);
    /// # Ok::<(), &str>(())
    /// ```
    pub const fn from_bits(bits: u128) -> Option<Self> {
        match NonZeroU64::new((bits >> 64) as u64) {
            Some(queue) => Some(Self { queue, key: bits as u64 }),
            None => None,
        }
    }

    pub(crate) const fn new(queue: NonZeroU64, key: u64) -> Self {
        Self { queue, key }
    }

    pub(crate) const fn callback_key(key: Key) -> u64 {
        Self::CALLBACK | (key.slot as u64) << 32 | key.generation as u64
    }

    pub(crate) const fn turned_away_key(serial: u64) -> u64 {
        Self::TURNED_AWAY | serial
    }

    /// Returns the number of the call's queue, which no other queue of the process has.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let (ui, network) = (CallQueue::new(), CallQueue::new());
    /// let id = network.call(|_| ());
    /// let other = ui.call(|_| ());
    /// // One observer of two queues finds out whose call it is.
    /// assert_ne!(id.queue(), other.queue());
    /// assert_eq!(id.queue(), network.call(|_| ()).queue());
    /// ```
    pub const fn queue(self) -> NonZeroU64 {
        self.queue
    }

    pub(crate) const fn key(self) -> u64 {
        self.key
    }

    pub(crate) const fn named(self) -> Named {
        if self.key < Self::END {
            return Named::Position(self.key);
        }
        if self.key & Self::CALLBACK == 0 {
            return Named::TurnedAway(self.key & !Self::TURNED_AWAY);
        }
        let slot = ((self.key & !Self::CALLBACK) >> 32) as u32;
        Named::Callback(Key { slot, generation: self.key as u32 })
    }
}

/// The object that a [`CallId`] names within its queue.
pub(crate) enum Named {
    Position(u64),
    Callback(Key),
    /// A call that ended as it was created.
    TurnedAway(u64),
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            Named::Position(position) => write!(f, "#{position}"),
            Named::TurnedAway(serial) => write!(f, "#x{serial}"),
            Named::Callback(Key { slot, generation }) => {
                // Slots are counted from 1 on.
                write!(f, "#c{}.{generation}", slot.wrapping_sub(1))
            }
        }
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self} of queue {})", self.queue)
    }
}
