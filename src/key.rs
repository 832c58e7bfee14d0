//! Names of values that stand in slots.

/// Names one value, forever: the generation of a slot grows with each value that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Less than 2^31.
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}
