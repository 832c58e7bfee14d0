//! Small models, in every interleaving and with every value that the memory model allows.

mod inbox;
mod models;

use loom::model;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
    pub(crate) use loom::thread::spawn;

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }

    /// What the poll and its waker are for the reactor: a wake-up stays until it is polled for.
    pub(crate) struct Event(loom::sync::Notify);

    impl Event {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Notify::new())
        }

        pub(crate) fn wake(&self) {
            self.0.notify();
        }

        pub(crate) fn poll(&self) {
            self.0.wait();
        }
    }
}

#[test]
fn nothing_is_lost_and_no_wake_up() {
    model(|| models::nothing_is_lost_and_no_wake_up(1, 2));
    model(|| models::nothing_is_lost_and_no_wake_up(2, 1));
}

#[test]
fn nothing_is_lost_by_a_guest_and_no_wake_up() {
    model(|| models::nothing_is_lost_by_a_guest_and_no_wake_up(1, 2));
    model(|| models::nothing_is_lost_by_a_guest_and_no_wake_up(2, 1));
}

#[test]
fn a_reactor_that_is_awake_is_not_woken() {
    model(|| models::a_reactor_that_is_awake_is_not_woken(1, 2));
    model(|| models::a_reactor_that_is_awake_is_not_woken(2, 1));
}

#[test]
fn observation_loses_nothing_and_keeps_the_order() {
    model(|| models::observation_loses_nothing_and_keeps_the_order(1));
    model(|| models::observation_loses_nothing_and_keeps_the_order(2));
}

#[test]
fn a_run_ends_with_its_last_sender() {
    model(|| models::a_run_ends_with_its_last_sender(1, 2));
    model(|| models::a_run_ends_with_its_last_sender(2, 0));
}

#[test]
fn a_run_ends_with_entries_that_their_senders_go_along_with() {
    model(|| models::a_run_ends_with_entries_that_their_senders_go_along_with(1));
    model(|| models::a_run_ends_with_entries_that_their_senders_go_along_with(2));
}

#[test]
fn a_close_that_races_loses_nothing() {
    model(|| models::a_close_that_races_loses_nothing(1, 2));
    model(|| models::a_close_that_races_loses_nothing(2, 1));
}

#[test]
fn a_failed_wake_up_is_reported_to_its_sender_only() {
    model(models::a_failed_wake_up_is_reported_to_its_sender_only);
}

#[test]
fn a_quota_is_kept() {
    model(|| models::a_quota_is_kept(2, 1));
    model(|| models::a_quota_is_kept(2, 2));
}

#[test]
fn a_flag_loses_no_wake_up() {
    model(|| models::a_flag_loses_no_wake_up(2));
}
