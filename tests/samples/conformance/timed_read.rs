//! A module as users write theirs: a read that gives up after a while.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::net::UnixStream;
use switchboard::conformance::{Started, Subject, Timing};
use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::reactor::{ReactorHandle, Registration, Timer};
use switchboard::{Callback, Recipient};

/// Reads a byte from a socket, within a second.
pub(crate) struct TimedRead {
    reactor: ReactorHandle,
    reader: Rc<Recipient<()>>,
    open: Cell<bool>,
}

type ReadOperation = Operation<Reading, u8, io::Error>;

struct Reading {
    /// Both are there while the operation runs.
    socket: RefCell<Option<Registration<UnixStream>>>,
    timer: Cell<Option<Timer>>,
    _reader: Rc<Recipient<()>>,
}

impl TimedRead {
    pub(crate) fn new(reactor: ReactorHandle) -> Self {
        let reader = Rc::new(reactor.queue().recipient(()));
        Self { reactor, reader, open: Cell::new(false) }
    }

    fn read(
        &self,
        socket: UnixStream,
        done: Callback<OpResult<u8, io::Error>>,
    ) -> io::Result<AsyncOp> {
        if !self.open.get() {
            done.decline("not open");
            return Err(io::ErrorKind::NotConnected.into());
        }
        let _reader = Rc::clone(&self.reader);
        let context = Reading { socket: RefCell::default(), timer: Cell::default(), _reader };
        let op = ReadOperation::new(done, context, |op| end(op, Err(OpError::Canceled)));
        let read = op.clone();
        let registered =
            self.reactor.register(socket, Interest::READABLE, &self.reader, move |(), _, _| {
                on_ready(&read);
            });
        match registered {
            Ok(registration) => drop(op.context().socket.replace(Some(registration))),
            Err(error) => {
                op.decline("not registered");
                return Err(io::Error::other(error.split().1));
            }
        }
        let late = op.clone();
        let due = self.reader.callback(move |(), _, ()| {
            end(&late, Err(OpError::Failed(io::ErrorKind::TimedOut.into())));
        });
        op.context().timer.set(Some(self.reactor.after(Duration::from_secs(60), due)));
        Ok(op.handle())
    }
}

fn on_ready(op: &ReadOperation) {
    let mut byte = [0];
    let read = match &mut *op.context().socket.borrow_mut() {
        Some(socket) => socket.source_mut().read_exact(&mut byte),
        None => return,
    };
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => end(op, Err(OpError::Failed(error))),
        Ok(()) => end(op, Ok(byte[0])),
    }
}

fn end(op: &ReadOperation, result: OpResult<u8, io::Error>) {
    let socket = op.context().socket.take();
    drop((socket, op.context().timer.take()));
    let _ = op.complete(result);
}

impl Subject for TimedRead {
    type Answer = u8;
    type Error = io::Error;

    fn open(&self) {
        self.open.set(true);
    }

    fn close(&self) {
        self.open.set(false);
    }

    fn start(
        &self,
        ready: Timing,
        done: Callback<OpResult<u8, io::Error>>,
    ) -> Result<Started, Box<dyn Error>> {
        let (ours, mut theirs) = UnixStream::pair()?;
        if ready == Timing::AtOnce {
            theirs.write_all(b"x")?;
        }
        let op = self.read(ours, done)?;
        // No one reads it after a cancel.
        Ok(Started::new(op).with_trigger(move || drop(theirs.write_all(b"x"))))
    }
}
