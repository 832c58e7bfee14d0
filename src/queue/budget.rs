//! What a turn of the queue may be ended by early: a number of calls, or a condition that its caller passes in.
//! `turn.rs` keeps to it. (The
//! queue knows no time; the reactor's limit of time is in `reactor/guest.rs`.)

use core::fmt;

/// How long [`QueueHandle::dial`](crate::QueueHandle::dial) may run: a number of calls, a condition, or
/// both.
///
/// The queue touches no clock. For a limit of time, pass one in:
///
/// ```
/// use std::time::{Duration, Instant};
/// use switchboard::{Budget, CallQueue};
///
/// let queue = CallQueue::new();
/// let end = Instant::now() + Duration::from_millis(2);
/// let report = queue.dial(Budget::calls(1024).until(&|| Instant::now() >= end));
/// assert_eq!(report.remaining, 0);
/// ```
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    pub(super) calls: usize,
    pub(super) spent: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Budget<'a> {
    /// Returns a budget of at most `calls` calls. Refused and canceled calls that the queue passes over
    /// count too.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::{Budget, CallQueue};
    ///
    /// let queue = CallQueue::new();
    /// queue.call(|_| ());
    /// queue.call(|_| ());
    /// let report = queue.dial(Budget::calls(1));
    /// assert_eq!((report.dialed, report.remaining), (1, 1));
    /// ```
    pub const fn calls(calls: usize) -> Self {
        Self { calls, spent: None }
    }

    /// Returns this budget with a condition: the turn stops as soon as `spent`, which is called before
    /// each call, returns true.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use switchboard::{Budget, CallQueue};
    ///
    /// let queue = CallQueue::new();
    /// let sent = Rc::new(Cell::new(0));
    /// for _ in 0..10 {
    ///     let sent = Rc::clone(&sent);
    ///     queue.call(move |_| sent.set(sent.get() + 400));
    /// }
    /// // Stops once 1,000 bytes are sent.
    /// let report = queue.dial(Budget::calls(usize::MAX).until(&|| sent.get() >= 1000));
    /// assert_eq!((report.dialed, report.remaining), (3, 7));
    /// ```
    #[must_use]
    pub const fn until(self, spent: &'a dyn Fn() -> bool) -> Self {
        Self { spent: Some(spent), ..self }
    }
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, spent } = self;
        write!(f, "Budget({calls} calls{})", if spent.is_some() { ", condition" } else { "" })
    }
}
