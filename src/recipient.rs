//! Recipients: who owns them, and who may call them.

use alloc::rc::Rc;
#[cfg(feature = "mio")]
use alloc::sync::Arc;
use core::convert::Infallible;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use core::panic::{Location, RefUnwindSafe, UnwindSafe};
#[cfg(feature = "mio")]
use core::sync::atomic::AtomicBool;

use crate::erased::cells::Group;
use crate::erased::{Erased, Site};
use crate::id::CallId;
use crate::outcome::ScheduleError;
use crate::queue::QueueHandle;
use crate::queue::attempt::Attempt;
use crate::queue::state::{Claim, Core, Dialing};
use crate::step::RecipientInfo;

mod call;
mod cell;
mod set;

use call::Handler;
pub(crate) use call::ToRecipient;
pub use call::{Call, Context};
use cell::RecipientCell;
pub use set::Recipients;

/// Making recipients.
impl QueueHandle {
    /// Makes a recipient of `value`, owned by the caller.
    ///
    /// Cost: one allocation.
    pub fn recipient<T: 'static>(&self, value: T) -> Recipient<T> {
        self.recipient_with(|_| value)
    }

    /// Makes a recipient of a value that is given its own address.
    ///
    /// ```
    /// use switchboard::{Address, CallQueue};
    ///
    /// struct Node { own: Address<Node> }
    ///
    /// let queue = CallQueue::new();
    /// let node = queue.recipient_with(|own| Node { own: own.clone() });
    /// node.call(|node, cx| assert_eq!(node.own, cx.address()));
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recipient_with<T: 'static>(&self, value: impl FnOnce(&Address<T>) -> T) -> Recipient<T> {
        let made = Recipient::new(self.clone(), |address| Ok::<_, Infallible>(value(address)));
        made.unwrap_or_else(|never| match never {})
    }

    /// As [`recipient_with`](Self::recipient_with), for a value that may not come about: one that
    /// registers a source, say.
    ///
    /// # Errors
    ///
    /// Passes on the error of `value`.
    pub fn try_recipient_with<T: 'static, E>(
        &self,
        value: impl FnOnce(&Address<T>) -> Result<T, E>,
    ) -> Result<Recipient<T>, E> {
        Recipient::new(self.clone(), value)
    }
}

/// Owns a recipient: a value of type `T` that receives calls, one at a time.
///
/// Made by [`QueueHandle::recipient`]. Everything that can be asked of a recipient is on its
/// [`Address`], to which this derefs. Dropping the `Recipient` hangs up (rule R9): the value is
/// dropped at once or, if a call to it is live, right after that has ended. Calls that are
/// still pending then end Refused when their turn comes.
///
/// The value cannot be looked at from outside: a call gets to it, or what it shares in an `Rc`.
///
/// A value that owns its own `Recipient` lives until [`Context::hang_up`]: like any owner of
/// itself, it leaks if that never comes.
#[doc(alias("actor", "AsyncJob", "object"))]
#[must_use = "dropping a recipient lets its value go"]
pub struct Recipient<T: 'static> {
    address: Address<T>,
}

impl<T: 'static> Recipient<T> {
    pub(crate) fn new<E>(
        queue: QueueHandle,
        value: impl FnOnce(&Address<T>) -> Result<T, E>,
    ) -> Result<Self, E> {
        let cell = Rc::new(RecipientCell::new(queue));
        let recipient = Self { address: Address { cell } };
        let value = value(&recipient.address)?;
        recipient.address.cell.fill(value);
        Ok(recipient)
    }

    /// Lets the recipient go; the same as dropping it.
    #[doc(alias("mustStop", "swanSong", "destroy"))]
    pub fn hang_up(self) {}

    /// Sets whether plain calls are deferred, rather than refused, if their turn comes while the
    /// recipient is live (rule R2). Promises always are. Not so at first.
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let dialog = queue.recipient(0);
    /// dialog.set_defers_calls(true);
    /// dialog.call(|clicks, cx| {
    ///     cx.call(|clicks, _| *clicks += 1);
    ///     cx.queue().dial_all(); // a modal loop, in which that call cannot be dialed
    ///     assert_eq!(*clicks, 0);
    /// });
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// assert_eq!(queue.tally().refused, 0);
    /// ```
    pub fn set_defers_calls(&self, defers: bool) {
        self.address.cell.set_defers_plain(defers);
    }
}

impl<T: 'static> Deref for Recipient<T> {
    type Target = Address<T>;

    fn deref(&self) -> &Address<T> {
        &self.address
    }
}

impl<T: 'static> Drop for Recipient<T> {
    fn drop(&mut self) {
        self.address.cell.hang_up();
    }
}

impl<T: 'static> fmt::Debug for Recipient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.address.info())
    }
}

/// Where to call a recipient. Does not own it: the value goes when its [`Recipient`] does.
///
/// One pointer; cloning counts a reference.
#[doc(alias("weak", "CbcPointer", "handle"))]
pub struct Address<T: 'static> {
    cell: Rc<RecipientCell<T>>,
}

impl<T: 'static> Address<T> {
    /// Creates and schedules a call to the recipient, in one go.
    ///
    /// Cannot fail. If the recipient is gone, the call ends Refused when its turn comes. If the queue is
    /// gone, it ends Canceled at once; if the queue is full ([`CallQueue::bounded`]), Refused at once.
    ///
    /// [`CallQueue::bounded`]: crate::CallQueue::bounded
    ///
    /// Cost: no allocation for a closure of at most 40 bytes, aligned to at most 8.
    #[inline]
    #[track_caller]
    pub fn call<F>(&self, handler: F) -> CallId
    where
        F: FnOnce(&mut T, &Context<'_, T>) + 'static,
    {
        self.schedule_as::<_, false>(Handler::new(handler), Location::caller(), |_, _| ())
    }

    /// Creates and schedules a call, as [`call`](Self::call), if the queue admits it.
    ///
    /// # Errors
    ///
    /// Hands the closure back if the queue is gone, full, or out of ids. Nothing is counted then. A
    /// recipient that is gone is no error here: the call then ends Refused when its turn comes.
    #[inline]
    #[track_caller]
    pub fn try_call<F>(&self, handler: F) -> Result<CallId, ScheduleError<F>>
    where
        F: FnOnce(&mut T, &Context<'_, T>) + 'static,
    {
        self.try_schedule_as(handler, Location::caller(), Handler::new)
    }

    /// As [`call`](Self::call) on behalf of code at `site`, even if the queue is full. Calls `if_observed`
    /// behind what is observed of it.
    #[cfg(feature = "mio")]
    pub(crate) fn promised_call<F>(
        &self,
        site: Site,
        handler: F,
        if_observed: impl FnOnce(&Core, CallId),
    ) -> CallId
    where
        F: FnOnce(&mut T, &Context<'_, T>) + 'static,
    {
        self.schedule_as::<_, true>(Handler::new(handler), site, if_observed)
    }

    /// Schedules a call of a type of its own, as [`call`](Self::call).
    #[inline]
    #[track_caller]
    pub fn schedule<C>(&self, call: C) -> CallId
    where
        C: Call<Recipient = T>,
    {
        self.schedule_as::<_, false>(call, Location::caller(), |_, _| ())
    }

    /// Schedules a call of a type of its own, if the queue admits it.
    ///
    /// # Errors
    ///
    /// Hands the call back if the queue is gone, full, or out of ids. Nothing is counted then.
    #[inline]
    #[track_caller]
    pub fn try_schedule<C>(&self, call: C) -> Result<CallId, ScheduleError<C>>
    where
        C: Call<Recipient = T>,
    {
        self.try_schedule_as(call, Location::caller(), |call| call)
    }

    #[inline(always)]
    fn schedule_as<C, const PROMISED: bool>(
        &self,
        call: C,
        site: Site,
        if_observed: impl FnOnce(&Core, CallId),
    ) -> CallId
    where
        C: Call<Recipient = T>,
    {
        let claim = if PROMISED { Claim::Promised } else { Claim::Plain };
        // Counted before the queue is asked for a place, so that it is asked once.
        let address = self.clone();
        let pack = |call| ToRecipient::<C, PROMISED> { address, call };
        let core = self.cell.queue.core();
        core.schedule(claim, call, site, pack, || Some(self.info()), if_observed)
    }

    #[inline(always)]
    fn try_schedule_as<C, D: Call<Recipient = T>>(
        &self,
        call: C,
        site: Site,
        convert: impl FnOnce(C) -> D,
    ) -> Result<CallId, ScheduleError<C>> {
        let address = self.clone();
        let pack = |call| ToRecipient::<D, false> { address, call: convert(call) };
        self.cell.queue.core().try_schedule(call, site, pack, || Some(self.info()))
    }

    /// The queue that dials this recipient's calls.
    #[inline]
    pub fn queue(&self) -> &QueueHandle {
        &self.cell.queue
    }

    /// A copy of this address. (So that [`Recipient`] and [`Context`] need no `Clone`.)
    #[inline]
    pub fn address(&self) -> Self {
        self.clone()
    }

    /// Whether a call to the recipient is live.
    pub fn is_live(&self) -> bool {
        self.cell.is_live()
    }

    /// Whether the recipient's owner has let it go.
    pub fn is_gone(&self) -> bool {
        self.cell.is_gone()
    }

    /// A flag that is set once the recipient is gone, for other threads to see.
    #[cfg(feature = "mio")]
    pub(crate) fn gone_flag(&self) -> Arc<AtomicBool> {
        self.cell.gone_flag()
    }

    /// The recipient as observers see it.
    pub fn info(&self) -> RecipientInfo {
        self.cell.info()
    }

    /// Labels the recipient: `10.0.0.7 -> example.org:443`, say. Observers are notified of it
    /// ([`Observer::observe_label`](crate::Observer::observe_label)), those that are added later
    /// included; the journal and the [`Reporter`](crate::Reporter) show it. It replaces the label
    /// before. A recipient that is gone takes none.
    ///
    /// Cost: an allocation, and an entry in a B-tree of the queue until the recipient is gone.
    pub fn set_label(&self, label: impl Into<Rc<str>>) {
        if !self.is_gone() {
            self.cell.queue.core().set_label(self.info(), label.into());
        }
    }

    /// The label of the recipient, if it has one and is not gone.
    pub fn label(&self) -> Option<Rc<str>> {
        self.cell.queue.core().label(self.number())
    }

    #[inline(always)]
    pub(crate) fn number(&self) -> u64 {
        self.cell.number
    }

    /// The callbacks to the recipient that are not dialed.
    #[inline(always)]
    pub(crate) fn callbacks(&self) -> &Group {
        &self.cell.callbacks
    }

    /// Whether a promise has to wait for the live call to end.
    #[inline(always)]
    pub(crate) fn is_blocked(&self) -> bool {
        self.cell.is_blocked()
    }

    /// Defers the call `key` until the live call has ended.
    pub(crate) fn defer(&self, attempt: &Attempt<'_>, call: Erased<Dialing>, key: u64) {
        self.cell.defer(attempt, call, key);
    }
}

impl<T: 'static> Clone for Address<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self { cell: Rc::clone(&self.cell) }
    }
}

impl<T: 'static> PartialEq for Address<T> {
    /// Whether both are addresses of the same recipient.
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.cell, &other.cell)
    }
}

impl<T: 'static> Eq for Address<T> {}

impl<T: 'static> Hash for Address<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Rc::as_ptr(&self.cell).hash(state);
    }
}

/// A panic of a handler leaves the recipient as rule R10 says. What its value then holds is for its
/// type to say.
impl<T: 'static> UnwindSafe for Address<T> {}
impl<T: 'static> RefUnwindSafe for Address<T> {}

/// As for [`Address`].
impl<T: 'static> UnwindSafe for Recipient<T> {}
impl<T: 'static> RefUnwindSafe for Recipient<T> {}

impl<T: 'static> fmt::Debug for Address<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.info())
    }
}
