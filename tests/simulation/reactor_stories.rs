//! What nobody thought of, in a reactor: random stories (see `support::reactor_stories`).
//!
//! `STORIES=n` runs `n` of them, `SEED=n` only the one that was reported as broken.

use std::env;
use std::ops::Range;
use std::panic;

use support::random::Random;
use support::reactor_stories;

const STORIES: u64 = 600;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// Tells the stories that are asked for, and returns how many calls ended in each way, if that
/// says anything.
fn tell_all(panics: bool) -> Option<[u64; 5]> {
    let stories: Range<u64> = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STORIES").unwrap_or(STORIES),
    };
    let enough = stories.end - stories.start >= STORIES;
    let mut total = [0; 5];
    for story in stories {
        match panic::catch_unwind(|| reactor_stories::run(story, Random::new(story), panics)) {
            Ok(ends) => total.iter_mut().zip(ends).for_each(|(total, calls)| *total += calls),
            Err(panic) => {
                println!("story {story} broke a rule: SEED={story} tells it again");
                panic::resume_unwind(panic);
            }
        }
    }
    println!("{total:?}");
    enough.then_some(total)
}

#[test]
fn random_stories_of_a_reactor_keep_the_rules() {
    if let Some(total) = tell_all(false) {
        assert!(total[..4].iter().all(|calls| *calls > 300) && total[4] == 0, "{total:?}");
    }
}

#[test]
fn random_stories_of_a_reactor_in_which_everybody_panics_keep_the_rules() {
    if let Some(total) = tell_all(true) {
        assert!(total.iter().all(|calls| *calls > 300), "{total:?}");
    }
}
