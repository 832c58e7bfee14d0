//! Which sequences are played: all of a length, or random ones.

use std::cell::RefCell;
use std::mem;

use super::check::report;
use super::model::Model;
use super::play::{Performance, trace};
use super::{END, Setup, act::*, check::compare};
use crate::story::{self, Counts, Decisions, World};

thread_local! {
    /// The memory of the last sequence's.
    static MODEL: RefCell<Model> = RefCell::default();
}

/// A sequence on a queue and on the model at once.
pub(super) struct Pair {
    performance: Performance,
    pub(super) model: Model,
}

impl Pair {
    pub(super) fn begin(setup: Setup) -> Self {
        let mut model = MODEL.take();
        model.begin(setup);
        Self { performance: Performance::begin(setup), model }
    }

    pub(super) fn step(&mut self, act: &Act) {
        self.performance.step(act);
        trace(|real| self.model.step(act, real));
    }

    /// Drops everything; returns what is wrong, if anything.
    pub(super) fn end(mut self) -> Option<String> {
        END.iter().for_each(|act| self.step(act));
        while self.model.has_callback() || self.performance.has_callback() {
            self.step(&Abandon(0));
        }
        let broken = self.performance.end();
        self.model.end();
        let fault = trace(|real| compare(&self.model, real, broken));
        MODEL.set(mem::take(&mut self.model));
        fault
    }
}

/// Plays every sequence of up to `depth` acts of the alphabet, but those that differ from one of them in
/// the names of the recipients only, or in acts that do nothing. Returns how many there are.
///
/// # Panics
///
/// If a rule is broken.
pub fn every(setup: Setup, alphabet: &[Act], depth: usize) -> u64 {
    let desks: Vec<_> = alphabet.iter().map(Act::desks).collect();
    story::every(depth + 1, |decisions| {
        let mut pair = Pair::begin(setup);
        let (mut acts, mut named) = (Vec::new(), 0);
        while acts.len() < depth {
            // (How many desks have names after an act, if it names them in their order.)
            let name = |named: usize, desk: &usize| (*desk <= named).then(|| named.max(desk + 1));
            let names = |act: usize| desks[act].iter().try_fold(named, name);
            let next = |act: &usize| names(*act).is_some() && pair.model.applies(&alphabet[*act]);
            let next: Vec<_> = (0..alphabet.len()).filter(next).collect();
            // The first choice is to end here.
            let may_end = usize::from(!acts.is_empty());
            let choice = decisions.below(next.len() + may_end);
            let Some(act) = choice.checked_sub(may_end) else { break };
            named = names(next[act]).unwrap_or(named);
            acts.push(alphabet[next[act]]);
            pair.step(&alphabet[next[act]]);
        }
        match pair.end() {
            None => Ok(()),
            Some(_) => Err(report(setup, &acts).unwrap_or_default()),
        }
    })
}

/// A random sequence.
pub struct Sequence {
    random: Choices,
    setup: Setup,
    length: usize,
    /// The longer turns are put off, the more calls are pending.
    laziness: usize,
    acts: Vec<Act>,
    pair: Pair,
}

impl World for Sequence {
    fn begin(decisions: Decisions) -> Self {
        let random = Choices(decisions);
        let setup = random.setup();
        let (length, laziness) = (1 + random.below(200), 1 + random.below(20));
        Self { random, setup, length, laziness, acts: Vec::new(), pair: Pair::begin(setup) }
    }

    fn is_over(&self) -> bool {
        self.acts.len() == self.length
    }

    fn act(&mut self) {
        self.acts.push(self.random.act(self.laziness));
        self.pair.step(&self.acts[self.acts.len() - 1]);
    }

    /// (All that happens is compared at the end.)
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn end(self) -> Result<Counts, String> {
        match self.pair.end() {
            None => Ok(vec![self.length as u64]),
            Some(fault) => Err(report(self.setup, &self.acts).unwrap_or(fault)),
        }
    }
}

/// What random sequences are made of.
struct Choices(Decisions);

impl Choices {
    fn below(&self, end: usize) -> usize {
        self.0.below(end)
    }

    fn setup(&self) -> Setup {
        let hooked = self.below(2) == 0;
        let hook = [None, Some(&Dial(All)), Some(&Call(A, Nothing)), Some(&Cancel(Oldest))];
        Setup {
            observed: self.below(2) == 0,
            defers: self.below(3) == 0,
            hooked,
            hook: hook[self.below(hook.len())].filter(|_| hooked),
            capacity: if self.below(4) == 0 { self.below(9) } else { usize::MAX },
            value: if self.below(4) == 0 { Some(&Call(F, Nothing)) } else { None },
        }
    }

    fn act(&self, laziness: usize) -> Act {
        match self.below(64) {
            0..24 => Call(self.to(), self.script()),
            24..32 => Callback(self.to(), self.script()),
            32..38 => Answer(self.below(4)),
            38 => Decline(self.below(3)),
            39 => Abandon(self.below(3)),
            40..46 => {
                let before = 1 << self.below(7);
                Cancel(Latest(self.below(before)))
            }
            46 => Cancel(Oldest),
            47 => Cancel(Foreign),
            48 => HangUp(self.desk()),
            49 | 50 => Renew(self.desk()),
            51 if self.below(6) == 0 => Close,
            _ if self.below(laziness) > 0 => Call(self.to(), Nothing),
            _ => match self.below(4) {
                0 => Dial(All),
                1 => Dial(Pending),
                _ => Dial(Calls(self.below(6))),
            },
        }
    }

    fn to(&self) -> To {
        [F, A, B, C][self.below(4)]
    }

    fn desk(&self) -> To {
        [A, B, C][self.below(3)]
    }

    fn script(&self) -> Script {
        match self.below(13) {
            0..4 => Nothing,
            12 => Startle,
            4..8 => Enter(self.inner()),
            8..10 => Dropping(self.inner()),
            10 => Both(self.inner(), self.inner()),
            _ => Check,
        }
    }

    /// What a call does; rarely the last of them, as hardly anything can happen after it.
    fn inner(&self) -> &'static Act {
        let last = INNER.len() - 1;
        let end = if self.below(100) == 0 { last + 1 } else { last };
        &INNER[self.below(end)]
    }
}
