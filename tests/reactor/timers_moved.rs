//! Hazard: a timer that is put off fires early, late or twice, or leaves something where it was (rule M7).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard::Callback;
use switchboard::reactor::{Reactor, ReactorHandle};

const MS: Duration = Duration::from_millis(1);

struct World {
    reactor: Reactor,
    start: Instant,
    now: Rc<Cell<Instant>>,
    /// How often the clock was read.
    reads: Rc<Cell<u32>>,
    fired: Rc<RefCell<Vec<u32>>>,
}

impl World {
    fn new() -> Self {
        let reactor = Reactor::new().unwrap();
        let start = Instant::now();
        let (now, reads) = (Rc::new(Cell::new(start)), Rc::new(Cell::new(0)));
        let (clock, counted) = (Rc::clone(&now), Rc::clone(&reads));
        reactor.set_clock(move || {
            counted.set(counted.get() + 1);
            clock.get()
        });
        Self { reactor, start, now, reads, fired: Rc::default() }
    }

    fn callback(&self, number: u32) -> Callback<()> {
        let fired = Rc::clone(&self.fired);
        self.reactor.queue().callback(move |_, ()| fired.borrow_mut().push(number))
    }

    /// Turns at so many milliseconds after the start, and returns what fired.
    fn at(&mut self, milliseconds: u32) -> Vec<u32> {
        self.now.set(self.start + milliseconds * MS);
        let _ = self.reactor.turn(Some(Duration::ZERO)).unwrap();
        self.fired.take()
    }
}

#[test]
fn m07_a_timer_that_is_reset_fires_once_at_its_new_time() {
    let mut world = World::new();
    let mut later = world.reactor.after(10 * MS, world.callback(1));
    let mut sooner = world.reactor.after(20 * MS, world.callback(2));
    let _same = world.reactor.after(30 * MS, world.callback(3));
    assert!(later.reset(world.start + 30 * MS));
    assert_eq!(later.deadline(), world.start + 30 * MS);
    assert!(sooner.reset(world.start + 5 * MS));
    assert_eq!((world.reactor.timer_count(), world.reactor.poll_timeout()), (3, Some(5 * MS)));
    assert_eq!((world.at(4), world.at(5), world.at(29)), (vec![], vec![2], vec![]));
    // Behind those that were armed for that time before.
    assert_eq!(world.at(30), [3, 1]);
    assert!(!later.reset(world.start + 50 * MS), "it has fired");
    assert_eq!((world.at(60), world.reactor.timer_count()), (vec![], 0));
    let created = world.reactor.queue().tally().created;
    assert_eq!(created, 3, "nothing was armed anew");
}

#[test]
fn m07_a_timer_that_is_not_wanted_or_is_pending_is_not_reset() {
    let mut world = World::new();
    let callback = world.callback(1);
    let id = callback.id();
    let mut canceled = world.reactor.after(MS, callback);
    world.reactor.queue().cancel(id, "unwanted");
    assert!(!canceled.reset(world.start + 5 * MS));
    let mut pending = world.reactor.after(MS, world.callback(2));
    world.reactor.set_budget(0);
    assert!(world.at(1).is_empty());
    assert!(!pending.reset(world.start + 5 * MS));
    drop(pending);
    world.reactor.set_budget(10);
    assert!(world.at(9).is_empty(), "dropping it cancels the call");
    assert_eq!(world.reactor.timer_count(), 0);
    let mut of_gone = world.reactor.after(MS, world.callback(3));
    drop(world.reactor);
    assert!(!of_gone.reset(Instant::now()));
}

#[test]
fn m07_many_that_are_reset_keep_their_order() {
    let mut world = World::new();
    world.reactor.set_budget(usize::MAX);
    let mut timers: Vec<_> =
        (0..1000).map(|number| world.reactor.after(MS, world.callback(number))).collect();
    for (number, timer) in timers.iter_mut().enumerate().rev() {
        assert!(timer.reset(world.start + (10 + number as u32 % 7) * MS));
    }
    // Put off again while they are due, by a handler.
    let moved = Rc::new(RefCell::new(timers.split_off(990)));
    let held = Rc::clone(&moved);
    let late = world.start + 100 * MS;
    let callback = world.reactor.queue().callback(move |_, ()| {
        held.borrow_mut().iter_mut().for_each(|timer| _ = timer.reset(late));
    });
    let _mover = world.reactor.after(9 * MS, callback);
    assert!(world.at(9).is_empty());
    let mut expected: Vec<u32> = (0..990).rev().collect();
    expected.sort_by_key(|number| number % 7);
    assert_eq!(world.at(50), expected);
    assert_eq!(world.at(100), (990..1000).collect::<Vec<_>>());
    drop((timers, moved));
}

#[test]
fn m07_a_reset_that_makes_it_the_first_wakes_a_host_that_sleeps() {
    let world = World::new();
    let woken = Rc::new(Cell::new(0));
    let mut first = world.reactor.after(10 * MS, world.callback(1));
    let _second = world.reactor.after(20 * MS, world.callback(2));
    let hook = Rc::clone(&woken);
    world.reactor.queue().set_wake_hook(move || hook.set(hook.get() + 1));
    assert!(first.reset(world.start + 30 * MS));
    assert_eq!(woken.get(), 0, "a sleep that is too short is harmless");
    assert!(first.reset(world.start + 5 * MS));
    assert_eq!((woken.get(), world.reactor.poll_timeout()), (1, Some(5 * MS)));
}

#[test]
fn m07_a_turn_reads_the_clock_once_and_handlers_can_have_that() {
    let mut world = World::new();
    let _timers: Vec<_> = (0..3).map(|n| world.reactor.after(MS, world.callback(n))).collect();
    let mut idle = world.reactor.after(MS * 50, world.callback(9));
    let (handle, now) = (world.reactor.handle(), Rc::clone(&world.now));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&seen);
    world.reactor.queue().call(move |_| {
        // Time goes on while handlers run.
        now.set(now.get() + 7 * MS);
        note.borrow_mut().push((handle.turn_time(), handle.now()));
        assert!(idle.reset(handle.turn_time() + MS * 50));
        note.borrow_mut().push((idle.deadline(), handle.turn_time()));
    });
    world.reads.set(0);
    let start = world.start;
    world.now.set(start + 2 * MS);
    let report = world.reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(report.dialed, 4);
    let seen = seen.take();
    assert_eq!(seen[0], (start + 2 * MS, start + 9 * MS));
    assert_eq!(seen[1], (start + 52 * MS, start + 2 * MS));
    // One before the poll (how long to sleep), the turn's, and the one that the handler asked for.
    assert!(world.reads.get() <= 3, "{} readings", world.reads.get());
    // Outside of turns it is the clock's, and after one that unwinds too.
    assert_eq!(world.reactor.turn_time(), start + 9 * MS);
    let handle: ReactorHandle = world.reactor.handle();
    world.reactor.queue().call(move |_| {
        let _ = handle.turn_time();
        std::panic::resume_unwind(Box::new("a handler"));
    });
    let turn = std::panic::AssertUnwindSafe(|| world.reactor.turn(Some(Duration::ZERO)));
    assert!(std::panic::catch_unwind(turn).is_err());
    world.now.set(start + 20 * MS);
    assert_eq!(world.reactor.turn_time(), start + 20 * MS);
}
