//! What all compositions of the samples go through, on a real reactor and on a scripted one. Each
//! module has one hazard.

pub(crate) mod cancel;
pub(crate) mod close;
pub(crate) mod explorer;
pub(crate) mod retries;

/// A test of each scenario, on one kind of reactor.
macro_rules! tests_on {
    ($reactor:ty) => {
        crate::scenarios::tests_on! {
            $reactor;
            cancel {
                a_cancel_right_after_the_start_is_in_time_even_if_the_data_is_there,
                a_cancel_at_any_step_ends_the_operation_and_starts_no_further_step,
                a_cancel_between_two_steps_starts_no_further_step,
                a_cancel_between_completion_and_its_dial_is_late_and_the_real_result_arrives,
                a_cancel_after_all_is_over_is_late_and_changes_nothing,
                a_second_cancel_is_a_no_op,
                a_cancel_between_cancel_and_its_outcome_is_a_no_op_at_any_time,
                an_operation_whose_handle_is_dropped_goes_on,
                of_two_operations_one_is_canceled_while_the_other_completes,
                leftovers_of_fake_cancels_rise_by_one_each_and_return_to_zero,
                a_canceled_read_closes_its_socket_at_once_and_canceled_work_keeps_what_it_holds,
            }
            close {
                closing_cancels_all_that_run,
                an_operation_that_completes_leaves_the_list_whether_at_once_or_later,
                closing_with_nothing_started_is_answered,
                closing_what_is_not_open_is_answered,
                o01_every_caller_of_close_is_answered_before_and_after_the_end,
                a_second_close_at_any_step_of_the_first_is_answered_at_the_end,
                o04_a_close_counts_the_operations_of_this_closing_only,
                o04_a_close_counts_as_canceled_what_was_delivered_as_canceled,
                o03_draining_cancels_what_is_left_at_the_deadline,
                draining_what_is_empty_or_not_open_is_answered,
                closing_or_dropping_a_module_that_drains_cancels_at_once,
                closing_a_module_opened_again_while_it_drained_cancels_all,
                a_start_during_close_is_refused,
                an_operation_whose_completion_is_on_its_way_is_not_in_the_list_and_delivers_its_result,
                closing_cancels_one_while_another_has_completed_and_a_third_is_about_to,
                a_module_that_was_closed_can_be_opened_and_closed_again,
                dropping_the_module_while_it_is_closed_still_answers_at_the_end,
                o03_dropping_the_module_cancels_as_closing_does,
                an_upper_callback_that_panics_keeps_nothing_from_the_end,
            }
            explorer {
                a_cancel_at_any_step_brings_one_outcome_which_is_the_answer_once_it_is_too_late,
                a_cancel_is_late_only_if_the_answer_arrives,
                a_cancel_at_any_step_with_handle_and_composition_dropped_brings_one_outcome,
                a_panic_at_any_step_changes_nothing,
                a_panic_in_the_upper_callback_leaves_nothing,
                a_panic_in_the_upper_callback_after_a_cancel_at_any_step_leaves_nothing,
                a_handle_dropped_at_any_step_changes_nothing,
                a_composition_with_handles_dropped_at_any_step_changes_nothing,
                a_composition_dropped_at_any_step_is_canceled_where_closing_cancels,
                a_reactor_dropped_at_any_step_leaves_nothing,
                a_module_with_handles_closed_at_any_step_changes_nothing,
                readiness_for_nothing_at_any_step_changes_nothing,
                a_cancel_after_readiness_for_nothing_is_in_time,
                of_two_operations_one_is_canceled_at_any_step_and_the_other_answers,
                an_observer_that_panics_at_any_step_of_any_call_leaves_nothing,
                an_observer_that_panics_at_any_step_of_a_cancel_leaves_nothing,
            }
            retries {
                three_retryable_failures_and_a_success_are_a_success_in_every_order_at_any_step,
                three_retryable_failures_at_every_step_are_a_success,
                an_operation_is_canceled_after_many_retries,
                a_cancel_during_any_attempt_is_followed_by_no_other,
                a_cancel_between_an_attempt_and_the_next_is_followed_by_no_other,
                failing_for_good_ends_the_retries_and_the_chain,
                of_two_operations_that_retry_one_is_canceled_and_one_succeeds,
            }
        }
    };
    ($reactor:ty; $($hazard:ident { $($scenario:ident,)* })*) => {
        $(
            mod $hazard {
                $(
                    #[test]
                    fn $scenario() {
                        crate::scenarios::$hazard::$scenario::<$reactor>();
                    }
                )*
            }
        )*
    };
}

pub(crate) use tests_on;

/// On a real reactor.
mod on_sockets {
    crate::scenarios::tests_on!(switchboard::reactor::Reactor);

    /// (Virtual time does not wait for threads.)
    #[test]
    fn draining_starts_none_and_waits_for_what_runs() {
        crate::scenarios::close::draining_starts_none_and_waits_for_what_runs::<
            switchboard::reactor::Reactor,
        >();
    }
}
