//! Counts instructions per call with callgrind: `cargo bench --bench instructions [NAME]`.
//!
//! Each workload runs N and 2N calls in a process of its own under valgrind; the difference over
//! N is the cost of one call, exact from run to run on one machine and compiler. Those of a server
//! include its client's, which are the same for all. The floors are shown too, but have no ceiling.
//! With `--check`, compares with the ceilings.

use std::process::{Command, ExitCode};

mod costs;
mod work;

use costs::Mode;
use work::Group;

/// Calls in the smaller run of each pair, at least; a server's, which are slow, and others'.
const MESSAGES: u64 = 1 << 10;
const CALLS: u64 = 1 << 14;

/// Larger batches take too long under valgrind.
const LARGEST: u64 = 65_536;

/// `pending_calls` is `function_call` with other batches; streaming is mostly the copying of bytes.
const LEFT_OUT: &[&str] = &["pending_calls", "streaming", "streams_large"];

fn main() -> ExitCode {
    let mode = Mode::from_arguments();
    if let Mode::Work(name, calls) = &mode {
        costs::work(name, *calls);
        return ExitCode::SUCCESS;
    }
    let mut figures = Vec::new();
    let is_exact = |group: &Group| !LEFT_OUT.contains(&group.name) && !group.has_two_threads();
    for group in work::groups().into_iter().filter(is_exact) {
        for batch in group.batches.iter().copied().filter(|batch| *batch <= LARGEST) {
            for contender in &group.contenders {
                let name = costs::name(&group, contender.name, batch);
                let shown = contender.name == "switchboard" || matches!(mode, Mode::Show(_));
                if shown && mode.wants(&name) {
                    let value = per_call(&group, &name, batch);
                    figures.push((name, value));
                }
            }
        }
    }
    costs::report("instructions", "per call", &mode, &figures)
}

fn per_call(group: &Group, name: &str, batch: u64) -> f64 {
    let serves = work::echo::is_one(group);
    // At least four batches, so that what the allocator does once, in one run or the other, does not count.
    let calls = if serves { MESSAGES } else { CALLS.max(4 * batch) }.next_multiple_of(batch);
    (count(name, 2 * calls) - count(name, calls)) / calls as f64
}

/// Instructions of a whole run, as callgrind counts them.
fn count(name: &str, calls: u64) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    costs::under(&mut valgrind, name, calls, |text| {
        let total = text.lines().find_map(|line| line.split("Collected : ").nth(1));
        total.and_then(|total| total.trim().parse().ok()).expect("callgrind's total")
    })
}
