//! Streams, relays and acceptors (rule M10), on scripted sources and on sockets. One hazard a module.
#![cfg(all(unix, feature = "testing", feature = "mio"))]

mod acceptor;
mod closing;
mod driven;
mod relay;
mod source_faults;
mod stream;
