//! Registered sources, and the one readiness call that each may have pending.
//!
//! - I1 `flags` is empty exactly if nothing is to be told: no readiness call is pending, and the
//!   registration is not in line for one.
//! - I2 A readiness call that ends without a dial (refused, as its recipient was live) puts its
//!   registration in line again. Only the end of the registration, of the recipient or of the
//!   queue loses readiness.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::panic::Location;
use std::io;

use mio::event::Source;
use mio::{Interest, Token};

use crate::call::CallId;
use crate::error::RegisterError;
use crate::reactor::ReactorHandle;
use crate::reactor::readiness::{Flags, Readiness};
use crate::recipient::{Address, Line};
use crate::slots::Key;

const HELD: &str = "the source is taken only by into_source, which uses the registration up";

/// A source of events, owned, and registered for as long as this lives (rule M4).
///
/// Dropping it deregisters the source and cancels its readiness call, if one is pending: the
/// handler does not run any more.
pub struct Registration<S: Source> {
    /// `None` only once it is taken back.
    source: Option<S>,
    watch: Rc<dyn Watched>,
}

impl<S: Source> Registration<S> {
    #[track_caller]
    pub(super) fn new<T, H>(
        reactor: &ReactorHandle,
        mut source: S,
        interest: Interest,
        recipient: &Address<T>,
        handler: H,
    ) -> Result<Self, RegisterError<S>>
    where
        H: Fn(&mut T, &Line<'_, T>, &Readiness<'_>) + 'static,
    {
        let shared = &reactor.shared;
        if shared.queue.is_closed() {
            return Err(RegisterError::ReactorDropped(source));
        }
        let site = Location::caller();
        let watch: Rc<dyn Watched> = {
            let mut watches = shared.watches.borrow_mut();
            let watch = Rc::new(Watch {
                reactor: reactor.clone(),
                key: watches.next_key(),
                site,
                recipient: recipient.clone(),
                handler,
                flags: Cell::new(Flags::NONE),
                call: Cell::new(None),
                registered: Cell::new(true),
            });
            watches.insert(Rc::clone(&watch) as Rc<dyn Watched>);
            watch
        };
        if let Err(error) = shared.registry.register(&mut source, token(watch.key()), interest) {
            watch.end();
            return Err(RegisterError::Poll { rejected: source, source: error });
        }
        Ok(Self { source: Some(source), watch })
    }

    /// Changes what the source is watched for.
    ///
    /// # Errors
    ///
    /// Passes on the poll's error; the interest is then as before.
    pub fn set_interest(&mut self, interest: Interest) -> io::Result<()> {
        let registry = &self.watch.reactor().shared.registry;
        match &mut self.source {
            Some(source) => registry.reregister(source, token(self.watch.key()), interest),
            None => Ok(()),
        }
    }

    /// Takes the source back, deregistered.
    ///
    /// # Errors
    ///
    /// Passes on the poll's error; the source is then dropped.
    pub fn into_source(mut self) -> io::Result<S> {
        let registry = &self.watch.reactor().shared.registry;
        let mut source = self.source.take().unwrap_or_else(|| unreachable!("{HELD}"));
        registry.deregister(&mut source)?;
        Ok(source)
    }

    /// The source.
    pub fn source(&self) -> &S {
        self.source.as_ref().unwrap_or_else(|| unreachable!("{HELD}"))
    }

    /// The source, to read or write.
    pub fn source_mut(&mut self) -> &mut S {
        self.source.as_mut().unwrap_or_else(|| unreachable!("{HELD}"))
    }
}

impl<S: Source> Drop for Registration<S> {
    fn drop(&mut self) {
        if let Some(source) = &mut self.source {
            // A source that fails here is closed already, which deregisters it too.
            let _ = self.watch.reactor().shared.registry.deregister(source);
        }
        self.watch.end();
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Registration<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The token of a registration: slot and generation (rule M2).
pub(super) fn token(key: Key) -> Token {
    Token((key.generation as usize) << 32 | key.slot as usize)
}

/// The registration that a token names.
pub(super) const fn key(token: Token) -> Key {
    Key { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

/// A [`Watch`] whose types are of no interest.
pub(super) trait Watched {
    fn key(&self) -> Key;

    fn reactor(&self) -> &ReactorHandle;

    /// Notes what there is to tell; true if that puts the registration in line, false if it was
    /// there already (rule M3).
    fn note(&self, flags: Flags) -> bool;

    /// Schedules the readiness call.
    fn schedule(self: Rc<Self>);

    /// Ends the registration.
    fn end(&self);
}

/// Who is told of a source's readiness, and what there is to tell.
struct Watch<T: 'static, H> {
    reactor: ReactorHandle,
    key: Key,
    /// Where the source was registered: the schedule site of its readiness calls.
    site: &'static Location<'static>,
    recipient: Address<T>,
    handler: H,
    flags: Cell<Flags>,
    /// The readiness call, while it is pending.
    call: Cell<Option<CallId>>,
    registered: Cell<bool>,
}

impl<T, H> Watched for Watch<T, H>
where
    H: Fn(&mut T, &Line<'_, T>, &Readiness<'_>) + 'static,
{
    fn key(&self) -> Key {
        self.key
    }

    fn reactor(&self) -> &ReactorHandle {
        &self.reactor
    }

    fn note(&self, flags: Flags) -> bool {
        let before = self.flags.get();
        self.flags.set(before.merge(flags));
        before == Flags::NONE
    }

    fn schedule(self: Rc<Self>) {
        let delivery = Delivery { watch: Rc::clone(&self), dialed: false };
        let call = move |recipient: &mut T, line: &Line<'_, T>| delivery.dial(recipient, line);
        // The call comes back if the queue takes no more; dropping it does what is to be done.
        self.call.set(self.recipient.call_from(self.site, call).ok());
    }

    fn end(&self) {
        self.registered.set(false);
        let forgotten = self.reactor.shared.watches.borrow_mut().remove(self.key);
        drop(forgotten);
        if let Some(call) = self.call.take() {
            let _ = self.reactor.shared.queue.cancel(call, "registration dropped");
        }
    }
}

/// What a readiness call captures.
struct Delivery<T: 'static, H> {
    watch: Rc<Watch<T, H>>,
    dialed: bool,
}

impl<T, H> Delivery<T, H>
where
    H: Fn(&mut T, &Line<'_, T>, &Readiness<'_>) + 'static,
{
    fn dial(mut self, recipient: &mut T, line: &Line<'_, T>) {
        self.dialed = true;
        let watch = &self.watch;
        watch.call.set(None);
        let flags = watch.flags.replace(Flags::NONE);
        if watch.registered.get() {
            let again = |flags| {
                if watch.registered.get() && watch.note(flags) {
                    Rc::clone(watch).schedule();
                }
            };
            (watch.handler)(recipient, line, &Readiness { flags, again: &again });
        }
    }
}

impl<T: 'static, H> Drop for Delivery<T, H> {
    /// Keeps I2.
    fn drop(&mut self) {
        let Watch { reactor, key, recipient, registered, call, .. } = &*self.watch;
        if self.dialed {
            return;
        }
        call.set(None);
        if registered.get() && !recipient.is_gone() && !reactor.shared.queue.is_closed() {
            reactor.shared.ready.borrow_mut().push_back(*key);
        }
    }
}
