//! Hazard: the one moment at which something goes wrong. Each composition runs once to count its
//! steps, and then again for each step, with something unexpected just before it.
//!
//! A step is a call that is dialed, or an operation that is made ready while nothing is pending.
//! What is checked after each run is in [`RigOn::finish`].

use support::rig::{
    Drive, Outcome, Recipe, RigOn, canceled_by_closing, compositions, explore_observer,
    with_handles,
};
use switchboard::Cancellation;

/// Runs the representative script of `recipe`, with `act` just before step `at`, or after the last.
/// Returns how many steps there were.
#[track_caller]
fn run<R: Drive>(recipe: Recipe, at: usize, act: impl FnOnce(&mut RigOn<R>)) -> (RigOn<R>, usize) {
    let mut rig = RigOn::<R>::stepwise(recipe, at);
    rig.start(&recipe.representative());
    let mut steps = 0;
    let mut act = Some(act);
    loop {
        if steps == at
            && let Some(act) = act.take()
        {
            act(&mut rig);
        }
        if rig.step() {
            steps += 1;
        } else if let Some(act) = act.take() {
            // (Threads report at moments of their own, so that a run may have a step or two less.)
            act(&mut rig);
        } else {
            return (rig, steps);
        }
    }
}

/// The moments before each step of `recipe`, and the one after the last.
fn moments<R: Drive>(recipe: Recipe) -> impl Iterator<Item = usize> {
    let (rig, steps) = run::<R>(recipe, 0, |_| ());
    rig.finish(&[recipe.answer()]);
    // Each lowest operation completes, and reports to one callback at least.
    assert!(steps >= 2 * recipe.steps, "{recipe}: {steps} steps");
    0..=steps
}

pub(crate) fn a_cancel_at_any_step_brings_one_outcome_which_is_the_answer_once_it_is_too_late<
    R: Drive,
>() {
    for recipe in compositions::<R>() {
        let mut late = None;
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, RigOn::<R>::cancel_all);
            if late.is_none() && rig.outcome(0) == Some(recipe.answer()) {
                late = Some(at);
            }
            rig.finish(&[if late.is_none() { Outcome::Canceled } else { recipe.answer() }]);
        }
        assert!(late.is_some_and(|late| late > 0), "{recipe}: {late:?}");
    }
}

pub(crate) fn a_cancel_is_late_only_if_the_answer_arrives<R: Drive>() {
    for recipe in with_handles::<R>() {
        for at in moments::<R>(recipe) {
            let mut said = None;
            let (rig, _) = run::<R>(recipe, at, |rig| said = Some(rig.cancel(0)));
            let outcome = match said {
                Some(Cancellation::Canceled) => rig.outcome(0).expect("an outcome"),
                Some(Cancellation::Late) => recipe.answer(),
                other => panic!("{}: {other:?}", rig.label()),
            };
            rig.finish(&[outcome]);
        }
    }
}

pub(crate) fn a_cancel_at_any_step_with_handle_and_composition_dropped_brings_one_outcome<
    R: Drive,
>() {
    for recipe in compositions::<R>() {
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, |rig| {
                rig.cancel_all();
                rig.drop_handles();
                rig.drop_composition();
            });
            let outcome = rig.outcome(0).expect("an outcome");
            assert!([Outcome::Canceled, recipe.answer()].contains(&outcome), "{}", rig.label());
            rig.finish(&[outcome]);
        }
    }
}

pub(crate) fn a_panic_at_any_step_changes_nothing<R: Drive>() {
    for recipe in compositions::<R>() {
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, |rig| rig.schedule_panic());
            assert_eq!(rig.panics(), 1, "{}", rig.label());
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn a_panic_in_the_upper_callback_leaves_nothing<R: Drive>() {
    for recipe in compositions::<R>() {
        let (rig, _) = run::<R>(recipe, 0, |rig| rig.unwind_when_notified());
        assert_eq!(rig.panics(), 1, "{recipe}");
        rig.finish(&[recipe.answer()]);
    }
}

pub(crate) fn a_panic_in_the_upper_callback_after_a_cancel_at_any_step_leaves_nothing<R: Drive>() {
    for recipe in compositions::<R>() {
        for at in moments::<R>(recipe) {
            let mut reported = 0;
            let (rig, _) = run::<R>(recipe, at, |rig| {
                reported = rig.reported().len() as u64;
                rig.unwind_when_notified();
                rig.cancel_all();
            });
            // Where closing cancels, the end is reported by a callback too.
            let expected = 1 - reported + u64::from(!recipe.handles);
            assert_eq!(rig.panics(), expected, "{}", rig.label());
            let outcome = rig.outcome(0).expect("an outcome");
            rig.finish(&[outcome]);
        }
    }
}

pub(crate) fn a_handle_dropped_at_any_step_changes_nothing<R: Drive>() {
    for recipe in with_handles::<R>() {
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, RigOn::<R>::drop_handles);
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn a_composition_with_handles_dropped_at_any_step_changes_nothing<R: Drive>() {
    for recipe in with_handles::<R>() {
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, RigOn::<R>::drop_composition);
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn a_composition_dropped_at_any_step_is_canceled_where_closing_cancels<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut late = None;
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, RigOn::<R>::drop_composition);
            if late.is_none() && rig.outcome(0) == Some(recipe.answer()) {
                late = Some(at);
            }
            rig.finish(&[if late.is_none() { Outcome::Canceled } else { recipe.answer() }]);
        }
        assert!(late.is_some_and(|late| late > 0), "{recipe}: {late:?}");
    }
}

pub(crate) fn a_reactor_dropped_at_any_step_leaves_nothing<R: Drive>() {
    for recipe in compositions::<R>() {
        for canceled in [false, true] {
            let mut at = 0;
            while abandoned::<R>(recipe, at, canceled) {
                at += 1;
            }
            assert!(at >= 2 * recipe.steps, "{recipe}: {at} steps");
        }
    }
}

/// Drops the reactor just before step `at`; false if there are fewer steps.
fn abandoned<R: Drive>(recipe: Recipe, at: usize, canceled: bool) -> bool {
    let mut rig = RigOn::<R>::stepwise(recipe, (at, canceled));
    rig.start(&recipe.representative());
    for _ in 0..at {
        if !rig.step() {
            return false;
        }
    }
    if canceled {
        rig.cancel_all();
    }
    rig.abandon();
    true
}

pub(crate) fn a_module_with_handles_closed_at_any_step_changes_nothing<R: Drive>() {
    for recipe in with_handles::<R>() {
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, RigOn::<R>::close);
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn readiness_for_nothing_at_any_step_changes_nothing<R: Drive>() {
    // (Work on threads has no readiness.)
    for recipe in compositions::<R>().into_iter().filter(|recipe| !recipe.fake) {
        let mut spurious = 0;
        for at in moments::<R>(recipe) {
            let (rig, _) = run::<R>(recipe, at, |rig| spurious += cause_spurious_readiness(rig));
            rig.finish(&[recipe.answer()]);
        }
        // At least at each operation that is ready later.
        assert!(spurious >= recipe.steps / 2, "{recipe}: {spurious}");
    }
}

/// Causes spurious readiness of what runs. Returns 1 if it was waiting, and so was notified, else 0.
fn cause_spurious_readiness<R: Drive>(rig: &mut RigOn<R>) -> usize {
    let script = rig.script(0).clone();
    script.cause_spurious_readiness();
    if !rig.reactor.queue().is_idle() || script.waiting() == 0 {
        return 0;
    }
    let (delivered, outcomes) = (rig.reactor.event_stats().delivered, rig.reported());
    rig.turn();
    rig.until(|rig| rig.reactor.queue().is_idle());
    assert_eq!(rig.reactor.event_stats().delivered, delivered + 1, "{}", rig.label());
    assert_eq!(rig.reported(), outcomes, "{}", rig.label());
    1
}

pub(crate) fn a_cancel_after_readiness_for_nothing_is_in_time<R: Drive>() {
    for recipe in compositions::<R>().into_iter().filter(|recipe| !recipe.fake) {
        for at in moments::<R>(recipe) {
            let mut in_time = false;
            let (rig, _) = run::<R>(recipe, at, |rig| {
                in_time = cause_spurious_readiness(rig) == 1;
                rig.cancel_all();
            });
            let outcome = rig.outcome(0).expect("an outcome");
            assert!(!in_time || outcome == Outcome::Canceled, "{}", rig.label());
            rig.finish(&[outcome]);
        }
    }
}

pub(crate) fn of_two_operations_one_is_canceled_at_any_step_and_the_other_answers<R: Drive>() {
    for recipe in with_handles::<R>() {
        for canceled in [0, 1] {
            let mut at = 0;
            while one_of_two::<R>(recipe, canceled, at) {
                at += 1;
            }
            assert!(at >= 4 * recipe.steps, "{recipe}: {at} steps");
        }
    }
}

/// Runs two operations, with one of them canceled just before step `at`; false if there are fewer
/// steps.
fn one_of_two<R: Drive>(recipe: Recipe, canceled: usize, at: usize) -> bool {
    let mut rig = RigOn::<R>::stepwise(recipe, (canceled, at));
    rig.start(&recipe.representative());
    rig.start(&recipe.representative());
    for _ in 0..at {
        if !rig.step() {
            return false;
        }
    }
    let said = rig.cancel(canceled);
    rig.drain();
    let outcome = rig.outcome(canceled).expect("an outcome");
    let possible = [recipe.answer(), Outcome::Canceled];
    assert!(possible.contains(&outcome), "{}: {outcome:?}", rig.label());
    assert!(said != Cancellation::Late || outcome == possible[0], "{}", rig.label());
    let mut expected = [recipe.answer(), recipe.answer()];
    expected[canceled] = outcome;
    rig.finish(&expected);
    true
}

pub(crate) fn an_observer_that_panics_at_any_step_of_any_call_leaves_nothing<R: Drive>() {
    for recipe in compositions::<R>() {
        explore_observer::<R>(recipe, false);
    }
}

/// A regression: a fake cancel was not counted, but subtracted; an operation stayed in the list of
/// `HlCancelAll`, and others were not canceled, as its close could not be repeated.
pub(crate) fn an_observer_that_panics_at_any_step_of_a_cancel_leaves_nothing<R: Drive>() {
    for recipe in compositions::<R>() {
        explore_observer::<R>(recipe, true);
    }
}
