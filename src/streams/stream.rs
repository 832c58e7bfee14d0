//! A source that reads and writes through buffers.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use std::io::{self, IoSlice};

use mio::Interest;

use crate::reactor::{Flags, ReactorHandle, Readiness, RedirectError, RegisterError, Registration};
use crate::recipient::{Address, Context};
use crate::streams::buffers::{Input, Output};
use crate::streams::source::StreamSource;

/// What a stream reads at. Urgent data, where it is reported, is a reason to read on.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const READS: Interest = Interest::READABLE.add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const READS: Interest = Interest::READABLE;

/// How often a handler reads and writes before it lets others have their turn: 256 KiB, unless a limit was raised.
pub(super) const ROUNDS: usize = 4;

/// A source, registered, that reads into an [`Input`] and writes from an [`Output`], each within a limit.
///
/// Its handler is called when the source is ready, and calls [`drive`](Self::drive), which reads, lets
/// the caller process the input, and writes, until the source would block. Bytes that cannot be written
/// wait in the output. While the output is full, the input is not consumed, and while the input is
/// full, nothing is read. So a peer that does not read costs a bounded buffer, and only its own stream
/// waits.
///
/// Each direction ends by itself: [`Input::has_ended`] reports the peer's end, and [`Output::finish`]
/// requests the own end. An error ends both. To end the stream at once, drop it.
///
/// Cost: two allocations, that of the registration included. A stream that waits holds what waits in its
/// buffers, and no more room than twice that, or 256 bytes; a few buffers of 256 KiB to read into are shared
/// by all streams of a reactor.
/// No system call beside the reads and writes, and no read that is known to find nothing; dropping it takes
/// one, the close ([`StreamSource::is_deregistered_by_drop`]).
///
/// # Examples
///
/// See the [module](crate::streams).
#[must_use = "dropping a stream closes its source"]
pub struct Stream<S: StreamSource> {
    pub(super) registration: Registration<S>,
    /// What the source was reported ready for, and no attempt has found to block. The stream knows more
    /// than its registration, to which it need not report each attempt: such as that its source is
    /// empty.
    pub(super) ready: Rc<Cell<Flags>>,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) error: Option<io::Error>,
}

/// The status of a [`Stream`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a stream that is over is to be dropped"]
pub enum StreamStatus {
    /// Its handler will be called.
    Open,
    /// Both directions have ended, and everything was consumed and written.
    Over,
    /// An error has ended it: [`Stream::error`].
    Broken,
}

impl StreamStatus {
    /// Returns true if the stream is Over or Broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// impl Session {
    ///     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    ///         let status = self.stream.drive(|input, output| {
    ///             output.append(input);
    ///             if input.is_over() {
    ///                 output.finish();
    ///             }
    ///         });
    ///         if status.is_over() {
    ///             cx.hang_up(); // which closes the socket
    ///         }
    ///     }
    /// }
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
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Open)
    }
}

impl<S: StreamSource> Stream<S> {
    /// Registers `source` for both directions, and returns a stream over it. From now on its readiness
    /// becomes calls of `handler` to `recipient`, which must [drive](Self::drive) the stream.
    ///
    /// # Errors
    ///
    /// As [`ReactorHandle::register`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// impl Session {
    ///     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         let status = self.stream.drive(|input, output| {
    /// #             output.append(input);
    /// #             if input.is_over() { output.finish(); }
    /// #         });
    /// #         if status.is_over() { cx.hang_up(); }
    ///         // drives the stream
    ///     }
    /// }
    ///
    /// let session = reactor.queue().try_recipient_with(|own| {
    ///     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() { let _ = reactor.turn(None)?; }
    /// # let mut received = String::new();
    /// # peer.read_to_string(&mut received)?;
    /// # assert_eq!(received, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn new<T, H>(
        reactor: &ReactorHandle,
        source: S,
        recipient: &Address<T>,
        handler: H,
    ) -> Result<Self, RegisterError<S>>
    where
        T: 'static,
        H: Fn(&mut T, &Context<'_, T>) + 'static,
    {
        let both = READS.add(Interest::WRITABLE);
        let ready = Rc::new(Cell::new(Flags::NONE));
        let handler = handler_of(&ready, handler);
        let registration = reactor.register(source, both, recipient, handler)?;
        Ok(Self::of(registration, ready))
    }

    /// Returns a stream over a source that is registered already, for both directions, such as one that
    /// an operation has connected
    /// ([`Socket::into_registration`](crate::samples::Socket::into_registration)). Its readiness is
    /// kept, and the recipient is called for it, as with [`redirect`](Self::redirect). It makes no
    /// system call.
    ///
    /// # Errors
    ///
    /// As [`Registration::redirect`]. The source is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # impl Session {
    /// #     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    /// #         let status = self.stream.drive(|input, output| {
    /// #             output.append(input);
    /// #             if input.is_over() { output.finish(); }
    /// #         });
    /// #         if status.is_over() { cx.hang_up(); }
    /// #     }
    /// # }
    /// # let socket = switchboard::samples::Socket::stream(&reactor.handle(), socket)?;
    /// // What an operation has connected becomes a stream; its readiness comes along.
    /// let registration = socket.into_registration().map_err(|_| "the socket is shared")?;
    /// let session = reactor.queue().try_recipient_with(|own| {
    ///     let stream = Stream::from_registration(registration, own, Session::on_ready)?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// })?;
    /// # peer.write_all(b"hello")?;
    /// # peer.shutdown(std::net::Shutdown::Write)?;
    /// # while !session.is_gone() { let _ = reactor.turn(None)?; }
    /// # let mut received = String::new();
    /// # peer.read_to_string(&mut received)?;
    /// # assert_eq!(received, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn from_registration<T, H>(
        registration: Registration<S>,
        recipient: &Address<T>,
        handler: H,
    ) -> Result<Self, RedirectError>
    where
        T: 'static,
        H: Fn(&mut T, &Context<'_, T>) + 'static,
    {
        let ready = Rc::new(Cell::new(registration.readiness().flags()));
        registration.redirect(recipient, handler_of(&ready, handler))?;
        Ok(Self::of(registration, ready))
    }

    fn of(mut registration: Registration<S>, ready: Rc<Cell<Flags>>) -> Self {
        registration.set_ends_by_close(registration.source().is_deregistered_by_drop());
        let scratch = registration.reactor().scratch();
        let (input, output) = (Input::new(scratch), Output::new(scratch));
        Self { registration, ready, input, output, received: 0, sent: 0, error: None }
    }

    /// Reads, calls `process`, and writes, repeatedly, until the source would block or the buffers are
    /// full. Returns the status of the stream. If the peer keeps it busy, it stops after some rounds,
    /// so that other sources are served, and the handler is called again.
    ///
    /// `process` is called at least once, even without new input, and again whenever there is new input,
    /// the output has fallen to its low water, or it is empty after `process` found less [room]. Bytes that
    /// it does not consume stay in the input.
    ///
    /// [room]: Output::room
    ///
    /// Any handler may call it, such as one that has something to write.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// impl Session {
    ///     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    ///         let status = self.stream.drive(|input, output| {
    ///             output.append(input); // as far as there is room
    ///             if input.is_over() {
    ///                 output.finish();
    ///             }
    ///         });
    ///         if status.is_over() {
    ///             cx.hang_up();
    ///         }
    ///     }
    /// }
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
    pub fn drive(&mut self, mut process: impl FnMut(&mut Input, &mut Output)) -> StreamStatus {
        for _ in 0..ROUNDS {
            self.read();
            self.output.begin_drive();
            process(&mut self.input, &mut self.output);
            let was_above_low = self.output.is_above_low();
            self.write();
            let may_read = self.may_read();
            let goes_on = may_read && !self.input.is_full();
            let has_room = was_above_low && !self.output.is_above_low()
                || self.output.has_new_room() && self.can_write();
            if !(goes_on || has_room) {
                return self.settle_if(may_read);
            }
        }
        if self.ready.get() == Flags::NONE {
            return self.settle_if(false); // an event calls again
        }
        self.ask_again();
        self.status()
    }

    /// Reads once, if the source is ready and the input has room. Returns true if that changed
    /// anything: there are new bytes, the end of the stream, or an error.
    ///
    /// Use it for a loop other than [`drive`](Self::drive), such as one over two streams. The loop must
    /// run until both this and [`flush`](Self::flush) change nothing, as a flush makes room for more
    /// output. It must end with [`settle`](Self::settle), or with [`again`](Self::again) if it stops
    /// earlier.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::io::{Read, Write};
    /// use mio::net::UnixStream;
    /// use switchboard::Context;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::streams::Stream;
    ///
    /// struct Doubler { from: Stream<UnixStream>, to: Stream<UnixStream> }
    ///
    /// impl Doubler {
    ///     fn on_ready(&mut self, _: &Context<'_, Self>) {
    ///         for _ in 0..4 {
    ///             let mut changed = self.from.fill();
    ///             let (input, output) = (self.from.buffers().0, self.to.buffers().1);
    ///             let count = input.len().min(output.room() / 2);
    ///             for byte in &input.bytes()[..count] {
    ///                 output.push(&[*byte; 2]);
    ///             }
    ///             input.consume(count);
    ///             changed |= self.to.flush();
    ///             if !changed {
    ///                 let _ = (self.from.settle(), self.to.settle());
    ///                 return;
    ///             }
    ///         }
    ///         self.from.again();
    ///     }
    /// }
    ///
    /// let mut reactor = Reactor::new()?;
    /// let (from, mut sender) = UnixStream::pair()?;
    /// let (to, mut receiver) = UnixStream::pair()?;
    /// let _doubler = reactor.queue().try_recipient_with(|own| {
    ///     let from = Stream::new(&reactor, from, own, Doubler::on_ready)?;
    ///     let to = Stream::new(&reactor, to, own, Doubler::on_ready)?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Doubler { from, to })
    /// })?;
    /// sender.write_all(b"abc")?;
    /// let _ = reactor.turn(None)?;
    /// let mut doubled = [0; 6];
    /// receiver.read_exact(&mut doubled)?;
    /// assert_eq!(&doubled, b"aabbcc");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fill(&mut self) -> bool {
        self.output.is_driven = true; // until it is flushed
        let changed = self.read();
        if !changed {
            self.input.release();
        }
        changed
    }

    /// Writes the output, until it is empty or the source would block; then closes the own side, if
    /// that was [requested](Output::finish). Returns true if that changed anything.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, _| input.consume(input.len()));
    /// #     }
    /// # }
    /// # let session = reactor.queue().try_recipient_with(|own| {
    /// #     let stream = Stream::new(&reactor, socket, own, Session::on_ready)?;
    /// #     Ok::<_, Box<dyn std::error::Error>>(Session { stream })
    /// # })?;
    /// // Something to send, from outside the stream's handler:
    /// session.call(|session, _| {
    ///     let (_, output) = session.stream.buffers();
    ///     output.push(b"news");
    ///     session.stream.flush(); // what the source does not take is written once it is ready
    /// });
    /// # while reactor.queue().tally().finished < 2 { let _ = reactor.turn(None)?; }
    /// # let mut news = [0; 4];
    /// # peer.read_exact(&mut news)?;
    /// # assert_eq!(&news, b"news");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&mut self) -> bool {
        let changed = self.write();
        self.output.release();
        changed
    }

    /// Ends a loop of [`fill`](Self::fill) and [`flush`](Self::flush): there is no more to do before
    /// the handler is called again. The stream frees the memory that it does not need. Returns its
    /// status.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// impl Session {
    ///     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    ///         while self.stream.fill() | self.stream.flush() {
    ///             let (input, output) = self.stream.buffers();
    ///             output.append(input);
    ///             if input.is_over() {
    ///                 output.finish();
    ///             }
    ///         }
    ///         if self.stream.settle().is_over() {
    ///             cx.hang_up();
    ///         }
    ///     }
    /// }
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
    pub fn settle(&mut self) -> StreamStatus {
        self.settle_if(self.may_read())
    }

    /// Schedules another call of the handler, at the tail of the queue. A loop that stops before the
    /// source would block must call it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let (mut peer, _) = listener.accept()?;
    /// impl Session {
    ///     fn on_ready(&mut self, cx: &Context<'_, Self>) {
    ///         for _ in 0..4 {
    ///             if !(self.stream.fill() | self.stream.flush()) {
    ///                 if self.stream.settle().is_over() {
    ///                     cx.hang_up();
    ///                 }
    ///                 return;
    ///             }
    ///             let (input, output) = self.stream.buffers();
    ///             output.append(input);
    ///             if input.is_over() {
    ///                 output.finish();
    ///             }
    ///         }
    ///         self.stream.again(); // there may be more; first the others have their turn
    ///     }
    /// }
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
    pub fn again(&self) {
        self.ask_again();
    }

    /// Writes these parts at once, if nothing waits in the output. Bytes that the source does not
    /// accept wait there, as far as there is room. Returns the number of bytes that were written or
    /// wait.
    ///
    /// Use it for large data, or for data in several places: unlike [`Output::push`], it copies only
    /// bytes that must wait, and parts that have 4 KiB together at most, as one plain write takes less time
    /// than a vectored one.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::io::{IoSlice, Read};
    /// use mio::net::UnixStream;
    /// use switchboard::reactor::Reactor;
    /// use switchboard::streams::Stream;
    ///
    /// struct Greeter { stream: Stream<UnixStream>, is_greeted: bool }
    ///
    /// let mut reactor = Reactor::new()?;
    /// let (socket, mut peer) = UnixStream::pair()?;
    /// let greeter = reactor.queue().try_recipient_with(|own| {
    ///     let stream = Stream::new(&reactor, socket, own, |greeter: &mut Greeter, cx| {
    ///         if !greeter.is_greeted {
    ///             greeter.is_greeted = true;
    ///             greeter.stream.send(&[IoSlice::new(b"hello, "), IoSlice::new(b"you")]);
    ///         }
    ///         let status = greeter.stream.drive(|input, output| {
    ///             input.consume(input.len());
    ///             if input.is_over() {
    ///                 output.finish();
    ///             }
    ///         });
    ///         if status.is_over() {
    ///             cx.hang_up();
    ///         }
    ///     })?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Greeter { stream, is_greeted: false })
    /// })?;
    /// let _ = reactor.turn(None)?;
    /// let mut text = [0; 10];
    /// peer.read_exact(&mut text)?;
    /// assert_eq!(&text, b"hello, you");
    /// # drop(peer);
    /// # while !greeter.is_gone() {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&mut self, parts: &[IoSlice<'_>]) -> usize {
        self.write_parts(parts)
    }

    /// Returns the status of the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// use switchboard::streams::StreamStatus;
    ///
    /// session.call(|session, _| match session.stream.status() {
    ///     StreamStatus::Open => println!("{} bytes so far", session.stream.received()),
    ///     status => panic!("{status:?}"),
    /// });
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(&self) -> StreamStatus {
        if self.error.is_some() {
            StreamStatus::Broken
        } else if self.input.is_over() && self.output.is_over() {
            StreamStatus::Over
        } else {
            StreamStatus::Open
        }
    }

    /// Returns the input and the output, to change them. Output is written by the next
    /// [`drive`](Self::drive) or [`flush`](Self::flush).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, cx| {
    ///     let (input, output) = session.stream.buffers();
    ///     assert!(input.is_empty());
    ///     output.push(b"goodbye");
    ///     output.finish();
    ///     session.on_ready(cx); // writes it
    ///     assert_eq!(session.stream.sent(), 12);
    /// });
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn buffers(&mut self) -> (&mut Input, &mut Output) {
        (&mut self.input, &mut self.output)
    }

    /// Returns the input: bytes that were read and not consumed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, _| assert!(session.stream.input().is_empty())); // all was consumed
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn input(&self) -> &Input {
        &self.input
    }

    /// Returns the output: bytes that wait to be written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, _| {
    ///     let waiting = session.stream.output().len(); // for a metric: how far the peer is behind
    ///     assert_eq!(waiting, 0);
    /// });
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn output(&self) -> &Output {
        &self.output
    }

    /// Returns the error that ended the stream, if it is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, cx| {
    ///     if let Some(error) = session.stream.error() {
    ///         eprintln!("connection broken: {error}");
    ///         cx.hang_up();
    ///     }
    /// });
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Returns the number of bytes that were read: those that were consumed, and those in the input.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, _| assert_eq!(session.stream.received(), 5)); // "hello"
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Returns the number of bytes that were written. The output of a broken stream is never written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, _| assert_eq!(session.stream.sent(), 5)); // "hello", back
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the source.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, _| {
    ///     let peer = session.stream.source().peer_addr(); // for a log line
    ///     assert!(peer.is_ok());
    /// });
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source(&self) -> &S {
        self.registration.source()
    }

    /// Returns the source, to set its options. Reads and writes on it bypass the buffers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, _| {
    ///     if let Err(error) = session.stream.source_mut().set_nodelay(true) {
    ///         eprintln!("no TCP_NODELAY: {error}");
    ///     }
    /// });
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source_mut(&mut self) -> &mut S {
        self.registration.source_mut()
    }

    /// Returns the registration, as to let the loop end without it ([`Registration::unref`]).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use switchboard::{Context, mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # struct Session { stream: Stream<TcpStream> }
    /// # impl Session {
    /// #     fn on_ready(&mut self, _: &Context<'_, Self>) {
    /// #         let _ = self.stream.drive(|input, output| _ = output.append(input));
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
    /// # peer.set_nonblocking(true)?;
    /// # while peer.read(&mut [0; 8]).is_err() {
    /// #     let _ = reactor.turn(Some(std::time::Duration::from_millis(10)))?;
    /// # }
    /// session.call(|session, _| session.stream.registration().unref()); // an idle connection
    /// # assert_eq!(reactor.queue().dial_all().dialed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn registration(&self) -> &Registration<S> {
        &self.registration
    }

    /// Hands the stream over to another recipient, which is called if the source is ready or the input
    /// holds something. Buffers and readiness are kept. It makes no system call.
    ///
    /// # Errors
    ///
    /// As [`Registration::redirect`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use switchboard::{mio::net::TcpStream, reactor::Reactor, streams::Stream};
    /// # let mut reactor = Reactor::new()?;
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let socket = TcpStream::connect(listener.local_addr()?)?;
    /// # let client = reactor.queue().recipient(());
    /// # let stream = Stream::new(&reactor, socket, &client, |(), _| ())?;
    /// /// Connections that wait for the next request.
    /// struct Pool { idle: Vec<Stream<TcpStream>> }
    ///
    /// impl Pool {
    ///     fn on_ready(&mut self) {
    ///         // Drops those that were closed.
    ///         self.idle.retain_mut(|idle| !idle.drive(|input, output| {
    ///             input.consume(input.len());
    ///             if input.is_over() {
    ///                 output.finish();
    ///             }
    ///         }).is_over());
    ///     }
    /// }
    ///
    /// let pool = reactor.queue().recipient(Pool { idle: Vec::new() });
    /// pool.call(|pool, cx| {
    ///     stream.redirect(cx, |pool: &mut Pool, _| pool.on_ready()).expect("a pool of this queue");
    ///     pool.idle.push(stream);
    /// });
    /// # let _ = reactor.turn(None)?;
    /// # pool.call(|pool, _| assert_eq!(pool.idle.len(), 1));
    /// # let _ = reactor.turn(None)?;
    /// # drop(listener.accept()?);
    /// # while reactor.registration_count() > 0 {
    /// #     let _ = reactor.turn(None)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn redirect<T, H>(&self, recipient: &Address<T>, handler: H) -> Result<(), RedirectError>
    where
        T: 'static,
        H: Fn(&mut T, &Context<'_, T>) + 'static,
    {
        if !self.may_read() {
            // The registration may not know that its source is empty.
            self.registration.note_would_block(READS);
        }
        let broken = self.error.is_some().then(Rc::default);
        let ready = broken.as_ref().unwrap_or(&self.ready);
        self.registration.redirect(recipient, handler_of(ready, handler))?;
        if !self.input.is_empty() || self.input.has_ended {
            self.registration.call_again(Flags(Flags::READABLE));
        }
        Ok(())
    }

    /// Returns the parts of the stream: its registration, whose handler stays, and its input and
    /// output.
    pub fn into_parts(mut self) -> (Registration<S>, Input, Output) {
        self.registration.set_ends_by_close(false);
        (self.registration, self.input, self.output)
    }
}

/// The handler of a registration: notes what is ready, and calls that of the stream.
fn handler_of<T: 'static>(
    ready: &Rc<Cell<Flags>>,
    handler: impl Fn(&mut T, &Context<'_, T>) + 'static,
) -> impl Fn(&mut T, &Context<'_, T>, &Readiness<'_>) + 'static {
    let ready = Rc::clone(ready);
    move |value, cx, reported| {
        ready.set(ready.get().merge(reported.flags()));
        handler(value, cx);
    }
}

impl<S: StreamSource + fmt::Debug> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("source", self.source())
            .field("input", &self.input)
            .field("output", &self.output)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
