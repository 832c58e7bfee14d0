//! `cargo run --example signals -- 127.0.0.1:7000`
//!
//! The server of `echo`, which ends in order. SIGTERM or SIGINT (Ctrl-C) frees the port; sessions may end for
//! ten seconds, and are closed then, or by a second signal. SIGUSR1 prints figures. (Windows has no signals.)

#[cfg_attr(unix, expect(dead_code, reason = "its `main` is not used"))]
mod echo;
#[cfg(not(unix))]
use echo::main;
#[cfg(unix)]
use server::main;
#[cfg(unix)]
mod server {
    use std::{error::Error, rc::Rc, time::Duration};

    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
    use signal_hook_mio::v1_0::Signals;
    use switchboard::reactor::{Reactor, Readiness, Registration};
    use switchboard::{Context, Recipients, Reporter, mio::Interest, streams::Acceptor};

    struct Server {
        signals: Registration<Signals>,
        acceptor: Option<Acceptor>,
        sessions: Rc<Recipients<super::echo::Session>>,
    }

    impl Server {
        fn on_signal(&mut self, cx: &Context<'_, Self>, _: &Readiness<'_>) {
            for signal in self.signals.source_mut().pending() {
                if signal == SIGUSR1 {
                    println!("{} sessions; {}", self.sessions.len(), cx.queue().tally());
                } else if self.acceptor.take().is_none() {
                    self.sessions.clear(); // the second signal
                } else {
                    println!("draining {} sessions", self.sessions.len());
                    let overdue = cx.callback(|server: &mut Self, _, ()| server.sessions.clear());
                    let limit = self.signals.reactor().after(Duration::from_secs(10), overdue);
                    limit.unref(); // only sessions keep the loop running now
                    limit.detach();
                }
            }
        }
    }

    pub(crate) fn main() -> Result<(), Box<dyn Error>> {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
        let (mut reactor, signals) = (Reactor::new()?, Signals::new([SIGTERM, SIGINT, SIGUSR1])?);
        reactor.queue().add_observer(Reporter::stderr());
        let sessions = Rc::new(Recipients::new(reactor.queue()));
        let acceptor = super::echo::serve(&reactor, address.parse()?, &sessions)?;
        println!("echoing at {}", acceptor.local_addr()?);
        let _server = reactor.queue().try_recipient_with(|own| {
            let signals = reactor.register(signals, Interest::READABLE, own, Server::on_signal)?;
            signals.unref();
            Ok::<_, Box<dyn Error>>(Server { signals, acceptor: Some(acceptor), sessions })
        })?;
        Ok(reactor.run()?)
    }
}
