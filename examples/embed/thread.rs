//! `cargo run --example embed thread`
//!
//! In a loop that cannot wait for descriptors, such as that of a window system: a thread polls, and posts
//! what it finds to the host's own queue of events. The calls are dialed on the host's thread.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use switchboard::mio::{Events, Poll, Token, Waker};
use switchboard::reactor::Guest;

use super::app;

/// What the host's queue of events holds.
#[derive(Debug)]
pub(crate) enum HostEvent {
    /// An event of the host's own.
    Own,
    /// The thread has polled.
    Polled(io::Result<Events>),
}

/// The thread that polls, until this drops. It waits for the return of each batch.
#[derive(Debug)]
pub(crate) struct Poller {
    /// Where batches are returned.
    batches: Option<Sender<Events>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Starts the thread. `post` puts an event in the host's queue, from any thread, and wakes the
    /// host: Such as winit's `EventLoopProxy::send_event`, or `PostMessage`.
    ///
    /// # Errors
    ///
    /// Passes on the errors of the system, which may give no poll.
    pub(crate) fn start(post: impl Fn(HostEvent) + Send + 'static) -> io::Result<(Self, Guest)> {
        let mut poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
        let guest = Guest::new(poll.registry(), Arc::clone(&waker))?;
        let (batches, empty) = channel::<Events>();
        let _ = batches.send(Events::with_capacity(1024));
        let thread = thread::spawn(move || {
            for mut events in empty {
                let polled = match poll.poll(&mut events, None) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {
                        events.clear();
                        Ok(events)
                    }
                    polled => polled.map(|()| events),
                };
                post(HostEvent::Polled(polled));
            }
        });
        Ok((Self { batches: Some(batches), waker, thread: Some(thread) }, guest))
    }

    /// Does a turn with a batch, and gives it back for the next one, even if a handler panics.
    pub(crate) fn turn(&self, guest: &mut Guest, events: Events) {
        struct GiveBack<'a>(Option<Events>, &'a Poller);

        impl Drop for GiveBack<'_> {
            fn drop(&mut self) {
                if let (Some(events), Some(batches)) = (self.0.take(), &self.1.batches) {
                    let _ = batches.send(events); // or else the thread has ended, as its poll failed
                }
            }
        }

        let batch = GiveBack(Some(events), self);
        if let Some(events) = &batch.0 {
            guest.turn(events);
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.batches = None;
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs the host's loop until `serve`, which gets the host's own events, breaks it. A window system's
/// loop has this in its event handlers.
///
/// # Errors
///
/// Passes on the error of the thread's poll.
pub(crate) fn run(
    poller: &Poller,
    guest: &mut Guest,
    host: &Receiver<HostEvent>,
    mut serve: impl FnMut() -> ControlFlow<()>,
) -> io::Result<()> {
    let no_poll = Events::with_capacity(0);
    loop {
        // How long the host may wait for its next event: what winit calls `ControlFlow::WaitUntil`.
        let event = match guest.poll_timeout() {
            Some(timeout) => host.recv_timeout(timeout),
            None => host.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(HostEvent::Own) if serve().is_break() => return Ok(()),
            Ok(HostEvent::Polled(events)) => poller.turn(guest, events?),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            // A timer may be due, or calls pending, even if the host's own events never end.
            Ok(HostEvent::Own) | Err(RecvTimeoutError::Timeout) => _ = guest.turn(&no_poll),
        }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let (post, host) = channel();
    let own = post.clone();
    let (poller, mut guest) = Poller::start(move |event| drop(post.send(event)))?;
    let over = guest.queue().callback(move |_, ()| drop(own.send(HostEvent::Own)));
    let _app = app::start(&guest, over)?;
    run(&poller, &mut guest, &host, || {
        println!("host: an event of its own");
        ControlFlow::Break(())
    })?;
    Ok(())
}
