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
#[cfg(feature = "mio")]
use crate::queue::state::Core;
use crate::queue::state::{Claim, Dialing};
use crate::step::RecipientInfo;
use crate::unwind::in_drop;

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
    /// Makes a recipient of `value`, and returns its owner.
    ///
    /// Cost: one allocation.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let log = queue.recipient(Vec::new());
    /// log.call(|log, _| log.push("started"));
    /// log.call(|log, _| assert_eq!(*log, ["started"]));
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    pub fn recipient<T: 'static>(&self, value: T) -> Recipient<T> {
        self.recipient_with(|_| value)
    }

    /// Makes a recipient of the value that `value` returns for its own address, and returns its owner.
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

    /// As [`recipient_with`](Self::recipient_with), for a value whose creation may fail, such as one
    /// that registers a source.
    ///
    /// # Errors
    ///
    /// Returns the error of `value`.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Address, CallQueue};
    ///
    /// struct Parser { own: Address<Parser>, limit: u32 }
    ///
    /// let queue = CallQueue::new();
    /// let make = |limit: &str| {
    ///     queue.try_recipient_with(|own| {
    ///         Ok::<_, std::num::ParseIntError>(Parser { own: own.clone(), limit: limit.parse()? })
    ///     })
    /// };
    /// let parser = make("80")?;
    /// parser.call(|parser, cx| assert_eq!((&parser.own, parser.limit), (&cx.address(), 80)));
    /// assert!(make("eighty").is_err());
    /// # queue.dial_all();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recipient_with<T: 'static, E>(
        &self,
        value: impl FnOnce(&Address<T>) -> Result<T, E>,
    ) -> Result<Recipient<T>, E> {
        Recipient::new(self.clone(), value)
    }
}

/// Owns a recipient: a value of type `T` that receives calls, one at a time.
///
/// Made by [`QueueHandle::recipient`]. The methods of a recipient are on [`Address`], to which this
/// derefs. Dropping the `Recipient` hangs up (rule R9): the value is dropped at once or, if a call to
/// it is live, right after that has ended. Calls that are still pending then end Refused when the queue
/// reaches them.
///
/// Only calls can access the value. To share data with other code, put it in an `Rc`.
///
/// A value that owns its own `Recipient` lives until [`Context::hang_up`]: like any value that owns
/// itself, it leaks if it is never hung up.
#[doc(alias("actor", "AsyncJob", "object"))]
#[must_use = "dropping a recipient drops its value"]
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

    /// Hangs up the recipient, as its drop does.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let session = queue.recipient(String::from("session"));
    /// session.call(|_, _| unreachable!("the recipient is gone"));
    /// session.hang_up(); // the value drops here
    /// assert_eq!(queue.dial_all().refused, 1);
    /// ```
    #[doc(alias("mustStop", "swanSong", "destroy"))]
    pub fn hang_up(self) {}

    /// Sets whether plain calls are deferred, rather than refused, if the queue reaches them while the
    /// recipient is live (rule R2). The default is to refuse them. Promises are always deferred.
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
        in_drop(|| self.address.cell.hang_up());
    }
}

impl<T: 'static> fmt::Debug for Recipient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.address.info())
    }
}

/// The address of a recipient, to call it. It does not own the value, which is dropped with its
/// [`Recipient`].
///
/// One pointer; cloning counts a reference.
#[doc(alias("weak", "CbcPointer", "handle"))]
pub struct Address<T: 'static> {
    cell: Rc<RecipientCell<T>>,
}

impl<T: 'static> Address<T> {
    /// Creates and schedules a call to the recipient, and returns its id.
    ///
    /// This cannot fail. If the recipient is gone, the call ends Refused when the queue reaches it. If
    /// the queue is gone, it ends Canceled at once; if the queue is full ([`CallQueue::bounded`]),
    /// Refused at once.
    ///
    /// [`CallQueue::bounded`]: crate::CallQueue::bounded
    ///
    /// Cost: no allocation for a closure of at most 40 bytes, aligned to at most 8.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// struct Counter { total: u32 }
    ///
    /// let queue = CallQueue::new();
    /// let counter = queue.recipient(Counter { total: 0 });
    /// let address = counter.address(); // for others, who do not own the counter
    /// address.call(|counter, _| counter.total += 1);
    /// address.call(|counter, cx| {
    ///     assert_eq!(counter.total, 1);
    ///     cx.hang_up(); // it has all it wants
    /// });
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// assert!(address.is_gone());
    /// ```
    #[inline]
    #[track_caller]
    pub fn call<F>(&self, handler: F) -> CallId
    where
        F: FnOnce(&mut T, &Context<'_, T>) + 'static,
    {
        self.schedule_as::<_, false>(Handler::new(handler), Location::caller())
    }

    /// Creates and schedules a call, as [`call`](Self::call), if the queue admits it.
    ///
    /// # Errors
    ///
    /// Returns the closure in the error if the queue is gone, full, or out of ids. Nothing is counted
    /// then. A recipient that is gone is not an error: the call then ends Refused when the queue
    /// reaches it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, ScheduleErrorKind};
    ///
    /// let queue = CallQueue::bounded(2);
    /// let worker = queue.recipient(Vec::new());
    /// let mut accepted = 0;
    /// for number in 0..10 {
    ///     match worker.try_call(move |list, _| list.push(number)) {
    ///         Ok(_) => accepted += 1,
    ///         Err(error) if error.kind() == ScheduleErrorKind::Full => break, // the client is to wait
    ///         Err(error) => return Err(error.into_kind()),
    ///     }
    /// }
    /// assert_eq!(accepted, 2);
    /// # queue.dial_all();
    /// # Ok::<(), ScheduleErrorKind>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_call<F>(&self, handler: F) -> Result<CallId, ScheduleError<F>>
    where
        F: FnOnce(&mut T, &Context<'_, T>) + 'static,
    {
        self.try_schedule_as(handler, Location::caller(), Handler::new)
    }

    /// As [`call`](Self::call) on behalf of code at `site`, even if the queue is full.
    #[cfg(feature = "mio")]
    pub(crate) fn promised_call<F>(&self, site: Site, handler: F) -> CallId
    where
        F: FnOnce(&mut T, &Context<'_, T>) + 'static,
    {
        self.schedule_as::<_, true>(Handler::new(handler), site)
    }

    /// As [`promised_call`](Self::promised_call), for who has another reference to the queue, whose `core`
    /// that is, and needs this address no more.
    #[cfg(feature = "mio")]
    #[inline(always)]
    pub(crate) fn into_promised_call<F>(self, core: &Core, site: Site, handler: F) -> CallId
    where
        F: FnOnce(&mut T, &Context<'_, T>) + 'static,
    {
        let info = self.info();
        let pack = |call| ToRecipient::<_, true> { address: self, call };
        core.schedule(Claim::Promised, Handler::new(handler), site, pack, || Some(info))
    }

    /// Schedules a call of a type of its own, as [`call`](Self::call).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Call, CallQueue, Context};
    ///
    /// struct Account { balance: u32 }
    /// struct Withdraw(u32);
    ///
    /// impl Call for Withdraw {
    ///     type Recipient = Account;
    ///
    ///     fn can_dial(&self, account: &Account) -> Result<(), &'static str> {
    ///         if self.0 <= account.balance { Ok(()) } else { Err("balance too low") }
    ///     }
    ///
    ///     fn dial(self, account: &mut Account, _: &Context<'_, Account>) {
    ///         account.balance -= self.0;
    ///     }
    /// }
    ///
    /// let queue = CallQueue::new();
    /// let account = queue.recipient(Account { balance: 50 });
    /// account.schedule(Withdraw(40));
    /// account.schedule(Withdraw(40)); // checked when its turn comes: refused
    /// let report = queue.dial_all();
    /// assert_eq!((report.dialed, report.refused), (1, 1));
    /// ```
    #[inline]
    #[track_caller]
    pub fn schedule<C>(&self, call: C) -> CallId
    where
        C: Call<Recipient = T>,
    {
        self.schedule_as::<_, false>(call, Location::caller())
    }

    /// Schedules a call of a type of its own, if the queue admits it.
    ///
    /// # Errors
    ///
    /// Returns the call in the error if the queue is gone, full, or out of ids. Nothing is counted
    /// then.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Call, CallQueue, Context};
    ///
    /// struct Set(u32);
    ///
    /// impl Call for Set {
    ///     type Recipient = u32;
    ///
    ///     fn dial(self, value: &mut u32, _: &Context<'_, u32>) {
    ///         *value = self.0;
    ///     }
    /// }
    ///
    /// let queue = CallQueue::bounded(1);
    /// let value = queue.recipient(0);
    /// value.try_schedule(Set(1))?;
    /// let error = value.try_schedule(Set(2)).expect_err("the queue is full");
    /// assert_eq!(error.into_inner().0, 2);
    /// # queue.dial_all();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_schedule<C>(&self, call: C) -> Result<CallId, ScheduleError<C>>
    where
        C: Call<Recipient = T>,
    {
        self.try_schedule_as(call, Location::caller(), |call| call)
    }

    #[inline(always)]
    fn schedule_as<C, const PROMISED: bool>(&self, call: C, site: Site) -> CallId
    where
        C: Call<Recipient = T>,
    {
        let claim = if PROMISED { Claim::Promised } else { Claim::Plain };
        // Counted before the queue is asked for a place, so that it is asked once.
        let address = self.clone();
        let pack = |call| ToRecipient::<C, PROMISED> { address, call };
        self.cell.queue.core().schedule(claim, call, site, pack, || Some(self.info()))
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

    /// Returns the queue that dials this recipient's calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Address, CallQueue};
    ///
    /// fn ping(address: &Address<u32>) {
    ///     // Code that has the address needs no handle of the queue.
    ///     let pinged = address.callback(|count, _, ()| *count += 1);
    ///     address.queue().call(|_| pinged.answer(()));
    /// }
    ///
    /// let queue = CallQueue::new();
    /// let count = queue.recipient(0);
    /// ping(&count);
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    #[inline]
    pub fn queue(&self) -> &QueueHandle {
        &self.cell.queue
    }

    /// Returns a copy of this address. ([`Recipient`] and [`Context`], which deref to it, have no
    /// `Clone`.)
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Address, CallQueue};
    ///
    /// struct Client { server: Address<Server> }
    /// struct Server { requests: u32 }
    ///
    /// let queue = CallQueue::new();
    /// let server = queue.recipient(Server { requests: 0 });
    /// let client = queue.recipient(Client { server: server.address() });
    /// client.call(|client, _| {
    ///     client.server.call(|server, _| server.requests += 1);
    /// });
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    #[inline]
    pub fn address(&self) -> Self {
        self.clone()
    }

    /// Returns true if a call to the recipient is live.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let dialog = queue.recipient(());
    /// assert!(!dialog.is_live());
    /// dialog.call(|_, cx| assert!(cx.is_live())); // a call made here ends Refused in a nested turn
    /// queue.dial_all();
    /// assert!(!dialog.is_live());
    /// ```
    pub fn is_live(&self) -> bool {
        self.cell.is_live()
    }

    /// Returns true if the recipient was hung up: by its owner, or by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let sessions = vec![queue.recipient("a"), queue.recipient("b")];
    /// let mut subscribers: Vec<_> = sessions.iter().map(|session| session.address()).collect();
    /// drop(sessions);
    /// subscribers.retain(|session| !session.is_gone());
    /// assert!(subscribers.is_empty());
    /// ```
    pub fn is_gone(&self) -> bool {
        self.cell.is_gone()
    }

    /// A flag that is set once the recipient is gone, for other threads to see.
    #[cfg(feature = "mio")]
    pub(crate) fn gone_flag(&self) -> Arc<AtomicBool> {
        self.cell.gone_flag()
    }

    /// Returns the recipient as observers see it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// struct Server;
    ///
    /// let queue = CallQueue::new();
    /// let server = queue.recipient(Server);
    /// let info = server.info();
    /// assert_eq!(info.to_string(), "Server(0)"); // as observers and the journal show it
    /// ```
    pub fn info(&self) -> RecipientInfo {
        self.cell.info()
    }

    /// Labels the recipient, as with `10.0.0.7 -> example.org:443`. Observers receive the label
    /// ([`Observer::observe_label`](crate::Observer::observe_label)), including those that are added
    /// later; the journal and the [`Reporter`](crate::Reporter) show it. It replaces the previous
    /// label. If the recipient is gone, this does nothing.
    ///
    /// Cost: an allocation, and an entry in a B-tree of the queue until the recipient is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let session = queue.recipient(());
    /// session.set_label("10.0.0.7 -> example.org:443");
    /// assert_eq!(session.label().as_deref(), Some("10.0.0.7 -> example.org:443"));
    /// ```
    pub fn set_label(&self, label: impl Into<Rc<str>>) {
        if !self.is_gone() {
            self.cell.queue.core().set_label(self.info(), label.into());
        }
    }

    /// Returns the label of the recipient, or `None` if it has none or is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let session = queue.recipient(());
    /// session.set_label(format!("client {}", 7));
    /// session.call(|_, cx| {
    ///     let label = cx.label();
    ///     println!("{}: done", label.as_deref().unwrap_or("unnamed"));
    ///     assert_eq!(label.as_deref(), Some("client 7"));
    /// });
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
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

/// A panic of a handler leaves the recipient as rule R10 demands. The value is as the handler left it.
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
