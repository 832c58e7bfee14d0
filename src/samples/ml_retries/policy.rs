//! Which failures are repeated, how often, and after how long.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::hash::RandomState;

use crate::op::OpError;

/// The default delay before the second attempt, and the longest one.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Which errors are retried, how often, and after which delay.
///
/// # Examples
///
/// ```
/// use std::io;
/// use std::time::Duration;
/// use switchboard::samples::RetryPolicy;
///
/// let policy = RetryPolicy::<io::Error>::new()
///     .exponential(Duration::from_millis(20), Duration::from_secs(1))
///     .attempts(5)
///     .give_up_after(Duration::from_secs(3));
/// # drop(policy);
/// ```
pub struct RetryPolicy<E> {
    /// At most so many.
    attempts: Option<u32>,
    limit: Option<Duration>,
    backoff: Backoff,
    seed: Option<u64>,
    retries: Predicate<E>,
}

type Predicate<E> = Rc<dyn Fn(&OpError<E>) -> bool>;

/// How long to wait before another attempt.
#[derive(Clone)]
enum Backoff {
    /// At first so long, then twice as long each time, up to so long; all with jitter.
    Exponential(Duration, Duration),
    /// The result of the function for the number of attempts made.
    Custom(Rc<dyn Fn(u32) -> Duration>),
}

impl<E: 'static> RetryPolicy<E> {
    /// Returns a policy that repeats what [may succeed](OpError::is_retryable), without end. Waits 100
    /// ms before the second attempt, and twice as long before each further one, 10 s at most; of which
    /// a random part, up to half, is left out, so that many clients that failed together do not retry
    /// together.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// use switchboard::samples::RetryPolicy;
    ///
    /// // Without end, waiting from 100 ms up to 10 s. Most programs set a cap:
    /// let policy = RetryPolicy::<io::Error>::new().attempts(5);
    /// # drop(policy);
    /// ```
    pub fn new() -> Self {
        Self {
            attempts: None,
            limit: None,
            backoff: Backoff::Exponential(FIRST, LONGEST),
            seed: None,
            retries: Rc::new(OpError::is_retryable),
        }
    }

    /// Attempts at most `attempts` times, the first included; 0 counts as 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::op::{OpError, OpResult};
    /// use switchboard::reactor::Reactor;
    /// use switchboard::samples::{LlFakeCancel, Module, ModuleExt, Retry, RetryPolicy, ThreadPool, Work};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let works = LlFakeCancel::<u32, &str>::new(&reactor.handle(), &ThreadPool::new(1));
    /// let retries = works.retried(&reactor.handle(), RetryPolicy::new().at_once().attempts(3));
    /// retries.open();
    /// let done = reactor.queue().callback(|_, result: OpResult<u32, &str>| {
    ///     assert_eq!(result, Err(OpError::Retryable("busy"))); // that of the third attempt
    /// });
    /// let busy = || -> Work<u32, &'static str> { Box::new(|| Err(OpError::Retryable("busy"))) };
    /// retries.start(Retry::new(move |_, _| busy()), done)?;
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// Begins no attempt later than `limit` after the start. An attempt that runs then is not canceled:
    /// to cancel it, put a [`Deadline`](crate::samples::Deadline) over the retries.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// use std::time::Duration;
    /// use switchboard::samples::RetryPolicy;
    ///
    /// // A client that waits for half a minute has no use for an attempt that begins later.
    /// let policy = RetryPolicy::<io::Error>::new().give_up_after(Duration::from_secs(30));
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn give_up_after(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Waits `first` before the second attempt, and twice as long before each further one, `longest` at
    /// most; of which a random part, up to half, is left out.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// use std::time::Duration;
    /// use switchboard::samples::RetryPolicy;
    ///
    /// // 50 ms, 100 ms, 200 ms, .. up to 2 s, each shorter by a random part.
    /// let (first, longest) = (Duration::from_millis(50), Duration::from_secs(2));
    /// let policy = RetryPolicy::<io::Error>::new().exponential(first, longest);
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn exponential(self, first: Duration, longest: Duration) -> Self {
        Self { backoff: Backoff::Exponential(first, longest), ..self }
    }

    /// Waits before each attempt but the first for what `backoff` returns for the number of attempts
    /// made, exactly.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// use std::time::Duration;
    /// use switchboard::samples::RetryPolicy;
    ///
    /// // Linear: 100 ms, 200 ms, 300 ms, ..
    /// let linear = |made: u32| made * Duration::from_millis(100);
    /// let policy = RetryPolicy::<io::Error>::new().backoff(linear).attempts(10);
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn backoff(self, backoff: impl Fn(u32) -> Duration + 'static) -> Self {
        Self { backoff: Backoff::Custom(Rc::new(backoff)), ..self }
    }

    /// Does not wait. Without a cap on [attempts](Self::attempts), this uses all of a processor for as
    /// long as the attempts fail at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// use switchboard::samples::RetryPolicy;
    ///
    /// // For what fails by chance, not for what is overloaded; always with a cap.
    /// let policy = RetryPolicy::<io::Error>::new().at_once().attempts(3);
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn at_once(self) -> Self {
        self.backoff(|_| Duration::ZERO)
    }

    /// Sets the seed of the random parts of delays, for tests. Otherwise each module has a random one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// use switchboard::samples::RetryPolicy;
    ///
    /// // In a test: the same delays in each run.
    /// let policy = RetryPolicy::<io::Error>::new().seed(7);
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Repeats after those errors for which `retries` returns true. Canceled operations are never
    /// repeated.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, ErrorKind};
    /// use switchboard::op::OpError;
    /// use switchboard::samples::RetryPolicy;
    ///
    /// // Only what a restart of the server explains.
    /// let policy = RetryPolicy::new().after(|error: &OpError<io::Error>| {
    ///     error.error().is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    /// });
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn after(self, retries: impl Fn(&OpError<E>) -> bool + 'static) -> Self {
        Self { retries: Rc::new(retries), ..self }
    }

    /// How long after its start an operation may begin an attempt.
    pub(super) const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// The source of the random parts of delays.
    pub(super) fn jitter(&self) -> Jitter {
        Jitter::new(self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()))
    }

    /// How long to wait before another attempt, `made` having been made, of which the last failed with
    /// `error`; `None` if there is no further attempt.
    pub(super) fn delay(&self, made: u32, error: &OpError<E>, jitter: &Jitter) -> Option<Duration> {
        let again = !matches!(error, OpError::Canceled)
            && self.attempts.is_none_or(|most| made < most)
            && (self.retries)(error);
        again.then(|| match &self.backoff {
            Backoff::Custom(backoff) => backoff(made),
            Backoff::Exponential(first, longest) => {
                let doubled = 1_u32.checked_shl(made.saturating_sub(1)).unwrap_or(u32::MAX);
                jitter.shorten(first.saturating_mul(doubled).min(*longest))
            }
        })
    }
}

/// Random numbers, by xorshift: good enough to spread delays.
pub(super) struct Jitter(Cell<u64>);

impl Jitter {
    fn new(seed: u64) -> Self {
        // The state is never 0. Seeds that differ in a bit differ in half of them at once.
        Self(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    /// A part of `delay`, half of it at least.
    fn shorten(&self, delay: Duration) -> Duration {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        let half = delay / 2;
        // (Of 584 years and more, as much.)
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let random = (u128::from(state) * u128::from(nanos)) >> 64;
        delay - half + Duration::from_nanos(random as u64)
    }
}

/// Shares the functions of the policy.
impl<E> Clone for RetryPolicy<E> {
    fn clone(&self) -> Self {
        let retries = Rc::clone(&self.retries);
        Self { backoff: self.backoff.clone(), retries, ..*self }
    }
}

impl<E: 'static> Default for RetryPolicy<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for RetryPolicy<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}
