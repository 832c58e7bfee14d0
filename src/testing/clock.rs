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

    /// Returns the time that it shows.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let reactor = ScriptedReactor::new()?;
    /// let start = reactor.clock().now();
    /// reactor.clock().advance(Duration::from_secs(5));
    /// assert_eq!(reactor.clock().now() - start, Duration::from_secs(5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Returns how far it was advanced in all.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let hourly = reactor.queue().callback(|_, ()| ());
    /// reactor.after(Duration::from_secs(3600), hourly).detach();
    /// reactor.settle(10)?;
    /// assert_eq!(reactor.clock().elapsed(), Duration::from_secs(3600)); // of virtual time
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn elapsed(&self) -> Duration {
        self.now.get() - self.start
    }

    /// Lets time pass.
    ///
    /// # Panics
    ///
    /// If there is no [`Instant`] that late.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::testing::ScriptedReactor;
    ///
    /// let mut reactor = ScriptedReactor::new()?;
    /// let clock = reactor.clock().clone(); // for a module under test that makes its own delays
    /// let timer = reactor.queue().callback(|_, ()| ());
    /// reactor.after(Duration::from_secs(60), timer).detach();
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(reactor.turn().dialed, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }
}
