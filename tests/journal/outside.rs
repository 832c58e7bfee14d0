//! What calls come from that no handler scheduled, and in which turns they are dialed.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use support::util::panic_of;
use switchboard::journal::{History, Journal, on_step};
use switchboard::mio::Interest;
use switchboard::reactor::Reactor;
use switchboard::testing::ScriptedReactor;
use switchboard::{CallId, CallOrigin, CallQueue, Callback, Observer, Report, Step, TurnStep};

/// The origin of each call of a history, as it is shown.
fn origins(history: &History) -> Vec<String> {
    let origin =
        |origin: &Option<CallOrigin>| origin.as_ref().map_or("".into(), ToString::to_string);
    history.calls().iter().map(|call| origin(&call.origin)).collect()
}

#[test]
fn a_source_a_timer_and_code_are_distinguished() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let journal = Journal::builder().install(reactor.queue());
    let (source, peer) = reactor.pair();
    let server = reactor.queue().recipient(());
    let _registration = reactor
        .register(source, Interest::READABLE, &server, |_, cx, ready| {
            ready.keep();
            cx.call(|_, _| ());
        })
        .unwrap();
    let _timer = reactor.after(Duration::from_secs(1), reactor.queue().callback(|_, ()| ()));
    let mapped: Callback<()> = reactor.queue().callback(|_, _: u8| ()).map(|()| 7);
    let _mapped = reactor.after(Duration::from_secs(1), mapped);
    peer.push(b"x");
    reactor.turn();
    reactor.advance(Duration::from_secs(1));
    reactor.turn();
    reactor.queue().call(|_| ());
    reactor.turn();
    let history = journal.history();
    let mut origins = origins(&history);
    origins.sort_unstable();
    assert_eq!(origins, ["", "", "a timer", "a timer", "source 0.0"]);
    let last = history.calls().iter().find(|call| !history.causes(call.id).is_empty()).unwrap();
    let story = history.explain(last.id).to_string();
    assert!(story.contains(" by source 0.0\n"), "the chain ends with what began it: {story}");
    let timer = history.calls().iter().find(|call| call.origin == Some(CallOrigin::Timer)).unwrap();
    let story = history.explain(timer.id).to_string();
    assert!(story.contains(" by a timer, "), "{story}");
}

#[test]
fn a_thread_is_known_by_its_name_or_else_its_id() {
    let mut reactor = Reactor::new().unwrap();
    let journal = Journal::builder().install(reactor.queue());
    let recipient = reactor.queue().recipient(());
    let send = |reactor: &mut Reactor, name: Option<&str>| {
        let (remote, address) = (reactor.remote(), reactor.remote_to(&recipient));
        let done = reactor.remote_callback(reactor.queue().callback(|_, ()| ()));
        let thread =
            name.into_iter().fold(thread::Builder::new(), |thread, name| thread.name(name.into()));
        let sent = thread.spawn(move || {
            remote.call(|_| ()).unwrap();
            address.call(|(), _| ()).unwrap();
            done.answer(()).unwrap();
            thread::current().id()
        });
        let id = sent.unwrap().join().unwrap();
        reactor.run().unwrap();
        format!("{id:?}")
    };
    send(&mut reactor, Some("early"));
    let named = send(&mut reactor, Some("worker"));
    let unnamed = send(&mut reactor, None);
    let history = journal.history();
    let mut origins = origins(&history);
    origins.sort_unstable();
    assert_ne!(named, unnamed);
    let thread =
        |name: &str| [format!("thread {name}"), format!("thread {name}"), format!("thread {name}")];
    assert_eq!(origins, [thread(&unnamed), thread("early"), thread("worker")].concat());
}

#[test]
fn no_thread_is_named_without_an_observer() {
    let mut reactor = Reactor::new().unwrap();
    let (remote, address) = (reactor.remote(), Rc::new(Journal::new()));
    let turn = |reactor: &mut Reactor| {
        remote.call(|_| ()).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
    };
    let id = reactor.queue().add_observer(Rc::clone(&address));
    turn(&mut reactor);
    turn(&mut reactor);
    reactor.queue().remove_observer(id);
    turn(&mut reactor); // was sent with a name still
    turn(&mut reactor);
    reactor.queue().add_observer(Rc::clone(&address));
    turn(&mut reactor);
    let here = thread::current();
    let here = CallOrigin::Thread { name: here.name().map(Arc::from).unwrap() };
    let history = address.history();
    let origins: Vec<_> = history.calls().iter().map(|call| call.origin.clone()).collect();
    assert_eq!(origins, [None, Some(here), None], "from the first turn that is observed on");
}

/// Notes turns.
#[derive(Default)]
struct Turns(RefCell<Vec<TurnStep>>);

impl Observer for Turns {
    fn observe(&self, _: CallId, _: &Step) {}

    fn observe_turn(&self, _: NonZeroU64, step: &TurnStep) {
        self.0.borrow_mut().push(*step);
    }
}

#[test]
fn turns_are_reported_but_not_those_within_them_nor_a_half() {
    let queue = CallQueue::new();
    let turns = Rc::new(Turns::default());
    let late = Rc::clone(&turns);
    queue.call(move |queue| _ = queue.add_observer(late));
    queue.dial_all();
    assert!(turns.0.borrow().is_empty(), "half a turn is none");
    queue.call(|queue| {
        queue.call(|_| ());
        let _ = queue.dial_all();
    });
    queue.dial_all();
    let steps = turns.0.take();
    let [TurnStep::Begins { number: 0 }, TurnStep::Ends { number: 0, report }] = steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!((report.dialed, report.refused, report.remaining), (2, 0, 0));
    queue.call(|_| panic!("no"));
    panic_of(|| queue.dial_all());
    let steps = turns.0.take();
    assert!(matches!(steps[..], [_, TurnStep::Ends { number: 1, .. }]), "though it unwinds");
}

#[test]
fn a_reactor_reports_its_polls() {
    let mut reactor = Reactor::new().unwrap();
    let turns = Rc::new(Turns::default());
    let id = reactor.queue().add_observer(Rc::clone(&turns));
    let kind = |step: &TurnStep| match step {
        TurnStep::Polls => 'p',
        TurnStep::Begins { .. } => 'b',
        TurnStep::Ends { .. } => 'e',
        _ => '?',
    };
    for _ in 0..2 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    let steps: String = turns.0.take().iter().map(kind).collect();
    assert_eq!(steps, "bepbe", "from the first turn that is observed on");
    reactor.queue().remove_observer(id);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(turns.0.take().is_empty());
}

#[test]
fn an_observer_that_panics_as_a_turn_begins_or_ends_leaves_the_queue_usable() {
    struct Panics(Cell<u32>);

    impl Observer for Panics {
        fn observe(&self, _: CallId, _: &Step) {}

        fn observe_turn(&self, _: NonZeroU64, _: &TurnStep) {
            self.0.set(self.0.get() + 1);
            // The first begin, whose turn ends, and the end of the next.
            assert!(![1, 4].contains(&self.0.get()), "no");
        }
    }
    let queue = CallQueue::new();
    let called = Rc::new(Cell::new(0));
    let count = Rc::clone(&called);
    queue.set_wake_hook(move || count.set(count.get() + 1));
    queue.add_observer(Panics(Cell::new(0)));
    queue.call(|_| ());
    panic_of(|| queue.dial_all()); // does not begin
    panic_of(|| queue.dial_all()); // dials, and its end panics
    assert_eq!(queue.tally().finished, 1);
    called.set(0);
    queue.call(|_| ());
    assert_eq!(called.get(), 1, "outside of turns, a call wakes");
    assert_eq!(queue.dial_all().dialed, 1);
}

#[test]
fn idle_turns_are_not_kept_and_the_polls_around_them_are_one() {
    let mut reactor = Reactor::new().unwrap();
    let time = Rc::new(Cell::new(Instant::now()));
    let clock = Rc::clone(&time);
    let ticks = move || {
        clock.set(clock.get() + Duration::from_millis(1));
        clock.get()
    };
    let journal = Journal::builder().clock(ticks).install(reactor.queue());
    for _ in 0..100 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    reactor.queue().call(|_| ());
    reactor.turn(None).unwrap();
    let history = journal.history();
    let [turn] = history.turns() else { panic!("{:?}", history.turns()) };
    assert_eq!(turn.number, 100);
    let polled = turn.began - turn.polled.expect("a reactor polls");
    assert!(polled > Duration::from_millis(250), "{polled:?}");
    assert!(matches!(turn.ended, Some((_, Report { dialed: 1, .. }))));
    let call = &history.calls()[0];
    assert_eq!(history.turn_of(call.id), Some(turn));
    assert_eq!(history.date(), None, "by a clock that is set, no date is known");
}

#[test]
fn a_turn_in_progress_is_known_and_those_before_the_first_step_are_not() {
    let queue = CallQueue::new();
    let before = SystemTime::now();
    let journal = Journal::builder().keep(8).install(&queue);
    for _ in 0..10 {
        queue.call(|_| ());
        queue.dial_all();
    }
    let within = Rc::clone(&journal);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let turns = Rc::clone(&seen);
    queue.call(move |_| turns.borrow_mut().extend_from_slice(within.history().turns()));
    queue.dial_all();
    let seen = seen.take();
    let numbers: Vec<_> = seen.iter().map(|turn| (turn.number, turn.ended.is_some())).collect();
    assert_eq!(numbers, [(8, true), (9, true), (10, false)]);
    assert!(journal.history().date() >= Some(before));
}

#[test]
fn a_trigger_keeps_turns_and_origins_too() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let refused = on_step(|_, step| matches!(step, Step::Refused { .. }));
    let journal = Journal::builder().keep(16).trigger(refused).install(reactor.queue());
    let timer = |reactor: &mut ScriptedReactor| {
        let callback = reactor.queue().callback(|_, ()| ());
        reactor.after(Duration::ZERO, callback).detach();
        reactor.turn();
    };
    timer(&mut reactor);
    let gone = reactor.queue().recipient(());
    gone.call(|_, _| ());
    gone.hang_up();
    reactor.turn();
    let held = (journal.history().turns().to_vec(), origins(&journal.history()));
    for _ in 0..40 {
        timer(&mut reactor);
    }
    let history = journal.history();
    assert_eq!((history.turns().to_vec(), origins(&history)), held);
    assert_eq!(held.0.len(), 2);
    journal.resume();
    assert!(journal.history().turns().is_empty());
}

#[test]
fn origins_of_calls_that_a_filter_leaves_out_displace_none_of_those_that_it_keeps() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let (one, other) = (reactor.queue().recipient(0_u8), reactor.queue().recipient(0_u8));
    let chosen = one.info();
    let builder = Journal::builder().keep(8).filter_recipients(move |to| *to == chosen);
    let journal = builder.install(reactor.queue());
    let due = one.callback(|_, _, ()| ());
    let kept = due.id();
    reactor.after(Duration::ZERO, due).detach();
    let _ = reactor.turn();
    for _ in 0..20 {
        reactor.after(Duration::ZERO, other.callback(|_, _, ()| ())).detach();
        let _ = reactor.turn();
    }
    let story = journal.explain(kept).to_string();
    assert!(story.contains(" by a timer, "), "{story}");
}
