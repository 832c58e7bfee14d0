//! Channels of calls from other threads, as calloop and tokio have them.

use calloop::EventLoop;
use calloop::channel::{self, Event};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::work::add;
use crate::work::remote::{Receiver, Sender};

type Call = Box<dyn FnOnce() + Send>;

pub(crate) fn calloop() -> (Sender, Receiver) {
    let mut event_loop = EventLoop::<u64>::try_new().expect("a poll");
    let (sender, receiver) = channel::channel::<Call>();
    let take = |event: Event<Call>, (): &mut (), left: &mut u64| {
        if let Event::Msg(call) = event {
            call();
            *left -= 1;
        }
    };
    let _ = event_loop.handle().insert_source(receiver, take).expect("room");
    let send = move |words| sender.send(Box::new(move || add(words))).expect("the loop is there");
    let receive = move |calls| {
        let mut left = calls;
        while left > 0 {
            event_loop.dispatch(None, &mut left).expect("a dispatch");
        }
    };
    (Box::new(send), Box::new(receive))
}

pub(crate) fn tokio() -> (Sender, Receiver) {
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    let (sender, mut receiver) = mpsc::unbounded_channel::<Call>();
    let send = move |words| {
        sender.send(Box::new(move || add(words))).unwrap_or_else(|_| panic!("the loop is there"));
    };
    let receive = move |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                receiver.recv().await.expect("a sender")();
            }
        });
    };
    (Box::new(send), Box::new(receive))
}
