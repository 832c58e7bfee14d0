//! The flags of the tour.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Stories of calls and operations, on real loopback sockets and threads.

cargo run --release --features journal --example tour -- [FLAGS]

  --timeline [FILE]  write a page that shows the calls of the tour (target/tour.html)
  --trace [FILE]     write them as a trace for https://ui.perfetto.dev (target/tour.json)
  --help             this

Both files need the feature `journal`. Colors come on a terminal only, and never if NO_COLOR is
set. Ends with 0 if every story ended as expected, 1 if one did not, 2 if the flags make no sense.
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Help,
    Tour(Flags),
}

/// What the tour is to leave behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) timeline: Option<PathBuf>,
    pub(crate) trace: Option<PathBuf>,
}

/// Reads a command line.
pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut arguments = arguments.peekable();
    let mut flags = Flags::default();
    while let Some(argument) = arguments.next() {
        let (flag, file) = match argument.split_once('=') {
            Some((flag, file)) => (flag, Some(file.to_owned())),
            None => (&*argument, None),
        };
        let (wanted, default) = match flag {
            "--help" | "-h" if file.is_none() => return Ok(Request::Help),
            "--timeline" => (&mut flags.timeline, "target/tour.html"),
            "--trace" => (&mut flags.trace, "target/tour.json"),
            _ => return Err(format!("unknown flag: {argument}")),
        };
        if cfg!(not(feature = "journal")) {
            return Err(format!(
                "{flag} needs the feature `journal`: cargo run --release --features journal --example tour -- {flag}"
            ));
        }
        if wanted.is_some() {
            return Err(format!("{flag} comes twice"));
        }
        let file = file.or_else(|| arguments.next_if(|next| !next.starts_with('-')));
        if file.as_deref() == Some("") {
            return Err(format!("{flag} names no file"));
        }
        *wanted = Some(file.unwrap_or_else(|| default.into()).into());
    }
    Ok(Request::Tour(flags))
}
