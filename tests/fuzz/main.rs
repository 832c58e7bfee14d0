//! Hazard: what a fuzzer has found once. Tells again every story of `tests/fuzz/corpora`, and some
//! random ones, so that the laws are checked without a fuzzer, too.
#![cfg(all(unix, feature = "mio"))]

use std::fs;
use std::panic;
use std::path::Path;

use support::fuzz::{TARGETS, Tell};
use support::random::Random;

/// Random stories of each kind.
const STORIES: u64 = 300;

/// Tells a story; prints its bytes if it breaks a law.
fn tell(name: &str, run: Tell, story: &[u8]) {
    if let Err(panic) = panic::catch_unwind(|| run(story)) {
        println!("a story of {name} broke a law: {story:?}");
        panic::resume_unwind(panic);
    }
}

#[test]
fn every_story_of_the_corpora_keeps_the_laws() {
    for (name, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpora").join(name);
        let stories = fs::read_dir(folder).unwrap();
        let stories: Vec<_> =
            stories.map(|story| fs::read(story.unwrap().path()).unwrap()).collect();
        assert!(stories.len() >= 10, "only {} stories of {name}", stories.len());
        for story in stories {
            tell(name, run, &story);
        }
    }
}

#[test]
fn random_stories_keep_the_laws() {
    for (name, run) in TARGETS {
        for seed in 0..STORIES {
            let random = Random::new(seed);
            let story: Vec<u8> = (0..500).map(|_| random.below(256) as u8).collect();
            tell(name, run, &story);
        }
    }
}
