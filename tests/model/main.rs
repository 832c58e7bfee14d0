//! The queue in stories: from seeds (`SEEDS=1000000` for many, `SEED=7` for one), from what fuzzers have found,
//! and through all first decisions. And every sequence of acts up to a depth (`DEPTH=6`), beside a naive
//! model of its rules. A sequence that fails prints the shortest one that does, as a test for
//! `regressions.rs`.

mod regressions;

use support::util::number;
use support::worlds::sequences::{ALPHABET, BARE, PROMISES, STARTLES, Setup, WATCHED, every};

support::tests_of!(ids: IDS, sequences: SEQUENCES, user_code: USER_CODE);

fn depth() -> usize {
    number("DEPTH").unwrap_or(3) as usize
}

/// Every sequence of up to `depth` acts, on one kind of queue; `counted` has how many there are of up to
/// four acts, and of up to five.
fn every_sequence(setup: Setup, depth: usize, counted: [u64; 2]) {
    let played = every(setup, &ALPHABET, depth);
    let counted = [16, 408, 12_238, counted[0], counted[1]].get(depth - 1).copied();
    assert_eq!(played, counted.unwrap_or(played));
}

#[test]
fn every_sequence_does_what_the_rules_say() {
    every_sequence(BARE, depth(), [427_686, 16_232_286]);
}

#[test]
fn every_sequence_that_is_watched_does_what_the_rules_say() {
    every_sequence(WATCHED, depth(), [427_686, 16_232_286]);
}

/// (An act less than elsewhere, from four on, as most sequences are those of other recipients.)
#[test]
fn every_sequence_to_recipients_that_defer_does_what_the_rules_say() {
    let depth = depth().max(4) - 1;
    every_sequence(Setup { defers: true, ..WATCHED }, depth, [427_724, 16_235_510]);
}

#[test]
fn every_sequence_about_promises_does_what_the_rules_say() {
    let depth = depth().max(5);
    for setup in [BARE, WATCHED] {
        let played = every(setup, &PROMISES, depth);
        assert!(depth > 5 || played == 14_006, "{played}");
    }
}

#[test]
fn every_sequence_in_which_observers_panic_does_what_the_rules_say() {
    every(WATCHED, &STARTLES, depth().max(4));
}
