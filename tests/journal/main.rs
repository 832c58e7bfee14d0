//! What is recorded and reported: the journal, its exports, and what goes to `tracing`. One hazard a
//! module.

#[cfg(feature = "journal")]
mod bounds;
#[cfg(feature = "journal")]
mod filters;
#[cfg(feature = "journal")]
mod hazards;
#[cfg(feature = "journal")]
mod lies;
#[cfg(all(feature = "journal", feature = "mio", feature = "testing"))]
mod outside;
#[cfg(all(feature = "journal", feature = "mio", feature = "testing"))]
mod outside_hazards;
#[cfg(feature = "journal")]
mod production;
#[cfg(feature = "journal")]
mod put_back;
#[cfg(all(feature = "mio", feature = "tracing"))]
mod request_logs;
#[cfg(all(feature = "mio", feature = "tracing"))]
mod request_spans;
#[cfg(feature = "journal")]
mod stories;
#[cfg(feature = "journal")]
mod timeline;
#[cfg(feature = "journal")]
mod trace;
#[cfg(feature = "tracing")]
mod tracing_bridge;
#[cfg(all(feature = "journal", feature = "mio", feature = "testing"))]
mod tracks;
