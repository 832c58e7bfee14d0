//! `cargo run --example embed tokio` (Unix)
//!
//! Inside tokio, on a current-thread runtime: the reactor as a future, and calls and operations
//! that async code awaits.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use switchboard::future;
use switchboard::op::OpError;
use switchboard::reactor::Reactor;
use switchboard::samples::{LlFakeCancel, Module, ThreadPool};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::{select, task, time};

use super::app;

/// Turns the reactor for as long as this future is polled.
///
/// # Errors
///
/// Passes on the errors of both polls.
pub(crate) async fn run(reactor: &mut Reactor) -> io::Result<Infallible> {
    let descriptor = reactor.as_fd().try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "the replacement is unsafe, and an `OwnedFd` is what it asks for"
    )]
    let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
    let news = Rc::new(Notify::new());
    let hook = Rc::clone(&news);
    reactor.queue().set_wake_hook(move || hook.notify_one());
    loop {
        match reactor.poll_timeout() {
            // Not `sleep`: a sleep of zero takes a millisecond.
            Some(Duration::ZERO) => task::yield_now().await,
            timeout => select! {
                () = news.notified() => {}
                () = time::sleep(timeout.unwrap_or(Duration::MAX)) => {}
                // Cleared before the turn, as tokio reports readiness only when it begins.
                ready = descriptor.readable() => ready?.clear_ready(),
            },
        }
        reactor.turn(Some(Duration::ZERO))?;
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new()?;
    let handle = reactor.handle();
    let (over, is_over) = future::callback(handle.queue());
    let _app = app::start(&handle, over)?;

    // Async code that knows nothing of turns.
    let host = async move {
        let threads = LlFakeCancel::<u32, Infallible>::new(&handle, &ThreadPool::new(2));
        threads.open();
        let sum = future::operation(handle.queue(), |done| {
            threads.start(Box::new(|| Ok((1..=1000).sum())), done)
        })?;
        match sum.await {
            Ok(sum) => println!("operation: the sum is {sum}"),
            Err(OpError::Failed(never)) => match never {},
            Err(error) => return Err(error.into()),
        }
        is_over.await?;
        println!("host: the application is over");
        Ok(())
    };

    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        select! {
            ended = run(&mut reactor) => match ended? {},
            result = host => result,
        }
    })
}
