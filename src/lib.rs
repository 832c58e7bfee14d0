//! switchboard
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "mio"))]
extern crate std;

mod call;
mod callback;
mod error;
mod observe;
pub mod op;
mod queue;
#[cfg(feature = "mio")]
pub mod reactor;
mod recipient;
#[cfg(feature = "mio")]
pub mod samples;
mod slots;

pub use call::{Call, CallId, Refusal};
pub use callback::Callback;
#[cfg(feature = "mio")]
pub use error::RegisterError;
pub use error::ScheduleError;
pub use observe::{Observer, RecipientInfo, Step, Tally};
pub use queue::{Budget, CallQueue, Cancellation, QueueHandle, Report};
pub use recipient::{Address, Line, Recipient};
