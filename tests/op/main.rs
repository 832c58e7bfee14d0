//! Operations. One hazard a module.

mod errors;
mod operation_ends;
mod operations;
mod ops;
