//! The outcomes of scheduling, dialing and canceling.

use core::fmt;

use thiserror::Error;

/// A call was not scheduled: the kind of the error, and the rejected value.
///
/// The kind implements [`Error`](core::error::Error) for every type of value, so use the kind with `?`:
///
/// ```
/// use std::rc::Rc;
/// use switchboard::{CallQueue, ScheduleError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let queue = CallQueue::bounded(1);
/// let shared = Rc::new(5);
/// queue.try_call(move |_| assert_eq!(*shared, 5)).map_err(ScheduleError::into_kind)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ScheduleError<C> {
    kind: ScheduleErrorKind,
    rejected: C,
}

/// Why a call was not scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ScheduleErrorKind {
    /// The owner of the queue has dropped it (rule R11).
    #[error("call not scheduled: the owner of the queue has dropped it; use a live queue")]
    QueueDropped,
    /// The queue's limit of pending calls is reached
    /// ([`CallQueue::bounded`](crate::CallQueue::bounded)).
    #[error("call not scheduled: the queue is full; dial it, then schedule the call again")]
    Full,
    /// The queue has given out all of its 2^62 positions.
    #[error("call not scheduled: all 2^62 call ids of the queue are used up; make a new queue")]
    IdsExhausted,
}

impl<C> ScheduleError<C> {
    pub(crate) const fn new(kind: ScheduleErrorKind, rejected: C) -> Self {
        Self { kind, rejected }
    }

    /// Returns why the call was not scheduled.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, ScheduleErrorKind};
    ///
    /// let queue = CallQueue::bounded(1);
    /// queue.call(|_| ());
    /// let error = queue.try_call(|_| ()).expect_err("the queue is full");
    /// match error.kind() {
    ///     ScheduleErrorKind::Full => println!("busy: {error}"),
    ///     kind => panic!("{kind}"),
    /// }
    /// # queue.dial_all();
    /// ```
    pub const fn kind(&self) -> ScheduleErrorKind {
        self.kind
    }

    /// Returns the value that was not scheduled.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::CallQueue;
    ///
    /// let queue = CallQueue::bounded(1);
    /// queue.call(|_| ());
    /// let line = String::from("log this");
    /// let Err(error) = queue.try_call(move |_| assert_eq!(line, "log this")) else {
    ///     panic!("there is room for one");
    /// };
    /// let call = error.into_inner(); // with all that it has captured
    /// queue.dial_all();
    /// queue.call(call);
    /// assert_eq!(queue.dial_all().dialed, 1);
    /// ```
    pub fn into_inner(self) -> C {
        self.rejected
    }

    /// Returns why the call was not scheduled, and drops the rejected value.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use switchboard::{CallQueue, ScheduleError};
    ///
    /// fn submit(queue: &CallQueue) -> Result<(), Box<dyn Error + Send + Sync>> {
    ///     queue.try_call(|_| ()).map_err(ScheduleError::into_kind)?;
    ///     Ok(())
    /// }
    ///
    /// let queue = CallQueue::bounded(0);
    /// assert!(submit(&queue).is_err_and(|error| error.to_string().contains("full")));
    /// ```
    pub fn into_kind(self) -> ScheduleErrorKind {
        self.kind
    }

    /// Returns the kind of the error and the value that was not scheduled.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{CallQueue, ScheduleErrorKind};
    ///
    /// let queue = CallQueue::bounded(1);
    /// let mut waiting = Vec::new();
    /// for _ in 0..3 {
    ///     if let Err(error) = queue.try_call(|_| ()) {
    ///         let (kind, call) = error.into_parts();
    ///         assert_eq!(kind, ScheduleErrorKind::Full);
    ///         waiting.push(call); // scheduled again when there is room
    ///     }
    /// }
    /// assert_eq!(waiting.len(), 2);
    /// ```
    pub fn into_parts(self) -> (ScheduleErrorKind, C) {
        (self.kind, self.rejected)
    }
}

impl<C> From<ScheduleError<C>> for ScheduleErrorKind {
    fn from(error: ScheduleError<C>) -> Self {
        error.kind
    }
}

impl<C> fmt::Debug for ScheduleError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScheduleError({:?}, ..)", self.kind)
    }
}

/// The outcome of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cancellation {
    /// Canceled, now.
    Canceled,
    /// Canceled before; the first reason stays. The queue returns this until it has passed the place of
    /// the canceled call (for a callback that is not called, until its caller answers, declines or drops
    /// it), and [`Late`](Self::Late) after that. For an operation: canceled before, and its result is not
    /// yet known.
    Already,
    /// Too late: the call is live or over, or the result of the operation is known. Nothing happened.
    Late,
    /// The id belongs to another queue. Nothing happened.
    Foreign,
}

/// What happened in a turn, turns within it included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Calls whose handler ran.
    pub dialed: u64,
    /// Canceled calls that the queue passed over.
    pub canceled: u64,
    /// Calls that were refused when the queue reached them.
    pub refused: u64,
    /// Calls still pending at the end.
    pub remaining: u64,
}
