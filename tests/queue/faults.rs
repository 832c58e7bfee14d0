//! Hazard: faults in the code around a queue, by the hundred thousand; and queues that end full, or
//! while they dial. The other faults have files of their own: docs/reliability.md lists them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;

use switchboard::{CallId, CallQueue, Context, Observer, QueueHandle, Step};

use support::util::{Counts, Drops, NONE, assert_counts, never};

/// In debug a tenth of them.
const CALLS: u64 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

/// Unwinds, and prints nothing, as a panic would.
fn unwind() {
    panic::resume_unwind(Box::new("on purpose"));
}

/// Whether `run` unwinds.
fn unwinds<R>(run: impl FnOnce() -> R) -> bool {
    panic::catch_unwind(AssertUnwindSafe(run)).is_err()
}

/// A captured value that panics when it drops, but not twice at a time: that would be an abort.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            unwind();
        }
    }
}

/// Records what is scheduled, and what is dialed. Panics at each 73rd step that it is notified of.
#[derive(Default)]
struct Erratic {
    steps: Cell<u64>,
    last_created: Cell<Option<CallId>>,
    scheduled: RefCell<Vec<CallId>>,
    dialed: RefCell<Vec<CallId>>,
    /// Panics at Dialed: these handlers run in the next turn.
    interrupted: Cell<u64>,
    /// Panics at Scheduled, and at Canceled: what they report has happened all the same.
    at_scheduled: Cell<u64>,
    at_canceled: Cell<u64>,
    /// Panics at Finished: these calls are over all the same.
    after_the_end: Cell<u64>,
}

impl Observer for Erratic {
    fn observe(&self, call: CallId, step: &Step) {
        match step {
            Step::Created { .. } => self.last_created.set(Some(call)),
            Step::Scheduled { .. } => self.scheduled.borrow_mut().push(call),
            Step::Dialed => self.dialed.borrow_mut().push(call),
            _ => {}
        }
        self.steps.set(self.steps.get() + 1);
        if !self.steps.get().is_multiple_of(73) || thread::panicking() {
            return;
        }
        match step {
            Step::Dialed => self.interrupted.set(self.interrupted.get() + 1),
            Step::Scheduled { .. } => self.at_scheduled.set(self.at_scheduled.get() + 1),
            Step::Canceled { .. } => self.at_canceled.set(self.at_canceled.get() + 1),
            Step::Finished => self.after_the_end.set(self.after_the_end.get() + 1),
            _ => {}
        }
        unwind();
    }
}

/// Every fifth handler, every tenth captured drop, and the observer at every 73rd step.
#[test]
fn handlers_captured_drops_and_the_observer_panic_and_the_order_and_the_tally_hold() {
    let queue = CallQueue::new();
    let observer = Rc::new(Erratic::default());
    queue.add_observer(Rc::clone(&observer));
    let (drops, panicked) = (Drops::default(), Rc::new(Cell::new(0)));
    let ran = Rc::new(RefCell::new(Vec::new()));
    let mut canceled = HashSet::new();
    let mut at_schedule = 0;
    for number in 0..CALLS {
        let (captured, ran, panicked) = (drops.value(), Rc::clone(&ran), Rc::clone(&panicked));
        let handler = move |_: &QueueHandle| {
            let _captured = captured;
            ran.borrow_mut().push(number);
            if number.is_multiple_of(5) {
                panicked.set(panicked.get() + 1);
                unwind();
            }
        };
        let bomb = (number % 10 == 1 || number % 10 == 2).then(|| Bomb);
        let schedule = || match bomb {
            Some(bomb) => drop(queue.call(move |queue| {
                handler(queue);
                drop(bomb);
            })),
            None => drop(queue.call(handler)),
        };
        // A call that the observer interrupts is pending all the same; only its id is not reported.
        at_schedule += u64::from(unwinds(schedule));
        let id = observer.last_created.get().expect("one was created");
        if number % 10 == 2 || number % 10 == 3 {
            unwinds(|| queue.cancel(id, "unwanted"));
            canceled.insert(id);
        }
    }
    // One that was interrupted as it was created is not reported of as scheduled: its place is known.
    let expected = Counts { pending: CALLS / 10 * 8, canceled: CALLS / 10 * 2, ..NONE };
    assert_counts(&queue, expected);
    assert_eq!(drops.alive(), expected.pending);
    let mut at_dial = 0;
    while !queue.is_idle() {
        at_dial += u64::from(unwinds(|| queue.dial_all()));
        assert!(queue.tally().balances() && queue.tally().live == 0);
    }

    let dialed = observer.dialed.borrow();
    let was_dialed: HashSet<_> = dialed.iter().copied().collect();
    assert_eq!(dialed.len(), was_dialed.len(), "dialed twice");
    let scheduled = observer.scheduled.borrow();
    let reported: HashSet<_> = scheduled.iter().copied().collect();
    let in_order: Vec<_> = scheduled.iter().filter(|id| !canceled.contains(id)).collect();
    assert_eq!(dialed.iter().filter(|id| reported.contains(id)).collect::<Vec<_>>(), in_order);
    assert!(ran.borrow().is_sorted_by(|one, next| one < next), "out of order");
    let bombs = ran.borrow().iter().filter(|number| *number % 10 == 1).count() as u64;
    let ended = panicked.get() + bombs;
    assert_eq!(ran.borrow().len() as u64, expected.pending);
    assert_eq!(at_dial, ended + observer.interrupted.get() + observer.after_the_end.get());
    let finished = expected.pending - ended;
    assert_counts(&queue, Counts { pending: 0, finished, panicked: ended, ..expected });
    assert_eq!(drops.alive(), 0);
    let Erratic { interrupted, at_scheduled, at_canceled, after_the_end, .. } = &*observer;
    let at_created = at_schedule - at_scheduled.get();
    let reported = [interrupted, at_scheduled, at_canceled, after_the_end].map(Cell::get);
    let faults = [&reported[..], &[at_created, bombs, panicked.get()]].concat();
    assert!(faults.iter().all(|times| *times > CALLS / 1000), "{faults:?}");
}

/// In debug a tenth of them.
const PENDING: u64 = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };

/// Runs on a thread whose stack is small.
#[track_caller]
fn on_256_kib(run: fn()) {
    let thread = thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap();
    if let Err(panic) = thread.join() {
        panic::resume_unwind(panic);
    }
}

#[test]
fn ten_million_pending_calls_are_dropped_on_a_stack_of_256_kib() {
    on_256_kib(|| {
        let queue = CallQueue::new();
        let handle = queue.handle();
        let drops = Drops::default();
        for _ in 0..PENDING {
            let captured = drops.value();
            queue.call(|queue| never(captured)(queue));
        }
        assert_counts(&handle, Counts { pending: PENDING, ..NONE });
        drop(queue);
        assert_counts(&handle, Counts { canceled: PENDING, ..NONE });
        assert_eq!((drops.count(), drops.alive()), (PENDING, 0));
    });
}

/// Half of them by the drop of another call, which owns the callback.
#[test]
fn a_million_pending_calls_that_own_callbacks_are_dropped_on_a_stack_of_256_kib() {
    on_256_kib(|| {
        let queue = CallQueue::new();
        let handle = queue.handle();
        let drops = Drops::default();
        for _ in 0..PENDING / 10 {
            let captured = drops.value();
            let owned = queue.callback(move |queue, ()| never(captured)(queue));
            queue.call(move |_| owned.answer(()));
        }
        drop(queue);
        assert_counts(&handle, Counts { canceled: PENDING / 5, ..NONE });
        assert_eq!((drops.count(), drops.alive()), (PENDING / 10, 0));
    });
}

/// A captured value that checks, as it drops, that the one before it was dropped last.
struct Numbered(u64, Rc<Cell<u64>>);

impl Drop for Numbered {
    fn drop(&mut self) {
        assert_eq!(self.1.replace(self.0 + 1), self.0, "not first to last");
    }
}

#[test]
fn a_queue_dropped_while_live_from_inside_a_handler_ends_a_million_pending_calls() {
    const PENDING: u64 = 1_000_000;
    on_256_kib(|| {
        let queue = CallQueue::new();
        let handle = queue.handle();
        let dropped = Rc::new(Cell::new(0));
        let server = handle.recipient(());
        let after = Rc::clone(&dropped);
        let drops_it = move |(): &mut (), cx: &Context<'_, ()>| {
            drop(queue);
            // They are over when the drop returns, with this call still live.
            assert_eq!(after.get(), PENDING);
            assert_counts(cx.queue(), Counts { live: 1, canceled: PENDING, ..NONE });
            assert!(cx.try_call(|(), _| ()).is_err(), "a queue that is gone takes nothing");
        };
        server.call(drops_it);
        for number in 0..PENDING {
            let captured = Numbered(number, Rc::clone(&dropped));
            handle.call(move |queue| never(captured)(queue));
        }
        let report = handle.dial_all();
        assert_eq!((report.dialed, report.remaining, dropped.get()), (1, 0, PENDING));
        assert_counts(&handle, Counts { canceled: PENDING, finished: 1, ..NONE });
        drop(server);
    });
}
