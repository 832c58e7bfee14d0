//! On which tracks of a trace calls, turns and operations are, and what each call carries.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::util::{panic_of, panics};
use switchboard::journal::{History, Journal};
use switchboard::mio::Interest;
use switchboard::reactor::{Reactor, Readiness};
use switchboard::testing::ScriptedReactor;
use switchboard::{Budget, CallQueue, Context, QueueHandle, Recipient};

/// A journal whose clock advances with each step.
fn journal(queue: &QueueHandle) -> Rc<Journal> {
    let time = Cell::new(Instant::now());
    let ticks = move || {
        time.set(time.get() + Duration::from_micros(1));
        time.get()
    };
    Journal::builder().keep(1 << 16).clock(ticks).install(queue)
}

fn trace(history: &History) -> Vec<Value> {
    let mut trace = Vec::new();
    history.write_trace(&mut trace).expect("a vector takes it");
    let trace: Value = serde_json::from_slice(&trace).expect("JSON");
    trace["traceEvents"].as_array().expect("events").clone()
}

/// Slices by track: when each begins and ends, in nanoseconds. The names of tracks are unique here.
fn tracks(events: &[Value]) -> BTreeMap<String, Vec<(u64, u64)>> {
    let mut tracks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let names = events.iter().filter(|event| event["name"] == "thread_name");
    let names: BTreeMap<_, _> = names
        .map(|event| (event["tid"].as_u64(), event["args"]["name"].as_str().unwrap().to_owned()))
        .collect();
    for slice in events.iter().filter(|event| event["ph"] == "X") {
        let nanos = |key: &str| (slice[key].as_f64().expect("a time") * 1e3).round() as u64;
        let name = names[&slice["tid"].as_u64()].clone();
        tracks.entry(name).or_default().push((nanos("ts"), nanos("ts") + nanos("dur")));
    }
    for slices in tracks.values_mut() {
        slices.sort_unstable();
    }
    tracks
}

fn lie_apart(slices: &[(u64, u64)]) -> bool {
    slices.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

/// A recipient with two calls; the second is scheduled by the first.
fn session(queue: &QueueHandle) -> Recipient<u64> {
    let session = queue.recipient(7_u64);
    session.call(|_, cx| _ = cx.call(|_, _| ()));
    session
}

#[test]
fn short_lives_share_tracks_and_a_long_one_has_its_own() {
    let queue = CallQueue::new();
    let journal = journal(&queue);
    let long = queue.recipient(0_u64);
    long.set_label("the listener");
    for _ in 0..100 {
        long.call(|_, _| ());
        let _three = [session(&queue), session(&queue), session(&queue)];
        queue.dial_all();
    }
    let tracks = tracks(&trace(&journal.history()));
    let shared: Vec<_> = tracks.keys().filter(|name| name.starts_with("u64 × 301 (")).collect();
    assert_eq!(
        shared,
        ["u64 × 301 (1)", "u64 × 301 (2)", "u64 × 301 (3)"],
        "as many as live at a time"
    );
    assert_eq!(tracks["u64(0) (the listener)"].len(), 100);
    for name in shared {
        assert_eq!(tracks[name].len(), 200);
        assert!(lie_apart(&tracks[name]), "{name}");
    }
}

#[test]
fn few_recipients_of_a_type_have_a_track_each() {
    let queue = CallQueue::new();
    let journal = journal(&queue);
    for _ in 0..23 {
        let _one = session(&queue);
        queue.dial_all();
    }
    let tracks = tracks(&trace(&journal.history()));
    assert_eq!(tracks.keys().filter(|name| name.starts_with("u64(")).count(), 23);
}

#[test]
fn recipients_on_a_track_live_one_after_the_other() {
    let queue = CallQueue::new();
    let journal = journal(&queue);
    let mut alive = VecDeque::new();
    for round in 0..100 {
        alive.push_back(session(&queue));
        alive.iter().for_each(|one| _ = one.call(|_, _| ()));
        queue.dial_pending();
        while alive.len() > round % 7 {
            alive.pop_front();
        }
    }
    queue.dial_all();
    let history = journal.history();
    let events = trace(&history);
    let mut of_track: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for live in events.iter().filter(|event| event["cat"] == "live") {
        let recipient = live["args"]["recipient"].as_str().unwrap().to_owned();
        of_track.entry(live["tid"].as_u64()).or_default().push((live["ts"].as_f64(), recipient));
    }
    for mut lives in of_track.into_values() {
        lives.sort_by(|a, b| a.partial_cmp(b).unwrap());
        lives.dedup_by(|a, b| a.1 == b.1);
        let names: BTreeSet<_> = lives.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), lives.len(), "none comes back after another one: {lives:?}");
    }
}

#[test]
fn pending_calls_share_tracks_up_to_a_limit_and_the_counter_has_all() {
    let queue = CallQueue::new();
    let journal = journal(&queue);
    for burst in [3, 1000] {
        for _ in 0..burst {
            queue.call(|_| ());
        }
        queue.dial_all();
    }
    let events = trace(&journal.history());
    let tracks = tracks(&events);
    let pending = || tracks.iter().filter(|(name, _)| name.starts_with("pending ("));
    assert_eq!(pending().count(), 32);
    assert!(pending().all(|(_, slices)| lie_apart(slices)));
    assert_eq!(pending().map(|(_, slices)| slices.len()).sum::<usize>(), 35);
    let levels = events.iter().filter(|event| event["name"] == "pending" && event["ph"] == "C");
    let most = levels.map(|event| event["args"]["calls"].as_u64()).max();
    assert_eq!(most.flatten(), Some(1000));
}

#[test]
fn turns_and_polls_are_a_track_and_calls_have_their_turn_and_origin() {
    let mut reactor = ScriptedReactor::new().unwrap();
    let journal = journal(reactor.queue());
    let (source, peer) = reactor.pair();
    let server = reactor.queue().recipient(());
    let read = |(): &mut (), _: &Context<'_, ()>, ready: &Readiness<'_>| ready.keep();
    let _registration = reactor.register(source, Interest::READABLE, &server, read).unwrap();
    let timer = reactor.after(Duration::from_secs(1), reactor.queue().callback(|_, ()| ()));
    peer.push(b"x");
    reactor.turn();
    reactor.advance(Duration::from_secs(1));
    reactor.turn();
    drop(timer);
    let history = journal.history();
    let events = trace(&history);
    let of = |cat| events.iter().filter(move |event| event["cat"] == cat).collect::<Vec<_>>();
    assert_eq!(of("turn").len(), history.turns().len());
    assert!(lie_apart(&tracks(&events)["turns"]));
    assert_eq!(of("turn")[0]["args"]["dialed"], 1);
    let mut live = of("live"); // in the order of creation
    live.sort_by(|a, b| a["ts"].as_f64().partial_cmp(&b["ts"].as_f64()).unwrap());
    let [source, timer] = live[..] else { panic!("two calls") };
    assert_eq!(source["args"]["origin"], "source 0.0");
    assert_eq!(timer["args"]["origin"], "a timer");
    let turn = |call: &Value| format!("turn {}", call["args"]["turn"].as_str().unwrap());
    let names: Vec<_> = of("turn").iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, [turn(source), turn(timer)]);
}

#[test]
fn polls_come_before_their_turns() {
    let mut reactor = Reactor::new().unwrap();
    let journal = journal(reactor.queue());
    for _ in 0..3 {
        reactor.queue().call(|_| ());
        reactor.turn(None).unwrap();
    }
    let events = trace(&journal.history());
    let kinds: Vec<_> = events
        .iter()
        .filter(|event| {
            event["ph"] == "X" && ["poll", "turn"].iter().any(|cat| event["cat"] == *cat)
        })
        .map(|event| event["name"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["turn 0", "polls", "turn 1", "polls", "turn 2"]);
    assert!(lie_apart(&tracks(&events)["turns"]));
}

#[test]
fn each_call_carries_all_that_is_known_of_it_once_beside_its_wait() {
    let queue = CallQueue::new();
    let journal = journal(&queue);
    let server = queue.recipient("server");
    let live = server.call(|_, cx| _ = cx.queue().dial_all());
    server.call(|_, _| ()); // refused
    let canceled = queue.call(|_| ());
    queue.cancel(canceled, "unwanted");
    drop(queue.callback(|_, ()| ())); // abandoned
    let gone = queue.recipient("gone");
    gone.call(|_, _| ()); // refused
    gone.hang_up();
    queue.dial_all();
    queue.call(panics(()));
    panic_of(|| queue.dial_all());
    let created = queue.callback(|_, ()| ());
    for _ in 0..200 {
        queue.call(|_| ()); // more than have slices
    }
    let history = journal.history();
    drop(created);
    let events = trace(&history);
    for call in history.calls() {
        let name = format!("call {}", call.id);
        let is_its = |event: &&Value| {
            let full = event["name"].as_str().unwrap();
            full == name || full.starts_with(&format!("{name} "))
        };
        let carries =
            |event: &&Value| event["cat"] != "pending" && event["args"]["end"].is_string();
        let all: Vec<_> = events.iter().filter(is_its).filter(carries).collect();
        let slices = all.iter().filter(|event| event["ph"] == "X").count();
        assert_eq!(slices, usize::from(call.dialed.is_some()), "{name}");
        let [first, ..] = all[..] else { panic!("{name} carries nothing") };
        assert!(first["args"]["created"].as_str().is_some_and(|site| site.contains(file!())));
        let end = first["args"]["end"].as_str().unwrap();
        assert_eq!(
            end.starts_with("canceled") || end.starts_with("refused"),
            first["args"]["reason"].is_string()
        );
        assert_eq!(end.contains("live"), first["args"]["live"] == live.to_string(), "{first}");
    }
}

#[test]
fn a_clock_that_is_set_back_panics_nowhere() {
    let queue = CallQueue::new();
    let start = Instant::now();
    let time = Rc::new(Cell::new(start + Duration::from_secs(1)));
    let clock = Rc::clone(&time);
    let journal = Journal::builder().clock(move || clock.get()).install(&queue);
    let recipients: Vec<_> = (0..30).map(|_| queue.recipient(0_u8)).collect();
    time.set(start + Duration::from_secs(3));
    for recipient in &recipients {
        recipient.call(|_, _| ());
    }
    time.set(start);
    queue.dial(Budget::calls(7));
    let (mut trace, mut page) = (Vec::new(), Vec::new());
    journal.history().write_trace(&mut trace).unwrap();
    journal.history().write_timeline(&mut page).unwrap();
    let calls = journal.history().calls().iter().map(|call| call.id).collect::<Vec<_>>();
    calls.into_iter().for_each(|call| assert!(journal.explain(call).to_string().len() > 10));
}
