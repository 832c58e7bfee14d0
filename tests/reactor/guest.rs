//! Hazard: a reactor in a mio loop of somebody else's takes the host's events, misses its own, or
//! keeps the host from sleeping (rule M9).

use mio::{Events, Interest, Poll, Token, Waker};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use switchboard::reactor::{Guest, Readiness, Registration};
use switchboard::{CallQueue, Context, Recipient};

use support::net::{LocalPeer, LocalStream, Log, PATIENCE, drain, local_pair, unwind, unwinding};

const WAKE: Token = Token(0);
const HOST: Token = Token(usize::MAX >> 1);

/// A host's loop.
struct Host {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// Tokens of the host that were reported.
    reported: Vec<Token>,
    polls: usize,
}

impl Host {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).unwrap());
        let events = Events::with_capacity(64);
        Self { poll, events, waker, reported: Vec::new(), polls: 0 }
    }

    fn guest(&self) -> Guest {
        Guest::new(self.poll.registry(), Arc::clone(&self.waker)).unwrap()
    }

    fn register(&self, source: &mut LocalStream) {
        self.poll.registry().register(source, HOST, Interest::READABLE).unwrap();
    }

    #[track_caller]
    fn turn(&mut self, guest: &mut Guest) -> u64 {
        let timeout = guest.poll_timeout().unwrap_or(PATIENCE);
        self.poll.poll(&mut self.events, Some(timeout)).unwrap();
        self.polls += 1;
        let ours = self.events.iter().map(mio::event::Event::token).filter(|token| *token <= HOST);
        self.reported.extend(ours);
        guest.turn(&self.events).dialed
    }
}

#[test]
fn m09_host_and_guest_each_get_their_own_events() {
    let mut host = Host::new();
    let mut guest = host.guest();
    let recipient = guest.queue().recipient(());
    let (mut hosts, mut hosts_peer) = local_pair();
    host.register(&mut hosts);
    let (source, mut peer) = local_pair();
    let reported = Log::new();
    let log = reported.clone();
    let handle = guest.handle();
    let source =
        handle.register(source, Interest::READABLE, &recipient, move |(), _, _| log.push(()));
    let mut source = source.unwrap();
    for round in 1..=3 {
        hosts_peer.write_all(b"x").unwrap();
        peer.write_all(b"x").unwrap();
        assert_eq!((host.turn(&mut guest), reported.len()), (1, round));
        assert_eq!(std::mem::take(&mut host.reported), [HOST]);
        assert_eq!((drain(&mut hosts), drain(source.source_mut())), (vec![b'x'], vec![b'x']));
    }
    let traffic = guest.event_stats();
    assert_eq!((traffic.events, traffic.delivered, traffic.foreign, traffic.stale), (6, 3, 3, 0));
    // Each goes on without the other.
    drop(guest);
    hosts_peer.write_all(b"x").unwrap();
    peer.write_all(b"x").unwrap();
    host.poll.poll(&mut host.events, Some(PATIENCE)).unwrap();
    let tokens: Vec<_> = host.events.iter().map(mio::event::Event::token).collect();
    assert!(tokens.contains(&HOST));
}

#[test]
fn m09_the_waker_of_the_host_wakes_for_remote_calls() {
    let mut host = Host::new();
    let mut guest = host.guest();
    let remote = guest.remote();
    let thread = thread::spawn(move || remote.call(|_| ()).unwrap());
    while host.turn(&mut guest) == 0 {
        assert!(guest.should_run() && host.polls < 10, "woken for nothing");
    }
    thread.join().unwrap();
    // The host's own use of the waker is none of the guest's business.
    host.waker.wake().unwrap();
    assert_eq!(host.turn(&mut guest), 0);
    assert!(!guest.should_run());
}

#[test]
fn m09_the_guest_returns_how_long_the_host_may_sleep() {
    let mut host = Host::new();
    let mut guest = host.guest();
    assert_eq!(guest.poll_timeout(), None);
    // Scheduled outside a turn: by the host itself.
    guest.queue().call(|_| ());
    assert_eq!(guest.poll_timeout(), Some(Duration::ZERO));
    assert_eq!((host.turn(&mut guest), guest.poll_timeout()), (1, None));
    // More than a budget.
    guest.set_budget(2);
    (0..5).for_each(|_| _ = guest.queue().call(|_| ()));
    for left in [3, 1, 0_u64] {
        host.turn(&mut guest);
        assert_eq!(guest.queue().tally().pending, left);
        assert_eq!(guest.poll_timeout().is_some(), left > 0);
    }
    // A timer, armed outside a turn.
    let due = guest.queue().callback(|_, ()| ());
    guest.after(Duration::from_millis(5), due).detach();
    assert!(guest.poll_timeout().unwrap() <= Duration::from_millis(5));
    let before = host.polls;
    while host.turn(&mut guest) == 0 {}
    assert!(host.polls - before <= 3, "the host slept until the timer was due");
    assert!(!guest.should_run());
}

#[test]
fn m09_a_panic_of_a_handler_passes_through_the_host_and_both_go_on() {
    let mut host = Host::new();
    let mut guest = host.guest();
    guest.queue().call(|_| unwind("handler"));
    guest.queue().call(|_| ());
    assert_eq!(unwinding(|| host.turn(&mut guest)), "handler");
    assert_eq!(guest.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(host.turn(&mut guest), 1);
}

#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "there is room for all events in each batch")]
fn m09_events_of_a_full_batch_are_asked_for_again() {
    let mut host = Host::new();
    host.events = Events::with_capacity(4);
    let mut guest = host.guest();
    let recipient = guest.queue().recipient(());
    let reported = Log::new();
    let mut held = Vec::new();
    for name in 0..10 {
        let (source, mut peer) = local_pair();
        peer.write_all(b"x").unwrap();
        let (log, handle) = (reported.clone(), guest.handle());
        let source =
            handle.register(source, Interest::READABLE, &recipient, move |(), _, _| log.push(name));
        held.push((source.unwrap(), peer));
    }
    for expected in [4, 8, 10] {
        assert_eq!(guest.poll_timeout().is_some(), expected > 4, "as expected: {expected}");
        host.turn(&mut guest);
        assert_eq!(reported.len(), expected);
    }
    assert_eq!(guest.poll_timeout(), None);
}

#[test]
fn m09_a_batch_without_room_for_events_is_not_a_full_one() {
    let host = Host::new();
    let mut guest = host.guest();
    let _ = guest.turn(&Events::with_capacity(0));
    assert_eq!(guest.poll_timeout(), None);
    assert!(!guest.should_run());
}

#[test]
fn m09_the_wake_hook_is_called_for_calls_and_timers_from_outside_a_turn() {
    let mut host = Host::new();
    let mut guest = host.guest();
    let reported = Log::new();
    let log = reported.clone();
    guest.queue().set_wake_hook(move || log.push(()));
    let timer = |delay| {
        let due = guest.queue().callback(|_, ()| ());
        guest.after(Duration::from_millis(delay), due)
    };
    let late = timer(50);
    assert_eq!(reported.take().len(), 1, "the first");
    let later = timer(60);
    assert_eq!(reported.take().len(), 0, "one that is due after the first");
    let soon = timer(0);
    assert_eq!(reported.take().len(), 1, "one that is due before");
    drop((late, later));
    host.turn(&mut guest);
    drop(soon);
    assert_eq!(reported.take().len(), 0, "what a turn does needs no wake-up");
    guest.queue().call(|_| ());
    assert_eq!(reported.take().len(), 1);
    // Also from a handler, in a turn.
    let handle = guest.handle();
    guest.queue().call(move |queue| {
        queue.call(|_| ());
        handle.after(Duration::ZERO, queue.callback(|_, ()| ())).detach();
    });
    assert_eq!(reported.take().len(), 0, "a call is pending already");
    host.turn(&mut guest);
    assert_eq!(reported.take().len(), 0);
    // And when it goes, with remote calls in its inbox.
    guest.remote().call(|_| ()).unwrap();
    drop(guest);
    assert_eq!(reported.take().len(), 0);
}

#[test]
fn m09_a_guest_takes_a_queue_along() {
    let mut host = Host::new();
    let queue = CallQueue::bounded(7);
    queue.call(|_| ());
    let mut guest =
        Guest::with_queue(queue, host.poll.registry(), Arc::clone(&host.waker)).unwrap();
    assert!(guest.should_run());
    assert_eq!(host.turn(&mut guest), 1);
    guest.stop();
    guest.queue().call(|_| ());
    assert!(!guest.should_run());
    assert!(!guest.should_run(), "asking changes nothing");
    guest.resume();
    assert!(guest.should_run());
    assert!(format!("{guest:?}").starts_with("Guest(ReactorHandle"));
}

/// Registers a source with `guest`, whose handler logs `name`. Also returns the peer.
fn register_as(
    guest: &Guest,
    name: &'static str,
    reported: &Log<&'static str>,
) -> (Recipient<()>, Registration<LocalStream>, LocalPeer) {
    let (source, peer) = local_pair();
    let (recipient, log) = (guest.queue().recipient(()), reported.clone());
    let handler = move |(): &mut (), _: &Context<'_, ()>, _: &Readiness<'_>| log.push(name);
    let held = guest.register(source, Interest::READABLE, &recipient, handler).unwrap();
    (recipient, held, peer)
}

#[test]
fn m01_a_clock_that_panics_before_a_turn_within_a_limit_loses_no_event() {
    let (mut host, reported) = (Host::new(), Log::new());
    let mut guest = host.guest();
    let (_recipient, _held, mut peer) = register_as(&guest, "source", &reported);
    peer.write_all(b"x").unwrap();
    host.poll.poll(&mut host.events, Some(PATIENCE)).unwrap();
    let panics = Cell::new(true);
    guest.set_clock(move || {
        if panics.take() {
            unwind("no time");
        }
        Instant::now()
    });
    let turn = || guest.turn_within(&host.events, Duration::from_secs(1));
    assert_eq!(unwinding(turn), "no time");
    assert_eq!(guest.poll_timeout(), Some(Duration::ZERO), "an event is left");
    assert_eq!(host.turn(&mut guest), 1);
    assert_eq!(reported.take(), ["source"]);
}

#[test]
#[cfg_attr(mio_unsupported_force_poll_poll, ignore = "handlers are not judged")]
fn m03_a_turn_without_a_poll_judges_no_handler() {
    // A handler that finds the end before it is reported, and one that leaves something.
    for (reads_on, undrained) in [(true, 0), (false, 1)] {
        let mut host = Host::new();
        let mut guest = host.guest();
        let (source, mut peer) = local_pair();
        let held = Rc::new(RefCell::new(None::<Registration<LocalStream>>));
        let own = Rc::clone(&held);
        let source = guest.register_function(source, Interest::READABLE, move |_, _| {
            let mut held = own.borrow_mut();
            let source = held.as_mut().unwrap();
            let mut read = || source.try_io(Interest::READABLE, |source| source.read(&mut [0]));
            while read().unwrap() > 0 && reads_on {}
        });
        held.replace(Some(source.unwrap()));
        peer.write_all(b"four").unwrap();
        host.poll.poll(&mut host.events, Some(PATIENCE)).unwrap();
        if reads_on {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(guest.turn(&host.events).dialed, 1);
        let _ = guest.turn(&Events::with_capacity(0));
        assert_eq!(guest.event_stats().undrained, 0, "judged before the next poll");
        host.poll.poll(&mut host.events, Some(Duration::ZERO)).unwrap();
        let _ = guest.turn(&host.events);
        assert_eq!(guest.event_stats().undrained, undrained);
        held.take();
    }
}

#[test]
fn m02_an_event_of_a_guest_that_is_gone_does_not_reach_the_next_guest() {
    let (mut host, reported) = (Host::new(), Log::new());
    let guest = host.guest();
    let (_old_recipient, old, mut peer) = register_as(&guest, "old", &reported);
    peer.write_all(b"x").unwrap();
    host.poll.poll(&mut host.events, Some(PATIENCE)).unwrap();
    drop(guest);
    // Its registration is there still, and then it is not: the batch is older than both guests.
    let mut next = host.guest();
    let (_recipient, _new, _peer) = register_as(&next, "new", &reported);
    assert_eq!(next.turn(&host.events).dialed, 0);
    drop(old);
    let mut next_but_one = host.guest();
    let (_recipient, _newer, _peer) = register_as(&next_but_one, "newer", &reported);
    assert_eq!(next_but_one.turn(&host.events).dialed, 0);
    assert_eq!((next.event_stats().stale, next_but_one.event_stats().stale), (1, 1));
    assert_eq!(reported.take(), [""; 0]);
}

#[test]
fn m02_guests_of_one_poll_see_events_of_their_own_sources_only() {
    let (mut host, reported) = (Host::new(), Log::new());
    let (mut one, mut other) = (host.guest(), host.guest());
    let (_one_recipient, _one_held, mut ones_peer) = register_as(&one, "one", &reported);
    let (_other_recipient, _other_held, mut others_peer) = register_as(&other, "other", &reported);
    for (peer, name) in [(&mut ones_peer, "one"), (&mut others_peer, "other")] {
        peer.write_all(b"x").unwrap();
        host.turn(&mut one);
        other.turn(&host.events);
        assert_eq!(reported.take(), [name]);
    }
}
