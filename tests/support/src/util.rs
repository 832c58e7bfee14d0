//! The one fixture of the tests: records of what happened, and assertions on the counts.

use std::cell::{Cell, RefCell};
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;

use switchboard::{Call, CallId, Context, Observer, QueueHandle, Report, Step};

/// A number of the environment, if it is set.
///
/// # Panics
///
/// If it is no number.
pub fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|number| number.parse().expect(name))
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub fn add(&self, event: impl Into<String>) {
        self.0.borrow_mut().push(event.into());
    }

    /// A function to call that adds `event`.
    pub fn note<E: Into<String>>(&self, event: E) -> impl FnOnce(&QueueHandle) + 'static + use<E> {
        let (trace, event) = (self.clone(), event.into());
        move |_| trace.add(event)
    }

    /// A value to capture that adds `event` when it is dropped.
    pub fn on_drop<E: Into<String>>(&self, event: E) -> OnDrop<impl FnOnce() + 'static + use<E>> {
        let (trace, event) = (self.clone(), event.into());
        on_drop(move || trace.add(event))
    }

    /// What happened since this was asked last.
    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Runs a function when it is dropped.
pub struct OnDrop<F: FnOnce()>(Option<F>);

pub const fn on_drop<F: FnOnce()>(function: F) -> OnDrop<F> {
    OnDrop(Some(function))
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        let Some(function) = self.0.take() else { return };
        if thread::panicking() {
            // So that a test that fails says why, instead of aborting in a drop.
            let _ = panic::catch_unwind(AssertUnwindSafe(function));
        } else {
            function();
        }
    }
}

/// A call whose check panics.
pub struct PanicsInCheck;

impl Call for PanicsInCheck {
    type Recipient = ();

    fn can_dial(&self, (): &()) -> Result<(), &'static str> {
        panic::resume_unwind(Box::new("in a check"));
    }

    fn dial(self, (): &mut (), _: &Context<'_, ()>) {}
}

/// Counts the values that were made of it, and their drops.
#[derive(Clone, Default)]
pub struct Drops {
    made: Rc<Cell<u64>>,
    dropped: Rc<Cell<u64>>,
}

impl Drops {
    /// A value to capture, whose drop is counted.
    pub fn value(&self) -> Counted {
        self.made.set(self.made.get() + 1);
        Counted(self.clone())
    }

    pub fn count(&self) -> u64 {
        self.dropped.get()
    }

    /// How many values are not dropped yet. (It wraps if one is dropped twice.)
    pub fn alive(&self) -> u64 {
        self.made.get().wrapping_sub(self.dropped.get())
    }
}

pub struct Counted(Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

/// An observer that records every step.
#[derive(Clone, Default)]
pub struct Steps(Rc<RefCell<Vec<(CallId, Step)>>>);

impl Steps {
    /// Observes `queue` from now on.
    pub fn watch(queue: &QueueHandle) -> Self {
        let steps = Self::default();
        queue.add_observer(steps.clone());
        steps
    }

    /// The steps of one call so far.
    pub fn of(&self, id: CallId) -> Vec<Step> {
        let steps = self.0.borrow();
        steps.iter().filter(|(call, _)| *call == id).map(|(_, step)| *step).collect()
    }

    /// The last step of one call.
    #[track_caller]
    pub fn last_of(&self, id: CallId) -> Step {
        *self.of(id).last().expect("the call took no step")
    }

    /// The calls in the order in which they took a step like those that `is` is true for.
    pub fn calls(&self, is: impl Fn(&Step) -> bool) -> Vec<CallId> {
        self.0.borrow().iter().filter(|(_, step)| is(step)).map(|(call, _)| *call).collect()
    }
}

impl Observer for Steps {
    fn observe(&self, call: CallId, step: &Step) {
        self.0.borrow_mut().push((call, *step));
    }
}

/// What a tally should say; calls created are the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub unscheduled: u64,
    pub pending: u64,
    pub live: u64,
    pub finished: u64,
    pub canceled: u64,
    pub refused: u64,
    pub abandoned: u64,
    pub panicked: u64,
}

pub const NONE: Counts = Counts {
    unscheduled: 0,
    pending: 0,
    live: 0,
    finished: 0,
    canceled: 0,
    refused: 0,
    abandoned: 0,
    panicked: 0,
};

/// Asserts every count of the tally, that it balances, and that `is_idle` agrees with it.
#[track_caller]
pub fn assert_counts(queue: &QueueHandle, expected: Counts) {
    let tally = queue.tally();
    let counts = Counts {
        unscheduled: tally.unscheduled,
        pending: tally.pending,
        live: tally.live,
        finished: tally.finished,
        canceled: tally.canceled,
        refused: tally.refused,
        abandoned: tally.abandoned,
        panicked: tally.panicked,
    };
    assert_eq!(counts, expected);
    assert!(tally.balances(), "{tally}");
    // What is deferred waits for a live call.
    if tally.live == 0 {
        assert_eq!(queue.is_idle(), tally.pending == 0);
    }
}

/// Dialed, canceled, refused, remaining.
pub const fn figures(report: Report) -> [u64; 4] {
    [report.dialed, report.canceled, report.refused, report.remaining]
}

/// A function to call that must not be called; `captured` goes with it.
pub fn never<C: 'static>(captured: C) -> impl FnOnce(&QueueHandle) + 'static {
    move |_| {
        drop(captured);
        panic!("a call was dialed that should not be");
    }
}

/// A function to call that panics; `captured` goes with it.
pub fn panics<C: 'static>(captured: C) -> impl FnOnce(&QueueHandle) + 'static {
    move |_| {
        let _captured = captured;
        panic!("on purpose");
    }
}

/// What `function` panics with.
#[track_caller]
pub fn panic_of<R>(function: impl FnOnce() -> R) -> String {
    let Err(payload) = panic::catch_unwind(AssertUnwindSafe(function)) else {
        panic!("no panic came through");
    };
    match payload.downcast::<&'static str>() {
        Ok(payload) => payload.to_string(),
        Err(payload) => *payload.downcast::<String>().expect("a string"),
    }
}
