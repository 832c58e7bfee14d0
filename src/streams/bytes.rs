//! Bytes in a row, whose room follows what is in it: a buffer that is shared while a handler runs, and one
//! of its own for what waits.
//!
//! - I1 The bytes are at `start..end`. If there are none, both are 0.

use alloc::boxed::Box;
use alloc::vec;
use core::mem;

use crate::reactor::{SCRATCH, Scratch};

/// The least room of a buffer of its own.
const LEAST: usize = 256;

#[derive(Default)]
pub(super) struct ByteBuffer {
    places: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ByteBuffer {
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.end == 0 // I1
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.places[self.start..self.end]
    }

    /// The places behind the bytes.
    #[inline]
    pub(super) fn spare(&mut self) -> &mut [u8] {
        &mut self.places[self.end..]
    }

    /// Takes in what was written to the first of the spare places. (If a source returns a larger
    /// number, the next access to the bytes panics.)
    #[inline]
    pub(super) const fn add(&mut self, count: usize) {
        self.end += count;
    }

    /// Takes off the first bytes.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "{count} bytes not consumed: there are {}", self.len());
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0); // I1
        }
    }

    /// Copies bytes in, for which there must be room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.spare()[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Makes room for so many bytes more. More than `most` in all are asked of the allocator only if they
    /// are needed.
    #[inline]
    pub(super) fn make_room(&mut self, count: usize, most: usize) {
        if self.places.len() - self.end < count {
            self.make_room_slow(count, most);
        }
    }

    #[cold]
    fn make_room_slow(&mut self, count: usize, most: usize) {
        let needed = self.len() + count;
        if needed > self.places.len() {
            let capacity = needed.next_power_of_two().max(LEAST).min(most.max(needed));
            self.move_to(vec![0; capacity].into_boxed_slice());
        } else {
            self.places.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
    }

    /// Takes a buffer that is shared, if it has none of its own.
    #[inline]
    pub(super) fn borrow(&mut self, scratch: &Scratch) {
        if self.places.is_empty() {
            self.places = scratch.take();
        }
    }

    /// Gives back the room that it does not need: a buffer that is shared, once what is left in it fits in
    /// half of that.
    #[inline]
    pub(super) fn release(&mut self, scratch: &Scratch) {
        if !self.is_empty() {
            self.shrink(scratch);
        } else if !self.places.is_empty() {
            give_back(mem::take(&mut self.places), scratch);
        }
    }

    /// Returns a shared buffer, with any contents.
    pub(super) fn discard(&mut self, scratch: &Scratch) {
        (self.start, self.end) = (0, 0);
        give_back(mem::take(&mut self.places), scratch);
    }

    #[cold]
    #[inline(never)]
    fn shrink(&mut self, scratch: &Scratch) {
        if self.places.len() > self.len() * 2 {
            let capacity = self.len().next_power_of_two().max(LEAST);
            if capacity < self.places.len() {
                give_back(self.move_to(vec![0; capacity].into_boxed_slice()), scratch);
            }
        }
    }

    /// Moves to other places. Returns those before.
    fn move_to(&mut self, mut places: Box<[u8]>) -> Box<[u8]> {
        places[..self.len()].copy_from_slice(self.bytes());
        (self.start, self.end) = (0, self.len());
        mem::replace(&mut self.places, places)
    }
}

#[inline]
fn give_back(places: Box<[u8]>, scratch: &Scratch) {
    if places.len() == SCRATCH {
        scratch.give(places);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_buffer_holds_what_a_vector_holds() {
        let (mut buffer, mut model, scratch) =
            (ByteBuffer::default(), Vec::new(), Scratch::default());
        let (mut next, mut seed) = (0_u8, 1_u64);
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for step in 0..20_000 {
            match random(5) {
                0 => buffer.release(&scratch),
                1 => {
                    let count = random(100);
                    let bytes: Vec<u8> = (0..count).map(|at| next.wrapping_add(at as u8)).collect();
                    next = next.wrapping_add(count as u8);
                    buffer.make_room(count, random(200));
                    buffer.push(&bytes);
                    model.extend(bytes);
                }
                2 => {
                    let count = buffer.spare().len().min(7);
                    for place in &mut buffer.spare()[..count] {
                        *place = next;
                        model.push(next);
                        next = next.wrapping_add(1);
                    }
                    buffer.add(count);
                }
                3 if random(20) == 0 => buffer.borrow(&scratch),
                _ => {
                    let count = random(model.len() + 1);
                    buffer.consume(count);
                    drop(model.drain(..count));
                }
            }
            assert!(buffer.bytes() == model && buffer.len() == model.len(), "step {step}");
        }
    }

    #[test]
    fn a_buffer_gives_back_the_room_that_it_does_not_need() {
        let (mut buffer, scratch) = (ByteBuffer::default(), Scratch::default());
        buffer.borrow(&scratch);
        buffer.push(&[7; SCRATCH / 2]);
        buffer.release(&scratch);
        assert_eq!(buffer.places.len(), SCRATCH, "it needs that");
        buffer.consume(SCRATCH / 2 - 300);
        buffer.release(&scratch);
        assert_eq!((buffer.places.len(), buffer.bytes()), (512, &[7; 300][..]));
        buffer.consume(300);
        buffer.release(&scratch);
        assert_eq!(buffer.places.len(), 0);
        buffer.make_room(1, 100);
        assert_eq!(buffer.places.len(), 100);
    }
}
