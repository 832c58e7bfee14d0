//! Hazard: a timer that fires again and again drifts, piles up ticks, outlives its recipient, or stops
//! (rule M7).

use std::cell::{Cell, RefCell};
use std::panic;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard::reactor::{Interval, Missed, Reactor};
use switchboard::{CallId, CallQueue, Cancellation, Recipient, Step};

const SECOND: Duration = Duration::from_secs(1);

/// A reactor on virtual time, and a recipient that notes when a tick comes, in milliseconds.
struct World {
    reactor: Reactor,
    start: Instant,
    now: Rc<Cell<Instant>>,
    ticks: Rc<RefCell<Vec<u128>>>,
    recipient: Recipient<()>,
}

impl World {
    fn new() -> Self {
        let reactor = Reactor::new().unwrap();
        let start = Instant::now();
        let now = Rc::new(Cell::new(start));
        let clock = Rc::clone(&now);
        reactor.set_clock(move || clock.get());
        let recipient = reactor.queue().recipient(());
        Self { reactor, start, now, ticks: Rc::default(), recipient }
    }

    fn every_second(&self, missed: Missed) -> Interval {
        let (ticks, reactor, start) = (Rc::clone(&self.ticks), self.reactor.handle(), self.start);
        self.reactor.every(SECOND, missed, &self.recipient, move |(), _| {
            ticks.borrow_mut().push((reactor.turn_time() - start).as_millis());
        })
    }

    /// Turns at so many milliseconds after the start, until nothing is due.
    fn at(&mut self, milliseconds: u64) {
        self.now.set(self.start + Duration::from_millis(milliseconds));
        self.turn();
        while self.reactor.poll_timeout() == Some(Duration::ZERO) {
            self.turn();
        }
    }

    fn turn(&mut self) -> u64 {
        let report = self.reactor.turn(Some(Duration::ZERO)).unwrap();
        assert!(self.reactor.queue().tally().balances());
        report.dialed
    }
}

#[test]
fn m07_an_interval_ticks_once_a_period_and_is_never_early() {
    for missed in [Missed::Burst, Missed::Delay, Missed::Skip] {
        let mut world = World::new();
        let interval = world.every_second(missed);
        for at in [0, 999, 1000, 1001, 1999, 2003, 2999, 3000] {
            world.at(at);
        }
        // A tick that is some milliseconds late shifts nothing.
        assert_eq!(*world.ticks.borrow(), [1000, 2003, 3000], "{missed:?}");
        assert_eq!((interval.period(), interval.deadline()), (SECOND, world.start + 4 * SECOND));
        drop(interval);
        world.at(9000);
        assert_eq!((world.ticks.borrow().len(), world.reactor.timer_count()), (3, 0));
    }
}

#[test]
fn m07_missed_ticks_come_in_a_burst_or_are_delayed_or_skipped() {
    for (missed, ticks) in [
        // As many as periods.
        (Missed::Burst, vec![1000, 4500, 4500, 4500, 5000, 6200, 7000]),
        // A period after the late one.
        (Missed::Delay, vec![1000, 4500, 6200, 7200]),
        // At multiples of the period.
        (Missed::Skip, vec![1000, 4500, 5000, 6200, 7000]),
    ] {
        let mut world = World::new();
        let _interval = world.every_second(missed);
        for at in [1000, 4500, 5000, 5499, 6200, 7000, 7199, 7200] {
            world.at(at);
        }
        assert_eq!(*world.ticks.borrow(), ticks, "{missed:?}");
    }
}

#[test]
fn m07_a_tick_that_is_a_whole_period_late_is_missed_however_short_that_is() {
    for (missed, ticks) in [
        (Missed::Burst, vec![1000, 1005, 1005, 1006]),
        (Missed::Delay, vec![1000, 1005, 1007]),
        (Missed::Skip, vec![1000, 1005, 1006]),
    ] {
        let mut world = World::new();
        let interval = world.every_second(missed);
        interval.set_period(Duration::from_millis(2));
        for at in [1000, 1005, 1006, 1007] {
            world.at(at);
        }
        assert_eq!(*world.ticks.borrow(), ticks, "{missed:?}");
    }
}

#[test]
fn m07_at_most_one_tick_is_pending() {
    let mut world = World::new();
    world.reactor.set_budget(0);
    let _interval = world.every_second(Missed::Burst);
    for second in 1..=10 {
        world.now.set(world.start + second * SECOND);
        world.turn();
        assert_eq!(world.reactor.queue().tally().pending, 1);
    }
    world.reactor.set_budget(100);
    for missed in 0..10 {
        assert_eq!(world.ticks.borrow().len(), missed);
        assert_eq!(world.turn(), 1, "one a turn, until none is missed");
    }
    assert_eq!(world.turn(), 0);
}

#[test]
fn m07_an_interval_ends_with_its_handle_its_recipient_or_the_reactor() {
    let mut world = World::new();
    let captured = Rc::new(());
    let make = |world: &World, recipient: &Recipient<()>| {
        let captured = Rc::clone(&captured);
        world
            .reactor
            .every(SECOND, Missed::Skip, recipient, move |(), _| drop(Rc::clone(&captured)))
    };
    let other = world.reactor.queue().recipient(());
    let dropped = make(&world, &world.recipient);
    make(&world, &other).detach();
    make(&world, &world.recipient).detach();
    assert_eq!((world.reactor.timer_count(), Rc::strong_count(&captured)), (3, 4));
    world.at(1000);
    assert_eq!(world.reactor.queue().tally().finished, 3);
    drop(dropped);
    assert_eq!((world.reactor.timer_count(), Rc::strong_count(&captured)), (2, 3));
    other.hang_up();
    assert_eq!((world.reactor.timer_count(), Rc::strong_count(&captured)), (1, 2));
    world.at(2000);
    assert_eq!(world.reactor.queue().tally().finished, 4);
    // While a tick is pending, too.
    let pending = make(&world, &world.recipient);
    world.reactor.set_budget(0);
    world.now.set(world.start + 10 * SECOND);
    world.turn();
    assert_eq!(world.reactor.queue().tally().pending, 2);
    drop(pending);
    assert_eq!(world.reactor.queue().tally().pending, 1);
    let queue = world.reactor.queue().clone();
    drop(world);
    assert_eq!(Rc::strong_count(&captured), 1);
    let tally = queue.tally();
    assert_eq!((tally.pending, tally.unscheduled, tally.abandoned), (0, 0, 0), "{tally}");
}

#[test]
fn m07_a_handler_may_end_its_interval_reset_it_or_panic() {
    let mut world = World::new();
    let own = Rc::new(RefCell::new(None::<Interval>));
    let (held, count) = (Rc::clone(&own), Cell::new(0));
    let interval = world.reactor.every(SECOND, Missed::Skip, &world.recipient, move |(), _| {
        count.set(count.get() + 1);
        match count.get() {
            1 => panic::resume_unwind(Box::new("first")),
            2 => {
                let own = held.borrow();
                let own = own.as_ref().unwrap();
                own.set_period(3 * SECOND);
                own.reset();
            }
            _ => _ = held.take(),
        }
    });
    own.replace(Some(interval));
    let turn = panic::AssertUnwindSafe(|| world.at(1000));
    assert!(panic::catch_unwind(turn).is_err());
    for (at, finished) in [(2000, 1), (3000, 1), (4999, 1), (5000, 2), (20_000, 2)] {
        world.at(at);
        assert_eq!(world.reactor.queue().tally().finished, finished, "at {at}");
    }
    assert!(own.borrow().is_none() && world.reactor.timer_count() == 0);
}

#[test]
fn m07_a_tick_that_is_canceled_by_its_id_is_left_out() {
    let mut world = World::new();
    let ids = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&ids);
    world.reactor.queue().add_observer(move |id: CallId, step: &Step| {
        if let Step::Created { .. } = step {
            seen.borrow_mut().push(id);
        }
    });
    let _interval = world.every_second(Missed::Skip);
    let latest = || *ids.borrow().last().unwrap();
    // While it waits, and while it is pending.
    assert_eq!(world.reactor.queue().cancel(latest(), "not now"), Cancellation::Canceled);
    assert_eq!(world.reactor.timer_count(), 1, "the next one, and nothing else");
    world.reactor.set_budget(0);
    world.now.set(world.start + 2 * SECOND);
    world.turn();
    assert_eq!(world.reactor.queue().cancel(latest(), "not now"), Cancellation::Canceled);
    assert_eq!(world.reactor.timer_count(), 1);
    world.reactor.set_budget(100);
    for at in [2500, 3000, 4000] {
        world.at(at);
    }
    assert_eq!(*world.ticks.borrow(), [3000, 4000]);
    world.reactor.queue().clear_observers();
}

#[test]
fn m07_an_interval_may_be_of_a_recipient_of_another_queue() {
    let (mut world, other) = (World::new(), CallQueue::new());
    let count = other.recipient(0);
    let interval = world.reactor.every(SECOND, Missed::Burst, &count, |count, _| *count += 1);
    interval.detach();
    for second in 1..=3 {
        world.at(second * 1000);
        other.dial_all();
    }
    count.call(|count, _| assert_eq!(*count, 3));
    other.dial_all();
    drop(other);
    world.at(9000);
    assert_eq!(world.reactor.timer_count(), 0);
}

#[test]
fn m07_a_period_without_end_is_a_hundred_years() {
    let world = World::new();
    for missed in [Missed::Burst, Missed::Delay, Missed::Skip] {
        let interval = world.reactor.every(Duration::MAX, missed, &world.recipient, |(), _| ());
        assert!(interval.deadline() > world.start + Duration::from_secs(1 << 31));
        interval.reset();
    }
    let mut world = World::new();
    let interval = world.every_second(Missed::Skip);
    interval.set_period(Duration::MAX);
    world.at(1000);
    assert_eq!(*world.ticks.borrow(), [1000]);
    assert!(interval.deadline() > world.start + Duration::from_secs(1 << 31));
}

#[test]
fn m07_an_interval_that_an_observer_drops_as_its_next_tick_is_armed_is_over() {
    let mut world = World::new();
    let own = Rc::new(RefCell::new(None::<Interval>));
    let held = Rc::clone(&own);
    own.replace(Some(world.every_second(Missed::Burst)));
    world.reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Created { .. }) {
            drop(held.take());
        }
    });
    world.at(1000);
    assert_eq!((world.reactor.timer_count(), own.borrow().is_none()), (0, true));
    world.at(5000);
    assert_eq!(*world.ticks.borrow(), [1000]);
}

#[test]
fn m07_a_wake_hook_may_use_the_interval_that_is_reset() {
    let world = World::new();
    let own = Rc::new(RefCell::new(None::<Rc<Interval>>));
    let interval = Rc::new(world.every_second(Missed::Burst));
    own.replace(Some(Rc::clone(&interval)));
    let held = Rc::clone(&own);
    world.reactor.queue().set_wake_hook(move || {
        if let Some(interval) = held.take() {
            interval.reset();
            interval.unref();
        }
    });
    interval.set_period(SECOND / 2);
    interval.reset();
    assert!(own.borrow().is_none(), "the hook was called");
    drop(interval);
    assert_eq!(world.reactor.timer_count(), 0);
}

#[test]
#[should_panic(expected = "its period is zero")]
fn m07_a_period_of_zero_is_refused() {
    let world = World::new();
    drop(world.reactor.every(Duration::ZERO, Missed::Burst, &world.recipient, |(), _| ()));
}
