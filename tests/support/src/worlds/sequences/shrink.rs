//! The shortest sequence with a fault: 1-minimal, so no act of it can go, or be a simpler one.

use super::check::fault;
use super::{Setup, act::*};

pub(super) fn shrink(mut setup: Setup, acts: &[Act]) -> (Setup, Vec<Act>) {
    let mut acts = acts.to_vec();
    loop {
        let before = acts.clone();
        remove(setup, &mut acts);
        for at in 0..acts.len() {
            while let Some(simpler) = simpler(acts[at]).into_iter().find(|simpler| {
                let mut acts = acts.clone();
                acts[at] = *simpler;
                fault(setup, &acts).is_some()
            }) {
                acts[at] = simpler;
            }
        }
        // What is observed says more.
        let setups: [fn(Setup) -> Setup; 6] = [
            |setup| Setup { observed: true, ..setup },
            |setup| Setup { capacity: usize::MAX, ..setup },
            |setup| Setup { defers: false, ..setup },
            |setup| Setup { value: None, ..setup },
            |setup| Setup { hook: None, ..setup },
            |setup| Setup { hooked: setup.observed, hook: None, ..setup },
        ];
        for simpler in setups {
            let simpler = simpler(setup);
            if fault(simpler, &acts).is_some() {
                setup = simpler;
            }
        }
        if acts == before {
            return (setup, acts);
        }
    }
}

/// Removes what can go, halves first.
fn remove(setup: Setup, acts: &mut Vec<Act>) {
    let mut length = acts.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        while at + length <= acts.len() {
            let (before, after) = (&acts[..at], &acts[at + length..]);
            // Names of the same calls as before, too, if calls were removed between.
            let renamed: Vec<Act> = after.iter().map(|act| nearer(*act, length)).collect();
            let rests = [[before, after].concat(), [before, &renamed].concat()];
            match rests.into_iter().find(|rest| fault(setup, rest).is_some()) {
                Some(rest) => *acts = rest,
                None => at += 1,
            }
        }
        length /= 2;
    }
}

fn nearer(act: Act, by: usize) -> Act {
    if let Cancel(Latest(k)) = act { Cancel(Latest(k.saturating_sub(by))) } else { act }
}

/// Simpler acts, simplest first.
fn simpler(act: Act) -> Vec<Act> {
    let less = |to: To| [F, A, B].into_iter().filter(move |less| (*less as u8) < to as u8);
    match act {
        Call(to, script) => {
            let scripts = simpler_scripts(script).into_iter().map(|script| Call(to, script));
            scripts.chain(less(to).map(|to| Call(to, script))).collect()
        }
        Callback(to, script) => {
            let scripts = simpler_scripts(script).into_iter().map(|script| Callback(to, script));
            let to_less = less(to).map(|to| Callback(to, script));
            [Call(to, script)].into_iter().chain(scripts).chain(to_less).collect()
        }
        Answer(k) => (0..k).map(Answer).collect(),
        Decline(k) => (0..k).map(Decline).collect(),
        Abandon(k) => (0..k).map(Abandon).collect(),
        Cancel(Latest(k)) => (0..k).map(|k| Cancel(Latest(k))).collect(),
        Cancel(_) => vec![Cancel(Latest(0)), Cancel(Latest(1))],
        Dial(All) | Panic | Close => vec![],
        Dial(Calls(0 | 1) | Pending) => vec![Dial(All)],
        Dial(Calls(calls)) => vec![Dial(All), Dial(Pending), Dial(Calls(calls - 1))],
        HangUp(to) => less(to).skip(1).map(HangUp).collect(),
        Renew(to) => [HangUp(to)].into_iter().chain(less(to).skip(1).map(Renew)).collect(),
    }
}

fn simpler_scripts(script: Script) -> Vec<Script> {
    // They leak, as scripts are static; it is a failure that they describe.
    let acts = |act: &Act| simpler(*act).into_iter().map(|act| &*Box::leak(Box::new(act)));
    match script {
        Nothing => vec![],
        Check | Startle => vec![Nothing],
        Enter(act) => [Nothing].into_iter().chain(acts(act).map(Enter)).collect(),
        Dropping(act) => [Nothing].into_iter().chain(acts(act).map(Dropping)).collect(),
        Both(entered, dropped) => vec![Nothing, Enter(entered), Dropping(dropped)],
    }
}
