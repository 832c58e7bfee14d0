//! `cargo run --example chat`
//!
//! A loop that talks to two threads. One sends it the lines of standard input, through a `RemoteAddress`. The
//! other does what takes long, and answers by a `RemoteCallback`: the smallest divisor of a number. The
//! reader waits for each reply, so at most one line is pending. The end of the input ends all three.

use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::{error::Error, io, thread};

use switchboard::reactor::{Reactor, ReactorHandle, RemoteAddress, RemoteCallback};
use switchboard::{Context, Reporter};

struct Chat {
    reactor: ReactorHandle,
    worker: Sender<(u64, RemoteCallback<u64>)>,
}

impl Chat {
    /// Whatever comes of the line, `reply` is used or dropped, and the reader goes on.
    fn on_line(&mut self, cx: &Context<'_, Self>, line: &str, reply: Sender<String>) {
        let Ok(number) = line.trim().parse() else { return };
        let done = cx.callback(move |_: &mut Self, _, divisor: u64| {
            let _ = reply.send(format!("{number} is divisible by {divisor}"));
        });
        let done = self.reactor.remote_callback(done);
        if let Err(SendError((_, done))) = self.worker.send((number, done)) {
            done.decline("the worker has ended");
        }
    }
}

fn read(chat: &RemoteAddress<Chat>) -> io::Result<()> {
    for line in io::stdin().lines() {
        let (line, (reply, replied)) = (line?, channel());
        chat.call(move |chat, cx| chat.on_line(cx, &line, reply))?;
        println!("{}", replied.recv().unwrap_or_else(|_| "no answer: is it a number?".into()));
    }
    Ok(())
}

fn work(questions: Receiver<(u64, RemoteCallback<u64>)>) {
    for (number, done) in questions {
        let divisor = (2..=number.isqrt()).find(|divisor| number % divisor == 0).unwrap_or(number);
        let _ = done.answer(divisor); // fails if the loop has ended
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut reactor, (worker, questions)) = (Reactor::new()?, channel());
    reactor.queue().add_observer(Reporter::stderr());
    let chat = reactor.queue().recipient(Chat { reactor: reactor.handle(), worker });
    let address = reactor.remote_to(&chat);
    let works = thread::spawn(move || work(questions));
    let reads = thread::spawn(move || read(&address));
    reactor.run()?; // until the reader has ended, and every question is answered
    drop(chat); // with the sender of questions: the worker ends
    works.join().map_err(|_| "the worker has panicked")?;
    Ok(reads.join().map_err(|_| "the reader has panicked")??)
}
