//! Operations. One hazard a module.

mod operation_ends;
mod operations;
mod ops;
