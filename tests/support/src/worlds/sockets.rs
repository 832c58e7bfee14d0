//! A reactor on real sockets, with recipients that echo, and a queue beside it: handlers, captured values,
//! observers, wake hooks and the clock use both, drop both, and panic. Then all must drain, and every
//! byte and every call must be accounted for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UnixStream;
use switchboard::future::{self, CallbackFuture};
use switchboard::reactor::{
    Reactor, ReactorHandle, Readiness, Registration, Remote, RemoteAddress, Timer,
};
use switchboard::{Address, CallId, CallQueue, Callback, QueueHandle, Recipient, Step};

use super::books::{Flow, Parcel, Sent, Served};
use crate::echo::Echo;
use crate::net::{self, check};
use crate::story::{Acting, Counts, Decisions, Verdict, World, attempt, unwind_perhaps};
use crate::util::on_drop;

const STEPS: usize = 200;
/// What may still be done by those that go at the end.
const LAST_ACTS: u32 = 100;
const CAPACITIES: [usize; 5] = [0, 1, 2, 5, usize::MAX];

/// All that the actions of one story use.
struct Stage {
    random: Decisions,
    acting: Acting,
    /// Whether actions panic now and then.
    panics: bool,
    /// Whether a call is reported as dialed, and has not begun: no other may begin before it (law L6).
    begins: Cell<bool>,
    props: Cell<i64>,
    verdict: Verdict,
    handle: ReactorHandle,
    /// The reactor's, and another one.
    queues: [QueueHandle; 2],
    reactor: RefCell<Option<Reactor>>,
    other: RefCell<Option<CallQueue>>,
    now: Cell<Instant>,
    ids: RefCell<Vec<CallId>>,
    timers: RefCell<Vec<Timer>>,
    callbacks: RefCell<Vec<Callback<()>>>,
    recipients: RefCell<Vec<Recipient<u32>>>,
    remotes: RefCell<Vec<(Remote, Arc<Sent>)>>,
    addresses: RefCell<Vec<(RemoteAddress<u32>, Arc<Sent>)>>,
    senders: RefCell<Vec<Arc<Sent>>>,
    wakers: RefCell<Vec<Waker>>,
    answers: RefCell<Vec<CallbackFuture<Prop>>>,
    promises: RefCell<Vec<Callback<Prop>>>,
    lines: RefCell<Vec<Rc<Line>>>,
    /// How many bytes have come back on lines that came to their end.
    echoed: Cell<u64>,
}

/// A connection that is echoed.
struct Line {
    peer: RefCell<Option<unix::net::UnixStream>>,
    socket: RefCell<Option<Registration<UnixStream>>>,
    echo: RefCell<Echo>,
    owner: Address<u32>,
    flow: Flow,
    /// Whether the echo has come to its end.
    over: Cell<bool>,
}

impl Line {
    /// Whether bytes may still come through.
    fn is_open(&self) -> bool {
        !self.over.get() && self.socket.borrow().is_some() && !self.owner.is_gone()
    }

    /// The peer sends, as much as fits.
    fn push(&self, bytes: usize) {
        if let Some(peer) = &mut *self.peer.borrow_mut()
            && let Ok(sent) = peer.write(&self.flow.next(bytes))
        {
            Flow::add(&self.flow.pushed, sent);
        }
    }

    /// The peer receives what has come back.
    fn receive(&self, verdict: &Verdict) {
        let mut buffer = [0; 1000];
        while let Some(peer) = &mut *self.peer.borrow_mut()
            && let Ok(read @ 1..) = peer.read(&mut buffer)
        {
            self.flow.receive(&buffer[..read], verdict);
        }
    }

    fn finish(&self) {
        if let Some(peer) = &*self.peer.borrow() {
            let _ = peer.shutdown(Shutdown::Write);
        }
    }

    /// What a readiness call does: reads at most `most` bytes, and asks to be called again for more. (Before
    /// it acts, and may panic: or the edge is lost.)
    fn serve(&self, ready: &Readiness<'_>, most: usize, verdict: &Verdict) {
        let served = {
            let mut socket = self.socket.borrow_mut();
            let Some(source) = socket.as_mut().map(Registration::source_mut) else { return };
            self.flow.serve(&mut self.echo.borrow_mut(), source, most, verdict)
        };
        match served {
            Served::Blocked => {}
            Served::More => ready.again(),
            Served::Over => self.over.set(true),
        }
    }
}

thread_local! {
    /// For those that may not own it: what is sent, and what the queues and the reactor own.
    static STAGE: RefCell<Option<Rc<Stage>>> = const { RefCell::new(None) };
}

/// Acts, perhaps, unless the story is over.
fn act(odds: usize) {
    if let Some(stage) = STAGE.with_borrow(Option::clone) {
        stage.act(odds);
    }
}

/// A value that is captured, or answered; it acts as it drops.
struct Prop(Rc<Stage>);

impl Prop {
    fn new(stage: &Rc<Stage>) -> Self {
        stage.props.set(stage.props.get() + 1);
        Self(Rc::clone(stage))
    }

    /// What handlers do.
    fn handle(self, queue: &QueueHandle) {
        self.0.act(2);
        if self.0.pick(6) == 0 {
            let _ = queue.dial_pending();
        }
    }
}

impl Drop for Prop {
    fn drop(&mut self) {
        self.0.props.set(self.0.props.get() - 1);
        self.0.act(3);
    }
}

/// The same for what is sent, which can own nothing of this thread.
struct SentProp(Parcel);

impl SentProp {
    fn handle(mut self, queue: &QueueHandle) {
        self.0.receive();
        act(2);
        if STAGE.with_borrow(|stage| stage.as_ref().is_some_and(|stage| stage.pick(4) == 0)) {
            let _ = queue.dial_pending();
        }
    }
}

impl Drop for SentProp {
    fn drop(&mut self) {
        act(3);
    }
}

impl Stage {
    /// A random number less than `end`.
    fn pick(&self, end: usize) -> usize {
        self.random.below(end)
    }

    fn queue(&self) -> &QueueHandle {
        &self.queues[self.pick(2)]
    }

    /// One random act in `odds`, with what follows from it.
    fn act(self: &Rc<Self>, odds: usize) {
        for queue in &self.queues {
            let tally = queue.tally();
            self.verdict.check("L1", tally.balances(), || tally.to_string());
        }
        if self.acting.may() && self.random.one_in(odds) {
            self.acting.act(&self.verdict, || {
                self.act_once();
                if self.panics {
                    unwind_perhaps(&self.random, 12);
                }
            });
        }
    }

    fn act_once(self: &Rc<Self>) {
        match self.pick(36) {
            action @ 0..9 => self.act_on_calls(action),
            9..12 => {
                let deadline = self.now.get() + Duration::from_millis(self.pick(5) as u64);
                let timer = self.handle.at(deadline, self.due(deadline));
                if self.pick(3) == 0 {
                    timer.detach();
                } else {
                    self.timers.borrow_mut().push(timer);
                }
            }
            12..14 => drop(self.random.take(&self.timers)),
            action @ 14..21 => self.act_on_remotes(action - 14),
            action @ 21..28 => self.act_on_futures(action - 21),
            28 => self.connect(),
            29 | 32..36 => self.act_on_lines(),
            30 if self.pick(60) == 0 => drop(self.reactor.take()),
            30 if self.pick(60) == 0 => drop(self.other.take()),
            30 if !self.begins.get() => _ = self.queue().dial_pending(),
            _ => self.now.set(self.now.get() + Duration::from_millis(self.pick(4) as u64)),
        }
    }

    fn act_on_calls(self: &Rc<Self>, action: usize) {
        match action {
            0 | 1 => {
                let captured = Prop::new(self);
                let id = Some(self.queue().call(|queue| captured.handle(queue)));
                self.ids.borrow_mut().extend(id);
            }
            2 => {
                let callback = self.due(self.now.get());
                self.callbacks.borrow_mut().push(callback);
            }
            3 => drop(self.random.take(&self.callbacks).map(|callback| callback.answer(()))),
            4 => {
                let callback = self.random.take(&self.callbacks);
                _ = callback.map(|callback| callback.decline("declined"));
            }
            5 | 6 => {
                let Some(id) = self.random.take(&self.ids) else { return };
                for queue in &self.queues {
                    queue.cancel(id, "canceled");
                }
            }
            7 => {
                let recipient = self.queue().recipient(0);
                self.recipients.borrow_mut().push(recipient);
            }
            _ => drop(self.random.take(&self.recipients)),
        }
    }

    /// A callback that is not to be reported before `deadline`.
    fn due(self: &Rc<Self>, deadline: Instant) -> Callback<()> {
        let captured = Prop::new(self);
        let reported = move |queue: &QueueHandle| {
            let stage = &captured.0;
            let in_time = stage.now.get() >= deadline;
            stage.verdict.check("L5", in_time, || "a timer was early".into());
            captured.handle(queue);
        };
        let callback = match self.random.take(&self.recipients) {
            Some(recipient) if self.pick(2) == 0 => {
                let callback = recipient.callback(|count, cx, ()| {
                    *count += 1;
                    reported(cx.queue());
                });
                self.recipients.borrow_mut().push(recipient);
                callback
            }
            recipient => {
                self.recipients.borrow_mut().extend(recipient);
                self.queue().callback(|queue, ()| reported(queue))
            }
        };
        self.ids.borrow_mut().push(callback.id());
        callback
    }

    fn act_on_remotes(&self, action: usize) {
        match action {
            0 => {
                let remote = self.handle.remote();
                let remote = if self.pick(2) == 0 { remote.bounded(self.pick(3)) } else { remote };
                self.remotes.borrow_mut().push((remote, self.sender()));
            }
            1 => drop(self.random.take(&self.remotes)),
            2 | 3 => {
                self.random.lend(&self.remotes, |(remote, sent)| {
                    let captured = SentProp(Parcel::new(sent));
                    drop(remote.call(|reactor| captured.handle(reactor.queue())));
                });
            }
            4 => {
                let address = self.random.lend(&self.recipients, |to| self.handle.remote_to(to));
                let address = address.map(|address| (address, self.sender()));
                self.addresses.borrow_mut().extend(address);
            }
            5 => drop(self.random.take(&self.addresses)),
            _ => {
                self.random.lend(&self.addresses, |(address, sent)| {
                    let captured = SentProp(Parcel::new(sent));
                    drop(address.call(|_, cx| captured.handle(cx.queue())));
                });
            }
        }
    }

    fn sender(&self) -> Arc<Sent> {
        let sent = Arc::default();
        self.senders.borrow_mut().push(Arc::clone(&sent));
        sent
    }

    fn act_on_futures(self: &Rc<Self>, action: usize) {
        match action {
            0 => {
                let woken = |wakes: &mut u32, cx: &switchboard::Context<'_, u32>| {
                    *wakes += 1;
                    act(2);
                    if wakes.is_multiple_of(8) {
                        cx.hang_up();
                    }
                };
                let waker = self.random.lend(&self.addresses, |(address, _)| address.waker(woken));
                self.wakers.borrow_mut().extend(waker);
            }
            1 => drop(self.random.take(&self.wakers)),
            2 => drop(self.random.take(&self.wakers).map(Waker::wake)),
            3 => drop(self.random.lend(&self.wakers, Waker::wake_by_ref)),
            4 => {
                let (promise, mut answer) = future::callback(self.queue());
                self.promises.borrow_mut().push(promise);
                let waker = self.random.take(&self.wakers);
                let mut context = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
                if Pin::new(&mut answer).poll(&mut context).is_pending() {
                    self.answers.borrow_mut().push(answer);
                }
                self.wakers.borrow_mut().extend(waker);
            }
            5 => drop(
                self.random.take(&self.promises).map(|promise| promise.answer(Prop::new(self))),
            ),
            _ => drop(self.random.take(&self.answers)),
        }
    }

    /// A connection to a recipient, which echoes.
    fn connect(self: &Rc<Self>) {
        let (source, peer) = net::local_pair();
        peer.set_nonblocking(true).expect("a socket");
        let Some(owner) = self.random.lend(&self.recipients, |owner| owner.address()) else {
            return;
        };
        let line = Rc::new(Line {
            peer: RefCell::new(Some(peer)),
            socket: RefCell::default(),
            echo: RefCell::default(),
            owner: owner.clone(),
            flow: Flow::default(),
            over: Cell::default(),
        });
        line.push(3);
        let (captured, served) = (Prop::new(self), Rc::clone(&line));
        let both = Interest::READABLE | Interest::WRITABLE;
        let socket = self.handle.register(source, both, &owner, move |_, _, ready| {
            let stage = &captured.0;
            served.serve(ready, 1 + stage.pick(200), &stage.verdict);
            stage.act(2);
        });
        line.socket.replace(socket.ok());
        self.lines.borrow_mut().push(line);
    }

    fn act_on_lines(&self) {
        let line = self.random.one(&self.lines.borrow());
        let Some(line) = line else { return };
        match self.pick(12) {
            0..5 => line.push(1 + 8 * self.pick(256)),
            5..9 => line.receive(&self.verdict),
            9 => line.finish(),
            10 => drop(line.peer.take()),
            _ => {
                let socket = line.socket.take();
                drop(socket);
            }
        }
    }

    /// A turn of the loop, if it is there and not dialing already.
    fn turn(&self) {
        let Some(mut reactor) = self.reactor.take() else { return };
        reactor.set_budget([0, 1, 3, 100][self.pick(4)]);
        attempt(|| _ = reactor.turn(Some(Duration::ZERO)).unwrap());
        attempt(|| check(&reactor));
        self.reactor.replace(Some(reactor));
    }

    /// Lets everything come to its end, with no one who acts any more: the loop then ends as well.
    fn settle(&self) {
        let Some(mut reactor) = self.reactor.take() else { return };
        self.acting.left.set(0);
        reactor.set_budget(100);
        self.timers.take().into_iter().for_each(Timer::detach);
        self.now.set(self.now.get() + Duration::from_secs(1));
        attempt(|| drop((self.remotes.take(), self.addresses.take())));
        attempt(|| drop((self.callbacks.take(), self.promises.take(), self.answers.take())));
        attempt(|| drop(self.wakers.take()));
        let lines = self.lines.borrow().clone();
        lines.iter().for_each(|line| line.finish());
        for _ in 0..5000 {
            // (What is not open is not drained.)
            for line in lines.iter().filter(|line| !line.is_open()) {
                let socket = line.socket.take();
                drop(socket);
            }
            if !reactor.should_run() && self.queues[1].is_idle() {
                break;
            }
            lines.iter().for_each(|line| line.receive(&self.verdict));
            attempt(|| _ = reactor.turn(Some(Duration::ZERO)).unwrap());
            attempt(|| _ = self.queues[1].dial_all());
        }
        let left = (reactor.should_run(), reactor.poll_timeout(), reactor.timer_count());
        let verdict = &self.verdict;
        verdict.check("L8", left == (false, None, 0), || format!("goes on for ever: {left:?}"));
        for line in lines.iter().filter(|line| line.over.get() && line.peer.borrow().is_some()) {
            line.receive(verdict);
            let (pushed, arrived) = (line.flow.pushed.get(), line.flow.arrived.get());
            verdict.equal("L7", "bytes back", arrived, pushed);
            self.echoed.set(self.echoed.get() + arrived);
        }
        self.senders.borrow().iter().for_each(|sent| sent.check(true, verdict));
        self.reactor.replace(Some(reactor));
    }

    /// Drops everything one by one, and what those that go have made.
    fn clear(&self) {
        fn all<T>(stage: &Stage, of: &RefCell<Vec<T>>) -> bool {
            let some = !of.borrow().is_empty();
            while let Some(element) = stage.random.take(of) {
                attempt(|| drop(element));
            }
            some
        }
        while all(self, &self.timers)
            | all(self, &self.callbacks)
            | all(self, &self.promises)
            | all(self, &self.answers)
            | all(self, &self.wakers)
            | all(self, &self.remotes)
            | all(self, &self.addresses)
            | all(self, &self.lines)
            | all(self, &self.recipients)
        {}
    }
}

/// Counts for each call how often it was made and how often it ended.
type Ledger = Rc<RefCell<HashMap<CallId, [u32; 2]>>>;

/// Sets the observer and the wake hook of a queue.
fn audit(queue: &QueueHandle, ledger: &Ledger) {
    let (ledger, handle) = (Rc::clone(ledger), queue.clone());
    queue.add_observer(move |call: CallId, step: &Step| {
        let place = match step {
            Step::Created { .. } => Some(0),
            Step::Finished
            | Step::Canceled { .. }
            | Step::Refused { .. }
            | Step::Abandoned { .. }
            | Step::Panicked => Some(1),
            _ => None,
        };
        if let Some(place) = place {
            ledger.borrow_mut().entry(call).or_default()[place] += 1;
        }
        if let Some(stage) = STAGE.with_borrow(Option::clone) {
            let dialed_late = *step == Step::Dialed && handle.is_closed();
            stage.verdict.check("R11", !dialed_late, || "dialed after the queue's end".into());
            let before = stage.begins.replace(stage.begins.get() || *step == Step::Dialed);
            let _after = on_drop(|| stage.begins.set(before));
            stage.act(8);
        }
    });
    queue.set_wake_hook(|| act(3));
}

/// The world of one story.
pub struct Sockets {
    stage: Rc<Stage>,
    ledger: Ledger,
    steps: usize,
    /// Whether all comes to its end before it goes.
    settles: bool,
}

impl World for Sockets {
    /// What comes first decides the capacities of the queues, whether acts panic, and whether all comes to its
    /// end before it goes.
    fn begin(random: Decisions) -> Self {
        let queue = || CallQueue::bounded(CAPACITIES[random.below(5)]);
        let (reactor, other) = (Reactor::with_queue(queue()).expect("a reactor"), queue());
        let (panics, settles) = (random.one_in(2), random.one_in(2));
        let stage = Rc::new(Stage {
            random,
            acting: Acting::new(600, 4),
            panics,
            begins: Cell::new(false),
            props: Cell::new(0),
            verdict: Verdict::default(),
            handle: reactor.handle(),
            queues: [reactor.queue().clone(), other.handle()],
            reactor: RefCell::new(Some(reactor)),
            other: RefCell::new(Some(other)),
            now: Cell::new(Instant::now()),
            ids: RefCell::default(),
            timers: RefCell::default(),
            callbacks: RefCell::default(),
            recipients: RefCell::default(),
            remotes: RefCell::default(),
            addresses: RefCell::default(),
            senders: RefCell::default(),
            wakers: RefCell::default(),
            answers: RefCell::default(),
            promises: RefCell::default(),
            lines: RefCell::default(),
            echoed: Cell::default(),
        });
        STAGE.set(Some(Rc::clone(&stage)));
        let ledger = Ledger::default();
        for queue in &stage.queues {
            audit(queue, &ledger);
        }
        stage.handle.set_clock(|| {
            act(10);
            let now = |stage: &Option<Rc<Stage>>| stage.as_ref().map(|stage| stage.now.get());
            STAGE.with_borrow(now).unwrap_or_else(Instant::now)
        });
        Self { stage, ledger, steps: 0, settles }
    }

    fn is_over(&self) -> bool {
        self.steps == STEPS
    }

    fn act(&mut self) {
        self.steps += 1;
        attempt(|| self.stage.act(1));
        if self.stage.pick(4) == 0 {
            self.stage.turn();
        }
    }

    fn check(&self) -> Result<(), String> {
        let Stage { verdict, lines, senders, .. } = &*self.stage;
        lines.borrow().iter().for_each(|line| line.flow.check(None, verdict));
        senders.borrow().iter().for_each(|sent| sent.check(false, verdict));
        verdict.result()
    }

    fn end(self) -> Result<Counts, String> {
        let Self { stage, ledger, settles, .. } = self;
        if settles {
            stage.settle();
        } else {
            stage.acting.left.set(LAST_ACTS);
        }
        // The observers go with their queues.
        if !stage.queues.iter().any(QueueHandle::is_closed) {
            let [ours, other] = stage.queues.each_ref().map(|queue| queue.tally().created);
            assert_eq!(ledger.borrow().len() as u64, ours + other);
        }
        let (reactor, other) = (stage.reactor.take(), stage.other.take());
        attempt(|| drop(reactor));
        attempt(|| drop(other));
        stage.clear();
        STAGE.set(None);
        let Stage { handle, queues, verdict, senders, .. } = &*stage;
        senders.borrow().iter().for_each(|sent| sent.check(true, verdict));
        verdict.equal("L5", "timers", handle.timer_count(), 0);
        verdict.equal("L4", "registrations", handle.registration_count(), 0);
        verdict.equal("M5", "sleep", handle.poll_timeout(), None);
        let tallies = queues.each_ref().map(QueueHandle::tally);
        for tally in tallies {
            let open = tally.unscheduled + tally.pending + tally.live;
            verdict.check("L1", tally.balances() && open == 0, || tally.to_string());
            let holds = stage.panics || tally.panicked == 0;
            verdict.check("R10", holds, || format!("nothing panics: {tally}"));
        }
        let once = ledger.borrow().values().all(|counts| *counts == [1; 2]);
        verdict.check("L1", once, || "a call ended not once".into());
        verdict.equal("L1", "captures left", stage.props.get(), 0);
        verdict.equal("L1", "references left", Rc::strong_count(&stage), 1);
        let sum = |count: fn(&switchboard::Tally) -> u64| tallies.iter().map(count).sum();
        verdict.result().map(|()| {
            vec![
                sum(|tally| tally.finished),
                sum(|tally| tally.canceled),
                sum(|tally| tally.refused),
                sum(|tally| tally.abandoned),
                sum(|tally| tally.panicked),
                senders.borrow().iter().map(|sent| sent.received()).sum(),
                stage.echoed.get(),
            ]
        })
    }
}
