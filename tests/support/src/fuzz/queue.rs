//! A queue beside a naive model of it: a list of what is pending. Handlers and drops of what calls
//! captured go on with the story.
//!
//! A deferred call stays in the list: its place is before those of all calls whose turn has not come,
//! so the call to be dialed next is the first in the list whose recipient is not live, or gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;

use switchboard::{
    Budget, CallId, CallQueue, Callback, Cancellation, QueueHandle, Recipient, ScheduleErrorKind,
    Step,
};

use super::{Script, attempt, unwind};

const DEPTH: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Waiting,
    Pending,
    Live,
    Finished,
    Canceled,
    Refused,
    Abandoned,
    Panicked,
    /// Handed back: never a call.
    Rejected,
}

struct Call {
    life: Life,
    /// Known once it is scheduled.
    id: Option<CallId>,
    recipient: Option<usize>,
    is_callback: bool,
    /// How many calls were scheduled before it; none while it is not scheduled.
    place: Option<u64>,
    /// Whether it is known to be deferred.
    deferred: bool,
    /// How often its handler began, and what it captured dropped.
    entered: u32,
    dropped: u32,
}

struct Desk {
    owner: Option<Recipient<Owned>>,
    gone: bool,
    live: bool,
    /// Whether plain calls to it are deferred too.
    defers: bool,
}

struct Stage {
    script: Script,
    queue: QueueHandle,
    owner: RefCell<Option<CallQueue>>,
    capacity: usize,
    depth: Cell<usize>,
    calls: RefCell<Vec<Call>>,
    observed: bool,
    /// The calls that are pending, in the order in which they were scheduled.
    pending: RefCell<Vec<usize>>,
    /// How many calls were scheduled.
    scheduled: Cell<u64>,
    /// The turns of all calls scheduled before so many have come, as far as is known.
    passed: Cell<u64>,
    callbacks: RefCell<Vec<(usize, Callback<Prop>)>>,
    desks: RefCell<Vec<Desk>>,
    /// Values that are no call's: answers, and what recipients own.
    others: Cell<i64>,
    /// Turns begun so far, those within others included.
    turns: Cell<u32>,
    /// While the queue is dropped: the calls whose captures dropped.
    closing: RefCell<Option<Vec<usize>>>,
}

/// What a call captures (or, without a number, another value). Its drop goes on with the story.
struct Prop(Option<usize>, Rc<Stage>);

impl Prop {
    fn other(stage: &Rc<Stage>) -> Self {
        stage.others.set(stage.others.get() + 1);
        Self(None, Rc::clone(stage))
    }
}

impl Drop for Prop {
    fn drop(&mut self) {
        let stage = &self.1;
        match self.0 {
            None => stage.others.set(stage.others.get() - 1),
            Some(call) => {
                let mut calls = stage.calls.borrow_mut();
                calls[call].dropped += 1;
                assert_eq!(calls[call].dropped, 1, "call {call}: its capture dropped twice");
                drop(calls);
                if let Some(dropped) = &mut *stage.closing.borrow_mut() {
                    dropped.push(call);
                    return;
                }
            }
        }
        if !thread::panicking() && stage.closing.borrow().is_none() && stage.script.pick(4) == 0 {
            stage.act();
        }
    }
}

/// The value of a recipient. (Its drop does not go on with the story: if its recipient is live, it runs
/// when the handler has returned, and the call still counts as live.)
struct Owned(Rc<Stage>);

impl Owned {
    fn new(stage: &Rc<Stage>) -> Self {
        stage.others.set(stage.others.get() + 1);
        Self(Rc::clone(stage))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.others.set(self.0.others.get() - 1);
    }
}

/// Ends a live call in the model, when its handler is left.
struct Handling(usize, Rc<Stage>, bool);

impl Drop for Handling {
    fn drop(&mut self) {
        let Self(call, stage, panics) = self;
        let mut calls = stage.calls.borrow_mut();
        assert_eq!(calls[*call].life, Life::Live);
        calls[*call].life = if *panics { Life::Panicked } else { Life::Finished };
        if let Some(desk) = calls[*call].recipient {
            stage.desks.borrow_mut()[desk].live = false;
        }
    }
}

/// What all handlers do.
fn handle(captured: Prop, value: Option<Prop>) {
    let (call, stage) = (captured.0.expect("a call's"), Rc::clone(&captured.1));
    stage.note_refused();
    stage.note_turn(call);
    let recipient = {
        let call = &mut stage.calls.borrow_mut()[call];
        assert_eq!((call.life, call.entered), (Life::Pending, 0));
        (call.life, call.entered) = (Life::Live, 1);
        call.recipient
    };
    if let Some(desk) = recipient {
        let desk = &mut stage.desks.borrow_mut()[desk];
        assert!(!desk.live && !desk.gone, "dialed though it should be refused");
        desk.live = true;
    }
    let mut handling = Handling(call, Rc::clone(&stage), false);
    let values = (captured, value); // these drop before `handling`
    for _ in 0..stage.script.pick(4) {
        stage.act();
    }
    if stage.script.pick(8) == 1 {
        handling.2 = true;
        unwind();
    }
    drop(values);
}

impl Stage {
    fn act(self: &Rc<Self>) {
        if self.script.is_over() || self.depth.get() == DEPTH {
            return;
        }
        self.note_refused();
        self.depth.set(self.depth.get() + 1);
        self.act_once();
        self.depth.set(self.depth.get() - 1);
        self.compare();
    }

    fn act_once(self: &Rc<Self>) {
        match self.script.pick(18) {
            0..3 => self.schedule(None),
            3..6 => self.schedule(Some(self.script.byte().into())),
            6 => self.create(None),
            7 => self.create(Some(self.script.byte().into())),
            8 | 9 => self.answer(),
            10 => self.give_up(true),
            11 => self.give_up(false),
            12 | 13 => self.cancel(),
            14 => {
                let owner = self.queue.recipient(Owned::new(self));
                let defers = self.desks.borrow().len() % 3 == 2;
                owner.set_defers_calls(defers);
                let desk = Desk { owner: Some(owner), gone: false, live: false, defers };
                self.desks.borrow_mut().push(desk);
            }
            15 => self.hang_up(),
            16 if self.script.pick(16) == 7 => self.close(),
            _ => self.dial(),
        }
    }

    /// A new call of the model.
    fn add(&self, life: Life, recipient: Option<usize>, is_callback: bool) -> usize {
        let call = Call {
            life,
            id: None,
            recipient,
            is_callback,
            place: None,
            deferred: false,
            entered: 0,
            dropped: 0,
        };
        self.calls.borrow_mut().push(call);
        self.calls.borrow().len() - 1
    }

    /// Puts a call at the tail.
    fn put(&self, call: usize) {
        self.calls.borrow_mut()[call].place =
            Some(self.scheduled.replace(self.scheduled.get() + 1));
        self.pending.borrow_mut().push(call);
    }

    /// The recipient of this number, if there is one that has its owner.
    fn desk(&self, number: usize) -> Option<usize> {
        let desks = self.desks.borrow();
        let number = number.checked_rem(desks.len())?;
        desks[number].owner.is_some().then_some(number)
    }

    fn set(&self, call: usize, life: Life) {
        self.calls.borrow_mut()[call].life = life;
    }

    fn schedule(self: &Rc<Self>, desk: Option<usize>) {
        let desk = desk.and_then(|desk| self.desk(desk));
        let full = self.pending.borrow().len() >= self.capacity;
        let call = self.add(Life::Pending, desk, false);
        let captured = Prop(Some(call), Rc::clone(self));
        let closed = self.queue.is_closed();
        let fails = closed || full;
        if fails {
            self.set(call, Life::Rejected);
        } else {
            self.put(call);
        }
        let result = if let Some(desk) = desk {
            let address = self.desks.borrow()[desk].owner.as_ref().map(|owner| owner.address());
            let address = address.expect("it has its owner");
            let called = address.try_call(|_, _| handle(captured, None));
            called.map_err(|error| error.kind() == ScheduleErrorKind::Full)
        } else {
            let called = self.queue.try_call(|_| handle(captured, None));
            called.map_err(|error| error.kind() == ScheduleErrorKind::Full)
        };
        match result {
            Ok(id) => {
                assert!(!fails, "taken, by a queue that is full or gone");
                self.calls.borrow_mut()[call].id = Some(id);
            }
            Err(is_full) => assert!(fails && is_full != closed),
        }
    }

    fn create(self: &Rc<Self>, desk: Option<usize>) {
        let desk = desk.and_then(|desk| self.desk(desk));
        let life = if self.queue.is_closed() { Life::Canceled } else { Life::Waiting };
        let call = self.add(life, desk, true);
        let captured = Prop(Some(call), Rc::clone(self));
        let callback = if let Some(desk) = desk {
            let desks = self.desks.borrow();
            let owner = desks[desk].owner.as_ref().expect("it has its owner").address();
            drop(desks);
            owner.callback(|_, _, value: Prop| handle(captured, Some(value)))
        } else {
            self.queue.callback(|_, value: Prop| handle(captured, Some(value)))
        };
        self.calls.borrow_mut()[call].id = Some(callback.id());
        self.callbacks.borrow_mut().push((call, callback));
    }

    fn take_callback(&self) -> Option<(usize, Callback<Prop>)> {
        let at = self.script.byte().into();
        let mut callbacks = self.callbacks.borrow_mut();
        let at: usize = usize::checked_rem(at, callbacks.len())?;
        Some(callbacks.remove(at))
    }

    fn life(&self, call: usize) -> Life {
        self.calls.borrow()[call].life
    }

    fn answer(self: &Rc<Self>) {
        let Some((call, callback)) = self.take_callback() else { return };
        match self.life(call) {
            Life::Waiting => {
                self.set(call, Life::Pending);
                self.put(call);
            }
            life => assert_eq!(life, Life::Canceled),
        }
        callback.answer(Prop::other(self));
    }

    fn give_up(&self, declines: bool) {
        let Some((call, callback)) = self.take_callback() else { return };
        if self.life(call) == Life::Waiting {
            self.set(call, if declines { Life::Canceled } else { Life::Abandoned });
        }
        if declines { callback.decline("declined") } else { drop(callback) }
    }

    fn cancel(&self) {
        let Some(call) = usize::from(self.script.byte()).checked_rem(self.calls.borrow().len())
        else {
            return;
        };
        let Some(id) = self.calls.borrow()[call].id else { return };
        let life = self.life(call);
        if matches!(life, Life::Waiting | Life::Pending) {
            self.set(call, Life::Canceled);
            self.pending.borrow_mut().retain(|pending| *pending != call);
        }
        let holds = |(held, _): &(usize, Callback<Prop>)| *held == call;
        let is_held = self.callbacks.borrow().iter().any(holds) && !self.queue.is_closed();
        let result = self.queue.cancel(id, "canceled");
        match life {
            Life::Waiting | Life::Pending => assert_eq!(result, Cancellation::Canceled),
            Life::Canceled if is_held => assert_eq!(result, Cancellation::Already),
            Life::Canceled => match self.is_known(call) {
                Some(true) => assert_eq!(result, Cancellation::Already),
                Some(false) => assert_eq!(result, Cancellation::Late),
                None => {
                    let is_late = matches!(result, Cancellation::Already | Cancellation::Late);
                    assert!(is_late, "{result:?}");
                }
            },
            _ => assert_eq!(result, Cancellation::Late, "{life:?}"),
        }
        // (Within the drop of its answer, a call is canceled and its capture still there.)
        let dropped = self.calls.borrow()[call].dropped == 1;
        assert!(result != Cancellation::Canceled || dropped, "what it captured is there");
    }

    /// Whether a canceled call, which no caller holds, is known: its turn has not come. `None` if the
    /// model does not know that.
    fn is_known(&self, call: usize) -> Option<bool> {
        let calls = self.calls.borrow();
        if self.queue.is_closed() {
            return None;
        }
        let Some(place) = calls[call].place else { return Some(false) };
        let waits_in_order = |other: &usize| {
            calls[*other].place < Some(place) && !calls[*other].deferred && !self.is_blocked(*other)
        };
        if self.pending.borrow().iter().any(waits_in_order) {
            // Unless that one was put back, its turn has not come, nor has that of this call.
            return (!self.observed).then_some(true);
        }
        let may_be_deferred = calls[call].is_callback || calls[call].recipient.is_some();
        (place < self.passed.get() && !may_be_deferred).then_some(false)
    }

    /// Whether a call is deferred, or would be if its turn came.
    fn is_blocked(&self, call: usize) -> bool {
        let (calls, desks) = (self.calls.borrow(), self.desks.borrow());
        let Call { is_callback, deferred, recipient, .. } = calls[call];
        let Some(desk) = recipient.map(|desk| &desks[desk]) else { return false };
        desk.live && !desk.gone && (deferred || is_callback || desk.defers)
    }

    fn hang_up(&self) {
        let number = self.script.byte().into();
        let Some(desk) = self.desk(number) else { return };
        let owner = self.desks.borrow_mut()[desk].owner.take();
        self.desks.borrow_mut()[desk].gone = true;
        drop(owner);
    }

    /// Drops the queue: all that is pending is canceled, first to last, and then what waits.
    fn close(&self) {
        let Some(queue) = self.owner.borrow_mut().take() else { return };
        let mut pending = self.pending.take();
        // What the others captured went with their recipients.
        pending.retain(|call| self.calls.borrow()[*call].dropped == 0);
        self.closing.replace(Some(Vec::new()));
        drop(queue);
        let dropped = self.closing.take().expect("it closes");
        assert_eq!(dropped[..pending.len()], pending, "not first to last");
        for call in &mut *self.calls.borrow_mut() {
            if matches!(call.life, Life::Waiting | Life::Pending) {
                call.life = Life::Canceled;
            }
        }
    }

    fn dial(&self) {
        let before = self.queue.tally();
        let turn = self.script.pick(4);
        let most = match turn {
            0 => usize::MAX,
            1 => self.pending.borrow().len(),
            _ => self.script.pick(40),
        };
        self.turns.set(self.turns.get() + 1);
        let turns = self.turns.get();
        let none_live = !self.desks.borrow().iter().any(|desk| desk.live);
        let report = attempt(|| match turn {
            0 => self.queue.dial_all(),
            1 => self.queue.dial_pending(),
            _ => self.queue.dial(Budget::calls(most)),
        });
        self.note_refused();
        if let Some(report) = report {
            let passed = report.dialed + report.refused;
            let alone = self.turns.get() == turns;
            assert!(!alone || passed <= most as u64, "more than {most}: {report:?}");
            let few = alone && none_live && passed + report.canceled < most as u64;
            if turn == 0 || turn > 1 && few {
                let blocked = self.pending.borrow().iter().all(|call| self.is_blocked(*call));
                assert!(blocked && self.queue.is_idle(), "of {most}: {report:?}");
            }
            assert_eq!(report.remaining, self.pending.borrow().len() as u64, "{report:?}");
        }
        let after = self.queue.tally();
        assert!(after.finished >= before.finished && after.refused >= before.refused);
    }

    /// The turn of `call` has come: it is the first that is not deferred.
    fn note_turn(&self, call: usize) {
        let at = self.pending.borrow().iter().position(|pending| !self.is_blocked(*pending));
        let at = at.expect("dialed or refused, but not pending");
        let before = self.pending.borrow()[..at].to_vec();
        assert_eq!(self.pending.borrow_mut().remove(at), call, "out of order");
        let mut calls = self.calls.borrow_mut();
        for other in before {
            assert!(!self.observed || calls[other].deferred, "passed over");
            calls[other].deferred = true;
        }
        self.passed.set(self.passed.get().max(calls[call].place.map_or(0, |place| place + 1)));
    }

    /// An observer is notified of a step.
    fn observe(&self, id: CallId, step: &Step) {
        match step {
            Step::Deferred { .. } => {
                let mut calls = self.calls.borrow_mut();
                let call = calls.iter_mut().find(|call| call.id == Some(id));
                call.expect("it was scheduled").deferred = true;
            }
            Step::Dialed if !thread::panicking() && self.script.pick(8) == 7 => unwind(),
            _ => {}
        }
    }

    /// Brings the model up to date: what the queue refused is what should be, and first in line.
    fn note_refused(&self) {
        loop {
            let calls = self.calls.borrow();
            let refused = calls.iter().filter(|call| call.life == Life::Refused).count();
            drop(calls);
            if refused as u64 == self.queue.tally().refused {
                return;
            }
            let first = self.pending.borrow().iter().copied().find(|call| !self.is_blocked(*call));
            let first = first.expect("refused, but not pending");
            self.note_turn(first);
            let desk = self.calls.borrow()[first].recipient.expect("no recipient to refuse");
            let desk = &self.desks.borrow()[desk];
            assert!(desk.gone || desk.live, "refused for no reason");
            self.set(first, Life::Refused);
        }
    }

    /// Asserts that the queue counts what the model does (rule R12).
    fn compare(&self) {
        if self.closing.borrow().is_some() {
            return;
        }
        self.note_refused();
        let tally = self.queue.tally();
        let calls = self.calls.borrow();
        let count = |life| calls.iter().filter(|call| call.life == life).count() as u64;
        let expected = [
            (Life::Waiting, tally.unscheduled),
            (Life::Pending, tally.pending),
            (Life::Live, tally.live),
            (Life::Finished, tally.finished),
            (Life::Canceled, tally.canceled),
            (Life::Refused, tally.refused),
            (Life::Abandoned, tally.abandoned),
            (Life::Panicked, tally.panicked),
        ];
        for (life, counted) in expected {
            assert_eq!(count(life), counted, "{life:?}: {tally}");
        }
        assert!(tally.balances(), "{tally}");
        assert_eq!(count(Life::Pending), self.pending.borrow().len() as u64);
        if tally.live == 0 {
            assert_eq!(self.queue.is_idle(), tally.pending == 0);
        }
        let blocked = self.pending.borrow().iter().all(|call| self.is_blocked(*call));
        assert!(blocked || !self.queue.is_idle(), "idle, with a call to dial");
    }
}

pub fn run(data: &[u8]) {
    let script = Script::new(data);
    let manner = script.byte();
    let capacity = if manner & 1 == 0 { usize::MAX } else { 5 };
    let queue = CallQueue::bounded(capacity);
    let handle = queue.handle();
    let observed = manner & 2 != 0;
    let stage = Rc::new(Stage {
        script,
        queue: handle,
        owner: RefCell::new(Some(queue)),
        capacity,
        depth: Cell::new(0),
        calls: RefCell::default(),
        observed,
        pending: RefCell::default(),
        scheduled: Cell::new(0),
        passed: Cell::new(0),
        callbacks: RefCell::default(),
        desks: RefCell::default(),
        others: Cell::new(0),
        turns: Cell::new(0),
        closing: RefCell::default(),
    });
    if observed {
        let observer = Rc::downgrade(&stage);
        stage.queue.add_observer(move |call: CallId, step: &Step| {
            if let Some(stage) = observer.upgrade() {
                stage.observe(call, step);
            }
        });
    }
    if manner & 4 != 0 {
        let hook = Rc::downgrade(&stage);
        stage.queue.set_wake_hook(move || {
            if let Some(stage) = hook.upgrade() {
                stage.act();
            }
        });
    }
    while !stage.script.is_over() {
        stage.act();
    }
    stage.close();
    stage.compare();
    drop(stage.callbacks.take());
    let owners: Vec<_> =
        stage.desks.borrow_mut().iter_mut().filter_map(|desk| desk.owner.take()).collect();
    drop(owners);
    stage.compare();
    for (number, call) in stage.calls.borrow().iter().enumerate() {
        assert_eq!(call.dropped, 1, "what call {number} captured, {:?}", call.life);
        let ran = matches!(call.life, Life::Finished | Life::Panicked);
        assert_eq!(call.entered == 1, ran, "call {number}, {:?}", call.life);
    }
    assert_eq!((stage.others.get(), Rc::strong_count(&stage)), (0, 1), "leaked");
}
