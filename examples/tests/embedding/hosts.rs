//! The loops, each with a reactor in it by the code of its example.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::{Events, Interest, Token, Waker};
use rustix::event::{PollFd, PollFlags};
use switchboard::reactor::{Guest, Reactor};

use super::scene::{Host, Scene};
use crate::embed;
use crate::embed::thread::HostEvent;

pub(crate) struct Mio {
    poll: mio::Poll,
    guest: Guest,
    scene: Rc<Scene>,
    _own: mio::net::UnixStream,
}

impl Host for Mio {
    fn new() -> Self {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let guest = Guest::new(poll.registry(), waker).unwrap();
        let (scene, own) = Scene::new(guest.handle());
        let mut own = mio::net::UnixStream::from_std(own);
        poll.registry().register(&mut own, Token(1), Interest::READABLE).unwrap();
        Self { poll, guest, scene, _own: own }
    }

    fn scene(&self) -> &Rc<Scene> {
        &self.scene
    }

    fn run(&mut self) {
        // The guest has a life of its own: it ends the loop by `stop`.
        let scene = &self.scene;
        let serve = |events: &Events| {
            scene.count_poll();
            if events.iter().any(|event| event.token() == Token(1)) && scene.serve() {
                scene.reactor.stop();
            }
        };
        embed::mio::run(&mut self.poll, &mut self.guest, serve).unwrap();
    }
}

pub(crate) struct Poll {
    reactor: Reactor,
    scene: Rc<Scene>,
    own: UnixStream,
}

/// A descriptor that counts how often it is asked for: once a poll.
struct Counting<'a>(&'a UnixStream, &'a Scene);

impl AsFd for Counting<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.1.count_poll();
        self.0.as_fd()
    }
}

impl Host for Poll {
    fn new() -> Self {
        let reactor = Reactor::new().unwrap();
        let (scene, own) = Scene::new(reactor.handle());
        Self { reactor, scene, own }
    }

    fn scene(&self) -> &Rc<Scene> {
        &self.scene
    }

    fn run(&mut self) {
        let Self { reactor, scene, own } = self;
        embed::poll::run(reactor, Counting(own, scene), || match scene.serve() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
        .unwrap();
    }
}

/// A host that waits for one descriptor of the reactor's, and asks for nothing.
#[cfg(all(target_os = "linux", feature = "timerfd"))]
pub(crate) struct Descriptor(Poll);

#[cfg(all(target_os = "linux", feature = "timerfd"))]
impl Host for Descriptor {
    fn new() -> Self {
        Self(Poll::new())
    }

    fn scene(&self) -> &Rc<Scene> {
        self.0.scene()
    }

    fn run(&mut self) {
        let Poll { reactor, scene, own } = &mut self.0;
        embed::descriptor::run(reactor, Counting(own, scene), || match scene.serve() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
        .unwrap();
    }
}

/// A host without descriptors. Its own source is that of another thread, which posts an event.
pub(crate) struct Thread {
    guest: Guest,
    poller: embed::thread::Poller,
    events: Receiver<HostEvent>,
    served: Sender<()>,
    /// How often the thread has polled since the scene counted.
    polled: Arc<AtomicUsize>,
    scene: Rc<Scene>,
}

impl Host for Thread {
    fn new() -> Self {
        let (post, events) = channel();
        let own_events = post.clone();
        let polled = Arc::new(AtomicUsize::new(0));
        let polls = Arc::clone(&polled);
        let (poller, guest) = embed::thread::Poller::start(move |event| {
            polls.fetch_add(1, Ordering::Relaxed);
            let _ = post.send(event); // the host may be gone
        })
        .unwrap();
        let (scene, own) = Scene::new(guest.handle());
        let (served, is_served) = channel();
        thread::spawn(move || {
            loop {
                let mut fds = [PollFd::new(&own, PollFlags::IN)];
                rustix::event::poll(&mut fds, None).unwrap();
                if own_events.send(HostEvent::Own).is_err() || is_served.recv().is_err() {
                    return;
                }
            }
        });
        Self { guest, poller, events, served, polled, scene }
    }

    fn scene(&self) -> &Rc<Scene> {
        &self.scene
    }

    fn run(&mut self) {
        let Self { guest, poller, events, served, polled, scene } = self;
        let serve = || {
            scene.count_poll();
            (0..polled.swap(0, Ordering::Relaxed)).for_each(|_| scene.count_poll());
            let over = scene.serve();
            served.send(()).unwrap();
            if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        embed::thread::run(poller, guest, events, serve).unwrap();
    }
}

pub(crate) struct Calloop {
    event_loop: calloop::EventLoop<'static, ()>,
    scene: Rc<Scene>,
}

impl Host for Calloop {
    fn new() -> Self {
        use calloop::generic::Generic;
        use calloop::{EventLoop, Interest, Mode, PostAction};

        let reactor = Reactor::new().unwrap();
        let (scene, own) = Scene::new(reactor.handle());
        let event_loop = EventLoop::try_new().unwrap();
        let (handle, signal) = (event_loop.handle(), event_loop.get_signal());
        let embedded = embed::calloop::Embedded::new(reactor).unwrap();
        handle.insert_source(embedded, |_, (), ()| ()).unwrap();
        let own = Generic::new(own, Interest::READ, Mode::Level);
        let served = Rc::clone(&scene);
        let serve = move |_, _: &mut _, (): &mut ()| {
            if served.serve() {
                signal.stop();
            }
            Ok(PostAction::Continue)
        };
        handle.insert_source(own, serve).unwrap();
        Self { event_loop, scene }
    }

    fn scene(&self) -> &Rc<Scene> {
        &self.scene
    }

    fn run(&mut self) {
        let scene = Rc::clone(&self.scene);
        self.event_loop.run(None, &mut (), |()| scene.count_poll()).unwrap();
    }
}

pub(crate) struct Tokio {
    runtime: tokio::runtime::Runtime,
    reactor: Reactor,
    scene: Rc<Scene>,
    own: UnixStream,
}

impl Host for Tokio {
    fn new() -> Self {
        let reactor = Reactor::new().unwrap();
        let (scene, own) = Scene::new(reactor.handle());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .unwrap();
        Self { runtime, reactor, scene, own }
    }

    fn scene(&self) -> &Rc<Scene> {
        &self.scene
    }

    fn run(&mut self) {
        let Self { runtime, reactor, scene, own } = self;
        let own = own.try_clone().unwrap();
        let served = Rc::clone(scene);
        runtime.block_on(async {
            let local = tokio::task::LocalSet::new();
            // The host is a task of its own, as it would be.
            let host = local.spawn_local(async move {
                let own = tokio::net::UnixStream::from_std(own).unwrap();
                loop {
                    own.readable().await.unwrap();
                    let over = served.serve();
                    // So that tokio knows that everything is read.
                    let _ = own.try_read(&mut [0; 1]);
                    if over {
                        return;
                    }
                }
            });
            let mut run = pin!(embed::tokio::run(reactor));
            let counted = std::future::poll_fn(|context| {
                scene.count_poll();
                run.as_mut().poll(context)
            });
            local
                .run_until(async {
                    tokio::select! {
                        ended = counted => match ended.unwrap() {},
                        host = host => if let Err(error) = host {
                            std::panic::resume_unwind(error.into_panic());
                        }
                    }
                })
                .await;
        });
    }
}
