//! The queue: calls, callbacks, recipients and their rules. One hazard a module.

mod bounded;
mod cancel;
mod captures;
mod drop;
mod faults;
mod futures;
mod ids;
mod order;
mod panic;
mod reentrancy;
mod rules;
mod storage;
mod user_code;
mod wake;
