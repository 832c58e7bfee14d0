//! Time that a test drives.

use alloc::rc::Rc;
use core::cell::Cell;
use core::time::Duration;
use std::time::Instant;

/// A clock that stands still until it is advanced. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    now: Rc<Cell<Instant>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        Self { start, now: Rc::new(Cell::new(start)) }
    }

    /// The time it shows.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// How far it was advanced in all.
    pub fn elapsed(&self) -> Duration {
        self.now.get() - self.start
    }

    /// Lets time pass.
    ///
    /// # Panics
    ///
    /// If there is no [`Instant`] that late.
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }
}
