//! Sequences on the queue itself. What is captured is a number and a script, and all else is in a
//! static, so that a capture which the queue drops twice is noted, and harms no one.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};

use switchboard::{
    Address, Budget, Call as CallType, CallId, CallQueue, Callback as Held, Cancellation, Context,
    QueueHandle, Recipient, Refusal, Report, ScheduleErrorKind, Step,
};

use super::{Event, Setup, act::*};
use crate::story::{self, unwind};

thread_local! {
    static STAGE: Stage = Stage::default();
    /// A queue with nothing to do with it.
    static OTHER: CallQueue = CallQueue::new();
}

#[derive(Default)]
struct Stage {
    owner: RefCell<Option<CallQueue>>,
    handle: RefCell<Option<QueueHandle>>,
    owners: RefCell<[Option<Recipient<Value>>; 3]>,
    addresses: RefCell<[Option<Address<Value>>; 3]>,
    holders: RefCell<Vec<(u16, Held<Paid>)>>,
    ids: RefCell<Vec<Option<CallId>>>,
    scripts: RefCell<Vec<Script>>,
    /// Calls neither entered nor dropped.
    whole: RefCell<Vec<bool>>,
    trace: RefCell<Vec<Event>>,
    paid: Cell<u16>,
    values: Cell<u16>,
    value: Cell<Option<&'static Act>>,
    defers: Cell<bool>,
    /// The first law that was broken.
    broken: RefCell<Option<String>>,
}

/// What a call captures.
struct Play {
    number: u16,
    script: Script,
}

/// The value of a recipient.
struct Value(u16);

/// What callbacks are answered with.
struct Paid;

/// More than any sequence makes happen.
const EVENTS: usize = 50_000;

fn on<R>(use_it: impl FnOnce(&Stage) -> R) -> R {
    STAGE.with(use_it)
}

fn note(event: Event) {
    on(|stage| {
        let mut trace = stage.trace.borrow_mut();
        trace.push(event);
        // (Lest what goes round in circles goes on forever.)
        if trace.len() > EVENTS {
            eprintln!("a sequence does not end: {:?}", &trace[..40]);
            std::process::abort();
        }
    });
}

/// L1, at an instant.
fn weigh() {
    let Some(queue) = on(|stage| stage.handle.borrow().clone()) else { return };
    let tally = queue.tally();
    #[cfg(feature = "testing")]
    let walked = switchboard::testing::count_pending(&queue);
    #[cfg(not(feature = "testing"))]
    let walked = tally.pending;
    if !tally.balances() || walked != tally.pending {
        blame(format!("L1: {tally}, of which {walked} pending are found"));
    }
    if tally.live == 0 && !queue.is_closed() && queue.is_idle() != (tally.pending == 0) {
        blame(format!("R12: is it idle? {tally}"));
    }
}

fn blame(law: String) {
    on(|stage| _ = stage.broken.borrow_mut().get_or_insert(law));
}

impl Play {
    fn new(script: Script) -> Self {
        on(|stage| {
            stage.ids.borrow_mut().push(None);
            stage.scripts.borrow_mut().push(script);
            let mut whole = stage.whole.borrow_mut();
            whole.push(true);
            Self { number: (whole.len() - 1) as u16, script }
        })
    }

    /// What handlers do.
    fn enter(self, cx: Option<&Context<'_, Value>>) {
        self.note(Event::Entered(self.number));
        match self.script.entered() {
            Some(Panic) => unwind(),
            Some(act) => perform(act, Some(self.number), cx),
            None => {}
        }
    }

    fn note(&self, event: Event) {
        note(event);
        on(|stage| {
            let mut whole = stage.whole.borrow_mut();
            _ = whole.get_mut(usize::from(self.number)).map(|whole| *whole = false);
        });
        weigh();
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        self.note(Event::Dropped(self.number));
        attempt(self.script.dropped(), Some(self.number));
    }
}

impl CallType for Play {
    type Recipient = Value;

    fn can_dial(&self, _: &Value) -> Result<(), &'static str> {
        if self.script == Check { Err("refused by its check") } else { Ok(()) }
    }

    fn dial(self, _: &mut Value, cx: &Context<'_, Value>) {
        self.enter(Some(cx));
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        note(Event::ValueDropped(self.0));
        attempt(on(|stage| stage.value.get()), None);
    }
}

impl Paid {
    fn new() -> Self {
        on(|stage| stage.paid.set(stage.paid.get().wrapping_add(1)));
        Self
    }
}

impl Drop for Paid {
    fn drop(&mut self) {
        on(|stage| stage.paid.set(stage.paid.get().wrapping_sub(1)));
    }
}

/// Acts, and catches the panics of handlers; whether there was none.
fn attempt(act: Option<&Act>, own: Option<u16>) -> bool {
    let Some(act) = act else { return true };
    let act = || story::attempt(|| perform(act, own, None)).is_some();
    panic::catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        blame(format!("R13: the queue panicked: {}", story::text(&*panic)));
        false
    })
}

fn perform(act: &Act, own: Option<u16>, cx: Option<&Context<'_, Value>>) {
    // (None if a capture that is lost turns up behind the end.)
    let Some(queue) = on(|stage| stage.handle.borrow().clone()) else { return };
    match *act {
        Call(to, script) => call(&queue, to, script),
        Callback(to, script) => callback(&queue, to, script),
        Answer(k) => answer(k),
        Decline(k) => _ = held(k).map(|(_, callback)| callback.decline("declined")),
        Abandon(k) => drop(held(k)),
        Cancel(which) => cancel(&queue, which, own),
        Dial(how) => dial(&queue, how),
        HangUp(to) => hang_up(to, cx),
        Renew(to) => {
            hang_up(to, cx);
            seat(&queue, to);
        }
        Close => drop(on(|stage| stage.owner.take())),
        // Where panics are caught anyway.
        Panic => unwind(),
    }
}

// Apart, as it takes long to unwind through what is large.

#[inline(never)]
fn call(queue: &QueueHandle, to: To, script: Script) {
    let play = Play::new(script);
    let number = play.number;
    match address(to) {
        None => scheduled(number, queue.call(move |_| play.enter(None))),
        Some(address) => scheduled(number, address.schedule(play)),
    }
}

#[inline(never)]
fn callback(queue: &QueueHandle, to: To, script: Script) {
    let play = Play::new(script);
    let number = play.number;
    let callback = match address(to) {
        None => queue.callback(move |_, paid| {
            let _paid: Paid = paid;
            play.enter(None);
        }),
        Some(address) => address.callback(move |_, cx, paid| {
            let _paid: Paid = paid;
            play.enter(Some(cx));
        }),
    };
    named(number, callback.id());
    on(|stage| stage.holders.borrow_mut().push((number, callback)));
    note(Event::Took(number));
}

#[inline(never)]
fn answer(k: usize) {
    if let Some((number, callback)) = held(k) {
        let id = callback.id();
        callback.answer(Paid::new());
        scheduled(number, id);
    }
}

#[inline(never)]
fn dial(queue: &QueueHandle, how: How) {
    let report = match how {
        Calls(calls) => queue.dial(Budget::calls(calls)),
        Pending => queue.dial_pending(),
        All => queue.dial_all(),
    };
    let Report { dialed, canceled, refused, remaining, .. } = report;
    let report = [dialed, canceled, refused, remaining].map(|count| count as u16);
    note(Event::Reported(report, queue.is_idle() || queue.is_closed()));
}

/// Takes a callback out.
fn held(k: usize) -> Option<(u16, Held<Paid>)> {
    on(|stage| {
        let mut holders = stage.holders.borrow_mut();
        (k < holders.len()).then(|| holders.remove(k))
    })
}

fn address(to: To) -> Option<Address<Value>> {
    to.desk().and_then(|desk| on(|stage| stage.addresses.borrow()[desk].clone()))
}

/// Notes that a call is scheduled.
fn scheduled(number: u16, id: CallId) {
    named(number, id);
    note(Event::Took(number));
}

/// R7: an id is of one call.
fn named(number: u16, id: CallId) {
    on(|stage| {
        let mut ids = stage.ids.borrow_mut();
        let number = usize::from(number);
        if ids.iter().enumerate().any(|(other, known)| other != number && *known == Some(id)) {
            blame(format!("R7: {id} names two calls"));
        }
        ids[number] = Some(id);
    });
}

#[inline(never)]
fn cancel(queue: &QueueHandle, which: Which, own: Option<u16>) {
    let number = on(|stage| {
        let whole = stage.whole.borrow();
        match which {
            Latest(k) => whole.len().checked_sub(k + 1),
            Oldest => whole.iter().position(|whole| *whole),
            Own => own.map(usize::from),
            Foreign => None,
        }
    });
    let id = match (which, number) {
        (Foreign, _) => Some(OTHER.with(|other| other.callback(|_, ()| ()).id())),
        (_, Some(number)) => on(|stage| stage.ids.borrow()[number]),
        (_, None) => None,
    };
    let Some(id) = id else { return };
    let number = number.unwrap_or_default() as u16;
    note(match queue.cancel(id, "canceled") {
        Cancellation::Canceled => Event::CanceledNow(number),
        Cancellation::Already => Event::CanceledAlready(number),
        Cancellation::Late => Event::CanceledTooLate(number),
        Cancellation::Foreign => Event::CanceledForeign,
    });
}

/// By the recipient itself, if it is live, else by its owner.
#[inline(never)]
fn hang_up(to: To, cx: Option<&Context<'_, Value>>) {
    match (cx, to.desk()) {
        (Some(cx), Some(_)) if address(to) == Some(cx.address()) => cx.hang_up(),
        (_, Some(desk)) => drop(on(|stage| stage.owners.borrow_mut()[desk].take())),
        (_, None) => {}
    }
}

/// Seats a new recipient at the desk.
#[inline(never)]
fn seat(queue: &QueueHandle, to: To) {
    let Some(desk) = to.desk() else { return };
    let number = on(|stage| stage.values.replace(stage.values.get() + 1));
    let recipient = queue.recipient(Value(number));
    recipient.set_defers_calls(on(|stage| stage.defers.get()));
    let old = on(|stage| {
        stage.addresses.borrow_mut()[desk] = Some(recipient.address());
        stage.owners.borrow_mut()[desk].replace(recipient)
    });
    drop(old);
}

fn observe(id: CallId, step: &Step) {
    let number = on(|stage| {
        let mut ids = stage.ids.borrow_mut();
        let known = ids.iter().position(|known| *known == Some(id));
        if let (Step::Created { .. }, None, Some(last @ None)) = (step, known, ids.last_mut()) {
            *last = Some(id);
            return Some(ids.len() - 1);
        }
        known.filter(|_| !matches!(step, Step::Created { .. }))
    });
    let Some(number) = number else { return note(Event::Unknown) };
    let number = number as u16;
    note(match step {
        Step::Created { .. } => Event::Created(number),
        Step::Scheduled { .. } => Event::Scheduled(number),
        Step::Dialed => Event::Dialed(number),
        Step::Finished => Event::Finished(number),
        Step::Canceled { .. } => Event::Canceled(number),
        Step::LateCancel { .. } => Event::LateCancel(number),
        Step::Refused { refusal: Refusal::Gone, .. } => Event::RefusedAsGone(number),
        Step::Refused { refusal: Refusal::Live { live, .. }, .. } => {
            let live = on(|stage| stage.ids.borrow().iter().position(|id| *id == Some(*live)));
            Event::RefusedAsLive(number, live.unwrap_or(usize::MAX) as u16)
        }
        Step::Deferred { live, .. } => {
            let live = on(|stage| stage.ids.borrow().iter().position(|id| *id == Some(*live)));
            Event::Deferred(number, live.unwrap_or(usize::MAX) as u16)
        }
        Step::Refused { refusal: Refusal::Check(_), .. } => Event::RefusedByCheck(number),
        Step::Refused { refusal: Refusal::NotAdmitted(ScheduleErrorKind::Full), .. } => {
            Event::RefusedAsFull(number)
        }
        Step::Abandoned { .. } => Event::Abandoned(number),
        Step::Panicked => Event::Panicked(number),
        _ => Event::Unknown,
    });
    let is_startle = |stage: &Stage| stage.scripts.borrow()[usize::from(number)] == Startle;
    if *step == Step::Dialed && on(is_startle) {
        unwind();
    }
}

/// A sequence on a queue of its own.
pub(super) struct Performance;

impl Performance {
    pub(super) fn begin(setup: Setup) -> Self {
        let owner = CallQueue::bounded(setup.capacity);
        let queue = owner.handle();
        if setup.observed {
            queue.add_observer(|id: CallId, step: &Step| observe(id, step));
        }
        if setup.hooked {
            queue.set_wake_hook(move || {
                note(Event::Woken);
                attempt(setup.hook, None);
            });
        }
        on(|stage| {
            stage.trace.borrow_mut().clear();
            stage.values.set(0);
            stage.value.set(setup.value);
            stage.defers.set(setup.defers);
            stage.handle.replace(Some(queue.clone()));
            stage.owner.replace(Some(owner));
        });
        for to in [A, B, C] {
            seat(&queue, to);
        }
        Self
    }

    pub(super) fn step(&self, act: &Act) {
        if !attempt(Some(act), None) {
            note(Event::Unwound);
        }
        weigh();
        let tally = on(|stage| stage.handle.borrow().as_ref().map(QueueHandle::tally));
        let tally = tally.expect("set for each sequence");
        let now = [tally.unscheduled, tally.pending, tally.live, tally.finished];
        let ends = [tally.canceled, tally.refused, tally.abandoned, tally.panicked];
        let count = |place| if place < 4 { now[place] } else { ends[place - 4] };
        let counts = std::array::from_fn(|place| count(place) as u16);
        note(Event::Counts(counts, on(|stage| stage.paid.get())));
    }

    /// Whether a callback is not used up.
    pub(super) fn has_callback(&self) -> bool {
        on(|stage| !stage.holders.borrow().is_empty())
    }

    /// Drops everything; returns the law that was broken.
    pub(super) fn end(self) -> Option<String> {
        for desk in 0..3 {
            drop(on(|stage| stage.owners.borrow_mut()[desk].take()));
        }
        drop(on(|stage| (stage.handle.take(), stage.owner.take(), stage.addresses.take())));
        on(|stage| {
            stage.ids.borrow_mut().clear();
            stage.scripts.borrow_mut().clear();
            stage.whole.borrow_mut().clear();
            if stage.paid.replace(0) != 0 {
                return Some("L1: a value was not dropped".into());
            }
            stage.broken.take()
        })
    }
}

/// Lends out what has happened in this sequence, or in the last one.
pub(super) fn trace<R>(read: impl FnOnce(&[Event]) -> R) -> R {
    on(|stage| read(&stage.trace.borrow()))
}
