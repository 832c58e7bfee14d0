//! All stories in turn, what they come to, and the files that are asked for.

use std::panic;
use std::rc::Rc;
use std::time::Instant;

use switchboard::reactor::Reactor;

use super::flags::{self, Flags, Request};
use super::narrator::Narrator;
use super::paint::Paint;
use super::record::Record;
use super::story::{Outcome, Story, ended, ensure, say};
use super::summary::Summary;
use super::{basics, samples, sockets};

/// The last line.
pub(crate) const READ_ON: &str = "Exercises on these stories are in docs/study.md, \
    and \"Ten questions, and where the answer is\".";

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
            eprintln!("\nThe tour did not end as expected: {error}");
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
    run_stories(&mut reactor, basics::STORIES, &mut summary, &record, paint)?;
    println!("{}\n", paint.bold("The samples, with their calls in short"));
    narrator.only_ends_other_than_finished();
    run_stories(&mut reactor, samples::STORIES, &mut summary, &record, paint)?;
    run_stories(&mut reactor, sockets::STORIES, &mut summary, &record, paint)?;
    summary.print(paint);
    record.print_figures();
    let tally = reactor.queue().tally();
    println!("The tally: {tally}.");
    ensure(tally.balances(), "the tally balances")?;
    ensure(tally.pending + tally.live + tally.unscheduled == 0, "no call is left")?;
    ensure(reactor.handle().registration_count() == 0, "no source is registered")?;
    println!("Every call ended exactly once, and every story as expected.");
    record.write(flags)?;
    println!("{READ_ON}");
    Ok(())
}

fn run_stories(
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
