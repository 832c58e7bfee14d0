//! How many calls a second this machine dials: `cargo run --release --example throughput`.
//!
//! Each kind of work runs for some milliseconds, all kinds in rotation, so that a machine that others use
//! at the same time slows all of them alike. Shown are the median of these runs, and
//! their quartiles. `--help` lists what can be set.

use std::io::{self, Write};

use self::flags::Flags;

mod flags;
mod measure;
mod report;
mod work;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(flags) = Flags::parse(std::env::args().skip(1))? else {
        print!("{}", flags::HELP);
        return Ok(());
    };
    if cfg!(debug_assertions) {
        eprintln!("built without --release: these figures say little");
    }
    let rows = measure::measure(&flags);
    if let Some(path) = &flags.svg {
        std::fs::write(path, report::svg(&rows, &flags))?;
    }
    let text = if flags.json { report::json(&rows, &flags) } else { report::bars(&rows, &flags) };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
