//! Tests of what belongs to the process: its descriptors, its `tracing` subscriber, its memory while
//! there are many connections. Each has a process of its own (`alone!`), one after the other.
#![cfg(any(all(unix, feature = "mio"), feature = "tracing"))]

#[cfg(all(unix, feature = "mio"))]
mod accept;
#[cfg(all(target_os = "linux", feature = "mio"))]
mod closed_descriptor;
#[cfg(all(target_os = "linux", feature = "mio"))]
mod connections;
#[cfg(all(target_os = "linux", feature = "mio"))]
mod descriptors;
#[cfg(all(unix, feature = "mio"))]
mod fork;
#[cfg(feature = "tracing")]
mod logging;
#[cfg(all(unix, feature = "mio"))]
mod no_descriptors;
#[cfg(all(unix, feature = "mio"))]
mod unread;

use support::counting::Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
