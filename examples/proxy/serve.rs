//! The process: a loop a thread, and one more, on the main thread, that waits for signals and for the others.
//!
//! Nothing is shared between loops but the threads that resolve names: each has a listener of its own at the
//! same port (`SO_REUSEPORT`), sessions, a pool and figures of its own.

use std::error::Error;
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use switchboard::Reporter;
use switchboard::reactor::{Reactor, RemoteAddress};
use switchboard::samples::ThreadPool;

use super::flags::Settings;
use super::proxy::Proxy;
use super::system::{Signal, Signals, listen};
#[cfg(feature = "journal")]
use super::timeline::Timeline;

/// Threads that resolve names, for all loops.
const RESOLVERS: usize = 8;

/// What the main thread calls in each loop.
struct Loop {
    proxy: Rc<Proxy>,
    #[cfg(feature = "journal")]
    timeline: Option<Timeline>,
}

/// The main thread's recipient.
struct Control {
    loops: Vec<RemoteAddress<Loop>>,
    signals: Signals,
}

impl Control {
    fn on_signal(&mut self, signal: Signal) {
        self.signals.take(signal);
        for one in &self.loops {
            let _ = one.call(move |one, _| match signal {
                Signal::Report => one.report(),
                Signal::Terminate | Signal::Interrupt => one.proxy.drain(),
            });
        }
    }
}

/// Serves until a signal ends it.
pub(crate) fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    let control =
        reactor.queue().recipient(Control { loops: Vec::new(), signals: Signals::default() });
    let signals = Signals::new(&reactor, &control, Control::on_signal)?;

    let loops = settings.loops;
    let mut listeners = vec![listen(settings.listen, loops > 1)?];
    let address = listeners[0].local_addr()?;
    for _ in 1..loops {
        listeners.push(listen(address, true)?);
    }
    let (threads, (started, starts)) = (ThreadPool::new(RESOLVERS), mpsc::channel());
    let mut joins = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let (mut settings, threads, started) = (settings.clone(), threads.clone(), started.clone());
        let runs = reactor.remote(); // keeps the loop here running as long as that thread does
        if let Some(file) = settings.timeline.as_mut().filter(|_| index > 0) {
            *file = format!("{}.{index}", file.display()).into();
        }
        joins.push(thread::Builder::new().name("loop".into()).spawn(move || {
            let _runs = runs;
            run(listener, &settings, &threads, started).map_err(|error| error.to_string())
        })?);
    }
    drop(started);
    let remotes: Vec<_> = starts.iter().collect();
    if remotes.len() == loops {
        println!("listening on {address}, {loops} loop{}", if loops == 1 { "" } else { "s" });
    }
    control.call(move |control, _| (control.loops, control.signals) = (remotes, signals));
    reactor.run()?;
    for join in joins {
        join.join().map_err(|_| "a loop panicked")??;
    }
    Ok(())
}

/// One loop, on its thread.
fn run(
    listener: std::net::TcpListener,
    settings: &Settings,
    threads: &ThreadPool,
    started: Sender<RemoteAddress<Loop>>,
) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    if cfg!(debug_assertions) {
        reactor.queue().add_observer(Reporter::stderr());
    }
    let proxy = Proxy::start(&reactor, listener, settings, threads)?;
    let own = reactor.queue().recipient(Loop {
        #[cfg(feature = "journal")]
        timeline: settings.timeline.clone().map(|file| Timeline::new(reactor.queue(), file)),
        proxy: Rc::clone(&proxy),
    });
    started.send(reactor.remote_to(&own))?;
    drop(started);
    reactor.run()?;
    proxy.end();
    Ok(())
}

impl Loop {
    fn report(&self) {
        eprintln!("{}", self.proxy.figures());
        #[cfg(feature = "journal")]
        match self.timeline.as_ref().map(Timeline::write) {
            Some(Ok(story)) => eprintln!("the operation that took longest:\n{story}"),
            Some(Err(error)) => eprintln!("the timeline was not written: {error}"),
            None => {}
        }
    }
}
