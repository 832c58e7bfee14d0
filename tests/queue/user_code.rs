//! Hazard: code of users that uses the queue, or panics, at any of the points where the queue runs it.
//!
//! `STORIES=1000000` for many random stories, `SEED=7` for one.

use std::cell::RefCell;
use std::env;
use std::rc::Rc;

use support::random::Random;
use support::user_code;
use switchboard::{Budget, CallId, CallQueue, Step};

#[test]
fn the_laws_hold_whatever_code_of_users_does_and_wherever() {
    let number = |name| env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (first, last) = match number("SEED") {
        Some(seed) => (seed, seed),
        None => (1, number("STORIES").unwrap_or(2000)),
    };
    for seed in first..=last {
        let broken = user_code::run(seed, Random::new(seed));
        assert!(broken.is_empty(), "SEED={seed}: {:#?}", &broken[..broken.len().min(5)]);
    }
}

/// It was told of the end only.
#[test]
fn an_observer_that_the_condition_of_a_turn_sets_is_told_of_the_dial() {
    let queue = CallQueue::new();
    queue.call(|_| ());
    let steps = Rc::new(RefCell::new(Vec::new()));
    let condition = || {
        let told = Rc::clone(&steps);
        queue.add_observer(move |_: CallId, step: &Step| told.borrow_mut().push(*step));
        false
    };
    let _ = queue.dial(Budget::calls(1).until(&condition));
    assert_eq!(steps.take(), [Step::Dialed, Step::Finished]);
}
