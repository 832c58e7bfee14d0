//! Compares all contenders, and writes a table and a picture of each group:
//! `cargo run --release [GROUP ...]`.

use std::path::Path;
use std::{env, fs, io};

use switchboard_peers::interleave::{Outcome, compare};
use switchboard_peers::plot::{Batches, draw};
use switchboard_peers::processes;

/// Where the table and the pictures go.
const TO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance");

fn main() -> io::Result<()> {
    processes::serve_if_asked();
    let wanted: Vec<String> = env::args().skip(1).collect();
    let groups = switchboard_peers::groups().into_iter().chain(processes::groups());
    let groups =
        groups.filter(|group| wanted.is_empty() || wanted.iter().any(|name| name == group.name));
    let mut table = String::new();
    fs::create_dir_all(TO)?;
    for group in groups.filter(|group| group.contenders.len() > 1) {
        let title = format!("{}: {}", group.name, group.what);
        let head = format!("\n### {title}\n\n{HEAD}");
        print!("{head}");
        table += &head;
        let mut batches: Batches = Vec::new();
        for batch in group.batches.iter().copied() {
            let outcomes = compare(&group, batch);
            let rows: String = outcomes.iter().map(|outcome| row(batch, outcome)).collect();
            print!("{rows}");
            table += &rows;
            batches.push((batch, outcomes));
        }
        fs::write(Path::new(TO).join(format!("{}.svg", group.name)), draw(&title, &batches))?;
    }
    if wanted.is_empty() {
        fs::write(Path::new(TO).join("table.md"), format!("{TABLE}{table}"))?;
    }
    Ok(())
}

const TABLE: &str = "\
# Times, beside the peers

Written by `cargo run --release` in `benches/peers`. The ratio is to switchboard's time for the
same work, the median of stretches in the same round; above 1, switchboard is ahead. Rounds marked
with ~ were too long, or too unsteady, for the machine to stay at full speed meanwhile.
";

const HEAD: &str = "\
| batch | contender | ns per call | ratio | rounds |
|------:|-----------|------------:|------:|-------:|
";

fn row(batch: u64, outcome: &Outcome) -> String {
    let Outcome { name, nanoseconds, ratio, rounds, full_speed } = outcome;
    let unsteady = if *full_speed { "" } else { "~" };
    format!("| {batch} | {name} | {nanoseconds:.1} | {ratio:.2} | {unsteady}{rounds} |\n")
}
