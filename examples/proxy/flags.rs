//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use super::allow::Rules;

pub(crate) const HELP: &str = "\
A forward proxy for HTTP/1.1, with tunnels by CONNECT.

cargo run --release --example proxy -- [FLAGS]

  --listen ADDRESS     where clients connect (127.0.0.1:3128; port 0: any, which is printed)
  --loops N            event loops, a thread each (1)

Destinations: public addresses are allowed; loopback, private and other special ranges are refused with 403.
  --allow WHAT         opens what is refused else: loopback, private, all, an address, a range like
                       10.1.0.0/16, or a name; an address or a name may have a :PORT. May be repeated
  --only HOST          allows this host and no others; .example.org: those below, too. May be repeated

Limits, each for one loop:
  --clients N          connections of clients (10000); more wait to be accepted
  --upstreams N        connections to origins (10000); more are answered with 503
  --idle N             connections to origins that are kept for another request (1000)
  --max-body BYTES     the largest body of a request (1073741824); a larger one is answered with 413

Deadlines, in seconds, fractions included:
  --head-timeout S     from the first byte of a request to the end of its head (10)
  --idle-timeout S     without a request, or without progress of one, or in a tunnel (60)
  --connect-timeout S  for one address of an origin (5)
  --drain-timeout S    after SIGTERM or SIGINT, for requests and tunnels in progress (30)

  --timeline FILE      SIGUSR1 also writes what has happened of late as a page (feature `journal`)
  --help               this

SIGUSR1 prints figures to standard error. SIGTERM (or SIGINT) accepts no more and ends when all is done; a
second one ends at once.
";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Serve(Box<Settings>),
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) loops: usize,
    pub(crate) rules: Rules,
    pub(crate) clients: usize,
    pub(crate) upstreams: usize,
    pub(crate) idle: usize,
    pub(crate) max_body: u64,
    pub(crate) head_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) timeline: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3128)),
            loops: 1,
            rules: Rules::default(),
            clients: 10_000,
            upstreams: 10_000,
            idle: 1000,
            max_body: 1 << 30,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            timeline: None,
        }
    }
}

/// Reads a command line, without the name of the program.
pub(crate) fn read(
    arguments: impl IntoIterator<Item: Into<OsString>>,
) -> Result<Command, lexopt::Error> {
    let mut settings = Settings::default();
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("listen") => settings.listen = parser.value()?.parse()?,
            Arg::Long("loops") => settings.loops = at_least_one(&mut parser)?,
            Arg::Long("allow") => settings.rules.allow(&parser.value()?.string()?)?,
            Arg::Long("only") => settings.rules.only(&parser.value()?.string()?),
            Arg::Long("clients") => settings.clients = at_least_one(&mut parser)?,
            Arg::Long("upstreams") => settings.upstreams = at_least_one(&mut parser)?,
            Arg::Long("idle") => settings.idle = parser.value()?.parse()?,
            Arg::Long("max-body") => settings.max_body = parser.value()?.parse()?,
            Arg::Long("head-timeout") => settings.head_timeout = seconds(&mut parser)?,
            Arg::Long("idle-timeout") => settings.idle_timeout = seconds(&mut parser)?,
            Arg::Long("connect-timeout") => settings.connect_timeout = seconds(&mut parser)?,
            Arg::Long("drain-timeout") => settings.drain_timeout = seconds(&mut parser)?,
            Arg::Long("timeline") if cfg!(feature = "journal") => {
                settings.timeline = Some(parser.value()?.into());
            }
            Arg::Long("timeline") => return Err("--timeline needs the feature `journal`".into()),
            argument => return Err(argument.unexpected()),
        }
    }
    Ok(Command::Serve(settings.into()))
}

fn at_least_one(parser: &mut Parser) -> Result<usize, lexopt::Error> {
    match parser.value()?.parse()? {
        0 => Err("at least 1 is needed".into()),
        count => Ok(count),
    }
}

fn seconds(parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    let parse = |text: &str| {
        Duration::try_from_secs_f64(f64::from_str(text).map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())
    };
    parser.value()?.parse_with(parse)
}
