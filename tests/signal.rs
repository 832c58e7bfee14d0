//! Hazard: a signal ends the poll (EINTR), and with it the loop. Without the test harness, so that
//! the only thread of the process is the one that polls.

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    use std::process::{Command, id};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use signal_hook::consts::SIGUSR1;
    use switchboard::reactor::Reactor;

    let signaled = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGUSR1, Arc::clone(&signaled)).unwrap();
    let sends = format!("while kill -USR1 {}; do sleep 0.01; done", id());
    let mut sender = Command::new("sh").args(["-c", &sends]).spawn().unwrap();

    // Nothing else can end these turns: there is no event, and no limit to their sleep.
    let mut reactor = Reactor::new().unwrap();
    let _remote = reactor.remote();
    for _ in 0..10 {
        let report = reactor.turn(None).unwrap();
        assert!(signaled.swap(false, Ordering::Relaxed));
        assert_eq!((report.dialed, reactor.event_stats().events), (0, 0));
    }

    // Signals neither end a run nor make its timers early.
    let start = Instant::now();
    let handle = reactor.handle();
    let stop = reactor.queue().callback(move |_, ()| handle.stop());
    reactor.after(Duration::from_millis(200), stop).detach();
    reactor.run().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(signaled.load(Ordering::Relaxed));
    assert_eq!(reactor.queue().tally().finished, 1);

    sender.kill().unwrap();
    sender.wait().unwrap();
    println!("signal: ok");
}
