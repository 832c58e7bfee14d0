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

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use switchboard::Callback;
use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::reactor::ReactorHandle;
use switchboard::samples::{
    HlCancelAll, Layer, LlConnect, LlFakeCancel, Module, ModuleExt, Retry, RetryPolicy, Socket,
    StartError, ThreadPool, resolve,
};

use super::allow::Rules;
use super::flags::Settings;
use super::heads::Refusal;
use super::system::is_out_of_resources;

/// Where a connection leads. (Hosts are in lower case, addresses of IPv6 without brackets.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) host: Rc<str>,
    pub(crate) port: u16,
}

pub(crate) type Target = Retry<Destination, io::Error>;
pub(crate) type Connector =
    HlCancelAll<Box<dyn Module<Request = Target, Answer = Socket, Error = io::Error>>>;

/// How much may wait for the resolver.
const NAMES: usize = 4096;

pub(crate) fn connector(
    reactor: &ReactorHandle,
    threads: &ThreadPool,
    settings: &Settings,
) -> Connector {
    let queue = reactor.queue();
    let names = LlFakeCancel::new(reactor, threads).bounded(NAMES);
    let addresses = Addresses { names, rules: Rc::new(settings.rules.clone()) };
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

/// None of the addresses is allowed.
#[derive(Debug)]
struct NotAllowed;

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("destination not allowed")
    }
}

impl Error for NotAllowed {}

/// What a client is told of a connection that was not made.
pub(crate) fn refusal(error: &OpError<io::Error>) -> Refusal {
    let (status, why) = match error {
        OpError::TimedOut => (504, "no address of the host answered in time"),
        OpError::Full => (503, "too many names are being resolved"),
        OpError::NotStarted(_) | OpError::Canceled => (503, "connections are not made now"),
        other => match other.error() {
            Some(cause) if is_not_allowed(cause) => (403, "this destination is not allowed"),
            Some(cause) if is_out_of_resources(cause) => (503, "out of descriptors or memory"),
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                (504, "no address of the host answered in time")
            }
            _ => (502, "the host could not be found or reached"),
        },
    };
    Refusal { status, why }
}

fn is_not_allowed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<NotAllowed>)
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
        let Destination { host, port } = destination.clone();
        let (rules, of) = (Rc::clone(&self.rules), Rc::clone(&host));
        let allowed = move |mut addresses: Vec<SocketAddr>| {
            addresses.retain(|address| rules.allow_address(&of, *address));
            let not_allowed =
                || OpError::Failed(io::Error::new(io::ErrorKind::PermissionDenied, NotAllowed));
            if addresses.is_empty() { Err(not_allowed()) } else { Ok(addresses) }
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            let op = Operation::new(done, (), |_| ());
            let _ = op.complete(allowed(vec![SocketAddr::new(ip, port)]));
            return Ok(op.handle());
        }
        let done =
            done.map(move |found: OpResult<Vec<SocketAddr>, io::Error>| found.and_then(allowed));
        self.names
            .start(resolve(format!("{host}:{port}")), done)
            .map_err(|error| error.map(|_| destination))
    }
}
