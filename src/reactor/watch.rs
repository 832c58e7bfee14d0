//! The reactor's side of a registration: whom its handler is of, and the one readiness call that it may
//! have pending.
//!
//! - I1 `reported` is empty exactly if nothing is to be reported: no readiness call is pending, and the
//!   registration is not in line for one.
//! - I2 A readiness call that is canceled by its id puts its registration in line again. Only the end
//!   of the registration, of the recipient or of the queue loses readiness.
//! - I3 A key in line may be there for nothing, or twice: what it had to report was narrowed out or went
//!   to another recipient meanwhile. So who takes it from the line asks
//!   [`is_in_line`](AnyWatch::is_in_line).
//! - I4 A watch that is not registered any more reports nothing: it schedules no call, and its handler
//!   is not called.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::panic::Location;
use mio::Interest;

use crate::arena::ArenaKey;
use crate::id::CallId;
use crate::origin::SetUp;
use crate::outside::CallOrigin;
use crate::queue::QueueHandle;
use crate::queue::state::Core;
use crate::reactor::limits::Limits;
use crate::reactor::readiness::{Flags, Readiness, ReadySource};
use crate::reactor::source_state::SourceState;
use crate::recipient::{Address, Context};
use crate::step::RecipientInfo;

/// A [`Watch`] whose types are of no interest.
pub(super) trait AnyWatch {
    /// Notes an event; true if that puts the registration in line, false if it was there already (rule
    /// M3).
    fn note(&self, flags: Flags) -> bool;

    /// Whether there is something to report, and no call for it.
    fn is_in_line(&self) -> bool;

    /// Schedules the readiness call.
    fn schedule(self: Rc<Self>);

    /// Schedules a readiness call that reports `flags`, unless one is pending.
    fn again(self: Rc<Self>, flags: Flags);

    /// Narrows what is pending to what is still of interest.
    fn set_interest(&self, interest: Interest);

    fn source_state(&self) -> &SourceState;

    /// Whose handler it is; none for a function.
    fn recipient(&self) -> Option<RecipientInfo>;

    /// Where the source was registered.
    fn site(&self) -> &'static Location<'static>;

    /// Ends the watch, which is out of the reactor's slots already.
    fn end(&self, reason: &'static str);
}

/// What the watches of a reactor share: whose turn it is.
pub(super) struct Line {
    pub(super) queue: QueueHandle,
    pub(super) limits: Limits,
    /// Registrations with something to report whose call is not scheduled yet.
    pub(super) ready: RefCell<VecDeque<ArenaKey>>,
    /// Registrations whose handler may have left readiness, each once.
    pub(super) suspects: RefCell<VecDeque<ArenaKey>>,
}

impl Line {
    pub(super) const fn new(queue: QueueHandle) -> Self {
        Self {
            queue,
            limits: Limits::new(),
            ready: RefCell::new(VecDeque::new()),
            suspects: RefCell::new(VecDeque::new()),
        }
    }
}

/// Whose handler is called of a source's readiness.
pub(super) trait Destination: Sized + 'static {
    /// Schedules a readiness call.
    fn schedule(
        &self,
        site: &'static Location<'static>,
        delivery: ReadinessCall<Self>,
        if_observed: impl FnOnce(&Core, CallId),
    );

    fn is_gone(&self) -> bool;

    fn recipient(&self) -> Option<RecipientInfo>;
}

/// A handler of a recipient.
pub(super) struct RecipientHandler<T: 'static, H> {
    pub(super) recipient: Address<T>,
    pub(super) handler: H,
}

impl<T, H> Destination for RecipientHandler<T, H>
where
    H: Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static,
{
    #[inline(always)]
    fn schedule(
        &self,
        site: &'static Location<'static>,
        delivery: ReadinessCall<Self>,
        if_observed: impl FnOnce(&Core, CallId),
    ) {
        let handler = move |recipient: &mut T, cx: &Context<'_, T>| {
            delivery.dial(|to, ready| (to.handler)(recipient, cx, ready));
        };
        self.recipient.promised_call(site, handler, if_observed);
    }

    fn is_gone(&self) -> bool {
        self.recipient.is_gone()
    }

    fn recipient(&self) -> Option<RecipientInfo> {
        Some(self.recipient.info())
    }
}

/// A function.
pub(super) struct FunctionHandler<H> {
    pub(super) queue: QueueHandle,
    pub(super) handler: H,
}

impl<H> Destination for FunctionHandler<H>
where
    H: Fn(&QueueHandle, &Readiness<'_>) + 'static,
{
    #[inline(always)]
    fn schedule(
        &self,
        site: &'static Location<'static>,
        delivery: ReadinessCall<Self>,
        if_observed: impl FnOnce(&Core, CallId),
    ) {
        let function = move |queue: &QueueHandle| {
            delivery.dial(|to, ready| (to.handler)(queue, ready));
        };
        self.queue.promised_call(site, function, if_observed);
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn recipient(&self) -> Option<RecipientInfo> {
        None
    }
}

/// Who is called of a source's readiness, and what there is to report.
pub(super) struct Watch<D> {
    line: Rc<Line>,
    key: ArenaKey,
    /// Where the source was registered: the schedule site of its readiness calls.
    site: &'static Location<'static>,
    to: D,
    state: SourceState,
    /// The readiness call that was scheduled last, unless it is live or over.
    call: Cell<Option<CallId>>,
    registered: Cell<bool>,
    set_up: SetUp,
}

impl<D: Destination> Watch<D> {
    #[inline(always)]
    pub(super) fn new(
        line: &Rc<Line>,
        key: ArenaKey,
        site: &'static Location<'static>,
        set_up: SetUp,
        to: D,
        state: SourceState,
    ) -> Rc<Self> {
        let (line, call, registered) = (Rc::clone(line), Cell::new(None), Cell::new(true));
        Rc::new(Self { line, key, site, to, state, call, registered, set_up })
    }

    /// Adds to what is to be reported; true if that was nothing.
    #[inline(always)]
    fn report(&self, flags: Flags) -> bool {
        let before = self.state.reported.get();
        self.state.reported.set(before.merge(flags));
        before == Flags::NONE
    }

    fn origin(&self) -> CallOrigin {
        let ArenaKey { slot, generation } = self.key;
        CallOrigin::Source { slot, generation }
    }

    /// Cancels the readiness call.
    fn cancel(&self, reason: &'static str) {
        if let Some(call) = self.call.take() {
            // It may be over: refused, as the recipient is gone, or canceled by its id.
            let core = self.line.queue.core();
            let _ = core.cancel_if_not_late(call, reason);
        }
    }

    /// The handler of `call` has returned, and may have left readiness.
    #[cold]
    fn suspect(&self, call: CallId) {
        let is_reported = self.state.reported.get() != Flags::NONE;
        if self.registered.get() && !is_reported && self.state.drain.leaves(self.state.ready.get())
        {
            self.state.drain.suspect.set(Some(call));
            if !self.state.drain.is_listed.replace(true) {
                self.line.suspects.borrow_mut().push_back(self.key);
            }
        }
    }
}

impl<D: Destination> AnyWatch for Watch<D> {
    fn note(&self, flags: Flags) -> bool {
        self.state.ready.set(self.state.ready.get().merge(flags));
        self.report(flags)
    }

    fn is_in_line(&self) -> bool {
        self.state.reported.get() != Flags::NONE && self.call.get().is_none()
    }

    fn schedule(self: Rc<Self>) {
        // The id is kept before the call is scheduled: an observer that is notified of it may end the
        // registration or panic.
        self.call.set(Some(self.line.queue.core().next_id()));
        let delivery = ReadinessCall { watch: Rc::clone(&self), dialed: false };
        let is_observed = self.line.queue.core().is_observed();
        self.set_up.replay(is_observed, || {
            let if_observed = |core: &Core, call| core.notify_of_origin(call, &self.origin());
            self.to.schedule(self.site, delivery, if_observed);
        });
    }

    fn again(self: Rc<Self>, flags: Flags) {
        let flags = flags.within(self.state.interest.get());
        if self.registered.get() && flags != Flags::NONE && self.report(flags) {
            self.line.limits.note_again(&self.line.queue);
            self.schedule();
        }
    }

    fn set_interest(&self, interest: Interest) {
        let SourceState { interest: now, ready, reported, .. } = &self.state;
        now.set(interest);
        ready.set(ready.get().within(interest));
        reported.set(reported.get().within(interest));
        if reported.get() == Flags::NONE {
            self.cancel("interest narrowed");
        }
    }

    fn source_state(&self) -> &SourceState {
        &self.state
    }

    fn recipient(&self) -> Option<RecipientInfo> {
        self.to.recipient()
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }

    fn end(&self, reason: &'static str) {
        self.registered.set(false);
        self.cancel(reason);
    }
}

impl<D: Destination> ReadySource for Rc<Watch<D>> {
    fn again(&self, flags: Flags) {
        AnyWatch::again(Self::clone(self), flags);
    }

    fn keep(&self) {
        self.state.drain.keep();
    }
}

/// What a readiness call captures.
pub(super) struct ReadinessCall<D: Destination> {
    watch: Rc<Watch<D>>,
    dialed: bool,
}

impl<D: Destination> ReadinessCall<D> {
    #[inline(always)]
    fn dial(mut self, run: impl FnOnce(&D, &Readiness<'_>)) {
        self.dialed = true;
        let watch = &self.watch;
        let call = watch.call.take();
        let flags = watch.state.reported.replace(Flags::NONE);
        if watch.registered.get() {
            watch.state.drain.begin();
            run(&watch.to, &Readiness { flags, source: watch });
            if watch.state.drain.unfinished.get() != Flags::NONE
                && let Some(call) = call
            {
                watch.suspect(call);
            }
        }
    }
}

impl<D: Destination> Drop for ReadinessCall<D> {
    /// Keeps I2.
    fn drop(&mut self) {
        let Watch { line, key, to, state, call, registered, .. } = &*self.watch;
        let is_over = self.dialed || !registered.get() || to.is_gone();
        if !is_over && state.reported.get() != Flags::NONE && !line.queue.is_closed() {
            call.set(None);
            line.ready.borrow_mut().push_back(*key);
        }
    }
}
