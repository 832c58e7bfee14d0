//! `cargo run --example embed calloop` (Unix)
//!
//! Inside calloop: the reactor as an event source like any other.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use calloop::generic::Generic;
use calloop::ping::{Ping, PingSource, make_ping};
use calloop::timer::{TimeoutAction, Timer};
use calloop::{
    EventLoop, EventSource, Interest, Mode, Poll, PostAction, Readiness, Token, TokenFactory,
};
use switchboard::Report;
use switchboard::reactor::Reactor;

use super::app;

/// A reactor that calloop turns. Its event is the report of a turn.
#[derive(Debug)]
pub(crate) struct Embedded {
    reactor: Reactor,
    descriptor: Generic<OwnedFd>,
    timer: Timer,
    wake: Ping,
    woken: PingSource,
}

impl Embedded {
    /// Makes the source. Keep a handle of the reactor: calloop takes the reactor itself.
    ///
    /// # Errors
    ///
    /// Passes on the error of the system if it gives no descriptors.
    pub(crate) fn new(reactor: Reactor) -> io::Result<Self> {
        let descriptor = reactor.as_fd().try_clone_to_owned()?;
        let descriptor = Generic::new(descriptor, Interest::READ, Mode::Level);
        let (wake, woken) = make_ping()?;
        let hook = wake.clone();
        reactor.queue().set_wake_hook(move || hook.ping());
        Ok(Self { reactor, descriptor, timer: Timer::immediate(), wake, woken })
    }
}

impl EventSource for Embedded {
    type Event = Report;
    type Metadata = ();
    type Ret = ();
    type Error = Box<dyn Error + Send + Sync>;

    /// Whatever it was that woke the loop: a turn, and then the timer for the next one.
    fn process_events<F>(
        &mut self,
        readiness: Readiness,
        token: Token,
        mut report: F,
    ) -> Result<PostAction, Self::Error>
    where
        F: FnMut(Report, &mut ()),
    {
        self.woken.process_events(readiness, token, |(), ()| ())?;
        let turn = || self.reactor.turn(Some(Duration::ZERO)).map(|turned| report(turned, &mut ()));
        panic::catch_unwind(AssertUnwindSafe(turn)).unwrap_or_else(|panic| {
            self.wake.ping(); // for what is left, if the host goes on
            panic::resume_unwind(panic)
        })?;
        self.timer.set_duration(self.reactor.poll_timeout().unwrap_or(Duration::MAX));
        Ok(PostAction::Reregister)
    }

    // The timer is last: it takes a token only if it has a deadline, and the others keep theirs.
    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.descriptor.register(poll, tokens)?;
        self.woken.register(poll, tokens)?;
        self.timer.register(poll, tokens)
    }

    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.descriptor.reregister(poll, tokens)?;
        self.woken.reregister(poll, tokens)?;
        self.timer.reregister(poll, tokens)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.descriptor.unregister(poll)?;
        self.woken.unregister(poll)?;
        self.timer.unregister(poll)
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut host = EventLoop::<()>::try_new()?;
    let reactor = Reactor::new()?;
    let (queue, signal) = (reactor.queue().clone(), host.get_signal());
    let _app = app::start(&reactor, queue.callback(move |_, ()| signal.stop()))?;
    host.handle().insert_source(Embedded::new(reactor)?, |_report, (), ()| ())?;

    // Another source of the loop's, which schedules a call.
    host.handle().insert_source(Timer::immediate(), move |_, (), ()| {
        queue.call(|_| println!("queue: called by a timer of calloop's"));
        TimeoutAction::Drop
    })?;
    host.run(None, &mut (), |()| ())?;
    println!("host: stopped");
    Ok(())
}
