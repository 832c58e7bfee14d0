//! Functions of the host, and the data that they work on.

use std::ffi::c_void;

use crate::status::fail;

pub(crate) type DropFunction = Option<unsafe extern "C" fn(*mut c_void)>;
pub(crate) type Function = unsafe extern "C" fn(*mut c_void) -> i32;
pub(crate) type ReadyFunction = unsafe extern "C" fn(*mut c_void, u32) -> i32;

/// Data of the host's, which goes by its drop function, once.
pub(crate) struct Data {
    pub(crate) pointer: *mut c_void,
    drop: DropFunction,
}

impl Data {
    /// # Safety
    ///
    /// `drop` must be sound to call once with `pointer`, and must not unwind.
    pub(crate) const unsafe fn new(pointer: *mut c_void, drop: DropFunction) -> Self {
        Self { pointer, drop }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: by the contract of `new`; this is the only call, as `Data` is dropped once.
            unsafe { drop(self.pointer) }
        }
    }
}

/// A handler for one call.
pub(crate) struct Handler {
    function: Function,
    data: Data,
}

impl Handler {
    /// # Safety
    ///
    /// `function` must be sound to call with the pointer of `data`, and must not unwind.
    pub(crate) const unsafe fn new(function: Function, data: Data) -> Self {
        Self { function, data }
    }

    /// Runs the handler, then drops its data. A handler that fails unwinds.
    pub(crate) fn run(self) {
        // SAFETY: by the contract of `new`; the data has not been dropped.
        let result = unsafe { (self.function)(self.data.pointer) };
        drop(self);
        if result < 0 {
            fail();
        }
    }
}

/// A handler on its way to the reactor's thread.
pub(crate) struct Sent(Handler);

// SAFETY: the header asks for a function and data that may go to the reactor's thread, and be dropped there
// or, if the call is not sent, on the thread that calls `sb_remote_call`.
unsafe impl Send for Sent {}

impl Sent {
    pub(crate) const fn new(handler: Handler) -> Self {
        Self(handler)
    }

    /// (Takes all of `self`, so that a closure captures all of it.)
    pub(crate) fn run(self) {
        self.0.run();
    }
}
