//! Hazards: a job without a thread, and a thread without need. Threads are started, or not, by the test.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::vec::Vec;

use super::{Job, PoolThread, ThreadPool};
use crate::op::{OpError, OpResult};
use crate::reactor::Reactor;
use crate::samples::{LlFakeCancel, Module};

/// How long a thread may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The error of a system that starts no thread.
fn no_thread() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

/// A pool of at most `limit` threads, whose starts fail if `fails` returns true for their number.
/// Counts them.
fn pool(
    limit: usize,
    fails: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (ThreadPool, Arc<AtomicUsize>) {
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&starts);
    let pool = ThreadPool::starting(limit, move |thread| {
        if fails(counted.fetch_add(1, Ordering::Relaxed) + 1) {
            return Err(no_thread());
        }
        drop(thread::spawn(thread));
        Ok(())
    });
    (pool, starts)
}

struct Closure<F>(F);

impl<F: FnOnce(&PoolThread<'_>) + Send> Job for Closure<F> {
    fn run(self: Box<Self>, thread: &PoolThread<'_>) {
        (self.0)(thread);
    }

    fn cancel(self: Box<Self>) {}
}

/// Adds a job; whether there is a thread for it.
fn add(pool: &ThreadPool, job: impl FnOnce(&PoolThread<'_>) + Send + 'static) -> bool {
    pool.add(Box::new(Closure(job))).is_ok()
}

/// What a job has, and its end for the test.
fn line() -> (Sender<()>, Receiver<()>) {
    channel()
}

#[track_caller]
fn wait(line: &Receiver<()>) {
    line.recv_timeout(PATIENCE).expect("a thread does the job");
}

/// The second of two that were added at a time counted on the thread of the first, which never was.
#[test]
fn a_start_that_fails_leaves_no_job_of_another_without_a_thread() {
    for limit in [1, 2] {
        let (go, gone) = line();
        let is_added = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&is_added);
        let (pool, _) = pool(limit, move |start| {
            // A job that is added meanwhile.
            let _ = go.send(());
            let mut patience = if start == 1 { 10_000 } else { 0 };
            while patience > 0 && !sees.load(Ordering::Relaxed) {
                thread::yield_now();
                patience -= 1;
            }
            true
        });
        let other = thread::spawn({
            let pool = pool.clone();
            move || {
                wait(&gone);
                let is_taken = add(&pool, |_| ());
                is_added.store(true, Ordering::Relaxed);
                is_taken
            }
        });
        assert!(!add(&pool, |_| ()));
        assert!(!other.join().expect("no panic"), "it has no thread, of {limit}");
        assert_eq!((pool.threads(), pool.queued()), (0, 0));
    }
}

/// It had to wait for the only thread, until yet another job was added.
#[test]
fn a_start_that_failed_is_tried_again_when_a_job_is_taken() {
    let (pool, starts) = pool(2, |start| start == 2 || start == 3);
    let ((end, ends), (done, is_done), (met, meets)) = (line(), line(), line());
    assert!(add(&pool, move |_| wait(&ends)));
    // These find no thread but the one that is busy. The first goes on when the second is there.
    let one_done = done.clone();
    assert!(add(&pool, move |_| {
        wait(&meets);
        let _ = one_done.send(());
    }));
    assert!(add(&pool, move |_| {
        let _ = met.send(());
        let _ = done.send(());
    }));
    assert_eq!((starts.load(Ordering::Relaxed), pool.threads()), (3, 1));
    end.send(()).expect("it waits");
    wait(&is_done);
    wait(&is_done);
    assert_eq!((starts.load(Ordering::Relaxed), pool.threads()), (4, 2));
}

/// Each job woke a thread more, while the one that had answered was about to look.
#[test]
fn a_job_that_is_added_as_another_ends_is_done_by_its_thread() {
    let (pool, starts) = pool(8, |_| false);
    let (done, is_done) = line();
    let next = pool.clone();
    assert!(add(&pool, move |thread| {
        let own = thread::current().id();
        thread.end_with(|| {
            assert!(add(&next, move |_| {
                assert_eq!(thread::current().id(), own);
                let _ = done.send(());
            }));
            Ok::<_, ()>(())
        });
    }));
    wait(&is_done);
    assert_eq!(starts.load(Ordering::Relaxed), 1);
}

#[test]
fn a_thread_that_drops_results_without_a_taker_is_not_counted_on() {
    struct Waits(Receiver<()>);

    impl Drop for Waits {
        fn drop(&mut self) {
            wait(&self.0);
        }
    }

    let (pool, starts) = pool(2, |_| false);
    let ((other, others), (done, is_done)) = (line(), line());
    let next = pool.clone();
    assert!(add(&pool, move |thread| {
        thread.end_with(|| {
            assert!(add(&next, move |_| _ = other.send(())));
            Err(Waits(others))
        });
        let _ = done.send(());
    }));
    wait(&is_done);
    assert_eq!(starts.load(Ordering::Relaxed), 2);
}

/// The first counted until the next turn, and the second was refused as Full.
#[test]
fn o06_work_without_a_thread_does_not_count_for_the_bound() {
    let mut reactor = Reactor::new().expect("a reactor");
    let names = LlFakeCancel::<u8, io::Error>::new(&reactor.handle(), &pool(4, |_| true).0);
    let names = names.bounded(1);
    names.open();
    let results = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..2 {
        let delivered = Rc::clone(&results);
        let done = reactor.queue().callback(move |_, result: OpResult<u8, io::Error>| {
            delivered.borrow_mut().push(result);
        });
        names.start(Box::new(|| Ok(7)), done).expect("it is open");
    }
    reactor.run().expect("events");
    let results = results.take();
    let is_without = |result: &_| matches!(result, Err(OpError::NotStarted(_)));
    assert!(results.len() == 2 && results.iter().all(is_without), "{results:?}");
}

#[test]
fn o06_a_thread_that_cannot_be_started_is_a_result_with_the_error_of_the_system() {
    let mut reactor = Reactor::new().expect("a reactor");
    let names = LlFakeCancel::<u8, io::Error>::new(&reactor.handle(), &pool(4, |_| true).0);
    names.open();
    let results = Rc::new(RefCell::new(Vec::new()));
    let delivered = Rc::clone(&results);
    let done = reactor.queue().callback(move |_, result: OpResult<u8, io::Error>| {
        delivered.borrow_mut().push(result);
    });
    names.start(Box::new(|| Ok(7)), done).expect("it is open");
    reactor.run().expect("events");
    let Some(Err(OpError::NotStarted(cause))) = results.borrow_mut().pop() else {
        panic!("a result")
    };
    let cause: &io::Error = cause.downcast_ref().expect("the system's error");
    assert_eq!(cause.kind(), no_thread().kind());
    assert_eq!(reactor.queue().tally().abandoned, 0);
}
