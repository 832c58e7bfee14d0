//! The parts of a turn, for the module `testing`.

use core::panic::Location;
use core::time::Duration;
use std::io;

use mio::Token;

use crate::outcome::Report;
use crate::reactor::Reactor;
use crate::reactor::readiness::Flags;
use crate::reactor::shared::Shared;
use crate::reactor::token;

impl Reactor {
    /// Polls, sleeping `timeout` at most, and hands out what would be reported.
    pub(crate) fn gather(
        &mut self,
        mut timeout: Duration,
        mut hand_out: impl FnMut(Token, Flags),
    ) -> io::Result<()> {
        loop {
            match self.poll(Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let mut gathered = 0;
            for event in &self.events {
                gathered += 1;
                hand_out(event.token(), Flags::of(event));
            }
            if gathered < self.events.capacity() {
                return Ok(());
            }
            timeout = Duration::ZERO;
        }
    }

    /// Whether there is no work, now or at a time that keeps the loop running.
    pub(crate) fn is_quiet(&self) -> bool {
        let shared = self.shared();
        !shared.is_busy() && !shared.timers.keeps_running()
    }

    /// Whether other threads have sent entries that no turn has accepted.
    pub(crate) fn has_mail(&self) -> bool {
        self.shared().remotes.is_busy()
    }

    /// Returns where a source was registered whose readiness has no effect and is not kept on purpose.
    pub(crate) fn unattended(&self, token: Token) -> Option<&'static Location<'static>> {
        let mut watches = self.shared().watches.borrow_mut();
        let watch = watches.get(token::key(token)?)?;
        (!watch.source_state().is_attended()).then(|| watch.site())
    }

    /// Does what a turn does after its poll.
    pub(crate) fn turn_with(&mut self, events: impl Iterator<Item = (Token, Flags)>) -> Report {
        let note = |shared: &Shared| {
            shared.note_each(events.map(|(token, flags)| (token, move || flags)));
        };
        self.guest.run_turn(note, |_| None)
    }
}
