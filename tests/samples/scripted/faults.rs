//! Hazard: the one moment at which something fails. As in `scenarios/explorer.rs`, with what only a
//! script can do.

use std::thread;
use std::time::{Duration, Instant};

use support::rig::{Outcome, PATIENCE, Recipe, When, compositions};
use switchboard::testing::ScriptedReactor;

use support::rig::scripted::{REFUSES, REPORTED, Rig};

/// Runs the representative script of `recipe`, with `act` just before step `at`; nothing if there
/// are fewer steps.
#[track_caller]
fn run(recipe: Recipe, at: usize, act: impl FnOnce(&mut Rig)) -> Option<Rig> {
    let mut rig = Rig::stepwise(recipe, at);
    rig.start(&recipe.representative());
    for _ in 0..at {
        if !rig.step() {
            return None;
        }
    }
    act(&mut rig);
    rig.drain();
    Some(rig)
}

/// Does the same at every step, until that passes the end. Each run ends with the answer or with
/// `instead`; both happen if the latter is possible. Returns how many runs there were.
#[track_caller]
fn explore(recipe: Recipe, instead: Option<&Outcome>, act: impl Fn(&mut Rig)) -> usize {
    let (mut at, mut otherwise) = (0, 0);
    while let Some(rig) = run(recipe, at, &act) {
        let outcome = rig.outcome(0).expect("an outcome");
        if outcome != recipe.answer() {
            assert_eq!(Some(&outcome), instead, "{}", rig.label());
            otherwise += 1;
        }
        rig.finish(&[outcome]);
        at += 1;
    }
    // Each lowest operation is reported, dialed, and reports to the callback at least.
    assert!(at >= 3 * recipe.steps, "{recipe}: {at} steps");
    assert_eq!(otherwise > 0, instead.is_some(), "{recipe}: {otherwise} of {at} ended otherwise");
    assert!(otherwise < at, "{recipe}: at the end it is too late");
    at
}

#[test]
fn a_cancel_at_any_step_starts_nothing_more() {
    for recipe in compositions::<ScriptedReactor>() {
        let mut at = 0;
        loop {
            let mut left = 0;
            let rig = run(recipe, at, |rig| {
                rig.cancel_all();
                left = rig.script(0).left();
            });
            let Some(rig) = rig else { break };
            assert_eq!(rig.script(0).left(), left, "{}", rig.label());
            at += 1;
        }
        assert!(at >= 3 * recipe.steps, "{recipe}: {at} steps");
    }
}

#[test]
fn a_failure_at_any_step_brings_one_outcome() {
    for recipe in compositions::<ScriptedReactor>() {
        // What is to be ready at once is so before it can be spoiled.
        let later = |rig: &mut Rig| rig.script(0).spoil();
        let fails = recipe.steps > 1 || recipe.retries;
        explore(recipe, fails.then_some(&Outcome::Failed), later);
    }
}

#[test]
fn a_failure_of_an_operation_that_waits_is_reported_once() {
    for recipe in compositions::<ScriptedReactor>() {
        for failing in 0..recipe.steps {
            let mut rig = Rig::stepwise(recipe, failing);
            let script = recipe.success(|_| When::Later);
            rig.start(&script);
            for _ in 0..failing {
                rig.until(|_| script.waiting() == 1);
                script.trigger();
            }
            rig.until(|_| script.waiting() == 1);
            script.spoil();
            rig.drain();
            assert_eq!(script.left(), recipe.steps - failing - 1, "{}", rig.label());
            rig.finish(&[Outcome::Failed]);
        }
    }
}

#[test]
fn a_start_that_fails_at_any_step_brings_one_outcome() {
    for recipe in compositions::<ScriptedReactor>().into_iter().filter(|recipe| !recipe.fake) {
        let should_run = recipe.steps > 1 || recipe.retries;
        explore(recipe, should_run.then_some(&Outcome::NotStarted), |_| REFUSES.set(true));
    }
}

#[test]
fn a_start_that_fails_at_the_lowest_layer_is_refused_and_reports_nothing() {
    for recipe in compositions::<ScriptedReactor>().into_iter().filter(|recipe| !recipe.fake) {
        let mut rig = Rig::stepwise(recipe, "");
        REFUSES.set(true);
        let before = rig.tally();
        rig.start_in_vain(&recipe.success(|_| When::AtOnce));
        let after = rig.tally();
        let declined = after.canceled - before.canceled;
        assert_eq!(
            declined,
            after.created - before.created,
            "{recipe}: all callbacks are declined"
        );
        assert_eq!(rig.reactor.registration_count(), 0, "{recipe}");
        REFUSES.set(false);
        rig.start(&recipe.success(|_| When::AtOnce));
        rig.finish(&[recipe.answer()]);
    }
}

#[test]
fn events_reported_again_at_any_step_change_nothing() {
    // (Threads report by no event.)
    for recipe in compositions::<ScriptedReactor>().into_iter().filter(|recipe| !recipe.fake) {
        explore(recipe, None, |rig| {
            // Those of sources that are gone are stale, the others are for nothing.
            let old = REPORTED.with_borrow(Clone::clone);
            rig.reactor.set_budget(0);
            let _ = rig.reactor.turn_with(old.iter().chain(&old).copied());
        });
        let again = REPORTED.with_borrow(Vec::len);
        assert!(again >= recipe.steps, "{recipe}: {again} events");
    }
}

#[test]
fn time_that_passes_at_any_step_changes_nothing() {
    for recipe in compositions::<ScriptedReactor>() {
        explore(recipe, None, |rig| rig.reactor.advance(Duration::from_secs(3600)));
    }
}

/// Canceled, spoiled and panicking at every step, in a process of its own: descriptors belong to
/// all of one.
#[cfg(target_os = "linux")]
#[test]
fn descriptors_are_back_whatever_happens_at_any_step() {
    support::alone!();
    let open = support::descriptors::open;
    let acts: [fn(&mut Rig); 3] =
        [Rig::cancel_all, |rig| rig.script(0).spoil(), |rig| rig.schedule_panic()];
    let before = open();
    for recipe in compositions::<ScriptedReactor>() {
        for act in acts {
            let mut at = 0;
            while let Some(rig) = run(recipe, at, act) {
                drop(rig);
                // (A thread that has just reported may still hold the waker.)
                let patience = Instant::now() + PATIENCE;
                while recipe.fake && open() != before && Instant::now() < patience {
                    thread::yield_now();
                }
                assert_eq!(open(), before, "{recipe}, step {at}");
                at += 1;
            }
        }
    }
}
