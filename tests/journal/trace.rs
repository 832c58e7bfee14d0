//! The trace that a history is exported as, in Chrome's JSON format: read back and checked.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::util::{panic_of, panics};
use switchboard::journal::Journal;
use switchboard::op::{OpError, OpResult, Operation};
use switchboard::{CallId, CallQueue, Callback};

/// The events of a history with calls and operations of all kinds.
fn events() -> Vec<Value> {
    let time = Rc::new(Cell::new(Instant::now()));
    let clock = Rc::clone(&time);
    let journal = Rc::new(Journal::with_clock(4096, move || {
        // Each step takes a little.
        clock.set(clock.get() + Duration::from_nanos(700));
        clock.get()
    }));
    let (queue, other) = (CallQueue::new(), CallQueue::new());
    queue.add_observer(Rc::clone(&journal));
    other.add_observer(Rc::clone(&journal));

    let server = queue.recipient("server \"one\"");
    let nests = other.handle();
    other.call(|_| ());
    server.call(move |_, cx| {
        cx.call(|_, _| ());
        cx.queue().call(|queue| _ = queue.call(|_| ()));
        let _ = cx.queue().dial_all();
        let _ = nests.dial_all();
    });
    queue.call(|queue| _ = queue.dial_all());
    let unwanted = queue.call(|_| ());
    queue.cancel(unwanted, "</script> \\ ü");
    drop(queue.callback(|_, ()| ()));
    queue.dial_all();

    let done: Callback<OpResult<(), ()>> = server.callback(|_, _, _| ());
    let upper = Operation::new(done, "upper", |_| ());
    let reported = upper.clone();
    let passed = server.callback(move |_, _, result| _ = reported.complete(result));
    upper.waits_for(passed.id());
    let lower = Operation::new(passed, "lower", |lower: &Operation<_, (), ()>| {
        let _ = lower.complete(Err(OpError::Canceled));
    });
    let handle = lower.handle();
    queue.call(move |_| _ = handle.cancel());
    queue.dial_all();
    queue.call(panics(()));
    panic_of(|| queue.dial_all());
    queue.cancel(unwanted, "again");
    queue.call(|_| ()); // pending still

    let mut trace = Vec::new();
    journal.history().write_trace(&mut trace).expect("a vector takes it");
    let trace: Value = serde_json::from_slice(&trace).expect("JSON");
    assert_eq!(trace["displayTimeUnit"], "ns");
    trace["traceEvents"].as_array().expect("events").clone()
}

fn phase<'a>(events: &'a [Value], phase: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["ph"] == phase)
}

fn lane(event: &Value) -> (u64, u64) {
    (event["pid"].as_u64().expect("a process"), event["tid"].as_u64().expect("a thread"))
}

fn ts(event: &Value) -> f64 {
    event["ts"].as_f64().expect("a time")
}

/// Live calls with where they stand, when they begin and when they end.
fn slices(events: &[Value]) -> Vec<((u64, u64), f64, f64)> {
    let slice =
        |event| (lane(event), ts(event), ts(event) + event["dur"].as_f64().expect("a time"));
    phase(events, "X").filter(|event| event["cat"] == "live").map(slice).collect()
}

#[test]
fn every_event_has_what_its_phase_needs() {
    for event in events() {
        let ph = event["ph"].as_str().expect("a phase");
        assert!(["M", "X", "i", "s", "f", "C"].contains(&ph), "{event}");
        assert!(event["name"].is_string() && event["pid"].is_u64(), "{event}");
        if ph != "M" {
            assert!(ts(&event) >= 0.0 && event["cat"].is_string(), "{event}");
            let _ = lane(&event);
        }
        if ["s", "f"].contains(&ph) {
            assert!(event["id"].is_u64() || event["id"].is_string(), "{event}");
        }
    }
}

#[test]
fn slices_of_a_recipient_lie_apart_or_one_within_the_other() {
    let events = events();
    let slices = slices(&events);
    assert!(slices.len() >= 9, "{}", slices.len());
    let mut nested = 0;
    for (place, (lane, from, to)) in slices.iter().enumerate() {
        for (_, other_from, other_to) in slices[..place].iter().filter(|slice| slice.0 == *lane) {
            let apart = to <= other_from || other_to <= from;
            let within =
                from <= other_from && other_to <= to || other_from <= from && to <= other_to;
            assert!(apart || within, "{from}..{to} and {other_from}..{other_to}");
            nested += usize::from(!apart);
        }
    }
    assert!(nested > 0, "some are nested");
}

#[test]
fn operations_lie_on_tracks_of_their_own_and_name_the_layer_above() {
    let events = events();
    let of = |ph| phase(&events, ph).filter(|it| it["cat"] == "operation").collect::<Vec<_>>();
    let [upper, lower] = of("X")[..] else { panic!("two layers") };
    let id = upper["name"].as_str().and_then(|name| name.split(' ').next_back());
    assert_eq!(lower["args"]["layer below"].as_str(), id);
    assert_eq!(upper["args"]["layer below"], Value::Null);
    assert_ne!(lane(upper), lane(lower), "both run at a time");
    assert_eq!(of("i").len(), 1, "the cancel of the lower one");
}

#[test]
fn arrows_lead_from_within_a_slice_to_the_start_of_another() {
    let events = events();
    let slices = slices(&events);
    let from: HashMap<_, _> =
        phase(&events, "s").map(|event| (event["id"].as_u64(), event)).collect();
    let to: HashMap<_, _> =
        phase(&events, "f").map(|event| (event["id"].as_u64(), event)).collect();
    assert!(from.len() >= 4, "{}", from.len());
    assert_eq!(from.keys().collect::<HashSet<_>>(), to.keys().collect());
    for (id, start) in from {
        let end = to[&id];
        assert_eq!(end["bp"], "e");
        assert!(ts(start) <= ts(end));
        let within =
            |&&(at, from, to): &&_| at == lane(start) && from <= ts(start) && ts(start) <= to;
        assert!(slices.iter().any(|slice| within(&slice)), "{start}");
        let begins = |&(at, from, _): &_| at == lane(end) && from == ts(end);
        assert!(slices.iter().any(begins), "{end}");
    }
}

#[test]
fn bad_ends_are_instants_with_their_reason() {
    let events = events();
    let names: Vec<_> = phase(&events, "i").map(|event| event["name"].as_str().unwrap()).collect();
    for what in [
        "canceled: </script> \\ ü",
        "canceled too late: again",
        "refused: ",
        "abandoned",
        "panicked",
    ] {
        assert!(names.iter().any(|name| name.contains(what)), "{what}: {names:?}");
    }
}

#[test]
fn lanes_are_named_for_queues_and_recipients() {
    let events = events();
    let names: HashSet<_> =
        phase(&events, "M").filter_map(|event| event["args"]["name"].as_str()).collect();
    for name in ["functions", "&str(0)"] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
    let queues = phase(&events, "M").filter(|event| event["name"] == "process_name");
    assert_eq!(queues.count(), 2);
}

#[test]
fn no_arrow_leads_from_a_call_whose_dial_was_not_seen() {
    let journal = Rc::new(Journal::new());
    let (queue, late) = (CallQueue::new(), Rc::clone(&journal));
    queue.call(move |queue| {
        queue.add_observer(Rc::clone(&late));
        queue.call(|_| ());
    });
    queue.dial_all();
    let mut trace = Vec::new();
    journal.history().write_trace(&mut trace).expect("a vector takes it");
    let trace: Value = serde_json::from_slice(&trace).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let live = phase(events, "X").filter(|event| event["cat"] == "live");
    assert_eq!((live.count(), phase(events, "s").count()), (1, 0));
}

#[test]
fn every_call_carries_where_by_whom_and_why_however_it_ended() {
    let journal = Rc::new(Journal::new());
    let queue = CallQueue::new();
    queue.add_observer(Rc::clone(&journal));
    let server = queue.recipient("server");
    server.set_label("10.0.0.1");
    let live = server.call(|_, cx| _ = cx.queue().dial_all());
    let refused = server.call(|_, _| ());
    let canceled = queue.call(|_| ());
    queue.cancel(canceled, "unwanted");
    let callback = server.callback(|_, _, ()| ());
    let abandoned = callback.id();
    drop(callback);
    queue.dial_all();
    let waiting = queue.call(|_| ());
    let mut trace = Vec::new();
    journal.history().write_trace(&mut trace).expect("a vector takes it");
    let trace: Value = serde_json::from_slice(&trace).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let args = |call: CallId, ph: &str| {
        let name = format!("call {call}");
        let is_it = |event: &&Value| {
            event["ph"] == ph && event["name"].as_str().is_some_and(|it| it.starts_with(&name))
        };
        events.iter().find(is_it).expect("there is one")["args"].clone()
    };
    for (call, ph) in
        [(live, "X"), (refused, "i"), (canceled, "i"), (abandoned, "i"), (waiting, "i")]
    {
        let args = args(call, ph);
        assert!(args["created"].as_str().is_some_and(|site| site.contains(file!())), "{args}");
    }
    let refused = args(refused, "i");
    assert_eq!(refused["live"], live.to_string());
    assert!(refused["live scheduled"].as_str().is_some_and(|site| site.contains(file!())));
    assert_eq!(refused["label"], "10.0.0.1");
    assert_eq!(args(canceled, "i")["reason"], "unwanted");
    assert_eq!(args(waiting, "i")["end"], "still pending");
}

#[test]
fn counters_come_to_what_is_pending_at_the_end() {
    let events = events();
    for name in ["pending", "live"] {
        let ours = phase(&events, "C")
            .filter(|event| event["name"] == name && event["pid"] == events[0]["pid"]);
        let values: Vec<_> = ours.map(|event| event["args"]["calls"].as_i64().unwrap()).collect();
        assert!(values.iter().all(|value| *value >= 0), "{values:?}");
        assert!(values.iter().any(|value| *value > 1), "{values:?}");
        assert_eq!(values.last(), Some(&i64::from(name == "pending")), "{values:?}");
    }
    assert!(phase(&events, "C").any(|event| event["name"] == "dialed a turn"));
}
