//! Hazard: what a fuzzer has found once. Runs every story of `tests/fuzz/corpora` again, and some
//! random ones, so that the laws are checked without a fuzzer, too.
#![cfg(all(unix, feature = "mio"))]

use std::env;
use std::fs;
use std::panic;
use std::path::Path;

use support::fuzz::{Run, TARGETS};
use support::random::Random;

/// Random stories of each kind; `STORIES=100000` for more.
const STORIES: u64 = 300;

/// Targets for which no fuzzer has found stories yet.
const WITHOUT_CORPUS: [&str; 4] = ["reactor_stories", "sequences", "simulation", "user_code"];

/// Runs a story; prints its bytes if it breaks a law.
fn check(name: &str, run: Run, story: &[u8]) {
    if let Err(panic) = panic::catch_unwind(|| run(story)) {
        println!("a story of {name} broke a law: {story:?}");
        panic::resume_unwind(panic);
    }
}

#[test]
fn every_story_of_the_corpora_keeps_the_laws() {
    for (name, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpora").join(name);
        if WITHOUT_CORPUS.contains(name) {
            continue;
        }
        let stories = fs::read_dir(folder).unwrap();
        let stories: Vec<_> =
            stories.map(|story| fs::read(story.unwrap().path()).unwrap()).collect();
        assert!(stories.len() >= 10, "only {} stories of {name}", stories.len());
        for story in stories {
            check(name, *run, &story);
        }
    }
}

#[test]
fn random_stories_keep_the_laws() {
    let stories = env::var("STORIES").map_or(STORIES, |number| number.parse().expect("a number"));
    for (name, run) in TARGETS {
        for seed in 0..stories {
            let random = Random::new(seed);
            let story: Vec<u8> = (0..500).map(|_| random.below(256) as u8).collect();
            check(name, *run, &story);
        }
    }
}
