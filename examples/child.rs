//! `cargo run --example child -- 10 sleep 1`
//!
//! Runs a command, and kills it if it has not ended in that many seconds. Its end is an event of a descriptor
//! that stands for the process (a pidfd, on Linux; docs/servers.md has a thread for other systems).

#[cfg(not(target_os = "linux"))]
fn main() {}
#[cfg(target_os = "linux")]
use job::main;

#[cfg(target_os = "linux")]
mod job {
    use std::process::{Child, Command};
    use std::{error::Error, io, time::Duration};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use switchboard::reactor::{FdSource, Reactor, Readiness, Registration, Timer};
    use switchboard::{Context, Reporter, mio::Interest};

    /// It alone kills the child and collects its status: until then the id names no other process.
    struct Job {
        child: Child,
        _ends: Registration<FdSource>,
        _limit: Timer,
    }

    impl Job {
        fn on_end(&mut self, cx: &Context<'_, Self>, _: &Readiness<'_>) {
            match self.child.try_wait() {
                Ok(None) => return, // not yet
                Ok(Some(status)) => println!("{status}"),
                Err(error) => println!("the status is lost: {error}"),
            }
            cx.hang_up(); // drops the timer and the descriptor, so the loop ends
        }
    }

    pub(crate) fn main() -> Result<(), Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let limit = Duration::from_secs(arguments.next().ok_or("no limit")?.parse()?);
        let mut child =
            Command::new(arguments.next().ok_or("no command")?).args(arguments).spawn()?;
        let mut reactor = Reactor::new()?;
        reactor.queue().add_observer(Reporter::stderr());
        let _job = reactor.queue().try_recipient_with(|own| {
            let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::NONBLOCK);
            let pidfd = pidfd.inspect_err(|_| _ = child.kill())?;
            let ends = reactor.register(pidfd.into(), Interest::READABLE, own, Job::on_end)?;
            let overdue = own.callback(|job: &mut Job, _, ()| {
                let killed =
                    job.child.kill().map_or_else(|error| error.to_string(), |()| "killed".into());
                println!("too long: {killed}");
            });
            let limit = reactor.after(limit, overdue);
            Ok::<_, io::Error>(Job { child, _ends: ends, _limit: limit })
        })?;
        Ok(reactor.run()?)
    }
}
