//! Counts the system calls of a server that echoes, per round of messages, beside those of a loop by
//! hand, of reads by operation, and of calls that the loop's own thread sends: `cargo bench --bench syscalls [NAME]`. Needs
//! strace.
//!
//! Client and server take turns on one thread (see `work::echo`), for N and 2N rounds; the
//! difference over N is exact. The client's calls, `readv` and `writev`, are left out, and so is `brk`:
//! the allocator's steps depend on what was freed before, and the bench `memory` counts allocations.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

mod costs;
mod work;

use costs::Mode;

/// Rounds of messages in the smaller run of each pair.
const ROUNDS: u64 = 20;

/// System calls by name, how many of each.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let mode = Mode::from_arguments();
    if let Mode::Work(name, calls) = &mode {
        costs::work(name, *calls);
        return ExitCode::SUCCESS;
    }
    let mut figures = Vec::new();
    let remote = work::remote::groups().into_iter();
    let remote = remote.filter(|group| !group.has_two_threads());
    for group in work::echo::groups().into_iter().chain(work::io::groups()).chain(remote) {
        for connections in group.batches.iter().copied() {
            for contender in &group.contenders {
                let name = costs::name(&group, contender.name, connections);
                if mode.wants(&name) {
                    let calls = per_round(&name, connections);
                    figures.push((format!("{name}, in all"), calls.values().sum()));
                    let each = calls.into_iter().map(|(call, n)| (format!("{name}, {call}"), n));
                    figures.extend(each);
                }
            }
        }
    }
    costs::report("system calls", "per round", &mode, &figures)
}

fn per_round(name: &str, connections: u64) -> BTreeMap<String, f64> {
    let once = count(name, ROUNDS * connections);
    let twice = count(name, 2 * ROUNDS * connections);
    let difference = |(call, count): (String, u64)| {
        let before = once.get(&call).copied().unwrap_or_default();
        (call, (count as f64 - before as f64) / ROUNDS as f64)
    };
    twice.into_iter().map(difference).filter(|(_, count)| *count != 0.0).collect()
}

fn count(name: &str, calls: u64) -> Counts {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name"]);
    costs::under(&mut strace, name, calls, |text| {
        let mut counts = Counts::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(Ok(count)), Some(call)) = (words.next().map(str::parse), words.next())
                && !["readv", "writev", "brk", "total"].contains(&call)
            {
                counts.insert(call.to_string(), count);
            }
        }
        counts
    })
}
