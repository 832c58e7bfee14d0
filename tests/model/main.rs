//! The queue against a naive model of its rules: every sequence of acts up to a depth (`DEPTH=6`), and
//! random ones (`OPERATIONS=1000000000`; `SEED=7` for one). What fails prints the shortest sequence
//! that does, as a test for `regressions.rs`.

mod regressions;

use std::env;

use support::sequences::{ALPHABET, BARE, PROMISES, Setup, WATCHED, every, random, random_from};

/// A number of the environment, or a default.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |number| number.parse().expect(name))
}

/// Every sequence of up to so many acts, on one kind of queue.
fn every_sequence(setup: Setup) {
    let depth = number("DEPTH", 3) as usize;
    let told = every(setup, &ALPHABET, depth);
    let counted = [16, 408, 12_238, 427_686, 16_232_286].get(depth - 1).copied();
    assert_eq!(told, counted.unwrap_or(told));
}

#[test]
fn every_sequence_does_what_the_rules_say() {
    every_sequence(BARE);
}

#[test]
fn every_sequence_that_is_watched_does_what_the_rules_say() {
    every_sequence(WATCHED);
}

#[test]
fn every_sequence_about_promises_does_what_the_rules_say() {
    let depth = number("DEPTH", 3).max(5) as usize;
    for setup in [BARE, WATCHED] {
        let told = every(setup, &PROMISES, depth);
        assert!(depth > 5 || told == 14_006, "{told}");
    }
}

#[test]
fn random_sequences_do_what_the_rules_say() {
    if env::var("SEED").is_ok() {
        random_from(number("SEED", 0)).unwrap_or_else(|fault| panic!("{fault}"));
    } else {
        random(number("OPERATIONS", 100_000));
    }
}
