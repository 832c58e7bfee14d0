//! Which failures are repeated, how often, and after how long.

use alloc::rc::Rc;
use core::fmt;
use core::time::Duration;

use crate::op::OpError;

type Predicate<E> = Rc<dyn Fn(&OpError<E>) -> bool>;

/// What is repeated, how often, and after how long.
pub struct RetryPolicy<E> {
    /// At most so many.
    attempts: Option<u32>,
    backoff: Rc<dyn Fn(u32) -> Duration>,
    retries: Predicate<E>,
}

impl<E> RetryPolicy<E> {
    /// Repeats what fails as [`Retryable`](OpError::Retryable), at once, without end.
    pub fn new() -> Self {
        Self {
            attempts: None,
            backoff: Rc::new(|_| Duration::ZERO),
            retries: Rc::new(|error| matches!(error, OpError::Retryable(_))),
        }
    }

    /// Attempts at most `attempts` times, the first included; 0 counts as 1.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// Waits before each attempt but the first, for what `backoff` says of the number of attempts
    /// made.
    #[must_use]
    pub fn backoff(self, backoff: impl Fn(u32) -> Duration + 'static) -> Self {
        Self { backoff: Rc::new(backoff), ..self }
    }

    /// Repeats after those errors that `retries` says. Canceled operations are never repeated.
    #[must_use]
    pub fn after(self, retries: impl Fn(&OpError<E>) -> bool + 'static) -> Self {
        Self { retries: Rc::new(retries), ..self }
    }

    /// How long to wait before another attempt, `made` having been made, of which the last failed
    /// with `error`; `None` if there is to be none.
    pub(super) fn delay(&self, made: u32, error: &OpError<E>) -> Option<Duration> {
        let again = !matches!(error, OpError::Canceled)
            && self.attempts.is_none_or(|most| made < most)
            && (self.retries)(error);
        again.then(|| (self.backoff)(made))
    }
}

/// Shares the functions of the policy.
impl<E> Clone for RetryPolicy<E> {
    fn clone(&self) -> Self {
        let Self { attempts, backoff, retries } = self;
        Self { attempts: *attempts, backoff: Rc::clone(backoff), retries: Rc::clone(retries) }
    }
}

impl<E> Default for RetryPolicy<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for RetryPolicy<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}
