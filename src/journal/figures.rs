//! The counts of a journal.

use core::fmt;

use crate::journal::latency::Latency;

/// Counts and latencies of a [`Journal`](super::Journal) since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// The number of calls that took each step.
    pub counts: StepCounts,
    /// From schedule to dial. Of more calls pending at a time than the journal keeps steps, only of
    /// that number.
    pub waiting: Latency,
    /// From dial to return or unwind, nested calls included.
    pub handling: Latency,
    /// Steps that the journal does not hold any more.
    pub dropped_steps: u64,
}

/// The number of calls that took each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepCounts {
    /// Calls created.
    pub created: u64,
    /// Calls scheduled.
    pub scheduled: u64,
    /// Calls dialed.
    pub dialed: u64,
    /// Calls whose handler returned.
    pub finished: u64,
    /// Calls canceled before they were dialed.
    pub canceled: u64,
    /// Attempts to cancel a call too late.
    pub late_cancels: u64,
    /// Calls refused.
    pub refused: u64,
    /// Callbacks dropped without being called.
    pub abandoned: u64,
    /// Calls whose handler unwound.
    pub panicked: u64,
    /// Readiness calls whose handler did not drain its source.
    pub undrained: u64,
    /// Operations started.
    pub operations: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepCounts { created, scheduled, dialed, finished, canceled, .. } = self.counts;
        let StepCounts { late_cancels, refused, abandoned, panicked, operations, .. } = self.counts;
        writeln!(
            f,
            "calls       {created} created, {scheduled} scheduled, {dialed} dialed, \
             {finished} finished"
        )?;
        writeln!(
            f,
            "            {canceled} canceled, {refused} refused, {abandoned} abandoned, \
             {panicked} panicked, {late_cancels} canceled too late"
        )?;
        writeln!(f, "operations  {operations} started")?;
        writeln!(f, "waiting     {}", self.waiting)?;
        write!(f, "handlers    {}", self.handling)
    }
}
