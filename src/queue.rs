//! The queue: its owner, the handles to it, and their methods.
//!
//! # The way of a call
//!
//! Files are in layers (see CONTRIBUTING.md). Steps marked *slow* run only if there is more to do than
//! usual.
//!
//! A call to a recipient, from [`Address::call`] to its end:
//!
//! 1. `recipient.rs`, `Address::call`: records the site, and wraps the closure as a `Handler`, then
//!    as a `ToRecipient` (`recipient/call.rs`), the payload that the queue stores.
//! 2. `queue/schedule.rs`, `Core::schedule`: asks the storage whether a push is fast
//!    (`erased.rs`, `Calls::is_fast`). It is unless the block is full, the limit of the queue is reached,
//!    or a flag of `ON_SCHEDULE` is set (`queue/listener.rs`).
//!    - *slow*, `schedule_slow`, once the type of the call is erased, so that it is compiled just once:
//!      `admission_error` returns whether the queue is gone, full or out of ids; then `turn_away`
//!      counts and ends the call. Else `schedule_admitted` pushes it, notifies the observers, and
//!      wakes the embedder (`queue/notify.rs`).
//! 3. `erased.rs`, `Calls::push`: writes vtable, site and payload to the place at the tail. Its position is
//!    the call's id ([`CallId`]).
//! 4. `queue/turn.rs`, `Turn::dial_while`: deferred calls that are ready first
//!    (`Attempt::dial_deferred`), then `Calls::dial_next`, which moves the head past the place and calls
//!    the vtable's `dial`. That moves the payload out and calls `Dialing::begin` (`queue/attempt.rs`; the
//!    call is live from now on: I1 there), then the payload's own `dial`.
//! 5. `recipient/call.rs`, `ToRecipient::dial`: if the call is observed, or the value is borrowed or not
//!    there, *slow*: if the recipient is live, `dial_slow` defers a promise, and any call if the recipient
//!    defers its calls (`recipient/cell.rs`, `defer`; then `queue/deferred.rs`).
//! 6. `recipient/cell.rs`, `RecipientCell::deliver`: borrows the value (that is rule R2), asks the call's
//!    check, notifies the observers, and runs the handler. If an observer panics, the call is put back among
//!    the deferred ones (`PutBackOnDrop` in `queue/attempt.rs`). When the borrow is back, `Delivery` makes
//!    the first deferred call of the recipient ready and drops the value of one that is gone.
//! 7. `queue/attempt.rs`, `Attempt::finish`: counts the call as finished; *slow* if it is observed, is over
//!    already (refused, deferred), or a deferred call is ready. If the handler unwinds, the drop of
//!    `Attempt` counts it as panicked.
//!
//! Other ends: `queue/cancel.rs` (a tombstone takes the place of the call until the queue passes it;
//! `Core::pass_tombstone`), `queue/close.rs` (the queue's end), `Attempt::refuse`, and for a recipient
//! that is gone `queue/release.rs` (the captures of its calls are dropped at once; the calls are
//! refused when the queue reaches them).
//!
//! A callback differs at both ends. `Callback::to_recipient` (`callback.rs`) puts a join, a call without
//! its value, in a slot of the storage (`erased/cells.rs`, `Storage::create`).
//! [`Callback::answer`] pushes an `Answered` with the value and the slot's address
//! (`queue/callback.rs`, `Core::answer`); its dial takes the join out of the slot and runs it as a
//! `ToRecipient` that is promised, from step 5 on.
//!
//! A readiness event: `reactor/shared.rs`, `Shared::note_each`, finds the registration by its token,
//! merges the flags (`reactor/watch.rs`, `Watch::note`), and schedules a promised call to the
//! registration's recipient (`Watch::schedule`), from step 2 on; *slow*, if the queue is observed or some are
//! in line already, `Shared::schedule_line` does that. Timers (`reactor/timers.rs`, `fire`)
//! answer callbacks; calls from other threads (`reactor/remote/remotes.rs`, `Remotes::deliver`) are
//! promised calls.
//!
//! # Where to change what
//!
//! - Another end of a call: `step.rs`, `tally.rs` with the count in `queue/state.rs`, and the place where it is
//!   counted: `queue/attempt.rs` if the queue has reached the call, `queue/cancel.rs` if it was pending,
//!   `queue/callback.rs` if it was a callback, `queue/schedule.rs` (`turn_away`) if it was not admitted. What
//!   leads there before a dial is checked in `recipient/cell.rs` (`deliver`), for function calls in
//!   `queue/function_call.rs`. A count that is split: `queue/state.rs` (`live`, `tally`) and `attempt.rs`
//!   (`reported`) need the sum. Then the compiler lists most places that show ends (in `journal/`: `pages.rs`,
//!   `history.rs`, `filter.rs`; `spans.rs`; `reporter.rs`; once `End` in `journal/records.rs` has it, also
//!   `explain.rs` and `timeline.rs`). It does not list these: `observe.rs` (`log`), `conformance/log.rs`, in
//!   `journal/` `figures.rs`, `trace/args.rs` and `history.rs` (`turn_of`); the page's scripts
//!   (`journal/timeline/model.js`, `ENDS`; `draw.js`, `focus.js`, `story.js`, `page.html`, `style.css`); the
//!   tour (`examples/tour/`: `narrator.rs`, `story.rs`, `summary.rs`, `paint.rs`); in tests the model
//!   (`worlds/sequences/model.rs`, `play.rs`), the books (`worlds/books.rs`) and the other worlds.
//! - A call that stays pending although the queue has reached it is no end: `queue/attempt.rs` (`defer`,
//!   `put_back`), kept in `queue/deferred.rs`.
//! - What a cancel returns: `outcome.rs` (`Cancellation`). It is found out for pending calls in
//!   `queue/cancel.rs` (`erased.rs` keeps their tombstones, `queue/deferred.rs` those that are deferred), for
//!   callbacks in `erased/cells/storage.rs` (`cancel`), and for operations in `op.rs` (`cancel`) and `op/state.rs`.
//! - Another reason not to admit a call: `outcome.rs` (`ScheduleErrorKind`), and `queue/schedule.rs`
//!   (`admission_error`); one that depends on the recipient: `recipient.rs` (`schedule_as`), as the fast path
//!   knows none.
//! - What a queue does that is full: `queue/schedule.rs` (`schedule_slow`); `queue/close.rs` (`end_next`) is
//!   what ends the oldest call without a dial.
//! - Another reason not to dial: `step.rs` (`Refusal`) and `recipient/cell.rs` (before that,
//!   `recipient/call.rs` chooses the fast path); for one that is gone also `queue/release.rs` and `attempt.rs`
//!   (`gone`).
//! - In what order calls are dialed: `queue/turn.rs` (`dial_while`: those that were deferred or put back, and are
//!   ready, first); which calls wait for them: `recipient/cell.rs` (`is_blocked`).
//! - Something else that observers see: `observe.rs`, sent by `queue/notify.rs`. A journal is an observer: it
//!   sees steps, but no storage. The core has no clock; what needs one takes it (`journal/recorder.rs`, `BoxedClock`).
//! - Something to do for each call of a queue: a flag in `queue/listener.rs`, so that the fast path stays as it is.
//! - What a handler receives: `recipient/call.rs` (`Context`).
//! - Another kind of source: what mio can poll is registered as it is, without a change here; what has a
//!   descriptor, by `reactor/fd_source.rs`, as well; what a stream or an acceptor can use, by the
//!   traits in `streams/source.rs`; what has no descriptor and signals from another thread, through a waker,
//!   without a change (`reactor/remote/waker.rs`). Why a registration fails: `reactor/registration.rs`
//!   (`Registration::new`). A new producer of calls, as timers and other threads are, is a field of `Shared`
//!   (`reactor/shared.rs`, where `can_go_on` returns whether more calls can arrive), enters in
//!   `reactor/guest.rs` (`enter_others`, with its share), by `promised_call`, and has its part in how long the
//!   loop sleeps (`poll_timeout` in `reactor/handle.rs`: not at all if `Shared::is_busy`).
//! - The end of a recipient: `recipient/cell.rs` (`hang_up`; `Extras` has what few recipients need), for a
//!   `Recipient` that drops and for `Context::hang_up` alike; `queue/release.rs` drops the captures of its
//!   calls.
//! - What a turn returns: `outcome.rs` (`Report`), counted in `queue/attempt.rs` (`reported`, `report_since`).
//!   What adds its counts up, and compiles unchanged: `journal/loop_log.rs`, `journal/timeline/beside.rs`,
//!   `testing/reactor.rs`.
//! - When a loop ends: `reactor/guest.rs` (`should_run`).
//! - What other threads send: `reactor/remote/call.rs` (`Deliver` for each kind; `Post`: `stop`, `leave`), counted in
//!   `reactor/inbox.rs`; what they call: `reactor/remote.rs`.
//! - How long a turn runs: `queue/budget.rs` is what is asked for, `queue/turn.rs` (`Turn::dial`) keeps to it;
//!   `reactor/guest.rs` (`sooner_end`, `dial_until`) looks at the clock.
//! - The wake hook: `queue/listener.rs` (`call_wake_hook`) has it; `queue/notify.rs` decides when it is called
//!   (`wake`, `set_wake_hook`, `wake_for_deadline`).
//! - A callback that is dropped: `Drop` in `callback.rs`, from another thread `reactor/remote/callback.rs`
//!   (`RemoteAbandon`), then `queue/callback.rs` (`abandon`).
//! - How much a call captures without an allocation: `erased/words.rs`. With them, a `Place` of `erased.rs` is one
//!   cache line, and a callback's slot two (`erased/cells.rs`); README and `docs/lifecycle.md` state the sizes.
//! - What a call bears beside what it captures, such as a deadline: a `Place` has no room for it, so a payload
//!   of its own that wraps the handler (as `queue/function_call.rs` and `recipient/call.rs`), whose `dial`
//!   looks at it.
//! - How many blocks there are, and how large: `erased/directory.rs` (`SMALLEST`), and how many are kept
//!   between bursts (`SPARES`); the same of the slots of callbacks: `erased/cells/chunks.rs`.
//! - How much enters a turn: `reactor/limits.rs` has the budget and the share of it (`share`), to which timers
//!   and other threads keep (`reactor/guest.rs`, `enter_others`). Of readiness a whole poll enters
//!   (`reactor/shared.rs`, `note_each`, `schedule_line`).
//! - How many calls of another thread may be underway: `reactor/remote.rs` (`bounded`, `permit`), counted by
//!   `Quota` in `reactor/inbox.rs`, given back by `Permit` in `remote/call.rs`.
//! - Which timers fire in a turn, and how long the loop sleeps for them: `reactor/timers.rs` (`fire_due`,
//!   `timeout_of_first`). In what order they are due: `reactor/timers/heap.rs` (`HeapEntry`: the deadline, then
//!   when it was armed or last reset; `docs/design.md` has why it is no wheel). Intervals, and the ticks that they
//!   miss: `reactor/timers/interval.rs` (`Missed`).
//! - A new field in the journal. If only the queue knows it: a field of the step (`step.rs`), set where the
//!   queue takes that step (a dial: `queue/attempt.rs`, `notify_of_dial`), which the journal keeps whole (but
//!   `journal/recorder.rs` and `pages.rs` make `Dialed` themselves, and creation with scheduling is one step in
//!   `observe.rs` (`observe_call`) and `ring.rs`). If the journal adds it: `journal/ring.rs` (`StepEntry`), set
//!   in `journal/pages.rs` (`keep`). Then `journal/records.rs`, what users read of it, filled in
//!   `journal/history.rs`; shown in `journal/explain.rs` (`explain/words.rs` has what is counted for a story),
//!   `trace/args.rs`, and in the page by `journal/timeline.rs` (data) and `journal/timeline/model.js` and
//!   `story.js` (the panel of a call). A figure that is counted as it happens: `journal/pages.rs` and
//!   `figures.rs`. Of an operation: `op_step.rs` and `OperationRecord` in the same way. What a call comes from
//!   (a thread, a timer, a source), and what is known of the loop: `outside.rs` (`CallOrigin`, made in
//!   `reactor/shared.rs`, `reactor/remote/call.rs` and `queue/notify.rs`; `TurnStep`), kept in
//!   `journal/loop_log.rs`; counters: `trace/counters.rs`. What holds for a whole journal: `builder.rs`,
//!   `snapshot.rs`.
//! - The page: `journal/timeline/page.html` and a script per part: `model.js` reads the data, which
//!   `journal/timeline.rs` and `timeline/beside.rs` write; `axis.js` and `layout.js` place it; `draw.js`,
//!   `spans.js` and `focus.js` draw; `story.js` is the panel of a call, `table.js` (`COLUMNS`) the table, whose
//!   rows are groups of calls; `view.js` moves what is in view, `select.js` has selection and search,
//!   `input.js` keys and mouse, `open.js` how it opens; `speed.js` measures it, `selftest*.js` try it.
//! - Another module of operations: a file in `samples/`, listed in `samples.rs`: for I/O that waits for one side
//!   modeled on `ll_accept.rs` (`IoAttempt` is in `ll_real_cancel.rs`); for one operation after another, on
//!   `then.rs` and `ml_chain.rs`; around a module with a method in `samples/ext.rs`. Its
//!   scenarios are in `tests/samples/`. How long retries wait: `samples/ml_retries/policy.rs`.
//! - Another scenario of the conformance kit: `conformance/scenario.rs` lists them, `conformance/scene.rs`
//!   and `run.rs` perform them; their number is in `conformance.rs` and `tests/samples/conformance.rs`.
//! - The words of an error: the `#[error]` of its variant (most are in `outcome.rs`, `op/error.rs`,
//!   `reactor/error.rs` and `samples/error.rs`); what it names is a field, set where the error is made. What
//!   the system reports, such as that a source is registered already, is its `source`.
//! - Another law for users' operations, in `conformance/`, is checked where it shows: `record.rs` by one
//!   operation, `log.rs` by all that was observed, `scene.rs` by what a start or a cancel returned, `run.rs` by
//!   what is left. `violation.rs` (`Rule`) names it, and `tests/samples/conformance/` has operations that break it.
//! - How a stream reads and writes: `streams/transfer.rs`; when it does: `stream.rs` (`drive`) and `relay.rs`
//!   (`pass`); how much it buffers: `streams/buffers.rs`. When connections are accepted, and how many in a
//!   turn: `streams/acceptor.rs` (`accept`, `pause`, `ROUNDS`). What a stream counts: `transfer.rs`
//!   (`note_written`).
//! - A set of sessions: `recipient/set.rs` (`Members` is what it shares with them: `remove` as one leaves;
//!   `clear` takes all).
//!
//! [`Address::call`]: crate::Address::call
//! [`Callback::answer`]: crate::Callback::answer

use alloc::rc::Rc;
use core::fmt;
use core::ops::Deref;
use core::panic::{Location, RefUnwindSafe, UnwindSafe};

#[cfg(feature = "mio")]
use crate::erased::Site;
use crate::id::CallId;
use crate::observe::{Observer, ObserverId};
use crate::outcome::{Cancellation, Report, ScheduleError};
use crate::tally::Tally;
use crate::unwind::in_drop;

pub(crate) mod attempt;
mod budget;
mod callback;
mod cancel;
mod close;
mod deferred;
pub(crate) mod function_call;
mod handle;
mod listener;
mod notify;
mod recipient_index;
mod release;
mod schedule;
mod serial;
pub(crate) mod state;
pub(crate) mod turn;

pub use budget::Budget;
use function_call::FunctionCall;
pub use handle::QueueHandle;
use state::{Claim, Core, QueueState};

/// Owns a queue of calls.
///
/// The methods of a queue are on [`QueueHandle`], to which this derefs. Dropping the owner ends every
/// call that is neither live nor over as Canceled, and drops its captures: pending calls first to last,
/// then callbacks that were not called. Handles that survive accept no more calls (rule R11), and the
/// observers and the wake hook are dropped. So nothing leaks, even if calls refer to the queue.
///
/// A queue belongs to one thread: neither the owner nor any handle is `Send`.
///
/// # Examples
///
/// ```
/// use switchboard::CallQueue;
///
/// let queue = CallQueue::new();
/// let log = queue.recipient(Vec::new());
/// log.call(|log, cx| {
///     log.push("first");
///     cx.call(|log, _| log.push("third"));
/// });
/// log.call(|log, _| log.push("second"));
/// let unwanted = log.call(|log, _| log.push("never"));
/// queue.cancel(unwanted, "not needed after all");
///
/// let report = queue.dial_all();
/// assert_eq!((report.dialed, report.canceled), (3, 1));
///
/// log.call(|log, _| assert_eq!(*log, ["first", "second", "third"]));
/// queue.dial_all();
/// assert!(queue.tally().balances());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("AsyncCallQueue", "executor", "event queue"))]
pub struct CallQueue {
    handle: QueueHandle,
}

impl CallQueue {
    /// Creates an empty queue.
    ///
    /// Cost: two allocations, of about 4.5 KiB in all. On targets without compare-and-swap (such as
    /// thumbv6m) a byte more, which is never freed: its address identifies the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// queue.call(|_| println!("hello"));
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn new() -> Self {
        Self::starting_at(0, u64::MAX)
    }

    /// Creates an empty queue in which at most `capacity` calls may be pending.
    ///
    /// Calls scheduled beyond that end Refused, or are returned in the error of
    /// [`try_call`](QueueHandle::try_call). Promises do not count as long as they wait, and are always
    /// admitted: answered callbacks (bound them by the number that you hand out), timers, and the
    /// readiness calls of a reactor, of which a source has at most one. Calls from other threads wait
    /// until there is room, but for one a turn. A queue of capacity 0 admits promises only.
    ///
    /// A canceled call is no longer pending, but keeps its 64 bytes until all calls that were scheduled
    /// before it are over.
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::bounded(2);
    /// queue.call(|_| ());
    /// queue.call(|_| ());
    /// let third = queue.try_call(|_| println!("third")).expect_err("the queue is full").into_inner();
    /// queue.dial_all();
    /// queue.call(third);
    /// ```
    ///
    /// Cost: as [`new`](Self::new). A call costs what it costs in a queue without a limit, plus a
    /// second check each time that the number of calls that there was room for has been scheduled.
    pub fn bounded(capacity: usize) -> Self {
        Self::starting_at(0, capacity as u64)
    }

    /// Makes a queue that has given out `position` ids already.
    fn starting_at(position: u64, capacity: u64) -> Self {
        let id = serial::next_serial();
        Self {
            handle: QueueHandle {
                core: Rc::new(Core::new(position, QueueState::new(id, position, capacity))),
            },
        }
    }

    /// Returns a handle to the queue, to keep.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, QueueHandle};
    ///
    /// struct Service { queue: QueueHandle }
    ///
    /// let queue = CallQueue::new();
    /// let service = Service { queue: queue.handle() };
    /// drop(queue);
    /// // A handle does not keep the queue alive: the call ends Canceled at once.
    /// assert!(service.queue.is_closed());
    /// service.queue.call(|_| unreachable!());
    /// assert_eq!(service.queue.tally().canceled, 1);
    /// ```
    pub fn handle(&self) -> QueueHandle {
        self.handle.clone()
    }
}

impl Default for CallQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for CallQueue {
    type Target = QueueHandle;

    #[inline]
    fn deref(&self) -> &QueueHandle {
        &self.handle
    }
}

impl Drop for CallQueue {
    fn drop(&mut self) {
        in_drop(|| self.handle.core.close());
    }
}

/// As for [`QueueHandle`].
impl UnwindSafe for CallQueue {}
impl RefUnwindSafe for CallQueue {}

impl fmt::Debug for CallQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallQueue({:?})", self.tally())
    }
}

/// Scheduling.
impl QueueHandle {
    /// Schedules a function call, which has no recipient, and returns its id.
    ///
    /// This cannot fail. If the queue is gone, the call ends Canceled at once; if it is full
    /// ([`CallQueue::bounded`]), Refused. [`try_call`](Self::try_call) returns the closure instead.
    ///
    /// Cost: no allocation for a closure of at most 48 bytes, aligned to at most 8.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use switchboard::CallQueue;
    ///
    /// let log = Rc::new(RefCell::new(Vec::new()));
    /// let queue = CallQueue::new();
    /// let (first, second) = (Rc::clone(&log), Rc::clone(&log));
    /// queue.call(move |queue| {
    ///     first.borrow_mut().push("first");
    ///     queue.call(move |_| second.borrow_mut().push("second")); // behind all that is pending
    /// });
    /// queue.dial_all();
    /// assert_eq!(*log.borrow(), ["first", "second"]);
    /// ```
    #[doc(alias("post", "defer", "call_soon", "next_tick", "enqueue"))]
    #[inline]
    #[track_caller]
    pub fn call<F>(&self, function: F) -> CallId
    where
        F: FnOnce(&Self) + 'static,
    {
        self.core.schedule(Claim::Plain, function, Location::caller(), FunctionCall, || None)
    }

    /// Schedules a function call, as [`call`](Self::call), if the queue admits it.
    ///
    /// # Errors
    ///
    /// Returns the closure in the error if the queue is gone, full, or out of ids. Nothing is counted
    /// then.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::bounded(1);
    /// queue.try_call(|_| ())?;
    /// // Full: the closure comes back, and can be scheduled when there is room.
    /// let Err(error) = queue.try_call(|_| println!("second")) else { panic!("no room for two") };
    /// queue.dial_all();
    /// queue.try_call(error.into_inner())?;
    /// # queue.dial_all();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_call<F>(&self, function: F) -> Result<CallId, ScheduleError<F>>
    where
        F: FnOnce(&Self) + 'static,
    {
        self.core.try_schedule(function, Location::caller(), FunctionCall, || None)
    }

    /// As [`call`](Self::call) on behalf of code at `site`, even if the queue is full.
    #[cfg(feature = "mio")]
    pub(crate) fn promised_call<F>(&self, site: Site, function: F) -> CallId
    where
        F: FnOnce(&Self) + 'static,
    {
        self.core.promised_call(site, function)
    }

    /// Cancels a call, and returns what this did. After this returns, the handler never runs, and its
    /// captures are dropped (rule R3).
    ///
    /// `reason` is for observers and logs. A call may be canceled at any time, before it is scheduled
    /// and from its own handler included. A late cancel is a no-op (rule R4). Only the recipient of a
    /// call should cancel it, as it alone knows that the call is no longer wanted (rule R6).
    ///
    /// # Panics
    ///
    /// If the drop of a captured value panics, or an observer. The call is canceled in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Cancellation};
    ///
    /// let queue = CallQueue::new();
    /// let redraw = queue.call(|_| unreachable!("canceled"));
    /// assert_eq!(queue.cancel(redraw, "window closed"), Cancellation::Canceled);
    /// assert_eq!(queue.cancel(redraw, "again"), Cancellation::Already);
    ///
    /// let save = queue.call(|_| ());
    /// queue.dial_all();
    /// assert_eq!(queue.cancel(save, "too late"), Cancellation::Late); // no error: nothing happened
    /// ```
    #[inline]
    pub fn cancel(&self, id: CallId, reason: &'static str) -> Cancellation {
        if self.core.cancel_fast(id) {
            return Cancellation::Canceled;
        }
        self.core.cancel_call(id, reason)
    }
}

/// Dialing. A handler may dial the queue too. In this nested turn, calls to the handler's own recipient
/// are refused (rule R2).
///
/// A panic of a handler unwinds to the code that dials. The queue stays consistent: the call ends
/// Panicked, and the next turn continues with the calls after it (rule R10).
impl QueueHandle {
    /// Dials until the queue is empty, calls scheduled meanwhile included, and returns a report. It
    /// does not return while handlers keep scheduling.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// queue.call(|queue| {
    ///     queue.call(|_| ()); // scheduled meanwhile: dialed too
    /// });
    /// let report = queue.dial_all();
    /// assert_eq!((report.dialed, report.remaining), (2, 0));
    /// ```
    #[doc(alias("run", "fire", "poll", "drain"))]
    pub fn dial_all(&self) -> Report {
        self.turn(|turn| turn.dial_before(u64::MAX))
    }

    /// Dials the calls that are pending now, not those scheduled meanwhile, and returns a report.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, QueueHandle};
    ///
    /// fn animate(queue: &QueueHandle) {
    ///     queue.call(animate); // once a frame, so `dial_all` would not return
    /// }
    ///
    /// let queue = CallQueue::new();
    /// queue.call(animate);
    /// for _frame in 0..3 {
    ///     let report = queue.dial_pending();
    ///     assert_eq!((report.dialed, report.remaining), (1, 1));
    /// }
    /// ```
    pub fn dial_pending(&self) -> Report {
        let end = self.core.calls().tail();
        self.turn(|turn| turn.dial_before(end))
    }

    /// Dials within a budget, and returns a report.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Budget, CallQueue};
    ///
    /// let queue = CallQueue::new();
    /// for _ in 0..100 {
    ///     queue.call(|_| ());
    /// }
    /// // A share of the work in each tick of a game's loop.
    /// let mut ticks = 0;
    /// while queue.dial(Budget::calls(30)).remaining > 0 {
    ///     ticks += 1;
    /// }
    /// assert_eq!(ticks, 3);
    /// ```
    pub fn dial(&self, budget: Budget<'_>) -> Report {
        self.turn(|turn| turn.dial(budget, || u64::MAX))
    }

    /// Returns true if a turn would find no call to dial.
    ///
    /// A handler's nested turn can leave deferred calls (rule R2), which are pending, but cannot be
    /// dialed before the live call has ended. Outside of handlers, nothing is pending if this returns
    /// true.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let own_timeout = Duration::from_secs(1);
    /// // How long the host's loop may sleep:
    /// let timeout = || if queue.is_idle() { own_timeout } else { Duration::ZERO };
    /// queue.call(|_| ());
    /// assert_eq!(timeout(), Duration::ZERO);
    /// queue.dial_all();
    /// assert_eq!(timeout(), own_timeout);
    /// ```
    pub fn is_idle(&self) -> bool {
        self.core.is_idle()
    }

    /// Returns true if the owner has dropped the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let handle = queue.handle();
    /// assert!(!handle.is_closed());
    /// drop(queue);
    /// assert!(handle.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Sets the hook that is called when the queue goes from empty to non-empty outside a turn, so that
    /// the embedder schedules a turn. It replaces the previous hook.
    ///
    /// A reactor also calls it when a timer is armed, outside a turn, that is due before all others:
    /// the embedder must then read the reactor's `poll_timeout` again. An embedder that reads it right
    /// before it sleeps needs no hook, if no other code of its thread runs in between (as other tasks
    /// of an executor do).
    ///
    /// If calls are pending already, the hook is called now. It is not called for calls that a turn
    /// leaves: see [`Report::remaining`]. Once the owner has dropped the queue, this does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let wakeups = Rc::new(Cell::new(0));
    /// let count = Rc::clone(&wakeups);
    /// // A host would post itself an event here, whose handler dials the queue.
    /// queue.set_wake_hook(move || count.set(count.get() + 1));
    /// queue.call(|_| ());
    /// queue.call(|_| ()); // the host knows already
    /// assert_eq!(wakeups.get(), 1);
    /// # queue.dial_all();
    /// ```
    pub fn set_wake_hook(&self, hook: impl Fn() + 'static) {
        self.core.set_wake_hook(Some(Rc::new(hook)));
    }

    /// Removes the wake hook.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// queue.set_wake_hook(|| panic!("the host's loop has ended"));
    /// queue.clear_wake_hook(); // as the host's loop ends
    /// queue.call(|_| ());
    /// assert!(!queue.is_idle());
    /// ```
    pub fn clear_wake_hook(&self) {
        self.core.set_wake_hook(None);
    }
}

/// Watching.
impl QueueHandle {
    /// Returns the number of calls in each state, and of those that ended in each way.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// queue.call(|_| ());
    /// let unwanted = queue.call(|_| ());
    /// queue.cancel(unwanted, "not needed");
    /// queue.dial_all();
    ///
    /// let tally = queue.tally();
    /// assert_eq!((tally.created, tally.finished, tally.canceled), (2, 1, 1));
    /// println!("{tally}"); // 2 created = 0 unscheduled + 0 pending + 0 live + 1 finished + ...
    /// ```
    pub fn tally(&self) -> Tally {
        self.core.tally()
    }

    /// Names a call that is not over, for observers. A shim that schedules calls for a script or for
    /// another language gives each its place there, as otherwise all calls have the site of the shim.
    ///
    /// Observers are notified of it ([`Observer::observe_name`]), and the [`Reporter`](crate::Reporter)
    /// shows it. A call that is over or of another queue gets no name, nor does one that is deferred, unless
    /// it began as a callback. A shim in Rust needs none:
    /// with `#[track_caller]`, the site of a call is that of the shim's caller.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use switchboard::{CallQueue, Reporter};
    ///
    /// let queue = CallQueue::new();
    /// let lines = Rc::new(RefCell::new(Vec::new()));
    /// let log = Rc::clone(&lines);
    /// queue.add_observer(Reporter::new(move |line| log.borrow_mut().push(line.to_owned())));
    ///
    /// let callback = queue.callback(|_, ()| ());
    /// queue.name_call(callback.id(), "main.lua:12");
    /// drop(callback);
    /// assert!(lines.borrow()[0].contains(r#""main.lua:12""#));
    /// ```
    ///
    /// Cost: nothing while no observer is there; the name is not kept.
    pub fn name_call(&self, call: CallId, name: &str) {
        self.core.name_call(call, name);
    }

    /// Returns true if there is an observer. Without one, a program may leave out what only observers show,
    /// such as labels that it would have to format; one that is added later misses them.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Reporter};
    ///
    /// let queue = CallQueue::new();
    /// let session = queue.recipient(());
    /// if queue.is_observed() {
    ///     session.set_label(format!("{} -> {}", "10.0.0.7", "example.org:443"));
    /// }
    /// assert_eq!(session.label(), None);
    ///
    /// queue.add_observer(Reporter::new(|_| ()));
    /// assert!(queue.is_observed());
    /// queue.clear_observers();
    /// assert!(!queue.is_observed());
    /// ```
    pub fn is_observed(&self) -> bool {
        self.core.is_observed()
    }

    /// Adds an observer, which is notified of every step of every call from now on, after the other
    /// observers. Returns its id.
    ///
    /// A handler may add one, and so may a call's own check. The observer is then notified of the end
    /// of the current call; it is notified of the dial only if there was an observer before. Once the
    /// owner has dropped the queue, this does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use switchboard::{CallId, CallQueue, Step};
    ///
    /// let queue = CallQueue::new();
    /// let lost = Rc::new(Cell::new(0));
    /// let count = Rc::clone(&lost);
    /// queue.add_observer(move |_: CallId, step: &Step| {
    ///     if let Step::Abandoned { .. } = step {
    ///         count.set(count.get() + 1);
    ///     }
    /// });
    /// drop(queue.callback(|_, ()| ())); // a bug: neither answered nor declined
    /// assert_eq!(lost.get(), 1);
    /// ```
    pub fn add_observer(&self, observer: impl Observer + 'static) -> ObserverId {
        let observer: Rc<dyn Observer> = Rc::new(observer);
        self.core.add_observer(&observer)
    }

    /// Removes an observer. Returns false if it was not there.
    ///
    /// # Panics
    ///
    /// If the observer panics when it is notified of its removal, or as it drops.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallId, CallQueue, Step};
    ///
    /// let queue = CallQueue::new();
    /// let trace = queue.add_observer(|call: CallId, step: &Step| println!("{call} {step}"));
    /// queue.call(|_| ());
    /// queue.dial_all(); // traced
    ///
    /// assert!(queue.remove_observer(trace));
    /// queue.call(|_| ());
    /// queue.dial_all(); // not traced
    /// assert!(!queue.remove_observer(trace));
    /// ```
    pub fn remove_observer(&self, observer: ObserverId) -> bool {
        self.core.remove_observers(|id| id == observer)
    }

    /// Removes all observers.
    ///
    /// # Panics
    ///
    /// If an observer panics when it is notified of its removal, or as it drops. All are removed in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use switchboard::{CallId, CallQueue, Step};
    ///
    /// let queue = CallQueue::new();
    /// let steps = Rc::new(Cell::new(0));
    /// let count = Rc::clone(&steps);
    /// queue.add_observer(move |_: CallId, _: &Step| count.set(count.get() + 1));
    /// queue.clear_observers(); // before what the observer shares goes away
    /// queue.call(|_| ());
    /// assert_eq!((steps.get(), Rc::strong_count(&steps)), (0, 1));
    /// ```
    pub fn clear_observers(&self) {
        self.core.remove_observers(|_| true);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn walk(&self) -> u64 {
        self.core.walk()
    }
}

#[cfg(test)]
mod tests;
