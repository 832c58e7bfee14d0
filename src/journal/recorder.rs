//! The observer that records.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::num::NonZeroU64;
use core::panic::Location;
use std::time::{Instant, SystemTime};

use crate::id::CallId;
use crate::journal::explain::Story;
use crate::journal::figures::Figures;
use crate::journal::filter::{Filter, LeftOut};
use crate::journal::history::History;
use crate::journal::loop_log::LoopLog;
use crate::journal::pages::Pages;
use crate::journal::snapshot::Snapshot;
use crate::journal::trigger::JournalTrigger;
use crate::observe::Observer;
use crate::op_step::OpStep;
use crate::outside::{CallOrigin, TurnStep};
use crate::step::{RecipientInfo, Step};

pub(super) type BoxedClock = Box<dyn Fn() -> Instant>;

/// An observer that records the latest steps of calls and operations.
///
/// Add it in an `Rc`, and keep a clone for later. See the [module](crate::journal).
pub struct Journal {
    pub(super) clock: BoxedClock,
    pub(super) start: Instant,
    pub(super) date: Option<SystemTime>,
    pub(super) filter: Option<Filter>,
    pub(super) triggers: Vec<JournalTrigger>,
    /// There is neither a filter nor a trigger.
    pub(super) keeps_all: bool,
    pub(super) pages: RefCell<Pages>,
    pub(super) loop_log: RefCell<LoopLog>,
}

impl Journal {
    /// Returns the story of a call in a few lines: who created and scheduled it, and where; how long it
    /// waited, and for which calls; how it ended, and why; what it caused. If it delivers the result of
    /// an operation, the life of that too. Steps that the journal has dropped, or never saw, are
    /// reported as missing.
    ///
    /// Cost: reads the whole journal. For many stories, take a [`history`](Self::history).
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let id = queue.call(|_| ());
    /// queue.cancel(id, "client disconnected");
    /// let story = journal.explain(id).to_string();
    /// assert!(story.contains("client disconnected"));
    /// ```
    pub fn explain(&self, call: CallId) -> Story {
        self.history().explain(call)
    }

    /// Returns a copy of the journal, as of now, in order; as of when a trigger fired, if one did.
    ///
    /// Cost: reads and links all steps. On the thread of a busy loop, take a
    /// [`snapshot`](Self::snapshot), and let another thread put it in order.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// queue.call(|_| ());
    /// let history = journal.history();
    /// queue.call(|_| ());
    /// assert_eq!(history.calls().len(), 1); // as of then
    /// ```
    pub fn history(&self) -> History {
        self.snapshot().into_history()
    }

    /// Returns a copy of the steps that the journal holds now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// queue.call(|_| ());
    /// let snapshot = journal.snapshot(); // cheap, and `Send`
    /// let page = std::thread::spawn(move || {
    ///     let mut page = Vec::new();
    ///     snapshot.into_history().write_timeline(&mut page).map(|()| page)
    /// });
    /// assert!(page.join().expect("no panic")?.ends_with(b"</html>\n"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let now = (self.clock)();
        let pages = self.pages.borrow();
        // What happened since a trigger fired is not known: so what is held is of that time.
        let stopped = pages.frozen().map(|(_, at)| at);
        Snapshot {
            entries: pages.ring.entries(),
            labels: pages.labels.all(),
            names: pages.names.all(),
            loop_log: self.loop_log.borrow().clone(),
            dropped: pages.ring.dropped(),
            start: self.start,
            date: self.date,
            now: stopped.unwrap_or(now),
            is_stopped: stopped.is_some(),
            left_out: LeftOut::by(self.filter.as_ref()),
        }
    }

    /// Returns counts and latencies since the journal began, including those of dropped steps.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// let figures = journal.figures(); // for a metric
    /// println!("{} dialed, waited {}", figures.counts.dialed, figures.waiting);
    /// # assert_eq!(figures.counts.dialed, 1);
    /// ```
    pub fn figures(&self) -> Figures {
        self.pages.borrow().figures()
    }

    /// Returns the call that fired a trigger, if one did. The journal then holds the steps up to that
    /// of this call, and records nothing until [`resume`](Self::resume) is called; figures are still
    /// counted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::{Journal, wait_longer_than};
    /// # use std::time::Duration;
    /// # let queue = CallQueue::new();
    /// let late = wait_longer_than(Duration::from_secs(1));
    /// let journal = Journal::builder().trigger(late).install(&queue);
    /// queue.call(|_| ());
    /// queue.dial_all();
    /// // From a timer, every minute:
    /// if let Some(call) = journal.triggered_by() {
    ///     eprintln!("{}", journal.explain(call));
    ///     journal.resume();
    /// }
    /// # assert_eq!(journal.figures().counts.dialed, 1);
    /// ```
    pub fn triggered_by(&self) -> Option<CallId> {
        self.pages.borrow().frozen().map(|(call, _)| call)
    }

    /// Drops the steps that led to the trigger, and records again. Does nothing if none has fired.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::{CallQueue, Step};
    /// # use switchboard::journal::{Journal, on_step};
    /// # let queue = CallQueue::new();
    /// let refused = on_step(|_, step| matches!(step, Step::Abandoned { .. }));
    /// let journal = Journal::builder().trigger(refused).install(&queue);
    /// drop(queue.callback(|_, ()| ()));
    /// assert!(journal.triggered_by().is_some());
    /// journal.resume(); // what it held has been written somewhere
    /// assert_eq!(journal.triggered_by(), None);
    /// ```
    pub fn resume(&self) {
        if self.triggered_by().is_some() {
            self.loop_log.borrow_mut().clear();
        }
        self.pages.borrow_mut().resume();
    }
}

impl Journal {
    #[inline(never)]
    fn observe_with_care(&self, call: CallId, step: &Step) {
        let now = (self.clock)();
        let keeps = self.filter.as_ref().is_none_or(|filter| filter.keeps(call, step));
        let took = self.pages.borrow_mut().note(now, call, step, keeps);
        if self.triggers.iter().any(|trigger| trigger.fires(call, step, took)) {
            self.pages.borrow_mut().freeze(now, call);
        }
    }

    /// Whether what happens to a call and is no step of it is kept.
    fn keeps_call(&self, call: CallId) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.keeps_call(call))
    }
}

/// The clock, the filters and the triggers are user code, so nothing is borrowed when they run.
impl Observer for Journal {
    fn observe(&self, call: CallId, step: &Step) {
        if self.keeps_all && matches!(step, Step::Dialed) {
            let now = (self.clock)();
            self.pages.borrow_mut().note_dialed(now, call);
        } else if self.keeps_all && matches!(step, Step::Finished) {
            let now = (self.clock)();
            self.pages.borrow_mut().note_finished(now, call);
        } else {
            self.observe_with_care(call, step);
        }
    }

    /// One read of the clock for both steps, unless filters or triggers are to see each.
    fn observe_call(
        &self,
        call: CallId,
        recipient: Option<&RecipientInfo>,
        site: &'static Location<'static>,
    ) -> bool {
        let keeps_all = self.keeps_all;
        if keeps_all {
            let now = (self.clock)();
            self.pages.borrow_mut().note_call(now, call, recipient, site);
        }
        keeps_all
    }

    fn observe_put_back(&self, call: CallId) {
        let (now, keeps) = ((self.clock)(), self.keeps_call(call));
        self.pages.borrow_mut().note_put_back(now, call, keeps);
    }

    fn observe_dial_again(&self, call: CallId) {
        let (now, keeps) = ((self.clock)(), self.keeps_call(call));
        self.pages.borrow_mut().note_dialed_again(now, call, keeps);
    }

    fn observe_label(&self, queue: NonZeroU64, recipient: RecipientInfo, label: Option<&str>) {
        if self.filter.as_ref().is_none_or(|filter| filter.keeps_label(recipient)) {
            self.pages.borrow_mut().label((queue, recipient), label);
        }
    }

    fn observe_name(&self, call: CallId, name: &str) {
        if self.keeps_call(call) {
            self.pages.borrow_mut().name(call, name);
        }
    }

    fn observe_removal(&self, queue: NonZeroU64) {
        let now = (self.clock)();
        self.pages.borrow_mut().forget(now, queue);
        self.loop_log.borrow_mut().forget(queue);
        if let Some(filter) = &self.filter {
            filter.forget(queue);
        }
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        let now = (self.clock)();
        let filter = self.filter.as_ref();
        let keeps = filter.is_none_or(|filter| filter.keeps_operation(operation, step));
        self.pages.borrow_mut().note_operation(now, operation, step, keeps);
    }

    fn observe_origin(&self, call: CallId, origin: &CallOrigin) {
        if self.triggered_by().is_none() && self.keeps_call(call) {
            self.loop_log.borrow_mut().add_origin(call, origin);
        }
    }

    fn observe_turn(&self, queue: NonZeroU64, step: &TurnStep) {
        let now = (self.clock)();
        let (next_step, is_frozen) = {
            let pages = self.pages.borrow();
            (pages.ring.next_step(), pages.frozen().is_some())
        };
        self.loop_log.borrow_mut().note((now, next_step), queue, step, is_frozen);
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((pending, live), texts, len, dropped) = {
            let pages = self.pages.borrow();
            let texts = pages.labels.len() + pages.names.len();
            (pages.watched(), texts, pages.ring.len(), pages.ring.dropped())
        };
        write!(f, "Journal({len} steps, {dropped} dropped, ")?;
        write!(f, "{pending} calls pending, {live} live, {texts} labels and names)")
    }
}
