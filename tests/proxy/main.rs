//! The example `proxy`, with real clients and origins, good and bad. One hazard a module.
#![cfg(all(unix, feature = "mio", not(mio_unsupported_force_poll_poll)))]

#[path = "../../examples/proxy/main.rs"]
#[allow(dead_code, reason = "of the example, all but its main function is used")]
mod example;

mod bench;
mod leaving;
mod passing;
#[cfg(target_os = "linux")]
mod process;
mod reading;
mod refusing;
