//! Continuing after a panic of user code.

/// Calls `step` until it returns false, even if one call panics. (A second panic aborts, as always
/// during an unwinding.)
pub(crate) fn to_the_end(step: impl FnMut() -> bool) {
    struct RemainingSteps<F: FnMut() -> bool>(F);

    impl<F: FnMut() -> bool> RemainingSteps<F> {
        fn take(&mut self) {
            while (self.0)() {}
        }
    }

    impl<F: FnMut() -> bool> Drop for RemainingSteps<F> {
        fn drop(&mut self) {
            self.take();
        }
    }

    RemainingSteps(step).take();
}

/// Runs a function when it is dropped, even in an unwinding. (A panic of the function then aborts.)
pub(crate) struct RunOnDrop<F: FnOnce()>(pub(crate) Option<F>);

impl<F: FnOnce()> RunOnDrop<F> {
    pub(crate) fn run(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

impl<F: FnOnce()> Drop for RunOnDrop<F> {
    fn drop(&mut self) {
        self.run();
    }
}
