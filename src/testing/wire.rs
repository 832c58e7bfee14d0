//! What a scripted source and its peer share.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp;
use std::io::{self, ErrorKind};

use mio::{Interest, Token};

use crate::testing::event::{Event, Ready};

/// The bytes of both directions, and what the script has in store for them.
#[derive(Debug)]
pub(super) struct Wire {
    /// Whether the source has something new to report, and so stands in line.
    pub(super) edge: bool,
    pub(super) registered: Option<(Token, Interest)>,
    pub(super) is_closed: bool,
    pub(super) registering: VecDeque<ErrorKind>,
    pub(super) inward: Inward,
    pub(super) outward: Outward,
}

/// From the peer to the source.
#[derive(Debug)]
pub(super) struct Inward {
    pub(super) bytes: VecDeque<u8>,
    /// The most that a read takes.
    pub(super) limit: usize,
    pub(super) errors: VecDeque<ErrorKind>,
    /// The peer sends no more.
    pub(super) ended: bool,
    /// The source has read that.
    end_was_read: bool,
    /// The source reads no more.
    pub(super) is_shut: bool,
}

/// From the source to the peer.
#[derive(Debug)]
pub(super) struct Outward {
    pub(super) bytes: Vec<u8>,
    /// The most that a write takes.
    pub(super) limit: usize,
    pub(super) errors: VecDeque<ErrorKind>,
    /// The peer receives no more.
    pub(super) ended: bool,
    /// The source writes no more.
    pub(super) is_shut: bool,
}

impl Wire {
    pub(super) const fn new() -> Self {
        let inward = Inward {
            bytes: VecDeque::new(),
            limit: usize::MAX,
            errors: VecDeque::new(),
            ended: false,
            end_was_read: false,
            is_shut: false,
        };
        let outward = Outward {
            bytes: Vec::new(),
            limit: usize::MAX,
            errors: VecDeque::new(),
            ended: false,
            is_shut: false,
        };
        let registering = VecDeque::new();
        Self { edge: false, registered: None, is_closed: false, registering, inward, outward }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Inward { bytes, limit, errors, ended, end_was_read, is_shut } = &mut self.inward;
        if let Some(error) = errors.pop_front() {
            return Err(error.into());
        }
        if *is_shut || buffer.is_empty() {
            return Ok(0);
        }
        let count = cmp::min(buffer.len(), *limit).min(bytes.len());
        if count == 0 && (*limit == 0 || !*ended) {
            return Err(ErrorKind::WouldBlock.into());
        }
        *end_was_read = count == 0;
        for (place, byte) in buffer.iter_mut().zip(bytes.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    pub(super) fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Outward { bytes, limit, errors, ended, is_shut } = &mut self.outward;
        if let Some(error) = errors.pop_front() {
            return Err(error.into());
        }
        if *ended || *is_shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = cmp::min(buffer.len(), *limit);
        if count == 0 && !buffer.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// How many errors are lined up for reads and writes.
    pub(super) fn errors(&self) -> usize {
        self.inward.errors.len() + self.outward.errors.len()
    }

    /// The token, if there is something to read that was reported before.
    pub(super) fn unread(&self) -> Option<Token> {
        let (token, interest) = self.registered?;
        let Inward { bytes, limit, ended, end_was_read, is_shut, .. } = &self.inward;
        let is_readable = *limit > 0 && (!bytes.is_empty() || *ended && !end_was_read);
        (is_readable && !is_shut && !self.edge && interest.is_readable()).then_some(token)
    }

    /// The event that a poll would report of the source.
    pub(super) fn event(&self) -> Option<Event> {
        let (token, interest) = self.registered?;
        let Self { inward, outward, .. } = self;
        let reports =
            |error: &ErrorKind| !matches!(error, ErrorKind::Interrupted | ErrorKind::WouldBlock);
        let failed = inward.errors.iter().chain(&outward.errors).any(reports);
        let (reads, writes) = (interest.is_readable(), interest.is_writable());
        let read_closed = inward.ended || inward.is_shut;
        // (What the source itself shuts shows once both directions are over.)
        let is_over = read_closed && outward.is_shut;
        let write_closed = outward.ended || is_over;
        let readable = inward.limit > 0 && (!inward.bytes.is_empty() || read_closed) || failed;
        let writable = outward.limit > 0 || outward.is_shut || write_closed || failed;
        let flags = [
            (reads && readable, Ready::READABLE),
            (writes && writable, Ready::WRITABLE),
            ((reads || is_over) && read_closed, Ready::READ_CLOSED),
            (write_closed, Ready::WRITE_CLOSED),
            (failed, Ready::ERROR),
        ];
        let reported = flags.into_iter().filter(|(reported, _)| *reported).map(|(_, flag)| flag);
        Some(Event::new(token, reported.reduce(|reported, flag| reported | flag)?))
    }

    /// Notes a change of the registration, which may fail.
    pub(super) fn register(
        &mut self,
        is_registered: bool,
        registered: Option<(Token, Interest)>,
    ) -> io::Result<()> {
        // (First, as a source is deregistered when it was refused: that uses up no scripted error.)
        if is_registered && self.registered.is_none() {
            return Err(ErrorKind::NotFound.into());
        }
        if let Some(error) = self.registering.pop_front() {
            return Err(error.into());
        }
        if is_registered != self.registered.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.registered = registered;
        Ok(())
    }
}
