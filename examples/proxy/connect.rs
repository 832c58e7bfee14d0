//! How a connection to an origin is made: by operations, put together of the library's modules.
//!
//! ```text
//! HlCancelAll              all at once are canceled when the loop ends
//!   MlRetries              a second and a third attempt, with a backoff
//!     Then
//!       Addresses          a name's addresses, without those that are not allowed
//!         LlFakeCancel     the system's resolver, on a thread
//!       FirstOf            the first address that answers
//!         Deadline         within the connect timeout
//!           LlConnect
//! ```

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use rustix::io::Errno;
use switchboard::Callback;
use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::reactor::ReactorHandle;
use switchboard::samples::{
    HlCancelAll, Layer, LlConnect, LlFakeCancel, Module, ModuleExt, Retry, RetryPolicy, Socket,
    StartError, ThreadPool, resolve,
};

use super::allow::Rules;
use super::heads::Refusal;
use super::settings::Settings;

/// Where a connection leads. (Hosts are in lower case, addresses of IPv6 without brackets.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Destination {
    pub(crate) host: Rc<str>,
    pub(crate) port: u16,
}

pub(crate) type Target = Retry<Destination, io::Error>;
pub(crate) type Connector =
    HlCancelAll<Box<dyn Module<Request = Target, Answer = Socket, Error = io::Error>>>;

/// None of the addresses is allowed, by us or by the system.
const NOT_ALLOWED: ErrorKind = ErrorKind::PermissionDenied;

/// How much may wait for the resolver.
const NAMES: usize = 4096;

pub(crate) fn connector(
    reactor: &ReactorHandle,
    threads: &ThreadPool,
    settings: &Settings,
) -> Connector {
    let queue = reactor.queue();
    let names = LlFakeCancel::new(reactor, threads).bounded(NAMES);
    let addresses = Addresses { names, rules: Rc::new(Rules::new(&settings.allow)) };
    let each = LlConnect::new(reactor).within(reactor, settings.connect_timeout);
    let stack = addresses.then(queue, each.first(queue), |addresses| addresses).retried(
        reactor,
        RetryPolicy::new().attempts(3).give_up_after(settings.connect_timeout * 3),
    );
    let connector = HlCancelAll::new(
        queue,
        Box::new(stack) as Box<dyn Module<Request = _, Answer = _, Error = _>>,
    );
    connector.open();
    connector
}

pub(crate) fn target(destination: Destination) -> Target {
    Retry::new(move |_, _| destination.clone())
}

/// Errors that end once something else has ended.
#[cfg(unix)]
const SCARCE: &[Errno] = &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
#[cfg(not(unix))]
const SCARCE: &[Errno] = &[Errno::MFILE, Errno::NOBUFS];

/// What a client sees of a connection that was not made.
pub(crate) fn refusal(error: &OpError<io::Error>) -> Refusal {
    let (status, why) = match error {
        OpError::TimedOut => (504, "no address of the host answered in time"),
        OpError::Full => (503, "too many names are being resolved"),
        OpError::NotStarted(_) | OpError::Canceled => (503, "connections are not made now"),
        other => match other.error().map(|cause| (cause.kind(), Errno::from_io_error(cause))) {
            Some((NOT_ALLOWED, _)) => (403, "this destination is not allowed"),
            Some((ErrorKind::TimedOut, _)) => (504, "no address of the host answered in time"),
            Some((_, Some(error))) if SCARCE.contains(&error) => {
                (503, "out of descriptors or memory")
            }
            _ => (502, "the host could not be found or reached"),
        },
    };
    Refusal(status, why)
}

/// A layer of our own: resolves names, takes addresses as they are, and leaves out what is not allowed.
struct Addresses {
    names: LlFakeCancel<Vec<SocketAddr>, io::Error>,
    rules: Rc<Rules>,
}

impl Module for Addresses {
    type Request = Destination;
    type Answer = Vec<SocketAddr>;
    type Error = io::Error;

    fn layer(&self) -> Layer<'_> {
        Layer::on(&self.names)
    }

    fn start(
        &self,
        destination: Destination,
        done: Callback<OpResult<Vec<SocketAddr>, io::Error>>,
    ) -> Result<AsyncOp, StartError<Destination>> {
        let Destination { host, port } = &destination;
        let rules = Rc::clone(&self.rules);
        let allowed = move |mut addresses: Vec<SocketAddr>| {
            addresses.retain(|address| rules.allow(address.ip()));
            match addresses.is_empty() {
                true => Err(OpError::Failed(NOT_ALLOWED.into())),
                false => Ok(addresses),
            }
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            let op = Operation::new(done, (), |_| ());
            let _ = op.complete(allowed(vec![SocketAddr::new(ip, *port)]));
            return Ok(op.handle());
        }
        let done = done.map(|found: OpResult<Vec<_>, _>| found.and_then(allowed));
        let started = self.names.start(resolve(format!("{host}:{port}")), done);
        started.map_err(|error| error.map(|_| destination))
    }
}
