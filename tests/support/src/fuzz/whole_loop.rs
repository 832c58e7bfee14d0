//! A whole loop: connections, timers on a clock of the story's, calls of other threads (sent from this
//! one), panics, and a reactor that may go at any time. When the story ends, so do its faults: then all
//! must drain, and every byte, event and call must be accounted for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as Peer;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UnixStream;
use switchboard::reactor::{Reactor, ReactorHandle, Readiness, Registration, Remote, SendError};
use switchboard::{CallQueue, Recipient};

use super::{Script, attempt, unwind};
use crate::echo::Echo;

/// Turns in which all must drain.
const TURNS: usize = 2000;

struct World {
    script: Script,
    reactor: ReactorHandle,
    now: Cell<Instant>,
    lines: RefCell<Vec<Rc<Line>>>,
    scheduled: Cell<u64>,
    dialed: Cell<u64>,
    armed: Cell<u64>,
    fired: Cell<u64>,
    sent: Cell<usize>,
    received: Arc<AtomicUsize>,
    in_order: RefCell<VecDeque<u64>>,
    faults: Cell<bool>,
}

/// A connection and what is known of its bytes.
struct Line {
    peer: RefCell<Option<Peer>>,
    echo: RefCell<Option<Recipient<Connection>>>,
    sent: Cell<usize>,
    back: Cell<usize>,
    read: Cell<usize>,
    written: Cell<usize>,
    buffered: Cell<usize>,
    discarded: Cell<usize>,
    told: Cell<u64>,
    /// Whether the echo has come to an end.
    over: Cell<bool>,
}

/// Sends back what it reads.
struct Connection {
    socket: Option<Registration<UnixStream>>,
    echo: Echo,
    line: Rc<Line>,
    world: Rc<World>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.line.discarded.set(self.line.discarded.get() + self.echo.waiting());
        self.line.buffered.set(0);
        self.line.over.set(true);
    }
}

impl Connection {
    fn on_ready(&mut self, ready: &Readiness<'_>) {
        let line = Rc::clone(&self.line);
        line.told.set(line.told.get() + 1);
        let faults = self.world.faults.get();
        // A handler that unwinds before it has read is to be called again, or the edge is lost.
        if faults && self.world.script.pick(16) == 5 {
            ready.again();
            unwind();
        }
        let Some(socket) = &mut self.socket else { return };
        let most = if faults { 1 + self.world.script.pick(200) } else { 4096 };
        let read = self.echo.read(socket.source_mut(), most);
        if let Ok(Some(read @ 1..)) = read {
            line.read.set(line.read.get() + read);
            ready.again();
        }
        let broken = read.is_err() || self.echo.write(socket.source_mut()).is_err();
        line.written.set(self.echo.written() as usize);
        line.buffered.set(self.echo.waiting());
        if broken || self.echo.is_over() {
            self.socket = None;
            line.over.set(true);
        }
    }
}

impl World {
    fn open(self: &Rc<Self>) {
        if self.lines.borrow().len() == 8 || self.reactor.queue().is_closed() {
            return;
        }
        let (ours, peer) = Peer::pair().expect("a pair");
        ours.set_nonblocking(true).and_then(|()| peer.set_nonblocking(true)).expect("no blocking");
        let line = Rc::new(Line {
            peer: RefCell::new(Some(peer)),
            echo: RefCell::default(),
            sent: Cell::default(),
            back: Cell::default(),
            read: Cell::default(),
            written: Cell::default(),
            buffered: Cell::default(),
            discarded: Cell::default(),
            told: Cell::default(),
            over: Cell::default(),
        });
        let echo = self.reactor.queue().recipient_with(|echo| {
            let (ours, both) =
                (UnixStream::from_std(ours), Interest::READABLE | Interest::WRITABLE);
            let socket =
                self.reactor.register(ours, both, echo, |echo: &mut Connection, _, ready| {
                    echo.on_ready(ready);
                });
            let socket = Some(socket.expect("the poll takes it"));
            let (line, world) = (Rc::clone(&line), Rc::clone(self));
            Connection { socket, echo: Echo::default(), line, world }
        });
        line.echo.replace(Some(echo));
        self.lines.borrow_mut().push(line);
    }

    fn line(&self) -> Option<Rc<Line>> {
        let lines = self.lines.borrow();
        self.script.one(&lines)
    }

    /// Schedules a call, or sends one: they are dialed in the order in which they entered the queue.
    fn call(self: &Rc<Self>) {
        let (world, number) = (Rc::clone(self), self.scheduled.get());
        let call = move |_: &switchboard::QueueHandle| {
            assert_eq!(world.in_order.borrow_mut().pop_front(), Some(number), "out of order");
            world.dialed.set(world.dialed.get() + 1);
            if world.faults.get() && world.script.pick(8) == 0 {
                unwind();
            }
        };
        if self.reactor.queue().try_call(call).is_ok() {
            self.scheduled.set(number + 1);
            self.in_order.borrow_mut().push_back(number);
        }
    }

    fn send(&self, remote: &Remote) {
        let (received, number) = (Arc::clone(&self.received), self.sent.get());
        let result = remote.call(move |_| {
            let before = received.fetch_add(1, Ordering::Relaxed);
            assert_eq!(before, number, "not in the order they were sent");
        });
        match result {
            Ok(()) => self.sent.set(number + 1),
            Err(error) => {
                let closed = self.reactor.queue().is_closed();
                assert!(closed || matches!(error, SendError::Full(_)), "{error:?}");
            }
        }
    }

    fn arm(self: &Rc<Self>) {
        let world = Rc::clone(self);
        let delay = Duration::from_millis(self.script.byte().into());
        let deadline = self.now.get() + delay;
        let done = self.reactor.queue().callback(move |_, ()| {
            assert!(world.now.get() >= deadline, "early");
            world.fired.set(world.fired.get() + 1);
        });
        let timer = self.reactor.after(delay, done);
        if self.reactor.queue().is_closed() {
            return;
        }
        if self.script.pick(4) > 0 {
            self.armed.set(self.armed.get() + 1);
            timer.detach();
        }
    }

    fn check(&self) {
        let tally = self.reactor.queue().tally();
        assert!(tally.balances(), "{tally}");
        for line in &*self.lines.borrow() {
            let kept = line.written.get() + line.buffered.get() + line.discarded.get();
            assert_eq!(line.read.get(), kept, "bytes read and not written, buffered or discarded");
            assert!(line.read.get() <= line.sent.get() && line.back.get() <= line.written.get());
        }
    }
}

/// Reads what has come back.
fn receive(line: &Line) {
    let mut buffer = [0; 1000];
    while let Some(peer) = &mut *line.peer.borrow_mut()
        && let Ok(read @ 1..) = peer.read(&mut buffer)
    {
        line.back.set(line.back.get() + read);
    }
}

fn turn(reactor: &mut Reactor) {
    let _ = attempt(|| reactor.turn(Some(Duration::ZERO)).expect("a turn"));
}

pub fn run(data: &[u8]) {
    let script = Script::new(data);
    let capacity = if script.pick(2) == 0 { usize::MAX } else { 3 };
    let reactor = Reactor::with_queue(CallQueue::bounded(capacity)).expect("a reactor");
    let handle = reactor.handle();
    let remote = handle.remote().bounded(16);
    let world = Rc::new(World {
        script,
        reactor: handle.clone(),
        now: Cell::new(Instant::now()),
        lines: RefCell::default(),
        scheduled: Cell::default(),
        dialed: Cell::default(),
        armed: Cell::default(),
        fired: Cell::default(),
        sent: Cell::default(),
        received: Arc::default(),
        in_order: RefCell::default(),
        faults: Cell::new(true),
    });
    let (clock, start) = (Rc::downgrade(&world), world.now.get());
    handle.set_clock(move || clock.upgrade().map_or(start, |world| world.now.get()));
    let mut reactor = Some(reactor);
    while !world.script.is_over() {
        match world.script.pick(16) {
            0 => world.open(),
            1..4 => {
                let Some(line) = world.line() else { continue };
                let bytes = vec![7; 1 + 8 * world.script.pick(256)];
                if let Some(peer) = &mut *line.peer.borrow_mut()
                    && let Ok(sent) = peer.write(&bytes)
                {
                    line.sent.set(line.sent.get() + sent);
                }
            }
            4 => drop(world.line().map(|line| receive(&line))),
            5 => {
                let Some(line) = world.line() else { continue };
                if let Some(peer) = &*line.peer.borrow() {
                    let _ = peer.shutdown(Shutdown::Write);
                }
            }
            6 if world.script.pick(4) == 0 => {
                drop(world.line().map(|line| line.peer.borrow_mut().take()));
            }
            7 if world.script.pick(4) == 0 => {
                let echo = world.line().and_then(|line| line.echo.borrow_mut().take());
                drop(echo);
            }
            8 => world.call(),
            9 => world.send(&remote),
            10 => world.arm(),
            11 => {
                let by = Duration::from_millis(world.script.byte().into());
                world.now.set(world.now.get() + by);
            }
            12 => handle.set_budget(world.script.pick(8)),
            13 if world.script.byte() == 77 => drop(reactor.take()),
            _ => {
                if let Some(reactor) = &mut reactor {
                    turn(reactor);
                }
            }
        }
        world.check();
    }
    settle(&world, reactor, remote);
    assert_eq!(Rc::strong_count(&world), 1, "leaked");
}

/// No faults any more: all drains in some turns.
fn settle(world: &Rc<World>, reactor: Option<Reactor>, remote: Remote) {
    world.faults.set(false);
    world.now.set(world.now.get() + Duration::from_secs(1));
    world.reactor.set_budget(1024);
    if let Some(mut reactor) = reactor {
        for line in &*world.lines.borrow() {
            if let Some(peer) = &*line.peer.borrow() {
                let _ = peer.shutdown(Shutdown::Write);
            }
        }
        drop(remote);
        let mut turns = 0;
        let open = || {
            let is_open = |line: &Rc<Line>| line.echo.borrow().is_some() && !line.over.get();
            world.lines.borrow().iter().any(is_open)
        };
        while world.reactor.poll_timeout() == Some(Duration::ZERO) || open() {
            turn(&mut reactor);
            world.lines.borrow().iter().for_each(|line| receive(line));
            turns += 1;
            assert!(turns < TURNS, "it does not drain: {:?}", reactor.event_stats());
        }
        world.lines.borrow().iter().for_each(|line| receive(line));
        world.check();
        for line in &*world.lines.borrow() {
            let (read, back) = (line.read.get(), line.back.get());
            let whole = line.peer.borrow().is_some() && line.echo.borrow().is_some();
            assert!(!whole || read == line.sent.get() && back == read, "bytes are missing");
        }
        assert_eq!(world.received.load(Ordering::Relaxed), world.sent.get(), "calls of others");
        assert_eq!(
            (world.dialed.get(), world.fired.get()),
            (world.scheduled.get(), world.armed.get())
        );
        assert_eq!((world.reactor.registration_count(), world.reactor.timer_count()), (0, 0));
        assert!(!reactor.should_run(), "nothing can happen any more");
    }
    for line in world.lines.take() {
        let echo = line.echo.take();
        drop(echo);
    }
    world.check();
    let tally = world.reactor.queue().tally();
    assert_eq!((tally.pending, tally.unscheduled, tally.abandoned), (0, 0, 0), "{tally}");
}
