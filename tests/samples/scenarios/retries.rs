//! Hazard: an attempt too many, too few, or after the end. The samples in those of the 26
//! compositions that retry.
//!
//! Where a composition has no handles, closing it cancels. What is checked after each scenario is
//! in [`RigOn::finish`].

use support::rig::{Drive, End, Outcome, Recipe, RigOn, Script, When, with_retries};

/// Retryable failures before the success, in most scenarios.
const FAILURES: usize = 3;

/// Attempts before a late cancel.
const MANY: usize = 50;

pub(crate) fn three_retryable_failures_and_a_success_are_a_success_in_every_order_at_any_step<
    R: Drive,
>() {
    for recipe in with_retries::<R>() {
        for failing in 0..recipe.steps {
            for order in When::orders(FAILURES + 1) {
                let mut rig = RigOn::<R>::open(recipe, (failing, &order));
                let script = retrying_at(recipe, failing, &order);
                rig.start(&script);
                rig.drain();
                assert_eq!(script.left(), 0, "{recipe}: all attempts were made");
                rig.finish(&[recipe.answer()]);
            }
        }
    }
}

pub(crate) fn three_retryable_failures_at_every_step_are_a_success<R: Drive>() {
    for recipe in with_retries::<R>() {
        for order in When::orders(FAILURES + 1) {
            let mut rig = RigOn::<R>::open(recipe, &order);
            let steps = (0..recipe.steps).flat_map(|step| attempts(step, &order));
            rig.start(&Script::new(steps));
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn an_operation_is_canceled_after_many_retries<R: Drive>() {
    for recipe in with_retries::<R>() {
        for failing in 0..recipe.steps {
            for when in [When::AtOnce, When::Later] {
                let mut rig = RigOn::<R>::open(recipe, (failing, when));
                let mut order = vec![when; MANY];
                order.push(When::Later);
                let script = retrying_at(recipe, failing, &order);
                rig.start(&script);
                let left = recipe.steps - failing - 1;
                while script.left() > left || script.waiting() == 0 {
                    assert!(rig.step(), "{}: over too early", rig.label());
                }
                rig.cancel_all();
                rig.until(|rig| rig.outcome(0).is_some());
                assert_eq!(script.left(), left, "{}", rig.label());
                rig.finish(&[Outcome::Canceled]);
            }
        }
    }
}

pub(crate) fn a_cancel_during_any_attempt_is_followed_by_no_other<R: Drive>() {
    for recipe in with_retries::<R>() {
        for failing in 0..recipe.steps {
            for attempt in 0..=FAILURES {
                let mut rig = RigOn::<R>::open(recipe, (failing, attempt));
                let script = retrying_at(recipe, failing, &[When::Later; FAILURES + 1]);
                rig.start(&script);
                let left = script.left() - failing - attempt;
                while script.left() > left {
                    assert!(rig.step(), "{}: over too early", rig.label());
                }
                assert_eq!(script.waiting(), 1, "{}", rig.label());
                rig.cancel_all();
                rig.drain();
                assert_eq!(script.left(), left, "{}", rig.label());
                rig.finish(&[Outcome::Canceled]);
            }
        }
    }
}

pub(crate) fn a_cancel_between_an_attempt_and_the_next_is_followed_by_no_other<R: Drive>() {
    for recipe in with_retries::<R>() {
        for attempt in 0..FAILURES {
            let mut rig = RigOn::<R>::stepwise(recipe, attempt);
            let script = retrying_at(recipe, 0, &[When::Later; FAILURES + 1]);
            rig.start(&script);
            for _ in 0..attempt {
                rig.until(|_| script.waiting() == 1);
                script.trigger();
            }
            rig.until(|_| script.waiting() == 1);
            script.trigger();
            // The attempt is over, and the next one has not been started.
            rig.until_lowest_is_over();
            let left = script.left();
            rig.cancel_all();
            rig.drain();
            assert_eq!(script.left(), left, "{}", rig.label());
            rig.finish(&[Outcome::Canceled]);
        }
    }
}

pub(crate) fn failing_for_good_ends_the_retries_and_the_chain<R: Drive>() {
    for recipe in with_retries::<R>() {
        for failing in 0..recipe.steps {
            for order in When::orders(FAILURES + 1) {
                let mut rig = RigOn::<R>::open(recipe, (failing, &order));
                let script = Script::new(lines(recipe, failing, &order, End::Failed));
                rig.start(&script);
                rig.drain();
                assert_eq!(script.left(), recipe.steps - failing - 1, "{}", rig.label());
                rig.finish(&[Outcome::Failed]);
            }
        }
    }
}

pub(crate) fn of_two_operations_that_retry_one_is_canceled_and_one_succeeds<R: Drive>() {
    for recipe in with_retries::<R>().filter(|recipe| recipe.handles) {
        for canceled in [0, 1] {
            let mut rig = RigOn::<R>::open(recipe, canceled);
            let scripts = [0, 1].map(|_| retrying_at(recipe, 0, &[When::Later; FAILURES + 1]));
            for script in &scripts {
                rig.start(script);
            }
            for _ in 0..2 {
                rig.until(|_| scripts.iter().all(|script| script.waiting() == 1));
                scripts[1].trigger();
                scripts[0].trigger();
            }
            rig.until(|_| scripts.iter().all(|script| script.waiting() == 1));
            let _ = rig.cancel(canceled);
            let mut expected = [recipe.answer(), recipe.answer()];
            expected[canceled] = Outcome::Canceled;
            rig.finish(&expected);
        }
    }
}

/// A script that succeeds at all steps at the first attempt, but at step `failing` at the last of
/// as many as there are in `order`.
fn retrying_at(recipe: Recipe, failing: usize, order: &[When]) -> Script {
    Script::new(lines(recipe, failing, order, End::Answer(failing as u8)))
}

fn lines(recipe: Recipe, failing: usize, order: &[When], last: End) -> Vec<(End, When)> {
    let mut lines = Vec::new();
    for step in 0..recipe.steps {
        if step == failing {
            lines.extend(attempts(step, order));
            lines.last_mut().expect("an attempt").0 = last;
        } else {
            lines.push((End::Answer(step as u8), When::AtOnce));
        }
    }
    lines
}

/// Attempts that fail, but for the last one.
fn attempts(step: usize, order: &[When]) -> impl Iterator<Item = (End, When)> {
    let last = order.len() - 1;
    order.iter().enumerate().map(move |(attempt, when)| {
        (if attempt == last { End::Answer(step as u8) } else { End::Retryable }, *when)
    })
}
