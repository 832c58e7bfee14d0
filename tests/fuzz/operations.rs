//! Operations: a chain of retries, and single ones, over a layer that the story completes, fails,
//! loses and refuses. Each that was started is told exactly once (O1 to O4).

#[path = "../manual/mod.rs"]
mod manual;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Chain, MlChain, MlPassThrough, MlRetries, Module, Next, Retry, RetryPolicy,
};
use switchboard::{Budget, CallId, Callback, Cancellation, QueueHandle};

use manual::Manual;

use super::Script;

type Middle = MlPassThrough<MlChain<MlRetries<Manual>, u32>>;

/// One operation, as its user knows it.
struct Started {
    op: Option<AsyncOp>,
    /// Whether it is of the lowest layer, where a cancel in time decides the result.
    lowest: bool,
    call: CallId,
    /// Whether a cancel was in time.
    canceled: bool,
    told: Rc<RefCell<Vec<OpResult<u32, &'static str>>>>,
    /// Whether its completion call was canceled.
    silenced: bool,
}

struct World {
    script: Script,
    queue: QueueHandle,
    manual: Manual,
    middle: Middle,
    started: Vec<Started>,
    failed_starts: usize,
    /// Set while code runs in which no callback may run (O2).
    quiet: Rc<Cell<bool>>,
}

impl World {
    fn start(&mut self) {
        let told = Rc::new(RefCell::new(Vec::new()));
        let (tells, quiet) = (Rc::clone(&told), Rc::clone(&self.quiet));
        let done: Callback<OpResult<u32, &'static str>> = self.queue.callback(move |_, result| {
            assert!(!quiet.get(), "told within start or cancel");
            tells.borrow_mut().push(result);
        });
        let call = done.id();
        self.quiet.set(true);
        let number = self.started.len() as u32;
        let lowest = self.script.pick(2) == 0;
        let result = if lowest {
            self.manual.start(number, done).map_err(drop)
        } else {
            let steps = self.script.pick(4);
            let mut left = steps;
            let first = Retry::new(move || number);
            let request = Chain::new(first, move |answer| {
                if left == 0 {
                    return Next::Done(answer);
                }
                left -= 1;
                Next::Start(Retry::new(move || number))
            });
            self.middle.start(request, done).map_err(drop)
        };
        self.quiet.set(false);
        match result {
            Ok(op) => {
                let op = Some(op);
                let started = Started { op, lowest, call, canceled: false, told, silenced: false };
                self.started.push(started);
            }
            Err(()) => {
                self.queue.dial_all();
                assert!(told.borrow().is_empty(), "told of a start that failed");
                self.failed_starts += 1;
            }
        }
    }

    fn pick(&mut self) -> Option<&mut Started> {
        let at = usize::from(self.script.byte()).checked_rem(self.started.len())?;
        Some(&mut self.started[at])
    }

    fn cancel(&mut self) {
        let quiet = Rc::clone(&self.quiet);
        let Some(started) = self.pick() else { return };
        let Some(op) = &started.op else { return };
        let before = op.state();
        quiet.set(true);
        let result = op.cancel();
        quiet.set(false);
        let expected = match before {
            OpState::Running => Cancellation::Canceled,
            OpState::Canceling => Cancellation::Already,
            OpState::Completed => Cancellation::Late,
        };
        assert_eq!(result, expected, "{before:?}");
        started.canceled |= result == Cancellation::Canceled;
    }

    fn complete(&self) {
        if self.manual.running() == 0 {
            return;
        }
        match self.script.pick(8) {
            0..4 => self.manual.complete(Ok(7)),
            4 | 5 => self.manual.complete(Err(OpError::Retryable("again"))),
            6 => self.manual.complete(Err(OpError::Failed("for good"))),
            _ => self.manual.lose(),
        }
    }

    fn compare(&self) {
        let tally = self.queue.tally();
        assert!(tally.balances(), "{tally}");
        assert_eq!((tally.abandoned, tally.refused, tally.panicked), (0, 0, 0), "{tally}");
        for started in &self.started {
            let told = started.told.borrow();
            assert!(told.len() <= 1, "told twice");
            assert!(!started.silenced || told.is_empty(), "told, though silenced");
            if let (Some(op), true) = (&started.op, told.len() == 1) {
                assert_eq!(op.state(), OpState::Completed);
            }
        }
    }
}

pub(crate) fn run(data: &[u8]) {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue().clone();
    let manual = Manual::default();
    let policy = RetryPolicy::new();
    let chain = MlChain::new(&queue, MlRetries::new(&reactor.handle(), manual.clone(), policy));
    let middle = MlPassThrough::new(&queue, chain);
    middle.open();
    let mut world = World {
        script: Script::new(data),
        queue,
        manual,
        middle,
        started: Vec::new(),
        failed_starts: 0,
        quiet: Rc::default(),
    };
    while !world.script.is_over() {
        match world.script.pick(16) {
            0..4 => world.start(),
            4..8 => world.complete(),
            8 | 9 => world.cancel(),
            10 => drop(world.pick().map(|started| started.op.take())),
            11 => {
                let silence = world.script.pick(4) == 0;
                let queue = world.queue.clone();
                if let Some(started) = world.pick().filter(|_| silence) {
                    let silenced = queue.cancel(started.call, "not of interest");
                    started.silenced |= silenced == Cancellation::Canceled;
                }
            }
            12 => {
                let reason = (world.script.pick(2) == 0).then_some("refused");
                world.manual.refuse(reason);
            }
            13 if world.script.pick(2) == 0 => world.middle.close(),
            13 => world.middle.open(),
            _ => drop(world.queue.dial(Budget::calls(world.script.pick(20)))),
        }
        world.compare();
    }
    // Whatever still runs is completed: then all have been told, exactly once (O1).
    world.manual.refuse(None);
    for _ in 0..10_000 {
        world.queue.dial_all();
        if world.manual.running() == 0 {
            break;
        }
        world.manual.complete(Ok(7));
    }
    world.compare();
    for (number, started) in world.started.iter().enumerate() {
        let told = started.told.borrow();
        assert_eq!(told.len(), usize::from(!started.silenced), "operation {number}");
        let canceled = matches!(told.first(), Some(Err(OpError::Canceled)));
        assert!(!canceled || started.canceled, "operation {number} was not canceled");
        let told_otherwise = !told.is_empty() && !canceled;
        let decided = started.lowest && started.canceled;
        assert!(!(decided && told_otherwise), "operation {number} was canceled in time");
    }
    let tally = world.queue.tally();
    assert_eq!((tally.unscheduled, tally.pending), (0, 0), "{tally}");
}
