//! What is compared, and what is said if it differs.

use super::model::Model;
use super::walk::Pair;
use super::{BARE, Event, Setup, WATCHED, act::*, shrink};

/// Asserts that the queue does what the rules say.
#[track_caller]
pub fn holds(setup: Setup, acts: &[Act]) {
    if let Some(report) = report(setup, acts) {
        panic!("{report}");
    }
}

/// What is wrong, with the shortest sequence that shows it.
pub(super) fn report(setup: Setup, acts: &[Act]) -> Option<String> {
    fault(setup, acts)?;
    let (setup, acts) = shrink::shrink(setup, acts);
    let fault = fault(setup, &acts).unwrap_or_default();
    let lines: String = acts.iter().map(|act| format!("        {act:?},\n")).collect();
    let code = format!("    holds({}, &[\n{lines}    ]);", code(setup));
    Some(format!("broken: {fault}\n\n#[test]\nfn a_sequence_that_broke_a_rule() {{\n{code}\n}}\n"))
}

fn code(setup: Setup) -> String {
    let base = if setup.observed { "WATCHED" } else { "BARE" };
    let usual = if setup.observed { WATCHED } else { BARE };
    let mut fields = Vec::new();
    if setup.hooked != usual.hooked {
        fields.push(format!("hooked: {}, ", setup.hooked));
    }
    for (name, act) in [("hook", setup.hook), ("value", setup.value)] {
        fields.extend(act.map(|act| format!("{name}: Some(&{act:?}), ")));
    }
    if setup.defers {
        fields.push("defers: true, ".into());
    }
    if setup.capacity != usual.capacity {
        fields.push(format!("capacity: {}, ", setup.capacity));
    }
    if fields.is_empty() { base.into() } else { format!("Setup {{ {}..{base} }}", fields.concat()) }
}

/// What is wrong, if anything.
pub(super) fn fault(setup: Setup, acts: &[Act]) -> Option<String> {
    let mut pair = Pair::begin(setup);
    acts.iter().for_each(|act| pair.step(act));
    pair.end()
}

pub(super) fn compare(model: &Model, real: &[Event], broken: Option<String>) -> Option<String> {
    let laws = broken.or_else(|| breach(real));
    if laws.is_none() && model.trace == real {
        return None;
    }
    let laws = laws.map(|law| law + "; ").unwrap_or_default();
    let differs = |at: &usize| model.trace.get(*at) != real.get(*at);
    let Some(at) = (0..model.trace.len().max(real.len())).find(differs) else { return Some(laws) };
    let rule = model.rules.get(at).unwrap_or(&"L1");
    let event =
        |event: Option<&Event>| event.map_or("the end".into(), |event| format!("{event:?}"));
    let (expected, found) = (event(model.trace.get(at)), event(real.get(at)));
    let before = &real[at.saturating_sub(4)..at];
    Some(format!("{laws}{rule}: {expected} is to follow on {before:?}, and not {found}"))
}

/// L1 of captures and L2 of order, in what the queue reported.
fn breach(real: &[Event]) -> Option<String> {
    let (mut order, mut captures) = (Vec::new(), Vec::<(bool, bool)>::new());
    // Calls whose turn has come, and that may come again: they were deferred, or put back.
    let mut attempted = Vec::new();
    for event in real {
        match *event {
            Event::Scheduled(call) => order.push(call),
            Event::Canceled(call) => order.retain(|pending| *pending != call),
            Event::Dialed(call)
            | Event::Deferred(call, _)
            | Event::RefusedAsGone(call)
            | Event::RefusedByCheck(call)
                if attempted.contains(&call) => {}
            Event::Dialed(call)
            | Event::Deferred(call, _)
            | Event::RefusedAsGone(call)
            | Event::RefusedAsLive(call, _)
            | Event::RefusedByCheck(call) => {
                if order.first() != Some(&call) {
                    return Some(format!("L2: the turn of {call} came before those of {order:?}"));
                }
                order.remove(0);
                attempted.push(call);
            }
            Event::Entered(call) | Event::Dropped(call) => {
                let call = usize::from(call);
                captures.resize(captures.len().max(call + 1), (false, false));
                let (entered, dropped) = &mut captures[call];
                let twice = *dropped || (*entered && *event == Event::Entered(call as u16));
                if twice {
                    return Some(format!("L1: call {call} was entered or dropped twice"));
                }
                *entered = true;
                *dropped = matches!(event, Event::Dropped(_));
            }
            _ => {}
        }
    }
    let lost = captures.iter().position(|(_, dropped)| !dropped)?;
    Some(format!("L1: what call {lost} captured was not dropped"))
}
