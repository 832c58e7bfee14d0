//! Counts of events, by their outcome.

use crate::tally::Count;

/// Counts of the events of a reactor's polls, by their outcome: [`events`](Self::events) =
/// [`delivered`](Self::delivered) + [`coalesced`](Self::coalesced) + [`stale`](Self::stale) +
/// [`foreign`](Self::foreign).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStats {
    /// Events received.
    pub events: u64,
    /// Events that led to a readiness call.
    pub delivered: u64,
    /// Events merged into the pending readiness call of the same source.
    pub coalesced: u64,
    /// Events dropped, as their source was gone or belongs to another guest of the poll.
    pub stale: u64,
    /// Events of no source of the reactor: wake-ups by other threads, and in a host's loop the host's
    /// own events.
    pub foreign: u64,
    /// Readiness calls whose handler left readiness that the poll does not report again: the last
    /// attempt by [`Registration::try_io`](crate::reactor::Registration::try_io) succeeded, and the
    /// handler neither asked to be called [`again`](crate::reactor::Readiness::again) nor
    /// [kept](crate::reactor::Readiness::keep) the rest. A bug of the handler, which may never be
    /// called again. (No event: not part of the sum.)
    pub undrained: u64,
}

#[derive(Default)]
pub(super) struct EventCounts {
    pub(super) delivered: Count,
    pub(super) coalesced: Count,
    pub(super) stale: Count,
    pub(super) foreign: Count,
    pub(super) undrained: Count,
}

impl EventCounts {
    pub(super) fn read(&self) -> EventStats {
        let [delivered, coalesced, stale, foreign, undrained] =
            [&self.delivered, &self.coalesced, &self.stale, &self.foreign, &self.undrained]
                .map(Count::get);
        EventStats {
            events: delivered + coalesced + stale + foreign,
            delivered,
            coalesced,
            stale,
            foreign,
            undrained,
        }
    }
}
