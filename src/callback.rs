//! Callbacks: calls that are created by one party and scheduled by another (rules R5 to R7).
//!
//! The calls themselves wait in the queue's [`Callbacks`](store::Callbacks), and go to the ring when
//! they are answered; a [`Callback`] in its caller's hands holds only the key.

use core::fmt;
use core::marker::PhantomData;
use core::panic::Location;

use crate::call::{Attempt, Body, Call, CallId, Refusal};
use crate::error::ScheduleError;
use crate::observe::RecipientInfo;
use crate::queue::{Core, FunctionCall, QueueHandle};
use crate::recipient::{Address, Line, ToRecipient};
use crate::slots::Key;

pub(crate) mod store;

/// A call to be scheduled by its future caller, with a value of type `A`.
///
/// Made by the recipient, with [`Address::callback`] or [`QueueHandle::callback`], and used up by
/// its caller: [`answer`](Self::answer) schedules the call, [`decline`](Self::decline) says that
/// it will never come. Dropping it otherwise is a bug (rule R5): the call ends Abandoned, which is
/// counted, told to the observer and, with feature `tracing`, logged as a warning.
///
/// Whether the call is still wanted is not the caller's business: a canceled callback can be
/// answered, declined or dropped freely.
#[must_use = "a callback must be answered or declined"]
pub struct Callback<A: 'static> {
    queue: QueueHandle,
    key: Key,
    /// Knows the type of the body that waits: joins it with the value. False if canceled.
    answer: fn(&Core, Key, A, &'static Location<'static>) -> bool,
    used: bool,
}

impl<A: 'static> Callback<A> {
    #[track_caller]
    pub(crate) fn to_recipient<T, F>(address: Address<T>, handler: F) -> Self
    where
        F: FnOnce(&mut T, &Line<'_, T>, A) + 'static,
    {
        let queue = address.queue().clone();
        let recipient = Some(address.info());
        Self::create(queue, recipient, move |value| {
            let call = Answer { handler, value, recipient: PhantomData };
            ToRecipient { address, call }
        })
    }

    #[track_caller]
    pub(crate) fn to_function<F>(queue: QueueHandle, function: F) -> Self
    where
        F: FnOnce(&QueueHandle, A) + 'static,
    {
        Self::create(queue, None, move |value| {
            FunctionCall(move |queue: &QueueHandle| function(queue, value))
        })
    }

    #[track_caller]
    fn create<J, B>(queue: QueueHandle, recipient: Option<RecipientInfo>, join: J) -> Self
    where
        J: FnOnce(A) -> B + 'static,
        B: Body,
    {
        let waiting = Waiting::<J, A>(join, PhantomData);
        let site = Location::caller();
        let key = queue.core().create_callback(waiting, site);
        let answer = |core: &Core, key, value, site| {
            core.put_answered(key, site, |Waiting(join, _): Waiting<J, A>| join(value))
        };
        // The observer is told after there is a holder, which ends the call if that panics.
        let callback = Self { queue, key, answer, used: false };
        callback.queue.core().callback_created(key, recipient, site);
        callback
    }

    /// The id of the call, before and after it is scheduled.
    pub fn id(&self) -> CallId {
        self.queue.core().id(CallId::callback_key(self.key))
    }

    /// Whether the call was canceled, and will never be dialed.
    pub fn is_canceled(&self) -> bool {
        self.queue.core().is_canceled(self.key)
    }

    /// The queue that will dial the call.
    pub const fn queue(&self) -> &QueueHandle {
        &self.queue
    }

    /// Schedules the call, to be dialed with `value`.
    ///
    /// If the call was canceled, `value` is dropped, and that is no error.
    ///
    /// Cost: no allocation if the handler's captures and `value` together take at most 32 bytes.
    ///
    /// # Errors
    ///
    /// Hands `value` back if the queue takes no more calls; whether the call was canceled does not
    /// matter then.
    #[track_caller]
    pub fn answer(self, value: A) -> Result<(), ScheduleError<A>> {
        self.answer_from(Location::caller(), value)
    }

    /// As [`answer`](Self::answer), on behalf of code at `site`.
    pub(crate) fn answer_from(
        mut self,
        site: &'static Location<'static>,
        value: A,
    ) -> Result<(), ScheduleError<A>> {
        self.used = true;
        self.queue.core().answer(self.key, value, site, self.answer)
    }

    /// Says that the call will never be scheduled, and why: it ends Canceled.
    pub fn decline(mut self, reason: &'static str) {
        self.used = true;
        self.queue.core().decline(self.key, reason);
    }
}

impl<A: 'static> Drop for Callback<A> {
    fn drop(&mut self) {
        if !self.used {
            self.queue.core().abandon(self.key);
        }
    }
}

impl<A: 'static> fmt::Debug for Callback<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({})", self.id())
    }
}

/// An answered callback, as the ring holds it.
pub(crate) struct Answered<B> {
    pub(crate) key: Key,
    pub(crate) call: B,
}

impl<B: Body> Body for Answered<B> {
    fn dial(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>) {
        attempt.at_callback(self.key);
        self.call.dial(attempt, site);
    }
}

/// What the ring holds instead once the callback is canceled.
pub(crate) struct Canceled(pub(crate) Key);

impl Body for Canceled {
    #[cold]
    fn dial(self, attempt: &mut Attempt<'_>, _: &'static Location<'static>) {
        attempt.at_canceled(self.0);
    }
}

/// A callback that waits for its value: what makes the call of it, given the value.
struct Waiting<J, A>(J, PhantomData<fn(A)>);

impl<J: 'static, A: 'static> Body for Waiting<J, A> {
    /// Never comes to pass: only answered callbacks are in the ring.
    #[cold]
    fn dial(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>) {
        attempt.refuse(Refusal::Check("the callback is not answered"), site);
    }
}

/// The call type of an answered callback to a recipient.
struct Answer<T, F, A> {
    handler: F,
    value: A,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T, F, A> Call for Answer<T, F, A>
where
    T: 'static,
    F: FnOnce(&mut T, &Line<'_, T>, A) + 'static,
    A: 'static,
{
    type Recipient = T;

    fn dial(self, recipient: &mut T, line: &Line<'_, T>) {
        (self.handler)(recipient, line, self.value);
    }
}
