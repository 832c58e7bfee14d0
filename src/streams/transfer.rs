//! How a stream reads and writes.
//!
//! - I1 The stream stops only for a reason that has its handler called again: the source would block, or
//!   a buffer is full, which its next user empties.
//! - I2 After an error nothing is read or written any more: what the handler notes as ready from then on
//!   is in a cell that the stream does not look at.

use alloc::rc::Rc;
use std::io::{self, ErrorKind, IoSlice};

use mio::Interest;

use crate::reactor::Flags;
use crate::streams::buffers::{Input, OutputEnd};
use crate::streams::source::StreamSource;
use crate::streams::stream::{READS, Stream, StreamStatus};

/// Parts that have so many bytes together are copied and written as one: copying them takes less time than
/// the system takes longer for a vectored write than for a plain one (0.2 µs).
const JOINED: usize = 4096;

impl<S: StreamSource> Stream<S> {
    /// Reads once. Returns whether that changed anything.
    #[inline(always)]
    pub(super) fn read(&mut self) -> bool {
        if !self.may_read() {
            return false;
        }
        let spare = self.input.spare();
        let room = spare.len();
        if room == 0 {
            return false;
        }
        match self.registration.source_mut().read(spare) {
            Ok(count) if count > 0 => {
                self.input.buffer.add(count);
                self.received += count as u64;
                // A short read shows that there are no more bytes; but the end of the stream may be
                // behind them, or an error, or something urgent at which the read stopped.
                if count < room && self.registration.source().is_empty_after_short_read() {
                    self.ready.set(self.ready.get().without(Flags(Flags::READABLE)));
                }
                true
            }
            other => self.note_other_read(other),
        }
    }

    /// Notes a read that brought no bytes.
    #[cold]
    #[inline(never)]
    fn note_other_read(&mut self, read: io::Result<usize>) -> bool {
        match read {
            Ok(_) => self.input.has_ended = true,
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.read(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.clear(READS);
                return false;
            }
            Err(error) => self.fail(error),
        }
        true
    }

    /// Writes the output, and closes the own side if that was asked for. Returns whether that changed
    /// anything.
    #[inline(always)]
    pub(super) fn write(&mut self) -> bool {
        let mut changed = false;
        while !self.output.is_empty() && self.can_write() {
            let written = self.registration.source_mut().write(self.output.buffer.bytes());
            let count = self.note_written(written);
            self.output.consume(count);
            changed |= count > 0 || self.error.is_some();
        }
        changed |= self.flush_source();
        if self.output.end == OutputEnd::Asked && self.output.is_empty() && self.can_write() {
            changed |= self.close();
        }
        changed
    }

    /// Has the source write what it holds. Returns whether that changed anything.
    #[inline(always)]
    fn flush_source(&mut self) -> bool {
        let mut changed = false;
        while self.source().holds_output() && self.can_write() {
            match self.source_mut().flush() {
                Ok(()) => changed = true,
                Err(error) => self.note_failure(error),
            }
        }
        changed
    }

    /// Writes input of another stream, which must follow right after what was written. Otherwise as
    /// [`write`](Self::write).
    pub(super) fn write_from(&mut self, input: &mut Input) -> bool {
        let mut changed = false;
        while !input.is_empty()
            && self.output.is_empty()
            && self.output.end == OutputEnd::Open
            && self.can_write()
        {
            let written = self.registration.source_mut().write(input.bytes());
            let count = self.note_written(written);
            input.consume(count);
            changed |= count > 0 || self.error.is_some();
        }
        changed | self.flush_source()
    }

    /// Writes these parts, if nothing waits in the output; what the source does not accept waits there, as far
    /// as there is room. Returns how many bytes were written or wait.
    pub(super) fn write_parts(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let room = self.output.free_room();
        let mut taken = 0;
        if self.output.is_empty() && room > 0 && self.can_write() {
            let size: usize = parts.iter().map(|part| part.len()).sum();
            if size <= JOINED.min(room) {
                self.output.is_driven = true; // until it is flushed
            } else {
                taken = self.write_at_once(parts);
            }
        }
        let mut before = 0;
        for part in parts {
            let (start, end) = (taken.max(before), before + part.len());
            if start < end {
                let pushed = self.output.push(&part[start - before..]);
                taken += pushed;
                if pushed < end - start {
                    break;
                }
            }
            before = end;
        }
        // The source may have room still: no event would report that.
        self.flush();
        taken
    }

    /// Writes once, from several places if there are several. Returns how many bytes that took.
    fn write_at_once(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let mut filled = parts.iter().filter(|part| !part.is_empty());
        let source = self.registration.source_mut();
        let written = match (filled.next(), filled.next()) {
            (Some(only), None) => source.write(only),
            _ => source.write_vectored(parts),
        };
        self.note_written(written)
    }

    /// Whether there may be something to read, if there is room.
    #[inline]
    pub(super) fn may_read(&self) -> bool {
        let ready = self.ready.get();
        let is_ready = ready.is_readable() || ready.is_priority();
        is_ready && !self.input.has_ended
    }

    /// Whether a read may get somewhere.
    #[inline]
    pub(super) fn can_read(&self) -> bool {
        self.may_read() && !self.input.is_full()
    }

    /// Whether a write may get somewhere.
    #[inline]
    pub(super) fn can_write(&self) -> bool {
        self.ready.get().is_writable()
    }

    /// Notes how a write went; how many bytes it took.
    #[inline]
    pub(super) fn note_written(&mut self, written: io::Result<usize>) -> usize {
        match written {
            Ok(count) if count > 0 => {
                self.sent += count as u64;
                return count;
            }
            Ok(_) => self.fail(ErrorKind::WriteZero.into()),
            Err(error) => self.note_failure(error),
        }
        0
    }

    #[cold]
    #[inline(never)]
    fn note_failure(&mut self, error: io::Error) {
        match error.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => self.clear(Interest::WRITABLE),
            _ => self.fail(error),
        }
    }

    /// Nothing is read or written any more.
    #[cold]
    fn fail(&mut self, error: io::Error) {
        self.ready = Rc::default(); // I2
        self.error.get_or_insert(error);
    }

    /// An attempt would block.
    fn clear(&self, interest: Interest) {
        self.ready.set(self.ready.get().without(Flags::refuted_by(interest)));
        self.registration.note_would_block(interest);
    }

    /// Closes the own side. Returns whether that changed anything.
    #[cold]
    #[inline(never)]
    fn close(&mut self) -> bool {
        match self.source_mut().shutdown_write() {
            Ok(()) => self.output.end = OutputEnd::Closed,
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.close(),
            Err(error) => self.note_failure(error),
        }
        self.output.end == OutputEnd::Closed || self.error.is_some()
    }

    /// Has the handler called again, behind the others.
    pub(super) fn ask_again(&self) {
        self.registration.call_again(self.ready.get());
    }

    /// There is no more to do before the handler is called again.
    #[inline(always)]
    pub(super) fn settle_if(&mut self, may_read: bool) -> StreamStatus {
        if may_read {
            self.registration.readiness().keep(); // the input is full
        }
        self.input.release();
        self.output.release();
        self.status()
    }
}
