//! Servers that echo, on each of the peers.

use std::cell::Cell;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};
use stakker::{ActorOwn, CX, Stakker, actor, fwd_to, ret_nop};
use stakker_mio::mio::{self, Events, Poll};
use stakker_mio::{MioPoll, MioSource, Ready};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::work::echo::{Echo, Serve};

/// An actor for each connection.
struct Connection {
    socket: MioSource<mio::net::TcpStream>,
    echo: Echo,
    echoed: Rc<Cell<u64>>,
}

impl Connection {
    fn init(cx: CX![], socket: TcpStream, buffer: usize, echoed: Rc<Cell<u64>>) -> Option<Self> {
        let poll = cx.anymap_get::<MioPoll>();
        let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let socket = mio::net::TcpStream::from_std(socket);
        let socket = poll.add(socket, both, 10, fwd_to!([cx], on_ready() as (Ready)));
        Some(Self { socket: socket.expect("room"), echo: Echo::new(buffer), echoed })
    }

    fn on_ready(&mut self, _: CX![], _: Ready) {
        let written = self.echo.on_ready(&mut *self.socket);
        self.echoed.set(self.echoed.get() + written);
    }
}

pub(crate) fn stakker(sockets: Vec<TcpStream>, buffer: usize) -> Serve {
    /// Longer than any round takes.
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut stakker = Stakker::new(Instant::now());
    let poll = Poll::new().expect("a poll");
    let poll = MioPoll::new(&mut stakker, poll, Events::with_capacity(1024), 10).expect("a waker");
    let echoed = Rc::new(Cell::new(0));
    let connect = |socket| -> ActorOwn<Connection> {
        actor!(stakker, Connection::init(socket, buffer, echoed.clone()), ret_nop!())
    };
    let connections: Vec<_> = sockets.into_iter().map(connect).collect();
    let mut idle = stakker.run(Instant::now(), false);
    let mut more = false;
    Box::new(move |bytes| {
        let _ = &connections;
        let end = echoed.get() + bytes;
        while echoed.get() < end {
            let patience = stakker.next_wait_max(Instant::now(), PATIENCE, idle || more);
            let active;
            (active, more) = poll.poll(patience).expect("events");
            idle = stakker.run(Instant::now(), !active);
        }
    })
}

pub(crate) fn calloop(sockets: Vec<TcpStream>, buffer: usize) -> Serve {
    let mut event_loop = EventLoop::<u64>::try_new().expect("a poll");
    for socket in sockets {
        let source = Generic::new(socket, Interest::BOTH, Mode::Edge);
        let mut echo = Echo::new(buffer);
        let on_ready =
            move |_, socket: &mut calloop::generic::NoIoDrop<TcpStream>, echoed: &mut u64| {
                *echoed += echo.on_ready(&**socket);
                Ok(PostAction::Continue)
            };
        let _ = event_loop.handle().insert_source(source, on_ready).expect("room");
    }
    Box::new(move |bytes| {
        let mut echoed = 0;
        while echoed < bytes {
            event_loop.dispatch(None, &mut echoed).expect("events");
        }
    })
}

/// What the tasks of the connections share with the one that waits.
#[derive(Default)]
struct Progress {
    echoed: AtomicU64,
    end: AtomicU64,
    reached: Notify,
}

pub(crate) fn tokio(sockets: Vec<TcpStream>, buffer: usize) -> Serve {
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    let progress = Arc::new(Progress::default());
    for socket in sockets {
        let progress = Arc::clone(&progress);
        drop(runtime.spawn(async move {
            let mut socket = tokio::net::TcpStream::from_std(socket).expect("room");
            let mut bytes = vec![0; buffer];
            loop {
                let read = socket.read(&mut bytes).await.expect("a client that writes");
                if read == 0 {
                    return;
                }
                socket.write_all(&bytes[..read]).await.expect("a client that reads");
                let echoed = progress.echoed.fetch_add(read as u64, Ordering::Relaxed);
                if echoed + read as u64 == progress.end.load(Ordering::Relaxed) {
                    progress.reached.notify_one();
                }
            }
        }));
    }
    Box::new(move |bytes| {
        progress.end.fetch_add(bytes, Ordering::Relaxed);
        runtime.block_on(progress.reached.notified());
    })
}
