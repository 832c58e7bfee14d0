//! The code of the examples: the loops that they embed the crate in, the stack that connects, and the
//! tour. One hazard a module.

#[cfg(all(unix, feature = "mio", not(mio_unsupported_force_poll_poll)))]
mod embedding;
#[cfg(feature = "mio")]
mod resolve_connect;
#[cfg(all(unix, feature = "mio"))]
mod servers;
#[cfg(feature = "mio")]
mod throughput_figures;
mod tick;
#[cfg(feature = "mio")]
mod tour_flags;
