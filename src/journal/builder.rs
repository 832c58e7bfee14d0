//! The setup of a journal.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use std::time::{Instant, SystemTime};

use crate::id::CallId;
use crate::journal::filter::{ChosenCalls, Filter, RecipientFilter, StepFilter};
use crate::journal::loop_log::LoopLog;
use crate::journal::pages::Pages;
use crate::journal::recorder::{BoxedClock, Journal};
use crate::journal::trigger::JournalTrigger;
use crate::queue::QueueHandle;
use crate::step::{RecipientInfo, Step};

/// Steps kept, unless [`Journal::with_capacity`] sets another number.
const CAPACITY: usize = 1 << 16;

impl Journal {
    /// Creates a journal of the latest 65,536 steps.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// let queue = CallQueue::new();
    /// let journal = Rc::new(Journal::new());
    /// queue.add_observer(Rc::clone(&journal));
    /// let id = queue.call(|_| ());
    /// queue.dial_all();
    /// println!("{}", journal.explain(id));
    /// assert_eq!(journal.figures().counts.finished, 1);
    /// ```
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a journal of the latest `steps` steps; 0 counts as 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// let queue = CallQueue::new();
    /// let journal = Rc::new(Journal::with_capacity(3)); // those of one call
    /// queue.add_observer(Rc::clone(&journal));
    /// queue.call(|_| ());
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// assert_eq!(journal.history().dropped_steps(), 3);
    /// ```
    pub fn with_capacity(steps: usize) -> Self {
        Self::builder().keep(steps).build()
    }

    /// Creates a journal of the latest `steps` steps that reads the time from `clock`. The journal
    /// begins now.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use std::time::{Duration, Instant};
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// let queue = CallQueue::new();
    /// let time = Rc::new(Cell::new(Instant::now()));
    /// let clock = Rc::clone(&time);
    /// let journal = Rc::new(Journal::with_clock(1024, move || clock.get()));
    /// queue.add_observer(Rc::clone(&journal));
    /// queue.call(move |_| time.set(time.get() + Duration::from_millis(5)));
    /// queue.dial_all();
    /// assert_eq!(journal.figures().handling.max, Duration::from_millis(5));
    /// ```
    pub fn with_clock(steps: usize, clock: impl Fn() -> Instant + 'static) -> Self {
        Self::builder().keep(steps).clock(clock).build()
    }

    /// Returns a builder, which sets up a journal with a filter, a trigger or a clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// let queue = CallQueue::new();
    /// let journal = Journal::builder().keep(4096).install(&queue);
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// assert_eq!(journal.history().calls().len(), 1);
    /// ```
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
    clock: Option<BoxedClock>,
    filter: Option<StepFilter>,
    recipients: Option<RecipientFilter>,
    triggers: Vec<JournalTrigger>,
}

impl JournalBuilder {
    pub(super) fn new() -> Self {
        Self { steps: CAPACITY, clock: None, filter: None, recipients: None, triggers: Vec::new() }
    }

    /// Keeps the latest `steps` steps instead of 65,536; 0 counts as 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// let queue = CallQueue::new();
    /// let journal = Journal::builder().keep(1 << 20).install(&queue); // some 100 MB at most
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// assert_eq!(journal.history().dropped_steps(), 0);
    /// ```
    pub const fn keep(mut self, steps: usize) -> Self {
        self.steps = if steps == 0 { 1 } else { steps };
        self
    }

    /// Reads the time from `clock`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    /// use std::time::Duration;
    ///
    /// let queue = CallQueue::new();
    /// let start = Instant::now();
    /// // A clock that stands still: the journal of a test is the same in every run.
    /// let journal = Journal::builder().clock(move || start).install(&queue);
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// assert_eq!(journal.figures().waiting.max, Duration::ZERO);
    /// ```
    pub fn clock(mut self, clock: impl Fn() -> Instant + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Keeps only steps of calls for which `keeps` returns true, so that other steps do not displace them.
    /// All steps are counted in [`figures`](Journal::figures). Steps of operations are kept whatever `keeps`
    /// returns; [`filter_recipients`](Self::filter_recipients) leaves them out.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::journal::Journal;
    /// use switchboard::{CallQueue, Step};
    ///
    /// let queue = CallQueue::new();
    /// // Only what went wrong, so that a short journal reaches far back.
    /// let journal = Journal::builder()
    ///     .filter(|_, step| matches!(step, Step::Abandoned { .. } | Step::Panicked))
    ///     .keep(1024)
    ///     .install(&queue);
    /// queue.call(|_| ());
    /// drop(queue.callback(|_, ()| ()));
    /// queue.dial_all();
    /// assert_eq!(journal.history().calls().len(), 1);
    /// ```
    pub fn filter(mut self, keeps: impl Fn(CallId, &Step) -> bool + 'static) -> Self {
        self.filter = Some(Box::new(keeps));
        self
    }

    /// Keeps only the steps of calls to recipients for which `keeps` returns true, and of operations
    /// whose results these calls deliver. All are counted in [`figures`](Journal::figures). With a
    /// [`filter`](Self::filter) too, a step must pass both.
    ///
    /// A call is followed from its creation to its end, if the journal sees both; of more calls at a
    /// time than it keeps steps, only that number.
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// struct Session;
    ///
    /// let queue = CallQueue::new();
    /// let (one, other) = (queue.recipient(Session), queue.recipient(Session));
    /// let chosen = one.info(); // or all of a type: `to.type_name == std::any::type_name::<Session>()`
    /// let journal = Journal::builder().filter_recipients(move |to| *to == chosen).install(&queue);
    ///
    /// let (kept, left_out) = (one.call(|_, _| ()), other.call(|_, _| ()));
    /// queue.dial_all();
    /// let history = journal.history();
    /// assert!(history.call(kept).is_some() && history.call(left_out).is_none());
    /// assert_eq!(journal.figures().counts.finished, 2);
    /// ```
    pub fn filter_recipients(mut self, keeps: impl Fn(&RecipientInfo) -> bool + 'static) -> Self {
        self.recipients = Some(Box::new(keeps));
        self
    }

    /// Stops recording once `trigger` has fired, so that the journal holds what led to it until
    /// [`resume`](Journal::resume) is called. The first of several triggers counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::journal::{Journal, on_step};
    /// use switchboard::{CallQueue, Step};
    ///
    /// let queue = CallQueue::new();
    /// let abandoned = on_step(|_, step| matches!(step, Step::Abandoned { .. }));
    /// let journal = Journal::builder().trigger(abandoned).install(&queue);
    /// let callback = queue.callback(|_, ()| ());
    /// let id = callback.id();
    /// drop(callback); // a bug: the journal stops, and holds what led to it
    /// assert_eq!(journal.triggered_by(), Some(id));
    /// ```
    pub fn trigger(mut self, trigger: JournalTrigger) -> Self {
        self.triggers.push(trigger);
        self
    }

    /// Returns the journal.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// // One journal for two queues of a thread.
    /// let journal = Rc::new(Journal::builder().keep(4096).build());
    /// let (ui, network) = (CallQueue::new(), CallQueue::new());
    /// ui.add_observer(Rc::clone(&journal));
    /// network.add_observer(Rc::clone(&journal));
    /// ui.call(|_| ());
    /// network.call(|_| ());
    /// assert_eq!(journal.figures().counts.scheduled, 2);
    /// ```
    pub fn build(self) -> Journal {
        let Self { steps, clock, filter, recipients, triggers } = self;
        // By another clock, it is not known which day it is.
        let date = clock.is_none().then(SystemTime::now);
        let clock = clock.unwrap_or_else(|| Box::new(Instant::now));
        let start = clock();
        let recipients = recipients.map(|chooses| ChosenCalls::new(chooses, steps));
        let is_set = filter.is_some() || recipients.is_some();
        let filter = is_set.then_some(Filter { steps: filter, recipients });
        let keeps_all = filter.is_none() && triggers.is_empty();
        let (pages, loop_log) = (Pages::new(steps).into(), LoopLog::new(steps).into());
        Journal { clock, start, date, filter, triggers, keeps_all, pages, loop_log }
    }

    /// Adds the journal to the observers of `queue`, and returns it.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    /// use switchboard::journal::Journal;
    ///
    /// let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let id = queue.call(|_| ());
    /// queue.dial_all();
    /// assert!(journal.explain(id).to_string().contains("finished"));
    /// ```
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
