//! cargo run --release --example tour
//!
//! Stories on real loopback sockets and threads, reported from the steps that an observer sees: how
//! calls and operations end, what happens to those that come to a bad end, and what each sample
//! module does. Fails if a story ends differently than expected. `-- --help` lists the flags.

use std::process::ExitCode;

mod basics;
mod flags;
mod narrator;
mod paint;
mod record;
mod run;
mod samples;
mod sockets;
mod story;
mod summary;

fn main() -> ExitCode {
    run::run(std::env::args().skip(1)).into()
}
