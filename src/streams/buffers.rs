//! The input and the output of a stream, each within a limit.

use alloc::rc::Rc;
use core::cell::Cell;
use core::cmp;
use core::fmt;
use core::mem;
use core::num::NonZeroUsize;

use crate::reactor::Scratch;
use crate::streams::bytes::ByteBuffer;

/// The most that is read and not consumed, at first.
const INPUT_LIMIT: usize = 64 * 1024;

/// The default high and low water of an output.
const HIGH_WATER: usize = 64 * 1024;
const LOW_WATER: usize = 16 * 1024;

/// The bytes that a [`Stream`](crate::streams::Stream) has read, and that are not consumed yet.
///
/// Memory is allocated as bytes arrive, and freed when they are consumed.
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

    /// Returns the bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// /// Answers each line with its length.
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     while output.room() >= 24 {
    ///         let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else { break };
    ///         output.push(format!("{end}\n").as_bytes());
    ///         input.consume(end + 1);
    ///     }
    /// #     if input.has_ended() && output.is_empty() { input.consume(input.len()); output.finish(); }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"one\nthree\n")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"3\n5\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Removes the first `count` bytes.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// /// Messages of four bytes: what is left of the last one waits for the rest.
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     while input.len() >= 4 && output.room() >= 4 {
    ///         let message = [0, 1, 2, 3].map(|index| input.bytes()[index].to_ascii_uppercase());
    ///         output.push(&message);
    ///         input.consume(4);
    ///     }
    /// #     if input.has_ended() && output.is_empty() { input.consume(input.len()); output.finish(); }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"pingpon")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"PING");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn consume(&mut self, count: usize) {
        self.buffer.consume(count);
    }

    /// Returns the number of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     // The answer is the number of bytes, once there are all.
    ///     if input.has_ended() && input.len() > 0 {
    ///         output.push(format!("{} bytes", input.len()).as_bytes());
    ///         input.consume(input.len());
    ///     }
    ///     if input.is_over() {
    ///         output.finish();
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"5 bytes");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns true if there are none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     if !input.is_empty() {
    ///         output.append(input); // an echo
    ///     }
    ///     if input.is_over() {
    ///         output.finish();
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns true if the limit is reached: nothing is read until something is consumed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     let has_line = input.bytes().contains(&b'\n');
    ///     if !has_line && input.is_full() {
    ///         output.push(b"line too long\n"); // it would wait forever otherwise
    ///         input.consume(input.len());
    ///     }
    ///     output.append(input);
    ///     if input.is_over() {
    ///         output.finish();
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"short\n")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"short\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_full(&self) -> bool {
        self.buffer.len() >= self.limit
    }

    /// Returns true if the peer has closed its side: no byte follows these.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     output.append(input);
    ///     if input.has_ended() && !input.is_empty() {
    ///         return; // no more will come, but this is still to be passed on
    ///     }
    ///     if input.is_over() {
    ///         output.finish();
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns true if the peer has closed its side, and everything is consumed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     output.append(input);
    ///     if input.is_over() {
    ///         output.finish(); // the peer sends no more, and all was passed on
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_over(&self) -> bool {
        self.has_ended && self.is_empty()
    }

    /// Sets the limit of bytes that are read and not consumed; 65,536 at first. Bytes beyond a lower
    /// limit stay.
    ///
    /// One read brings at most that number of bytes, and at most 262,144. So a stream that carries much takes
    /// fewer system calls with a higher limit, if its output accepts as much ([`Output::set_water`]).
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// use std::num::NonZeroUsize;
    ///
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     // Heads of requests are at most 8 KiB: more is not read before they are consumed.
    ///     input.set_limit(NonZeroUsize::MIN.saturating_add(8191));
    ///     output.append(input);
    /// #     if input.is_over() { output.finish(); }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

/// The bytes that a [`Stream`](crate::streams::Stream) will write.
///
/// It accepts bytes until it reaches its high water, and then none until it is down to its low water.
/// [`Stream::drive`](crate::streams::Stream::drive) calls its closure again when the output is down to
/// its low water; and when it is empty, if the closure found less room than that.
pub struct Output {
    pub(super) buffer: ByteBuffer,
    high: usize,
    low: usize,
    /// The high water was reached, and the low water not since.
    is_congested: bool,
    /// There was less room than in an empty output when the closure asked for it.
    found_less_room: Cell<bool>,
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
            found_less_room: Cell::new(false),
            scratch: Rc::clone(scratch),
            is_driven: false,
            end: OutputEnd::Open,
        }
    }

    /// Copies these bytes as far as there is room, and returns how many. It accepts none after
    /// [`finish`](Self::finish).
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     // Upper case, as far as there is room. The rest stays in the input.
    ///     let upper = input.bytes().to_ascii_uppercase();
    ///     let taken = output.push(&upper);
    ///     input.consume(taken);
    ///     if input.is_over() {
    ///         output.finish();
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"HELLO");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = cmp::min(bytes.len(), self.free_room());
        if count > 0 {
            self.grow_for(count);
            self.buffer.push(&bytes[..count]);
            self.note_level();
        }
        count
    }

    /// Moves the bytes of the input here as far as there is room, and returns how many. Nothing is
    /// copied if the output was empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     output.append(input); // an echo, without a copy
    ///     if input.is_over() {
    ///         output.finish();
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Closes the stream's own side once everything is written: the peer then reads the end of the
    /// stream.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     input.consume(input.len());
    ///     if input.is_over() {
    ///         output.push(b"goodbye");
    ///         output.finish(); // behind what waits: the peer receives it all
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"goodbye");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish(&mut self) {
        if self.end == OutputEnd::Open {
            self.end = OutputEnd::Asked;
        }
    }

    /// Returns the number of bytes that it accepts now.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     // Each byte becomes two: as many as there is room for.
    ///     let count = input.len().min(output.room() / 2);
    ///     for byte in &input.bytes()[..count] {
    ///         output.push(&[*byte; 2]);
    ///     }
    ///     input.consume(count);
    /// #     if input.is_over() { output.finish(); }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"abc")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"aabbcc");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn room(&self) -> usize {
        let room = self.free_room();
        if room < self.high && self.end == OutputEnd::Open {
            self.found_less_room.set(true);
        }
        room
    }

    /// As [`room`](Self::room), for the stream itself.
    #[inline]
    pub(super) const fn free_room(&self) -> usize {
        if self.is_congested || !matches!(self.end, OutputEnd::Open) {
            return 0;
        }
        self.high.saturating_sub(self.buffer.len())
    }

    /// Returns the number of bytes that wait.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     output.append(input);
    ///     if output.len() > 32 * 1024 {
    ///         println!("a slow peer: {} bytes wait", output.len());
    ///     }
    /// #     if input.is_over() { output.finish(); }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns true if everything is written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// impl Session {
    ///     /// Whether nothing is underway, so that the connection may be kept for another request.
    ///     fn is_idle(&self) -> bool {
    ///         self.stream.input().is_empty() && self.stream.output().is_empty()
    ///     }
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
    /// #     }
    /// }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// # session.call(|session, _| assert!(session.is_idle()));
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns true once [`finish`](Self::finish) was called, although bytes may still wait. The output
    /// accepts none from then on, so what the peer still sends can only be consumed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     if output.is_finished() {
    ///         input.consume(input.len()); // nothing is answered any more
    ///         return;
    ///     }
    ///     let is_last = input.bytes().contains(&b'\n');
    ///     output.append(input);
    ///     if is_last || input.is_over() {
    ///         output.finish();
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"bye\nmore")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"bye\nmore");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_finished(&self) -> bool {
        !matches!(self.end, OutputEnd::Open)
    }

    /// Returns true if the stream's own side is closed: everything is written, the end of the stream
    /// included.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     output.append(input);
    ///     if input.is_over() {
    ///         output.finish();
    ///     }
    ///     if output.is_over() {
    ///         println!("our side is closed");
    ///     }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_over(&self) -> bool {
        matches!(self.end, OutputEnd::Closed)
    }

    /// Sets its water marks, in bytes; 65,536 and 16,384 at first. A low water that is not below the high
    /// one counts as just below it. A producer that needs more room at once than the high water waits
    /// forever.
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::streams::{Input, Output};
    /// use std::num::NonZeroUsize;
    ///
    /// fn process(input: &mut Input, output: &mut Output) {
    ///     // At most 16 KiB wait for a slow peer; more is made when 4 KiB of it are left.
    ///     output.set_water(NonZeroUsize::MIN.saturating_add(16 * 1024 - 1), 4 * 1024);
    ///     output.append(input);
    /// #     if input.is_over() { output.finish(); }
    /// }
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         if self.stream.drive(process).is_over() {
    /// #             cx.hang_up();
    /// #         }
    /// #     }
    /// # }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # let mut received = Vec::new();
    /// # peer.read_to_end(&mut received)?;
    /// # assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_water(&mut self, high: NonZeroUsize, low: usize) {
        self.high = high.get();
        self.low = cmp::min(low, self.high - 1);
        self.note_level();
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.buffer.consume(count);
        if self.is_congested {
            self.note_level();
        }
    }

    /// Whether it has become empty, and so has more room than the closure found.
    #[inline]
    pub(super) fn has_new_room(&self) -> bool {
        self.found_less_room.get() && self.is_empty() && self.end == OutputEnd::Open
    }

    /// Begins a call of the closure that produces.
    #[inline]
    pub(super) fn begin_drive(&mut self) {
        self.is_driven = true;
        self.found_less_room.set(false);
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
mod tests;
