//! The command line.

use std::net::SocketAddr;
use std::num::NonZero;
use std::time::Duration;

use argh::FromArgs;
use ipnet::IpNet;

use super::allow;

/// A forward proxy for HTTP/1.1, with tunnels by CONNECT. Limits hold for each loop.
#[derive(FromArgs, Clone, Debug)]
#[argh(
    note = "SIGUSR1 prints figures to standard error. SIGTERM (or SIGINT) accepts no more and ends when
all is done; a second one ends at once."
)]
pub(crate) struct Settings {
    /// where clients connect (127.0.0.1:3128); port 0: any, which is printed
    #[argh(option, default = "([127, 0, 0, 1], 3128).into()")]
    pub(crate) listen: SocketAddr,
    /// event loops, a thread each (1)
    #[argh(option, default = "NonZero::<usize>::MIN")]
    pub(crate) loops: NonZero<usize>,
    /// opens special ranges, which are answered with 403 else: loopback, private, all, an address, or a
    /// range like 10.1.0.0/16; may be repeated
    #[argh(option, from_str_fn(allow::ranges))]
    pub(crate) allow: Vec<Vec<IpNet>>,
    /// connections of clients (10000); more wait to be accepted
    #[argh(option, default = "10_000")]
    pub(crate) clients: usize,
    /// connections to origins (10000); more are answered with 503
    #[argh(option, default = "10_000")]
    pub(crate) upstreams: usize,
    /// connections to origins that are kept for another request (1000)
    #[argh(option, default = "1000")]
    pub(crate) idle: usize,
    /// bytes of the largest body of a request (1073741824); a larger one is answered with 413
    #[argh(option, default = "1 << 30")]
    pub(crate) max_body: u64,
    /// seconds from the first byte of a request to the end of its head (10)
    #[argh(option, from_str_fn(seconds), default = "Duration::from_secs(10)")]
    pub(crate) head_timeout: Duration,
    /// seconds without a request, or without progress of one, or in a tunnel (60)
    #[argh(option, from_str_fn(seconds), default = "Duration::from_secs(60)")]
    pub(crate) idle_timeout: Duration,
    /// seconds for one address of an origin (5)
    #[argh(option, from_str_fn(seconds), default = "Duration::from_secs(5)")]
    pub(crate) connect_timeout: Duration,
    /// seconds after SIGTERM or SIGINT, for requests and tunnels in progress (30)
    #[argh(option, from_str_fn(seconds), default = "Duration::from_secs(30)")]
    pub(crate) drain_timeout: Duration,
    /// a file to which SIGUSR1 also writes what has happened of late, as a page (feature `journal`)
    #[cfg(feature = "journal")]
    #[argh(option)]
    pub(crate) timeline: Option<std::path::PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
