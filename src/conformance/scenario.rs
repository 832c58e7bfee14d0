//! The scenarios: their coordinates, and all combinations of them.

use core::fmt;

/// One way to run operations: when what happens to how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scenario {
    /// What happens to the operations.
    pub ending: Ending,
    /// When it happens.
    pub moment: Cue,
    /// When they are ready.
    pub ready: Timing,
    /// How many are started at a time.
    pub operations: usize,
}

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It completes by itself. At the moment of the scenario its handle is dropped, which changes
    /// nothing (rule O5).
    Complete,
    /// It is canceled, at the moment of the scenario.
    Cancel,
}

/// How far an operation is when something happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cue {
    /// Not started: its module is not open yet.
    BeforeOpen,
    /// Its start function runs, in which the module is closed: at one step of a call or an operation after the
    /// other, on a new module each time.
    Starting,
    /// Started. If it is ready [later](Timing::Later) it is not ready yet, else no call has been
    /// dialed since the start.
    Waiting,
    /// The call that delivers its result is scheduled, not dialed yet.
    Completing,
    /// That call is live: this happens in its handler.
    InHandler,
    /// All operations of the scenario are over.
    After,
}

/// When an operation is ready to complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timing {
    /// When it is started.
    AtOnce,
    /// When its trigger is pulled, and not before.
    Later,
}

/// All scenarios, the simple ones first: those with the first of `sizes`, and those before open
/// last of these. The last of all closes the module as an operation starts.
pub(super) fn all(sizes: &[usize]) -> impl Iterator<Item = Scenario> {
    use Cue::{After, BeforeOpen, Completing, InHandler, Starting, Waiting};

    let (ending, ready) = (Ending::Cancel, Timing::Later);
    let last = Scenario { ending, moment: Starting, ready, operations: 1 };
    let moments = [Waiting, Completing, InHandler, After, BeforeOpen];
    let several = sizes.iter().flat_map(move |&operations| {
        moments.into_iter().flat_map(move |moment| {
            [Ending::Complete, Ending::Cancel].into_iter().flat_map(move |ending| {
                let readies = [Timing::AtOnce, Timing::Later].into_iter();
                readies.map(move |ready| Scenario { ending, moment, ready, operations })
            })
        })
    });
    several.chain([last])
}

impl Scenario {
    /// Whether it is for modules only that are to be opened.
    pub(super) const fn is_of_gates(&self) -> bool {
        matches!(self.moment, Cue::BeforeOpen | Cue::Starting)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ending, moment, ready, operations } = self;
        write!(f, "{ending} {moment}, ready {ready}, {operations} at a time")
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Cancel => "cancel",
        })
    }
}

impl fmt::Display for Cue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeOpen => "before open",
            Self::Starting => "while starting",
            Self::Waiting => "while waiting",
            Self::Completing => "while completing",
            Self::InHandler => "in the handler",
            Self::After => "after",
        })
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtOnce => "at once",
            Self::Later => "later",
        })
    }
}
