//! Calls from other threads.

use std::ffi::c_void;

use switchboard::reactor::{Remote, SendError};

use crate::SbReactor;
use crate::handler::{Data, DropFunction, Function, Handler, Sent};
use crate::status::{Status, guard};

pub struct SbRemote(Remote);

// Threads share it by its address.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<SbRemote>();
};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_remote_new(
    reactor: *const SbReactor,
    remote: *mut *mut SbRemote,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI.
        let this = unsafe { SbReactor::get(reactor)? };
        let handle = this.open()?;
        if remote.is_null() {
            return Err(Status::NULL);
        }
        let new = Box::into_raw(Box::new(SbRemote(handle.remote())));
        // SAFETY: not null, so valid by the contract of the ABI.
        unsafe { remote.write(new) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_remote_call(
    remote: *const SbRemote,
    function: Option<Function>,
    data: *mut c_void,
    drop: DropFunction,
) -> Status {
    guard(|| {
        // SAFETY: by the contract of the ABI (I1).
        let data = unsafe { Data::new(data, drop) };
        // SAFETY: null or not freed.
        let remote = unsafe { remote.as_ref() }.ok_or(Status::NULL)?;
        // SAFETY: by the contract of the ABI.
        let handler = unsafe { Handler::new(function.ok_or(Status::NULL)?, data) };
        let sent = Sent::new(handler);
        remote.0.call(move |_| sent.run()).map_err(|error| match error {
            SendError::NotWoken { source, .. } => source.into(),
            _ => Status::CLOSED, // it has no bound
        })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn sb_remote_free(remote: *mut SbRemote) -> Status {
    guard(|| {
        if !remote.is_null() {
            // SAFETY: it came from `Box::into_raw`, and is freed once.
            drop(unsafe { Box::from_raw(remote) });
        }
        Ok(())
    })
}
