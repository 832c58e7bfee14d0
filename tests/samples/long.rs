//! Hazard: a stack that overflows, or memory that grows, with the length of a chain or the number
//! of retries. 100,000 of either complete at once, one from within the other, on a small stack, and
//! an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::panic;
use std::rc::Rc;
use std::thread;

use switchboard::op::{AsyncOp, OpError, OpResult, Operation};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    Chain, Layer, MlChain, MlRetries, Module, Next, Retry, RetryPolicy, StartError,
};
use switchboard::{CallQueue, Callback, Cancellation, QueueHandle, Recipient};

/// Steps of a chain, and retries.
const MANY: u32 = 100_000;

/// The stack that they have, in bytes.
const STACK: usize = 128 * 1024;

/// The layer below: completes at once, within its start function.
#[derive(Default)]
struct Immediate {
    started: Rc<Cell<u32>>,
    /// Failures before each success.
    failures: u32,
}

impl Module for Immediate {
    type Request = ();
    type Answer = u32;
    type Error = &'static str;

    fn layer(&self) -> Layer<'_> {
        Layer::ungated()
    }

    fn start(
        &self,
        (): (),
        done: Callback<OpResult<u32, &'static str>>,
    ) -> Result<AsyncOp, StartError<()>> {
        let started = self.started.get() + 1;
        self.started.set(started);
        let op = Operation::new(done, (), |_| unreachable!("it is complete"));
        let again = !started.is_multiple_of(self.failures + 1);
        let result = if again { Err(OpError::Retryable("again")) } else { Ok(started) };
        op.complete(result).expect("once");
        Ok(op.handle())
    }
}

/// Whether the operation is canceled, by whom, and when.
#[derive(Clone, Copy)]
enum Cancels {
    Never,
    /// The closure of the operation itself.
    Closure {
        at: u32,
    },
    /// A call, scheduled by the closure.
    Call {
        at: u32,
    },
}

/// What an operation's closure does each time, beside its duty: watches memory, and cancels.
#[derive(Clone)]
struct Watch {
    queue: QueueHandle,
    op: Rc<RefCell<Option<AsyncOp>>>,
    cancels: Cancels,
    times: Rc<Cell<u32>>,
    early: Rc<Cell<isize>>,
}

impl Watch {
    fn new(queue: &QueueHandle, cancels: Cancels) -> Self {
        let (op, times, early) = (Rc::default(), Rc::default(), Rc::default());
        Self { queue: queue.clone(), op, cancels, times, early }
    }

    /// Keeps the handle, for the cancel.
    fn keep(&self, op: AsyncOp) {
        self.op.replace(Some(op));
    }

    fn tick(&self) {
        let times = self.times.get() + 1;
        self.times.set(times);
        // Once all is warm, the same moment finds the same memory in use.
        if times == 100 {
            self.early.set(live_bytes());
        } else if times > 100 {
            assert_eq!(live_bytes(), self.early.get(), "bytes, at time {times}");
        }
        match self.cancels {
            Cancels::Closure { at } if at == times => self.cancel(),
            Cancels::Call { at } if at == times => {
                // The one call that is not like the others.
                self.early.set(isize::MIN);
                let watch = self.clone();
                self.queue.call(move |_| watch.cancel());
            }
            _ => {}
        }
    }

    fn cancel(&self) {
        let canceled = self.op.borrow().as_ref().map(AsyncOp::cancel);
        assert_eq!(canceled, Some(Cancellation::Canceled));
    }
}

/// The outcome of one operation.
struct Outcomes {
    recorder: Recipient<()>,
    outcome: Rc<RefCell<Vec<OpResult<u32, &'static str>>>>,
}

impl Outcomes {
    fn new(queue: &QueueHandle) -> Self {
        Self { recorder: queue.recipient(()), outcome: Rc::default() }
    }

    fn done(&self) -> Callback<OpResult<u32, &'static str>> {
        let outcome = Rc::clone(&self.outcome);
        self.recorder.callback(move |(), _, result| outcome.borrow_mut().push(result))
    }

    /// Dials until nothing is pending, and returns the outcome.
    #[track_caller]
    fn dial(self, queue: &QueueHandle) -> OpResult<u32, &'static str> {
        queue.dial_all();
        let tally = queue.tally();
        assert!(tally.balances(), "{tally}");
        assert_eq!([tally.unscheduled, tally.abandoned, tally.refused], [0; 3], "{tally}");
        let mut outcome = self.outcome.take();
        assert_eq!(outcome.len(), 1, "outcomes");
        outcome.remove(0)
    }
}

/// A chain that ends at the answer `MANY`.
fn chain_of<L>(request: fn() -> L::Request, ticks: Watch) -> Chain<L, u32, &'static str>
where
    L: Module<Answer = u32, Error = &'static str> + 'static,
{
    Chain::new(
        |lower| lower,
        request(),
        move |answer: OpResult<u32, _>| {
            ticks.tick();
            Ok(match answer? {
                MANY => Next::Done(MANY),
                _ => Next::Start(chain_of(request, ticks)),
            })
        },
    )
}

/// Runs a chain of `MANY` steps. Returns its outcome, how often its closure was called, and how
/// many steps were started.
fn chain(cancels: Cancels) -> (OpResult<u32, &'static str>, u32, u32) {
    let queue = CallQueue::new();
    let lower = Immediate::default();
    let started = Rc::clone(&lower.started);
    let module = MlChain::new(&queue, lower);
    module.open();
    let watch = Watch::new(&queue, cancels);
    let ticks = watch.clone();
    let request = chain_of(|| (), ticks);
    let outcomes = Outcomes::new(&queue);
    watch.keep(module.start(request, outcomes.done()).expect("it is open"));
    (outcomes.dial(&queue), watch.times.get(), started.get())
}

/// Fails `MANY` times before it succeeds; the rest as for [`chain`].
fn retries(cancels: Cancels) -> (OpResult<u32, &'static str>, u32, u32) {
    let reactor = Reactor::new().expect("a reactor");
    let queue = reactor.queue();
    let lower = Immediate { failures: MANY, ..Immediate::default() };
    let started = Rc::clone(&lower.started);
    let module = MlRetries::new(&reactor.handle(), lower, RetryPolicy::new().at_once());
    module.open();
    let watch = Watch::new(queue, cancels);
    let ticks = watch.clone();
    let outcomes = Outcomes::new(queue);
    let op =
        module.start(Retry::new(move |_, _| ticks.tick()), outcomes.done()).expect("it is open");
    watch.keep(op);
    (outcomes.dial(queue), watch.times.get(), started.get())
}

#[test]
fn a_chain_of_100_000_steps_takes_constant_stack_and_memory() {
    on_a_small_stack(|| {
        let (outcome, times, started) = chain(Cancels::Never);
        assert_eq!((outcome.ok(), times, started), (Some(MANY), MANY, MANY));
    });
}

#[test]
fn retries_100_000_times_take_constant_stack_and_memory() {
    on_a_small_stack(|| {
        let (outcome, times, started) = retries(Cancels::Never);
        assert_eq!((outcome.ok(), times, started), (Some(MANY + 1), MANY + 1, MANY + 1));
    });
}

#[test]
fn a_chain_of_1_000_steps_with_100_attempts_each_takes_constant_stack_and_memory() {
    on_a_small_stack(|| {
        let reactor = Reactor::new().expect("a reactor");
        let queue = reactor.queue();
        let lower = Immediate { failures: 99, ..Immediate::default() };
        let retries = MlRetries::new(&reactor.handle(), lower, RetryPolicy::new().at_once());
        let module = MlChain::new(queue, retries);
        module.open();
        let watch = Watch::new(queue, Cancels::Never);
        let ticks = watch.clone();
        let request = chain_of(|| Retry::new(|_, _| ()), ticks);
        let outcomes = Outcomes::new(queue);
        watch.keep(module.start(request, outcomes.done()).expect("it is open"));
        assert_eq!((outcomes.dial(queue).ok(), watch.times.get()), (Some(MANY), MANY / 100));
    });
}

#[test]
fn a_long_chain_is_canceled_in_the_middle_by_its_closure() {
    on_a_small_stack(|| {
        let at = MANY / 2;
        let (outcome, times, started) = chain(Cancels::Closure { at });
        assert!(matches!(outcome, Err(OpError::Canceled)));
        assert_eq!((times, started), (at, at));
    });
}

#[test]
fn a_long_chain_is_canceled_in_the_middle_by_a_call() {
    on_a_small_stack(|| {
        let at = MANY / 2;
        let (outcome, times, started) = chain(Cancels::Call { at });
        assert!(matches!(outcome, Err(OpError::Canceled)));
        // The step after the closure was over when the call came, but not yet reported of.
        assert_eq!((times, started), (at, at + 1));
    });
}

#[test]
fn many_retries_are_canceled_in_the_middle_by_their_closure() {
    on_a_small_stack(|| {
        let at = MANY / 2;
        let (outcome, times, started) = retries(Cancels::Closure { at });
        assert!(matches!(outcome, Err(OpError::Canceled)));
        assert_eq!((times, started), (at, at - 1), "the request is not used");
    });
}

#[test]
fn many_retries_are_canceled_in_the_middle_by_a_call() {
    on_a_small_stack(|| {
        let at = MANY / 2;
        let (outcome, times, started) = retries(Cancels::Call { at });
        assert!(matches!(outcome, Err(OpError::Canceled)));
        assert_eq!((times, started), (at, at));
    });
}

/// Runs on a thread with little stack, and checks that no memory is left.
#[track_caller]
fn on_a_small_stack(run: fn()) {
    let run = move || {
        let before = live_bytes();
        run();
        assert_eq!(live_bytes(), before, "bytes left");
    };
    let thread = thread::Builder::new().stack_size(STACK).spawn(run).expect("a thread");
    if let Err(panic) = thread.join() {
        panic::resume_unwind(panic);
    }
}

/// Counts the bytes that each thread has allocated and not freed.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn live_bytes() -> isize {
    LIVE.get()
}

fn count(bytes: isize) {
    LIVE.set(LIVE.get() + bytes);
}

#[expect(unsafe_code, reason = "an allocator can only be watched by another one")]
// SAFETY: it is the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as for the caller.
        unsafe { System.dealloc(place, layout) }
    }
}
