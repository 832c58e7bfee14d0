//! `cargo run --example embed mio`, or `poll`, `thread`, `calloop`, `tokio`, `descriptor` or `tick`
//!
//! The crate inside a loop that you have already: a file each, with one function or type to copy, and a program
//! that ends by itself.

use std::env;
use std::error::Error;

#[cfg(feature = "mio")]
mod app;
#[cfg(all(unix, feature = "mio"))]
mod calloop;
#[cfg(all(target_os = "linux", feature = "timerfd"))]
mod descriptor;
#[cfg(feature = "mio")]
mod mio;
#[cfg(all(unix, feature = "mio"))]
mod poll;
#[cfg(feature = "mio")]
mod thread;
mod tick;
#[cfg(all(unix, feature = "mio"))]
mod tokio;

fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        #[cfg(feature = "mio")]
        Some("mio") => mio::main(),
        #[cfg(all(unix, feature = "mio"))]
        Some("poll") => poll::main(),
        #[cfg(all(target_os = "linux", feature = "timerfd"))]
        Some("descriptor") => descriptor::main(),
        #[cfg(feature = "mio")]
        Some("thread") => thread::main(),
        #[cfg(all(unix, feature = "mio"))]
        Some("calloop") => calloop::main(),
        #[cfg(all(unix, feature = "mio"))]
        Some("tokio") => tokio::main(),
        Some("tick") => tick::main(),
        _ => {
            Err("name a loop: mio, thread or tick; on Unix poll, calloop or tokio, too; on Linux, \
                  with the feature `timerfd`, descriptor"
                .into())
        }
    }
}
