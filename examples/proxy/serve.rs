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
#[cfg(unix)]
use {
    mio::Interest,
    signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1},
    signal_hook_mio::v1_0::Signals,
    switchboard::Context,
    switchboard::reactor::{Readiness, Registration},
};

use super::proxy::{Proxy, listen, print};
use super::settings::Settings;
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

/// The main thread's recipient. (On other systems, what ends the process ends it at once.)
#[cfg(unix)]
struct Control {
    loops: Vec<RemoteAddress<Loop>>,
    signals: Registration<Signals>,
}

#[cfg(unix)]
impl Control {
    fn on_signal(&mut self, _: &Context<'_, Self>, _: &Readiness<'_>) {
        for signal in self.signals.source_mut().pending() {
            for one in &self.loops {
                let _ = one.call(move |one, _| match signal {
                    SIGUSR1 => one.report(),
                    _ => one.proxy.drain(),
                });
            }
        }
    }
}

/// Serves until a signal ends it.
pub(crate) fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    #[cfg(unix)]
    let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    let (threads, (started, starts)) = (ThreadPool::new(RESOLVERS), mpsc::channel());
    let (count, mut settings, mut joins) = (settings.loops.get(), settings.clone(), Vec::new());
    for index in 0..count {
        let listener = listen(settings.listen, count > 1)?;
        settings.listen = listener.local_addr()?;
        let (settings, threads, started) = (settings.clone(), threads.clone(), started.clone());
        let runs = reactor.remote(); // keeps the loop here running as long as that thread does
        joins.push(thread::Builder::new().name(format!("loop-{index}")).spawn(move || {
            let _runs = runs;
            run(listener, &settings, &threads, started).map_err(|error| error.to_string())
        })?);
    }
    drop(started);
    let loops: Vec<_> = starts.iter().collect();
    if loops.len() == count {
        println!("listening on {}, {count} loop{}", settings.listen, &"s"[..(count > 1).into()]);
    }
    #[cfg(unix)]
    let _control = reactor.queue().try_recipient_with(|own| {
        let signals = reactor.register(signals, Interest::READABLE, own, Control::on_signal)?;
        signals.unref();
        Ok::<_, Box<dyn Error>>(Control { loops, signals })
    })?;
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
        timeline: settings.timeline.as_ref().map(|file| Timeline::new(reactor.queue(), file)),
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
        print(self.proxy.figures());
        #[cfg(feature = "journal")]
        match self.timeline.as_ref().map(Timeline::write) {
            Some(Ok(story)) => print(format_args!("the operation that took longest:\n{story}")),
            Some(Err(error)) => print(format_args!("the timeline was not written: {error}")),
            None => {}
        }
    }
}
