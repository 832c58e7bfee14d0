//! Whole loops, operations and timers, in stories: from seeds (`SEEDS=1000000` for many, `SEED=7` for one),
//! from what fuzzers have found, and through all first decisions.
#![cfg(feature = "mio")]

support::tests_of!(operations: OPERATIONS, timers: TIMERS);
#[cfg(feature = "testing")]
support::tests_of!(simulation: SIMULATION);
#[cfg(unix)]
support::tests_of!(sockets: SOCKETS);
