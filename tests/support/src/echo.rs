//! What a connection that echoes does with its bytes, whichever the sockets and whoever keeps books.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

/// Bytes that were read, and are not written yet.
#[derive(Debug, Default)]
pub struct Echo {
    waiting: VecDeque<u8>,
    at_end: bool,
    written: u64,
}

impl Echo {
    /// Reads once, at most `most` bytes. Returns how many came (0 at the end of the stream), or `None`
    /// if the read would block.
    ///
    /// # Errors
    ///
    /// Those of the source, but `Interrupted`, after which it reads again.
    pub fn read(&mut self, mut source: impl Read, most: usize) -> io::Result<Option<usize>> {
        let mut chunk = vec![0; most];
        loop {
            match source.read(&mut chunk) {
                Ok(read) => {
                    self.at_end = read == 0;
                    self.waiting.extend(&chunk[..read]);
                    return Ok(Some(read));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes until nothing waits any more, or the write would block.
    ///
    /// # Errors
    ///
    /// Those of the sink, but `Interrupted`, after which it writes again.
    pub fn write(&mut self, mut sink: impl Write) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match sink.write(self.waiting.make_contiguous()) {
                Ok(written) => {
                    drop(self.waiting.drain(..written));
                    self.written += written as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Those that wait and were read last.
    pub fn latest(&self, count: usize) -> Vec<u8> {
        self.waiting.range(self.waiting.len() - count..).copied().collect()
    }

    /// How many bytes were written in all.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether the last read has found the end of the stream.
    pub fn at_end(&self) -> bool {
        self.at_end
    }

    /// Whether the stream is at its end, and everything is written.
    pub fn is_over(&self) -> bool {
        self.at_end && self.waiting.is_empty()
    }
}
