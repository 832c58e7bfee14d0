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
//! For a call that is scheduled and dialed, which takes four steps: three reads of the clock and two for each turn, and
//! the instructions that `cargo bench --features journal --bench instructions journaled` counts. 96 bytes for each
//! step that is kept, and up to 75 for each call that is pending and whose schedule is among them: no
//! more than that, whatever the journal has missed. 100 bytes for each turn with calls, and 40 for each call
//! that comes from a source, a timer or another thread, of as many as there are steps at most.

mod builder;
mod explain;
mod history;
mod latency;
mod loop_log;
mod map;
mod pages;
mod recorder;
mod records;
mod snapshot;
mod texts;
mod time;
mod timeline;
mod trace;
mod trigger;

pub use builder::JournalBuilder;
pub use explain::Story;
pub use history::History;
pub use latency::Latency;
pub use loop_log::TurnRecord;
pub use pages::{Figures, StepCounts};
pub use recorder::Journal;
pub use records::{CallRecord, End, Moment, OpEnd, OperationRecord, RecipientRecord};
pub use snapshot::Snapshot;
pub use trigger::{JournalTrigger, handler_longer_than, on_step, wait_longer_than};
