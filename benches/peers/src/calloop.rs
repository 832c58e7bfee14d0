//! calloop: its queue is that of idle callbacks, which are dispatched after a poll.

use std::hint::black_box;
use std::time::{Duration, Instant};

use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Idle, LoopHandle};

use crate::work::waiting::delay;
use crate::work::{Run, Words, add, added, take_in, timed};

pub(crate) fn calls(batch: u64) -> Run {
    let mut event_loop = EventLoop::<()>::try_new().expect("a poll");
    let handle = event_loop.handle();
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                let _ = handle.insert_idle(move |()| add(words));
            }
            event_loop.dispatch(Duration::ZERO, &mut ()).expect("a dispatch");
        }
        added()
    })
}

/// The recipient is the data of the loop.
pub(crate) fn calls_to_one(batch: u64) -> Run {
    let mut event_loop = EventLoop::<u64>::try_new().expect("a poll");
    let handle = event_loop.handle();
    timed(move |calls| {
        let mut sum = 0;
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                let _ = handle.insert_idle(move |sum| take_in(sum, words));
            }
            event_loop.dispatch(Duration::ZERO, &mut sum).expect("a dispatch");
        }
        sum
    })
}

/// A handle of the loop, and how many links are left.
struct Chain {
    handle: LoopHandle<'static, Chain>,
    left: u64,
}

pub(crate) fn chain(_: u64) -> Run {
    fn link(chain: &mut Chain, words: [u64; 2]) {
        add([1, words[0], words[1]]);
        chain.left -= 1;
        if chain.left > 0 {
            let _ = chain.handle.insert_idle(move |chain| link(chain, words));
        }
    }
    let mut event_loop = EventLoop::try_new().expect("a poll");
    let mut chain = Chain { handle: event_loop.handle(), left: 0 };
    timed(move |calls| {
        let words = black_box([2, 2]);
        chain.left = calls;
        let _ = chain.handle.insert_idle(move |chain| link(chain, words));
        while chain.left > 0 {
            event_loop.dispatch(Duration::ZERO, &mut chain).expect("a dispatch");
        }
        added()
    })
}

pub(crate) fn every_second_canceled(batch: u64) -> Run {
    let mut event_loop = EventLoop::<()>::try_new().expect("a poll");
    let handle = event_loop.handle();
    let mut unwanted: Vec<Idle<'static>> = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                let idle = handle.insert_idle(move |()| add(words));
                if n % 2 == 0 {
                    unwanted.push(idle);
                }
            }
            for idle in unwanted.drain(..) {
                idle.cancel();
            }
            event_loop.dispatch(Duration::ZERO, &mut ()).expect("a dispatch");
        }
        added()
    })
}

fn fire(words: Words) -> impl FnMut(Instant, &mut (), &mut ()) -> TimeoutAction {
    move |_, (), ()| {
        add(words);
        TimeoutAction::Drop
    }
}

pub(crate) fn timers_canceled(batch: u64) -> Run {
    let event_loop = EventLoop::<()>::try_new().expect("a poll");
    let handle = event_loop.handle();
    let now = Instant::now();
    let mut timers = Vec::with_capacity(batch as usize);
    timed(move |calls| {
        let _ = &event_loop;
        let mut canceled = 0;
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                let timer = Timer::from_deadline(now + delay(n));
                timers.push(handle.insert_source(timer, fire(words)).expect("room"));
            }
            for timer in timers.drain(..) {
                handle.remove(timer);
                canceled += 1;
            }
        }
        canceled
    })
}

/// There is no clock to set: the deadlines are in the past.
pub(crate) fn timers_fired(batch: u64) -> Run {
    let mut event_loop = EventLoop::<()>::try_new().expect("a poll");
    let handle = event_loop.handle();
    let past = Instant::now() - crate::work::waiting::ALL_DUE;
    timed(move |calls| {
        for _ in 0..calls / batch {
            for n in 0..batch {
                let words = [1, n, n];
                let timer = Timer::from_deadline(past + delay(n));
                let _ = handle.insert_source(timer, fire(words)).expect("room");
            }
            event_loop.dispatch(Duration::ZERO, &mut ()).expect("a dispatch");
        }
        added()
    })
}
