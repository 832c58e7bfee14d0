//! The reactor that goes step by step.

use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::ops::Deref;
use core::time::Duration;
use std::io;

use crate::outcome::Report;
use crate::queue::{Budget, CallQueue};
use crate::reactor::CreateError;
use crate::reactor::{Reactor, ReactorHandle};
use crate::testing::clock::Clock;
use crate::testing::event::{Event, Ready};
use crate::testing::source::{Peer, ScriptedSource, Sources};

/// A reactor that a test script drives: its poll never sleeps, its clock stands still, and the script
/// reports the events.
///
/// What recipients and modules need is on its [`ReactorHandle`], to which this derefs: they work on it
/// unchanged. Their sources may be [scripted](Self::pair), and real ones too (sockets, pipes, the
/// threads behind `LlFakeCancel`): their real events are held back until the script reports them. Other
/// threads may send through its remotes.
///
/// A step is one of these:
///
/// - [`turn`](Self::turn): reports all events, and dials within the budget.
/// - [`dial_one`](Self::dial_one): dials one call, and reports nothing.
/// - [`turn_with`](Self::turn_with): reports the events that the script picks. They are returned by
///   [`take_events`](Self::take_events) or [`Peer::event`], or made by hand.
/// - [`jump`](Self::jump): advances the clock to when the next timer is due.
/// - [`settle`](Self::settle): turns and jumps until nothing more happens.
///
/// # Examples
///
/// A timer of an hour, in no time:
///
/// ```
/// use std::time::Duration;
/// use switchboard::testing::ScriptedReactor;
///
/// let mut reactor = ScriptedReactor::new()?;
/// let count = reactor.queue().recipient(0);
/// reactor.after(Duration::from_secs(3600), count.callback(|count, _, ()| *count += 1)).detach();
///
/// reactor.advance(Duration::from_secs(3599));
/// assert_eq!(reactor.turn().dialed, 0);
/// assert_eq!(reactor.settle(10)?.dialed, 1);
/// assert_eq!(reactor.clock().elapsed(), Duration::from_secs(3600));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ScriptedReactor {
    pub(super) reactor: Reactor,
    clock: Clock,
    pub(super) sources: Sources,
    /// Gathered, and not reported.
    pub(super) events: Vec<Event>,
}

impl ScriptedReactor {
    /// Creates a reactor with a queue of its own.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it fails to create a poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// reactor.queue().call(|_| ());
    /// assert_eq!(reactor.settle(10)?.dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// // How does the code under test behave when its queue is full?
    /// let mut reactor = ScriptedReactor::with_queue(CallQueue::bounded(1))?;
    /// reactor.queue().call(|_| ());
    /// assert!(reactor.queue().try_call(|_| ()).is_err());
    /// assert_eq!(reactor.turn().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_queue(queue: CallQueue) -> Result<Self, CreateError> {
        let reactor = Reactor::with_queue(queue)?;
        let (clock, sources) = (Clock::new(), Sources::default());
        let shown = clock.clone();
        reactor.set_clock(move || shown.now());
        Ok(Self { reactor, clock, sources, events: Vec::new() })
    }

    /// Returns a source and its other end. To make sources inside recipients, see
    /// [`sources`](Self::sources).
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::Interest;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let (source, peer) = reactor.pair();
    /// let _source = reactor.register_function(source, Interest::READABLE, |_, readiness| {
    ///     assert!(readiness.is_readable());
    /// })?;
    /// peer.push("hello");
    /// assert_eq!(reactor.turn().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pair(&self) -> (ScriptedSource, Peer) {
        self.sources.pair()
    }

    /// Returns a factory of sources that report their readiness to this reactor.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::testing::{Peer, ScriptedReactor, ScriptedSource};
    ///
    /// let reactor = ScriptedReactor::new()?;
    /// let sources = reactor.sources();
    /// // For code under test that opens its connections itself:
    /// let connect = move || -> (ScriptedSource, Peer) { sources.pair() };
    /// let (_source, peer) = connect();
    /// assert!(!peer.is_registered());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn sources(&self) -> Sources {
        self.sources.clone()
    }

    /// Returns a handle, to keep in a recipient.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::reactor::ReactorHandle;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// struct Session { reactor: ReactorHandle } // as in the program
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let session = reactor.queue().recipient(Session { reactor: reactor.handle() });
    /// session.call(|session, cx| {
    ///     let close = cx.callback(|_: &mut Session, cx, ()| cx.hang_up());
    ///     session.reactor.after(Duration::from_secs(60), close).detach();
    /// });
    /// reactor.settle(10)?;
    /// assert!(session.is_gone());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle(&self) -> ReactorHandle {
        self.reactor.handle()
    }

    /// Returns the clock of the reactor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let reactor = ScriptedReactor::new()?;
    /// reactor.advance(Duration::from_secs(1));
    /// assert_eq!(reactor.clock().elapsed(), Duration::from_secs(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Lets time pass. The timers that are due then fire in the next turn.
    ///
    /// # Panics
    ///
    /// As [`Clock::advance`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// reactor.after(Duration::from_secs(60), reactor.queue().callback(|_, ()| ())).detach();
    /// reactor.advance(Duration::from_secs(59));
    /// assert_eq!(reactor.turn().dialed, 0); // never early
    /// reactor.advance(Duration::from_secs(1));
    /// assert_eq!(reactor.turn().dialed, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Advances the clock to when the next timer is due, and returns by how much. Returns `None`, and
    /// does nothing, if a turn is due at once or no timer is armed.
    ///
    /// # Panics
    ///
    /// As [`Clock::advance`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// reactor.after(Duration::from_secs(60), reactor.queue().callback(|_, ()| ())).detach();
    /// assert_eq!(reactor.jump(), Some(Duration::from_secs(60)));
    /// assert_eq!(reactor.turn().dialed, 1);
    /// assert_eq!(reactor.jump(), None); // no timer is armed
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn jump(&self) -> Option<Duration> {
        let by = self.poll_timeout().filter(|by| !by.is_zero())?;
        self.clock.advance(by);
        Some(by)
    }

    /// Returns the events that the next turn would report, in order.
    ///
    /// A source that was [taken](Self::take_events) from has none until something new happens to
    /// it, as with any edge-triggered poll.
    ///
    /// # Panics
    ///
    /// If the system fails to poll.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (source, peer) = reactor.pair();
    /// let _source = reactor.register_function(source, Interest::READABLE, |_, _| ())?;
    /// assert!(reactor.events().is_empty());
    /// peer.push("hello");
    /// assert_eq!(reactor.events().len(), 1); // the next turn reports it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&mut self) -> &[Event] {
        self.gather(Duration::ZERO);
        &self.events
    }

    /// Takes and returns the events that the next turn would report. They are lost, unless the script
    /// [reports](Self::turn_with) them.
    ///
    /// # Panics
    ///
    /// As [`events`](Self::events).
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (first, first_peer) = reactor.pair();
    /// # let (second, second_peer) = reactor.pair();
    /// let _first = reactor.register_function(first, Interest::READABLE, |_, _| ())?;
    /// let _second = reactor.register_function(second, Interest::READABLE, |_, _| ())?;
    /// first_peer.push("1");
    /// second_peer.push("2");
    /// // The same events in reverse order:
    /// let mut events = reactor.take_events();
    /// events.reverse();
    /// assert_eq!(reactor.turn_with(events).dialed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_events(&mut self) -> Vec<Event> {
        self.gather(Duration::ZERO);
        mem::take(&mut self.events)
    }

    /// Puts events back, to be reported before all others.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::ScriptedReactor;
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (source, peer) = reactor.pair();
    /// let _source = reactor.register_function(source, Interest::READABLE, |_, _| ())?;
    /// peer.push("hello");
    /// let late = reactor.take_events();
    /// assert_eq!(reactor.turn().dialed, 0); // the event is late
    /// reactor.put_back(late);
    /// assert_eq!(reactor.turn().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_back(&mut self, events: impl IntoIterator<Item = Event>) {
        self.events.splice(..0, events);
    }

    /// Waits, in real time, until there is an event of a real source, or another thread has sent a
    /// call. Returns false if neither happened within `patience`.
    ///
    /// # Panics
    ///
    /// As [`events`](Self::events).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let remote = reactor.remote();
    /// let worker = std::thread::spawn(move || remote.call(|_| ()).is_ok());
    /// assert!(reactor.wait(Duration::from_secs(60)), "the thread sends nothing");
    /// assert_eq!(reactor.turn().dialed, 1);
    /// # assert!(worker.join().expect("no panic"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&mut self, patience: Duration) -> bool {
        self.gather(Duration::ZERO);
        if self.events.is_empty() && !self.reactor.has_mail() {
            self.gather(patience);
        }
        !self.events.is_empty() || self.reactor.has_mail()
    }

    /// Reports all events, fires the timers that are due, accepts the calls that other threads have
    /// sent, dials within the budget, and returns a report.
    ///
    /// # Panics
    ///
    /// If a handler panics (the calls that were not dialed are still pending), and as
    /// [`events`](Self::events).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// reactor.queue().call(|queue| {
    ///     queue.call(|_| ());
    /// });
    /// let report = reactor.turn();
    /// assert_eq!((report.dialed, report.remaining), (2, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn(&mut self) -> Report {
        let events = self.take_events();
        self.turn_with(events)
    }

    /// As [`turn`](Self::turn), with these events only, in this order. Other events are reported later.
    ///
    /// # Panics
    ///
    /// If a handler panics.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mio::Interest;
    /// # use switchboard::testing::{Ready, ScriptedReactor};
    /// # let mut reactor = ScriptedReactor::new()?;
    /// # let (source, peer) = reactor.pair();
    /// let source = reactor.register_function(source, Interest::READABLE, |_, _| ())?;
    /// let event = peer.event(Ready::READABLE);
    /// drop(source);
    /// // An event that is older than its source's end: it is stale, and calls nobody.
    /// assert_eq!(reactor.turn_with(event).dialed, 0);
    /// assert_eq!(reactor.event_stats().stale, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn turn_with(&mut self, events: impl IntoIterator<Item = Event>) -> Report {
        // First, as this may be code of the test.
        let events: Vec<_> = events.into_iter().collect();
        self.reactor.turn_with(events.iter().map(|event| (event.token(), event.ready().0)))
    }

    /// Dials one call, or passes over one that was canceled, and returns a report. It reports no
    /// events, and fires no timers.
    ///
    /// # Panics
    ///
    /// If the handler panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let session = reactor.queue().recipient(0);
    /// session.call(|step, _| *step = 1);
    /// session.call(|step, _| *step = 2);
    /// reactor.dial_one();
    /// drop(session); // right between the two
    /// assert_eq!(reactor.dial_one().refused, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn dial_one(&mut self) -> Report {
        self.queue().dial(Budget::calls(1))
    }

    /// Turns until nothing more happens, and jumps to the next deadline whenever there is nothing else
    /// to do. The report is the sum of all turns.
    ///
    /// It does not wait for real sources and other threads: see [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Returns what is left after that many turns.
    ///
    /// # Panics
    ///
    /// As [`turn`](Self::turn).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let timer = reactor.queue().callback(|queue, ()| {
    ///     queue.call(|_| ());
    /// });
    /// reactor.after(Duration::from_secs(60), timer).detach();
    /// let report = reactor.settle(10)?; // an error if it takes more turns
    /// assert_eq!(report.dialed, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settle(&mut self, turns: usize) -> Result<Report, Unsettled> {
        let mut sum = Report::default();
        for _ in 0..turns {
            if self.is_quiet() {
                return Ok(sum);
            }
            if self.events.is_empty() {
                self.jump();
            }
            let report = self.turn();
            sum.dialed += report.dialed;
            sum.canceled += report.canceled;
            sum.refused += report.refused;
        }
        if self.is_quiet() { Ok(sum) } else { Err(self.unsettled(turns)) }
    }

    /// Whether nothing happens any more, by itself, but for what keeps no loop running.
    fn is_quiet(&mut self) -> bool {
        self.gather(Duration::ZERO);
        self.events.is_empty() && self.reactor.is_quiet()
    }

    fn unsettled(&self, turns: usize) -> Unsettled {
        Unsettled {
            turns,
            pending: self.queue().tally().pending,
            events: self.events.len(),
            timers: self.timer_count(),
            due_in: self.poll_timeout().filter(|due_in| !due_in.is_zero()),
        }
    }

    /// Adds to the events what is ready within `patience`.
    fn gather(&mut self, patience: Duration) {
        self.sources.gather(&mut self.events);
        let polled = self.reactor.gather(patience, |token, flags| {
            self.events.push(Event::new(token, Ready(flags)));
        });
        polled.expect("the system must be able to poll");
    }
}

impl Deref for ScriptedReactor {
    type Target = ReactorHandle;

    fn deref(&self) -> &ReactorHandle {
        &self.reactor
    }
}

impl fmt::Debug for ScriptedReactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedReactor")
            .field("reactor", &self.reactor)
            .field("clock", &self.clock.elapsed())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// What [`ScriptedReactor::settle`] has left when its turns are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not settled after {turns} turns: {pending} calls are pending, {events} events to be reported, \
     {timers} timers armed{}", Due(.due_in)
)]
#[non_exhaustive]
pub struct Unsettled {
    /// How many turns there were.
    pub turns: usize,
    /// Calls that are pending.
    pub pending: u64,
    /// Events that are not reported yet.
    pub events: usize,
    /// Timers that are armed.
    pub timers: usize,
    /// When the first of them is due, if no turn is due before.
    pub due_in: Option<Duration>,
}

/// Prints when the next timer is due, if that is known.
struct Due<'a>(&'a Option<Duration>);

impl fmt::Display for Due<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |due_in| write!(f, ", the next due in {due_in:?}"))
    }
}
