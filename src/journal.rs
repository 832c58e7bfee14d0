//! The journal: what happened to calls and operations, to be asked later (feature `journal`).
//!
//! A [`Journal`] is an observer that keeps the latest steps in a ring. [`Journal::explain`] reports
//! one call's story. [`Journal::history`] is a copy to look around in: calls, operations,
//! recipients, causes and effects; it is exported as a page to look at
//! ([`History::write_timeline`]) or as a trace for Perfetto ([`History::write_trace`]).
//!
//! ```
//! use std::rc::Rc;
//! use switchboard::CallQueue;
//! use switchboard::journal::Journal;
//!
//! let journal = Rc::new(Journal::new());
//! let queue = CallQueue::new();
//! queue.add_observer(Rc::clone(&journal));
//!
//! let server = queue.recipient(String::from("server"));
//! let callback = server.callback(|_, _, ()| ());
//! let call = callback.id();
//! queue.call(move |_| callback.answer(()));
//! queue.dial_all();
//!
//! let story = journal.explain(call);
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
//! # Cost
//!
//! For a call that is scheduled and dialed, which takes four steps: four reads of the clock, and
//! about 1,300 instructions (`cargo bench --features journal --bench instructions journaled`), a
//! microsecond in all. 96 bytes for each step that is kept, and up to 75 for each call that is
//! pending, also beyond what is kept.

use alloc::boxed::Box;
use alloc::string::String;
use core::cell::RefCell;
use core::fmt;
use core::num::NonZeroU64;
use std::time::Instant;

use crate::id::CallId;
use crate::observe::Observer;
use crate::op_step::OpStep;
use crate::step::Step;

mod explain;
mod history;
mod latency;
mod pages;
mod records;
mod timeline;
mod trace;

pub use history::History;
pub use latency::Latency;
pub use pages::{Figures, StepCounts};
use pages::{Pages, What};
pub use records::{CallRecord, End, Moment, OpEnd, OperationRecord, RecipientRecord};

/// Steps kept, unless [`Journal::with_capacity`] says otherwise.
const CAPACITY: usize = 1 << 16;

/// An observer that remembers the latest steps of calls and operations.
///
/// Set it in an `Rc`, to ask it later; in a pair with another observer, if there is one. See the
/// [module](self).
pub struct Journal {
    clock: Box<dyn Fn() -> Instant>,
    start: Instant,
    pages: RefCell<Pages>,
}

impl Journal {
    /// Makes a journal of the latest 65,536 steps.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// Makes a journal of the latest `steps` steps; 0 counts as 1.
    pub fn with_capacity(steps: usize) -> Self {
        Self::with_clock(steps, Instant::now)
    }

    /// Makes a journal of the latest `steps` steps that reads the time from `clock`. The journal
    /// begins now.
    pub fn with_clock(steps: usize, clock: impl Fn() -> Instant + 'static) -> Self {
        let start = clock();
        Self { clock: Box::new(clock), start, pages: RefCell::new(Pages::new(steps.max(1))) }
    }

    /// Tells the story of a call in a few lines: who created and scheduled it, and where; how long
    /// it waited, and behind what; how it ended, and why; what it caused. If it delivers the result
    /// of an operation, the story of that too.
    ///
    /// What the journal has dropped, or never saw, the story says so.
    ///
    /// Cost: reads the whole journal. For many stories, take a [`history`](Self::history).
    pub fn explain(&self, call: CallId) -> String {
        self.history().explain(call)
    }

    /// A copy of what the journal holds, as of now.
    pub fn history(&self) -> History {
        let now = (self.clock)();
        let pages = self.pages.borrow();
        History::read(pages.entries(), pages.dropped(), self.start, now)
    }

    /// Counts and latencies since the journal began, also of steps that it has dropped.
    pub fn figures(&self) -> Figures {
        self.pages.borrow().figures()
    }

    /// The clock is code of the user, so nothing is borrowed when it is read.
    fn note(&self, call: CallId, what: What) {
        let now = (self.clock)();
        self.pages.borrow_mut().note(now, call, what);
    }
}

impl Observer for Journal {
    fn observe(&self, call: CallId, step: &Step) {
        self.note(call, What::Call(*step));
    }

    fn observe_removal(&self, queue: NonZeroU64) {
        self.pages.borrow_mut().forget(queue);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        self.note(operation, What::Operation(*step));
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((pending, live), len, dropped) = {
            let pages = self.pages.borrow();
            (pages.watched(), pages.len(), pages.dropped())
        };
        write!(f, "Journal({len} steps, {dropped} dropped, ")?;
        write!(f, "{pending} calls pending, {live} live)")
    }
}
