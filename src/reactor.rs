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
//!   ([`EventStats::stale`]), never delivered to the slot's new owner.
//! - **M3** At most one readiness call per registration is pending; later events merge into it. Hang-up
//!   and error reach readers and writers. Readiness sticks to the registration until an attempt would
//!   block ([`Registration::readiness`], [`Registration::try_io`]). A handler that stops before its
//!   source would block must ask to be called [`again`](Readiness::again), or [keep](Readiness::keep)
//!   the rest for another handler; one that does neither is counted ([`EventStats::undrained`]) and
//!   reported.
//! - **M4** A [`Registration`] owns its source. Dropping it deregisters the source and cancels
//!   the pending readiness call. It can be [redirected](Registration::redirect) to another recipient without
//!   a system call, readiness kept; narrowing its interest narrows the pending call too.
//! - **M5** One function decides how long to sleep, [`ReactorHandle::poll_timeout`]: not at all if
//!   anything is pending, else until the next timer is due, else until there is an event.
//! - **M6** The queue is dialed within a budget between polls, in calls
//!   ([`set_budget`](ReactorHandle::set_budget)), in time
//!   ([`set_time_budget`](ReactorHandle::set_time_budget)) or both, so that calls that keep scheduling
//!   calls do not starve I/O. However many calls are pending, each kind of outside call enters the
//!   queue in every turn: a poll's whole batch of readiness, and of due timers and of what other
//!   threads have sent at least an eighth of the budget, at most a budget each. Once a round of calls
//!   that were asked for [`again`](Readiness::again) is dialed, the reactor polls before the next
//!   round. [`Reactor::run`] returns when nothing more can happen, or on [`ReactorHandle::stop`] or
//!   [`Remote::stop`].
//! - **M7** Timers: a callback after a delay ([`ReactorHandle::after`]) or at an instant
//!   ([`ReactorHandle::at`]), never early, equal deadlines in the order they were armed or last reset;
//!   [reset](Timer::reset) without being armed anew, and again and again ([`ReactorHandle::every`]).
//!   Dropping a [`Timer`] removes it. A timer whose callback was canceled by its id, or whose recipient
//!   is gone, is ignored. The reactor's clock is read once a turn, and handlers can use [that
//!   reading](ReactorHandle::turn_time); tests can [set the clock](ReactorHandle::set_clock).
//! - **M8** A reactor, its handles and its queue belong to one thread. Other threads schedule calls
//!   through a [`Remote`] or a [`RemoteAddress`], and answer callbacks through a [`RemoteCallback`]: in
//!   order per sender, with one wake-up for many, and none while the reactor is awake. Their closures
//!   run and drop on the reactor's thread, or are returned in the error.
//! - **M9** Embedding: a [`Reactor`] has its own [`run`](Reactor::run), does a single
//!   [`turn`](Reactor::turn) in the host's loop, or is driven by any other loop through its descriptor
//!   (`AsFd`) and [`poll_timeout`](ReactorHandle::poll_timeout). A [`Guest`] has no poll of its own: it
//!   runs in the host's mio loop. `docs/embedding.md` shows all of them. A child that was forked
//!   [leaves the poll](ReactorHandle::leave_poll_to_parent) to its parent.
//! - **M10** What every server writes: a source of any descriptor (`FdSource`, on Unix), buffered
//!   [streams](crate::streams) and a relay between two, and an acceptor that survives EMFILE.
//!
//! # Examples
//!
//! A server that answers datagrams. Its handler runs until its socket would block, in both directions.
//! (For connections use [streams](crate::streams), which have an echo server as their example.)
//!
//! ```
//! use std::io::ErrorKind;
//! use std::net::SocketAddr;
//!
//! use mio::Interest;
//! use mio::net::UdpSocket;
//! use switchboard::reactor::{Reactor, Registration};
//!
//! struct Server {
//!     socket: Registration<UdpSocket>,
//!     /// An answer that found no room.
//!     waiting: Option<(Vec<u8>, SocketAddr)>,
//! }
//!
//! impl Server {
//!     fn on_ready(&mut self) {
//!         let mut buffer = [0; 2048];
//!         for _ in 0..64 {
//!             if let Some((answer, peer)) = &self.waiting {
//!                 let send = |socket: &mut UdpSocket| socket.send_to(answer, *peer);
//!                 match self.socket.try_io(Interest::WRITABLE, send) {
//!                     Err(error) if error.kind() == ErrorKind::Interrupted => continue,
//!                     Err(error) if error.kind() == ErrorKind::WouldBlock => {
//!                         // It continues when there is room: until then, readiness to read is kept.
//!                         return self.socket.readiness().keep();
//!                     }
//!                     _ => self.waiting = None, // sent; or lost, as datagrams may be
//!                 }
//!             }
//!             let receive = |socket: &mut UdpSocket| socket.recv_from(&mut buffer);
//!             match self.socket.try_io(Interest::READABLE, receive) {
//!                 Ok((count, peer)) => self.waiting = Some((buffer[..count].to_vec(), peer)),
//!                 Err(error) if error.kind() == ErrorKind::WouldBlock => return,
//!                 Err(_) => {} // of a datagram before; the next one may be well
//!             }
//!         }
//!         self.socket.readiness().again(); // there may be more; but first the others have their turn
//!     }
//! }
//!
//! let mut reactor = Reactor::new()?;
//! let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
//! let address = socket.local_addr()?;
//! let server = reactor.queue().try_recipient_with(|server| {
//!     let both = Interest::READABLE | Interest::WRITABLE;
//!     let socket = reactor.register(socket, both, server, |server: &mut Server, _, _| {
//!         server.on_ready();
//!     })?;
//!     Ok::<_, Box<dyn std::error::Error>>(Server { socket, waiting: None })
//! })?;
//!
//! let remote = reactor.remote();
//! let client = std::thread::spawn(move || -> std::io::Result<usize> {
//!     let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
//!     socket.send_to(b"hello", address)?;
//!     let answer = socket.recv(&mut [0; 8]);
//!     remote.call(|reactor| reactor.stop()).expect("it runs");
//!     answer
//! });
//! reactor.run()?; // until it is stopped
//! assert_eq!(client.join().expect("no panic")?, 5);
//! # drop(server);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::fmt;
use core::ops::Deref;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use mio::{Events, Poll, Token, Waker};

use crate::outcome::Report;
use crate::queue::CallQueue;
pub use error::{CreateError, DeregisterError, RedirectError, RegisterError, SendError};

// Where mio's poll has a descriptor: the same list as mio's.
#[cfg(all(
    unix,
    not(mio_unsupported_force_poll_poll),
    not(any(
        target_os = "aix",
        target_os = "cygwin",
        target_os = "espidf",
        target_os = "fuchsia",
        target_os = "haiku",
        target_os = "hermit",
        target_os = "horizon",
        target_os = "hurd",
        target_os = "nto",
        target_os = "nuttx",
        target_os = "vita"
    ))
))]
mod descriptor;
#[cfg(all(target_os = "linux", feature = "timerfd"))]
mod due;
mod error;
mod event_stats;
#[cfg(unix)]
mod fd_source;
mod guest;
mod handle;
mod inbox;
mod key_queue;
mod limits;
mod readiness;
mod registration;
mod remote;
mod scratch;
#[cfg(feature = "testing")]
mod scripted;
mod shared;
mod source_state;
mod sync;
mod timers;
mod token;
mod watch;

pub use event_stats::EventStats;
#[cfg(unix)]
pub use fd_source::FdSource;
pub use guest::Guest;
pub(crate) use readiness::Flags;
pub use readiness::Readiness;
pub use registration::Registration;
pub use remote::callback::RemoteCallback;
pub use remote::{Remote, RemoteAddress};
pub(crate) use scratch::{SCRATCH, Scratch};
pub use shared::ReactorHandle;
pub use timers::Timer;
pub use timers::interval::{Interval, Missed};
#[cfg(feature = "testing")]
pub(crate) use token::slot;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the reactor packs slot and generation of a source into a token of 64 bits");

/// Events taken from the poll at a time.
const EVENTS: usize = 1024;

/// The token of the poll's waker. Those of registrations have their top bit set.
const WAKE: Token = Token(0);

/// The loop, and the owner of its queue.
///
/// The methods of a reactor are on [`ReactorHandle`], to which this derefs. Dropping the reactor ends
/// its queue, as dropping a [`CallQueue`] does: every call that waits is canceled, those sent by other
/// threads included; then registrations and timers end.
#[doc(alias("event loop", "io_context", "uv_loop_t"))]
pub struct Reactor {
    // Fields drop in this order: calls and registrations first, then the poll.
    guest: Guest,
    poll: Poll,
    events: Events,
    /// Keeps the poll's descriptor readable while a turn is due, if the host requested that.
    #[cfg(all(target_os = "linux", feature = "timerfd"))]
    due: Option<alloc::rc::Rc<due::DueSignal>>,
}

impl Reactor {
    /// Creates a reactor with a queue of its own.
    ///
    /// Cost: three descriptors on Linux: two for the poll, one for its waker.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it fails to create a poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.queue().call(|_| println!("hello"));
    /// reactor.run()?; // nothing is registered, so it ends once the queue is empty
    /// assert_eq!(reactor.queue().tally().finished, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Self::with_queue(CallQueue::new()).map_err(|error| error.source)
    }

    /// Creates a reactor that dials `queue`.
    ///
    /// # Errors
    ///
    /// Returns the queue in the error if the system fails to create a poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::reactor::Reactor;
    ///
    /// let queue = CallQueue::bounded(100_000);
    /// let mut reactor = Reactor::with_queue(queue)?;
    /// reactor.queue().try_call(|_| ())?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_queue(queue: CallQueue) -> Result<Self, CreateError> {
        let open = || {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            Ok((poll, Arc::new(waker)))
        };
        match open() {
            Ok((poll, waker)) => {
                let guest = Guest::on(poll.registry(), false, queue, waker)?;
                let events = Events::with_capacity(EVENTS);
                #[cfg(all(target_os = "linux", feature = "timerfd"))]
                return Ok(Self { guest, poll, events, due: None });
                #[cfg(not(all(target_os = "linux", feature = "timerfd")))]
                Ok(Self { guest, poll, events })
            }
            Err(source) => Err(CreateError { source, queue }),
        }
    }

    /// Returns a handle, to keep in a recipient.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::{Reactor, ReactorHandle};
    ///
    /// struct Session { reactor: ReactorHandle }
    ///
    /// let mut reactor = Reactor::new()?;
    /// let session = reactor.queue().recipient(Session { reactor: reactor.handle() });
    /// session.call(|session, cx| {
    ///     let close = cx.callback(|_: &mut Session, cx, ()| cx.hang_up());
    ///     session.reactor.after(Duration::from_millis(1), close).detach();
    /// });
    /// reactor.run()?;
    /// assert!(session.is_gone());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handle(&self) -> ReactorHandle {
        self.guest.handle()
    }

    /// Polls once, sleeping at most `timeout` (`None`: no limit), schedules a call for each event,
    /// dials within the budget, and returns a report.
    ///
    /// It sleeps no longer than [`poll_timeout`](ReactorHandle::poll_timeout) returns.
    ///
    /// # Errors
    ///
    /// Returns the error of the poll. A signal is not an error: the turn then continues without events.
    ///
    /// # Panics
    ///
    /// If a handler panics. The calls that were not dialed are still pending.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.queue().call(|_| ());
    /// // In a loop of the host's own, which does its other work every 10 ms at least:
    /// let report = reactor.turn(Some(Duration::from_millis(10)))?;
    /// assert_eq!(report.dialed, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Report> {
        let _signal = self.signal_after_turn();
        if self.shared().has_poll_flags() {
            self.shared().begin_poll()?;
        }
        let timeout = match (timeout, self.poll_timeout()) {
            (Some(asked), Some(own)) => Some(asked.min(own)),
            (asked, own) => asked.or(own),
        };
        match self.poll(timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        Ok(self.guest.turn(&self.events))
    }

    /// Polls without sleeping, schedules a call for each event, dials for at most `limit` by the
    /// reactor's clock, within the budget, and returns a report. A host calls it with the time that is
    /// left in a frame.
    ///
    /// The limit is checked after each call, so at least one call is dialed, and none is interrupted.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    ///
    /// # Panics
    ///
    /// As [`turn`](Self::turn).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.queue().call(|_| ());
    /// // Two milliseconds are left in this frame.
    /// let report = reactor.turn_within(Duration::from_millis(2))?;
    /// assert_eq!(report.dialed, 1); // at least one, however little time there is
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn_within(&mut self, limit: Duration) -> io::Result<Report> {
        let _signal = self.signal_after_turn();
        if self.shared().has_poll_flags() {
            self.shared().begin_poll()?;
        }
        let end = self.now().checked_add(limit);
        match self.poll(Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        Ok(self.guest.turn_until(&self.events, end))
    }

    /// Makes the reactor's descriptor ([`AsFd`](std::os::fd::AsFd)) readable whenever a turn is due: if
    /// there are events, if calls are pending, and when the next timer is due. A host then needs
    /// neither [`poll_timeout`](ReactorHandle::poll_timeout) nor a wake hook: it waits for the
    /// descriptor, and does a [`turn`](Self::turn) with a timeout of zero.
    ///
    /// It replaces the queue's wake hook. A clock that was [set](ReactorHandle::set_clock) must run
    /// like the real one.
    ///
    /// Cost: a descriptor; a system call for each turn that leaves calls, for the first call that is
    /// scheduled outside of a turn, and when the next deadline becomes another one.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it fails to create a timer, or an error if the poll was
    /// [left to the parent](ReactorHandle::leave_poll_to_parent).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use std::time::Duration;
    /// use rustix::event::{PollFd, PollFlags, poll};
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.signal_when_due()?;
    /// let timer = reactor.queue().callback(|_, ()| println!("time is up"));
    /// reactor.after(Duration::from_millis(1), timer).detach();
    /// while reactor.should_run() {
    ///     // The host waits for the descriptor alone, here with no timeout.
    ///     poll(&mut [PollFd::new(&reactor.as_fd(), PollFlags::IN)], None)?;
    ///     let _ = reactor.turn(Some(Duration::ZERO))?;
    /// }
    /// assert_eq!(reactor.queue().tally().finished, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(all(target_os = "linux", feature = "timerfd"))]
    pub fn signal_when_due(&mut self) -> io::Result<()> {
        let shared = self.guest.shared();
        let waker = shared.remotes.waker();
        let due = due::DueSignal::new(self.handle(), shared.registry()?, waker)?;
        shared.remotes.set_host_sleeps();
        let hook = alloc::rc::Rc::clone(&due);
        self.due = Some(due);
        // If calls are pending, this calls the hook.
        self.queue().set_wake_hook(move || hook.update());
        if let Some(due) = &self.due {
            due.update();
        }
        Ok(())
    }

    #[cfg(all(target_os = "linux", feature = "timerfd"))]
    fn signal_after_turn(&self) -> Option<impl Sized + use<>> {
        self.due.as_ref().map(due::DueSignal::after_turn)
    }

    #[cfg(not(all(target_os = "linux", feature = "timerfd")))]
    #[inline]
    const fn signal_after_turn(&self) -> Option<()> {
        None
    }

    /// Polls, sleeping `timeout` at most, and not if other threads have sent something.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Self { guest, poll, events, .. } = self;
        if timeout == Some(Duration::ZERO) {
            return poll.poll(events, timeout);
        }
        guest.shared().remotes.sleep(|may_sleep| {
            poll.poll(events, if may_sleep { timeout } else { Some(Duration::ZERO) })
        })
    }

    /// Turns until nothing more can happen (nothing pending, nothing registered, no timer, no
    /// [`Remote`], [`RemoteAddress`], waker of one or [`RemoteCallback`]), or until
    /// [`ReactorHandle::stop`], and returns.
    ///
    /// # Errors
    ///
    /// Returns the error of the poll.
    ///
    /// # Panics
    ///
    /// If a handler panics. Call `run` again to continue.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// let stop = reactor.queue().callback(move |_, ()| handle.stop());
    /// reactor.after(Duration::from_millis(1), stop).detach();
    /// reactor.run()?; // until it is stopped
    /// assert_eq!(reactor.queue().tally().finished, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run(&mut self) -> io::Result<()> {
        while self.should_run() {
            let _ = self.turn(None)?;
        }
        self.resume();
        Ok(())
    }

    /// Returns true if a loop around [`turn`](Self::turn) should run on: see [`Guest::should_run`].
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.queue().call(|_| ());
    /// let mut turns = 0;
    /// while reactor.should_run() {
    ///     let _ = reactor.turn(None)?;
    ///     turns += 1; // here the host does its own work
    /// }
    /// assert_eq!(turns, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn should_run(&self) -> bool {
        self.guest.should_run()
    }
}

impl Deref for Reactor {
    type Target = ReactorHandle;

    fn deref(&self) -> &ReactorHandle {
        &self.guest
    }
}

/// A panic of a handler leaves the reactor as rules R10 and M1 demand.
impl UnwindSafe for Reactor {}
impl RefUnwindSafe for Reactor {}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reactor({:?})", **self)
    }
}

#[cfg(all(test, unix))] // where bytes are there as soon as they are written
mod tests;
