//! The descriptor of a reactor, on systems whose poll has one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::reactor::Reactor;

/// The descriptor of the poll: readable when there are events, so that any loop can wait for it.
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

/// As [`AsFd`], for loops that ask for the number.
impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
