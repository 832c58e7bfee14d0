//! Continuing after a panic of user code.
//!
//! User code that runs one after the other (cancel hooks, drops, observers) all runs, however much of it
//! panics. The first panic goes on to the caller. Later ones end where they are, as a panic that leaves a
//! destructor during an unwinding aborts the process; the panic hook has reported them.
//!
//! To end a panic takes `std`, which comes with the reactor. Without it, a second panic aborts.

/// Calls `step` until it returns false, even if calls panic. Each call must get ahead, even if it panics.
pub(crate) fn to_the_end(mut step: impl FnMut() -> bool) {
    struct RemainingSteps<'a, F: FnMut() -> bool>(&'a mut F);

    impl<F: FnMut() -> bool> Drop for RemainingSteps<'_, F> {
        fn drop(&mut self) {
            let mut goes_on = true;
            while goes_on {
                contain(&mut || goes_on = (self.0)());
            }
        }
    }

    let remaining = RemainingSteps(&mut step);
    while (remaining.0)() {}
    core::mem::forget(remaining);
}

/// Drops values, even if drops panic.
pub(crate) fn drop_all<T>(values: impl IntoIterator<Item = T>) {
    let mut values = values.into_iter();
    to_the_end(|| values.next().is_some());
}

/// Runs what a destructor has to do. If that panics during an unwinding, its panic ends here.
#[inline]
pub(crate) fn in_drop(function: impl FnOnce()) {
    if is_unwinding() {
        contain_once(function);
    } else {
        function();
    }
}

/// Runs a function when it is dropped, even in an unwinding.
pub(crate) struct RunOnDrop<F: FnOnce()>(pub(crate) Option<F>);

impl<F: FnOnce()> Drop for RunOnDrop<F> {
    fn drop(&mut self) {
        if let Some(function) = self.0.take() {
            in_drop(function);
        }
    }
}

/// Drops a value last, as [`in_drop`] runs a function: after an observer was notified, which may panic.
pub(crate) struct DropLast<T>(Option<T>);

impl<T> DropLast<T> {
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Drop for DropLast<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            in_drop(|| drop(value));
        }
    }
}

/// Whether a panic that left this destructor would abort the process.
#[inline]
fn is_unwinding() -> bool {
    #[cfg(any(test, feature = "mio"))]
    return std::thread::panicking();
    #[cfg(not(any(test, feature = "mio")))]
    false
}

#[cold]
#[inline(never)]
fn contain_once(function: impl FnOnce()) {
    let mut function = Some(function);
    contain(&mut || {
        if let Some(function) = function.take() {
            function();
        }
    });
}

/// Runs a function, whose panic ends here. Should what it panics with panic as it drops, that is leaked.
/// (Not generic, so that it is compiled once.)
#[cold]
fn contain(function: &mut dyn FnMut()) {
    #[cfg(any(test, feature = "mio"))]
    {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        if let Err(payload) = catch_unwind(AssertUnwindSafe(function))
            && let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
        {
            core::mem::forget(second);
        }
    }
    #[cfg(not(any(test, feature = "mio")))]
    function();
}
