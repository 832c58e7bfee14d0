//! What a source is ready for.

use core::fmt;

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

    pub(super) const NONE: Self = Self(0);

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

    pub(crate) const fn merge(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn any(self, flags: u8) -> bool {
        self.0 & flags != 0
    }
}

/// What a readiness call passes to its handler.
///
/// Readiness is a hint: the read or write itself may still find that it would block. And it is
/// reported once, when it begins (mio is edge-triggered): a handler either goes on until its source
/// would block, or asks to be called [`again`](Self::again).
pub struct Readiness<'a> {
    pub(super) flags: Flags,
    pub(super) again: &'a dyn Fn(Flags),
}

impl Readiness<'_> {
    /// Whether a read may get somewhere: data, end of stream or an error.
    pub const fn is_readable(&self) -> bool {
        self.flags.any(Flags::READABLE | Flags::READ_CLOSED | Flags::ERROR)
    }

    /// Whether a write may get somewhere: room, a closed stream or an error.
    pub const fn is_writable(&self) -> bool {
        self.flags.any(Flags::WRITABLE | Flags::WRITE_CLOSED | Flags::ERROR)
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

    /// Asks for another readiness call with the same flags, at the tail of the queue. It takes no
    /// system call.
    ///
    /// For a handler that stops before its source would block, to let others have their turn.
    pub fn again(&self) {
        (self.again)(self.flags);
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
