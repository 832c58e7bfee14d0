//! Descriptors of the host's whose readiness becomes calls.

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, RawFd};
use std::thread::{self, ThreadId};

use mio::Interest;
use switchboard::Recipient;
use switchboard::reactor::{FdSource, Readiness, RegisterError, Registration};

use crate::SbReactor;
use crate::handler::{Data, DropFunction, ReadyFunction};
use crate::status::{Status, fail, guard};

const READABLE: u32 = 1;
const WRITABLE: u32 = 2;
const READ_CLOSED: u32 = 4;
const WRITE_CLOSED: u32 = 8;
const ERROR: u32 = 16;

/// What `SB_AGAIN` is.
const AGAIN: i32 = 1;

pub struct SbWatch {
    _watch: Recipient<Watch>,
    thread: ThreadId,
}

struct Watch {
    // Fields drop in this order: no readiness is reported of data that is dropped.
    registration: Registration<FdSource<BorrowedFd<'static>>>,
    interest: Interest,
    function: ReadyFunction,
    data: Data,
}

impl Watch {
    fn on_ready(&mut self, readiness: &Readiness<'_>) {
        // SAFETY: by the contract of the ABI; the data is dropped with the watch, which the queue does not
        // drop while its handler runs.
        let result = unsafe { (self.function)(self.data.pointer, flags(readiness)) };
        match result {
            AGAIN => readiness.again(),
            // The host's reads and writes are not seen here: by the header it went on until they would block.
            0.. => self.registration.clear_readiness(self.interest),
            _ => fail(),
        }
    }
}

fn flags(readiness: &Readiness<'_>) -> u32 {
    [
        (readiness.is_readable(), READABLE),
        (readiness.is_writable(), WRITABLE),
        (readiness.is_read_closed(), READ_CLOSED),
        (readiness.is_write_closed(), WRITE_CLOSED),
        (readiness.is_error(), ERROR),
    ]
    .into_iter()
    .fold(0, |flags, (is_set, flag)| if is_set { flags | flag } else { flags })
}

const fn interest(flags: u32) -> Option<Interest> {
    match flags {
        READABLE => Some(Interest::READABLE),
        WRITABLE => Some(Interest::WRITABLE),
        3 => Some(Interest::READABLE.add(Interest::WRITABLE)),
        _ => None,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_watch_new(
    reactor: *const SbReactor,
    fd: RawFd,
    flags: u32,
    function: Option<ReadyFunction>,
    data: *mut c_void,
    drop: DropFunction,
    watch: *mut *mut SbWatch,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI (I1).
        let data = unsafe { Data::new(data, drop) };
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let handle = this.open()?;
        let (Some(function), Some(interest)) = (function, interest(flags)) else {
            return Err(Status::NULL);
        };
        if watch.is_null() || fd < 0 {
            return Err(Status::NULL);
        }
        // SAFETY: not -1; the header asks for a descriptor that is open until the watch is freed.
        let source = FdSource::from(unsafe { BorrowedFd::borrow_raw(fd) });
        let recipient = handle.queue().try_recipient_with(|own| {
            let registration =
                handle.register(source, interest, own, |watch: &mut Watch, _, ready| {
                    watch.on_ready(ready)
                });
            registration.map(|registration| Watch { registration, interest, function, data })
        });
        let recipient = recipient.map_err(|error| match error {
            RegisterError::Poll { source, .. } => source.into(),
            _ => Status::CLOSED,
        })?;
        let new = Box::new(SbWatch { _watch: recipient, thread: this.thread });
        // SAFETY: not null, so valid by the contract of the ABI.
        unsafe { watch.write(Box::into_raw(new)) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_watch_free(watch: *mut SbWatch) -> Status {
    guard(|| {
        // SAFETY: null or not freed. On other threads only `thread` is read, which never changes.
        let Some(this) = (unsafe { watch.as_ref() }) else { return Ok(()) };
        if this.thread != thread::current().id() {
            return Err(Status::WRONG_THREAD);
        }
        // SAFETY: it came from `Box::into_raw`, and is freed once.
        drop(unsafe { Box::from_raw(watch) });
        Ok(())
    })
}
