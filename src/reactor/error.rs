//! The errors of the reactor, one type for each operation. A rejected value is returned in the error.

use core::fmt;
use std::io;

use thiserror::Error;

use crate::queue::CallQueue;

/// A call from another thread was not scheduled. The closure is inside.
#[derive(Error)]
#[non_exhaustive]
pub enum SendError<F> {
    /// The reactor has been dropped.
    #[error("remote call not scheduled: the reactor has been dropped; send no more calls to it")]
    ReactorDropped(F),
    /// The limit of the [`Remote`](crate::reactor::Remote) or
    /// [`RemoteAddress`](crate::reactor::RemoteAddress) for calls underway is reached.
    #[error(
        "remote call not scheduled: the limit of calls underway is reached; send it again later"
    )]
    Full(F),
    /// The reactor cannot be woken.
    #[error(
        "remote call not scheduled: the system failed to wake the reactor; send it again later"
    )]
    NotWoken {
        /// The waker's error.
        source: io::Error,
        /// The closure that was not scheduled.
        rejected: F,
    },
}

impl<F> SendError<F> {
    /// Returns the closure that was not scheduled.
    ///
    /// # Examples
    ///
    /// ```
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let remote = reactor.remote();
    /// drop(reactor);
    /// let save = |_: &_| println!("saved");
    /// if let Err(error) = remote.call(save) {
    ///     eprintln!("{error}");
    ///     let _save = error.into_inner(); // for another reactor, or to be dropped here
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> F {
        match self {
            Self::ReactorDropped(rejected)
            | Self::Full(rejected)
            | Self::NotWoken { rejected, .. } => rejected,
        }
    }
}

impl SendError<()> {
    /// The same error, with the closure that was not scheduled.
    pub(crate) fn rejecting<F>(self, rejected: F) -> SendError<F> {
        match self {
            Self::ReactorDropped(()) => SendError::ReactorDropped(rejected),
            Self::Full(()) => SendError::Full(rejected),
            Self::NotWoken { source, rejected: () } => SendError::NotWoken { source, rejected },
        }
    }
}

impl<F> fmt::Debug for SendError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReactorDropped(_) => f.write_str("ReactorDropped(..)"),
            Self::Full(_) => f.write_str("Full(..)"),
            Self::NotWoken { source, .. } => write!(f, "NotWoken({source:?}, ..)"),
        }
    }
}

/// A source was not registered. It is inside.
#[derive(Error)]
#[non_exhaustive]
pub enum RegisterError<S> {
    /// The reactor has been dropped.
    #[error("source not registered: the reactor has been dropped; use a live reactor")]
    ReactorDropped(S),
    /// The recipient belongs to another queue than the reactor's.
    #[error(
        "source not registered: its recipient belongs to another queue; \
         use a recipient of the reactor's queue"
    )]
    ForeignRecipient(S),
    /// The poll rejected it.
    #[error("source not registered: the poll rejected it; see the cause")]
    Poll {
        /// The poll's error.
        source: io::Error,
        /// The source that was not registered.
        rejected: S,
    },
}

impl<S> RegisterError<S> {
    /// The source that was not registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// drop(reactor);
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// let Err(error) = handle.register_function(socket, Interest::READABLE, |_, _| ()) else {
    ///     panic!("the reactor is gone");
    /// };
    /// let socket = error.into_inner(); // still bound
    /// assert!(socket.local_addr().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> S {
        match self {
            Self::ReactorDropped(rejected)
            | Self::ForeignRecipient(rejected)
            | Self::Poll { rejected, .. } => rejected,
        }
    }

    /// Returns the source, and the error without it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::{Interest, net::UdpSocket};
    /// use switchboard::reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// drop(reactor);
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    /// if let Err(error) = handle.register_function(socket, Interest::READABLE, |_, _| ()) {
    ///     let (socket, error) = error.split(); // the error can be kept without the source
    ///     println!("{}: {error}", socket.local_addr()?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (S, RegisterError<()>) {
        match self {
            Self::ReactorDropped(rejected) => (rejected, RegisterError::ReactorDropped(())),
            Self::ForeignRecipient(rejected) => (rejected, RegisterError::ForeignRecipient(())),
            Self::Poll { source, rejected } => {
                (rejected, RegisterError::Poll { source, rejected: () })
            }
        }
    }
}

impl<S> fmt::Debug for RegisterError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReactorDropped(_) => f.write_str("ReactorDropped(..)"),
            Self::ForeignRecipient(_) => f.write_str("ForeignRecipient(..)"),
            Self::Poll { source, .. } => write!(f, "Poll({source:?}, ..)"),
        }
    }
}

/// A registration was not redirected. It is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The reactor has been dropped.
    #[error("registration not redirected: the reactor has been dropped; drop the registration")]
    ReactorDropped,
    /// The recipient belongs to another queue than the reactor's.
    #[error(
        "registration not redirected: the recipient belongs to another queue; \
         use a recipient of the reactor's queue"
    )]
    ForeignRecipient,
}

/// A source could not be deregistered. It is inside.
#[derive(Error)]
#[error("source not deregistered: the poll rejected that; drop the source to close it")]
#[non_exhaustive]
pub struct DeregisterError<S> {
    /// The poll's error.
    pub source: io::Error,
    /// The source, which may still be registered until it is dropped.
    pub rejected: S,
}

impl<S> fmt::Debug for DeregisterError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeregisterError({:?}, ..)", self.source)
    }
}

/// A reactor could not be made.
#[derive(Debug, Error)]
#[error("reactor not created: the system failed to create a poll; see the cause")]
#[non_exhaustive]
pub struct CreateError {
    /// The error of the system.
    pub source: io::Error,
    /// The queue that the reactor was for.
    pub queue: CallQueue,
}

/// The system's error as it is, with its number; the others as [`io::ErrorKind::NotConnected`] (the
/// reactor is gone) and the like, with a text. Drops what was rejected.
impl<F> From<SendError<F>> for io::Error {
    fn from(error: SendError<F>) -> Self {
        match error {
            SendError::NotWoken { source, .. } => source,
            SendError::ReactorDropped(_) => {
                Self::new(io::ErrorKind::NotConnected, SendError::ReactorDropped(()))
            }
            SendError::Full(_) => Self::new(io::ErrorKind::ResourceBusy, SendError::Full(())),
        }
    }
}

/// The system's error as it is, with its number; the others with a text. Drops the source.
impl<S> From<RegisterError<S>> for io::Error {
    fn from(error: RegisterError<S>) -> Self {
        match error.split().1 {
            RegisterError::Poll { source, .. } => source,
            error @ RegisterError::ReactorDropped(()) => {
                Self::new(io::ErrorKind::NotConnected, error)
            }
            error @ RegisterError::ForeignRecipient(()) => {
                Self::new(io::ErrorKind::InvalidInput, error)
            }
        }
    }
}

/// The system's error as it is, with its number. Drops the source.
impl<S> From<DeregisterError<S>> for io::Error {
    fn from(error: DeregisterError<S>) -> Self {
        error.source
    }
}

/// The system's error as it is, with its number. Drops the queue.
impl From<CreateError> for io::Error {
    fn from(error: CreateError) -> Self {
        error.source
    }
}
