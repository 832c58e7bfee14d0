//! What nobody thought of, in a reactor: random stories, in which handlers, captured values,
//! observers, wake hooks and the clock use the reactor and a queue of somebody else's, drop both, and
//! panic.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::os::unix;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UnixStream;
use switchboard::future::{self, CallbackFuture};
use switchboard::reactor::{Reactor, ReactorHandle, Registration, Remote, RemoteAddress, Timer};
use switchboard::{CallId, CallQueue, Callback, QueueHandle, Recipient, Step};

use crate::net::{self, check};
use crate::random::Random;

const ACTIONS: u32 = 600;
/// What may still be done by those that go at the end.
const LAST_ACTIONS: u32 = 100;
const DEPTH: u32 = 4;
const CAPACITIES: [usize; 5] = [0, 1, 2, 5, usize::MAX];

/// All that the actions of one story use.
struct Stage {
    random: Random,
    actions: Cell<u32>,
    depth: Cell<u32>,
    /// Whether actions panic now and then.
    panics: bool,
    props: Cell<i64>,
    /// The first rule that was broken.
    broken: RefCell<Option<String>>,
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
    remotes: RefCell<Vec<Remote>>,
    addresses: RefCell<Vec<RemoteAddress<u32>>>,
    wakers: RefCell<Vec<Waker>>,
    answers: RefCell<Vec<CallbackFuture<Prop>>>,
    promises: RefCell<Vec<Callback<Prop>>>,
    sources: RefCell<Vec<(Registration<UnixStream>, unix::net::UnixStream)>>,
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

/// What actions panic with.
struct Expected;

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
struct SentProp;

impl SentProp {
    fn handle(self, queue: &QueueHandle) {
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

    /// Notes a rule that is broken. A panic could be caught, or abort.
    fn rule(&self, holds: bool, says: impl FnOnce() -> String) {
        if !holds {
            self.broken.borrow_mut().get_or_insert_with(says);
        }
    }

    /// Catches what actions panic with.
    fn attempt(&self, run: impl FnOnce()) {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(run)) {
            self.rule(payload.is::<Expected>(), || "a panic of another kind".into());
        }
    }

    /// One random action in `odds`, with what follows from it.
    fn act(self: &Rc<Self>, odds: usize) {
        for queue in &self.queues {
            let tally = queue.tally();
            self.rule(tally.balances(), || tally.to_string());
        }
        if self.depth.get() == DEPTH || self.actions.get() == 0 || self.pick(odds) > 0 {
            return;
        }
        self.actions.set(self.actions.get() - 1);
        self.depth.set(self.depth.get() + 1);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            self.act_once();
            if self.panics && self.pick(12) == 0 {
                panic::resume_unwind(Box::new(Expected));
            }
        }));
        self.depth.set(self.depth.get() - 1);
        if let Err(payload) = outcome {
            self.rule(payload.is::<Expected>(), || "a panic of another kind".into());
            if !thread::panicking() {
                panic::resume_unwind(payload);
            }
        }
    }

    fn act_once(self: &Rc<Self>) {
        match self.pick(32) {
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
            28 => self.register(),
            29 => drop(self.random.take(&self.sources)),
            30 if self.pick(60) == 0 => drop(self.reactor.take()),
            30 if self.pick(60) == 0 => drop(self.other.take()),
            30 => _ = self.queue().dial_pending(),
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

    /// A callback that is not to be told before `deadline`.
    fn due(self: &Rc<Self>, deadline: Instant) -> Callback<()> {
        let captured = Prop::new(self);
        let told = move |queue: &QueueHandle| {
            let stage = &captured.0;
            stage.rule(stage.now.get() >= deadline, || "a timer was early".into());
            captured.handle(queue);
        };
        let callback = match self.random.take(&self.recipients) {
            Some(recipient) if self.pick(2) == 0 => {
                let callback = recipient.callback(|count, cx, ()| {
                    *count += 1;
                    told(cx.queue());
                });
                self.recipients.borrow_mut().push(recipient);
                callback
            }
            recipient => {
                self.recipients.borrow_mut().extend(recipient);
                self.queue().callback(|queue, ()| told(queue))
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
                self.remotes.borrow_mut().push(remote);
            }
            1 => drop(self.random.take(&self.remotes)),
            2 | 3 => {
                let captured = SentProp;
                self.random.lend(&self.remotes, |remote| {
                    drop(remote.call(|reactor| captured.handle(reactor.queue())));
                });
            }
            4 => {
                let address = self.random.lend(&self.recipients, |to| self.handle.remote_to(to));
                self.addresses.borrow_mut().extend(address);
            }
            5 => drop(self.random.take(&self.addresses)),
            _ => {
                let captured = SentProp;
                self.random.lend(&self.addresses, |address| {
                    drop(address.call(|_, cx| captured.handle(cx.queue())));
                });
            }
        }
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
                let waker = self.random.lend(&self.addresses, |address| address.waker(woken));
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

    /// Registers a source that has something to tell.
    fn register(self: &Rc<Self>) {
        let (source, mut peer) = net::local_pair();
        peer.write_all(b"x").unwrap();
        let captured = Prop::new(self);
        let source = self.random.lend(&self.recipients, |recipient| {
            self.handle.register(source, Interest::READABLE, recipient, move |_, _, ready| {
                captured.0.act(2);
                if captured.0.pick(2) == 0 {
                    ready.again();
                }
            })
        });
        if let Some(Ok(source)) = source {
            self.sources.borrow_mut().push((source, peer));
        }
    }

    /// A turn of the loop, if it is there and not dialing already.
    fn turn(&self) {
        let Some(mut reactor) = self.reactor.take() else { return };
        reactor.set_budget([0, 1, 3, 100][self.pick(4)]);
        self.attempt(|| _ = reactor.turn(Some(Duration::ZERO)).unwrap());
        self.attempt(|| check(&reactor));
        self.reactor.replace(Some(reactor));
    }

    /// Lets everything come to its end, with nobody who acts any more: the loop then ends as well.
    fn settle(&self) {
        let Some(mut reactor) = self.reactor.take() else { return };
        self.actions.set(0);
        reactor.set_budget(100);
        self.timers.take().into_iter().for_each(Timer::detach);
        self.now.set(self.now.get() + Duration::from_secs(1));
        self.attempt(|| drop((self.sources.take(), self.remotes.take(), self.addresses.take())));
        self.attempt(|| drop((self.callbacks.take(), self.promises.take(), self.answers.take())));
        self.attempt(|| drop(self.wakers.take()));
        for _ in 0..5000 {
            if !reactor.should_run() && self.queues[1].is_idle() {
                break;
            }
            self.attempt(|| _ = reactor.turn(Some(Duration::ZERO)).unwrap());
            self.attempt(|| _ = self.queues[1].dial_all());
        }
        let left = (reactor.should_run(), reactor.poll_timeout(), reactor.timer_count());
        self.rule(left == (false, None, 0), || format!("goes on for ever: {left:?}"));
        self.reactor.replace(Some(reactor));
    }

    /// Drops everything one by one, and what those that go have made.
    fn clear(&self) {
        fn all<T>(stage: &Stage, of: &RefCell<Vec<T>>) -> bool {
            let some = !of.borrow().is_empty();
            while let Some(element) = stage.random.take(of) {
                stage.attempt(|| drop(element));
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
            | all(self, &self.sources)
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
            stage.rule(!dialed_late, || "dialed after the queue's end".into());
            stage.act(8);
        }
    });
    queue.set_wake_hook(|| act(3));
}

/// Runs one story, and returns how many calls ended in each way. `kind` decides the capacities of the
/// queues, and whether all comes to its end before it goes: there are 50 kinds.
pub fn run(kind: u64, random: Random, panics: bool) -> [u64; 5] {
    let queue = |kind: u64| CallQueue::bounded(CAPACITIES[(kind % 5) as usize]);
    let (reactor, other) = (Reactor::with_queue(queue(kind)).unwrap(), queue(kind / 5));
    let stage = Rc::new(Stage {
        random,
        actions: Cell::new(ACTIONS),
        depth: Cell::new(0),
        panics,
        props: Cell::new(0),
        broken: RefCell::default(),
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
        wakers: RefCell::default(),
        answers: RefCell::default(),
        promises: RefCell::default(),
        sources: RefCell::default(),
    });
    STAGE.set(Some(Rc::clone(&stage)));
    let ledger = Ledger::default();
    for queue in &stage.queues {
        audit(queue, &ledger);
    }
    stage.handle.set_clock(|| {
        act(10);
        STAGE.with_borrow(|stage| stage.as_ref().map_or_else(Instant::now, |stage| stage.now.get()))
    });
    for _ in 0..200 {
        stage.attempt(|| stage.act(1));
        if stage.pick(4) == 0 {
            stage.turn();
        }
    }
    if kind.is_multiple_of(2) {
        stage.settle();
    } else {
        stage.actions.set(LAST_ACTIONS);
    }
    // The observers go with their queues.
    if !stage.queues.iter().any(QueueHandle::is_closed) {
        let [ours, other] = stage.queues.each_ref().map(|queue| queue.tally().created);
        assert_eq!(ledger.borrow().len() as u64, ours + other);
    }
    let (reactor, other) = (stage.reactor.take(), stage.other.take());
    stage.attempt(|| drop(reactor));
    stage.attempt(|| drop(other));
    stage.clear();
    STAGE.set(None);
    assert_eq!(stage.broken.take(), None);
    let Stage { handle, queues, .. } = &*stage;
    assert_eq!(
        (handle.timer_count(), handle.registration_count(), handle.poll_timeout()),
        (0, 0, None)
    );
    let tallies = queues.each_ref().map(QueueHandle::tally);
    for tally in tallies {
        let open = tally.unscheduled + tally.pending + tally.live;
        assert!(tally.balances() && open == 0, "{tally}");
    }
    assert_eq!(ledger.borrow().values().find(|counts| **counts != [1; 2]), None);
    assert_eq!((stage.props.get(), Rc::strong_count(&stage)), (0, 1), "leaked");
    let sum = |count: fn(&switchboard::Tally) -> u64| tallies.iter().map(count).sum();
    [
        sum(|tally| tally.finished),
        sum(|tally| tally.canceled),
        sum(|tally| tally.refused),
        sum(|tally| tally.abandoned),
        sum(|tally| tally.panicked),
    ]
}
