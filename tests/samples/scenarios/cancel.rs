//! Hazard: a cancel that comes too early, too late, twice, or that reaches the wrong operation. The
//! samples in all 26 compositions, with operations that are canceled.
//!
//! Where a composition has no handles, closing it cancels. What is checked after each scenario is
//! in [`RigOn::finish`].

use support::rig::{Drive, Outcome, RigOn, When, compositions, with_handles};
use switchboard::Cancellation;
use switchboard::op::OpState;

pub(crate) fn a_cancel_right_after_the_start_is_in_time_even_if_the_data_is_there<R: Drive>() {
    for recipe in compositions::<R>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = RigOn::<R>::open(recipe, when);
            let script = recipe.success(|_| when);
            rig.start(&script);
            rig.cancel_all();
            rig.drain();
            assert_eq!(script.left(), recipe.steps - 1, "{recipe}: no further step starts");
            rig.finish(&[Outcome::Canceled]);
        }
    }
}

pub(crate) fn a_cancel_at_any_step_ends_the_operation_and_starts_no_further_step<R: Drive>() {
    for recipe in compositions::<R>() {
        for canceled in 0..recipe.steps {
            let mut rig = RigOn::<R>::open(recipe, canceled);
            let script = recipe.success(|_| When::Later);
            rig.start(&script);
            for _ in 0..canceled {
                rig.until(|_| script.waiting() == 1);
                script.trigger();
            }
            rig.until(|_| script.waiting() == 1);
            assert_eq!(script.left(), recipe.steps - canceled - 1, "{}", rig.label());
            rig.cancel_all();
            // Nothing needs to become ready for the outcome to come.
            rig.until(|rig| rig.outcome(0).is_some());
            assert_eq!(script.waiting(), 1, "{}", rig.label());
            assert_eq!(rig.leftovers(), usize::from(recipe.fake), "{}", rig.label());
            assert_eq!(script.left(), recipe.steps - canceled - 1, "{}", rig.label());
            rig.finish(&[Outcome::Canceled]);
        }
    }
}

pub(crate) fn a_cancel_between_two_steps_starts_no_further_step<R: Drive>() {
    for recipe in compositions::<R>().into_iter().filter(|recipe| recipe.steps > 1) {
        let mut rig = RigOn::<R>::stepwise(recipe, "");
        let script = recipe.success(|_| When::AtOnce);
        rig.start(&script);
        // The first read or work is over, and no one above has been notified.
        rig.until_lowest_is_over();
        rig.cancel_all();
        rig.drain();
        assert_eq!(script.left(), recipe.steps - 1, "{recipe}");
        rig.finish(&[Outcome::Canceled]);
    }
}

pub(crate) fn a_cancel_between_completion_and_its_dial_is_late_and_the_real_result_arrives<
    R: Drive,
>() {
    for recipe in with_handles::<R>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = RigOn::<R>::stepwise(recipe, when);
            rig.start(&recipe.success(|_| when));
            while rig.op(0).state() != OpState::Completed {
                assert!(rig.step(), "{recipe}: it completes");
            }
            assert_eq!(rig.outcome(0), None, "{recipe}: the window");
            assert_eq!(rig.cancel(0), Cancellation::Late, "{recipe}");
            assert_eq!(rig.cancel(0), Cancellation::Late, "{recipe}");
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn a_cancel_after_all_is_over_is_late_and_changes_nothing<R: Drive>() {
    for recipe in with_handles::<R>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = RigOn::<R>::open(recipe, when);
            rig.start(&recipe.success(|_| when));
            rig.drain();
            let tally = rig.tally();
            assert_eq!(rig.cancel(0), Cancellation::Late, "{recipe}");
            assert_eq!(rig.op(0).state(), OpState::Completed, "{recipe}");
            assert_eq!(rig.tally(), tally, "{recipe}");
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn a_second_cancel_is_a_no_op<R: Drive>() {
    for recipe in with_handles::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        assert_eq!(rig.op(0).state(), OpState::Running, "{recipe}");
        assert_eq!(rig.cancel(0), Cancellation::Canceled, "{recipe}");
        let tally = rig.tally();
        let expected = match rig.op(0).state() {
            OpState::Canceling => Cancellation::Already,
            state => {
                // The lowest layers complete within the cancel.
                assert_eq!((state, recipe.name), (OpState::Completed, "LL"));
                Cancellation::Late
            }
        };
        assert_eq!(rig.cancel(0), expected, "{recipe}");
        assert_eq!(rig.tally(), tally, "{recipe}");
        rig.finish(&[Outcome::Canceled]);
    }
}

pub(crate) fn a_cancel_between_cancel_and_its_outcome_is_a_no_op_at_any_time<R: Drive>() {
    for recipe in with_handles::<R>() {
        let mut rig = RigOn::<R>::stepwise(recipe, "");
        rig.start(&recipe.success(|_| When::Later));
        assert_eq!(rig.cancel(0), Cancellation::Canceled, "{recipe}");
        while rig.step() {
            let _ = rig.cancel(0);
        }
        assert_eq!(rig.cancel(0), Cancellation::Late, "{recipe}");
        rig.finish(&[Outcome::Canceled]);
    }
}

pub(crate) fn an_operation_whose_handle_is_dropped_goes_on<R: Drive>() {
    for recipe in with_handles::<R>() {
        for when in [When::AtOnce, When::Later] {
            let mut rig = RigOn::<R>::open(recipe, when);
            rig.start(&recipe.success(|_| when));
            rig.drop_handles();
            rig.finish(&[recipe.answer()]);
        }
    }
}

pub(crate) fn of_two_operations_one_is_canceled_while_the_other_completes<R: Drive>() {
    for recipe in with_handles::<R>() {
        for canceled in [0, 1] {
            for step in 0..recipe.steps {
                let mut rig = RigOn::<R>::open(recipe, (canceled, step));
                let scripts = [0, 9].map(|first| recipe.success_from(first, |_| When::Later));
                for script in &scripts {
                    rig.start(script);
                }
                for _ in 0..step {
                    rig.until(|_| scripts.iter().all(|script| script.waiting() == 1));
                    scripts[1].trigger();
                    scripts[0].trigger();
                }
                rig.until(|_| scripts.iter().all(|script| script.waiting() == 1));
                // The other's completion is on its way already.
                scripts[1 - canceled].trigger();
                assert_eq!(rig.cancel(canceled), Cancellation::Canceled, "{recipe}");
                let mut expected = [recipe.answer(), recipe.answer_from(9)];
                expected[canceled] = Outcome::Canceled;
                rig.finish(&expected);
            }
        }
    }
}

pub(crate) fn leftovers_of_fake_cancels_rise_by_one_each_and_return_to_zero<R: Drive>() {
    const MANY: usize = 10;
    for recipe in with_handles::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        let scripts: Vec<_> = (0..MANY).map(|_| recipe.success(|_| When::Later)).collect();
        for script in &scripts {
            rig.start(script);
        }
        let leftovers = |canceled| if recipe.fake { canceled } else { 0 };
        for number in 0..MANY {
            assert_eq!(rig.leftovers(), leftovers(number), "{recipe}");
            assert_eq!(rig.cancel(number), Cancellation::Canceled, "{recipe}");
            assert_eq!(rig.leftovers(), leftovers(number + 1), "{recipe}");
        }
        rig.until(|rig| rig.reported().len() == MANY);
        assert_eq!(rig.reactor.registration_count(), 0, "{recipe}");
        for (number, script) in scripts.iter().enumerate() {
            assert_eq!(rig.leftovers(), leftovers(MANY - number), "{recipe}");
            assert!(script.trigger());
            rig.until(|rig| rig.leftovers() == leftovers(MANY - number - 1));
        }
        rig.finish(&vec![Outcome::Canceled; MANY]);
    }
}

pub(crate) fn a_canceled_read_closes_its_socket_at_once_and_canceled_work_keeps_what_it_holds<
    R: Drive,
>() {
    for recipe in with_handles::<R>() {
        let mut rig = RigOn::<R>::open(recipe, "");
        let script = recipe.success(|_| When::Later);
        rig.start(&script);
        assert_eq!(rig.cancel(0), Cancellation::Canceled);
        if recipe.name.contains("chain") || recipe.name.contains("retries") {
            // What makes further requests goes with the outcome.
            rig.until(|rig| rig.outcome(0).is_some());
        }
        assert_eq!(script.held(), usize::from(recipe.fake), "{recipe}");
        rig.finish(&[Outcome::Canceled]);
    }
}
