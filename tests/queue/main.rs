//! The queue: calls, callbacks, recipients and their rules. One hazard a module.

mod bounded;
mod cancel;
mod captures;
mod drop;
mod faults;
mod futures;
mod ids;
mod mapped;
mod names;
mod order;
mod panic;
mod promises;
mod recipients;
mod reentrancy;
mod reporter;
mod rules;
#[cfg(feature = "mio")] // which has `std`: else a second panic aborts
mod second_panic;
mod storage;
mod traits;
#[cfg(feature = "mio")]
mod unwinding;
mod user_code;
mod wake;
