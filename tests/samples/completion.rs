//! Hazard: an operation that reports no outcome, two, or one too early. The samples in all 26
//! compositions, with operations that complete: at once, later, two at a time; and starts that are
//! refused. The other hazards have files of their own, all in one program, as building the compositions
//! is what takes the time.
//!
//! What is checked after each scenario is in [`RigOn::finish`](support::rig::RigOn::finish).

use support::rig::{
    End, Outcome, Recipe, Rig, Script, When, compositions, compositions_over_tcp, with_handles,
};
use switchboard::reactor::Reactor;

#[test]
fn an_operation_completes_later() {
    for recipe in compositions::<Reactor>() {
        let mut rig = Rig::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.finish(&[recipe.answer()]);
    }
}

#[test]
fn an_operation_completes_at_once() {
    for recipe in compositions::<Reactor>() {
        let mut rig = Rig::open(recipe, "");
        let script = recipe.success(|_| When::AtOnce);
        rig.start(&script);
        rig.until(|rig| rig.outcome(0).is_some());
        assert_eq!(script.left(), 0, "{recipe}");
        rig.finish(&[recipe.answer()]);
    }
}

#[test]
fn an_operation_completes_over_tcp() {
    for recipe in compositions_over_tcp() {
        for order in When::orders(recipe.steps) {
            let mut rig = Rig::open(recipe, &order);
            rig.start(&recipe.success(|step| order[step]));
            rig.finish(&[recipe.answer()]);
        }
    }
}

#[test]
fn an_operation_completes_with_one_call_dialed_a_turn() {
    for recipe in compositions::<Reactor>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = Rig::stepwise(recipe, when);
            rig.start(&recipe.success(|_| when));
            rig.finish(&[recipe.answer()]);
        }
    }
}

#[test]
fn an_operation_that_completes_at_once_is_followed_by_one_that_completes_later() {
    one_after_the_other(When::AtOnce, When::Later);
}

#[test]
fn an_operation_that_completes_later_is_followed_by_one_that_completes_at_once() {
    one_after_the_other(When::Later, When::AtOnce);
}

fn one_after_the_other(first: When, second: When) {
    for recipe in compositions::<Reactor>() {
        let mut rig = Rig::open(recipe, (first, second));
        rig.start(&recipe.success(|_| first));
        while rig.step() {}
        assert_eq!(rig.outcome(0), Some(recipe.answer()), "{recipe}");
        rig.start(&recipe.success_from(9, |_| second));
        rig.finish(&[recipe.answer(), recipe.answer_from(9)]);
    }
}

#[test]
fn the_steps_of_an_operation_complete_at_once_and_later_in_every_order() {
    for recipe in compositions::<Reactor>() {
        for order in When::orders(recipe.steps) {
            let mut rig = Rig::open(recipe, &order);
            rig.start(&recipe.success(|step| order[step]));
            rig.finish(&[recipe.answer()]);
        }
    }
}

#[test]
fn an_operation_that_fails_for_good_reports_that_and_starts_no_further_step() {
    for recipe in compositions::<Reactor>() {
        for failing in 0..recipe.steps {
            for when in [When::AtOnce, When::Later] {
                let mut rig = Rig::open(recipe, (failing, when));
                let script = failing_at(recipe, failing, End::Failed, when);
                rig.start(&script);
                rig.until_reported(0);
                assert_eq!(script.left(), recipe.steps - failing - 1, "{recipe}");
                rig.finish(&[Outcome::Failed]);
            }
        }
    }
}

#[test]
fn a_retryable_failure_is_reported_where_nothing_repeats_it() {
    for recipe in compositions::<Reactor>().into_iter().filter(|recipe| !recipe.retries) {
        for failing in 0..recipe.steps {
            for when in [When::AtOnce, When::Later] {
                let mut rig = Rig::open(recipe, (failing, when));
                let script = failing_at(recipe, failing, End::Retryable, when);
                rig.start(&script);
                rig.until_reported(0);
                assert_eq!(script.left(), recipe.steps - failing - 1, "{recipe}");
                rig.finish(&[Outcome::Retryable]);
            }
        }
    }
}

fn failing_at(recipe: Recipe, failing: usize, end: End, when: When) -> Script {
    Script::new((0..recipe.steps).map(|step| match step {
        _ if step == failing => (end, when),
        _ => (End::Answer(step as u8), when),
    }))
}

#[test]
fn a_start_before_open_is_refused_and_its_request_is_as_good_as_new() {
    for recipe in compositions::<Reactor>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = Rig::unopened(recipe, when);
            let script = recipe.success(|_| when);
            rig.start_refused(&script);
            rig.reopen();
            rig.start_again(&script);
            rig.finish(&[recipe.answer()]);
        }
    }
}

#[test]
fn a_start_after_close_is_refused_and_its_request_is_as_good_as_new() {
    for recipe in compositions::<Reactor>() {
        let mut rig = Rig::open(recipe, "");
        rig.close();
        let script = recipe.success(|_| When::Later);
        rig.start_refused(&script);
        while rig.step() {}
        rig.reopen();
        rig.start_again(&script);
        rig.finish(&[recipe.answer()]);
    }
}

#[test]
fn a_refused_request_that_is_not_wanted_leaves_nothing() {
    for recipe in compositions::<Reactor>() {
        let mut rig = Rig::unopened(recipe, "");
        let script = recipe.success(|_| When::Later);
        rig.start_refused(&script);
        rig.drop_composition();
        assert_eq!(script.held(), 0, "{recipe}");
        rig.finish(&[]);
    }
}

#[test]
fn operations_that_run_go_on_when_a_module_with_handles_is_closed() {
    for recipe in with_handles::<Reactor>() {
        let mut rig = Rig::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.close();
        rig.start_refused(&recipe.success(|_| When::Later));
        rig.finish(&[recipe.answer()]);
    }
}

#[test]
fn of_two_operations_at_a_time_either_may_finish_first() {
    for recipe in compositions::<Reactor>() {
        for first in [0, 1] {
            let mut rig = Rig::open(recipe, first);
            let scripts = two(&mut rig);
            for number in [first, 1 - first] {
                for _ in 0..recipe.steps {
                    rig.until(|_| scripts[number].waiting() == 1);
                    scripts[number].trigger();
                }
                rig.until(|rig| rig.outcome(number).is_some());
            }
            assert_eq!(rig.reported(), [first, 1 - first], "{recipe}");
            rig.finish(&[recipe.answer(), recipe.answer_from(9)]);
        }
    }
}

#[test]
fn two_operations_at_a_time_take_their_steps_in_turns() {
    for recipe in compositions::<Reactor>() {
        for first in [0, 1] {
            let mut rig = Rig::open(recipe, first);
            let scripts = two(&mut rig);
            for _ in 0..recipe.steps {
                rig.until(|_| scripts.iter().all(|script| script.waiting() == 1));
                scripts[first].trigger();
                scripts[1 - first].trigger();
            }
            rig.finish(&[recipe.answer(), recipe.answer_from(9)]);
        }
    }
}

#[test]
fn of_two_operations_one_completes_at_once_and_one_later() {
    for recipe in compositions::<Reactor>() {
        for whens in [[When::AtOnce, When::Later], [When::Later, When::AtOnce]] {
            let mut rig = Rig::open(recipe, whens);
            rig.start(&recipe.success(|_| whens[0]));
            rig.start(&recipe.success_from(9, |_| whens[1]));
            rig.until(|rig| !rig.reported().is_empty());
            let at_once = usize::from(whens[1] == When::AtOnce);
            assert_eq!(rig.reported(), [at_once], "{recipe}");
            rig.finish(&[recipe.answer(), recipe.answer_from(9)]);
        }
    }
}

/// Starts two operations that answer apart.
fn two(rig: &mut Rig) -> [Script; 2] {
    [0, 9].map(|first| {
        let script = rig.recipe.success_from(first, |_| When::Later);
        rig.start(&script);
        script
    })
}
