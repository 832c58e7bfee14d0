//! Checks that operations of a host's own modules keep the rules of [`op`](crate::op).
//!
//! A [`Subject`] knows how to start an operation and how to make it ready. (For a [`Module`] there is
//! one: see [`Conformance::check_module`].) [`Conformance::check`] runs it through all [`Scenario`]s,
//! each on a reactor of its own, and watches it from outside: by its callbacks, the steps of every
//! call, and the remains in the reactor. It returns the first [`Rule`] that is broken as a
//! [`Violation`], which names the scenario.
//!
//! The scenarios are {complete, cancel} x {before open, waiting, completing, in the handler, after}
//! x {ready at once, ready later} x {one, two, a thousand at a time}, and one more:
//!
//! | moment | complete | cancel |
//! |---|---|---|
//! | before open | refused; then opened, started anew, completes | refused; canceled as a whole without having been open |
//! | waiting | its handle is dropped, then it completes | canceled as soon as it is started (ready at once), or before it is ready (ready later) |
//! | completing: result scheduled, not dialed | its handle is dropped | canceled: too late |
//! | in the handler of the callback | its handle is dropped | canceled: too late |
//! | after | its handle is dropped; then another start, which the layer below refuses | canceled: too late |
//! | starting | | the module is closed in the start function, at any step that is observed there |
//!
//! In each it is checked that
//!
//! - a start before open or after close fails, and its callback is declined (O1),
//! - every operation that was started has its callback called exactly once (O1), neither inside start
//!   nor inside cancel (O2), with the result that is due (O4, O5): a real one if the operation was not
//!   canceled or the cancel was late, Canceled if it was canceled before it was ready,
//! - cancel returns what it did, and a second cancel is a no-op (O3); what is below is canceled with it, and
//!   not left to wait (unless it is one of the [leftovers](Module::leftovers)),
//! - no call is abandoned (R5) or refused because its recipient is live (R2), and the tally
//!   balances at every turn (R12),
//! - once all are over, no registration (M4), no timer (M7) and no call (R12) is left, no remote keeps
//!   the loop running (M6), what the callbacks captured is dropped (R7), and in the end nothing holds
//!   on to the reactor or its queue (R11), and no operation is left in memory (R7).
//!
//! A panic of the subject passes through. An operation that makes no progress for
//! [`Conformance::patience`] counts as one that never completes.
//!
//! # Examples
//!
//! ```
//! use std::cell::Cell;
//! use std::convert::Infallible;
//! use std::error::Error;
//!
//! use switchboard::Callback;
//! use switchboard::conformance::{Conformance, Timing, Started, Subject};
//! use switchboard::op::{OpError, OpResult, Operation};
//!
//! /// A module: lets its users wait for a bell.
//! #[derive(Default)]
//! struct Bell {
//!     open: Cell<bool>,
//! }
//!
//! type Wait = Operation<(), u32, Infallible>;
//!
//! impl Bell {
//!     fn wait(&self, done: Callback<OpResult<u32, Infallible>>) -> Result<Wait, &'static str> {
//!         if !self.open.get() {
//!             done.decline("the bell is not there");
//!             return Err("the bell is not there");
//!         }
//!         Ok(Wait::new(done, (), |wait| drop(wait.complete(Err(OpError::Canceled)))))
//!     }
//! }
//!
//! fn ring(wait: &Wait) {
//!     drop(wait.complete(Ok(3))); // Too late if it was canceled; no harm then.
//! }
//!
//! impl Subject for Bell {
//!     type Answer = u32;
//!     type Error = Infallible;
//!
//!     fn open(&self) {
//!         self.open.set(true);
//!     }
//!
//!     fn close(&self) {
//!         self.open.set(false);
//!     }
//!
//!     fn start(
//!         &self,
//!         ready: Timing,
//!         done: Callback<OpResult<u32, Infallible>>,
//!     ) -> Result<Started, Box<dyn Error>> {
//!         let wait = self.wait(done)?;
//!         let started = Started::new(wait.handle());
//!         if ready == Timing::AtOnce {
//!             ring(&wait);
//!         }
//!         Ok(started.with_trigger(move || ring(&wait)))
//!     }
//! }
//!
//! let summary = Conformance::new().check(|_| Bell::default())?;
//! assert_eq!(summary.scenarios, 61);
//! # Ok::<(), Box<dyn Error>>(())
//! ```

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::reactor::Reactor;
use crate::samples::Module;

mod log;
mod record;
mod run;
mod scenario;
mod scene;
mod subject;
mod violation;

use run::Setting;
pub use scenario::{Cue, Ending, Scenario, Timing};
use scene::{AnySubject, TypedSubject};
use subject::ModuleSubject;
pub use subject::{Started, Subject};
pub use violation::{Rule, Violation};

/// Checks subjects in all scenarios.
#[derive(Clone, Debug)]
pub struct Conformance {
    sizes: Vec<usize>,
    patience: Duration,
}

impl Conformance {
    /// Checks one, two and a thousand operations at a time, with a patience of 10 seconds.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::Cell, convert::Infallible, error::Error};
    /// # use switchboard::Callback;
    /// # use switchboard::conformance::{Subject, Started, Timing};
    /// # use switchboard::op::{OpError, OpResult, Operation};
    /// # #[derive(Default)]
    /// # struct Bell { open: Cell<bool> }
    /// # impl Subject for Bell {
    /// #     type Answer = u32;
    /// #     type Error = Infallible;
    /// #     fn open(&self) { self.open.set(true) }
    /// #     fn close(&self) { self.open.set(false) }
    /// #     fn start(
    /// #         &self,
    /// #         ready: Timing,
    /// #         done: Callback<OpResult<u32, Infallible>>,
    /// #     ) -> Result<Started, Box<dyn Error>> {
    /// #         if !self.open.get() {
    /// #             done.decline("not open");
    /// #             return Err("not open".into());
    /// #         }
    /// #         let wait = Operation::new(done, (), |wait| drop(wait.complete(Err(OpError::Canceled))));
    /// #         let started = Started::new(wait.handle());
    /// #         let ring = move || drop(wait.complete(Ok(3)));
    /// #         if ready == Timing::AtOnce {
    /// #             ring();
    /// #             return Ok(started.with_trigger(|| ()));
    /// #         }
    /// #         Ok(started.with_trigger(ring))
    /// #     }
    /// # }
    /// use switchboard::conformance::Conformance;
    ///
    /// let summary = Conformance::new().check(|_| Bell::default())?;
    /// assert_eq!(summary.scenarios, 61);
    /// # Ok::<(), Box<dyn Error>>(())
    /// ```
    pub fn new() -> Self {
        Self { sizes: vec![1, 2, 1000], patience: Duration::from_secs(10) }
    }

    /// Sets how many operations run at a time: `sizes`, one after the other. Smaller ones are for
    /// operations that take up much; a thousand sockets are more than some systems allow.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::Cell, convert::Infallible, error::Error};
    /// # use switchboard::Callback;
    /// # use switchboard::conformance::{Subject, Started, Timing};
    /// # use switchboard::op::{OpError, OpResult, Operation};
    /// # #[derive(Default)]
    /// # struct Bell { open: Cell<bool> }
    /// # impl Subject for Bell {
    /// #     type Answer = u32;
    /// #     type Error = Infallible;
    /// #     fn open(&self) { self.open.set(true) }
    /// #     fn close(&self) { self.open.set(false) }
    /// #     fn start(
    /// #         &self,
    /// #         ready: Timing,
    /// #         done: Callback<OpResult<u32, Infallible>>,
    /// #     ) -> Result<Started, Box<dyn Error>> {
    /// #         if !self.open.get() {
    /// #             done.decline("not open");
    /// #             return Err("not open".into());
    /// #         }
    /// #         let wait = Operation::new(done, (), |wait| drop(wait.complete(Err(OpError::Canceled))));
    /// #         let started = Started::new(wait.handle());
    /// #         let ring = move || drop(wait.complete(Ok(3)));
    /// #         if ready == Timing::AtOnce {
    /// #             ring();
    /// #             return Ok(started.with_trigger(|| ()));
    /// #         }
    /// #         Ok(started.with_trigger(ring))
    /// #     }
    /// # }
    /// use switchboard::conformance::Conformance;
    ///
    /// // Ten at a time, at most: each takes a process.
    /// let summary = Conformance::new().sizes([1, 10]).check(|_| Bell::default())?;
    /// assert_eq!(summary.scenarios, 41);
    /// # Ok::<(), Box<dyn Error>>(())
    /// ```
    #[must_use]
    pub fn sizes(self, sizes: impl IntoIterator<Item = usize>) -> Self {
        Self { sizes: sizes.into_iter().collect(), ..self }
    }

    /// Sets how long a scenario may make no progress before it fails.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::Cell, convert::Infallible, error::Error};
    /// # use switchboard::Callback;
    /// # use switchboard::conformance::{Subject, Started, Timing};
    /// # use switchboard::op::{OpError, OpResult, Operation};
    /// # #[derive(Default)]
    /// # struct Bell { open: Cell<bool> }
    /// # impl Subject for Bell {
    /// #     type Answer = u32;
    /// #     type Error = Infallible;
    /// #     fn open(&self) { self.open.set(true) }
    /// #     fn close(&self) { self.open.set(false) }
    /// #     fn start(
    /// #         &self,
    /// #         ready: Timing,
    /// #         done: Callback<OpResult<u32, Infallible>>,
    /// #     ) -> Result<Started, Box<dyn Error>> {
    /// #         if !self.open.get() {
    /// #             done.decline("not open");
    /// #             return Err("not open".into());
    /// #         }
    /// #         let wait = Operation::new(done, (), |wait| drop(wait.complete(Err(OpError::Canceled))));
    /// #         let started = Started::new(wait.handle());
    /// #         let ring = move || drop(wait.complete(Ok(3)));
    /// #         if ready == Timing::AtOnce {
    /// #             ring();
    /// #             return Ok(started.with_trigger(|| ()));
    /// #         }
    /// #         Ok(started.with_trigger(ring))
    /// #     }
    /// # }
    /// use std::time::Duration;
    /// use switchboard::conformance::Conformance;
    ///
    /// // On a machine that is slow, or under valgrind:
    /// let checks = Conformance::new().sizes([1]).patience(Duration::from_secs(120));
    /// assert!(checks.check(|_| Bell::default()).is_ok());
    /// ```
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs the subject that `make` makes through all scenarios, a new one each time.
    ///
    /// `make` makes it on the reactor given, not open yet. Nothing may keep handles of the reactor or its queue
    /// beyond the life of the subject. The kit observes the queue; other observers of it may stay.
    ///
    /// # Errors
    ///
    /// Returns the first rule that is broken, and its scenario. Simple scenarios run first.
    ///
    /// # Panics
    ///
    /// If the subject panics.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::Cell, convert::Infallible, error::Error};
    /// # use switchboard::Callback;
    /// # use switchboard::conformance::{Subject, Started, Timing};
    /// # use switchboard::op::{OpError, OpResult, Operation};
    /// # #[derive(Default)]
    /// # struct Bell { open: Cell<bool> }
    /// # impl Subject for Bell {
    /// #     type Answer = u32;
    /// #     type Error = Infallible;
    /// #     fn open(&self) { self.open.set(true) }
    /// #     fn close(&self) { self.open.set(false) }
    /// #     fn start(
    /// #         &self,
    /// #         ready: Timing,
    /// #         done: Callback<OpResult<u32, Infallible>>,
    /// #     ) -> Result<Started, Box<dyn Error>> {
    /// #         if !self.open.get() {
    /// #             done.decline("not open");
    /// #             return Err("not open".into());
    /// #         }
    /// #         let wait = Operation::new(done, (), |wait| drop(wait.complete(Err(OpError::Canceled))));
    /// #         let started = Started::new(wait.handle());
    /// #         let ring = move || drop(wait.complete(Ok(3)));
    /// #         if ready == Timing::AtOnce {
    /// #             ring();
    /// #             return Ok(started.with_trigger(|| ()));
    /// #         }
    /// #         Ok(started.with_trigger(ring))
    /// #     }
    /// # }
    /// use switchboard::conformance::Conformance;
    ///
    /// // `Bell` is a `Subject`: see the module's example.
    /// let summary = Conformance::new().sizes([1, 2]).check(|_reactor| Bell::default())?;
    /// println!("{} scenarios, {} operations", summary.scenarios, summary.operations);
    /// # Ok::<(), Box<dyn Error>>(())
    /// ```
    pub fn check<S: Subject>(&self, make: impl Fn(&Reactor) -> S) -> Result<Summary, Violation> {
        let mut summary = Summary::default();
        for scenario in scenario::all(&self.sizes) {
            let one = self.check_one(scenario, &make)?;
            summary.scenarios += one.scenarios;
            summary.operations += one.operations;
        }
        Ok(summary)
    }

    /// Runs a [`Module`] through all scenarios, a new one each time.
    ///
    /// `make` returns the module, not open yet, and what makes its requests: for an operation that is
    /// ready [at once](Timing::AtOnce), or [later](Timing::Later), when the function beside the request is
    /// called. That is called once for each operation, even after a cancel, and even if the operation
    /// was ready at once.
    ///
    /// # Errors
    ///
    /// Returns the first rule that is broken, and its scenario. Simple scenarios run first.
    ///
    /// # Panics
    ///
    /// If the module panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::sync::mpsc;
    /// use switchboard::conformance::{Conformance, Timing};
    /// use switchboard::samples::{LlFakeCancel, MlPassThrough, ThreadPool, Work};
    ///
    /// let summary = Conformance::new().sizes([1, 2]).check_module(|reactor| {
    ///     let works = LlFakeCancel::new(&reactor.handle(), &ThreadPool::new(2));
    ///     let module = MlPassThrough::new(reactor.queue(), works);
    ///     (module, |ready| {
    ///         let (end, ends) = mpsc::channel::<()>();
    ///         let work = move || {
    ///             if ready == Timing::Later {
    ///                 let _ = ends.recv();
    ///             }
    ///             Ok(5_u32)
    ///         };
    ///         (Box::new(work) as Work<u32, Infallible>, move || drop(end))
    ///     })
    /// })?;
    /// assert_eq!(summary.scenarios, 41);
    /// # Ok::<(), switchboard::conformance::Violation>(())
    /// ```
    pub fn check_module<M, Q, T>(
        &self,
        make: impl Fn(&Reactor) -> (M, Q),
    ) -> Result<Summary, Violation>
    where
        M: Module + 'static,
        Q: Fn(Timing) -> (M::Request, T) + 'static,
        T: FnOnce() + 'static,
    {
        self.check(|reactor| ModuleSubject::new(make(reactor)))
    }

    /// Runs one scenario of a [`Module`] only, such as that of a [`Violation`]. See
    /// [`check_module`](Self::check_module).
    ///
    /// # Errors
    ///
    /// The first rule broken.
    ///
    /// # Panics
    ///
    /// If the module panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use switchboard::conformance::{Conformance, Cue, Ending, Scenario, Timing};
    /// use switchboard::samples::{LlFakeCancel, ThreadPool, Work};
    ///
    /// let scenario = Scenario {
    ///     ending: Ending::Cancel,
    ///     moment: Cue::After,
    ///     ready: Timing::AtOnce,
    ///     operations: 2,
    /// };
    /// Conformance::new().check_one_of_module(scenario, |reactor| {
    ///     let works = LlFakeCancel::new(&reactor.handle(), &ThreadPool::new(2));
    ///     (works, |_| (Box::new(|| Ok(5_u32)) as Work<u32, Infallible>, || ()))
    /// })?;
    /// # Ok::<(), switchboard::conformance::Violation>(())
    /// ```
    pub fn check_one_of_module<M, Q, T>(
        &self,
        scenario: Scenario,
        make: impl Fn(&Reactor) -> (M, Q),
    ) -> Result<Summary, Violation>
    where
        M: Module + 'static,
        Q: Fn(Timing) -> (M::Request, T) + 'static,
        T: FnOnce() + 'static,
    {
        self.check_one(scenario, |reactor| ModuleSubject::new(make(reactor)))
    }

    /// Runs one scenario only, such as that of a [`Violation`]. One before open is left out if the subject is
    /// [always open](Subject::is_gated).
    ///
    /// # Errors
    ///
    /// The first rule broken.
    ///
    /// # Panics
    ///
    /// If the subject panics.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::Cell, convert::Infallible, error::Error};
    /// # use switchboard::Callback;
    /// # use switchboard::conformance::{Subject, Started, Timing};
    /// # use switchboard::op::{OpError, OpResult, Operation};
    /// # #[derive(Default)]
    /// # struct Bell { open: Cell<bool> }
    /// # impl Subject for Bell {
    /// #     type Answer = u32;
    /// #     type Error = Infallible;
    /// #     fn open(&self) { self.open.set(true) }
    /// #     fn close(&self) { self.open.set(false) }
    /// #     fn start(
    /// #         &self,
    /// #         ready: Timing,
    /// #         done: Callback<OpResult<u32, Infallible>>,
    /// #     ) -> Result<Started, Box<dyn Error>> {
    /// #         if !self.open.get() {
    /// #             done.decline("not open");
    /// #             return Err("not open".into());
    /// #         }
    /// #         let wait = Operation::new(done, (), |wait| drop(wait.complete(Err(OpError::Canceled))));
    /// #         let started = Started::new(wait.handle());
    /// #         let ring = move || drop(wait.complete(Ok(3)));
    /// #         if ready == Timing::AtOnce {
    /// #             ring();
    /// #             return Ok(started.with_trigger(|| ()));
    /// #         }
    /// #         Ok(started.with_trigger(ring))
    /// #     }
    /// # }
    /// use switchboard::conformance::{Conformance, Cue, Ending, Scenario};
    ///
    /// // The scenario that a violation named, again, in a debugger.
    /// let scenario = Scenario {
    ///     ending: Ending::Cancel,
    ///     moment: Cue::Completing,
    ///     ready: Timing::Later,
    ///     operations: 1,
    /// };
    /// Conformance::new().check_one(scenario, |_| Bell::default())?;
    /// # Ok::<(), Box<dyn Error>>(())
    /// ```
    pub fn check_one<S: Subject>(
        &self,
        scenario: Scenario,
        make: impl Fn(&Reactor) -> S,
    ) -> Result<Summary, Violation> {
        let make = |reactor: &Reactor| {
            let typed = TypedSubject::new(make(reactor), reactor.queue().clone());
            Rc::new(typed) as Rc<dyn AnySubject>
        };
        let setting = Setting { scenario, patience: self.patience };
        let operations = run::run(setting, &make)?;
        Ok(operations
            .map_or_else(Summary::default, |operations| Summary { scenarios: 1, operations }))
    }
}

impl Default for Conformance {
    fn default() -> Self {
        Self::new()
    }
}

/// The scenarios and operations that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Scenarios run.
    pub scenarios: usize,
    /// Operations started in them; those refused, or closed as they start, are not counted.
    pub operations: usize,
}
