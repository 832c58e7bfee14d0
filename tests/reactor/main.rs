//! The reactor: readiness, timers, calls from other threads, life in other loops. One hazard a
//! module.
#![cfg(feature = "mio")]

#[cfg(unix)]
mod again;
mod call_waker;
#[cfg(unix)]
mod drop;
#[cfg(unix)]
mod echo;
#[cfg(unix)]
mod faults_sockets;
#[cfg(target_os = "linux")]
mod fd_source;
#[cfg(unix)]
mod foreign_recipient;
#[cfg(unix)]
mod frames;
#[cfg(unix)]
mod guest;
mod intervals;
#[cfg(all(target_os = "linux", feature = "timerfd"))]
mod one_descriptor;
#[cfg(unix)]
mod panicking_source;
mod promises;
#[cfg(unix)]
mod readiness;
#[cfg(unix)]
mod redirect;
#[cfg(unix)]
mod registration;
#[cfg(unix)]
mod remote;
#[cfg(unix)]
mod remote_awake;
mod remote_callback;
#[cfg(unix)]
mod remote_floods;
#[cfg(unix)]
mod rules;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod shares;
#[cfg(unix)]
mod sticky;
#[cfg(feature = "testing")]
mod testing;
mod timers;
mod timers_moved;
mod unref;
