//! What a stream has read and what it is to write, each within a limit.

use alloc::rc::Rc;
use core::cmp;
use core::fmt;
use core::mem;
use core::num::NonZeroUsize;

use crate::reactor::Scratch;
use crate::streams::bytes::ByteBuffer;

/// The most that is read and not consumed, at first.
const INPUT_LIMIT: usize = 64 * 1024;

/// The most that is to be written, and what is to be left of it before there may be more, at first.
const HIGH_WATER: usize = 64 * 1024;
const LOW_WATER: usize = 16 * 1024;

/// What a [`Stream`](crate::streams::Stream) has read, and nobody has consumed yet.
///
/// Room is taken as bytes come, and given back when they are consumed.
pub struct Input {
    pub(super) buffer: ByteBuffer,
    limit: usize,
    scratch: Rc<Scratch>,
    /// The end of the stream was read.
    pub(super) has_ended: bool,
}

impl Input {
    pub(super) fn new(scratch: &Rc<Scratch>) -> Self {
        let buffer = ByteBuffer::default();
        Self { buffer, limit: INPUT_LIMIT, scratch: Rc::clone(scratch), has_ended: false }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Takes off the first `count` bytes, which were dealt with.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.buffer.consume(count);
    }

    /// How many bytes there are.
    pub const fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether it has reached its limit: nothing is read before something is consumed.
    pub const fn is_full(&self) -> bool {
        self.buffer.len() >= self.limit
    }

    /// Whether the peer has closed its side: there is nothing to come after these bytes.
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the peer has closed its side, and everything is consumed.
    pub const fn is_over(&self) -> bool {
        self.has_ended && self.is_empty()
    }

    /// Sets the most that is read and not consumed, in bytes; 65,536 at first. What is there already
    /// stays.
    pub const fn set_limit(&mut self, limit: NonZeroUsize) {
        self.limit = limit.get();
    }

    /// The places for the next read, none if it is full.
    #[inline]
    pub(super) fn spare(&mut self) -> &mut [u8] {
        let most = self.limit.saturating_sub(self.buffer.len());
        if most == 0 {
            return &mut [];
        }
        self.buffer.borrow(&self.scratch);
        self.buffer.make_room(1, self.limit);
        let spare = self.buffer.spare();
        let count = cmp::min(spare.len(), most);
        &mut spare[..count]
    }

    /// Whether it is more than half full.
    pub(super) const fn is_high(&self) -> bool {
        self.buffer.len() > self.limit / 2
    }

    #[inline]
    pub(super) fn release(&mut self) {
        self.buffer.release(&self.scratch);
    }
}

/// A stream may drop in the middle of its handler: the buffer that it shares is not lost.
impl Drop for Input {
    fn drop(&mut self) {
        self.buffer.discard(&self.scratch);
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { buffer, limit, has_ended, .. } = self;
        let mut debug = f.debug_struct("Input");
        debug.field("len", &buffer.len()).field("limit", limit).field("has_ended", has_ended);
        debug.finish_non_exhaustive()
    }
}

/// What a [`Stream`](crate::streams::Stream) is to write.
///
/// It takes bytes until it reaches its high water, and none then until it is down to its low water.
pub struct Output {
    pub(super) buffer: ByteBuffer,
    high: usize,
    low: usize,
    /// The high water was reached, and the low water not since.
    is_congested: bool,
    scratch: Rc<Scratch>,
    /// A handler drives the stream: what it puts here may lie in a buffer that is shared.
    pub(super) is_driven: bool,
    pub(super) end: OutputEnd,
}

/// How far the end of the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputEnd {
    /// There may be more.
    Open,
    /// To be closed once everything is written.
    Asked,
    /// The peer was sent the end.
    Closed,
}

impl Output {
    pub(super) fn new(scratch: &Rc<Scratch>) -> Self {
        Self {
            buffer: ByteBuffer::default(),
            high: HIGH_WATER,
            low: LOW_WATER,
            is_congested: false,
            scratch: Rc::clone(scratch),
            is_driven: false,
            end: OutputEnd::Open,
        }
    }

    /// Takes as many of these bytes as there is room for; returns how many. It takes none any more once
    /// it is to [finish](Self::finish).
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = cmp::min(bytes.len(), self.room());
        if count > 0 {
            self.grow_for(count);
            self.buffer.push(&bytes[..count]);
            self.note_level();
        }
        count
    }

    /// Takes as much of the input as there is room for, off the input; returns how much. Nothing is
    /// copied if the output was empty.
    #[inline]
    pub fn append(&mut self, input: &mut Input) -> usize {
        let count = input.len();
        if self.is_empty() && self.end == OutputEnd::Open && count <= self.high {
            mem::swap(&mut self.buffer, &mut input.buffer);
            self.is_congested = count == self.high;
            return count;
        }
        let taken = self.push(input.bytes());
        input.consume(taken);
        taken
    }

    /// Closes the stream's own side once everything is written: the peer finds the end after that.
    pub fn finish(&mut self) {
        if self.end == OutputEnd::Open {
            self.end = OutputEnd::Asked;
        }
    }

    /// How many bytes it takes now.
    #[inline]
    pub const fn room(&self) -> usize {
        if self.is_congested || !matches!(self.end, OutputEnd::Open) {
            return 0;
        }
        self.high.saturating_sub(self.buffer.len())
    }

    /// How many bytes wait.
    pub const fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether everything is written.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the stream's own side is closed: everything is written, and the end of it too.
    pub const fn is_over(&self) -> bool {
        matches!(self.end, OutputEnd::Closed)
    }

    /// Sets its water marks, in bytes; 65,536 and 16,384 at first. A low water that is not below the high
    /// one counts as just below it. A producer that needs more room at once than lies between the two may
    /// wait forever.
    pub fn set_water(&mut self, high: NonZeroUsize, low: usize) {
        self.high = high.get();
        self.low = cmp::min(low, self.high - 1);
        self.is_congested = false;
        self.note_level();
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.buffer.consume(count);
        if self.is_congested {
            self.note_level();
        }
    }

    /// Notes how full it is now.
    #[inline]
    const fn note_level(&mut self) {
        let len = self.buffer.len();
        self.is_congested = len >= self.high || self.is_congested && len > self.low;
    }

    /// Whether it is above its low water.
    #[inline]
    pub(super) const fn is_above_low(&self) -> bool {
        self.buffer.len() > self.low
    }

    fn grow_for(&mut self, count: usize) {
        if self.is_driven {
            self.buffer.borrow(&self.scratch);
        }
        self.buffer.make_room(count, self.high);
    }

    #[inline]
    pub(super) fn release(&mut self) {
        self.is_driven = false;
        self.buffer.release(&self.scratch);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.buffer.discard(&self.scratch);
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { buffer, high, low, end, .. } = self;
        let mut debug = f.debug_struct("Output");
        debug.field("len", &buffer.len()).field("high", high).field("low", low).field("end", end);
        debug.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_takes_nothing_from_its_high_water_down_to_its_low_water() {
        let mut output = Output::new(&Rc::default());
        output.set_water(NonZeroUsize::new(50).unwrap(), 10);
        assert_eq!((output.push(&[0; 49]), output.room()), (49, 1));
        assert_eq!((output.push(&[0; 49]), output.room()), (1, 0));
        output.consume(39);
        assert_eq!((output.len(), output.push(b"x"), output.room()), (11, 0, 0));
        output.consume(1);
        assert_eq!((output.len(), output.room()), (10, 40));
        // It is not congested before it reaches its high water again.
        assert_eq!((output.push(&[0; 30]), output.room()), (30, 10));
        // Whatever the marks are, an output that is empty takes something.
        output.set_water(NonZeroUsize::new(1).unwrap(), 100);
        output.consume(40);
        assert_eq!((output.push(b"xy"), output.room()), (1, 0));
        output.consume(1);
        assert_eq!(output.room(), 1);
    }

    #[test]
    fn an_output_takes_an_input_as_a_whole_or_as_much_as_it_has_room_for() {
        let scratch = Rc::default();
        let (mut input, mut output) = (Input::new(&scratch), Output::new(&scratch));
        output.set_water(NonZeroUsize::new(5).unwrap(), 0);
        let fill = |input: &mut Input, bytes: &[u8]| {
            input.spare()[..bytes.len()].copy_from_slice(bytes);
            input.buffer.add(bytes.len());
        };
        fill(&mut input, b"abc");
        assert_eq!(
            (output.append(&mut input), input.len(), output.buffer.bytes()),
            (3, 0, &b"abc"[..])
        );
        fill(&mut input, b"defg");
        assert_eq!((output.append(&mut input), input.bytes(), output.room()), (2, &b"fg"[..], 0));
        assert_eq!(output.append(&mut input), 0);
        output.consume(5);
        output.finish();
        assert_eq!((output.append(&mut input), input.len(), output.len()), (0, 2, 0));
    }

    #[test]
    fn buffers_that_drop_give_back_the_room_that_is_shared() {
        let scratch = Rc::default();
        let (mut input, mut output) = (Input::new(&scratch), Output::new(&scratch));
        output.is_driven = true;
        input.spare()[0] = 1;
        output.push(&[2]);
        drop((input, output));
        // What is made anew is zeroed.
        let taken = [scratch.take()[0], scratch.take()[0], scratch.take()[0]];
        assert_eq!(taken, [2, 1, 0]);
    }
}
