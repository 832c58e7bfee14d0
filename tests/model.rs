//! The queue against a naive model of its rules: every sequence of acts up to a depth (`DEPTH=6`), and
//! random ones (`OPERATIONS=1000000000`; `SEED=7` for one). What fails prints the shortest sequence
//! that does, as a test for `regressions.rs`.

mod sequences;

use std::env;

use sequences::{every, random, random_from};

/// A number of the environment, or a default in debug or release.
fn number(name: &str, debug: u64, release: u64) -> u64 {
    let number = env::var(name).ok().map(|number| number.parse().expect(name));
    number.unwrap_or(if cfg!(debug_assertions) { debug } else { release })
}

#[test]
fn every_sequence_does_what_the_rules_say() {
    let depth = number("DEPTH", 3, 5);
    let told = every(depth as usize);
    // (If they are fewer, the reduction took too many. `DEPTH` is one of those that were counted.)
    println!("up to {depth} acts: {told} sequences");
}

#[test]
fn random_sequences_do_what_the_rules_say() {
    if env::var("SEED").is_ok() {
        random_from(number("SEED", 0, 0)).unwrap_or_else(|fault| panic!("{fault}"));
    } else {
        random(number("OPERATIONS", 100_000, 10_000_000));
    }
}
