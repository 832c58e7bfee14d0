//! What a source is ready for.

use core::fmt;

use mio::Interest;
use mio::event::Event;

/// What an event says of its source; the flags of several events can be merged.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    pub(crate) const READABLE: u8 = 1;
    pub(crate) const WRITABLE: u8 = 1 << 1;
    pub(crate) const READ_CLOSED: u8 = 1 << 2;
    pub(crate) const WRITE_CLOSED: u8 = 1 << 3;
    pub(crate) const ERROR: u8 = 1 << 4;
    pub(crate) const PRIORITY: u8 = 1 << 5;

    pub(crate) const NONE: Self = Self(0);
    pub(super) const WRITES: Self = Self(Self::WRITABLE | Self::WRITE_CLOSED);

    pub(super) fn of(event: &Event) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(event.is_readable(), Self::READABLE)
            | flag(event.is_writable(), Self::WRITABLE)
            | flag(event.is_read_closed(), Self::READ_CLOSED)
            | flag(event.is_write_closed(), Self::WRITE_CLOSED)
            | flag(event.is_error(), Self::ERROR)
            | flag(event.is_priority(), Self::PRIORITY);
        // An event that says none of this is of a closed descriptor, on mio's `poll`.
        Self(if flags == 0 { Self::ERROR } else { flags })
    }

    /// What an attempt at `interest` that would block shows not to hold.
    #[inline]
    pub(crate) const fn refuted_by(interest: Interest) -> Self {
        let mut flags = 0;
        if interest.is_readable() {
            flags |= Self::READABLE | Self::READ_CLOSED | Self::ERROR;
        }
        if interest.is_writable() {
            flags |= Self::WRITABLE | Self::WRITE_CLOSED | Self::ERROR;
        }
        if interest.is_priority() {
            flags |= Self::PRIORITY;
        }
        Self(flags)
    }

    /// What is still of interest. A connection that is closed in both directions, or broken, is so for
    /// readers and writers.
    pub(super) fn within(self, interest: Interest) -> Self {
        let mut kept = Self::READ_CLOSED | Self::WRITE_CLOSED | Self::ERROR;
        if !interest.is_readable() && !self.any(Self::WRITE_CLOSED | Self::ERROR) {
            kept &= !Self::READ_CLOSED;
        }
        if interest.is_readable() {
            kept |= Self::READABLE;
        }
        if interest.is_writable() {
            kept |= Self::WRITABLE;
        }
        if interest.is_priority() {
            kept |= Self::PRIORITY;
        }
        Self(self.0 & kept)
    }

    pub(crate) const fn merge(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn any(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    /// Whether a read may get somewhere: data, end of stream or an error.
    pub(crate) const fn is_readable(self) -> bool {
        self.any(Self::READABLE | Self::READ_CLOSED | Self::ERROR)
    }

    pub(crate) const fn is_priority(self) -> bool {
        self.any(Self::PRIORITY)
    }

    /// Whether a write may get somewhere: room, a closed stream or an error.
    pub(crate) const fn is_writable(self) -> bool {
        self.any(Self::WRITABLE | Self::WRITE_CLOSED | Self::ERROR)
    }
}

/// What a source is ready for: what a readiness call passes to its handler, and what
/// [`Registration::readiness`](crate::reactor::Registration::readiness) returns.
///
/// Readiness is a hint: the read or write itself may still find that it would block. And it is
/// reported once, when it begins (mio is edge-triggered). A handler that stops before its source would
/// block asks to be called [`again`](Self::again), or [keeps](Self::keep) what is left for another
/// handler to go on.
pub struct Readiness<'a> {
    pub(super) flags: Flags,
    pub(super) source: &'a dyn ReadySource,
}

/// Whose readiness it is.
pub(super) trait ReadySource {
    /// Schedules a readiness call that reports `flags`.
    fn again(&self, flags: Flags);

    /// Notes that what is left is left on purpose.
    fn keep(&self);
}

impl Readiness<'_> {
    #[inline]
    pub(crate) const fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether a read may get somewhere: data, end of stream or an error.
    pub const fn is_readable(&self) -> bool {
        self.flags.is_readable()
    }

    /// Whether a write may get somewhere: room, a closed stream or an error.
    pub const fn is_writable(&self) -> bool {
        self.flags.is_writable()
    }

    /// Whether the peer will send no more.
    pub const fn is_read_closed(&self) -> bool {
        self.flags.any(Flags::READ_CLOSED)
    }

    /// Whether the peer will receive no more.
    pub const fn is_write_closed(&self) -> bool {
        self.flags.any(Flags::WRITE_CLOSED)
    }

    /// Whether the source has an error to report.
    pub const fn is_error(&self) -> bool {
        self.flags.any(Flags::ERROR)
    }

    /// Whether there is urgent data.
    pub const fn is_priority(&self) -> bool {
        self.flags.any(Flags::PRIORITY)
    }

    /// Asks for another readiness call with the same flags, as far as they are still of interest, at
    /// the tail of the queue. It takes no system call. If there are no flags, nothing is scheduled.
    ///
    /// For a handler that stops before its source would block, to let others have their turn; and, with
    /// the readiness that a [`Registration`](crate::reactor::Registration) returns, for one that lets
    /// the source's handler go on.
    pub fn again(&self) {
        self.source.again(self.flags);
    }

    /// Keeps readiness for later: the handler stops on purpose before its source would block, and some
    /// other handler goes on (a proxy that reads no more while its other side is full, say). Such a
    /// handler finds it at [`Registration::readiness`](crate::reactor::Registration::readiness).
    ///
    /// It changes nothing but that this call of the handler does not count as
    /// [`undrained`](crate::reactor::EventStats::undrained).
    pub fn keep(&self) {
        self.source.keep();
    }
}

impl fmt::Debug for Readiness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("read_closed", &self.is_read_closed())
            .field("write_closed", &self.is_write_closed())
            .field("error", &self.is_error())
            .field("priority", &self.is_priority())
            .finish()
    }
}
