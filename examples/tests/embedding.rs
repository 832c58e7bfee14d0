//! Hazard: a loop of somebody else's that sleeps although there is something to do, spins although
//! there is nothing, or loses what a panic leaves. What is tested is the code of the examples.

mod endless;
mod hosts;
mod scenarios;
mod scene;

/// Runs every scenario in a loop, and the example's program.
macro_rules! in_the_loop_of {
    ($loop:ident, $host:ty) => {
        mod $loop {
            use super::{hosts, scenarios};
            use crate::embed::$loop as example;

            #[test]
            fn calls_scheduled_outside_a_turn_are_dialed() {
                scenarios::calls_scheduled_outside_a_turn_are_dialed::<$host>();
            }

            #[test]
            fn it_sleeps_when_there_is_nothing_to_do() {
                scenarios::it_sleeps_when_there_is_nothing_to_do::<$host>();
            }

            #[test]
            fn it_never_sleeps_with_work_pending() {
                scenarios::it_never_sleeps_with_work_pending::<$host>();
            }

            #[test]
            fn timers_armed_outside_a_turn_fire_and_not_early() {
                scenarios::timers_armed_outside_a_turn_fire_and_not_early::<$host>();
            }

            #[test]
            fn timers_armed_within_a_turn_fire_and_not_early() {
                scenarios::timers_armed_within_a_turn_fire_and_not_early::<$host>();
            }

            #[test]
            fn io_is_served_while_calls_keep_scheduling_calls() {
                scenarios::io_is_served_while_calls_keep_scheduling_calls::<$host>();
            }

            #[test]
            fn other_threads_wake_it() {
                scenarios::other_threads_wake_it::<$host>();
            }

            #[cfg(target_os = "linux")]
            #[test]
            fn more_sources_than_a_batch_holds_are_all_reported() {
                scenarios::more_sources_than_a_batch_holds_are_all_reported::<$host>();
            }

            #[test]
            fn it_goes_on_after_a_panic() {
                scenarios::it_goes_on_after_a_panic::<$host>();
            }

            #[test]
            fn the_example_ends_by_itself() {
                example::main().unwrap();
            }
        }
    };
}

in_the_loop_of!(mio, hosts::Mio);
in_the_loop_of!(poll, hosts::Poll);
in_the_loop_of!(thread, hosts::Thread);
#[cfg(all(target_os = "linux", feature = "timerfd"))]
in_the_loop_of!(descriptor, hosts::Descriptor);
in_the_loop_of!(calloop, hosts::Calloop);
in_the_loop_of!(tokio, hosts::Tokio);
