//! The primitives of [`inbox`](super::inbox).

pub(super) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Locks, even if a holder of the lock panicked: no code of a user runs under it.
#[inline]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
