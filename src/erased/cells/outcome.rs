//! What comes of what is done with callbacks.

#![deny(unsafe_code)]

/// What came of canceling a callback.
pub(crate) enum Cancel<T, E> {
    /// It is over, or being dialed, or never was.
    NotThere,
    Already,
    /// It was waiting. The caller must drop what it captured.
    Waiting(T),
    /// It was pending. The caller must drop the call; until then the key is known.
    Pending(Option<E>),
    /// Nothing was done: whoever has the deferred call of this position must drop it.
    Deferred(u64),
}

/// What came of an answer.
pub(crate) enum Answer<A> {
    /// The call is pending. If there is a value, the recipient is gone: what is pending will say so, and
    /// the caller must drop the value.
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
