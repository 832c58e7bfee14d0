//! The queue: its owner, the handles to it, and what can be asked of them.
//!
//! # The way of a call
//!
//! Whoever has read this section knows where to change what. Files are in layers (see
//! CONTRIBUTING.md); what is marked *slow* runs only if there is more to do than usual.
//!
//! A call to a recipient, from [`Address::call`] to its end:
//!
//! 1. `recipient.rs`, `Address::call`: records the site, and wraps the closure as a `Handler`, then
//!    as a `ToRecipient` (`recipient/call.rs`), the payload that the queue stores.
//! 2. `queue/schedule.rs`, `Core::schedule`: asks the storage whether a push is fast
//!    (`erased.rs`, `Calls::is_fast`). It is unless the block is full, the limit of the queue is reached,
//!    or a flag of `ON_SCHEDULE` is set (`queue/listener.rs`).
//!    - *slow*, `schedule_slow`: `admission_error` says whether the queue is gone, full or out of ids;
//!      then `turn_away` counts and ends the call. Else `schedule_admitted` pushes it, notifies the
//!      observers, and wakes the embedder (`queue/notify.rs`).
//! 3. `erased.rs`, `Calls::push`: writes vtable, site and payload to the place at the tail. Its position is
//!    the call's id ([`CallId`]).
//! 4. `queue/turn.rs`, `Turn::dial_while`: deferred calls that are ready first
//!    (`Attempt::dial_deferred`), then `Calls::dial_next`, which moves the head past the place and calls
//!    the vtable's `dial`. That moves the payload out and calls `Attempt::begin` (the call is live from now
//!    on: I1 of `queue/attempt.rs`), then the payload's own `dial`.
//! 5. `recipient/call.rs`, `ToRecipient::dial`: if the call is observed, or the value is borrowed or not
//!    there, *slow*: `dial_slow` defers a promise whose recipient is live (`recipient/cell.rs`, `defer`;
//!    then `queue/deferred.rs`).
//! 6. `recipient/cell.rs`, `RecipientCell::deliver`: borrows the value (that is rule R2), asks the call's
//!    check, notifies the observers, and runs the handler. If an observer panics, the call is put back among
//!    the deferred ones (`PutBackOnDrop` in `queue/attempt.rs`). When the borrow is back, `Delivery` makes
//!    the first deferred call of the recipient ready and drops the value of one that is gone.
//! 7. `queue/attempt.rs`, `Attempt::finish`: counts the call as finished; *slow* if it is observed, is over
//!    already (refused, deferred), or a deferred call is ready. If the handler unwinds, the drop of
//!    `Attempt` counts it as panicked.
//!
//! Other ends: `queue/cancel.rs` (a tombstone takes the place of the call until its turn;
//! `Core::pass_tombstone`), `queue/close.rs` (the queue's end), `Attempt::refuse`, and for a recipient that
//! is gone `queue/release.rs` (what its calls captured drops at once; they are refused at their turn).
//!
//! A callback differs at both ends. `Callback::to_recipient` (`callback.rs`) puts a join, a call without
//! its value, in a slot of the storage (`erased/cells.rs`, `Storage::create`).
//! [`Callback::answer`] pushes an `Answered` with the value and the slot's address
//! (`queue/callback.rs`, `Core::answer`); its dial takes the join out of the slot and runs it as a
//! `ToRecipient` that is promised, from step 5 on.
//!
//! A readiness event: `reactor/shared.rs`, `Shared::note_each`, finds the registration by its token,
//! merges the flags (`reactor/watch.rs`, `Watch::note`), and schedules a promised call to the
//! registration's recipient (`Watch::schedule`), from step 2 on. Timers (`reactor/timers.rs`, `fire`)
//! answer callbacks; calls from other threads (`reactor/remote/remotes.rs`, `Remotes::deliver`) are
//! promised calls.
//!
//! Where to change what: another end of a call: `step.rs`, `tally.rs`, and the place where it is counted
//! (`queue/attempt.rs` if its turn has come, `queue/cancel.rs` if not), and how the journal takes it
//! (`journal/history.rs`, `CallRecord::take`). Another reason not to dial:
//! `step.rs` (`Refusal`) and `recipient/cell.rs`. Something to do for each call:
//! a flag in `queue/listener.rs`, so that the fast path stays as it is. What a handler gets:
//! `recipient/call.rs` (`Context`). Another source of promised calls: `reactor/`, by `promised_call`.
//! How many blocks there are, and how large: `erased/directory.rs`. In what order timers are due:
//! `reactor/timers/heap.rs`. What is remembered of a call: `journal/records.rs`. Another law for operations
//! of users: `conformance/violation.rs` (`Rule`), and where it shows: `record.rs` by one operation, `log.rs`
//! by all that was observed. How a stream reads and writes: `streams/transfer.rs`.
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
mod turn;

pub use budget::Budget;
use function_call::FunctionCall;
pub use handle::QueueHandle;
use state::{Claim, Core, QueueState};

/// Owns a queue of calls.
///
/// Everything that can be asked of a queue is on its [`QueueHandle`], to which this derefs.
/// Dropping the owner ends every call that is neither live nor over as Canceled, and drops what it
/// captured: pending calls first to last, then callbacks that were not called. Handles that survive
/// take no more calls (rule R11), and the observer and the wake hook go. So nothing leaks, whatever
/// the calls refer to.
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
    /// Makes an empty queue.
    ///
    /// Cost: two allocations, of about 4.5 KiB in all. On targets without compare-and-swap (thumbv6m, say)
    /// a byte more, which is never freed: its address is what tells the queue from all others.
    pub fn new() -> Self {
        Self::starting_at(0, u64::MAX)
    }

    /// Makes an empty queue in which at most `capacity` calls may be pending.
    ///
    /// Calls scheduled beyond that end Refused, or come back from
    /// [`try_call`](QueueHandle::try_call). Callbacks are promises, so
    /// they are always admitted when they are answered: bound them by how many you give away. So are
    /// timers, and the readiness calls of a reactor, of which a source has at most one. Calls of
    /// other threads wait until there is room, but for one a turn. A queue of capacity 0 takes nothing
    /// else.
    ///
    /// A call that is canceled is not pending any more, but keeps its 64 bytes until all that were
    /// scheduled before it are over.
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
    /// Cost: as [`new`](Self::new). A call costs as much as in a queue without bounds, but for a second
    /// look each time that as many were scheduled as there was room for.
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

    /// A handle to the queue, to keep.
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
        self.handle.core.close();
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
    /// Schedules a function call: one without a recipient.
    ///
    /// Cannot fail. If the queue is gone, the call ends Canceled at once; if it is full
    /// ([`CallQueue::bounded`]), Refused. [`try_call`](Self::try_call) hands the closure back instead.
    ///
    /// Cost: no allocation for a closure of at most 48 bytes, aligned to at most 8.
    #[doc(alias("post", "defer", "call_soon", "next_tick", "enqueue"))]
    #[inline]
    #[track_caller]
    pub fn call<F>(&self, function: F) -> CallId
    where
        F: FnOnce(&Self) + 'static,
    {
        self.core.schedule(
            Claim::Plain,
            function,
            Location::caller(),
            FunctionCall,
            || None,
            |_, _| (),
        )
    }

    /// Schedules a function call, as [`call`](Self::call), if the queue admits it.
    ///
    /// # Errors
    ///
    /// Hands the closure back if the queue is gone, full, or out of ids. Nothing is counted then.
    #[inline]
    #[track_caller]
    pub fn try_call<F>(&self, function: F) -> Result<CallId, ScheduleError<F>>
    where
        F: FnOnce(&Self) + 'static,
    {
        self.core.try_schedule(function, Location::caller(), FunctionCall, || None)
    }

    /// As [`call`](Self::call) on behalf of code at `site`, even if the queue is full. Calls `if_observed`
    /// behind what is observed of it.
    #[cfg(feature = "mio")]
    pub(crate) fn promised_call<F>(
        &self,
        site: Site,
        function: F,
        if_observed: impl FnOnce(&Core, CallId),
    ) -> CallId
    where
        F: FnOnce(&Self) + 'static,
    {
        self.core.schedule(Claim::Promised, function, site, FunctionCall, || None, if_observed)
    }

    /// Cancels a call: after this returns, its handler never runs, and what it captured is
    /// dropped (rule R3).
    ///
    /// `reason` is for observers and logs. A call may be canceled at any time, before it is
    /// scheduled and from its own handler included; too late is a no-op (rule R4). Meant for the
    /// recipient, who alone knows that it does not want the call any more (rule R6).
    ///
    /// # Panics
    ///
    /// Passes on a panic of a captured value's drop, or of the observer. The call is canceled
    /// all the same.
    #[inline]
    pub fn cancel(&self, id: CallId, reason: &'static str) -> Cancellation {
        if self.core.cancel_fast(id) {
            return Cancellation::Canceled;
        }
        self.core.cancel_call(id, reason)
    }
}

/// Dialing. A handler may dial the queue too: a turn within the turn, in which calls to the
/// handler's own recipient are refused (rule R2).
///
/// A panic of a handler goes to whoever dials. The queue stays right: the call ends Panicked, and
/// the next turn goes on with the calls behind it (rule R10).
impl QueueHandle {
    /// Dials until the queue is empty, calls scheduled meanwhile included. It does not end while
    /// handlers keep scheduling.
    #[doc(alias("run", "fire", "poll", "drain"))]
    pub fn dial_all(&self) -> Report {
        self.turn(|turn| turn.dial_before(u64::MAX))
    }

    /// Dials the calls that are pending now, and not those scheduled meanwhile.
    pub fn dial_pending(&self) -> Report {
        let end = self.core.calls().tail();
        self.turn(|turn| turn.dial_before(end))
    }

    /// Dials within a budget.
    pub fn dial(&self, budget: Budget<'_>) -> Report {
        self.turn(|turn| turn.dial(budget, || u64::MAX))
    }

    /// Whether a turn would find no call to dial.
    ///
    /// A handler's nested turn can leave deferred calls behind (rule R2), which are pending, but cannot
    /// be dialed before the live call has ended. Outside of handlers nothing is pending if this is true.
    pub fn is_idle(&self) -> bool {
        self.core.is_idle()
    }

    /// Whether the owner has dropped the queue.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Sets what is called when the queue goes from empty to non-empty outside a turn: the
    /// embedder's cue to come back and dial. It replaces the hook set before.
    ///
    /// With a reactor, it is also called when a timer is armed, outside a turn, that is due before
    /// all others: the cue to ask for the reactor's `poll_timeout` again. An embedder that asks for
    /// that right before it sleeps needs no hook, if no other code of its thread runs meanwhile (as other tasks of an
    /// executor do).
    ///
    /// If calls are pending already, the hook is called now. Calls left over by a turn are not news:
    /// see [`Report::remaining`]. Once the owner has dropped the queue this does nothing.
    pub fn set_wake_hook(&self, hook: impl Fn() + 'static) {
        self.core.set_wake_hook(Some(Rc::new(hook)));
    }

    /// Removes the wake hook.
    pub fn clear_wake_hook(&self) {
        self.core.set_wake_hook(None);
    }
}

/// Watching.
impl QueueHandle {
    /// How many calls there are, and how they ended.
    pub fn tally(&self) -> Tally {
        self.core.tally()
    }

    /// Names a call that is not over, for observers: the place in a script or in the host's code that a
    /// shim schedules it for, say, as the site would be the shim's for all.
    ///
    /// Observers are notified of it ([`Observer::observe_name`]), and the [`Reporter`](crate::Reporter)
    /// shows it. A call that is deferred, over or of another queue gets no name. A shim in Rust needs none:
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

    /// Adds an observer, which is notified of every step of every call from now on, behind the
    /// observers that there are.
    ///
    /// A handler may add one, too, and a call's own check. It is then notified of how the call ends whose
    /// turn it is; whether it is notified that the call is dialed depends on whether there was an observer
    /// before. Once the owner has dropped the queue this does nothing.
    pub fn add_observer(&self, observer: impl Observer + 'static) -> ObserverId {
        let observer: Rc<dyn Observer> = Rc::new(observer);
        self.core.add_observer(&observer)
    }

    /// Removes an observer. Returns whether it was there.
    ///
    /// # Panics
    ///
    /// Passes on a panic of the observer's drop.
    pub fn remove_observer(&self, observer: ObserverId) -> bool {
        self.core.remove_observers(|id| id == observer)
    }

    /// Removes all observers.
    ///
    /// # Panics
    ///
    /// Passes on a panic of an observer.
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
