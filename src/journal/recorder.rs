//! The observer that records.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::num::NonZeroU64;
use std::time::{Instant, SystemTime};

use crate::id::CallId;
use crate::journal::explain::Story;
use crate::journal::history::History;
use crate::journal::loop_log::LoopLog;
use crate::journal::pages::{Figures, Pages, What};
use crate::journal::snapshot::Snapshot;
use crate::journal::trigger::{JournalTrigger, StepFilter};
use crate::observe::Observer;
use crate::op_step::OpStep;
use crate::outside::{CallOrigin, TurnStep};
use crate::step::{RecipientInfo, Step};

pub(super) type Clock = Box<dyn Fn() -> Instant>;

/// An observer that remembers the latest steps of calls and operations.
///
/// Add it in an `Rc`, to ask it later. See the [module](crate::journal).
pub struct Journal {
    pub(super) clock: Clock,
    pub(super) start: Instant,
    pub(super) date: Option<SystemTime>,
    pub(super) filter: Option<StepFilter>,
    pub(super) triggers: Vec<JournalTrigger>,
    pub(super) pages: RefCell<Pages>,
    pub(super) loop_log: RefCell<LoopLog>,
}

impl Journal {
    /// Reports the life of a call in a few lines: who created and scheduled it, and where; how long
    /// it waited, and behind what; how it ended, and why; what it caused. If it delivers the result
    /// of an operation, the life of that too. Steps that the journal has dropped, or never saw, are
    /// reported as missing.
    ///
    /// Cost: reads the whole journal. For many stories, take a [`history`](Self::history).
    pub fn explain(&self, call: CallId) -> Story {
        self.history().explain(call)
    }

    /// A copy of what the journal holds, as of now, in order.
    ///
    /// Cost: reads and links all steps. On the thread of a busy loop, take a
    /// [`snapshot`](Self::snapshot), and let another thread put it in order.
    pub fn history(&self) -> History {
        self.snapshot().into_history()
    }

    /// A copy of the steps that the journal holds, as of now.
    pub fn snapshot(&self) -> Snapshot {
        let now = (self.clock)();
        let pages = self.pages.borrow();
        Snapshot {
            entries: pages.entries(),
            labels: pages.labels.all(),
            names: pages.names.all(),
            loop_log: self.loop_log.borrow().clone(),
            dropped: pages.dropped(),
            start: self.start,
            date: self.date,
            now,
        }
    }

    /// Counts and latencies since the journal began, even of steps that it has dropped.
    pub fn figures(&self) -> Figures {
        self.pages.borrow().figures()
    }

    /// The call that fired a trigger, if one did. The journal then holds the steps up to that of this
    /// call, and records no more until [`resume`](Self::resume) is called; figures go on.
    pub fn triggered_by(&self) -> Option<CallId> {
        self.pages.borrow().frozen()
    }

    /// Drops the steps that led to the trigger, and records again. Does nothing if none has fired.
    pub fn resume(&self) {
        if self.triggered_by().is_some() {
            self.loop_log.borrow_mut().clear();
        }
        self.pages.borrow_mut().resume();
    }
}

impl Observer for Journal {
    /// The clock, the filter and the triggers are user code, so nothing is borrowed when they run.
    fn observe(&self, call: CallId, step: &Step) {
        let is_scheduled = matches!(step, Step::Scheduled { .. });
        let same = is_scheduled.then(|| self.pages.borrow().same_moment(call)).flatten();
        let now = same.unwrap_or_else(|| (self.clock)());
        let keeps = self.filter.as_ref().is_none_or(|keeps| keeps(call, step));
        let took = self.pages.borrow_mut().note(now, call, What::Call(*step), keeps);
        if self.triggers.iter().any(|trigger| trigger.fires(call, step, took)) {
            self.pages.borrow_mut().freeze(call);
        }
    }

    fn observe_label(&self, recipient: RecipientInfo, label: Option<&str>) {
        let pages = &mut *self.pages.borrow_mut();
        match label {
            Some(label) => pages.labels.set(recipient, label),
            None => pages.labels.release(recipient, pages.next_step()),
        }
    }

    fn observe_name(&self, call: CallId, name: &str) {
        let pages = &mut *self.pages.borrow_mut();
        pages.names.set(call, name);
        pages.names.release(call, pages.next_step());
    }

    fn observe_removal(&self, queue: NonZeroU64) {
        self.pages.borrow_mut().forget(queue);
        self.loop_log.borrow_mut().forget(queue);
    }

    fn observe_operation(&self, operation: CallId, step: &OpStep) {
        let now = (self.clock)();
        self.pages.borrow_mut().note(now, operation, What::Operation(*step), true);
    }

    fn observe_origin(&self, call: CallId, origin: &CallOrigin) {
        if self.triggered_by().is_none() {
            self.loop_log.borrow_mut().add_origin(call, origin);
        }
    }

    fn observe_turn(&self, queue: NonZeroU64, step: &TurnStep) {
        let now = (self.clock)();
        let is_frozen = self.triggered_by().is_some();
        self.loop_log.borrow_mut().note(now, queue, step, is_frozen);
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
            (pages.watched(), texts, pages.len(), pages.dropped())
        };
        write!(f, "Journal({len} steps, {dropped} dropped, ")?;
        write!(f, "{pending} calls pending, {live} live, {texts} labels and names)")
    }
}
