//! Operations: a chain of retries, and single ones, over a layer that the story completes, fails,
//! loses and refuses; and bare ones, whose states a model follows: their hooks take their time, and they
//! are held after they are complete. Each that was started is reported exactly once (O1 to O4).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use switchboard::op::{AsyncOp, OpError, OpResult, OpState, Operation};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Chain, MlChain, MlPassThrough, MlRetries, Module, Next, Retry, RetryPolicy,
};
use switchboard::{Budget, CallId, Callback, Cancellation, QueueHandle};

use crate::manual::Manual;

use crate::story::{Counts, Decisions, World};

type Repeated = MlRetries<Manual>;

type Middle = MlPassThrough<MlChain<Repeated, u32, &'static str>>;

type Outcomes = OpResult<u32, &'static str>;

/// What a bare operation is about: how often its cancel hook ran, and whether that completes it.
struct Hook {
    ran: Cell<u32>,
    completes: bool,
}

fn on_cancel(op: &Operation<Hook, u32, &'static str>) {
    let hook = op.context();
    hook.ran.set(hook.ran.get() + 1);
    assert_eq!((hook.ran.get(), op.state()), (1, OpState::Canceling), "the hook runs once (O3)");
    if hook.completes {
        assert!(op.complete(Err(OpError::Canceled)).is_ok(), "it runs");
    }
}

/// A bare operation, as its module knows it, and the model of it.
struct Bare {
    /// None once its last reference was dropped.
    op: Option<Operation<Hook, u32, &'static str>>,
    state: OpState,
    result: Option<Outcomes>,
}

impl Bare {
    fn end(&mut self, result: Outcomes) {
        self.state = OpState::Completed;
        self.result = Some(result);
    }

    fn cancel(&mut self) -> Cancellation {
        match self.state {
            OpState::Running => {
                self.state = OpState::Canceling;
                if self.op.as_ref().is_some_and(|op| op.context().completes) {
                    self.end(Err(OpError::Canceled));
                }
                Cancellation::Canceled
            }
            OpState::Canceling => Cancellation::Already,
            OpState::Completed => Cancellation::Late,
        }
    }

    fn complete(&mut self, result: Outcomes) {
        let Some(op) = &self.op else { return };
        let taken = op.complete(result.clone());
        if self.state == OpState::Completed {
            assert_eq!(taken, Err(result), "handed back");
        } else {
            assert_eq!(taken, Ok(()));
            self.end(result);
        }
    }

    /// Drops the last reference.
    fn lose(&mut self) {
        if self.op.take().is_none() {
            return;
        }
        match self.state {
            OpState::Running => self.end(Err(OpError::Dropped)),
            OpState::Canceling => self.end(Err(OpError::Canceled)),
            OpState::Completed => {}
        }
    }
}

/// One operation, as its user knows it.
struct Started {
    op: Option<AsyncOp>,
    bare: Option<Bare>,
    /// Whether it is of the lowest layer, where a cancel in time decides the result.
    lowest: bool,
    call: CallId,
    /// Whether a cancel was in time.
    canceled: bool,
    reported: Rc<RefCell<Vec<OpResult<u32, &'static str>>>>,
    /// Whether its completion call was canceled.
    silenced: bool,
}

/// A chain of as many steps and one.
fn chain(number: u32, steps: usize) -> Chain<Repeated, u32, &'static str> {
    Chain::new(
        |lower| lower,
        Retry::new(move |_, _| number),
        move |answer: Outcomes| {
            let answer = answer?;
            Ok(match steps.checked_sub(1) {
                None => Next::Done(answer),
                Some(steps) => Next::Start(chain(number, steps)),
            })
        },
    )
}

pub struct Operations {
    decisions: Decisions,
    _reactor: Reactor,
    queue: QueueHandle,
    manual: Manual,
    middle: Middle,
    started: Vec<Started>,
    failed_starts: u64,
    /// Set while code runs in which no callback may run (O2).
    quiet: Rc<Cell<bool>>,
}

impl Operations {
    fn start(&mut self) {
        let reported = Rc::new(RefCell::new(Vec::new()));
        let (delivered, quiet) = (Rc::clone(&reported), Rc::clone(&self.quiet));
        let done: Callback<OpResult<u32, &'static str>> = self.queue.callback(move |_, result| {
            assert!(!quiet.get(), "reported within start or cancel");
            delivered.borrow_mut().push(result);
        });
        let call = done.id();
        self.quiet.set(true);
        let number = self.started.len() as u32;
        let kind = self.decisions.below(4);
        let lowest = kind == 0;
        let mut bare = None;
        let result = if lowest {
            self.manual.start(number, done).map_err(drop)
        } else if kind == 1 {
            let hook = Hook { ran: Cell::new(0), completes: self.decisions.below(4) == 0 };
            let op = Operation::new(done, hook, on_cancel);
            let handle = op.handle();
            bare = Some(Bare { op: Some(op), state: OpState::Running, result: None });
            Ok(handle)
        } else {
            let steps = self.decisions.below(4);
            let request = chain(number, steps);
            self.middle.start(request, done).map_err(drop)
        };
        self.quiet.set(false);
        match result {
            Ok(op) => {
                let (op, canceled, silenced) = (Some(op), false, false);
                self.started.push(Started { op, bare, lowest, call, canceled, reported, silenced });
            }
            Err(()) => {
                self.queue.dial_all();
                assert!(reported.borrow().is_empty(), "a start that failed was reported");
                self.failed_starts += 1;
            }
        }
    }

    fn pick(&mut self) -> Option<&mut Started> {
        let at = self.decisions.place(self.started.len())?;
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
        let expected = match (&mut started.bare, before) {
            (Some(bare), _) => bare.cancel(),
            (None, OpState::Running) => Cancellation::Canceled,
            (None, OpState::Canceling) => Cancellation::Already,
            (None, OpState::Completed) => Cancellation::Late,
        };
        assert_eq!(result, expected, "{before:?}");
        let canceled = result == Cancellation::Canceled;
        assert!(!(started.canceled && canceled), "canceled twice");
        started.canceled |= canceled;
        assert!(!canceled || op.state() != OpState::Running, "canceled, and it runs");
    }

    /// Lets the module of a bare operation do something.
    fn go_on_bare(&mut self) {
        let act = self.decisions.below(8);
        let quiet = Rc::clone(&self.quiet);
        let Some(bare) = self.pick().and_then(|started| started.bare.as_mut()) else { return };
        quiet.set(true);
        match act {
            0..3 => bare.complete(Ok(7)),
            3 => bare.complete(Err(OpError::Failed("for good"))),
            4 | 5 => bare.complete(Err(OpError::Canceled)),
            _ => bare.lose(),
        }
        quiet.set(false);
    }

    fn complete(&self) {
        if self.manual.running() == 0 {
            return;
        }
        match self.decisions.below(8) {
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
            let reported = started.reported.borrow();
            assert!(reported.len() <= 1, "reported twice");
            assert!(!started.silenced || reported.is_empty(), "reported, though silenced");
            if let (Some(op), true) = (&started.op, reported.len() == 1) {
                assert_eq!(op.state(), OpState::Completed);
            }
            if let (Some(op), Some(bare)) = (&started.op, &started.bare) {
                assert_eq!(op.state(), bare.state);
            }
            if let Some(op) = started.bare.as_ref().and_then(|bare| bare.op.as_ref()) {
                assert_eq!(op.context().ran.get(), u32::from(started.canceled), "the hook");
            }
        }
    }
}

impl World for Operations {
    fn begin(decisions: Decisions) -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let queue = reactor.queue().clone();
        let manual = Manual::default();
        let policy = RetryPolicy::new().at_once();
        let chain = MlChain::new(&queue, MlRetries::new(&reactor.handle(), manual.clone(), policy));
        let middle = MlPassThrough::new(&queue, chain);
        middle.open();
        let (started, quiet) = (Vec::new(), Rc::default());
        Self {
            decisions,
            _reactor: reactor,
            queue,
            manual,
            middle,
            started,
            failed_starts: 0,
            quiet,
        }
    }

    fn is_over(&self) -> bool {
        self.decisions.are_over()
    }

    fn act(&mut self) {
        match self.decisions.below(18) {
            0..4 => self.start(),
            4..8 => self.complete(),
            8 | 9 => self.cancel(),
            10 => drop(self.pick().map(|started| started.op.take())),
            11 => {
                let silence = self.decisions.below(4) == 0;
                let queue = self.queue.clone();
                if let Some(started) = self.pick().filter(|_| silence) {
                    let silenced = queue.cancel(started.call, "not of interest");
                    started.silenced |= silenced == Cancellation::Canceled;
                }
            }
            12 => {
                let reason = (self.decisions.below(2) == 0).then_some("refused");
                self.manual.refuse(reason);
            }
            13 if self.decisions.below(2) == 0 => self.middle.close(),
            13 => self.middle.open(),
            14 | 15 => self.go_on_bare(),
            _ => drop(self.queue.dial(Budget::calls(self.decisions.below(20)))),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.compare();
        Ok(())
    }

    fn end(mut self) -> Result<Counts, String> {
        // Whatever still runs is completed: then all have been reported, exactly once (O1).
        self.manual.refuse(None);
        for _ in 0..10_000 {
            self.queue.dial_all();
            if self.manual.running() == 0 {
                break;
            }
            self.manual.complete(Ok(7));
        }
        self.started.iter_mut().filter_map(|started| started.bare.as_mut()).for_each(Bare::lose);
        self.queue.dial_all();
        self.compare();
        for (number, started) in self.started.iter().enumerate() {
            let reported = started.reported.borrow();
            assert_eq!(reported.len(), usize::from(!started.silenced), "operation {number}");
            let canceled = matches!(reported.first(), Some(Err(OpError::Canceled)));
            if let Some(bare) = &started.bare {
                assert!(
                    reported.is_empty() || reported.first() == bare.result.as_ref(),
                    "operation {number}"
                );
                continue;
            }
            assert!(!canceled || started.canceled, "operation {number} was not canceled");
            let other_outcome = !reported.is_empty() && !canceled;
            let decided = started.lowest && started.canceled;
            assert!(!(decided && other_outcome), "operation {number} was canceled in time");
        }
        let tally = self.queue.tally();
        assert_eq!((tally.unscheduled, tally.pending), (0, 0), "{tally}");
        Ok(vec![self.started.len() as u64, self.failed_starts])
    }
}
