//! A single-threaded call queue, the event loop around it, and cancelable asynchronous operations.
//!
//! Code that wants work done later *schedules a call*. The queue *dials* calls in order, each to its
//! *recipient*, at most one at a time per recipient.
//!
//! ```
//! use switchboard::{CallQueue, Cancellation};
//!
//! struct Server { lines: Vec<String> }
//!
//! let queue = CallQueue::new();
//! let server = queue.recipient(Server { lines: Vec::new() });
//!
//! // Create and schedule a call in one go.
//! server.call(|server, _| server.lines.push("first".into()));
//!
//! // Create a callback to the server, and let other code schedule it, with a value.
//! let read = server.callback(|server, cx, text: String| {
//!     server.lines.push(text);
//!     cx.call(|server, _| assert_eq!(server.lines, ["first", "second"]));
//! });
//! read.answer("second".into());
//!
//! // Cancel a call: it never runs, and what it captured is dropped at once.
//! let unwanted = server.call(|server, _| server.lines.clear());
//! assert_eq!(queue.cancel(unwanted, "changed our mind"), Cancellation::Canceled);
//!
//! let report = queue.dial_all();
//! assert_eq!((report.dialed, report.canceled), (3, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! - [`CallQueue`] owns a queue; [`QueueHandle`] has its methods.
//! - [`Recipient`] owns a value that receives calls, and [`Recipients`] owns many of them. [`Address`]
//!   is the address to call; handlers receive the value and a [`Context`].
//! - [`Callback`] is a call that other code schedules. [`Call`] is the trait of call types with a check
//!   of their own.
//! - [`Observer`] sees every [`Step`] of every call and every [`OpStep`] of every operation, [`Tally`]
//!   counts how calls ended. Ready-made observers are [`Reporter`], which reports bugs in sentences,
//!   `journal::Journal`, and `DialSpans` with the feature `tracing`.
//! - [`op`] has cancelable operations, and [`future`] has futures of calls and operations. `reactor`
//!   is the event loop around mio, and `samples` has modules to learn from and build on. These two need
//!   the feature `mio`, which is on by default.
//! - `pages` is the guide, page by page, with the code of the examples.
//!
//! # Vocabulary
//!
//! - **call**: one unit of work meant to be delivered by a caller to a recipient.
//! - **recipient**: the destination; the function that receives the call is its **handler**. A
//!   *function call* has a handler, but no recipient.
//! - **creator**: makes the call. **caller**: schedules it. They are often different code: a recipient
//!   creates a *callback* and hands it to its future caller.
//! - **schedule**: put a call in the queue. **dial**: the final act of delivering it. **cancel**:
//!   prevent it from being dialed in the future.
//! - **promise**: a call that must not be lost: an answered callback, an accepted call from another
//!   thread, a readiness call.
//! - **pending**: scheduled, no attempt to dial yet. **live**: dialed, handler not yet returned.
//! - **turn**: one run of the queue, such as [`dial_all`](QueueHandle::dial_all).
//!
//! # Life of a call
//!
//! ```text
//! Created -> Pending -> Live -> Finished    handler returned
//!    |          |         `---> Panicked    handler unwound
//!    |          |-------------> Refused     a check failed at the dial, or the queue was full
//!    |          `-------------> Canceled    will not be dialed
//!    |------------------------> Canceled
//!    `------------------------> Abandoned   a callback dropped without being called
//! ```
//!
//! Every call ends exactly once, in one of these. A pending promise may be Deferred on the way (R2).
//!
//! # Rules
//!
//! - **R1 order.** Calls are dialed in the order they were scheduled: over the whole queue, across
//!   turns, and for calls that handlers schedule while the queue is dialing.
//! - **R2 one live call per recipient.** If the queue reaches a call while its recipient is live with
//!   another one, the call is not dialed, and a report names both calls and both schedule sites. This
//!   happens if a handler dials the queue (a modal loop). Calls to other recipients are dialed normally
//!   there. A *promise* (an answered callback, a readiness call, a call from another thread) is
//!   deferred: it is still pending, can be canceled, and is dialed as soon as the live call has ended,
//!   ahead of what was scheduled after it. A plain call is refused, unless the recipient's owner asks
//!   for it to be deferred too ([`Recipient::set_defers_calls`]). Function calls have no such limit.
//! - **R3 cancel is immediate.** After [`cancel`](QueueHandle::cancel) returns, the handler never
//!   runs, and what the call captured is dropped. That drop may itself use the queue in any way.
//! - **R4 late cancel is a no-op** and returns [`Cancellation::Late`]. A second cancel returns
//!   [`Cancellation::Already`] until the queue has passed the place of the canceled call, and
//!   [`Cancellation::Late`] after that.
//! - **R5 a callback must be called**, or declined. One that is dropped otherwise ends Abandoned,
//!   with a report of the site that created it. A canceled callback can be answered or dropped
//!   freely.
//! - **R6 unwanted calls must be canceled**, by their recipient: it keeps the [`CallId`] of every
//!   callback that it hands out. If an operation has a cancel of its own
//!   ([`AsyncOp::cancel`](op::AsyncOp::cancel), dropping a registration), use that one. Any code on the
//!   thread that has the id can cancel, but only the recipient knows that it should.
//! - **R7 processed calls are forgotten.** Scheduling consumes a callback, so nothing is scheduled
//!   twice. A stale or foreign [`CallId`] never names another call. A call's memory is freed when it
//!   ends.
//! - **R8 checks at the dial.** Before a dial: was the call canceled? is the recipient gone? is it
//!   live? does the call's own check ([`Call::can_dial`]) return an error? A call that fails a check is
//!   not dialed.
//! - **R9 recipient gone.** When its owner drops a recipient, its value is dropped at once or, if it is
//!   live, right after its handler returns. The captures of its pending calls and waiting callbacks are
//!   dropped at once; these calls end Refused when the queue reaches them.
//! - **R10 live ends on return or unwind.** A panicking handler unwinds to the code that dials. The
//!   queue stays consistent, and later calls are still pending in order.
//! - **R11 the queue's end.** Dropping the [`CallQueue`] ends every pending call as Canceled, first to
//!   last, and drops its captures. Calls that surviving handles schedule later end Canceled at once;
//!   [`QueueHandle::try_call`] returns the closure in the error.
//! - **R12 conservation.** At every instant, the [`Tally`] balances: created = unscheduled +
//!   pending + live + finished + canceled + refused + abandoned + panicked.
//! - **R13** Misuse is the same in debug and release.
//! - **R14 memory follows what is pending.** No call waits for the storage to be copied. After a burst
//!   the memory is freed without a request. A canceled call keeps its 64 bytes while a call of the same
//!   block (up to 4,096 calls in a row) is pending; after that, a few bytes at most until the queue has
//!   passed its place.
//!
//! The rules of operations (O1 to O7) are in [`op`], those of the reactor (M1 to M10) in
//! `reactor`.
//!
//! # Cost
//!
//! Scheduling and dialing a function call takes about 40 instructions on x86-64, a call to a
//! recipient about 64, both with 24 bytes captured, and neither allocates (up to 48 and 40 bytes
//! captured). A pending call takes 64 bytes. See `docs/design.md` for how this is measured.
//!
//! # Features
//!
//! - `mio` (default): the modules `reactor` and `samples`, on 64-bit targets. Without it the crate is
//!   `no_std + alloc`, touches no clock and no thread.
//! - `conformance`: the module `conformance`, for tests: it checks that your operations keep the rules.
//!   Implies `mio`.
//! - `journal`: the module `journal`, an observer that records steps. It explains calls, and exports a
//!   timeline for a browser or a trace for Perfetto. Needs `std`.
//! - `testing`: the module `testing`, to drive recipients step by step in tests: with `mio`, a
//!   scripted reactor with a virtual clock.
//! - `timerfd`: on Linux, `Reactor::signal_when_due`: one descriptor is readable whenever a turn is due.
//!   Implies `mio`.
//! - `tracing`: calls that are canceled or refused, and handlers that panic, are logged as `tracing`
//!   events at debug level; bugs (R2, R5) as warnings. With the observer `DialSpans`, log lines of
//!   handlers carry the call.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(test, feature = "journal", feature = "mio"))]
extern crate std;

#[cfg(any(test, feature = "mio"))]
mod arena;
mod callback;
#[cfg(feature = "conformance")]
pub mod conformance;
mod erased;
pub mod future;
mod id;
#[cfg(feature = "journal")]
pub mod journal;
#[cfg(doctest)]
mod must_not_compile;
mod observe;
pub mod op;
mod op_step;
#[cfg(any(feature = "mio", feature = "tracing"))]
mod origin;
mod outcome;
mod outside;
#[cfg(doc)]
pub mod pages;
mod queue;
#[cfg(feature = "mio")]
pub mod reactor;
mod recipient;
mod reporter;
#[cfg(feature = "mio")]
pub mod samples;

#[cfg(feature = "tracing")]
mod spans;
mod step;
#[cfg(feature = "mio")]
pub mod streams;
mod tally;
#[cfg(feature = "testing")]
pub mod testing;
mod unwind;

pub use callback::Callback;
pub use id::CallId;
/// The crate of the sources and the polls, in the version that the reactor takes.
#[cfg(feature = "mio")]
pub use mio;
pub use observe::{Observer, ObserverId};
pub use op_step::{OpStep, Outcome};
pub use outcome::{Cancellation, Report, ScheduleError, ScheduleErrorKind};
pub use outside::{CallOrigin, TurnStep};
pub use queue::{Budget, CallQueue, QueueHandle};
pub use recipient::{Address, Call, Context, Recipient, Recipients};
pub use reporter::Reporter;
#[cfg(feature = "tracing")]
pub use spans::DialSpans;
pub use step::{RecipientInfo, Refusal, Step};
pub use tally::Tally;
