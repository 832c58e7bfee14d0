//! What every loop is put through. The bounds on the polls are those of the loop that needs most.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UnixStream;
use switchboard::reactor::{ReactorHandle, Registration};
use switchboard::{QueueHandle, Recipient};

use super::scene::{HOUR, Host, LoopThread, Scene};

/// How often each thing is done.
const ROUNDS: usize = 10;

/// What happened, in order.
type Log<T> = Rc<RefCell<Vec<T>>>;

type Source = Recipient<Registration<UnixStream>>;

/// Two ends of a connection. Ours is registered for reading, and `handler` is called with it.
fn source(
    reactor: &ReactorHandle,
    handler: impl Fn(&mut UnixStream) + 'static,
) -> (Source, unix::net::UnixStream) {
    let (ours, peer) = unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = UnixStream::from_std(ours);
    let source = reactor.queue().try_recipient_with(|own| {
        reactor.register(ours, Interest::READABLE, own, move |ours, _, _| {
            handler(Registration::source_mut(ours));
        })
    });
    (source.unwrap(), peer)
}

/// A source of which nothing ever comes, and a timer that is not to fire.
fn idle(scene: &Scene) -> impl Sized + use<> {
    let (source, peer) = source(&scene.reactor, |_| panic!("nothing was written"));
    let never = scene.queue().callback(|_, ()| panic!("an hour has passed"));
    (source, peer, scene.reactor.after(HOUR, never))
}

pub(crate) fn calls_scheduled_outside_a_turn_are_dialed<H: Host>() {
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let _idle = idle(&scene);
    let log: Log<usize> = Log::default();

    // Each call pokes the host, and the host schedules the next one.
    let called = Rc::clone(&log);
    let mut round = 0;
    scene.on_own(move |scene| {
        round += 1;
        let (number, called, own) = (round, Rc::clone(&called), Rc::clone(scene));
        let call = move |_: &QueueHandle| {
            called.borrow_mut().push(number);
            if number < ROUNDS { own.poker().poke() } else { own.end() }
        };
        scene.queue().call(call);
    });
    // The first one is scheduled before the loop runs.
    let poker = scene.poker();
    scene.queue().call(move |_| poker.poke());
    host.run();
    assert_eq!(log.take(), Vec::from_iter(1..=ROUNDS));
    scene.expect_polls(3 * ROUNDS);
}

pub(crate) fn it_sleeps_when_there_is_nothing_to_do<H: Host>() {
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let _idle = idle(&scene);

    // A thread pokes the host when it sees its thread asleep; the last poke ends the loop.
    let (served, is_served) = mpsc::channel();
    let (loop_thread, poker) = (LoopThread::current(), scene.poker());
    let thread = thread::spawn(move || {
        for _ in 0..ROUNDS {
            loop_thread.wait_until_asleep();
            poker.poke();
            is_served.recv().unwrap();
        }
    });
    let mut round = 0;
    scene.on_own(move |scene| {
        round += 1;
        if round == ROUNDS {
            scene.end();
        }
        served.send(()).unwrap();
    });
    host.run();
    thread.join().unwrap();
    scene.expect_polls(ROUNDS + 5);
}

pub(crate) fn it_never_sleeps_with_work_pending<H: Host>() {
    const CALLS: usize = 1000;

    fn chain(queue: &QueueHandle, left: usize, end: Rc<Scene>) {
        match left {
            0 => end.end(),
            _ => _ = queue.call(move |queue| chain(queue, left - 1, end)),
        }
    }

    // One call a turn, so that each turn leaves one.
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let _idle = idle(&scene);
    scene.reactor.set_budget(1);
    chain(scene.queue(), CALLS, Rc::clone(&scene));
    let thread = LoopThread::current();
    let before = thread.sleeps();
    host.run();
    let slept = thread.sleeps() - before;
    println!("slept {slept} times");
    assert!(slept < CALLS / 20, "slept {slept} times");
    scene.expect_polls(CALLS + 10);
}

pub(crate) fn timers_armed_outside_a_turn_fire_and_not_early<H: Host>() {
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let _idle = idle(&scene);
    let log: Log<Duration> = Log::default();

    // The host, whose loop sleeps for an hour, arms one timer after the other. Then it arms all at a
    // time, beside one that it cancels.
    let fired = Rc::clone(&log);
    let mut one_at_a_time = DELAYS.into_iter();
    scene.on_own(move |scene| {
        if let Some(delay) = one_at_a_time.next() {
            let (fired, poker) = (Rc::clone(&fired), scene.poker());
            arm(&scene.reactor, delay, move || {
                fired.borrow_mut().push(delay);
                poker.poke();
            });
        } else {
            let unwanted = scene.queue().callback(|_, ()| panic!("canceled"));
            drop(scene.reactor.after(DELAYS[0] / 2, unwanted));
            arm_all(scene, &fired);
        }
    });
    scene.poker().poke();
    host.run();
    let mut sorted = DELAYS;
    sorted.sort_unstable();
    assert_eq!(log.take(), [DELAYS, sorted].concat());
    scene.expect_polls(7 * DELAYS.len());
}

pub(crate) fn timers_armed_within_a_turn_fire_and_not_early<H: Host>() {
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let _idle = idle(&scene);
    let log: Log<Duration> = Log::default();
    let (own, fired) = (Rc::clone(&scene), Rc::clone(&log));
    scene.queue().call(move |_| arm_all(&own, &fired));
    host.run();
    let mut sorted = DELAYS;
    sorted.sort_unstable();
    assert_eq!(log.take(), sorted);
    scene.expect_polls(3 * DELAYS.len());
}

const DELAYS: [Duration; 5] = [
    Duration::from_millis(7),
    Duration::from_millis(2),
    Duration::from_micros(300),
    Duration::from_millis(4),
    Duration::from_nanos(1),
];

/// Arms a timer that asserts that it is not early.
fn arm(reactor: &ReactorHandle, delay: Duration, fired: impl FnOnce() + 'static) {
    let deadline = Instant::now() + delay;
    let callback = reactor.queue().callback(move |_, ()| {
        assert!(Instant::now() >= deadline, "the timer of {delay:?} is early");
        fired();
    });
    reactor.at(deadline, callback).detach();
}

/// Arms a timer for each delay; the last to fire ends the scene.
fn arm_all(scene: &Rc<Scene>, log: &Log<Duration>) {
    let left = Rc::new(Cell::new(DELAYS.len()));
    for delay in DELAYS {
        let (scene_, log, left) = (Rc::clone(scene), Rc::clone(log), Rc::clone(&left));
        arm(&scene.reactor, delay, move || {
            log.borrow_mut().push(delay);
            left.set(left.get() - 1);
            if left.get() == 0 {
                scene_.end();
            }
        });
    }
}

pub(crate) fn io_is_served_while_calls_keep_scheduling_calls<H: Host>() {
    /// Schedules itself until the scene is over.
    fn endless(queue: &QueueHandle, over: Rc<Cell<bool>>) {
        if !over.get() {
            queue.call(move |queue| endless(queue, over));
        }
    }

    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let over = Rc::new(Cell::new(false));
    endless(scene.queue(), Rc::clone(&over));

    // A peer of the reactor's source is echoed, and so are the pokes of the host's own.
    let (_source, mut peer) = source(&scene.reactor, |ours| {
        while let Ok(read) = ours.read(&mut [0; 16]) {
            ours.write_all(&[b'x'; 16][..read]).unwrap();
        }
    });
    let (served, is_served) = mpsc::channel();
    let poker = scene.poker();
    let thread = thread::spawn(move || {
        for _ in 0..ROUNDS {
            peer.write_all(b"x").unwrap();
            peer.read_exact(&mut [0]).unwrap();
            poker.poke();
            is_served.recv().unwrap();
        }
        peer // is not to close before the loop has ended
    });
    let mut round = 0;
    scene.on_own(move |scene| {
        round += 1;
        if round == ROUNDS {
            over.set(true);
            scene.end();
        }
        served.send(()).unwrap();
    });
    host.run();
    thread.join().unwrap();
}

pub(crate) fn other_threads_wake_it<H: Host>() {
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let _idle = idle(&scene);

    // Each call is sent to a loop that is seen asleep; the last one ends it.
    let recipient = scene.queue().recipient((Rc::clone(&scene), 0));
    let (sender, other_sender) = (scene.reactor.remote_to(&recipient), scene.reactor.remote());
    let loop_thread = LoopThread::current();
    let thread = thread::spawn(move || {
        let (dialed, is_dialed) = mpsc::channel();
        for _ in 0..ROUNDS {
            let dialed = dialed.clone();
            loop_thread.wait_until_asleep();
            other_sender.call(move |_| dialed.send(()).unwrap()).unwrap();
            is_dialed.recv().unwrap();
        }
        loop_thread.wait_until_asleep();
        sender.call(|(scene, _), _| scene.end()).unwrap();
    });
    host.run();
    thread.join().unwrap();
    scene.expect_polls(2 * ROUNDS);
}

#[cfg(target_os = "linux")]
pub(crate) fn more_sources_than_a_batch_holds_are_all_reported<H: Host>() {
    use mio::net::UnixDatagram;
    use support::descriptors::claim;

    const SOURCES: usize = 1100; // a poll of the reactor's has room for 1,024 events

    // All are ready from the start, and are reported in a single turn each.
    let claim = claim(SOURCES);
    let sources = claim.count();
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    scene.reactor.set_budget(2 * sources);
    let watcher = scene.queue().recipient((Rc::clone(&scene), 0));
    let register = |_| {
        let source = UnixDatagram::unbound().expect("as many descriptors");
        let source = scene.reactor.register(source, Interest::WRITABLE, &watcher, {
            move |(scene, reported): &mut (Rc<Scene>, usize), _, _| {
                *reported += 1;
                if *reported == sources {
                    scene.end();
                }
            }
        });
        source.unwrap()
    };
    let registered: Vec<_> = (0..sources).map(register).collect();
    host.run();
    assert_eq!(scene.reactor.event_stats().delivered, registered.len() as u64);
}

pub(crate) fn it_goes_on_after_a_panic<H: Host>() {
    let mut host = H::new();
    let scene = Rc::clone(host.scene());
    let _idle = idle(&scene);
    let log: Log<&str> = Log::default();
    let note = |what| {
        let log = Rc::clone(&log);
        move |_: &QueueHandle| log.borrow_mut().push(what)
    };

    // A call that is behind the one that panics stays pending.
    scene.queue().call(|_| panic::resume_unwind(Box::new("first")));
    scene.queue().call(note("behind the first"));
    // A timer that is armed right before a panic, with nothing behind, fires.
    let own = Rc::clone(&scene);
    let arms = move |queue: &QueueHandle| {
        let end = Rc::clone(&own);
        arm(&own.reactor, Duration::from_millis(3), move || end.end());
        queue.call(|_| panic::resume_unwind(Box::new("second")));
    };
    scene.queue().call(arms);

    for name in ["first", "second"] {
        let panic = panic::catch_unwind(AssertUnwindSafe(|| host.run())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&name));
    }
    assert_eq!(log.take(), ["behind the first"]);
    host.run();
    assert_eq!(scene.queue().tally().panicked, 2);
    scene.expect_polls(10);
}
