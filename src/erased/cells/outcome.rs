//! The outcomes of operations on callbacks.

#![deny(unsafe_code)]

/// The outcome of a cancel of a callback.
pub(crate) enum Cancel<T, E> {
    /// It is over, or being dialed, or never was.
    NotThere,
    Already,
    /// It was waiting. The caller must drop what it captured.
    Waiting(T),
    /// It was pending. The caller must drop the call; until then the key is known.
    Pending(Option<E>),
    /// Nothing was done: the holder of the deferred call at this position must drop it.
    Deferred(u64),
}

/// The outcome of an answer.
pub(crate) enum Answer<A> {
    /// The call is pending. If there is a value, the recipient is gone: the pending call ends that way,
    /// and the caller must drop the value.
    Pushed(Option<A>),
    /// The callback was canceled, and is over. The caller must drop the value.
    Unwanted(A),
}

/// What a callback captured, and the call that it was answered with, to be dropped in this order.
pub(crate) struct Remains<T, E> {
    pub(super) _join: T,
    /// Holds the value only.
    pub(super) _call: Option<E>,
}
