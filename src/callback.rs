//! Callbacks: calls that are created by one party and scheduled by another (rules R5 to R7).
//!
//! The calls themselves wait in the queue, and go to its order when they are answered; a [`Callback`]
//! in its caller's hands holds only the key.

use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use core::panic::Location;

use crate::erased::Payload;
use crate::id::CallId;
use crate::queue::{Attempt, Dialing, FunctionCall, QueueHandle};
use crate::recipient::{Address, Call, Context, ToRecipient};
use crate::slots::Key;
use crate::step::{RecipientInfo, Refusal};

/// Making callbacks to functions.
impl QueueHandle {
    /// Creates a callback to a function: a function call that some caller will schedule later.
    /// See [`Address::callback`].
    #[track_caller]
    pub fn callback<A, F>(&self, function: F) -> Callback<A>
    where
        A: 'static,
        F: FnOnce(&Self, A) + 'static,
    {
        Callback::to_function(self.clone(), function)
    }
}

/// Making callbacks to recipients.
impl<T: 'static> Address<T> {
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
    /// let callback = total.callback(|total, cx, read: usize| {
    ///     *total += read;
    ///     cx.hang_up();
    /// });
    /// callback.answer(12);
    /// queue.dial_all();
    /// assert!(total.is_gone());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn callback<A, F>(&self, handler: F) -> Callback<A>
    where
        A: 'static,
        F: FnOnce(&mut T, &Context<'_, T>, A) + 'static,
    {
        Callback::to_recipient(self.clone(), handler)
    }
}

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
    /// `None` once the callback is used up.
    queue: Option<QueueHandle>,
    key: Key,
    /// Knows the type of the body that waits.
    answer: Answering<A>,
}

/// What answers a callback on behalf of code at a site.
type Answering<A> = fn(Callback<A>, A, &'static Location<'static>);

const USED_UP: &str = "a callback that is used up is in nobody's hands";

impl<A: 'static> Callback<A> {
    #[track_caller]
    pub(crate) fn to_recipient<T, F>(address: Address<T>, handler: F) -> Self
    where
        F: FnOnce(&mut T, &Context<'_, T>, A) + 'static,
    {
        let queue = address.queue().clone();
        let number = address.number();
        let recipient = move || Some(RecipientInfo { number, type_name: type_name::<T>() });
        Self::create(queue, recipient, move |value| {
            let call = AnsweredCall { handler, value, recipient: PhantomData };
            ToRecipient { address, call }
        })
    }

    #[track_caller]
    pub(crate) fn to_function<F>(queue: QueueHandle, function: F) -> Self
    where
        F: FnOnce(&QueueHandle, A) + 'static,
    {
        Self::create(
            queue,
            || None,
            move |value| FunctionCall(move |queue: &QueueHandle| function(queue, value)),
        )
    }

    #[inline(always)]
    #[track_caller]
    fn create<J, B>(
        queue: QueueHandle,
        recipient: impl FnOnce() -> Option<RecipientInfo>,
        join: J,
    ) -> Self
    where
        J: FnOnce(A) -> B + 'static,
        B: Payload<Dialing>,
    {
        let site = Location::caller();
        let key = queue.core().create_callback(Waiting::<J, A>(join, PhantomData), site);
        let attended = queue.core().is_attended();
        let callback = Self { queue: Some(queue), key, answer: Self::answer_waiting::<J, B> };
        if attended { callback.notify_created(recipient(), site) } else { callback }
    }

    /// Tells that the callback exists, now that it has a holder, which ends it if that panics.
    #[cold]
    #[inline(never)]
    fn notify_created(
        self,
        recipient: Option<RecipientInfo>,
        site: &'static Location<'static>,
    ) -> Self {
        self.queue().core().callback_created(self.key, recipient, site);
        self
    }

    /// Answers the callback, for which a `J` waits.
    fn answer_waiting<J, B>(mut self, value: A, site: &'static Location<'static>)
    where
        J: FnOnce(A) -> B + 'static,
        B: Payload<Dialing>,
    {
        let (queue, key) = (self.use_up(), self.key);
        let body = |value| Answered::<J, A> { key, value, join: PhantomData };
        queue.core().answer(key, value, site, body);
    }

    /// The id of the call, before and after it is scheduled.
    pub fn id(&self) -> CallId {
        self.queue().core().id(CallId::callback_key(self.key))
    }

    /// Whether the call was canceled, and will never be dialed.
    pub fn is_canceled(&self) -> bool {
        self.queue().core().is_canceled(self.key)
    }

    /// The queue that will dial the call.
    pub fn queue(&self) -> &QueueHandle {
        self.queue.as_ref().unwrap_or_else(|| unreachable!("{USED_UP}"))
    }

    /// Makes this a callback that is used up, whose drop says nothing.
    #[inline(always)]
    fn use_up(&mut self) -> QueueHandle {
        self.queue.take().unwrap_or_else(|| unreachable!("{USED_UP}"))
    }

    /// Schedules the call, to be dialed with `value`.
    ///
    /// Cannot fail. If the call was canceled, `value` is dropped; if the queue is gone, so was the call.
    ///
    /// Cost: no allocation if the handler's captures and `value` take at most 40 bytes each.
    #[inline]
    #[track_caller]
    pub fn answer(self, value: A) {
        self.answer_from(Location::caller(), value);
    }

    /// As [`answer`](Self::answer), on behalf of code at `site`.
    #[inline]
    pub(crate) fn answer_from(self, site: &'static Location<'static>, value: A) {
        (self.answer)(self, value, site);
    }

    /// Says that the call will never be scheduled, and why: it ends Canceled.
    pub fn decline(mut self, reason: &'static str) {
        self.use_up().core().decline(self.key, reason);
    }
}

impl<A: 'static> Drop for Callback<A> {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.core().abandon(self.key);
        }
    }
}

impl<A: 'static> fmt::Debug for Callback<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({})", self.id())
    }
}

/// An answered callback, as the ring holds it: its name, and the value that `J` waits for.
struct Answered<J, A> {
    key: Key,
    value: A,
    join: PhantomData<J>,
}

impl<J, A, B> Payload<Dialing> for Answered<J, A>
where
    J: FnOnce(A) -> B + 'static,
    A: 'static,
    B: Payload<Dialing>,
{
    #[inline(always)]
    fn dial(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>) {
        if let Some(Waiting(join, _)) = attempt.at_callback::<Waiting<J, A>>(self.key) {
            join(self.value).dial(attempt, site);
        }
    }
}

/// A callback that waits for its value: what makes the call of it, given the value.
struct Waiting<J, A>(J, PhantomData<fn(A)>);

impl<J: 'static, A: 'static> Payload<Dialing> for Waiting<J, A> {
    /// Never comes to pass: only answered callbacks are in the ring.
    #[cold]
    fn dial(self, attempt: &mut Attempt<'_>, site: &'static Location<'static>) {
        attempt.refuse(Refusal::Check("the callback is not answered"), site);
    }
}

/// The call type of an answered callback to a recipient.
struct AnsweredCall<T, F, A> {
    handler: F,
    value: A,
    recipient: PhantomData<fn(&mut T)>,
}

impl<T, F, A> Call for AnsweredCall<T, F, A>
where
    T: 'static,
    F: FnOnce(&mut T, &Context<'_, T>, A) + 'static,
    A: 'static,
{
    type Recipient = T;

    #[inline(always)]
    fn dial(self, recipient: &mut T, cx: &Context<'_, T>) {
        (self.handler)(recipient, cx, self.value);
    }
}
