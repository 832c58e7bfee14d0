//! The reactor: readiness, timers, calls from other threads, life in other loops. One hazard a
//! module.
#![cfg(feature = "mio")]

mod again;
mod call_waker;
mod drop;
mod echo;
mod faults_sockets;
#[cfg(target_os = "linux")]
mod fd_source;
mod foreign_recipient;
#[cfg(unix)]
mod frames;
mod guest;
mod intervals;
#[cfg(all(target_os = "linux", feature = "timerfd"))]
mod one_descriptor;
#[cfg(unix)]
mod panicking_source;
mod promises;
mod readiness;
mod redirect;
mod registration;
mod remote;
#[cfg(unix)]
mod remote_awake;
mod remote_callback;
mod remote_floods;
mod remote_full;
mod rules;
mod run;
mod second_panic;
mod shares;
mod sticky;
#[cfg(feature = "testing")]
mod testing;
mod timers;
mod timers_moved;
mod unref;
