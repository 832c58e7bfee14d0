//! The state that a reactor, its handles and its registrations share.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::io;
use std::sync::Arc;

use mio::event::Source;
use mio::{Events, Registry, Token, Waker};

use crate::arena::{Arena, ArenaKey};
use crate::outside::{CallOrigin, TurnStep};
use crate::queue::QueueHandle;
use crate::reactor::event_stats::EventCounts;
use crate::reactor::readiness::Flags;
use crate::reactor::remote::remotes::Remotes;
use crate::reactor::scratch::Scratch;
use crate::reactor::timers::Timers;
use crate::reactor::token;
use crate::reactor::watch::{AnyWatch, Line};
use crate::step::Step;

/// A handle to a reactor: registers sources, arms timers, and makes remotes. Cloning counts a
/// reference.
#[derive(Clone)]
pub struct ReactorHandle {
    shared: Rc<Shared>,
}

impl ReactorHandle {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Rc::new(shared) }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Buffers for streams.
    pub(crate) fn scratch(&self) -> &Rc<Scratch> {
        &self.shared.scratch
    }

    /// Shows whether a handle is left.
    #[cfg(feature = "conformance")]
    pub(crate) fn downgrade(&self) -> alloc::rc::Weak<dyn core::any::Any> {
        Rc::<Shared>::downgrade(&self.shared)
    }
}

/// A panic of a handler leaves the reactor as rules R10 and M1 demand.
impl UnwindSafe for ReactorHandle {}
impl RefUnwindSafe for ReactorHandle {}

/// The poll is the parent process's.
const LEFT: u8 = 1;
/// A turn was observed: whether polls still are is asked.
const OBSERVED: u8 = 1 << 1;

/// What the last turn's batch shows of its poll.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// The poll has reported all events.
    Whole,
    /// It may have more, which a loop around its descriptor is not notified of again.
    Full,
    /// There was no poll: the batch has no room.
    NoPoll,
}

impl Batch {
    /// A batch that has no room for more than the `noted` events.
    #[cold]
    const fn without_room(noted: usize) -> Self {
        if noted == 0 { Self::NoPoll } else { Self::Full }
    }
}

pub(super) struct Shared {
    registry: Registry,
    /// Zero as usual, `LEFT`, `OBSERVED`.
    poll: Cell<u8>,
    /// Whether others may have registered with the poll what looks like ours: another guest,
    /// or one that is gone, and survived by its registrations.
    shares_poll: bool,
    pub(super) queue: QueueHandle,
    pub(super) watches: RefCell<Arena<Option<Rc<dyn AnyWatch>>>>,
    pub(super) line: Rc<Line>,
    scratch: Rc<Scratch>,
    /// How many registrations do not keep the loop running.
    unref: Cell<usize>,
    pub(super) timers: Timers,
    pub(super) remotes: Remotes,
    pub(super) stopped: Cell<bool>,
    batch: Cell<Batch>,
    pub(super) counts: EventCounts,
}

impl Shared {
    pub(super) fn new(
        registry: Registry,
        shares_poll: bool,
        waker: Arc<Waker>,
        queue: QueueHandle,
    ) -> Self {
        Self {
            registry,
            poll: Cell::new(0),
            shares_poll,
            watches: RefCell::new(Arena::new()),
            line: Rc::new(Line::new(queue.clone())),
            scratch: Rc::default(),
            queue,
            unref: Cell::new(0),
            timers: Timers::new(),
            remotes: Remotes::new(waker),
            stopped: Cell::new(false),
            batch: Cell::new(Batch::Whole),
            counts: EventCounts::default(),
        }
    }

    /// The least generation for the token of the next registration (rule M2).
    // (Inlined, it makes each readiness call 15 instructions dearer.)
    #[inline(never)]
    pub(super) fn least_generation(&self) -> u32 {
        if self.shares_poll { token::unused_generation() } else { 0 }
    }

    /// Notes a batch of events of a poll.
    #[inline]
    pub(super) fn note(&self, events: &Events) {
        let reported = events.iter().map(|event| (event.token(), || Flags::of(event)));
        let noted = self.note_each(reported);
        self.batch.set(if noted < events.capacity() {
            Batch::Whole
        } else {
            Batch::without_room(noted)
        });
    }

    /// Notes a batch of events, and counts them. No code of a user runs here, so none is lost (rule
    /// M1): without observers, their calls are scheduled too.
    #[inline]
    pub(super) fn note_each(
        &self,
        events: impl Iterator<Item = (Token, impl FnOnce() -> Flags)>,
    ) -> usize {
        let core = self.queue.core();
        let at_once = !core.is_observed() && self.line.ready.is_empty();
        let mut watches = self.watches.borrow_mut();
        let mut noted = 0;
        for (token, flags) in events {
            noted += 1;
            let Some(key) = token::key(token) else {
                self.counts.foreign.add();
                continue;
            };
            let Some(watch) = watches.get(key) else {
                self.counts.stale.add();
                continue;
            };
            let is_first = if at_once {
                Rc::clone(watch).note_and_schedule(flags(), core)
            } else {
                watch.note(flags())
            };
            if !is_first {
                self.counts.coalesced.add();
                continue;
            }
            self.counts.delivered.add();
            if !at_once {
                self.line.ready.push(key);
            }
        }
        noted
    }

    /// Schedules the readiness calls of those in line. If an observer panics meanwhile, the rest
    /// stays in line for the next turn.
    #[inline(always)]
    pub(super) fn schedule_ready(&self) {
        if !self.line.ready.is_empty() {
            self.schedule_line();
        }
    }

    #[inline(never)]
    fn schedule_line(&self) {
        let in_line = self.line.ready.len();
        for _ in 0..in_line {
            let Some(key) = self.line.ready.pop() else { return };
            let watch = self.watches.borrow_mut().get(key).cloned();
            if let Some(watch) = watch.filter(|watch| watch.is_in_line()) {
                let core = self.queue.core();
                let call = core.id(core.next_position());
                watch.schedule(core);
                if core.is_observed() {
                    let ArenaKey { slot, generation } = key;
                    core.notify_of_origin(call, &CallOrigin::Source { slot, generation });
                }
            }
        }
    }

    /// Judges the handlers that may have left readiness, once a poll has reported what there was: counts
    /// and reports those whose source it did not report. If an observer panics meanwhile, the rest is judged
    /// in the next turn.
    #[inline]
    pub(super) fn judge_handlers(&self) {
        if !self.line.suspects.is_empty() {
            match self.batch.get() {
                Batch::Whole => self.report_undrained(),
                Batch::Full | Batch::NoPoll => self.trim_suspects(),
            }
        }
    }

    #[cold]
    fn report_undrained(&self) {
        let listed = self.line.suspects.len();
        for _ in 0..listed {
            let Some(key) = self.line.suspects.pop() else { return };
            let watch = self.watches.borrow_mut().get(key).cloned();
            let Some(watch) = watch else { continue };
            // (On mio's `poll`, what an attempt has not found to block is not reported at all.)
            let call = watch.source_state().judge();
            if let Some(call) = call.filter(|_| !cfg!(mio_unsupported_force_poll_poll)) {
                self.counts.undrained.add();
                let (recipient, site) = (watch.recipient(), watch.site());
                self.queue.core().notify_end(call, Step::Undrained { recipient, site });
            }
        }
        self.line.suspects.shrink();
    }

    /// Forgets those whose registration is gone, if they are many.
    #[cold]
    fn trim_suspects(&self) {
        let mut watches = self.watches.borrow_mut();
        if self.line.suspects.len() > 2 * watches.len() {
            self.line.suspects.retain(|key| watches.get(key).is_some());
        }
    }

    /// The poll's registry.
    #[inline(always)]
    pub(super) fn registry(&self) -> io::Result<&Registry> {
        if self.poll.get() & LEFT != 0 { Err(poll_was_left()) } else { Ok(&self.registry) }
    }

    /// Whether anything is to be done before a poll.
    #[inline(always)]
    pub(super) fn has_poll_flags(&self) -> bool {
        self.poll.get() != 0
    }

    /// The reactor is about to poll: notifies the observers of it.
    ///
    /// # Errors
    ///
    /// As [`registry`](Self::registry).
    #[cold]
    #[inline(never)]
    pub(super) fn begin_poll(&self) -> io::Result<()> {
        self.registry()?;
        let core = self.queue.core();
        if core.is_observed() {
            core.notify_of_turn(&TurnStep::Polls);
        } else {
            self.end_observation();
        }
        Ok(())
    }

    /// The poll is left to the parent process.
    pub(super) fn leave_poll(&self) {
        self.poll.set(self.poll.get() | LEFT);
    }

    /// The queue is observed: observers are notified of polls, and of threads that send, from now on.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_observation(&self) {
        if self.poll.get() & OBSERVED == 0 {
            self.poll.set(self.poll.get() | OBSERVED);
            self.remotes.set_traced(true);
        }
    }

    /// The queue is observed no more.
    #[cold]
    #[inline(never)]
    pub(super) fn end_observation(&self) {
        self.poll.set(self.poll.get() & !OBSERVED);
        self.remotes.set_traced(false);
    }

    #[inline(always)]
    pub(super) fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry().map_or(Ok(()), |registry| registry.deregister(source))
    }

    /// Puts another watch in the place of one.
    pub(super) fn replace_watch(&self, key: ArenaKey, watch: &Rc<dyn AnyWatch>) {
        if let Some(place) = self.watches.borrow_mut().get_mut(key) {
            *place = Some(Rc::clone(watch));
        }
    }

    /// Counts a registration that does not keep the loop running any more, or does again.
    pub(super) fn count_unref(&self, unref: bool) {
        let count = self.unref.get();
        self.unref.set(if unref { count + 1 } else { count - 1 });
    }

    /// Ends a registration.
    pub(super) fn forget(&self, key: ArenaKey) {
        let watch = self.watches.borrow_mut().remove(key);
        if let Some(watch) = watch {
            if watch.source_state().is_unref.get() {
                self.count_unref(false);
            }
            watch.end("registration dropped");
        }
    }

    /// Takes all registrations out, to be dropped.
    pub(super) fn take_watches(&self) -> Arena<Option<Rc<dyn AnyWatch>>> {
        self.line.ready.clear();
        self.unref.set(0);
        self.batch.set(Batch::Whole);
        self.watches.replace(Arena::new())
    }

    /// Whether a turn may have work beside the events of its poll, such as a handler to judge.
    #[inline(always)]
    pub(super) fn has_more_than_events(&self) -> bool {
        !self.line.ready.is_empty()
            || !self.line.suspects.is_empty()
            || self.timers.len() > 0
            || self.remotes.is_busy()
    }

    /// Whether there is something to do at once.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_idle()
            || !self.line.ready.is_empty()
            || self.remotes.is_busy()
            || self.batch.get() == Batch::Full
    }

    /// Whether a stop of `run` was requested.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get() || self.remotes.is_stopped()
    }

    /// Whether anything can still happen.
    pub(super) fn can_go_on(&self) -> bool {
        // The remotes first: what the last of them sent is seen then.
        self.remotes.are_alive()
            || self.is_busy()
            || self.watches.borrow().len() > self.unref.get()
            || self.timers.keeps_running()
    }
}

#[cold]
fn poll_was_left() -> io::Error {
    io::Error::other("the poll was left to the parent process")
}
