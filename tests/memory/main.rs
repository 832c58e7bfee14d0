//! Memory: how many allocations there are, and what is held. An allocator counts for each thread.

mod alloc;
mod held;
#[cfg(all(unix, feature = "mio"))]
mod readiness_memory;
#[cfg(feature = "mio")]
mod remote_memory;
#[cfg(all(unix, feature = "mio"))]
mod stream_memory;
#[cfg(feature = "mio")]
mod survivors;

use support::counting::Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
