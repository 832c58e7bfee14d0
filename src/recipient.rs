//! Recipients: who owns them, who may call them, and the rule that a recipient has at most one
//! live call (R2). That rule lives in this file only.
//!
//! The value of a recipient sits in a [`Desk`], behind a [`RefCell`] that only a dial borrows:
//!
//! - I1 The value is borrowed exactly while a call to it is live (checks included). The borrow
//!   *is* the mark of rule R2, and unwinding clears it.
//! - I2 Once `gone` is set, the value is dropped: at once if it is not borrowed, else by the
//!   dial that borrowed it, after it gave the borrow back and its call ended. From then on it is
//!   out of reach: no other call can borrow it.
//! - I3 No borrow is held while a value drops.

use alloc::rc::Rc;
use core::any::type_name;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::panic::Location;

use crate::call::{Attempt, Body, Call, CallId, Ended, Refusal};
use crate::callback::Callback;
use crate::error::ScheduleError;
use crate::observe::RecipientInfo;
use crate::queue::{Claim, QueueHandle};

/// Owns a recipient: a value of type `T` that receives calls, one at a time.
///
/// Made by [`QueueHandle::recipient`]. Everything that can be asked of a recipient is on its
/// [`Address`], to which this derefs. Dropping the `Recipient` hangs up (rule R9): the value is
/// dropped at once or, if a call to it is live, right after that has ended. Calls that are
/// still pending then end Refused when their turn comes.
///
/// The value cannot be looked at from outside: a call gets to it, or what it shares in an `Rc`.
///
/// A value that owns its own `Recipient` lives until [`Line::hang_up`]: like any owner of
/// itself, it leaks if that never comes.
#[must_use = "dropping a recipient lets its value go"]
pub struct Recipient<T: 'static> {
    address: Address<T>,
}

impl<T: 'static> Recipient<T> {
    pub(crate) fn new<E>(
        queue: QueueHandle,
        value: impl FnOnce(&Address<T>) -> Result<T, E>,
    ) -> Result<Self, E> {
        let number = queue.core().number_recipient();
        let desk = Desk {
            queue,
            number,
            live: Cell::new((0, Location::caller())),
            gone: Cell::new(false),
            value: RefCell::new(None),
        };
        let recipient = Self { address: Address { desk: Rc::new(desk) } };
        let value = value(&recipient.address)?;
        recipient.address.desk.value.replace(Some(value));
        Ok(recipient)
    }

    /// Lets the recipient go; the same as dropping it.
    pub fn hang_up(self) {}
}

impl<T: 'static> Deref for Recipient<T> {
    type Target = Address<T>;

    fn deref(&self) -> &Address<T> {
        &self.address
    }
}

impl<T: 'static> Drop for Recipient<T> {
    fn drop(&mut self) {
        self.address.desk.hang_up();
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
pub struct Address<T: 'static> {
    desk: Rc<Desk<T>>,
}

impl<T: 'static> Address<T> {
    /// Creates and schedules a call to the recipient, in one go.
    ///
    /// Cost: no allocation for a closure of at most 40 bytes, aligned to at most 8.
    ///
    /// # Errors
    ///
    /// Hands the closure back if the queue takes no more calls. A recipient that is gone is no
    /// error here: the call then ends Refused when its turn comes.
    #[inline]
    #[track_caller]
    pub fn call<F>(&self, handler: F) -> Result<CallId, ScheduleError<F>>
    where
        F: FnOnce(&mut T, &Line<'_, T>) + 'static,
    {
        self.schedule_as(Claim::New, handler, Location::caller(), Handler::new)
    }

    /// As [`call`](Self::call) on behalf of code at `site`, also if the queue is full.
    #[cfg(feature = "mio")]
    pub(crate) fn promised_call<F>(
        &self,
        site: &'static Location<'static>,
        handler: F,
    ) -> Result<CallId, ScheduleError<F>>
    where
        F: FnOnce(&mut T, &Line<'_, T>) + 'static,
    {
        self.schedule_as(Claim::Promised, handler, site, Handler::new)
    }

    /// Schedules a call of a type of its own.
    ///
    /// # Errors
    ///
    /// Hands the call back if the queue takes no more calls.
    #[inline]
    #[track_caller]
    pub fn schedule<C>(&self, call: C) -> Result<CallId, ScheduleError<C>>
    where
        C: Call<Recipient = T>,
    {
        self.schedule_as(Claim::New, call, Location::caller(), |call| call)
    }

    #[inline(always)]
    fn schedule_as<C, D: Call<Recipient = T>>(
        &self,
        claim: Claim,
        call: C,
        site: &'static Location<'static>,
        convert: impl FnOnce(C) -> D,
    ) -> Result<CallId, ScheduleError<C>> {
        let pack = |call| ToRecipient { address: self.clone(), call: convert(call) };
        self.desk.queue.core().schedule(claim, call, site, pack, || Some(self.info()))
    }

    /// Creates a call that some caller will schedule later, with a value of type `A`.
    ///
    /// Keep its [`id`](Callback::id), to cancel it when it is no longer wanted (rule R6). If the
    /// queue is gone, so is the call: it is Canceled from the start.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let total = queue.recipient(0);
    /// let callback = total.callback(|total, line, read: usize| {
    ///     *total += read;
    ///     line.hang_up();
    /// });
    /// callback.answer(12)?;
    /// queue.dial_all();
    /// assert!(total.is_gone());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn callback<A, F>(&self, handler: F) -> Callback<A>
    where
        A: 'static,
        F: FnOnce(&mut T, &Line<'_, T>, A) + 'static,
    {
        Callback::to_recipient(self.clone(), handler)
    }

    /// The queue that dials this recipient's calls.
    #[inline]
    pub fn queue(&self) -> &QueueHandle {
        &self.desk.queue
    }

    /// A copy of this address. (So that [`Recipient`] and [`Line`] need no `Clone`.)
    #[inline]
    pub fn address(&self) -> Self {
        self.clone()
    }

    /// Whether a call to the recipient is live.
    pub fn is_live(&self) -> bool {
        self.desk.value.try_borrow().is_err()
    }

    /// Whether the recipient's owner has let it go.
    pub fn is_gone(&self) -> bool {
        self.desk.gone.get()
    }

    /// The recipient as observers see it.
    pub fn info(&self) -> RecipientInfo {
        RecipientInfo { number: self.number(), type_name: type_name::<T>() }
    }

    #[inline(always)]
    pub(crate) fn number(&self) -> u64 {
        self.desk.number
    }
}

impl<T: 'static> Clone for Address<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self { desk: Rc::clone(&self.desk) }
    }
}

impl<T: 'static> PartialEq for Address<T> {
    /// Whether both are addresses of the same recipient.
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.desk, &other.desk)
    }
}

impl<T: 'static> Eq for Address<T> {}

impl<T: 'static> fmt::Debug for Address<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.info())
    }
}

/// What a handler gets beside its recipient's value: the line that it was called on.
///
/// Derefs to the recipient's own [`Address`], so a handler schedules calls and makes callbacks to
/// itself with `line.call(..)` and `line.callback(..)`, and reaches the queue with
/// `line.queue()`.
pub struct Line<'a, T: 'static> {
    address: &'a Address<T>,
    id: CallId,
}

impl<T: 'static> Line<'_, T> {
    /// The id of the live call.
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// Lets the recipient go: its value is dropped right after the live call has ended.
    pub fn hang_up(&self) {
        self.address.desk.hang_up();
    }
}

impl<T: 'static> Deref for Line<'_, T> {
    type Target = Address<T>;

    #[inline]
    fn deref(&self) -> &Address<T> {
        self.address
    }
}

impl<T: 'static> fmt::Debug for Line<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} to {})", self.id, self.address.info())
    }
}

/// Where a recipient sits.
struct Desk<T> {
    queue: QueueHandle,
    number: u64,
    /// Key and schedule site of the call that borrowed the value last; live while it is borrowed.
    live: Cell<(u64, &'static Location<'static>)>,
    gone: Cell<bool>,
    value: RefCell<Option<T>>,
}

impl<T> Desk<T> {
    /// Whether there is a value that no live call has borrowed.
    #[inline(always)]
    fn is_free(&self) -> bool {
        self.value.try_borrow_mut().is_ok_and(|value| value.is_some())
    }

    /// Why the value could not be borrowed.
    #[cold]
    fn refusal(&self) -> Refusal {
        if self.gone.get() {
            return Refusal::Gone;
        }
        let (key, site) = self.live.get();
        Refusal::Live { live: self.queue.core().id(key), site }
    }

    /// Refuses the call whose check objects. If that has let the recipient go, the value is out of
    /// reach before anybody is told.
    #[cold]
    #[inline(never)]
    fn refuse(
        &self,
        attempt: &Attempt<'_>,
        objection: &'static str,
        site: &'static Location<'static>,
    ) {
        let _value = self.gone.get().then(|| self.take());
        attempt.refuse(Refusal::Check(objection), site);
    }

    fn hang_up(&self) {
        self.gone.set(true);
        self.clear();
    }

    /// Drops the value, unless it is borrowed (I2).
    #[cold]
    #[inline(never)]
    fn clear(&self) {
        drop(self.take());
    }

    /// Ends the live call, then drops the value. That is out of reach before anybody is told, and drops
    /// also if that panics.
    #[cold]
    #[inline(never)]
    fn clear_after(&self, ended: Ended) {
        let _value = self.take();
        Attempt::end_early(self.queue.core(), self.live.get().0, ended);
    }

    /// Takes the value out, unless it is borrowed.
    fn take(&self) -> Option<T> {
        self.value.try_borrow_mut().ok().and_then(|mut value| value.take())
    }
}

/// A dial in progress, also while it unwinds. Keeps I2 at its end.
struct Delivery<'a, T> {
    desk: &'a Desk<T>,
    /// How its call ends; none if it is refused.
    ended: Option<Ended>,
}

impl<T> Drop for Delivery<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.desk.gone.get()
            && let Some(ended) = self.ended
        {
            self.desk.clear_after(ended);
        }
    }
}

/// A call to a recipient, as the queue stores it.
pub(crate) struct ToRecipient<C: Call> {
    pub(crate) address: Address<C::Recipient>,
    pub(crate) call: C,
}

impl<C: Call> Body for ToRecipient<C> {
    #[inline(always)]
    fn dial(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>) {
        if attempt.is_observed() || !self.address.desk.is_free() {
            self.deliver_slowly(attempt, site);
        } else {
            self.deliver(attempt, site, false);
        }
    }
}

impl<C: Call> ToRecipient<C> {
    /// Checks (rule R8), and lets the call through to its handler.
    #[inline(always)]
    fn deliver(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>, observed: bool) {
        let Self { address, call } = self;
        let desk = &*address.desk;
        // Declared first, dropped last: after the borrow below is back.
        let mut delivery = Delivery { desk, ended: None };
        let Ok(mut borrow) = desk.value.try_borrow_mut() else {
            if cfg!(seeded = "dial_while_live") {
                return attempt.dialed();
            }
            return attempt.refuse(desk.refusal(), site);
        };
        let Some(value) = &mut *borrow else {
            drop(borrow);
            return attempt.refuse(Refusal::Gone, site);
        };
        desk.live.set((attempt.key(), site));
        delivery.ended = Some(Ended::Unwound);
        if let Err(reason) = call.can_dial(value) {
            drop(borrow);
            delivery.ended = None;
            return desk.refuse(attempt, reason, site);
        }
        if observed {
            attempt.dialed();
        }
        call.dial(value, &Line { address: &address, id: attempt.id() });
        delivery.ended = Some(Ended::Returned);
    }

    /// The same, apart, to keep what is unusual out of the way of the usual.
    #[cold]
    #[inline(never)]
    fn deliver_slowly(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>) {
        self.deliver(attempt, site, true);
    }
}

/// The call type of a closure.
struct Handler<T, F> {
    handler: F,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T, F> Handler<T, F> {
    #[inline(always)]
    const fn new(handler: F) -> Self {
        Self { handler, recipient: PhantomData }
    }
}

impl<T: 'static, F: FnOnce(&mut T, &Line<'_, T>) + 'static> Call for Handler<T, F> {
    type Recipient = T;

    #[inline(always)]
    fn dial(self, recipient: &mut T, line: &Line<'_, T>) {
        (self.handler)(recipient, line);
    }
}
