//! Hazard: a call of another thread that is lost, out of order, run on the wrong thread or never
//! noticed (rule M8).

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, channel};
use std::sync::{Arc, Barrier};
use std::thread::{self, ThreadId};
use std::time::Duration;

use switchboard::reactor::{Reactor, ReactorHandle, Remote, SendError};
use switchboard::{CallId, Step, Tally};

use support::net::{Log, check, turn_now, turn_until, turn_until_idle, unwind, unwinding};

/// Records the thread on which it is dropped.
struct Dropped(Arc<std::sync::Mutex<Vec<ThreadId>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn m08_a_reactor_that_sleeps_is_woken_by_another_thread() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    let reported = Rc::new(Cell::new(0));
    let recipient = reactor.queue().recipient(Rc::clone(&reported));
    let address = reactor.remote_to(&recipient);
    let asleep = Arc::new(Barrier::new(2));
    let thread = {
        let asleep = Arc::clone(&asleep);
        thread::spawn(move || {
            asleep.wait();
            remote.call(|_| ()).unwrap();
            address.call(|reported, _| reported.set(reported.get() + 1)).unwrap();
        })
    };
    assert_eq!(reactor.poll_timeout(), None);
    asleep.wait();
    turn_until(&mut reactor, || reported.get() == 1);
    thread.join().unwrap();
    reactor.run().unwrap(); // ends: the senders are gone
    assert_eq!(reactor.queue().tally().finished, 2);
}

#[test]
fn m08_calls_come_in_the_order_they_were_sent_per_sender() {
    const SENDERS: usize = 8;
    const EACH: usize = 1000;
    let mut reactor = Reactor::new().unwrap();
    let received = Rc::new(RefCell::new(vec![Vec::new(); SENDERS]));
    let recipient = reactor.queue().recipient(Rc::clone(&received));
    let address = reactor.remote_to(&recipient);
    let threads: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let address = address.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    let push = move |received: &mut Rc<RefCell<Vec<Vec<_>>>>| {
                        received.borrow_mut()[sender].push(number);
                    };
                    address.call(move |received, _| push(received)).unwrap();
                }
            })
        })
        .collect();
    drop(address);
    reactor.run().unwrap();
    assert!(received.borrow().iter().all(|numbers| numbers.iter().copied().eq(0..EACH)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    check(&reactor);
}

#[test]
fn m08_one_sender_keeps_its_order_over_both_kinds_of_senders() {
    let mut reactor = Reactor::new().unwrap();
    let log = Log::new();
    let recipient = reactor.queue().recipient(log.clone());
    let (remote, address) = (reactor.remote(), reactor.remote_to(&recipient));
    let bounded = address.clone().bounded(10);
    let sites = Log::new();
    let seen = sites.clone();
    reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if let Step::Scheduled { site } = step {
            seen.push(site.file().ends_with("remote.rs"));
        }
    });
    thread::scope(|scope| {
        scope.spawn(move || {
            address.call(|log, _| log.push(1)).unwrap();
            remote.call(|_| ()).unwrap();
            bounded.call(|log, _| log.push(2)).unwrap();
            address
                .call(|log, cx| {
                    cx.call(|log, _| log.push(4));
                    log.push(3);
                })
                .unwrap();
        });
    });
    reactor.run().unwrap();
    assert_eq!(log.take(), [1, 2, 3, 4]);
    assert_eq!(sites.take(), [true; 5], "the sites are those of the senders");
}

#[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
#[test]
fn m08_wake_ups_merge() {
    use std::os::fd::AsRawFd;

    let mut reactor = Reactor::new().unwrap();
    let _host_may_sleep = reactor.as_raw_fd();
    let remote = reactor.remote();
    for _ in 0..10 {
        for _ in 0..100 {
            remote.call(|_| ()).unwrap();
        }
        assert_eq!(turn_now(&mut reactor).dialed, 100);
    }
    let traffic = reactor.event_stats();
    assert_eq!((traffic.events, traffic.foreign), (10, 10), "one wake-up for a hundred calls");
    assert_eq!(turn_now(&mut reactor).dialed, 0);
    assert_eq!(reactor.poll_timeout(), None);
}

#[test]
fn m08_closures_run_and_drop_on_the_thread_of_the_reactor() {
    let mut reactor = Reactor::new().unwrap();
    let (remote, recipient) = (reactor.remote(), reactor.queue().recipient(()));
    let address = reactor.remote_to(&recipient);
    let drops = Arc::default();
    let (captured, other) = (Dropped(Arc::clone(&drops)), Dropped(Arc::clone(&drops)));
    let (gone, unheard) = (Dropped(Arc::clone(&drops)), Dropped(Arc::clone(&drops)));
    let ran = Arc::new(std::sync::Mutex::new(None));
    let runs = Arc::clone(&ran);
    let sent = thread::spawn(move || {
        let run = move |_: &ReactorHandle| {
            let _captured = captured;
            *runs.lock().unwrap() = Some(thread::current().id());
        };
        remote.call(run).unwrap();
        address
            .call(move |(), cx| {
                let _other = other;
                cx.hang_up();
            })
            .unwrap();
        address.call(move |(), _| drop(gone)).unwrap();
        (remote, unheard)
    });
    let (remote, unheard) = sent.join().unwrap();
    turn_until_idle(&mut reactor);
    assert_eq!(reactor.queue().tally().refused, 1);
    // This one is in the inbox when the reactor goes.
    thread::spawn(move || remote.call(move |_| drop(unheard)).unwrap()).join().unwrap();
    let queue = reactor.queue().clone();
    drop(reactor);
    let here = thread::current().id();
    assert_eq!(*drops.lock().unwrap(), [here; 4]);
    assert_eq!(*ran.lock().unwrap(), Some(here));
    let Tally { finished, refused, canceled, .. } = queue.tally();
    assert_eq!((finished, refused, canceled), (2, 1, 1));
}

#[test]
fn m08_a_reactor_that_is_gone_hands_the_closure_back() {
    let reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(0);
    let (remote, address) = (reactor.remote(), reactor.remote_to(&recipient));
    drop(reactor);
    let value = Arc::new(7);
    let captured = Arc::clone(&value);
    let error = remote.call(move |_| drop(captured)).unwrap_err();
    let text = "remote call not scheduled: the reactor has been dropped; send no more calls to it";
    assert_eq!(
        (error.to_string().as_str(), format!("{error:?}").as_str()),
        (text, "ReactorDropped(..)")
    );
    assert_eq!(Arc::strong_count(&value), 2);
    drop(error.into_inner());
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(matches!(address.call(|_, _| ()), Err(SendError::ReactorDropped(_))));
    let _ = (remote.clone(), address.clone());
}

#[test]
fn a_panicking_remote_closure_unwinds_the_turn_and_nothing_is_lost() {
    let mut reactor = Reactor::new().unwrap();
    let reported = Log::new();
    let recipient = reactor.queue().recipient(reported.clone());
    let remote = reactor.remote_to(&recipient);
    thread::spawn(move || {
        for number in 0..10 {
            let sent = remote.call(move |reported, _| {
                reported.push(number);
                if number % 3 == 0 {
                    unwind("remote");
                }
            });
            sent.unwrap();
        }
    });
    for _ in 0..4 {
        assert_eq!(unwinding(|| reactor.run()), "remote");
        check(&reactor);
    }
    reactor.run().unwrap();
    assert_eq!(reported.take(), (0..10).collect::<Vec<_>>());
    let Tally { finished, panicked, .. } = reactor.queue().tally();
    assert_eq!((finished, panicked), (6, 4));
}

#[test]
fn a_remote_closure_whose_captures_panic_when_they_drop_poisons_nothing() {
    struct Unwinds;
    impl Drop for Unwinds {
        fn drop(&mut self) {
            unwind("drop");
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let remote = reactor.remote_to(&recipient);
    let send = || {
        let captured = Unwinds;
        remote.call(move |(), _| std::mem::forget(captured)).unwrap();
        remote.call(|(), _| ()).unwrap();
    };
    send();
    drop(recipient);
    assert_eq!(unwinding(|| reactor.run()), "drop", "of the call that is refused");
    let _ = turn_now(&mut reactor);
    assert_eq!(reactor.queue().tally().refused, 2);
    // And when the reactor goes: the second is dropped all the same.
    send();
    let queue = reactor.queue().clone();
    assert_eq!(unwinding(|| drop(reactor)), "drop");
    assert_eq!((queue.tally().canceled, queue.tally().pending), (2, 0));
    assert!(matches!(remote.call(|(), _| ()), Err(SendError::ReactorDropped(_))));
}

#[test]
fn an_observer_that_panics_at_a_remote_call_loses_none_of_those_behind_it() {
    let mut reactor = Reactor::new().unwrap();
    let (remote, count) = (reactor.remote(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..5 {
        let count = Arc::clone(&count);
        remote.call(move |_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    }
    let panics = Rc::new(Cell::new(true));
    let observed = Rc::clone(&panics);
    reactor.queue().add_observer(move |_: CallId, _: &Step| {
        if observed.replace(false) {
            unwind("observer");
        }
    });
    assert_eq!(unwinding(|| reactor.turn(None)), "observer");
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "the rest is not forgotten");
    turn_until(&mut reactor, || count.load(Ordering::Relaxed) == 5);
    // The same while the reactor goes.
    for _ in 0..5 {
        remote.call(|_| ()).unwrap();
    }
    panics.set(true);
    let queue = reactor.queue().clone();
    assert_eq!(unwinding(|| drop(reactor)), "observer");
    let tally = queue.tally();
    assert_eq!((tally.canceled, tally.created, tally.pending), (5, 10, 0));
}

#[test]
fn a_handler_may_send_to_its_own_reactor() {
    let mut reactor = Reactor::new().unwrap();
    let (remote, count) = (reactor.remote(), Arc::new(AtomicUsize::new(0)));
    fn again(remote: &Remote, count: Arc<AtomicUsize>) {
        if count.fetch_add(1, Ordering::Relaxed) < 100 {
            let next = remote.clone();
            remote.call(move |_| again(&next, count)).unwrap();
        }
    }
    again(&remote, Arc::clone(&count));
    drop(remote);
    reactor.run().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 101);
}

#[test]
fn run_ends_when_the_last_sender_goes_and_not_before() {
    // Again and again, as the reactor is to be asleep when the sender goes.
    for _ in 0..200 {
        let mut reactor = Reactor::new().unwrap();
        let (remote, recipient) = (reactor.remote(), reactor.queue().recipient(()));
        let address = reactor.remote_to(&recipient);
        let (step, steps) = channel::<()>();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            drop(address);
            remote.call(move |_| step.send(()).unwrap()).unwrap();
            steps.recv().unwrap();
            thread::yield_now();
            assert!(!seen.load(Ordering::SeqCst));
            drop(remote);
        });
        reactor.run().unwrap();
        ended.store(true, Ordering::SeqCst);
        thread.join().unwrap();
    }
}

#[test]
fn addresses_that_are_of_no_use_any_more_do_not_pile_up() {
    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let kept = reactor.remote_to(&recipient);
    for _ in 0..10_000 {
        drop(reactor.remote_to(&recipient));
    }
    kept.call(|(), _| ()).unwrap();
    turn_until_idle(&mut reactor);
    assert_eq!(reactor.queue().tally().finished, 1, "the one that is kept is there");
}

#[test]
fn what_a_loop_that_goes_was_sent_drops_in_the_order_it_came() {
    struct Outcomes(u32, mpsc::Sender<u32>);
    impl Drop for Outcomes {
        fn drop(&mut self) {
            self.1.send(self.0).unwrap();
        }
    }
    let mut reactor = Reactor::new().unwrap();
    reactor.set_budget(0);
    let (remote, (sender, receiver)) = (reactor.remote(), channel());
    let send = |numbers: Range<u32>| {
        for number in numbers {
            let reported = Outcomes(number, sender.clone());
            remote.call(move |_| drop(reported)).unwrap();
        }
    };
    // Some are fetched and scheduled, some only fetched, and some neither.
    send(0..3);
    let _ = turn_now(&mut reactor);
    send(3..6);
    drop(reactor);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_loop_that_goes_while_threads_send_loses_no_closure() {
    const SENDERS: usize = 4;
    for round in 0..50 {
        let mut reactor = Reactor::new().unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (start, gone) = (Arc::new(Barrier::new(SENDERS + 1)), Arc::new(AtomicBool::new(false)));
        let threads: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (remote, dropped) = (reactor.remote(), Arc::clone(&dropped));
                let (start, gone) = (Arc::clone(&start), Arc::clone(&gone));
                thread::spawn(move || {
                    start.wait();
                    for sent in 0.. {
                        let late = gone.load(Ordering::SeqCst);
                        let count = Count(Arc::clone(&dropped));
                        if let Err(error) = remote.call(move |_| drop(count)) {
                            assert!(matches!(error, SendError::ReactorDropped(_)));
                            return sent;
                        }
                        assert!(!late, "taken by a loop that is gone");
                    }
                    unreachable!()
                })
            })
            .collect();
        start.wait();
        for _ in 0..round {
            let _ = turn_now(&mut reactor);
        }
        let queue = reactor.queue().clone();
        drop(reactor);
        gone.store(true, Ordering::SeqCst);
        let sent: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let tally = queue.tally();
        assert_eq!(tally.created, sent as u64, "each that was sent is a call: {tally}");
        assert_eq!(tally.finished + tally.canceled, sent as u64, "{tally}");
        assert_eq!(dropped.load(Ordering::SeqCst), sent + SENDERS, "and those handed back");
    }
}
