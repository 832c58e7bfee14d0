//! What benches share with the crate of the peers (`peers/`), as a library.

pub mod criteria;
pub mod work;
