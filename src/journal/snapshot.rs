//! The steps of a journal, copied to be put in order elsewhere.

use alloc::vec::Vec;
use core::fmt;
use std::time::{Instant, SystemTime};

use crate::id::CallId;
use crate::journal::filter::LeftOut;
use crate::journal::loop_log::LoopLog;
use crate::journal::map::Map;
use crate::journal::ring::StepEntry;
use crate::journal::texts::{Labeled, Text};

/// The steps that a [`Journal`](super::Journal) held at an instant.
///
/// Cheap to make, and `Send`: another thread makes the [`History`](super::History) of it, and writes the page.
///
/// ```
/// use switchboard::CallQueue;
/// use switchboard::journal::Journal;
///
/// let queue = CallQueue::new();
/// let journal = Journal::builder().install(&queue);
/// queue.call(|_| ());
/// queue.dial_all();
///
/// let snapshot = journal.snapshot(); // a copy of 96 bytes for each step
/// let writer = std::thread::spawn(move || {
///     let mut page = Vec::new();
///     snapshot.into_history().write_timeline(&mut page).map(|()| page)
/// });
/// assert!(writer.join().unwrap()?.len() > 50_000);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    pub(super) entries: Vec<StepEntry>,
    pub(super) labels: Map<Labeled, Text>,
    pub(super) names: Map<CallId, Text>,
    pub(super) loop_log: LoopLog,
    pub(super) dropped: u64,
    pub(super) start: Instant,
    pub(super) date: Option<SystemTime>,
    pub(super) now: Instant,
    /// Whether that is when a trigger fired.
    pub(super) is_stopped: bool,
    pub(super) left_out: LeftOut,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} steps, {} dropped)", self.entries.len(), self.dropped)
    }
}
