//! How operations end that do not succeed.

#[cfg(not(target_has_atomic = "ptr"))]
use alloc::rc::Rc as Arc;
use alloc::string::ToString;
#[cfg(target_has_atomic = "ptr")]
use alloc::sync::Arc;
use core::error::Error;

use crate::op_step::Outcome;

/// The result of an operation.
pub type OpResult<A, E> = Result<A, OpError<E>>;

/// An operation that did not succeed.
///
/// `E` is the error of the module. [`error`](Self::error) and [`into_inner`](Self::into_inner) return
/// it; the other variants have none.
///
/// # Examples
///
/// An `OpError<io::Error>` goes through `?` as an `io::Error`, which keeps the number
/// of the system's error:
///
/// ```
/// # #[cfg(feature = "mio")] {
/// use std::io;
/// use switchboard::op::OpError;
///
/// let refused = OpError::Retryable(io::Error::from_raw_os_error(111));
/// assert_eq!(io::Error::from(refused).raw_os_error(), Some(111));
/// let late = io::Error::from(OpError::TimedOut);
/// assert_eq!(late.kind(), io::ErrorKind::TimedOut);
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpError<E> {
    /// Its owner canceled it.
    #[error("operation canceled")]
    Canceled,
    /// Its module lost it: a bug of the module, or the end of what it depends on.
    #[error("operation without a result: its module dropped it; check the module and its reactor")]
    Dropped,
    /// Its deadline passed. The same again may succeed.
    #[error("operation timed out: its deadline has passed; retry it, or allow more time")]
    TimedOut,
    /// The limit of its module is reached. The same again may succeed.
    #[error("operation not started: the limit of its module is reached; retry it later")]
    Full,
    /// It, or another operation that it needed, could not be started. (The cause is in an `Rc` on targets
    /// that have no `Arc`.)
    #[error("operation not started")]
    NotStarted(#[source] Arc<dyn Error + Send + Sync>),
    /// Its work panicked, with this message.
    #[error("operation panicked: {0}")]
    Panicked(Arc<str>),
    /// It failed. The same again may succeed.
    #[error("operation failed; it may succeed if it is retried")]
    Retryable(#[source] E),
    /// It failed for good.
    #[error("operation failed")]
    Failed(#[source] E),
}

impl<E> OpError<E> {
    /// Returns true if the same operation again may succeed: [`Retryable`](Self::Retryable),
    /// [`TimedOut`](Self::TimedOut) and [`Full`](Self::Full).
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::op::OpError;
    ///
    /// let errors = [OpError::Retryable("busy"), OpError::TimedOut, OpError::Failed("no such file")];
    /// let again: Vec<_> = errors.iter().map(OpError::is_retryable).collect();
    /// assert_eq!(again, [true, true, false]);
    /// ```
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Retryable(_) | Self::TimedOut | Self::Full)
    }

    /// Returns the error of the module, or `None` if the operation ended without one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{self, ErrorKind};
    /// use switchboard::op::OpError;
    ///
    /// fn is_refused(error: &OpError<io::Error>) -> bool {
    ///     error.error().is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    /// }
    ///
    /// assert!(is_refused(&OpError::Retryable(ErrorKind::ConnectionRefused.into())));
    /// assert!(!is_refused(&OpError::Canceled)); // an end without an error of the module
    /// ```
    pub const fn error(&self) -> Option<&E> {
        match self {
            Self::Retryable(error) | Self::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the error of the module by value, or `None` if the operation ended without one.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::op::OpError;
    ///
    /// let error = OpError::Failed(String::from("no such host"));
    /// assert_eq!(error.into_inner().as_deref(), Some("no such host"));
    /// assert_eq!(OpError::<String>::TimedOut.into_inner(), None);
    /// ```
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Retryable(error) | Self::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Converts the error of the module, and returns the rest as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    /// use switchboard::op::OpError;
    ///
    /// #[derive(Debug)]
    /// enum LookupError { Io(io::Error) }
    ///
    /// let lower: OpError<io::Error> = OpError::Retryable(io::ErrorKind::TimedOut.into());
    /// let error: OpError<LookupError> = lower.map(LookupError::Io);
    /// assert!(error.is_retryable()); // whether it may be retried stays
    /// ```
    pub fn map<F>(self, convert: impl FnOnce(E) -> F) -> OpError<F> {
        match self {
            Self::Canceled => OpError::Canceled,
            Self::Dropped => OpError::Dropped,
            Self::TimedOut => OpError::TimedOut,
            Self::Full => OpError::Full,
            Self::NotStarted(cause) => OpError::NotStarted(cause),
            Self::Panicked(message) => OpError::Panicked(message),
            Self::Retryable(error) => OpError::Retryable(convert(error)),
            Self::Failed(error) => OpError::Failed(convert(error)),
        }
    }
}

impl<E: PartialEq> PartialEq for OpError<E> {
    /// Compares causes of [`NotStarted`](Self::NotStarted) by their text.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Canceled, Self::Canceled)
            | (Self::Dropped, Self::Dropped)
            | (Self::TimedOut, Self::TimedOut)
            | (Self::Full, Self::Full) => true,
            (Self::NotStarted(one), Self::NotStarted(other)) => {
                one.to_string() == other.to_string()
            }
            (Self::Panicked(one), Self::Panicked(other)) => one == other,
            (Self::Retryable(one), Self::Retryable(other))
            | (Self::Failed(one), Self::Failed(other)) => one == other,
            _ => false,
        }
    }
}

/// Keeps the number of the system's error, if there is one.
#[cfg(feature = "mio")]
impl From<OpError<Self>> for std::io::Error {
    fn from(error: OpError<Self>) -> Self {
        let kind = match &error {
            OpError::TimedOut => std::io::ErrorKind::TimedOut,
            OpError::Full => std::io::ErrorKind::ResourceBusy,
            OpError::NotStarted(cause) => match cause.downcast_ref().and_then(Self::raw_os_error) {
                Some(number) => return Self::from_raw_os_error(number),
                None => std::io::ErrorKind::Other,
            },
            _ => std::io::ErrorKind::Other,
        };
        match error {
            OpError::Retryable(error) | OpError::Failed(error) => error,
            error => Self::new(kind, error),
        }
    }
}

impl Outcome {
    /// Returns the kind of `result`.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::Outcome;
    /// use switchboard::op::{OpError, OpResult};
    ///
    /// let result: OpResult<u32, String> = Err(OpError::TimedOut);
    /// assert_eq!(Outcome::of(&result), Outcome::TimedOut); // a label for a metric, say
    /// ```
    pub const fn of<A, E>(result: &OpResult<A, E>) -> Self {
        match result {
            Ok(_) => Self::Answered,
            Err(OpError::Canceled) => Self::Canceled,
            Err(OpError::Dropped) => Self::Dropped,
            Err(OpError::TimedOut) => Self::TimedOut,
            Err(OpError::Full) => Self::Full,
            Err(OpError::NotStarted(_)) => Self::NotStarted,
            Err(OpError::Panicked(_)) => Self::Panicked,
            Err(OpError::Retryable(_)) => Self::Retryable,
            Err(OpError::Failed(_)) => Self::Failed,
        }
    }
}
