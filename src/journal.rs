//! The journal: what happened to calls and operations, to be asked later (feature `journal`).
//!
//! A [`Journal`] is an observer that keeps the latest steps in a ring. [`Journal::explain`] reports one
//! call's story. [`Journal::history`] returns a copy to search: calls, operations, recipients, causes
//! and effects; it is exported as a page for a browser ([`History::write_timeline`]) or as a trace for
//! Perfetto ([`History::write_trace`]).
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
//! Every step is attributed to the call that is live. The journal keeps a stack of live calls; queues
//! of one thread can share it, in an `Rc`. If it is set while a call is live, it learns of that call
//! when that ends. If it is removed from a queue, it keeps the steps that it has, and forgets which of
//! the queue's calls were pending and live.
//!
//! # In production
//!
//! A [trigger](JournalBuilder::trigger) stops the journal when something has gone wrong, so that the
//! steps that led to it are still there later; a filter, of [steps](JournalBuilder::filter) or of
//! [recipients](JournalBuilder::filter_recipients), makes a short journal reach further back. A
//! [`Snapshot`] is put in order and written by another thread, which it may be sent to.
//!
//! Labels of recipients and names of calls are shown, even after the recipient is gone. If queues share
//! a journal, recipients of one type and number share the label that was set last.
//!
//! # Cost
//!
//! A call that is scheduled and dialed takes three steps, because "created and scheduled" counts as one,
//! and three reads of the clock (four of each with a filter, a trigger or another observer); a turn takes
//! two reads. `cargo bench --features journal --bench instructions journaled` counts the instructions.
//!
//! Memory: 96 bytes for each step that is kept; up to 86 for each call that is pending; 112 for each turn
//! with calls, and 40 for each call that comes from a source, a timer or another thread; with a filter of
//! recipients, up to 43 for each call and each operation that it follows; but for no more of any of these
//! than it keeps steps; and 84 KiB of counts for the latencies. Never more than that, but for names and labels.

mod builder;
mod call_table;
mod explain;
mod figures;
mod filter;
mod history;
mod latency;
mod loop_log;
mod map;
mod pages;
mod recipients;
mod recorder;
mod records;
mod ring;
mod snapshot;
mod texts;
mod time;
mod timeline;
mod trace;
mod trigger;

pub use builder::JournalBuilder;
pub use explain::Story;
pub use figures::{Figures, StepCounts};
pub use history::History;
pub use latency::Latency;
pub use loop_log::TurnRecord;
pub use recorder::Journal;
pub use records::{CallRecord, End, Moment, OpEnd, OperationRecord, RecipientRecord};
pub use snapshot::Snapshot;
pub use trigger::{JournalTrigger, handler_longer_than, on_step, wait_longer_than};
