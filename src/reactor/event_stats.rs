//! What has become of events.

use crate::tally::Count;

/// What has become of the events of a reactor's polls:
/// [`events`](Self::events) = [`delivered`](Self::delivered) + [`coalesced`](Self::coalesced) +
/// [`stale`](Self::stale) + [`foreign`](Self::foreign).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStats {
    /// Events received.
    pub events: u64,
    /// Those that led to a readiness call.
    pub delivered: u64,
    /// Those merged into what was still to be reported of the same source.
    pub coalesced: u64,
    /// Those dropped, as their source was gone, or is that of another guest of the poll.
    pub stale: u64,
    /// Those of no source of the reactor's: wake-ups by other threads, and in a host's loop the
    /// host's own.
    pub foreign: u64,
    /// Readiness calls whose handler returned with readiness left that the poll does not report again:
    /// the last attempt by [`Registration::try_io`](crate::reactor::Registration::try_io) had gone
    /// well, and the handler neither asked to be called [`again`](crate::reactor::Readiness::again) nor
    /// [kept](crate::reactor::Readiness::keep) what was left. A bug of the handler, which may never be
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
