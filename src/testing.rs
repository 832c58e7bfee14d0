//! For tests: a reactor that a script drives step by step, and a check of the counts.
//!
//! With the feature `mio`, a [`ScriptedReactor`] drives recipients in memory: its poll never sleeps,
//! its [`Clock`] stands still until it is advanced, its [`ScriptedSource`]s read what their [`Peer`] in
//! the test's hands has pushed, and the script reports each [`Event`]. What happens is then the same in
//! every run. `docs/testing.md` walks through the test of a recipient.
//!
//! | a recipient meets | the script calls |
//! |---|---|
//! | bytes, one at a time | [`Peer::push`], [`Peer::limit_reads`] |
//! | a peer that is slow | [`Peer::limit_writes`] |
//! | the end of the stream, in either direction | [`Peer::close_write`], [`Peer::close_read`] |
//! | an error, an interrupted system call | [`Peer::fail_read`], [`Peer::fail_write`], [`Peer::fail_registering`] |
//! | time that passes | [`ScriptedReactor::advance`], [`ScriptedReactor::jump`] |
//! | events that are late, lost, doubled, reordered, or older than their source | [`ScriptedReactor::take_events`], [`ScriptedReactor::turn_with`] |
//! | an event for nothing | [`Peer::event`] |
//!
//! That its handlers read all there is, [`ScriptedReactor::check_drained`] checks.

#![cfg_attr(
    not(feature = "mio"),
    allow(rustdoc::broken_intra_doc_links, reason = "what they name is there with `mio` only")
)]

use crate::queue::QueueHandle;

#[cfg(feature = "mio")]
mod clock;
#[cfg(feature = "mio")]
mod drained;
#[cfg(feature = "mio")]
mod event;
#[cfg(feature = "mio")]
mod reactor;
#[cfg(feature = "mio")]
mod source;
#[cfg(feature = "mio")]
mod wire;

#[cfg(feature = "mio")]
pub use clock::Clock;
#[cfg(feature = "mio")]
pub use drained::Undrained;
#[cfg(feature = "mio")]
pub use event::{Event, Ready};
#[cfg(feature = "mio")]
pub use reactor::{ScriptedReactor, Unsettled};
#[cfg(feature = "mio")]
pub use source::{Peer, ScriptedSource, Sources};

/// Counts the pending calls by walking the queue, and returns the number, which
/// [`Tally::pending`](crate::Tally::pending) must equal.
///
/// Cost: O(n) for n places in the queue.
///
/// # Examples
///
/// ```
/// use switchboard::CallQueue;
/// use switchboard::testing::count_pending;
///
/// let queue = CallQueue::new();
/// queue.call(|_| ());
/// let unwanted = queue.call(|_| ());
/// queue.cancel(unwanted, "not needed");
/// assert_eq!(count_pending(&queue), queue.tally().pending);
/// ```
pub fn count_pending(queue: &QueueHandle) -> u64 {
    queue.walk()
}
