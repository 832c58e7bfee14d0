//! Larger models, in many random schedules. `SCHEDULES` says how many of each.

mod inbox;
mod models;

use std::env;

mod sync {
    use shuttle::sync::Condvar;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard};
    pub(crate) use shuttle::thread::spawn;

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }

    /// What the poll and its waker are for the reactor: a wake-up stays until it is polled for.
    pub(crate) struct Event {
        woken: Mutex<bool>,
        condition: Condvar,
    }

    impl Event {
        pub(crate) fn new() -> Self {
            Self { woken: Mutex::new(false), condition: Condvar::new() }
        }

        pub(crate) fn wake(&self) {
            *lock(&self.woken) = true;
            self.condition.notify_one();
        }

        pub(crate) fn poll(&self) {
            let mut woken = lock(&self.woken);
            while !*woken {
                woken = self.condition.wait(woken).unwrap();
            }
            *woken = false;
        }
    }
}

/// Runs a model in half as many random schedules, and half with few preemptions.
fn check(model: impl Fn() + Clone + Send + Sync + 'static) {
    let schedules = env::var("SCHEDULES").map_or(20_000, |n| n.parse().expect("a number"));
    shuttle::check_random(model.clone(), schedules / 2);
    shuttle::check_pct(model, schedules / 2, 3);
}

#[test]
fn nothing_is_lost_and_no_wake_up() {
    check(|| models::nothing_is_lost_and_no_wake_up(4, 5));
}

#[test]
fn nothing_is_lost_by_a_guest_and_no_wake_up() {
    check(|| models::nothing_is_lost_by_a_guest_and_no_wake_up(4, 5));
}

#[test]
fn a_reactor_that_is_awake_is_not_woken() {
    check(|| models::a_reactor_that_is_awake_is_not_woken(4, 5));
}

#[test]
fn observation_loses_nothing_and_keeps_the_order() {
    check(|| models::observation_loses_nothing_and_keeps_the_order(5));
}

#[test]
fn a_run_ends_with_its_last_sender() {
    check(|| models::a_run_ends_with_its_last_sender(4, 5));
}

#[test]
fn a_run_ends_with_entries_that_their_senders_go_along_with() {
    check(|| models::a_run_ends_with_entries_that_their_senders_go_along_with(5));
}

#[test]
fn a_close_that_races_loses_nothing() {
    check(|| models::a_close_that_races_loses_nothing(4, 5));
}

#[test]
fn a_failed_wake_up_is_reported_to_its_sender_only() {
    check(models::a_failed_wake_up_is_reported_to_its_sender_only);
}

#[test]
fn a_quota_is_kept() {
    check(|| models::a_quota_is_kept(6, 3));
}

#[test]
fn a_flag_loses_no_wake_up() {
    check(|| models::a_flag_loses_no_wake_up(6));
}
