//! Callbacks: calls that are created by one party and scheduled by another (rules R5 to R7).
//!
//! A call that waits for its value lies in a cell of the queue's
//! [`Storage`](crate::erased::cells::Storage), which a [`Callback`] in its caller's hands refers to.
//! Answering puts the call in the queue's order.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::convert::Infallible;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop};
use core::panic::{Location, RefUnwindSafe, UnwindSafe};

use crate::erased::cells::{Group, Join, Waiting};
use crate::erased::{Erased, Key, Payload, Site};
use crate::id::CallId;
use crate::queue::QueueHandle;
use crate::queue::attempt::Attempt;
use crate::queue::function_call::FunctionCall;
use crate::queue::state::{Core, Dialing, QueueState};
use crate::recipient::{Address, Call, Context, ToRecipient};
use crate::step::RecipientInfo;
use crate::unwind::in_drop;

/// Making callbacks to functions.
impl QueueHandle {
    /// Creates a function call that its caller schedules later, and returns it as a callback. See
    /// [`Address::callback`].
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// // A callback for code that knows no recipient of ours: a C library, say.
    /// let on_done = queue.callback(|queue, status: i32| {
    ///     assert_eq!(status, 0);
    ///     queue.call(|_| println!("next step"));
    /// });
    /// on_done.answer(0);
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    #[track_caller]
    pub fn callback<A, F>(&self, function: F) -> Callback<A>
    where
        A: 'static,
        F: FnOnce(&Self, A) + 'static,
    {
        Callback::to_function(self, function)
    }
}

/// Making callbacks to recipients.
impl<T: 'static> Address<T> {
    /// Creates a call to the recipient that its caller schedules later, with a value of type `A`, and
    /// returns it as a callback.
    ///
    /// Keep its [`id`](Callback::id), to cancel it when it is no longer wanted (rule R6). If the queue
    /// is gone, the call ends Canceled at once. If the recipient is gone, the captures of `handler` are
    /// dropped at once, and the callback is not wanted (rule R9).
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
        Callback::to_recipient(self, handler)
    }
}

/// A call to be scheduled by its future caller, with a value of type `A`.
///
/// Made by the recipient, with [`Address::callback`] or [`QueueHandle::callback`], and used up by its
/// caller: [`answer`](Self::answer) schedules the call, [`decline`](Self::decline) ends it. A callback
/// must be answered or declined. To drop it is a bug (rule R5): the call ends Abandoned, which is
/// counted, observed and, with feature `tracing`, logged as a warning.
///
/// The caller need not know whether the call is still wanted: a canceled callback can be answered,
/// declined or dropped freely.
#[doc(alias("AsyncCall", "promise", "completion handler", "oneshot"))]
#[must_use = "a callback must be answered or declined"]
pub struct Callback<A: 'static> {
    holder: Holder<A>,
}

enum Holder<A: 'static> {
    Waiting(Waiting<Dialing, QueueState, A>),
    /// Made by [`Callback::map`]; `None` once the callback is answered or declined. (Of one word, so that
    /// a holder takes two.)
    Mapped(Option<Box<Box<dyn Mapped<A>>>>),
}

impl<A: 'static> Callback<A> {
    #[inline(always)]
    #[track_caller]
    fn to_recipient<T, F>(address: &Address<T>, handler: F) -> Self
    where
        T: 'static,
        F: FnOnce(&mut T, &Context<'_, T>, A) + 'static,
    {
        let site = Location::caller();
        let core = address.queue().shared_core();
        let state = core.rest();
        let join = ToHandler { address: address.clone(), handler, value: PhantomData };
        let mut waiting = core.create(Some(address.callbacks()), join, site);
        state.tally.callbacks.add();
        if state.is_attended() || address.is_gone() {
            let gone = address.is_gone().then(|| address.callbacks());
            waiting = Self::notify_created(waiting, Some(address.info()), gone, site);
        }
        Self { holder: Holder::Waiting(waiting) }
    }

    #[inline(always)]
    #[track_caller]
    fn to_function<F>(queue: &QueueHandle, function: F) -> Self
    where
        F: FnOnce(&QueueHandle, A) + 'static,
    {
        let site = Location::caller();
        let core = queue.shared_core();
        let state = core.rest();
        let mut waiting = core.create(None, ToFunction { function, value: PhantomData }, site);
        state.tally.callbacks.add();
        if state.is_attended() {
            waiting = Self::notify_created(waiting, None, None, site);
        }
        Self { holder: Holder::Waiting(waiting) }
    }

    /// Notifies the observers that the callback exists. If one of them panics, it is abandoned. In a
    /// queue that is closed it is canceled. If its recipient is `gone`, whose callbacks these are, what it
    /// captured drops.
    #[cold]
    #[inline(never)]
    fn notify_created(
        waiting: Waiting<Dialing, QueueState, A>,
        recipient: Option<RecipientInfo>,
        gone: Option<&Group>,
        site: Site,
    ) -> Waiting<Dialing, QueueState, A> {
        let callback = Self { holder: Holder::Waiting(waiting) };
        let Holder::Waiting(waiting) = &callback.holder else { unreachable!("just made") };
        waiting.storage().callback_created(waiting.key(), recipient, site);
        if let Some(callbacks) = gone {
            waiting.storage().release_callbacks(callbacks);
        }
        match callback.into_holder() {
            Holder::Waiting(waiting) => waiting,
            _ => unreachable!("just made"),
        }
    }

    /// Returns the id of the call, which stays the same once it is scheduled.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Callback, CallId, CallQueue, Cancellation};
    ///
    /// struct Client { waits_for: Option<CallId> }
    ///
    /// let queue = CallQueue::new();
    /// let client = queue.recipient(Client { waits_for: None });
    /// let on_reply = client.callback(|client: &mut Client, _, _reply: String| client.waits_for = None);
    /// let id = on_reply.id();
    /// client.call(move |client, _| client.waits_for = Some(id));
    ///
    /// // The client no longer wants the reply. The caller may still answer: that is a no-op.
    /// assert_eq!(queue.cancel(id, "client disconnected"), Cancellation::Canceled);
    /// on_reply.answer("too late".into());
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn id(&self) -> CallId {
        match &self.holder {
            Holder::Waiting(waiting) => waiting.storage().id(CallId::callback_key(waiting.key())),
            Holder::Mapped(Some(mapped)) => mapped.id(),
            Holder::Mapped(None) => unreachable!("{USED_UP}"),
        }
    }

    /// Returns true if the call is still wanted: it was not canceled, and its recipient is not gone.
    ///
    /// A caller asks this to save itself work. It may answer in any case.
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let client = queue.recipient(());
    /// let callback = client.callback(|_, _, ()| ());
    /// assert!(callback.is_wanted());
    /// client.hang_up();
    /// assert!(!callback.is_wanted());
    /// callback.decline("not wanted");
    /// ```
    pub fn is_wanted(&self) -> bool {
        match &self.holder {
            Holder::Waiting(waiting) => waiting.is_wanted(),
            Holder::Mapped(Some(mapped)) => mapped.is_wanted(),
            Holder::Mapped(None) => unreachable!("{USED_UP}"),
        }
    }

    /// What the queue holds.
    #[inline(always)]
    pub(crate) fn core(&self) -> &Rc<Core> {
        match &self.holder {
            Holder::Waiting(waiting) => waiting.storage(),
            Holder::Mapped(Some(mapped)) => mapped.core(),
            Holder::Mapped(None) => unreachable!("{USED_UP}"),
        }
    }

    /// Returns a handle to the queue that dials the call.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Callback};
    ///
    /// /// Answers later, after all calls that are pending now.
    /// fn answer_later(callback: Callback<u32>) {
    ///     callback.queue().call(move |_| callback.answer(7));
    /// }
    ///
    /// let queue = CallQueue::new();
    /// answer_later(queue.callback(|_, value| assert_eq!(value, 7)));
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    pub fn queue(&self) -> QueueHandle {
        QueueHandle::of(self.core())
    }

    /// Schedules the call, to be dialed with `value`.
    ///
    /// This cannot fail. If the call was canceled, or the queue is gone, `value` is dropped.
    ///
    /// Cost: no allocation if the handler's captures and `value` take at most 40 bytes each.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Callback};
    ///
    /// fn read_config(done: Callback<Result<String, String>>) {
    ///     done.answer(Ok("port = 80".into())); // schedules the call; the handler does not run yet
    /// }
    ///
    /// let queue = CallQueue::new();
    /// let config = queue.recipient(String::new());
    /// let done = config.callback(|config, _, read: Result<String, String>| {
    ///     *config = read.unwrap_or_else(|error| format!("port = 8080 # {error}"));
    /// });
    /// read_config(done);
    /// config.call(|config, _| assert_eq!(config, "port = 80"));
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    #[inline]
    #[track_caller]
    pub fn answer(self, value: A) {
        self.answer_from(Location::caller(), value);
    }

    /// As [`answer`](Self::answer), on behalf of code at `site`.
    #[inline]
    pub(crate) fn answer_from(self, site: Site, value: A) {
        match self.into_holder() {
            Holder::Waiting(waiting) => Core::answer(waiting, value, site),
            Holder::Mapped(Some(mapped)) => mapped.answer(value, site),
            Holder::Mapped(None) => unreachable!("{USED_UP}"),
        }
    }

    /// Ends the call as Canceled, with `reason`: it will never be scheduled.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, Callback};
    ///
    /// /// Starts a lookup, unless `host` is empty: then the callback is never called.
    /// fn look_up(host: &str, found: Callback<String>) -> Result<(), &'static str> {
    ///     if host.is_empty() {
    ///         found.decline("no host given");
    ///         return Err("no host given");
    ///     }
    ///     found.answer(format!("{host}: 127.0.0.1"));
    ///     Ok(())
    /// }
    ///
    /// let queue = CallQueue::new();
    /// assert!(look_up("", queue.callback(|_, _: String| ())).is_err());
    /// assert_eq!((queue.tally().canceled, queue.tally().abandoned), (1, 0));
    /// ```
    pub fn decline(self, reason: &'static str) {
        match self.into_holder() {
            Holder::Waiting(waiting) => Core::decline(waiting, reason),
            Holder::Mapped(Some(mapped)) => mapped.decline(reason),
            Holder::Mapped(None) => unreachable!("{USED_UP}"),
        }
    }

    /// Returns a callback that accepts a value of another type, which `convert` turns into a value of
    /// this one's.
    ///
    /// It is the same call, with the same id, so to cancel, decline or abandon it ends this one.
    /// `convert` runs in the caller, when it answers.
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::new();
    /// let total = queue.recipient(0);
    /// let add = total.callback(|total, _, amount: u32| *total += amount);
    /// let add_text = add.map(|text: &str| text.parse().unwrap_or(0));
    /// add_text.answer("5");
    /// total.call(|total, _| assert_eq!(*total, 5));
    /// assert_eq!(queue.dial_all().dialed, 2);
    /// ```
    ///
    /// Cost: two allocations.
    pub fn map<B: 'static>(self, convert: impl FnOnce(B) -> A + 'static) -> Callback<B> {
        Callback {
            holder: Holder::Mapped(Some(Box::new(Box::new(Converting {
                callback: self,
                convert,
            })))),
        }
    }

    /// Takes the holder out, so that nothing is left to be dropped.
    #[inline(always)]
    fn into_holder(self) -> Holder<A> {
        mem::replace(&mut ManuallyDrop::new(self).holder, Holder::Mapped(None))
    }
}

const USED_UP: &str = "a callback that is used up has no holder";

impl<A: 'static> Drop for Callback<A> {
    fn drop(&mut self) {
        // What is mapped is abandoned by itself.
        if let Holder::Waiting(waiting) = mem::replace(&mut self.holder, Holder::Mapped(None)) {
            in_drop(|| Core::abandon(waiting));
        }
    }
}

impl<A: 'static> fmt::Debug for Callback<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callback({})", self.id())
    }
}

/// A panic leaves the queue as rule R10 demands, and the callback as it was.
impl<A: 'static> UnwindSafe for Callback<A> {}
impl<A: 'static> RefUnwindSafe for Callback<A> {}

/// A [`Callback`] behind a conversion of its value.
trait Mapped<B> {
    fn answer(self: Box<Self>, value: B, site: Site);
    fn decline(self: Box<Self>, reason: &'static str);
    fn id(&self) -> CallId;
    fn is_wanted(&self) -> bool;
    fn core(&self) -> &Rc<Core>;
}

struct Converting<A: 'static, F> {
    callback: Callback<A>,
    convert: F,
}

impl<A: 'static, B, F: FnOnce(B) -> A> Mapped<B> for Converting<A, F> {
    fn answer(self: Box<Self>, value: B, site: Site) {
        let Self { callback, convert } = *self;
        callback.answer_from(site, convert(value));
    }

    fn decline(self: Box<Self>, reason: &'static str) {
        self.callback.decline(reason);
    }

    fn id(&self) -> CallId {
        self.callback.id()
    }

    fn is_wanted(&self) -> bool {
        self.callback.is_wanted()
    }

    fn core(&self) -> &Rc<Core> {
        self.callback.core()
    }
}

/// A callback to a recipient, as it waits for its value.
struct ToHandler<T: 'static, F, A> {
    address: Address<T>,
    handler: F,
    value: PhantomData<fn(A)>,
}

impl<T, F, A> Join<Dialing, A> for ToHandler<T, F, A>
where
    T: 'static,
    F: FnOnce(&mut T, &Context<'_, T>, A) + 'static,
    A: 'static,
{
    /// The address of the recipient that is live.
    type Busy = Address<T>;

    #[inline(always)]
    fn busy(&self) -> Option<Address<T>> {
        self.address.is_blocked().then(|| self.address.clone())
    }

    fn defer(live: Address<T>, key: Key, call: Erased<Dialing>, attempt: &mut Attempt<'_>) {
        live.defer(attempt, call, CallId::callback_key(key));
    }

    #[inline(always)]
    fn dial(self, value: A, key: Key, attempt: &mut Attempt<'_>, site: Site) {
        attempt.begin_callback(key);
        let Self { address, handler, .. } = self;
        let call = AnsweredCall { handler, value, recipient: PhantomData };
        ToRecipient::<_, true> { address, call }.dial(attempt, site);
    }

    fn recipient(&self) -> u64 {
        self.address.number()
    }
}

/// A callback to a function, as it waits for its value.
struct ToFunction<F, A> {
    function: F,
    value: PhantomData<fn(A)>,
}

impl<F, A> Join<Dialing, A> for ToFunction<F, A>
where
    F: FnOnce(&QueueHandle, A) + 'static,
    A: 'static,
{
    type Busy = Infallible;

    #[inline(always)]
    fn busy(&self) -> Option<Infallible> {
        None
    }

    fn defer(busy: Infallible, _: Key, _: Erased<Dialing>, _: &mut Attempt<'_>) {
        match busy {}
    }

    #[inline(always)]
    fn dial(self, value: A, key: Key, attempt: &mut Attempt<'_>, site: Site) {
        attempt.begin_callback(key);
        let function = self.function;
        FunctionCall(move |queue: &QueueHandle| function(queue, value)).dial(attempt, site);
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
