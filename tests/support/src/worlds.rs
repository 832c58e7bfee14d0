//! The worlds of stories, and the stories that are played on them.

pub mod books;
mod ids;
#[cfg(feature = "mio")]
mod operations;
pub mod sequences;
#[cfg(all(feature = "mio", feature = "testing"))]
mod simulation;
#[cfg(all(unix, feature = "mio"))]
mod sockets;
#[cfg(feature = "mio")]
mod timers;
mod user_code;

use crate::story::Story;

/// Ids that are kept for good.
pub const IDS: Story = Story::of::<ids::Ids>("ids", 300, 0, 4);

/// Operations over a layer that fails, beside a model.
#[cfg(feature = "mio")]
pub const OPERATIONS: Story = Story::of::<operations::Operations>("operations", 300, 300, 3);

/// Sequences of acts on the queue, beside a model.
pub const SEQUENCES: Story = Story::of::<sequences::Sequence>("sequences", 1000, 50_000, 6);

/// A whole loop on a scripted reactor, in which everything goes wrong.
#[cfg(all(feature = "mio", feature = "testing"))]
pub const SIMULATION: Story = Story::of::<simulation::Simulation>("simulation", 10_000, 100, 2);

/// A reactor on real sockets, and a queue beside it, with user code that does anything.
#[cfg(all(unix, feature = "mio"))]
pub const SOCKETS: Story = Story::of::<sockets::Sockets>("sockets", 1200, 300, 5);

/// Timers beside a list of them.
#[cfg(feature = "mio")]
pub const TIMERS: Story = Story::of::<timers::Timers>("timers", 300, 300, 3);

/// User code that acts, or panics, wherever the queue runs it.
pub const USER_CODE: Story = Story::of::<user_code::UserCode>("user_code", 2000, 300, 4);
