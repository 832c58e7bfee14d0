//! Compositions whose observer panics.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use switchboard::{CallId, Step};

use super::{Drive, Recipe, RigOn};

/// Runs two operations, with an observer that panics once, at whatever it sees, and checks that
/// nothing is left; canceled on the way if `canceled`.
#[track_caller]
pub fn explore_observer<R: Drive>(recipe: Recipe, canceled: bool) {
    let mut panics_at = 0;
    while observed::<R>(recipe, canceled, panics_at) {
        panics_at += 1;
    }
    assert!(panics_at > 5, "{recipe}: notified only {panics_at} times");
}

/// The same for one panic, when the observer is notified for the `panics_at`th time; false if it is not
/// reported that often.
#[track_caller]
fn observed<R: Drive>(recipe: Recipe, canceled: bool, panics_at: usize) -> bool {
    let mut rig = RigOn::<R>::stepwise(recipe, (canceled, panics_at));
    rig.start(&recipe.representative());
    rig.start(&recipe.representative());
    let outcomes = Rc::new(Cell::new(0));
    let count = Rc::clone(&outcomes);
    rig.reactor.queue().add_observer(move |_: CallId, _: &Step| {
        count.set(count.get() + 1);
        if count.get() == panics_at + 1 {
            panic::resume_unwind(Box::new("the observer"));
        }
    });
    rig.step();
    let mut panics = 0;
    if canceled {
        panics += u64::from(panic::catch_unwind(AssertUnwindSafe(|| rig.cancel_all())).is_err());
    }
    while rig.step() {}
    rig.check_nothing_left();
    assert!(rig.reported().len() <= 2, "{}: {:?}", rig.label(), rig.reported());
    let panicked = outcomes.get() > panics_at;
    panics += rig.panics();
    assert_eq!(panics, u64::from(panicked), "{}: panics, all others in the library", rig.label());
    panicked
}
