//! Hazard: code of users that uses the queue, or panics, at any of the points where the queue runs it:
//! handlers, checks, drops, observers, conditions of budgets, wake hooks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use switchboard::{
    Address, Budget, Call, CallId, CallQueue, Callback, Context, Observer, QueueHandle, Recipient,
    ScheduleError, ScheduleErrorKind, Step,
};

use crate::story::{self, Acting, Counts, Decisions, Verdict, unwind_perhaps};

/// A queue, and the user code that it runs.
pub struct UserCode(Rc<World>);

struct World {
    random: Decisions,
    acting: Acting,
    queue: QueueHandle,
    owner: RefCell<Option<CallQueue>>,
    capacity: u64,
    /// Whether code of users may panic.
    panics: bool,
    /// Whether observers act as a call is dialed. (They may drop the recipient,
    /// which is live already.)
    acts_at_dialed: bool,
    ids: RefCell<Vec<CallId>>,
    callbacks: RefCell<Vec<Callback<Prop>>>,
    recipients: RefCell<Vec<Recipient<Prop>>>,
    /// Whether there is an observer.
    watched: Cell<bool>,
    /// How many calls were attempted, by what was seen of them: those entered, or stopped in the check.
    attempted: Cell<u64>,
    /// Handlers and checks in progress.
    live: Cell<u64>,
    alive: Cell<i64>,
    verdict: Verdict,
}

impl World {
    fn pick(&self, below: u64) -> u64 {
        self.random.below(below as usize) as u64
    }

    fn law(&self, holds: bool, text: impl FnOnce() -> String) {
        self.verdict.check("R12", holds, text);
    }

    /// What code of users does wherever it runs.
    fn act(self: &Rc<Self>, most: u64) {
        if !self.acting.may() {
            return;
        }
        for _ in 0..self.pick(most) {
            if !self.acting.may() {
                break;
            }
            self.acting.act(&self.verdict, || self.act_once());
            self.check();
        }
        if self.panics {
            unwind_perhaps(&self.random, 24);
        }
    }

    fn act_once(self: &Rc<Self>) {
        match self.pick(30) {
            0..5 => self.call(),
            5..8 => self.callback(),
            8..11 => self.answer(),
            11 => {
                let given = self.take_callback();
                if let Some(callback) = given {
                    callback.decline("declined");
                }
            }
            12 => drop(self.take_callback()),
            13..17 => self.cancel(),
            17..21 => self.dial(),
            21 => {
                self.queue.clear_observers();
                // One at a time: what an observer does reaches those behind it out of order.
                if !self.watched.replace(true) {
                    self.queue.add_observer(Watcher(Prop::new(self), RefCell::default()));
                }
            }
            22 => self.queue.clear_observers(),
            23 => {
                let prop = Prop::new(self);
                self.queue.set_wake_hook(move || prop.act(3));
            }
            24 => self.queue.clear_wake_hook(),
            25 | 26 => {
                let recipient = self.queue.recipient(Prop::new(self));
                self.recipients.borrow_mut().push(recipient);
            }
            27 => {
                let number = self.pick_of(self.recipients.borrow().len());
                let gone = number.map(|number| self.recipients.borrow_mut().swap_remove(number));
                drop(gone);
            }
            28 if self.pick(12) == 0 => {
                let owner = self.owner.borrow_mut().take();
                drop(owner);
            }
            _ => {
                let tally = self.queue.tally();
                // What is deferred waits for a live call.
                let idle = tally.pending == 0;
                self.law(self.queue.is_idle() == idle || tally.live > 0, || "is_idle".into());
            }
        }
    }

    fn pick_of(&self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.pick(len as u64) as usize)
    }

    fn call(self: &Rc<Self>) {
        let (pending, closed) = (self.queue.tally().pending, self.queue.is_closed());
        let prop = Prop::new(self);
        let result = match (self.pick(4), self.address()) {
            (0, _) | (_, None) => {
                self.queue.try_call(move |_| prop.run()).map_err(|error| reason(&error))
            }
            // One that is boxed.
            (1, Some(_)) => {
                let much = [prop.number(); 9];
                self.queue
                    .try_call(move |_| {
                        assert_eq!(much, [prop.number(); 9]);
                        prop.run();
                    })
                    .map_err(|error| reason(&error))
            }
            (2, Some(address)) => {
                let hangs_up = self.random.one_in(2);
                let handler = move |_: &mut Prop, cx: &Context<'_, Prop>| {
                    prop.enter(cx);
                    if hangs_up {
                        cx.hang_up();
                    }
                    prop.run();
                };
                address.try_call(handler).map_err(|error| reason(&error))
            }
            (_, Some(address)) => {
                address.try_schedule(Checked(prop)).map_err(|error| reason(&error))
            }
        };
        match result {
            Ok(id) => {
                self.law(pending < self.capacity && !closed, || format!("{id} was taken"));
                self.ids.borrow_mut().push(id);
            }
            Err("closed") => self.law(closed, || "handed back as closed".into()),
            Err(_) => self.law(pending >= self.capacity && !closed, || "not full".into()),
        }
    }

    fn address(&self) -> Option<Address<Prop>> {
        let number = self.pick_of(self.recipients.borrow().len())?;
        Some(self.recipients.borrow()[number].address())
    }

    fn callback(self: &Rc<Self>) {
        let prop = Prop::new(self);
        let callback = match self.address() {
            Some(address) if self.pick(2) == 0 => address.callback(move |_, cx, value| {
                let _value: Prop = value;
                prop.enter(cx);
                prop.run();
            }),
            _ => self.queue.callback(move |_, value| {
                let _value: Prop = value;
                prop.run();
            }),
        };
        self.ids.borrow_mut().push(callback.id());
        self.callbacks.borrow_mut().push(callback);
    }

    fn take_callback(&self) -> Option<Callback<Prop>> {
        let number = self.pick_of(self.callbacks.borrow().len())?;
        Some(self.callbacks.borrow_mut().swap_remove(number))
    }

    fn answer(self: &Rc<Self>) {
        let Some(callback) = self.take_callback() else { return };
        callback.answer(Prop::new(self));
    }

    fn cancel(&self) {
        let Some(number) = self.pick_of(self.ids.borrow().len()) else { return };
        // Late ones for the most part, so rather one of the last.
        let last = self.ids.borrow().len() - 1;
        let number = if self.pick(3) == 0 { number } else { last - number.min(3).min(last) };
        let id = self.ids.borrow()[number];
        let _ = self.queue.cancel(id, "canceled");
    }

    fn dial(self: &Rc<Self>) {
        let before = self.queue.tally();
        let report = match self.pick(4) {
            0 => self.queue.dial_all(),
            1 => self.queue.dial_pending(),
            2 => self.queue.dial(Budget::calls(self.pick(4) as usize)),
            _ => {
                let world = Rc::clone(self);
                let spent = move || {
                    world.act(2);
                    world.pick(6) == 0
                };
                self.queue.dial(Budget::calls(usize::MAX).until(&spent))
            }
        };
        let after = self.queue.tally();
        let ran = |tally: switchboard::Tally| tally.finished + tally.panicked;
        self.law(
            report.dialed <= ran(after) - ran(before)
                && report.refused <= after.refused - before.refused
                && report.canceled <= after.canceled,
            || format!("{report:?} of {before} and {after}"),
        );
    }

    fn check(&self) {
        let tally = self.queue.tally();
        self.law(tally.balances(), || format!("{tally}"));
        self.law(tally.live == self.live.get() + self.extra(), || {
            format!("{} are live: {tally}", self.live.get())
        });
        self.law(tally.created < 1 << 40 && tally.live < 1 << 20, || format!("{tally}"));
    }

    /// Calls that are live although neither a handler nor a check runs cannot be seen from here, as
    /// when their observer, or what they captured, runs: there may be one for each level.
    fn extra(&self) -> u64 {
        let live = self.queue.tally().live;
        live.saturating_sub(self.live.get()).min(u64::from(self.acting.depth()))
    }
}

const fn reason<C>(error: &ScheduleError<C>) -> &'static str {
    match error.kind() {
        ScheduleErrorKind::QueueDropped => "closed",
        ScheduleErrorKind::Full => "full",
        _ => "other",
    }
}

/// What is captured: it is entered once at most, and its drop acts.
struct Prop {
    world: Weak<World>,
    number: Cell<u64>,
}

impl Prop {
    fn new(world: &Rc<World>) -> Self {
        world.alive.set(world.alive.get() + 1);
        Self { world: Rc::downgrade(world), number: Cell::new(world.pick(1 << 31)) }
    }

    fn number(&self) -> u64 {
        self.number.get()
    }

    fn act(&self, most: u64) {
        if let Some(world) = self.world.upgrade() {
            world.act(most);
        }
    }

    /// A handler is entered, on `line`.
    fn enter(&self, cx: &Context<'_, Self>) {
        if let Some(world) = self.world.upgrade() {
            let holds = !cx.is_gone() || world.acts_at_dialed;
            world.verdict.check("R9", holds, || "a recipient that is gone is called".into());
        }
    }

    /// What handlers do.
    fn run(self) {
        let Some(world) = self.world.upgrade() else { return };
        world.attempted.set(world.attempted.get() + 1);
        let _live = Live::begin(&world);
        world.act(3);
        drop(self);
    }
}

impl Drop for Prop {
    fn drop(&mut self) {
        if let Some(world) = self.world.upgrade() {
            world.alive.set(world.alive.get() - 1);
            world.act(2);
        }
    }
}

struct Live(Rc<World>);

impl Live {
    fn begin(world: &Rc<World>) -> Self {
        world.live.set(world.live.get() + 1);
        Self(Rc::clone(world))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.set(self.0.live.get() - 1);
    }
}

/// A call whose check acts, too.
struct Checked(Prop);

impl Call for Checked {
    type Recipient = Prop;

    fn can_dial(&self, _: &Prop) -> Result<(), &'static str> {
        let Some(world) = self.0.world.upgrade() else { return Err("the end") };
        let _live = Live::begin(&world);
        world.act(2);
        if world.pick(3) == 0 { Err("not now") } else { Ok(()) }
    }

    fn dial(self, _: &mut Prop, _: &Context<'_, Prop>) {
        self.0.run();
    }
}

/// An observer, and how far it has seen each call come.
struct Watcher(Prop, RefCell<HashMap<CallId, u8>>);

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(world) = self.0.world.upgrade() {
            world.watched.set(false);
        }
    }
}

impl Observer for Watcher {
    fn observe(&self, call: CallId, step: &Step) {
        let Some(world) = self.0.world.upgrade() else { return };
        let rank = match step {
            Step::Created { .. } => 1,
            Step::Scheduled { .. } => 2,
            Step::Dialed => 3,
            Step::LateCancel { .. } | Step::Deferred { .. } | Step::Undrained { .. } => 0,
            _ => 4,
        };
        if rank > 0 {
            let before = self.1.borrow_mut().insert(call, rank).unwrap_or(0);
            world.law(before < rank, || format!("{call}: {step} comes after step {before}"));
        }
        if *step != Step::Dialed || world.acts_at_dialed {
            world.act(2);
        }
    }
}

impl story::World for UserCode {
    /// What comes first decides the capacity of the queue, whether code panics, and whether observers act
    /// as a call is dialed.
    fn begin(random: Decisions) -> Self {
        let capacity = [u64::MAX, 1, 3, 64, 0][random.below(5)];
        let owner = CallQueue::bounded(capacity as usize);
        Self(Rc::new(World {
            acting: Acting::new(400, 5),
            queue: owner.handle(),
            owner: RefCell::new(Some(owner)),
            capacity,
            panics: !random.one_in(3),
            acts_at_dialed: random.one_in(2),
            random,
            ids: RefCell::default(),
            callbacks: RefCell::default(),
            recipients: RefCell::default(),
            watched: Cell::default(),
            attempted: Cell::new(0),
            live: Cell::new(0),
            alive: Cell::new(0),
            verdict: Verdict::default(),
        }))
    }

    fn is_over(&self) -> bool {
        self.0.acting.left.get() == 0
    }

    fn act(&mut self) {
        let _ = story::attempt(|| self.0.act(8));
    }

    fn check(&self) -> Result<(), String> {
        let world = &self.0;
        let tally = world.queue.tally();
        world.law(tally.live == 0, || format!("nothing is live: {tally}"));
        world.law(tally.unscheduled <= world.callbacks.borrow().len() as u64, || {
            format!("unscheduled: {tally}")
        });
        world.verdict.result()
    }

    fn end(self) -> Result<Counts, String> {
        let world = &self.0;
        // Drops act no more, but may panic.
        let _ = story::attempt(|| drop(world.owner.take()));
        while let Some(callback) = { world.callbacks.borrow_mut().pop() } {
            let _ = story::attempt(|| drop(callback));
        }
        while let Some(recipient) = { world.recipients.borrow_mut().pop() } {
            let _ = story::attempt(|| drop(recipient));
        }
        let tally = world.queue.tally();
        world.law(tally.balances(), || format!("{tally}"));
        world.law(tally.unscheduled + tally.pending + tally.live == 0, || format!("over: {tally}"));
        world.law(tally.finished + tally.panicked >= world.attempted.get(), || format!("{tally}"));
        world.verdict.equal("L1", "captures left", world.alive.get(), 0);
        let ends = [tally.finished, tally.canceled, tally.refused, tally.abandoned, tally.panicked];
        world.verdict.result().map(|()| ends.to_vec())
    }
}
