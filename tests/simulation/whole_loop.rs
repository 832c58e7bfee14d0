//! The whole loop, simulated: recipients that echo, operations, timers and senders, on a scripted
//! reactor and a virtual clock. First everything goes wrong, at random: events are lost, doubled,
//! reordered, spurious or stale, reads and writes are short or fail, handlers and captured values
//! panic, recipients hang up, sources are swapped in their slots. Then nothing does any more, and all
//! must come to its end in a bounded number of turns. The laws L1 to L8 are checked after every step.
//!
//! `SEEDS=n` simulates `n` times, `SEED=n` only the one that was reported as broken.

use std::env;
use std::ops::Range;
use std::panic;

use support::random::Random;
use support::simulation::{Counts, simulate};

const SEEDS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// Simulates those of the seeds that have `rest`, modulo 2: tests run side by side.
fn simulate_all(rest: u64) {
    let seeds: Range<u64> = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let enough = seeds.end - seeds.start >= SEEDS;
    let mut total = Counts::default();
    for seed in seeds.filter(|seed| seed % 2 == rest) {
        match panic::catch_unwind(|| simulate(seed, Random::new(seed))) {
            Ok(Ok(counts)) => total.add(&counts),
            Ok(Err(broken)) => panic!("{broken}; SEED={seed} tells it again"),
            Err(payload) => {
                println!("a panic; SEED={seed} tells it again");
                panic::resume_unwind(payload);
            }
        }
    }
    println!("{total:?}");
    if enough {
        total.check();
    }
}

#[test]
fn a_loop_in_which_everything_goes_wrong_keeps_the_laws_even_seeds() {
    simulate_all(0);
}

#[test]
fn a_loop_in_which_everything_goes_wrong_keeps_the_laws_odd_seeds() {
    simulate_all(1);
}
