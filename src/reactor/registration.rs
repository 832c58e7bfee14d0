//! Registered sources, and the one readiness call that each may have pending.
//!
//! - I1 `flags` is empty exactly if nothing is to be reported: no readiness call is pending, and the
//!   registration is not in line for one.
//! - I2 A readiness call that is canceled by its id puts its registration in line again. Only the end
//!   of the registration, of the recipient or of the queue loses readiness.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::panic::Location;
use core::sync::atomic::{AtomicU32, Ordering};
use std::io;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::arena::ArenaKey;
use crate::id::CallId;
use crate::reactor::ReactorHandle;
use crate::reactor::error::{DeregisterError, RegisterError};
use crate::reactor::readiness::{Flags, Readiness};
use crate::recipient::{Address, Context};

const HELD: &str = "the source is taken only by into_source, which uses the registration up";

/// A source of events, owned, and registered for as long as this lives (rule M4).
///
/// Dropping it deregisters the source and cancels its readiness call, if one is pending: the
/// handler does not run any more.
#[doc(alias("watcher", "uv_poll_t", "AsyncFd"))]
#[must_use = "dropping a registration deregisters its source"]
pub struct Registration<S: Source> {
    /// `None` only once it is taken back.
    source: Option<S>,
    key: ArenaKey,
    reactor: ReactorHandle,
}

impl<S: Source> Registration<S> {
    #[track_caller]
    pub(super) fn new<T, H>(
        reactor: &ReactorHandle,
        source: S,
        interest: Interest,
        recipient: &Address<T>,
        handler: H,
    ) -> Result<Self, RegisterError<S>>
    where
        H: Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static,
    {
        let shared = reactor.shared();
        if shared.queue.is_closed() {
            return Err(RegisterError::ReactorDropped(source));
        }
        if *recipient.queue() != shared.queue {
            return Err(RegisterError::ForeignRecipient(source));
        }
        let site = Location::caller();
        let mut watches = shared.watches.borrow_mut();
        let (key, watch) = watches.occupy(shared.least_generation());
        *watch = Some(Rc::new(Watch {
            reactor: reactor.clone(),
            key,
            site,
            recipient: recipient.clone(),
            handler,
            flags: Cell::new(Flags::NONE),
            call: Cell::new(None),
            registered: Cell::new(true),
        }));
        drop(watches);
        // From here on, dropping this ends the registration, also if the source panics.
        let mut registration = Self { source: Some(source), key, reactor: reactor.clone() };
        match registration
            .with_source(|source, registry| registry.register(source, token(key), interest))
        {
            Ok(()) => Ok(registration),
            Err(error) => {
                let mut rejected = registration.take_source();
                if error.kind() != io::ErrorKind::AlreadyExists {
                    // In debug, mio remembers the attempt, and would take it for a registration.
                    let _ = shared.registry.deregister(&mut rejected);
                }
                Err(RegisterError::Poll { source: error, rejected })
            }
        }
    }

    /// Changes what the source is watched for.
    ///
    /// # Errors
    ///
    /// Passes on the poll's error; the interest is then as before.
    pub fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        let token = token(self.key);
        self.with_source(|source, registry| registry.reregister(source, token, interest))
    }

    /// Takes the source back, deregistered.
    ///
    /// # Errors
    ///
    /// Hands the source back if the poll does not let it go.
    pub fn into_source(mut self) -> Result<S, DeregisterError<S>> {
        let mut source = self.take_source();
        match self.reactor.shared().registry.deregister(&mut source) {
            Ok(()) => Ok(source),
            // The poll has let go of it by itself, as mio's `poll` does when the peer hangs up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(source),
            Err(error) => Err(DeregisterError { source: error, rejected: source }),
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        self.source.as_ref().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    /// The source, to read or write. If another one is put in its place, the poll knows nothing of that.
    pub fn source_mut(&mut self) -> &mut S {
        self.source.as_mut().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    fn take_source(&mut self) -> S {
        self.source.take().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    fn with_source<R>(&mut self, access: impl FnOnce(&mut S, &Registry) -> R) -> R {
        let reactor = self.reactor.clone();
        access(self.source_mut(), &reactor.shared().registry)
    }
}

impl<S: Source> Drop for Registration<S> {
    fn drop(&mut self) {
        /// Lets the source go.
        struct Deregister<'a, S: Source>(&'a mut Option<S>, &'a Registry);

        impl<S: Source> Drop for Deregister<'_, S> {
            fn drop(&mut self) {
                if let Some(source) = self.0 {
                    // A source that fails here is closed already, which deregisters it too.
                    let _ = self.1.deregister(source);
                }
            }
        }

        // First the calls, then the source; each also if the other panics.
        let _deregister = Deregister(&mut self.source, &self.reactor.shared().registry);
        self.reactor.shared().forget(self.key);
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Registration<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A generation that no token had among the last 2<sup>32</sup> of reactors that share a poll.
pub(super) fn unused_generation() -> u32 {
    static USED: AtomicU32 = AtomicU32::new(0);
    // The last is that of slots that are used up.
    USED.fetch_add(1, Ordering::Relaxed) % u32::MAX
}

/// Set in the tokens of registrations; a slot has 31 bits.
const OURS: usize = 1 << 63;

/// The token of a registration: slot and generation (rule M2).
pub(super) const fn token(key: ArenaKey) -> Token {
    Token(OURS | (key.slot as usize) << 32 | key.generation as usize)
}

/// The registration that a token names, if it is that of one.
pub(super) const fn key(Token(token): Token) -> Option<ArenaKey> {
    if token & OURS == 0 {
        return None;
    }
    Some(ArenaKey { slot: ((token & !OURS) >> 32) as u32, generation: token as u32 })
}

/// The slot and its generation that a token names, if it is that of a registration.
#[cfg(feature = "testing")]
pub(crate) fn slot(token: Token) -> Option<(u32, u32)> {
    key(token).map(|key| (key.slot, key.generation))
}

/// A [`Watch`] whose types are of no interest.
pub(super) trait AnyWatch {
    /// Notes what there is to report; true if that puts the registration in line, false if it was
    /// there already (rule M3).
    fn note(&self, flags: Flags) -> bool;

    /// Schedules the readiness call.
    fn schedule(self: Rc<Self>);

    /// Ends the registration, which is out of the reactor's slots already.
    fn end(&self);
}

/// Who is notified of a source's readiness, and what there is to report.
struct Watch<T: 'static, H> {
    reactor: ReactorHandle,
    key: ArenaKey,
    /// Where the source was registered: the schedule site of its readiness calls.
    site: &'static Location<'static>,
    recipient: Address<T>,
    handler: H,
    flags: Cell<Flags>,
    /// The readiness call that was scheduled last, unless it is live or over.
    call: Cell<Option<CallId>>,
    registered: Cell<bool>,
}

impl<T, H> AnyWatch for Watch<T, H>
where
    H: Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static,
{
    fn note(&self, flags: Flags) -> bool {
        let before = self.flags.get();
        self.flags.set(before.merge(flags));
        before == Flags::NONE
    }

    fn schedule(self: Rc<Self>) {
        // The id is kept before the call is scheduled: an observer that is notified of it may end the
        // registration or panic.
        self.call.set(Some(self.recipient.queue().core().next_id()));
        let delivery = ReadinessCall { watch: Rc::clone(&self), dialed: false };
        let call = move |recipient: &mut T, cx: &Context<'_, T>| delivery.dial(recipient, cx);
        self.recipient.promised_call(self.site, call);
    }

    fn end(&self) {
        self.registered.set(false);
        if let Some(call) = self.call.take() {
            // It may be over: refused, as the recipient is gone, or canceled by its id.
            let core = self.reactor.shared().queue.core();
            let _ = core.cancel_if_not_late(call, "registration dropped");
        }
    }
}

/// What a readiness call captures.
struct ReadinessCall<T: 'static, H> {
    watch: Rc<Watch<T, H>>,
    dialed: bool,
}

impl<T, H> ReadinessCall<T, H>
where
    H: Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static,
{
    fn dial(mut self, recipient: &mut T, cx: &Context<'_, T>) {
        self.dialed = true;
        let watch = &self.watch;
        watch.call.set(None);
        let flags = watch.flags.replace(Flags::NONE);
        if watch.registered.get() {
            let again = |flags| {
                if watch.registered.get() && watch.note(flags) {
                    let shared = watch.reactor.shared();
                    shared.limits.note_again(&shared.queue);
                    Rc::clone(watch).schedule();
                }
            };
            (watch.handler)(recipient, cx, &Readiness { flags, again: &again });
        }
    }
}

impl<T: 'static, H> Drop for ReadinessCall<T, H> {
    /// Keeps I2.
    fn drop(&mut self) {
        let Watch { reactor, key, recipient, registered, .. } = &*self.watch;
        let is_over = self.dialed || !registered.get() || recipient.is_gone();
        if !is_over && !reactor.shared().queue.is_closed() {
            reactor.shared().ready.borrow_mut().push_back(*key);
        }
    }
}
