//! Hazard: what a fuzzer has found once. Tells again every story of `tests/fuzz/corpora`, and some
//! random ones, so that the laws are checked without a fuzzer, too.
#![cfg(all(unix, feature = "mio"))]

mod fuzz;

use std::fs;
use std::panic;
use std::path::Path;

use fuzz::{TARGETS, Tell};

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
            let mut state = seed;
            let story: Vec<u8> = (0..500).map(|_| next(&mut state)).collect();
            tell(name, run, &story);
        }
    }
}

/// The next byte of `SplitMix64`.
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 56) as u8
}
