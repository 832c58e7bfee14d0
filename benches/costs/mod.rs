//! Figures that are exact from run to run, and their ceilings, which are committed.
#![allow(dead_code, reason = "each bench takes what it needs")]

use std::collections::BTreeMap;
use std::process::{self, Command, ExitCode};
use std::{env, fs};

use super::work::{Group, groups};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/ceilings.txt");

const HEAD: &str = "\
# The most that each figure may come to. `.ci/costs --check` compares, `.ci/costs --update` writes
# this file anew. Instructions may be higher by a two-hundredth, as the compiler lays out code anew
# where other code changes, and by a tenth with another compiler than the one named here.
";

/// By how much instructions may be above their ceiling: a change elsewhere moves what is inlined.
const LAYOUT: f64 = 0.005;

/// By how much instructions may be above their ceiling with another compiler.
const OTHER_COMPILER: f64 = 0.1;

/// What the command line asks for.
pub(crate) enum Mode {
    /// Measure what has this in its name.
    Show(String),
    /// Measure, and compare with the ceilings.
    Check,
    /// Measure, and write the ceilings.
    Update,
    /// Do the work itself, in a process of its own: a figure's name, and how many calls.
    Work(String, u64),
}

impl Mode {
    pub(crate) fn from_arguments() -> Self {
        let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
        match (arguments.next().as_deref(), arguments.next()) {
            (Some("--check"), _) => Self::Check,
            (Some("--update"), _) => Self::Update,
            (Some(flag), _) if flag.starts_with('-') => {
                // `cargo bench -- --save-baseline x` passes its flags to every bench.
                println!("not measured: {flag} is a flag of criterion");
                process::exit(0)
            }
            (Some(name), Some(calls)) => {
                Self::Work(name.to_string(), calls.parse().expect("how many calls"))
            }
            (filter, None) => Self::Show(filter.unwrap_or_default().to_string()),
            (None, Some(_)) => unreachable!("a second argument comes after a first one"),
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        match self {
            Self::Show(filter) => name.contains(filter.as_str()),
            _ => true,
        }
    }
}

/// One figure: its name, and what was measured.
pub(crate) type Figure = (String, f64);

/// Prints figures of one kind, and does with them what the mode asks for.
pub(crate) fn report(kind: &str, unit: &str, mode: &Mode, figures: &[Figure]) -> ExitCode {
    let width = figures.iter().map(|(name, _)| name.len()).max().unwrap_or_default().max(4);
    println!("| {kind:<width$} | {unit:>12} |\n|-{}-|-------------:|", "-".repeat(width));
    for (name, value) in figures {
        println!("| {name:<width$} | {:>12} |", show(*value));
    }
    println!();
    match mode {
        Mode::Update => update(kind, figures),
        Mode::Check => return check(kind, figures),
        Mode::Show(_) | Mode::Work(..) => {}
    }
    ExitCode::SUCCESS
}

fn show(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The compiler, and the ceilings by kind and name.
fn read() -> (String, BTreeMap<(String, String), f64>) {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    let mut compiler = String::new();
    let mut ceilings = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match (line.split_once(": "), line.rsplit_once(" = ")) {
            (Some((kind, _)), Some((name, value))) => {
                let name = name[kind.len() + 2..].to_string();
                ceilings.insert((kind.to_string(), name), value.parse().expect(line));
            }
            _ => compiler = line.to_string(),
        }
    }
    (compiler, ceilings)
}

fn update(kind: &str, figures: &[Figure]) {
    let (_, mut ceilings) = read();
    ceilings.retain(|(other, _), _| other != kind);
    for (name, value) in figures {
        ceilings.insert((kind.to_string(), name.clone()), *value);
    }
    let mut text = format!("{HEAD}{}\n", this_compiler());
    for ((kind, name), value) in ceilings {
        text += &format!("{kind}: {name} = {}\n", show(value));
    }
    fs::write(FILE, text).expect("a file that can be written");
}

fn check(kind: &str, figures: &[Figure]) -> ExitCode {
    let (compiler, mut ceilings) = read();
    let tolerance = match kind {
        "instructions" if compiler == this_compiler() => LAYOUT,
        "instructions" => OTHER_COMPILER,
        _ => 0.0,
    };
    let mut failures = 0;
    let mut fail = |message: String| {
        eprintln!("FAILED: {kind}: {message}");
        failures += 1;
    };
    for (name, value) in figures {
        match ceilings.remove(&(kind.to_string(), name.clone())) {
            None => fail(format!("{name}: measured {}, but has no ceiling", show(*value))),
            // What is written is rounded to two digits.
            Some(ceiling) if *value > ceiling * (1.0 + tolerance) + 0.005 => {
                let measured = show(*value);
                fail(format!(
                    "{name}: measured {measured}, ceiling {ceiling} and {tolerance} of it"
                ));
            }
            Some(ceiling) if *value < ceiling * 0.98 => {
                println!("{kind}: {name}: {}, below its ceiling {ceiling}: lower it", show(*value));
            }
            Some(_) => {}
        }
    }
    for (_, name) in ceilings.keys().filter(|(other, _)| other == kind) {
        fail(format!("{name}: has a ceiling, but was not measured"));
    }
    if failures == 0 {
        println!("{} figures are within their ceilings", figures.len());
        return ExitCode::SUCCESS;
    }
    eprintln!("Ceilings are in benches/ceilings.txt; `.ci/costs --update` writes them anew.");
    ExitCode::FAILURE
}

fn this_compiler() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    let output = Command::new(rustc).arg("--version").output().expect("rustc");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// What a figure of a contender is called.
pub(crate) fn name(group: &Group, contender: &str, batch: u64) -> String {
    match contender {
        "switchboard" => format!("{}/{batch}", group.name),
        other => format!("{}/{batch}/{other}", group.name),
    }
}

/// Does the work that a name stands for; what a process of its own is for.
pub(crate) fn work(wanted: &str, calls: u64) {
    for group in groups() {
        for batch in group.batches.iter().copied() {
            for contender in &group.contenders {
                if name(&group, contender.name, batch) == wanted {
                    let mut run = (contender.start)(batch);
                    let _ = group.run(contender, &mut run, calls);
                    return;
                }
            }
        }
    }
    panic!("nothing is called {wanted}");
}

/// Runs this program again, under `tool`, to do the work; returns what is found in its output.
pub(crate) fn under<R>(tool: &mut Command, work: &str, calls: u64, find: fn(&str) -> R) -> R {
    let program = env::current_exe().expect("the path of this program");
    let output = tool.arg(program).args([work, &calls.to_string()]).output();
    let output = output.unwrap_or_else(|error| panic!("{tool:?}: {error}; is it installed?"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{work} failed under {tool:?}:\n{text}");
    find(&text)
}
