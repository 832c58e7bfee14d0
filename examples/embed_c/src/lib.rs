//! A C ABI around the reactor. `switchboard.h` says what each function does, and is its contract.
//!
//! - I1 Data is wrapped first thing in a function, so that each way out of it drops it (see `handler.rs`).
//! - I2 Only a turn borrows the reactor; everything else goes by its handle. So handlers may call anything,
//!   and what they must not call returns `SB_IN_TURN`.
//! - I3 What has a C caller runs in `guard`, so that no panic crosses the ABI.
//! - I4 A function that uses a reactor counts a reference to it, as a drop function that it calls may free it.
//!
//! The contract of all functions, for their `unsafe`: a pointer to a reactor, watch or remote is null, or came
//! from its `_new` and has not been freed; a pointer to write to is null, or valid for a write; a handler and a drop
//! function are sound to call with `data` on the reactor's thread, and neither unwinds.

#![expect(clippy::missing_safety_doc, reason = "the contract of all functions is the one above")]

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::{CallId, Cancellation, Report, ScheduleErrorKind};

use handler::{Data, DropFunction, Function, Handler};
use status::{Status, guard};

mod handler;
mod remote;
mod status;
mod watch;

pub struct SbReactor {
    /// `None` once it is being freed.
    reactor: RefCell<Option<Reactor>>,
    handle: ReactorHandle,
    descriptor: RawFd,
    /// The upper half of the ids of its calls.
    queue: u128,
    thread: ThreadId,
}

impl SbReactor {
    fn new() -> Result<Self, Status> {
        let mut reactor = Reactor::new()?;
        let handle = reactor.handle();
        let queue = handle.queue().call(|_| ()).to_bits() & !u128::from(u64::MAX);
        reactor.turn(Some(Duration::ZERO))?;
        let descriptor = reactor.as_fd().as_raw_fd();
        let thread = thread::current().id();
        Ok(Self { reactor: RefCell::new(Some(reactor)), handle, descriptor, queue, thread })
    }

    /// # Safety
    ///
    /// That of the ABI, for `reactor`.
    unsafe fn get(reactor: *const Self) -> Result<Rc<Self>, Status> {
        // SAFETY: it is null or not freed. On other threads only `thread` is read, which never changes.
        let this = unsafe { reactor.as_ref() }.ok_or(Status::NULL)?;
        if this.thread != thread::current().id() {
            return Err(Status::WRONG_THREAD);
        }
        // SAFETY: it came from `Rc::into_raw`, and its first reference is not dropped before it is freed.
        unsafe { Rc::increment_strong_count(reactor) };
        // SAFETY: as above, and the reference is the one that was just counted (I4).
        Ok(unsafe { Rc::from_raw(reactor) })
    }

    /// Does what a turn must not be in progress for.
    fn own<R>(&self, act: impl FnOnce(&mut Reactor) -> R) -> Result<R, Status> {
        let mut reactor = self.reactor.try_borrow_mut().map_err(|_| Status::IN_TURN)?;
        reactor.as_mut().map(act).ok_or(Status::CLOSED)
    }

    fn open(&self) -> Result<&ReactorHandle, Status> {
        if self.handle.queue().is_closed() { Err(Status::CLOSED) } else { Ok(&self.handle) }
    }
}

/// The lower half of an id: the upper one is the queue's.
const fn word(id: CallId) -> u64 {
    id.to_bits() as u64
}

/// Writes a result, unless the caller passed null.
///
/// # Safety
///
/// `place` must be null or valid for a write.
unsafe fn write<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: not null, so valid by the contract.
        unsafe { place.write(value) }
    }
}

/// Writes a result that the caller must take.
///
/// # Safety
///
/// `place` must be null or valid for a write.
unsafe fn write_required<T>(place: *mut T, value: T) -> Result<(), Status> {
    if place.is_null() {
        return Err(Status::NULL);
    }
    // SAFETY: not null, so valid by the contract.
    unsafe { place.write(value) };
    Ok(())
}

#[unsafe(no_mangle)]
pub extern "C" fn sb_status_text(status: Status) -> *const c_char {
    status.text().as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_reactor_new(reactor: *mut *mut SbReactor) -> Status {
    guard(|| {
        if reactor.is_null() {
            return Err(Status::NULL);
        }
        let new = Rc::into_raw(Rc::new(SbReactor::new()?));
        // SAFETY: by the contract of the ABI.
        unsafe { write(reactor, new.cast_mut()) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_reactor_free(reactor: *mut SbReactor) -> Status {
    guard(|| {
        if reactor.is_null() {
            return Ok(());
        }
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let ended = this.reactor.try_borrow_mut().map_err(|_| Status::IN_TURN)?.take();
        // Drop functions that run now may call the ABI, which finds the reactor closed; a second free within
        // the first does nothing.
        drop(ended.ok_or(Status::CLOSED)?);
        // SAFETY: it came from `Rc::into_raw`, and this is the only call that found a reactor to take. Functions
        // that still use it count references of their own (I4).
        drop(unsafe { Rc::from_raw(reactor) });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_call(
    reactor: *const SbReactor,
    function: Option<Function>,
    data: *mut c_void,
    drop: DropFunction,
    id: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI (I1).
        let data = unsafe { Data::new(data, drop) };
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        // SAFETY: by the contract of the ABI.
        let handler = unsafe { Handler::new(function.ok_or(Status::NULL)?, data) };
        let scheduled = this.handle.queue().try_call(move |_| handler.run());
        let call = scheduled.map_err(|error| match error.into_kind() {
            ScheduleErrorKind::QueueDropped => Status::CLOSED,
            _ => Status::PANICKED, // the queue has no limit, and ids are not used up in a lifetime
        })?;
        // SAFETY: by the contract of the ABI.
        unsafe { write(id, word(call)) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_after(
    reactor: *const SbReactor,
    nanoseconds: u64,
    function: Option<Function>,
    data: *mut c_void,
    drop: DropFunction,
    id: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI (I1).
        let data = unsafe { Data::new(data, drop) };
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let handle = this.open()?;
        // SAFETY: by the contract of the ABI.
        let handler = unsafe { Handler::new(function.ok_or(Status::NULL)?, data) };
        let callback = handle.queue().callback(move |_, ()| handler.run());
        // SAFETY: by the contract of the ABI.
        unsafe { write(id, word(callback.id())) };
        handle.after(Duration::from_nanos(nanoseconds), callback).detach(); // its id cancels it
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_cancel(reactor: *const SbReactor, id: u64) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let call = CallId::from_bits(this.queue | u128::from(id)).ok_or(Status::LATE)?;
        match this.handle.queue().cancel(call, "canceled by the host") {
            Cancellation::Canceled => Ok(()),
            Cancellation::Already | Cancellation::Late | Cancellation::Foreign => Err(Status::LATE),
        }
    })
}

/// A turn in C's words.
#[repr(C)]
pub struct SbReport {
    dialed: u64,
    canceled: u64,
    refused: u64,
    remaining: u64,
}

impl From<Report> for SbReport {
    fn from(Report { dialed, canceled, refused, remaining, .. }: Report) -> Self {
        Self { dialed, canceled, refused, remaining }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_turn(reactor: *const SbReactor, report: *mut SbReport) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let turn = this.own(|reactor| reactor.turn(Some(Duration::ZERO)))??;
        // SAFETY: by the contract of the ABI.
        unsafe { write(report, turn.into()) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_turn_within(
    reactor: *const SbReactor,
    nanoseconds: u64,
    report: *mut SbReport,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let turn = this.own(|reactor| reactor.turn_within(Duration::from_nanos(nanoseconds)))??;
        // SAFETY: by the contract of the ABI.
        unsafe { write(report, turn.into()) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_set_budget(reactor: *const SbReactor, calls: u64) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let handle = this.open()?;
        if calls == 0 {
            return Err(Status::NULL);
        }
        handle.set_budget(usize::try_from(calls).unwrap_or(usize::MAX));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_fd(reactor: *const SbReactor, fd: *mut i32) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        this.open()?;
        // SAFETY: by the contract of the ABI.
        unsafe { write_required(fd, this.descriptor) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_poll_timeout(
    reactor: *const SbReactor,
    nanoseconds: *mut i64,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let timeout = this.open()?.poll_timeout();
        let timeout = timeout.map_or(-1, |it| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX));
        // SAFETY: by the contract of the ABI.
        unsafe { write_required(nanoseconds, timeout) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_signal_when_due(reactor: *const SbReactor) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        Ok(this.own(Reactor::signal_when_due)??)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_set_wake_hook(
    reactor: *const SbReactor,
    wake: Option<unsafe extern "C" fn(*mut c_void)>,
    data: *mut c_void,
    drop: DropFunction,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI (I1).
        let data = unsafe { Data::new(data, drop) };
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let handle = this.open()?;
        let wake = wake.ok_or(Status::NULL)?;
        handle.queue().set_wake_hook(move || {
            let data = &data; // all of it, not its pointer alone
            // SAFETY: by the contract of the ABI; the data is dropped with the hook.
            unsafe { wake(data.pointer) }
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_failed_count(reactor: *const SbReactor, count: *mut u64) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        // SAFETY: by the contract of the ABI.
        unsafe { write_required(count, this.handle.queue().tally().panicked) }
    })
}
