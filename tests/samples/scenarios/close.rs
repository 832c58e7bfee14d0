//! Hazard: an operation that stays in the list, or is missing in it; an end that is reported too early,
//! twice or never. `HlCancelAll` in its 8 compositions.
//!
//! What is checked after each scenario is in [`RigOn::finish`]: among others, that the list is
//! empty and that every close was answered once.

use std::time::Duration;

use support::descriptors::claim;
use support::rig::{Drive, Outcome, RigOn, When, canceled_by_closing};

/// A deadline that does not come.
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn closing_cancels_all_that_run<R: Drive>() {
    let claim = claim(2 * 100); // a pair each
    for recipe in canceled_by_closing::<R>() {
        for count in [1, 2, claim.count() / 2] {
            let mut rig = RigOn::<R>::open(recipe, count);
            for _ in 0..count {
                rig.start(&recipe.success(|_| When::Later));
            }
            assert_eq!(rig.running(), Some(count), "{}", rig.label());
            rig.close();
            assert_eq!(rig.leftovers(), if recipe.fake { count } else { 0 }, "{}", rig.label());
            rig.until(|rig| !rig.canceled_by_closing().is_empty());
            // The end is reported after all outcomes, and does not wait for leftovers.
            assert_eq!(rig.reported(), (0..count).collect::<Vec<_>>(), "{}", rig.label());
            assert_eq!(rig.canceled_by_closing(), [count], "{}", rig.label());
            assert_eq!(rig.leftovers(), if recipe.fake { count } else { 0 }, "{}", rig.label());
            rig.finish(&vec![Outcome::Canceled; count]);
        }
    }
}

pub(crate) fn an_operation_that_completes_leaves_the_list_whether_at_once_or_later<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = RigOn::<R>::open(recipe, when);
            for number in 0..3 {
                rig.start(&recipe.success(|_| when));
                assert_eq!(rig.running(), Some(1), "{}", rig.label());
                rig.until_reported(number);
                assert_eq!(rig.running(), Some(0), "{}", rig.label());
            }
            rig.close();
            rig.until(|rig| rig.canceled_by_closing() == [0]);
            rig.finish(&vec![recipe.answer(); 3]);
        }
    }
}

pub(crate) fn closing_with_nothing_started_is_answered<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.close();
        rig.until(|rig| rig.canceled_by_closing() == [0]);
        rig.finish(&[]);
    }
}

pub(crate) fn closing_what_is_not_open_is_answered<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::unopened(recipe, "");
        rig.close();
        rig.until(|rig| rig.canceled_by_closing() == [0]);
        rig.finish(&[]);
    }
}

/// The second caller's callback was declined: it was never notified.
pub(crate) fn o01_every_caller_of_close_is_answered_before_and_after_the_end<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.close();
        rig.close();
        rig.until(|rig| rig.canceled_by_closing() == [1, 1]);
        rig.close();
        rig.drain();
        rig.close();
        rig.until(|rig| rig.canceled_by_closing() == [1, 1, 0, 0]);
        rig.finish(&[Outcome::Canceled]);
    }
}

pub(crate) fn a_second_close_at_any_step_of_the_first_is_answered_at_the_end<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::stepwise(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.close();
        while rig.canceled_by_closing().is_empty() {
            assert!(rig.step(), "{recipe}: the end is reported");
            rig.close();
        }
        rig.finish(&[Outcome::Canceled]);
    }
}

/// `Closed` counted the operations of earlier closings again: 1, 3 and 6.
pub(crate) fn o04_a_close_counts_the_operations_of_this_closing_only<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        for count in [1, 2, 0, 3] {
            for _ in 0..count {
                rig.start(&recipe.success(|_| When::Later));
            }
            rig.close();
            rig.reopen();
        }
        rig.until(|rig| rig.canceled_by_closing().len() == 4);
        assert_eq!(rig.canceled_by_closing(), [1, 2, 0, 3], "{recipe}");
        rig.finish(&vec![Outcome::Canceled; 6]);
    }
}

/// It counted as canceled what came out as an answer.
pub(crate) fn o04_a_close_counts_as_canceled_what_was_delivered_as_canceled<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        // Whatever the moment of the close.
        let mut over = false;
        for at in 0.. {
            if over {
                break;
            }
            let mut rig = RigOn::<R>::stepwise(recipe, at);
            rig.start(&recipe.success(|_| When::AtOnce));
            over = (0..at).any(|_| !rig.step());
            let ran = rig.running().unwrap_or(0);
            rig.close();
            rig.drain();
            let outcome = rig.outcome(0).expect("an outcome");
            let canceled = usize::from(outcome == Outcome::Canceled);
            assert_eq!(rig.canceled_by_closing(), [canceled], "{}", rig.label());
            assert_eq!(rig.completed_while_closing(), [ran - canceled], "{}", rig.label());
            rig.finish(&[outcome]);
        }
    }
}

pub(crate) fn draining_starts_none_and_waits_for_what_runs<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        let scripts = [0, 9].map(|first| recipe.success_from(first, |_| When::Later));
        for script in &scripts {
            rig.start(script);
        }
        rig.drain_within(HOUR);
        rig.start_refused(&recipe.success(|_| When::Later));
        for script in &scripts {
            for _ in 0..recipe.steps {
                assert!(rig.canceled_by_closing().is_empty(), "{recipe}: reported too early");
                rig.until(|_| script.waiting() == 1);
                script.trigger();
            }
        }
        rig.until(|rig| !rig.canceled_by_closing().is_empty());
        assert_eq!(rig.canceled_by_closing(), [0], "{recipe}");
        assert_eq!(rig.completed_while_closing(), [2], "{recipe}");
        assert_eq!(rig.reactor.timer_count(), 0, "{recipe}: the deadline goes with it");
        rig.finish(&[recipe.answer(), recipe.answer_from(9)]);
    }
}

pub(crate) fn o03_draining_cancels_what_is_left_at_the_deadline<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.start(&recipe.success_from(9, |_| When::Later));
        rig.drain_within(Duration::ZERO);
        rig.until(|rig| !rig.canceled_by_closing().is_empty());
        assert_eq!(rig.canceled_by_closing(), [2], "{recipe}");
        rig.finish(&[Outcome::Canceled, Outcome::Canceled]);
    }
}

pub(crate) fn draining_what_is_empty_or_not_open_is_answered<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.drain_within(HOUR);
        rig.drain_within(HOUR);
        rig.until(|rig| rig.canceled_by_closing() == [0, 0]);
        rig.finish(&[]);
    }
}

pub(crate) fn closing_or_dropping_a_module_that_drains_cancels_at_once<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        for drops in [false, true] {
            let mut rig = RigOn::<R>::open(recipe, drops);
            rig.start(&recipe.success(|_| When::Later));
            rig.drain_within(HOUR);
            if drops {
                rig.drop_composition();
            } else {
                rig.close();
            }
            assert_eq!(rig.outcome(0), None, "{}", rig.label());
            rig.until(|rig| !rig.canceled_by_closing().is_empty());
            assert_eq!(rig.outcome(0), Some(Outcome::Canceled), "{}", rig.label());
            rig.finish(&[Outcome::Canceled]);
        }
    }
}

/// What runs since before the module was opened again is canceled, too.
pub(crate) fn closing_a_module_opened_again_while_it_drained_cancels_all<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.drain_within(HOUR);
        rig.reopen();
        rig.start(&recipe.success(|_| When::Later));
        rig.start(&recipe.success(|_| When::Later));
        rig.close();
        rig.until(|rig| rig.canceled_by_closing() == [1, 2]);
        rig.finish(&vec![Outcome::Canceled; 3]);
    }
}

pub(crate) fn a_start_during_close_is_refused<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = RigOn::<R>::stepwise(recipe, when);
            rig.start(&recipe.success(|_| When::Later));
            rig.close();
            while rig.step() {
                rig.start_refused(&recipe.success(|_| when));
            }
            rig.start_refused(&recipe.success(|_| when));
            assert_eq!(rig.canceled_by_closing(), [1], "{recipe}");
            rig.finish(&[Outcome::Canceled]);
        }
    }
}

pub(crate) fn an_operation_whose_completion_is_on_its_way_is_not_in_the_list_and_delivers_its_result<
    R: Drive,
>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::stepwise(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        while rig.running() == Some(1) {
            assert!(rig.step(), "{recipe}: it completes");
        }
        assert_eq!(rig.outcome(0), None, "{recipe}: the window");
        rig.close();
        rig.until(|rig| !rig.canceled_by_closing().is_empty());
        assert_eq!((rig.canceled_by_closing(), rig.reported()), (vec![0], vec![0]), "{recipe}");
        rig.finish(&[recipe.answer()]);
    }
}

pub(crate) fn closing_cancels_one_while_another_has_completed_and_a_third_is_about_to<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::AtOnce));
        rig.until(|rig| rig.outcome(0).is_some());
        rig.start(&recipe.success(|_| When::Later));
        rig.start(&recipe.success(|_| When::AtOnce));
        rig.close();
        rig.until(|rig| !rig.canceled_by_closing().is_empty());
        assert_eq!(rig.canceled_by_closing(), [2], "{recipe}");
        rig.finish(&[recipe.answer(), Outcome::Canceled, Outcome::Canceled]);
    }
}

pub(crate) fn a_module_that_was_closed_can_be_opened_and_closed_again<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        for number in 0..3 {
            rig.start(&recipe.success(|_| When::Later));
            rig.close();
            rig.until(|rig| rig.canceled_by_closing().len() == number + 1);
            rig.reopen();
        }
        rig.start(&recipe.success(|_| When::AtOnce));
        rig.until(|rig| rig.outcome(3).is_some());
        rig.close();
        let canceled = Outcome::Canceled;
        rig.finish(&[canceled.clone(), canceled.clone(), canceled, recipe.answer()]);
    }
}

pub(crate) fn dropping_the_module_while_it_is_closed_still_answers_at_the_end<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.start(&recipe.success(|_| When::AtOnce));
        rig.close();
        rig.drop_composition();
        rig.until(|rig| rig.canceled_by_closing() == [2]);
        rig.finish(&[Outcome::Canceled, Outcome::Canceled]);
    }
}

/// It canceled nothing, and left no one who could.
pub(crate) fn o03_dropping_the_module_cancels_as_closing_does<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.drop_composition();
        rig.finish(&[Outcome::Canceled]);
    }
}

pub(crate) fn an_upper_callback_that_panics_keeps_nothing_from_the_end<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        for when in [When::Later, When::AtOnce, When::Later] {
            rig.start(&recipe.success(|_| when));
        }
        rig.close();
        rig.unwind_when_notified();
        rig.until(|rig| rig.canceled_by_closing() == [3]);
        assert_eq!(rig.panics(), 4, "{recipe}: three outcomes and the end");
        rig.finish(&vec![Outcome::Canceled; 3]);
    }
}
