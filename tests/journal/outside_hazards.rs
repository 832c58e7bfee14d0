//! Observers of turns and origins that use the queue, panic, come or go meanwhile.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use support::util::panic_of;
use switchboard::journal::{Journal, on_step};
use switchboard::mio::{Events, Interest, Poll, Token, Waker};
use switchboard::reactor::{Guest, Missed, Reactor, Readiness};
use switchboard::testing::ScriptedReactor;
use switchboard::{
    CallId, CallOrigin, CallQueue, Context, Observer, ObserverId, QueueHandle, Report, Step,
    TurnStep,
};

type Act = Box<dyn FnMut(&TurnStep)>;

/// Notes turns and origins, and then does something.
struct Acts {
    turns: RefCell<String>,
    origins: RefCell<Vec<CallOrigin>>,
    reports: RefCell<Vec<Report>>,
    at_turn: RefCell<Option<Act>>,
    at_origin: Cell<bool>,
}

impl Acts {
    fn new(at_turn: Option<Act>) -> Rc<Self> {
        let at_turn = RefCell::new(at_turn);
        let (turns, origins, reports) = Default::default();
        Rc::new(Self { turns, origins, reports, at_turn, at_origin: Cell::new(false) })
    }

    /// Polls, begins and ends, as `p`, `b` and `e` with the number of the turn.
    fn turns(&self) -> String {
        self.turns.take()
    }
}

impl Observer for Acts {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_origin(&self, _: CallId, origin: &CallOrigin) {
        self.origins.borrow_mut().push(origin.clone());
        assert!(!self.at_origin.take(), "no");
    }

    fn observe_turn(&self, _: NonZeroU64, step: &TurnStep) {
        let text = match step {
            TurnStep::Polls => "p".into(),
            TurnStep::Begins { number } => format!("b{number}"),
            TurnStep::Ends { number, report } => {
                self.reports.borrow_mut().push(*report);
                format!("e{number}")
            }
            _ => unreachable!("there are three"),
        };
        self.turns.borrow_mut().push_str(&text);
        let act = self.at_turn.take();
        if let Some(mut act) = act {
            act(step);
            self.at_turn.borrow_mut().get_or_insert(act);
        }
    }
}

/// Does `act` at each step, however often that is within it.
struct Always<F>(F);

impl<F: Fn(&TurnStep)> Observer for Always<F> {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_turn(&self, _: NonZeroU64, step: &TurnStep) {
        (self.0)(step);
    }
}

fn begins(step: &TurnStep) -> bool {
    matches!(step, TurnStep::Begins { .. })
}

fn ends(step: &TurnStep) -> bool {
    matches!(step, TurnStep::Ends { .. })
}

#[test]
fn what_an_observer_dials_as_a_turn_begins_or_ends_is_part_of_it() {
    let mut reactor = Reactor::new().unwrap();
    let queue = reactor.queue().clone();
    let (calls, nested) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (called, dialed) = (Rc::clone(&calls), Rc::clone(&nested));
    reactor.queue().add_observer(Always(move |_: &TurnStep| {
        let called = Rc::clone(&called);
        queue.call(move |_| called.set(called.get() + 1));
        let report = queue.dial_all();
        dialed.set(dialed.get() + report.dialed);
    }));
    let acts = Acts::new(None);
    reactor.queue().add_observer(Rc::clone(&acts));
    for _ in 0..3 {
        let report = reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!((report.dialed, report.remaining), (0, 0), "the observer dialed its own");
    }
    // As the reactor polls, no turn is in progress: what is dialed then is one.
    assert_eq!(acts.turns(), "b0e0b1e1pb2e2b3e3pb4e4", "no turn is within another");
    let (calls, nested) = (calls.get(), nested.get());
    assert_eq!(nested, calls);
    assert!(reactor.queue().is_idle() && reactor.queue().tally().balances());
    let reported: u64 = acts.reports.borrow().iter().map(|report| report.dialed).sum();
    let at_ends = acts.reports.borrow().len() as u64;
    assert_eq!(reported + at_ends, calls, "but for those after the report");
}

#[test]
fn what_an_observer_schedules_as_a_turn_ends_wakes_the_embedder() {
    let queue = CallQueue::new();
    let woken = Rc::new(Cell::new(0));
    let count = Rc::clone(&woken);
    queue.set_wake_hook(move || count.set(count.get() + 1));
    let (handle, once) = (queue.handle(), Cell::new(true));
    queue.add_observer(Always(move |step: &TurnStep| {
        if ends(step) && once.take() {
            handle.call(|_| ());
        }
    }));
    queue.call(|_| ());
    assert_eq!(woken.take(), 1);
    assert_eq!(queue.dial_all().remaining, 0, "which was counted before");
    assert_eq!(woken.take(), 1);
    assert_eq!(queue.dial_all().dialed, 1);
    queue.call(|_| ());
    assert_eq!(woken.take(), 1);
}

#[test]
fn what_an_observer_schedules_before_a_poll_keeps_it_from_sleeping() {
    let mut reactor = Reactor::new().unwrap();
    let queue = reactor.queue().clone();
    reactor.queue().add_observer(Always(move |step: &TurnStep| {
        if *step == TurnStep::Polls {
            queue.call(|_| ());
        }
    }));
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap().dialed, 0, "not observed before");
    assert_eq!(reactor.turn(None).unwrap().dialed, 1);
}

#[test]
fn observers_come_and_go_within_a_turn_step() {
    let queue = CallQueue::new();
    let (handle, id) = (queue.handle(), Rc::new(Cell::new(None::<ObserverId>)));
    let own = Rc::clone(&id);
    let late = Acts::new(None);
    let added = Rc::clone(&late);
    let first = Acts::new(Some(Box::new(move |step| {
        if begins(step) {
            own.take().into_iter().for_each(|id| _ = handle.remove_observer(id));
            handle.add_observer(Rc::clone(&added));
        }
    })));
    id.set(Some(queue.add_observer(Rc::clone(&first))));
    queue.call(|_| ());
    assert_eq!(queue.dial_all().dialed, 1);
    assert_eq!((first.turns().as_str(), late.turns().as_str()), ("b0", ""), "it saw no begin");
    queue.dial_all();
    assert_eq!((first.turns().as_str(), late.turns().as_str()), ("", "b1e1"));
}

#[test]
fn who_is_added_within_a_turn_is_not_notified_of_the_end_of_an_older_one() {
    let queue = CallQueue::new();
    let early = queue.add_observer(Acts::new(None));
    queue.call(move |queue| _ = queue.remove_observer(early));
    queue.dial_all();
    queue.call(|_| ());
    queue.dial_all();
    let late = Acts::new(None);
    let added = Rc::clone(&late);
    queue.call(move |queue| _ = queue.add_observer(added));
    queue.dial_all();
    assert_eq!(late.turns(), "");
    queue.dial_all();
    assert_eq!(late.turns(), "b1e1");
}

#[test]
fn a_turn_that_an_observer_does_not_let_begin_ends_for_the_others() {
    let queue = CallQueue::new();
    let journal = Journal::builder().install(&queue);
    let acts = Acts::new(None);
    queue.add_observer(Rc::clone(&acts));
    let once = Cell::new(true);
    queue.add_observer(Always(move |step: &TurnStep| assert!(!begins(step) || !once.take(), "no")));
    queue.call(|_| ());
    panic_of(|| queue.dial_all());
    assert_eq!(acts.turns(), "b0e0");
    assert!(journal.history().turns().is_empty(), "nothing had its turn in it");
    assert_eq!(queue.dial_all().dialed, 1);
    assert_eq!(acts.turns(), "b1e1");
    assert_eq!(journal.history().turns().len(), 1);
}

#[test]
fn an_observer_that_panics_before_a_poll_delays_a_turn() {
    let mut reactor = Reactor::new().unwrap();
    let once = Cell::new(true);
    let polls = move |step: &TurnStep| assert!(*step != TurnStep::Polls || !once.take(), "no");
    reactor.queue().add_observer(Always(polls));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let remote = reactor.remote();
    remote.call(|_| ()).unwrap();
    panic_of(|| reactor.turn(None));
    assert_eq!(reactor.turn(None).unwrap().dialed, 1);
}

#[test]
fn an_observer_that_panics_at_an_origin_loses_no_call() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let acts = Acts::new(None);
    reactor.queue().add_observer(Rc::clone(&acts));
    reactor.turn(); // threads are named from now on
    let server = reactor.queue().recipient(0);
    let read = |ready_count: &mut i32, _: &Context<'_, i32>, ready: &Readiness<'_>| {
        ready.keep();
        *ready_count += 1;
    };
    let pairs = [reactor.pair(), reactor.pair()];
    let [(one, first), (two, second)] = pairs;
    let _one = reactor.register(one, Interest::READABLE, &server, read).unwrap();
    let _two = reactor.register(two, Interest::READABLE, &server, read).unwrap();
    let remote = reactor.remote();
    for _ in 0..2 {
        reactor.after(Duration::from_secs(1), server.callback(|count, _, ()| *count += 1)).detach();
        remote.call(|_| ()).unwrap();
    }
    first.push(b"x");
    second.push(b"x");
    reactor.advance(Duration::from_secs(1));
    // The first source, the first timer, the first that was sent.
    for _ in 0..3 {
        acts.at_origin.set(true);
        panic_of(|| reactor.turn());
    }
    while !reactor.queue().is_idle() || remote.call(|_| ()).is_err() {
        reactor.turn();
    }
    reactor.turn();
    assert_eq!(reactor.queue().tally().finished, 7);
    let kinds = acts.origins.take();
    let count = |is_it: fn(&CallOrigin) -> bool| kinds.iter().filter(|it| is_it(it)).count();
    assert_eq!(count(|it| matches!(it, CallOrigin::Source { .. })), 2);
    assert_eq!(count(|it| matches!(it, CallOrigin::Timer)), 2);
    assert_eq!(count(|it| matches!(it, CallOrigin::Thread { .. })), 3);
}

#[test]
fn after_a_timer_that_panics_code_answers_for_itself() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let mut reactor = ScriptedReactor::new().unwrap();
    let acts = Acts::new(None);
    reactor.queue().add_observer(Rc::clone(&acts));
    let bomb = Bomb;
    let callback = reactor.queue().callback(|_, ()| ()).map(move |()| {
        let _bomb = &bomb;
    });
    reactor.after(Duration::ZERO, callback).detach();
    panic_of(|| reactor.turn());
    acts.origins.take();
    reactor.queue().callback(|_, ()| ()).answer(());
    reactor.turn();
    assert_eq!(acts.origins.take(), []);
}

#[test]
fn turns_of_two_queues_lie_one_within_the_other() {
    let (outer, inner) = (CallQueue::new(), CallQueue::new());
    let journal = Rc::new(Journal::new());
    outer.add_observer(Rc::clone(&journal));
    inner.add_observer(Rc::clone(&journal));
    let nested = inner.handle();
    let nest = move |queue: &QueueHandle| {
        nested.call(|_| ());
        nested.dial_all();
        queue.call(|_| ());
        queue.dial_all(); // part of the turn around it
    };
    outer.call(nest);
    outer.dial_all();
    let history = journal.history();
    let [within, around] = history.turns() else { panic!("{:?}", history.turns()) };
    assert_eq!(around.queue, history.calls()[0].id.queue());
    let ended = |turn: &switchboard::journal::TurnRecord| turn.ended.expect("it is over");
    assert!(around.began <= within.began && ended(within).0 <= ended(around).0);
    assert_eq!((ended(within).1.dialed, ended(around).1.dialed), (1, 2));
    assert_eq!((within.polled, around.polled), (None, None), "no reactor polls");
    for call in history.calls() {
        assert_eq!(history.turn_of(call.id).map(|turn| turn.queue), Some(call.id.queue()));
    }
}

#[test]
fn a_guest_reports_turns_and_no_polls_which_are_the_hosts() {
    let mut poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
    let mut guest = Guest::new(poll.registry(), waker).unwrap();
    let acts = Acts::new(None);
    guest.queue().add_observer(Rc::clone(&acts));
    let mut events = Events::with_capacity(8);
    for _ in 0..2 {
        let remote = guest.remote();
        thread::spawn(move || remote.call(|_| ()).unwrap()).join().unwrap();
        poll.poll(&mut events, guest.poll_timeout()).unwrap();
        assert_eq!(guest.turn(&events).dialed, 1);
    }
    assert_eq!(acts.turns(), "b0e0b1e1");
    assert_eq!(acts.origins.take().len(), 2);
}

#[test]
fn a_call_to_another_queue_has_its_origin_there() {
    let (mut reactor, other) = (Reactor::new().unwrap(), CallQueue::new());
    let (own, others) = (Journal::builder().install(reactor.queue()), Journal::new());
    let others = Rc::new(others);
    other.add_observer(Rc::clone(&others));
    let recipient = other.recipient(());
    let address = reactor.remote_to(&recipient);
    let done = reactor.remote_callback(other.callback(|_, ()| ()));
    address.call(|(), _| ()).unwrap();
    done.answer(()).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.queue().call(|_| ()); // takes the place that the call would have had
    other.dial_all();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(own.history().calls().iter().all(|call| call.origin.is_none()));
    assert_eq!(others.history().calls().len(), 2);
    assert!(others.history().calls().iter().all(|call| call.origin.is_some()));
}

#[test]
fn a_timer_of_another_queues_callback_is_the_origin_there() {
    let (mut reactor, other) = (ScriptedReactor::new().unwrap(), CallQueue::new());
    let own = Journal::builder().install(reactor.queue());
    let others = Journal::builder().install(&other);
    reactor.after(Duration::ZERO, other.callback(|_, ()| ())).detach();
    let recipient = other.recipient(());
    let tick = Duration::from_secs(1);
    let interval = reactor.every(tick, Missed::Skip, &recipient, |(), _| ());
    reactor.advance(tick);
    let _ = reactor.turn();
    drop(interval);
    other.dial_all();
    reactor.queue().call(|_| ());
    let _ = reactor.turn();
    let origins = |journal: &Journal| -> Vec<_> {
        let history = journal.history();
        history.calls().iter().map(|call| call.origin.clone()).collect()
    };
    assert_eq!(origins(&others), [Some(CallOrigin::Timer), Some(CallOrigin::Timer)]);
    assert_eq!(origins(&own), [None]);
}

#[test]
fn what_was_sent_before_is_dialed_and_has_no_origin() {
    let mut reactor = Reactor::new().unwrap();
    let remote = reactor.remote();
    remote.call(|_| ()).unwrap();
    let done = reactor.remote_callback(reactor.queue().callback(|_, ()| ()));
    done.answer(()).unwrap();
    let acts = Acts::new(None);
    reactor.queue().add_observer(Rc::clone(&acts));
    assert_eq!(reactor.turn(None).unwrap().dialed, 2);
    assert_eq!(acts.origins.take(), []);
}

#[test]
fn a_callback_that_is_not_wanted_any_more_has_no_origin() {
    let mut reactor = Reactor::new().unwrap();
    let acts = Acts::new(None);
    reactor.queue().add_observer(Rc::clone(&acts));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let callbacks = [(); 3].map(|()| reactor.queue().callback(|_, ()| ()));
    let canceled = callbacks[0].id();
    let [answered, declined, dropped] = callbacks.map(|one| reactor.remote_callback(one));
    reactor.queue().cancel(canceled, "unwanted");
    answered.answer(()).unwrap();
    declined.decline("no");
    drop(dropped);
    reactor.turn(None).unwrap();
    assert_eq!(acts.origins.take(), []);
}

#[test]
fn a_reactor_that_goes_while_it_is_observed_ends_in_a_turn() {
    let mut reactor = Reactor::new().unwrap();
    let acts = Acts::new(None);
    let journal = Journal::builder().install(reactor.queue());
    reactor.queue().add_observer(Rc::clone(&acts));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let (remote, queue) = (reactor.remote(), reactor.queue().clone());
    remote.call(|_| unreachable!("the reactor goes")).unwrap();
    acts.turns();
    drop(reactor);
    assert_eq!(acts.turns(), "b1e1");
    assert!(remote.call(|_| ()).is_err());
    let tally = queue.tally();
    assert_eq!((tally.canceled, tally.balances()), (1, true));
    let history = journal.history();
    assert!(history.calls()[0].ended.is_some() && history.calls()[0].origin.is_some());
    assert!(history.turns().iter().all(|turn| turn.ended.is_some()));
}

#[test]
fn an_observer_that_panics_as_a_reactor_goes_keeps_no_sender_waiting() {
    let mut reactor = Reactor::new().unwrap();
    let goes = Rc::new(Cell::new(false));
    let does = Rc::clone(&goes);
    reactor.queue().add_observer(Always(move |step: &TurnStep| {
        assert!(!begins(step) || !does.take(), "no");
    }));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let remote = reactor.remote();
    let captured = Rc::new(());
    let callback = reactor.queue().callback({
        let captured = Rc::clone(&captured);
        move |_, ()| drop(captured)
    });
    let done = reactor.remote_callback(callback);
    remote.call(|_| ()).unwrap();
    goes.set(true);
    panic_of(|| drop(reactor));
    assert!(remote.call(|_| ()).is_err() && done.answer(()).is_err());
    assert_eq!(Rc::strong_count(&captured), 1);
}

#[test]
fn a_queue_that_an_observer_drops_as_a_turn_begins_dials_nothing() {
    let queue = CallQueue::new();
    let handle = queue.handle();
    let captured = Rc::new(());
    let kept = Rc::clone(&captured);
    queue.call(move |_| drop(kept));
    let owner = RefCell::new(Some(queue));
    let observer = Rc::new(Always(move |step: &TurnStep| {
        if begins(step) {
            drop(owner.take());
        }
    }));
    handle.add_observer(Rc::clone(&observer));
    assert_eq!(handle.dial_all(), Report::default());
    assert_eq!(Rc::strong_count(&captured), 1);
    assert_eq!(Rc::strong_count(&observer), 1, "the closed queue has dropped it");
}

#[test]
fn a_poll_that_a_frozen_journal_did_not_see_the_end_of_is_forgotten() {
    let time = Rc::new(Cell::new(Instant::now()));
    let clock = Rc::clone(&time);
    let ticks = move || {
        clock.set(clock.get() + Duration::from_millis(1));
        clock.get()
    };
    let mut reactor = Reactor::new().unwrap();
    let abandoned = on_step(|_, step| matches!(step, Step::Abandoned { .. }));
    let journal = Journal::builder().clock(ticks).trigger(abandoned).install(reactor.queue());
    let turn = |reactor: &mut Reactor| reactor.turn(Some(Duration::ZERO)).unwrap();
    turn(&mut reactor);
    turn(&mut reactor); // polls, and nothing is dialed
    drop(reactor.queue().callback(|_, ()| ()));
    for _ in 0..50 {
        reactor.queue().call(|_| ());
        turn(&mut reactor);
    }
    journal.resume();
    reactor.queue().call(|_| ());
    turn(&mut reactor);
    let history = journal.history();
    let [only] = history.turns() else { panic!("{:?}", history.turns()) };
    let polled = only.began - only.polled.expect("a reactor polls");
    assert!(polled < Duration::from_millis(10), "not since before the trigger: {polled:?}");
}
