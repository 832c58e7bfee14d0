//! Sequences of acts, on the queue and on a model of its rules, compared.

mod act;
mod check;
mod model;
mod play;
mod shrink;
mod walk;

pub use act::*;
pub use check::holds;
pub use walk::{Sequence, every};

/// What a sequence is played on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    pub observed: bool,
    /// Whether there is a wake hook.
    pub hooked: bool,
    /// What the wake hook does.
    pub hook: Option<&'static Act>,
    /// How many calls may be pending.
    pub capacity: usize,
    /// Whether recipients defer plain calls too.
    pub defers: bool,
    /// What the values of recipients do as they drop.
    pub value: Option<&'static Act>,
}

/// Nothing looks on, as usual.
pub const BARE: Setup = Setup {
    observed: false,
    hooked: false,
    hook: None,
    capacity: usize::MAX,
    defers: false,
    value: None,
};

/// Everything is reported.
pub const WATCHED: Setup = Setup { observed: true, hooked: true, ..BARE };

/// The end of every sequence, after which all callbacks and recipients are dropped.
const END: [Act; 2] = [Dial(All), Close];

/// What happens, in the queue or in the model; calls by their number in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    // Steps that the observer sees.
    Created(u16),
    Scheduled(u16),
    Dialed(u16),
    Finished(u16),
    Canceled(u16),
    LateCancel(u16),
    RefusedAsGone(u16),
    /// With the call that is live.
    RefusedAsLive(u16, u16),
    /// With the call that is live.
    Deferred(u16, u16),
    RefusedByCheck(u16),
    RefusedAsFull(u16),
    Abandoned(u16),
    Panicked(u16),
    /// Of a call that the queue made up.
    Unknown,
    // What code of users sees.
    Entered(u16),
    Dropped(u16),
    /// The value of the recipient, by its number, dropped.
    ValueDropped(u16),
    Woken,
    // What acts return.
    Took(u16),
    CanceledNow(u16),
    CanceledAlready(u16),
    CanceledTooLate(u16),
    CanceledForeign,
    /// Dialed, canceled, refused, remaining; whether the queue is idle then.
    Reported([u16; 4], bool),
    /// A panic came out of an act of the sequence.
    Unwound,
    /// After each act of the sequence: the tally from `unscheduled` on, and how many of the values
    /// that callbacks were answered with are not dropped.
    Counts([u16; 8], u16),
}
