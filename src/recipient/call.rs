//! Calls to a recipient: the open trait for call types ([`Call`]), what its handlers get
//! ([`Context`]), and how the queue stores and delivers such a call.

use alloc::rc::Rc;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use crate::erased::{Erased, Payload, Site};
use crate::id::CallId;
use crate::queue::attempt::Attempt;
use crate::queue::state::Dialing;
use crate::recipient::Address;

/// A type of call to a recipient.
///
/// Most calls are closures ([`Address::call`](crate::Address::call)). Implement this trait for a
/// call with a check of its own, and schedule it with
/// [`Address::schedule`](crate::Address::schedule).
///
/// Before the queue dials a call it asks, in this order (rule R8): was it canceled? is the
/// recipient gone? is the recipient live? and then [`can_dial`](Self::can_dial).
///
/// # Examples
///
/// ```
/// use switchboard::{Call, CallQueue, Context};
///
/// struct Door { open: bool, visitors: u32 }
///
/// struct Enter;
///
/// impl Call for Enter {
///     type Recipient = Door;
///
///     fn can_dial(&self, door: &Door) -> Result<(), &'static str> {
///         if door.open { Ok(()) } else { Err("the door is closed") }
///     }
///
///     fn dial(self, door: &mut Door, _: &Context<'_, Door>) {
///         door.visitors += 1;
///     }
/// }
///
/// let queue = CallQueue::new();
/// let door = queue.recipient(Door { open: false, visitors: 0 });
/// door.schedule(Enter);
/// door.call(|door, _| door.open = true);
/// door.schedule(Enter);
/// let report = queue.dial_all();
/// assert_eq!((report.refused, report.dialed), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Call: Sized + 'static {
    /// The type of the recipient.
    type Recipient: 'static;

    /// Returns `Ok` if the call may be dialed.
    ///
    /// The recipient is live meanwhile. If this drops the recipient and returns `Ok`, the handler still
    /// runs, before the value is dropped.
    ///
    /// # Errors
    ///
    /// Returns the reason; the call then ends Refused.
    fn can_dial(&self, recipient: &Self::Recipient) -> Result<(), &'static str> {
        let _ = recipient;
        Ok(())
    }

    /// Delivers the call.
    fn dial(self, recipient: &mut Self::Recipient, cx: &Context<'_, Self::Recipient>);
}

/// The context of a handler, which it receives beside its recipient's value.
///
/// It derefs to the recipient's own [`Address`], so a handler schedules calls and makes callbacks to
/// its own recipient with `cx.call(..)` and `cx.callback(..)`, and reaches the queue with `cx.queue()`.
pub struct Context<'a, T: 'static> {
    address: &'a Address<T>,
    id: CallId,
}

impl<T: 'static> Context<'_, T> {
    /// Returns the id of the live call.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let job = queue.recipient(());
    /// let ran = Rc::new(Cell::new(None));
    /// let seen = Rc::clone(&ran);
    /// let id = job.call(move |_, cx| seen.set(Some(cx.id()))); // for a log line, say
    /// queue.dial_all();
    /// assert_eq!(ran.get(), Some(id));
    /// ```
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// Hangs up the recipient: its value is dropped right after its handler returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Recipients};
    ///
    /// let queue = CallQueue::new();
    /// let sessions = Recipients::new(&queue);
    /// let session = sessions.insert(String::from("hello"));
    /// session.call(|text, cx| {
    ///     cx.hang_up(); // the session has ended: it leaves the set
    ///     assert_eq!(text, "hello"); // the value stays until this handler returns
    /// });
    /// queue.dial_all();
    /// assert!(sessions.is_empty());
    /// ```
    pub fn hang_up(&self) {
        self.address.cell.hang_up();
    }
}

impl<T: 'static> Deref for Context<'_, T> {
    type Target = Address<T>;

    #[inline]
    fn deref(&self) -> &Address<T> {
        self.address
    }
}

impl<T: 'static> fmt::Debug for Context<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} to {})", self.id, self.address.info())
    }
}

/// A call to a recipient, as the queue stores it. One that is `PROMISED` is deferred rather than
/// refused if the recipient is live (rule R2).
pub(crate) struct ToRecipient<C: Call, const PROMISED: bool> {
    pub(crate) address: Address<C::Recipient>,
    pub(crate) call: C,
}

impl<C: Call, const PROMISED: bool> Payload<Dialing> for ToRecipient<C, PROMISED> {
    #[inline(always)]
    fn dial(self, attempt: &mut Attempt<'_>, site: Site) {
        if attempt.is_observed() || !self.address.cell.is_free() {
            self.dial_slow(attempt, site);
        } else {
            self.deliver(attempt, site, false);
        }
    }

    fn recipient(&self) -> u64 {
        self.address.number()
    }
}

impl<C: Call, const PROMISED: bool> ToRecipient<C, PROMISED> {
    /// The call is observed, or its recipient is live or gone.
    #[cold]
    #[inline(never)]
    fn dial_slow(self, attempt: &mut Attempt<'_>, site: Site) {
        let cell = Rc::clone(&self.address.cell);
        if cell.is_blocked() && (PROMISED || cell.defers_plain()) {
            let key = attempt.key();
            cell.defer(attempt, Erased::new(self, site), key);
        } else {
            self.deliver(attempt, site, attempt.is_observed());
        }
    }

    #[inline(always)]
    fn deliver(self, attempt: &Attempt<'_>, site: Site, observed: bool) {
        let Self { address, call } = self;
        let id = attempt.id();
        let run = |call: C, value: &mut _| call.dial(value, &Context { address: &address, id });
        let erase = |call| {
            let address = address.clone();
            Erased::new(Self { address, call }, site)
        };
        address.cell.deliver(call, attempt, site, observed, C::can_dial, erase, run);
    }
}

/// The call type of a closure.
pub(super) struct Handler<T, F> {
    handler: F,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T, F> Handler<T, F> {
    #[inline(always)]
    pub(super) const fn new(handler: F) -> Self {
        Self { handler, recipient: PhantomData }
    }
}

impl<T: 'static, F: FnOnce(&mut T, &Context<'_, T>) + 'static> Call for Handler<T, F> {
    type Recipient = T;

    #[inline(always)]
    fn dial(self, recipient: &mut T, cx: &Context<'_, T>) {
        (self.handler)(recipient, cx);
    }
}
