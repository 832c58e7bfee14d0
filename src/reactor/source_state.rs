//! The state of a registered source: its readiness, and whether its handlers drain it.

use core::cell::Cell;
use std::io;

use mio::Interest;

use crate::reactor::readiness::Flags;

/// The position of no call.
pub(super) const NO_CALL: u64 = u64::MAX;

/// The state of a source, independent of its handler.
pub(super) struct SourceState {
    /// What it is watched for.
    pub(super) interest: Cell<Interest>,
    /// What it was reported ready for, and was not found to block at since (rule M3).
    pub(super) ready: Cell<Flags>,
    /// What its readiness call reports.
    pub(super) reported: Cell<Flags>,
    /// Whether it does not keep the loop running.
    pub(super) is_unref: Cell<bool>,
    pub(super) drain: Drain,
}

impl SourceState {
    pub(super) const fn new(interest: Interest) -> Self {
        Self {
            interest: Cell::new(interest),
            ready: Cell::new(Flags::NONE),
            reported: Cell::new(Flags::NONE),
            is_unref: Cell::new(false),
            drain: Drain::new(),
        }
    }

    /// The state of the same source, of which nothing is reported yet.
    pub(super) fn handed_over(&self) -> Self {
        let state = Self::new(self.interest.get());
        state.ready.set(self.ready.get());
        state.is_unref.set(self.is_unref.get());
        state.drain.is_listed.set(self.drain.is_listed.get());
        state
    }

    /// All flags that another recipient must know.
    pub(super) fn known(&self) -> Flags {
        self.ready.get().merge(self.reported.get())
    }

    /// Judges a handler that may have left readiness. Returns the position of its call if it has, and
    /// nothing is reported since.
    pub(super) fn judge(&self) -> Option<u64> {
        self.drain.is_listed.set(false);
        let call = self.drain.suspect.replace(NO_CALL);
        (call != NO_CALL && self.reported.get() == Flags::NONE).then_some(call)
    }

    /// Notes how an attempt went.
    pub(super) fn note_attempt<R>(&self, interest: Interest, result: &io::Result<R>) {
        let at = Flags::refuted_by(interest);
        match result.as_ref().map_err(io::Error::kind) {
            // (A writer that stops has nothing left to write.)
            Ok(_) | Err(io::ErrorKind::Interrupted) => {
                self.drain.went_on(at.without(Flags::WRITES));
            }
            Err(io::ErrorKind::WouldBlock) => self.clear(interest),
            Err(_) => self.drain.finished(at),
        }
    }

    /// Notes that an attempt would block.
    #[inline]
    pub(super) fn clear(&self, interest: Interest) {
        let refuted = Flags::refuted_by(interest);
        self.ready.set(self.ready.get().without(refuted));
        self.drain.finished(refuted);
    }

    /// Whether all that is ready is known to be attended to: reported, or kept on purpose.
    #[cfg(feature = "testing")]
    pub(super) fn is_attended(&self) -> bool {
        self.reported.get() != Flags::NONE || self.drain.kept.get()
    }
}

/// Whether the handler of the last readiness call has left something to read: it made attempts, the
/// last of which went well, so there may be more.
///
/// Attempts that the registration does not see are not judged, nor is the end of a stream: who has found
/// that need not look again. It is found before it is reported at times, so a handler is judged only
/// when the next poll has reported nothing of its source.
pub(super) struct Drain {
    /// At what the last attempt went well.
    pub(super) unfinished: Cell<Flags>,
    /// Left on purpose.
    kept: Cell<bool>,
    /// The position of the call whose handler is judged next, or [`NO_CALL`].
    pub(super) suspect: Cell<u64>,
    /// Whether the registration is on the list of those to be judged.
    pub(super) is_listed: Cell<bool>,
}

impl Drain {
    const fn new() -> Self {
        let unfinished = Cell::new(Flags::NONE);
        let [kept, is_listed] = [const { Cell::new(false) }; 2];
        Self { unfinished, kept, suspect: Cell::new(NO_CALL), is_listed }
    }

    /// A handler is about to run.
    pub(super) fn begin(&self) {
        self.unfinished.set(Flags::NONE);
        self.kept.set(false);
    }

    fn went_on(&self, at: Flags) {
        self.unfinished.set(self.unfinished.get().merge(at));
        self.suspect.set(NO_CALL);
    }

    #[inline]
    fn finished(&self, at: Flags) {
        self.unfinished.set(self.unfinished.get().without(at));
        self.suspect.set(NO_CALL);
    }

    pub(super) fn keep(&self) {
        self.kept.set(true);
        self.suspect.set(NO_CALL);
    }

    /// Whether the handler that has returned must be judged.
    pub(super) fn leaves(&self, ready: Flags) -> bool {
        let mut left = Flags(self.unfinished.get().0 & ready.0);
        if ready.any(Flags::ERROR) {
            return false;
        }
        if ready.any(Flags::READ_CLOSED) {
            left = left.without(Flags(Flags::READABLE | Flags::READ_CLOSED));
        }
        !self.kept.get() && left.any(Flags::READABLE | Flags::PRIORITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m03_what_is_left_is_judged_unless_an_error_or_the_end_explains_it() {
        const READABLE: u8 = Flags::READABLE;
        let drain = Drain::new();
        drain.begin();
        drain.went_on(Flags(READABLE));
        for (ready, leaves) in [
            (READABLE, true),
            (READABLE | Flags::WRITABLE, true),
            (READABLE | Flags::READ_CLOSED, false),
            (READABLE | Flags::ERROR, false),
            (Flags::WRITABLE, false),
        ] {
            assert_eq!(drain.leaves(Flags(ready)), leaves, "{ready:b}");
        }
        drain.went_on(Flags(Flags::PRIORITY));
        assert!(drain.leaves(Flags(Flags::PRIORITY | Flags::READ_CLOSED)), "urgent data is left");
        drain.keep();
        assert!(!drain.leaves(Flags(READABLE)));
    }
}
