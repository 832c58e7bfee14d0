//! The rig on a scripted reactor.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use switchboard::Report;
use switchboard::testing::{Event, Peer, ScriptedReactor, ScriptedSource, Sources};

use super::{BACKOFF, Drive, PATIENCE, RigOn, Socket};

pub type Rig = RigOn<ScriptedReactor>;

/// How long retries wait.
const WAIT: Duration = Duration::from_millis(7);

thread_local! {
    /// Of the reactor that was made last.
    static SOURCES: RefCell<Sources> = RefCell::default();
    /// Whether sources cannot be registered.
    pub static REFUSES: Cell<bool> = const { Cell::new(false) };
    /// All that was reported to the reactor that was made last.
    pub static REPORTED: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

impl Drive for ScriptedReactor {
    type Socket = ScriptedSource;

    fn make() -> Self {
        let reactor = Self::new().expect("a reactor");
        SOURCES.set(reactor.sources());
        BACKOFF.set(WAIT);
        REFUSES.set(false);
        REPORTED.take();
        reactor
    }

    /// One step.
    fn go_on(&mut self) -> Report {
        if !self.queue().is_idle() {
            return self.dial_one();
        }
        // From here on, nothing is dialed.
        self.set_budget(0);
        if self.events().is_empty() && self.jump().is_none() && self.poll_timeout().is_none() {
            self.wait(PATIENCE);
        }
        let mut events = self.take_events().into_iter();
        let outcomes = events.next();
        REPORTED.with_borrow_mut(|all| all.extend(outcomes));
        self.put_back(events);
        self.turn_with(outcomes)
    }

    fn has_news(&mut self) -> bool {
        let timer = self.poll_timeout().is_some();
        !self.queue().is_idle() || timer || !self.events().is_empty()
    }
}

/// The peer of a source, to write to.
pub struct Pen(Peer);

impl io::Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.0.close_write();
    }
}

impl Socket for ScriptedSource {
    type Peer = Pen;

    fn pair() -> io::Result<(Self, Pen)> {
        let (source, peer) = SOURCES.with_borrow(Sources::pair);
        if REFUSES.get() {
            peer.fail_registering(io::ErrorKind::OutOfMemory);
        }
        Ok((source, Pen(peer)))
    }
}
