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

/// How often a handler reads and writes before it lets others have their turn: 256 KiB, at most.
pub(super) const ROUNDS: usize = 4;

/// A source, registered, that reads into an [`Input`] and writes from an [`Output`], each within a limit.
///
/// Its handler is called when the source is ready, and calls [`drive`](Self::drive), which reads, lets the
/// caller deal with what has come, and writes, until the source would block. What cannot be written waits
/// in the output; while the output is full nothing is taken off the input, and while the input is full
/// nothing is read. So a peer that does not read costs a bounded buffer, and it is its own stream that
/// waits.
///
/// Each direction ends by itself: the peer's end is [`Input::has_ended`], the own one is asked for by
/// [`Output::finish`]. An error ends both. To end the stream at once, drop it.
///
/// Cost: one allocation for the registration. A stream that waits holds what waits in its buffers, and no
/// more room than four times that; buffers of 64 KiB to read into are shared by all streams of a reactor.
/// No system call beside the reads and writes, and no read that is known to find nothing; dropping it takes
/// one, the close ([`StreamSource::is_deregistered_by_drop`]).
///
/// # Examples
///
/// See the [module](crate::streams).
#[must_use = "dropping a stream closes its source"]
pub struct Stream<S: StreamSource> {
    pub(super) registration: Registration<S>,
    /// What the source was reported ready for, and no attempt has found to block. The stream knows more than
    /// its registration, to which it need not report each attempt: that its source is empty, say.
    pub(super) ready: Rc<Cell<Flags>>,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) error: Option<io::Error>,
}

/// How a [`Stream`] is.
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
    /// Whether nothing is to come any more.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Open)
    }
}

impl<S: StreamSource> Stream<S> {
    /// Registers `source` for both directions: from now on its readiness becomes calls of `handler` to
    /// `recipient`, which is to [drive](Self::drive) the stream.
    ///
    /// # Errors
    ///
    /// As [`ReactorHandle::register`].
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

    /// Makes a stream of a source that is registered already, for both directions: what an operation has
    /// connected ([`Socket::into_registration`](crate::samples::Socket::into_registration)), say. Its
    /// readiness comes along, and as with [`redirect`](Self::redirect) the recipient is called of it; it
    /// takes no system call.
    ///
    /// # Errors
    ///
    /// As [`Registration::redirect`]. The source is closed then.
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

    /// Reads, lets `process` deal with what has come, and writes what it has put out: again and again,
    /// until the source would block or the buffers are full. If the peer keeps it busy, others have their
    /// turn in between, and the handler is called again.
    ///
    /// `process` is called at least once, even if nothing has come, and again whenever there is new input
    /// or the output has gone down to its low water. What it leaves in the input is there the next time.
    ///
    /// It may be called in any handler: once there is something to write, say.
    #[inline]
    pub fn drive(&mut self, mut process: impl FnMut(&mut Input, &mut Output)) -> StreamStatus {
        for _ in 0..ROUNDS {
            self.read();
            self.output.is_driven = true;
            process(&mut self.input, &mut self.output);
            let was_above_low = self.output.is_above_low();
            self.write();
            let may_read = self.may_read();
            let goes_on = may_read && !self.input.is_full();
            if !(goes_on || was_above_low && !self.output.is_above_low()) {
                return self.settle_if(may_read);
            }
        }
        self.ask_again();
        self.status()
    }

    /// Reads once, if the source is ready and the input has room. Returns whether that changed anything:
    /// something has come, or the end, or an error.
    ///
    /// For loops other than [`drive`](Self::drive): one over two streams, say. Such a loop goes on until
    /// both this and [`flush`](Self::flush) change nothing: a flush makes room for what is to be done with
    /// the input. It ends with [`settle`](Self::settle), or with [`again`](Self::again) if it has taken long.
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

    /// Writes the output, until it is empty or the source would block; then closes the own side, if that
    /// was [asked for](Output::finish). Returns whether that changed anything.
    pub fn flush(&mut self) -> bool {
        let changed = self.write();
        self.output.release();
        changed
    }

    /// Ends a loop of [`fill`](Self::fill) and [`flush`](Self::flush): nothing is to be done before the
    /// handler is called again. The stream gives back the room that it does not need. Returns its status.
    pub fn settle(&mut self) -> StreamStatus {
        self.settle_if(self.may_read())
    }

    /// Has the handler called again, behind the others: for a loop that lets them have their turn.
    pub fn again(&self) {
        self.ask_again();
    }

    /// Writes these parts at once, if nothing waits in the output; what the source does not take waits
    /// there, as far as there is room. Returns how many bytes were taken in all.
    ///
    /// For what is large, or lies in several places: unlike [`Output::push`], it copies only what has to
    /// wait.
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
    /// let _greeter = reactor.queue().try_recipient_with(|own| {
    ///     let stream = Stream::new(&reactor, socket, own, |greeter: &mut Greeter, _| {
    ///         if !greeter.is_greeted {
    ///             greeter.is_greeted = true;
    ///             greeter.stream.send(&[IoSlice::new(b"hello, "), IoSlice::new(b"you")]);
    ///         }
    ///         let _ = greeter.stream.drive(|input, _| input.consume(input.len()));
    ///     })?;
    ///     Ok::<_, Box<dyn std::error::Error>>(Greeter { stream, is_greeted: false })
    /// })?;
    /// let _ = reactor.turn(None)?;
    /// let mut text = [0; 10];
    /// peer.read_exact(&mut text)?;
    /// assert_eq!(&text, b"hello, you");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let mut taken = 0;
        if self.output.is_empty() && self.output.room() > 0 && self.can_write() {
            let written = self.source_mut().write_vectored(parts);
            taken = self.note_written(written);
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

    /// How the stream is.
    pub fn status(&self) -> StreamStatus {
        if self.error.is_some() {
            StreamStatus::Broken
        } else if self.input.is_over() && self.output.is_over() {
            StreamStatus::Over
        } else {
            StreamStatus::Open
        }
    }

    /// What has been read, and what is to be written, to be changed. Output is written by the next
    /// [`drive`](Self::drive) or [`flush`](Self::flush).
    pub const fn buffers(&mut self) -> (&mut Input, &mut Output) {
        (&mut self.input, &mut self.output)
    }

    /// What has been read.
    pub const fn input(&self) -> &Input {
        &self.input
    }

    /// What is to be written.
    pub const fn output(&self) -> &Output {
        &self.output
    }

    /// What has ended the stream, if it is broken.
    pub const fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// How many bytes were read: those that were consumed, and those in the input.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes were written. Those in the output of a broken stream never will be.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// The source.
    pub fn source(&self) -> &S {
        self.registration.source()
    }

    /// The source, to set its options. What is read or written here goes past the buffers.
    pub fn source_mut(&mut self) -> &mut S {
        self.registration.source_mut()
    }

    /// The registration: to let the loop end without it ([`Registration::unref`]), say.
    pub const fn registration(&self) -> &Registration<S> {
        &self.registration
    }

    /// Hands the stream over to another recipient, which is called if the source is ready or the input
    /// holds something. Buffers and readiness come along; it takes no system call.
    ///
    /// # Errors
    ///
    /// As [`Registration::redirect`].
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
        self.registration.redirect(recipient, handler_of(&self.ready, handler))?;
        if !self.input.is_empty() || self.input.has_ended {
            self.registration.call_again(Flags(Flags::READABLE));
        }
        Ok(())
    }

    /// Takes the stream apart: its registration, whose handler stays as it is, what was read and not
    /// consumed, and what was to be written.
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
