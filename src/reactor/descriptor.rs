//! The descriptor of a reactor, on systems whose poll has one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::reactor::Reactor;

/// The descriptor of the poll: readable when there are events, so that any loop can wait for it.
///
/// From the first time that it is asked for, other threads wake the poll whenever the reactor does not
/// turn. Before that they wake it only while the reactor itself sleeps.
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared().remotes.set_host_sleeps();
        self.poll.registry().as_fd()
    }
}

/// As [`AsFd`], for loops that ask for the number.
impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.shared().remotes.set_host_sleeps();
        self.poll.as_raw_fd()
    }
}
