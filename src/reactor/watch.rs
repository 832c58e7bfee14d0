//! The reactor's side of a registration: its handler's recipient, and the one readiness call that may
//! be pending.
//!
//! - I1 `reported` is empty exactly if there is nothing to report: no readiness call is pending, and
//!   the registration is not in line for one.
//! - I2 A readiness call that is canceled by its id puts its registration in line again. Only the end
//!   of the registration, of the recipient or of the queue loses readiness.
//! - I3 A key in line may be there for nothing, or twice: what it had to report was narrowed out or went
//!   to another recipient meanwhile. So who takes it from the line asks
//!   [`is_in_line`](AnyWatch::is_in_line).
//! - I4 A watch that is not registered any more reports nothing: it schedules no call, and its handler
//!   is not called.

use alloc::rc::Rc;
use core::cell::Cell;
use core::panic::Location;
use mio::Interest;

use crate::arena::ArenaKey;
use crate::origin::SetUp;
use crate::queue::QueueHandle;
use crate::queue::state::Core;
use crate::reactor::key_queue::KeyQueue;
use crate::reactor::limits::Limits;
use crate::reactor::readiness::{Flags, Readiness, ReadySource};
use crate::reactor::source_state::{NO_CALL, SourceState};
use crate::recipient::{Address, Context};
use crate::step::RecipientInfo;

/// A [`Watch`] whose types are of no interest.
pub(super) trait AnyWatch {
    /// Notes an event; true if that puts the registration in line, false if it was there already (rule
    /// M3).
    fn note(&self, flags: Flags) -> bool;

    /// As [`note`](Self::note), and schedules the readiness call rather than have the registration wait in
    /// line. `core` is that of the line's queue.
    fn note_and_schedule(self: Rc<Self>, flags: Flags, core: &Core) -> bool;

    /// Whether there is something to report, and no call for it.
    fn is_in_line(&self) -> bool;

    /// Schedules the readiness call. `core` is that of the line's queue.
    fn schedule(self: Rc<Self>, core: &Core);

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
    pub(super) ready: KeyQueue,
    /// Registrations whose handler may have left readiness, each once.
    pub(super) suspects: KeyQueue,
}

impl Line {
    pub(super) const fn new(queue: QueueHandle) -> Self {
        Self { queue, limits: Limits::new(), ready: KeyQueue::new(), suspects: KeyQueue::new() }
    }
}

/// Whose handler is called of a source's readiness.
pub(super) trait Destination: Sized + 'static {
    /// Schedules the readiness call of `watch`. `core` is that of the line's queue.
    fn schedule(watch: Rc<Watch<Self>>, core: &Core);

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
    fn schedule(watch: Rc<Watch<Self>>, core: &Core) {
        let (site, recipient) = (watch.site, watch.to.recipient.clone());
        let call = ReadinessCall { watch: Some(watch) };
        recipient.into_promised_call(core, site, move |recipient: &mut T, cx: &Context<'_, T>| {
            call.dial(|to, ready| (to.handler)(recipient, cx, ready));
        });
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
    pub(super) handler: H,
}

impl<H> Destination for FunctionHandler<H>
where
    H: Fn(&QueueHandle, &Readiness<'_>) + 'static,
{
    #[inline(always)]
    fn schedule(watch: Rc<Watch<Self>>, core: &Core) {
        let site = watch.site;
        let call = ReadinessCall { watch: Some(watch) };
        core.promised_call(site, move |queue: &QueueHandle| {
            call.dial(|to, ready| (to.handler)(queue, ready));
        });
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn recipient(&self) -> Option<RecipientInfo> {
        None
    }
}

/// The destination of a source's readiness, and the flags to report.
pub(super) struct Watch<D> {
    line: Rc<Line>,
    key: ArenaKey,
    /// Where the source was registered: the schedule site of its readiness calls.
    site: &'static Location<'static>,
    to: D,
    state: SourceState,
    /// The position of the readiness call that was scheduled last, unless it is live or over; else
    /// [`NO_CALL`].
    call: Cell<u64>,
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
        let (line, call, registered) = (Rc::clone(line), Cell::new(NO_CALL), Cell::new(true));
        Rc::new(Self { line, key, site, to, state, call, registered, set_up })
    }

    /// Adds to the flags to report; true if that was nothing.
    #[inline(always)]
    fn report(&self, flags: Flags) -> bool {
        let before = self.state.reported.get();
        self.state.reported.set(before.merge(flags));
        before == Flags::NONE
    }

    /// Cancels the readiness call.
    fn cancel(&self, reason: &'static str) {
        let call = self.call.replace(NO_CALL);
        if call != NO_CALL {
            // It may be over: refused, as the recipient is gone, or canceled by its id.
            let core = self.line.queue.core();
            let _ = core.cancel_if_not_late(core.id(call), reason);
        }
    }

    /// The readiness call was dropped without a dial: if its readiness is not to be lost, the registration
    /// is in line again (I2).
    #[cold]
    #[inline(never)]
    fn put_in_line(&self) {
        let Self { line, key, to, state, call, registered, .. } = self;
        let is_over = !registered.get() || to.is_gone();
        if !is_over && state.reported.get() != Flags::NONE && !line.queue.is_closed() {
            call.set(NO_CALL);
            line.ready.push(*key);
        }
    }

    /// The handler of `call` has returned, and may have left readiness.
    #[cold]
    fn suspect(&self, call: u64) {
        let may_report = self.registered.get() && call != NO_CALL;
        let is_reported = self.state.reported.get() != Flags::NONE;
        if may_report && !is_reported && self.state.drain.leaves(self.state.ready.get()) {
            self.state.drain.suspect.set(call);
            if !self.state.drain.is_listed.replace(true) {
                self.line.suspects.push(self.key);
            }
        }
    }
}

impl<D: Destination> AnyWatch for Watch<D> {
    #[inline]
    fn note(&self, flags: Flags) -> bool {
        self.state.ready.set(self.state.ready.get().merge(flags));
        self.report(flags)
    }

    fn note_and_schedule(self: Rc<Self>, flags: Flags, core: &Core) -> bool {
        let is_first = self.note(flags);
        if is_first {
            self.schedule(core);
        }
        is_first
    }

    fn is_in_line(&self) -> bool {
        self.state.reported.get() != Flags::NONE && self.call.get() == NO_CALL
    }

    #[inline]
    fn schedule(self: Rc<Self>, core: &Core) {
        // The position is kept before the call is scheduled: an observer that is notified of it may end
        // the registration or panic.
        self.call.set(core.next_position());
        let _origin = self.set_up.replay(core.is_observed());
        D::schedule(self, core);
    }

    fn again(self: Rc<Self>, flags: Flags) {
        let flags = flags.within(self.state.interest.get());
        if self.registered.get() && flags != Flags::NONE && self.report(flags) {
            let line = Rc::clone(&self.line);
            line.limits.note_again(&line.queue);
            self.schedule(line.queue.core());
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
    /// `None` once it is dialed.
    watch: Option<Rc<Watch<D>>>,
}

impl<D: Destination> ReadinessCall<D> {
    #[inline(always)]
    fn dial(mut self, run: impl FnOnce(&D, &Readiness<'_>)) {
        let Some(watch) = self.watch.take() else { return };
        let call = watch.call.replace(NO_CALL);
        let flags = watch.state.reported.replace(Flags::NONE);
        if watch.registered.get() {
            watch.state.drain.begin();
            run(&watch.to, &Readiness { flags, source: &watch });
            if watch.state.drain.unfinished.get() != Flags::NONE {
                watch.suspect(call);
            }
        }
    }
}

impl<D: Destination> Drop for ReadinessCall<D> {
    /// Keeps I2.
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.put_in_line();
        }
    }
}
