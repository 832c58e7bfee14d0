//! The samples, each by itself and in all their compositions, and the checks of the feature
//! `conformance`. One hazard a module.
#![cfg(feature = "mio")]

#[cfg(unix)]
mod completion;
#[cfg(all(unix, feature = "conformance"))]
mod conformance;
mod deadline;
mod first_and_map;
mod hl_cancel_all;
mod hl_closings;
mod hl_panics;
mod layers;
mod ll_fake_cancel;
#[cfg(unix)]
mod ll_io;
#[cfg(all(unix, feature = "testing"))]
mod ll_io_faults;
mod ll_real_cancel;
mod ll_real_cancel_faults;
mod long;
mod ml_chain;
mod ml_retries;
mod ml_retries_backoff;
#[cfg(unix)]
mod reentrancy;
#[cfg(unix)]
mod scenarios;
#[cfg(all(unix, feature = "testing"))]
mod scripted;
