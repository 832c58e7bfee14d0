//! The records of a history: one for each call, operation and recipient.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;
use core::time::Duration;

use crate::id::CallId;
use crate::journal::latency::Latency;
use crate::op_step::Outcome;
use crate::outside::CallOrigin;
use crate::step::Refusal;
use crate::step::{RecipientInfo, short_name};

/// One step: its time, the call that took it, and its site, as far as they were reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// Since the journal began.
    pub at: Duration,
    /// The call that was live, innermost; none from outside any call.
    pub by: Option<CallId>,
    /// The place in the code, if the step has one.
    pub site: Option<&'static Location<'static>>,
    /// How many steps the history holds before.
    pub(super) place: usize,
}

/// The record of a call. It lacks steps that did not happen, and steps that the journal dropped or
/// never saw.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallRecord {
    /// Its id.
    pub id: CallId,
    /// Its recipient; none for a function call, and if `created` is missing.
    pub recipient: Option<RecipientInfo>,
    /// The label of its recipient ([`set_label`](crate::Address::set_label)), the latest.
    pub label: Option<Arc<str>>,
    /// Its name ([`name_call`](crate::QueueHandle::name_call)).
    pub named: Option<Arc<str>>,
    /// What scheduled it on behalf of the reactor; none if code at its site did.
    pub origin: Option<CallOrigin>,
    /// When it was created.
    pub created: Option<Moment>,
    /// When it was scheduled.
    pub scheduled: Option<Moment>,
    /// When it was dialed; `by` is the call that it is nested in.
    pub dialed: Option<Moment>,
    /// When it was deferred, and which call was live with its recipient then (rule R2).
    pub deferred: Vec<(Moment, CallId)>,
    /// When and how it ended.
    pub ended: Option<(Moment, End)>,
    /// The cancels that were too late, with their reasons.
    pub late_cancels: Vec<(Moment, &'static str)>,
    /// When its handler was found not to have drained its source (rule M3), and where that was registered.
    pub undrained: Option<Moment>,
}

impl CallRecord {
    pub(super) const fn new(id: CallId) -> Self {
        Self {
            id,
            recipient: None,
            label: None,
            named: None,
            origin: None,
            created: None,
            scheduled: None,
            dialed: None,
            deferred: Vec::new(),
            ended: None,
            late_cancels: Vec::new(),
            undrained: None,
        }
    }

    /// Returns the time from schedule to dial.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let id = queue.call(|_| ());
    /// assert!(journal.history().call(id).is_some_and(|call| call.waiting().is_none())); // not dialed yet
    /// queue.dial_all();
    /// assert!(journal.history().call(id).is_some_and(|call| call.waiting().is_some()));
    /// ```
    pub fn waiting(&self) -> Option<Duration> {
        Some(self.dialed?.at.saturating_sub(self.scheduled?.at))
    }

    /// Returns the time from dial to return or unwind.
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
    /// let history = journal.history();
    /// let slowest = history.calls().iter().max_by_key(|call| call.handling());
    /// assert!(slowest.is_some_and(|call| call.handling().is_some()));
    /// ```
    pub fn handling(&self) -> Option<Duration> {
        Some(self.ended?.0.at.saturating_sub(self.dialed?.at))
    }

    /// Returns the step that caused the call: that it was scheduled or, if it never was, that it was
    /// created.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let id = queue.call(|_| ());
    /// let history = journal.history();
    /// let cause = history.call(id).and_then(|call| call.cause()).expect("it is scheduled");
    /// assert_eq!(cause.by, None); // from outside any call
    /// println!("scheduled at {}", cause.site.expect("a schedule has a site"));
    /// ```
    pub fn cause(&self) -> Option<&Moment> {
        self.scheduled.as_ref().or(self.created.as_ref())
    }

    /// Whether it was not scheduled, so far as is known. Of calls whose creation is not known, none is: the
    /// schedule, which comes later, may not be known either.
    pub(super) const fn is_unscheduled(&self) -> bool {
        self.created.is_some() && self.scheduled.is_none()
    }

    /// The call with its recipient, as in "#3 to Server(0)".
    pub(super) fn name(&self) -> Name<'_> {
        Name(self)
    }
}

pub(super) struct Name<'a>(&'a CallRecord);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.0;
        match (&call.recipient, &call.created) {
            (Some(recipient), _) => write!(f, "{} to {recipient}", call.id)?,
            (None, Some(_)) => write!(f, "{}, a function call", call.id)?,
            (None, None) => write!(f, "{}", call.id)?,
        }
        for text in [&call.label, &call.named].into_iter().flatten() {
            write!(f, " ({text})")?;
        }
        Ok(())
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The handler returned.
    Finished,
    /// The handler unwound.
    Panicked,
    /// The call was canceled before it was dialed.
    Canceled {
        /// The reason given.
        reason: &'static str,
    },
    /// The call was not dialed when the queue reached it.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// A callback was dropped without being called.
    Abandoned,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Panicked => f.write_str("panicked"),
            Self::Canceled { reason } => write!(f, "canceled: {reason}"),
            Self::Refused { refusal } => write!(f, "refused: {refusal}"),
            Self::Abandoned => f.write_str("abandoned: dropped without being called"),
        }
    }
}

/// The record of an operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OperationRecord {
    /// The call that delivers its result, which names it.
    pub id: CallId,
    /// The full name of the type of its context; empty if `started` is missing.
    pub context: &'static str,
    /// When it was started.
    pub started: Option<Moment>,
    /// The calls that it waited for, one after the other.
    pub waits_for: Vec<(Moment, CallId)>,
    /// When it was canceled, if that was in time.
    pub canceling: Option<Moment>,
    /// When and how it ended.
    pub ended: Option<(Moment, OpEnd)>,
    /// The operation that it is a lower layer of.
    pub upper: Option<CallId>,
}

impl OperationRecord {
    pub(super) const fn new(id: CallId) -> Self {
        Self {
            id,
            context: "",
            started: None,
            waits_for: Vec::new(),
            canceling: None,
            ended: None,
            upper: None,
        }
    }

    /// Returns the name of the type of its context, without path and parameters.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # use switchboard::op::{OpResult, Operation};
    /// # let queue = CallQueue::new();
    /// struct Lookup; // the context of the operation
    ///
    /// let journal = Journal::builder().install(&queue);
    /// let done = queue.callback(|_, _: OpResult<u32, String>| ());
    /// let operation = Operation::new(done, Lookup, |_| ());
    /// assert_eq!(journal.history().operations()[0].name(), "Lookup");
    /// # operation.complete(Ok(7)).expect("it runs");
    /// ```
    pub fn name(&self) -> &'static str {
        if self.context.is_empty() { "unknown" } else { short_name(self.context) }
    }

    /// Returns the time from start to end.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::CallQueue;
    /// # use switchboard::journal::Journal;
    /// # use switchboard::op::{OpResult, Operation};
    /// # let queue = CallQueue::new();
    /// let journal = Journal::builder().install(&queue);
    /// let done = queue.callback(|_, _: OpResult<u32, String>| ());
    /// let operation = Operation::new(done, (), |_| ());
    /// assert_eq!(journal.history().operations()[0].duration(), None); // it runs
    /// operation.complete(Ok(7)).expect("it runs");
    /// assert!(journal.history().operations()[0].duration().is_some());
    /// ```
    pub fn duration(&self) -> Option<Duration> {
        Some(self.ended?.0.at.saturating_sub(self.started?.at))
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpEnd {
    /// It has a result.
    Completed {
        /// The kind of the result.
        outcome: Outcome,
    },
    /// Its start was taken back.
    Declined {
        /// The reason given.
        reason: &'static str,
    },
}

impl fmt::Display for OpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed { outcome } => write!(f, "completed: {outcome}"),
            Self::Declined { reason } => write!(f, "declined: {reason}"),
        }
    }
}

/// The record of a recipient, or of the function calls of a queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecipientRecord {
    /// Which one; none for function calls.
    pub info: Option<RecipientInfo>,
    /// Its label, the latest.
    pub label: Option<Arc<str>>,
    /// Its calls, in the order that they were first seen.
    pub calls: Vec<CallId>,
    /// The times from schedule to dial.
    pub waiting: Latency,
    /// From dial to return or unwind, nested calls included.
    pub handling: Latency,
}
