//! The event loop: mio readiness becomes calls. The only place that names `mio::Poll`.
//!
//! One [`turn`](Reactor::turn) of the loop polls once, schedules a readiness call for each event
//! of the batch, and then dials the queue within a budget.
//!
//! # Rules
//!
//! - **M1** A poll's whole batch of events becomes scheduled calls first; then the queue is
//!   dialed. A panic in a handler loses no event.
//! - **M2** Tokens carry a generation. An event for a source that is gone is counted
//!   ([`Traffic::stale`]), never delivered to the slot's new owner.
//! - **M3** At most one readiness call per registration is pending; later events merge into it.
//!   Hang-up and error reach readers and writers. A handler that stops before its source would
//!   block asks to be called [`again`](Readiness::again).
//! - **M4** A [`Registration`] owns its source. Dropping it deregisters the source and cancels
//!   the pending readiness call.
//! - **M5** One function decides how long to sleep, [`Reactor::poll_timeout`]: not at all if
//!   anything is pending, else until the next timer is due, else until there is an event.
//! - **M6** The queue is dialed within a budget between polls, so that calls that keep scheduling
//!   calls do not starve I/O. [`Reactor::run`] ends when nothing can happen any more, or on
//!   [`ReactorHandle::stop`].
//! - **M7** Timers: a callback after a delay ([`ReactorHandle::after`]) or at an instant
//!   ([`ReactorHandle::at`]), never early, equal deadlines in the order they were armed. A
//!   canceled one leaves nothing behind. The reactor's clock is read once a turn for all that are
//!   due; tests can [set it](Reactor::set_clock).
//!
//! # Examples
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpListener;
//!
//! use mio::Interest;
//! use mio::net::TcpStream;
//! use switchboard::reactor::{Reactor, Registration};
//!
//! struct Reader {
//!     socket: Option<Registration<TcpStream>>,
//! }
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let socket = TcpStream::connect(listener.local_addr()?)?;
//! listener.accept()?.0.write_all(b"hello")?; // and closes
//!
//! let mut reactor = Reactor::new()?;
//! let handle = reactor.handle();
//! let reader = reactor.queue().recipient(Reader { socket: None });
//! let socket = handle.register(socket, Interest::READABLE, &reader, |reader, _, ready| {
//!     let Some(socket) = &mut reader.socket else { return };
//!     let mut text = String::new();
//!     match socket.source_mut().read_to_string(&mut text) {
//!         Ok(_) => {
//!             assert_eq!(text, "hello");
//!             reader.socket = None; // deregisters
//!         }
//!         Err(_) => println!("not all here yet: {ready:?}"),
//!     }
//! })?;
//! reader.call(|reader, _| reader.socket = Some(socket))?;
//! reactor.run()?; // until there is no registration left
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::io;
use std::time::Instant;

use mio::event::Source;
use mio::{Events, Interest, Poll, Registry};

use crate::callback::Callback;
use crate::error::{ReactorError, RegisterError};
use crate::observe::Count;
use crate::queue::{Budget, CallQueue, QueueHandle, Report};
use crate::recipient::{Address, Line};
use crate::slots::{Key, Slots};

mod readiness;
mod registration;
mod timers;

use readiness::Flags;
pub use readiness::Readiness;
pub use registration::Registration;
use registration::Watched;
pub use timers::Timer;
use timers::Timers;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the reactor packs slot and generation of a source into a token of 64 bits");

/// Events taken from the poll at a time.
const EVENTS: usize = 1024;

/// Calls dialed between two polls, unless [`Reactor::set_budget`] says otherwise.
const BUDGET: usize = 1024;

/// The loop, and the owner of its queue.
pub struct Reactor {
    // Fields drop in this order: calls first, then registrations, then the poll.
    queue: CallQueue,
    handle: Registrations,
    poll: Poll,
    events: Events,
    budget: usize,
}

impl Reactor {
    /// Makes a reactor with a queue of its own.
    ///
    /// # Errors
    ///
    /// Passes on the error of the system if it gives no poll.
    pub fn new() -> io::Result<Self> {
        Self::with_queue(CallQueue::new()).map_err(|error| error.source)
    }

    /// Makes a reactor that dials `queue`.
    ///
    /// # Errors
    ///
    /// Hands the queue back if the system gives no poll.
    pub fn with_queue(queue: CallQueue) -> Result<Self, ReactorError> {
        let open = || {
            let poll = Poll::new()?;
            let registry = poll.registry().try_clone()?;
            Ok((poll, registry))
        };
        let (poll, registry) = match open() {
            Ok(opened) => opened,
            Err(source) => return Err(ReactorError { source, queue }),
        };
        let shared = Shared {
            registry,
            queue: queue.handle(),
            watches: RefCell::new(Slots::new()),
            ready: RefCell::new(VecDeque::new()),
            timers: Timers::new(),
            stopped: Cell::new(false),
            counts: Counts::default(),
        };
        let handle = Registrations(ReactorHandle { shared: Rc::new(shared) });
        let events = Events::with_capacity(EVENTS);
        Ok(Self { queue, handle, poll, events, budget: BUDGET })
    }

    /// The queue of this reactor.
    pub const fn queue(&self) -> &CallQueue {
        &self.queue
    }

    /// A handle to keep, in a recipient say.
    pub fn handle(&self) -> ReactorHandle {
        self.handle.0.clone()
    }

    /// Sets how many calls are dialed between two polls; 1,024 at first.
    pub const fn set_budget(&mut self, calls: usize) {
        self.budget = calls;
    }

    /// Polls once, sleeping `timeout` at most (`None`: no limit), schedules a call for each event,
    /// and dials within the budget.
    ///
    /// It does not sleep at all if [`poll_timeout`](Self::poll_timeout) says so.
    ///
    /// # Errors
    ///
    /// Passes on the poll's error. A signal is none: the turn then goes on without events.
    ///
    /// # Panics
    ///
    /// Passes on a panic of a handler. What had not been dialed is still pending.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Report> {
        let shared = &self.handle.0.shared;
        let timeout = [timeout, self.poll_timeout()].into_iter().flatten().min();
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        shared.note(&self.events);
        shared.schedule_ready();
        shared.timers.fire();
        Ok(self.queue.dial(Budget::calls(self.budget)))
    }

    /// Turns until nothing can happen any more (nothing pending, nothing registered, no timer), or
    /// until [`ReactorHandle::stop`].
    ///
    /// # Errors
    ///
    /// Passes on the poll's error.
    ///
    /// # Panics
    ///
    /// Passes on a panic of a handler. To go on after that, call `run` again.
    pub fn run(&mut self) -> io::Result<()> {
        while self.handle.0.shared.can_go_on() {
            let _ = self.turn(None)?;
        }
        self.handle.0.shared.stopped.set(false);
        Ok(())
    }

    /// How long a poll may sleep: not at all if anything is pending or the reactor is stopped, else
    /// until the next timer is due, else until an event (`None`).
    pub fn poll_timeout(&self) -> Option<Duration> {
        let shared = &self.handle.0.shared;
        let busy = !self.queue.is_idle() || !shared.ready.borrow().is_empty();
        if busy || shared.stopped.get() { Some(Duration::ZERO) } else { shared.timers.timeout() }
    }

    /// Sets the clock that timers go by, [`Instant::now`] at first.
    ///
    /// For tests that drive time themselves. The poll sleeps in real time: give
    /// [`turn`](Self::turn) a timeout of zero.
    pub fn set_clock(&self, clock: impl Fn() -> Instant + 'static) {
        self.handle.0.shared.timers.set_clock(clock);
    }

    /// What has become of the events so far.
    pub fn traffic(&self) -> Traffic {
        self.handle.0.shared.counts.read()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("queue", &self.queue)
            .field("registrations", &self.handle.0.registrations())
            .finish_non_exhaustive()
    }
}

/// A reactor, for whoever registers sources with it. Cloning counts a reference.
#[derive(Clone)]
pub struct ReactorHandle {
    shared: Rc<Shared>,
}

impl ReactorHandle {
    /// Registers `source`: from now on its readiness becomes calls of `handler` to `recipient`.
    ///
    /// The registration owns the source; keep it where the handler finds it, in the recipient.
    ///
    /// Cost: two system calls over its life, one allocation, none per readiness call.
    ///
    /// # Errors
    ///
    /// Hands the source back if the poll does not take it, if the recipient belongs to another
    /// queue, or if the reactor is gone.
    #[track_caller]
    pub fn register<S, T, H>(
        &self,
        source: S,
        interest: Interest,
        recipient: &Address<T>,
        handler: H,
    ) -> Result<Registration<S>, RegisterError<S>>
    where
        S: Source,
        T: 'static,
        H: Fn(&mut T, &Line<'_, T>, &Readiness<'_>) + 'static,
    {
        Registration::new(self, source, interest, recipient, handler)
    }

    /// The queue of the reactor.
    pub fn queue(&self) -> &QueueHandle {
        &self.shared.queue
    }

    /// Makes [`Reactor::run`] end after the turn in progress, or the next one to come.
    pub fn stop(&self) {
        self.shared.stopped.set(true);
    }

    /// Answers `callback` once `delay` has passed, not earlier.
    ///
    /// Cost: an insertion into an ordered map, and a reading of the clock.
    pub fn after(&self, delay: Duration, callback: Callback<()>) -> Timer {
        self.shared.timers.arm_after(self, delay, callback)
    }

    /// Answers `callback` at `deadline`, not earlier.
    pub fn at(&self, deadline: Instant, callback: Callback<()>) -> Timer {
        self.shared.timers.arm(self, deadline, callback)
    }

    /// The time by the reactor's clock.
    pub fn now(&self) -> Instant {
        self.shared.timers.now()
    }

    /// How many timers are armed.
    pub fn timers(&self) -> usize {
        self.shared.timers.len()
    }

    /// How many sources are registered.
    pub fn registrations(&self) -> usize {
        self.shared.watches.borrow().len()
    }
}

impl fmt::Debug for ReactorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorHandle")
            .field("registrations", &self.registrations())
            .finish_non_exhaustive()
    }
}

/// What the reactor, its handles and its registrations share.
struct Shared {
    registry: Registry,
    queue: QueueHandle,
    watches: RefCell<Slots<Rc<dyn Watched>>>,
    /// Registrations with something to tell whose call is not scheduled yet.
    ready: RefCell<VecDeque<Key>>,
    timers: Timers,
    stopped: Cell<bool>,
    counts: Counts,
}

impl Shared {
    /// Notes a batch of events. No code of a user runs here, so none is lost (rule M1).
    fn note(&self, events: &Events) {
        let mut watches = self.watches.borrow_mut();
        for event in events {
            self.counts.events.add();
            let key = registration::key(event.token());
            match watches.get_mut(key) {
                None => self.counts.stale.add(),
                Some(watch) if watch.note(Flags::of(event)) => {
                    self.ready.borrow_mut().push_back(key);
                    self.counts.told.add();
                }
                Some(_) => self.counts.merged.add(),
            }
        }
    }

    /// Schedules the readiness calls of those in line. If an observer panics meanwhile, the rest
    /// stays in line for the next turn.
    fn schedule_ready(&self) {
        let in_line = self.ready.borrow().len();
        for _ in 0..in_line {
            let Some(key) = self.ready.borrow_mut().pop_front() else { return };
            let watch = self.watches.borrow_mut().get_mut(key).cloned();
            if let Some(watch) = watch {
                watch.schedule();
            }
        }
    }

    /// Ends a registration.
    fn forget(&self, key: Key) {
        let watch = self.watches.borrow_mut().remove(key);
        if let Some(watch) = watch {
            watch.end();
        }
    }

    fn can_go_on(&self) -> bool {
        !self.stopped.get()
            && (!self.queue.is_idle()
                || !self.ready.borrow().is_empty()
                || self.watches.borrow().len() > 0
                || self.timers.len() > 0)
    }
}

/// The end of registrations and timers, when the reactor goes: what their handlers captured is dropped, also
/// if it refers to the registration itself.
struct Registrations(ReactorHandle);

impl Drop for Registrations {
    fn drop(&mut self) {
        let keys = self.0.shared.watches.borrow().keys();
        for key in keys {
            self.0.shared.forget(key);
        }
        self.0.shared.timers.clear();
    }
}

/// What has become of the events of a reactor's polls:
/// [`events`](Self::events) = [`told`](Self::told) + [`merged`](Self::merged) +
/// [`stale`](Self::stale).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Events received.
    pub events: u64,
    /// Those that led to a readiness call.
    pub told: u64,
    /// Those merged into a readiness call that was pending.
    pub merged: u64,
    /// Those dropped, as their source was gone.
    pub stale: u64,
}

#[derive(Default)]
struct Counts {
    events: Count,
    told: Count,
    merged: Count,
    stale: Count,
}

impl Counts {
    fn read(&self) -> Traffic {
        let Self { events, told, merged, stale } = self;
        Traffic { events: events.get(), told: told.get(), merged: merged.get(), stale: stale.get() }
    }
}

#[cfg(test)]
mod tests;
