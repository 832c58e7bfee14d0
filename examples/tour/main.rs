//! cargo run --release --example tour
//!
//! Stories on real loopback sockets and threads, told from the steps that an observer sees: how
//! calls and operations end, what happens to those that come to a bad end, and what each sample
//! module does. Fails if a story ends differently than told.

use std::error::Error;
use std::panic;
use std::process::ExitCode;
use std::rc::Rc;

use switchboard::Tally;
use switchboard::reactor::Reactor;

use crate::narrator::Narrator;

mod basics;
mod narrator;
mod samples;

type Outcome = Result<(), Box<dyn Error>>;

/// A title, what to expect, and the story itself.
type Story = (&'static str, &'static str, fn(&mut Reactor) -> Outcome);

fn main() -> ExitCode {
    match tour() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe tour did not end as told: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tour() -> Outcome {
    panic::set_hook(Box::new(|_| ())); // the narrator tells of panics
    let mut reactor = Reactor::new()?;
    let narrator = Rc::new(Narrator::default());
    reactor.queue().set_observer(Rc::clone(&narrator));
    println!("Calls and operations\n");
    tell(&mut reactor, basics::STORIES, 1)?;
    println!("The samples, with their calls in short\n");
    narrator.only_ends_other_than_finished();
    tell(&mut reactor, samples::STORIES, 1 + basics::STORIES.len())?;
    let tally = reactor.queue().tally();
    println!("The tally: {tally}.");
    ensure(tally.balances(), "the tally balances")?;
    ensure(tally.pending + tally.live + tally.unscheduled == 0, "no call is left")?;
    ensure(reactor.handle().registrations() == 0, "no source is registered")?;
    println!("Every call ended exactly once, and every story as told.");
    Ok(())
}

fn tell(reactor: &mut Reactor, stories: &[Story], first: usize) -> Outcome {
    for (number, (title, text, story)) in (first..).zip(stories) {
        println!("{number}. {title}\n");
        for line in wrap(text) {
            say(&line);
        }
        println!();
        story(reactor).map_err(|error| format!("story {number}: {error}"))?;
        println!();
    }
    Ok(())
}

// What the stories share.

/// How many calls ended, and how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ends {
    finished: u64,
    canceled: u64,
    refused: u64,
    abandoned: u64,
    panicked: u64,
}

/// The ends of calls during `story`.
fn ended(
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

fn say(what: &str) {
    println!("   {what}");
}

fn ensure(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(format!("expected that {what}").into()) }
}

/// Breaks a text into lines.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.len() + word.len() > 80 {
            lines.push(word.into());
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}
