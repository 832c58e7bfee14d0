//! What the command line says.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
How many calls a second this machine dials.

cargo run --release --example throughput -- [OPTIONS]

  --seconds N      how long to measure, in all                [20]
  --batch N        calls that are scheduled, then dialed      [1024]
  --bytes N        captured by each call: 8, 24, 40, 64, 256  [24]
  --recipients N   that calls go to, in turn                  [1]
  --cancel N       of 100 calls that are to be canceled       [50]
  --observer WHAT  none, counting; with their features, journal, spans  [none]
  --bounded        queues with room for a batch only
  --json           figures for programs, instead of bars
  --svg FILE       a picture too
";

/// What is measured, and how it is shown.
#[derive(Debug)]
pub(crate) struct Flags {
    pub(crate) seconds: f64,
    pub(crate) batch: u64,
    pub(crate) bytes: usize,
    pub(crate) recipients: usize,
    /// Of 100 calls, in the work that cancels.
    pub(crate) cancel: u64,
    pub(crate) observer: Observed,
    pub(crate) bounded: bool,
    pub(crate) json: bool,
    pub(crate) svg: Option<PathBuf>,
}

/// Who observes the calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Observed {
    None,
    Counting,
    #[cfg(feature = "journal")]
    Journal,
    #[cfg(feature = "tracing")]
    Spans,
}

impl Flags {
    /// Returns none if help is asked for.
    ///
    /// # Errors
    ///
    /// What is wrong with the arguments.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut flags = Self {
            seconds: 20.0,
            batch: 1024,
            bytes: 24,
            recipients: 1,
            cancel: 50,
            observer: Observed::None,
            bounded: false,
            json: false,
            svg: None,
        };
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or(format!("{flag}: a value is missing"));
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--seconds" => flags.seconds = number(&flag, &value()?, 0.0..=86_400.0)?,
                "--batch" => flags.batch = number(&flag, &value()?, 1..=10_000_000)?,
                "--recipients" => flags.recipients = number(&flag, &value()?, 1..=10_000_000)?,
                "--cancel" => flags.cancel = number(&flag, &value()?, 0..=100)?,
                "--bytes" => {
                    flags.bytes = number(&flag, &value()?, 8..=256)?;
                    if ![8, 24, 40, 64, 256].contains(&flags.bytes) {
                        return Err(format!(
                            "{flag} {}: must be 8, 24, 40, 64 or 256",
                            flags.bytes
                        ));
                    }
                }
                "--observer" => flags.observer = observer(&value()?)?,
                "--bounded" => flags.bounded = true,
                "--json" => flags.json = true,
                "--svg" => flags.svg = Some(value()?.into()),
                _ => return Err(format!("{flag}: unknown option; --help lists them")),
            }
        }
        Ok(Some(flags))
    }
}

fn number<N: std::str::FromStr + PartialOrd + std::fmt::Debug>(
    flag: &str,
    text: &str,
    range: std::ops::RangeInclusive<N>,
) -> Result<N, String> {
    let number = text.parse().map_err(|_| format!("{flag} {text}: not a number"))?;
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(format!("{flag} {text}: must be in {range:?}"))
    }
}

fn observer(name: &str) -> Result<Observed, String> {
    match name {
        "none" => Ok(Observed::None),
        "counting" => Ok(Observed::Counting),
        #[cfg(feature = "journal")]
        "journal" => Ok(Observed::Journal),
        #[cfg(feature = "tracing")]
        "spans" => Ok(Observed::Spans),
        #[cfg(not(feature = "journal"))]
        "journal" => Err("--observer journal: build with `--features journal`".into()),
        #[cfg(not(feature = "tracing"))]
        "spans" => Err("--observer spans: build with `--features tracing`".into()),
        _ => Err(format!("--observer {name}: must be none, counting, journal or spans")),
    }
}
