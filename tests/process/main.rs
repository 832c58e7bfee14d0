//! Tests of what belongs to the process: its memory, its descriptors, its `tracing` subscriber. An
//! allocator counts for each thread; a test that needs a process of its own has one (`alone!`).

#[cfg(all(unix, feature = "mio"))]
mod accept;
mod alloc;
#[cfg(any(all(unix, feature = "mio"), feature = "tracing"))]
mod alone;
#[cfg(all(target_os = "linux", feature = "mio"))]
mod closed_descriptor;
#[cfg(all(target_os = "linux", feature = "mio"))]
mod connections;
#[cfg(all(target_os = "linux", feature = "mio"))]
mod descriptors;
#[cfg(all(feature = "mio", target_os = "linux", not(mio_unsupported_force_poll_poll)))]
mod explorer_work;
#[cfg(feature = "tracing")]
mod logging;
#[cfg(all(unix, feature = "mio"))]
mod no_descriptors;
#[cfg(feature = "mio")]
mod remote_memory;

use support::counting::Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
