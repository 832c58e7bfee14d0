//! Hazard: work that no one waits for any more, or that runs all the same. `LlFakeCancel` in detail: work
//! that panics, that outlives its cancel, that is canceled in the queue of the pool, and the resolution
//! of names.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::panic;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use switchboard::op::{AsyncOp, OpError, OpResult, OpState};
use switchboard::reactor::Reactor;
use switchboard::samples::{
    LlFakeCancel, Module, ModuleExt, Retry, RetryPolicy, StartError, ThreadPool, Work, resolve,
};
use switchboard::{Cancellation, Recipient};

/// How long a thread may take to end before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often work panics in a test.
const TIMES: usize = 300;

/// `LlFakeCancel`, and what its operations reported.
struct Bench<A: Send + 'static> {
    reactor: Reactor,
    pool: ThreadPool,
    module: LlFakeCancel<A, io::Error>,
    recorder: Recipient<()>,
    outcomes: Rc<RefCell<Vec<OpResult<A, io::Error>>>>,
}

impl<A: Send + 'static> Bench<A> {
    fn new() -> Self {
        Self::on(&ThreadPool::new(100))
    }

    fn on(pool: &ThreadPool) -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let module = LlFakeCancel::new(&reactor.handle(), pool);
        module.open();
        let recorder = reactor.queue().recipient(());
        Self { reactor, pool: pool.clone(), module, recorder, outcomes: Rc::default() }
    }

    /// Waits until a thread has taken all work.
    #[track_caller]
    fn until_taken(&self) {
        let patience = Instant::now() + PATIENCE;
        while self.pool.queued() > 0 {
            assert!(Instant::now() < patience, "no thread takes the work");
            thread::yield_now();
        }
    }

    #[track_caller]
    fn start(&self, work: Work<A, io::Error>) -> AsyncOp {
        self.try_start(work).expect("it is open")
    }

    fn try_start(
        &self,
        work: Work<A, io::Error>,
    ) -> Result<AsyncOp, StartError<Work<A, io::Error>>> {
        let outcomes = Rc::clone(&self.outcomes);
        let done = self.recorder.callback(move |(), _, result| outcomes.borrow_mut().push(result));
        self.module.start(work, done)
    }

    /// Goes on until nothing can happen any more, and returns the only outcome.
    #[track_caller]
    fn outcome(&mut self) -> OpResult<A, io::Error> {
        self.finish();
        let mut outcomes = self.outcomes.take();
        assert_eq!(outcomes.len(), 1, "outcomes");
        outcomes.remove(0)
    }

    #[track_caller]
    fn finish(&mut self) {
        let patience = Instant::now() + PATIENCE;
        while self.reactor.queue().tally().unscheduled > 0 || !self.reactor.queue().is_idle() {
            assert!(Instant::now() < patience, "not reported: {}", self.reactor.queue().tally());
            let _ = self.reactor.turn(Some(PATIENCE)).expect("a turn");
        }
        assert_eq!((self.reactor.handle().registration_count(), self.module.leftovers()), (0, 0));
        let tally = self.reactor.queue().tally();
        assert!(tally.balances(), "{tally}");
        assert_eq!([tally.unscheduled, tally.pending, tally.abandoned, tally.panicked], [0; 4]);
    }
}

/// Work that goes on until it is asked to end; `end` ends it.
fn blocking<A: Send + 'static>(
    end: impl FnOnce() -> OpResult<A, io::Error> + Send + 'static,
) -> (Work<A, io::Error>, Sender<()>) {
    let (ends, ended) = channel();
    let work = move || {
        let _ = ended.recv();
        end()
    };
    (Box::new(work), ends)
}

/// The message was lost, and the operation Dropped.
#[test]
fn o01_the_message_of_work_that_panics_is_reported() {
    let message_of = |panic: fn()| {
        let mut bench = Bench::<u8>::new();
        bench.start(Box::new(move || {
            panic();
            Ok(7)
        }));
        let Err(OpError::Panicked(message)) = bench.outcome() else { panic!("it panicked") };
        message.to_string()
    };
    assert_eq!(message_of(|| panic::resume_unwind(Box::new("the work"))), "the work");
    assert_eq!(message_of(|| panic::resume_unwind(Box::new(format!("work {}", 7)))), "work 7");
    assert_eq!(message_of(|| panic::resume_unwind(Box::new(7))), "no message");
}

/// What panics again when it is dropped, so many times.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic::resume_unwind(Box::new(Self(self.0 - 1)));
        }
    }
}

/// The result was lost, or even the thread, which still counted: the pool had none for the other work.
#[test]
fn a_panic_that_panics_when_it_is_dropped_costs_neither_the_result_nor_the_thread() {
    for times in 0..4 {
        let mut bench = Bench::<u8>::on(&ThreadPool::new(1));
        bench.start(Box::new(move || panic::resume_unwind(Box::new(Bomb(times)))));
        assert!(matches!(bench.outcome(), Err(OpError::Panicked(_))), "{times}");
        bench.start(Box::new(|| Ok(7)));
        assert!(matches!(bench.outcome(), Ok(7)), "{times}");
    }
}

#[test]
fn work_that_panics_after_its_cancel_is_a_leftover_until_then() {
    for _ in 0..TIMES {
        let mut bench = Bench::<u8>::new();
        let (work, ends) = blocking(|| panic::resume_unwind(Box::new("the work")));
        let op = bench.start(work);
        bench.until_taken();
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!(bench.module.leftovers(), 1);
        ends.send(()).expect("it waits");
        assert!(matches!(bench.outcome(), Err(OpError::Canceled)));
    }
}

#[test]
fn work_that_panics_does_not_keep_other_work_from_its_end() {
    let mut bench = Bench::new();
    for number in 0..100_u8 {
        bench.start(Box::new(move || match number % 2 {
            0 => Ok(number),
            _ => panic::resume_unwind(Box::new("the work")),
        }));
    }
    bench.finish();
    let (answers, lost): (Vec<_>, Vec<_>) =
        bench.outcomes.take().into_iter().partition(Result::is_ok);
    let mut answers: Vec<_> = answers.into_iter().flatten().collect();
    answers.sort_unstable();
    assert_eq!(answers, (0..100).step_by(2).collect::<Vec<_>>());
    assert_eq!(lost.len(), 50);
    assert!(lost.iter().all(|outcome| matches!(outcome, Err(OpError::Panicked(_)))));
}

#[test]
fn a_result_that_comes_after_the_cancel_is_swallowed_and_freed() {
    let mut bench = Bench::new();
    let result = Arc::new(());
    let returned = Arc::clone(&result);
    let (work, ends) = blocking(move || Ok(returned));
    let op = bench.start(work);
    bench.until_taken();
    assert_eq!(op.cancel(), Cancellation::Canceled);
    bench.reactor.queue().dial_all();
    assert_eq!(Arc::strong_count(&result), 2, "the thread still holds it");
    assert_eq!(bench.module.leftovers(), 1);
    ends.send(()).expect("it waits");
    bench.finish();
    assert_eq!(Arc::strong_count(&result), 1);
    assert!(matches!(bench.outcomes.take()[..], [Err(OpError::Canceled)]));
}

#[test]
fn the_module_may_be_dropped_before_its_leftovers_are_gone() {
    let mut bench = Bench::<u8>::new();
    let (work, ends) = blocking(|| Ok(7));
    let op = bench.start(work);
    bench.until_taken();
    let _ = op.cancel();
    bench.module = LlFakeCancel::new(&bench.reactor.handle(), &bench.pool);
    ends.send(()).expect("it waits");
    assert!(matches!(bench.outcome(), Err(OpError::Canceled)));
}

#[test]
fn o06_a_bound_counts_the_work_of_canceled_operations_and_is_a_result() {
    let mut bench = Bench::new();
    bench.module = LlFakeCancel::new(&bench.reactor.handle(), &bench.pool).bounded(2);
    bench.module.open();
    let (ops, ends): (Vec<_>, Vec<_>) = (0..2_u8)
        .map(|number| {
            let (work, ends) = blocking(move || Ok(number));
            (bench.start(work), ends)
        })
        .unzip();
    // A result, which retries may repeat (rule O6).
    let refused = |bench: &Bench<u8>| {
        bench.until_taken();
        let threads = bench.pool.threads();
        bench.start(Box::new(|| unreachable!("the module is full")));
        assert_eq!((bench.pool.threads(), bench.pool.queued()), (threads, 0));
    };
    refused(&bench);
    for (canceled, op) in (1..).zip(&ops) {
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!(bench.module.leftovers(), canceled);
        refused(&bench);
    }
    bench.reactor.queue().dial_all();
    refused(&bench);

    // As soon as one is done, another may start.
    ends[0].send(()).expect("it waits");
    while bench.module.leftovers() == 2 {
        let _ = bench.reactor.turn(None).expect("a turn");
    }
    bench.start(Box::new(|| Ok(7)));
    refused(&bench);
    ends[1].send(()).expect("it waits");
    bench.finish();
    let mut outcomes = bench.outcomes.take();
    let count = outcomes.len();
    outcomes.retain(|result| !matches!(result, Err(OpError::Full)));
    assert_eq!(count - outcomes.len(), 5);
    assert!(
        matches!(outcomes[..], [Err(OpError::Canceled), Err(OpError::Canceled), Ok(7)]),
        "{outcomes:?}"
    );
}

#[test]
fn leftovers_end_in_any_order() {
    let mut bench = Bench::new();
    let mut ends = Vec::new();
    for number in 0..3_u8 {
        let (work, end) = blocking(move || Ok(number));
        let op = bench.start(work);
        bench.until_taken();
        let _ = op.cancel();
        ends.push(end);
    }
    for (gone, number) in [1, 2, 0].into_iter().enumerate() {
        assert_eq!(bench.module.leftovers(), 3 - gone);
        ends[number].send(()).expect("it waits");
        while bench.module.leftovers() == 3 - gone {
            let _ = bench.reactor.turn(None).expect("a turn");
        }
    }
    bench.finish();
    assert_eq!(bench.outcomes.take().len(), 3);
}

#[test]
fn a_start_when_the_reactor_is_gone_is_refused_and_the_work_is_handed_back() {
    let Bench { reactor, module, recorder, outcomes, .. } = Bench::new();
    drop(reactor);
    let done = recorder.callback(|(), _, _| unreachable!("it is declined"));
    let error = module.start(Box::new(|| Ok(7)), done).expect_err("refused");
    let StartError::Failed { request, .. } = error else { panic!("{error:?}") };
    assert!(matches!(request(), Ok(7)));
    assert!(outcomes.borrow().is_empty());
}

#[test]
fn the_name_of_this_host_is_resolved() {
    let mut bench = Bench::<Vec<SocketAddr>>::new();
    bench.start(resolve("localhost:80"));
    let addresses = bench.outcome().expect("it has addresses");
    assert!(!addresses.is_empty());
    assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
}

#[test]
fn a_name_that_does_not_resolve_fails_for_good() {
    // None of them asks a server: no port, an empty label, a label that is too long.
    for name in ["localhost", "a..b:80", &format!("{}:80", "a".repeat(64))] {
        let mut bench = Bench::<Vec<SocketAddr>>::new();
        bench.start(resolve(name));
        assert!(matches!(bench.outcome(), Err(OpError::Failed(_))), "{name}");
    }
}

#[test]
fn the_resolution_of_a_name_is_canceled() {
    let mut bench = Bench::<Vec<SocketAddr>>::new();
    let op = bench.start(resolve("localhost:80"));
    assert_eq!(op.cancel(), Cancellation::Canceled);
    assert!(matches!(bench.outcome(), Err(OpError::Canceled)));
}

#[test]
fn dropping_the_reactor_leaves_nothing_of_work_that_goes_on() {
    for canceled in [false, true] {
        let bench = Bench::new();
        let result = Arc::new(());
        let returned = Arc::clone(&result);
        let (work, ends) = blocking(move || Ok(returned));
        let op = bench.start(work);
        bench.until_taken();
        if canceled {
            let _ = op.cancel();
        }
        let Bench { reactor, module, outcomes, .. } = bench;
        drop((reactor, module));
        assert_eq!(op.state(), OpState::Completed, "no one holds the operation");
        ends.send(()).expect("it waits");
        // No one takes the result: it goes with the thread.
        let patience = Instant::now() + PATIENCE;
        while Arc::strong_count(&result) > 1 {
            assert!(Instant::now() < patience, "the result is held");
            thread::yield_now();
        }
        assert!(outcomes.borrow().is_empty(), "there is no queue any more");
    }
}

#[test]
fn dropping_the_reactor_lets_the_thread_end() {
    let bench = Bench::<u8>::new();
    let (ended, end) = channel::<()>();
    let (work, ends) = blocking(move || {
        drop(ended);
        Ok(7)
    });
    let op = bench.start(work);
    bench.until_taken();
    let Bench { reactor, module, outcomes, .. } = bench;
    drop((reactor, module));
    ends.send(()).expect("it waits");
    assert!(end.recv().is_err(), "the work has ended");
    assert!(outcomes.borrow().is_empty(), "there is no queue any more");
    let _ = op.cancel();
}

/// All of 16 ran, though canceled before their threads began.
#[test]
fn o03_work_that_is_canceled_before_a_thread_took_it_never_runs_and_what_it_captured_goes_at_once()
{
    let mut bench = Bench::on(&ThreadPool::new(1));
    let (work, ends) = blocking(|| Ok(0));
    bench.start(work);
    bench.until_taken();
    let captured = Arc::new(());
    let ops: Vec<_> = (1..=16_u8)
        .map(|number| {
            let captured = Arc::clone(&captured);
            bench.start(Box::new(move || {
                drop(captured);
                Ok(number)
            }))
        })
        .collect();
    assert_eq!((bench.pool.queued(), Arc::strong_count(&captured)), (16, 17));
    // All but the last one.
    for (gone, op) in (1..).zip(&ops[..15]) {
        assert_eq!(op.cancel(), Cancellation::Canceled);
        assert_eq!((bench.pool.queued(), Arc::strong_count(&captured)), (16 - gone, 17 - gone));
        assert_eq!(bench.module.leftovers(), 0, "nothing goes on");
    }
    ends.send(()).expect("it waits");
    bench.finish();
    let outcomes = bench.outcomes.take();
    let answers: Vec<_> = outcomes.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!((outcomes.len(), answers), (17, vec![&0, &16]));
    assert!(bench.pool.threads() <= 1);
}

#[test]
fn canceled_work_that_was_queued_does_not_count_for_the_bound() {
    let mut bench = Bench::on(&ThreadPool::new(1));
    bench.module = LlFakeCancel::new(&bench.reactor.handle(), &bench.pool).bounded(2);
    bench.module.open();
    let (work, ends) = blocking(|| Ok(0));
    bench.start(work);
    bench.until_taken();
    for _ in 0..10 {
        let _ = bench.start(Box::new(|| Ok(1))).cancel();
    }
    bench.start(Box::new(|| Ok(2)));
    ends.send(()).expect("it waits");
    bench.finish();
    let mut outcomes = bench.outcomes.take();
    outcomes.retain(|result| !matches!(result, Err(OpError::Canceled)));
    assert!(matches!(outcomes[..], [Ok(0), Ok(2)]), "{outcomes:?}");
}

#[test]
fn a_pool_is_shared_by_modules_of_two_reactors_and_has_its_limit() {
    let pool = ThreadPool::new(3);
    let (mut one, mut other) = (Bench::on(&pool), Bench::on(&pool));
    let mut ends = Vec::new();
    for number in 0..5 {
        for bench in [&one, &other] {
            let (work, end) = blocking(move || Ok(number));
            bench.start(work);
            ends.push(end);
        }
    }
    assert_eq!(pool.threads(), 3);
    while pool.queued() > 7 {
        thread::yield_now();
    }
    ends.into_iter().for_each(|end| end.send(()).expect("it waits"));
    one.finish();
    other.finish();
    assert_eq!((one.outcomes.borrow().len(), other.outcomes.borrow().len()), (5, 5));
    assert_eq!((pool.threads(), pool.queued()), (3, 0));
}

#[test]
fn what_is_queued_runs_even_if_the_pool_and_the_module_are_dropped() {
    let mut bench = Bench::on(&ThreadPool::new(1));
    let (work, ends) = blocking(|| Ok(0));
    bench.start(work);
    bench.start(Box::new(|| Ok(1)));
    bench.module = LlFakeCancel::new(&bench.reactor.handle(), &ThreadPool::new(1));
    bench.pool = ThreadPool::new(1);
    ends.send(()).expect("it waits");
    bench.finish();
    assert!(matches!(bench.outcomes.take()[..], [Ok(0), Ok(1)]));
}

/// It was refused: `attempts(5)` ended after 2 starts, with `NotStarted(Full)`.
#[test]
fn o06_a_full_module_is_tried_again() {
    let mut bench = Bench::new();
    bench.module = LlFakeCancel::new(&bench.reactor.handle(), &bench.pool).bounded(1);
    bench.module.open();
    let (work, ends) = blocking(|| Ok(0));
    bench.start(work);
    bench.until_taken();
    let module = std::mem::replace(
        &mut bench.module,
        LlFakeCancel::new(&bench.reactor.handle(), &bench.pool),
    );
    let policy = RetryPolicy::new().backoff(|_| Duration::from_millis(1));
    let retries = module.retried(&bench.reactor.handle(), policy);
    retries.open();
    let ends = std::cell::Cell::new(Some(ends));
    let retry = Retry::new(move |attempt, last: Option<&OpError<io::Error>>| {
        assert!(last.is_none_or(|error| matches!(error, OpError::Full)), "{last:?}");
        if attempt == 3 {
            ends.take().expect("once").send(()).expect("it waits");
        }
        let work: Work<u8, _> = Box::new(|| Ok(1));
        work
    });
    let outcomes = Rc::clone(&bench.outcomes);
    let done = bench.recorder.callback(move |(), _, result| outcomes.borrow_mut().push(result));
    retries.start(retry, done).expect("it is open");
    bench.finish();
    assert!(matches!(bench.outcomes.take()[..], [Ok(0), Ok(1)]));
}
