//! Hazard: an operation that stays in the list, or is missing in it; an end that is told too early,
//! twice or never. `HlCancelAll` in its 8 compositions.
//!
//! What is checked after each scenario is in [`RigOn::finish`]: among others, that the list is
//! empty and that every close was told of once.

use support::descriptors::claim;
use support::rig::{Drive, Outcome, RigOn, When, canceled_by_closing};

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
            // The end is told after all outcomes, and does not wait for leftovers.
            assert_eq!(rig.told(), (0..count).collect::<Vec<_>>(), "{}", rig.label());
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
                rig.until_told(number);
                assert_eq!(rig.running(), Some(0), "{}", rig.label());
            }
            rig.close();
            rig.until(|rig| rig.canceled_by_closing() == [0]);
            rig.finish(&vec![recipe.answer(); 3]);
        }
    }
}

pub(crate) fn closing_with_nothing_started_tells_of_the_end<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.close();
        rig.until(|rig| rig.canceled_by_closing() == [0]);
        rig.finish(&[]);
    }
}

pub(crate) fn closing_what_is_not_open_is_a_no_op<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::unopened(recipe, "");
        rig.close_in_vain();
        rig.finish(&[]);
    }
}

pub(crate) fn a_second_close_is_a_no_op_before_and_after_the_end<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.close();
        rig.close_in_vain();
        rig.until(|rig| !rig.canceled_by_closing().is_empty());
        rig.close_in_vain();
        rig.drain();
        rig.close_in_vain();
        rig.finish(&[Outcome::Canceled]);
    }
}

pub(crate) fn a_second_close_at_any_step_of_the_first_is_a_no_op<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::stepwise(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.close();
        while rig.step() {
            rig.close_in_vain();
        }
        rig.finish(&[Outcome::Canceled]);
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

pub(crate) fn an_operation_whose_completion_is_on_its_way_is_not_in_the_list_and_tells_its_result<
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
        assert_eq!((rig.canceled_by_closing(), rig.told()), (vec![0], vec![0]), "{recipe}");
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

pub(crate) fn dropping_the_module_while_it_is_closed_still_tells_of_the_end<R: Drive>() {
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

pub(crate) fn dropping_the_module_without_closing_it_lets_operations_go_on<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        rig.drop_composition();
        rig.finish(&[recipe.answer()]);
    }
}

pub(crate) fn an_upper_callback_that_panics_keeps_nothing_from_the_end<R: Drive>() {
    for recipe in canceled_by_closing::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        for when in [When::Later, When::AtOnce, When::Later] {
            rig.start(&recipe.success(|_| when));
        }
        rig.close();
        rig.unwind_when_told();
        rig.until(|rig| rig.canceled_by_closing() == [3]);
        assert_eq!(rig.panics(), 4, "{recipe}: three outcomes and the end");
        rig.finish(&vec![Outcome::Canceled; 3]);
    }
}
