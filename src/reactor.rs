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
//!   ([`ReactorHandle::at`]), never early, equal deadlines in the order they were armed. Dropping
//!   a [`Timer`] leaves nothing of it; one whose callback was canceled by its id is passed over as
//!   if it were not there. The reactor's clock is read once a turn for all that are due; tests can
//!   [set it](Reactor::set_clock).
//!
//! # Threads
//!
//! A reactor, its handles and its queue belong to one thread. Another thread reaches it through a
//! source that both have an end of, such as a pair of sockets:
//! [`LlFakeCancel`](crate::samples::LlFakeCancel) shows how.
//!
//! # Examples
//!
//! A server that echoes what one client sends:
//!
//! ```
//! use std::io::{self, ErrorKind, Read, Write};
//!
//! use mio::Interest;
//! use mio::net::{TcpListener, TcpStream};
//! use switchboard::Recipient;
//! use switchboard::reactor::{Reactor, ReactorHandle, Readiness, Registration};
//!
//! struct Server {
//!     reactor: ReactorHandle,
//!     listener: Option<Registration<TcpListener>>,
//!     client: Option<Recipient<Client>>,
//! }
//!
//! impl Server {
//!     fn accept(&mut self) -> io::Result<()> {
//!         let Some(listener) = &self.listener else { return Ok(()) };
//!         let (socket, _) = listener.source().accept()?;
//!         // The closure gets the address of the recipient that it makes the value of.
//!         let client = self.reactor.queue().try_recipient_with(|client| {
//!             let reads = Interest::READABLE;
//!             let socket = self.reactor.register(socket, reads, client, |client: &mut Client, _, ready| {
//!                 client.echo(ready).expect("a client that reads what it is sent");
//!             })?;
//!             Ok::<_, Box<dyn std::error::Error>>(Client { socket: Some(socket) })
//!         });
//!         self.client = client.ok();
//!         self.listener = None; // deregisters: this server has one client only
//!         Ok(())
//!     }
//! }
//!
//! struct Client {
//!     socket: Option<Registration<TcpStream>>,
//! }
//!
//! impl Client {
//!     fn echo(&mut self, ready: &Readiness<'_>) -> io::Result<()> {
//!         let Some(socket) = &mut self.socket else { return Ok(()) };
//!         let mut buffer = [0; 1024];
//!         match socket.source_mut().read(&mut buffer) {
//!             Ok(0) => self.socket = None, // the client has left
//!             Ok(read) => {
//!                 socket.source_mut().write_all(&buffer[..read])?;
//!                 ready.again(); // there may be more; but first the others have their turn
//!             }
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
//!             Err(error) => return Err(error),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut reactor = Reactor::new()?;
//! let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
//! let address = listener.local_addr()?;
//! let handle = reactor.handle();
//! let _server = reactor.queue().try_recipient_with(|server| {
//!     let reads = Interest::READABLE;
//!     let listener = handle.register(listener, reads, server, |server: &mut Server, _, _| {
//!         server.accept().expect("a client");
//!     })?;
//!     let reactor = handle.clone();
//!     Ok::<_, Box<dyn std::error::Error>>(Server { reactor, listener: Some(listener), client: None })
//! })?;
//!
//! let client = std::thread::spawn(move || -> io::Result<String> {
//!     let mut socket = std::net::TcpStream::connect(address)?;
//!     socket.write_all(b"hello")?;
//!     socket.shutdown(std::net::Shutdown::Write)?;
//!     let mut text = String::new();
//!     socket.read_to_string(&mut text)?;
//!     Ok(text)
//! });
//! reactor.run()?; // until nothing is registered any more
//! assert_eq!(client.join().expect("no panic")?, "hello");
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
    ends: EndsOnDrop,
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
        let ends = EndsOnDrop { handle: ReactorHandle { shared: Rc::new(shared) } };
        let events = Events::with_capacity(EVENTS);
        Ok(Self { queue, ends, poll, events, budget: BUDGET })
    }

    /// The queue of this reactor.
    pub const fn queue(&self) -> &CallQueue {
        &self.queue
    }

    /// A handle to keep, in a recipient say.
    pub fn handle(&self) -> ReactorHandle {
        self.ends.handle.clone()
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
        let timeout = [timeout, self.poll_timeout()].into_iter().flatten().min();
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        let shared = self.shared();
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
        while !self.shared().stopped.replace(false) && self.shared().can_go_on() {
            let _ = self.turn(None)?;
        }
        Ok(())
    }

    /// How long a poll may sleep: not at all if anything is pending, else until the next timer is
    /// due, else until an event (`None`).
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.shared().is_busy() { Some(Duration::ZERO) } else { self.shared().timers.timeout() }
    }

    /// Sets the clock that timers go by, [`Instant::now`] at first.
    ///
    /// It stays until the last handle of the reactor is gone, so it must not hold one.
    ///
    /// For tests that drive time themselves. The poll sleeps in real time: give
    /// [`turn`](Self::turn) a timeout of zero.
    pub fn set_clock(&self, clock: impl Fn() -> Instant + 'static) {
        self.shared().timers.set_clock(clock);
    }

    /// What has become of the events so far.
    pub fn traffic(&self) -> Traffic {
        self.shared().counts.read()
    }

    fn shared(&self) -> &Shared {
        &self.ends.handle.shared
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("queue", &self.queue)
            .field("registrations", &self.ends.handle.registrations())
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
    /// The registration owns the source; keep it where the handler finds it, in the recipient, for
    /// which [`try_recipient_with`](QueueHandle::try_recipient_with) is made. What else the handler
    /// changes belongs there too: it is a `Fn`, called once for each readiness call.
    ///
    /// If the recipient goes before its registration, the events that still come are refused, and
    /// [`Reactor::run`] goes on until the registration is dropped.
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

    /// Makes [`Reactor::run`] end after the turn in progress. If it does not run, the next run ends
    /// at once. Calls that are pending then stay so. Turns of one's own go on as ever.
    pub fn stop(&self) {
        self.shared.stopped.set(true);
    }

    /// Answers `callback` once `delay` has passed, not earlier. If the reactor is gone, declines it.
    ///
    /// The callback may be one of another queue, whose embedder dials it then.
    ///
    /// Cost: an insertion into an ordered map, and a reading of the clock.
    pub fn after(&self, delay: Duration, callback: Callback<()>) -> Timer {
        self.shared.timers.arm_after(self, delay, callback)
    }

    /// Answers `callback` at `deadline`, not earlier. Otherwise as [`after`](Self::after).
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

    /// Whether there is something to do at once.
    fn is_busy(&self) -> bool {
        !self.queue.is_idle() || !self.ready.borrow().is_empty()
    }

    /// Whether anything can still happen.
    fn can_go_on(&self) -> bool {
        self.is_busy() || self.watches.borrow().len() > 0 || self.timers.timeout().is_some()
    }
}

/// The end of registrations and timers, when the reactor goes: what their handlers captured is dropped, also
/// if it refers to the registration itself.
struct EndsOnDrop {
    handle: ReactorHandle,
}

impl Drop for EndsOnDrop {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        // The queue is closed: no call is left to be canceled. All of this goes, also if one of the
        // drops panics.
        let _timers = shared.timers.take();
        let _watches = shared.watches.replace(Slots::new());
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
    /// Those merged into what was still to be told of the same source.
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
