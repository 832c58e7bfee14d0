//! Timers (rule M7), on virtual time; one test goes by the real clock.

use std::cell::{Cell, RefCell};
use std::panic;
use std::rc::Rc;
use std::time::{Duration, Instant};

use switchboard::reactor::{Reactor, ReactorHandle};
use switchboard::{CallId, CallQueue, Callback, QueueHandle, Step};

/// A reactor whose clock is moved by hand, and what its timers have reported.
struct World {
    reactor: Reactor,
    start: Instant,
    now: Rc<Cell<Instant>>,
    reported: Rc<RefCell<Vec<u32>>>,
}

const MS: Duration = Duration::from_millis(1);

impl World {
    fn new() -> Self {
        let reactor = Reactor::new().expect("a reactor");
        let start = Instant::now();
        let now = Rc::new(Cell::new(start));
        let clock = Rc::clone(&now);
        reactor.set_clock(move || clock.get());
        Self { reactor, start, now, reported: Rc::default() }
    }

    fn callback(&self, number: u32) -> Callback<()> {
        let reported = Rc::clone(&self.reported);
        self.reactor.queue().callback(move |_, ()| reported.borrow_mut().push(number))
    }

    /// Moves the clock to `time` after the start, and turns.
    #[track_caller]
    fn expect_at(&mut self, time: Duration, reported: &[u32]) {
        self.now.set(self.start + time);
        let _ = self.reactor.turn(Some(Duration::ZERO)).expect("a turn");
        assert_eq!(self.reported.take(), reported);
        assert!(self.reactor.queue().tally().balances());
    }
}

#[test]
fn m07_a_timer_is_never_early_and_fires_once() {
    let mut world = World::new();
    let timer = world.reactor.handle().after(10 * MS, world.callback(1));
    assert_eq!(timer.deadline(), world.start + 10 * MS);
    world.expect_at(Duration::ZERO, &[]);
    world.expect_at(10 * MS - Duration::from_nanos(1), &[]);
    world.expect_at(10 * MS, &[1]);
    world.expect_at(20 * MS, &[]);
    assert_eq!(world.reactor.handle().timer_count(), 0);
    drop(timer);
    assert_eq!(world.reactor.queue().tally().finished, 1);
}

#[test]
fn m07_timers_fire_by_deadline_and_equal_ones_in_the_order_they_were_armed() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    for (delay, number) in [(3, 1), (2, 2), (3, 3), (1, 4), (2, 5), (3, 6)] {
        handle.after(delay * MS, world.callback(number)).detach();
    }
    world.expect_at(MS, &[4]);
    world.expect_at(9 * MS, &[2, 5, 1, 3, 6]);
}

#[test]
fn m07_a_canceled_timer_leaves_nothing() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let callback = world.reactor.queue().callback(move |_, ()| drop(inner));
    let timer = handle.after(MS, callback);
    assert_eq!((handle.timer_count(), Rc::strong_count(&captured)), (1, 2));
    drop(timer);
    assert_eq!((handle.timer_count(), Rc::strong_count(&captured)), (0, 1));
    assert_eq!(world.reactor.poll_timeout(), None);
    world.expect_at(MS, &[]);
    assert_eq!(world.reactor.queue().tally().canceled, 1);
}

#[test]
fn m07_a_timer_dropped_when_its_call_is_pending_does_not_fire() {
    let mut world = World::new();
    let timer = world.reactor.handle().after(MS, world.callback(1));
    world.now.set(world.start + MS);
    world.reactor.set_budget(0);
    let _ = world.reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!(world.reactor.queue().tally().pending, 1);
    drop(timer);
    assert_eq!(world.reactor.queue().tally().pending, 0);
    world.reactor.set_budget(10);
    world.expect_at(MS, &[]);
}

#[test]
fn m07_a_timer_whose_callback_is_canceled_by_its_id_does_no_harm() {
    let mut world = World::new();
    let callback = world.callback(1);
    let id = callback.id();
    let timer = world.reactor.handle().after(MS, callback);
    world.reactor.queue().cancel(id, "by its id");
    world.expect_at(MS, &[]);
    drop(timer);
    assert_eq!(world.reactor.handle().timer_count(), 0);
    assert_eq!(world.reactor.queue().tally().canceled, 1);
}

#[test]
fn m07_a_timer_canceled_by_the_id_of_its_callback_keeps_no_loop_waiting() {
    let mut world = World::new();
    let callback = world.callback(1);
    let id = callback.id();
    world.reactor.handle().after(10 * MS, callback).detach();
    assert_eq!(world.reactor.poll_timeout(), Some(10 * MS));
    world.reactor.queue().cancel(id, "by its id");
    assert_eq!(world.reactor.poll_timeout(), None);
    assert_eq!(world.reactor.handle().timer_count(), 0);
    world.reactor.run().expect("an end, at once");
}

#[test]
fn m07_timers_canceled_by_the_ids_of_their_callbacks_are_not_counted() {
    let world = World::new();
    let ids = [1, 2, 3].map(|number| {
        let callback = world.callback(number);
        let id = callback.id();
        world.reactor.handle().after(10 * MS, callback).detach();
        id
    });
    world.reactor.queue().cancel(ids[1], "by its id");
    assert_eq!(world.reactor.handle().timer_count(), 2);
}

#[test]
fn m07_zero_and_huge_delays() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    handle.after(Duration::ZERO, world.callback(1)).detach();
    let huge = handle.after(Duration::MAX, world.callback(2));
    handle.at(world.start, world.callback(3)).detach();
    world.expect_at(Duration::ZERO, &[1, 3]);
    assert!(huge.deadline() > world.start + Duration::from_secs(1 << 31));
    drop(huge);
}

#[test]
fn m07_a_timer_that_arms_the_next_one_does_so_once_a_turn() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    let reported = Rc::clone(&world.reported);
    let first = world.reactor.queue().callback(move |queue, ()| {
        reported.borrow_mut().push(1);
        let reported = Rc::clone(&reported);
        let second = queue.callback(move |_, ()| reported.borrow_mut().push(2));
        handle.after(Duration::ZERO, second).detach();
    });
    world.reactor.handle().after(Duration::ZERO, first).detach();
    world.expect_at(Duration::ZERO, &[1]);
    assert_eq!(world.reactor.poll_timeout(), Some(Duration::ZERO));
    world.expect_at(Duration::ZERO, &[2]);
}

/// Arms a timer that is due at once, and arms the next one when it fires.
fn ticking(reactor: &ReactorHandle, queue: &QueueHandle, ticks: &Rc<Cell<u32>>) {
    let (handle, reported) = (reactor.clone(), Rc::clone(ticks));
    let tick = queue.callback(move |queue, ()| {
        reported.set(reported.get() + 1);
        if reported.get() < 1000 {
            ticking(&handle, queue, &reported);
        }
    });
    reactor.at(reactor.now(), tick).detach();
}

#[test]
fn m07_a_timer_of_a_queue_that_dials_at_once_arms_the_next_one_for_the_next_turn() {
    let mut world = World::new();
    let other = CallQueue::new();
    let dialer = other.handle();
    other.set_wake_hook(move || _ = dialer.dial_all());
    let ticks = Rc::new(Cell::new(0));
    ticking(&world.reactor.handle(), &other, &ticks);
    for turn in 1..=3 {
        world.expect_at(Duration::ZERO, &[]);
        assert_eq!(ticks.get(), turn);
    }
    // The timer that is armed leads to the reactor, the queue and its hook.
    drop(world);
    assert!(other.tally().balances() && other.is_idle());
}

#[test]
fn m07_timers_whose_observer_dials_arm_the_next_ones_for_the_next_turn() {
    let mut world = World::new();
    let dialer = world.reactor.queue().clone();
    world.reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if let Step::Scheduled { .. } = step {
            let _ = dialer.dial_all();
        }
    });
    let ticks = Rc::new(Cell::new(0));
    ticking(&world.reactor.handle(), world.reactor.queue(), &ticks);
    for turn in 1..=3 {
        world.expect_at(Duration::ZERO, &[]);
        assert_eq!(ticks.get(), turn);
    }
}

#[test]
fn m07_among_many_that_are_due_some_are_canceled_and_the_observer_panics() {
    const CANCELS: u32 = 20;
    const PANICS: u32 = 30;
    let mut world = World::new();
    let handle = world.reactor.handle();
    let arm =
        |world: &World, delay: u32| world.reactor.handle().after(delay * MS, world.callback(delay));
    let timers: Vec<_> = (0..100).map(|number| Some(arm(&world, number * 7 % 100 + 1))).collect();
    let timers = Rc::new(RefCell::new(timers));
    let (held, scheduled) = (Rc::clone(&timers), Cell::new(0));
    world.reactor.queue().add_observer(move |_: CallId, step: &Step| {
        if let Step::Scheduled { .. } = step {
            scheduled.set(scheduled.get() + 1);
            match scheduled.get() {
                // They are due after 87 and 94 ms.
                CANCELS => held.borrow_mut().truncate(98),
                PANICS => panic::resume_unwind(Box::new("the observer")),
                _ => {}
            }
        }
    });
    world.now.set(world.start + 100 * MS);
    let turn = panic::AssertUnwindSafe(|| world.reactor.turn(Some(Duration::ZERO)));
    assert!(panic::catch_unwind(turn).is_err());
    world.reactor.queue().clear_observers();

    // Those that are left are due still, but not before one that is due earlier.
    assert_eq!(handle.timer_count(), 100 - PANICS as usize - 2);
    handle.at(world.start, world.callback(0)).detach();
    let canceled = [98, 99].map(|number| number * 7 % 100 + 1);
    let later = (PANICS + 1..=100).filter(|number| !canceled.contains(number));
    let expected: Vec<_> = (1..=PANICS).chain([0]).chain(later).collect();
    world.expect_at(100 * MS, &expected);
    assert_eq!((handle.timer_count(), world.reactor.queue().tally().canceled), (0, 2));
}

#[test]
fn m07_timers_keep_their_deadlines_when_the_clock_goes_back() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    // A machine may not have been up for long: time is added first.
    world.start += 1000 * MS;
    world.now.set(world.start);
    handle.after(MS, world.callback(1)).detach();
    world.expect_at(Duration::ZERO, &[]); // the loop has seen this time
    world.now.set(world.start - 500 * MS);
    handle.after(MS, world.callback(2)).detach();
    handle.after(600 * MS, world.callback(3)).detach();
    assert_eq!(world.reactor.poll_timeout(), Some(MS));
    let _ = world.reactor.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(world.reported.take().is_empty(), "early");
    world.expect_at(Duration::ZERO, &[2]);
    world.expect_at(200 * MS, &[1, 3]);
    handle.at(world.start - 900 * MS, world.callback(4)).detach();
    assert_eq!(world.reactor.poll_timeout(), Some(Duration::ZERO));
    world.expect_at(200 * MS, &[4]);
}

#[test]
fn m05_the_next_deadline_decides_the_sleep() {
    let world = World::new();
    let handle = world.reactor.handle();
    assert_eq!(world.reactor.poll_timeout(), None);
    let late = handle.after(20 * MS, world.callback(1));
    assert_eq!(world.reactor.poll_timeout(), Some(20 * MS));
    let early = handle.after(5 * MS, world.callback(2));
    world.now.set(world.start + 2 * MS);
    assert_eq!(world.reactor.poll_timeout(), Some(3 * MS));
    world.now.set(world.start + 9 * MS);
    assert_eq!(world.reactor.poll_timeout(), Some(Duration::ZERO));
    drop(early);
    assert_eq!(world.reactor.poll_timeout(), Some(11 * MS));
    drop(late);
}

#[test]
fn m05_what_a_timer_that_is_not_wanted_schedules_as_it_drops_keeps_the_loop_awake() {
    struct CallsOnDrop(QueueHandle);

    impl Drop for CallsOnDrop {
        fn drop(&mut self) {
            self.0.call(|_| ());
        }
    }

    let mut reactor = Reactor::new().unwrap();
    let recipient = reactor.queue().recipient(());
    let captured = CallsOnDrop(reactor.queue().clone());
    let callback = recipient.callback(|(), _, ()| ()).map(move |()| drop(captured));
    reactor.after(Duration::from_secs(60), callback).detach();
    drop(recipient);
    assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(reactor.turn(None).unwrap().dialed, 1);
}

#[test]
fn m06_run_waits_for_timers_and_ends_after_the_last() {
    let mut reactor = Reactor::new().expect("a reactor");
    let reported = Rc::new(Cell::new(None));
    let handle = reactor.handle();
    let delay = Duration::from_micros(1500);
    let (seen, armed) = (Rc::clone(&reported), Instant::now());
    let callback = reactor.queue().callback(move |_, ()| seen.set(Some(armed.elapsed())));
    handle.after(delay, callback).detach();
    reactor.run().expect("a loop");
    let elapsed = reported.get().expect("the timer fired");
    assert!(elapsed >= delay, "early: {elapsed:?}");
}

#[test]
fn timers_go_with_the_reactor() {
    let world = World::new();
    let captured = Rc::new(());
    let inner = Rc::clone(&captured);
    let handle = world.reactor.handle();
    let queue = world.reactor.queue().clone();
    let callback = queue.callback(move |_, ()| drop(inner));
    let timer = handle.after(MS, callback);
    drop(world);
    assert_eq!((handle.timer_count(), Rc::strong_count(&captured)), (0, 1));
    drop(timer);
    handle.after(MS, queue.callback(|_, ()| unreachable!())).detach();
    assert_eq!(handle.timer_count(), 0);
    assert!(queue.tally().balances() && queue.tally().unscheduled == 0);
}

/// In debug a tenth of them.
const MANY: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[test]
fn m07_a_million_timers_of_which_half_are_canceled() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    world.reactor.set_budget(usize::MAX);
    // A fixed order that is not that of the deadlines.
    let delay = |number: u32| Duration::from_micros(u64::from(number.wrapping_mul(2_654_435_761)));
    let timers: Vec<_> =
        (0..MANY).map(|number| handle.after(delay(number), world.callback(number))).collect();
    let kept: Vec<_> = timers.into_iter().step_by(2).collect();
    assert_eq!(handle.timer_count(), MANY as usize / 2);
    let mut expected: Vec<u32> = (0..MANY).step_by(2).collect();
    expected.sort_by_key(|number| delay(*number));
    world.now.set(world.start + Duration::from_secs(5000));
    while handle.timer_count() > 0 {
        let report = world.reactor.turn(Some(Duration::ZERO)).expect("a turn");
        assert!((1..=1024).contains(&report.dialed), "{report:?}");
    }
    assert!(world.reported.take() == expected, "in order");
    drop(kept);
    assert_eq!(world.reactor.queue().tally().canceled, u64::from(MANY / 2));
}

/// They are dialed within the budget of each turn, in the order they were armed; so none of them
/// keeps a call waiting that was scheduled before them (law of the bounded turn).
#[test]
fn m07_a_million_timers_due_at_once_fire_in_order_within_the_budget() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    for number in 0..MANY {
        handle.after(10 * MS, world.callback(number)).detach();
    }
    assert_eq!(handle.timer_count(), MANY as usize);
    world.expect_at(10 * MS - Duration::from_nanos(1), &[]);
    world.now.set(world.start + 10 * MS);
    let mut reported = 0;
    while reported < MANY {
        let report = world.reactor.turn(Some(Duration::ZERO)).expect("a turn");
        assert!((1..=1024).contains(&report.dialed), "{report:?}");
        let now = world.reported.take();
        assert_eq!(now, (reported..reported + report.dialed as u32).collect::<Vec<_>>());
        reported += report.dialed as u32;
    }
    assert_eq!((handle.timer_count(), world.reactor.poll_timeout()), (0, None));
    assert_eq!(world.reactor.queue().tally().finished, u64::from(MANY));
}

#[test]
fn m07_a_clock_that_stands_still_fires_what_is_due_and_nothing_else() {
    let mut world = World::new();
    let handle = world.reactor.handle();
    handle.after(Duration::from_nanos(1), world.callback(2)).detach();
    for _ in 0..1000 {
        handle.after(Duration::ZERO, world.callback(1)).detach();
        assert_eq!(world.reactor.poll_timeout(), Some(Duration::ZERO));
        world.expect_at(Duration::ZERO, &[1]);
        // It is the first that is due, so no one sleeps for longer; but it does not spin either.
        assert_eq!(world.reactor.poll_timeout(), Some(Duration::from_nanos(1)));
        world.expect_at(Duration::ZERO, &[]);
    }
    assert_eq!((handle.timer_count(), world.reactor.queue().tally().unscheduled), (1, 1));
    world.expect_at(Duration::from_nanos(1), &[2]);
}

#[test]
fn a_timer_of_another_queue_is_declined_with_the_reactor() {
    let world = World::new();
    let handle = world.reactor.handle();
    let other = CallQueue::new();
    let held = handle.after(MS, other.callback(|_, ()| unreachable!()));
    drop(world);
    handle.after(MS, other.callback(|_, ()| unreachable!())).detach();
    drop(held);
    let tally = other.tally();
    assert_eq!((tally.canceled, tally.abandoned, tally.unscheduled), (2, 0, 0));
}

#[test]
fn a_timer_whose_drop_panics_is_gone_all_the_same() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic::resume_unwind(Box::new("captured"));
        }
    }

    let world = World::new();
    let handle = world.reactor.handle();
    let captured = Panics;
    let timer = handle.after(MS, world.reactor.queue().callback(move |_, ()| drop(captured)));
    assert!(panic::catch_unwind(panic::AssertUnwindSafe(|| drop(timer))).is_err());
    assert_eq!(handle.timer_count(), 0);
    assert_eq!(world.reactor.queue().tally().abandoned, 0);
}

/// Those hid the ones that were due and came behind, for as long as that went on.
#[test]
fn m07_timers_that_are_armed_in_the_past_as_others_fire_keep_none_from_it() {
    let mut world = World::new();
    world.start += 1000 * MS;
    world.now.set(world.start);
    let handle = world.reactor.handle();
    handle.after(MS, world.callback(1)).detach();
    handle.after(2 * MS, world.callback(2)).detach();
    let (arming, past) = (handle.clone(), world.start - 500 * MS);
    handle.queue().add_observer(move |_: CallId, step: &Step| {
        if matches!(step, Step::Scheduled { .. }) {
            arming.at(past, arming.queue().callback(|_, ()| ())).detach();
        }
    });
    world.expect_at(10 * MS, &[1, 2]);
    assert_eq!(handle.timer_count(), 2, "those are for the next turn");
    handle.queue().clear_observers();
    world.expect_at(10 * MS, &[]);
    // Later on, deadlines in the past count again.
    handle.at(world.start, world.callback(4)).detach();
    handle.at(past, world.callback(3)).detach();
    world.expect_at(10 * MS, &[3, 4]);
}

#[test]
fn m07_a_timer_that_is_over_drops_in_silence() {
    let mut world = World::new();
    let timer = world.reactor.after(Duration::ZERO, world.callback(1));
    world.expect_at(Duration::ZERO, &[1]);
    let steps = Rc::new(Cell::new(0));
    let count = Rc::clone(&steps);
    world.reactor.queue().add_observer(move |_: CallId, _: &Step| count.set(count.get() + 1));
    drop(timer);
    assert_eq!(steps.get(), 0);
}
