//! cargo run --release --example tour
//!
//! Stories on real loopback sockets and threads, told from the steps that an observer sees: how
//! calls and operations end, what happens to those that come to a bad end, and what each sample
//! module does. Fails if a story ends differently than told. `-- --help` tells the flags.

use std::error::Error;
use std::panic;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use switchboard::Tally;
use switchboard::reactor::Reactor;

use self::flags::{Flags, Request};
use self::narrator::Narrator;
use self::paint::Paint;
use self::record::Record;
use self::summary::Summary;

mod basics;
pub(crate) mod flags;
mod narrator;
pub(crate) mod paint;
mod record;
mod samples;
mod sockets;
mod summary;

type Outcome = Result<(), Box<dyn Error>>;

/// A title, what to expect, and the story itself.
type Story = (&'static str, &'static str, fn(&mut Reactor) -> Outcome);

fn main() -> ExitCode {
    run(std::env::args().skip(1)).into()
}

/// Runs the tour with these arguments. Returns 0 if all is well, 1 if a story did not end as expected, 2 for flags
/// that make no sense.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> u8 {
    let flags = match flags::read(arguments) {
        Ok(Request::Tour(flags)) => flags,
        Ok(Request::Help) => {
            print!("{}", flags::HELP);
            return 0;
        }
        Err(error) => {
            eprintln!("{error}\nSee --help.");
            return 2;
        }
    };
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ())); // the narrator reports panics
    let outcome = tour(&flags, Paint::of_stdout());
    panic::set_hook(hook);
    outcome.map_or_else(
        |error| {
            eprintln!("\nThe tour did not end as told: {error}");
            1
        },
        |()| 0,
    )
}

fn tour(flags: &Flags, paint: Paint) -> Outcome {
    let mut reactor = Reactor::new()?;
    let narrator = Rc::new(Narrator::new(paint));
    let record = Record::of(reactor.queue());
    reactor.queue().add_observer(Rc::clone(&narrator));
    let mut summary = Summary::default();
    println!("{}\n", paint.bold("Calls and operations"));
    tell(&mut reactor, basics::STORIES, &mut summary, &record, paint)?;
    println!("{}\n", paint.bold("The samples, with their calls in short"));
    narrator.only_ends_other_than_finished();
    tell(&mut reactor, samples::STORIES, &mut summary, &record, paint)?;
    tell(&mut reactor, sockets::STORIES, &mut summary, &record, paint)?;
    summary.print(paint);
    record.print_figures();
    let tally = reactor.queue().tally();
    println!("The tally: {tally}.");
    ensure(tally.balances(), "the tally balances")?;
    ensure(tally.pending + tally.live + tally.unscheduled == 0, "no call is left")?;
    ensure(reactor.handle().registration_count() == 0, "no source is registered")?;
    println!("Every call ended exactly once, and every story as told.");
    record.write(flags)
}

fn tell(
    reactor: &mut Reactor,
    stories: &[Story],
    summary: &mut Summary,
    record: &Record,
    paint: Paint,
) -> Outcome {
    let all = basics::STORIES.len() + samples::STORIES.len() + sockets::STORIES.len();
    for (title, text, story) in stories {
        let number = summary.stories() + 1;
        println!("{}\n", paint.bold(&format!("{number} of {all}. {title}")));
        for line in wrap(text) {
            say(&line);
        }
        println!();
        record.begin(title);
        let began = Instant::now();
        let ended = ended(reactor, story).map_err(|error| format!("story {number}: {error}"))?;
        summary.add(title, ended, began.elapsed());
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
