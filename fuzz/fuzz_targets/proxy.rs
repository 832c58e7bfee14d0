#![no_main]
//! Heads and framing of the example `proxy`.

#[path = "../../examples/proxy/framing.rs"]
#[allow(dead_code)]
mod framing;
#[path = "../../examples/proxy/heads.rs"]
#[allow(dead_code)]
mod heads;
#[path = "../../tests/proxy/story.rs"]
mod story;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| story::run(bytes));
