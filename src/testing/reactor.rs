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

/// A reactor whose poll never sleeps, whose clock stands still, and whose events are reported as a
/// script says.
///
/// What recipients and modules need is on its [`ReactorHandle`], to which this derefs: they work on
/// it unchanged. Their sources may be [scripted](Self::pair), and real ones too (sockets, pipes,
/// the threads behind `LlFakeCancel`): the real events of those are held back until the script lets
/// them go. Other threads may send through its remotes.
///
/// A step is one of these:
///
/// - [`turn`](Self::turn): reports all there is to report, and dials within the budget.
/// - [`dial_one`](Self::dial_one): dials one call, and reports nothing.
/// - [`turn_with`](Self::turn_with): reports the events that the script picks. They come from
///   [`take_events`](Self::take_events), from [`Peer::event`], or are made by hand.
/// - [`jump`](Self::jump): advances the clock to when the next timer is due.
/// - [`settle`](Self::settle): turns and jumps until nothing happens any more.
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
    pub fn with_queue(queue: CallQueue) -> Result<Self, CreateError> {
        let reactor = Reactor::with_queue(queue)?;
        let (clock, sources) = (Clock::new(), Sources::default());
        let shown = clock.clone();
        reactor.set_clock(move || shown.now());
        Ok(Self { reactor, clock, sources, events: Vec::new() })
    }

    /// Makes a source, and its other end. To make some inside recipients, see
    /// [`sources`](Self::sources).
    pub fn pair(&self) -> (ScriptedSource, Peer) {
        self.sources.pair()
    }

    /// What makes sources that report this reactor their readiness.
    pub fn sources(&self) -> Sources {
        self.sources.clone()
    }

    /// A handle to keep, in a recipient say.
    pub fn handle(&self) -> ReactorHandle {
        self.reactor.handle()
    }

    /// The clock that the reactor goes by.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Lets time pass. The timers that are due then fire in the next turn.
    ///
    /// # Panics
    ///
    /// As [`Clock::advance`].
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Advances the clock to when the next timer is due, and returns by how much; not at all if
    /// something is to be done at once, or if no timer is armed.
    ///
    /// # Panics
    ///
    /// As [`Clock::advance`].
    pub fn jump(&self) -> Option<Duration> {
        let by = self.poll_timeout().filter(|by| !by.is_zero())?;
        self.clock.advance(by);
        Some(by)
    }

    /// The events that the next turn would report, in order.
    ///
    /// A source that was [taken](Self::take_events) from has none until something new happens to
    /// it, as with any edge-triggered poll.
    ///
    /// # Panics
    ///
    /// If the system does not poll.
    pub fn events(&mut self) -> &[Event] {
        self.gather(Duration::ZERO);
        &self.events
    }

    /// Takes the events that the next turn would report: they are lost, unless the script has them
    /// [reported](Self::turn_with).
    ///
    /// # Panics
    ///
    /// As [`events`](Self::events).
    pub fn take_events(&mut self) -> Vec<Event> {
        self.gather(Duration::ZERO);
        mem::take(&mut self.events)
    }

    /// Puts events back, to be reported before all others.
    pub fn put_back(&mut self, events: impl IntoIterator<Item = Event>) {
        self.events.splice(..0, events);
    }

    /// Waits, in real time, until there is an event of a real source, or another thread has sent
    /// something. False if neither came within `patience`.
    ///
    /// # Panics
    ///
    /// As [`events`](Self::events).
    pub fn wait(&mut self, patience: Duration) -> bool {
        self.gather(Duration::ZERO);
        if self.events.is_empty() && !self.reactor.has_mail() {
            self.gather(patience);
        }
        !self.events.is_empty() || self.reactor.has_mail()
    }

    /// Tells the events there are, fires the timers that are due, takes the calls that other
    /// threads have sent, and dials within the budget.
    ///
    /// # Panics
    ///
    /// Passes on a panic of a handler. What had not been dialed is still pending. And as
    /// [`events`](Self::events).
    pub fn turn(&mut self) -> Report {
        let events = self.take_events();
        self.turn_with(events)
    }

    /// The same with these events only, in this order. Others are still to be reported.
    ///
    /// # Panics
    ///
    /// Passes on a panic of a handler.
    pub fn turn_with(&mut self, events: impl IntoIterator<Item = Event>) -> Report {
        // First, as this may be code of the test.
        let events: Vec<_> = events.into_iter().collect();
        self.reactor.turn_with(events.iter().map(|event| (event.token(), event.ready().0)))
    }

    /// Dials one call, or passes over one that was canceled. Tells no events, and fires no timers.
    ///
    /// # Panics
    ///
    /// Passes on a panic of the handler.
    pub fn dial_one(&mut self) -> Report {
        self.queue().dial(Budget::calls(1))
    }

    /// Turns until nothing happens any more, jumping to when the next timer is due whenever there
    /// is nothing else to do. The report is the sum of all turns.
    ///
    /// What real sources and other threads have not reported by then comes later: see
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Says what is left after that many turns.
    ///
    /// # Panics
    ///
    /// As [`turn`](Self::turn).
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
        polled.expect("a poll, of which the system is to be capable");
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
    /// Events that are to be reported.
    pub events: usize,
    /// Timers that are armed.
    pub timers: usize,
    /// When the first of them is due, if nothing else is to be done before.
    pub due_in: Option<Duration>,
}

/// Says when the next timer is due, if that is known.
struct Due<'a>(&'a Option<Duration>);

impl fmt::Display for Due<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |due_in| write!(f, ", the next due in {due_in:?}"))
    }
}
