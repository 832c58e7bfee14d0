//! Sources of any descriptor.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// A descriptor as a source of events: a timerfd, pidfd, inotify, eventfd, or what another library
/// hands out.
///
/// `F` owns the descriptor: an [`OwnedFd`], a `File` to read from, or a type of another library that
/// has [`AsFd`]. The descriptor must be non-blocking, or a read that finds nothing blocks the loop:
/// open it with a flag such as `TFD_NONBLOCK`. (On Unix. Where mio stands on `poll`, it reports such a
/// source once, as it sees no attempts at it: [`rearm`](crate::reactor::Registration::rearm) it after
/// each.)
///
/// # Examples
///
/// A child process, whose end is an event of its pidfd:
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use mio::Interest;
/// use rustix::process::{Pid, PidfdFlags, pidfd_open};
/// use switchboard::reactor::{FdSource, Reactor};
///
/// let mut reactor = Reactor::new()?;
/// let mut child = std::process::Command::new("true").spawn()?;
/// let ended = Rc::new(Cell::new(false));
///
/// let pidfd = FdSource::from(pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?);
/// let _pidfd = reactor.register_function(pidfd, Interest::READABLE, {
///     let ended = Rc::clone(&ended);
///     move |_, _| ended.set(true)
/// })?;
/// while !ended.get() {
///     let _ = reactor.turn(None)?;
/// }
/// assert!(child.try_wait()?.is_some_and(|status| status.success()));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FdSource<F = OwnedFd> {
    owner: F,
}

impl<F: AsFd> FdSource<F> {
    /// Returns the owner of the descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use switchboard::reactor::FdSource;
    ///
    /// let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let source = FdSource::from(ours);
    /// println!("{:?} from {:?}", source.as_fd(), source.get_ref().peer_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn get_ref(&self) -> &F {
        &self.owner
    }

    /// Returns the owner of the descriptor. If you replace it, the poll does not notice.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use switchboard::reactor::FdSource;
    ///
    /// let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let mut source = FdSource::from(ours);
    /// assert_eq!(source.get_mut().write(b"hello")?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn get_mut(&mut self) -> &mut F {
        &mut self.owner
    }

    /// Returns the owner of the descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// use mio::Interest;
    /// use switchboard::reactor::{FdSource, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let source = reactor.register_function(FdSource::from(ours), Interest::READABLE, |_, _| ())?;
    /// let stream = source.into_source()?.into_inner(); // deregistered, and still open
    /// assert!(stream.peer_addr().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> F {
        self.owner
    }
}

impl<F: AsFd> From<F> for FdSource<F> {
    fn from(owner: F) -> Self {
        Self { owner }
    }
}

impl<F: AsFd> AsFd for FdSource<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.owner.as_fd()
    }
}

impl<F: AsFd> Source for FdSource<F> {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        SourceFd(&self.as_fd().as_raw_fd()).register(poll, token, interest)
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        SourceFd(&self.as_fd().as_raw_fd()).reregister(poll, token, interest)
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        SourceFd(&self.as_fd().as_raw_fd()).deregister(poll)
    }
}

impl<F: Read> Read for FdSource<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.owner.read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.owner.read_vectored(buffers)
    }
}

impl<F: Write> Write for FdSource<F> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.owner.write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.owner.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.owner.flush()
    }
}
