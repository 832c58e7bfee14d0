//! Whole loops in which everything goes wrong at random, from a seed: on a scripted reactor, and on
//! real sockets.
#![cfg(feature = "mio")]

#[cfg(feature = "testing")]
mod laws;
#[cfg(unix)]
mod reactor_stories;
#[cfg(feature = "testing")]
mod script;
#[cfg(feature = "testing")]
mod server;
#[cfg(feature = "testing")]
mod stage;
#[cfg(feature = "testing")]
mod whole_loop;
