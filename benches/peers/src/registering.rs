//! Registering a source and taking it back, which is two system calls, with each of the peers.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use calloop::generic::Generic;
use calloop::{EventLoop, Mode, PostAction};
use mio::event::Source;
use mio::{Events, Interest, Poll, Token, net};
use stakker::{Stakker, fwd_nop};
use stakker_mio::{FdSource, MioPoll};
use tokio::runtime::Builder;

use crate::work::{Run, add, added, timed};

/// A source to register, and its other end.
fn source() -> (UnixStream, UnixStream) {
    let (source, peer) = UnixStream::pair().expect("a pair of sockets");
    source.set_nonblocking(true).expect("a socket that does not block");
    (source, peer)
}

pub(crate) fn by_hand(_: u64) -> Run {
    let poll = Poll::new().expect("a poll");
    let (source, peer) = source();
    let mut source = net::UnixStream::from_std(source);
    timed(move |calls| {
        let _ = &peer;
        for n in 0..calls {
            source.register(poll.registry(), Token(0), Interest::READABLE).expect("room");
            add([1, n, n]);
            source.deregister(poll.registry()).expect("that it is there");
        }
        added()
    })
}

pub(crate) fn stakker(_: u64) -> Run {
    let mut stakker = Stakker::new(Instant::now());
    let poll = Poll::new().expect("a poll");
    let poll = MioPoll::new(&mut stakker, poll, Events::with_capacity(1024), 10).expect("a waker");
    let ends = source();
    timed(move |calls| {
        let _ = &stakker;
        for n in 0..calls {
            let source = FdSource::new(ends.0.as_raw_fd());
            let source = poll.add(source, Interest::READABLE, 10, fwd_nop!()).expect("room");
            add([1, n, n]);
            drop(source);
        }
        added()
    })
}

pub(crate) fn calloop(_: u64) -> Run {
    let event_loop = EventLoop::<()>::try_new().expect("a poll");
    let handle = event_loop.handle();
    let (source, peer) = source();
    let mut source = Some(source);
    timed(move |calls| {
        let _ = (&event_loop, &peer);
        for n in 0..calls {
            let taken = source.take().expect("it was put back");
            let generic = Generic::new(taken, calloop::Interest::READ, Mode::Edge);
            let dispatcher = calloop::Dispatcher::new(generic, move |_, _, ()| {
                add([1, n, n]);
                Ok(PostAction::Continue)
            });
            let token = handle.register_dispatcher(dispatcher.clone()).expect("room");
            add([1, n, n]);
            handle.remove(token);
            source = Some(dispatcher.into_source_inner().unwrap());
        }
        added()
    })
}

pub(crate) fn tokio(_: u64) -> Run {
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    let (source, peer) = source();
    let mut source = Some(source);
    timed(move |calls| {
        let _ = &peer;
        let _entered = runtime.enter();
        for n in 0..calls {
            let taken = source.take().expect("it was put back");
            let registered = tokio::net::UnixStream::from_std(taken).expect("room");
            add([1, n, n]);
            source = Some(registered.into_std().expect("that it is there"));
        }
        added()
    })
}
