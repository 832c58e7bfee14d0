//! What functions return, and the end of panics.

use std::any::Any;
use std::ffi::CStr;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};

/// `SB_OK` and the other codes of the header, or a negated errno.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub(crate) i32);

impl Status {
    pub(crate) const OK: Self = Self(0);
    pub(crate) const FAILED: Self = Self(1);
    pub(crate) const PANICKED: Self = Self(2);
    pub(crate) const NULL: Self = Self(3);
    pub(crate) const WRONG_THREAD: Self = Self(4);
    pub(crate) const IN_TURN: Self = Self(5);
    pub(crate) const CLOSED: Self = Self(6);
    pub(crate) const LATE: Self = Self(7);

    pub(crate) const fn text(self) -> &'static CStr {
        match self {
            Self::OK => c"no error",
            Self::FAILED => c"a handler failed; the next turn goes on with the other calls",
            Self::PANICKED => c"the library panicked, which is a bug",
            Self::NULL => c"an argument is null or has no valid value",
            Self::WRONG_THREAD => c"not the thread that made the reactor",
            Self::IN_TURN => c"a turn is in progress",
            Self::CLOSED => c"the reactor is freed",
            Self::LATE => c"nothing to cancel: the call is live, over or canceled",
            Self(code) if code < 0 => c"the system failed: negate the status for its errno",
            Self(_) => c"not a status",
        }
    }
}

impl From<io::Error> for Status {
    fn from(error: io::Error) -> Self {
        // An error of the library's own has no errno: EIO.
        Self(-error.raw_os_error().filter(|errno| *errno > 0).unwrap_or(5))
    }
}

/// The payload of the unwinding that a failed handler begins.
struct Failed;

/// Ends the handler's call as one that panicked.
pub(crate) fn fail() -> ! {
    panic::resume_unwind(Box::new(Failed)) // which calls no panic hook
}

/// Runs what a function of the ABI does: no panic gets past it.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Status>) -> Status {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Status::OK,
        Ok(Err(status)) => status,
        Err(payload) => status_of(payload),
    }
}

fn status_of(payload: Box<dyn Any + Send>) -> Status {
    match payload.downcast::<Failed>() {
        Ok(_) => Status::FAILED,
        Err(unknown) => {
            mem::forget(unknown); // its drop might panic
            Status::PANICKED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_panic_gets_past_the_guard() {
        struct PanicsOnDrop;

        impl Drop for PanicsOnDrop {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }

        assert_eq!(guard(|| panic::resume_unwind(Box::new(PanicsOnDrop))), Status::PANICKED);
        assert_eq!(guard(|| fail()), Status::FAILED);
        assert_eq!(guard(|| Err(io::Error::from_raw_os_error(9).into())), Status(-9));
        assert_eq!(guard(|| Err(io::Error::other("no errno").into())), Status(-5));
        assert_eq!(guard(|| Ok(())), Status::OK);
    }
}
