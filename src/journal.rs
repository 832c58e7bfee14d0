//! The journal: what happened to calls and operations, to be asked later (feature `journal`).
//!
//! A [`Journal`] is an observer that keeps the latest steps in a ring. [`Journal::explain`] reports
//! one call's story. [`Journal::history`] is a copy to look around in: calls, operations,
//! recipients, causes and effects; it is exported as a page to look at
//! ([`History::write_timeline`]) or as a trace for Perfetto ([`History::write_trace`]).
//!
//! ```
//! use switchboard::CallQueue;
//! use switchboard::journal::Journal;
//!
//! let queue = CallQueue::new();
//! let journal = Journal::builder().install(&queue);
//!
//! let server = queue.recipient(String::from("server"));
//! let callback = server.callback(|_, _, ()| ());
//! let call = callback.id();
//! queue.call(move |_| callback.answer(()));
//! queue.dial_all();
//!
//! let story = journal.explain(call).to_string();
//! assert!(story.starts_with("call #c0.0 to String(0)"));
//! assert!(story.contains("by call #0, a function call"));
//! println!("{story}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who did it
//!
//! While a call is live, whatever happens is its doing: the journal keeps a stack of live calls,
//! also over several queues of a thread that share one journal in an `Rc`. If it is set while a
//! call is live, it learns of that call when that ends. If it is removed from a queue, it keeps the steps
//! that it has, and forgets which of the queue's calls were pending and live.
//!
//! A call whose dial was interrupted by the panic of another observer is pending again (rule R10), but the
//! journal is not notified of that: it takes the call for live until that is over.
//!
//! # In production
//!
//! A [trigger](JournalBuilder::trigger) stops the journal when something has gone wrong, so that what led to it
//! is there when somebody looks; a [filter](JournalBuilder::filter) makes a short journal reach further back. A
//! [`Snapshot`] is put in order and written by another thread, which it may be sent to.
//!
//! Labels of recipients and names of calls are shown, even after the recipient is gone. If queues share
//! a journal, recipients of one type and number share the label that was set last.
//!
//! # Cost
//!
//! For a call that is scheduled and dialed, which takes four steps: three reads of the clock, and
//! the instructions that `cargo bench --features journal --bench instructions journaled` counts. 96 bytes for each
//! step that is kept, and up to 75 for each call that is pending and whose schedule is among them: no
//! more than that, whatever the journal has missed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::num::NonZeroU64;
use std::time::Instant;

use crate::id::CallId;
use crate::observe::Observer;
use crate::op_step::OpStep;
use crate::step::{RecipientInfo, Step};

mod builder;
mod explain;
mod history;
mod latency;
mod map;
mod pages;
mod records;
mod snapshot;
mod texts;
mod timeline;
mod trace;
mod trigger;

pub use builder::JournalBuilder;
pub use explain::Story;
pub use history::History;
pub use latency::Latency;
pub use pages::{Figures, StepCounts};
use pages::{Pages, What};
pub use records::{CallRecord, End, Moment, OpEnd, OperationRecord, RecipientRecord};
pub use snapshot::Snapshot;
use trigger::StepFilter;
pub use trigger::{JournalTrigger, handler_longer_than, on_step, wait_longer_than};

/// Steps kept, unless [`Journal::with_capacity`] says otherwise.
const CAPACITY: usize = 1 << 16;

type Clock = Box<dyn Fn() -> Instant>;

/// An observer that remembers the latest steps of calls and operations.
///
/// Add it in an `Rc`, to ask it later. See the [module](self).
pub struct Journal {
    clock: Clock,
    start: Instant,
    filter: Option<StepFilter>,
    triggers: Vec<JournalTrigger>,
    pages: RefCell<Pages>,
}

impl Journal {
    /// Makes a journal of the latest 65,536 steps.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Makes a journal of the latest `steps` steps; 0 counts as 1.
    pub fn with_capacity(steps: usize) -> Self {
        Self::builder().keep(steps).build()
    }

    /// Makes a journal of the latest `steps` steps that reads the time from `clock`. The journal
    /// begins now.
    pub fn with_clock(steps: usize, clock: impl Fn() -> Instant + 'static) -> Self {
        Self::builder().keep(steps).clock(clock).build()
    }

    /// Sets up a journal with a filter, say, or a trigger.
    pub fn builder() -> JournalBuilder {
        JournalBuilder::new()
    }

    /// Reports the life of a call in a few lines: who created and scheduled it, and where; how long
    /// it waited, and behind what; how it ended, and why; what it caused. If it delivers the result
    /// of an operation, the life of that too. Steps that the journal has dropped, or never saw, are
    /// reported as missing.
    ///
    /// Cost: reads the whole journal. For many stories, take a [`history`](Self::history).
    pub fn explain(&self, call: CallId) -> Story {
        self.history().explain(call)
    }

    /// A copy of what the journal holds, as of now, in order.
    ///
    /// Cost: reads and links all steps. On the thread of a busy loop, take a
    /// [`snapshot`](Self::snapshot), and let another thread put it in order.
    pub fn history(&self) -> History {
        self.snapshot().into_history()
    }

    /// A copy of the steps that the journal holds, as of now.
    pub fn snapshot(&self) -> Snapshot {
        let now = (self.clock)();
        let pages = self.pages.borrow();
        Snapshot {
            entries: pages.entries(),
            labels: pages.labels.all(),
            names: pages.names.all(),
            dropped: pages.dropped(),
            start: self.start,
            now,
        }
    }

    /// Counts and latencies since the journal began, even of steps that it has dropped.
    pub fn figures(&self) -> Figures {
        self.pages.borrow().figures()
    }

    /// The call that fired a trigger, if one did. The journal then holds the steps up to that of this
    /// call, and records no more until [`resume`](Self::resume) is called; figures go on.
    pub fn triggered_by(&self) -> Option<CallId> {
        self.pages.borrow().frozen()
    }

    /// Drops the steps that led to the trigger, and records again. Does nothing if none has fired.
    pub fn resume(&self) {
        self.pages.borrow_mut().resume();
    }
}

impl Observer for Journal {
    /// The clock, the filter and the triggers are user code, so nothing is borrowed when they run.
    fn observe(&self, call: CallId, step: &Step) {
        let same = self.pages.borrow().same_moment(call, step);
        let now = same.unwrap_or_else(|| (self.clock)());
        let keeps = self.filter.as_ref().is_none_or(|keeps| keeps(call, step));
        let took = self.pages.borrow_mut().note(now, call, What::Call(*step), keeps);
        if self.triggers.iter().any(|trigger| trigger.fires(call, step, took)) {
            self.pages.borrow_mut().freeze(call);
        }
    }

    fn observe_label(&self, recipient: RecipientInfo, label: Option<&str>) {
        let pages = &mut *self.pages.borrow_mut();
        match label {
            Some(label) => pages.labels.set(recipient, label),
            None => pages.labels.release(recipient, pages.next_step()),
        }
    }

    fn observe_name(&self, call: CallId, name: &str) {
        let pages = &mut *self.pages.borrow_mut();
        pages.names.set(call, name);
        pages.names.release(call, pages.next_step());
    }

    fn observe_removal(&self, queue: NonZeroU64) {
        self.pages.borrow_mut().forget(queue);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        let now = (self.clock)();
        self.pages.borrow_mut().note(now, operation, What::Operation(*step), true);
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((pending, live), texts, len, dropped) = {
            let pages = self.pages.borrow();
            let texts = pages.labels.len() + pages.names.len();
            (pages.watched(), texts, pages.len(), pages.dropped())
        };
        write!(f, "Journal({len} steps, {dropped} dropped, ")?;
        write!(f, "{pending} calls pending, {live} live, {texts} labels and names)")
    }
}
