//! The states of an operation, as a pure function.

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpState {
    /// Started, no result yet.
    Running,
    /// Canceled, no result yet.
    Canceling,
    /// The result is fixed: its call to the upper callback is scheduled. (Or the start was declined,
    /// and there is none.)
    Completed,
}

/// What can happen to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpEvent {
    /// Its owner cancels it.
    Cancel,
    /// Its module has a result.
    Complete,
}

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpAction {
    /// Run the module's cancel hook.
    RunHook,
    /// Answer the upper callback.
    Answer,
    /// Nothing: the same was asked before.
    Already,
    /// Nothing: the result is fixed.
    Late,
}

impl OpState {
    pub(super) const fn on(self, event: OpEvent) -> (Self, OpAction) {
        match (self, event) {
            (Self::Running, OpEvent::Cancel) => (Self::Canceling, OpAction::RunHook),
            (Self::Canceling, OpEvent::Cancel) => (Self::Canceling, OpAction::Already),
            (Self::Running | Self::Canceling, OpEvent::Complete) => {
                (Self::Completed, OpAction::Answer)
            }
            (Self::Completed, _) => (Self::Completed, OpAction::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OpAction::{Already, Answer, Late, RunHook};
    use super::OpEvent::{Cancel, Complete};
    use super::OpState::{Canceling, Completed, Running};

    #[test]
    fn every_state_answers_every_event() {
        assert_eq!(Running.on(Cancel), (Canceling, RunHook));
        assert_eq!(Running.on(Complete), (Completed, Answer));
        assert_eq!(Canceling.on(Cancel), (Canceling, Already));
        assert_eq!(Canceling.on(Complete), (Completed, Answer));
        assert_eq!(Completed.on(Cancel), (Completed, Late));
        assert_eq!(Completed.on(Complete), (Completed, Late));
    }
}
