//! What the stories share.

use std::error::Error;

use switchboard::Tally;
use switchboard::reactor::Reactor;

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// A title, what to expect, and the story itself.
pub(crate) type Story = (&'static str, &'static str, fn(&mut Reactor) -> Outcome);

/// How many calls ended, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) finished: u64,
    pub(crate) canceled: u64,
    pub(crate) refused: u64,
    pub(crate) abandoned: u64,
    pub(crate) panicked: u64,
}

/// The ends of calls during `story`.
pub(crate) fn ended(
    reactor: &mut Reactor,
    story: impl FnOnce(&mut Reactor) -> Outcome,
) -> Result<Ends, Box<dyn Error>> {
    let ends = |tally: Tally| {
        [tally.finished, tally.canceled, tally.refused, tally.abandoned, tally.panicked]
    };
    let before = ends(reactor.queue().tally());
    story(reactor)?;
    let after = ends(reactor.queue().tally());
    let [finished, canceled, refused, abandoned, panicked] =
        std::array::from_fn(|index| after[index] - before[index]);
    Ok(Ends { finished, canceled, refused, abandoned, panicked })
}

pub(crate) fn say(what: &str) {
    println!("   {what}");
}

pub(crate) fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("expected that {what}").into()) }
}
