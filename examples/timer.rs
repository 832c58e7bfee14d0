//! `cargo run --example timer -- 5`
//!
//! A session with that many requests, one every 20 ms; an idle timeout, which each of them postpones; and a
//! heartbeat. The timeout closes the session. After that only the heartbeat is armed, which does not keep
//! the loop running, and the program ends.

use std::error::Error;
use std::time::Duration;

use switchboard::reactor::{Interval, Missed, Reactor, ReactorHandle, Timer};
use switchboard::{Context, Reporter};

const PERIOD: Duration = Duration::from_millis(20);
const BEAT: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(200);

struct Session {
    reactor: ReactorHandle,
    idle: Timer,
    _requests: Interval,
    left: u32,
    served: u32,
}

impl Session {
    fn on_request(&mut self, _: &Context<'_, Self>) {
        // One timer serves for the session's life. It returns false if it has fired: then the session ends.
        if self.left == 0 || !self.idle.reset(self.reactor.turn_time() + IDLE) {
            return;
        }
        (self.left, self.served) = (self.left - 1, self.served + 1);
        println!("request {}", self.served);
    }

    fn on_idle(&mut self, cx: &Context<'_, Self>, (): ()) {
        println!("idle for {IDLE:?}: closed after {} requests", self.served);
        cx.hang_up(); // drops the session, and with it its timers
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let left = std::env::args().nth(1).map_or(Ok(5), |count| count.parse())?;
    let mut reactor = Reactor::new()?;
    reactor.queue().add_observer(Reporter::stderr());
    let _session = reactor.queue().recipient_with(|own| Session {
        reactor: reactor.handle(),
        idle: reactor.after(IDLE, own.callback(Session::on_idle)),
        _requests: reactor.every(PERIOD, Missed::Delay, own, Session::on_request),
        left,
        served: 0,
    });
    let beats = reactor.queue().recipient(0);
    let heart = reactor.every(BEAT, Missed::Skip, &beats, |beats, cx| {
        *beats += 1;
        println!("heartbeat {beats}: {} calls finished", cx.queue().tally().finished);
    });
    heart.unref();
    Ok(reactor.run()?)
}
