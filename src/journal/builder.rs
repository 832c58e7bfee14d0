//! How a journal is set up.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use std::time::{Instant, SystemTime};

use crate::id::CallId;
use crate::journal::loop_log::LoopLog;
use crate::journal::pages::Pages;
use crate::journal::recorder::{Clock, Journal};
use crate::journal::trigger::{JournalTrigger, StepFilter};
use crate::queue::QueueHandle;
use crate::step::Step;

/// Steps kept, unless [`Journal::with_capacity`] says otherwise.
const CAPACITY: usize = 1 << 16;

impl Journal {
    /// Makes a journal of the latest 65,536 steps.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Makes a journal of the latest `steps` steps; 0 counts as 1.
    pub fn with_capacity(steps: usize) -> Self {
        Self::builder().keep(steps).build()
    }

    /// Makes a journal of the latest `steps` steps that reads the time from `clock`. The journal
    /// begins now.
    pub fn with_clock(steps: usize, clock: impl Fn() -> Instant + 'static) -> Self {
        Self::builder().keep(steps).clock(clock).build()
    }

    /// Sets up a journal with a filter, say, or a trigger.
    pub fn builder() -> JournalBuilder {
        JournalBuilder::new()
    }
}

/// Sets up a [`Journal`]; made by [`Journal::builder`].
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::{Duration, Instant};
/// use switchboard::CallQueue;
/// use switchboard::journal::{Journal, handler_longer_than};
///
/// let queue = CallQueue::new();
/// let slow = handler_longer_than(Duration::from_millis(20));
/// // (A clock that is set, for a test. Without it, the journal reads that of the system.)
/// let time = Rc::new(Cell::new(Instant::now()));
/// let clock = { let time = Rc::clone(&time); move || time.get() };
/// let journal = Journal::builder().trigger(slow).keep(4096).clock(clock).install(&queue);
///
/// queue.call(move |_| time.set(time.get() + Duration::from_millis(21)));
/// queue.dial_all();
/// let call = journal.triggered_by().expect("that was too long");
/// println!("{}", journal.explain(call)); // what led to it is kept, whatever comes now
/// journal.resume();
/// ```
#[must_use]
pub struct JournalBuilder {
    steps: usize,
    clock: Option<Clock>,
    filter: Option<StepFilter>,
    triggers: Vec<JournalTrigger>,
}

impl JournalBuilder {
    pub(super) fn new() -> Self {
        Self { steps: CAPACITY, clock: None, filter: None, triggers: Vec::new() }
    }

    /// Keeps the latest `steps` steps instead of 65,536; 0 counts as 1.
    pub const fn keep(mut self, steps: usize) -> Self {
        self.steps = if steps == 0 { 1 } else { steps };
        self
    }

    /// Reads the time from `clock`.
    pub fn clock(mut self, clock: impl Fn() -> Instant + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Keeps only steps for which `keeps` returns true, so that the others drop none of these. All are
    /// counted in [`figures`](Journal::figures).
    pub fn filter(mut self, keeps: impl Fn(CallId, &Step) -> bool + 'static) -> Self {
        self.filter = Some(Box::new(keeps));
        self
    }

    /// Stops recording once `trigger` has fired, so that the journal holds what led to it until
    /// [`resume`](Journal::resume) is called. The first of several triggers counts.
    pub fn trigger(mut self, trigger: JournalTrigger) -> Self {
        self.triggers.push(trigger);
        self
    }

    /// Makes the journal.
    pub fn build(self) -> Journal {
        let Self { steps, clock, filter, triggers } = self;
        // By another clock, it is not known which day it is.
        let date = clock.is_none().then(SystemTime::now);
        let clock = clock.unwrap_or_else(|| Box::new(Instant::now));
        let (pages, loop_log) = (Pages::new(steps).into(), LoopLog::new(steps).into());
        Journal { start: clock(), clock, date, filter, triggers, pages, loop_log }
    }

    /// Makes the journal, and adds it to the observers of `queue`.
    pub fn install(self, queue: &QueueHandle) -> Rc<Journal> {
        let journal = Rc::new(self.build());
        queue.add_observer(Rc::clone(&journal));
        journal
    }
}

impl fmt::Debug for JournalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalBuilder")
            .field("steps", &self.steps)
            .field("triggers", &self.triggers)
            .finish_non_exhaustive()
    }
}
