//! What nobody thought of: random stories, in which handlers, captured values and the wake hook use
//! the queue and panic, checked step by step against a ledger that knows the rules and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use switchboard::{
    Budget, CallId, CallQueue, Callback, Observer, QueueHandle, Recipient, Refusal, Step,
};

const STORIES: u64 = 300;
const ACTIONS: u32 = 600;
const DEPTH: u32 = 6;

/// All that the actions of one story use.
struct Stage {
    owner: RefCell<Option<CallQueue>>,
    queue: QueueHandle,
    random: Cell<u64>,
    actions: Cell<u32>,
    depth: Cell<u32>,
    ids: RefCell<Vec<CallId>>,
    callbacks: RefCell<Vec<Callback<Prop>>>,
    recipients: RefCell<Vec<Recipient<Prop>>>,
    props: Cell<i64>,
    /// The longer the turns are put off, the more calls are pending.
    laziness: usize,
}

/// What handlers panic with.
struct Expected;

/// A value that is captured, or received by calls; it acts as it drops.
struct Prop(Rc<Stage>);

impl Prop {
    fn new(stage: &Rc<Stage>) -> Self {
        stage.props.set(stage.props.get() + 1);
        Self(Rc::clone(stage))
    }

    /// What handlers do.
    fn handle(self) {
        for _ in 0..self.0.pick(4) {
            act(&self.0);
        }
        if self.0.pick(12) == 0 {
            panic::resume_unwind(Box::new(Expected));
        }
    }
}

impl Drop for Prop {
    fn drop(&mut self) {
        self.0.props.set(self.0.props.get() - 1);
        if self.0.pick(4) == 0 {
            act(&self.0);
        }
    }
}

impl Stage {
    /// A random number less than `end`.
    fn pick(&self, end: usize) -> usize {
        let next = self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.random.set(next);
        (next >> 33) as usize % end
    }

    /// Takes a random element out.
    fn take<T>(&self, of: &RefCell<Vec<T>>) -> Option<T> {
        let len = of.borrow().len();
        (len > 0).then(|| of.borrow_mut().swap_remove(self.pick(len)))
    }
}

/// One random action, with what follows from it.
fn act(stage: &Rc<Stage>) {
    if stage.actions.get() == 0 || stage.depth.get() == DEPTH {
        return;
    }
    stage.actions.set(stage.actions.get() - 1);
    stage.depth.set(stage.depth.get() + 1);
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| act_once(stage))) {
        // Not a handler's, but a failed assertion.
        if !payload.is::<Expected>() {
            panic::resume_unwind(payload);
        }
    }
    stage.depth.set(stage.depth.get() - 1);
    assert!(stage.queue.tally().balances(), "{}", stage.queue.tally());
}

fn act_once(stage: &Rc<Stage>) {
    let prop = || Prop::new(stage);
    match stage.pick(16) {
        0..3 => {
            let captured = prop();
            let id = stage.queue.call(|_| captured.handle()).ok();
            stage.ids.borrow_mut().extend(id);
        }
        3..6 => {
            let Some(recipient) = stage.take(&stage.recipients) else { return };
            let captured = prop();
            let id = recipient.call(|_, _| captured.handle()).ok();
            stage.ids.borrow_mut().extend(id);
            stage.recipients.borrow_mut().push(recipient);
        }
        6..8 => {
            let captured = prop();
            let callback = if let Some(recipient) = stage.take(&stage.recipients) {
                let callback = recipient.callback(|_, line, value: Prop| {
                    if value.0.pick(20) == 0 {
                        line.hang_up();
                    }
                    drop(captured);
                    value.handle();
                });
                stage.recipients.borrow_mut().push(recipient);
                callback
            } else {
                stage.queue.callback(|_, value: Prop| drop((captured, value.handle())))
            };
            stage.ids.borrow_mut().push(callback.id());
            stage.callbacks.borrow_mut().push(callback);
        }
        8 => drop(stage.take(&stage.callbacks).map(|callback| callback.answer(prop()))),
        9 => drop(stage.take(&stage.callbacks).map(|callback| callback.decline("declined"))),
        10 => drop(stage.take(&stage.callbacks)),
        11 | 12 => {
            let id = stage.take(&stage.ids);
            _ = id.map(|id| stage.queue.cancel(id, "canceled"));
        }
        13 => {
            let recipient = stage.queue.recipient(prop());
            stage.recipients.borrow_mut().push(recipient);
        }
        14 if stage.pick(3) == 0 => drop(stage.take(&stage.recipients)),
        14 if stage.pick(100) == 0 => drop(stage.owner.take()),
        _ if stage.pick(stage.laziness) == 0 => {
            stage.queue.dial(Budget::calls(stage.pick(90)));
        }
        _ => {}
    }
}

/// How far a call is, with its number in the order of scheduling.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Created,
    Pending(u64),
    Live,
    Over,
}

/// The naive model: what every call did so far.
#[derive(Default)]
struct Ledger {
    calls: HashMap<CallId, (Life, Option<u64>)>,
    /// The live call of each recipient that has one.
    live: HashMap<u64, CallId>,
    scheduled: u64,
    /// The number of the last call whose turn came.
    turn: u64,
    tally: [u64; 8],
}

/// Places in a tally.
const UNSCHEDULED: usize = 0;
const PENDING: usize = 1;
const LIVE: usize = 2;
const FINISHED: usize = 3;
const CANCELED: usize = 4;
const REFUSED: usize = 5;
const ABANDONED: usize = 6;
const PANICKED: usize = 7;

impl Ledger {
    fn note(&mut self, call: CallId, step: &Step) {
        if let Step::Created { recipient, .. } = step {
            let recipient = recipient.map(|recipient| recipient.number);
            let before = self.calls.insert(call, (Life::Created, recipient));
            assert_eq!(before, None, "an id was used again");
            self.tally[UNSCHEDULED] += 1;
            return;
        }
        let (life, recipient) = self.calls[&call];
        let live = recipient.and_then(|recipient| self.live.get(&recipient).copied());
        if let (Step::Dialed | Step::Refused { .. }, Life::Pending(number)) = (step, life) {
            assert!(number > self.turn, "call {call} was overtaken");
            self.turn = number;
        }
        self.scheduled += u64::from(matches!(step, Step::Scheduled { .. }));
        let before = match life {
            Life::Created => UNSCHEDULED,
            Life::Pending(_) => PENDING,
            Life::Live => LIVE,
            Life::Over => usize::MAX,
        };
        let (next, after) = match (step, life) {
            (Step::Scheduled { .. }, Life::Created) => (Life::Pending(self.scheduled), PENDING),
            (Step::Dialed, Life::Pending(_)) if live.is_none() => (Life::Live, LIVE),
            (Step::Finished, Life::Live) => (Life::Over, FINISHED),
            (Step::Canceled { .. }, Life::Created | Life::Pending(_)) => (Life::Over, CANCELED),
            (Step::Refused { refusal, .. }, Life::Pending(_)) => {
                let named = match refusal {
                    Refusal::Live { live, .. } => Some(*live),
                    _ => live,
                };
                assert_eq!(named, live, "refused for a call that is not live");
                (Life::Over, REFUSED)
            }
            (Step::Abandoned { .. }, Life::Created) => (Life::Over, ABANDONED),
            (Step::Panicked, Life::Live) => (Life::Over, PANICKED),
            (Step::LateCancel { .. }, Life::Live | Life::Over) => return,
            _ => panic!("call {call} is {life:?} and now {step}"),
        };
        self.calls.insert(call, (next, recipient));
        self.tally[before] -= 1;
        self.tally[after] += 1;
        if let Some(recipient) = recipient {
            match (life, next) {
                (_, Life::Live) => drop(self.live.insert(recipient, call)),
                (Life::Live, _) => drop(self.live.remove(&recipient)),
                _ => {}
            }
        }
    }

    /// Asserts that the tally says the same.
    fn compare(&self, queue: &QueueHandle) {
        let tally = queue.tally();
        let now = [tally.unscheduled, tally.pending, tally.live];
        let ends = [tally.finished, tally.canceled, tally.refused, tally.abandoned, tally.panicked];
        assert_eq!([&now[..], &ends].concat(), self.tally);
        assert_eq!(tally.created, self.calls.len() as u64);
    }
}

struct Auditor(Rc<RefCell<Ledger>>, QueueHandle);

impl Observer for Auditor {
    fn observe(&self, call: CallId, step: &Step) {
        let mut ledger = self.0.borrow_mut();
        ledger.note(call, step);
        assert!(*step != Step::Dialed || !self.1.is_closed(), "dialed after the queue's end");
        // A call made and scheduled at once is pending already when it is told of as created.
        if !matches!(step, Step::Created { .. }) || call.to_string().starts_with("#c") {
            ledger.compare(&self.1);
        }
    }
}

/// Tells one story, and returns what became of its calls.
fn tell(story: u64) -> [u64; 8] {
    let queue = CallQueue::new();
    let handle = queue.handle();
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    handle.set_observer(Auditor(Rc::clone(&ledger), handle.clone()));
    let stage = Rc::new(Stage {
        owner: RefCell::new(Some(queue)),
        queue: handle.clone(),
        random: Cell::new(story),
        actions: Cell::new(ACTIONS),
        depth: Cell::new(0),
        ids: RefCell::default(),
        callbacks: RefCell::default(),
        recipients: RefCell::default(),
        props: Cell::new(0),
        laziness: 1 + story as usize % 20,
    });
    let hook = Rc::clone(&stage);
    handle.set_wake_hook(move || {
        if hook.pick(3) == 0 {
            act(&hook);
        }
    });
    while stage.actions.get() > 0 && !handle.is_closed() {
        act(&stage);
    }
    stage.actions.set(0);
    if !handle.is_closed() {
        ledger.borrow().compare(&handle);
    }
    drop(stage.owner.take());
    assert_eq!(ledger.borrow().tally[..FINISHED], [0; 3]);
    drop((stage.callbacks.take(), stage.recipients.take()));
    assert_eq!((stage.props.get(), Rc::strong_count(&stage)), (0, 1), "leaked");
    ledger.take().tally
}

#[test]
fn random_stories_keep_the_rules() {
    let mut total = [0; 8];
    for story in 0..STORIES {
        match panic::catch_unwind(|| tell(story)) {
            Ok(tally) => total.iter_mut().zip(tally).for_each(|(total, calls)| *total += calls),
            Err(panic) => {
                println!("story {story} broke a rule");
                panic::resume_unwind(panic);
            }
        }
    }
    // They were worth telling.
    assert!(total[FINISHED..].iter().all(|calls| *calls > 500), "{total:?}");
}
