//! Whole loops in which everything goes wrong at random, from a seed: on a scripted reactor, and on
//! real sockets.
#![cfg(feature = "mio")]

#[cfg(unix)]
mod reactor_stories;
#[cfg(feature = "testing")]
mod whole_loop;
