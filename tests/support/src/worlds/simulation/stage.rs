//! Those who act in a simulation: what handlers, captured values and the script do at random.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use switchboard::op::{AsyncOp, OpError, OpState};
use switchboard::reactor::{ReactorHandle, Remote, RemoteAddress, Timer};
use switchboard::samples::{MlRetries, Module, Retry, RetryPolicy};
use switchboard::testing::{Clock, Peer, ScriptedReactor, ScriptedSource, Sources};
use switchboard::{CallId, Callback, Cancellation, QueueHandle, Recipient, Step};

use super::server::{Link, Server};
use crate::read_once::{Once, ReadOnce};
use crate::story::{Acting, Decisions, Verdict, unwind};
use crate::worlds::books::{Calls, Captures, Parcel, Sent};

/// All that the actions of one simulation use.
pub struct Stage {
    random: Decisions,
    acting: Acting,
    /// Whether anything goes wrong.
    pub faults: Cell<bool>,
    /// Whether a handler has dialed the queue in this turn.
    pub nested: Cell<bool>,
    pub calls: Rc<Calls>,
    pub captures: Captures,
    pub handle: ReactorHandle,
    pub clock: Clock,
    pub sources: Sources,
    pub servers: RefCell<Vec<Recipient<Server>>>,
    pub links: RefCell<Vec<Rc<Link>>>,
    ids: RefCell<Vec<CallId>>,
    pub timers: RefCell<Vec<Timer>>,
    pub callbacks: RefCell<Vec<Callback<()>>>,
    pub module: RefCell<Option<Rc<Reads>>>,
    pub ops: RefCell<Vec<Op>>,
    /// How often those that did not start have reported.
    pub not_started: RefCell<Vec<Rc<Cell<u32>>>>,
    pub readers: RefCell<Vec<Peer>>,
    pub remotes: RefCell<Vec<(Remote, Arc<Sent>)>>,
    pub addresses: RefCell<Vec<(RemoteAddress<Server>, Arc<Sent>)>>,
}

type Reads = MlRetries<ReadOnce<ScriptedSource>>;

/// An operation that was started, and how often it reported.
pub struct Op {
    pub handle: AsyncOp,
    pub reported: Rc<Cell<u32>>,
    /// Whether a cancel was accepted.
    pub canceled: Cell<bool>,
    /// Whether it reported that it was canceled.
    pub reported_canceled: Rc<Cell<bool>>,
}

thread_local! {
    /// For what is sent, which can own nothing of this thread.
    static STAGE: RefCell<Option<Rc<Stage>>> = const { RefCell::new(None) };
}

impl Stage {
    pub fn new(random: Decisions, reactor: &ScriptedReactor) -> Rc<Self> {
        let (handle, calls) = (reactor.handle(), Rc::new(Calls::default()));
        let (books, clock) = (Rc::clone(&calls), reactor.clock().clone());
        handle.queue().add_observer(move |call: CallId, step: &Step| {
            books.observe(call, step, clock.now());
        });
        let policy = RetryPolicy::new().attempts(4).backoff(|_| Duration::from_millis(3));
        let module = MlRetries::new(&handle, ReadOnce::new(&handle), policy);
        module.open();
        let stage = Rc::new(Self {
            random,
            acting: Acting::new(300, 4),
            faults: Cell::new(true),
            nested: Cell::new(false),
            calls,
            captures: Captures::default(),
            handle,
            clock: reactor.clock().clone(),
            sources: reactor.sources(),
            servers: RefCell::default(),
            links: RefCell::default(),
            ids: RefCell::default(),
            timers: RefCell::default(),
            callbacks: RefCell::default(),
            module: RefCell::new(Some(Rc::new(module))),
            ops: RefCell::default(),
            not_started: RefCell::default(),
            readers: RefCell::default(),
            remotes: RefCell::default(),
            addresses: RefCell::default(),
        });
        STAGE.set(Some(Rc::clone(&stage)));
        stage
    }

    /// Makes a server with two connections, and senders.
    pub fn begin(self: &Rc<Self>) {
        self.serve();
        self.connect();
        self.connect();
        (0..3).for_each(|_| self.join());
    }

    /// No one acts any more.
    pub fn leave() {
        STAGE.set(None);
    }

    pub fn verdict(&self) -> &Verdict {
        &self.calls.verdict
    }

    /// A random number less than `end`.
    pub fn pick(&self, end: usize) -> usize {
        self.random.below(end)
    }

    pub fn one_in(&self, odds: usize) -> bool {
        self.random.one_in(odds)
    }

    /// Whether something goes wrong now, in one case of `odds`.
    pub fn fault(&self, odds: usize) -> bool {
        self.faults.get() && self.one_in(odds)
    }

    /// Panics now and then, unless that would abort.
    pub fn panic_perhaps(&self, odds: usize) {
        if self.fault(odds) && !thread::panicking() {
            unwind();
        }
    }

    /// What handlers and captured values do: one random act in `odds`, with what follows from it.
    pub fn act(self: &Rc<Self>, odds: usize) {
        if self.acting.may() && self.fault(odds) {
            self.acting.act(self.verdict(), || self.act_once());
        }
    }

    pub fn act_once(self: &Rc<Self>) {
        match self.pick(36) {
            0..4 => self.call(),
            4..6 => self.make_callback(),
            6 => drop(self.random.take(&self.callbacks).map(|callback| callback.answer(()))),
            7 => self.end_callback(),
            8 | 9 => self.cancel(),
            10..12 => self.arm(),
            12 => drop(self.random.take(&self.timers)),
            13 => drop(self.random.take(&self.timers).map(Timer::detach)),
            14..16 => self.start(),
            16 => self.cancel_op(),
            17 => self.serve(),
            18 if self.one_in(4) => drop(self.random.take(&self.servers)),
            18 | 19 => self.connect(),
            20 => self.join(),
            21 | 22 => self.send(),
            23 => drop((self.one_in(3)).then(|| self.random.take(&self.remotes))),
            24 => self.make_callback(),
            _ => self.act_on_peers(),
        }
    }

    fn call(self: &Rc<Self>) {
        let captured = Capture::new(self);
        let scheduled = match self.pick(6) {
            // One that keeps the queue busy for as long as there are faults.
            0 => Some(self.handle.queue().call(move |queue| storm(captured, queue))),
            1 | 2 => self.random.lend(&self.servers, |server| {
                server.call(move |_, cx| captured.handle(cx.queue()))
            }),
            _ => Some(self.handle.queue().call(move |queue| captured.handle(queue))),
        };
        self.ids.borrow_mut().extend(scheduled);
    }

    /// A callback to somebody.
    fn callback(self: &Rc<Self>, reported: impl FnOnce(&Self) + 'static) -> Callback<()> {
        let captured = Capture::new(self);
        let entered = move |queue: &QueueHandle| {
            reported(&captured.stage);
            captured.handle(queue);
        };
        let servers = self.servers.borrow();
        let callback = match servers.first().filter(|_| self.one_in(2)) {
            Some(server) => server.callback(move |_, cx, ()| entered(cx.queue())),
            None => self.handle.queue().callback(move |queue, ()| entered(queue)),
        };
        self.ids.borrow_mut().push(callback.id());
        callback
    }

    fn make_callback(self: &Rc<Self>) {
        let callback = self.callback(|_| ());
        self.callbacks.borrow_mut().push(callback);
    }

    fn end_callback(&self) {
        let Some(callback) = self.random.take(&self.callbacks) else { return };
        if self.one_in(2) { drop(callback) } else { callback.decline("declined") }
    }

    fn cancel(&self) {
        let Some(id) = self.random.take(&self.ids) else { return };
        let said = self.handle.queue().cancel(id, "canceled");
        self.verdict().check("R4", said != Cancellation::Foreign, || format!("{id} is foreign"));
    }

    fn arm(self: &Rc<Self>) {
        let delay = Duration::from_millis(self.pick(6) as u64);
        let deadline = self.clock.now() + delay;
        let callback = self.callback(move |stage| {
            let late = stage.clock.now() >= deadline;
            stage.verdict().check("L5", late, || "fired early".into());
        });
        self.calls.timers.arm(callback.id(), deadline);
        let timer = self.handle.after(delay, callback);
        if self.one_in(3) {
            timer.detach();
        } else {
            self.timers.borrow_mut().push(timer);
        }
    }

    fn start(self: &Rc<Self>) {
        let (reported, reported_canceled) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let (captured, count) = (Capture::new(self), Rc::clone(&reported));
        let was_canceled = Rc::clone(&reported_canceled);
        let done = self.handle.queue().callback(move |queue: &QueueHandle, result| {
            count.set(count.get() + 1);
            was_canceled.set(matches!(result, Err(OpError::Canceled)));
            captured.handle(queue);
        });
        let Some(module) = self.module.borrow().clone() else { return };
        let stage = Rc::clone(self);
        let request = Retry::new(move |_, _| stage.request());
        let started = module.start(request, done);
        self.verdict().equal("O2", "reported inside the start", reported.get(), 0);
        match started {
            Ok(handle) => {
                let canceled = Cell::new(false);
                self.ops.borrow_mut().push(Op { handle, reported, canceled, reported_canceled });
            }
            Err(error) => {
                self.not_started.borrow_mut().push(reported);
                drop(error);
            }
        }
    }

    /// What an attempt reads: something, an error, or nothing yet.
    fn request(&self) -> Once<ScriptedSource> {
        let (source, peer) = self.sources.pair();
        if self.fault(8) {
            peer.fail_registering(ErrorKind::OutOfMemory);
        }
        match self.pick(4) {
            0 if self.fault(2) => peer.fail_read(ErrorKind::ConnectionReset),
            1 if self.faults.get() => {}
            _ => peer.push([1]),
        }
        self.readers.borrow_mut().push(peer);
        Once(source, 1 + self.pick(3))
    }

    fn cancel_op(&self) {
        let op = {
            let ops = self.ops.borrow();
            if ops.is_empty() { return } else { self.pick(ops.len()) }
        };
        let (handle, reported) = {
            let op = &self.ops.borrow()[op];
            (op.handle.clone(), Rc::clone(&op.reported))
        };
        let (before, state) = (reported.get(), handle.state());
        let said = handle.cancel();
        if said == Cancellation::Canceled {
            self.ops.borrow()[op].canceled.set(true);
        }
        self.verdict().equal("O2", "reported inside the cancel", reported.get(), before);
        let late = (said == Cancellation::Late) == (state == OpState::Completed);
        self.verdict().check("O3", late, || format!("{state:?}, but the cancel is {said:?}"));
    }

    fn serve(self: &Rc<Self>) {
        if self.servers.borrow().len() < 3 {
            let server = self.handle.queue().recipient(Server::default());
            server.set_defers_calls(self.one_in(2));
            self.servers.borrow_mut().push(server);
        }
    }

    fn connect(self: &Rc<Self>) {
        let (captured, swaps) = (Capture::new(self), self.one_in(3));
        self.random.lend(&self.servers, |server| {
            server.call(move |server, cx| {
                // The slot of the old source goes to the new one.
                let old = if swaps { server.take(&captured.stage) } else { None };
                drop(old);
                server.connect(&captured.stage, cx);
                captured.handle(cx.queue());
            });
        });
    }

    fn join(&self) {
        if self.one_in(2) {
            let sender = (self.handle.remote(), Arc::default());
            self.remotes.borrow_mut().push(sender);
        } else {
            let address = self.random.lend(&self.servers, |server| self.handle.remote_to(server));
            self.addresses.borrow_mut().extend(address.map(|address| (address, Arc::default())));
        }
    }

    fn send(&self) {
        if self.one_in(2) {
            self.random.lend(&self.remotes, |(remote, sent)| {
                let remote =
                    if self.one_in(6) { remote.clone().bounded(0) } else { remote.clone() };
                let parcel = Parcel::new(sent);
                let _ = remote.call(move |reactor| receive(parcel, reactor.queue()));
            });
        } else {
            self.random.lend(&self.addresses, |(address, sent)| {
                let parcel = Parcel::new(sent);
                let _ = address.call(move |_, cx| receive(parcel, cx.queue()));
            });
        }
    }

    /// The world outside: bytes, errors, ends.
    fn act_on_peers(&self) {
        let links = self.links.borrow();
        if !links.is_empty() && self.one_in(2) {
            let link = &links[self.pick(links.len())];
            match self.pick(3) {
                0 => self.hurt(&link.peer),
                _ => link.push(1 + self.pick(40)),
            }
            return;
        }
        let readers = self.readers.borrow();
        if readers.is_empty() {
            return;
        }
        let reader = &readers[self.pick(readers.len())];
        if self.one_in(2) { reader.push([2]) } else { self.hurt(reader) }
    }

    fn hurt(&self, peer: &Peer) {
        let errors = [
            ErrorKind::Interrupted,
            ErrorKind::WouldBlock,
            ErrorKind::ConnectionReset,
            ErrorKind::InvalidData,
        ];
        match self.pick(12) {
            0..3 => peer.limit_reads([0, 1, 3, usize::MAX][self.pick(4)]),
            3..6 => peer.limit_writes([0, 1, 3, usize::MAX][self.pick(4)]),
            6..8 => peer.fail_read(errors[self.pick(4)]),
            8 => peer.fail_write(errors[self.pick(4)]),
            9 => peer.fail_registering(ErrorKind::OutOfMemory),
            10 => peer.close_write(),
            _ => peer.close_read(),
        }
    }
}

/// Keeps the queue busy for as long as there are faults.
fn storm(captured: Capture, queue: &QueueHandle) {
    if captured.stage.faults.get() && !queue.is_closed() {
        queue.call(move |queue| storm(captured, queue));
    } else {
        captured.handle(queue);
    }
}

/// A captured value. It acts and panics as it drops.
pub struct Capture {
    stage: Rc<Stage>,
    number: usize,
    entered: bool,
}

impl Capture {
    fn new(stage: &Rc<Stage>) -> Self {
        Self { stage: Rc::clone(stage), number: stage.captures.make(), entered: false }
    }

    /// What handlers do.
    fn handle(mut self, queue: &QueueHandle) {
        self.entered = true;
        self.stage.captures.end(self.number, true, self.stage.verdict());
        handle(&self.stage, queue);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.entered {
            self.stage.captures.end(self.number, false, self.stage.verdict());
            self.stage.act(6);
            self.stage.panic_perhaps(12);
        }
    }
}

/// What every handler does besides its own.
pub fn handle(stage: &Rc<Stage>, queue: &QueueHandle) {
    stage.act(3);
    if stage.fault(30) {
        stage.nested.set(true);
        stage.links.borrow().iter().for_each(|link| link.flow.due.set(None));
        let _ = queue.dial_pending();
    }
    stage.panic_perhaps(16);
}

/// What is sent is received.
fn receive(mut parcel: Parcel, queue: &QueueHandle) {
    parcel.receive();
    if let Some(stage) = STAGE.with_borrow(Option::clone) {
        handle(&stage, queue);
    }
}
